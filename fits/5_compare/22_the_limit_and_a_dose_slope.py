"""
What half the limit does to a dose slope
========================================

Low doses lie below the limit, high doses do not. Setting what is below to half the limit lifts the low doses and leaves
the high ones, so that a slope over the doses comes out too flat; leaving them out does the same. With their
probability (M3) such samples take part as what they are. The patients are **simulated**.
"""

# %%
# A persistent level that rises with the dose
# -------------------------------------------
# Two phases of decline in 24 patients; the level b of the slow one follows dose^0.5. The limit hides most of the late
# samples of the lowest dose.

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics.figures import style

EXPONENT, LLOQ = 0.5, 25.0
units = {"a": (1000.0, "copies/ug"), "fast": (0.3, "1/day"), "b": (30.0, "copies/ug"), "slow": (0.01, "1/day")}
model = ck.Model(
    name="two_phases",
    parameters={name: ck.Parameter(value, unit, "this page") for name, (value, unit) in units.items()},
    outputs={"copies_per_ug": "copies/ug"},
    curve=lambda t, a, fast, b, slow: a * jnp.exp(-fast * t) + b * jnp.exp(-slow * t),
    scale_free=True,
)
days = np.array([1.0, 3, 7, 14, 21, 28, 45, 60, 90])
doses = np.repeat([1e5, 1e6, 1e7], 8)
rng = np.random.default_rng(2020)
truth = pd.DataFrame({
    "a": 1000 * (doses / 1e6) ** 0.5 * np.exp(0.5 * rng.normal(size=24)), "fast": 0.3,
    "b": 30 * (doses / 1e6) ** EXPONENT * np.exp(0.5 * rng.normal(size=24)), "slow": 0.01,
})  # fmt: skip
table = ck.simulate(model, truth, days)
table["copies_per_ug"] *= np.exp(0.4 * rng.normal(size=len(table)))
table = table.assign(subject=[f"P{i + 1:02d}" for i in table["draw"]], dose=np.repeat(doses, len(days)), SIMULATED=1)
table = table.drop(columns="draw")
below = (table["copies_per_ug"] < LLOQ).groupby([table["dose"], table["day"]]).mean()
below.unstack("day").round(2)  # share below the limit, by dose and day

# %%
# One population, four ways to take what is below
# -----------------------------------------------
# "No limit": the assay that would have seen everything.

studies = {"no limit": ck.read_study(table, lloq=1e-3)}
studies |= dict.fromkeys(["m3", "half", "drop"], ck.read_study(table, lloq=LLOQ))
asked = {"free": ["a", "b"], "covariates": {"a": "dose", "b": "dose"}, "progress": False}
rows = {}
for name, study in studies.items():
    how = "m3" if name == "no limit" else name
    fit = ck.fit_population(model, study, censoring=how, **asked)
    rows[name] = fit.parameters.loc["b:dose", ["value", "stderr", "lower", "upper"]]
found = pd.DataFrame(rows).T.astype(float)
found.round(2)

# %%
# The slope with its interval
# ---------------------------

words = {"no limit": "no limit", "m3": "M3: its probability", "half": "half the limit", "drop": "left out"}
figure, ax = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
for place, (_, row) in enumerate(found.iloc[::-1].iterrows()):
    ax.plot([row["lower"], row["upper"]], [place, place], color=style.ONE, linewidth=1.9)
    ax.plot(row["value"], place, "o", color=style.ONE, markersize=6)
ax.axvline(EXPONENT, color=style.FAINT, linewidth=0.9, dashes=(4, 3))
ax.annotate(f" truth {EXPONENT}", (EXPONENT, 3.45), fontsize=style.SMALL, color=style.FAINT, va="top")
style.dress(ax)
ax.set(yticks=range(4), ylim=(-0.5, 3.6))
ax.set_yticklabels([words[name] for name in found.index[::-1]], fontsize=style.LABEL)
ax.set_xlabel("dose exponent of the persistent level, 95% interval", fontsize=style.LABEL, color=style.INK)
