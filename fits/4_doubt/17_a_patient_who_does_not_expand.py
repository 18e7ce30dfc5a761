"""
A patient who does not expand
=============================

After haplo-identical NK cells most patients do not expand, and a monotone, mostly censored curve is a normal case. Does
this patient expand? Two models answer: ``nk_decline``, a loss in two phases, and an exponential rise with the same
decline. Both patients are **simulated**.
"""

# %%
# Two patients
# ------------
# One is simulated from the decline, one from the rise; both have a limit of 3 copies/ug and a residual SD of 0.5.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

decline, rise = models.load("nk_decline"), models.load("stein_2019_tisagenlecleucel")
days = np.array([0.2, 1, 3, 5, 7, 10, 14, 21, 28, 42, 60, 90])
rng = np.random.default_rng(15)


def simulated(subject, curve):
    copies = curve * np.exp(0.5 * rng.normal(size=len(days)))
    return pd.DataFrame({"subject": subject, "day": days, "copies_per_ug": copies, "dose": 1e6, "SIMULATED": 1})


falls = decline.solve(days, {"F": 1e-3, "alpha": 0.35}, 1e6)["copies_per_ug"]
rises = rise.solve(days, {"fold": 300.0, "c_max": 5000.0})["copies_per_ug"]
study = ck.read_study(pd.concat([simulated("A", np.asarray(falls)), simulated("B", np.asarray(rises))]), lloq=3.0)

# %%
# Which model, by patient
# -----------------------
# Akaike weights by AICc, on the same samples and the same handling of the limit; anything else is refused.

fits = [ck.fit_each(model, study, progress=False) for model in (decline, rise)]
table = ck.compare_models(fits)
for subject, name, outcome in table.loc[["A", "B"], "outcome"].reset_index().to_numpy():
    print(f"{subject}, {name}: {outcome.partition('.')[0]}")

table.loc[["A", "B"], ["n_free", "log_likelihood", "aicc", "delta", "weight"]].round(2)

# %%
# The same question within one model
# ----------------------------------
# A fold of 1 is no rise at all. It is also the bound of that parameter, so that the likelihood ratio has half of its
# usual p; ``note`` says so, and also where one fit had too few quantified samples to estimate its sd.

questions = []
for subject in study.subjects:
    one = study.select(subject)
    pair = ck.compare_models([ck.fit(rise, one, fixed={"fold": 1.0}), ck.fit(rise, one)])
    questions.append(pair.iloc[[0]][["ratio", "p"]].assign(subject=subject))
    print(f"{subject}: {pair['note'].iloc[0]}")

pd.concat(questions).set_index("subject").round(4)

# %%
# The fitted trajectories
# -----------------------
# Both models beside the samples of each patient.

figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.0), layout="constrained")
for ax, subject in zip(axes, study.subjects, strict=True):
    ck.plot_models([each[subject] for each in fits], ax)
