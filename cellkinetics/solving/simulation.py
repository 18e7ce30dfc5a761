"""Curves of a model at given parameters and doses."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError, TimeWarning
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.course import as_courses
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import Model, Values
from cellkinetics.solving.sensitivity import curve, inputs_of
from cellkinetics.solving.solver import Courses


class Patient(Protocol):
    """Whom a fit is of: what was given, and the covariates, on days since the first infusion."""

    model: Model
    doses: Doses
    courses: Courses


class Known(Protocol):
    """A `Fit`, or a bootstrap of one, as far as a simulation looks at it."""

    @property
    def problem(self) -> Any:
        """The `Patient`."""
        ...


class Estimated(Known, Protocol):
    """A `Fit`."""

    @property
    def estimates(self) -> dict[str, float]:
        """Every parameter of the model."""
        ...


class Drawn(Known, Protocol):
    """A `Bootstrap`."""

    @property
    def draws(self) -> pd.DataFrame:
        """One row a draw, one column a parameter."""
        ...


class Several(Protocol):
    """A `JointFit`."""

    @property
    def each(self) -> Mapping[str, Estimated]:
        """{subject: fit}."""
        ...


# What `simulate` takes for parameters.
Given: TypeAlias = "Values | pd.DataFrame | pd.Series | Estimated | Drawn | Several | Mapping[str, Estimated] | None"


def simulate(
    model: Model,
    parameters: Given,
    times: npt.ArrayLike,
    doses: object = None,
    *,
    inputs: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """What `ck.simulate` gives (`cellkinetics.solving.simulating`), in the unit of the model's outputs."""
    if isinstance(parameters, Model) and not isinstance(model, Model):
        raise TypeError("the model comes first: ck.simulate(model, parameters, times, doses=...).")
    domains.instance(model, Model, "model", "Take models.load(name) or ck.load_model(path).")
    days = domains.days(times, "times")
    before(days)
    found = getattr(parameters, "each", parameters)
    if isinstance(found, Mapping) and any(hasattr(one, "problem") for one in found.values()):
        with warnings.catch_warnings():
            # Said once.
            warnings.simplefilter("ignore", TimeWarning)
            tables = {s: simulate(model, fit, days, doses, inputs=inputs) for s, fit in found.items()}
        return pd.concat(tables, names=["subject"]).reset_index(level="subject").reset_index(drop=True)
    known: Any = found
    patient: Patient | None = known.problem if hasattr(found, "problem") else None
    events = model.doses(doses)
    of_patient = patient is not None and inputs is None and patient.model.inputs == model.inputs
    courses = patient.courses if patient is not None and of_patient else as_courses(inputs, model.inputs, model.name)
    if hasattr(found, "problem"):
        if patient is not None and doses is None and patient.model.channels == model.channels:
            doses, events = "of the patient", patient.doses
        found = known.draws if hasattr(known, "draws") else known.estimates
    if not isinstance(found, (Mapping, pd.DataFrame, pd.Series, type(None))):
        kind = type(found).__name__
        raise TypeError(
            f"parameters is a {kind}: give {{name: value}}, a fit, its .parameters, a bootstrap or its .draws."
        )
    itself = ", or the fit or bootstrap itself, which knows what its patient was given"
    refuse_none(model, doses, itself if isinstance(found, (pd.DataFrame, pd.Series)) else "")
    if isinstance(found, pd.DataFrame) and not _is_of_fit(found):
        draws = {index: one(model, _by_name(row), days, events, courses) for index, row in found.iterrows()}
        return pd.concat(draws, names=["draw"]).reset_index(level="draw").reset_index(drop=True)
    column = found["value"] if isinstance(found, pd.DataFrame) else found
    return one(model, None if column is None else _by_name(column), days, events, courses)


def refuse_none(model: Model, doses: object, otherwise: str = "") -> None:
    """A ModelError where a model takes doses and none are given; ``otherwise`` is what could be given besides."""
    if takes_doses(model) and (doses is None or (isinstance(doses, (list, tuple, dict)) and not doses)):
        text = f"{model.name} needs a dose. Give doses=1e6, or (day, amount) pairs{otherwise}."
        raise ModelError(text, name="doses")


def possible(model: Model, values: dict[str, Any]) -> dict[str, Any]:
    """The values, where all can be; a ModelError with the one that cannot."""
    for name, value in values.items():
        why = model.parameters[name].has_no(float(value)) if np.ndim(value) == 0 else ""
        if why:
            remedy = f"Give a value such as its default, {model.parameters[name].value:g}."
            raise ModelError(f"{name} of {model.name}: {why}. {remedy}", name=name)
    return values


def before(days: Floats) -> None:
    """Warn of days before the infusion, of which no model speaks."""
    if len(days) and np.min(days) < 0:
        text = "lies before the infusion, where a curve is what it starts with (0 where it has doses)."
        warnings.warn(f"day {np.min(days):g} {text}", TimeWarning, stacklevel=3)


def _by_name(values: Values | pd.Series[Any]) -> dict[str, Any]:
    """Without sds, which no parameter may be called like."""
    return {str(name): value for name, value in values.items() if not re.match("sd(_|$)", str(name))}


def _is_of_fit(table: pd.DataFrame) -> bool:
    """Whether a table has a parameter a row, as ``fit.parameters``, and not a draw."""
    return table.index.name == "parameter" and "value" in table


def one(model: Model, parameters: Values | None, days: Floats, doses: Doses, courses: Courses) -> pd.DataFrame:
    """One curve."""
    values = model.values(parameters)
    unknown = [name for name, value in values.items() if not np.isfinite(float(value))]
    if unknown:
        text = f"no value of {', '.join(unknown)}: fit.outcome says why a patient was not fitted. Give {{name: value}}."
        raise ModelError(text, name=unknown[0])
    possible(model, values)
    table: dict[str, Floats] = {"day": days}
    for index, name in enumerate(model.outputs):
        # What has no dose begins on day 0: a closed form would run on backwards.
        asked = inputs_of(
            model,
            values,
            (),
            days if takes_doses(model) else np.maximum(days, 0.0),
            np.full(len(days), index),
            doses,
            courses,
        )
        result, _ = curve(model, (), np.zeros(0), asked, 0)
        if not result.solved:
            raise ModelError(f"{model.name} could not be integrated at {values}. Check the rates: are they per day?")
        table[name] = np.exp(result.value[: len(days)])
    return pd.DataFrame(table)
