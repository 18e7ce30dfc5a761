"""
Is the population right?
========================

A population fit that converged is the best of its model, and may still be wrong. Three looks at it: the study simulated
again beside the samples (visual predictive check), the share of samples below the limit, and the errors of prediction
(npde) with their tests. The patients are **simulated**: the peak follows dose^0.5. One fit knows that and one does not.
"""

# %%
# Twenty-four patients, eight a dose
# ----------------------------------
# Nine samples each, and a limit that cuts off 33 of the 216.

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

model = models.load("stein_2019_tisagenlecleucel")
days = np.array([3.0, 7, 10, 14, 21, 28, 60, 90, 180])
doses = np.repeat([1e5, 1e6, 1e7], 8)
rng = np.random.default_rng(2020)
truth = pd.DataFrame({
    "c_max": 6000 * (doses / 1e6) ** 0.5 * np.exp(0.6 * rng.normal(size=24)),
    "f_b": 0.02, "beta": 0.01 * np.exp(0.5 * rng.normal(size=24)),
})  # fmt: skip
table = ck.simulate(model, truth, days)
table["copies_per_ug"] *= np.exp(0.4 * rng.normal(size=len(table)))
table = table.assign(subject=[f"P{i + 1:02d}" for i in table["draw"]], dose=np.repeat(doses, len(days)), SIMULATED=1)
study = ck.read_study(table.drop(columns="draw"), lloq=25.0)

asked = {"free": ["c_max", "beta"], "fixed": {"f_b": 0.02}, "progress": False}
without = ck.fit_population(model, study, **asked)
with_dose = ck.fit_population(model, study, covariates={"c_max": "dose"}, **asked)

# %%
# Without the dose, all together
# ------------------------------
# The spread between patients takes up what the dose does, and all looks well.

print(without.vpc().summary())

# %%
# Without the dose, dose by dose
# ------------------------------
# The same check by dose: the simulations lie too high at 1e5 and too low at 1e7, in quantiles and in the share below
# the limit. Rings mark what lies beyond its band. A quantile ends where it would lie below the limit.

figure = without.vpc(by="dose").plot()

# %%
# With the dose
# -------------

checked = with_dose.vpc(by="dose")
print(checked.summary())
figure = checked.plot()

# %%
# All doses in one picture
# ------------------------
# Corrected by the prediction, samples of all doses can be looked at together. Their limits are corrected alike, so that
# each bin has a lowest and a highest one, and a censored sample stays censored.

figure = with_dose.vpc(corrected=True).plot()

# %%
# npde
# ----
# What lies below the limit is drawn, in the data and in the simulations alike, twenty times. All samples together show
# nothing wrong with either fit: the spread between patients covers what the dose does. npde are no look at a covariate.

for population in (without, with_dose):
    print(population.npde().summary())

# %%
# Effects against the dose are:

figure = without.plot_effects(["dose"])

# %%
# The errors of the fit with the dose in one picture. Lines are the 5%, 50% and 95% quantiles of a bin, areas where they
# would lie if the model were right.

figure = with_dose.npde().plot()
