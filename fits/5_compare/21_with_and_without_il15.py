"""
With and without the transgene's interleukin-15
===============================================

The construct of the study supplies interleukin-15 locally. ``il15_persistence`` has that supply as one parameter, tau:
at 0 the cells still expand, on the host's own interleukin-15 after lymphodepletion, and are gone within a month. The
model is **ours**: its defaults are calibrated to what the study reports, and the curves are simulations. That the
transgene's interleukin-15 is what makes cells persist is built into it; another product that carries one was gone by
day 15 (the parameter set ``early_decline``), so that the comparison below holds for the cells of that study at most.
"""

# %%
# Two constructs, three doses
# ---------------------------

import matplotlib.pyplot as plt
import numpy as np

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

model = models.load("il15_persistence")
days = np.arange(0.0, 366.0, 0.5)
doses = [1e5, 1e6, 1e7]
curves = {
    (tau, dose): ck.simulate(model, {"tau": tau}, days, doses=dose)["copies_per_ug"]
    for tau in (0.6, 0.0)
    for dose in doses
}

# %%
# On five days, after 1e6 cells/kg:

table = ck.simulate(model, {"tau": 0.6}, [14, 21, 28, 60, 365], doses=1e6).rename(columns={"copies_per_ug": "with"})
table["without"] = ck.simulate(model, {"tau": 0.0}, [14, 21, 28, 60, 365], doses=1e6)["copies_per_ug"]
table.round(4)

# %%
# The curves
# ----------
# With the transgene all doses end in the same niche: a hundredfold dose is less than twofold on day 21. Without it the
# curves fall below the limit by day 30, whatever the dose.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.9), sharey=True, layout="constrained")
for ax, tau, title in zip(axes, (0.6, 0.0), ("with the transgene's IL-15", "without (tau = 0)"), strict=True):
    for dose, colour in zip(doses, style.ramp(3), strict=True):
        ax.plot(
            days,
            curves[tau, dose].clip(lower=1e-3),
            color=colour,
            linewidth=1.8,
            label=f"{dose:.0e}/kg".replace("e+0", "e"),
        )
    ax.axhline(3.0, color=style.FAINT, linewidth=0.9, dashes=(4, 3))
    ax.set(title=f"{title} (simulated)", xlabel="days since infusion", xlim=(0, 90))
    style.decades(ax, 0.3, 1e5)
axes[0].set_ylabel("CAR copies per µg genomic DNA")
axes[1].text(88, 3.4, "LLOQ 3", ha="right", fontsize=9, color=style.FAINT)
legend = axes[1].legend(frameon=False, title="dose")
