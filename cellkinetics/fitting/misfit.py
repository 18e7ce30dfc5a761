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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.fitting.leave_out import Movable, Standing, alone, standing
from cellkinetics.lazily import special
from cellkinetics.optimising.chunks import climbed_by, optima_by
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.running.run import HERE, Run
from cellkinetics.saving import storable
from cellkinetics.words import count, fold

PLAUSIBLE_SD = float(np.log(2))
VISIBLE = float(np.log(3))  # a sample nearer to the curve is not called missed
CALLED = {"scatter": 0.025, "outlier": 0.02, "peak": 0.01, "pattern": 0.01, "left out": 0.02}
# From here on samples are left out in earnest.
DOUBTFUL = {"scatter": 0.2, "outlier": 0.2, "peak": 0.05, "pattern": 0.05}
NAMED = 3  # samples in the words
REFIT_STARTS, REFIT_SEED = 4, 2020  # of a refit of a model with a switch day
ADVICE = "Look at fit.plot() and fit.influence(): check these samples, or try another model (ck.compare_models)."


@storable
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


MET = Misfit()


def joined(outcome: Outcome, misfit: Misfit) -> str:
    """How the optimiser ended and how the curve misses the samples, in one text, with what to do first in front.

    To fix or to free a parameter of a curve that misses the samples makes it no better; where the optimiser stopped
    early it is the other way round.
    """
    if not misfit:
        return outcome.words
    if outcome.status is Status.CONVERGED:
        return f"{outcome.words}, but {misfit.words}"
    if outcome.status is Status.NOT_CONVERGED:
        return f"{outcome.words.rstrip('.')}. And {misfit.words}"
    return f"{misfit.words} After that: {outcome.words}"


@dataclass(frozen=True, eq=False)
class _Miss:
    """A sample and the curve, ln copies, that it is away from: the fitted one, or that without it."""

    row: int
    ln_f: float
    away: float
    without: bool = False


@dataclass(frozen=True, eq=False)
class Refit:
    """A fit without one sample: the patient's free vector, and what moves there."""

    x: Floats
    moves: Movable


@dataclass(frozen=True, eq=False)
class Look:
    """A fit whose samples were looked at: what they say without refits, and its highest and its furthest sample.

    own_sd : whether the sd is this patient's own estimate. levels : p below which a question is answered yes.
    """

    problem: Problem
    x: Floats
    here: Standing
    own_sd: bool
    levels: Mapping[str, float]
    p: Mapping[str, float]
    peak: int
    furthest: int

    @property
    def rows(self) -> list[int]:
        """Samples to leave out in earnest: the furthest and the highest of a doubtful fit."""
        doubtful = any(self.p[name] < level for name, level in DOUBTFUL.items())
        return list(dict.fromkeys([self.furthest, self.peak])) if doubtful else []


def misfit_of(problem: Problem, optimum: Optimum, first_day: float, unit: str) -> Misfit:
    """Whether the curve of one patient misses the samples.

    Parameters
    ----------
    problem, optimum : the fit.
    first_day : of the infusion, in the study. unit : of the samples.
    """
    look = looked(problem, optimum)
    if look is None:
        return MET
    # One by one: the program of a single fit is there, one of two would have to be compiled.
    refits = [_refitted([look], [row])[0] for row in look.rows]
    return concluded(look, refits, first_day, unit)


def misfits_of(
    problems: Sequence[Problem],
    ends: Sequence[Optimum],
    first_day: Callable[[int], float],
    unit: str,
    run: Run = HERE,
) -> list[Misfit]:
    """The same of many patients, whose refits are one batch; ``first_day`` of the patient at a position."""
    looks = [looked(problem, end) for problem, end in zip(problems, ends, strict=True)]
    asked = [(look, row) for look in looks if look is not None for row in look.rows]
    refits = iter(_refitted([look for look, _ in asked], [row for _, row in asked], len(problems), run))
    each = [[next(refits) for _ in look.rows] if look is not None else [] for look in looks]
    return [
        MET if look is None else concluded(look, own, first_day(i) if own else 0.0, unit)
        for i, (look, own) in enumerate(zip(looks, each, strict=True))
    ]


