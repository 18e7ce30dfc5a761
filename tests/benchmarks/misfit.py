"""How often a curve is said to miss its samples: of clean patients (size), and of five kinds of bad fits (power).

    python tests/benchmarks/misfit.py [size | power | check]

`size` fits 500 clean patients a row with the model that made them (misfit_patients.py): three models, 15 and 9
samples, 0, 30 and 60% of all values below the limit, residual SD 0.5; and two rows with SD 0.7, which is where the sd
is as large as the rule calls usual. `power` fits 200 patients a row, 30% below the limit. `check` runs 20 patients a
row and writes nothing.

Columns: `flagged` % of patients with `fit.misfit`; `right_day` % of those that name a day on which something was
planted; then by question, % below its level: `scatter`, `outlier`, `peak`, `pattern` and `left_out`
(`cellkinetics.fitting.misfit`). `runs_p` is `diagnostics.runs` of the first 60 patients together, `outliers` how many
of the planted samples of these 60 `diagnostics.outliers` names (a sample each but in second peaks), and `others` how
many it names besides. `looked_at` % of patients whose likelihood alone did not say that all is well, `refitted` % who
were fitted again without a sample, `ms` processor time a patient spent on the question, of `of_ms` for the fits and
their outcomes, compilation included in both. Writes
misfit.csv; the rows of the part that ran are renewed.
"""

import sys
import time
from itertools import chain
from pathlib import Path

import misfit_patients as simulated
import numpy as np
import pandas as pd
from table import machine

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting import diagnostics
from cellkinetics.fitting import each as fitting
from cellkinetics.fitting.misfit import CALLED

FILE, POOLED = Path(__file__).with_suffix(".csv"), 60
STEIN, IL15, DECLINE = simulated.STEIN, simulated.IL15, simulated.DECLINE


def sizes(patients):
    """What is clean: (kind, model that is fitted, samples, share below the limit, sd, patients)."""
    for name in (STEIN, IL15, DECLINE):
        for samples in (15, 9):
            for share in (0.0, 0.3, 0.6):
                yield "clean", name, samples, share, 0.5, simulated.clean(name, samples, share, patients=patients)
    for name in (STEIN, IL15):
        noisy = simulated.clean(name, 15, 0.3, patients=patients, sd=0.7)
        yield "clean", name, 15, 0.3, 0.7, noisy


PLANTED = {
    "15-fold outlier at the middle sample": (simulated.outlier, (STEIN, IL15, DECLINE)),
    "outlier that becomes the peak": (simulated.outlier_peak, (STEIN, IL15)),
    "second peak": (simulated.second_peak, (STEIN, IL15)),
    "highest sample 4-fold above the curve": (simulated.low_peak, (IL15,)),
}


def bad(patients):
    """The same of what is not."""
    for samples in (15, 9):
        wrong = simulated.wrong_model(samples, 0.3, patients=patients)
        yield "wrong model: Stein's patients", DECLINE, samples, 0.3, 0.5, wrong
        for kind, (change, names) in PLANTED.items():
            for name in names:
                planted = simulated.changed(name, samples, 0.3, change, patients=patients)
                yield kind, name, samples, 0.3, 0.5, planted


def row(kind, name, samples, share, sd, patients):
    """One line of the table."""
    spent, misfits_of = [0.0], fitting.misfits_of

    def timed(*given):
        began = time.process_time()
        found = misfits_of(*given)
        spent[0] += time.process_time() - began
        return found

    fitting.misfits_of = timed
    began = time.process_time()
    fits = ck.fit_each(models.load(name), patients.study, progress=False)
    everyone = [fit for fit in fits.values() if fit.fitted]
    whole = time.process_time() - began
    fitting.misfits_of = misfits_of
    flagged = [fit for fit in everyone if fit.misfit]
    right = [fit for fit in flagged if {*fit.misfit.days} & {*patients.days[fit.subject]}]
    planted = any(patients.days.values())

    def percent(these):
        return round(100 * len(these) / len(everyone), 1)

    line = {
        "kind": kind, "model": name, "samples": samples, "below_%": round(100 * share), "sd": sd,
        "patients": len(everyone), "flagged": percent(flagged),
        "right_day": round(100 * len(right) / len(flagged)) if flagged and planted else "",
    }  # fmt: skip
    for question, level in CALLED.items():
        line[question.replace(" ", "_")] = percent([fit for fit in everyone if fit.misfit.p.get(question, 1) < level])
    some = ck.Fits(patients.study, dict(list(fits.items())[:POOLED]))
    table = some.quantile_residuals()
    far = diagnostics.outliers(table)
    hit = [day in patients.days[subject] for subject, day in zip(far["subject"], far["day"], strict=True)]
    line["runs_p"] = f"{diagnostics.runs(table)['p']:.2g}"
    line |= {"outliers": int(np.sum(hit)) if planted else "", "others": len(far) - int(np.sum(hit))}
    line["looked_at"] = percent([fit for fit in everyone if fit.misfit.p])
    line["refitted"] = percent([fit for fit in everyone if "left out" in fit.misfit.p])
    return (
        line
        | {"ms": round(1e3 * spent[0] / len(everyone), 2), "of_ms": round(1e3 * whole / len(everyone), 2)}
        | machine()
    )


if __name__ == "__main__":
    part = sys.argv[1] if len(sys.argv) > 1 else "all"
    checked = part == "check"
    clean = sizes(20 if checked else 500) if part != "power" else ()
    missed = bad(20 if checked else 200) if part != "size" else ()
    lines = []
    for each in chain(clean, missed):
        lines.append(row(*each))
        print(lines[-1], flush=True)
        if checked:
            continue
        table = pd.DataFrame(lines)
        keys = ["kind", "model", "samples", "below_%", "sd"]
        if FILE.exists():
            old = pd.read_csv(FILE, keep_default_na=False)
            stays = ~pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(table[keys]))
            table = pd.concat([old[stays], table])
        table.to_csv(FILE, index=False)
