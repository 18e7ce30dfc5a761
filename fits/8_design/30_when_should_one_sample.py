"""
When should one sample?
=======================

A schedule decides what can be estimated before the first patient is treated. The expected information of a design needs
no data: the model, the dose, the limit of quantification and the days. Everything here is **calculated** from the
defaults of ``il15_persistence``; another truth has another best schedule.
"""

# %%
# A schedule, and what it determines
# ----------------------------------
# Ten visits of a usual protocol, 1e6 cells/kg, a limit of 3 copies/ug, residual sd 0.5. The standard errors are on the
# log scale: 0.3 is about 30%, and above 1 a parameter is not determined.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

model = models.load("il15_persistence")
free = ["F", "rho", "r", "mu0", "N"]


def errors(days):
    """Standard errors on the log scale, by parameter."""
    found = ck.identifiability(model, sorted(days), doses=1e6, lloq=3.0, free=free)
    return found.parameters["se"]


usual = [1, 3, 7, 14, 21, 28, 60, 90, 180, 365]
print(ck.identifiability(model, usual, doses=1e6, lloq=3.0, free=free))

# %%
# Ten samples on other days
# -------------------------
# Weekly samples leave out the expansion; samples of the first two weeks alone say nothing of persistence.

schedules = {
    "usual": usual,
    "weekly, ten weeks": [7, 14, 21, 28, 35, 42, 49, 56, 63, 70],
    "the first two weeks": [1, 2, 3, 4, 5, 7, 8, 10, 12, 14],
}

# %%
# And the best ten of 26 possible days, found by leaving out, again and again, the day whose loss costs the least (the
# determinant of the information: all parameters together).

candidates = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 17, 21, 28, 35, 45, 60, 90, 120, 150, 180, 240, 300, 365]


def spread(days):
    """Ln of the volume of the region of uncertainty, up to a constant."""
    found = ck.identifiability(model, days, doses=1e6, lloq=3.0, free=free)
    return float(np.log(found.directions["sd"]).sum())


best = list(candidates)
while len(best) > 10:
    without = {day: spread([other for other in best if other != day]) for day in best}
    best.remove(min(without, key=without.__getitem__))
schedules["best of 26 days"] = best
print("best:", best)
table = pd.DataFrame({name: errors(days) for name, days in schedules.items()})
table.round(2)

# %%
# The best days come in groups, one for each thing to be learned: the cells just after infusion (F), the steepest rise
# and the turn (rho, r), and two places of the decline (N, mu0). Two samples on nearly the same day are not a mistake:
# they are two measurements of what matters.

# %%
# One more sample
# ---------------
# What an eleventh sample would add to the usual schedule, by its day: the loss of standard error of each parameter.

days = np.unique(np.concatenate([np.arange(0.5, 28.5, 0.5), np.arange(30.0, 366.0, 15.0)]))
before = errors(usual)
gains = pd.DataFrame({day: 100 * (1 - errors([*usual, day]) / before) for day in days}).T
gains.idxmax().rename("best day").to_frame().assign(gain=gains.max().round(0).astype(int).astype(str) + "%")

# %%
figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.6, 6.2), layout="constrained", sharex=True)
model.plot(top, doses=1e6)
top.axhline(3.0, color=style.FAINT, linewidth=0.9, dashes=(4, 3))
top.annotate("LLOQ 3", (1, 3.0), (3, 0), xycoords=top.get_yaxis_transform(), textcoords="offset points", va="center",
             fontsize=style.SMALL, color=style.FAINT)  # fmt: skip
top.set_ylim(0.02, 1.2e4)
for place, ((name, chosen), colour) in enumerate(zip(schedules.items(), style.ramp(4), strict=True)):
    height = 1.2 * 0.36**place
    top.plot(chosen, np.full(10, height), "|", color=colour, markersize=8, markeredgewidth=1.8)
    top.annotate(name, (1, height), (3, 0), xycoords=top.get_yaxis_transform(), textcoords="offset points", va="center",
                 fontsize=style.SMALL, color=colour)  # fmt: skip
top.set_xlabel("")
for name, colour in zip(free, style.ramp(5), strict=True):
    bottom.plot(gains.index, gains[name], color=colour, linewidth=1.7)
    day = gains[name].idxmax()
    bottom.annotate(name, (day, gains[name].max()), (0, 4), textcoords="offset points", ha="center", color=colour,
                    fontsize=style.LABEL)  # fmt: skip
style.dress(bottom)
style.days(bottom, 365.0, style.size(bottom)[0])
bottom.set_ylim(0, 1.15 * gains.to_numpy().max())
bottom.set_xlabel("day of the eleventh sample", fontsize=style.LABEL)
bottom.set_ylabel("loss of standard error, %", fontsize=style.LABEL)
plt.show()