def looked(
    problem: Problem, optimum: Optimum, beside: Movable | None = None, levels: Mapping[str, float] = CALLED
) -> Look | None:
    """What the samples say at the estimates; None where the likelihood alone says that all is well.

    ``beside`` is what moves a patient of a joint fit; ``levels`` are those of `Look`.
    """
    if _surely_fine(problem, optimum):
        return None
    here = standing(problem, optimum.x, beside or _moves(problem, optimum))
    if not np.isfinite(here.ln_f).all():
        return None
    t, degrees = here.left_out
    each = np.where(np.abs(_away(problem, here.ln_f)) >= VISIBLE, _two_sided(t, degrees), 1.0)
    peak = int(np.argmax(np.where(here.quantified, problem.samples.upper, -np.inf)))
    # An sd with a prior is the prior's as well, and corrected already: the residuals alone are this patient's.
    own_sd = beside is None and bool(problem.sd_free.any()) and problem.error.least_squares and not problem.few
    p = {
        "scatter": _scatter(here, own_sd),
        "outlier": min(float(np.min(each, initial=1.0)) * len(each), 1.0),
        "peak": float(each[peak]),
        "pattern": here.pattern(),
    }
    return Look(problem, optimum.x, here, own_sd, levels, p, peak, int(np.argmax(np.abs(t))))


def _moves(problem: Problem, optimum: Optimum) -> Movable:
    return alone(problem, ~optimum.held[: len(problem.free)])


def _surely_fine(problem: Problem, optimum: Optimum) -> bool:
    """Whether the likelihood alone says that the samples lie no further from the curve than they may.

    It takes no look at the curve: the deviance of all samples is at least the sum of their squared residuals.
    """
    if not (problem.error.least_squares and optimum.second.solved):
        return not optimum.second.solved
    rows, sds = problem.quantified, np.exp(problem.ln_sd(optimum.x)[0])
    quantified = int(rows.sum())
    constant = float(np.sum(np.log(sds[rows]))) + 0.5 * np.log(2 * np.pi) * quantified
    deviance = -2 * (optimum.second.value - problem.log_prior(optimum.x) + constant)
    scatter = deviance * float(sds.max()) ** 2 / PLAUSIBLE_SD**2
    # What is fine with the fewest degrees of freedom is so with what the Hessian says.
    moving = int(np.sum(~optimum.held[: len(problem.free)]))
    return scatter < _usual(quantified - moving) or scatter < _usual(quantified - _spent(problem, optimum))


def _usual(degrees: float) -> float:
    """As much as is seen in 60 of 100 fits whose sd is as large as it may be (chi-squared by Wilson and Hilferty)."""
    degrees = max(degrees, 1.0)
    return degrees * (1 - 2 / (9 * degrees) + 0.253 * np.sqrt(2 / (9 * degrees))) ** 3


def _spent(problem: Problem, optimum: Optimum) -> float:
    """Quantified samples that the curve has used up, from the Hessian; all that moves where that does not tell."""
    moving = np.flatnonzero(~optimum.held[: len(problem.free)])
    # Information of quantified samples is only kept where their sd is estimated.
    if not problem.sd_free.all():
        return float(len(moving))
    information, quantified = -optimum.second.hessian[np.ix_(moving, moving)], optimum.second.quantified
    try:
        spent = float(np.trace(np.linalg.solve(information, quantified[np.ix_(moving, moving)])))
    except np.linalg.LinAlgError:
        return float(len(moving))
    return spent if 0 <= spent <= len(moving) else float(len(moving))


def _scatter(here: Standing, own_sd: bool) -> float:
    # An estimated sd knows of censored samples too; one that patients share says nothing of this one.
    squares = np.sum(here.sd[here.quantified] ** 2) if own_sd else here.squares.sum()
    return scattered(float(squares), here.degrees)


def scattered(squares: float, degrees: float) -> float:
    """The p of so large a sum of squares where the sd is ln 2: chi-squared."""
    return float(special.chdtrc(degrees, squares / PLAUSIBLE_SD**2)) if degrees > 0.3 else 1.0


def without(problem: Problem, row: int) -> Problem:
    """The problem without one of its samples."""
    return replace(problem, samples=problem.samples.taken(np.arange(len(problem.samples)) != row))


def _refitted(looks: Sequence[Look], rows: Sequence[int], company: int = 1, run: Run = HERE) -> list[Refit | None]:
    """Each without a sample, uphill from where it is with it; ``company`` were fitted together."""
    rests = [without(look.problem, row) for look, row in zip(looks, rows, strict=True)]
    ends = _optima(looks, rests, company, run)
    return [None if end is None else Refit(end.x, _moves(rest, end)) for rest, end in zip(rests, ends, strict=True)]


def _optima(looks: Sequence[Look], rests: Sequence[Problem], company: int, run: Run) -> list[Optimum | None]:
    used = [i for i, rest in enumerate(rests) if rest.samples.quantified.any()]
    refits: list[Optimum | None] = [None] * len(rests)
    if not used:
        return refits
    model, some = rests[0].model, [rests[i] for i in used]
    if model.corners:
        # A switch day has an optimum between any two samples, and where the sample was is not where it is without it.
        initial = [looks[i].problem.natural(looks[i].x) for i in used]
        for found in optima_by(run, "misfits", some, initial, REFIT_STARTS, REFIT_SEED, careful=False, company=company):
            for at, end in found.items():
                refits[used[at]] = end if isinstance(end, Optimum) else None
        return refits
    ends = climbed_by(run, "misfits", some, [looks[i].x for i in used], rescue=False, company=company)
    for i, end in zip(used, ends, strict=True):
        refits[i] = end
    return refits


