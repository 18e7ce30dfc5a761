"""A linear mixed model with its exact likelihood, and studies simulated from populations."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.stats import norm

import cellkinetics as ck

LIMIT = 3.0


def line():
    """ln C = ln c - k t: linear in ln c and in k, which is estimated as it is."""
    return ck.Model(
        name="line",
        parameters={
            "c": ck.Parameter(100.0, "copies/ug", "this test"),
            "k": ck.Parameter(0.1, "1/day", "this test", min=-np.inf, scale="identity"),
        },
        outputs={"copies_per_ug": "copies/ug"},
        curve=lambda t, c, k: c * jnp.exp(-k * t),
        scale_free=True,
    )


def biexponential():
    """A peak on the first day and two phases of decline; all of its parameters on the log scale."""
    return ck.Model(
        name="two_phases",
        parameters={
            "a": ck.Parameter(1000.0, "copies/ug", "this test"),
            "fast": ck.Parameter(0.3, "1/day", "this test"),
            "b": ck.Parameter(30.0, "copies/ug", "this test"),
            "slow": ck.Parameter(0.01, "1/day", "this test"),
        },
        outputs={"copies_per_ug": "copies/ug"},
        curve=lambda t, a, fast, b, slow: a * jnp.exp(-fast * t) + b * jnp.exp(-slow * t),
        scale_free=True,
    )


def study_of(ln_curves, days, sd, rng, *, doses=1e6, limit=LIMIT, columns=None):
    """A simulated study of ln curves (n, days), values below the limit censored."""
    n = len(ln_curves)
    y = np.exp(ln_curves + sd * rng.normal(size=ln_curves.shape))
    table = pd.DataFrame(
        {
            "subject": np.repeat([f"P{i + 1:02d}" for i in range(n)], len(days)),
            "day": np.tile(days, n),
            "copies_per_ug": [f"<{limit:g}" if value < limit else f"{value:.6g}" for value in y.ravel()],
            "dose": np.repeat(np.broadcast_to(doses, n), len(days)),
        }
    )
    for name, values in (columns or {}).items():
        table[name] = np.repeat(values, len(days))
    return ck.read_study(table, lloq=limit)


def exact(study, mean, between, sd, *, nodes=241, width=7.0):
    """The log-likelihood of `line` by quadrature over both random effects; {name: mean}, {name: sd between}."""
    z = np.linspace(-width, width, nodes)
    weight = norm.pdf(z) * (z[1] - z[0])
    ln_c = (np.log(mean["c"]) + between["c"] * z)[:, None, None]
    k = (mean["k"] + between["k"] * z)[None, :, None]
    total = 0.0
    rows = study.observations[study.observations["excluded"] == ""]
    for _, own in rows.groupby("subject"):
        day, lower, upper = (own[name].to_numpy(float) for name in ("day", "lower", "upper"))
        g = ln_c - k * day
        known = lower == upper
        with np.errstate(divide="ignore"):
            inside = norm.cdf(np.log(upper), g, sd) - norm.cdf(np.log(lower), g, sd)
            density = norm.logpdf(np.log(np.where(known, upper, 1.0)), g, sd)
            value = np.where(known, density, np.log(inside)).sum(axis=-1)
        total += np.log(np.einsum("i,j,ij->", weight, weight, np.exp(value - value.max()))) + value.max()
    return total
