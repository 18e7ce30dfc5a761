"""Population fits in files of results: what was asked, the samples, the estimates with their derivatives; no draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cellkinetics.codec import Plain, Reader, Writer
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.modelling.absent import AbsentModel
from cellkinetics.modelling.structure import methods
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.status import Status
from cellkinetics.population.design import apart, design_of, prior_of, varying_of
from cellkinetics.population.fit import fit_population
from cellkinetics.population.importance import LogLikelihood
from cellkinetics.population.patients import own_sds_of, patients_of
from cellkinetics.population.polish import Polished, theta_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.running import Population
from cellkinetics.population.schedule import Path
from cellkinetics.reporting import first_format
from cellkinetics.reporting.model_files import Given, in_library

# Of what is asked, that a request has too; but for free=, which a request has together with random=.
SAEM = {"progress": True, "method": "saem", "nodes": 5}  # of files of the time before there was anything else
_IN_REQUEST = {each.name for each in fields(Request)} - {"free"}


def plain(fit: PopulationFit, writer: Writer) -> dict[str, Plain]:
    """What a file has of it.

    Raises
    ------
    ModelError
        A tie, which is a function.
    """
    if fit.request.tie:
        raise ModelError("tie= is a function, which no file can hold: a tied population cannot be saved.")
    return {
        "study": writer.plain(fit.study),
        "request": writer.plain(fit.request),
        "asked": writer.plain({name: value for name, value in fit.asked.items() if name not in _IN_REQUEST}),
        "method": str(fit.population.method),
        "fit": writer.fields(fit),
        "polished": writer.fields(fit.polished),
        "path": writer.fields(fit.path),
        # Of a model that comes back without its functions it could not be computed.
        "individuals": None if in_library(fit.model) else writer.plain(fit.individuals),
    }


def population(saved: Mapping[str, Plain], reader: Reader) -> PopulationFit:
    """What `plain` took apart; patients and design are made anew from the samples."""
    fit = _again(
        reader.value(saved["study"]),
        reader.value(saved["request"]),
        reader.value(saved["asked"]),
        saved["method"],
        reader.fields(PopulationFit, saved["fit"]),
        reader.fields(Polished, saved["polished"]),
        reader.fields(Path, saved["path"]),
    )
    if isinstance(fit.model, AbsentModel):
        vars(fit)["individuals"] = reader.value(saved["individuals"])
    return fit


def population_of_version_one(parts: Mapping[str, Any], given: Given) -> PopulationFit:
    """The same of a file of the first version."""
    own = {"status": Status(parts["status"]), "likelihood": LogLikelihood(**parts["likelihood"])}
    request, asked = first_format.request_in(parts["request"], given), {**SAEM, **parts["asked"]}
    fit = {**parts["fit"], **own}
    return _again(parts["study"], request, asked, parts["method"], fit, parts["polished"], parts["path"])


def _again(
    study: Study,
    request: Request,
    own: Mapping[str, Any],
    solved_by: str,
    fit: Mapping[str, Any],
    polished: Mapping[str, Any],
    path: Mapping[str, Any],
) -> PopulationFit:
    asked = {
        name: getattr(request, name) for name in ("fixed", "initial", "prior", "error", "censoring", "doses", "seed")
    }
    asked |= {"tie": None, **own}
    own_sds = () if asked.get("common_sd", True) else own_sds_of(request)
    random = asked["random"]
    others, factors = apart(request.model, study, asked["covariates"], request.fixed)
    patients = patients_of(request, study, (*(random or ()), *factors), own_sds)
    design = design_of(patients, varying_of(patients, random, factors), others, asked["correlated"])
    method = next(each for each in methods(patients.model) if str(each) == solved_by)
    of = Population(patients, design, prior_of(patients, design), method)
    return PopulationFit(
        request=request, study=study, patients=patients, design=design, population=of,
        polished=Polished(theta=theta_of(design, polished["v"]), sample=None, **polished),
        path=Path(of, None, **path), asked=asked, refit=fit_population, **fit,
    )  # fmt: skip
