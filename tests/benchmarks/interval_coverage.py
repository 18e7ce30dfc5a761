"""How often 95% intervals hold the truth, for simulated patients of two models, by samples and share below the limit.

    python tests/benchmarks/interval_coverage.py

500 patients a row, parameters log-normal around the defaults (SDs of batch_fit.py), residual SD 0.5 on the ln scale,
one infusion of 1e6 cells/kg, 15 or 10 samples, the lower limit at the 0, 30 or 60% quantile of all values; the default
free set and sd, 4 starts. Seed, SDs, days and limits were fixed before the first run, and so was the rule by which a
parameter counts as identifiable: an expected SE of at most 0.5 on the estimation scale, from the design at the
defaults with that limit (`ck.identifiability`, sd 0.5). The aim is a coverage of 93 to 97% for those.

`hessian` is the interval of `fit.parameters`, `profile` that of `fit.profile()` for the first 200 patients of each row;
an end that is open holds everything on its side. (In earlier states of the engine profiles along ridges took too long,
and 60 patients of the rows with at most 30% below the limit were profiled.)
Patients who were not fitted are counted in `refused`; estimates at a bound, or without an interval, in `none`, and in
no coverage. `se_ratio` is the median SE over the SD (by quartiles) of estimate minus truth on the estimation scale.
Writes interval_coverage.csv.
"""

from pathlib import Path

import batch_fit
import numpy as np
import pandas as pd
from patients import drawn
from table import machine

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting.profile import profile_each

PATIENTS, PROFILES, IDENTIFIABLE = 500, 200, 0.5
SCHEDULES = {15: batch_fit.DAYS, 10: np.array([1, 3, 7, 10, 14, 28, 60, 90, 180, 365.0])}
SHARES = (0.0, 0.3, 0.6)


def simulated(model, days):
    """A table of patients and the truth of each, by subject."""
    spreads = batch_fit.SPREADS[model.name]
    table, truths = drawn(model, spreads, PATIENTS, days, seed=batch_fit.SEED, sd=batch_fit.SD)
    return table.drop(columns="curve"), truths


def estimation(model, name, value):
    """On the scale of estimation; sd on the ln scale."""
    return float(np.log(value)) if name == "sd" else model.parameters[name].to_estimation(value)


def rows(model, days, share):
    """One row a parameter."""
    table, truths = simulated(model, days)
    limit = float(table["copies_per_ug"].quantile(share)) if share else 1e-9
    study = ck.read_study(table, lloq=limit)
    free = model.default_free(study.select(study.subjects[0]))
    design = ck.identifiability(model, days, doses=batch_fit.DOSE, free=free, lloq=limit, sd=batch_fit.SD).parameters[
        "se"
    ]
    fits = ck.fit_each(model, study, progress=False)
    fitted = {subject: fit for subject, fit in fits.items() if fit.fitted}
    some = {subject: fit for subject, fit in list(fits.items())[:PROFILES] if fit.fitted}
    profiles = dict(zip(some, profile_each(list(some.values())), strict=True))
    for name in [*free, "sd"]:
        away, errors, hessian, profile, none = [], [], [], [], 0
        for subject, fit in fitted.items():
            truth = truths[subject][name]
            if name not in fit.problem.names:
                none += 1
                continue
            row = fit.parameters.loc[name]
            if not (np.isfinite(row["lower"]) and np.isfinite(row["upper"])):
                none += 1
            else:
                at = fit.problem.names.index(name)
                away.append(fit.x[at] - estimation(model, name, truth))
                errors.append(np.sqrt(fit.covariance[at, at]))
                hessian.append(row["lower"] <= truth <= row["upper"])
            if subject in profiles:
                ends = profiles[subject].intervals.loc[name]
                profile.append(not (truth < ends["lower"]) and not (truth > ends["upper"]))
        spread = np.subtract(*np.percentile(away, [75, 25])) / 1.349
        yield {
            "model": model.name, "samples": len(days), "below": f"{share:.0%}", "parameter": name,
            "expected_se": design.get(name, np.nan),
            "identifiable": "" if name == "sd" else ("no", "yes")[int(design[name] <= IDENTIFIABLE)],
            "refused": PATIENTS - len(fitted), "none": none, "hessian": np.mean(hessian),
            "profile": np.mean(profile) if profile else np.nan,
            "bias": np.median(away), "se_ratio": np.median(errors) / spread,
        }  # fmt: skip


if __name__ == "__main__":
    found = []
    for name in batch_fit.SPREADS:
        for days in SCHEDULES.values():
            for share in SHARES:
                found += rows(models.load(name), days, share)
                print(pd.DataFrame(found[-7:]).to_string(), flush=True)
                columns = pd.DataFrame(found).assign(**machine())
                numbers = columns.select_dtypes(float).columns
                columns[numbers] = columns[numbers].map(lambda value: float(f"{value:.3g}"))
                columns.to_csv(Path(__file__).with_suffix(".csv"), index=False)
