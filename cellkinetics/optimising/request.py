"""What is asked of a fit: the arguments of `ck.fit` and its kin, their types and defaults, written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, TypeVar, Unpack

from cellkinetics import domains, readiness
from cellkinetics.errors import ModelError, suggest
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.likelihood.error_models import LOG, of
from cellkinetics.modelling import travel
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import (
    PUBLISHED,
    GivenPriors,
    Pair,
    Prior,
    check_correlation,
    in_own_unit,
    parted,
    priors_of,
)
from cellkinetics.saving import UNSAVED
from cellkinetics.solving.captured import frozen
from cellkinetics.solving.sensitivity import Tie

ONE_AMOUNT = "one amount"  # doses= of who has a dose that nobody knows

Fitting = TypeVar("Fitting", bound=Callable[..., Any])


class Asked(TypedDict, total=False):
    """The arguments that every fit takes; `ck.fit` says what they mean."""

    fixed: Mapping[str, float] | None
    free: str | Sequence[str] | None
    initial: Mapping[str, float] | None
    tie: Mapping[str, Tie] | None
    censoring: str
    doses: object
    prior: GivenPriors | None
    starts: int | None
    seed: int
    error: str


ONE_SEARCH = (
    "It is for work of many pieces: fit_each, fit.bootstrap, fit.profile, power and compare_cohorts(model=). A fit of "
    "one patient, or of several together by shared=, is one search, which keeps nothing on its way."
)
DEFAULTS: Asked = {
    "fixed": None, "free": None, "initial": None, "tie": None, "censoring": "m3", "doses": None, "prior": None,
    "starts": None, "seed": 2020, "error": LOG,
}  # fmt: skip


def asking(function: Fitting) -> Fitting:
    """Give a function of ``**asked`` the signature with the names and defaults of `Asked`, which help and tab show."""
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    asked = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_text(name))
        for name, default in DEFAULTS.items()
    ]
    before = [one for one in own if one.kind is not one.KEYWORD_ONLY]
    after = [one for one in own if one.kind is one.KEYWORD_ONLY]
    setattr(function, "__signature__", signature.replace(parameters=[*before, *asked, *after]))  # noqa: B010
    return function


def _text(name: str) -> str:
    kind = Asked.__annotations__[name]
    return str(getattr(kind, "__forward_arg__", kind))


FEWEST_STARTS = 4


@dataclass(frozen=True)
class Request:
    """What `ck.fit` was asked to do, as given."""

    model: Model = field(metadata=UNSAVED)
    fixed: Mapping[str, float]
    free: tuple[str, ...] | None
    initial: Mapping[str, float]
    tie: Mapping[str, Tie] = field(metadata=UNSAVED)
    censoring: str
    doses: object
    starts: int
    seed: int
    prior: Mapping[str, Prior] = field(default_factory=dict)
    error: str = LOG
    correlation: tuple[tuple[Pair, float], ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        # A tie is a function, and may have been written in the call.
        return {**vars(self), "tie": travel.packed(self.tie)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "tie": travel.unpacked(state["tie"])})

    @property
    def error_model(self) -> ErrorModel:
        """What ``error`` names, under ``censoring``; ValueError for an unknown name."""
        return of(self.error, self.censoring)

    @property
    def one_amount(self) -> bool:
        """Whether the dose is unknown, and what it is multiplied with stands for the product."""
        return isinstance(self.doses, str) and self.doses == ONE_AMOUNT and takes_doses(self.model)

    def in_units_of(self, unit: str) -> Request:
        """The same for a study in ``unit``: priors with a unit of their own are in those of the parameters."""
        prior = {name: in_own_unit(self.model, name, one, unit) for name, one in self.prior.items()}
        return replace(self, prior=prior) if any(one.unit for one in self.prior.values()) else self

    @property
    def options(self) -> dict[str, Any]:
        """What was asked, but for the model, as plain values for a file: ties by name, doses and priors as text."""
        doses = self.doses if self.doses is None or isinstance(self.doses, str) else repr(self.doses)
        known = {**self.prior, **_by_text(self.correlation)}
        return {
            "fixed": dict(self.fixed), "free": self.free, "initial": dict(self.initial), "tie": list(self.tie),
            "censoring": self.censoring, "doses": doses, "prior": {name: repr(one) for name, one in known.items()},
            "starts": self.starts, "seed": self.seed, "error": self.error,
        }  # fmt: skip

    @property
    def asked(self) -> dict[str, Any]:
        """The same with the model, and each thing itself: what a run that goes on must find unchanged."""
        return {
            "model": self.model.name, "equations": self.model, **self.options, "tie": dict(self.tie),
            "doses": self.doses, "prior": {**self.prior, **_by_text(self.correlation)},
        }  # fmt: skip

    @classmethod
    def of(cls, model: Model, **asked: Unpack[Asked]) -> Request:
        """The arguments of `ck.fit` as plain numbers and tuples.

        Raises
        ------
        TypeError
            An argument that no fit takes.
        ValueError
            Starts or a seed that are no whole number, or too small.
        """
        readiness.refuse()
        for name in asked:
            if name not in DEFAULTS:
                advice = ONE_SEARCH if name in ("checkpoint", "n_jobs") else suggest(name, DEFAULTS)
                raise TypeError(f"a fit got an unexpected keyword argument {name!r}. {advice}".rstrip())
        if isinstance(model, Model):
            model.look_again()
        whole: dict[str, Any] = {**DEFAULTS, **asked}
        free, tie, prior, error = (whole[name] for name in ("free", "tie", "prior", "error"))
        fixed, initial = ({name: float(v) for name, v in (whole[of] or {}).items()} for of in ("fixed", "initial"))
        for name, function in (tie or {}).items():
            if not callable(function):
                raise ModelError(f"tie: {name} is {function!r}. Give a function, such as lambda alpha: 2 * alpha.")
        names = None if free is None else (free,) if isinstance(free, str) else tuple(free)
        own = {name: function for name, function in model.ties.items() if name not in (*fixed, *(names or ()))}
        tied = {name: frozen(function) for name, function in {**own, **(tie or {})}.items()}
        by_name, correlation = parted(prior)
        known = priors_of(model, by_name, error) if isinstance(model, Model) else {}
        check_correlation(model, known, correlation)
        if prior == PUBLISHED:
            known = {name: one for name, one in known.items() if name not in {**fixed, **own, **(tie or {})}}
        starts = starts_of(model) if whole["starts"] is None else domains.count(whole["starts"], "starts")
        return cls(
            model=model, fixed=fixed, free=names, initial=initial, tie=tied,
            censoring=whole["censoring"], doses=whole["doses"],
            starts=starts, seed=domains.seed(whole["seed"]),
            prior=known, error=error,
            correlation=tuple((pair, float(rho)) for pair, rho in correlation.items()),
        )  # fmt: skip


def _by_text(correlation: Sequence[tuple[Pair, float]]) -> dict[str, float]:
    """{"alpha, beta": correlation}."""
    return {", ".join(pair): rho for pair, rho in correlation}


def starts_of(model: Model) -> int:
    """How many starts a fit has where nobody says: more where a closed form has alternatives.

    With a corner the other sides of the sampled days are tried besides.
    """
    if not isinstance(model, Model) or model.alternatives is None or model.curve is None:
        return FEWEST_STARTS
    return FEWEST_STARTS + (1 if model.corners else 2)
