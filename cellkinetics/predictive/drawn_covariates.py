"""What other patients are like: the covariates that a trial gives to all, or draws from rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.lazily import pandas as pd
from cellkinetics.population.prediction import covariates_of, known_in
from cellkinetics.population.result import PopulationFit

GivenCovariates: TypeAlias = "Mapping[str, Any] | pd.DataFrame | Study | None"


def rows_of(fit: PopulationFit, given: GivenCovariates) -> list[dict[str, Any]]:
    """{column: value} of what drives the population, of each row that patients are drawn from; one where all are alike.

    Raises
    ------
    TypeError
        No mapping, table or study.
    ValueError
        Covariates of different lengths, or a table without a row.
    ModelError
        A row without what drives the population, or in a group that it does not know; a covariate that drives nothing.
    """
    if given is None or isinstance(given, Mapping):
        values = dict(given or {})
        covariates_of(fit, values, None)
        lengths = {name: len(each) for name, each in values.items() if not isinstance(each, str) and np.ndim(each)}
        if not lengths:
            return [values]
        if len({*lengths.values()}) > 1:
            said = " and ".join(f"{count} of {name}" for name, count in lengths.items())
            raise ValueError(f"covariates has {said}: whole rows are drawn, so give as many of each.")
        return _drawn_from(fit, pd.DataFrame({**values}), without=())
    table = given.covariates if isinstance(given, Study) else given
    if not isinstance(table, pd.DataFrame):
        kind = type(given).__name__
        raise TypeError(f"covariates is a {kind}: give {{covariate: value or values}}, a DataFrame, or a study.")
    # Whatever dose these had: that of an arm is the dose here.
    return _drawn_from(fit, table, without=(BY_DOSE,))


def _drawn_from(fit: PopulationFit, table: pd.DataFrame, without: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a table, checked."""
    columns = {effect.column for effect in fit.design.effects} - {"", *without}
    if not columns:
        raise ModelError("covariates: nothing but the dose of an arm drives this population. Leave covariates out.")
    if not len(table):
        raise ValueError("covariates has no row to draw patients from.")
    at = table.index if table.index.is_unique else range(len(table))
    rows = table[[str(name) for name in table if str(name) in columns]].to_dict("records")
    return [
        dict(known_in(fit.design, row, f"row {label} of covariates", without))
        for label, row in zip(at, rows, strict=True)
    ]
