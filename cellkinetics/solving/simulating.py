"""Curves of a model, or of fits of it, in the unit that they have: what `ck.simulate` is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from cellkinetics.errors import one_problem
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.comedication import without_effect
from cellkinetics.modelling.levels import column_of, unit_of_table
from cellkinetics.modelling.model import Model
from cellkinetics.solving import simulation
from cellkinetics.solving.simulation import Given


def simulate(
    model: Model,
    parameters: Given,
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
        a bootstrap, or a table with one row a draw and one column a parameter, for many curves; the fits of many
        subjects. Sds are not used: curves are without noise.
    times
        (n,) days since the first infusion; at the time of a dose, the value after it. Before day 0 a curve is what it
        starts with, 0 where cells are given: a warning says so.
    doses
        an amount infused at day 0, (day, amount) pairs, (day, amount, days of infusion) triples, or {channel: any of
        these}; None for a model without dose, and for those of the patient whose fit or bootstrap is given. Given to a
        model without dose they have no effect: a warning says so.
    inputs
        {name: number or (day, value) pairs} of covariates over time, where the model takes any; those of the patient
        where a fit is given.

    Returns
    -------
    DataFrame
        ``day`` and one column an output; for a table of parameters with ``draw`` (its index) in front, for several
        fits with ``subject``. In the unit of ``model.outputs``, or in that of the study where the parameters come from
        a fit: an output whose name says the one then goes by the other, ``cells_per_ul`` in place of
        ``copies_per_ug``. Numbers without a fit, as in a plain {name: value}, are taken to be in the model's unit.

    Raises
    ------
    TypeError
        Parameters that are none of these.
    ValueError
        Times that are dates, time differences, NaN or infinite.
    StudyError
        Fits in several units.
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
    table = simulation.simulate(model, parameters, times, doses, inputs=inputs)
    without_effect(model, doses)
    unit = _unit_of(model, parameters)
    return table if not unit else table.rename(columns={name: column_of(model, name, unit) for name in model.outputs})


def _unit_of(model: Model, given: Any) -> str:
    """The unit of the study that parameters come from; "" of those that come from none."""
    if study := getattr(given, "study", None):
        return str(study.unit)
    given = getattr(given, "draws", given)
    if said := getattr(given, "attrs", {}).get("unit"):
        return str(said)
    if isinstance(given, pd.DataFrame) and "unit" in given:
        return unit_of_table(model, {str(name): str(unit) for name, unit in given["unit"].items()})
    fits = given.values() if isinstance(given, Mapping) else ()
    each = sorted({_unit_of(model, fit) for fit in fits if hasattr(fit, "study")})
    if len(each) > 1:
        raise one_problem(f"the fits are in {' and in '.join(each)}", "Simulate those of each unit by themselves.")
    return each[0] if each else ""
