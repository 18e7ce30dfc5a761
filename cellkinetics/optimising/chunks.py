"""The optima of many problems a chunk at a time: chunks that are kept, and shared among processes, as the run says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method, methods
from cellkinetics.optimising.batch import PATIENTS_AT_ONCE, climbed, crowds_of, optima, parts_of, side_by_side
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.stacking import shape_of
from cellkinetics.running.run import Run

# Problems in a chunk of a model that is stepped, such that a chunk takes seconds. Of 100 patients of effector_memory 32
# at a time took 11 s and all together 15 s.
STEPPED_AT_ONCE = 32
WRONG = (ArithmeticError, ValueError, np.linalg.LinAlgError)  # what a subject's numbers may raise

Ends = Mapping[int, Optimum | None]


def at_once(model: Model) -> int:
    """Problems of a model that are done together where nobody says how many: what takes some seconds."""
    steps = methods(model)[0] in (Method.EXPLICIT, Method.IMPLICIT)
    return STEPPED_AT_ONCE if steps else PATIENTS_AT_ONCE


def optima_by(
    run: Run,
    stage: str,
    problems: Sequence[Problem],
    initial: Sequence[Mapping[str, float]],
    starts: int,
    seed: int,
    chunk: int | None = None,
    *,
    careful: bool = True,
    company: int = 1,
) -> Iterator[Ends]:
    """As `batch.optima`.

    Parameters
    ----------
    run, stage : as in `Run.each`.
    chunk : problems together, `at_once` where not given.
    company : as in `batch.optima`; at least all of these are.

    Yields
    ------
    {position: optimum}
        None where a problem could not be solved.
    """
    if not problems:
        return
    size, company = chunk or at_once(problems[0].model), max(company, len(problems))
    parts, crowds = parts_of(problems, size), crowds_of(problems)
    given = [
        ([problems[i] for i in p], [initial[i] for i in p], starts, seed, size, careful, company,
         shape_of(problems[p[0]]) in crowds)
        for p in parts
    ]  # fmt: skip
    yield from _done(run, stage, problems, parts, _optima, given)


def climbed_by(
    run: Run,
    stage: str,
    problems: Sequence[Problem],
    x: Sequence[Floats],
    *,
    rescue: bool = True,
    company: int = 1,
    finished: Callable[[Ends], object] = lambda part: None,
) -> list[Any]:
    """As `batch.climbed`; ``finished`` is told of each chunk."""
    ends: dict[int, Any] = {}
    parts, crowds = parts_of(problems, at_once(problems[0].model)) if problems else [], crowds_of(problems)
    given = [
        ([problems[i] for i in p], [x[i] for i in p], rescue, company, shape_of(problems[p[0]]) in crowds)
        for p in parts
    ]
    for part in _done(run, stage, problems, parts, _climbed, given):
        ends |= part
        finished(part)
    return [ends[index] for index in range(len(problems))]


def _done(
    run: Run,
    stage: str,
    problems: Sequence[Problem],
    parts: Sequence[Sequence[int]],
    function: Callable[..., dict[str, Any]],
    arguments: Sequence[tuple[Any, ...]],
) -> Iterator[Ends]:
    before = [astuple(problem.solves) for problem in problems]

    def here(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        return side_by_side(lambda number: function(*arguments[number]), numbers, os.cpu_count() or 1)

    for number, result in run.each(stage, function, arguments, here):
        for index, more in zip(parts[number], result["solves"], strict=True):
            # The same whether it was counted here, by a worker or before this process.
            solves = problems[index].solves
            solves.implicit, solves.one_by_one = (old + new for old, new in zip(before[index], more, strict=True))
        yield dict(zip(parts[number], result["ends"], strict=True))


def _optima(
    problems: Sequence[Problem],
    initial: Sequence[Mapping[str, float]],
    starts: int,
    seed: int,
    chunk: int,
    careful: bool,
    company: int,
    crowded: bool,
) -> dict[str, Any]:
    ends: dict[int, Any] = {}

    def work() -> list[Any]:
        for part in optima(problems, initial, starts, seed, chunk, careful=careful, company=company, crowded=crowded):
            ends.update(part)
        return [ends[index] for index in range(len(problems))]

    return _counted(problems, work)


def _climbed(
    problems: Sequence[Problem], x: Sequence[Floats], rescue: bool, company: int, crowded: bool
) -> dict[str, Any]:
    return _counted(problems, lambda: climbed(problems, x, rescue=rescue, company=company, crowded=crowded))


def _counted(problems: Sequence[Problem], work: Callable[[], list[Any]]) -> dict[str, Any]:
    """What work gives, and what `Solves` counted of each problem meanwhile."""
    before = np.array([astuple(problem.solves) for problem in problems])
    ends = work()
    return {"ends": ends, "solves": (np.array([astuple(problem.solves) for problem in problems]) - before).tolist()}
