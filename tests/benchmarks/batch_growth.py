"""How the time of a batch grows with patients, samples and free parameters.

    python tests/benchmarks/batch_growth.py

Simulated patients of batch_fit.py. Patients: 1 to 10,000 with 15 samples and the default free set. Samples: 1,000
patients with 5 to 50, evenly spaced in ln days from day 1 to 365. Free parameters: 1,000 patients with 15 samples, the
first 2 to 10 of a list that begins with what a patient determines best; the rows with more than the default free set,
where they are confounded, have the first 200 patients (1,000 were stopped: they took hours in an earlier state). One
start, sd free, the second of two calls, milliseconds a patient on the wall and of the processors. Writes
batch_growth.csv.
"""

from pathlib import Path

import batch_fit
import numpy as np
import pandas as pd
from table import machine

import cellkinetics as ck
from cellkinetics import models

PATIENTS, CONFOUNDED = 1000, 200
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


rows = []
for name, order in ORDER.items():
    model = models.load(name)
    rows += [row(model, "patients", count, studies(model, count)) for count in COUNTS]
    for samples in SAMPLES:
        days = np.exp(np.linspace(0, np.log(365), samples))
        rows.append(row(model, "samples", samples, studies(model, PATIENTS, days)))
    study = studies(model, PATIENTS)
    default = len(model.default_free(study.select(study.subjects[0])))
    few = study.select(study.subjects[:CONFOUNDED])
    for count in range(2, len(order) + 1):
        rows.append(row(model, "free", count, study if count <= default else few, order[:count]))
    pd.DataFrame(rows).assign(**machine()).to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.3g")
