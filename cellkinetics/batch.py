"""Many patients' optima at once, on the engine; what it cannot settle goes the careful way of `optimise`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache, censoring, engine
from cellkinetics.engine import LANES, Data
from cellkinetics.error_models import LOG
from cellkinetics.model import Model
from cellkinetics.optimise import (
    ASIDE,
    CORNER_SLOPE,
    ROUGH_SD,
    SCREENED,
    Optimum,
    chosen,
    drawn_around,
    near_sampled,
    newton,
    optimise,
    relabelled,
)
from cellkinetics.polishing import Ascent
from cellkinetics.problem import Problem, SecondOrder
from cellkinetics.sensitivity import Floats, Ties, ln_curve
from cellkinetics.solver import CLOSED_FORM, STRUCTURE, methods
from cellkinetics.stacking import places, shape_of, stacked

Positions = np.ndarray[Any, np.dtype[np.int_]]

CHUNK = 1024  # patients in memory at a time


def batchable(model: Model, error: str = LOG) -> bool:
    """Whether the engine takes it: the model has a closed form or a solution of its own, the error is log-normal."""
    return error == LOG and methods(model)[0] in (CLOSED_FORM, STRUCTURE[0])


def optima(
    problems: Sequence[Problem], initial: Sequence[Mapping[str, float]], starts: int, seed: int, chunk: int = CHUNK
) -> Iterator[dict[int, Optimum | None]]:
    """The optimum of each problem, as `optimise` gives it, a chunk at a time; None where it could not be solved.

    Parameters
    ----------
    problems : of one model with the same ties; any number of samples, doses and free parameters.
    initial : natural values of the first start of each.
    chunk : problems in memory at a time; of fewer, one program of 128 does.

    Yields
    ------
    {position: optimum}
    """

    def starting(part: Sequence[int], data: Data, width: int) -> tuple[Floats, Positions]:
        return _starts([problems[i] for i in part], [initial[i] for i in part], data, width, starts, seed)

    def alone(index: int) -> Optimum | None:
        return optimise(problems[index], initial[index], starts=starts, seed=seed)

    yield from _each(problems, starting, alone, max(starts, 1), chunk, search=True)


def climbed(problems: Sequence[Problem], x: Sequence[Floats]) -> list[Any]:
    """The optimum of each problem uphill from one free vector; None where the model could not be solved.

    For refits near a known optimum: profiles, bootstraps, permutations, a sample left out. Models that the engine
    does not take are climbed one by one.
    """

    def starting(part: Sequence[int], data: Data, width: int) -> tuple[Floats, Positions]:
        points = np.zeros((len(part), width + len(problems[0].sd)))
        for row, i in enumerate(part):
            points[row, width:] = np.log(problems[i].sd)
            points[row, places(problems[i], width)] = x[i]
        return points, np.arange(len(part))

    def alone(index: int) -> Optimum | None:
        # One of many refits near an optimum: a search of minutes for the last digit is not worth it.
        at, second, held, converged = newton(problems[index], np.array(x[index], float), search=False)
        return Optimum(at, second, held, converged, 1, 1, None) if second.solved else None

    if not problems or not batchable(problems[0].model, problems[0].error.name):
        return [alone(index) for index in range(len(problems))]
    found: dict[int, Optimum | None] = {}
    for ends in _each(problems, starting, alone, 1, CHUNK, search=False):
        found |= ends
    return [found[index] for index in range(len(problems))]


def _each(
    problems: Sequence[Problem],
    starting: Callable[[Sequence[int], Data, int], tuple[Floats, Positions]],
    alone: Callable[[int], Optimum | None],
    starts: int,
    chunk: int,
    *,
    search: bool,
) -> Iterator[dict[int, Optimum | None]]:
    """Problems of one shape together, a chunk at a time; ``alone`` takes what the engine could not solve at all.

    What does not converge goes on by Newton steps one by one, and by a simplex search where ``search``.

    There are at most ``starts`` points a problem: the queue is as long, so that few programs are compiled.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, problem in enumerate(problems):
        groups.setdefault(shape_of(problem), []).append(index)
    # Two programs serve every study: one of 128 problems, and one of a chunk.
    sizes = sorted({LANES, max(chunk, 1)})
    for shape, members in groups.items():
        for at in range(0, len(members), max(chunk, 1)):
            part = members[at : at + max(chunk, 1)]
            size = next(size for size in sizes if len(part) <= size)
            data = stacked([problems[i] for i in part], shape, size)
            points, whose = starting(part, data, shape[1])
            ends = _group([problems[i] for i in part], data, points, whose, size * starts, shape[1], search)
            yield {i: alone(i) if end is None else end for i, end in zip(part, ends, strict=True)}


