r"""Logistic growth to a capacity, then biexponential decline.

.. math::

    \dot C &= \rho\, C\,(1 - C/K), \quad C(0) = K/\mathrm{fold} & t < t_{max}\\
    C(t) &= C(t_{max})\,\big[(1 - f_b)\, e^{-\alpha (t - t_{max})} + f_b\, e^{-\beta (t - t_{max})}\big]
        & t \ge t_{max}

with :math:`C(t) = K / (1 + (\mathrm{fold} - 1)\, e^{-\rho t})` up to t_max.

Ours, for patients whose curve flattens before it falls: growth that stops at a capacity K of the niche, such as the
expansion with capacity that Liu 2021 (Clin Pharmacol Ther, doi:10.1002/cpt.2040) names as a phase; the equations are
not taken from there. As K grows at a fixed level at the infusion and a fixed t_max, the growth becomes exponential
and the curve that of ``stein_2019_tisagenlecleucel``. There is no dose in the model: doses are ignored.

Assumptions and deviations
--------------------------
Every default is an assumption. The contraction begins on day t_max, at whatever level the growth has reached; the
level at the infusion is K/fold, so that it cannot lie above the capacity. fold is fixed by default: together with K
and t_max it is not determined by 15 samples. Without samples near the plateau K is not either: Stein 2019 is the model
then. Written without a branch. The model takes the unit of the study.
"""

from __future__ import annotations

import jax.numpy as jnp

from cellkinetics import Equations, Model, Parameter
from cellkinetics.blocks import decline, faster_first, from_peak, two_parts

AS_STEIN = "assumption: near tisagenlecleucel in Stein 2019"


def curve(t, fold, rho, K, t_max, alpha, f_b, beta):
    """Copies/ug, shape (n,)."""
    grown = K / (1 + (fold - 1) * jnp.exp(-rho * jnp.minimum(t, t_max)))
    return grown * decline(jnp.maximum(t - t_max, 0.0), alpha, f_b, beta)


def rhs(phase, first, second, rho, K, alpha, beta):
    """Derivatives of the two parts of the decline (copies/ug), which grow alike up to t_max, per day."""
    return two_parts(phase > 0, rho * (1 - (first + second) / K), first, second, alpha, beta)


def initial(days, values):
    """The capacity from the highest sample, which is taken for the end of the plateau."""
    found = from_peak(days, values)
    return {"K": found.pop("c_max"), **found}


model = Model(
    name="logistic_expansion",
    reference="ours; growth with a capacity, as a phase named in doi:10.1002/cpt.2040",
    population="none in particular: CAR-T or CAR-NK cells in blood, one infusion",
    parameters={
        "fold": Parameter(3900.0, "1", AS_STEIN, min=1.0, max=1e9),
        "rho": Parameter(1.2, "1/day", "assumption: 95% of the capacity by day 9.3", min=1e-3, max=20.0),
        "K": Parameter(24000.0, "copies/ug", AS_STEIN),
        "t_max": Parameter(11.0, "day", "assumption: a plateau of some two days", min=0.1, max=100.0),
        "alpha": Parameter(0.16, "1/day", AS_STEIN, min=1e-4, max=20.0),
        "f_b": Parameter(0.0079, "1", AS_STEIN, max=1.0, scale="logit"),
        "beta": Parameter(0.0032, "1/day", AS_STEIN, min=1e-5, max=5.0),
    },
    outputs={"copies_per_ug": "copies/ug"},
    curve=curve,
    equations=Equations(
        states=("first", "second"),
        rhs=rhs,
        observe=lambda first, second: first + second,
        start={
            "first": lambda K, fold, f_b: (1 - f_b) * K / fold,
            "second": lambda K, fold, f_b: f_b * K / fold,
        },
        switches=("t_max",),
    ),
    free=("rho", "K", "t_max", "alpha", "f_b", "beta"),
    canonical=faster_first,
    initial=initial,
    corners=("t_max",),
    scale_free=True,
)
