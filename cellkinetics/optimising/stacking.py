"""Problems of many patients as the arrays of the engine, padded to few shapes so that few programs are compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.modelling.dosing import Doses
from cellkinetics.optimising.engine import Data
from cellkinetics.optimising.problem import Problem
from cellkinetics.solving.sensitivity import FREE_COLUMNS, inputs_of, pad, padded_length
from cellkinetics.solving.solver import SIZES_APART, few_sizes

ROWS_APART = 16  # samples: programs are made for few numbers of them, see `few_sizes`
# Of few problems a program takes longer to compile than to run: one serves schedules of other lengths too.
FEW_PROBLEMS = 64


def shape_of(problem: Problem) -> tuple[int, ...]:
    """What decides which program fits: samples, free parameters, doses and days of covariates, padded."""
    rows, width = few_sizes(len(problem.samples), ROWS_APART), padded_length(len(problem.free), FREE_COLUMNS)
    slots = len(problem.doses.times)
    return (rows, width, slots, *(len(course.days) for course in problem.courses.values()))


def places(problem: Problem, width: int) -> np.ndarray[Any, np.dtype[np.int_]]:
    """Where the free vector of the problem lies in the padded one."""
    return np.concatenate([np.arange(len(problem.free)), width + np.flatnonzero(problem.sd_free)]).astype(int)


def taken(data: Data, rows: np.ndarray[Any, Any]) -> Data:
    """Some of the problems, in this order."""
    return jax.tree.map(lambda array: np.asarray(array)[rows], data)


def stacked(problems: Sequence[Problem], shape: tuple[int, ...], size: int, fineness: int = 0) -> Data:
    """The problems as arrays; rows from len(problems) on repeat the first and are not run.

    What the model's structure takes is made for one ``fineness`` alone.
    """
    rows, width, *_ = shape
    model = problems[0].model
    outputs = len(problems[0].sd)
    fill = [*range(len(problems)), *[0] * (size - len(problems))]

    columns = [places(problem, width) for problem in problems]
    filled = np.repeat(np.arange(len(problems)), [len(own) for own in columns]), np.concatenate(columns)

    def wide(values: Callable[[Problem], Floats], padding: float) -> Any:
        table = np.full((len(problems), width + outputs), padding)
        table[filled] = np.concatenate([values(problem) for problem in problems])
        return table[fill]

    def precisions() -> Any:
        # Of independent priors, which nearly all are, a vector: less to carry.
        if not any(problem.priors.correlated for problem in problems):
            return wide(lambda p: np.diagonal(p.prior[1]), 0.0)
        tables = np.zeros((len(problems), width + outputs, width + outputs))
        for table, own, problem in zip(tables, columns, problems, strict=True):
            table[np.ix_(own, own)] = problem.prior[1]
        return tables[fill]

    inputs = _stacked(
        [
            inputs_of(
                model, problem.values, problem.free, problem.samples.day, problem.samples.output, doses,
                problem.courses, length=rows, width=width, prepare=False, least=problem.least,
                captured=problem.captured,
            )
            for problem, doses in zip(problems, _alike([problem.doses for problem in problems]), strict=True)
        ],
        fill,
    )  # fmt: skip
    return Data(
        inputs._replace(prepared=_prepared(problems, rows, fill, fineness)),
        _stacked([problem.samples.rows(rows, mass=problem.error.needs_mass) for problem in problems], fill),
        wide(lambda p: np.ones(len(p.free) + int(p.sd_free.sum())), 0.0),
        wide(lambda p: p.bounds[0], -np.inf),
        wide(lambda p: p.bounds[1], np.inf),
        wide(lambda p: p.units(p.start(p.values)), 1.0),
        wide(lambda p: p.prior[0], 0.0),
        precisions(),
    )


def prepared_with(data: Data, problems: Sequence[Problem], fineness: int) -> Data:
    """The same problems, with what the model's structure takes for another fineness."""
    rows, size = data.inputs.times.shape[1], len(data.moving)
    fill = [*range(len(problems)), *[0] * (size - len(problems))]
    return data._replace(inputs=data.inputs._replace(prepared=_prepared(problems, rows, fill, fineness)))


def _prepared(problems: Sequence[Problem], rows: int, fill: Sequence[int], fineness: int) -> tuple[Any, ...]:
    """What the model's structure takes, stacked at one size; None for the finenesses before."""
    structure = problems[0].model.structure
    if structure is None or any(problem.doses.rates is not None for problem in problems):
        return ()
    days = [pad(problem.samples.day, rows) for problem in problems]
    designs = [(day.tobytes(), *(np.asarray(part).tobytes() for part in problem.doses if part is not None))
               for day, problem in zip(days, problems, strict=True)]  # fmt: skip
    # Patients of one schedule and dose share what is made for it.
    given = {design: (day, problem.doses) for design, day, problem in zip(designs, days, problems, strict=True)}
    known = {design: structure.prepare(*of, fineness, 0) for design, of in given.items()}
    size = max(map(structure.size_of, known.values()))
    if len(fill) <= FEW_PROBLEMS:
        size = few_sizes(size, SIZES_APART)
    other = [design for design, of in known.items() if structure.size_of(of) != size]
    known |= {design: structure.prepare(*given[design], fineness, size) for design in other}
    return (*[None] * fineness, _stacked([known[design] for design in designs], fill))


def _alike(doses: Sequence[Doses]) -> list[Doses]:
    """With infusion rates for all where anybody has them."""
    if all(each.rates is None for each in doses):
        return list(doses)
    return [each._replace(rates=np.zeros_like(each.amounts) if each.rates is None else each.rates) for each in doses]


def _stacked(each: Sequence[Any], fill: Sequence[int]) -> Any:
    """The arrays of all along a first axis, in the order of ``fill``."""
    return jax.tree.map(lambda *parts: np.stack([parts[i] for i in fill]), *each)
