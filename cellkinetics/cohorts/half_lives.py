"""The terminal half-life: the best line, a line through given days, one that keeps censored samples."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy

from cellkinetics.arrays import Floats
from cellkinetics.likelihood.sd_prior import SdPrior
from cellkinetics.statistics.tobit import ON_THE_LINE, Tobit, tobit
from cellkinetics.statistics.tobit import quantified as known_values

FEWEST_SAMPLES = 3
# A line with more points is preferred when its adjusted R2 is at most this much worse (PKNCA's default).
ALLOWANCE = 1e-4
# Of fewer quantified samples the sd has the prior of the fits: the line's two parameters, and three more.
SAMPLES_FOR_SD = 5
# Standard deviations of the prior of ln sd that are searched, and how far apart; steps of its derivatives.
SEARCHED, GRID, STEP = 4.0, 0.25, 1e-3


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

    The sd of a sample is estimated where at least 5 are quantified. Fewer cannot tell it alone: ln sd has the prior of
    the fits then (`likelihood.sd_prior`: normal about ln 0.7 with an SD of 0.5), with the line's two parameters
    integrated out (restricted likelihood). The 95% interval is by Student's t, formed on the slope; the prior is worth
    two degrees of freedom. How often it holds the truth: ``tests/benchmarks/half_life_coverage.csv``.

    Parameters
    ----------
    days, lower, upper : (n,) samples; lower = upper where quantified, lower 0 below a limit, upper inf above one.

    Returns
    -------
    half_life, lower, upper : days; an end is inf where the slope's interval reaches 0. All three are alike where the
        quantified samples, 5 or more, lie on a line without noise.
    reason : why there is none, "" when there is one.
    """
    with np.errstate(divide="ignore"):
        ends = np.log(lower), np.log(upper)
    quantified = known_values(*ends)
    nothing = (math.nan, math.nan, math.nan)
    if len(days) < FEWEST_SAMPLES or len(np.unique(days[quantified])) < 2:
        found = f"{_samples(int(quantified.sum()))} of {len(days)}"
        return *nothing, f"{found}; a line through censored samples needs {FEWEST_SAMPLES}, 2 of them quantified"
    columns = np.column_stack([np.ones(len(days)), days])
    known = _estimated(columns, *ends) if quantified.sum() >= SAMPLES_FOR_SD else _with_prior(columns, *ends)
    if known is None or not known.slope < 0:
        return *nothing, "the line through the samples, censored ones included, does not fall"
    slope, half = known.slope, float(scipy.stats.t.ppf(0.975, known.degrees)) * known.stderr
    steep, flat = slope - half, slope + half
    return -math.log(2) / slope, -math.log(2) / steep, -math.log(2) / flat if flat < 0 else math.inf, ""


class _Slope(NamedTuple):
    """A slope of ln copies per day, its standard error corrected for few samples, and its degrees of freedom."""

    slope: float
    stderr: float
    degrees: float


def _estimated(columns: Floats, lower: Floats, upper: Floats) -> _Slope | None:
    """The slope with the sd that the samples tell; None where there is no maximum."""
    fit = tobit(columns, lower, upper)
    if not fit.converged[0]:
        return _without_noise(columns, lower, upper)
    degrees = float(fit.degrees_of_freedom[0])
    inflation = math.sqrt(known_values(lower, upper).sum() / degrees)
    return _Slope(float(fit.coefficients[0, 1]), inflation * float(fit.stderr[0, 1]), degrees)


def _without_noise(columns: Floats, lower: Floats, upper: Floats) -> _Slope | None:
    """The slope of a line on which all quantified samples lie and which the limits allow: it has no sd to estimate."""
    exact = lower == upper
    values = lower[exact]
    coefficients = np.linalg.lstsq(columns[exact], values, rcond=None)[0]
    line = columns @ coefficients
    rounding = ON_THE_LINE * max(float(np.ptp(values)), 1.0) if len(values) else 0.0
    if len(values) < FEWEST_SAMPLES or not np.all((line >= lower - rounding) & (line <= upper + rounding)):
        return None
    return _Slope(float(coefficients[1]), 0.0, float(len(values) - 2))


def _with_prior(columns: Floats, lower: Floats, upper: Floats) -> _Slope | None:
    """The slope where ln sd has its prior, as in the fits of few samples; None where there is no maximum.

    The first search counts both parameters as determined by quantified samples, the second those that they did.
    """
    first = SdPrior(spent=2.0)
    _, line = _around(columns, lower, upper, first, _best_ln_sd(columns, lower, upper, first))
    if not line.converged.all():
        return None
    prior = replace(first, spent=float(line.spent[1]))
    value, line = _around(columns, lower, upper, prior, _best_ln_sd(columns, lower, upper, prior))
    if not line.converged.all():
        return None
    curvature = (value[0] - 2 * value[1] + value[2]) / STEP**2
    slopes = line.coefficients[:, 1]
    # What is not known of the sd moves the line too, by the limits that it must pass below.
    of_sd = (slopes[2] - slopes[0]) / (2 * STEP) / math.sqrt(max(-curvature, 1 / prior.sd**2))
    degrees = float(known_values(lower, upper).sum()) - prior.spent + prior.degrees
    return _Slope(float(slopes[1]), math.hypot(float(line.stderr[1, 1]), of_sd), max(degrees, 1.0))


def _around(columns: Floats, lower: Floats, upper: Floats, prior: SdPrior, ln_sd: float) -> tuple[Floats, Tobit]:
    """`_restricted` a step below, at and above one ln sd."""
    return _restricted(columns, lower, upper, prior, ln_sd + STEP * np.array([-1.0, 0.0, 1.0]))


def _best_ln_sd(columns: Floats, lower: Floats, upper: Floats, prior: SdPrior) -> float:
    """The ln sd of the highest restricted likelihood with its prior, on a grid and then by Newton steps."""
    grid = prior.mean + prior.sd * np.arange(-SEARCHED, SEARCHED + GRID, GRID)
    first = float(grid[int(np.argmax(_restricted(columns, lower, upper, prior, grid)[0]))])
    for _ in range(20):
        low, middle, high = _around(columns, lower, upper, prior, first)[0]
        curvature = (low - 2 * middle + high) / STEP**2
        if not curvature < 0:
            break
        step = -(high - low) / (2 * STEP) / curvature
        first += float(np.clip(step, -GRID, GRID))
        if abs(step) < STEP / 10:
            break
    return first


def _restricted(columns: Floats, lower: Floats, upper: Floats, prior: SdPrior, ln_sd: Floats) -> tuple[Floats, Tobit]:
    """(m,) restricted log-likelihood with the prior at each ln sd, -inf where a line has no maximum, and the lines."""
    many = len(ln_sd)
    fit = tobit(columns, np.tile(lower, (many, 1)), np.tile(upper, (many, 1)), np.exp(ln_sd))
    value = fit.log_likelihood + prior.spent * ln_sd - (ln_sd - prior.mean) ** 2 / (2 * prior.sd**2)
    return np.where(fit.converged, value, -np.inf), fit


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
