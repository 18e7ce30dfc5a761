import gc
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import cellkinetics as ck
from cellkinetics import cache

matplotlib.use("Agg")

# Tests compile hundreds of programs and run each a few times: a code generator that optimises less takes half of the
# time. The arithmetic is the same; what users run is run by the pages, the gallery and the first command. Read by XLA
# when it first compiles; a setting of the environment wins.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Programs are millions of objects that stay: looked through less often.
gc.set_threshold(20_000, 20, 20)

# A silent broadcast of (n,) with (n, 1) is a wrong answer, not a convenience. 64 bits come from the library.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Scripts that made the numbers beside them: run by hand, not collected.
collect_ignore_glob = ["benchmarks/*", "reference/*"]


# Each compiled program takes memory maps, of which a process may have 65,530 on Linux: beyond, the compiler crashes.
MOST_MAPS = cache.MOST_MAPS = 40_000
cache.MOST_BYTES = 6_000_000_000  # many files of tests share their programs; to make room takes seconds each time


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Let go of compiled programs between two files of tests when there are many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_text().splitlines()) > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def read(tmp_path):
    """Write a text to liu.csv and read it."""

    def write_and_read(text, **options):
        (tmp_path / "liu.csv").write_text(text, encoding="utf-8")
        return ck.read_study(tmp_path / "liu.csv", **options)

    return write_and_read


@pytest.fixture(scope="session")
def level():
    """A model of one parameter: the same copies at all times."""
    parameters = {"c": ck.Parameter(100.0, "copies/ug", "this test")}
    outputs = {"copies_per_ug": "copies/ug"}
    return ck.Model(name="level", parameters=parameters, outputs=outputs, curve=lambda t, c: c * jnp.ones_like(t))


@pytest.fixture(scope="session")
def loss():
    """A closed form of two parameters and a dose: F x dose infused, lost at the rate k."""
    parameters = {
        "F": ck.Parameter(1e-3, "copies/ug per cell/kg", "this test"),
        "k": ck.Parameter(0.3, "1/day", "this test", min=0.01),
    }
    outputs = {"copies_per_ug": "copies/ug"}

    def curve(t, dose, F, k):
        return F * dose * jnp.exp(-k * t)

    return ck.Model(name="loss", parameters=parameters, outputs=outputs, curve=curve, linear_in_dose=True)


@pytest.fixture(scope="session")
def integrated(loss):
    """`loss` as an ODE."""
    return ck.Model(
        name="integrated", parameters=loss.parameters, outputs=loss.outputs, states=("C",),
        rhs=lambda C, k: (-k * C,), observe=lambda C: C, dosing={"cells": ("C", "F")},
    )  # fmt: skip


@pytest.fixture(scope="session")
def cohorts():
    """Function that simulates cohorts of patients of `loss`, k moving with the dose by ``exponent``."""

    def simulated(doses=None, *, exponent=0.0, between=0.2, seed=7, lloq=10.0):
        doses = doses or {"1e5": [1e5] * 3, "1e6": [1e6] * 4, "1e7": [1e7] * 4}
        rng, rows = np.random.default_rng(seed), []
        days = np.array([0.5, 1, 2, 3, 5, 7, 10, 14])
        for cohort, dose in [(cohort, dose) for cohort, each in doses.items() for dose in each]:
            size, rate = np.exp(between * rng.normal(size=2))
            k = 0.3 * (dose / 1e6) ** exponent * rate
            copies = 1e-3 * size * dose * np.exp(-k * days + 0.3 * rng.normal(size=len(days)))
            same = {"subject": f"P{len(rows):02d}", "dose": dose, "cohort": cohort}
            rows.append(pd.DataFrame({"day": days, "copies_per_ug": copies, **same}))
        return ck.read_study(pd.concat(rows), lloq=lloq)

    return simulated


@pytest.fixture
def patient():
    """Function that simulates one patient: a study of noisy samples of the first output, with a limit."""

    def simulated(model, days, *, values=None, dose=None, sd=0.3, limit=3.0, seed=2020):
        rng = np.random.default_rng(seed)
        exact = np.asarray(model.solve(days, values, dose)[next(iter(model.outputs))])
        measured = exact * np.exp(sd * rng.normal(size=len(days)))
        copies = [f"<{limit:g}" if copy < limit else copy for copy in measured]
        table = pd.DataFrame({"subject": "simulated", "day": days, "copies_per_ug": copies, "lloq": limit})
        return ck.read_study(table if dose is None else table.assign(dose=dose))

    return simulated


@pytest.fixture
def recovered():
    """Function that says whether a fit converged to where the truth is as likely as in 999 of 1000 patients."""

    def near(fit, truth):
        if not fit.converged:
            return False
        there = ck.fit(fit.model, fit.study, fixed=truth)
        free = (fit.parameters["status"] == "free") & fit.parameters.index.isin(list(fit.model.parameters))
        return 2 * (fit.log_likelihood - there.log_likelihood) < chi2.ppf(0.999, int(free.sum()))

    return near


@pytest.fixture
def slopes():
    """Function that gives d ln(output) / d ln(parameter) on one day, forward and by central differences."""

    def both(model, day, *, output=None, doses=None, inputs=None, step=1e-6):
        values = model.values()
        output = output or next(iter(model.outputs))

        # Counted from the defaults, so that a day that is a default is hit to the last bit.
        def ln_curve(changes):
            changed = {name: values[name] * jnp.exp(change) for name, change in changes.items()}
            return jnp.log(model.solve(jnp.array([float(day)]), changed, doses, inputs=inputs)[output][0])

        here = {name: 0.0 for name, value in values.items() if value > 0}
        forward = {name: float(slope) for name, slope in jax.jacfwd(ln_curve)(here).items()}
        differences = {
            name: float(ln_curve({**here, name: step}) - ln_curve({**here, name: -step})) / (2 * step) for name in here
        }
        return forward, differences

    return both
