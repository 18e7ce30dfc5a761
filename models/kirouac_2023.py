r"""An antigen toggle switch of memory, effector and exhausted CAR-T cells: a simulator.

Memory cells (T_m), early and dividing effector cells (T_e1, T_e2), exhausted cells (T_x), tumour cells that bear the
antigen (B) and the antigen that the CAR-T cells sense (B_a), all in cells.

.. math::

    \dot T_m &= \mu_m s\, T_m - \mu_m (1 - s)\, T_m - d_m T_m + r_m (1 - h(k_r))\, T_{e2} \\
    \dot T_{e1} &= 2 \mu_m (1 - s)\, T_m - \mu_e h(k_e)\, T_{e1} - d_{e1} T_{e1} \\
    \dot T_{e2} &= 2^N \mu_e h(k_e)\, T_{e1} - k_{ex} h(k_x)\, T_{e2} - r_m (1 - h(k_r))\, T_{e2} - d_{e2} T_{e2} \\
    \dot T_x &= k_{ex} h(k_x)\, T_{e2} - d_x T_x \\
    \dot B &= \mu_B B (1 - B/B_{max}) - k_{kill}\, B\, \frac{T_{e2}^{k_t}}{TK_{50}^{k_t} + T_{e2}^{k_t}} \\
    \dot B_a &= k_{b1} B - k_{b2} B_a \\
    h(k) &= \frac{B_a^k}{B_{50}^k + B_a^k}, \qquad s = f_{max} (1 - h(k_m))

Kirouac DC, Zmurchok C, Deyati A, et al. Nat Biotechnol 2023;41:1606-17, doi:10.1038/s41587-023-01687-x.

Antigen turns memory cells into effector cells, and effector cells into some thousand daughters each; without it,
memory cells renew themselves and take effector cells back. At its defaults the CAR-T cells rise more than a hundredfold
to a peak in the second or third week, fall about tenfold by day 42, when the tumour is gone, and then wane over
months.

Assumptions and deviations
--------------------------
**A simulator, not a description of patients: only the equations are the paper's. Every default is an assumption,
chosen so that the curve rises, contracts and persists; no default is a published or estimated value.**

- The paper prints its values in a supplement that was not at hand; with assumed ones there is no number of it to
  recompute, and the page compares none.
- 27 parameters cannot be told apart by one patient's curve: most should be fixed in any fit.
- There is no dose: the product is given by its composition at day 0 (T_m0, T_e10, T_e20, T_x0), and doses of a study
  are ignored.
- The antigen starts in balance with the tumour, :math:`B_a(0) = k_{b1} B_0/k_{b2}`.
- The number of divisions N is a real number, so that it has a derivative.
- The tumour is continuous: below one cell it can still grow back.
- All cells of the body are counted; nothing here converts them to copies/ug of blood.
"""

from __future__ import annotations

import jax.numpy as jnp

from cellkinetics import Model, Parameter

SOURCE = "assumption"
TINY = 1e-30


def hill(level, half, power):
    """level^power/(half^power + level^power), with derivatives at level 0 too."""
    return 1 / (1 + jnp.exp(power * (jnp.log(half) - jnp.log(jnp.maximum(level, TINY)))))


def rhs(
    T_m,
    T_e1,
    T_e2,
    T_x,
    B,
    B_a,
    mu_m,
    f_max,
    B50,
    k_m,
    d_m,
    r_m,
    k_r,
    mu_e,
    k_e,
    d_e1,
    N,
    d_e2,
    k_ex,
    k_x,
    d_x,
    mu_B,
    B_max,
    k_kill,
    k_t,
    TK50,
    k_b1,
    k_b2,
):
    """Derivatives of T_m, T_e1, T_e2, T_x, B and B_a, cells per day."""
    renewal = f_max * (1 - hill(B_a, B50, k_m))
    regained = r_m * (1 - hill(B_a, B50, k_r)) * T_e2
    activated = mu_e * hill(B_a, B50, k_e) * T_e1
    exhausted = k_ex * hill(B_a, B50, k_x) * T_e2
    return (
        mu_m * (2 * renewal - 1) * T_m - d_m * T_m + regained,
        2 * mu_m * (1 - renewal) * T_m - activated - d_e1 * T_e1,
        2**N * activated - exhausted - regained - d_e2 * T_e2,
        exhausted - d_x * T_x,
        mu_B * B * (1 - B / B_max) - k_kill * B * hill(T_e2, TK50, k_t),
        k_b1 * B - k_b2 * B_a,
    )


