"""Which samples are looked at together in a visual predictive check: those of a visit, or of a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.data.study import Study
from cellkinetics.lazily import pandas as pd
from cellkinetics.statistics.visits import visit_days
from cellkinetics.words import count

# Visits agree where so large a share of the samples belongs to visits at which so large a share of the patients came.
AGREE, CAME = 0.75, 0.5
A_BIN = 20  # samples of a bin by time, where there are enough


@dataclass(frozen=True, eq=False)
class Bins:
    """Of N samples.

    Parameters
    ----------
    number : (N,) the bin of each sample, in the order of days. words : what bins they are.
    """

    number: Ints
    words: str


def bins_of(study: Study, subject: Sequence[str], day: Floats, asked: int | Sequence[float] | None) -> Bins:
    """By visit where visits agree, else by quantiles of time; as asked where that is said.

    Parameters
    ----------
    subject, day : (N,) of samples, days since the first infusion.
    asked : None; how many bins by quantiles of time; or the days between which bins lie.

    Raises
    ------
    ValueError
        A number of bins that is none, days that do not rise, or a sample outside of them.
    """
    if asked is None:
        nominal = _nominal(study, subject, day)
        if nominal is not None and _agree(subject, nominal):
            return Bins(_numbered(nominal), f"by nominal visit ({count(len(np.unique(nominal)), 'visit')})")
        visits = visit_days(subject, day)
        if _agree(subject, visits):
            text = count(len(np.unique(visits)), "visit")
            return Bins(_numbered(visits), f"by visit ({text}, found from the days of the samples)")
        return _by_time(day, max(2, len(day) // A_BIN), "visits do not agree")
    if np.ndim(asked) == 0:
        return _by_time(day, domains.count(asked, "bins"), "as asked")  # pyright: ignore[reportArgumentType]
    edges = domains.days(asked, "bins")
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError("bins: give a number of bins, or days that rise between which they lie, such as [0, 10, 35].")
    outside = (day < edges[0]) | (day > edges[-1])
    if outside.any():
        raise ValueError(f"bins end before day {day[outside][0]:g}, on which there is a sample: give wider ones.")
    number = np.clip(np.searchsorted(edges, day, side="right") - 1, 0, len(edges) - 2)
    return Bins(_numbered(number.astype(float)), f"between the days {', '.join(f'{edge:g}' for edge in edges)}")


def _by_time(day: Floats, bins: int, why: str) -> Bins:
    """About equally many samples each; samples of one day are never parted."""
    _, inverse, counts = np.unique(day, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - 0.5 * counts) / len(day)
    number = np.minimum((middle * bins).astype(int), bins - 1)[inverse]
    found = _numbered(number.astype(float))
    return Bins(found, f"by quantiles of time ({count(int(found.max()) + 1, 'bin')}; {why})")


def _numbered(values: Floats) -> Ints:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _agree(subject: Sequence[str], visit: Floats) -> Flags | bool:
    """Whether most samples are of visits at which most patients came."""
    table = pd.DataFrame({"subject": np.asarray(subject, object), "visit": visit})
    came = table.groupby("visit")["subject"].nunique() / table["subject"].nunique()
    return bool((table["visit"].map(came) >= CAME).mean() >= AGREE)


def _nominal(study: Study, subject: Sequence[str], day: Floats) -> Floats | None:
    """(N,) nominal days since the first infusion; None where a sample has none."""
    rows = study.used
    if "nominal_day" not in rows:
        return None
    first = {name: study.infusion_day(name) for name in study.subjects}
    since = rows["subject"].map(first).astype(float)
    nominal = rows["nominal_day"].astype(float) - since
    known = dict(zip(zip(rows["subject"], np.round(rows["day"] - since, 9), strict=True), nominal, strict=True))
    found = [known.get((name, at), np.nan) for name, at in zip(subject, np.round(day, 9), strict=True)]
    values = np.array(found, float)
    return None if np.isnan(values).any() else values
