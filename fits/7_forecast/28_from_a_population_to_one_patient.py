"""
From a population to one patient with three samples
===================================================

Three samples do not determine the level, the rate and the noise of one patient. What twenty-four others have told of
the population is the prior of the next one: which priors, what the samples changed, and how sure the estimates are
then. The patients are **simulated**.
"""

# %%
# The population
# --------------
# A biexponential loss, by first-order conditional estimation: quick, and the curve is smooth.

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

model = models.load("nk_decline")
days = np.array([1.0, 3, 7, 10, 14, 21, 28])
varying = list(model.parameters)[:2]


def simulated(doses, seed, days):
    rng = np.random.default_rng(seed)
    usual = {name: model.parameters[name].value for name in varying}
    truth = pd.DataFrame({name: usual[name] * np.exp(0.5 * rng.normal(size=len(doses))) for name in varying})
    table = pd.concat([
        ck.simulate(model, truth.iloc[[i]], days, doses=dose).assign(subject=f"P{i + 1:02d}", dose=dose)
        for i, dose in enumerate(doses)
    ])  # fmt: skip
    table["copies_per_ug"] *= np.exp(0.3 * rng.normal(size=len(table)))
    return ck.read_study(table.drop(columns="draw", errors="ignore").assign(SIMULATED=1), lloq=3.0), truth


study, _ = simulated(np.repeat([1e5, 1e6, 1e7], 8), 2020, days)
population = ck.fit_population(model, study, free=varying, method="focei", progress=False)
print(population.summary())

# %%
# Which priors
# ------------
# Of each parameter that varies, the mean of the population and its spread between patients; the sd of the error is the
# population's.

value = population.parameters["value"]
priors = {name: ck.LogNormal(value[name], value[f"sd between {name}"]) for name in varying}
priors

# %%
# What three samples change
# -------------------------
# ``change`` is the estimate over the median of the population. "prior" is the share of the information that is the
# prior's, in percent: of what is near 100 the samples have told nothing.

patient, truth = simulated(np.array([1e6]), 7, np.array([3.0, 7, 21]))
fit = ck.fit(model, patient["P01"], free=varying, prior=priors, fixed={"sd": value["sd"]})
found = fit.parameters.loc[varying]
share = found["source"].str.extract(r"(\d+)% of the information")[0].astype(float)
print(pd.DataFrame({
    "population": value[varying], "estimate": found["value"], "change": found["value"] / value[varying],
    "truth": truth.loc[0, varying], "prior": share,
}).to_string(float_format="{:.3g}".format))  # fmt: skip

# %%
# How sure
# --------
# The interval of the patient beside the range of 95% of the population. It takes the population as known: its own
# errors are in ``population.parameters``.

print(pd.DataFrame({
    "population from": [priors[name].median * np.exp(-1.96 * priors[name].sd) for name in varying],
    "to": [priors[name].median * np.exp(1.96 * priors[name].sd) for name in varying],
    "patient from": found["lower"], "patient to": found["upper"],
}, index=varying).to_string(float_format="{:.3g}".format))  # fmt: skip

# %%
# The curve, with its band:

ax = fit.plot()
