r"""CAR-NK cells with IL-15 turnover, antigen, marrow and lymph node: a simulator around ``il15_persistence``.

Ours: no published population model of a CAR-NK product was found. What ``il15_persistence`` holds fixed moves here:
IL-15 is made and consumed, B cells and tumour drive the expansion and are killed, and CAR-NK cells in marrow (m) and
lymph node (n) exchange with those in blood.

.. math::

    \dot D &= -(k_d + X)\, D \qquad\text{(each infusion adds } F \times \text{dose)} \\
    \dot E &= \varphi k_d D + G(B, E + M)\, E - \textstyle\sum_s q_s (E - E_s/R_s) \\
    \dot E_s &= R_s \varphi k_d D + G(A_s, E_s + M_s)\, E_s + q_s (E - E_s/R_s)/v_s,
        \qquad A_m = B,\; A_n = B + T \\
    \dot M &= \varepsilon E\,(1 - M/N) - \mu M - \textstyle\sum_s q_s (M - M_s/R_s) \\
    \dot M_s &= \varepsilon E_s\,(1 - M_s/(R_s N)) - \mu M_s + q_s (M - M_s/R_s)/v_s \\
    \dot I &= k_I \Big[1 - I\,\frac{1 + \kappa L}{1 + \kappa}\Big] - \sigma (E + M)\, I \\
    \dot B &= k_B (1 - B) - k_{kB}\,\frac{E + M}{C_{50} + E + M}\, B \\
    \dot T &= g\, T\,(1 - T/T_{max}) - k_{kT}\,\frac{E_n + M_n}{C_{50} + E_n + M_n}\, T \\
    \dot X &= -k_e X \qquad\text{(each rimiducid dose adds } k_s) \\
    G(A, C) &= \frac{\rho}{1 + C/C_{max}} \Big(1 + \alpha\,\frac{A}{A_{50} + A}\Big) \frac{S}{K + S}
        - \delta - \gamma L - \varepsilon - X, \qquad S = \max(I - 1, 0) + \tau \\
    \mu &= \frac{\mu_0}{1 + \tau/K_\tau} + \gamma_M L + X, \qquad
        L(t) = \frac{1}{1 + (1/L_0 - 1)\,e^{-r (t - t_{LD})}}

Observed are D + E + M in blood and E + M in marrow and lymph node (copies/ug), IL-15 (healthy = 1), B cells (healthy =
1) and tumour (at the first infusion = 1). Host lymphocytes L recover since the last lymphodepletion, as in
``il15_persistence``, and consume IL-15: its clearance is proportional to :math:`1 + \kappa L`.

Calibrated, as far as it goes, to published statements of Liu et al., N Engl J Med 2020;382:545-53,
doi:10.1056/NEJMoa1910607: persistence, marrow about equal to blood, lymph node above both, no systemic rise of IL-15
after the infusion, no expansion anew when the tumour comes back.

Assumptions and deviations
--------------------------
**A simulator: every default is an assumption, none is an estimate or a prediction.**

- With fast IL-15 turnover, without antigen effect (alpha 0), exchange (q 0) and crowding (C_max large) the blood is
  that of ``il15_persistence``. With equal antigen everywhere exchange changes nothing: sites fill in proportion to R_s.
- Growth is halved where C_max copies/ug are reached: a microgram of DNA holds 151,515 genomes, with 2 copies each here.
- The cells do not consume systemic IL-15 by default (sigma 0); IL-15 of the transgene acts locally, through tau.
- IL-15 starts in balance with the lymphocytes that lymphodepletion left (L_0); its production is constant.
- Antigen raises the rate of expansion by up to a share alpha; the tumour lies in the lymph node, B cells everywhere.
  CAR-NK cells of blood kill B cells, those of the lymph node kill the tumour, both with one C50.
- R_s: copies/ug of a site over those of blood, at balance; v_s: host DNA of a site over that of blood; q_s: exchange,
  as blood turned over per day.
- The tumour is continuous: below one cell it can still grow back.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cellkinetics import Check, Model, Parameter, models

SOURCE = "assumption"
STATEMENT = "assumption, calibrated to the published statements of doi:10.1056/NEJMoa1910607"
LIU = "Liu 2020, a statement that the defaults were calibrated to"


def rhs(
    D,
    E,
    M,
    X,
    I,
    E_m,
    M_m,
    E_n,
    M_n,
    B,
    T,
    since_lymphodepletion,
    k_d,
    phi,
    rho,
    K,
    tau,
    delta,
    gamma,
    eps,
    N,
    mu0,
    K_tau,
    gamma_M,
    r,
    L0,
    kappa,
    k_e,
    k_I,
    sigma,
    alpha,
    A50,
    C_max,
    k_B,
    kill_B,
    C50,
    growth_T,
    T_max,
    kill_T,
    R_m,
    R_n,
    v_m,
    v_n,
    q_m,
    q_n,
):
    """Derivatives of the states, per day: copies/ug, 1/day (X), healthy = 1 (I, B), first infusion = 1 (T)."""
    host = 1 / (1 + (1 / L0 - 1) * jnp.exp(-r * since_lymphodepletion))
    signal = jnp.maximum(I - 1, 0.0) + tau
    driven = rho * signal / (K + signal)
    fallen = delta + gamma * host + eps + X
    loss = mu0 / (1 + tau / K_tau) + gamma_M * host + X
    entering = phi * k_d * D
    blood, marrow, node = E + M, E_m + M_m, E_n + M_n
    everywhere, in_node = 1 + alpha * B / (A50 + B), 1 + alpha * (B + T) / (A50 + B + T)
    growth = driven * everywhere / (1 + blood / C_max) - fallen
    growth_m = driven * everywhere / (1 + marrow / C_max) - fallen
    growth_n = driven * in_node / (1 + node / C_max) - fallen
    E_to_m, E_to_n = q_m * (E - E_m / R_m), q_n * (E - E_n / R_n)
    M_to_m, M_to_n = q_m * (M - M_m / R_m), q_n * (M - M_n / R_n)
    return (
        -(k_d + X) * D,
        entering + growth * E - E_to_m - E_to_n,
        eps * E * (1 - M / N) - loss * M - M_to_m - M_to_n,
        -k_e * X,
        k_I * (1 - I * (1 + kappa * host) / (1 + kappa)) - sigma * blood * I,
        R_m * entering + growth_m * E_m + E_to_m / v_m,
        eps * E_m * (1 - M_m / (R_m * N)) - loss * M_m + M_to_m / v_m,
        R_n * entering + growth_n * E_n + E_to_n / v_n,
        eps * E_n * (1 - M_n / (R_n * N)) - loss * M_n + M_to_n / v_n,
        k_B * (1 - B) - kill_B * blood / (C50 + blood) * B,
        growth_T * T * (1 - T / T_max) - kill_T * node / (C50 + node) * T,
    )


def observe(D, E, M, I, E_m, M_m, E_n, M_n, B, T):
    """Copies/ug of blood, marrow and lymph node; IL-15 and B cells (healthy = 1), tumour (first infusion = 1)."""
    return {
        "copies_per_ug": D + E + M,
        "marrow": E_m + M_m,
        "lymph_node": E_n + M_n,
        "il15": I,
        "b_cells": B,
        "tumour": T,
    }


def il15_at_start(kappa, L0):
    """In balance with the lymphocytes that are left."""
    return (1 + kappa) / (1 + kappa * L0)


def over_blood(site):
    """Function of the model: the level of a site over that of blood, day 28 after 1e6 cells/kg."""

    def compute(model):
        curves = model.solve([0.0, 28.0], doses=1e6)
        return float(curves[site][-1] / curves["copies_per_ug"][-1])

    return compute


def il15_after(model):
    """The highest IL-15 after the infusion of 1e7 cells/kg over that at the infusion."""
    il15 = np.asarray(model.solve(np.linspace(0.0, 60.0, 121), doses=1e7)["il15"])
    return float(il15[1:].max() / il15[0])


model = Model(
    name="il15_full",
    reference="ours; calibrated to doi:10.1056/NEJMoa1910607",
    population="none: a simulator of CAR-NK cells in CD19-positive lymphoid tumours",
    parameters={
        **models.load("il15_persistence").parameters,
        "k_I": Parameter(2.0, "1/day", "assumption: a half-life of 8 hours in health", min=0.05, max=1e5),
        "sigma": Parameter(
            0.0,
            "1/day per copies/ug",
            "assumption: no systemic change of IL-15 by the cells",
            max=1.0,
            scale="identity",
        ),
        "alpha": Parameter(0.05, "1", SOURCE, max=5.0, scale="identity"),
        "A50": Parameter(0.5, "B cells, healthy = 1", SOURCE, min=1e-4, max=100.0),
        "C_max": Parameter(
            3e5, "copies/ug", "derived: 151,515 genomes/ug, 2 copies a cell (assumption)", min=1e3, max=1e15
        ),
        "k_B": Parameter(0.02, "1/day", SOURCE, min=1e-4, max=1.0),
        "kill_B": Parameter(1.0, "1/day", SOURCE, min=1e-3, max=20.0),
        "B_0": Parameter(0.05, "healthy = 1", "assumption: low after lymphodepletion", min=1e-6, max=1.0),
        "C50": Parameter(30.0, "copies/ug", SOURCE, min=0.1, max=1e5),
        "growth_T": Parameter(0.01, "1/day", SOURCE, min=1e-4, max=0.5),
        "T_max": Parameter(20.0, "first infusion = 1", SOURCE, min=1.0, max=1e4),
        "kill_T": Parameter(0.3, "1/day", SOURCE, min=1e-3, max=10.0),
        "R_m": Parameter(1.0, "1", STATEMENT, min=0.01, max=100.0),
        "R_n": Parameter(3.0, "1", STATEMENT, min=0.01, max=100.0),
        "v_m": Parameter(10.0, "1", SOURCE, min=0.01, max=1e3),
        "v_n": Parameter(5.0, "1", SOURCE, min=0.01, max=1e3),
        "q_m": Parameter(1.0, "1/day", SOURCE, max=100.0, scale="identity"),
        "q_n": Parameter(1.0, "1/day", SOURCE, max=100.0, scale="identity"),
    },
    outputs={
        "copies_per_ug": "copies/ug",
        "marrow": "copies/ug",
        "lymph_node": "copies/ug",
        "il15": "relative",
        "b_cells": "relative",
        "tumour": "relative",
    },
    states=("D", "E", "M", "X", "I", "E_m", "M_m", "E_n", "M_n", "B", "T"),
    rhs=rhs,
    observe=observe,
    start={"I": il15_at_start, "B": "B_0", "T": lambda: 1.0},
    dosing={"cells": ("D", "F"), "rimiducid": ("X", "k_s")},
    markers=("lymphodepletion",),
    natural=("X",),
    simulator=True,
    checks=(
        Check("marrow over blood, day 28", 1.0, "1", over_blood("marrow"), 0.1, f"{LIU}, in words: about equal"),
        Check(
            "lymph node over blood, day 28", (1.0, np.inf), "1", over_blood("lymph_node"),
            source=f"{LIU}: above blood in both patients sampled",
        ),
        Check(
            "highest IL-15 after the infusion over that at it", (0.0, 1.0), "1", il15_after,
            source=f"{LIU}: no rise of systemic IL-15",
        ),
    ),
)  # fmt: skip
