"""
Tocilizumab while the cells expand
==================================

Tocilizumab and steroids are given because cells expand, and may change how they go on. ``model.with_(comedication=)``
makes that a factor on a rate, with a parameter of its own. The patient is **simulated**: growth is 0.8 of what it was
from the day of tocilizumab on, and one patient's samples do not show it.
"""

# %%
# A patient
# ---------
# ``effector_memory`` with tocilizumab on the growth rate rho: a new parameter, ``tocilizumab_on_rho``, 1 where it does
# nothing. When it was given stands in the table, in a row of a dose of that name.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

model = models.load("effector_memory").with_(comedication={"tocilizumab": ["rho"]})
days = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 21, 28, 45, 60, 90, 120, 180.0])
doses = {"cells": 1e6, "tocilizumab": [(5, 1)]}
truth = {"tocilizumab_on_rho": 0.8}
curve = ck.simulate(model, truth, days, doses=doses)["copies_per_ug"]
rng = np.random.default_rng(2020)
samples = pd.DataFrame({"day": days, "copies_per_ug": (curve * np.exp(0.25 * rng.normal(size=len(days)))).round(3)})
given = pd.DataFrame({"day": [0.0, 5.0], "dose": [1e6, 1.0], "kind": ["cells", "tocilizumab"]})
table = pd.concat([given, samples]).assign(subject="simulated", SIMULATED=1)
study = ck.read_study(table, lloq=3.0)
study.doses

# %%
# With the factor, and without
# ----------------------------
# Rates that one patient's samples do not tell stay at the model's values.

free = ["F", "f", "rho"]
fit = ck.fit(model, study, free=[*free, "tocilizumab_on_rho"], starts=1)
without = ck.fit(model, study, free=free, fixed={"tocilizumab_on_rho": 1.0}, starts=1)
print(fit.outcome)
fit.parameters.loc[[*free, "tocilizumab_on_rho"], ["value", "lower", "upper", "unit"]].round(3)

# %%
# The interval goes from half to nearly twice: growth before day 5 is seen in five samples, and what changes then is
# made up by the share of the cells that expands, f. The one fit is a special case of the other, so that there is a
# likelihood ratio; it shows nothing either, although the truth is 0.8:

ck.compare_models([fit, without])[["n_free", "aicc", "weight", "p"]].round(3)

# %%
# The patient without tocilizumab
# -------------------------------
# The same estimates, and no row of tocilizumab: what the fit says that the curve would have been, with its interval. It
# is a statement of the model: whoever was given it expanded more than others. Several patients with one factor,
# ``shared=["tocilizumab_on_rho"]``, or a population say more.

grid = np.geomspace(0.5, 180, 200)
figure, ax = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
other = fit.predict(grid, doses=1e6)
band = (other["copies_per_ug_lower"], other["copies_per_ug_upper"])
ax.fill_between(grid, *band, color=style.RAMP[1], alpha=0.3, linewidth=0, label="without tocilizumab, 95% interval")
fit.plot(ax)
ax.axvline(5, color=style.FAINT, linewidth=0.9, dashes=(1, 2))
ax.annotate("tocilizumab", (5, 0.04), (3, 0), xycoords=ax.get_xaxis_transform(), textcoords="offset points",
            fontsize=style.SMALL, color=style.FAINT)  # fmt: skip
ax.legend(frameon=False, fontsize=style.TEXT, loc="upper right")
plt.show()
