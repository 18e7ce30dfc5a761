"""Patients with too few samples for an sd of their own: what the others tell of it, and a second look from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cellkinetics.optimising.batch import batchable, optima
from cellkinetics.optimising.optimise import Optimum, optimise
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.uncertainty import spent_by

LEAST_DEGREES = 0.5  # of a patient who tells others of the sd: of fewer the residuals are those of any curve
Settled = tuple[Problem, Optimum]


def settled(request: Request, ended: Mapping[str, Settled], *, together: bool) -> dict[str, Settled]:
    """{subject: problem and optimum}, again for those whose sd has a prior.

    Their first fit counts each free parameter as spent on quantified samples. Now it is known what these did determine
    (less where censored samples help, or a parameter is at its bound), and, of patients fitted ``together``, what the
    residuals of the others say of the sd. Each goes on from its optimum.
    """
    few = [subject for subject, (problem, _) in ended.items() if problem.few]
    if not few:
        return dict(ended)
    told = {subject: told_by(*one) for subject, one in ended.items()} if together else {}
    problems = [_again(*ended[subject], [own for other, own in told.items() if other != subject]) for subject in few]
    initial = [problem.natural(ended[subject][1].x) for subject, problem in zip(few, problems, strict=True)]
    ends: dict[int, Optimum | None] = {}
    if batchable(request.model, len(few), request.error_model):
        for part in optima(problems, initial, 1, request.seed):
            ends |= part
    else:
        for at, (problem, values) in enumerate(zip(problems, initial, strict=True)):
            ends[at] = optimise(problem, values, starts=1, seed=request.seed)
    result = dict(ended)
    for at, (subject, problem) in enumerate(zip(few, problems, strict=True)):
        (_, first), end = ended[subject], ends[at]
        if end is not None:
            higher = end.second.value - first.second.value
            values = tuple(value + higher for value in first.values)
            end = replace(end, started=first.started, reached=first.reached, values=values)
            result[subject] = problem, end
    return result


def told_by(problem: Problem, optimum: Optimum) -> dict[str, tuple[float, float]]:
    """{sd: its ln, corrected for what the curve used up, and its degrees of freedom}, from the samples alone."""
    told = {}
    held = optimum.held[len(problem.free) :]
    if not optimum.converged or held.any() or not problem.error.least_squares:
        return told
    residuals = np.asarray(
        problem.error.residuals(problem.curve(optimum.x, 0).value, problem.ln_sd(optimum.x), problem.rows)
    )
    sds = problem.sds(optimum.x)
    for at in np.flatnonzero(problem.sd_free):
        rows, spent = spent_by(problem, optimum, at)
        if rows - spent >= LEAST_DEGREES:
            squares = float(np.sum(residuals[problem.quantified & (problem.output == at)] ** 2))
            told[problem.sd_names[at]] = (float(np.log(sds[at]) + 0.5 * np.log(squares / (rows - spent))), rows - spent)
    return told


def _again(problem: Problem, optimum: Optimum, others: list[dict[str, tuple[float, float]]]) -> Problem:
    """The problem with what is known better now, from where its first fit ended."""
    few = {}
    for name, prior in problem.few.items():
        output = problem.sd_names.index(name) % len(problem.model.outputs)
        known = [own[name] for own in others if name in own]
        better = replace(prior, spent=spent_by(problem, optimum, output)[1])
        few[name] = better.with_others(*zip(*known, strict=True)) if known else better
    sd = np.where(problem.sd_free, problem.sds(optimum.x), problem.sd)
    return replace(problem, few=few, sd=sd)
