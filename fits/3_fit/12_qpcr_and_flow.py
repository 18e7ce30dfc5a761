"""
qPCR and flow cytometry together, while leukocytes are few
==========================================================

qPCR counts copies of the transgene against the DNA of all leukocytes, flow cytometry counts cells in a volume of blood.
After lymphodepletion leukocytes are few, and then they recover: copies/ug fall while the cells still grow, and the two
assays disagree on the day of the peak. ``qpcr_and_flow`` has one curve of cells behind both. The patient is
**simulated**.
"""

# %%
# A patient
# ---------
# Leukocytes recover from 150 to 6,000/uL in the second and third week; the CAR cells double every 2.4 days until day
# 14. Each assay has its own error and its own limit: 3 copies/ug, and half a cell/uL.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

model = models.load("qpcr_and_flow")
leukocytes = [(0, 300.0), (4, 150.0), (8, 150.0), (10, 600.0), (12, 2000.0), (14, 4500.0), (21, 6000.0)]
truth = {"fold": 60.0, "t_max": 14.0, "c_max": 40.0, "alpha": 0.25, "f_b": 0.01, "beta": 0.01, "vcn": 3.0}
days = np.array([2, 4, 6, 8, 10, 12, 14, 17, 21, 28, 42, 60, 90, 120, 180.0])
curves = ck.simulate(model, truth, days, inputs={"leukocytes": leukocytes})
rng = np.random.default_rng(2020)
rows = [
    pd.DataFrame({"day": days, "DVID": number, "value": curves[name] * np.exp(sd * rng.normal(size=len(days)))})
    for number, (name, sd) in enumerate({"copies_per_ug": 0.3, "cells_per_ul": 0.4}.items(), start=1)
]
table = pd.concat(rows).assign(subject="simulated", SIMULATED=1)
table["leukocytes"] = np.interp(table["day"], *np.transpose(leukocytes))
table["value"] = table["value"].round(4)
study = ck.read_study(table, lloq={"1": 3.0, "2": 0.5})
study.used.groupby(["output", "status"]).size().unstack(fill_value=0)

# %%
# Both assays in one fit
# ----------------------
# Every parameter of the curve is shared by the two; only their ratio shows the vector copy number. Each output has its
# own sd.

fit = ck.fit(model, study)
print(fit.outcome)
fit.parameters[["value", "lower", "upper", "unit"]].round(3).assign(truth=pd.Series(truth))

# %%
# qPCR alone
# ----------
# Without flow cytometry the level of the cells and the vector copy number are confounded, and one of them has to be
# fixed. The fit says so when it is not:

alone = ck.read_study(table[table["DVID"] == 1], lloq=3.0)
print(ck.fit(model, alone, starts=1).outcome)

# %%
# Copies/ug are highest just before the leukocytes recover, and fall while the cells still grow:

copies = alone.used.set_index("day")["value"]
cells = study.used.query("output == '2'").set_index("day")["value"]
print(f"highest sample: day {copies.idxmax():g} by qPCR, day {cells.idxmax():g} by flow cytometry")
print(f"t_max from both: {fit.parameters.loc['t_max', 'value']:.1f} days; the truth is {truth['t_max']:g}")

# %%
# Above, both assays and the one curve behind them; below, the leukocytes.

figure, axes = plt.subplots(3, 1, figsize=(7.0, 7.4), layout="constrained", sharex=True, height_ratios=[1, 1, 0.55])
for ax, output, label in zip(axes, model.outputs, ("copies/µg (qPCR)", "cells/µL (flow cytometry)"), strict=False):
    fit.plot(ax, output=output, colour=style.ONE if output == "copies_per_ug" else style.RAMP[2])
    ax.axvline(truth["t_max"], color=style.FAINT, linewidth=0.9, dashes=(1, 2))
    ax.set(ylabel=label, xlabel="", title="")
axes[0].annotate("true peak of the cells", (truth["t_max"], 0.97), (4, 0), xycoords=axes[0].get_xaxis_transform(),
                 textcoords="offset points", va="top", fontsize=style.SMALL, color=style.FAINT)  # fmt: skip
style.decades(axes[2], 80, 1.2e4)
axes[2].plot(*zip(*leukocytes, strict=True), "-o", color=style.FAINT, markersize=3.5, linewidth=1.2)
axes[2].plot([21, 180], [6000, 6000], color=style.FAINT, linewidth=1.2)
axes[2].axvline(truth["t_max"], color=style.FAINT, linewidth=0.9, dashes=(1, 2))
axes[2].set_xlabel("days since infusion", fontsize=style.LABEL)
axes[2].set_ylabel("leukocytes/µL", fontsize=style.LABEL)
plt.show()
