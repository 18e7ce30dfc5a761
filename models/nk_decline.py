r"""Biexponential loss without expansion: the baseline for patients whose cells do not expand.

.. math:: C(t) = F \, \text{dose} \, \big[(1 - f_b)\,e^{-\alpha t} + f_b\,e^{-\beta t}\big]

Ours, as the alternative that an expansion model has to beat: after infusions of haplo-identical NK cells for acute
myeloid leukaemia most patients do not expand. Expansion was seen in 10% of 42 patients with interleukin-2 and in 27% of
15 whose regulatory T cells were depleted as well (Bachanova et al., Blood 2014;123:3855-63,
doi:10.1182/blood-2013-10-532531), and with interleukin-15 in 36% of 26 by vein and 27% of 16 under the skin (Cooley et
al., Blood Adv 2019;3:1970-80). A monotone curve that soon falls below the limit is a normal case. Non-engineered NK
cells are typically gone by two weeks (Liu et al., N Engl J Med 2020;382:545-53, doi:10.1056/NEJMoa1910607).

Assumptions
-----------
Every default is an assumption: no such curve of single patients was at hand to estimate from. The cells are in blood
from the end of the infusion; infusions add up. A curve below the limit after two weeks does not tell the second phase:
f_b and beta are then what their start values say.
"""

from __future__ import annotations

import numpy as np

from cellkinetics import Equations, Model, Parameter
from cellkinetics.blocks import after_a_drop, decline, faster_first, lines, one_phase, seen, two_phases


def curve(t, dose, F, alpha, f_b, beta):
    """Copies/ug, shape (n,), after one infusion at day 0."""
    return F * dose * decline(t, alpha, f_b, beta)


def rhs(first, second, alpha, beta):
    """Derivatives of the infused cells (copies/ug) if all were lost at alpha, and if all were at beta, per day."""
    return -alpha * first, -beta * second


def observe(first, second, f_b):
    """Copies/ug."""
    return (1 - f_b) * first + f_b * second


def free(study):
    """f_b and beta only from 1e6 cells/kg on: below, the second phase lies under the limit."""
    highest = study.doses.loc[study.doses["kind"] == "cells", "amount"].max()
    return ("F", "alpha") if highest < 1e6 else ("F", "alpha", "f_b", "beta")


def initial(days, values, dose):
    """Slopes of the first and the second half of the samples, and their levels at day 0."""
    kept = (days >= 0) & (values > 0)
    days, logs = days[kept], np.log(values[kept])
    half = len(days) // 2
    if len(np.unique(days[:half])) < 2 or len(np.unique(days[half:])) < 2 or not dose > 0:
        return {}
    (fast, first), (slow, second) = (np.polyfit(days[part], logs[part], 1) for part in (slice(half), slice(half, None)))
    alpha = float(np.clip(-fast, 0.02, 20.0))
    return {
        "F": np.exp(first) / dose,
        "alpha": alpha,
        "f_b": float(np.clip(np.exp(second - first), 1e-4, 0.5)),
        "beta": float(np.clip(-slow, 1e-3, alpha / 2)),
    }


def alternatives(days, values, quantified, dose):
    """Two phases divided at different samples, one phase, and one that is seen after a drop."""
    days, logs = seen(days, values, quantified)
    if len(days) < 2 or not dose > 0:
        return {}
    fitted, first, since = lines(days, logs), np.zeros(1, int), np.zeros(1)
    cuts = fitted.cuts(first)[0, :4]
    one = one_phase(fitted, first, since)
    divided = two_phases(fitted, 0 * cuts, cuts, np.zeros(len(cuts)))
    each = (divided, one, after_a_drop(fitted, first, since, one.height + 1))
    height, alpha, f_b, beta = map(np.concatenate, zip(*each, strict=True))
    return {"F": np.exp(height) / dose, "alpha": alpha, "f_b": f_b, "beta": beta}


model = Model(
    name="nk_decline",
    reference="ours; a baseline",
    population="patients whose infused NK cells do not expand, most of those given haplo-identical NK cells",
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
    equations=Equations(
        states=("first", "second"), rhs=rhs, observe=observe, dosing={"cells": (("first", "second"), "F")}
    ),
    free=free,
    canonical=faster_first,
    initial=initial,
    alternatives=alternatives,
    linear_in_dose=True,
)
