"""From the population to one patient: the mode of what its samples and the population say, as a `Fit`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.fitting.fit import finished
from cellkinetics.fitting.result import Fit
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.prior import SCALES, Prior
from cellkinetics.optimising.optimise import Optimum, newton
from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.optimising.uncertainty import uncertainty
from cellkinetics.population import importance, modes

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit

OF_POPULATION, OWN_SD = "population: one value for all", "its own, given the population"


def fit_of(fit: PopulationFit, subject: str) -> Fit:
    """The fit of one patient: its random parameters at their mode, all else at the population's values."""
    at, case = fit.subjects.index(subject), fit.patients.cases[subject]
    means = importance.mean_of(fit.design.matrix, fit.polished.theta, fit.population.random)[at]
    spread = np.sqrt(np.diag(np.asarray(fit.polished.theta.omega)))
    alone = modes.problem_given(fit.patients, fit.design, fit.polished.theta, at)
    each = zip(map(float, means), map(float, spread), strict=True)
    priors = dict(zip(fit.design.random, each, strict=True))
    problem = replace(alone, priors={name: priors[name] for name in alone.free})
    start = fit.conditional_mean[at]
    if fit.design.pairs or fit.patients.own_sds:
        # A `Problem` has priors of one parameter each: as if they were, since `finished` takes them off again.
        found = modes.mode(alone, start, means, np.asarray(fit.polished.theta.omega))
        away = found.x - means
        gradient = found.second.gradient - np.linalg.solve(np.asarray(fit.polished.theta.omega), away)
        # An sd of its own is where it is most likely, and then known.
        k = len(alone.free)
        problem = replace(problem, sd=alone.sds(found.x), sd_free=np.zeros(len(alone.sd), bool))
        x, held, converged = found.x[:k], np.zeros(k, bool), found.converged
        second = replace(
            found.second, value=found.second.value + problem.log_prior(x), gradient=gradient[:k],
            hessian=-found.precision[:k, :k],
        )  # fmt: skip
    else:
        x, second, held, converged = newton(problem, start.copy(), search=False)
    optimum = Optimum(x, second, held, converged, 1, 1, (second.value,))
    request = replace(
        fit.request,
        free=problem.free,
        fixed={
            **{name: problem.values[name] for name in fit.patients.names if name not in problem.free},
            **dict(zip(problem.sd_names, map(float, problem.sd), strict=True)),
        },
        initial={},
        prior={name: one for name, one in _priors(fit, means, spread).items() if name in problem.free},
    )
    words = "converged" if converged else "not converged: the mode given the population was not found"
    outcome = Outcome(Status.CONVERGED if converged else Status.NOT_CONVERGED, words)
    made = finished(
        request, fit.study.each()(subject), problem, case.samples, optimum, uncertainty(problem, optimum), outcome, 0.0
    )  # fmt: skip
    return replace(made, columns=_columns(made.columns, request.fixed, fit.patients.own_sds))


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


def _priors(fit: PopulationFit, means: Floats, spread: Floats) -> dict[str, Prior]:
    parameters = fit.patients.parameters
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
