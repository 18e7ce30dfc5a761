"""A parameter with its unit, source, bounds and scale, and the parameters of a model as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special

OVERFLOW = 709.0  # what exp still has a number for


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model.

    Parameters
    ----------
    value : the default, on the natural scale.
    unit : as text, "1" for a pure number.
    source : where the value comes from ("Table 2", "derived: ln 2/0.755 d", "assumption").
    min, max : bounds on the natural scale.
    scale
        the scale on which it is estimated: "log" (positive values, the default), "logit" (between two
        finite bounds) or "identity".
    between : between-patient variability as published, in words, with its scale and where sources disagree.
    spread : the same as a number: SD between patients on the estimation scale, for ``prior="published"``.

    Examples
    --------
    >>> Parameter(0.16, "1/day", "Table 2", min=1e-3, max=10.0).unit
    '1/day'
    """

    value: float
    unit: str
    source: str
    min: float = 0.0
    max: float = np.inf
    scale: Literal["log", "logit", "identity"] = "log"
    between: str = ""
    spread: float | None = None

    def to_estimation(self, value: float) -> float:
        """The value on the estimation scale: ln, logit between the bounds, or as it is."""
        if self.scale == "log":
            return float(np.log(value)) if value > 0 else -np.inf
        if self.scale == "logit":
            share = (value - self.min) / (self.max - self.min)
            return float(special.logit(share))
        return float(value)

    def has_no(self, value: float) -> str:
        """Why a number is no value of this parameter, "" where it is one; its bounds are not asked.

        Examples
        --------
        >>> Parameter(1.6, "1/day", "Table 1").has_no(-1)
        '-1 is negative'
        """
        if math.isnan(value):
            return "NaN is no number"
        if self.scale == "log" and value < 0:
            return f"{value:g} is negative"
        if self.scale == "logit" and not self.min <= value <= self.max:
            return f"{value:g} is not from {self.min:g} to {self.max:g}"
        return ""

    def each_to_estimation(self, values: Floats) -> Floats:
        """`to_estimation` of many; NaN where a value is outside the scale."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.scale == "log":
                return np.log(values)
            return special.logit((values - self.min) / (self.max - self.min)) if self.scale == "logit" else values

    def to_natural(self, value: Any) -> Any:
        """The inverse of `to_estimation`; takes JAX values."""
        if self.scale == "log":
            return jnp.exp(value)
        if self.scale == "logit":
            return self.min + (self.max - self.min) * jax.nn.sigmoid(value)
        return value

    def from_estimation(self, value: float) -> float:
        """`to_natural` for a plain number; the end of an interval without an end is inf."""
        if self.scale == "log":
            return np.inf if value >= OVERFLOW else float(np.exp(value))
        if self.scale == "logit":
            return float(self.min + (self.max - self.min) * special.expit(value))
        return float(value)

    def each_from_estimation(self, values: Floats) -> Floats:
        """`from_estimation` of many."""
        if self.scale == "log":
            return np.where(values >= OVERFLOW, np.inf, np.exp(np.minimum(values, OVERFLOW)))
        if self.scale == "logit":
            return self.min + (self.max - self.min) * special.expit(values)
        return values

    def slope(self, value: Any) -> Any:
        """The derivative of the natural value by the one on the estimation scale, at a natural value."""
        if self.scale == "log":
            return value
        if self.scale == "logit":
            share = (value - self.min) / (self.max - self.min)
            return (self.max - self.min) * share * (1 - share)
        return 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds on the estimation scale; a logit has none."""
        if self.scale == "logit":
            return -np.inf, np.inf
        return self.to_estimation(self.min), self.to_estimation(self.max)


@dataclass(frozen=True)
class ParameterSet:
    """Other defaults of a model that belong together, such as those of another product; see `Model.with_set`.

    Parameters
    ----------
    population : whom they describe, in the place of the model's.
    values : {name: value} on the natural scale; what is not named keeps the model's default.
    source : where the values come from.
    free : names estimated by default, in the place of the model's.
    checks : what is published of these patients and given back, in the place of the model's.
    """

    population: str
    values: Mapping[str, float]
    source: str
    free: tuple[str, ...] | None = None
    checks: tuple[Any, ...] = ()


class AsParameters:
    """An attribute that takes any mapping of parameters and gives it back as `Parameters`."""

    def __get__(self, owner: Any, kind: Any = None) -> Parameters:
        if owner is None:
            raise AttributeError("parameters")  # so that a dataclass sees no default
        return owner.__dict__["_parameters"]

    def __set__(self, owner: Any, value: Mapping[str, Parameter]) -> None:
        owner.__dict__["_parameters"] = Parameters(value)


class Parameters(Mapping[str, Parameter]):
    """The parameters of a model by name, in order; shown as a table.

    >>> from cellkinetics import models
    >>> models.load("stein_2019_tisagenlecleucel").parameters["t_max"].unit
    'day'
    >>> list(models.load("stein_2019_tisagenlecleucel").parameters.table.columns)
    ['default', 'unit', 'min', 'max', 'scale', 'source', 'between']
    """

    def __init__(self, by_name: Mapping[str, Parameter]) -> None:
        self._by_name = dict(by_name)

    def __getitem__(self, name: str) -> Parameter:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def table(self) -> pd.DataFrame:
        """One row a parameter: default, unit, min, max, scale, source, between (variability between patients)."""
        columns = ["value", "unit", "min", "max", "scale", "source", "between"]
        rows = {name: [getattr(parameter, column) for column in columns] for name, parameter in self.items()}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["default", *columns[1:]])
        return table.rename_axis("parameter")

    def __repr__(self) -> str:
        return self.table.to_string()

    def _repr_html_(self) -> str:
        return self.table.to_html()
