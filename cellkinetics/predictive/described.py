"""What describes patients before their samples: a population, the draws of its posterior, or priors of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.fitting import fit as fitting
from cellkinetics.fitting.result import Fit
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.likelihood.sd_prior import SdPrior
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import GivenPriors, LogNormal, NormalPriors, centre, published_of
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.cases import prepare
from cellkinetics.optimising.request import Request
from cellkinetics.population.design import Design, Effect
from cellkinetics.population.patients import Patients
from cellkinetics.population.polish import theta_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.saem import Theta
from cellkinetics.words import count

OTHER_PATIENTS = "other patients of the population"


class Populations(NamedTuple):
    """Estimates of b populations: coefficients (b, p), covariances (b, q, q), ln sds of the error (b, s)."""

    beta: Floats
    omega: Floats
    ln_sd: Floats

    def take(self, which: Any) -> Populations:
        """Those of some, in their order."""
        return Populations(*(part[which] for part in self))


@runtime_checkable
class HasDraws(Protocol):
    """A `PopulationPosterior`, as far as what is simulated looks at it: draws (chains, draws, d) of estimates."""

    population: PopulationFit | None
    v: Floats
    phi: Floats


class AsEstimated(NamedTuple):
    """A population with its estimates: those of the fit, or the means of draws (b, ...) of its posterior."""

    fit: PopulationFit
    theta: Theta
    drawn: Populations | None

    @property
    def whose(self) -> str:
        """Of what the other patients are, in words."""
        draws = "" if self.drawn is None else ", at draws of its posterior"
        return f"{OTHER_PATIENTS}{draws}"


def estimated(one: object, name: str = "population") -> AsEstimated:
    """What a population or its posterior says.

    Raises
    ------
    TypeError
        Something else.
    ModelError
        A posterior that was read from a file without its population.
    """
    if isinstance(one, PopulationFit):
        return AsEstimated(one, one.polished.theta, None)
    if not isinstance(one, HasDraws):
        text = f"{name} is a {type(one).__name__}. Give what ck.fit_population or ck.sample_posterior returned."
        raise TypeError(text)
    if one.population is None:
        raise ModelError("this posterior was saved without its population by an earlier version: sample it again.")
    v = np.asarray(one.v).reshape(-1, np.shape(one.v)[-1])
    design = one.population.design
    return AsEstimated(one.population, theta_of(design, v.mean(axis=0)), populations_at(design, v))


def populations_at(design: Design, v: Floats) -> Populations:
    """Of rows (b, d) of what `louis.vector_of` makes."""
    return Populations(*theta_of(design, v))


@dataclass(frozen=True, eq=False)
class Described:
    """What a forecast takes of a population, whatever described it.

    patients : whose request, free set and sds of its own a patient beside them has. design : with a matrix of any
    patient. theta : estimates that are known, or means of ``drawn``. method : how curves are solved; by the doses if
    None. study : of others, whose limits hold where the patient has none. told_by : in words.
    """

    patients: Patients
    design: Design
    theta: Theta
    drawn: Populations | None
    method: Method | None
    study: Study | None
    told_by: str

    @property
    def model(self) -> Model:
        """The model."""
        return self.patients.model


def by_population(one: object) -> Described:
    """A population, or its posterior."""
    fit, theta, drawn = estimated(one, "populations")
    told = count(len(fit.subjects), "patient") + (
        "" if drawn is None else f", {len(drawn.beta):,} draws of its posterior"
    )
    return Described(fit.patients, fit.design, theta, drawn, fit.population.method, fit.study, told)


def request_of(one: Model | Fit, prior: GivenPriors | None, fixed: Mapping[str, float] | None, error: str) -> Request:
    """What `ck.fit` would be asked, or was.

    Raises
    ------
    ModelError
        No priors, or an unknown one.
    """
    if isinstance(one, Fit):
        if not one.request.prior:
            text = f"the fit of {one.subject} has no priors, and says nothing of a patient before its samples."
            raise ModelError(f"{text} Fit it with prior='published', or {{name: ck.LogNormal(median, sd)}}.")
        return one.request
    if prior is None:
        text = f"{one.name} is a model, and says nothing of a patient before its samples. "
        text += "Give prior='published' or {name: ck.LogNormal(median, sd)} with it"
        raise ModelError(f"{text}, or what ck.fit_population returned.", name="prior")
    asked: Any = {"prior": prior, "fixed": fixed, "error": error}
    fitting.check_asked(asked)
    return Request.of(one, **asked)


def by_priors(request: Request, patient: Study) -> Described:
    """The priors of a fit, as a population of which every patient is: what is free varies, and the sds besides.

    Raises
    ------
    ModelError
        What is free and has no prior; an additive sd without one.
    """
    request = fitting.check(request, patient)
    model, prior, error = request.model, request.prior, request.error_model
    names = prepare(request, patient).problem.free
    flat = [name for name in names if name not in prior]
    if flat:
        raise ModelError(
            f"{', '.join(flat)} of {model.name} {'is' if len(flat) == 1 else 'are'} free without a prior, and a "
            f"forecast needs one. Give prior= of {'it' if len(flat) == 1 else 'them'} too, or fixed=.",
            name=flat[0],
        )
    sds = error.sd_names(model.outputs)
    own = tuple(name for name in sds if name not in request.fixed)
    absolute = dict(zip(sds, error.additive(len(model.outputs)), strict=True))
    for name in own:
        if absolute[name] and name not in prior:
            text = f"{name} has no prior, and a forecast needs one."
            raise ModelError(f"{text} Give prior={{{name!r}: ck.LogNormal(median, sd)}}, or fixed=.", name=name)
    usual = SdPrior()
    given = {**dict.fromkeys(own, LogNormal(usual.median, usual.sd)), **prior}
    every = (*names, *own)
    design = Design(every, every, tuple(map(Effect, every)), np.eye(len(every))[None])
    each = {name: (centre(model, name, given[name]), given[name].sd) for name in every}
    normal = NormalPriors.of(each, dict(request.correlation))
    known = np.log([max(request.fixed[name], 1e-300) for name in sds if name in request.fixed])
    theta = Theta(jnp.asarray(normal.mean), jnp.asarray(normal.covariance), jnp.asarray(known, float))
    stated = published_of(model)
    told = "published priors" if all(prior[n] == stated.get(n) for n in names) else "priors given"
    return Described(Patients(request, patient, names, {}, {}, own), design, theta, None, None, None, told)


NO_PRIORS: tuple[None, None, str] = (None, None, LOG)  # prior, fixed and error where no model is given
