"""How long checks of a population and a forecast take.

    python tests/benchmarks/predictive_speed.py [vpc npde trial forecast stepwise gibbs nuts]

The example study (11 simulated patients, 123 samples) and a simulated one of 96 patients with 12 samples. Wall seconds
of a visual predictive check with 1,000 replicates, npde with 1,000 replicates and 20 imputations, a virtual trial of
100,000 patients in two arms on 12 days, and milliseconds of a forecast of one patient from three samples, 2,000 draws,
three times ahead: the first in the process (with its compilation, caches of the disk as they are) and the median of
five more. And seconds of what takes longer, the first in the process and once more: a stepwise choice among ten
candidates of the peak of 24 simulated patients (dose, which moves it to the power of 0.5, and nine that do nothing),
and 4 x 1,000 draws of the posterior of the example after 500 by Gibbs sampling and by NUTS. Renews rows of
predictive_speed.csv.
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
WHAT = ("vpc", "npde", "trial", "forecast", "stepwise", "gibbs", "nuts")
NOTHING = [f"covariate {number}" for number in range(1, 10)]
FILE = Path(__file__).with_suffix(".csv")


def many():
    """96 patients of a biexponential decline."""
    rng, model = np.random.default_rng(2020), populations.biexponential()
    between = {"a": 0.6, "fast": 0.3, "b": 0.7, "slow": 0.4}
    p = {name: model.parameters[name].value * np.exp(sd * rng.normal(size=(96, 1))) for name, sd in between.items()}
    ln_f = np.log(p["a"] * np.exp(-p["fast"] * DAYS) + p["b"] * np.exp(-p["slow"] * DAYS))
    return model, populations.study_of(ln_f, DAYS, 0.4, rng), {}


def ten_covariates():
    """24 patients of the same, whose peak follows the dose, with nine numbers that say nothing."""
    rng, model, n = np.random.default_rng(2020), populations.biexponential(), 24
    doses = np.resize([1e5, 1e6, 1e7], n)
    between = {"a": 0.6, "fast": 0.3, "b": 0.7, "slow": 0.4}
    p = {name: model.parameters[name].value * np.exp(sd * rng.normal(size=(n, 1))) for name, sd in between.items()}
    p["a"] = p["a"] * np.sqrt(doses / 1e6)[:, None]
    ln_f = np.log(p["a"] * np.exp(-p["fast"] * DAYS) + p["b"] * np.exp(-p["slow"] * DAYS))
    columns = {name: rng.normal(50, 10, n) for name in NOTHING}
    return model, populations.study_of(ln_f, DAYS, 0.4, rng, doses=doses, columns=columns)


def timed(work, times=6):
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds[0], float(np.median(seconds[1:]))


def checks(asked):
    """(model, patients, samples, what, unit, work, times) of each that is asked for."""
    il15 = models.load("il15_persistence"), ck.example(), {"free": ["F", "rho", "r", "mu0", "N"]}
    for model, study, given in (il15, many()):
        fit = ck.fit_population(model, study, progress=False, **given)
        patient = study.select(study.subjects[6], until=float(np.sort(study.used["day"].unique())[-1]))
        day = np.sort(patient.used["day"].unique())[2]
        patient = patient.select(until=float(day))
        about = model.name, len(fit.subjects), fit.n
        works = {
            "vpc": (lambda fit=fit: fit.vpc(), "s", 6), "npde": (lambda fit=fit: fit.npde(), "s", 6),
            "trial": (lambda fit=fit: fit.virtual_trial(DAYS, ARMS, patients=100_000), "s", 6),
            "forecast": (lambda fit=fit, one=patient: fit.forecast(one, [60, 180, 365]), "ms", 6),
        }  # fmt: skip
        if model.name == il15[0].name:
            works |= {how: (lambda fit=fit, how=how: told(ck.sample_posterior(fit, method=how, progress=False)), "s", 2)
                      for how in ("gibbs", "nuts")}  # fmt: skip
        for what in asked:
            if what in works:
                yield *about, what, *works[what]
    if "stepwise" in asked:
        model, study = ten_covariates()
        candidates = {"a": ["dose", *NOTHING]}
        work = lambda: told(ck.choose_covariates(model, study, candidates, progress=False))  # noqa: E731
        yield model.name, len(study), len(study.used), "stepwise", work, "s", 2


def told(result):
    print(result.summary(), flush=True)


def main():
    asked = sys.argv[1:] or WHAT
    for model, patients, samples, what, work, unit, times in checks(asked):
        first, warm = timed(work, times)
        by = 1000.0 if unit == "ms" else 1.0
        row = {
            "model": model, "patients": patients, "samples": samples, "what": what, "unit": unit, "first": by * first,
            "warm": by * warm, **machine(),
        }  # fmt: skip
        print(row, flush=True)
        new = pd.DataFrame([row]).map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value))
        old = pd.read_csv(FILE, dtype=str) if FILE.exists() else new.iloc[:0]
        table = pd.concat([old[(old["model"] != model) | (old["what"] != what)], new])
        order = [(name, WHAT.index(one)) for name, one in zip(table["model"], table["what"], strict=True)]
        table.iloc[sorted(range(len(table)), key=order.__getitem__)].to_csv(FILE, index=False)


if __name__ == "__main__":
    main()
