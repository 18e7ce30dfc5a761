"""What a population says before a study is planned: its median patient, spreads between patients, and errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.modelling.model import Model
from cellkinetics.saving import storable


@storable
@dataclass(frozen=True, eq=False)
class DrawnTypical:
    """What a plan takes of each of b draws of a population, each study of another one.

    estimates : {name: (b,)} of the median patient, on the scale of estimation. effect : {name: (b,)} exponents of the
    dose. factors : (b, k, k) Cholesky factors of the covariances between patients, in the order of ``between``; empty
    where others are given. sds : {output: (b, parts)}.
    """

    estimates: Mapping[str, Floats]
    effect: Mapping[str, Floats]
    factors: Floats
    sds: Mapping[str, Floats]


@dataclass(frozen=True)
class Typical:
    """A population as a plan takes it.

    values : {name: natural value} of the median patient at a dose. free : names that the population estimates.
    between : {name: SD between patients} on the scale of estimation. linked : (k, k) correlations of these, in their
    order. effect : {name: exponent of the dose}. error : the name of the error model. sds : {output: its sds, in the
    order of its parts}. measured : outputs of which the study has samples. drawn : draws of a posterior, of which the
    others are the means.
    """

    model: Model
    values: Mapping[str, float]
    free: tuple[str, ...]
    between: Mapping[str, float]
    linked: Floats
    effect: Mapping[str, float]
    sds: Mapping[str, tuple[float, ...]]
    error: str
    measured: tuple[str, ...]
    drawn: DrawnTypical | None = None

    def errors(self, output: str) -> tuple[str, tuple[float, ...]] | None:
        """The error model and its sds of an output; None of one that there is not."""
        return (self.error, self.sds[output]) if output in self.sds else None


@runtime_checkable
class HasTypical(Protocol):
    """A `PopulationFit` or its posterior, as far as a plan looks at it."""

    def typical(self, dose: float | None = None) -> Typical:
        """At a dose, where it drives a parameter; at the geometric mean of the patients' where None."""
        ...


def of(model: Model | HasTypical, dose: float | None = None) -> tuple[Model, Typical | None]:
    """The model, and what a population that was given in its place says."""
    if isinstance(model, HasTypical):
        typical = model.typical(dose)
        return typical.model, typical
    return domains.instance(
        model, Model, "model", "Take models.load(name) or ck.load_model(path), or a population."
    ), None


def first_dose(cells: Any) -> float:
    """The number where doses of cells are one, else the amount of the first of their events that has any."""
    if isinstance(cells, list | tuple) or np.ndim(cells):
        return float(min(event for event in map(tuple, cells) if event[1] > 0)[1])
    return float(cells)
