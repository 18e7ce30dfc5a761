"""Optima under an error model that has no exact least squares: from the least squares of ln copies, by Newton steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.likelihood.error_models import ERRORS, LOG
from cellkinetics.optimising.ascent import Ascent
from cellkinetics.optimising.optimise import (
    Optimum,
    chosen,
    least_squares,
    newton,
    relabelled,
    show,
    starting_points,
    varied,
)
from cellkinetics.optimising.problem import Problem, SecondOrder
from cellkinetics.optimising.programs import Programs
from cellkinetics.optimising.stacking import places

NOTHING_LOST, WORTH_A_TRY = 1e-6, 1.0  # log-likelihood units
MORE = 4  # times as many starts as under a log-normal error: they begin with several sds


def optimise(problem: Problem, initial: Mapping[str, float], *, starts: int, seed: int) -> Optimum | None:
    """As `optimise.optimise`: each start of its least-squares twin, then Newton steps of the problem."""
    twin = twin_of(problem)
    points = starting_points(twin, initial, starts, seed)
    runs = [least_squares(twin, x) for x in points]
    # Least squares may be drawn by an outlier out of the basin of this likelihood: each start climbs from where it
    # stands too, and with a switch day in each interval between samples.
    places = [[x] if run is None else [run[0], x] for x, run in zip(points, runs, strict=True)]
    places += [[x] for x in switched(twin, points[0])] if starts > 1 else []
    climbs = [[newton(problem, with_sds(problem, twin, x), search=False) for x in place] for place in places]
    solved = [[(second.value, x) for x, second, *_ in each if second.solved] for each in climbs]
    ends = [max(each, key=lambda end: end[0]) for each in solved if each]
    if not ends:
        return None
    values = np.array([value for value, _ in ends])
    x = ends[int(np.argmax(values))][1]
    x, second, held, converged = newton(problem, relabelled(problem, x))
    if not second.solved:
        return None
    x, second, held, converged = settled(problem, x, second, held, converged)
    reached = int(np.sum(values > second.value - 0.01))
    return Optimum(x, second, held, converged, len(ends), max(reached, 1), tuple(map(float, values)))


def starts_of(problem: Problem, initial: Mapping[str, float], starts: int, seed: int) -> list[Floats]:
    """`optimise.starting_points` of any error model: those of the least-squares twin, with the sds that suit them."""
    if problem.error.least_squares:
        return starting_points(problem, initial, starts, seed)
    twin = twin_of(problem)
    return [with_sds(problem, twin, x) for x in starting_points(twin, initial, starts, seed)]


def from_twins(
    problems: Sequence[Problem], programs: Programs, of_twins: Programs, begun: Floats, whose: Ints, starts: int
) -> tuple[Floats, Ints]:
    """Of a batch, the points (q, d) to climb from and whose (q,) they are.

    From ``begun`` (n, d), ``whose`` they are, the least-squares twins climb. Where they end, where they began and a
    switch day in each interval between samples are tried with a few sds each; the best are climbed from.
    """
    _, ended = of_twins.search(begun, whose)
    width = begun.shape[1] - len(of_twins.error.parts) * len(programs.model.outputs)
    places_of, owners = [ended, begun], [whose, whose]
    for i, problem in enumerate(problems):
        first = begun[np.argmax(whose == i)]
        free = np.arange(len(problem.free))
        for x in switched(problem, first[free]) if starts > 1 else []:
            places_of.append(np.concatenate([x, first[len(x) :]])[None])
            owners.append(np.array([i]))
    curves, owner = np.concatenate(places_of), np.concatenate(owners)
    sds = sds_to_try([problems[i] for i in owner.tolist()], np.exp(curves[:, width:]))
    tries = sds.shape[1]
    points = np.concatenate([np.repeat(curves[:, None, :width], tries, axis=1), sds], axis=2)
    points, owner = points.reshape(-1, points.shape[2]), np.repeat(owner, tries)
    # Compared with each other alone: roughly where there is a rough way.
    values, _ = (programs.rough or programs).search(points, owner, most=1)
    taken: list[int] = []
    for i, problem in enumerate(problems):
        keep, mine = places(problem, width), np.flatnonzero(owner == i)
        first, *others = mine[np.argsort(-values[mine], kind="stable")].tolist()
        some = chosen(problem, points[first][keep], points[others][:, keep], -values[others], MORE * starts)
        taken += [first, *(others[at] for at in some)]
    return points[taken], owner[taken]


def settled(
    problem: Problem, x: Floats, second: SecondOrder, held: Flags, converged: bool
) -> tuple[Floats, SecondOrder, Flags, bool]:
    """An optimum with the sds that do nothing at their lower bounds."""
    idle = without_idle_sds(problem, x, second.value)
    if idle is None:
        return x, second, held, converged
    x, second, held, converged = newton(problem, idle[0], search=False, still=idle[1])
    return x, second, held | idle[1], converged


def settle(ascent: Ascent, hills: Programs, which: Flags) -> None:
    """`settled` of those ``which`` (b,) an ascent of these hills has ended, each kind of sd of all at once."""
    region, x, idle = hills.region(ascent.rows), ascent.x.copy(), np.zeros_like(ascent.x, bool)
    value = ascent.at.value.copy()
    first = x.shape[1] - len(hills.error.parts) * len(hills.model.outputs)
    for at in range(first, x.shape[1]) if len(hills.error.parts) > 1 else ():
        lowered, still = x.copy(), idle.copy()
        lowered[:, at], still[:, at] = region.lower[:, at], True
        some = np.flatnonzero(region.free[:, at] & ascent.at.solved & which)
        some = some[hills.values(lowered[some], ascent.rows[some]) >= value[some] - WORTH_A_TRY] if len(some) else some
        if len(some):
            there = ascent.again(some, lowered[some], still[some])
            same = there.at.solved & (there.at.value >= value[some] - NOTHING_LOST)
            x[some[same]], idle[some[same]] = there.x[same], still[some[same]]
    some = np.flatnonzero(idle.any(axis=1))
    if len(some):
        there = ascent.again(some, x[some], idle[some])
        there.held |= idle[some]
        ascent.take(some, there)


def switched(problem: Problem, x: Floats) -> list[Floats]:
    """``x`` with its switch day in the middle of each interval between sampled days; none without such a day."""
    days = np.unique(problem.samples.day)
    starts = []
    for name in problem.model.corners:
        if name in problem.free:
            at, to = problem.free.index(name), problem.model.parameters[name].to_estimation
            lower, upper = problem.bounds[0][at], problem.bounds[1][at]
            for middle in (days[1:] + days[:-1]) / 2:
                moved = x.copy()
                moved[at] = to(float(middle)) if middle > 0 else lower
                starts += [moved] if lower < moved[at] < upper else []
    return starts


def as_lmfit(problem: Problem, x: Floats) -> Any:
    """As `optimise.as_lmfit`: the run is the twin's, the parameters that are shown are the problem's."""
    twin = twin_of(problem)
    run = least_squares(twin, np.append(x[: len(problem.free)], np.log(twin.sd[twin.sd_free])))
    if run is None:
        return None
    run[1].params = varied(problem, x, np.full(int(problem.sd_free.sum()), -np.inf))
    show(problem, run[1].params, x)
    return run[1]


def twin_of(problem: Problem) -> Problem:
    """The same curve and samples under a log-normal error."""
    outputs = len(problem.model.outputs)
    # The sd on ln copies is about that of the proportional part.
    last = problem.sd.reshape(-1, outputs)[-1]
    sd = np.where(last > 0, np.clip(last, 0.05, 1.0), 0.5)
    priors = problem.priors.only(problem.free)
    return replace(problem, sd=sd, sd_free=problem.sd_outputs, priors=priors, error=ERRORS[LOG])


def with_sds(problem: Problem, twin: Problem, x: Floats) -> Floats:
    """The twin's curve with the sds that suit the problem best, of a few."""
    free = len(problem.free)
    (tried,) = sds_to_try([problem], twin.sds(x)[None])
    candidates = [np.concatenate([x[:free], sds[problem.sd_free]]) for sds in tried]
    return max(candidates, key=lambda at: np.nan_to_num(problem.objective(at), nan=-np.inf))


