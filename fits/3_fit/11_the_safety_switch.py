"""
The safety switch
=================

The construct carries inducible caspase 9, switched on by rimiducid. The study never used it; in ``il15_persistence``
its size is an **assumption** (a loss of 98% of the cells within hours), and the curves are simulations.
"""

# %%
# Rimiducid on day 7, while the cells expand, or on day 60, from the niche
# ------------------------------------------------------------------------

import matplotlib.pyplot as plt
import numpy as np

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

model = models.load("il15_persistence")
days = np.unique(np.concatenate([np.arange(0.0, 121.0, 0.5), 7 + np.arange(0, 1, 0.02), 60 + np.arange(0, 1, 0.02)]))
cells = [(0, 1e6)]
given = {
    "never": {"cells": cells},
    "on day 7": {"cells": cells, "rimiducid": [(7, 1.0)]},
    "on day 60": {"cells": cells, "rimiducid": [(60, 1.0)]},
}
curves = {name: ck.simulate(model, None, days, doses=doses)["copies_per_ug"] for name, doses in given.items()}

# %%
# What is left one day later, and whether it comes back:

for name, day in (("on day 7", 7), ("on day 60", 60)):
    left = float(curves[name][days == day + 1].iloc[0] / curves["never"][days == day + 1].iloc[0])
    later = float(curves[name].iloc[-1] / curves["never"].iloc[-1])
    print(f"{name}: {left:.1%} of the curve without it a day later, {later:.0%} on day 120")

# %%
# Early on the cells that are left expand again, while the host's interleukin-15 is high; after two months there is
# nothing to expand on.

figure, ax = plt.subplots(figsize=(7.5, 4.0), layout="constrained")
for (name, curve), colour in zip(curves.items(), (style.FAINT, *style.ramp(2)), strict=True):
    ax.plot(days, curve, color=colour, linewidth=1.9, label=f"rimiducid {name}")
ax.axhline(3.0, color=style.FAINT, linewidth=0.9, dashes=(4, 3))
ax.annotate("LLOQ 3", (120, 3.0), (3, 0), textcoords="offset points", va="center", fontsize=9, color=style.FAINT)
ax.set(xlabel="days since infusion", ylabel="CAR copies per µg genomic DNA", xlim=(0, 120))
ax.set_title("il15_persistence, simulated", loc="left", fontsize=10)
style.decades(ax, 0.1, 1e4)
legend = ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=9)