def _group(
    problems: Sequence[Problem],
    data: Data,
    points: Floats,
    whose: Positions,
    length: int,
    width: int,
    search: bool,
) -> list[Optimum | None]:
    """The best end of each problem from its starting points (q, d), ``whose`` (q,) they are; None if none is solved."""
    model, ties = problems[0].model, problems[0].ties
    method = methods(model)[0]
    queue = np.zeros((length, points.shape[1]))
    queue[: len(points)] = points
    owners = np.zeros(len(queue), int)
    owners[: len(points)] = whose
    run = engine.searcher(model, ties, method, LANES)
    ends = jax.tree.map(np.array, run(data, queue, owners, len(points)))
    values = np.where(np.isfinite(ends.value[: len(points)]), ends.value[: len(points)], -np.inf)
    tops = [values[whose == i] for i in range(len(problems))]
    best = [np.flatnonzero(whose == i)[np.argmax(top)] for i, top in enumerate(tops)]
    ascent = Ascent.of(data, ends.x[best], engine.curvatures(model, ties, method))
    _settle_corners(problems, ascent)
    return [_optimum(problem, ascent, i, tops[i], width, search) for i, problem in enumerate(problems)]


def _optimum(problem: Problem, ascent: Ascent, i: int, values: Floats, width: int, search: bool) -> Optimum | None:
    """The engine's end in the terms of the problem; where it did not converge, exact Newton steps from there."""
    keep, at = places(problem, width), ascent.at
    x = ascent.x[i][keep]
    if not np.isfinite(values).any():
        return None
    label = relabelled(problem, x) if problem.model.canonical is not None else x
    # Where the first method may not be trusted, `newton` asks the next one.
    if not (ascent.converged[i] and at.solved[i]) or label is not x:
        x, second, held, converged = newton(problem, label, search=search)
        if not second.solved:
            return None
    else:
        free, converged, held = keep[: len(problem.free)], True, ascent.held[i][keep]
        hessian, quantified = at.hessian[i][np.ix_(keep, keep)], at.quantified[i][np.ix_(free, free)]
        second = SecondOrder(float(at.value[i]), at.gradient[i][keep], hessian, quantified, True)
    reached = int(np.sum(values > second.value - 0.01))
    return Optimum(x, second, held, converged, len(values), max(reached, 1), None, tuple(map(float, values)))


def _settle_corners(problems: Sequence[Problem], ascent: Ascent) -> None:
    """Optima at which a switch lies on a sampled day, where Newton steps end at a corner of the likelihood.

    The switch is held on that day, the others move, and the slopes on both sides decide.
    """
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
            slopes.append(ascent.curvature(beside, picked).gradient[each, column])
        settled = there.converged & (slopes[0] <= CORNER_SLOPE) & (slopes[1] >= -CORNER_SLOPE)
        ascent.take(picked[settled], there, settled)


def _starts(
    problems: Sequence[Problem],
    initial: Sequence[Mapping[str, float]],
    data: Data,
    width: int,
    starts: int,
    seed: int,
) -> tuple[Floats, Positions]:
    """Starting points (q, d) and whose they are: the initial values, then the best of 32 Sobol points each."""
    outputs = len(problems[0].sd)
    drawn = [drawn_around(problem, values, seed) for problem, values in zip(problems, initial, strict=True)]
    size = len(data.moving)
    points = np.zeros((size, SCREENED + 1, width + outputs))
    points[:, :, width:] = [np.log(problems[i if i < len(problems) else 0].sd)[None, :] for i in range(size)]
    for i, (problem, (first, others)) in enumerate(zip(problems, drawn, strict=True)):
        points[i][:, places(problem, width)] = np.vstack([first, others])
    picked: list[list[int]] = [[] for _ in problems]
    if starts > 1:
        rough = _screen(problems[0].model, problems[0].ties, methods(problems[0].model)[0])
        objective = np.array(rough(points[:, 1:], data))
        picked = [
            chosen(problem, first, others, objective[i], starts)
            for i, (problem, (first, others)) in enumerate(zip(problems, drawn, strict=True))
        ]
    whose = np.concatenate([np.full(len(others) + 1, i) for i, others in enumerate(picked)])
    which = np.concatenate([[0, *(1 + np.array(others, int))] for others in picked])
    return points[whose, which], whose


@lru_cache(maxsize=64)
def _screen(model: Model, ties: Ties, method: str) -> Callable[[Any, Data], Any]:
    """The compiled function (points (b, s, d), data (b, ...)) -> (b, s) sum of squared root-deviances at sd 1."""
    cache.switch_on()

    def one(x: Any, data: Data) -> Any:
        free = data.inputs.basis.shape[-1]
        predicted, solved = ln_curve(model, ties, method, x[:free], data.inputs)
        roots = censoring.root_deviances(predicted, ROUGH_SD, data.rows)
        away = jnp.append(x[:free], jnp.full(len(x) - free, jnp.log(ROUGH_SD))) - data.prior_mean
        return jnp.where(solved, jnp.sum(roots**2) + jnp.sum(data.prior_precision * away**2), jnp.inf)

    return jax.jit(jax.vmap(jax.vmap(one, in_axes=(0, None))))
