"""How the time of a batch grows: with patients, samples and free parameters, and its memory at 10,000 patients.

    python tests/benchmarks/batch_growth.py

Simulated patients of il15_persistence as in batch_fit.py, one start, warm: the second of two calls. CPU is that of the
process with all threads; the memory is the peak of the process up to then, so that the patients go last. Writes
batch_growth.csv.
"""

import resource
from pathlib import Path

import batch_fit
import numpy as np
import pandas as pd
from table import machine

import cellkinetics as ck
from cellkinetics import models

MODEL = models.load("il15_persistence")
NAMES = ["rho", "r", "mu0", "F", "N", "phi", "k_d", "L0", "kappa", "gamma"]


def measured(what, number, table, limit, **asked):
    """One row: the second of two calls."""
    study = ck.read_study(table, lloq=limit)
    for _ in range(2):
        fits, wall, processor = batch_fit.timed(lambda: ck.fit_each(MODEL, study, starts=1, progress=False, **asked))
    count = len(study.subjects)
    row = {"grows": what, "number": number, "patients": count, "wall_ms": 1e3 * wall / count}
    row |= {"cpu_ms": 1e3 * processor / count, "solved": float(np.mean([fit.fitted for fit in fits.values()]))}
    row["peak_GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(row, flush=True)
    return row


def rows():
    """Free parameters, samples, patients."""
    table, limit = batch_fit.simulated(MODEL)
    some = table[table["subject"] < "S0250"]
    for count in (2, 4, 6, 8, 10):
        yield measured("free parameters", count, some, limit, free=NAMES[:count])
    for count in (5, 10, 15, 30, 50):
        batch_fit.DAYS = np.unique(np.round(np.geomspace(1, 365, count), 2))
        more, _ = batch_fit.simulated(MODEL, 250)
        yield measured("samples", count, more, limit, free=NAMES[:4])
    batch_fit.DAYS = np.sort(table["day"].unique())
    for count in (1, 10, 100, 1000, 10_000):
        many, _ = batch_fit.simulated(MODEL, count)
        yield measured("patients", count, many, limit)


if __name__ == "__main__":
    found = pd.DataFrame(list(rows())).assign(**machine())
    numbers = found.select_dtypes(float).columns
    found[numbers] = found[numbers].map(lambda value: float(f"{value:.3g}"))
    found.to_csv(Path(__file__).with_suffix(".csv"), index=False)
