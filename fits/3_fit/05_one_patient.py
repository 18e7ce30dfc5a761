"""
One patient, end to end
=======================

From a table of qPCR values to a fitted trajectory: read, fit with the limit of quantification as censoring, look.
The patient is **simulated**: P01 of the example that comes with the library.
"""

# %%
# The table
# ---------
# A study is a table of samples. The example has eleven simulated patients, in copies per microgram of genomic DNA,
# with a lower limit of quantification of 3 copies/ug. Your own comes from ``ck.read_study("patients.csv", lloq=3.0)``.

import matplotlib.pyplot as plt

import cellkinetics as ck
from cellkinetics import models

study = ck.example()
study

# %%
# One patient of it. Three late samples are below the limit: they have no value, only an upper end. The sample at day 0
# was drawn before the infusion and is excluded.

patient = study.select(subjects=["P01"])
patient.observations[["day", "value", "lower", "upper", "status", "excluded"]]

# %%
# The model
# ---------
# ``il15_persistence`` describes infused cells that leave the blood, cells that expand on interleukin-15, and a
# persistent pool in a niche of limited size. One patient's curve cannot determine all of its rates: four are estimated
# at this dose (a fifth, the size of the niche, from 1e6 cells/kg on), the others stay at their defaults.

model = models.load("il15_persistence")
model.default_free(patient)

# %%
# The fit
# -------
# Censored nonlinear least squares from several starts; standard errors from the exact Hessian.
# The summary names the method, counts what was quantified, censored and excluded, and says what was fixed and why.

fit = ck.fit(model, patient)
print(fit.summary())

# %%
# What the limit of quantification does
# -------------------------------------
# The same samples with the censored ones replaced by half the limit, or dropped. Replaced, they stand level at 1.5
# copies/ug for half a year and hold the curve up: the loss of persistent cells comes out too slow. Dropped, they no
# longer narrow the interval. Both are there for comparison only.

for method in ("m3", "half", "drop"):
    other = ck.fit(model, patient, censoring=method)
    mu0 = other.parameters.loc["mu0"]
    print(f"{method:5} mu0 {mu0['value']:.2f} per day (95% {mu0['lower']:.2f} to {mu0['upper']:.2f}): {other.outcome}")

# %%
# The fitted trajectory
# ----------------------
# Samples below the limit are open triangles at the limit. The band is the 95% interval of the curve.

fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
fit.plot(axes=ax)
plt.show()
