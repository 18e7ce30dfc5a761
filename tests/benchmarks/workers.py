"""A bootstrap of 2,000 by one process and by two: seconds, and whether the result is the same bit for bit.

    python tests/benchmarks/workers.py [others|trial]

One patient of each model, all refits in chunks of 512. `cold` is the first
call of each, with the start of the workers and all compilations of a new process (programs on disk may be there);
`warm` the second one. Work inside one process runs on as many threads as there are processors already: two processes
on the same machine are no faster, the figure says what the way to them costs. The machine had two processors, which
other work shared: see the load. With `others` behind it fits, profiles, power and permutations by two processes are
compared with those of one, and not timed. Writes workers.csv. With `trial` a virtual trial of 100,100 patients of
il15_persistence, 9,100 studies of 3, 4 and 4 by `ck.power`, by one process and by two; writes virtual_trial.csv.
"""

import sys
import time
from pathlib import Path

import pandas as pd

import cellkinetics as ck
from cellkinetics import models

REFITS = {"nk_decline": 2000, "stein_2019_tisagenlecleucel": 2000, "il15_persistence": 2000}
PATIENT = "P06"


def timed(function):
    began = time.perf_counter()
    return function(), time.perf_counter() - began


def same(one, other):
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    return "yes"


def row(name, refits):
    """Seconds of one process and of two, cold and warm."""
    fit = ck.fit(models.load(name), ck.example().select(PATIENT), starts=1)
    found = {"model": name, "refits": refits}
    draws = {}
    for n_jobs in (1, 2):
        for state in ("cold", "warm"):
            result, seconds = timed(lambda n_jobs=n_jobs: fit.bootstrap(refits, n_jobs=n_jobs))
            found[f"{n_jobs}_{state}_s"] = round(seconds, 1)
        draws[n_jobs] = result.draws
    return found | {"the same": same(draws[1], draws[2])}


def others():
    """Every other verb by two processes."""
    decline, study = models.load("nk_decline"), ck.example()
    one, two = (ck.fit_each(decline, study, starts=1, chunk=2, progress=False, n_jobs=n) for n in (1, 2))
    same(two.parameters, one.parameters)
    same(two.outcomes, one.outcomes)
    profiles = [one.profile(n_jobs=n) for n in (1, 2)]
    same(profiles[1].table, profiles[0].table)
    design = (decline, [1e5, 1e7], [3, 3], [1, 7, 14, 28])
    powers = [ck.power(*design, between={"F": 0.5}, lloq=3, progress=False, n_jobs=n) for n in (1, 2)]
    same(powers[1].table, powers[0].table)
    compared = [
        ck.compare_cohorts(study, by="dose", model=decline, progress=False, n_jobs=n).model_based for n in (1, 2)
    ]
    same(compared[1].table, compared[0].table)
    print("fits, profiles, power and permutations by two processes are those of one", flush=True)


def trial():
    """100,100 virtual patients by one process and by two."""
    from table import machine

    design = (models.load("il15_persistence"), [1e5, 1e6, 1e7], [3, 4, 4], [1, 3, 7, 10, 14, 21, 28, 60, 180, 365])
    options = {"between": {"F": 0.5, "rho": 0.06}, "lloq": 3, "studies": 9_100, "patients": [11], "progress": False}
    found, rows = {}, []
    for n_jobs in (1, 2):
        began, own = time.perf_counter(), time.process_time()
        found[n_jobs] = ck.power(*design, **options, n_jobs=n_jobs)
        new = {"processes": n_jobs, "patients": 9_100 * 11, "samples": 9_100 * 11 * len(design[3])}
        seconds, cpu = time.perf_counter() - began, time.process_time() - own
        # Of two processes the processor seconds are in the workers.
        rows.append(new | {"s": round(seconds, 1), "cpu_s": round(cpu, 1) if n_jobs == 1 else "", **machine()})
        print(rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(Path(__file__).with_name("virtual_trial.csv"), index=False)
    same(found[2].table, found[1].table)
    print("the same", flush=True)


if __name__ == "__main__":
    from table import machine, renew

    if "others" in sys.argv:
        sys.exit(others())
    if "trial" in sys.argv:
        sys.exit(trial())
    for model, number in REFITS.items():
        new = row(model, number) | machine()
        print(new, flush=True)
        renew(Path(__file__).with_suffix(".csv"), new)
