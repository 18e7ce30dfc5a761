"""The parameter table of a fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.levels import unit_of, unit_of_output
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.parameter import Parameter
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.uncertainty import Uncertainty, groups_alike

if TYPE_CHECKING:
    from cellkinetics.optimising.request import Request

# The column status, in words for people: how each parameter took part.
FREE, FIXED, TIED, SHARED = "free", "fixed", "tied", "shared"
AT_BOUND, NOT_IDENTIFIABLE, DRIVEN_BY_DOSE = "at bound", "not identifiable", "driven by dose"
NOT_ESTIMATED = ("not estimated", "not estimated")  # status and source
ESTIMATE_COLUMNS = ["value", "stderr", "lower", "upper", "unit", "status", "source"]
Columns = dict[str, list[Any]]


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
) -> Columns:
    """Name, value, stderr, interval, unit, status and source of every parameter and sd; NaN for what was not estimated.

    Plain lists: of a thousand patients a table each takes longer than their fits.
    """
    if optimum is None or spread is None:
        return _of_nobody(request, study.unit, problem)
    return columns_each(request, study.unit, [problem], [optimum], [spread])[0]


def columns_each(
    request: Request,
    unit: str,
    problems: Sequence[Problem],
    optimums: Sequence[Optimum],
    spreads: Sequence[Uncertainty],
) -> list[Columns]:
    """`parameter_columns` of many patients of a study in ``unit``: those of whom the same is estimated are arrays."""
    found: dict[int, Columns] = {}
    for group in groups_alike(problems, optimums):
        mine = [problems[i] for i in group], [optimums[i] for i in group], [spreads[i] for i in group]
        several = _Several(request, *mine)
        found |= zip(group, several.columns(unit), strict=True)
    return [found[i] for i in range(len(problems))]


def _of_nobody(request: Request, unit: str, problem: Problem) -> Columns:
    """Of a patient who was not fitted."""
    names, units, sources = _origins(problem.model, unit, request.one_amount)
    rows = [
        (name, value, *[math.nan] * 3, own, FIXED, "fixed by the user" if name in request.fixed else source)
        if name not in problem.free and name not in request.tie
        else (name, math.nan, *[math.nan] * 3, own, *NOT_ESTIMATED)
        for name, own, source, value in zip(names, units, sources, (problem.values[n] for n in names), strict=True)
    ]
    rows += [
        (name, float(sd), *[math.nan] * 3, own, FIXED, "fixed by the user")
        if name in request.fixed
        else (name, math.nan, *[math.nan] * 3, own, *NOT_ESTIMATED)
        for name, own, sd in zip(problem.sd_names, _sd_units(problem, unit), problem.sd, strict=True)
    ]
    return dict(zip(("parameter", *ESTIMATE_COLUMNS), map(list, zip(*rows, strict=True)), strict=True))


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of the tables of b patients: numbers (b,) or one for all, texts of each or one for all."""

    name: str
    unit: str
    value: Floats | float
    status: Sequence[str] | str = FIXED
    source: Sequence[str] | str = ""
    stderr: Floats | float = math.nan
    lower: Floats | float = math.nan
    upper: Floats | float = math.nan


