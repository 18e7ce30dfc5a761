"""How often a lowest value that repeats, a second one, or 999 is pointed out, where there is one and where not.

    python tests/benchmarks/floor_alarms.py

Simulated: 400 studies a design of 8, 20 or 60 patients with 12 samples each, declines of ln copies/ug from a peak (mean
ln 4000, sd 1) by 0.05 to 0.12 a day, followed for 60 or 120 days, with errors of sd 0.5. Values are rounded to whole
numbers, or to two or three digits. In "rounded" what is below 3 is left out; in "floor" it is written as 1.5; in "two
floors" half of the patients have a limit of 10, written as 10, and the others 1.5. Columns: per cent of the values that
are such a number, and per cent of studies in which each kind is said. Writes floor_alarms.csv.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from cellkinetics.meaning.floors import likely

SEED, STUDIES, SAMPLES, LIMIT, SECOND = 2020, 400, 12, 3.0, 10.0
KINDS = ("floor", "second", "ceiling", "code")
ROUNDED = {
    "whole numbers": np.round,
    "two digits": lambda values: np.array([float(f"{value:.2g}") for value in values]),
    "three digits": lambda values: np.array([float(f"{value:.3g}") for value in values]),
}


def values(rng, patients, days, rounded, floor):
    """The values of one study as they would stand in its file, and the share that was written for a limit."""
    day = np.linspace(7, days, SAMPLES)
    peak, slope = rng.normal(np.log(4000), 1, (patients, 1)), rng.uniform(0.05, 0.12, (patients, 1))
    true = np.exp(peak - slope * day + rng.normal(0, 0.5, (patients, SAMPLES))).ravel()
    limit = np.full((patients, SAMPLES), LIMIT)
    if floor == "two floors":
        limit[::2] = SECOND
    limit = limit.ravel()
    below, shown = true < limit, rounded(true)
    if floor == "rounded":
        return shown[~below], 0.0
    return np.where(below, np.where(limit == SECOND, SECOND, LIMIT / 2), shown), below.mean()


rng = np.random.default_rng(SEED)
rows = []
for floor in ("rounded", "floor", "two floors"):
    for (name, rounded), days, patients in itertools.product(ROUNDED.items(), (60, 120), (8, 20, 60)):
        studies = [values(rng, patients, days, rounded, floor) for _ in range(STUDIES)]
        found = [{each.kind for each in likely(study)} for study, _ in studies]
        share = {kind: 100 * sum(kind in each for each in found) / STUDIES for kind in KINDS}
        low = 100 * np.mean([below for _, below in studies])
        rows.append({"table": floor, "values": name, "days": days, "patients": patients, "written": low, **share})
table = pd.DataFrame(rows).round(1)
table.to_csv(Path(__file__).with_suffix(".csv"), index=False)
print(table.to_string(index=False))
