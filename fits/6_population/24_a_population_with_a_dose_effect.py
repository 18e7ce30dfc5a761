"""
A population of 24 with a dose effect
=====================================

What a protocol asks of a dose escalation: does the dose raise the peak, does it change how long cells persist, and how
sure is that with 24 patients? Parameters that vary between patients, with the dose on two of them. The patients are
**simulated**: the peak follows dose^0.5, the slow phase follows nothing.
"""

# %%
# Twenty-four patients, eight a dose
# ----------------------------------
# Nine samples each to day 180, about a fifth of them below the limit.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

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

# %%
# The population
# --------------
# ``c_max:dose`` and ``beta:dose`` are dose exponents: coefficients of ln dose on the ln of the parameter. What is not
# free stays at the published values.

population = ck.fit_population(
    model, study, free=["c_max", "beta"], fixed={"f_b": 0.02}, covariates={"c_max": "dose", "beta": "dose"},
    progress=False,
)  # fmt: skip
print(population.summary())

# %%
# Does the dose matter?
# ---------------------
# Each coefficient with its interval, its likelihood ratio with the Monte Carlo error, and a p by giving the doses to
# other patients. Below, the dose on the peak of the curve beside the dose on its last level: the question of the
# protocol in one table.

compared = ck.compare_cohorts(study, by="dose", population=population, progress=False).population_based
print(compared.summary())

# %%
compared.curves.round(2)

# %%
# The median patient at each dose
# -------------------------------
# With the range of nine of ten patients about it, and the samples.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
samples = study.observations.merge(study.covariates[["dose"]], left_on="subject", right_index=True, suffixes=("", "_"))
for ax, dose in zip(axes, (1e5, 1e6, 1e7), strict=True):
    curve = population.predict(np.linspace(1, 180, 200), covariates={"dose": dose})
    ends = curve["copies_per_ug_lower"], curve["copies_per_ug_upper"]
    ax.fill_between(curve["day"], *ends, color=style.ONE, alpha=0.2, linewidth=0)
    ax.plot(curve["day"], curve["copies_per_ug"], color=style.ONE, linewidth=1.9)
    own = samples[samples["dose"] == dose]
    known = own["status"] == "quantified"
    ax.plot(own.loc[known, "day"], own.loc[known, "upper"], ".", color=style.INK, markersize=4)
    ax.plot(own.loc[~known, "day"], own.loc[~known, "upper"], "v", color=style.FAINT, markersize=4)
    ax.axhline(25, color=style.FAINT, linewidth=0.9, dashes=(4, 3))
    ax.set(yscale="log", ylim=(3, 3e5))
    style.dress(ax)
    ax.set_title(f"{dose:.0e} cells/kg".replace("e+0", "e"), fontsize=style.LABEL, color=style.INK)
    ax.set_xlabel("day", fontsize=style.LABEL, color=style.INK)
axes[0].set_ylabel("copies/µg", fontsize=style.LABEL, color=style.INK)
axes[2].annotate("LLOQ 25", (70, 22), fontsize=style.SMALL, color=style.FAINT, va="top")
