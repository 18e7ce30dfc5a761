"""
Lag and fold: what sparse early samples cannot tell
===================================================

The model of lisocabtagene maraleucel (Ogasawara 2021, Clin Pharmacokinet 60:1621) has a lag, a growth rate and a peak
day; other models have a fold instead. Without samples on days 1 to 5 the data cannot tell a late start from a steep
rise. The design says so before a sample is taken, and a profile likelihood shows it afterwards. The patient is
**simulated**.
"""

# %%
# Before: what a schedule determines
# ----------------------------------
# The expected information of a design, with the lower limit of quantification, needs no data.

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

model = models.load("ogasawara_2021_liso_cel")
rich = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 21, 28, 60, 90, 180, 365]
sparse = [7, 8, 9, 10, 12, 14, 21, 28, 60, 90, 180, 365]
print(ck.identifiability(model, rich, lloq=1.0))

# %%
# Without the first days no sample depends on the lag, and the rate of growth is three times less certain:

print(ck.identifiability(model, sparse, lloq=1.0))

# %%
# After: the profile of a patient
# -------------------------------
# All parameters are estimated from the sparse schedule. For each value of a parameter the others do their best: where
# that costs nothing the profile is flat or open to one side, and the interval has no end there.

days = np.array(sparse, float)
rng = np.random.default_rng(2021)
copies = np.asarray(model.solve(days)["copies_per_ug"]) * np.exp(0.3 * rng.normal(size=len(days)))
table = pd.DataFrame({"subject": "simulated", "day": days, "copies_per_ug": copies, "SIMULATED": 1})
study = ck.read_study(table, lloq=1.0)
fit = ck.fit(model, study, free=["t_lag", "rho", "t_max", "c_max", "alpha"])
print(fit.outcome)

# %%
profile = fit.profile()
profile.intervals[["value", "lower", "upper", "shape"]]

# %%
figure = profile.plot()
