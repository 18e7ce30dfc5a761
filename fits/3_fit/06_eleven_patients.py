"""
Eleven patients, three doses
============================

Every patient of a study, each fitted alone: one who cannot be fitted is an outcome with its reason and does not cost
the others theirs. The patients are **simulated**: the example that comes with the library, whose doses are those of a
published CAR-NK study (N Engl J Med 2020;382:545-53). Individual values of that study are not public.
"""

# %%
import cellkinetics as ck
from cellkinetics import models

study = ck.example()
print(study.note)

# %%
# All fits
# --------

fits = ck.fit_each(models.load("il15_persistence"), study, progress=False)
figure = fits.plot(columns=3)

# %%
# Who needs a look, and why
# -------------------------
# Samples after the start of another therapy belong to that therapy and are not used (grey). For P07 that is after
# week 6, too early to see how large the niche is: the outcome says so, and what would help.

print(fits.summary())

# %%
# The estimates in one table
# --------------------------
# Long format: one row a patient and parameter, with unit, status and source.

table = fits.parameters.query("status == 'free' and parameter != 'sd'")
table.pivot(index="subject", columns="parameter", values="value").round(5)

# %%
# A patient who needs a look
# --------------------------
# Six weeks of samples tell how P07's cells expanded, not how they persist. With the two parameters of persistence held
# at their defaults the rest is determined.

again = ck.fit(models.load("il15_persistence"), study.select("P07"), fixed={"N": 150.0, "mu0": 0.25})
print(again.summary())
