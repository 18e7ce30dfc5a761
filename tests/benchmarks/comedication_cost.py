"""What comedication costs il15_persistence, whose structure is that of constant rates: it is solved by steps with it.

    python tests/benchmarks/comedication_cost.py

32 simulated patients, parameters log-normal (log-SD 0.3) around the defaults, residual SD 0.3 on the ln scale, 12
samples from day 1 to 180, 1e6 cells/kg, the lower limit at the 20% quantile of all values. Three ways on the same
samples, one after the other in one process: structure (no comedication); steps (a comedication that nobody had); given
(tocilizumab from day 5 on in every other patient, whose factor on rho is estimated, simulated as 1.3). CPU of the
process with its threads, of a second call (warm): of a batch of fits from one start, a patient (fit_cpu_ms); of a
population with three random effects, 12 of the patients (population_cpu_s); and its iterations. Seed, SDs, days and
factor were fixed before the first run, the numbers of patients lowered once (from 64 and 40) for time alone. Writes
comedication_cost.csv.
"""

import time

import numpy as np
import pandas as pd
from table import machine, shown

import cellkinetics as ck
from cellkinetics import models

SEED, PATIENTS, OF_POPULATION, LOG_SD, SD, BELOW, FACTOR, FROM = 2020, 32, 12, 0.3, 0.3, 0.2, 1.3, 5.0
DAYS = np.array([1, 2, 3, 5, 7, 10, 14, 21, 28, 60, 90, 180.0])
RANDOM = ["F", "rho", "mu0"]
ACTING = {"tocilizumab": "rho"}


def studies():
    """The samples of all, read without comedication and with its column."""
    rng, model = np.random.default_rng(SEED), models.load("il15_persistence").with_(comedication=ACTING)
    tables = []
    for number in range(PATIENTS):
        values = {name: model.parameters[name].value * np.exp(LOG_SD * rng.normal()) for name in RANDOM}
        doses = {"cells": 1e6, "tocilizumab": [(FROM, 1)] if number % 2 else []}
        curve = ck.simulate(model, {**values, "tocilizumab_on_rho": FACTOR}, DAYS, doses=doses)
        copies = curve["copies_per_ug"].to_numpy() * np.exp(SD * rng.normal(size=len(DAYS)))
        given = (DAYS >= FROM) & bool(number % 2)
        tables.append(pd.DataFrame({"subject": f"P{number:02d}", "day": DAYS, "copies_per_ug": copies, "dose": 1e6,
                                    "tocilizumab": given.astype(int)}))  # fmt: skip
    table = pd.concat(tables)
    limit = float(table["copies_per_ug"].quantile(BELOW))
    return {with_it: ck.read_study(table if with_it else table.drop(columns="tocilizumab"), lloq=limit)
            for with_it in (False, True)}  # fmt: skip


def timed(function):
    """What it returns the second time, and CPU seconds of that."""
    function()
    began = time.process_time()
    return function(), time.process_time() - began


def main():
    plain = models.load("il15_persistence")
    both, rows = studies(), []
    free = ["F", "rho", "r", "mu0", "N"]
    ways = {
        "structure": (plain, both[False], free),
        "steps": (plain.with_(comedication=ACTING), both[False], free),
        "given": (plain.with_(comedication=ACTING), both[True], [*free, "tocilizumab_on_rho"]),
    }
    for how, (model, study, names) in ways.items():
        fits, took = timed(lambda: ck.fit_each(model, study, free=names, starts=1, progress=False))  # noqa: B023
        some = study.select(subjects=list(study.subjects[:OF_POPULATION]))
        asked = {"free": [*RANDOM, *names[5:]], "random": RANDOM, "progress": False}
        pop, spent = timed(lambda: ck.fit_population(model, some, **asked))  # noqa: B023
        rows.append({
            "how": how, "fit_cpu_ms": 1e3 * took / PATIENTS,
            "fitted": int(sum(fit.fitted for fit in fits.values())), "population_cpu_s": spent,
            "iterations": len(pop.trace), "method": str(pop.population.method), "outcome": str(pop.status),
            **machine(),
        })  # fmt: skip
        print(rows[-1], pop.parameters["value"].to_dict(), flush=True)
    shown(__file__, rows)


if __name__ == "__main__":
    main()
