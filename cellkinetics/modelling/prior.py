"""Priors of parameters: what is known before the samples, on the scale on which each parameter is estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cellkinetics import domains
from cellkinetics.errors import ModelError, suggest
from cellkinetics.likelihood.error_models import ERRORS, LOG
from cellkinetics.modelling.model import Model
from cellkinetics.saving import storable

PUBLISHED = "published"


@storable
@dataclass(frozen=True)
class Normal:
    """Normal, for a parameter that is estimated on its natural scale: mean and SD in its unit."""

    mean: float
    sd: float

    def __post_init__(self) -> None:
        domains.finite(self.mean, "mean", 0.0)
        domains.positive(self.sd, "sd", 0.5)


@storable
@dataclass(frozen=True)
class LogNormal:
    """Log-normal, for a positive parameter or an sd: median in its unit, SD of its natural logarithm; both above 0.

    >>> LogNormal(0.16, 0.9)
    LogNormal(median=0.16, sd=0.9)
    """

    median: float
    sd: float

    def __post_init__(self) -> None:
        domains.positive(self.median, "median", 0.16)
        domains.positive(self.sd, "sd", 0.5)


@storable
@dataclass(frozen=True)
class LogitNormal:
    """Normal on the logit between the parameter's bounds: median in its unit, SD of the logit."""

    median: float
    sd: float

    def __post_init__(self) -> None:
        domains.finite(self.median, "median", 0.1)
        domains.positive(self.sd, "sd", 0.5)


Prior = Normal | LogNormal | LogitNormal
SCALES: dict[str, type] = {"identity": Normal, "log": LogNormal, "logit": LogitNormal}


def priors_of(model: Model, given: Mapping[str, Prior] | str | None, error: str = LOG) -> dict[str, Prior]:
    """The priors by name, checked; "published" takes the spread between patients from the model's file.

    Raises
    ------
    ModelError
        An unknown name, a prior of another scale than the parameter's, a median outside its bounds, an SD that is
        not positive, "published" where the model has none.
    """
    if given is None:
        return {}
    if isinstance(given, str):
        if given != PUBLISHED:
            raise ModelError(f"prior={given!r}: give {{name: ck.LogNormal(median, sd)}}, or 'published'.")
        priors = published_of(model)
        if not priors:
            raise ModelError(
                f"{model.name} has no published spread between patients. Give prior={{name: ck.LogNormal(median, sd)}}."
            )
        return priors
    names = [*model.parameters, *(ERRORS[error].sd_names(model.outputs) if error in ERRORS else ())]
    for name, prior in given.items():
        if name not in names:
            raise ModelError(
                f"prior of {name}: {model.name} has {', '.join(names)}. {suggest(name, names)}".rstrip(), name=name
            )
        scale = model.parameters[name].scale if name in model.parameters else "log"
        wanted = SCALES[scale]
        if not isinstance(prior, wanted):
            raise ModelError(
                f"prior of {name} is {prior!r}: it is estimated on the {scale} scale. Give ck.{wanted.__name__}.",
                name=name,
            )
        mean, sd = centre(model, name, prior), prior.sd
        if not (np.isfinite(mean) and np.isfinite(sd) and sd > 0):
            raise ModelError(f"prior of {name} is {prior!r}: give a centre within its bounds and a positive sd.", name)
    return dict(given)


def published_of(model: Model) -> dict[str, Prior]:
    """The spread between patients about the default of each parameter that has one in the model's file."""
    return {
        name: SCALES[parameter.scale](parameter.value, parameter.spread)
        for name, parameter in model.parameters.items()
        if parameter.spread is not None
    }


def centre(model: Model, name: str, prior: Prior) -> float:
    """Its mean on the estimation scale."""
    value = prior.mean if isinstance(prior, Normal) else prior.median
    if name not in model.parameters:
        return float(np.log(value)) if value > 0 else float("nan")
    parameter = model.parameters[name]
    if not parameter.min <= value <= parameter.max:
        return float("nan")
    return parameter.to_estimation(value)
