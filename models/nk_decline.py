r"""Biexponential loss without expansion: the baseline for patients whose cells do not expand.

.. math:: C(t) = F \, \text{dose} \, \big[(1 - f_b)\,e^{-\alpha t} + f_b\,e^{-\beta t}\big]

Ours, as the alternative that an expansion model has to beat: after infusions of haplo-identical NK cells most patients
do not expand (10-27% did with interleukin-2, 27-36% with interleukin-15), so that a monotone curve that soon falls
below the limit is a normal case. Non-engineered NK cells are typically gone by two weeks
(Liu et al., N Engl J Med 2020;382:545-53, doi:10.1056/NEJMoa1910607).

Assumptions
-----------
The cells are in blood from the end of the infusion; infusions add up.
"""

from __future__ import annotations

import jax.numpy as jnp

from cellkinetics.model import Model, Parameter


def curve(t, dose, F, alpha, f_b, beta):
    """Copies/ug, shape (n,), after one infusion at day 0."""
    return F * dose * ((1 - f_b) * jnp.exp(-alpha * t) + f_b * jnp.exp(-beta * t))


def canonical(values):
    """The faster rate is alpha."""
    if values["alpha"] >= values["beta"]:
        return values
    return {**values, "alpha": values["beta"], "beta": values["alpha"], "f_b": 1 - values["f_b"]}


model = Model(
    name="nk_decline",
    reference="ours; a baseline",
    parameters={
        "F": Parameter(
            4e-4,
            "copies/ug per cell/kg",
            "own estimate: 70 kg, VCN 2, 10% of cells in blood, 1e9 leukocytes/L",
        ),
        "alpha": Parameter(1.5, "1/day", "assumption: as k_d of il15_persistence", max=50.0),
        "f_b": Parameter(0.05, "1", "assumption", max=1.0, scale="logit"),
        "beta": Parameter(0.2, "1/day", "assumption: gone by two weeks", min=1e-4),
    },
    outputs={"copies_per_ug": "copies/ug"},
    curve=curve,
    canonical=canonical,
    linear_in_dose=True,
)
