"""The parameter table of a fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.levels import unit_of, unit_of_output
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.uncertainty import Uncertainty

if TYPE_CHECKING:
    from cellkinetics.optimising.request import Request

# The column status, in words for people: how each parameter took part.
FREE, FIXED, TIED, SHARED = "free", "fixed", "tied", "shared"
AT_BOUND, NOT_IDENTIFIABLE, DRIVEN_BY_DOSE = "at bound", "not identifiable", "driven by dose"
NOT_ESTIMATED = {"value": np.nan, "status": "not estimated", "source": "not estimated"}
ESTIMATE_COLUMNS = ["value", "stderr", "lower", "upper", "unit", "status", "source"]


def correlations_of(covariance: pd.DataFrame) -> pd.DataFrame:
    """Of estimates, from their covariance; NaN for what has no variance."""
    variance = np.diag(covariance)
    sd = np.sqrt(np.where(variance > 0, variance, np.nan))
    return covariance.div(sd, axis="index").div(sd, axis="columns")


def parameter_table(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The columns as a table by parameter."""
    return pd.DataFrame(
        {name: columns[name] for name in ESTIMATE_COLUMNS}, index=pd.Index(columns["parameter"], name="parameter")
    )


def parameter_columns(
    request: Request,
    study: Study,
    problem: Problem,
    optimum: Optimum | None = None,
    spread: Uncertainty | None = None,
) -> dict[str, list[Any]]:
    """Name, value, stderr, interval, unit, status and source of every parameter and sd; NaN for what was not estimated.

    Plain lists: of a thousand patients a table each takes longer than their fits.
    """
    values, slopes = problem.natural_with_slopes(optimum.x) if optimum else (dict(problem.values), {})
    names, units, sources = _origins(problem.model, study.unit, request.one_amount)
    nothing = [math.nan] * len(names)
    columns: dict[str, list[Any]] = {
        "parameter": [*names], "value": [values[name] for name in names],
        "stderr": [*nothing], "lower": [*nothing], "upper": [*nothing],
        "unit": [*units], "status": [FIXED] * len(names), "source": [*sources],
    }  # fmt: skip
    place = {name: at for at, name in enumerate(names)}
    for name in request.fixed:
        if name in place:
            columns["source"][place[name]] = "fixed by the user"
    for name in (*problem.free, *request.tie):
        row = _estimated(name, values, slopes, request, problem, optimum, spread)
        for column, value in row.items():
            columns[column][place[name]] = value
    for row in _sd_rows(request, study, problem, optimum, spread):
        for column, value in row.items():
            columns[column].append(value)
    return columns


def _estimated(
    name: str,
    values: Mapping[str, float],
    slopes: Mapping[str, Floats],
    request: Request,
    problem: Problem,
    optimum: Optimum | None,
    spread: Uncertainty | None,
) -> dict[str, Any]:
    """What is told of a parameter that is free or tied."""
    free = name in problem.free
    row: dict[str, Any] = {
        "status": FREE if free else TIED, "source": "estimated" if free else "tied to other parameters",
    }  # fmt: skip
    if optimum is None or spread is None:
        return row | NOT_ESTIMATED
    if free and optimum.held[problem.free.index(name)]:
        return row | {"status": AT_BOUND}
    if name in spread.loose:
        row["status"] = NOT_IDENTIFIABLE
    slope, stderr = slopes[name], math.nan
    used = np.flatnonzero(slope)
    if len(used):
        stderr = float(np.sqrt(slope[used] @ spread.covariance[np.ix_(used, used)] @ slope[used]))
    row |= {"stderr": stderr, **_interval(name, values[name], stderr, problem, optimum, spread)}
    row["source"] += _of_prior(name, problem, request, spread)
    return row


@lru_cache(maxsize=64)
def _origins(model: Model, unit: str, one_amount: bool) -> tuple[list[str], list[str], list[str]]:
    """Names, units in a study and sources of the parameters: the same for every patient."""
    units = [unit_of(model, name, unit) for name in model.parameters]
    # The product of a fraction and an unknown dose has the unit of what the dose adds to.
    units = [own.partition(" per cell")[0] for own in units] if one_amount else units
    return list(model.parameters), units, [parameter.source for parameter in model.parameters.values()]


def _interval(
    name: str, value: float, stderr: float, problem: Problem, optimum: Optimum, spread: Uncertainty
) -> dict[str, float]:
    """Formed on the estimation scale; for a tie on the ln scale of a positive value."""
    parameter = problem.model.parameters[name]
    if name in problem.free:
        at = problem.free.index(name)
        half = quantile_of(problem, spread, at) * np.sqrt(spread.covariance[at, at])
        ends = [parameter.from_estimation(optimum.x[at] + side * half) for side in (-1, 1)]
    elif value > 0 and parameter.scale == "log":
        half = spread.quantile * stderr / value
        ends = [value * float(np.exp(side * half)) for side in (-1, 1)]
    else:
        ends = [value + side * spread.quantile * stderr for side in (-1, 1)]
    return {"lower": ends[0], "upper": ends[1]}


