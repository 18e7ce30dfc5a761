"""Priors of parameters: what is known before the samples, on the scale on which each parameter is estimated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError, suggest
from cellkinetics.likelihood.error_models import ERRORS, LOG
from cellkinetics.meaning.units import factor_between
from cellkinetics.modelling.levels import unit_of
from cellkinetics.modelling.model import Model
from cellkinetics.saving import storable

PUBLISHED = "published"


class InUnit:
    """A prior with a unit, which is shown where it was given."""

    unit: str

    def __repr__(self) -> str:
        shown = {each.name: getattr(self, each.name) for each in fields(self)}  # pyright: ignore[reportArgumentType]
        known = ", ".join(f"{name}={value!r}" for name, value in shown.items() if name != "unit" or value)
        return f"{type(self).__name__}({known})"


@storable
@dataclass(frozen=True, repr=False)
class Normal(InUnit):
    """Normal, for a parameter that is estimated on its natural scale: mean and SD in its unit.

    In another ``unit``, which fits convert, if that is said: Normal(0.0, 60.0, "hour") of a lag in days.

    >>> Normal(0.0, 2.5)
    Normal(mean=0.0, sd=2.5)
    """

    mean: float
    sd: float
    unit: str = ""

    def __post_init__(self) -> None:
        domains.finite(self.mean, "mean", 0.0)
        domains.positive(self.sd, "sd", 0.5)


@storable
@dataclass(frozen=True, repr=False)
class LogNormal(InUnit):
    """Log-normal, for a positive parameter or an sd: median in its unit, SD of its natural logarithm; both above 0.

    In another ``unit``, which fits convert, if that is said.

    >>> LogNormal(0.16, 0.9)
    LogNormal(median=0.16, sd=0.9)
    >>> LogNormal(1.1, 0.9, unit="1/week")
    LogNormal(median=1.1, sd=0.9, unit='1/week')
    """

    median: float
    sd: float
    unit: str = ""

    def __post_init__(self) -> None:
        domains.positive(self.median, "median", 0.16)
        domains.positive(self.sd, "sd", 0.5)


@storable
@dataclass(frozen=True, repr=False)
class LogitNormal(InUnit):
    """Normal on the logit between the parameter's bounds: median in its unit, SD of the logit.

    In another ``unit``, which fits convert, if that is said: LogitNormal(10.0, 1.0, "%").

    >>> LogitNormal(0.1, 1.0)
    LogitNormal(median=0.1, sd=1.0)
    """

    median: float
    sd: float
    unit: str = ""

    def __post_init__(self) -> None:
        domains.finite(self.median, "median", 0.1)
        domains.positive(self.sd, "sd", 0.5)


Prior = Normal | LogNormal | LogitNormal
Pair = tuple[str, str]
# {name: prior}, and {(name, name): correlation on the estimation scale} of those that are known together.
GivenPriors = Mapping[str, Prior] | Mapping[str | Pair, Prior | float] | str
SCALES: dict[str, type] = {"identity": Normal, "log": LogNormal, "logit": LogitNormal}


@dataclass(frozen=True, eq=False)
class NormalPriors(Mapping[str, tuple[float, float]]):
    """What is known of parameters on their estimation scales: {name: (mean, SD)}, and how they are correlated.

    Parameters
    ----------
    names : m of them. mean : (m,). covariance : (m, m), positive definite.
    """

    names: tuple[str, ...] = ()
    mean: Floats = field(default_factory=lambda: np.zeros(0))
    covariance: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def of(cls, each: Mapping[str, tuple[float, float]], correlation: Mapping[Pair, float]) -> NormalPriors:
        """From mean and SD of each, and the correlations of those pairs that are among them."""
        if not each:
            return cls()
        names = tuple(each)
        mean, sd = np.array([*each.values()], float).reshape(-1, 2).T
        return cls(names, mean, np.outer(sd, sd) * matrix_of(names, correlation or {}))

    def __getitem__(self, name: str) -> tuple[float, float]:
        at = self._at(name)
        return float(self.mean[at]), float(np.sqrt(self.covariance[at, at]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def _at(self, name: str) -> int:
        if name not in self.names:
            raise KeyError(name)
        return self.names.index(name)

    @property
    def correlated(self) -> bool:
        """Whether any two are."""
        return bool(np.count_nonzero(self.covariance - np.diag(np.diag(self.covariance))))

    def only(self, names: Iterable[str]) -> NormalPriors:
        """What is known of some, the others unknown."""
        if not self.names:
            return self
        wanted = set(names)
        kept = [at for at, name in enumerate(self.names) if name in wanted]
        return NormalPriors(tuple(self.names[at] for at in kept), self.mean[kept], self.covariance[np.ix_(kept, kept)])

    def given(self, name: str, value: float) -> NormalPriors:
        """What is known of the others where one of them is known."""
        if name not in self.names:
            return self
        at = self._at(name)
        others = np.delete(np.arange(len(self.names)), at)
        slope = self.covariance[others, at] / self.covariance[at, at]
        mean = self.mean[others] + slope * (value - self.mean[at])
        covariance = self.covariance[np.ix_(others, others)] - np.outer(slope, self.covariance[at, others])
        return NormalPriors(tuple(self.names[at] for at in others), mean, covariance)

    def of_vector(self, names: Sequence[str]) -> tuple[Floats, Floats]:
        """Mean (d,) and precision (d, d) of values of these names; precision 0 of what is not known."""
        known = self.only(names)
        at = np.array([list(names).index(name) for name in known.names], int)
        mean, precision = np.zeros(len(names)), np.zeros((len(names), len(names)))
        mean[at] = known.mean
        if known.correlated:
            precision[np.ix_(at, at)] = np.linalg.inv(known.covariance)
        else:
            precision[at, at] = 1 / np.diag(known.covariance)
        return mean, precision


def matrix_of(names: Sequence[str], correlation: Mapping[Pair, float]) -> Floats:
    """(m, m) correlations, those of pairs that are not named 0."""
    matrix = np.eye(len(names))
    for (one, other), rho in correlation.items():
        if one in names and other in names:
            at = names.index(one), names.index(other)
            matrix[at] = matrix[at[::-1]] = rho
    return matrix


def parted(given: GivenPriors | None) -> tuple[Mapping[str, Prior] | str | None, dict[Pair, float]]:
    """The priors by name, and the correlations of pairs."""
    if given is None or isinstance(given, str):
        return given, {}
    pairs: dict[Any, Any] = {names: rho for names, rho in given.items() if isinstance(names, tuple)}
    each: dict[Any, Any] = {name: prior for name, prior in given.items() if name not in pairs}
    return each, pairs


def check_correlation(model: Model, priors: Mapping[str, Prior], correlation: Mapping[Pair, float]) -> None:
    """Raise a ModelError for correlations that priors cannot have."""
    seen: set[frozenset[str]] = set()
    for pair, rho in correlation.items():
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ModelError(f"prior of {pair!r}: a correlation is of two parameters, such as ('alpha', 'beta').")
        for name in pair:
            if name not in model.parameters:
                text = (
                    f"prior of {pair!r} is a correlation of parameters: {model.name} has {', '.join(model.parameters)}."
                )
                raise ModelError(f"{text} {suggest(name, model.parameters)}".rstrip(), name=name)
            if name not in priors:
                raise ModelError(
                    f"prior of {pair!r} is a correlation, and {name} has no prior. Give one too.", name=name
                )
        if not isinstance(rho, Real) or not -1 < float(rho) < 1:
            raise ModelError(f"prior of {pair!r} is {rho!r}: give a correlation between -1 and 1.", name=pair[0])
        if frozenset(pair) in seen:
            raise ModelError(f"the correlation of {pair[0]} and {pair[1]} is given twice; keep one.", name=pair[0])
        seen.add(frozenset(pair))
    names = sorted({name for pair in correlation for name in pair})
    smallest = float(np.min(np.linalg.eigvalsh(matrix_of(names, correlation)), initial=1.0))
    if not smallest > 1e-10:
        raise ModelError(
            f"the correlations of {', '.join(names)} contradict each other: their matrix is not positive definite "
            f"(smallest eigenvalue {smallest:.2g}). Give smaller ones."
        )


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
        # One in another unit is looked at when the unit of the study is known.
        mean, sd = 0.0 if prior.unit else centre(model, name, prior), prior.sd
        if not (np.isfinite(mean) and np.isfinite(sd) and sd > 0):
            raise ModelError(f"prior of {name} is {prior!r}: give a centre within its bounds and a positive sd.", name)
    return dict(given)


def in_own_unit(model: Model, name: str, prior: Prior, unit: str) -> Prior:
    """A prior in the unit that its parameter has in a study in ``unit``; as it is where it says none.

    Raises
    ------
    ModelError
        A unit that is not known, or of another kind; of what has none, such as an sd; a centre outside the bounds.
    """
    if not prior.unit:
        return prior
    if name not in model.parameters:
        raise ModelError(f"prior of {name} is {prior!r}, and {name} has no unit. Leave unit= out.", name=name)
    own = unit_of(model, name, unit)
    factor = factor_between(prior.unit, own)
    if factor is None:
        raise ModelError(
            f"prior of {name} is {prior!r}, and {name} is in {own}: the one cannot be converted to the other. "
            f"Give it in {own}.",
            name=name,
        )
    if isinstance(prior, Normal):
        converted: Prior = Normal(_short(prior.mean * factor), _short(prior.sd * factor))
    else:
        converted = replace(prior, median=_short(prior.median * factor), unit="")
    if not np.isfinite(centre(model, name, converted)):
        text = f"prior of {name} is {prior!r}, which is {converted!r} in {own}: give a centre within its bounds."
        raise ModelError(text, name=name)
    return converted


def _short(value: float) -> float:
    """To 12 digits: 0.7 a week is 0.1 a day, as it is written."""
    return float(f"{value:.12g}")


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
