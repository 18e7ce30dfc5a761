"""From the population to one patient: the mode of what its samples and the population say, as a `Fit`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.fitting.fit import finished, refused
from cellkinetics.fitting.result import Fit
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.prior import SCALES, NormalPriors, Prior
from cellkinetics.optimising.batch import climbed, optima
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.optimising.uncertainty import uncertainty
from cellkinetics.population import importance
from cellkinetics.population.design import Design
from cellkinetics.population.patients import Patients
from cellkinetics.population.saem import Theta
from cellkinetics.running.later import Later

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit

OF_POPULATION, OWN_SD = "population: one value for all", "its own, given the population"


def problem_given(patients: Patients, design: Design, theta: Theta, at: int) -> Problem:
    """The problem of the at-th patient: what varies is free, all else as the population has it; without a prior."""
    problem = patients.problems[at]
    estimates, ln_sd = design.matrix[at] @ np.asarray(theta.beta), np.asarray(theta.ln_sd)
    values = problem.natural(np.append(estimates, ln_sd[patients.sd_free]))
    return replace(
        problem, free=tuple(name for name in design.random if name not in patients.own_sds), values=values,
        sd=patients.sds_at(estimates, ln_sd).ravel(), sd_free=np.isin(patients.sd_names, patients.own_sds),
        priors=NormalPriors(),
    )  # fmt: skip


def modes_of(patients: Patients, design: Design, theta: Theta, x: Floats) -> list[tuple[Problem, Optimum | None]]:
    """Of each patient the problem with the population as its prior, and its optimum uphill from x (n, q).

    Sds of its own are among what is free. None where the curve could not be solved.
    """
    means = importance.mean_of(design.matrix, theta, tuple(map(int, design.places)))
    omega = np.asarray(theta.omega)
    problems = [
        replace(problem_given(patients, design, theta, at), priors=NormalPriors(tuple(design.random), means[at], omega))
        for at in range(len(means))
    ]
    return list(zip(problems, climbed(problems, list(x)), strict=True))


def searched_alone(patients: Patients, wide: float, starts: int) -> tuple[Floats, float]:
    """(n, k + r) where each patient's samples by themselves say that its parameters are, and the log posteriors' sum.

    Each is searched for from several starts. Then all are climbed from the end in the middle of these, so that parts of
    a curve that may change places stand in the same order, under a prior about it that is ``wide`` units.
    """
    names, guesses = (*patients.names, *patients.own_sds), patients.guesses
    free = np.isin(patients.sd_names, patients.own_sds)
    problems = [
        replace(problem, sd=patients.sds_at(own, patients.ln_sd_start).ravel(), sd_free=free, priors=NormalPriors())
        for problem, own in zip(patients.problems, guesses, strict=True)
    ]
    initial = [case.initial for case in patients.cases.values()]
    ends = [
        optimum.x
        for part in optima(problems, initial, starts, int(patients.request.seed))
        for optimum in part.values()
        if optimum is not None and np.isfinite(optimum.x).all()
    ]
    if not ends:
        return guesses, -np.inf
    x = np.array(ends)
    middle = x[np.argmin(np.abs((x[:, None] - x) / patients.units).sum(axis=(1, 2)))]
    spread = patients.units * np.where(np.isin(names, patients.own_sds), 1.0, wide)
    about = NormalPriors(names, middle, np.diag(spread**2))
    climbs = climbed([replace(problem, priors=about) for problem in problems], [middle] * len(problems))
    values = [-np.inf if optimum is None else optimum.second.value for optimum in climbs]
    found = [middle if optimum is None else optimum.x for optimum in climbs]
    return np.array(found), float(np.sum(values))


def each_of(fit: PopulationFit) -> Mapping[str, Fit]:
    """See `PopulationFit.each`."""

    @cache
    def modes() -> dict[str, tuple[Problem, Optimum | None]]:
        # Of all in one batch, when the first is asked for.
        found = modes_of(fit.patients, fit.design, fit.polished.theta, fit.conditional_mean)
        return dict(zip(fit.subjects, found, strict=True))

    return Later(fit.subjects, lambda subject: _fit_of(fit, subject, modes()[subject]))


def _fit_of(fit: PopulationFit, subject: str, mode: tuple[Problem, Optimum | None]) -> Fit:
    """The fit of one patient: its random parameters at their mode, all else at the population's values.

    mode : of `modes_of`.
    """
    at, case, alone = fit.subjects.index(subject), fit.patients.cases[subject], fit.study.each()(subject)
    means = importance.mean_of(fit.design.matrix, fit.polished.theta, fit.population.random)[at]
    problem, optimum = mode
    if optimum is not None and fit.patients.own_sds:
        problem, optimum = _with_known_sds(problem, optimum)
    request = replace(
        fit.request,
        free=problem.free,
        fixed={
            **{name: problem.values[name] for name in fit.patients.names if name not in problem.free},
            **dict(zip(problem.sd_names, map(float, problem.sd), strict=True)),
        },
        initial={},
        prior={name: one for name, one in _priors(fit, means).items() if name in problem.free},
        correlation=tuple(
            (pair, float(f"{rho:.6g}")) for pair, rho in fit.design.correlation(fit.polished.theta.omega).items()
            if set(pair) <= {*problem.free}
        ),
    )  # fmt: skip
    if optimum is None:
        words = "not fitted: the mode given the population could not be solved."
        return refused(request, alone, problem, Outcome(Status.NOT_FITTED, words), case.samples, 0.0)
    words = "converged" if optimum.converged else "not converged: the mode given the population was not found"
    outcome = Outcome(Status.CONVERGED if optimum.converged else Status.NOT_CONVERGED, words)
    made = finished(
        request, alone, problem, case.samples, optimum, uncertainty(problem, optimum), outcome, 0.0
    )  # fmt: skip
    return replace(made, columns=_columns(made.columns, request.fixed, fit.patients.own_sds))


def _with_known_sds(problem: Problem, optimum: Optimum) -> tuple[Problem, Optimum]:
    """A patient's own sds are where they are most likely, and then known."""
    k, x = len(problem.free), optimum.x
    priors = problem.priors
    for name, value in zip(problem.names[k:], x[k:], strict=True):
        priors = priors.given(name, float(value))
    known = replace(problem, sd=problem.sds(x), sd_free=np.zeros(len(problem.sd), bool), priors=priors)
    second = optimum.second
    second = replace(
        second, value=second.value - problem.log_prior(x) + known.log_prior(x[:k]), gradient=second.gradient[:k],
        hessian=second.hessian[:k, :k],
    )  # fmt: skip
    return known, replace(optimum, x=x[:k], second=second, held=optimum.held[:k])


