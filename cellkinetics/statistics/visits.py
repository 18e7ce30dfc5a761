"""Which samples of different patients belong to one visit, and what several samples of one patient there are.

Patients come a day early or late. Two samples are of one visit when they lie apart by less than half of the gap to the
next sample of either patient (and not by more than a share of the time since the infusion, where a patient has few).
A visit forms around the day that most patients have a sample near to, then the next around what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Floats
from cellkinetics.lazily import pandas as pd

# Half a gap counts up to half a week (in the first week half of the day, at least 1), or this share of the time since
# the infusion: half a year is no visit.
HALF_A_WEEK, SHARE = 3.5, 0.15
# Visits that have no patient in common and lie within half a day, or a tenth of the time, are one.
APART, TENTH = 0.5, 0.1

Codes = npt.NDArray[np.int64]


def visit_days(subject: npt.ArrayLike, day: npt.ArrayLike, tolerance: float | None = None) -> Floats:
    """The day of the visit that each sample belongs to.

    Parameters
    ----------
    subject : (n,) who was sampled.
    day : (n,) days since the infusion.
    tolerance : days by which a sample may lie from the middle of its visit, in place of half the gap.

    Returns
    -------
    (n,) the median day of the visit's samples, as a whole day where one lies among them.

    Examples
    --------
    >>> visit_days(["A", "B", "A", "B"], [6.8, 7.3, 27.0, 28.9]).tolist()
    [7.0, 7.0, 28.0, 28.0]
    """
    pairs, inverse, who, when = _pairs(subject, day)
    if not len(pairs):
        return np.zeros(0)
    number = _clustered(who, when, tolerance)
    if tolerance is None:
        number = _joined(who, when, _gathered(who, when, number))
    return _named(when, number)[inverse]


def asked_days(
    subject: npt.ArrayLike, day: npt.ArrayLike, asked: Sequence[float], tolerance: float | None = None
) -> Floats:
    """The asked day that each sample belongs to, NaN for none: visits as in `visit_days`, whose middles are given.

    A sample belongs to the nearest asked day, if it lies within half the gap to the next sample of its patient (or
    within `tolerance`), and if it is its patient's nearest.

    Examples
    --------
    >>> asked_days(["A", "A", "A", "B"], [26.5, 29.0, 84.2, 90.0], [28.0, 84.0]).tolist()
    [nan, 28.0, 84.0, 84.0]
    """
    pairs, inverse, who, when = _pairs(subject, day)
    centres = np.asarray(sorted(asked), float)
    if not len(pairs) or not len(centres):
        return np.full(len(inverse), np.nan)
    away = np.abs(when[:, None] - centres)
    nearest = away.argmin(axis=1)
    distance = away[np.arange(len(when)), nearest]
    found = np.full(len(when), np.nan)
    inside = np.flatnonzero(_within(distance, _reach(who, when, tolerance), tolerance))
    for at in inside[np.argsort(distance[inside], kind="stable")]:
        centre = centres[nearest[at]]
        if not ((who == who[at]) & (found == centre)).any():
            found[at] = centre
    return found[inverse]


def combined(samples: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """One row for the samples that share these columns: their geometric mean.

    Where one of them is beyond a limit only the ends of that mean are known, the geometric means of the lower and of
    the upper ends. The order of the rows says nothing.

    Parameters
    ----------
    samples : columns as in `Study.observations`; the first row of each set keeps the columns that are not told here.
    keys : "subject" and "since", for what is sampled twice at one time.
    """
    keys = list(keys)
    if not samples.duplicated(keys).any():
        return samples
    # Sorted, so that sums are rounded alike whatever the order was.
    grouped = samples.sort_values(["lower", "upper"], kind="stable").groupby(keys, sort=False)
    ends = grouped[["lower", "upper"]].agg(geometric_mean)
    found = samples.drop_duplicates(keys).set_index(keys)
    ends = ends.reindex(found.index)
    lower, upper = ends["lower"].to_numpy(float), ends["upper"].to_numpy(float)
    status = np.select([lower == upper, np.isinf(upper), lower > 0], ["quantified", "above", "interval"], "below")
    found = found.assign(lower=lower, upper=upper, value=np.where(lower == upper, lower, np.nan), status=status)
    return found.reset_index()[list(samples.columns)]


def geometric_mean(values: pd.Series) -> float:
    """Of positive numbers, and of 0 or infinity, which the mean is then, too."""
    numbers = values.to_numpy(float)
    if (numbers == numbers[0]).all():
        return float(numbers[0])
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(numbers).mean()))


def _pairs(subject: npt.ArrayLike, day: npt.ArrayLike) -> tuple[Floats, Codes, Codes, Floats]:
    """Different (patient, day) pairs by day, where each sample is among them, and their columns."""
    codes = pd.factorize(np.asarray(subject, object), sort=True)[0].astype(float)
    pairs, inverse = np.unique(np.column_stack([np.asarray(day, float), codes]), axis=0, return_inverse=True)
    return pairs, np.ravel(inverse), pairs[:, 1].astype(np.int64), pairs[:, 0]


def _reach(who: Codes, when: Floats, tolerance: float | None) -> Floats:
    """How far from the middle of its visit each sample may lie."""
    if tolerance is not None:
        return np.full(len(when), float(tolerance))
    order = np.lexsort((when, who))
    gap = np.where(np.diff(who[order]) == 0, np.diff(when[order]), np.inf)
    smaller = np.minimum(np.append(np.inf, gap), np.append(gap, np.inf))
    reach = np.empty(len(when))
    reach[order] = smaller / 2
    return np.minimum(reach, _cap(when))


def _cap(when: npt.ArrayLike) -> Floats:
    when = np.asarray(when, float)
    return np.maximum(SHARE * when, np.clip(when / 2, 1.0, HALF_A_WEEK))


def _within(distance: Floats, reach: Floats, tolerance: float | None) -> npt.NDArray[np.bool_]:
    """Less than half the gap, but as far as the tolerance, its last day included."""
    return distance < reach if tolerance is None else distance <= reach * (1 + 1e-9)


def _clustered(who: Codes, when: Floats, tolerance: float | None) -> Codes:
    """A number for the visit of each pair; pairs are by day."""
    reach = _reach(who, when, tolerance)
    middles, place = np.unique(when, return_inverse=True)
    number = np.full(len(when), -1, np.int64)
    far = float(reach.max())
    scores = np.full((len(middles), 2), -np.inf)  # patients, and how near they are

    def near(middle: int) -> Codes:
        """The samples left that are of the visit around a middle, of each patient the nearest."""
        day = middles[middle]
        some = np.arange(np.searchsorted(when, day - far), np.searchsorted(when, day + far, "right"))
        some = some[number[some] < 0]
        own = some[place[some] == middle]
        if not len(own):
            return own
        distance = np.abs(when[some] - day)
        kept = (distance == 0) | _within(distance, np.minimum(reach[some], reach[own].max()), tolerance)
        some = some[kept][np.argsort(distance[kept], kind="stable")]
        return some[np.sort(np.unique(who[some], return_index=True)[1])]

    def score(middle: int) -> tuple[float, float]:
        some = near(middle)
        return (float(len(some)), -float(np.abs(when[some] - middles[middle]).sum())) if len(some) else (0.0, -np.inf)

    for middle in range(len(middles)):
        scores[middle] = score(middle)
    for visit in range(len(when)):
        best = int(np.lexsort((middles, -scores[:, 1], -scores[:, 0]))[0])
        if scores[best, 0] <= 0:
            break
        number[near(best)] = visit
        for middle in np.flatnonzero(np.abs(middles - middles[best]) <= 2 * far):
            scores[middle] = score(int(middle))
    return number


def _gathered(who: Codes, when: Floats, number: Codes) -> Codes:
    """Those who came too early or too late for half of their own gap go to the visit of the others.

    A visit of few goes to one of at least twice as many within half the gap to the next such visit.
    """
    found = number.copy()
    visits, sizes = np.unique(found, return_counts=True)
    middle = np.array([float(np.median(when[found == visit])) for visit in visits])
    for at in np.argsort(sizes, kind="stable"):
        others = np.flatnonzero((sizes >= 2 * sizes[at]) & (np.arange(len(visits)) != at))
        if not len(others):
            continue
        for sample in np.flatnonzero(found == visits[at]):
            away = np.abs(middle[others] - when[sample])
            nearest, *next_ = others[np.argsort(away, kind="stable")[:2]]
            half = abs(middle[nearest] - middle[next_[0]]) / 2 if next_ else np.inf
            allowed = min(half, float(_cap(when[sample])))
            free = not ((found == visits[nearest]) & (who == who[sample])).any()
            if free and away.min() < allowed:
                found[sample] = visits[nearest]
    return _nearest(who, when, found)


def _nearest(who: Codes, when: Floats, number: Codes) -> Codes:
    """Who missed a visit has a wide gap, by which the next sample went to the visit before: to the nearest instead."""
    found = number.copy()
    visits, sizes = np.unique(found, return_counts=True)
    size = dict(zip(visits.tolist(), sizes.tolist(), strict=True))
    middle = np.array([float(np.median(when[found == visit])) for visit in visits])
    for sample in range(len(when)):
        own = int(found[sample])
        away = np.abs(middle - when[sample])
        best = int(visits[int(away.argmin())])
        free = not ((found == best) & (who == who[sample])).any()
        if best != own and free and 2 * size[best] >= size[own]:
            found[sample] = best
    return found


def _joined(who: Codes, when: Floats, number: Codes) -> Codes:
    """Neighbouring visits without a patient in common become one where they lie close."""
    middles = sorted((float(np.median(when[number == visit])), int(visit)) for visit in np.unique(number).tolist())
    found = number.copy()
    before = middles[0][1]
    for _, visit in middles[1:]:
        own, other = found == visit, found == before
        apart = float(np.median(when[own]) - np.median(when[other]))
        shared = np.isin(who[own], who[other]).any()
        if not shared and apart <= max(APART, TENTH * float(np.median(when[own]))):
            found[own] = before
        else:
            before = visit
    return found


def _named(when: Floats, number: Codes) -> Floats:
    """The day by which each visit goes."""
    found, taken = np.empty(len(when)), set[float]()
    for visit in np.unique(number):
        own = when[number == visit]
        middle = float(np.median(own))
        whole = float(np.round(middle))
        name = whole if own.min() <= whole <= own.max() and whole not in taken else middle
        taken.add(name)
        found[number == visit] = name
    return found
