"""Each patient's log-likelihood with derivatives at its own free vector, for many (patient, vector) pairs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from cellkinetics import cache
from cellkinetics.arrays import Floats, Ints
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.lowered import Program
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method, methods
from cellkinetics.optimising import engine
from cellkinetics.optimising.engine import LANES
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.stacking import places, shape_of, stacked
from cellkinetics.solving.sensitivity import FREE_COLUMNS, Ties, padded_length

BLOCKS = (LANES, 8 * LANES)  # pairs in a compiled call
TWICE = 32  # the same with exact Hessians
STACKED = 1024  # patients are stacked to 128, or to a multiple of this: few programs are compiled


class Second(NamedTuple):
    """Of b pairs.

    value : (b,) log-likelihood on the scale of ln(copies) with the patient's own priors. gradient : (b, d).
    curved : (b, d, d) minus the Hessian, or its expectation. quantified : (b, d, d) its part from quantified rows of
    an sd that is estimated; zeros where not asked. solved : (b,).
    """

    value: Floats
    gradient: Floats
    curved: Floats
    quantified: Floats
    solved: npt.NDArray[np.bool_]


def padded_width(problems: Sequence[Problem]) -> int:
    """Columns for the free parameters of any of the problems."""
    return padded_length(max(len(problem.free) for problem in problems), FREE_COLUMNS)


class Batched:
    """Patients' likelihoods by the engine: one compiled call for all pairs whose doses have the same padded shape.

    width : columns of a free vector before the ln sds. size : d.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = problems
        self.width = padded_width(problems)
        self.size = self.width + len(problems[0].sd)
        rows = max(shape_of(problem)[0] for problem in problems)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for index, problem in enumerate(problems):
            shapes.setdefault(shape_of(problem)[2:], []).append(index)
        self._group, self._row = np.zeros(len(problems), int), np.zeros(len(problems), int)
        self._data: list[Any] = []
        for number, members in enumerate(shapes.values()):
            count = LANES if len(members) <= LANES else padded_length(len(members), STACKED)
            part = stacked([problems[i] for i in members], (rows, self.width), count)
            self._data.append(jax.device_put(part))
            self._group[members], self._row[members] = number, np.arange(len(members))
        first = problems[0]
        self._programs = [
            of(first.model, first.ties, methods(first.model)[0], first.error) for of in (_scores, _curvatures)
        ]

    def places(self, patient: int) -> Ints:
        """Where the free vector of the patient's problem lies in the d columns."""
        return places(self.problems[patient], self.width)

    def score(self, x: Floats, whose: Ints) -> Second:
        """At ``x`` (b, d) of the patients ``whose`` (b,), with the expected information (positive semi-definite)."""
        value, gradient, information, solved = self._run(self._programs[0], BLOCKS, x, whose)
        return Second(value, gradient, information, np.zeros((0, self.size, self.size)), solved)

    def second(self, x: Floats, whose: Ints) -> Second:
        """The same with the exact Hessian."""
        value, gradient, hessian, quantified, solved = self._run(self._programs[1], (TWICE,), x, whose)
        wide = np.zeros_like(hessian)
        wide[:, : self.width, : self.width] = quantified
        return Second(value, gradient, -hessian, wide, solved)

    def _run(self, program: Callable[..., Any], blocks: Sequence[int], x: Floats, whose: Ints) -> list[Any]:
        """The compiled program over all pairs, in blocks of the compiled sizes."""
        gathered: list[Any] = []
        for number, data in enumerate(self._data):
            mine = np.flatnonzero(self._group[whose] == number)
            for at in _cut(len(mine), blocks):
                part = mine[at]
                size = next(size for size in blocks if len(part) <= size)
                fill = np.append(part, np.full(size - len(part), part[0]))
                given = program(x[fill], self._row[whose[fill]], data)
                given = [np.asarray(each)[: len(part)] for each in given]
                if not gathered:
                    gathered = [np.zeros((len(whose), *each.shape[1:]), each.dtype) for each in given]
                for whole, each in zip(gathered, given, strict=True):
                    whole[part] = each
        return gathered


def _cut(count: int, blocks: Sequence[int]) -> list[slice]:
    """Large blocks first, the rest in one of the smallest size that takes it or in several of the smallest."""
    blocks_of_pairs, at = [], 0
    while at < count:
        left = count - at
        size = max((size for size in blocks if size <= left), default=blocks[0])
        blocks_of_pairs.append(slice(at, min(at + size, count)))
        at += size
    return blocks_of_pairs


@cache.kept
def _scores(model: Model, ties: Ties, method: Method, error: ErrorModel) -> Callable[..., Any]:
    """(x (b, d), row (b,), data (n, ...)) -> value, gradient, information of each pair, and whether it was solved."""
    scores = engine.scores(model, ties, method, error)

    def used(x: Any, data: Any) -> tuple[Any, ...]:
        at = scores(x, data)
        return at.value, at.gradient, at.information, at.solved

    return _gathered(used)


@cache.kept
def _curvatures(model: Model, ties: Ties, method: Method, error: ErrorModel) -> Callable[..., Any]:
    """(x (b, d), row (b,), data (n, ...)) -> what `engine.curvatures` gives of each pair."""
    return _gathered(engine.curvatures(model, ties, method, error))


def _gathered(program: Callable[..., Any]) -> Callable[..., Any]:
    def run(x: Any, row: Any, data: Any) -> Any:
        # Gathered inside the program: copies of many patients' meshes outside cost more than the curves.
        return program(x, jax.tree.map(lambda part: part[row], data))

    return Program(run)
