"""A bootstrap of 2,000 by one process and by two: seconds, and whether the result is the same bit for bit.

    python tests/benchmarks/workers.py [others]

One patient of each model, all refits in chunks of 512. `cold` is the first
call of each, with the start of the workers and all compilations of a new process (programs on disk may be there);
`warm` the second one. Work inside one process runs on as many threads as there are processors already: two processes
on the same machine are no faster, the figure says what the way to them costs. The machine had two processors, which
other work shared: see the load. With `others` behind it fits, profiles, power and permutations by two processes are
compared with those of one, and not timed. Writes workers.csv.
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


if __name__ == "__main__":
    from table import machine, renew

    if "others" in sys.argv:
        sys.exit(others())
    for model, number in REFITS.items():
        new = row(model, number) | machine()
        print(new, flush=True)
        renew(Path(__file__).with_suffix(".csv"), new)