def concluded(look: Look, refits: Sequence[Refit | None], first_day: float, unit: str, advice: str = ADVICE) -> Misfit:
    """What is said of a fit, after the ``refits`` of its rows where there are any."""
    problem, p = look.problem, dict(look.p)
    lone: list[_Miss] = []
    settled = False
    if refits:
        lone, p["left out"], settled = _left_out(look, refits)
    if all(p[name] >= level for name, level in look.levels.items() if name in p):
        return Misfit(p=p)
    ln_f, away = look.here.ln_f, _away(problem, look.here.ln_f)
    fitted = [_Miss(int(row), float(ln_f[row]), float(away[row])) for row in np.argsort(-np.abs(away), kind="stable")]
    # Where the others are met without one sample it is the one; the peak is named too where the curve misses it.
    others = [miss for miss in fitted if miss.row not in {one.row for one in lone}]
    visible = [miss for miss in others if abs(miss.away) >= VISIBLE and (miss.row == look.peak or not settled)]
    visible.sort(key=lambda miss: miss.row != look.peak)
    named = [*lone, *visible] or others[:1]
    named = sorted(named[:NAMED], key=lambda miss: problem.samples.day[miss.row])
    days = tuple(float(problem.samples.day[miss.row] + first_day) for miss in named)
    more = max(len(lone) + len(visible) - len(named), 0)
    return Misfit(f"{_words(look, p, named, days, more, unit)}. {advice}", days, p)


def _left_out(look: Look, refits: Sequence[Refit | None]) -> tuple[list[_Miss], float, bool]:
    """Samples that the curve of the others misses, the lowest p, and whether those others are met without them.

    The highest sample is asked for itself, the furthest as one of n.
    """
    problem, lowest = look.problem, 1.0
    n, found, settling = len(problem.samples), list[_Miss](), list[_Miss]()
    for row, refit in zip(look.rows, refits, strict=True):
        if refit is None:
            continue
        tries = 2 if row == look.peak else n
        there = standing(problem, refit.x, refit.moves, without=row)
        away = float(_away(problem, there.ln_f)[row])
        p = min(float(_two_sided(*there.predicted(row))) * tries, 1.0) if abs(away) >= VISIBLE else 1.0
        lowest = min(lowest, p)
        if p < look.levels["left out"]:
            found.append(_Miss(row, float(there.ln_f[row]), away, without=True))
            others = np.arange(n) != row
            rest = replace(there, **{name: getattr(there, name)[others] for name in _BY_ROW})
            if _scatter(rest, look.own_sd) >= DOUBTFUL["scatter"] and rest.pattern() >= DOUBTFUL["pattern"]:
                settling.append(found[-1])
    return settling or found, lowest, bool(settling)


_BY_ROW = ("ln_f", "z", "sd", "slopes", "weight", "score", "quantified", "output")


def _away(problem: Problem, ln_f: Floats) -> Floats:
    """(n,) ln of each sample over the curve; of a censored one of the end that the curve is beyond, 0 inside."""
    rows, n = problem.rows, len(problem.samples)
    lower, upper = (np.asarray(end)[:n] - ln_f for end in (rows.lower, rows.upper))
    return np.where(lower > 0, lower, np.minimum(upper, 0.0))


def _two_sided(t: Floats | float, degrees: float) -> Floats:
    return 2 * special.stdtr(degrees, -np.abs(t))


def _words(
    look: Look, p: Mapping[str, float], named: Sequence[_Miss], days: Sequence[float], more: int, unit: str
) -> str:
    """The sentence and its reasons."""
    problem, here = look.problem, look.here
    samples = [_sample(problem, miss, day, unit) for miss, day in zip(named, days, strict=True)]
    listed = "; ".join(samples) + (f"; and {count(more, 'other')}" if more > 0 else "")
    reasons = []
    if p["scatter"] < look.levels["scatter"]:
        sd = float(np.sqrt(here.squares.sum() / max(here.degrees, 1.0)))
        with np.errstate(over="ignore"):
            reasons.append(f"residual sd {sd:.2f}, a factor of {np.exp(sd):.2g}, where up to 2 is usual")
    if p["pattern"] < look.levels["pattern"]:
        reasons.append("neighbouring samples lie off together")
    because = f"; {'; '.join(reasons)}" if reasons else ""
    return f"the curve misses the samples: {listed}{because}"


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