def quantile_of(problem: Problem, spread: Uncertainty, at: int, level: float = 0.95) -> float:
    """Half width of the interval of the at-th of the free vector, in standard errors.

    Student's t is for what the samples say, whose sd is estimated with them; a prior is normal. With a share s of what
    is known the prior's, the degrees of freedom are df/(1 - s): all of t without a prior, normal with nothing else.
    """
    return by_prior(spread, _share_of_prior(problem, spread, at), level)


def by_prior(spread: Uncertainty, share: float, level: float = 0.95) -> float:
    """The same of what is known to a ``share`` by a prior."""
    if not share > 0:
        return spread.quantile_of(level)
    left = 1 - share
    degrees = spread.degrees_of_freedom / left if left > 0 else np.inf
    return replace(spread, degrees_of_freedom=degrees).quantile_of(level)


def _share_of_prior(problem: Problem, spread: Uncertainty, at: int) -> float:
    """How much of what is known of the at-th of the free vector is its prior's; NaN where it has no variance."""
    return min(max(float(spread.covariance[at] @ problem.prior[1][:, at]), 0.0), 1.0)


def hessian_intervals(problem: Problem, x: Floats, spread: Uncertainty, level: float) -> pd.DataFrame:
    """Value, lower and upper of the free vector on the natural scale; NaN without estimates or at a bound."""
    rows = {}
    for at, name in enumerate(problem.names[: len(x)]):
        variance = spread.covariance[at, at]
        half = quantile_of(problem, spread, at, level) * np.sqrt(variance) if variance > 0 else np.nan
        # The maximum-likelihood sd is too small with few samples: value and interval are corrected alike.
        corrected = 1.0 if at < len(problem.free) or name in problem.few else spread.inflation
        rows[name] = [corrected * problem.natural_of(at, x[at] + side * half) for side in (0, -1, 1)]
        if np.isnan(half):
            rows[name][0] = corrected * problem.natural_of(at, x[at])
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "lower", "upper"], dtype=float)
    return table.rename_axis("parameter")


def _of_prior(name: str, problem: Problem, request: Request, spread: Uncertainty) -> str:
    """Which prior an estimate has, and how much of what is known of it is the prior's."""
    known = name in problem.priors or name in problem.few
    return f" with the prior {prior_text(name, problem, request, spread)}" if known else ""


def prior_text(name: str, problem: Problem, request: Request, spread: Uncertainty) -> str:
    """The prior of what is estimated, and its share of the information."""
    at = problem.names.index(name)
    share = _share_of_prior(problem, spread, at)
    known = f": {share:.0%} of the information is the prior's" if np.isfinite(share) else ""
    few = problem.few.get(name)
    return f"{few.words if few and not few.given else request.prior[name]}{known}"


def _sd_units(problem: Problem, study: Study) -> list[str]:
    """Of each sd: ln, a share of the prediction, or the unit of the copies."""
    model, error = problem.model, problem.error
    copies = [unit_of_output(model, output, study.unit) for output in model.outputs]
    additive = error.additive(len(copies))
    return [unit if adds else error.sd_unit for unit, adds in zip(copies * len(error.parts), additive, strict=True)]


def _sd_rows(
    request: Request, study: Study, problem: Problem, optimum: Optimum | None, spread: Uncertainty | None
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    sds = problem.sds(optimum.x) if optimum else problem.sd
    position, units = len(problem.free), _sd_units(problem, study)
    for i, name in enumerate(problem.sd_names):
        row: dict[str, Any] = {
            "parameter": name, "value": float(sds[i]), "stderr": math.nan, "lower": math.nan, "upper": math.nan,
            "unit": units[i], "status": FIXED,
        }  # fmt: skip
        if optimum is None or spread is None:
            fixed = name in request.fixed
            row |= {"source": "fixed by the user"} if fixed else NOT_ESTIMATED
        elif problem.sd_free[i]:
            se, held = np.sqrt(spread.covariance[position, position]), bool(optimum.held[position])
            row |= {"status": AT_BOUND if held else FREE, "source": "estimated"}
            if not held:
                # The maximum-likelihood sd is too small with few samples: value and interval are corrected alike.
                times = 1.0 if name in problem.few else spread.inflation
                sd, half = sds[i] * times, quantile_of(problem, spread, position) * se
                row |= {"value": float(sd), "stderr": sd * se, "lower": sd * np.exp(-half), "upper": sd * np.exp(half)}
                if times > 1:
                    row["source"] += f": {sds[i]:.3g} by maximum likelihood, times {times:.3g}"
                row["source"] += _of_prior(name, problem, request, spread)
            position += 1
        elif name in request.fixed:
            row["source"] = "fixed by the user"
        else:
            row["source"] = "assumption: no quantified sample to estimate it from"
        rows.append(row)
    return rows
