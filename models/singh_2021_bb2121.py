r"""Antigen-driven expansion in tissue, elimination in blood: bb2121 in multiple myeloma.

Effector (E) and memory (M) CAR-T cells in blood (b) and tissue (t), and tumour cells (T) in tissue, all in cells.

.. math::

    \dot E_b &= K_{21} E_t - (K_{12} + Kel_e + R_m)\, E_b
        \qquad\text{(each infusion adds weight} \times \text{dose)} \\
    \dot E_t &= K_{12} E_b + \Big[\frac{K_{max}\, x}{EC_{50} + x} - K_{21} - R_m\Big] E_t \\
    \dot M_b &= R_m E_b + K_{21} M_t - (K_{12} + Kel_m)\, M_b \\
    \dot M_t &= R_m E_t + K_{12} M_b - K_{21} M_t \\
    \dot T &= \Big[K_g - \frac{K_{kill}\, y}{KC_{50} + y}\Big] T \\
    x &= Z V_t/E_t, \qquad y = Z V_t/T, \qquad A = n_{CAR} E_t/V_t, \qquad B = n_{Ag} T/V_t \\
    Z &= \frac{2 A B}{A + B + K_D + \sqrt{(A - B)^2 + 2 K_D (A + B) + K_D^2}}

A, B: receptors and antigens per litre of tissue; Z: their complexes; x and y: complexes per effector cell and per
tumour cell. Observed are :math:`s\,(E_b + M_b)/V_b` copies/ug in blood, and :math:`T/V_t` tumour cells/uL of tissue.

Singh AP, Chen W, Zheng X, et al. CPT Pharmacometrics Syst Pharmacol 2021;10:362-76, doi:10.1002/psp4.12598.

How it behaves at its defaults: 1.5% of the infused effector cells reach the tissue (1.71/d against the 113/d at which
they are lost in blood) and grow there at 1.0/d net until too little antigen is left; blood holds 0.15% of them. Memory
cells, made at 2e-5/d, are what is left after three months, with a half-life of 37.5 days. The peak hardly depends on
the dose (11% over a hundredfold range, and fewer cells peak a little higher, later) and depends on the tumour beyond
proportion: ten times the tumour give a peak 300 times as high, more copies than a microgram of DNA can hold. The model
is stiff (115/d in blood, 0.02/d at the end): the implicit stepper solves it.

Assumptions and deviations
--------------------------
The parameters are those of the authors' Monolix code, read as public libraries and re-implementations quote it, not in
the paper's own supplement. The equations are reconstructed and differ from that code in three places, which together
move its published peak by less than 0.1% (the table of published numbers below):

- The complex is at its binding equilibrium (quasi-steady): there it has on and off rates of its own. Its K_D is their
  ratio, :math:`2.385 \times 10^{-3}/s` over :math:`7.103 \times 10^4/M/s`.
- Effector cells become memory cells in blood and tissue alike; there in tissue alone.
- Memory cells bind no antigen; there their receptors take part in binding.

What is ours to assume, and what to beware of:

- Rate constants move cells, not concentrations; they are the same for effector and memory cells.
- Expansion, binding and killing happen in tissue; memory cells neither divide nor kill, and do not turn back.
- Both saturations take complexes per cell, of the effector cell for expansion and of the tumour cell for killing.
- T_0 is one number for all patients: 2.5e9 tumour cells/L in 3.65 L of tissue. The peak is very sensitive to it and to
  K_D: K_D 5 nmol/L and 4e9 cells would give a peak 4.7 times as high, K_D 5 alone one 27 times as high. A curve
  at the defaults is a check against the code, not what to expect of a patient.
- Doses of this library are cells/kg: weight (70 kg) makes cells of them. The first minutes, before the infused cells
  have left the blood, are shown as they are and lie above many peaks.
- The tumour is continuous: below one cell it can still grow back.
- Copies/ug count all cells of the blood at one ratio, whatever the leukocytes are.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cellkinetics import Check, Model, Parameter

SOURCE = "Singh 2021, clinical model, authors' code as quoted in public model libraries"
RUN = "authors' code, run by an independent stepper with its own binding kinetics"
CELLS = 450e6
PER_NANOMOLE = 6.02214076e14
MICROLITRES = 1e6


def complexes(A, B, K_D):
    """Complexes per (receptor times antigen), litres: Z/(A B), which has no 0/0 without receptors or antigens."""
    return 2 / (A + B + K_D + jnp.sqrt((A - B) ** 2 + 2 * K_D * (A + B) + K_D**2))


def rhs(E_b, E_t, M_b, M_t, T, K12, K21, V_t, Kel_e, Kel_m, K_max, EC50, R_m, n_CAR, n_Ag, K_D, K_kill, KC50, K_g):
    """Derivatives of E_b, E_t, M_b, M_t and T, cells per day."""
    A, B = n_CAR * E_t / V_t, n_Ag * T / V_t
    bound = complexes(A, B, PER_NANOMOLE * K_D)
    x, y = n_CAR * B * bound, n_Ag * A * bound
    growth, killing = K_max * x / (EC50 + x), K_kill * y / (KC50 + y)
    return (
        K21 * E_t - (K12 + Kel_e + R_m) * E_b,
        K12 * E_b + (growth - K21 - R_m) * E_t,
        R_m * E_b + K21 * M_t - (K12 + Kel_m) * M_b,
        R_m * E_t + K12 * M_b - K21 * M_t,
        (K_g - killing) * T,
    )


def observe(E_b, M_b, T, V_b, V_t, s):
    """Copies/ug in blood, and tumour cells/uL of tissue."""
    return {"copies_per_ug": s * (E_b + M_b) / V_b, "tumour": T / (V_t * MICROLITRES)}


def copies(model, days):
    """Copies/ug on these days after 450 million cells."""
    return np.asarray(model.solve(days, doses=CELLS / model.values()["weight"])["copies_per_ug"])


FROM_DAY_1 = np.linspace(1.0, 28.0, 2701)


def peak(model):
    """The highest level from day 1 on."""
    return float(copies(model, FROM_DAY_1).max())


def day_of_the_peak(model):
    """Its day, to 0.01."""
    return float(FROM_DAY_1[np.argmax(copies(model, FROM_DAY_1))])


def area(model):
    """Copies/ug x day from day 1 to 28."""
    return float(np.trapezoid(copies(model, FROM_DAY_1), FROM_DAY_1))


def on_day_28(model):
    """Copies/ug."""
    return float(copies(model, FROM_DAY_1)[-1])


model = Model(
    name="singh_2021_bb2121",
    reference="doi:10.1002/psp4.12598",
    population="relapsed or refractory multiple myeloma, bb2121 (anti-BCMA CAR-T cells), qPCR of blood",
    parameters={
        "weight": Parameter(70.0, "kg", "assumption: makes cells of cells/kg", min=1.0, max=300.0),
        "K12": Parameter(1.71, "1/day", SOURCE, min=0.01, max=100.0),
        "K21": Parameter(0.176, "1/day", SOURCE, min=1e-3, max=10.0),
        "V_b": Parameter(5.0, "L", SOURCE, min=0.5, max=10.0),
        "V_t": Parameter(3.65, "L", SOURCE, min=0.1, max=50.0),
        "Kel_e": Parameter(113.0, "1/day", SOURCE, min=1.0, max=1e4),
        "Kel_m": Parameter(0.219, "1/day", SOURCE, min=1e-3, max=10.0),
        "K_max": Parameter(1.73, "1/day", SOURCE, min=0.1, max=5.0),
        "EC50": Parameter(10.0, "complexes/effector cell", SOURCE, min=0.1, max=1e4),
        "R_m": Parameter(2e-5, "1/day", SOURCE, min=1e-8, max=0.1),
        "n_CAR": Parameter(15000.0, "receptors/cell", SOURCE, min=100.0, max=1e6),
        "n_Ag": Parameter(12590.0, "antigens/cell", SOURCE, min=100.0, max=1e6),
        "K_D": Parameter(
            33.58, "nmol/L", f"derived: Koff 2.385e-3/s over Kon 7.103e4/M/s; {SOURCE}", min=0.01, max=1e4
        ),
        "K_kill": Parameter(0.343, "1/day", SOURCE, min=1e-3, max=5.0),
        "KC50": Parameter(2.24, "complexes/tumour cell", SOURCE, min=0.01, max=1e3),
        "K_g": Parameter(0.008, "1/day", SOURCE, min=1e-4, max=0.2),
        "s": Parameter(0.002, "copies/ug per cell/L", SOURCE, min=1e-5, max=1.0),
        "T_0": Parameter(9.125e9, "cell", f"derived: 2.5e9 cells/L x 3.65 L; {SOURCE}", min=1e6, max=1e13),
    },
    outputs={"copies_per_ug": "copies/ug", "tumour": "cells/uL"},
    states=("E_b", "E_t", "M_b", "M_t", "T"),
    rhs=rhs,
    observe=observe,
    start={"T": "T_0"},
    dosing={"cells": ("E_b", "weight")},
    stiff=True,
    free=("K_max", "K21", "R_m", "Kel_m", "T_0"),
    checks=(
        Check("peak after day 1, 450e6 cells", 35774.0, "copies/ug", peak, 0.002, RUN),
        Check("its day", 14.19, "day", day_of_the_peak, 0.005, RUN),
        Check("area from day 1 to 28", 4.30e5, "copies/ug x day", area, 0.005, RUN),
        Check("level on day 28", 5992.0, "copies/ug", on_day_28, 0.01, RUN),
    ),
)
