"""Many patients' optima at once, on the engine; what it cannot settle goes the careful way of `optimise`."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.modelling.structure import Method, methods, searching
from cellkinetics.optimising import corners, error_starts
from cellkinetics.optimising.ascent import FIRST_EVALUATIONS, UNSEEN, Ascent, approach
from cellkinetics.optimising.engine import LANES
from cellkinetics.optimising.optimise import (
    CORNER_GAIN,
    Optimum,
    candidates,
    chosen,
    newton,
    optimise,
    relabelled,
)
from cellkinetics.optimising.problem import Problem, SecondOrder
from cellkinetics.optimising.programs import FEW, FIRST_STEPS, OTHER_STEPS, RIDGE_STEPS, SIZES, Programs
from cellkinetics.optimising.stacking import places, prepared_with, shape_of, stacked

PATIENTS_AT_ONCE = 512  # patients in memory at a time, for each processor
# Log-likelihood units by which a second best end is behind: nearer it is the same, and farther it does not catch up. Of
# 600 simulated patients of Stein 2019 5 do, of those that are nearer than 1.
SAME_END, RIVAL = 1e-3, 1.0
# Where the search is of a rougher error, its ends are not the optima, and how they stand to each other says less.
ROUGH_ENDS, ROUGH_RIVAL = 4, 20.0
BEYOND_STEPS = 12  # from the other side of the sampled days around a switch


def optima(
    problems: Sequence[Problem],
    initial: Sequence[Mapping[str, float]],
    starts: int,
    seed: int,
    chunk: int = PATIENTS_AT_ONCE,
    *,
    careful: bool = True,
    company: int = 1,
    crowded: bool = False,
) -> Iterator[dict[int, Optimum | None]]:
    """The optimum of each problem, as `optimise` gives it, a chunk at a time; None where it could not be solved.

    Parameters
    ----------
    problems : of one model with the same ties; any number of samples, doses and free parameters.
    initial : natural values of the first start of each.
    chunk : problems together; so many for each processor are in memory at a time.
    careful : whether what the engine cannot settle goes on one by one, which takes seconds.
    company : how many were optimised before: one of many does not have a program of its own compiled.
    crowded : whether these are a part of more than `LANES` of one shape: a part is done as the whole is.

    Yields
    ------
    {position: optimum}
    """

    def starting(part: Sequence[int], programs: Programs, width: int) -> tuple[Floats, Ints]:
        mine, first = [problems[i] for i in part], [initial[i] for i in part]
        if programs.error.least_squares:
            return _starts(mine, first, programs, width, starts, seed)
        twins = [error_starts.twin_of(problem) for problem in mine]
        data = stacked(twins, shape_of(mine[0]), len(programs.data.moving))
        of_twins = replace(programs, data=data, error=twins[0].error, rough=None)
        if programs.rough is not None and programs.rough.method is not programs.method:
            of_twins = _searching_by(programs.rough.method, of_twins, twins)
        begun, whose = _starts(twins, first, of_twins, width, starts, seed)
        return error_starts.from_twins(mine, programs, of_twins, begun, whose, starts)

    def alone(index: int) -> Optimum | None:
        if not careful:
            return None
        problems[index].solves.one_by_one += 1
        return optimise(problems[index], initial[index], starts=starts, seed=seed)

    yield from _each(problems, starting, alone, chunk, search=careful, rescue=careful, company=company, crowded=crowded)


def climbed(
    problems: Sequence[Problem], x: Sequence[Floats], *, rescue: bool = True, company: int = 1, crowded: bool = False
) -> list[Any]:
    """The optimum of each problem uphill from one free vector; None where the model could not be solved.

    For refits near a known optimum: profiles, bootstraps, permutations, a sample left out. Where the solution of a
    model's own may not be trusted on its finest mesh, a stepper takes seconds for each refit: only with ``rescue``.
    ``company`` and ``crowded`` as in `optima`.
    """

    def starting(part: Sequence[int], programs: Programs, width: int) -> tuple[Floats, Ints]:
        points = np.zeros((len(part), width + len(problems[0].sd)))
        for row, i in enumerate(part):
            points[row, width:] = problems[i].ln_sd_given
            points[row, places(problems[i], width)] = x[i]
        return points, np.arange(len(part))

    def alone(index: int) -> Optimum | None:
        if not rescue and problems[index].model.structure is not None and problems[index].doses.rates is None:
            return None
        # One of many refits near an optimum: a search of minutes for the last digit is not worth it.
        at, second, held, converged = newton(problems[index], np.array(x[index], float), search=False)
        return Optimum(at, second, held, converged, 1, 1) if second.solved else None

    optimum_of: dict[int, Optimum | None] = {}
    for ends in _each(
        problems, starting, alone, PATIENTS_AT_ONCE, search=False, rescue=rescue, company=company, crowded=crowded
    ):
        optimum_of |= ends
    return [optimum_of[index] for index in range(len(problems))]


def _each(
    problems: Sequence[Problem],
    starting: Callable[[Sequence[int], Programs, int], tuple[Floats, Ints]],
    alone: Callable[[int], Optimum | None],
    chunk: int,
    *,
    search: bool,
    rescue: bool = True,
    company: int = 1,
    crowded: bool = False,
) -> Iterator[dict[int, Optimum | None]]:
    """Problems of one shape together, a chunk at a time; ``alone`` takes what the engine could not solve at all.

    What does not converge goes on by Newton steps one by one, and by a simplex search where ``search``; what the engine
    could not solve by a stepper, where ``rescue``.
    """
    if not problems:
        return
    chunk, crowds = max(chunk, 1), crowds_of(problems)

    def ended(part: list[int]) -> _Climb:
        shape = shape_of(problems[part[0]])
        # Of all of this shape, not of the part: what is done with a patient does not depend on how they are parted.
        many = crowded or shape in crowds
        worth = max(len(part), min(company, LANES))
        size = max(chunk, LANES) if many else next(size for size in SIZES if worth <= size)
        mine = [problems[i] for i in part]
        first, *finer = methods(mine[0].model)
        data, blocks = stacked(mine, shape, size), many or company > LANES
        programs = Programs(mine[0].model, mine[0].ties, first, data, mine[0].error, many=blocks, crowded=many)
        rough = searching(mine[0].model, first)
        if many and rough is not first and programs.data.inputs.prepared:
            programs = _searching_by(rough, programs, mine)
        if programs.error.rough is not None:
            programs = replace(programs, rough=replace(programs.rough or programs, error=programs.error.rough))
        points, whose = starting(part, programs, shape[1])
        return _climb(mine, shape, programs, _in_batch(finer), points, whose)

    for part, climb in side_by_side(ended, parts_of(problems, chunk), os.cpu_count() or 1):
        width = shape_of(problems[part[0]])[1]
        ends = [_optimum(problems[i], climb, row, width, search, rescue) for row, i in enumerate(part)]
        yield {i: alone(i) if end is None else end for i, end in zip(part, ends, strict=True)}


def crowds_of(problems: Sequence[Problem]) -> set[tuple[int, ...]]:
    """Shapes that more than `LANES` of the problems have."""
    return {shape for shape, count in Counter(map(shape_of, problems)).items() if count > LANES}


def parts_of(problems: Sequence[Problem], size: int) -> list[list[int]]:
    """Positions of problems of one shape, so many at a time: the same parts whoever does them."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, problem in enumerate(problems):
        groups.setdefault(shape_of(problem), []).append(index)
    return [members[at : at + size] for members in groups.values() for at in range(0, len(members), size)]


