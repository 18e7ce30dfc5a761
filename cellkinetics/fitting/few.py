"""Patients with too few samples for an sd of their own: what the others tell of it, and a second look from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cellkinetics.optimising.chunks import optima_by
from cellkinetics.optimising.corners import leaps
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.optimising.uncertainty import spent_by
from cellkinetics.running.run import HERE, Run
from cellkinetics.words import count

LEAST_DEGREES = 0.5  # of a patient who tells others of the sd: of fewer the residuals are those of any curve
Settled = tuple[Problem, Optimum]


def settled(request: Request, ended: Mapping[str, Settled], *, together: bool, run: Run = HERE) -> dict[str, Settled]:
    """{subject: problem and optimum}, again for those whose sd has a prior.

    Their first fit counts each free parameter as spent on quantified samples. Now it is known what these did determine
    (less where censored samples help, or a parameter is at its bound), and, of patients fitted ``together``, what the
    residuals of the others say of the sd. Each goes on from its optimum, and from other starts anew: with another sd
    another one of several optima may be the highest.
    """
    few = [subject for subject, (problem, _) in ended.items() if problem.few]
    if not few:
        return dict(ended)
    known = {subject: told_by(*one) for subject, one in ended.items()} if together else {}
    problems = [again(*ended[subject], [own for other, own in known.items() if other != subject]) for subject in few]
    initial = [problem.natural(ended[subject][1].x) for subject, problem in zip(few, problems, strict=True)]
    ends: dict[int, Optimum | Outcome | None] = {}
    for part in optima_by(run, "few", problems, initial, request.starts, request.seed, company=len(ended)):
        ends |= part
    result = dict(ended)
    for at, (subject, problem) in enumerate(zip(few, problems, strict=True)):
        if isinstance(end := ends[at], Optimum):
            result[subject] = problem, end
    return result


def told_by(problem: Problem, optimum: Optimum) -> dict[str, tuple[float, float]]:
    """{sd: sum of squares on the ln scale, and degrees of freedom}, from the samples alone."""
    told: dict[str, tuple[float, float]] = {}
    held = optimum.held[len(problem.free) :]
    if not optimum.converged or held.any() or not problem.error.least_squares:
        return told
    residuals = np.array(problem.rows.upper) - problem.curve(optimum.x, 0).value
    for at in np.flatnonzero(problem.sd_free):
        rows, spent = spent_by(problem, optimum, int(at))
        if rows - spent >= LEAST_DEGREES:
            own = residuals[problem.quantified & (problem.output == at)]
            told[problem.sd_names[at]] = float(np.sum(own**2)), rows - spent
    return told


def words(problem: Problem) -> str:
    """How each sd is known that the samples are too few for: by which prior, and why; "" where there is none."""
    texts = []
    for name, prior in problem.few.items():
        output = problem.sd_names.index(name) % len(problem.model.outputs)
        rows = int((problem.samples.quantified & (problem.samples.output == output)).sum())
        by = f"pooled over {count(prior.patients, 'other patient')}, {prior.pooled:.0f} df" if prior.patients else ""
        by = by or ("by the prior that was given" if prior.given else "by a prior")
        free = count(prior.parameters, "free parameter")
        texts.append(f"{name} {by}: {count(rows, 'quantified sample')} for {free}")
    return "; ".join(texts)


def wells(problem: Problem) -> str:
    """That samples of one time count as independent, so that intervals are too narrow; "" where there are none."""
    repeats = problem.samples.repeats
    if not repeats:
        return ""
    many = count(repeats, "sample")
    are = "repeats an earlier one's day and counts" if repeats == 1 else "repeat an earlier one's day and count"
    return f"{many} {are} as independent: read_study(replicates='mean') takes one value a day"


def leaping(problem: Problem) -> str:
    """That the likelihood leaps by a lag, which no standard error sees, and what does; "" without."""
    texts = []
    for name, lags in leaps(problem).items():
        those = f"{', '.join(f'{lag:g}' for lag in lags[:4])}{', ...' if len(lags) > 4 else ''}"
        text = f"the likelihood leaps at {name} {those}, where a dose arrives at a sample: its interval is that of"
        texts.append(f"{text} profile([{name!r}]), which names a better optimum where there is one")
    return "; ".join(texts)


def told(outcome: Outcome, problem: Problem) -> Outcome:
    """The outcome with how the sd is known, where samples are too few for it, wells that count alone, and leaps."""
    text = "; ".join(each for each in (leaping(problem), words(problem), wells(problem)) if each)
    if not text:
        return outcome
    between = "; " if outcome.status is Status.CONVERGED else " "
    return Outcome(outcome.status, f"{outcome.words}{between}{text}")


def again(problem: Problem, optimum: Optimum, others: list[dict[str, tuple[float, float]]]) -> Problem:
    """The problem with what is known better now, from where its first fit ended."""
    few = {}
    for name, prior in problem.few.items():
        output = problem.sd_names.index(name) % len(problem.model.outputs)
        known = [own[name] for own in others if name in own]
        better = replace(prior, spent=spent_by(problem, optimum, output)[1])
        few[name] = better.with_others(*zip(*known, strict=True)) if known else better
    sd = np.where(problem.sd_free, problem.sds(optimum.x), problem.sd)
    return replace(problem, few=few, sd=sd)
