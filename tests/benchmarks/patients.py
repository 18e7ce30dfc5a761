"""Simulated patients of a model, as the benchmarks of fits draw them."""

import numpy as np
import pandas as pd

import cellkinetics as ck

DOSE, SD, OWN = 1e6, 0.5, "own_ode"
OWN_VALUES = {"F": (4e-4, "copies/ug per cell/kg"), "k": (0.5, "1/day"), "rho": (0.9, "1/day"), "mu": (0.15, "1/day"),
          "wanes": (7.0, "day"), "eps": (0.02, "1/day"), "late": (0.005, "1/day")}  # fmt: skip


def drawn(
    model, spreads, patients, days, *, seed, sd=SD, values=None, same=(), digits=3, dose=DOSE, output="copies_per_ug"
):
    """A table of patients, with the ``curve`` behind each value, and {subject: true values}.

    Each parameter in ``spreads`` is normal on the scale of estimation about its default (or what ``values`` says),
    with that SD, and kept within its bounds; samples of ``output`` are log-normal about the curve, after one infusion
    (``dose``; None where the model takes none). What is the ``same`` in all patients stays at its default, and the
    others are then drawn as they would be without. ``sd`` is a number, or a function of the generator that gives one
    for each patient.
    """
    rng, tables, truths = np.random.default_rng(seed), [], {}
    for number in range(patients):
        own = model.values(values)
        for name, spread in spreads.items():
            p = model.parameters[name]
            moved = spread * rng.normal() * (name not in same)
            value = p.from_estimation(p.to_estimation(p.value) + moved)
            own[name] = float(np.clip(value, p.min, p.max))
        scatter = sd(rng) if callable(sd) else sd
        curve = np.asarray(model.solve(days, own, dose)[output])
        copies = curve * np.exp(scatter * rng.normal(size=len(days)))
        subject = f"S{number:0{digits}d}"
        truths[subject] = own | {"sd": scatter}
        table = {"subject": subject, "day": days, output: copies, "curve": curve, "dose": dose}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True), truths


def own_ode():
    """A user's own ODE of three states: cells in blood, expanding cells whose growth wanes, memory cells."""
    return ck.Model(
        name=OWN, parameters={name: ck.Parameter(*one, "assumption") for name, one in OWN_VALUES.items()},
        outputs={"copies_per_ug": "copies/ug"}, states=("B", "E", "M"),
        rhs=lambda t, B, E, M, k, rho, mu, wanes, eps, late: (
            -k * B, k * B + rho * E / (1 + (t / wanes) ** 4) - (mu + eps) * E, eps * E - late * M
        ),
        observe=lambda B, E, M: B + E + M, dosing={"cells": ("B", "F")}, free=("F", "rho", "mu", "eps", "late"),
    )  # fmt: skip
