"""How often AIC, AICc and BIC choose the model that made the samples, for one patient of 9 to 20 samples.

    python tests/benchmarks/model_choice.py [9 | 10 | 12 | 14 | 20]

100 simulated patients of each of four truths, parameters log-normal around the defaults (SDs below), one infusion of
1e6 cells/kg, residual sd 0.5 on ln copies, lower limit 3 copies/ug. All four models are fitted to each of them: Stein's
curve (6 free), the same with one phase of decline (4), nk_decline, which has no expansion (4), and il15_persistence
(5); default free sets, 4 starts. Seed, SDs, days and limit were fixed before the first run.

`AIC`, `AICc`, `BIC` are the shares of patients in whom the truth has the lowest one of the models whose fit is a
maximum, where an AICc that is not there counts as infinite; `..._wrong` those in whom a wrong model has a weight above
0.95. Rows of `all` are the means over the truths; `default` is what `compare_models` does unasked. Writes
model_choice.csv.
"""

import sys
from pathlib import Path

import batch_fit
import numpy as np
import pandas as pd
from few_samples import LLOQ
from few_samples import SPREADS as OF_MODELS
from patients import drawn
from table import machine

import cellkinetics as ck
from cellkinetics import models

PATIENTS, SD, SURE = 100, 0.5, 0.95
SCHEDULES = {
    9: [1, 3, 7, 10, 14, 28, 60, 180, 365],
    10: [1, 3, 7, 10, 14, 28, 60, 90, 180, 365],
    12: [1, 3, 5, 7, 10, 14, 21, 28, 60, 90, 180, 365],
    14: [0.5, 1, 3, 5, 7, 10, 14, 21, 28, 60, 90, 180, 270, 365],
    20: [0.1, 0.5, 1, 2, 3, 5, 7, 9, 11, 14, 17, 21, 28, 45, 60, 90, 120, 180, 270, 365],
}
STEIN = "stein_2019_tisagenlecleucel"
RISE_AND_FALL = ("fold", "t_max", "c_max", "alpha")
# Of each: the model, what is fixed, how its parameters differ between patients.
TRUTHS = {
    "stein": (STEIN, {}, OF_MODELS[STEIN]),
    "one phase": (STEIN, {"f_b": 0.0, "beta": 0.0032}, {n: OF_MODELS[STEIN][n] for n in RISE_AND_FALL}),
    "nk_decline": ("nk_decline", {}, OF_MODELS["nk_decline"]),
    "il15_persistence": ("il15_persistence", {}, OF_MODELS["il15_persistence"]),
}  # fmt: skip
CRITERIA = ("AIC", "AICc", "BIC")


def simulated(truth, days):
    """A table of patients."""
    name, fixed, spreads = TRUTHS[truth]
    table, _ = drawn(models.load(name), spreads, PATIENTS, days, seed=batch_fit.SEED, sd=SD, values=fixed)
    table["copies_per_ug"] = np.maximum(table["copies_per_ug"], 1e-12)
    return table.drop(columns="curve")


def rows(samples):
    """One row a truth, then their means."""
    days, found = np.array(SCHEDULES[samples], float), []
    for truth in TRUTHS:
        study = ck.read_study(simulated(truth, days), lloq=LLOQ)
        fits = {
            name: ck.fit_each(models.load(of), study, fixed=fixed, progress=False)
            for name, (of, fixed, _) in TRUTHS.items()
        }
        row = {"samples": samples, "truth": truth, "patients": PATIENTS}
        for criterion in CRITERIA:
            each = {
                name: [
                    getattr(fit, criterion.lower()) if fit.fitted and fit.status.is_maximum else np.nan
                    for fit in by_subject.values()
                ]
                for name, by_subject in fits.items()
            }
            row |= chosen(pd.DataFrame(each).fillna(np.inf), truth, criterion)
        tables = ck.compare_models(list(fits.values())).loc[lambda table: table.index.get_level_values(0) != "all"]
        weights = pd.DataFrame(tables["weight"].to_numpy().reshape(PATIENTS, -1), columns=list(TRUTHS))
        best = weights.idxmax(axis=1)
        row["default"] = float((best == truth).mean())
        row["default_wrong"] = float((weights.drop(columns=truth) > SURE).any(axis=1).mean())
        row["below"] = float((study.observations["status"] == "below").mean())
        found.append(row)
    mean = pd.DataFrame(found).mean(numeric_only=True).to_dict()
    return [*found, {**mean, "samples": samples, "truth": "all", "patients": PATIENTS * len(TRUTHS)}]


def chosen(table, truth, criterion):
    """How often the truth is the lowest, and how often a wrong model is all but alone."""
    known = np.isfinite(table).any(axis=1)
    away = table.loc[known].sub(table.loc[known].min(axis=1), axis=0)
    weight = np.exp(-away / 2).pipe(lambda each: each.div(each.sum(axis=1), axis=0))
    right = (weight.idxmax(axis=1) == truth).sum() / len(table)
    wrong = (weight.drop(columns=truth) > SURE).any(axis=1).sum() / len(table)
    return {criterion: float(right), f"{criterion}_wrong": float(wrong)}


if __name__ == "__main__":
    path, found = Path(__file__).with_suffix(".csv"), []
    for samples in [int(text) for text in sys.argv[1:]] or SCHEDULES:
        found += rows(samples)
        print(pd.DataFrame(found[-len(TRUTHS) - 1 :]).round(3).to_string(), flush=True)
        table = pd.DataFrame(found).assign(**machine())
        numbers = table.select_dtypes(float).columns
        table[numbers] = table[numbers].map(lambda value: float(f"{value:.3g}"))
        kept = [pd.read_csv(path)] if path.exists() else []
        kept = [old[~old["samples"].isin(table["samples"])] for old in kept]
        pd.concat([*kept, table]).sort_values("samples", kind="stable").to_csv(path, index=False)
