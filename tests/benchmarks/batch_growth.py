"""How the time of a batch grows with patients, samples, free parameters and states.

    python tests/benchmarks/batch_growth.py [patients] [samples] [free] [confounded] [states]

Simulated patients of batch_fit.py. Patients: 1 to 10,000 with 15 samples and the default free set. Samples: 1,000
patients with 5 to 50, evenly spaced in ln days from day 1 to 365. Free parameters: 1,000 patients with 15 samples, the
first 2 to 10 of a list that begins with what a patient determines best; the rows with more than the default free set,
where they are confounded, have the first 200 patients (1,000 were stopped: they took hours in an earlier state).
States: 100 patients of a transit chain of 1 to 8 states as an own ODE, F and the mean transit time free (log-SD 0.3),
15 samples from day 1 to 60. One start, sd free, the second of two calls, milliseconds a patient on the wall and of the
processors. Renews rows of batch_growth.csv.
"""

import sys
from pathlib import Path

import batch_fit
import numpy as np
import pandas as pd
from patients import drawn
from table import machine

import cellkinetics as ck
from cellkinetics import models

PATIENTS, CONFOUNDED = 1000, 200
FILE, QUANTITIES = Path(__file__).with_suffix(".csv"), ("patients", "samples", "free", "confounded", "states")
STATES, CHAINS, CHAIN_DAYS = (1, 2, 4, 8), 100, np.geomspace(1, 60, 15)
COUNTS = (1, 10, 100, 1000, 10_000)
SAMPLES = (5, 10, 15, 25, 50)
ORDER = {
    "il15_persistence": ("rho", "r", "F", "mu0", "N", "k_d", "phi", "kappa", "delta", "eps"),
    "stein_2019_tisagenlecleucel": ("c_max", "alpha", "t_max", "fold", "f_b", "beta"),
}


def row(model, quantity, value, study, free=None):
    """The second of two calls."""

    def call():
        return ck.fit_each(model, study, free=free, starts=1, progress=False)

    call()
    fits, wall, processor = batch_fit.timed(call)
    count = len(study.subjects)
    found = {
        "model": model.name, "varied": quantity, "value": value, "patients": count,
        "wall_ms": 1e3 * wall / count, "cpu_ms": 1e3 * processor / count, "ended": batch_fit.ended(fits),
    }  # fmt: skip
    print(found, flush=True)
    return found


def studies(model, patients, days=batch_fit.DAYS):
    table, limit = batch_fit.simulated(model, patients, days)
    return ck.read_study(table, lloq=limit)


def chain(states):
    """A transit chain, all of which is counted: F, and the mean time that a cell takes through it."""
    names = [f"E{i}" for i in range(states)]
    flows = [f"{states} / mtt * ({f'E{i - 1}' if i else '0.0'} - E{i})" for i in range(states)]
    values = {"F": (4e-4, "copies/ug per cell/kg"), "mtt": (20.0, "day")}
    return ck.Model(
        name="transit_chain", parameters={name: ck.Parameter(*one, "assumption") for name, one in values.items()},
        outputs={"copies_per_ug": "copies/ug"}, states=tuple(names), dosing={"cells": ("E0", "F")}, free=("F", "mtt"),
        rhs=eval(f"lambda {', '.join(names)}, mtt: ({', '.join(flows)},)"),
        observe=eval(f"lambda {', '.join(names)}: {' + '.join(names)}"),
    )  # fmt: skip


def of_chain(states):
    """Its row."""
    model = chain(states)
    table, _ = drawn(model, {"F": 0.3, "mtt": 0.3}, CHAINS, CHAIN_DAYS, seed=batch_fit.SEED)
    limit = float(table["copies_per_ug"].quantile(batch_fit.BELOW))
    return row(model, "states", states, ck.read_study(table.drop(columns="curve"), lloq=limit))


def of_model(name, quantity):
    """Rows of a model of the library."""
    model, order = models.load(name), ORDER[name]
    if quantity == "patients":
        return [row(model, quantity, count, studies(model, count)) for count in COUNTS]
    if quantity == "samples":
        each = {samples: np.exp(np.linspace(0, np.log(365), samples)) for samples in SAMPLES}
        return [row(model, quantity, samples, studies(model, PATIENTS, days)) for samples, days in each.items()]
    study = studies(model, PATIENTS)
    default = len(model.default_free(study.select(study.subjects[0])))
    counts = range(2, default + 1) if quantity == "free" else range(default + 1, len(order) + 1)
    some = study if quantity == "free" else study.select(study.subjects[:CONFOUNDED])
    return [row(model, "free", count, some, order[:count]) for count in counts]


for quantity in sys.argv[1:] or QUANTITIES:
    for name in ORDER if quantity != "states" else [None]:
        rows = [of_chain(states) for states in STATES] if name is None else of_model(name, quantity)
        new = pd.DataFrame(rows).map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
        new = new.assign(**{key: f"{value:.3g}" if key == "load" else value for key, value in machine().items()})
        if FILE.exists():
            old = pd.read_csv(FILE, dtype=str, keep_default_na=False)
            new = pd.concat([old, new.astype(str)]).drop_duplicates(["model", "varied", "value"], keep="last")
        new.to_csv(FILE, index=False)
