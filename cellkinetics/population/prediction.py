"""Curves of the median patient and of others drawn from the population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.modelling.levels import column_of
from cellkinetics.solving.simulation import simulate

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit


def predicted(
    fit: PopulationFit,
    days: Floats | None,
    doses: object,
    covariates: Mapping[str, Any] | None,
    level: float,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """See `PopulationFit.predict`."""
    model, given = fit.model, dict(covariates or {})
    doses = _doses(fit, doses) if model.channels else None
    mean = estimates(fit, _covariates(fit, given, doses))
    days = np.linspace(0.0, _last(fit), 100) if days is None else days
    rng = np.random.default_rng(seed)
    whole = np.linalg.cholesky(np.asarray(fit.polished.theta.omega))
    drawn = np.repeat(mean[None], draws + 1, axis=0)
    # The first is the median patient.
    drawn[1:, fit.design.places] += rng.normal(size=(draws, len(whole))) @ whole.T
    problem, sds = fit.patients.problems[0], np.zeros(int(fit.patients.sd_free.sum()))
    parameters = pd.DataFrame([problem.natural(np.append(row, sds)) for row in drawn])
    curves = simulate(model, parameters, days, doses)
    table = pd.DataFrame({"day": days})
    for output in model.outputs:
        each = curves[output].to_numpy().reshape(len(drawn), len(days))
        name = column_of(model, output, fit.study.unit)
        table[name] = each[0]
        table[f"{name}_lower"], table[f"{name}_upper"] = np.quantile(
            each[1:], [0.5 - level / 2, 0.5 + level / 2], axis=0
        )
    return table


def _last(fit: PopulationFit) -> float:
    return float(max(problem.samples.day.max() for problem in fit.patients.problems))


def _doses(fit: PopulationFit, doses: object) -> object:
    """Those given, or the one that all patients had."""
    if doses is not None:
        return doses
    each = [problem.doses for problem in fit.patients.problems]
    same = all(
        np.array_equal(one.times, each[0].times) and np.array_equal(one.amounts, each[0].amounts) for one in each
    )
    if not same:
        raise ModelError("patients had different doses: give doses=, such as doses=1e6.", name="doses")
    return each[0]


def _covariates(fit: PopulationFit, given: Mapping[str, Any], doses: object) -> dict[str, Any]:
    known = {effect.covariate for effect in fit.design.effects if effect.covariate}
    for name in given:
        if name not in known:
            raise ModelError(f"covariates: {name} drives nothing here; {', '.join(sorted(known)) or 'nothing'} does.")
    found = dict(given)
    if BY_DOSE in known and BY_DOSE not in found and isinstance(doses, (int, float)):
        found[BY_DOSE] = float(doses)
    return found


def estimates(fit: PopulationFit, covariates: Mapping[str, Any], beta: Floats | None = None) -> Floats:
    """(k,) of the median patient with these covariates, at coefficients that are given or those of the fit."""
    design = fit.design
    beta = np.asarray(fit.polished.theta.beta) if beta is None else beta
    mean = np.zeros(len(design.names))
    for effect, value in zip(design.effects, beta, strict=True):
        weight = 1.0
        if effect.covariate:
            given = covariates.get(effect.covariate)
            if effect.level:
                weight = 1.0 if given is not None and str(given) == effect.level else 0.0
            elif given is None:
                weight = 0.0
            else:
                centre, number = effect.centre, float(given)
                weight = np.log(number / centre) if effect.covariate == BY_DOSE else number - centre
        mean[design.names.index(effect.parameter)] += weight * value
    return mean
