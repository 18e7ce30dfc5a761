"""How long checks of a population and a forecast take.

    python tests/benchmarks/predictive_speed.py

The example study (11 simulated patients, 123 samples) and a simulated one of 96 patients with 12 samples. Wall seconds
of a visual predictive check with 1,000 replicates, npde with 1,000 replicates and 20 imputations, a virtual trial of
100,000 patients in two arms on 12 days, and milliseconds of a forecast of one patient from three samples, 2,000 draws,
three times ahead: the first in the process (with its compilation, caches of the disk as they are) and the median of
five more. Writes predictive_speed.csv.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from table import machine

import cellkinetics as ck
from cellkinetics import models

sys.path.insert(0, str(Path(__file__).parents[1] / "population"))

import populations  # pyright: ignore[reportMissingImports]

ARMS = {"once": 1e6, "twice": [(0, 1e6), (28, 1e6)]}
DAYS = np.array([0.5, 1, 3, 7, 14, 21, 28, 42, 60, 90, 120, 180])


def many():
    """96 patients of a biexponential decline."""
    rng, model = np.random.default_rng(2020), populations.biexponential()
    between = {"a": 0.6, "fast": 0.3, "b": 0.7, "slow": 0.4}
    p = {name: model.parameters[name].value * np.exp(sd * rng.normal(size=(96, 1))) for name, sd in between.items()}
    ln_f = np.log(p["a"] * np.exp(-p["fast"] * DAYS) + p["b"] * np.exp(-p["slow"] * DAYS))
    return model, populations.study_of(ln_f, DAYS, 0.4, rng), {}


def timed(work):
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds[0], float(np.median(seconds[1:]))


def main():
    il15 = models.load("il15_persistence"), ck.example(), {"free": ["F", "rho", "r", "mu0", "N"]}
    rows = []
    for model, study, asked in (il15, many()):
        fit = ck.fit_population(model, study, progress=False, **asked)
        patient = study.select(study.subjects[6], until=float(np.sort(study.used["day"].unique())[-1]))
        day = np.sort(patient.used["day"].unique())[2]
        patient = patient.select(until=float(day))
        for what, work, unit in (
            ("vpc", lambda fit=fit: fit.vpc(), 1.0), ("npde", lambda fit=fit: fit.npde(), 1.0),
            ("trial", lambda fit=fit: fit.virtual_trial(DAYS, ARMS, patients=100_000), 1.0),
            ("forecast", lambda fit=fit, one=patient: fit.forecast(one, [60, 180, 365]), 1000.0),
        ):  # fmt: skip
            first, warm = timed(work)
            rows.append({
                "model": model.name, "patients": len(fit.subjects), "samples": fit.n, "what": what,
                "unit": "s" if unit == 1.0 else "ms", "first": unit * first, "warm": unit * warm, **machine(),
            })  # fmt: skip
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows).map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
    table.to_csv(Path(__file__).with_suffix(".csv"), index=False)


if __name__ == "__main__":
    main()
