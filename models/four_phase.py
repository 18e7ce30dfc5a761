r"""Four phases after one infusion: distribution, expansion to a capacity, contraction, persistence.

.. math::

    C(t) &= D(t) + E(t) \\
    D(t) &= (1 - \varphi)\, F\,\mathrm{dose}\; e^{-k_d t} \\
    \dot E &= \rho\, E\,(1 - E/K), \quad E(0) = \varphi\, F\,\mathrm{dose} & t < t_{max} \\
    E(t) &= E(t_{max})\,\big[(1 - f_b)\, e^{-\alpha (t - t_{max})} + f_b\, e^{-\beta (t - t_{max})}\big]
        & t \ge t_{max}

D: infused cells that leave the blood; E: the share :math:`\varphi` of them that expands, and their offspring.

Ours, after the four phases (distribution, expansion with capacity, contraction, persistence) that the abstract of Liu
2021 (Clin Pharmacol Ther, doi:10.1002/cpt.2040; 218 patients, 7 trials) names; the equations are not taken from there.
The abstract finds faster and larger proliferation and slower contraction in responders: here a larger rho and K and a
smaller alpha.

Assumptions and deviations
--------------------------
Every default is an assumption. The phases overlap: cells expand from the first day on while the others leave the
blood, so that the lowest level between the two is a result and needs no switch. The capacity does not depend on the
dose: at doses at which it is reached the peak is independent of the dose, and below it is proportional to the dose.
One infusion; a second one is refused, because the capacity is shared. Written without a branch. F, phi and k_d are
fixed by default: samples of the first two days determine F and k_d, and phi and rho can hardly be told apart.
"""

from __future__ import annotations

import jax.numpy as jnp

from cellkinetics import Equations, Model, Parameter
from cellkinetics.blocks import decline, faster_first, from_peak, two_parts

AS_STEIN = "assumption: near tisagenlecleucel in Stein 2019"


def curve(t, dose, F, phi, k_d, rho, K, t_max, alpha, f_b, beta):
    """Copies/ug, shape (n,), after one infusion at day 0."""
    leaving = (1 - phi) * F * dose * jnp.exp(-k_d * t)
    seed = phi * F * dose
    # Not K / (1 + (K / seed - 1) ...): that is 0/0 in its derivatives without a dose.
    grown = seed * K / (seed + (K - seed) * jnp.exp(-rho * jnp.minimum(t, t_max)))
    return leaving + grown * decline(jnp.maximum(t - t_max, 0.0), alpha, f_b, beta)


def expanding(first, second, phi, f_b):
    """Copies/ug of the cells that expand: as if all did that are infused, and all were of one part of the decline."""
    return phi * ((1 - f_b) * first + f_b * second)


def rhs(phase, D, first, second, phi, k_d, rho, K, alpha, f_b, beta):
    """Derivatives of D and of the two parts of the decline (copies/ug), which grow alike up to t_max, per day."""
    growth = rho * (1 - expanding(first, second, phi, f_b) / K)
    return -k_d * D, *two_parts(phase > 0, growth, first, second, alpha, beta)


def observe(D, first, second, phi, f_b):
    """Copies/ug of cells that leave and of cells that expand."""
    return (1 - phi) * D + expanding(first, second, phi, f_b)


def initial(days, values, dose):
    """F from the first sample if it lies on the first day, the rest from the peak after day 2."""
    later = days > 2
    found = from_peak(days[later], values[later]) if later.any() else {}
    if "c_max" in found:
        found["K"] = found.pop("c_max")
    if days[0] <= 1 and dose > 0:
        found["F"] = float(values[0] / dose)
    return found


model = Model(
    name="four_phase",
    reference="ours; after the four phases named in doi:10.1002/cpt.2040",
    population="none in particular: CAR-T or CAR-NK cells in blood, one infusion",
    parameters={
        "F": Parameter(
            4e-4,
            "copies/ug per cell/kg",
            "own estimate: 70 kg, VCN 2, 10% of cells in blood, 1e9 leukocytes/L",
        ),
        "phi": Parameter(0.02, "1", "assumption", max=1.0, scale="logit"),
        "k_d": Parameter(1.5, "1/day", "assumption: as in il15_persistence", min=1e-3, max=50.0),
        "rho": Parameter(
            1.2, "1/day", "assumption: near the capacity by day 10 after 1e6 cells/kg", min=1e-3, max=20.0
        ),
        "K": Parameter(24000.0, "copies/ug", AS_STEIN),
        "t_max": Parameter(11.0, "day", AS_STEIN, min=0.1, max=100.0),
        "alpha": Parameter(0.16, "1/day", AS_STEIN, min=1e-4, max=20.0),
        "f_b": Parameter(0.0079, "1", AS_STEIN, max=1.0, scale="logit"),
        "beta": Parameter(0.0032, "1/day", AS_STEIN, min=1e-5, max=5.0),
    },
    outputs={"copies_per_ug": "copies/ug"},
    curve=curve,
    equations=Equations(
        states=("D", "first", "second"),
        rhs=rhs,
        observe=observe,
        dosing={"cells": (("D", "first", "second"), "F")},
        switches=("t_max",),
    ),
    free=("rho", "K", "t_max", "alpha", "f_b", "beta"),
    canonical=faster_first,
    initial=initial,
    corners=("t_max",),
)
