r"""CAR-T effector and memory cells against a tumour in the mouse: CARTmath.

.. math::

    \dot C &= (\phi - \rho)\, C + \theta\, T M - \alpha\, T C \qquad\text{(each infusion adds } F \times \text{dose)} \\
    \dot M &= \epsilon\, C - \theta\, T M - \mu M \\
    \dot T &= r\, T (1 - b\, T) - \gamma\, T C

C: CAR-T effector cells, M: memory CAR-T cells, T: tumour cells, in cells of the animal. phi: proliferation and rho:
loss of effector cells (death and conversion to memory); epsilon: conversion to memory; theta: memory cells that a
tumour cell turns back into effector cells; alpha: inhibition by the tumour; mu: death of memory cells; r and 1/b:
growth and capacity of the tumour; gamma: killing.

Barros LRC, Paixao EA, Valli AMP, Naozuka GT, Fassoni AC, Almeida RC. CARTmath: a mathematical model of CAR-T
immunotherapy in preclinical studies of hematological cancers. Cancers 2021;13:2941, doi:10.3390/cancers13122941. Values
from the public code of the authors' application, for HDLM-2 tumours and CAR-T cells against CD123; those for another
tumour there (RAJI) differ by up to four decades.

Derived from the equations: only the difference of phi and rho matters; without tumour C falls at rate rho - phi, a
half-life of 8.2 days, and M at rate mu once C is gone, one of 139 days. The tumour shrinks while
:math:`C > r (1 - b T)/\gamma`, at most :math:`r/\gamma` = 15,200 cells; without CAR-T cells it follows the logistic
curve.

Assumptions and deviations
--------------------------
Day 0 is the infusion. In the application 2 million tumour cells are given 42 days before 1.5 or 2 million CAR-T cells:
T0 is what they have become by then, 21.5 million. The dose is in cells an animal, not in cells/kg, and all of it
arrives. The equations are continuous: a tumour of less than one cell is not a number of cells here and its later growth
is to be read as "not extinct". The paper's results are figures. Compared is its figure
5, which doses control which tumours (at most 8e5 cells on day 300 of the experiment, 258 days after the infusion), as
others ran it with the same equations and values, on a grid of 20,000 cells; the paper's own numbers were not at hand.
"""

from __future__ import annotations

import numpy as np

from cellkinetics import Check, Model, Parameter

SOURCE = "Barros 2021, public code of CARTmath, HDLM-2"
RUN = "figure 5 as run by others (erkara/cancer_immunology, MATLAB), between two doses of a grid"
BEFORE, LAST, CONTROLLED = 42.0, 258.0, 8e5


def rhs(C, M, T, phi, rho, eps, theta, alpha, mu, r, b, gamma):
    """Derivatives of C, M and T (cells), per day."""
    return (
        (phi - rho) * C + theta * T * M - alpha * T * C,
        eps * C - theta * T * M - mu * M,
        r * T * (1 - b * T) - gamma * T * C,
    )


def observe(C, M, T):
    """Cells of the animal."""
    return {"car_t_cells": C + M, "tumour_cells": T}


def least_dose(cells):
    """The lowest dose, to 0.1%, that controls a tumour of so many cells 42 days before the infusion."""

    def compute(model):
        p = model.values()
        tumour = 1 / (p["b"] + (1 / cells - p["b"]) * np.exp(-p["r"] * BEFORE))
        low, high = 1e4, 1e7
        while high > 1.001 * low:
            dose = float(np.sqrt(low * high))
            left = model.solve(np.array([LAST]), {"T0": tumour}, dose)["tumour_cells"][0]
            low, high = (low, dose) if left <= CONTROLLED else (dose, high)
        return high

    return compute


model = Model(
    name="barros_2021_cartmath",
    reference="doi:10.3390/cancers13122941",
    population="mice with a transplanted human tumour",
    parameters={
        "F": Parameter(1.0, "cells per cell", "assumption: all of the dose arrives", max=1.0),
        "phi": Parameter(0.265, "1/day", SOURCE),
        "rho": Parameter(0.35, "1/day", SOURCE),
        "eps": Parameter(0.15, "1/day", SOURCE),
        "theta": Parameter(6e-6, "1/(cell day)", SOURCE),
        "alpha": Parameter(4.5e-8, "1/(cell day)", SOURCE),
        "mu": Parameter(5e-3, "1/day", SOURCE),
        "r": Parameter(5.650026e-2, "1/day", SOURCE),
        "b": Parameter(1.404029e-12, "1/cell", SOURCE),
        "gamma": Parameter(3.715843e-6, "1/(cell day)", SOURCE),
        "T0": Parameter(2.146e7, "cells", f"derived: 2e6 cells after 42 days of growth at r; {SOURCE}"),
    },
    outputs={"car_t_cells": "cells", "tumour_cells": "cells"},
    states=("C", "M", "T"),
    rhs=rhs,
    observe=observe,
    start={"T": "T0"},
    dosing={"cells": ("C", "F")},
    free=("rho", "theta", "gamma"),
    # At 3e-8 the 99th percentile of the error was 1.8e-5 (tests/benchmarks/models_accuracy.py).
    rtol=3e-9,
    simulator=True,
    checks=(
        Check("least dose that controls 1e6 cells", (120e3, 140e3), "cells", least_dose(1e6), source=RUN),
        Check("least dose that controls 2e6 cells", (240e3, 260e3), "cells", least_dose(2e6), source=RUN),
        Check("least dose that controls 2.5e6 cells", (300e3, 320e3), "cells", least_dose(2.5e6), source=RUN),
    ),
)
