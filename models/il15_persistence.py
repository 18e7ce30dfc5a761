r"""Expansion, contraction and IL-15-driven persistence of CAR-NK cells.

Ours: no published population model of a CAR-NK product was found. Every default is an assumption **calibrated to the
published statements of the study** (Liu et al., N Engl J Med 2020;382:545-53, doi:10.1056/NEJMoa1910607); none is an
estimate or a prediction.

Observed is :math:`C = D + E + M` in copies/ug: infused cells that leave the blood (D), expanding CAR-NK cells (E) and
persistent CAR-NK cells in an IL-15 niche (M).

.. math::

    \dot D &= -(k_d + X)\, D \qquad\text{(each infusion adds } F \times \text{dose)} \\
    \dot E &= \varphi k_d D + \Big[\rho\,\frac{S}{K + S} - \delta - \gamma L - \varepsilon - X\Big] E,
        \qquad S = I - 1 + \tau \\
    \dot M &= \varepsilon E\,(1 - M/N) - \Big[\frac{\mu_0}{1 + \tau/K_\tau} + \gamma_M L + X\Big] M \\
    \dot X &= -k_e X \qquad\text{(each rimiducid dose adds } k_s) \\
    L(t) &= \frac{1}{1 + (1/L_0 - 1)\,e^{-r t}}, \qquad I(t) = \frac{1 + \kappa}{1 + \kappa L(t)}

L: host lymphocytes as a fraction of normal since the last lymphodepletion (by default at the first infusion); I:
endogenous IL-15 (healthy = 1), whose turnover is fast against that of cells; :math:`\tau`: IL-15 that the transgene
supplies locally, in the unit of I (0 for a construct without); X: effect of the safety switch (inducible caspase 9).

Assumptions
-----------
The cells do not change I: the study saw no systemic rise of IL-15 after the infusion. That lymphodepletion raises I
before the infusion is an assumption of the model; if "pretreatment" in the study precedes the chemotherapy, the two
are in tension. k_s and k_e (a loss of 98% within hours) are assumptions: the switch was never used in the study.
mu0 and K_tau are exactly confounded; eps cannot be estimated from one patient.
"""

from __future__ import annotations

import jax.numpy as jnp

from cellkinetics.model import Model, Parameter

CALIBRATED = "assumption, calibrated to the published statements of doi:10.1056/NEJMoa1910607"


def lymphocytes(t, r, L0):
    """Host lymphocytes, fraction of normal: logistic recovery from L0 at day 0."""
    return 1 / (1 + (1 / L0 - 1) * jnp.exp(-r * t))


def rhs(t, D, E, M, X, k_d, phi, rho, K, tau, delta, gamma, eps, N, mu0, K_tau, gamma_M, r, L0, kappa, k_e):
    """Derivatives of D, E, M (copies/ug) and X (1/day), per day."""
    host = lymphocytes(t, r, L0)
    il15 = (1 + kappa) / (1 + kappa * host)
    signal = il15 - 1 + tau
    growth = rho * signal / (K + signal) - delta - gamma * host - eps - X
    loss = mu0 / (1 + tau / K_tau) + gamma_M * host + X
    return (
        -(k_d + X) * D,
        phi * k_d * D + growth * E,
        eps * E * (1 - M / N) - loss * M,
        -k_e * X,
    )


def observe(D, E, M):
    """Copies/ug of all CAR-NK cells."""
    return D + E + M


def free(study):
    """What one patient's curve determines; N only where the dose fills the niche."""
    highest = study.doses.loc[study.doses["kind"] == "cells", "amount"].max()
    return ("F", "rho", "r", "mu0", "N") if highest >= 1e6 else ("F", "rho", "r", "mu0")


model = Model(
    name="il15_persistence",
    reference="ours; calibrated to doi:10.1056/NEJMoa1910607",
    parameters={
        "F": Parameter(
            4e-4,
            "copies/ug per cell/kg",
            "own estimate: 70 kg, VCN 2, 10% of cells in blood, 1e9 leukocytes/L",
        ),
        "k_d": Parameter(1.5, "1/day", CALIBRATED),
        "phi": Parameter(0.3, "1", CALIBRATED, max=1.0, scale="logit"),
        "rho": Parameter(1.6, "1/day", CALIBRATED),
        "K": Parameter(2.0, "IL-15, healthy = 1", CALIBRATED),
        "tau": Parameter(0.6, "IL-15, healthy = 1", CALIBRATED),
        "delta": Parameter(0.55, "1/day", CALIBRATED),
        "gamma": Parameter(1.2, "1/day", CALIBRATED),
        "eps": Parameter(0.05, "1/day", CALIBRATED),
        "N": Parameter(150.0, "copies/ug", CALIBRATED),
        "mu0": Parameter(0.25, "1/day", CALIBRATED),
        "K_tau": Parameter(0.015, "IL-15, healthy = 1", CALIBRATED),
        "gamma_M": Parameter(0.0, "1/day", "assumption: lymphocytes do not reach the niche", scale="identity"),
        "r": Parameter(0.4, "1/day", CALIBRATED),
        "L0": Parameter(0.01, "fraction of normal", CALIBRATED, min=1e-4, max=1.0, scale="log"),
        "kappa": Parameter(8.0, "1", CALIBRATED),
        "k_s": Parameter(50.0, "1/day", "assumption: with k_e, a loss of 98% within hours"),
        "k_e": Parameter(12.0, "1/day", "assumption: with k_s, a loss of 98% within hours"),
    },
    outputs={"copies_per_ug": "copies/ug"},
    states=("D", "E", "M", "X"),
    rhs=rhs,
    observe=observe,
    dosing={"cells": ("D", "F"), "rimiducid": ("X", "k_s")},
    natural=("X",),
    free=free,
)