def observe(T_m, T_e1, T_e2, T_x, B, B_a):
    """All CAR-T cells, tumour cells and sensed antigen, cells."""
    return {"cells": T_m + T_e1 + T_e2 + T_x, "tumour": B, "antigen": B_a}


def antigen_at_start(k_b1, k_b2, B_0):
    """In balance with the tumour."""
    return k_b1 * B_0 / k_b2


model = Model(
    name="kirouac_2023",
    reference="doi:10.1038/s41587-023-01687-x",
    population="none: the paper's equations with assumed values",
    parameters={
        "mu_m": Parameter(0.04, "1/day", SOURCE, min=1e-4, max=2.0),
        "f_max": Parameter(0.5, "1", SOURCE, max=1.0, scale="logit"),
        "B50": Parameter(1e9, "cell", SOURCE, min=1e3, max=1e13),
        "k_m": Parameter(2.0, "1", SOURCE, min=0.2, max=6.0),
        "d_m": Parameter(0.003, "1/day", SOURCE, min=1e-5, max=1.0),
        "r_m": Parameter(0.001, "1/day", SOURCE, min=1e-6, max=1.0),
        "k_r": Parameter(2.0, "1", SOURCE, min=0.2, max=6.0),
        "mu_e": Parameter(0.03, "1/day", SOURCE, min=1e-4, max=5.0),
        "k_e": Parameter(1.0, "1", SOURCE, min=0.2, max=6.0),
        "d_e1": Parameter(0.02, "1/day", SOURCE, min=1e-4, max=2.0),
        "N": Parameter(12.0, "1", SOURCE, min=1.0, max=20.0),
        "d_e2": Parameter(0.12, "1/day", SOURCE, min=1e-3, max=2.0),
        "k_ex": Parameter(0.03, "1/day", SOURCE, min=1e-4, max=2.0),
        "k_x": Parameter(1.0, "1", SOURCE, min=0.2, max=6.0),
        "d_x": Parameter(0.3, "1/day", SOURCE, min=1e-3, max=5.0),
        "mu_B": Parameter(0.02, "1/day", SOURCE, min=1e-4, max=1.0),
        "B_max": Parameter(1e12, "cell", SOURCE, min=1e6, max=1e14),
        "k_kill": Parameter(0.9, "1/day", SOURCE, min=1e-3, max=10.0),
        "k_t": Parameter(1.0, "1", SOURCE, min=0.2, max=6.0),
        "TK50": Parameter(1e8, "cell", SOURCE, min=1e3, max=1e13),
        "k_b1": Parameter(0.5, "1/day", SOURCE, min=1e-3, max=10.0),
        "k_b2": Parameter(0.5, "1/day", SOURCE, min=1e-3, max=10.0),
        "T_m0": Parameter(2e6, "cell", SOURCE, min=1.0, max=1e12),
        "T_e10": Parameter(1e4, "cell", SOURCE, min=1.0, max=1e12),
        "T_e20": Parameter(1e5, "cell", SOURCE, min=1.0, max=1e12),
        "T_x0": Parameter(1e5, "cell", SOURCE, min=1.0, max=1e12),
        "B_0": Parameter(1e11, "cell", SOURCE, min=1.0, max=1e14),
    },
    outputs={"cells": "cell", "tumour": "cell", "antigen": "cell"},
    states=("T_m", "T_e1", "T_e2", "T_x", "B", "B_a"),
    rhs=rhs,
    observe=observe,
    start={"T_m": "T_m0", "T_e1": "T_e10", "T_e2": "T_e20", "T_x": "T_x0", "B": "B_0", "B_a": antigen_at_start},
    # At 3e-8 the 99th percentile of the error was 3.9e-6 (tests/benchmarks/models_accuracy.py).
    rtol=3e-9,
    simulator=True,
)
