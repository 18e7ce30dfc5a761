"""
Why the limit of quantification matters
=======================================

A value below the limit is not a number, and it is not nothing either: it says "less than 3". Three ways with it, on the
same **simulated** samples: its probability (M3, what this library does), leaving it out (M1), and half the limit (M5).
"""

# %%
# One patient, three ways
# -----------------------
# A decline whose last five samples are below the limit. Left out, they no longer say how steep it is; at half the limit
# they hold the curve up.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models, style

model = models.load("nk_decline")
truth = {"F": 4e-3, "alpha": 0.25, "f_b": 1e-6, "beta": 0.002}
days = np.array([1, 2, 4, 7, 10, 14, 17, 21, 24, 28, 31, 35, 42, 49, 56.0])
rng = np.random.default_rng(3)
curve = np.asarray(model.solve(days, truth, 1e6)["copies_per_ug"])
copies = curve * np.exp(0.6 * rng.normal(size=len(days)))
table = pd.DataFrame({"subject": "one", "day": days, "copies_per_ug": copies, "dose": 1e6, "SIMULATED": 1})
study = ck.read_study(table, lloq=3.0)
held = {"f_b": 1e-6, "beta": 0.002}
ways = {"m3": "probability (M3)", "drop": "left out (M1)", "half": "half the limit (M5)"}
fits = {way: ck.fit(model, study, fixed=held, censoring=way) for way in ways}
rows = {ways[way]: [np.log(2) / fit.parameters.loc["alpha", "value"], fit.n_censored] for way, fit in fits.items()}
pd.DataFrame.from_dict(rows, orient="index", columns=["half-life, days", "censored samples used"]).round(2)

# %%
# The truth is a half-life of 2.77 days.

figure, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
fits["m3"].plot(ax)
grid = np.linspace(0.0, 60.0, 200)
for (way, name), colour in zip(ways.items(), (style.ONE, *style.ramp(2)), strict=True):
    ax.plot(grid, fits[way].predict(grid)["copies_per_ug"], color=colour, linewidth=1.9, label=name)
ax.plot(grid, np.asarray(model.solve(grid, truth, 1e6)["copies_per_ug"]), color=style.INK, dashes=(2, 2), label="truth")
style.decades(ax, 0.01, 2e4)
legend = ax.legend(frameon=False, fontsize=9, loc="upper right", bbox_to_anchor=(1.0, 0.93))

# %%
# On average
# ----------
# 200 patients, 44% of their samples below the limit: ``python tests/benchmarks/censoring_bias.py`` made this table.
# With few samples maximum likelihood itself is a little biased; half the limit takes a quarter of the slope.

from pathlib import Path

here = next(
    p for p in [Path.cwd(), *Path.cwd().parents] if (p / "tests" / "benchmarks" / "censoring_bias.csv").exists()
)
pd.read_csv(here / "tests" / "benchmarks" / "censoring_bias.csv")