@dataclass(frozen=True, eq=False)
class _Several:
    """Patients who were fitted, with one free vector of which the same is held."""

    request: Request
    problems: Sequence[Problem]
    optimums: Sequence[Optimum]
    spreads: Sequence[Uncertainty]

    @cached_property
    def x(self) -> Floats:
        """(b, d) the estimates."""
        return np.stack([optimum.x for optimum in self.optimums])

    @cached_property
    def covariance(self) -> Floats:
        """(b, d, d) theirs."""
        return np.stack([spread.covariance for spread in self.spreads])

    @cached_property
    def naturals(self) -> list[tuple[dict[str, float], dict[str, Floats]]]:
        """Of ties: `Problem.natural_with_slopes` of each."""
        pairs = zip(self.problems, self.optimums, strict=True)
        return [problem.natural_with_slopes(optimum.x) for problem, optimum in pairs]

    def columns(self, unit: str) -> list[Columns]:
        """Those of each patient."""
        problem = self.problems[0]
        rows = [
            self._estimated(name, own)
            if name in problem.free or name in self.request.tie
            else _Row(
                name, own, np.array([float(each.values[name]) for each in self.problems]), FIXED,
                "fixed by the user" if name in self.request.fixed else source,
            )
            for name, own, source in zip(*_origins(problem.model, unit, self.request.one_amount), strict=True)
        ]  # fmt: skip
        rows += self._sds(unit)
        named = {"parameter": [row.name for row in rows], "unit": [row.unit for row in rows]}
        columns: dict[str, list[list[Any]]] = {}
        for name in ("value", "stderr", "lower", "upper", "status", "source"):
            table = np.empty((len(self.problems), len(rows)), object if name in ("status", "source") else float)
            for at, row in enumerate(rows):
                table[:, at] = getattr(row, name)
            columns[name] = table.tolist()
        return [
            {
                name: list(named[name]) if name in named else columns[name][i]
                for name in ("parameter", *ESTIMATE_COLUMNS)
            }
            for i in range(len(self.problems))
        ]

    def _estimated(self, name: str, unit: str) -> _Row:
        """A parameter that is free or tied."""
        problem = self.problems[0]
        free, parameter = name in problem.free, problem.model.parameters[name]
        at = problem.free.index(name) if free else -1
        value, stderr = self._with_error(name, at)
        source = "estimated" if free else "tied to other parameters"
        if free and self.optimums[0].held[at]:
            return _Row(name, unit, value, AT_BOUND, source)
        status = [NOT_IDENTIFIABLE if name in spread.loose else FREE if free else TIED for spread in self.spreads]
        # On the estimation scale; for a tie on the ln scale of a positive value.
        if free:
            half = self._quantiles(at) * np.sqrt(self.covariance[:, at, at])
            lower, upper = (parameter.each_from_estimation(self.x[:, at] + side * half) for side in (-1, 1))
        else:
            ends = [_around(*own, parameter) for own in zip(value, stderr, self._quantiles(None), strict=True)]
            lower, upper = np.array(ends).T
        return _Row(name, unit, value, status, self._with_priors(name, source), stderr, lower, upper)

    def _with_error(self, name: str, at: int) -> tuple[Floats, Floats]:
        """(b,) natural values of the at-th of the free vector, or of a tie, and their standard errors."""
        if self.problems[0].ties:
            errors = [
                _error(slopes[name], own) for (_, slopes), own in zip(self.naturals, self.covariance, strict=True)
            ]
            return np.array([values[name] for values, _ in self.naturals]), np.array(errors)
        parameter = self.problems[0].model.parameters[name]
        value = parameter.each_from_estimation(self.x[:, at])
        slope = parameter.slope(value) * np.ones(len(value))
        return value, np.where(slope != 0, np.sqrt(slope * self.covariance[:, at, at] * slope), np.nan)

    @cached_property
    def _of_samples(self) -> Floats:
        """(b,) half widths in standard errors of what has no prior."""
        return np.array([spread.quantile for spread in self.spreads])

    @cached_property
    def _known(self) -> bool:
        """Whether anything has a prior."""
        return bool(self.problems[0].few) or any(problem.priors for problem in self.problems)

    def _quantiles(self, at: int | None) -> Floats:
        """(b,) `quantile_of` the at-th of the free vector; of what is tied with None."""
        if at is None or not self._known:
            return self._of_samples
        pairs = zip(self.problems, self.spreads, strict=True)
        return np.array([quantile_of(problem, spread, at) for problem, spread in pairs])

    def _with_priors(self, name: str, source: str) -> Sequence[str] | str:
        """The source with the prior of each, where there is one."""
        if not self._known:
            return source
        pairs = zip(self.problems, self.spreads, strict=True)
        return [source + _of_prior(name, problem, self.request, spread) for problem, spread in pairs]

    def _sds(self, unit: str) -> list[_Row]:
        """The sds, estimated or not."""
        rows, first = list[_Row](), self.problems[0]
        sds = np.stack([problem.sds(own) for problem, own in zip(self.problems, self.x, strict=True)])
        position, units = len(first.free), _sd_units(first, unit)
        for i, name in enumerate(first.sd_names):
            ml = sds[:, i]
            if not first.sd_free[i]:
                unknown = "assumption: no quantified sample to estimate it from"
                rows.append(
                    _Row(name, units[i], ml, FIXED, "fixed by the user" if name in self.request.fixed else unknown)
                )
                continue
            if self.optimums[0].held[position]:
                rows.append(_Row(name, units[i], ml, AT_BOUND, "estimated"))
                position += 1
                continue
            # The maximum-likelihood sd is too small with few samples: value and interval are corrected alike.
            times = np.array([1.0 if name in first.few else spread.inflation for spread in self.spreads])
            se, sd = np.sqrt(self.covariance[:, position, position]), ml * times
            half = self._quantiles(position) * se
            lower, upper = sd * np.exp(-half), sd * np.exp(half)
            words = [
                f"estimated: {own:.3g} by maximum likelihood, times {factor:.3g}" if factor > 1 else "estimated"
                for own, factor in zip(ml, times, strict=True)
            ]
            if self._known:
                words = [text + str(known) for text, known in zip(words, self._with_priors(name, ""), strict=True)]
            rows.append(_Row(name, units[i], sd, FREE, words, sd * se, lower, upper))
            position += 1
        return rows


def _error(slope: Floats, covariance: Floats) -> float:
    """The standard error of what changes by ``slope`` (d,) with the free vector; NaN of what does not change."""
    used = np.flatnonzero(slope)
    return float(np.sqrt(slope[used] @ covariance[np.ix_(used, used)] @ slope[used])) if len(used) else math.nan


def _around(value: float, stderr: float, quantile: float, parameter: Parameter) -> tuple[float, float]:
    """The ends of the interval of a tie."""
    if value > 0 and parameter.scale == "log":
        half = quantile * stderr / value
        return value * float(np.exp(-half)), value * float(np.exp(half))
    return value - quantile * stderr, value + quantile * stderr


@lru_cache(maxsize=64)
def _origins(model: Model, unit: str, one_amount: bool) -> tuple[list[str], list[str], list[str]]:
    """Names, units in a study and sources of the parameters: the same for every patient."""
    units = [unit_of(model, name, unit) for name in model.parameters]
    # The product of a fraction and an unknown dose has the unit of what the dose adds to.
    units = [own.partition(" per cell")[0] for own in units] if one_amount else units
    return list(model.parameters), units, [parameter.source for parameter in model.parameters.values()]


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


def _sd_units(problem: Problem, unit: str) -> list[str]:
    """Of each sd: ln, a share of the prediction, or the unit of the copies."""
    model, error = problem.model, problem.error
    copies = [unit_of_output(model, output, unit) for output in model.outputs]
    additive = error.additive(len(copies))
    return [own if adds else error.sd_unit for own, adds in zip(copies * len(error.parts), additive, strict=True)]
