"""From the population to one patient: the mode of what its samples and the population say, as a `Fit`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.fitting.fit import finished
from cellkinetics.fitting.result import Fit
from cellkinetics.modelling.prior import SCALES, Prior
from cellkinetics.optimising.optimise import Optimum, newton
from cellkinetics.optimising.problem import Problem, SecondOrder
from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.optimising.uncertainty import uncertainty
from cellkinetics.population import importance

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit

OF_POPULATION = "population: one value for all"
MODE_STEPS, NEXT_TO_NOTHING = 50, 1e-6


def fit_of(fit: PopulationFit, subject: str) -> Fit:
    """The fit of one patient: its random parameters at their mode, all else at the population's values."""
    at, case = fit.subjects.index(subject), fit.patients.cases[subject]
    means = importance.mean_of(fit.design.matrix, fit.polished.theta, fit.population.random)[at]
    spread = np.sqrt(np.diag(np.asarray(fit.polished.theta.omega)))
    problem = _given(fit, at, dict(zip(fit.design.random, zip(means, spread, strict=True), strict=True)))
    start = fit.conditional_mean[at]
    if fit.design.pairs:
        x, second, held, converged = _mode(problem, start, means, np.asarray(fit.polished.theta.omega))
    else:
        x, second, held, converged = newton(problem, start.copy(), search=False)
    optimum = Optimum(x, second, held, converged, 1, 1, (second.value,))
    request = replace(
        fit.request,
        free=fit.design.random,
        fixed={
            **{name: problem.values[name] for name in fit.design.names if name not in fit.design.random},
            **dict(zip(problem.sd_names, map(float, problem.sd), strict=True)),
        },
        initial={},
        prior=_priors(fit, means, spread),
    )
    words = "converged" if converged else "not converged: the mode given the population was not found"
    outcome = Outcome(Status.CONVERGED if converged else Status.NOT_CONVERGED, words)
    made = finished(
        request, fit.study.each()(subject), problem, case.samples, optimum, uncertainty(problem, optimum), outcome, 0.0
    )  # fmt: skip
    return replace(made, columns=_columns(made.columns, request.fixed))


def _given(fit: PopulationFit, at: int, priors: dict[str, tuple[float, float]]) -> Problem:
    """The problem of a patient whose population is known."""
    problem, theta = fit.patients.problems[at], fit.polished.theta
    estimates = fit.design.matrix[at] @ np.asarray(theta.beta)
    sds = np.exp(np.asarray(theta.ln_sd))
    values = problem.natural(np.append(estimates, np.asarray(theta.ln_sd)[fit.patients.sd_free]))
    return replace(
        problem, free=fit.design.random, values=values, sd=sds, sd_free=np.zeros(len(sds), bool),
        priors={name: (float(mean), float(sd)) for name, (mean, sd) in priors.items()},
    )  # fmt: skip


def _priors(fit: PopulationFit, means: Floats, spread: Floats) -> dict[str, Prior]:
    parameters = fit.model.parameters
    return {
        name: SCALES[parameters[name].scale](
            float(f"{parameters[name].from_estimation(float(mean)):.6g}"), float(f"{sd:.6g}")
        )
        for name, mean, sd in zip(fit.design.random, means, spread, strict=True)
    }


def _mode(problem: Problem, x: Floats, means: Floats, omega: Floats) -> tuple[Floats, SecondOrder, Any, bool]:
    """Newton steps where effects are correlated: a `Problem` has priors of one parameter each."""
    inverse, alone = np.linalg.inv(omega), replace(problem, priors={})

    def at(x: Floats) -> tuple[float, Floats, Floats, SecondOrder]:
        second = alone.second_order(x)
        away = x - means
        value = second.value - 0.5 * float(away @ inverse @ away)
        return value, second.gradient - inverse @ away, second.hessian - inverse, second

    value, gradient, hessian, second = at(x)
    converged = False
    for _ in range(MODE_STEPS):
        values, vectors = np.linalg.eigh(-hessian)
        step = vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), 1e-8))
        converged = 0.5 * abs(float(gradient @ step)) < NEXT_TO_NOTHING
        if converged:
            break
        share = 1.0
        new = at(x + step)
        while share > 1e-4 and not new[0] >= value:
            share /= 2
            new = at(x + share * step)
        x, (value, gradient, hessian, second) = x + share * step, new
    # As if the priors were those of the problem: `finished` takes them off again.
    posed = replace(second, value=second.value + problem.log_prior(x), gradient=gradient, hessian=hessian)
    return x, posed, np.zeros(len(x), bool), converged


def _columns(columns: Any, fixed: Any) -> dict[str, list[Any]]:
    """With the population as the source of what it gave."""
    changed = {name: list(values) for name, values in columns.items()}
    for at, name in enumerate(changed["parameter"]):
        if name in fixed:
            changed["source"][at] = OF_POPULATION
    return changed
