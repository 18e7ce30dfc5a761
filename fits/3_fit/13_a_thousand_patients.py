"""
A thousand patients in one batch
================================

Every patient of a programme, every sample of a bootstrap, every start of a search: the same problem many times, and one
compiled batch. A thousand **simulated** patients of ``il15_persistence``, fifteen samples each, about 30% of them below
the limit, every one with its own censored likelihood, exact Hessian and reason if it ends badly.
"""

# %%
# A thousand patients
# -------------------
# What one patient determines is drawn around the defaults; the rest stays there.

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import style

model = models.load("il15_persistence")
days = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])
spread = {"F": 0.5, "rho": 0.06, "r": 0.1, "mu0": 0.3, "N": 0.4}
rng = np.random.default_rng(2020)
truth = pd.DataFrame({name: model.parameters[name].value * np.exp(sd * rng.normal(size=1000))
                      for name, sd in spread.items()})  # fmt: skip

table = ck.simulate(model, truth, days, doses=1e6).rename(columns={"draw": "subject"})
table["copies_per_ug"] *= np.exp(0.5 * rng.normal(size=len(table)))
lloq = float(table["copies_per_ug"].quantile(0.3))
study = ck.read_study(table.assign(subject=table["subject"].astype(str), dose=1e6, SIMULATED=1), lloq=lloq)
print(study.summary().partition("\n\n")[0])

# %%
# Fitted
# ------
# The first batch compiles its programs, which are kept in the cache folder for later processes.

for call in ("first", "second"):
    began = time.perf_counter()
    fits = ck.fit_each(model, study, starts=1, progress=False)
    estimates = fits.parameters
    print(f"{call} call: {time.perf_counter() - began:.1f} s for {len(fits)} patients, tables included")

fits.outcomes["outcome"].str.partition(":")[0].value_counts()

# %%
# What came back
# --------------
# Estimates against the simulated truth, of the patients whose samples determine them. N, the capacity of the niche, is
# what a patient tells least about.

free = estimates[estimates["status"] == "free"].astype({"subject": int})
figure, axes = plt.subplots(1, 5, figsize=(12, 3), layout="constrained")
for ax, name in zip(axes, spread, strict=True):
    found = free[free["parameter"] == name].set_index("subject")
    actual = truth.loc[found.index, name]
    ax.scatter(actual, found["value"], s=5, color=style.ONE, alpha=0.35, linewidths=0)
    low, high = actual.min() / 1.5, actual.max() * 1.5
    ax.plot([low, high], [low, high], color="0.3", linewidth=1)
    inside = (found["lower"] <= actual) & (actual <= found["upper"])
    ax.set_title(f"{name}: {inside.mean():.0%} of intervals", fontsize=9, loc="left")
    ax.set(yscale="log", ylim=(low, high), xlim=(low, high))
    style.dress(ax)
    style.few_ticks(ax)
    ax.yaxis.set_major_locator(ax.xaxis.get_major_locator())
    ax.yaxis.set_major_formatter(ax.xaxis.get_major_formatter())
    ax.yaxis.set_minor_formatter(ax.xaxis.get_minor_formatter())
    ax.set_xlabel("simulated truth")
axes[0].set_ylabel("estimate")
style.tag(axes[-1])

# %%
# How the time grows
# ------------------
# Measured as this page was made, compiled beforehand. A few patients share the fixed cost of a batch; from a few
# hundred on a patient costs the same however many there are. More parameters than the five of the default free set are
# not determined by these samples: the optimiser would walk along a ridge, and a patient cost a hundred times as much.

sizes, took = [10, 30, 100, 300, 1000], []
for size in sizes:
    some = study.select(subjects=study.subjects[:size])
    _ = ck.fit_each(model, some, starts=1, progress=False).parameters
    began = time.perf_counter()
    _ = ck.fit_each(model, some, starts=1, progress=False).parameters
    took.append(1e3 * (time.perf_counter() - began) / size)
figure, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
ax.plot(sizes, took, "o-", color=style.ONE, markersize=4)
style.dress(ax)
ax.set_xscale("log")
ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
ax.minorticks_off()
ax.set_ylim(0, 1.1 * max(took))
ax.set_xlabel("patients in the batch")
_ = ax.set_ylabel("ms a patient, tables included")
