"""Who belongs to which group of a study, and in which order groups stand."""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import NamedTuple

import numpy as np

from cellkinetics.data.study import Study
from cellkinetics.errors import suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.words import dose_text

NOBODY = "no cohort"
EVER_GIVEN, NEVER_GIVEN = "{} given", "{} never given"  # of a comedication
MOST_GROUPS = 8  # more are values, not groups


class Groups(NamedTuple):
    """The groups of a study by one of its covariates.

    Attributes
    ----------
    members : Series
        The group of each subject, `NOBODY` for those without one.
    names : tuple of str
        The groups from the lowest dose to the highest, those without a dose after them, 2 before 10; `NOBODY` last,
        where there is one.
    """

    members: pd.Series
    names: tuple[str, ...]

    @property
    def known(self) -> list[str]:
        """The names without `NOBODY`."""
        return [name for name in self.names if name != NOBODY]


def of(study: Study, by: str = "cohort") -> Groups:
    """The groups of a study by a covariate; a number is written with its unit where that is known."""
    table = study.covariates
    if by not in table:
        advice = suggest(by, map(str, table)) or f"The study has {', '.join(map(str, table)) or 'none'}."
        raise ValueError(f"there is no covariate {by!r}. {advice}")
    values, suffix = table[by], f" {study.dose_unit}" if by == "dose" else ""
    numeric = pd.api.types.is_numeric_dtype(values)
    text = values.map(lambda value: f"{dose_text(value) if numeric else value}{suffix}", na_action="ignore")
    rank = (values if numeric else table["dose"]).astype(float).groupby(text).median()
    names = sorted(
        rank.index,
        key=lambda name: (math.isnan(rank[name]), 0.0 if math.isnan(rank[name]) else rank[name], counted(name)),
    )
    return Groups(text.astype(object).fillna(NOBODY), (*names, *([NOBODY] if text.isna().any() else [])))


def ever_given(study: Study, what: str) -> Groups:
    """Patients who were ever given something, as a dose or by a column of its name that is above 0, and the others."""
    doses, given = study.doses, set[str]()
    given |= set(doses.loc[(doses["kind"] == what) & (doses["amount"] > 0), "subject"].astype(str))
    if what in study.covariates:
        values = pd.to_numeric(study.covariates[what], errors="coerce")
        given |= set(values.index[values > 0].astype(str))
    if what in study.observations:
        values = pd.to_numeric(study.observations[what], errors="coerce")
        given |= set(study.observations.loc[values > 0, "subject"].astype(str))
    words = NEVER_GIVEN.format(what), EVER_GIVEN.format(what)
    members = pd.Series([words[subject in given] for subject in study.subjects], list(study.subjects), object)
    return Groups(members, words)


def shown(name: str, by: str) -> str:
    """A group as a picture or a sentence names it: "no response" for those who have none."""
    return f"no {by}" if name == NOBODY else name


def named(value: object) -> str:
    """The name of a group whose patients have this value, as `of` has it: 11 for 11.0."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return str(value)
    return dose_text(float(value))


def counted(name: str) -> list[tuple[float, str]]:
    """A key that puts 2 before 10, Cohort 2 before Cohort 10 and 3e6 before 1e7."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+]?\d+)?)", name, flags=re.IGNORECASE)
    return [(float(part), "") if part[0].isdecimal() else (math.inf, part) for part in parts if part]
