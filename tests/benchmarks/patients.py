"""Simulated patients of a model, as the benchmarks of fits draw them."""

import numpy as np
import pandas as pd

DOSE, SD = 1e6, 0.5


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
