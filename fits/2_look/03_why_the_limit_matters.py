"""
Why the limit of quantification matters
=======================================

A value below the limit is not a number, and it is not nothing either: it says "less than 3". Three ways with it, on the
same **simulated** samples: its probability (M3, what this library does), leaving it out (M1), and half the limit (M5).
What they do to a decline, to a terminal half-life, and to the slope over the dose.
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
from cellkinetics import models
from cellkinetics.figures import style

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
# Of 200 such patients with 44% of their samples below the limit (:doc:`/benchmarks`, censored samples), half the limit
# takes a quarter of the slope; with few samples maximum likelihood itself is a little biased.

# %%
# The terminal half-life
# ----------------------
# 200 patients whose second phase has a half-life of 23 days and falls below the limit after about 110 days; samples
# until day 180, residual sd 0.5. Their late samples at half the limit are a plateau that is not there.

two_phases = {"F": 4e-3, "alpha": 0.5, "f_b": 0.02, "beta": 0.03}
visits = np.array([1, 2, 4, 7, 10, 14, 21, 28, 45, 60, 75, 90, 105, 120, 150, 180.0])
level = np.asarray(model.solve(visits, two_phases, 1e6)["copies_per_ug"])
rng = np.random.default_rng(2020)
tables = [
    pd.DataFrame({"subject": f"S{i:03}", "day": visits, "copies_per_ug": level * np.exp(0.5 * rng.normal(size=16))})
    for i in range(1, 201)
]
many = ck.read_study(pd.concat(tables).assign(dose=1e6, SIMULATED=1), lloq=3.0)
free = ["F", "alpha", "f_b", "beta"]
half_lives = pd.DataFrame(
    {
        name: np.log(2)
        / ck.fit_each(model, many, free=free, censoring=way, progress=False)
        .parameters.query("parameter == 'beta'")
        .set_index("subject")["value"]
        for way, name in ways.items()
    }
)
half_lives.quantile([0.25, 0.5, 0.75]).round(1)

# %%
# The slope over the dose
# -----------------------
# 2,000 studies of eleven patients at 1e5, 1e6 and 1e7 cells/kg, whose level on day 28 rises with the square root of the
# dose (exponent 0.5, sd between patients 1); 44% of the levels are below the limit. The censored regression is the one
# of ``ck.compare_cohorts``.

from cellkinetics.statistics.tobit import tobit

doses = np.repeat([1e5, 1e6, 1e7], [3, 4, 4])
design = np.column_stack([np.ones(11), np.log(doses / 1e6)])
rng = np.random.default_rng(2020)
levels = 0.5 * design[:, 1] + rng.normal(size=(2000, 11))
limit = np.quantile(levels, 0.44)
below = levels < limit
at_half = np.where(below, limit - np.log(2), levels)
censored = tobit(design, np.where(below, -np.inf, levels), np.where(below, limit, levels))
left_out = [
    np.polyfit(design[kept, 1], values[kept], 1)[0] if np.ptp(doses[kept]) > 0 else np.nan
    for values, kept in zip(levels, ~below, strict=True)
]
slopes = pd.DataFrame(
    {
        "probability (M3)": np.where(censored.converged, censored.coefficients[:, 1], np.nan),
        "left out (M1)": left_out,
        "half the limit (M5)": np.linalg.lstsq(design, at_half.T, rcond=None)[0][1],
    }
)
slopes.quantile([0.25, 0.5, 0.75]).round(2)

# %%
# Both at once: half the limit bends the half-life up and the slope over the dose down. Left out, the samples take part
# of the slope with them.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.9), layout="constrained")
shades = (style.ONE, *style.ramp(2))
jitter = np.random.default_rng(1)
for ax, table, truth_of_it, shown in ((left, half_lives, np.log(2) / 0.03, 150), (right, slopes, 0.5, 150)):
    style.dress(ax)
    for place, (name, shade) in enumerate(zip(table, shades, strict=True)):
        values = table[name].to_numpy()[:shown]
        aside = place + jitter.uniform(-0.2, 0.2, len(values))
        ax.plot(aside, values, "o", markersize=3.2, color=shade, alpha=0.35, markeredgewidth=0)
        ax.hlines(table[name].median(), place - 0.32, place + 0.32, color=shade, linewidth=2.8)
    ax.axhline(truth_of_it, color=style.INK, linewidth=1.0, dashes=(2, 2))
    ax.annotate("truth", (1, truth_of_it), (3, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                va="center", fontsize=style.SMALL, color=style.INK)  # fmt: skip
    ax.set_xticks(range(3), [str(name).replace(" (", "\n(") for name in table])
    ax.set_title("simulated", loc="right", fontsize=style.SMALL, style="italic", color=style.FAINT)
left.set(ylabel="terminal half-life, days", yscale="log", ylim=(10, 200))
left.set_yticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
left.minorticks_off()
left.set_title("150 of 200 patients", loc="left", fontsize=style.TITLE)
right.set(ylabel="exponent of the dose", ylim=(-0.6, 1.6))
right.set_title("150 of 2,000 studies", loc="left", fontsize=style.TITLE)
plt.show()
