"""Curves of a model at given parameters and doses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError
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


class Estimated(Protocol):
    """A `Fit`, as far as a simulation looks at it."""

    @property
    def estimates(self) -> dict[str, float]:
        """Every parameter of the model."""
        ...

    @property
    def problem(self) -> Any:
        """The `Patient`."""
        ...


def simulate(
    model: Model,
    parameters: Values | pd.DataFrame | pd.Series[Any] | Estimated | None,
    times: npt.ArrayLike,
    doses: object = None,
    *,
    inputs: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Simulate a model.

    Parameters
    ----------
    model : a `Model`.
    parameters
        {name: natural value}, defaults where not named; a fit or its ``fit.parameters``, with what was fixed there;
        or a table with one row a draw and one column a parameter, such as the draws of a bootstrap, for many curves.
        Sds in a table are not used: curves are without noise.
    times : (n,) days since the first infusion; at the time of a dose, the value after it.
    doses
        an amount infused at day 0, (day, amount) pairs, (day, amount, days of infusion) triples, or {channel: any of
        these}; None for a model without dose, and for those of the patient whose fit is given.
    inputs
        {name: number or (day, value) pairs} of covariates over time, where the model takes any; those of the patient
        where a fit is given.

    Returns
    -------
    DataFrame
        ``day`` and one column an output, in the unit of ``model.outputs``; for a table of parameters with ``draw``
        (its index) in front.

    Raises
    ------
    ValueError
        Times that are dates, time differences, NaN or infinite.
    ModelError
        An unknown parameter, one without a value (of a patient who was not fitted), no dose for a model that needs one,
        or parameters at which it cannot be solved.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> from cellkinetics import models
    >>> il15 = models.load("il15_persistence")
    >>> ck.simulate(il15, {}, [7, 28, 365], doses=1e6).round(1)
         day  copies_per_ug
    0    7.0         3798.8
    1   28.0          136.1
    2  365.0           17.4
    """
    if isinstance(parameters, Model) and not isinstance(model, Model):
        raise TypeError("the model comes first: ck.simulate(model, parameters, times, doses=...).")
    domains.instance(model, Model, "model", "Take models.load(name) or ck.load_model(path).")
    days = domains.days(times, "times")
    events, courses = model.doses(doses), as_courses(inputs, model.inputs, model.name)
    if not isinstance(parameters, (Mapping, pd.DataFrame, pd.Series, type(None))):
        patient: Patient = parameters.problem
        if doses is None and patient.model.channels == model.channels:
            doses, events = "of the patient", patient.doses
        courses = patient.courses if inputs is None and patient.model.inputs == model.inputs else courses
        parameters = parameters.estimates
    if model.channels and doses is None:
        raise ModelError(f"{model.name} needs a dose. Give doses=1e6, or (day, amount) pairs.", name="doses")
    if isinstance(parameters, pd.DataFrame) and not _is_of_fit(parameters):
        draws = {index: one(model, _by_name(row), days, events, courses) for index, row in parameters.iterrows()}
        return pd.concat(draws, names=["draw"]).reset_index(level="draw").reset_index(drop=True)
    column = parameters["value"] if isinstance(parameters, pd.DataFrame) else parameters
    return one(model, _by_name(column) if isinstance(column, pd.Series) else column, days, events, courses)


def _by_name(values: pd.Series[Any]) -> dict[str, Any]:
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
    table: dict[str, Floats] = {"day": days}
    for index, name in enumerate(model.outputs):
        asked = inputs_of(model, values, (), days, np.full(len(days), index), doses, courses)
        result, _ = curve(model, (), np.zeros(0), asked, 0)
        if not result.solved:
            raise ModelError(f"{model.name} could not be integrated at {values}. Check the rates: are they per day?")
        table[name] = np.exp(result.value[: len(days)])
    return pd.DataFrame(table)
