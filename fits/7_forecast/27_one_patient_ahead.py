"""
One patient, and what comes next
================================

A patient has had three samples. Will CAR cells be detectable at month six? The population that was fitted before is the
prior, and each sample narrows it. The patients are **simulated**.
"""

# %%
# The population
# --------------
# Twenty-four patients, the peak with the dose to the power of 0.5.

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

model = models.load("stein_2019_tisagenlecleucel")
days = np.array([3.0, 7, 10, 14, 21, 28, 60, 90, 180])


def simulated(doses, seed):
    rng, n = np.random.default_rng(seed), len(doses)
    truth = pd.DataFrame({
        "c_max": 6000 * (doses / 1e6) ** 0.5 * np.exp(0.6 * rng.normal(size=n)),
        "f_b": 0.02, "beta": 0.01 * np.exp(0.5 * rng.normal(size=n)),
    })  # fmt: skip
    table = ck.simulate(model, truth, days)
    table["copies_per_ug"] *= np.exp(0.4 * rng.normal(size=len(table)))
    names = [f"P{i + 1:02d}" for i in table["draw"]]
    table = table.assign(subject=names, dose=np.repeat(doses, len(days)), SIMULATED=1)
    return ck.read_study(table.drop(columns="draw"), lloq=25.0)


study = simulated(np.repeat([1e5, 1e6, 1e7], 8), 2020)
asked = {"free": ["c_max", "beta"], "fixed": {"f_b": 0.02}, "progress": False}
population = ck.fit_population(model, study, covariates={"c_max": "dose"}, **asked)

# %%
# Sample by sample
# ----------------
# A new patient at 1e7 cells/kg. Without a sample the forecast is that of the population for this dose.

patient = simulated(np.array([1e7]), 8)["P01"]
times = np.append(np.linspace(0, 28, 57), np.linspace(30, 270, 41))
rows = []
for until in (0.0, 7.0, 28.0, 60.0, 90.0):
    known = patient.select(until=until)
    forecast = population.forecast(known, times)
    month_six = forecast.table.set_index("day").loc[180.0]
    rows.append({
        "known until day": until, "samples": len(known.used), **month_six[["median", "lower", "upper"]],
        "detectable": forecast.detectable(180), "below 10": forecast.probability_below(10, 180),
    })  # fmt: skip
print(pd.DataFrame(rows).round(2).to_string(index=False))

# %%
# What was measured on day 180 in the end:

print(patient.observations.set_index("day").loc[180.0, ["status", "lower", "upper"]].to_string())

# %%
# Two populations averaged
# ------------------------
# Which population is right need not be decided: each is weighted by how well it predicted the samples that are there.

without = ck.fit_population(model, study, **asked)
averaged = ck.forecast([population, without], patient.select(until=28.0), times)
print(averaged.summary())

# %%
# The forecast after four weeks
# -----------------------------
# The darker band is that of the curve, the lighter that of a sample; below it the probability that a sample lies above
# the limit.

figure = averaged.plot()
