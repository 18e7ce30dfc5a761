"""What a population fit costs.

    python tests/benchmarks/population_speed.py

Simulated studies of 24 and 50 patients as in population_recovery.py, with a quarter of the samples below the limit:
two_phases, a biexponential decline with four random effects and a coefficient of the dose, 12 samples a patient;
il15_persistence with five random effects, 14 samples. CPU seconds of this process and its threads.

first: of `fit_population` in a new process with empty caches, everything compiled. cached: in a new process that finds
the programs of an earlier one. warm: of a second fit with another seed in the same process. iterations: of that one.
saem_400: of 400 iterations of the warm program. 1,000 patients are fitted once. Writes population_speed.csv.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import population_recovery as recovery
from table import shown

import cellkinetics as ck

DESIGNS = [("two_phases", 24), ("two_phases", 50), ("il15_persistence", 24), ("il15_persistence", 50)]
DESIGNS += [("two_phases", 1000), ("il15_persistence", 1000)]
ONCE = 1000  # patients, who are fitted once
BLOCKS = 16  # of 25 iterations


def study_of(model, patients):
    """Simulated; a quarter of a pilot's samples lies below the limit."""
    doses, rng = np.resize([1e5, 1e6, 1e7], patients), np.random.default_rng(recovery.SEED)
    pilot = np.concatenate([recovery.copies(model, doses, rng) for _ in range(3)])
    return recovery.study_of(model, doses, recovery.copies(model, doses, rng), float(np.quantile(pilot, 0.25)))


def measured(name, patients):
    """One process: a first and a second fit, and 400 iterations."""
    model = next(each for each in (recovery.TWO_PHASES, recovery.IL15) if each.name == name)
    study = study_of(model, patients)
    asked = {"free": tuple(recovery.BETWEEN[name]), "progress": False}
    asked["covariates"] = dict.fromkeys(recovery.EXPONENT[name], "dose") or None
    seconds, fits = [], []
    for seed in (recovery.SEED, recovery.SEED + 1)[: 1 if patients >= ONCE else 2]:
        began = time.process_time()
        fits.append(ck.fit_population(model, study, seed=seed, **asked))
        seconds.append(time.process_time() - began)
    fit = fits[-1]
    return {
        "first": seconds[0], "warm": seconds[1] if len(seconds) > 1 else None, "saem_400": iterated(fit),
        "iterations": len(fit.trace), "method": str(fit.population.method), "outcome": fit.outcome,
    }  # fmt: skip


def iterated(fit):
    """CPU seconds of 400 iterations of the programs of a fit."""
    from cellkinetics.population.running import gains_of

    state, plan = fit.path.state, gains_of(np.ones(25), np.arange(1000.0, 1025.0), moving=True)
    began = time.process_time()
    for block in range(BLOCKS):
        state, trace = fit.population.run(state, plan, 0, block)
        np.asarray(trace.value)
    return time.process_time() - began


def main():
    rows = []
    for name, patients in DESIGNS:
        with tempfile.TemporaryDirectory() as cache:
            found = [
                json.loads(
                    subprocess.run(
                        [sys.executable, __file__, name, str(patients)], check=True, capture_output=True, text=True,
                        env=os.environ | {"XDG_CACHE_HOME": cache},
                    ).stdout
                )
                for _ in range(1 if patients >= ONCE else 2)
            ]  # fmt: skip
        cached = found[1]["first"] if len(found) > 1 else None
        row = {"model": name, "patients": patients, "first": found[0]["first"], "cached": cached}
        rows.append(row | {key: found[-1][key] for key in ("warm", "iterations", "saem_400", "method", "outcome")})
        shown(__file__, rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
