"""Population fits in files of results: what was asked, the samples, the estimates with their derivatives; no draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cellkinetics.errors import ModelError
from cellkinetics.modelling.structure import methods
from cellkinetics.optimising.status import Status
from cellkinetics.population.design import design_of, prior_of
from cellkinetics.population.fit import fit_population
from cellkinetics.population.importance import LogLikelihood
from cellkinetics.population.patients import patients_of
from cellkinetics.population.polish import Polished, theta_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.running import Population
from cellkinetics.population.schedule import Path
from cellkinetics.reporting import storage
from cellkinetics.reporting.model_files import Given

OF_FIT = (
    "conditional_mean", "conditional_covariance", "like_zero", "outcome", "seconds", "log_likelihood_ln",
    "sum_ln_quantified", "n_quantified", "n_censored", "n_free",
)  # fmt: skip
OF_POLISHED = ("v", "information", "scores", "noise", "step", "moving")
OF_PATH = ("trace", "moved", "refused_each", "interrupted", "chains")
OF_LIKELIHOOD = ("value", "error", "draws", "smallest_ess", "each", "worst")
OF_APPROXIMATION = ("value", "error", "draws", "smallest_ess", "each", "method")
ASKED = ("random", "free", "covariates", "correlated")  # besides what a request has


def parts_of(fit: PopulationFit) -> dict[str, Any]:
    """What a file has of it, as `codec.Writer` takes it.

    Raises
    ------
    ModelError
        A tie, which is a function; a model that was made in memory.
    """
    if fit.request.tie:
        raise ModelError("tie= is a function, which no file can hold: a tied population cannot be saved.")
    return {
        "study": fit.study,
        "request": storage.request_out(fit.request),
        "asked": {name: _plain(fit.asked[name]) for name in ASKED},
        "method": str(fit.population.method),
        "status": str(fit.status),
        "fit": {name: getattr(fit, name) for name in OF_FIT},
        "polished": {name: np.asarray(getattr(fit.polished, name)) for name in OF_POLISHED},
        "path": {name: getattr(fit.path, name) for name in OF_PATH},
        "likelihood": {name: getattr(fit.likelihood, name) for name in OF_LIKELIHOOD},
        "maximised": {"method": fit.asked["method"], "nodes": fit.asked["nodes"]},
        "residual_shrinkage": dict(fit.residual_shrinkage),
        "approximation": fit.approximation and {name: getattr(fit.approximation, name) for name in OF_APPROXIMATION},
    }


def population_of(parts: Mapping[str, Any], given: Given) -> PopulationFit:
    """What `parts_of` took apart; patients and design are made anew from the samples."""
    request = storage.request_in(parts["request"], given)
    study, saved = parts["study"], parts["asked"]
    asked = {name: saved[name] for name in ASKED} | {
        "fixed": request.fixed, "initial": request.initial, "tie": None, "prior": request.prior, "error": request.error,
        "censoring": request.censoring, "doses": request.doses, "seed": request.seed, "progress": True,
    }  # fmt: skip
    # Files of the time before there was anything else are of SAEM.
    asked |= parts.get("maximised") or {"method": "saem", "nodes": 5}
    patients = patients_of(request, study, asked["random"])
    design = design_of(patients, asked["random"], asked["covariates"], asked["correlated"])
    method = next(each for each in methods(patients.model) if str(each) == parts["method"])
    population = Population(patients, design, prior_of(patients, design), method)
    polished = Polished(theta=theta_of(design, parts["polished"]["v"]), sample=None, **parts["polished"])
    likelihood, approximated = LogLikelihood(**parts["likelihood"]), parts.get("approximation")
    return PopulationFit(
        request=request, study=study, patients=patients, design=design, population=population, polished=polished,
        likelihood=likelihood, path=Path(population, None, **parts["path"]),
        approximation=approximated and LogLikelihood(**approximated, exact=likelihood),
        residual_shrinkage=parts.get("residual_shrinkage", {}), status=Status(parts["status"]), asked=asked,
        refit=fit_population, **parts["fit"],
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """Lists and dictionaries as they are, other sequences and mappings made such."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if value is None or isinstance(value, str):
        return value
    return [_plain(each) for each in value]
