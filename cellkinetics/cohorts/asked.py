"""What is asked of a comparison: a study, what its groups are, and whether these have an order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cellkinetics import domains
from cellkinetics.data.groups import MOST_GROUPS, NOBODY, Groups
from cellkinetics.data.groups import of as groups_of
from cellkinetics.data.study import Study
from cellkinetics.fitting.fits import Fits
from cellkinetics.lazily import pandas as pd


def study_of(x: Study | Fits, model: object) -> Study:
    """The study that is compared."""
    if isinstance(x, Fits):
        x = x.study
    remedy = "Give compare_cohorts(study), or the result of fit_each; a model goes into model=."
    found = domains.instance(x, Study, "what is compared", remedy)
    if model is not None:
        from cellkinetics.modelling.model import Model

        domains.instance(model, Model, "model", "Take models.load(name) or ck.load_model(path).")
    return found


def groups_by(study: Study, by: str) -> Groups:
    """Who belongs to which group."""
    groups = groups_of(study, by)
    names = groups.known
    if not names:
        others = _columns(study, by)
        remedy = (
            f"Columns that can be: {', '.join(others)}."
            if others
            else "No other column has groups: give the table one."
        )
        raise ValueError(f"nobody has a {by}, so that nothing can be compared by it. {remedy}")
    if len(names) > MOST_GROUPS and by != "dose":
        raise ValueError(
            f"{by} has {len(names)} different values: give a covariate with at most {MOST_GROUPS} groups, such as one "
            "that says low or high."
        )
    return groups


def _columns(study: Study, by: str) -> list[str]:
    """What could be compared instead: the dose, and covariates with two to eight values."""
    found = []
    for name in map(str, study.covariates):
        n = study.covariates[name].nunique()
        if name not in (by, "until", "until_reason") and (2 <= n <= MOST_GROUPS or (name == "dose" and n > 1)):
            found.append(f"by={name!r} ({n} values)")
    return found


def are_individual(groups: Groups) -> bool:
    """Whether doses are each patient's own: more than eight, or all different."""
    patients = int((groups.members != NOBODY).sum())
    return len(groups.known) > MOST_GROUPS or len(groups.known) == patients > 2


def second_factor(study: Study, by: str, within: str) -> tuple[pd.Series, list[str]]:
    """The groups of a second factor, and their names in order."""
    if within == by or {by, within} == {"cohort", "dose"}:
        raise ValueError(f"within={within!r} is the factor that is compared ({by}). Give another one, or None.")
    strata = groups_by(study, within)
    return strata.members, strata.known


def is_ordered(study: Study, by: str, groups: pd.Series, names: Sequence[str]) -> bool:
    """Whether the groups have an order: a number, or cohorts each with a median dose of its own."""
    if by != "cohort":
        return bool(pd.api.types.is_numeric_dtype(study.covariates[by]))
    medians = [float(study.covariates.loc[groups == name, "dose"].median()) for name in names]
    return not any(math.isnan(median) for median in medians) and len(set(medians)) == len(medians)
