"""Medians of groups of patients by visit, of samples that may lie beyond a limit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cellkinetics.arrays import Floats

# Samples of one visit lie within half a day, or within a tenth of the time since the infusion.
APART, SHARE = 0.5, 0.1


def by_visit(samples: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """The median of each group at each visit that half of its patients, and two or more, have a sample of.

    Of a sample beyond a limit only the two ends are known, and so of a median: it lies between the medians of the
    lower and of the upper ends. When more than half of the patients are below the limit, it is below the limit. On
    an even number it is the geometric mean of the two in the middle.

    Parameters
    ----------
    samples : DataFrame
        Columns subject, day, lower and upper, as in `Study.observations`, and nominal_day when there are planned
        days: these are the visits then. Without, a visit is a run of days of different patients that lie close
        together. The wells of a patient at a visit have their own median first.
    groups : Series
        Name of the group by subject.

    Returns
    -------
    DataFrame
        One row a group and visit: group, day (the median), patients, lower, upper (equal when it is quantified).
    """
    rows = []
    for group, own in samples.groupby(samples["subject"].map(groups), sort=False):
        planned = "nominal_day" in own and bool(own["nominal_day"].notna().all())
        own = own.sort_values("nominal_day" if planned else "day", kind="stable")
        visit = own["nominal_day"].to_numpy() if planned else _visits(own)
        for _, at in own.groupby(visit):
            ends = at.groupby("subject")[["lower", "upper"]].agg(_median)
            if len(ends) >= max(2, own["subject"].nunique() / 2):
                lower, upper = (_median(ends[name]) for name in ("lower", "upper"))
                rows.append((group, float(at["day"].median()), len(ends), lower, upper))
    return pd.DataFrame(rows, columns=["group", "day", "patients", "lower", "upper"])


def _visits(samples: pd.DataFrame) -> list[int]:
    """A number for the visit of each sample, by day: a new one begins far from its first day, or when one returns."""
    visits: list[int] = []
    begun, seen = -np.inf, dict[str, float]()
    for subject, day in zip(samples["subject"], samples["day"], strict=True):
        if day - begun > max(APART, SHARE * day) or seen.get(subject, day) != day:
            begun, seen = day, {}
            visits.append(visits[-1] + 1 if visits else 0)
        else:
            visits.append(visits[-1])
        seen[subject] = day
    return visits


def _median(ends: pd.Series) -> float:
    """Of positive numbers, 0 and infinity, on the log scale where there are two in the middle."""
    values: Floats = np.sort(ends.to_numpy(dtype=float))
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return float(low if low == high else np.sqrt(low) * np.sqrt(high))
