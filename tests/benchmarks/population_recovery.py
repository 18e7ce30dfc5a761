"""Whether a population fit gives back the population that its patients were simulated from.

    python tests/benchmarks/population_recovery.py

Simulated studies of 24 patients, 8 each at 1e5, 1e6 and 1e7 cells/kg. two_phases: a biexponential decline whose four
parameters vary and whose level follows dose^0.5, 12 samples, noise 0.4 on the ln scale. il15_persistence: F, rho, r,
mu0 and N vary, 14 samples, noise 0.5. The limit is put where 0 or 45% of all samples lie below it. m3: the
probability of lying below; half: values below set to half the limit.

A row is one thing estimated, on its estimation scale (ln, of sds their ln): truth, bias (mean of estimate - truth) with
its Monte Carlo error, rmse, stderr (mean of the reported one), coverage of the 95% interval, studies, and those whose
outcome has a note or is not "converged" (most often a spread that cannot be told from 0; they count all the same).
cpu_seconds: of a fit, the mean without the first. Writes population_recovery.csv.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

sys.path.insert(0, str(Path(__file__).parents[1] / "population"))

import populations  # pyright: ignore[reportMissingImports]

SEED, PATIENTS = 2020, 24
DOSES = np.repeat([1e5, 1e6, 1e7], 8)
NORMAL = 1.959964
TWO_PHASES, IL15 = populations.biexponential(), models.load("il15_persistence")
DAYS = {
    "two_phases": np.array([0.5, 1, 3, 7, 14, 21, 28, 42, 60, 90, 120, 180]),
    "il15_persistence": np.array([0.04, 1, 3, 7, 10, 14, 21, 28, 60, 90, 120, 180, 270, 365]),
}
BETWEEN = {
    "two_phases": {"a": 0.6, "fast": 0.3, "b": 0.7, "slow": 0.4},
    "il15_persistence": {"F": 0.6, "rho": 0.1, "r": 0.2, "mu0": 0.5, "N": 0.6},
}
NOISE = {"two_phases": 0.4, "il15_persistence": 0.5}
EXPONENT = {"two_phases": {"a": 0.5}, "il15_persistence": {}}
# model, share below the limit, how such samples enter, studies.
DESIGNS = [
    (TWO_PHASES, 0.0, "m3", 24),
    (TWO_PHASES, 0.45, "m3", 16),
    (IL15, 0.0, "m3", 6),
    (IL15, 0.45, "m3", 6),
    (TWO_PHASES, 0.45, "half", 8),
]


def copies(model, rng):
    """(24, days) noisy copies/ug of new patients."""
    found, days = [], DAYS[model.name]
    for dose in DOSES:
        values = {
            name: model.parameters[name].value * np.exp(sd * rng.normal()) for name, sd in BETWEEN[model.name].items()
        }
        for name, exponent in EXPONENT[model.name].items():
            values[name] *= (dose / 1e6) ** exponent
        found.append(np.asarray(model.solve(days, values, dose if model.channels else None)["copies_per_ug"]))
    return np.array(found) * np.exp(NOISE[model.name] * rng.normal(size=(PATIENTS, len(days))))


def study_of(model, values, limit):
    days = DAYS[model.name]
    table = pd.DataFrame(
        {
            "subject": np.repeat([f"P{i + 1:02d}" for i in range(PATIENTS)], len(days)),
            "day": np.tile(days, PATIENTS),
            "copies_per_ug": [f"<{limit:.6g}" if value < limit else f"{value:.8g}" for value in values.ravel()],
            "dose": np.repeat(DOSES, len(days)),
        }
    )
    return ck.read_study(table, lloq=limit)


def truth_of(model):
    """{label: truth on its estimation scale}; the level is that at the geometric mean of the doses, 1e6."""
    parameters = model.parameters
    truth = {name: parameters[name].to_estimation(parameters[name].value) for name in BETWEEN[model.name]}
    truth |= {f"{name}:dose": exponent for name, exponent in EXPONENT[model.name].items()}
    truth |= {f"sd between {name}": np.log(sd) for name, sd in BETWEEN[model.name].items()}
    return truth | {"sd": np.log(NOISE[model.name])}


def main():
    rows = []
    for model, share, censoring, studies in DESIGNS:
        rng = np.random.default_rng(SEED)
        pilot = np.concatenate([copies(model, rng) for _ in range(20)])
        limit = float(np.quantile(pilot, share)) if share else 1e-6
        covariates = dict.fromkeys(EXPONENT[model.name], "dose") or None
        tables, seconds, unsure = [], [], 0
        for number in range(studies):
            study = study_of(model, copies(model, rng), limit)
            began = time.process_time()
            fit = ck.fit_population(
                model, study, free=tuple(BETWEEN[model.name]), covariates=covariates, censoring=censoring,
                seed=number, progress=False,
            )  # fmt: skip
            seconds.append(time.process_time() - began)
            unsure += fit.outcome != "converged"
            tables.append(fit.parameters)
        for label, truth in truth_of(model).items():
            estimate = np.array([table.loc[label, "estimate"] for table in tables], float)
            error = np.array([table.loc[label, "estimate_stderr"] for table in tables], float)
            away = estimate - truth
            rows.append(
                {
                    "model": model.name, "share_below": share, "censoring": censoring, "what": label, "truth": truth,
                    "bias": away.mean(), "monte_carlo_error": away.std(ddof=1) / np.sqrt(studies),
                    "rmse": np.sqrt(np.mean(away**2)), "stderr": np.nanmean(error),
                    "coverage": np.mean(np.abs(away)[np.isfinite(error)] < NORMAL * error[np.isfinite(error)]),
                    "studies": studies, "with_a_note": unsure, "cpu_seconds": np.mean(seconds[1:]),
                    "seed": SEED,
                }
            )  # fmt: skip
        table = pd.DataFrame(rows)
        print(table[table["model"] == model.name].to_string(index=False), flush=True)
        numbers = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
        numbers.to_csv(Path(__file__).with_suffix(".csv"), index=False)


if __name__ == "__main__":
    main()
