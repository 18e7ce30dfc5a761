"""
Counts of molecules
===================

A qPCR well holds a mass of DNA, and near the limit a few molecules in it. Their number scatters as counts do, Poisson,
and most of a low value's spread is that. ``error="counting"`` takes the number of molecules from the value and the mass
of DNA in the well; no molecule at all is less than one, the only limit that there is. The patient is **simulated**.
"""

# %%
# A patient with 0.2 µg in a well
# -------------------------------
# Five copies per µg are one molecule in the well. A limit of 15 copies/µg would leave out what the late samples say.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

model = models.load("stein_2019_tisagenlecleucel")
mass = 0.2
truth = {"fold": 3900.0, "t_max": 9.0, "c_max": 20000.0, "alpha": 0.25, "f_b": 0.004, "beta": 0.015}
days = np.array([3, 5, 7, 9, 11, 14, 17, 21, 28, 35, 45, 60, 90, 120, 150, 180, 240, 300.0])
curve = ck.simulate(model, truth, days)["copies_per_ug"].to_numpy()
rng = np.random.default_rng(2020)
# Samples differ by more than counting: 30% of the level, and the molecules that come into the well.
molecules = rng.poisson(curve * np.exp(0.3 * rng.normal(size=len(days))) * mass)
table = pd.DataFrame({"subject": "simulated", "day": days, "copies_per_ug": molecules / mass, "SIMULATED": 1})
table.assign(molecules=molecules).tail(6)

# %%
# Counted, and with a limit
# -------------------------

counted = ck.fit(model, ck.read_study(table, lloq=1 / mass, dna_ug=mass), error="counting")
limited = ck.fit(model, ck.read_study(table, lloq=15.0))
names = ["alpha", "f_b", "beta"]
rows = {how: fit.parameters.loc[names, ["value", "lower", "upper"]] for how, fit in
        {"counting": counted, "log-normal, LLOQ 15": limited}.items()}  # fmt: skip
print(counted.outcome)
pd.concat(rows, names=["error"]).round(4).assign(truth=[truth[name] for name in names] * 2)

# %%
# Late samples of few molecules say more of the slow phase than a limit at three molecules leaves of them.

figure, axes = plt.subplots(1, 2, figsize=(10.0, 4.2), layout="constrained", sharey=True)
for ax, fit, title in zip(axes, (counted, limited), ("counted molecules", "below 15 copies/µg censored"), strict=True):
    fit.plot(ax)
    grid = np.linspace(0.5, 300, 300)
    ax.plot(grid, ck.simulate(model, truth, grid)["copies_per_ug"], color=style.INK, linewidth=1.0, dashes=(2, 2))
    ax.set_title(f"{title} (truth dashed)", loc="left", fontsize=style.TITLE)
axes[1].set_ylabel("")
plt.show()
