"""Fits in files of results: the fields of their classes, the samples once, and what makes their problems anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cellkinetics.codec import Plain, Reader, Writer
from cellkinetics.data.study import Study
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.kept import kept_of
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.table import TIED
from cellkinetics.joint.result import JointFit, shared_of
from cellkinetics.modelling.absent import AbsentModel
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.cases import prepare
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.status import Status
from cellkinetics.reporting.model_files import Given, in_library


def parts_of(result: Fit | Fits | JointFit, writer: Writer, model: Callable[[Model], Plain]) -> dict[str, Plain]:
    """A fit, fits or a joint fit as plain values; ``model`` writes theirs."""
    single = isinstance(result, Fit)
    each = {result.subject: result} if single else result.each if isinstance(result, JointFit) else result.by_subject
    return {
        "single": single,
        "study": writer.plain(result.study),
        "request": plain_request(next(iter(each.values())).request, writer, model) if each else None,
        "fits": {subject: _fit(fit, writer) for subject, fit in each.items()},
        **({"joint": _fields(result, writer)} if isinstance(result, JointFit) else {}),
    }


def result_of(content: Mapping[str, Plain], reader: Reader, given: Given) -> Fit | Fits | JointFit:
    """What `parts_of` took apart; a tie is kept as its values, and curves of a tied fit come without a band."""
    study = reader.value(content["study"])
    single, saved = content["single"], content["fits"]
    if not isinstance(single, bool) or (single and len(saved) != 1) or bool(saved) != bool(study.subjects):
        raise ValueError(f"single is {single!r} and there are {len(saved)} fits of {len(study.subjects)} patients")
    if content["request"] is None:
        return Fits(study, {})
    request = request_again(content["request"], reader, given)
    only = study.each()
    each = {subject: _fit_again(fit, request, only(subject), reader) for subject, fit in saved.items()}
    if "joint" in content:
        fields = _fields_again(JointFit, content["joint"], reader)
        shared, common_sd = fields["shared"], fields["common_sd"]
        return JointFit(
            request=request, study=study,
            each={s: replace(fit, shared=shared_of(shared, common_sd, fit.problem)) for s, fit in each.items()},
            **fields,
        )  # fmt: skip
    return next(iter(each.values())) if single else Fits(study, each)


def _fit(fit: Fit, writer: Writer) -> dict[str, Plain]:
    problem = fit.problem
    made = {
        "free": problem.free, "sd_free": problem.sd_free, "few": dict(problem.few),
        "sd": problem.sds(fit.x) if fit.fitted else problem.sd,
    }  # fmt: skip
    # A model that comes back without its functions has the curve that was fitted.
    curve = None if in_library(fit.model) else kept_of(fit)
    return {**_fields(fit, writer), "problem": writer.plain(made), "curve": writer.plain(curve)}


def _fit_again(saved: Mapping[str, Plain], request: Request, study: Study, reader: Reader) -> Fit:
    own = {name: value for name, value in saved.items() if name not in ("problem", "curve")}
    fields, made, curve = _fields_again(Fit, own, reader), reader.value(saved["problem"]), reader.value(saved["curve"])
    columns = fields["columns"]
    values = dict(zip(columns["parameter"], columns["value"], strict=True))
    values = {name: float(values[name]) for name in request.model.parameters}
    problem = replace(prepare(request, study).problem, values=values, **made)
    # A tie of the call is a function and is not saved: its value stands in its place, and a band without it is wrong.
    if TIED in columns["status"] and not isinstance(request.model, AbsentModel):
        fields["covariance"] = np.full_like(fields["covariance"], np.nan)
    kept = curve if isinstance(request.model, AbsentModel) else None
    return Fit(request=request, study=study, problem=problem, kept=kept, **fields)


def _fields(fit: Fit | JointFit, writer: Writer) -> dict[str, Plain]:
    """Of its class; the status as its text, which other programs read too."""
    return {**writer.fields(fit), "status": str(fit.status)}


def _fields_again(kind: type, saved: Mapping[str, Plain], reader: Reader) -> dict[str, Any]:
    return {**reader.fields(kind, saved), "status": Status(saved["status"])}


def plain_request(request: Request, writer: Writer, model: Callable[[Model], Plain]) -> dict[str, Plain]:
    """What was asked; a tie by its name alone."""
    free = None if request.free is None else list(request.free)
    return {"model": model(request.model), **writer.fields(request), "free": free, "tied": list(request.tie)}


def request_again(saved: Mapping[str, Plain], reader: Reader, given: Given) -> Request:
    """What `plain_request` wrote."""
    own = {name: value for name, value in saved.items() if name not in ("model", "tied")}
    fields = reader.fields(Request, own)
    free = None if fields["free"] is None else tuple(fields["free"])
    return Request(model=given.model_of(reader.value(saved["model"])), **{**fields, "free": free}, tie={})


def plain_doses(doses: Doses, writer: Writer) -> dict[str, Plain]:
    """Events, by their names."""
    return {name: writer.plain(part) for name, part in doses._asdict().items()}


def doses_again(saved: Mapping[str, Plain], reader: Reader) -> Doses:
    """What `plain_doses` wrote."""
    return Doses(**{name: reader.value(part) for name, part in saved.items()})
