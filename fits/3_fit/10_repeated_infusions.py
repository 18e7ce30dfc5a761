"""
Repeated infusions, with and without a second lymphodepletion
=============================================================

Other CAR-NK programmes give two or three infusions. In ``il15_persistence`` a second infusion finds the host's
lymphocytes recovered: it hardly expands, unless lymphodepletion is given again. The model is **ours**, the curves are
simulations.
"""

# %%
# Three schedules
# ---------------
# Doses are pairs of day and amount; a lymphodepletion is an event of its own.

import matplotlib.pyplot as plt
import numpy as np

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

model = models.load("il15_persistence")
days = np.arange(0.0, 120.5, 0.5)
twice = [(0, 1e6), (42, 1e6)]
schedules = {
    "one infusion": {"cells": [(0, 1e6)]},
    "two infusions": {"cells": twice},
    "two infusions, lymphodepletion again": {"cells": twice, "lymphodepletion": [(0, 1), (42, 1)]},
}
curves = {name: ck.simulate(model, None, days, doses=doses)["copies_per_ug"] for name, doses in schedules.items()}

# %%
# The second peak over the level just before it:

for name, curve in curves.items():
    before, after = float(curve[days == 41.5].iloc[0]), float(curve[days > 42].max())
    print(f"{name}: {before:,.0f} copies/ug on day 41.5, at most {after:,.0f} afterwards")

# %%
figure, ax = plt.subplots(figsize=(7.5, 4.0), layout="constrained")
for (name, curve), colour in zip(curves.items(), (style.FAINT, *style.ramp(2)), strict=True):
    ax.plot(days, curve, color=colour, linewidth=1.9, label=name)
ax.axhline(3.0, color=style.FAINT, linewidth=0.9, dashes=(4, 3))
ax.annotate("LLOQ 3", (120, 3.0), (3, 0), textcoords="offset points", va="center", fontsize=9, color=style.FAINT)
ax.set(xlabel="days since the first infusion", ylabel="CAR copies per µg genomic DNA", xlim=(0, 120))
ax.set_title("il15_persistence, simulated", loc="left", fontsize=10)
style.decades(ax, 1, 2e4)
legend = ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=9)
