"""Medians of groups of patients by visit, of samples that may lie beyond a limit."""

from __future__ import annotations

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.lazily import pandas as pd
from cellkinetics.statistics.visits import geometric_mean, visit_days


def by_visit(samples: pd.DataFrame, groups: pd.Series, tolerance: float | None = None) -> pd.DataFrame:
    """The median of each group at each visit that half of its patients, and two or more, have a sample of.

    Of a sample beyond a limit only the two ends are known, and so of a median: it lies between the medians of the
    lower and of the upper ends. When more than half of the patients are below the limit, it is below the limit. On
    an even number it is the geometric mean of the two in the middle.

    Parameters
    ----------
    samples : DataFrame
        Columns subject, day, lower and upper, as in `Study.observations`, and nominal_day when there are planned
        days: these are the visits then. Without, visits are those of `visits.visit_days`, found in the samples of
        all groups together. The samples of a patient at a visit have their geometric mean first.
    groups : Series
        Name of the group by subject.
    tolerance : days by which a sample may lie from the middle of its visit; half the gap when not given.

    Returns
    -------
    DataFrame
        One row a group and visit: group, day (the median), patients, lower, upper (equal when it is quantified), apart
        (days by which the farthest sample lies from the visit, its nominal day or its middle).
    """
    rows = []
    samples = samples.assign(visit=planned_days(samples, tolerance))
    for group, own in samples.groupby(samples["subject"].map(groups), sort=False):
        for visit, at in own.groupby("visit"):
            ends = at.groupby("subject")[["lower", "upper"]].agg(geometric_mean)
            if len(ends) >= max(2, own["subject"].nunique() / 2):
                lower, upper = (_median(ends[name]) for name in ("lower", "upper"))
                apart = float((at["day"] - float(str(visit))).abs().max())
                rows.append((group, float(at["day"].median()), len(ends), lower, upper, apart))
    return pd.DataFrame(rows, columns=["group", "day", "patients", "lower", "upper", "apart"])


def planned_days(samples: pd.DataFrame, tolerance: float | None = None) -> Floats:
    """The visit of each sample: its nominal day where it has one, else as `visits.visit_days` has it."""
    day = samples["day"].to_numpy(float)
    planned = samples["nominal_day"].to_numpy(float) if "nominal_day" in samples else np.full(len(day), np.nan)
    rest = np.isnan(planned)
    if rest.any():
        planned = planned.copy()
        planned[rest] = visit_days(samples["subject"].to_numpy()[rest], day[rest], tolerance)
    return planned


def _median(ends: pd.Series) -> float:
    """Of positive numbers, 0 and infinity, on the log scale where there are two in the middle."""
    values: Floats = np.sort(ends.to_numpy(dtype=float))
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return float(low if low == high else np.sqrt(low) * np.sqrt(high))
