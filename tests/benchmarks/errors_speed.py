"""What a batch takes under each error model, as a ratio to the log-normal one.

    python tests/benchmarks/errors_speed.py [model ...]

300 **simulated** patients of Stein and of il15_persistence, those of batch_fit.py (seed 2020, residual SD 0.5 on the ln
scale, 30% below the limit), with 0.03 ug of DNA a sample; default starts. Whatever is fitted, the data are the same, so
that the other error models are fitted to what they do not describe. Processor time of `ck.fit_each` with `outcomes` and
`parameters`, compiled beforehand, the median of three rounds in which the error models take turns; the columns are
milliseconds a patient, the ratio to the log-normal, and how many patients converged. Seeds and counts were fixed before
the first run. Renews rows of errors_speed.csv.
"""

import statistics
import sys
from pathlib import Path

import pandas as pd
from batch_fit import SPREADS, simulated, timed
from table import machine

import cellkinetics as ck
from cellkinetics import models

FILE, PATIENTS, ROUNDS = Path(__file__).with_suffix(".csv"), 300, 3
ERRORS = ("log", "proportional", "combined", "student", "counting")


def rows(name):
    """Lines of the table for one model."""
    model = models.load(name)
    table, limit = simulated(model, PATIENTS)
    study = ck.read_study(table.assign(dna_ug=0.03), lloq=limit)

    def run(error):
        fits = ck.fit_each(model, study, error=error, progress=False)
        return fits, len(fits.outcomes), len(fits.parameters)

    took, ended = {error: [] for error in ERRORS}, {}
    for error in ERRORS:
        run(error)
    for _ in range(ROUNDS):
        for error in ERRORS:
            (fits, *_), _, processor = timed(lambda error=error: run(error))
            took[error].append(1e3 * processor / PATIENTS)
            ended[error] = sum(fit.converged for fit in fits.values())
    middle = {error: statistics.median(each) for error, each in took.items()}
    return [
        {"model": name, "error": error, "patients": PATIENTS, "converged": ended[error], "cpu_ms": f"{ms:.3g}",
         "ratio": f"{ms / middle['log']:.2f}"} | machine()
        for error, ms in middle.items()
    ]  # fmt: skip


if __name__ == "__main__":
    for one in sys.argv[1:] or SPREADS:
        new = pd.DataFrame(rows(one))
        print(new.iloc[:, :6].to_string(index=False), flush=True)
        if FILE.exists():
            old = pd.read_csv(FILE, dtype=str, keep_default_na=False)
            new = pd.concat([old[old["model"] != one], new])
        new.to_csv(FILE, index=False)
