"""
An ODE of your own
==================

A model that no paper has is a function of its states: here CAR-NK cells whose growth needs a cytokine that declines
after lymphodepletion. It is written, fitted to a **simulated** patient of the example, found wanting, extended, and
mended where the samples do not determine it. Each time the outcome of the fit says what to do next.
"""

import matplotlib.pyplot as plt

import cellkinetics as ck
from cellkinetics import Model, Parameter

study = ck.example()
patient = study["P05"]

# %%
# The right-hand side takes by name what it needs, states, parameters and ``t`` (days since the first infusion), and
# returns a derivative for each state, per day. Cells C grow at rho I/(1 + I), with the cytokine I in units of what has
# half its effect; I falls at k_I. Every value says where it comes from, even where that is an assumption.


def grows(C, I, rho, k_I, delta):
    """Derivatives of cells and of the cytokine, per day."""
    return (rho * I / (1 + I) - delta) * C, -k_I * I


parameters = {
    "F": Parameter(4e-4, "copies/ug per cell/kg", "assumption: as il15_persistence"),
    "I0": Parameter(10.0, "1", "assumption: ten times what has half the effect"),
    "rho": Parameter(1.5, "1/day", "assumption"),
    "k_I": Parameter(0.3, "1/day", "assumption"),
    "delta": Parameter(0.5, "1/day", "assumption"),
}
gated = Model(
    name="gated_growth",
    reference="ours",
    parameters=parameters,
    outputs={"copies_per_ug": "copies/ug"},
    states=("C", "I"),
    rhs=grows,
    observe=lambda C: C,
    start={"I": "I0"},
    dosing={"cells": ("C", "F")},
    free=("F", "rho", "k_I", "delta"),
)
first = ck.fit(gated, patient)
print(first.outcome)

# %%
# The fit says that the curve misses the samples, which, and by how much: one exponential cannot fall from the peak
# within days and stay for months. So some cells become memory cells M, which need no cytokine.


def grows_and_persists(C, I, M, rho, k_I, delta, eps, mu):
    """Derivatives of cells, of the cytokine and of memory cells, per day."""
    return (rho * I / (1 + I) - delta - eps) * C, -k_I * I, eps * C - mu * M


persisting = Model(
    name="gated_growth_and_memory",
    reference="ours",
    parameters=parameters
    | {
        "eps": Parameter(0.001, "1/day", "assumption"),
        "mu": Parameter(0.01, "1/day", "assumption: a half-life of ten weeks"),
    },
    outputs={"copies_per_ug": "copies/ug"},
    states=("C", "I", "M"),
    rhs=grows_and_persists,
    observe=lambda C, M: C + M,
    start={"I": "I0"},
    dosing={"cells": ("C", "F")},
    free=("F", "rho", "k_I", "delta", "eps", "mu"),
)
second = ck.fit(persisting, patient)
print(second.outcome)

# %%
# Now it is the other way round: the curve passes through the samples, and three of its rates move together. The
# correlations show how closely, and the outcome names the remedy: fix one. What is fixed, and at what, then stands in
# every summary.
print(second.correlations.round(2).loc[["rho", "k_I", "delta"], ["rho", "k_I", "delta"]])
print(ck.fit(persisting, patient, fixed={"delta": 0.5}).outcome)

# %%
# With delta fixed it says the same of mu: this patient's samples end on day 120. With both fixed it is determined.
third = ck.fit(persisting, patient, fixed={"delta": 0.5, "mu": 0.01})
print(third.outcome)
print(third.parameters.loc[["F", "rho", "k_I", "eps"], ["value", "lower", "upper", "unit"]])

# %%
# The three side by side, with the interval of the curve.
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
titles = ("growth alone", "with memory", "delta and mu fixed")
for ax, fit, title in zip(axes, (first, second, third), titles, strict=True):
    fit.plot(ax)
    ax.set_title(title, loc="left", fontsize=9)
for ax in axes[1:]:
    ax.set_ylabel("")

# %%
# Against a model of the library, by the criterion that charges each free parameter.
both = ck.compare_models([third, ck.fit(ck.models.load("il15_persistence"), patient)])
print(both[["n", "n_free", "aic", "weight"]])
