"""
Your own model
==============

A model is a function and its parameters; fitting, limits, intervals and pictures come with it. Here is one from another
field: indomethacin in plasma after an intravenous bolus, which falls in two phases. The samples are those of subject 1
in the data set ``Indometh`` of R (Kwan et al., J Pharmacokinet Biopharm 1976;4:255-80): measured, not simulated.
"""

import jax.numpy as jnp
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import Model, Parameter

# %%
# The equation, with the names of its field, and where each start value comes from. ``canonical`` says which of the two
# phases is called alpha, ``initial`` finds start values in the samples.


def curve(t, A, alpha, B, beta):
    """Micrograms per millilitre, t in days."""
    return A * jnp.exp(-alpha * t) + B * jnp.exp(-beta * t)


def canonical(values):
    """The faster rate is alpha."""
    if values["alpha"] >= values["beta"]:
        return values
    return {"A": values["B"], "alpha": values["beta"], "B": values["A"], "beta": values["alpha"]}


def initial(days, values):
    """The last samples give the slow phase, what is left at the first one the fast one."""
    slope, level = np.polyfit(days[-4:], np.log(values[-4:]), 1)
    return {"B": np.exp(level), "beta": -slope, "A": max(values[0] - np.exp(level), 0.1), "alpha": -5 * slope}


two_phases = Model(
    name="two_phases",
    reference="a sum of two exponentials",
    parameters={
        "A": Parameter(2.0, "ug/mL", "assumption"),
        "alpha": Parameter(40.0, "1/day", "assumption: half-life of half an hour"),
        "B": Parameter(0.2, "ug/mL", "assumption"),
        "beta": Parameter(4.0, "1/day", "assumption: half-life of four hours"),
    },
    outputs={"concentration": "ug/mL"},
    curve=curve,
    canonical=canonical,
    initial=initial,
)
print(two_phases.parameters.table[["default", "unit", "source"]])

# %%
# A table with any names for its columns. Say that the lower limit is 0.06 ug/mL: the last sample is then below it, and
# enters the likelihood as such.

hours = [0.25, 0.5, 0.75, 1, 1.25, 2, 3, 4, 5, 6, 8]
concentration = [1.50, 0.94, 0.78, 0.48, 0.37, 0.19, 0.12, 0.11, 0.08, 0.07, 0.05]
table = pd.DataFrame({"subject": "1", "day": np.array(hours) / 24, "concentration": concentration})
study = ck.read_study(table, lloq=0.06, unit="ug/mL", columns={"copies_per_ug": "concentration"})

fit = ck.fit(two_phases, study)
print(fit.summary())

# %%
# Half-lives in hours, with what the samples say about each.

half_lives = 24 * np.log(2) / fit.parameters.loc[["alpha", "beta"], ["value", "upper", "lower"]]
print(half_lives.set_axis(["hours", "lower", "upper"], axis=1).round(2))

# %%
ax = fit.plot()
