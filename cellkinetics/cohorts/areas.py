"""The area under a curve of samples: linear, logarithmic, linear up and logarithmic down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from cellkinetics.errors import suggest

AREA_METHODS = ("linear-up/log-down", "linear", "log")


class Point(NamedTuple):
    """A sample on a curve.

    value : copies; infinity for the upper end of a sample above its limit.
    vanishing : a censored sample taken at its lower end 0. Towards it a logarithmic segment has the area 0, the limit
        of the log-mean, so that an area does not grow when a value falls.
    """

    day: float
    value: float
    vanishing: bool = False


def area(points: Sequence[Point], start: float, end: float, method: str = AREA_METHODS[0]) -> float:
    """Area under the points between two days, in copies x days.

    Parameters
    ----------
    points : by day, from `start` or before to `end` or after.
    start, end : days; the curve is interpolated there by the rule of its segment.
    method : how a segment between c1 and c2 counts:

        - "linear": the trapezium;
        - "log": (c1 - c2)/ln(c1/c2), where both are positive and differ, else the trapezium;
        - "linear-up/log-down": "log" where the curve falls, else "linear".

    Raises
    ------
    ValueError
        There is no such method, or the points do not reach from start to end.

    Examples
    --------
    >>> area([Point(0, 0), Point(1, 8), Point(2, 4)], 0, 2, "linear")
    10.0
    >>> round(area([Point(0, 0), Point(1, 8), Point(2, 4)], 0, 2), 4)  # 4 + 4/ln 2
    9.7708
    """
    if method not in AREA_METHODS:
        known = ", ".join(AREA_METHODS)
        raise ValueError(f"there is no method {method!r}; there are {known}. {suggest(method, AREA_METHODS)}".rstrip())
    if not points or points[0].day > start or points[-1].day < end:
        raise ValueError(f"the points do not reach from day {start:g} to day {end:g}.")
    total = 0.0
    for before, after in pairwise(points):
        first, last = max(before.day, start), min(after.day, end)
        if last > first:
            left, right = (_at(day, before, after, method) for day in (first, last))
            total += _mean(left, right, method) * (last - first)
    return total


def _logarithmic(before: Point, after: Point, method: str) -> bool:
    return method == "log" or (method == AREA_METHODS[0] and after.value < before.value)


def _at(day: float, before: Point, after: Point, method: str) -> Point:
    """The curve between two points."""
    if day in (before.day, after.day):
        return before if day == before.day else after
    share = (day - before.day) / (after.day - before.day)
    if _logarithmic(before, after, method):
        if before.vanishing or after.vanishing:
            return Point(day, 0.0, True)
        if min(before.value, after.value) > 0 and math.isfinite(before.value + after.value):
            return Point(day, before.value ** (1 - share) * after.value**share)
    return Point(day, before.value + share * (after.value - before.value))


def _mean(before: Point, after: Point, method: str) -> float:
    """The mean level of a segment."""
    low, high = sorted((before.value, after.value))
    if math.isinf(high):
        return math.inf
    if _logarithmic(before, after, method):
        if before.vanishing or after.vanishing:
            return 0.0
        if 0 < low < high:
            return (high - low) / math.log1p((high - low) / low)
    return (low + high) / 2
