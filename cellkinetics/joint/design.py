"""What patients share: which value of the joint problem stands where in each patient's free vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data import groups
from cellkinetics.data.groups import MOST_GROUPS, NOBODY
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError, suggest
from cellkinetics.joint.evaluation import Batched
from cellkinetics.joint.search import Layout
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.problem import Problem
from cellkinetics.saving import storable

ALL, BY_DOSE = "all", "dose"


@storable
@dataclass(frozen=True)
class Column:
    """One shared value: the parameter (or sd), and "all", "dose" for its slope by ln dose, or the group it is of."""

    parameter: str
    of: str
    slope: bool = False

    @property
    def label(self) -> str:
        """How the table names the parameter."""
        return f"dose exponent of {self.parameter}" if self.slope else self.parameter


def shared_of(model: Model, shared: str | Sequence[str] | Mapping[str, str], error: ErrorModel) -> dict[str, str]:
    """{parameter: "all", "dose" or a covariate}, checked; a shared sd is what is done anyway.

    Raises
    ------
    ModelError
        An unknown parameter.
    """
    given = {shared: ALL} if isinstance(shared, str) else shared
    given = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, ALL)
    sds = error.sd_names(model.outputs)
    for name in given:
        if name not in sds:
            model.require(name)
    return {name: how for name, how in given.items() if name not in sds}


def covariate_of(study: Study, name: str, how: str, subjects: Sequence[str]) -> pd.Series:
    """What drives a parameter, by subject: the dose as a number, or the group; NaN where it is not known.

    Raises
    ------
    ModelError
        There is no such covariate, or it has more than 8 values.
    """
    if how == ALL:
        return pd.Series(0.0, index=list(subjects))
    if how not in study.covariates:
        known = [ALL, *map(str, study.covariates)]
        raise ModelError(
            f"shared={{{name!r}: {how!r}}}: take one of {', '.join(known)}. {suggest(how, known)}".rstrip()
        )
    if how == BY_DOSE:
        dose = study.covariates[BY_DOSE].astype(float)
        return dose.where(dose > 0).reindex(list(subjects))
    by_name = groups.of(study, how)
    if len(by_name.names) > MOST_GROUPS + 1:
        text = f"{how} has {len(by_name.names)} different values: give a covariate with at most {MOST_GROUPS} groups."
        raise ModelError(f"shared={{{name!r}: {how!r}}}: {text}", name=name)
    return by_name.members.where(by_name.members != NOBODY).reindex(list(subjects))


@dataclass(frozen=True, eq=False)
class Joint:
    """The joint problem of n patients.

    problems, subjects : of the patients. columns : the p shared values. layout : where they stand.
    reference : dose at which dose-driven parameters have the value of the table (geometric mean); NaN without.
    """

    problems: Sequence[Problem]
    subjects: Sequence[str]
    columns: Sequence[Column]
    layout: Layout
    reference: float


def joined(
    problems: Sequence[Problem],
    subjects: Sequence[str],
    shared: Mapping[str, str],
    study: Study,
    common_sd: bool,
    priors: Mapping[str, tuple[float, float]],
    patients: Batched,
) -> Joint:
    """The layout of the joint problem; ``priors`` are those of shared values, on their estimation scale."""
    n, d, model = len(problems), patients.size, problems[0].model
    columns: list[Column] = []
    designs: list[Floats] = []
    reference = np.nan
    for name in [name for name in model.parameters if name in shared]:
        column_of = [int(patients.places(i)[problem.free.index(name)]) for i, problem in enumerate(problems)]
        values = covariate_of(study, name, shared[name], subjects)
        if shared[name] == BY_DOSE and values.nunique() == 1:
            raise ModelError(f"every patient has the same dose: it cannot drive {name}. Share it as 'all'.", name=name)
        for of, slope, weights in _weights(study, values, shared[name]):
            design = np.zeros((n, d))
            design[np.arange(n), column_of] = weights
            columns.append(Column(name, of, slope))
            designs.append(design)
        if shared[name] == BY_DOSE:
            reference = float(np.exp(np.log(values.to_numpy(float)).mean()))
    for at, name in enumerate(problems[0].sd_names if common_sd else ()):
        if problems[0].sd_free[at]:
            design = np.zeros((n, d))
            design[:, patients.width + at] = 1.0
            columns.append(Column(name, ALL))
            designs.append(design)
    design = np.stack(designs, axis=-1) if designs else np.zeros((n, d, 0))
    return Joint(problems, subjects, columns, _layout(problems, patients, columns, design, priors), reference)


def _weights(study: Study, values: pd.Series, how: str) -> list[tuple[str, bool, Floats]]:
    """Of each shared value of a parameter: what it is of, whether it is a slope, and its weight in each patient."""
    if how == ALL:
        return [(ALL, False, np.ones(len(values)))]
    if how == BY_DOSE:
        ln_dose = np.log(values.to_numpy(float))
        return [(ALL, False, np.ones(len(values))), (BY_DOSE, True, ln_dose - ln_dose.mean())]
    return [(str(group), False, np.where(values == group, 1.0, 0.0)) for group in levels(study, how, values)]


def levels(study: Study, how: str, values: pd.Series) -> list[object]:
    """The doses, or the groups in order of their doses, that patients have."""
    there = set(values)
    return sorted(there) if how == BY_DOSE else [name for name in groups.of(study, how).names if name in there]


def _layout(
    problems: Sequence[Problem],
    patients: Batched,
    columns: Sequence[Column],
    design: Floats,
    priors: Mapping[str, tuple[float, float]],
) -> Layout:
    n, d, p = design.shape
    offset, own = np.zeros((n, d)), np.zeros((n, d))
    lower, upper, units = np.full((n, d), -np.inf), np.full((n, d), np.inf), np.ones((n, d))
    for i, problem in enumerate(problems):
        at, start = patients.places(i), problem.start(problem.values)
        offset[i, patients.width :] = problem.ln_sd_given
        own[i, at] = 1.0
        lower[i, at], upper[i, at] = problem.bounds
        units[i, at] = problem.units(start)
    driven = np.any(design != 0, axis=-1)
    own[driven], offset[driven] = 0.0, 0.0
    low, high, unit = np.full(p, -np.inf), np.full(p, np.inf), np.ones(p)
    mean, precision = np.zeros(p), np.zeros(p)
    for k, column in enumerate(columns):
        i, at = np.argwhere(design[:, :, k] != 0)[0]
        unit[k] = units[i, at]
        if not column.slope:
            low[k], high[k] = lower[i, at], upper[i, at]
        if column.parameter in priors and not column.slope:
            mean[k], precision[k] = priors[column.parameter][0], 1 / priors[column.parameter][1] ** 2
    return Layout(
        np.arange(n)[None], offset[None], design[None], own[None], (low, lower[None]), (high, upper[None]),
        (unit, units[None]), (mean, precision),
    )  # fmt: skip
