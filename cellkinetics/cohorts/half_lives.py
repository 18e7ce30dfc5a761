"""The terminal half-life: the best line, a line through given days, one that keeps censored samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy

from cellkinetics.arrays import Floats
from cellkinetics.statistics.tobit import quantified as known_values
from cellkinetics.statistics.tobit import tobit

FEWEST_SAMPLES = 3
# A line with more points is preferred when its adjusted R2 is at most this much worse (PKNCA's default).
ALLOWANCE = 1e-4
# The library's sd of a sample (ln scale) where too few are quantified to estimate it: the line's two, and three more.
SD_OF_A_SLOPE, SAMPLES_FOR_SD = 0.5, 5


class Line(NamedTuple):
    """A terminal line through ln copies.

    half_life : days; NaN when there is none.
    adj_r2 : adjusted R2 of the line.
    n : samples on it.
    first, last : days of its first and last sample.
    reason : why there is none, "" when there is one.
    """

    half_life: float
    adj_r2: float
    n: int
    first: float
    last: float
    reason: str


def best_line(days: Floats, values: Floats) -> Line:
    """The line of PKNCA's rules (Denney, Duvvuri, Buckeridge 2015, doi:10.1007/s10928-015-9432-2).

    Of the lines through the last 3, 4, ... samples that fall, those whose adjusted R2 is within 1e-4 of the best of
    all lines; of these the one with the most samples.

    Parameters
    ----------
    days, values : (n,) quantified samples after the peak (which is not one of them), by day.
    """
    if len(days) < FEWEST_SAMPLES:
        return _none(f"{_samples(len(days))} after the peak; a line needs {FEWEST_SAMPLES}")
    lines = [_fit(days[start:], values[start:]) for start in range(len(days) - FEWEST_SAMPLES, -1, -1)]
    best = max(0.0, *(line.adj_r2 for line in lines if not math.isnan(line.adj_r2)), 0.0)
    chosen = [line for line in lines if line.adj_r2 > best - ALLOWANCE and line.half_life > 0]
    if not chosen:
        return _none("no line through the last samples falls with an adjusted R2 above 0")
    return max(chosen, key=lambda line: line.n)


def given_line(days: Floats, values: Floats, first: float, last: float) -> Line:
    """The line through the quantified samples of the days from first to last, both included."""
    inside = (days >= first) & (days <= last)
    if inside.sum() < 2 or np.ptp(days[inside]) == 0:
        return _none(f"{_samples(int(inside.sum()))} from day {first:g} to day {last:g}; a line needs 2 days")
    line = _fit(days[inside], values[inside])
    return line if line.half_life > 0 else _none(f"the line from day {first:g} to day {last:g} does not fall")


def censored_line(days: Floats, lower: Floats, upper: Floats) -> tuple[float, float, float, str]:
    """Half-life by a Tobit regression: censored samples say that the line passes below their limit.

    The sd of a sample is estimated where at least 5 are quantified, else 0.5 on the ln scale. The 95% interval is by
    Student's t (normal with the sd given), formed on the slope.

    Parameters
    ----------
    days, lower, upper : (n,) samples; lower = upper where quantified, lower 0 below a limit, upper inf above one.

    Returns
    -------
    half_life, lower, upper : days; an end is inf where the slope's interval reaches 0.
    reason : why there is none, "" when there is one.
    """
    with np.errstate(divide="ignore"):
        ends = np.log(lower), np.log(upper)
    quantified = known_values(*ends)
    nothing = (math.nan, math.nan, math.nan)
    if len(days) < FEWEST_SAMPLES or len(np.unique(days[quantified])) < 2:
        found = f"{_samples(int(quantified.sum()))} of {len(days)}"
        return *nothing, f"{found}; a line through censored samples needs {FEWEST_SAMPLES}, 2 of them quantified"
    sd = None if quantified.sum() >= SAMPLES_FOR_SD else SD_OF_A_SLOPE
    fit = tobit(np.column_stack([np.ones(len(days)), days]), *ends, sd)
    slope, degrees = float(fit.coefficients[0, 1]), float(fit.degrees_of_freedom[0])
    if not fit.converged[0] or not slope < 0:
        return *nothing, "the line through the samples, censored ones included, does not fall"
    inflation = math.sqrt(quantified.sum() / degrees) if math.isfinite(degrees) else 1.0
    half = float(scipy.stats.t.ppf(0.975, degrees)) * inflation * float(fit.stderr[0, 1])
    steep, flat = slope - half, slope + half
    return -math.log(2) / slope, -math.log(2) / steep, -math.log(2) / flat if flat < 0 else math.inf, ""


def _fit(days: Floats, values: Floats) -> Line:
    n = len(days)
    if np.ptp(days) == 0:
        return Line(math.nan, math.nan, n, float(days[0]), float(days[-1]), "")
    x, y = days - days.mean(), np.log(values) - np.log(values).mean()
    slope = float(x @ y / (x @ x))
    total = float(y @ y)
    r2 = float((x @ y) ** 2 / (x @ x) / total) if total > 0 else math.nan
    adjusted = 1 - (1 - r2) * (n - 1) / (n - 2) if n > 2 else math.nan
    half_life = -math.log(2) / slope if slope != 0 else math.nan
    return Line(half_life, adjusted, n, float(days[0]), float(days[-1]), "")


def _none(reason: str) -> Line:
    return Line(math.nan, math.nan, 0, math.nan, math.nan, reason)


def _samples(n: int) -> str:
    return f"{n} quantified sample" if n == 1 else f"{n} quantified samples"