def sds_to_try(problems: Sequence[Problem], of_ln: Floats) -> Floats:
    """(b, tries, sds) some ln sds of all parts where ln copies scatter about the curve by ``of_ln`` (b, outputs)."""
    given = np.log(np.maximum(np.stack([problem.sd for problem in problems]), 1e-300))[:, None]
    floors = np.stack([problem.ln_sd_floors for problem in problems])[:, None]
    free = np.stack([problem.sd_free for problem in problems])[:, None]
    lowest = np.array([problem.lowest for problem in problems])
    tried = problems[0].error.ln_sd_starts(np.log(of_ln), lowest)
    return np.where(free, np.clip(np.concatenate([given, tried], axis=1), floors, None), given)


def without_idle_sds(problem: Problem, x: Floats, value: float) -> tuple[Floats, Flags] | None:
    """With the sds that do nothing at their lower bounds, and which these are; None where each does something.

    The slope of an additive sd far below all samples is too small to lead to its bound.
    """
    free, floors = len(problem.free), problem.ln_sd_floors[problem.sd_free]
    idle = np.zeros(len(x), bool)
    for at in range(free, len(x)) if len(problem.error.parts) > 1 else ():
        lowered, still = x.copy(), idle.copy()
        lowered[at], still[at] = floors[at - free], True
        if problem.objective(lowered) < value - WORTH_A_TRY:
            continue
        lowered, second, _, _ = newton(problem, lowered, search=False, still=still)
        if second.value >= value - NOTHING_LOST:
            x, idle = lowered, still
    return (x, idle) if idle.any() else None
