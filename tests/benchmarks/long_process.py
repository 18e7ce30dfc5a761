"""500 fits in one process: does it grow, and is the same program compiled once?

    python tests/benchmarks/long_process.py [kind ...]

Each kind of loop runs in a process of its own, on the example (simulated patients): a tie written as a lambda in the
loop; a tie with another number in each round, which is another program each time (100 rounds); a model changed by
`with_` in the loop; another number of samples (6 to 505, in an order drawn with the seed) and of days predicted in each
round. A kind ends after eight minutes; `fits` says how many were done. `first_s` is the first round, with its
compilations or their reading from the cache; `median_s` the median of the others; `slow` counts rounds beyond the first
that took more than a second and twice the median. Memory is the peak of the resident set, maps are those of the process
at their most (Linux allows 65,530). Aimed at are 1 GB and 10,000 maps. Writes long_process.csv.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

SEED, MODEL = 2020, "il15_persistence"
MOST_MB, MOST_MAPS = 1000, 10_000
LONGEST_S = 480  # of a kind; `fits` says how many were done


def patient(number):
    study = ck.example()
    return study.select(study.subjects[number % len(study.subjects)])


def tie(number):
    fit = ck.fit(models.load(MODEL), patient(number), tie={"gamma_M": lambda gamma: gamma / 10}, starts=1)
    return fit.predict([7.0, 28.0])


def tie_of_a_number(number):
    part = 10.0 + number
    fit = ck.fit(models.load("nk_decline"), patient(number), tie={"beta": lambda alpha: alpha / part}, starts=1)
    return fit.predict([7.0, 28.0])


def changed(number):
    model = models.load(MODEL).with_(fixed={"kappa": 6.0 + 4 * (number % 500) / 500}, bounds={"r": (0.01, 5.0)})
    return ck.fit(model, patient(number), starts=1).predict([7.0, 28.0])


def shape(number):
    number = int(np.random.default_rng(SEED).permutation(500)[number])
    samples, rng = 6 + number, np.random.default_rng([SEED, number])
    days = np.linspace(1, 300, samples)
    values = (2e4 * np.exp(-0.2 * days) + 200 * np.exp(-0.005 * days)) * np.exp(rng.normal(0, 0.5, samples))
    table = pd.DataFrame({"subject": "S", "day": days, "copies_per_ug": values, "dose": 1e6})
    fit = ck.fit(models.load("nk_decline"), ck.read_study(table, lloq=3, progress=False), starts=1)
    return fit.predict(np.linspace(0, 300, 1 + number))


KINDS = {
    "a tie in the loop": (tie, 500),
    "a tie of another number": (tie_of_a_number, 100),
    "a changed model in the loop": (changed, 500),
    "another shape": (shape, 500),
}


def maps():
    return Path("/proc/self/maps").read_bytes().count(b"\n")


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def rounds(kind):
    """Seconds of each round, and what the process held after the first and at its most."""
    function, number = KINDS[kind]
    seconds, most, first = [], 0, 0.0
    for each in range(number):
        began = time.perf_counter()
        function(each)
        seconds.append(time.perf_counter() - began)
        most = max(most, maps())
        first = first or peak_mb()
        if sum(seconds) > LONGEST_S:
            break
    print(json.dumps([seconds, most, first, peak_mb()]))


def row(kind):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--only", kind], capture_output=True, text=True, check=True
    )
    seconds, most, first, peak = json.loads(done.stdout.splitlines()[-1])
    median = float(np.median(seconds[1:]))
    slow = sum(each > 1.0 and each > 2 * median for each in seconds[1:])
    return {
        "kind": kind,
        "fits": len(seconds),
        "first_s": f"{seconds[0]:.1f}",
        "median_s": f"{median:.2f}",
        "slow": slow,
        "all_s": round(sum(seconds)),
        "first_MB": round(first),
        "peak_MB": round(peak),
        "maps": most,
        "missed": ", ".join(
            name for name, is_so in (("memory", peak > MOST_MB), ("maps", most > MOST_MAPS)) if is_so
        ) or "nothing",
    }  # fmt: skip


def main(kinds):
    from table import machine

    path = Path(__file__).with_suffix(".csv")
    for kind in kinds:
        old = pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame(columns=["kind"])
        new = row(kind) | machine()
        print(new, flush=True)
        kept = {each["kind"]: each for each in [*old.to_dict("records"), new]}
        pd.DataFrame([kept[name] for name in KINDS if name in kept]).to_csv(path, index=False)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only"]:
        rounds(sys.argv[2])
    else:
        main(sys.argv[1:] or KINDS)
