"""
Which covariates matter
=======================

Products differ: in how many copies of the vector a cell has (VCN), in how many cells were alive, in the donor. Which of
this drives the level in blood? Stepwise by BICc, and beside it the full model with all candidates, whose forest plot
also shows what a choice is silent about. The patients are **simulated**.
"""

# %%
# The study
# ---------
# Thirty patients with one dose. The level follows VCN to the power of 0.7; viability and donor do nothing.

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

model = models.load("nk_decline")
days = np.array([1.0, 3, 7, 14, 21, 28])
rng = np.random.default_rng(2020)
n = 30
product = pd.DataFrame({
    "vcn": np.exp(rng.normal(np.log(3), 0.5, n)).round(2), "viability": rng.uniform(70, 98, n).round(),
    "donor": np.resize([101, 102], n),
})  # fmt: skip
usual = {name: model.parameters[name].value for name in ("F", "alpha")}
truth = pd.DataFrame({
    "F": usual["F"] * (product["vcn"] / 3) ** 0.7 * np.exp(0.4 * rng.normal(size=n)),
    "alpha": usual["alpha"] * np.exp(0.25 * rng.normal(size=n)),
})  # fmt: skip
table = ck.simulate(model, truth, days, doses=1e6).merge(product, left_on="draw", right_index=True)
table["copies_per_ug"] *= np.exp(0.3 * rng.normal(size=len(table)))
table["subject"] = "P" + (table["draw"] + 1).astype(str).str.zfill(2)
study = ck.read_study(table.drop(columns="draw").assign(dose=1e6, SIMULATED=1), lloq=3.0)
print(study.covariates[["vcn", "viability", "donor"]].head())

# %%
# Candidates
# ----------
# ``"ln vcn"`` takes VCN as the field takes doses, on the ln scale about the geometric mean: its coefficient is an
# exponent. ``"groups of donor"`` takes donors as groups although they have numbers as names. The model is fitted by
# first-order conditional estimation; BICc is of the integral.

asked = {"free": ["F", "alpha"], "method": "focei", "progress": False}
candidates = {"F": ["ln vcn", "viability", "groups of donor"]}
choice = ck.choose_covariates(model, study, candidates, **asked)
print(choice.summary())

# %%
# The chosen population:

assert choice.fit  # a choice that is read from a file has none
print(choice.fit.parameters.query("kind == 'coefficient'")[["value", "stderr", "lower", "upper"]].round(3).to_string())

# %%
# The full model
# --------------
# A choice says in or out. That a covariate was not chosen is not evidence that it does nothing: for that look at its
# interval, in the model that has all of them. Each is a ratio of the parameter, from the 5th or 95th percentile of the
# covariate to its median, or from one donor to the first.

full = ck.fit_population(model, study, covariates=candidates, **asked)
effects = full.effects()
print(effects[["parameter", "covariate", "what", "at", "ratio", "lower", "upper"]].round(2).to_string(index=False))

# %%
# Between the lines of 0.8 and 1.25 a change is often held to be of no matter. An interval that reaches beyond them
# leaves the question open:

figure = full.plot_forest()
