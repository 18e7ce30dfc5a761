"""
Priors from a published population, for a patient with three samples
====================================================================

Three weekly samples cannot determine six parameters, and no fit of them is to be believed. With a published population
as prior the patient's level is estimated and the rest stays the population's, and every estimate says how much of it is
prior. The patient is **simulated**.
"""

# %%
# Three samples alone
# -------------------

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

model = models.load("stein_2019_tisagenlecleucel")
days = np.array([7.0, 14.0, 28.0])
rng = np.random.default_rng(3)
truth = {"c_max": 60_000.0, "alpha": 0.22}
copies = np.asarray(model.solve(days, truth)["copies_per_ug"]) * np.exp(0.4 * rng.normal(size=3))
table = pd.DataFrame({"subject": "simulated", "day": days, "copies_per_ug": copies, "SIMULATED": 1})
study = ck.read_study(table, lloq=50.0)
print(ck.fit(model, study).outcome)

# %%
# With the population of the paper
# --------------------------------
# ``prior="published"`` takes the spread between patients from the model's file. The estimate is the maximum a
# posteriori; it has no AIC, because it is not at the maximum of the likelihood.

fit = ck.fit(model, study, prior="published")
print(fit.summary())

# %%
# How much of each estimate is the prior's
# ----------------------------------------
# The share of the information: the peak has been seen, the slow phase has not.

share = fit.parameters["source"].str.extract(r"(\d+)% of the information")[0].dropna().astype(int)
share.rename("% from the prior").to_frame()

# %%
ax = fit.plot()
