"""Populations at the values that their studies are simulated from: what is checked is the check, not a fit."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import populations

import cellkinetics as ck
from cellkinetics.population.design import design_of, prior_of
from cellkinetics.population.patients import patients_of
from cellkinetics.population.running import Population
from cellkinetics.population.saem import Theta

DAYS = np.array([1.0, 3, 7, 14, 21, 28])
MEAN, BETWEEN, SD, EXPONENT = {"c": 300.0, "k": 0.1}, {"c": 0.6, "k": 0.03}, 0.3, 0.5
DOSES = (1e5, 1e6, 1e7)


def ln_curves(n, rng, days=DAYS):
    """(n, days) of new patients of `populations.line`, whose level follows dose^0.5, and their doses."""
    doses = np.resize(DOSES, n)
    ln_c = np.log(MEAN["c"]) + EXPONENT * np.log(doses / 1e6) + BETWEEN["c"] * rng.normal(size=n)
    k = MEAN["k"] + BETWEEN["k"] * rng.normal(size=n)
    return ln_c[:, None] - k[:, None] * days, doses


def study_of(ln_y, doses, days=DAYS, limit=5.0):
    """A study of ln values (n, days); limits of each patient where several are given."""
    n, limits = len(ln_y), np.repeat(np.broadcast_to(limit, len(ln_y)), len(days))
    table = pd.DataFrame(
        {
            "subject": np.repeat([f"P{i + 1:02d}" for i in range(n)], len(days)), "day": np.tile(days, n),
            "copies_per_ug": [f"<{low:g}" if y < low else f"{y:.9g}"
                              for y, low in zip(np.exp(ln_y).ravel(), limits, strict=True)],
            "lloq": limits, "dose": np.repeat(doses, len(days)), "SIMULATED": 1,
        }
    )  # fmt: skip
    return ck.read_study(table)


def simulated(n=24, seed=1, limit=5.0, days=DAYS):
    rng = np.random.default_rng(seed)
    ln_f, doses = ln_curves(n, rng, days)
    return study_of(ln_f + SD * rng.normal(size=ln_f.shape), doses, days, limit)


def named_where_censored(study, upper=None):
    """The same samples as Monolix writes them, CENS and the limit in place of the value, with nothing on other rows."""
    rows, value = study.used, study.used["value"].to_numpy(float)
    below = (rows["status"] == "below").to_numpy()
    above = np.zeros(len(rows), bool) if upper is None else value > upper
    table = pd.DataFrame(
        {
            "ID": rows["subject"], "TIME": rows["day"], "CENS": below.astype(int) - above,
            "DV": np.select([below, above], [rows["upper"], np.nan if upper is None else upper], value),
            "DOSE": study.covariates["dose"].reindex(rows["subject"]).to_numpy(), "SIMULATED": 1,
        }
    )  # fmt: skip
    return ck.read_study(table)


def moved_to(fit, study, **changed):
    """A fit of other samples at the truth: ``changed`` has a mean, sd between patients or sd of the error."""
    patients = patients_of(fit.request, study, None)
    design = design_of(patients, None, fit.asked["covariates"])
    mean = {**MEAN, **changed.get("mean", {})}
    centre = design.effects[1].centre
    beta = [np.log(mean["c"]) + EXPONENT * np.log(centre / 1e6), EXPONENT, mean["k"]]
    spread = {**BETWEEN, **changed.get("between", {})}
    omega = np.diag([spread["c"] ** 2, spread["k"] ** 2])
    theta = Theta(jnp.asarray(beta), jnp.asarray(omega), jnp.log(jnp.asarray([changed.get("sd", SD)])))
    population = Population(patients, design, prior_of(patients, design), patients.method)
    return replace(
        fit, study=study, patients=patients, design=design, population=population,
        polished=replace(fit.polished, theta=theta),
    )  # fmt: skip


def fitted(seed=3):
    return ck.fit_population(populations.line(), simulated(seed=seed), covariates={"c": "dose"}, progress=False)
