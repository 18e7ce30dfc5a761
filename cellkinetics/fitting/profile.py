"""Profile likelihood: for each value of a parameter the best that the others can do, all of it in a few batches."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.domains import Size
from cellkinetics.errors import suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.optimising.chunks import climbed_by, optima_by
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.progress import bar
from cellkinetics.running.digest import digest
from cellkinetics.running.phases import Phases
from cellkinetics.running.run import HERE, Run
from cellkinetics.saving import Saves, storable
from cellkinetics.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.fitting.result import Fit

PROFILE_POINTS = 7  # a side and round
STARTS = 4  # of the refits that decide where an interval ends
# Where the deviance leaps by more than this over the threshold, so many points are put between, so many times; not
# where they would be this near already, in units of the parameter.
LEAP, BETWEEN, NARROWINGS, NEAR_THE_END = 3.0, 3, 5, 0.01
ROUNDS = 5
FIRST, GROWTH = 1.6, 2.5  # span of the first round in half widths of the Hessian's interval, and of the next ones
WIDEST = float(np.log(1e3))  # from the estimate: beyond, an end is called open
BETTER = 1e-3  # log-likelihood units above the optimum
DIP = 0.5  # by which a deviance falls again where there is a second optimum


@storable
@dataclass(frozen=True)
class Profile(Saves, HandsOutCopies):
    """Profiles of one fit.

    Parameters
    ----------
    table : parameter, value (natural), log_likelihood, deviance (2 ln L below the optimum), by value.
    intervals
        by parameter: value, lower, upper, ``shape`` in words ("closed", "lower end open", "upper end open", "flat",
        with "more than one optimum" or "a better optimum at ..." added; "interrupted" where Ctrl-C came before an end
        was found, which is NaN then) and the ``threshold`` of the deviance.
        Calibrated, an sd is shown times the inflation of the fit, in both tables, as in ``fit.parameters``.
    level : of the intervals.
    method : how the threshold was chosen, in words.
    simulated : whether the samples are.
    origin : of which fit it is.
    """

    table: pd.DataFrame
    intervals: pd.DataFrame
    level: float
    method: str
    simulated: bool = False
    origin: Provenance = field(default=Provenance(), repr=False)

    @domains.picture
    def plot(self, axes: Sequence[Axes] | None = None, *, size: Size = None) -> Figure:
        """One panel a parameter: deviance, threshold, estimate and interval; on as many axes where given.

        Returns the figure; ``size`` is its width and height in mm.
        """
        from cellkinetics.figures import profiles as profile_plot

        return profile_plot.plot(self, axes)


@dataclass
class _Point:
    """A refit: offset on the estimation scale, deviance, optimum of the others, whether it had several starts."""

    offset: float
    deviance: float
    others: Floats
    sure: bool = False


@dataclass
class _Side:
    """One parameter to one side of its estimate."""

    fit: Fit
    at: int
    sign: int
    span: float
    limit: float
    threshold: float
    corrected: float = 1.0
    closed: bool = False
    points: list[_Point] = field(default_factory=list)
    interrupted: bool = False

    def problem(self, offset: float) -> Problem:
        """With the parameter held so far from its estimate."""
        return held(self.fit.problem, self.at, self.fit.x[self.at] + self.sign * offset)

    def deviance(self, offset: float, end: Optimum) -> float:
        """Of a refit there."""
        return 2 * (_best(self.fit) - end.second.value + _prior_of(self, offset))

    def crossing(self) -> int | None:
        """The first point beyond the threshold."""
        return next((at for at, point in enumerate(self.points) if point.deviance > self.threshold), None)

    def around(self) -> list[_Point]:
        """The last point within the threshold (the estimate itself, if there is none) and the first beyond; or none."""
        at = self.crossing()
        estimate = _Point(0.0, 0.0, np.delete(self.fit.x, self.at), sure=True)
        return [] if at is None else [self.points[at - 1] if at else estimate, self.points[at]]

    def goes_on(self) -> bool:
        """Whether its end is still to be found."""
        return not self.closed and self.span < self.limit * (1 - 1e-9)

    def leaps(self) -> bool:
        """Whether the deviance rises too much between these two, and they are not near to each other yet."""
        around = self.around()
        if not around:
            return False
        within, beyond = around
        near = NEAR_THE_END * self.fit.problem.units(self.fit.x)[self.at]
        return beyond.deviance - within.deviance > LEAP and beyond.offset - within.offset >= near


def asked_of(
    fits: Sequence[Fit], parameters: str | Sequence[str] | None, level: float, calibrated: bool
) -> dict[str, Any]:
    """What a checkpoint is of."""
    data = digest([(fit.subject, fit.study.sha256) for fit in fits])
    own = {"verb": "profile", "data": data, **(fits[0].request.asked if fits else {})}
    return {**own, "parameters": listed(parameters), "level": level, "calibrated": calibrated}


def profile_each(
    fits: Sequence[Fit],
    parameters: str | Sequence[str] | None = None,
    *,
    level: float = 0.95,
    calibrated: bool = True,
    run: Run = HERE,
    progress: bool = False,
) -> list[Profile]:
    """The profiles of several fits of one model, refitted together; arguments as in `Fit.profile`."""
    phases = Phases()
    level, calibrated = domains.level(level), domains.flag(calibrated, "calibrated")
    progress = domains.flag(progress, "progress")
    for fit in fits:
        fit.must_stand_alone("profile")
    sides = [
        _side(fit, at, sign, level, calibrated=calibrated)
        for fit in fits
        for at in _asked(fit, parameters)
        for sign in (-1, 1)
    ]
    moving: list[_Side] = []
    with suppress(KeyboardInterrupt), phases("refitting"), bar(len(sides), progress, "profiling") as advance:
        for _ in range(ROUNDS):
            moving = [side for side in sides if side.goes_on()]
            if not moving:
                break
            _go_on(moving, run)
            _make_sure(moving, run)
            _narrow(moving, run)
            for side in moving:
                side.closed = side.crossing() is not None
            advance(sum(not side.goes_on() for side in moving))
            moving = []
    for side in moving:
        # The round was not finished: what it has is no end.
        side.interrupted = True
    words = "calibrated for few samples (F of the effective degrees of freedom)" if calibrated else "chi-squared"
    asked = {"parameters": listed(parameters), "level": level, "calibrated": calibrated}
    # Refitted together: the time is that of all.
    timings = phases.done(f"profiles of {count(len(fits), 'fit')}, {count(len(sides), 'end')}")
    seconds = phases.total
    origins = [
        Provenance(fit.subject, fit.study.sha256, fit.model, {**asked, "fit": fit.request.options}, seconds, timings)
        for fit in fits
    ]
    return [
        _profile([s for s in sides if s.fit is fit], fit, level, words, origin)
        for fit, origin in zip(fits, origins, strict=True)
    ]


def threshold(fit: Fit, level: float, *, calibrated: bool = True) -> float:
    """The deviance at which the interval ends.

    For a straight line with unknown sd the profile interval is Student's, exactly, when the deviance is compared with
    n ln(1 + t^2/df): n quantified rows, df = n minus the parameters that they determine. With sd given, or not
    calibrated, with chi-squared of one degree of freedom.
    """
    degrees = fit.degrees_of_freedom
    if not calibrated or not np.isfinite(degrees):
        return float(special.ndtri(0.5 + level / 2) ** 2)
    t = float(special.stdtrit(degrees, 0.5 + level / 2))
    return float(fit.inflation**2 * degrees * np.log1p(t**2 / degrees))


def threshold_of_sd(fit: Fit, level: float) -> float:
    """The same of an sd: by chi-squared of the degrees of freedom, exact for a straight line.

    The deviance of an sd is n (r - 1 - ln r), r the variance at the estimate over that at the value. With what the
    curve used up integrated out (restricted likelihood) it is df (r - 1 - ln r), around the corrected estimate; the
    limit is such that r between its ends has the probability ``level`` under chi-squared over df.
    """
    degrees = fit.degrees_of_freedom

    def outside(limit: float) -> float:
        ends = [
            scipy.optimize.root_scalar(lambda ln_r: np.expm1(ln_r) - ln_r - limit, bracket=bracket).root
            for bracket in ((-60.0, 0.0), (0.0, 60.0))
        ]
        lower, upper = degrees * np.exp(ends)
        inside = float(special.gammainc(degrees / 2, upper / 2) - special.gammainc(degrees / 2, lower / 2))
        return inside - level

    limit = scipy.optimize.root_scalar(outside, bracket=(1e-9, 50.0)).root
    return float(fit.inflation**2 * degrees * limit)


def held(problem: Problem, at: int, value: float) -> Problem:
    """The problem with the at-th of its free vector fixed at a value of the estimation scale."""
    name = problem.names[at]
    priors = problem.priors.given(name, value)
    if at < len(problem.free):
        rest = tuple(other for other in problem.free if other != name)
        values = {**problem.values, name: problem.natural_of(at, value)}
        return replace(problem, values=values, free=rest, priors=priors)
    output = np.flatnonzero(problem.sd_free)[at - len(problem.free)]
    sd, sd_free = problem.sd.copy(), problem.sd_free.copy()
    sd[output], sd_free[output] = problem.natural_of(at, value), False
    return replace(problem, sd=sd, sd_free=sd_free, priors=priors)


def listed(parameters: str | Sequence[str] | None) -> Sequence[str] | None:
    """One name may stand without a list."""
    return [parameters] if isinstance(parameters, str) else parameters


def _asked(fit: Fit, parameters: str | Sequence[str] | None) -> list[int]:
    names = fit.problem.names
    parameters = listed(parameters)
    if parameters is not None:
        domains.some(parameters, "parameters", f"['{names[0]}']", "leave it out for all")
    if not fit.fitted:
        return []
    for name in parameters or ():
        if name not in names:
            raise ValueError(f"{name} is not free in this fit; {', '.join(names)} are. {suggest(name, names)}".rstrip())
    return [at for at, name in enumerate(names) if parameters is None or name in parameters]


def _side(fit: Fit, at: int, sign: int, level: float, *, calibrated: bool) -> _Side:
    of_sd = calibrated and at >= len(fit.problem.free)
    limit_at = threshold_of_sd(fit, level) if of_sd else threshold(fit, level, calibrated=calibrated)
    lower, upper = fit.problem.bounds
    unit = fit.problem.units(fit.x)[at]
    room = (upper[at] - fit.x[at]) if sign > 0 else (fit.x[at] - lower[at])
    limit = float(min(room, WIDEST * unit))
    quantile = float(special.stdtrit(min(fit.degrees_of_freedom, 1e6), 0.975))
    half = quantile * np.sqrt(fit.covariance[at, at])
    span = FIRST * half if np.isfinite(half) and half > 0 else unit
    corrected = fit.inflation if of_sd and fit.problem.names[at] not in fit.problem.few else 1.0
    return _Side(fit, at, sign, min(float(span), limit) / GROWTH, limit, limit_at, corrected, limit <= 0)


def _go_on(sides: Sequence[_Side], run: Run) -> None:
    """One more round of points outward on each side, refitted together."""
    asked: list[tuple[_Side, float, Floats]] = []
    for side in sides:
        begin = side.points[-1].offset if side.points else 0.0
        side.span = min(side.span * GROWTH, side.limit)
        offsets = np.linspace(begin, side.span, PROFILE_POINTS + 1)[1:]
        asked += [(side, float(offset), _conditional(side, offset)) for offset in offsets]
    _refit(asked, run)


def _narrow(sides: Sequence[_Side], run: Run) -> None:
    """More points where the deviance leaps over the threshold: between a plateau and a wall nothing can be read off."""
    for _ in range(NARROWINGS):
        asked: list[tuple[_Side, float, Floats]] = []
        for side in (side for side in sides if side.leaps()):
            within, beyond = side.around()
            offsets = np.linspace(within.offset, beyond.offset, BETWEEN + 2)[1:-1]
            asked += [(side, float(offset), within.others) for offset in offsets]
        if not asked:
            return
        _refit(asked, run)
        _make_sure(sides, run)


def _refit(asked: Sequence[tuple[_Side, float, Floats]], run: Run) -> None:
    """Points (side, offset, start of the others), together; what could not be solved is left out."""
    problems = [side.problem(offset) for side, offset, _ in asked]
    starts = [np.clip(start, *problem.bounds) for problem, (*_, start) in zip(problems, asked, strict=True)]
    for (side, offset, _), end in zip(asked, climbed_by(run, "profile", problems, starts, rescue=False), strict=True):
        if end is not None:
            bisect.insort(side.points, _Point(offset, side.deviance(offset, end), end.x), key=lambda at: at.offset)


def _make_sure(sides: Sequence[_Side], run: Run) -> None:
    """Refit from several starts where an interval would end: a refit may have stopped at a poorer optimum.

    A point that turns out better makes the others of its side doubtful.
    """
    doubtful = {id(side): side.around() for side in sides}
    while asked := [(side, point) for side in sides for point in doubtful[id(side)] if not point.sure]:
        problems = [side.problem(point.offset) for side, point in asked]
        initial = [problem.natural(point.others) for problem, (_, point) in zip(problems, asked, strict=True)]
        improved: set[int] = set()
        for ends in optima_by(run, "sure", problems, initial, STARTS, sides[0].fit.request.seed, careful=False):
            for place, end in ends.items():
                assert end is None or isinstance(end, Optimum)
                side, point = asked[place]
                point.sure = True
                deviance = np.inf if end is None else side.deviance(point.offset, end)
                if end is not None and deviance < point.deviance - BETTER:
                    point.deviance, point.others = deviance, end.x
                    improved.add(id(side))
        doubtful = {id(side): side.points if id(side) in improved else side.around() for side in sides}


def _conditional(side: _Side, offset: float) -> Floats:
    """Where the others go by the covariance, near the estimate; where they last were, further out."""
    if side.points:
        return side.points[-1].others
    others, variance = np.delete(side.fit.x, side.at), side.fit.covariance[side.at, side.at]
    if not (np.isfinite(variance) and variance > 0):
        return others
    slope = np.delete(side.fit.covariance[:, side.at], side.at) / variance
    return others + np.nan_to_num(slope) * side.sign * offset


def _best(fit: Fit) -> float:
    """The objective at the estimate."""
    return fit.log_likelihood_ln + fit.problem.log_prior(fit.x)


def _prior_of(side: _Side, offset: float) -> float:
    """What the prior of the held parameter itself takes from the objective."""
    problem = side.fit.problem
    name, value = problem.names[side.at], side.fit.x[side.at] + side.sign * offset
    few = problem.few.get(name)
    mean, sd = (few.centre, few.sd) if few else problem.priors.get(name, (0.0, np.inf))
    return 0.5 * float((value - mean) / sd) ** 2


def _profile(sides: Sequence[_Side], fit: Fit, level: float, words: str, origin: Provenance) -> Profile:
    names, rows, intervals = fit.problem.names, [], {}
    for at in dict.fromkeys(side.at for side in sides):
        pair = {side.sign: side for side in sides if side.at == at}
        below, above = pair[-1].points[::-1], pair[1].points
        offsets = [*(-point.offset for point in below), 0.0, *(point.offset for point in above)]
        deviances = np.array([*(point.deviance for point in below), 0.0, *(point.deviance for point in above)])
        corrected, limit = pair[1].corrected, pair[1].threshold
        naturals = [corrected * fit.problem.natural_of(at, fit.x[at] + offset) for offset in offsets]
        for value, deviance in zip(naturals, deviances, strict=True):
            rows.append(
                {
                    "parameter": names[at],
                    "value": value,
                    "log_likelihood": _best(fit) - deviance / 2,
                    "deviance": deviance,
                }
            )
        ends = {sign: _end(side) for sign, side in pair.items()}
        lower, upper = (
            corrected * fit.problem.natural_of(at, fit.x[at] + sign * end) if np.isfinite(end) else np.nan
            for sign, end in ends.items()
        )
        intervals[names[at]] = {
            "value": corrected * fit.problem.natural_of(at, fit.x[at]), "lower": lower, "upper": upper,
            "shape": _shape(pair, ends, deviances, naturals), "threshold": limit,
        }  # fmt: skip
    columns = ["value", "lower", "upper", "shape", "threshold"]
    by_name = pd.DataFrame.from_dict(intervals, orient="index", columns=columns).rename_axis("parameter")
    table = pd.DataFrame(rows, columns=["parameter", "value", "log_likelihood", "deviance"])
    return Profile(table, by_name, level, words, fit.study.simulated, origin)


def _end(side: _Side) -> float:
    """The offset at which the deviance first passes the threshold, along its root, near to straight; inf if open."""
    if side.interrupted:
        return float("nan")
    limit = side.threshold
    roots = np.sqrt(np.maximum([0.0, *(point.deviance for point in side.points)], 0.0))
    offsets = np.array([0.0, *(point.offset for point in side.points)])
    beyond = np.flatnonzero(roots**2 > limit)
    if not len(beyond):
        return float("inf")
    upto = int(beyond[0]) + 1
    while upto < len(roots) and roots[upto] > roots[upto - 1]:
        upto += 1
    known, at = roots[:upto], offsets[:upto]
    if len(known) > 2 and np.all(np.diff(known) > 0):
        return float(scipy.interpolate.PchipInterpolator(known, at)(np.sqrt(limit)))
    last = int(beyond[0])
    share = (np.sqrt(limit) - known[last - 1]) / (known[last] - known[last - 1])
    return float(at[last - 1] + share * (at[last] - at[last - 1]))


def _shape(pair: dict[int, _Side], ends: dict[int, float], deviances: Floats, naturals: Sequence[float]) -> str:
    if early := [word for sign, word in ((-1, "lower"), (1, "upper")) if pair[sign].interrupted]:
        return f"interrupted before the {' and the '.join(early)} end"
    open_ends = [word for sign, word in ((-1, "lower"), (1, "upper")) if not np.isfinite(ends[sign])]
    shape = {0: "closed", 1: f"{''.join(open_ends)} end open", 2: "flat"}[len(open_ends)]
    if deviances.min() < -2 * BETTER:
        return f"{shape}; a better optimum at {naturals[int(np.argmin(deviances))]:.4g}"
    middle = int(np.argmin(deviances))
    for part in (deviances[middle:], deviances[middle::-1]):
        if np.any(np.maximum.accumulate(part) - part > DIP):
            return f"{shape}; more than one optimum"
    return shape
