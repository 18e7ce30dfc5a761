r"""Expansion and contraction joined by an S-shaped gate, with saturable expansion and delayed memory as options.

.. math::

    \dot E &= \big(1 - G(t)\big)\,\frac{\rho\, E}{1 + s\, E/C_{max}} - G(t)\,\alpha\, E,
        \qquad E(0) = C_{max}/\mathrm{fold} \\
    \dot M &= f_b\,(\alpha - \beta)\; G(t - \tau)\, E(t - \tau) - \beta\, M, \qquad M(0) = 0 \\
    G(t) &= \frac{1}{1 + e^{-(t - t_{max})/w}}, \qquad
    \rho = \frac{\ln \mathrm{fold} + s\,(1 - 1/\mathrm{fold})}{t_{max}}, \qquad C = E + M

E: effector cells; M: memory cells, which appear :math:`\tau` (``delay``) days after the effector cells that they come
from have left, and E is 0 before the infusion. Saturable expansion is :math:`V_{max} E/(K_m + E)` with
:math:`K_m = C_{max}/s` and :math:`V_{max} = \rho K_m`. rho is such that the sharp switch (w = 0) reaches c_max on day
t_max at every s.

As w goes to 0, with s = 0 and no delay, the curve becomes that of ``stein_2019_tisagenlecleucel``: at the peak with an
error in proportion to w, elsewhere of order :math:`w^2`. s (``saturation``) and ``delay`` are 0 by default, which
switches them off.

The ideas (an S-shaped gate in place of a switch, saturable expansion, a delay on the conversion of effector into memory
cells) are those of a preprint by Li and Cheng 2026, doi:10.64898/2026.03.01.708830, read in its abstract; the equations
are **ours**, and so is every value that is not from Stein 2019 (doi:10.1002/psp4.12388). There is no dose in the model:
doses are ignored.

Assumptions and deviations
--------------------------
One gate ends the growth and opens contraction and conversion alike. fold, t_max and c_max are those of the sharp
switch: the effector peak is lower by the factor :math:`\exp(-w[(\rho + \alpha)\ln(\rho + \alpha) - \rho\ln\rho -
\alpha\ln\alpha])` (s = 0, w small against t_max) and lies :math:`w \ln(\rho/\alpha)` days after t_max. w and c_max can
hardly be told apart without samples around the peak: w is fixed by default. alpha has to be faster than beta. A
comedication changes a rate of the cells as they are and as they were ``delay`` days before on the same day: with one,
leave the delay at 0. The model takes the unit of the study.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import Check, Model, Parameter
from cellkinetics.blocks import from_peak, switches

STEIN = "Stein 2019, Table 1"


def growth(E, after, rate, alpha, c_max, saturation, w):
    """Derivative of effector cells, ``after`` days after t_max."""
    gate = jax.nn.sigmoid(after / w)
    return (1 - gate) * rate * E / (1 + saturation * E / c_max) - gate * alpha * E


def rhs(t, phase, E, before, M, fold, t_max, c_max, alpha, f_b, beta, w, saturation, delay):
    """Derivatives of E, of E as it was ``delay`` days before, and of M, per day."""
    rate = (jnp.log(fold) + saturation * (1 - 1 / fold)) / t_max
    then = t - delay - t_max
    # Phase 1 begins on day `delay`: earlier, there is nothing that could be converted.
    begun = phase > 0
    converted = f_b * (alpha - beta) * jax.nn.sigmoid(then / w) * before
    return (
        growth(E, t - t_max, rate, alpha, c_max, saturation, w),
        jnp.where(begun, growth(before, then, rate, alpha, c_max, saturation, w), 0.0),
        jnp.where(begun, converted, 0.0) - beta * M,
    )


def observe(E, M):
    """Copies/ug of effector and memory cells."""
    return E + M


def seed(c_max, fold):
    """Copies/ug at the infusion."""
    return c_max / fold


def days_to_a_factor_of_two(first, last):
    """Function of the model, from the curve at two days: doubling time, or half-life."""

    def compute(model):
        low, high = np.asarray(model.solve([0.0, first, last])["copies_per_ug"])[1:]
        return float((last - first) * np.log(2) / abs(np.log(high / low)))

    return compute


model = Model(
    name="smooth_switch",
    reference="ours; after ideas in doi:10.64898/2026.03.01.708830, with the values of doi:10.1002/psp4.12388",
    population="as Stein 2019: 90 patients, tisagenlecleucel; gate, saturation and delay are assumptions",
    parameters={
        "fold": Parameter(3900.0, "1", STEIN, min=1.0, max=1e9),
        "t_max": Parameter(9.3, "day", STEIN, min=0.1, max=100.0),
        "c_max": Parameter(24000.0, "copies/ug", STEIN),
        "alpha": Parameter(0.16, "1/day", STEIN, min=1e-2, max=20.0),
        "f_b": Parameter(0.0079, "1", STEIN, max=1.0, scale="logit"),
        "beta": Parameter(0.0032, "1/day", STEIN, min=1e-5, max=5.0),
        "w": Parameter(0.5, "day", "assumption: nine tenths of the switch in three days", min=1e-3, max=10.0),
        "saturation": Parameter(0.0, "1", "assumption: off", max=1e3, scale="identity"),
        "delay": Parameter(0.0, "day", "assumption: off", max=60.0, scale="identity"),
    },
    outputs={"copies_per_ug": "copies/ug"},
    states=("E", "before", "M"),
    rhs=rhs,
    observe=observe,
    start={"E": seed, "before": seed},
    natural=("M",),
    switches=("delay",),
    free=("fold", "t_max", "c_max", "alpha", "f_b", "beta"),
    initial=from_peak,
    alternatives=switches,
    # A switch within hours in one of 14 samples: at 3e-8 an error of 1.1e-6 is left.
    rtol=1e-8,
    scale_free=True,
    checks=(
        Check("doubling time", 0.78, "day", days_to_a_factor_of_two(2.0, 3.0), 0.02, "Stein 2019, Discussion"),
        Check(
            "terminal half-life", 220.0, "day", days_to_a_factor_of_two(400.0, 500.0), 0.02, "Stein 2019, Discussion"
        ),
    ),
)
