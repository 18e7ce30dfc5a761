"""
What the tables say, as pictures
================================

Before and after the fit: peaks and half-lives by cohort, responses above expansions, estimates with their intervals,
estimates over covariates, and how near the curves are to the samples. The patients are **simulated**: the example that
comes with the library.
"""

# %%
# What was measured
# -----------------
# Without a model: peak, its day, area and half-life of each patient, by cohort. Under each cohort stands how
# many of its patients have a value.

import cellkinetics as ck
from cellkinetics import models

study = ck.example()
figure = ck.plot_nca(study)

# %%
# What was fitted
# ---------------
# A row a patient: the estimate with its 95% interval, and for each cohort the median of its filled marks. An open mark
# is an estimate that the samples do not determine; an interval that goes on beyond the axes ends in an arrow.

fits = ck.fit_each(models.load("il15_persistence"), study, progress=False)
figure = fits.plot_parameters(parameters=["F", "rho", "N"])

# %%
# Which estimates go together
# ---------------------------
# Of one patient: near 1 or -1 the samples tell two parameters together and not apart.

axes = fits["P05"].plot_correlations()

# %%
# Over covariates
# ---------------
# The line is that of least squares, with the correlation of what the axes show.

figure = fits.plot_covariates(["dose", "cohort"], parameters=["F", "rho"])

# %%
# How near the curves are
# -----------------------
# Samples below the limit are open triangles at it, and at the left edge where their curves lie far below.

axes = fits.plot_predicted()
