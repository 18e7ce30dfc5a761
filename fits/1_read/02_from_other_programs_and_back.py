"""
From a Monolix, NONMEM or nlmixr2 file, and back
================================================

The same patients as three programs want them: how the limit is written differs, what it says does not. The files are
read without options, give the same fit, and are written back in each spelling. The patients are **simulated**: three of
the example.
"""

# %%
# Three files
# -----------
# Monolix and nlmixr2 say ``CENS`` 1 with the limit in ``DV``; NONMEM's reader skips lines that begin with #, and takes
# a point for nothing.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

study = ck.example().select(subjects=["P01", "P04", "P08"])
folder = Path(tempfile.mkdtemp())
files = {name: folder / f"{name}.csv" for name in ("monolix", "nonmem", "nlmixr2")}
for name, file in files.items():
    study.to_csv(file, style=name)

# %%
# The head of each, and the first samples below the limit:

for name, file in files.items():
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# ")]
    print(f"--- {name}.csv")
    print("\n".join(line[:110] for line in [*lines[:3], "...", *lines[13:15]]))

# %%
# Read
# ----
# What was censored is censored, what was excluded is excluded with its reason, and doses are doses.

back = {name: ck.read_study(file) for name, file in files.items()}
pd.DataFrame({name: {**read.counts, "excluded": sum(read.exclusions.values())} for name, read in back.items()})

# %%
# Fit
# ---
# The same samples give the same likelihood, from whichever file they come:

model = models.load("stein_2019_tisagenlecleucel")
fits = {name: ck.fit(model, read.select(read.subjects[0])) for name, read in back.items()}
pd.DataFrame({name: {"ln L": fit.log_likelihood, "t_max": fit.parameters.loc["t_max", "value"],
                     "censored": fit.n_censored, "outcome": fit.outcome} for name, fit in fits.items()})  # fmt: skip

# %%
# What does not travel
# --------------------
# A model file (Mlxtran, ``$PRED``, ``ini``) is not read: :doc:`/from_other_tools` has a table of what is what. A reset
# in the middle of a file, steady state and infusions over days are refused with a reason, and not read as something
# else:

infusion_of_days = "ID,TIME,DV,AMT,RATE\n1,0,.,1e6,1e4\n1,7,5120,.,.\n"
(folder / "refused.csv").write_text(infusion_of_days)
try:
    ck.read_study(folder / "refused.csv", lloq=3.0)
except ck.StudyError as error:
    print(error)

# %%
# Back
# ----
# A study is written in the spelling of another program than the one it came from, and read again:

back["nonmem"].to_csv(folder / "again.csv", style="monolix")
again = ck.read_study(folder / "again.csv")
columns = ["day", "lower", "upper", "status", "excluded"]
print(again.observations[columns].equals(back["monolix"].observations[columns]))

# %%
# One patient from three files: the same curve three times.

figure, axes = plt.subplots(1, 3, figsize=(10.0, 3.4), layout="constrained", sharey=True)
for ax, (name, fit), colour in zip(axes, fits.items(), style.ramp(3), strict=True):
    fit.plot(ax, colour=colour)
    ax.set_title(f"{name}.csv", loc="left", fontsize=style.TITLE, pad=9)
    ax.set_ylabel(ax.get_ylabel() if ax is axes[0] else "")
plt.show()
