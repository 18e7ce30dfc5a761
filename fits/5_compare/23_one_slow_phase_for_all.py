"""
One slow phase for all
======================

Who is followed for two months says little of a half-life of three. Patients who share what is theirs in common lend it
to each other: ``ck.fit(model, study, shared=["beta"])`` estimates one slow rate of loss for all, and the rest for each.
The four patients of the highest dose of the example are **simulated**.
"""

# %%
# Each alone
# ----------

import matplotlib.pyplot as plt

import cellkinetics as ck
from cellkinetics import models

model, study = models.load("stein_2019_tisagenlecleucel"), ck.example().select(cohort="1e7/kg")
alone = ck.fit_each(model, study, progress=False)
betas = alone.parameters.query("parameter == 'beta'").set_index("subject")
betas[["value", "lower", "upper", "status"]].round(4)

# %%
# Together
# --------

joint = ck.fit(model, study, shared=["beta"])
print(joint.outcome)
row = joint.parameters.query("parameter == 'beta'").iloc[0]
print(f"beta {row['value']:.4f} per day, 95% {row['lower']:.4f} to {row['upper']:.4f}")

# %%
# Is it one?
# ----------
# With nothing shared but the residual sd each patient has its own; the criterion that is lower is the better one.

own = ck.fit(model, study, shared=[])
print(f"one beta for all: AICc {joint.aicc:.1f}; one for each: AICc {own.aicc:.1f}")

# %%
# Each patient's curve, with the slow phase of all:

joint.plot()
plt.show()
