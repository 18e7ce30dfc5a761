"""How often 95% intervals hold the truth with 9 and 7 samples, for sds from 0.3 to 1.2, of three models.

    python tests/benchmarks/few_samples.py [stein_2019_tisagenlecleucel | nk_decline | il15_persistence]

200 patients a row, parameters log-normal around the defaults (SDs below or of batch_fit.py), one infusion of 1e6
cells/kg, lower limit 3 copies/ug, the default free set and sd, 4 starts. The residual sd on ln copies is 0.3, 0.5, 0.9
or 1.2 for all patients of a study, or differs between them ("mixed": log-uniform from 0.3 to 1.2). By `prior` an sd
that the samples are too few for has the stated prior alone, as in `ck.fit`; `pooled` is `ck.fit_each(...,
pool_sd=True)`, where the other patients tell of it. Seed, SDs, days and limit were fixed before the first run, and so
was the rule by which a parameter counts as identifiable: an expected SE of at most 0.5 on the estimation scale, from
the design at the defaults (`ck.identifiability`, sd 0.5). The aim is a coverage of at least 90% for those, sds of 0.3,
0.5 and 0.9.

`coverage` is of the intervals of `fit.parameters`; `called` that of those alone whose row says "free" (a row that says
"not identifiable" promises nothing). `profile` is that of `fit.profile()`, of identifiable parameters and sd, with 9
samples at sd 0.9, for the first 100 `pooled` patients; an end that is open holds everything on its side. `few` says
how many patients had a prior for the sd, `none` how many had no interval (not fitted, at a bound, fixed), `width` the
median half width of the interval on the estimation scale. Writes few_samples.csv.
"""

import sys
from pathlib import Path

import batch_fit
import numpy as np
import pandas as pd
from interval_coverage import estimation
from patients import drawn
from table import machine

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting.profile import profile_each

PATIENTS, PROFILES, IDENTIFIABLE, LLOQ = 200, 100, 0.5, 3.0
SCHEDULES = {9: [3, 7, 10, 14, 28, 60, 90, 180, 365], 7: [3, 7, 10, 14, 28, 90, 365]}
EARLY = {9: [0.1, 0.5, 1, 2, 3, 5, 7, 10, 14], 7: [0.1, 0.5, 1, 3, 5, 7, 10]}
SDS = (0.3, 0.5, 0.9, 1.2, "mixed")
PATH = Path(__file__).with_suffix(".csv")
SPREADS = {
    "stein_2019_tisagenlecleucel": batch_fit.SPREADS["stein_2019_tisagenlecleucel"],
    # Its cells are gone by two weeks: it is sampled from two hours on.
    "nk_decline": {"F": 0.5, "alpha": 0.4, "f_b": 0.5, "beta": 0.4},
    "il15_persistence": batch_fit.SPREADS["il15_persistence"],
}


def simulated(model, days, sd):
    """A table of patients and the truth of each, by subject."""
    own = between if sd == "mixed" else sd
    table, truths = drawn(model, SPREADS[model.name], PATIENTS, days, seed=batch_fit.SEED, sd=own)
    return table.drop(columns="curve"), truths


def between(rng):
    """An sd from 0.3 to 1.2."""
    return float(np.exp(rng.uniform(np.log(0.3), np.log(1.2))))


def rows(model, samples, sd):
    """One row a rule and parameter."""
    days = np.array((EARLY if model.name == "nk_decline" else SCHEDULES)[samples], float)
    table, truths = simulated(model, days, sd)
    study = ck.read_study(table, lloq=LLOQ)
    free = model.default_free(study.select(study.subjects[0]))
    design = ck.identifiability(model, days, doses=batch_fit.DOSE, free=free, lloq=LLOQ, sd=0.5).parameters["se"]
    judged = [*(name for name in free if design[name] <= IDENTIFIABLE), "sd"]
    for rule in ("prior", "pooled"):
        fits = dict(ck.fit_each(model, study, pool_sd=rule == "pooled", progress=False))
        few = sum(bool(fit.problem.few) for fit in fits.values())
        profiled = rule == "pooled" and samples == 9 and sd == 0.9
        some = [fit for fit in list(fits.values())[:PROFILES] if fit.fitted] if profiled else []
        some = [fit for fit in some if {*judged} <= {*fit.problem.names}]
        profiles = dict(zip((fit.subject for fit in some), profile_each(some, judged), strict=True)) if some else {}
        for name in [*free, "sd"]:
            held, called, widths = [], [], []
            for subject, fit in fits.items():
                row, truth = fit.parameters.loc[name], truths[subject][name]
                if not (np.isfinite(row["lower"]) and np.isfinite(row["upper"])):
                    continue
                held.append(row["lower"] <= truth <= row["upper"])
                called += [held[-1]] if row["status"] == "free" else []
                ends = [estimation(model, name, row[end]) for end in ("lower", "upper")]
                widths.append((ends[1] - ends[0]) / 2)
            ends = {s: profile.intervals.loc[name] for s, profile in profiles.items() if name in judged}
            inside = [not (truths[s][name] < row["lower"] or truths[s][name] > row["upper"]) for s, row in ends.items()]
            yield {
                "model": model.name, "samples": samples, "sd": sd, "rule": rule, "few": few, "parameter": name,
                "expected_se": design.get(name, np.nan),
                "identifiable": "" if name == "sd" else ("no", "yes")[int(design[name] <= IDENTIFIABLE)],
                "none": PATIENTS - len(held), "coverage": np.mean(held),
                "called": np.mean(called) if called else np.nan, "n_called": len(called),
                "profile": np.mean(inside) if inside else np.nan, "width": np.median(widths),
            }  # fmt: skip


if __name__ == "__main__":
    found = []
    for name in sys.argv[1:] or SPREADS:
        for samples in SCHEDULES:
            for sd in SDS:
                found += rows(models.load(name), samples, sd)
                columns = pd.DataFrame(found).assign(**machine())
                numbers = columns.select_dtypes(float).columns
                columns[numbers] = columns[numbers].map(lambda value: float(f"{value:.3g}"))
                print(columns.iloc[-14:, :13].to_string(), flush=True)
                kept = [pd.read_csv(PATH, dtype=str, keep_default_na=False)] if PATH.exists() else []
                kept = [old[~old["model"].isin(columns["model"])] for old in kept]
                pd.concat([*kept, columns.astype(object)]).to_csv(PATH, index=False)
