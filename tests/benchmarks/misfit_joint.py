"""How often patients of joint fits are said to miss their samples: of clean studies (size), and of bad ones (power).

    python tests/benchmarks/misfit_joint.py [model ...]

40 **simulated** studies a row, of 8 patients with 15 samples (and of 4 with 9): patients as in misfit_patients.py, what
is shared at its default in all, residual SD 0.5, 0, 30 and 60% of a study's values below the limit. Of the bad ones one
patient has a sample 15 times too high in the middle, or Stein's patients are fitted by nk_decline. Seeds, designs and
what is shared were fixed before the first run.

Columns: `patients` of all studies together; `flagged` % of them that `fit.misfit` names (of outliers: of the patients
with one); `others` % of the other patients that are named besides; `studies` % of joint fits of which anything is said;
`common_sd` % whose sd of all is called too large; `seconds` the median of a joint fit without what is compiled. Writes
misfit_joint.csv; the rows of the models that ran are renewed.
"""

import sys
import time
from pathlib import Path

import misfit_patients as simulated
import numpy as np
import pandas as pd
from table import machine

import cellkinetics as ck
from cellkinetics import models

FILE, STUDIES = Path(__file__).with_suffix(".csv"), 40
STEIN, IL15, DECLINE = simulated.STEIN, simulated.IL15, simulated.DECLINE
SHARED = {STEIN: ["alpha", "f_b", "beta"], IL15: ["rho", "r"], DECLINE: ["alpha", "f_b", "beta"]}


def rows():
    """(kind, model that is fitted, model of the patients, patients, samples, share below the limit)."""
    for name in (STEIN, IL15, DECLINE):
        for share in (0.0, 0.3, 0.6):
            yield "clean", name, name, 8, 15, share
        yield "clean", name, name, 4, 9, 0.3
        yield "15-fold outlier at the middle sample", name, name, 8, 15, 0.3
    yield "wrong model: Stein's patients", DECLINE, STEIN, 8, 15, 0.3


def study_of(kind, name, patients, samples, share, seed):
    """One study, and who has an outlier."""
    days = simulated.DAYS[samples][name]
    table = simulated.drawn(name, days, patients, simulated.SD, seed, same=SHARED[name])
    limit, whose = float(table["copies_per_ug"].quantile(share)), []
    if kind.startswith("15"):
        whose = ["S000"]
        own = table[table["subject"] == "S000"]
        table.loc[own.index, "copies_per_ug"] = simulated.outlier(own)[0]
    return simulated.read(table, share, limit), whose


def row(kind, name, of, patients, samples, share):
    """One line of the table."""
    named = others = clean = bad = said = large = 0
    seconds = []
    for number in range(STUDIES):
        study, whose = study_of(kind, of, patients, samples, share, simulated.SEED + number)
        began = time.perf_counter()
        fit = ck.fit(models.load(name), study, shared=SHARED[name])
        seconds.append(time.perf_counter() - began)
        expected = {*(whose or fit.subjects)}
        missed = {*fit.misfit} - {"all"}
        named, bad = named + len(missed & expected), bad + len(expected & {*fit.subjects})
        others, clean = others + len(missed - expected), clean + len({*fit.subjects} - expected)
        said, large = said + fit.needs_look * bool(fit.misfit), large + ("all" in fit.misfit)
    line = {
        "kind": kind, "model": name, "in_a_study": patients, "samples": samples, "below_%": round(100 * share),
        "patients": bad + clean, "flagged": round(100 * named / bad, 1),
        "others": round(100 * others / clean, 1) if clean else "", "studies": round(100 * said / STUDIES),
        "common_sd": round(100 * large / STUDIES), "seconds": round(float(np.median(seconds)), 2),
    }  # fmt: skip
    return line | machine()


if __name__ == "__main__":
    asked, lines = sys.argv[1:], []
    for each in rows():
        if asked and each[1] not in asked:
            continue
        lines.append(row(*each))
        print(lines[-1], flush=True)
        table = pd.DataFrame(lines)
        if FILE.exists():
            keys = ["kind", "model", "in_a_study", "samples", "below_%"]
            old = pd.read_csv(FILE, keep_default_na=False)
            stays = ~pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(table[keys]))
            table = pd.concat([old[stays], table])
        table.to_csv(FILE, index=False)
