"""Curves of a model at given parameters and doses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError
from cellkinetics.modelling.course import as_courses
from cellkinetics.modelling.model import Model, Values
from cellkinetics.solving.sensitivity import curve, finite_days, inputs_of


def simulate(
    model: Model,
    parameters: Values | pd.DataFrame | None,
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
        {name: natural value}, defaults where not named; or a table with one row a draw and one column a
        parameter, for many curves.
    times : (n,) days since the first infusion; at the time of a dose, the value after it.
    doses
        an amount infused at day 0, (day, amount) pairs, (day, amount, days of infusion) triples, or {channel: any of
        these}; None for a model without dose.
    inputs : {name: number or (day, value) pairs} of covariates over time, where the model takes any.

    Returns
    -------
    DataFrame
        ``day`` and one column an output, in the unit of ``model.outputs``; for a table of parameters with ``draw``
        (its index) in front.

    Raises
    ------
    ModelError
        An unknown parameter, no dose for a model that needs one, or parameters at which it cannot be solved.

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
    days = finite_days(times)
    if model.channels and doses is None:
        raise ModelError(f"{model.name} needs a dose. Give doses=1e6, or (day, amount) pairs.", name="doses")
    if isinstance(parameters, pd.DataFrame):
        draws = {
            index: one(model, {str(name): v for name, v in row.items()}, days, doses, inputs)
            for index, row in parameters.iterrows()
        }
        return pd.concat(draws, names=["draw"]).reset_index(level="draw").reset_index(drop=True)
    return one(model, parameters, days, doses, inputs)


def one(
    model: Model, parameters: Values | None, days: Floats, doses: object, inputs: Mapping[str, Any] | None
) -> pd.DataFrame:
    """One curve."""
    courses, events = as_courses(inputs, model.inputs, model.name), model.doses(doses)
    values = model.values(parameters)
    table: dict[str, Floats] = {"day": days}
    for index, name in enumerate(model.outputs):
        asked = inputs_of(model, values, (), days, np.full(len(days), index), events, courses)
        result, _ = curve(model, (), np.zeros(0), asked, 0)
        if not result.solved:
            raise ModelError(f"{model.name} could not be integrated at {values}. Check the rates: are they per day?")
        table[name] = np.exp(result.value[: len(days)])
    return pd.DataFrame(table)
