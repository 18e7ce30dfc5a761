r"""Lymphodepletion niche: CAR-T cells compete with the normal T cells that return, and kill CD19+ cells; axi-cel.

.. math::

    \dot N &= -r_N\, N \ln\frac{N + C}{K_N} \\
    \dot C &= -r_C\, C \ln\frac{N + C}{K_C}, \qquad
        r_C = \rho_C + \frac{b\,(T - K_N)^2}{a\,T^2 + (T - K_N)^2}, \quad T = N + C \\
    \dot B &= r_B\, B - g_B\, B\, \frac{C}{k_B + C}

N: normal T cells, C: CAR-T cells, B: CD19+ (tumour) cells, all in cells of the whole body. Both kinds of T cells grow
towards one shared level, normal cells towards :math:`K_N` and CAR-T cells towards the lower :math:`K_C` (Gompertz).
CAR-T cells grow fast (:math:`r_C` near :math:`\rho_C + b`) while lymphodepletion has left the niche empty, and are
crowded out once N + C passes :math:`K_C`, slowly, because :math:`r_C` falls to :math:`\rho_C` where N + C is at
:math:`K_N`.

Kimmel GJ, Locke FL, Altrock PM. The roles of T cell competition and stochastic extinction events in chimeric antigen
receptor T cell therapy. Proc R Soc B 2021;288:20210229, doi:10.1098/rspb.2021.0229. Values from its Table 1; the
public model BIOMD0000001041 has them in cells/uL. Fitted there to 11 medians (CAR-T cells, lymphocytes, one tumour),
not to patients. Day 0 is the infusion, after lymphodepletion.

Steady states (derived): N and C cannot both persist where :math:`K_C < K_N`; with C lost, :math:`N = K_N`, so that
:math:`N + C = K_N`, and near it C falls at rate :math:`\rho_C \ln(K_N/K_C)`, a half-life of 21.6 days at these values.
With C lost B grows at rate :math:`r_B`: no finite B is stable, and the tumour returns unless it has become extinct.
N alone, without CAR-T cells, follows Gompertz' curve in closed form.

Assumptions and deviations
--------------------------
:math:`r_C` is in the form of the paper's figure 2 and of the public model; the form printed in the main text differs
from it by a bracket. :math:`r_B` has no estimate: the table gives a range from 0.01 to 0.5/d, and 0.01/d, the value of
the public model, is its lower end, the most favourable one. With k_B it is called not identifiable there, as is k_B
with g_B. The equations are continuous: extinction of the tumour is a chance event in the paper, so that B below one
cell is not a number of cells here and its later growth is to be read as "not extinct". The cells of the start are
parameters, as in the public model: doses of a study are ignored. Outputs are cells of the whole body. The paper's two
units imply 5e8 cells of the body for one cell/uL of blood (:math:`K_N`: 2.5e11 cells, 500 cells/uL), and 1e9 tumour
cells for one mL; what copies/ug that would be, it does not say.
"""

from __future__ import annotations

import jax.numpy as jnp

from cellkinetics import Check, Model, Parameter

TABLE = "Kimmel 2021, Table 1"
RUN = "a run of BIOMD0000001041 by others (Biosimulant, models-oncology), at the last of its ten days, 0 to 9"
PER_UL, PER_ML = 5e8, 1e9


def rhs(N, C, B, r_N, K_N, K_C, rho_C, a, b, r_B, g_B, k_B):
    """Derivatives of N, C and B (cells), per day."""
    total = N + C
    gap = (total - K_N) ** 2
    r_C = rho_C + b * gap / (a * total**2 + gap)
    return (
        -r_N * N * jnp.log((N + C) / K_N),
        -r_C * C * jnp.log((N + C) / K_C),
        r_B * B - g_B * B * C / (k_B + C),
    )


def observe(N, C, B):
    """Cells of the whole body."""
    return {"car_t_cells": C, "normal_t_cells": N, "b_cells": B}


def on_day_9(output, unit):
    """Function of the model: cells on day 9, in a unit of so many, with K_C and k_B as the public model rounds them."""

    def compute(model):
        return float(model.solve([0.0, 9.0], {"K_C": 139 * PER_UL, "k_B": 4.05 * PER_UL})[output][-1]) / unit

    return compute


def kept(model):
    """CAR-T cells on day 90 over those infused."""
    infused, later = model.solve([0.0, 90.0])["car_t_cells"]
    return float(later / infused)


model = Model(
    name="kimmel_2021_axi_cel",
    reference="doi:10.1098/rspb.2021.0229",
    population="patients with large B-cell lymphoma after axicabtagene ciloleucel, population means",
    parameters={
        "r_N": Parameter(0.170, "1/day", TABLE),
        "K_N": Parameter(2.50e11, "cells", TABLE),
        "K_C": Parameter(6.96e10, "cells", TABLE),
        "rho_C": Parameter(0.0251, "1/day", TABLE),
        "a": Parameter(0.423, "1", TABLE, min=1e-3),
        "b": Parameter(0.525, "1/day", TABLE),
        "r_B": Parameter(
            0.01, "1/day", "BIOMD0000001041; Kimmel 2021, Table 1, has a range of 0.01 to 0.5 and no estimate"
        ),
        "g_B": Parameter(1.15, "1/day", TABLE),
        "k_B": Parameter(2.024e9, "cells", TABLE, min=1.0),
        "N0": Parameter(3e9, "cells", TABLE, min=1.0),
        "C0": Parameter(1.8e8, "cells", TABLE, min=1.0),
        "B0": Parameter(9.486e10, "cells", TABLE, min=1.0),
    },
    outputs={"car_t_cells": "cells", "b_cells": "cells", "normal_t_cells": "cells"},
    states=("N", "C", "B"),
    rhs=rhs,
    observe=observe,
    start={"N": "N0", "C": "C0", "B": "B0"},
    free=("C0", "b", "rho_C", "K_C", "g_B"),
    checks=(
        Check("CAR-T cells on day 90 over those infused", 1.0, "1", kept, 0.1, "section 3c: comparable, in words"),
        Check("normal T cells on day 9", 159.5, "cells/uL", on_day_9("normal_t_cells", PER_UL), 1e-3, RUN),
        Check("CAR-T cells on day 9", 25.922, "cells/uL", on_day_9("car_t_cells", PER_UL), 1e-3, RUN),
        Check("tumour on day 9", 0.0710, "mL", on_day_9("b_cells", PER_ML), 1e-3, RUN),
    ),
    # At 3e-8 the 99th percentile of the error was 1.4e-5 (tests/benchmarks/models_accuracy.py).
    rtol=3e-9,
    simulator=True,
)  # fmt: skip
