"""Optima under an error model that has no exact least squares: from the least squares of ln copies, by Newton steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.likelihood.error_models import ERRORS, LOG
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
    tried = [
        np.hstack([np.tile(at[:width], (len(sds), 1)), sds])
        for at, i in zip(curves, owner, strict=True)
        for sds in [np.stack(sds_to_try(problems[i], np.exp(at[width:])))]
    ]
    points, owner = np.concatenate(tried), np.repeat(owner, [len(each) for each in tried])
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
    candidates = [np.concatenate([x[:free], t[problem.sd_free]]) for t in sds_to_try(problem, twin.sds(x))]
    return max(candidates, key=lambda at: np.nan_to_num(problem.objective(at), nan=-np.inf))


def sds_to_try(problem: Problem, of_ln: Floats) -> list[Floats]:
    """Some ln sds of all parts where ln copies scatter about the curve by ``of_ln`` (outputs,)."""
    given = np.log(np.maximum(problem.sd, 1e-300))
    tried = [given, *problem.error.ln_sd_starts(np.log(of_ln), problem.lowest)]
    return [np.where(problem.sd_free, np.clip(each, problem.ln_sd_floors, None), given) for each in tried]


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