def table_of(fit: PopulationFit) -> pd.DataFrame:
    """See `PopulationFit.individuals`."""
    rows, away = [], fit.conditional_mean - fit.population_means
    for i, subject in enumerate(fit.subjects):
        own = fit[subject]
        modes = {**own.estimates, **dict(zip(own.problem.sd_names, map(float, own.problem.sd), strict=True))}
        for j, name in enumerate(fit.design.random):
            to = fit.patients.parameters[name].from_estimation
            mean, sd = fit.conditional_mean[i, j], np.sqrt(fit.conditional_covariance[i, j, j])
            ends = to(mean), to(mean - 2 * sd), to(mean + 2 * sd)
            rows.append((subject, name, modes[name], *ends, away[i, j], sd))
    names = ["subject", "parameter", "mode", "mean", "lower", "upper", "effect", "effect_sd"]
    return pd.DataFrame(rows, columns=names)


def _priors(fit: PopulationFit, means: Floats) -> dict[str, Prior]:
    parameters, spread = fit.patients.parameters, np.sqrt(np.diag(np.asarray(fit.polished.theta.omega)))
    return {
        name: SCALES[parameters[name].scale](
            float(f"{parameters[name].from_estimation(float(mean)):.6g}"), float(f"{sd:.6g}")
        )
        for name, mean, sd in zip(fit.design.random, means, spread, strict=True)
    }


def _columns(columns: Any, fixed: Any, own_sds: Any) -> dict[str, list[Any]]:
    """With the population as the source of what it gave."""
    changed = {name: list(values) for name, values in columns.items()}
    for at, name in enumerate(changed["parameter"]):
        if name in fixed:
            changed["source"][at] = OWN_SD if name in own_sds else OF_POPULATION
    return changed
