r"""CAR cells in blood, observed twice: by flow cytometry in cells/uL and by qPCR in copies/ug of genomic DNA.

.. math::

    c(t) &= \begin{cases}
        c_{max}\, e^{\rho (t - t_{max})}, \quad \rho = \ln(\mathrm{fold})/t_{max} & t < t_{max}\\
        c_{max}\big[(1 - f_b)\, e^{-\alpha (t - t_{max})} + f_b\, e^{-\beta (t - t_{max})}\big] & t \ge t_{max}
    \end{cases} \\
    \text{cells/uL} &= c(t), \qquad
    \text{copies/ug} = c(t)\; \mathrm{VCN}\; \frac{151\,515}{\text{leukocytes}(t)}

One microgram of DNA is that of 151,515 diploid genomes of 6.6 pg. qPCR counts copies against all leukocytes of the
sample: while these are few after the lymphodepletion, copies/ug are high, and while they recover, copies/ug fall
behind the cells. If leukocytes grow faster than the CAR cells, copies/ug peak on another day than cells/uL.

Ours; the curve of the cells has the shape of Stein 2019 (doi:10.1002/psp4.12388). There is no dose in the model: doses
are ignored.

Assumptions and deviations
--------------------------
Every default is an assumption. ``leukocytes`` (cells/uL, CAR cells included) is a covariate over time: linear between
its days, constant before the first and after the last. They carry the DNA of the qPCR sample; every CAR cell holds VCN
copies (per transduced cell) on every day, and both assays see the same cells. Only the ratio of the two outputs shows
vcn: without rows of flow cytometry, c_max and vcn are confounded, and one of them has to be fixed. Each output has its
sd and its limit. Written without a branch.
"""

from __future__ import annotations

import jax.numpy as jnp

from cellkinetics import Assay, Model, Parameter
from cellkinetics.blocks import decline, faster_first, from_fold, from_peak

GENOMES_PER_UG = Assay().genomes_per_ug
SHAPE = "assumption: as tisagenlecleucel in Stein 2019"
VCN = 2.0


def curve(t, leukocytes, fold, t_max, c_max, alpha, f_b, beta, vcn):
    """Copies/ug and cells/uL, each of shape (n,)."""
    before, after = jnp.minimum(t - t_max, 0.0), jnp.maximum(t - t_max, 0.0)
    return both(c_max * jnp.exp(jnp.log(fold) / t_max * before) * decline(after, alpha, f_b, beta), leukocytes, vcn)


def both(cells, leukocytes, vcn):
    """Of cells/uL what either assay sees."""
    return {"copies_per_ug": cells * vcn * GENOMES_PER_UG / leukocytes, "cells_per_ul": cells}


def observe(first, second, leukocytes, vcn):
    """As `curve`."""
    return both(first + second, leukocytes, vcn)


def initial(days, values, leukocytes):
    """Peak and slopes of the cells that the copies stand for at the default vcn."""
    return from_peak(days, values * leukocytes / (VCN * GENOMES_PER_UG))


model = Model(
    name="qpcr_and_flow",
    reference="ours; the shape of doi:10.1002/psp4.12388 observed by two assays",
    population="none in particular: CAR-T or CAR-NK cells in blood after lymphodepletion",
    parameters={
        "fold": Parameter(3900.0, "1", SHAPE, min=1.0, max=1e9),
        "t_max": Parameter(9.3, "day", SHAPE, min=0.1, max=100.0),
        "c_max": Parameter(50.0, "cells/uL", "assumption"),
        "alpha": Parameter(0.16, "1/day", SHAPE, min=1e-4, max=20.0),
        "f_b": Parameter(0.0079, "1", SHAPE, max=1.0, scale="logit"),
        "beta": Parameter(0.0032, "1/day", SHAPE, min=1e-5, max=5.0),
        "vcn": Parameter(VCN, "copies per transduced cell", "assumption", min=1.0, max=100.0),
    },
    outputs={"copies_per_ug": "copies/ug", "cells_per_ul": "cells/uL"},
    inputs={"leukocytes": "cells/uL"},
    curve=curve,
    equations=from_fold(observe, Parameter(0.889, "1/day", "derived: ln(fold)/t_max")),
    canonical=faster_first,
    initial=initial,
    corners=("t_max",),
)
