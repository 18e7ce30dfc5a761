"""The samples of one patient as a model sees them: days since the first infusion, outputs by number, both ends."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study, places_of
from cellkinetics.data.wells import dna_mass
from cellkinetics.errors import ModelError
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.limits import in_force
from cellkinetics.meaning.placing import status_of
from cellkinetics.modelling.course import as_courses
from cellkinetics.optimising.status import Outcome, not_fitted
from cellkinetics.solving.sensitivity import pad
from cellkinetics.solving.solver import Courses

if TYPE_CHECKING:
    from cellkinetics.modelling.model import Model

CENSORINGS = ("m3", "m4", "drop", "half")


@dataclass(frozen=True, eq=False)
class Samples:
    """Arrays of one length n, by day.

    day : since the first infusion. output : index of the model's output. lower, upper : copies, equal if quantified,
    0 and inf at an open end. status : "quantified", "below", ... row : position in the study's observations.
    mass : ug of DNA in the wells of the sample; NaN where the study does not say. lloq, uloq : the lower and the upper
    limit of quantification of the sample, copies; NaN where none is known. Where the row itself names none it is that
    of the study, see `in_force`.
    """

    day: Floats
    output: npt.NDArray[np.int64]
    lower: Floats
    upper: Floats
    status: npt.NDArray[np.object_]
    row: npt.NDArray[np.int64]
    mass: Floats
    lloq: Floats
    uloq: Floats

    @classmethod
    def of(cls, table: pd.DataFrame) -> Samples:
        """From a table with day, output (index), lower and upper."""
        day, lower, upper = (table[name].to_numpy(float) for name in ("day", "lower", "upper"))
        output, row, unknown = table["output"].to_numpy(np.int64), np.arange(len(table)), np.full(len(table), np.nan)
        return cls(day, output, lower, upper, status_of(lower, upper), row, unknown, unknown, unknown)

    @property
    def repeats(self) -> int:
        """How many samples are of a day and an output that an earlier one is of: wells, mostly."""
        return len(self.day) - len({*zip(self.day.tolist(), self.output.tolist(), strict=True)})

    def __len__(self) -> int:
        return len(self.day)

    @property
    def quantified(self) -> npt.NDArray[np.bool_]:
        """(n,) whether the sample is quantified."""
        return self.lower == self.upper

    def taken(self, which: Any) -> Samples:
        """Those of a mask or an index."""
        return Samples(*(getattr(self, name)[which] for name in _parts()))

    def rows(self, length: int | None = None, *, mass: bool = False) -> Rows:
        """On the ln scale, padded to ``length``; with the ``mass`` of DNA where counting noise asks for it."""
        length = len(self) if length is None else length
        with np.errstate(divide="ignore"):
            lower, upper = (pad(np.log(end), length, 0.0) for end in (self.lower, self.upper))
        weight = pad(np.ones(len(self)), length, 0.0)
        return Rows(lower, upper, weight, pad(self.mass, length, 1.0) if mass else None)

    def censored(self, method: str) -> Samples:
        """The samples as a method of handling values below the limit sees them.

        m3 : the probability of lying below the limit (Beal 2001). m4 : the same, given that the value is positive;
        under a log-normal error every value is, so that m4 equals m3. drop : censored rows are left out (M1). half :
        values below a limit (or between two) are set to half of the upper one (M5); rows above a limit are left out.
        """
        if method not in CENSORINGS:
            raise ValueError(f"censoring={method!r}: take one of {', '.join(CENSORINGS)}.")
        if method in ("m3", "m4"):
            return self
        if method == "drop":
            return self.taken(self.quantified)
        kept = self.taken(self.quantified | np.isfinite(self.upper))
        value = np.where(kept.quantified, kept.upper, kept.upper / 2)
        return replace(kept, lower=value, upper=value)


@cache
def _parts() -> tuple[str, ...]:
    return tuple(part.name for part in fields(Samples))


def samples_each(model: Model, study: Study) -> dict[str, Samples]:
    """{subject: used samples}; those of an output that the model does not have are left out.

    A DVID of 1, 2, ... is the model's first, second, ... output; a name is that output.
    """
    used = study.observations
    names = {str(i + 1): i for i in range(len(model.outputs))} | {name: i for i, name in enumerate(model.outputs)}
    output = np.array([names.get(name, np.nan) for name in used["output"].to_numpy(object)])
    subject = places_of(study.subjects, used)
    first = infusion_days(study)
    day = used["day"].to_numpy(float) - first[subject]
    keep = np.flatnonzero((used["excluded"].to_numpy() == "") & np.isfinite(output))
    order = keep[np.lexsort((day[keep], subject[keep]))]
    lower, upper, lloq = (used[name].to_numpy(float)[order] for name in ("lower", "upper", "lloq"))
    status = used["status"].to_numpy(object)[order]
    output, mass = output[order].astype(np.int64), dna_mass(study)[order]
    whose = subject[order], output, day[order]
    named = np.where((lower == 0) & np.isfinite(upper), upper, np.nan)
    lloq = in_force(np.where(np.isnan(lloq), named, lloq), lower, *whose)
    # On the axis turned round an upper limit is a lower one.
    uloq = -in_force(np.where(np.isposinf(upper), -lower, np.nan), -upper, *whose)
    everyone = Samples(day[order], output, lower, upper, status, order, mass, lloq, uloq)
    ends = np.searchsorted(subject[order], np.arange(len(study.subjects) + 1))
    return {name: everyone.taken(slice(*ends[i : i + 2])) for i, name in enumerate(study.subjects)}


def infusion_days(study: Study) -> Floats:
    """(subjects,) day of the first infusion of cells; 0 where there is none."""
    # Neither by groupby nor by an index: of one patient they take as long as half of the fit.
    given = study.doses["kind"].to_numpy(object) == "cells"
    whose = places_of(study.subjects, study.doses)[given]
    first = np.full(len(study.subjects), np.inf)
    np.fmin.at(first, whose, study.doses["day"].to_numpy(float)[given])
    return np.where(np.isfinite(first), first, 0.0)


def courses_of(model: Model, study: Study) -> tuple[Courses, Outcome | None]:
    """The subject's covariates over time from the study's columns, and why they cannot be taken, if so."""
    (subject,) = study.subjects
    first, given = study.infusion_day(subject), {}
    for name in model.inputs:
        if name in study.covariates and pd.notna(study.covariates[name].iloc[0]):
            given[name] = float(study.covariates[name].iloc[0])
        elif name in study.observations:
            rows = study.observations[["day", name]].dropna().drop_duplicates("day")
            given[name] = list(zip(rows["day"] - first, rows[name].astype(float), strict=True))
    try:
        return as_courses(given, model.inputs, model.name, of_study=True), None
    except (ModelError, ValueError) as error:
        nothing = dict.fromkeys(model.inputs, 1.0)
        return as_courses(nothing, model.inputs, model.name), not_fitted(error)
