"""The optima of many problems a chunk at a time: chunks that are kept, and shared among processes, as the run says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method, methods
from cellkinetics.optimising.batch import PATIENTS_AT_ONCE, climbed, counts, optima, parts_of, side_by_side
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
    parts, alike = parts_of(problems, size), counts(problems)
    given = [
        ([problems[i] for i in p], [initial[i] for i in p], starts, seed, size, careful, company,
         alike[shape_of(problems[p[0]])])
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
    parts, alike = parts_of(problems, at_once(problems[0].model)) if problems else [], counts(problems)
    given = [
        ([problems[i] for i in p], [x[i] for i in p], rescue, company, alike[shape_of(problems[p[0]])]) for p in parts
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
    before = [problem.solves.implicit for problem in problems]

    def here(numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        return side_by_side(lambda number: function(*arguments[number]), numbers, os.cpu_count() or 1)

    for number, result in run.each(stage, function, arguments, here):
        for index, more in zip(parts[number], result["implicit"], strict=True):
            # The same whether it was counted here, by a worker or before this process.
            problems[index].solves.implicit = before[index] + more
        yield dict(zip(parts[number], result["ends"], strict=True))


def _optima(
    problems: Sequence[Problem],
    initial: Sequence[Mapping[str, float]],
    starts: int,
    seed: int,
    chunk: int,
    careful: bool,
    company: int,
    alike: int,
) -> dict[str, Any]:
    ends: dict[int, Any] = {}

    def work() -> list[Any]:
        for part in optima(problems, initial, starts, seed, chunk, careful=careful, company=company, alike=alike):
            ends.update(part)
        return [ends[index] for index in range(len(problems))]

    return _counted(problems, work)


def _climbed(
    problems: Sequence[Problem], x: Sequence[Floats], rescue: bool, company: int, alike: int
) -> dict[str, Any]:
    return _counted(problems, lambda: climbed(problems, x, rescue=rescue, company=company, alike=alike))


def _counted(problems: Sequence[Problem], work: Callable[[], list[Any]]) -> dict[str, Any]:
    """What work gives, and how many solves of each problem needed the implicit stepper."""
    before = [problem.solves.implicit for problem in problems]
    ends = work()
    return {
        "ends": ends,
        "implicit": [problem.solves.implicit - old for problem, old in zip(problems, before, strict=True)],
    }
