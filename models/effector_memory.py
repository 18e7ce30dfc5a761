r"""Expansion, contraction and memory after an infusion: the ODE for fitting one patient.

Ours. It follows the effector and memory cells of Stein AM, Grupp SA, Levine JE, et al. CPT Pharmacometrics Syst
Pharmacol 2019;8:285-95, doi:10.1002/psp4.12388, whose equations after the peak are :math:`\dot E = -\alpha E`,
:math:`\dot M = k E - \beta M`, with two additions: infused cells that leave the blood, so that the curve starts from
the dose, and an expansion that ends smoothly.

Observed is :math:`C = D + E + M` in copies/ug: infused cells (D), effector cells (E), memory cells (M).

.. math::

    \dot D &= -k_d D \qquad\text{(each infusion adds } F \times \text{dose, } t_{lag} \text{ days later)} \\
    \dot E &= f k_d D + \big[\rho\, g - \alpha\,(1 - g)\big] E \\
    \dot M &= k_{em} E - \beta M \\
    g(t) &= \frac{1}{1 + (\rho/\alpha)\, e^{(s - t_{max})/w}}

g: the signal to expand (antigen, niche), 1 at first and 0 in the end; s: days since the last lymphodepletion (by
default since the first infusion; events of the channel ``lymphodepletion`` move it). Effector cells grow at rate
:math:`\rho` while g is 1 and are lost at rate :math:`\alpha` once it is 0. The factor :math:`\rho/\alpha` puts their
peak on day :math:`t_{max}`, where growth and loss are equal; w is how many days the turn takes, and w to 0 gives the
abrupt switch of the paper. Long after the peak the curve is the paper's biexponential with
:math:`f_b = k_{em}/(\alpha - \beta)` and what memory was made before the peak.

Population: the defaults of rho, t_max, alpha, k_em and beta give the published typical values of tisagenlecleucel in
90 patients; F, k_d and w are assumptions, and f is such that 1e6 cells/kg reach the published peak.

Assumptions and deviations
--------------------------
alpha is the whole loss of effector cells once they contract, conversion to memory included. Memory cells do not
divide. The signal is a function of time alone: the model has no antigen, and a second infusion without a second
lymphodepletion finds what is left of the signal. Where a lymphodepletion is given, t_max counts from it. An infusion
of more cells gives a proportionally higher curve: nothing saturates. f and rho are told apart by samples of days 1 to
5 alone, w by samples around the peak, k_d by samples within hours: f, w and k_d are fixed by default. The lag (0 by
default) is for products that are not seen in blood on the first days. The model takes the unit of the study, and F
with it; where no dose is known, F times dose is fitted.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import Check, Model, Parameter
from cellkinetics.blocks import switches

STEIN = "Stein 2019, Table 1"


def signal(since_lymphodepletion, rho, alpha, t_max, w):
    """Signal to expand, from 1 to 0."""
    return jax.nn.sigmoid((t_max - since_lymphodepletion) / w - jnp.log(rho / alpha))


def rhs(D, E, M, since_lymphodepletion, k_d, f, rho, t_max, w, alpha, k_em, beta):
    """Derivatives of D, E and M (copies/ug), per day."""
    g = signal(since_lymphodepletion, rho, alpha, t_max, w)
    return (
        -k_d * D,
        f * k_d * D + (rho * g - alpha * (1 - g)) * E,
        k_em * E - beta * M,
    )


def observe(D, E, M):
    """Copies/ug of all CAR cells."""
    return D + E + M


def initial(days, values, dose):
    """F from the first sample, the peak from the highest one, rates from the slopes on both sides of it."""
    top = int(np.argmax(values))
    t_max, peak = max(float(days[top]), 2.0), float(values[top])
    found = {"t_max": t_max}
    first = days <= 1
    if first.any() and dose > 0:
        # D is half gone in 11 hours.
        found["F"] = float(np.median(values[first] * np.exp(1.5 * days[first]))) / dose
    rise = np.flatnonzero((days > 1) & (days <= days[top]))
    if len(np.unique(days[rise])) > 1:
        # The turn flattens the last part: the steepest way up from the first sample is nearest to rho.
        begin, later = rise[0], rise[days[rise] > days[rise[0]]]
        slopes = np.log(values[later] / values[begin]) / (days[later] - days[begin])
        found["rho"] = float(np.clip(np.max(slopes), 0.1, 4.0))
    early, late = (days > t_max) & (days <= t_max + 21), days > t_max + 21
    if early.any():
        found["alpha"] = float(np.clip(np.max(np.log(peak / values[early]) / (days[early] - t_max)), 0.03, 2.0))
    if len(np.unique(days[late])) > 1:
        slope, height = np.polyfit(days[late] - t_max, np.log(values[late]), 1)
        found["beta"] = float(np.clip(-slope, 5e-4, 0.1))
        loss = found.get("alpha", 0.16)
        found["k_em"] = float(np.clip(np.exp(height) / peak * loss, 1e-5, loss))
    if "F" not in found and dose > 0:
        # Of the infused cells, f k_d/(k_d + rho) start to grow; the turn at t_max takes about two of ln(cells).
        rho = found.get("rho", 0.889)
        grown = rho * days[0] if days[0] < t_max else rho * t_max - 2
        found["F"] = float(values[0]) / dose / (0.176 * 1.5 / (1.5 + rho) * np.exp(grown))
    return found


def alternatives(days, values, quantified, dose, f, k_d):
    """A turn in each interval between samples, and after it two phases, one, or one that is seen after a drop."""
    found = switches(days, values, quantified, fold=3900.0, t_max=9.3)
    if not found or not dose > 0:
        return {}
    rho = np.clip(np.log(found["fold"]) / found["t_max"], 0.05, 4.0)
    # As above: of the infused cells f k_d/(k_d + rho) start to grow, and the turn takes about two of ln(cells).
    grown = dose * f * k_d / (k_d + rho) * np.exp(np.maximum(rho * found["t_max"] - 2, 0.0))
    return {
        "F": found["c_max"] / grown, "rho": rho, "t_max": found["t_max"], "alpha": found["alpha"],
        "k_em": found["f_b"] * (found["alpha"] - found["beta"]), "beta": found["beta"],
    }  # fmt: skip


def doubling_time(model):
    """Days to double, from the effector cells of days 2 and 3."""
    early = model.solve([2.0, 3.0], {"f": 1.0, "k_d": 50.0}, doses=1e6)["copies_per_ug"]
    return float(np.log(2) / np.log(early[1] / early[0]))


def half_life(first, last, changed):
    """Function of the model: half-life between two days."""

    def compute(model):
        curve = model.solve([first, last], changed, doses=1e6)["copies_per_ug"]
        return float((last - first) * np.log(2) / np.log(curve[0] / curve[1]))

    return compute


def highest(model):
    """Copies/ug at t_max after 1e6 cells/kg."""
    t_max = model.values()["t_max"]
    return float(model.solve([t_max, t_max + 1], doses=1e6)["copies_per_ug"][0])


model = Model(
    name="effector_memory",
    reference="ours; structure and typical values after doi:10.1002/psp4.12388",
    population="typical values of tisagenlecleucel (90 children and young adults, qPCR); meant to be fitted to one "
    "patient's curve, of other products too",
    parameters={
        "F": Parameter(
            4e-4,
            "copies/ug per cell/kg",
            "own estimate: 70 kg, VCN 2, 10% of cells in blood, 1e9 leukocytes/L",
        ),
        "k_d": Parameter(1.5, "1/day", "assumption: as in il15_persistence", min=0.05, max=50.0),
        "f": Parameter(0.176, "1", "assumption: 1e6 cells/kg reach the peak of Stein 2019", min=1e-4, max=1.0),
        "rho": Parameter(0.889, "1/day", "derived: ln(3900)/9.3 d, Stein 2019", min=0.01, max=10.0),
        "t_max": Parameter(9.3, "day", STEIN, min=0.5, max=100.0),
        "w": Parameter(1.0, "day", "assumption", min=0.05, max=10.0),
        "alpha": Parameter(0.16, "1/day", STEIN, min=1e-3, max=10.0),
        "k_em": Parameter(0.00124, "1/day", "derived: f_b (alpha - beta), Stein 2019", min=1e-6, max=5.0),
        "beta": Parameter(0.0032, "1/day", STEIN, min=1e-5, max=1.0),
        "lag": Parameter(0.0, "day", "assumption: none", max=7.0, scale="identity"),
    },
    outputs={"copies_per_ug": "copies/ug"},
    states=("D", "E", "M"),
    rhs=rhs,
    observe=observe,
    dosing={"cells": ("D", "F")},
    markers=("lymphodepletion",),
    lags={"cells": "lag"},
    free=("F", "rho", "t_max", "alpha", "k_em", "beta"),
    initial=initial,
    alternatives=alternatives,
    scale_free=True,
    checks=(
        Check("doubling time", 0.78, "day", doubling_time, 0.02, "Stein 2019, Discussion"),
        Check(
            "half-life after the peak",
            4.3,
            "day",
            half_life(25.0, 35.0, {"k_em": 1e-6}),
            0.02,
            "Stein 2019, Discussion",
        ),
        Check("terminal half-life", 220.0, "day", half_life(400.0, 500.0, {}), 0.02, "Stein 2019, Discussion"),
        Check(
            "peak after 1e6 cells/kg", 24000.0, "copies/ug", highest, 0.02, "Stein 2019, Table 1; f is chosen for it"
        ),
    ),
)
