"""Whether a fitted curve misses its samples, where, and in words.

A fit that converged is the best of its model, and may be bad. Four questions are asked of the samples at the estimates,
each at a level of its own (`leave_out` has the statistics):

- scatter: is the lower end of the 95% interval of the residual sd above ln 2, so that samples lie further than a factor
  of two from the curve?
- outlier: is a sample a factor of 3 or more away from the curve that the others give, further than any of n would be?
- peak: is the highest quantified sample such an outlier, asked of it alone?
- pattern: do neighbours lie off together?

A fit on which one of them looks doubtful is fitted again without the highest and without the furthest sample: an
outlier that pulls the curve through itself is only seen so. The levels are set so that at most 2% of clean patients are
called bad; tests/benchmarks/misfit.py counts them, and how many of the bad ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import special

from cellkinetics.arrays import Floats
from cellkinetics.fitting.leave_out import Standing, standing
from cellkinetics.optimising.batch import batchable, climbed, optima
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.optimising.uncertainty import Uncertainty
from cellkinetics.words import count, digits, fold

PLAUSIBLE_SD = float(np.log(2))
VISIBLE = float(np.log(3))  # a sample nearer to the curve is not called missed
LEVELS = {"scatter": 0.025, "outlier": 0.02, "peak": 0.01, "pattern": 0.01, "left out": 0.02}
# From here on samples are left out in earnest.
DOUBTFUL = {"scatter": 0.2, "outlier": 0.2, "peak": 0.05, "pattern": 0.05}
NAMED = 3  # samples in the words
STARTS, SEED = 4, 2020  # of a refit of a model with a switch day


@dataclass(frozen=True)
class Misfit:
    """How a curve misses its samples; false where it does not.

    words : "" or a sentence with the days. days : of the samples that it names, as in the study.
    p : {question: p} of those that were asked; all are left out where nothing looked doubtful.
    """

    words: str = ""
    days: tuple[float, ...] = ()
    p: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.words)


FINE = Misfit()


def joined(outcome: Outcome, misfit: Misfit) -> str:
    """How the optimiser ended and how the curve misses the samples, in one text."""
    if not misfit:
        return outcome.words
    if outcome.status is Status.CONVERGED:
        return f"{outcome.words}, but {misfit.words}"
    return f"{outcome.words.rstrip('.')}. And {misfit.words}"


@dataclass(frozen=True, eq=False)
class _Miss:
    """A sample and the curve, ln copies, that it is away from: the fitted one, or that without it."""

    row: int
    ln_f: float
    away: float
    without: bool = False


def misfit_of(problem: Problem, optimum: Optimum, spread: Uncertainty, first_day: float, unit: str) -> Misfit:
    """Whether the curve misses the samples.

    Parameters
    ----------
    problem, optimum, spread : the fit.
    first_day : of the infusion, in the study. unit : of the samples.
    """
    if _surely_fine(problem, optimum, spread):
        return FINE
    free = len(problem.free)
    here = standing(problem, optimum.x, ~optimum.held[:free])
    ln_f = np.asarray(problem.curve(optimum.x, 0).value)[: len(problem.samples)]
    away = _away(problem, ln_f)
    t, degrees = here.left_out
    each = np.where(np.abs(away) >= VISIBLE, _two_sided(t, degrees), 1.0)
    peak = int(np.argmax(np.where(here.quantified, problem.samples.upper, -np.inf)))
    p = {
        "scatter": _scatter(problem, here),
        "outlier": min(float(np.min(each, initial=1.0)) * len(each), 1.0),
        "peak": float(each[peak]),
        "pattern": here.pattern(),
    }
    if all(p[name] >= level for name, level in DOUBTFUL.items()):
        return Misfit(p=p)
    lone, p["left out"], settled = _left_out(problem, optimum, peak, int(np.argmax(np.abs(t))))
    if all(p[name] >= level for name, level in LEVELS.items()):
        return Misfit(p=p)
    fitted = [_Miss(int(row), float(ln_f[row]), float(away[row])) for row in np.argsort(-np.abs(away), kind="stable")]
    # Where the others are met without one sample it is the one; the peak is named too where the curve misses it.
    others = [miss for miss in fitted if miss.row not in {one.row for one in lone}]
    visible = [miss for miss in others if abs(miss.away) >= VISIBLE and (miss.row == peak or not settled)]
    visible.sort(key=lambda miss: miss.row != peak)
    named = [*lone, *visible] or others[:1]
    named = sorted(named[:NAMED], key=lambda miss: problem.samples.day[miss.row])
    days = tuple(float(problem.samples.day[miss.row] + first_day) for miss in named)
    more = len(lone) + len(visible) - len(named)
    return Misfit(_words(problem, here, p, named, days, more, unit), days, p)


def _surely_fine(problem: Problem, optimum: Optimum, spread: Uncertainty) -> bool:
    """Whether the likelihood alone says that the samples lie no further from the curve than they may.

    For what takes no look at the curve: the deviance of all samples is at least the sum of their squared residuals.
    """
    if not (problem.error.least_squares and optimum.second.solved):
        return not optimum.second.solved
    rows, sds = problem.quantified, np.exp(problem.ln_sd(optimum.x)[0])
    quantified = int(rows.sum())
    constant = float(np.sum(np.log(sds[rows]))) + 0.5 * np.log(2 * np.pi) * quantified
    deviance = -2 * (optimum.second.value - problem.log_prior(optimum.x) + constant)
    degrees = spread.degrees_of_freedom
    if not np.isfinite(degrees):
        degrees = float(quantified - len(problem.free))
    degrees = max(degrees, 1.0)
    # As much as is seen in half of the fits whose sd is as large as it may be.
    return deviance * float(sds.max()) ** 2 < PLAUSIBLE_SD**2 * degrees * (1 - 2 / (9 * degrees)) ** 3


def _scatter(problem: Problem, here: Standing) -> float:
    """The p of so large an sd where the true one is ln 2: chi-squared, with the samples less what the curve used up."""
    estimated = problem.sd_free.any() and problem.error.least_squares
    squares = float(np.sum(here.sd[here.quantified] ** 2)) if estimated else float(here.squares.sum())
    return float(special.chdtrc(here.degrees, squares / PLAUSIBLE_SD**2)) if here.degrees > 0.3 else 1.0


def _left_out(problem: Problem, optimum: Optimum, peak: int, furthest: int) -> tuple[list[_Miss], float, bool]:
    """Samples that the curve of the others misses, the lowest p, and whether those others are met without them.

    The highest sample is asked for itself, the furthest as one of n.
    """
    n, lowest, found, settling = len(problem.samples), 1.0, [], []
    for row, tries in {furthest: n, peak: 2}.items():
        others = np.arange(n) != row
        rest = replace(problem, samples=problem.samples.taken(others))
        end = _refit(rest, problem, optimum.x)
        if end is None:
            continue
        there = standing(problem, end.x, ~end.held[: len(problem.free)], without=row)
        ln_f = np.asarray(problem.curve(end.x, 0).value)[:n]
        away = float(_away(problem, ln_f)[row])
        p = min(float(_two_sided(*there.predicted(row))) * tries, 1.0) if abs(away) >= VISIBLE else 1.0
        lowest = min(lowest, p)
        if p < LEVELS["left out"]:
            miss = _Miss(row, float(ln_f[row]), away, without=True)
            found.append(miss)
            alone = replace(there, **{name: getattr(there, name)[others] for name in _BY_ROW})
            if _scatter(rest, alone) >= DOUBTFUL["scatter"] and alone.pattern() >= DOUBTFUL["pattern"]:
                settling.append(miss)
    return settling or found, lowest, bool(settling)


def _refit(rest: Problem, whole: Problem, x: Floats) -> Optimum | None:
    """The optimum without a sample, uphill from that with it; alone, so that the program of a single fit is used."""
    if not rest.samples.quantified.any():
        return None
    if not (rest.model.corners and batchable(rest.model, error=rest.error)):
        return climbed([rest], [x], rescue=False)[0]
    # A switch day has an optimum between any two samples, and where the sample was is not where it is without it.
    (ends,) = optima([rest], [whole.natural(x)], STARTS, SEED, careful=False)
    return ends[0]


_BY_ROW = ("z", "sd", "slopes", "weight", "score", "quantified", "output")


def _away(problem: Problem, ln_f: Floats) -> Floats:
    """(n,) ln of each sample over the curve; of a censored one of the end that the curve is beyond, 0 inside."""
    rows, n = problem.rows, len(problem.samples)
    lower, upper = (np.asarray(end)[:n] - ln_f for end in (rows.lower, rows.upper))
    return np.where(lower > 0, lower, np.minimum(upper, 0.0))


def _two_sided(t: Floats | float, degrees: float) -> Floats:
    return 2 * special.stdtr(degrees, -np.abs(t))


def _words(
    problem: Problem, here: Standing, p: Mapping[str, float], named: Sequence[_Miss], days: Sequence[float], more: int,
    unit: str,
) -> str:  # fmt: skip
    """The sentence, its reasons, and what to do."""
    samples = [_sample(problem, miss, day, unit) for miss, day in zip(named, days, strict=True)]
    listed = "; ".join(samples) + (f"; and {count(more, 'other')}" if more > 0 else "")
    reasons = []
    if p["scatter"] < LEVELS["scatter"]:
        sd = float(np.sqrt(here.squares.sum() / max(here.degrees, 1.0)))
        reasons.append(f"residual sd {digits(sd)}, a factor of {digits(float(np.exp(sd)))}, where up to 2 is usual")
    if p["pattern"] < LEVELS["pattern"]:
        reasons.append("neighbouring samples lie off together")
    because = f" ({'; '.join(reasons)})" if reasons else ""
    advice = "Look at fit.plot() and fit.influence(): check these samples, or try another model (ck.compare_models)."
    return f"the curve misses the samples: {listed}{because}. {advice}"


def _sample(problem: Problem, miss: _Miss, day: float, unit: str) -> str:
    samples, row = problem.samples, miss.row
    low, high = samples.lower[row], samples.upper[row]
    censored = f"above {_amount(low)}" if miss.away > 0 else f"below {_amount(high)}"
    observed = f"observed {_amount(low)}" if low == high else censored
    curve = "curve without it" if miss.without else "curve"
    side = "above" if miss.away > 0 else "below"
    way = fold(float(f"{np.exp(abs(miss.away)):.2g}"))
    return f"day {day:g} ({observed}, {curve} {_amount(float(np.exp(miss.ln_f)))} {unit}: {way} {side})"


def _amount(value: float) -> str:
    """Three digits, grouped where they are thousands."""
    return f"{float(f'{value:.3g}'):,.0f}" if 1e3 <= value < 1e9 else f"{value:.3g}"
