"""A virtual trial of 100,100 patients by one process and by two: seconds, and whether the result is the same.

    python tests/benchmarks/virtual_trial.py

9,100 studies of 3, 4 and 4 patients of il15_persistence, ten samples each, by `ck.power`. The seconds of
the processor are those of one process; of two they are in the workers. Writes virtual_trial.csv.
"""

import time
from pathlib import Path

import pandas as pd

import cellkinetics as ck
from cellkinetics import models

STUDIES, SIZES, DAYS = 9_100, [3, 4, 4], [1, 3, 7, 10, 14, 21, 28, 60, 180, 365]


def main():
    from table import machine

    found, rows = {}, []
    for n_jobs in (1, 2):
        began, own = time.perf_counter(), time.process_time()
        found[n_jobs] = ck.power(
            models.load("il15_persistence"), [1e5, 1e6, 1e7], SIZES, DAYS, between={"F": 0.5, "rho": 0.06}, lloq=3,
            studies=STUDIES, patients=[sum(SIZES)], progress=False, n_jobs=n_jobs,
        )  # fmt: skip
        seconds, cpu = time.perf_counter() - began, time.process_time() - own
        patients = STUDIES * sum(SIZES)
        new = {"processes": n_jobs, "patients": patients, "samples": patients * len(DAYS), "s": round(seconds, 1)}
        rows.append(new | {"cpu_s": round(cpu, 1) if n_jobs == 1 else "", **machine()})
        print(rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(Path(__file__).with_suffix(".csv"), index=False)
    pd.testing.assert_frame_equal(found[2].table, found[1].table, check_exact=True)
    print("the same")


if __name__ == "__main__":
    main()
