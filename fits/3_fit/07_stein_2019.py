"""
A published CAR-T model: Stein 2019
===================================

Tisagenlecleucel in 90 patients (doi:10.1002/psp4.12388): exponential rise to a peak, biexponential decline. What the
paper reports is computed again from its parameters, and **simulated** patients are fitted with them.
"""

# %%
# The model and its numbers
# -------------------------
# Each value has its source. The half-lives and the doubling time that the paper prints follow from the parameters.

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

model = models.load("stein_2019_tisagenlecleucel")
model.parameters.table[["default", "unit", "source"]]

# %%
# Published beside recomputed:

print("Published" + model.describe().partition("Published")[2])

# %%
# A refit
# -------
# One patient, simulated at the published medians with the published residual SD of 0.56 on the ln scale. Six parameters
# from fourteen samples: the intervals say what that is worth.

days = np.array([1, 3, 5, 7, 9, 11, 14, 21, 28, 60, 90, 180, 270, 365.0])
rng = np.random.default_rng(2019)
copies = np.asarray(model.solve(days)["copies_per_ug"]) * np.exp(0.56 * rng.normal(size=len(days)))
table = pd.DataFrame({"subject": "simulated", "day": days, "copies_per_ug": copies, "SIMULATED": 1})
study = ck.read_study(table, lloq=50.0)
fit = ck.fit(model, study)
fit.parameters[["value", "lower", "upper", "unit", "status"]]

# %%
# In the field's terms, with intervals; what lies beyond the last sample is marked.

fit.derived()[["value", "lower", "upper", "unit", "note"]].round(3)

# %%
ax = fit.plot()
