r"""Lymphodepletion niche: CAR-T cells compete with the normal T cells that return, and kill CD19+ cells; axi-cel.

.. math::

    \dot N &= -r_N\, N \ln\frac{N + C}{K_N} \\
    \dot C &= -r_C\, C \ln\frac{N + C}{K_C}, \qquad
        r_C = \rho_C + \frac{b\,(N - K_N)^2}{a\,N^2 + (N - K_N)^2} \\
    \dot B &= r_B\, B - g_B\, B\, \frac{C}{k_B + C}

N: normal T cells, C: CAR-T cells, B: CD19+ (tumour) cells, all in cells of the whole body. Both kinds of T cells grow
towards one shared level, normal cells towards :math:`K_N` and CAR-T cells towards the lower :math:`K_C` (Gompertz).
CAR-T cells grow fast (:math:`r_C` near :math:`\rho_C + b`) while lymphodepletion has left the niche empty, and are
crowded out once N + C passes :math:`K_C`, slowly, because :math:`r_C` falls to :math:`\rho_C` where N is at
:math:`K_N`.

Kimmel GJ, Locke FL, Altrock PM. The roles of T cell competition and stochastic extinction events in chimeric antigen
receptor T cell therapy. Proc R Soc B 2021;288:20210229, doi:10.1098/rspb.2021.0229. Values from the public model
BIOMD0000001041. Day 0 is the infusion, after lymphodepletion.

Steady states (derived): N and C cannot both persist where :math:`K_C < K_N`; with C lost, :math:`N = K_N`, so that
:math:`N + C = K_N`, and near it C falls at rate :math:`\rho_C \ln(K_N/K_C)`, a half-life of 21.6 days at these values.
With C lost B grows at rate :math:`r_B`: no finite B is stable, and the tumour returns unless it has become extinct.
N alone, without CAR-T cells, follows Gompertz' curve in closed form.

Assumptions and deviations
--------------------------
:math:`r_C` is in the form printed in the paper's figure; the form printed in the main text differs from it by a
bracket. :math:`r_B` is an assumption: no published value was at hand. The equations are continuous: extinction of the
tumour is a chance event in the paper, so that B below one cell is not a number of cells here and its later growth is
to be read as "not extinct". The cells of the start are parameters, as in the public model: doses of a study are
ignored. Outputs are cells of the whole body; to compare them with copies/ug takes an assumption on the share of T
cells in blood that the paper's public model does not give.
"""

from __future__ import annotations

import jax.numpy as jnp

from cellkinetics import Check, Model, Parameter

SOURCE = "Kimmel 2021, BIOMD0000001041"


def rhs(N, C, B, r_N, K_N, K_C, rho_C, a, b, r_B, g_B, k_B):
    """Derivatives of N, C and B (cells), per day."""
    gap = (N - K_N) ** 2
    r_C = rho_C + b * gap / (a * N**2 + gap)
    return (
        -r_N * N * jnp.log((N + C) / K_N),
        -r_C * C * jnp.log((N + C) / K_C),
        r_B * B - g_B * B * C / (k_B + C),
    )


def observe(N, C, B):
    """Cells of the whole body."""
    return {"car_t_cells": C, "normal_t_cells": N, "b_cells": B}


def at(output, day):
    """Function of the model: cells on a day."""

    def compute(model):
        return float(model.solve([0.0, day])[output][-1])

    return compute


model = Model(
    name="kimmel_2021_axi_cel",
    reference="doi:10.1098/rspb.2021.0229",
    population="patients with large B-cell lymphoma after axicabtagene ciloleucel, population means",
    parameters={
        "r_N": Parameter(0.170, "1/day", SOURCE),
        "K_N": Parameter(2.50e11, "cells", SOURCE),
        "K_C": Parameter(6.96e10, "cells", SOURCE),
        "rho_C": Parameter(0.0251, "1/day", SOURCE),
        "a": Parameter(0.423, "1", SOURCE, min=1e-3),
        "b": Parameter(0.525, "1/day", SOURCE),
        "r_B": Parameter(0.01, "1/day", "assumption"),
        "g_B": Parameter(1.15, "1/day", SOURCE),
        "k_B": Parameter(2.024e9, "cells", SOURCE, min=1.0),
        "N0": Parameter(3e9, "cells", SOURCE, min=1.0),
        "C0": Parameter(1.8e8, "cells", SOURCE, min=1.0),
        "B0": Parameter(9.486e10, "cells", SOURCE, min=1.0),
    },
    outputs={"car_t_cells": "cells", "b_cells": "cells", "normal_t_cells": "cells"},
    states=("N", "C", "B"),
    rhs=rhs,
    observe=observe,
    start={"N": "N0", "C": "C0", "B": "B0"},
    free=("C0", "b", "rho_C", "K_C", "g_B"),
    checks=(
        Check("CAR-T cells at the infusion", 1.8e8, "cells", at("car_t_cells", 0.0), 1e-6, "BIOMD0000001041"),
        Check("normal T cells at the infusion", 3e9, "cells", at("normal_t_cells", 0.0), 1e-6, "BIOMD0000001041"),
        Check("CD19+ cells at the infusion", 9.486e10, "cells", at("b_cells", 0.0), 1e-6, "BIOMD0000001041"),
        Check("normal T cells once CAR-T cells are gone: K_N", 2.50e11, "cells", at("normal_t_cells", 1000.0), 1e-6,
              "steady state of the equations"),
    ),
    # At 3e-8 the 99th percentile of the error was 1.4e-5 (tests/benchmarks/models_accuracy.py).
    rtol=3e-9,
    simulator=True,
)  # fmt: skip