def _in_batch(others: Sequence[Method]) -> list[Method]:
    """Which of the further methods are tried side by side: of a structure the finer ones, else all that there are.

    A stepper takes long for what a structure could not resolve.
    """
    return [method for method in others if method.fineness is not None] or list(others)


def side_by_side(work: Callable[[Any], Any], jobs: Sequence[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """(job, its result) in order, several at a time: compiled programs leave Python's lock to other threads."""
    workers = min(len(jobs), workers)
    if workers < 2:
        yield from ((job, work(job)) for job in jobs)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[Any, Future[Any]]] = deque()
        ahead = iter(jobs)
        try:
            # No more than is worked on is kept in memory.
            for job in islice(ahead, workers + 1):
                waiting.append((job, pool.submit(work, job)))
            while waiting:
                job, future = waiting.popleft()
                yield job, future.result()
                for job in islice(ahead, 1):
                    waiting.append((job, pool.submit(work, job)))
        finally:
            # Interrupted: what has not begun does not begin.
            pool.shutdown(cancel_futures=True)


@dataclass(eq=False)
class _Climb:
    """Where problems ended.

    tops : values of all starts of each. x : (b, d) the best end of each search. ascent : from there by Newton steps.
    finer : (b,) whether a finer method took over.
    """

    tops: list[Floats]
    x: Floats
    ascent: Ascent
    finer: Flags


def _searching_by(method: Method, programs: Programs, problems: Sequence[Problem]) -> Programs:
    """With the same problems solved by ``method`` to search with."""
    data = prepared_with(programs.data, problems, method.fineness or 0)
    return replace(programs, rough=replace(programs, method=method, data=data))


def _climb(
    problems: Sequence[Problem],
    shape: tuple[int, ...],
    programs: Programs,
    finer: Sequence[Method],
    points: Floats,
    whose: Ints,
) -> _Climb:
    """From starting points (q, d), ``whose`` (q,) they are, to the best end of each problem."""
    values, ends = programs.search(points, whose, FIRST_STEPS if programs.error.least_squares else OTHER_STEPS)
    tops = [values[whose == i] for i in range(len(problems))]
    if problems[0].model.corners:
        best, _ = _best_two(values, whose, len(problems))
        # A climb from farther away may step over the optimum beside a day without seeing it.
        beyond, theirs = corners.beyond(problems, ends[best])
        if len(theirs):
            there, gone = programs.search(beyond, theirs, BEYOND_STEPS)
            values, ends = np.concatenate([values, there]), np.concatenate([ends, gone])
            whose = np.concatenate([whose, theirs])
    best, second = _best_two(values, whose, len(problems))
    ascent = _ascent(programs, ends[best])
    rivals = ends[second]
    # One end alone has no rival; nor has one that could not be solved.
    two = np.isfinite(values[second]) & (best != second)
    behind = np.where(two, values[best], 0.0) - np.where(two, values[second], 0.0)
    over = np.zeros(len(problems), bool)
    for method in finer:
        # Few: from where the coarser solution stopped, or could not be trusted.
        lost = np.flatnonzero(~ascent.at.solved | np.array([~np.isfinite(top).any() for top in tops]))
        for at in range(0, len(lost), FEW):
            some = lost[at : at + FEW]
            data = stacked([problems[i] for i in some], shape, FEW, method.fineness or 0)
            again = replace(programs, method=method, data=data, rough=None, crowded=False)
            found, finer_ends = again.search(ascent.x[some], np.arange(len(some)))
            ascent.take(some, _ascent(again, finer_ends))
            over[some] = True
            if method is Method.IMPLICIT and not programs.model.stiff:
                for i in some:
                    problems[i].solves.implicit += 1
            for row, value in zip(some, found, strict=True):
                tops[row] = np.array([value])
    corners.settle(problems, ascent)
    corners.across(problems, ascent)
    _challenge(problems, ascent, [(rivals, behind)], RIVAL)
    if programs.rough is not None and programs.rough.error is not programs.error:
        further = _distinct(values, whose, best)
        apart = [np.where(at != best, values[best], 0.0) - np.where(at != best, values[at], 0.0) for at in further]
        _challenge(
            problems, ascent, [(ends[at], behind) for at, behind in zip(further, apart, strict=True)], ROUGH_RIVAL
        )
    # The others go on one by one, see `_optimum`.
    error_starts.settle(ascent, programs, ~over & (ascent.converged | (not problems[0].model.corners)))
    return _Climb(tops, ascent.x, ascent, over)


def _best_two(values: Floats, whose: Ints, count: int) -> tuple[Ints, Ints]:
    """(count,) which start of each problem ended best, and which second best: the same where there is only one."""
    # Of ends that are the same to what is seen, that of the first start: from the guess itself.
    top = np.full(count, -np.inf)
    np.maximum.at(top, whose, values)
    order = np.lexsort((-np.where(values > top[whose] - UNSEEN, top[whose], values), whose))
    begin = np.searchsorted(whose[order], np.arange(count))
    following = np.minimum(begin + 1, len(order) - 1)
    second = np.where(whose[order][following] == np.arange(count), following, begin)
    return order[begin], order[second]


def _distinct(values: Floats, whose: Ints, best: Ints) -> list[Ints]:
    """(ends - 1 of count,) the next ends of each problem that differ from those before; the best where none is left."""
    found = [best.copy() for _ in range(ROUGH_ENDS - 1)]
    order = np.argsort(-values, kind="stable")
    for problem, first in enumerate(best.tolist()):
        last, rank = values[first], 0
        for at in order[whose[order] == problem].tolist():
            if rank < len(found) and np.isfinite(values[at]) and last - values[at] > SAME_END:
                found[rank][problem], last, rank = at, values[at], rank + 1
    return found


def _challenge(
    problems: Sequence[Problem], ascent: Ascent, rivals: Sequence[tuple[Floats, Floats]], reach: float
) -> None:
    """Climb from other ends too: some pass the best.

    Parameters
    ----------
    rivals : further ends x (b, d) and by how much each is behind (b,).
    reach : they are climbed from where they are behind by less.
    """
    near = [np.flatnonzero((behind > SAME_END) & (behind < reach)) for _, behind in rivals]
    every = np.concatenate(near)
    if not len(every):
        return
    # Together: each climb ends with few that go on, which take as long as many.
    x = np.concatenate([x[mine] for (x, _), mine in zip(rivals, near, strict=True)])
    rival = ascent.again(every, x, np.zeros_like(x, bool))
    corners.settle([problems[i] for i in every.tolist()], rival)
    begin = 0
    for mine in near:
        theirs = np.arange(begin, begin + len(mine))
        better = rival.at.solved[theirs] & (rival.at.value[theirs] > ascent.at.value[mine] + CORNER_GAIN)
        ascent.take(mine[better], rival, theirs[better])
        begin += len(mine)


def _ascent(programs: Programs, x: Floats) -> Ascent:
    """By exact steps; along a ridge by scoring steps: one is worth a tenth of an exact one, and costs less than that.

    A model with corners has its own way.
    """
    if programs.model.corners:
        return Ascent.of(programs, x)
    if programs.method is not Method.CLOSED_FORM:
        x = approach(programs, x, programs.information(x, np.arange(len(x))))
    ascent = Ascent.of(programs, x, FIRST_EVALUATIONS)
    slow = np.flatnonzero(ascent.at.solved & ~ascent.converged)
    if len(slow):
        values, x = programs.search_exactly(ascent.x[slow], slow, RIDGE_STEPS)
        there = ascent.again(slow, x, np.zeros_like(x, bool))
        there.converged |= there.at.solved & (there.at.value <= values + CORNER_GAIN)
        ascent.take(slow, there)
    return ascent


def _optimum(problem: Problem, climb: _Climb, i: int, width: int, search: bool, rescue: bool) -> Optimum | None:
    """The engine's end in the terms of the problem; where it did not converge, exact Newton steps from there."""
    ascent, values, keep = climb.ascent, climb.tops[i], places(problem, width)
    x = climb.x[i][keep]
    if not np.isfinite(values).any() or not (rescue or ascent.at.solved[i]):
        return None
    label = relabelled(problem, x) if problem.model.canonical is not None else x
    # Where the first method may not be trusted, `newton` asks the next one; only at a corner is there more to gain.
    ended = ascent.at.solved[i] and (ascent.converged[i] or not problem.model.corners)
    if not ended or label is not x:
        problem.solves.one_by_one += 1
        x, second, held, converged = newton(problem, label, search=search)
        if not second.solved:
            return None
    else:
        free, at, held = keep[: len(problem.free)], ascent.at, ascent.held[i][keep]
        converged = bool(ascent.converged[i])
        hessian, quantified = at.hessian[i][np.ix_(keep, keep)], at.quantified[i][np.ix_(free, free)]
        second = SecondOrder(float(at.value[i]), at.gradient[i][keep], hessian, quantified, True)
    if not problem.error.least_squares and (climb.finer[i] or not ended or label is not x):
        x, second, held, converged = error_starts.settled(problem, x, second, held, converged)
    reached = int(np.sum(values > second.value - 0.01))
    return Optimum(x, second, held, converged, len(values), max(reached, 1), tuple(map(float, values)))


def _starts(
    problems: Sequence[Problem],
    initial: Sequence[Mapping[str, float]],
    programs: Programs,
    width: int,
    starts: int,
    seed: int,
) -> tuple[Floats, Ints]:
    """Starting points (q, d) and whose they are: the initial values, then the best of what `candidates` gives."""
    each = [candidates(problem, values, starts, seed) for problem, values in zip(problems, initial, strict=True)]
    most = max(len(others) for _, others, _ in each)
    points = np.zeros((len(problems), 1 + most, width + len(problems[0].sd)))
    for i, (problem, (first, others, _)) in enumerate(zip(problems, each, strict=True)):
        points[i, :, width:] = problem.ln_sd_given
        # Who has fewer points repeats the first.
        rows = np.vstack([first, others, *[first] * (most - len(others))])
        points[i][:, places(problem, width)] = rows
    picked: list[list[int]] = [[] for _ in problems]
    if most:
        objective = programs.screen(points[:, 1:], [len(others) for _, others, _ in each])
        picked = [
            chosen(problem, first, others, objective[i, : len(others)], starts, ways)
            for i, (problem, (first, others, ways)) in enumerate(zip(problems, each, strict=True))
        ]
    whose = np.concatenate([np.full(len(others) + 1, i) for i, others in enumerate(picked)])
    which = np.concatenate([[0, *(1 + np.array(others, int))] for others in picked])
    return points[whose, which], whose
