"""Switch days that stop at a sampled day, where the likelihood has a corner and Newton steps end.

A closed form that switches at an estimated time changes its branch at a sample: there the likelihood has no second
derivative. The switch is put on that day and held, the others move, and the slopes on both sides decide.

Where a dose arrives in what is observed, an estimated lag lets the likelihood leap at a sample, which no step can see:
these lags are told.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from cellkinetics.arrays import Floats, Ints
from cellkinetics.modelling.functions import names_of
from cellkinetics.optimising.ascent import Ascent
from cellkinetics.optimising.problem import Problem

AT_CORNER = 0.02  # of the day: nearer to a sampled day a switch may have stopped because of it
ASIDE = 1e-7  # how far beside the day the slopes are taken
FLAT_SLOPE = 1e-4  # log-likelihood per unit; steeper is uphill


def near_sampled(problem: Problem, name: str, x: Floats) -> float | None:
    """The sampled day, on the estimation scale, beside which the switch day ``name`` stopped, if it did."""
    days = problem.samples.day[problem.samples.day > 0]
    if name not in problem.free or not len(days):
        return None
    parameter = problem.model.parameters[name]
    day = parameter.from_estimation(x[problem.free.index(name)])
    near = float(days[np.argmin(np.abs(days - day))])
    inside = abs(near - day) < AT_CORNER * day and parameter.min < near < parameter.max
    return parameter.to_estimation(near) if inside else None


def leaps(problem: Problem) -> dict[str, Floats]:
    """{free lag: its natural values at which a dose arrives at a sample}, of states that are observed as they are."""
    model, found = problem.model, dict[str, Floats]()
    for channel, name in model.lags.items():
        states = model.dosing[channel][0]
        seen = {states} if isinstance(states, str) else {*states}
        if name not in problem.free or model.observe is None or seen.isdisjoint(names_of(model.observe)):
            continue
        amounts = np.asarray(problem.doses.amounts)[:, model.channels.index(channel)]
        lags = np.unique(np.subtract.outer(problem.samples.day, np.asarray(problem.doses.times)[amounts > 0]))
        parameter = model.parameters[name]
        at = lags[(lags >= max(parameter.min, 0.0)) & (lags < parameter.max)]
        found |= {name: at} if len(at) else {}
    return found


def across(problems: Sequence[Problem], ascent: Ascent) -> None:
    """Take the ``ascent`` of problems with a lag by which the likelihood leaps to the best interval between the leaps.

    The lag is held beside both ends of each interval and in its middle while the others climb, and then set free in the
    middle. Beside an end it stays where the likelihood rises towards the leap. From the best interval the others climb
    once more.
    """
    if _to_the_best(problems, ascent):
        _to_the_best(problems, ascent)


def _to_the_best(problems: Sequence[Problem], ascent: Ascent) -> bool:
    """Whether an interval was better: see `across`."""
    points, whose, column, side = [], [], [], []
    for i, problem in enumerate(problems):
        for name, lags in leaps(problem).items():
            parameter, at = problem.model.parameters[name], problem.free.index(name)
            ends = np.unique([max(parameter.min, 0.0), *lags, min(parameter.max, lags[-1] + 1.0)])
            for low, high in itertools.pairwise(ends):
                beside = ASIDE * (high - low)
                for towards, lag in ((-1, low + beside), (0, (low + high) / 2), (1, high - beside)):
                    moved = ascent.x[i].copy()
                    moved[at] = parameter.to_estimation(float(lag))
                    points.append(moved)
                    whose.append(i)
                    column.append(at)
                    side.append(towards)
    if not points:
        return False
    which, towards, each = np.array(whose), np.array(side), np.arange(len(points))
    still = np.zeros((len(points), ascent.x.shape[1]), bool)
    still[each, column] = True
    there = ascent.again(which, np.array(points), still)
    there.converged &= there.at.gradient[each, column] * towards > 0
    middle = np.flatnonzero(towards == 0)
    there.take(middle, ascent.again(which[middle], there.x[middle], np.zeros_like(still[middle])))
    value = np.where(there.at.solved, there.at.value, -np.inf)
    found = {i: int(np.argmax(np.where(which == i, value, -np.inf))) for i in np.unique(which).tolist()}
    better = {i: best for i, best in found.items() if value[best] > ascent.at.value[i] + FLAT_SLOPE}
    if better:
        ascent.take(np.array(list(better)), there, np.array(list(better.values())))
    return bool(better)


def beyond(problems: Sequence[Problem], x: Floats) -> tuple[Floats, Ints]:
    """Points (q, d) across the sampled days before and after each switch of ``x`` (b, d), and whose (q,) they are."""
    points, whose = [], []
    for i, problem in enumerate(problems):
        days = np.unique(problem.samples.day[problem.samples.day > 0])
        for name in (name for name in problem.model.corners if name in problem.free):
            at, parameter = problem.free.index(name), problem.model.parameters[name]
            day = parameter.from_estimation(x[i, at])
            after = int(np.searchsorted(days, day))
            for near, far in ((after - 1, after - 2), (after, after + 1)):
                if not (0 <= near < len(days) and parameter.min < days[near] < parameter.max):
                    continue
                # As far across as it is on this side, and no farther than half-way to the next day.
                across = 2 * days[near] - day
                if 0 <= far < len(days):
                    half = (days[near] + days[far]) / 2
                    across = max(across, half) if far < near else min(across, half)
                moved = x[i].copy()
                moved[at] = parameter.to_estimation(float(np.clip(across, days[near] / 2, parameter.max)))
                points.append(moved)
                whose.append(i)
    return np.reshape(points, (len(whose), x.shape[1])), np.array(whose, int)


def leaving(after: Any, before: Any) -> Any:
    """Where a switch on a sampled day would go: 1 later, -1 earlier, 0 where it stays.

    after, before : slopes of the objective by the switch, `ASIDE` after the day and before it.
    """
    return np.where(after > FLAT_SLOPE, 1, np.where(before < -FLAT_SLOPE, -1, 0))


def settle(problems: Sequence[Problem], ascent: Ascent) -> None:
    """Take optima of ``problems`` at corners into their ``ascent``, where it did not converge."""
    for name in problems[0].model.corners:
        stopped = {
            i: near_sampled(problem, name, ascent.x[i][: len(problem.free)])
            for i, problem in enumerate(problems)
            if not ascent.converged[i]
        }
        picked = np.array([i for i, day in stopped.items() if day is not None], int)
        if not len(picked):
            continue
        column = np.array([problems[i].free.index(name) for i in picked])
        each = np.arange(len(picked))
        x, still = ascent.x[picked], np.zeros_like(ascent.x[picked], bool)
        x[each, column], still[each, column] = [stopped[i] for i in picked], True
        there = ascent.again(picked, x, still)
        slopes = []
        for side in (ASIDE, -ASIDE):
            beside = there.x.copy()
            beside[each, column] += side
            slopes.append(ascent.hills.curvature(beside, ascent.rows[picked]).gradient[each, column])
        stays = np.isfinite(slopes).all(axis=0) & (leaving(*slopes) == 0)
        settled = there.converged & stays & (there.at.value >= ascent.at.value[picked])
        ascent.take(picked[settled], there, settled)
