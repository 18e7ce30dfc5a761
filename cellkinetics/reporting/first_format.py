"""Reading fits as files of their first format have them; nothing writes it any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.kept import Kept
from cellkinetics.fitting.misfit import Misfit
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.table import TIED
from cellkinetics.joint.design import Column
from cellkinetics.joint.result import JointFit, shared_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.likelihood.sd_prior import SdPrior
from cellkinetics.modelling import absent
from cellkinetics.modelling.absent import AbsentModel
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import SCALES
from cellkinetics.optimising.cases import prepare
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.status import Status
from cellkinetics.reporting.model_files import Given

# How outcomes begin, for files without a status; the first that fits. Any other is of a parameter at its bound.
_BEGIN = {
    "converged": Status.CONVERGED,
    "not converged: the likelihood still rises": Status.RIDGE,
    "not converged": Status.NOT_CONVERGED,
    "not identifiable": Status.NOT_IDENTIFIABLE,
    "not solved": Status.NOT_SOLVED,
    "no sample": Status.NO_SAMPLE,
    "no quantified sample": Status.NO_QUANTIFIED_SAMPLE,
    "no dose": Status.NO_DOSE,
    "no mass of DNA": Status.NO_MASS,
    "not fitted: interrupted": Status.INTERRUPTED,
    "not fitted": Status.NOT_FITTED,
    "sd at its lower bound": Status.SD_AT_BOUND,
    "sd of ": Status.SD_AT_BOUND,
    "sd_": Status.PART_AT_BOUND,
}
_PRIORS = {kind.__name__: kind for kind in SCALES.values()}


def result_of(content: Mapping[str, Any], given: Given) -> Fit | Fits | JointFit:
    """The fit, fits or joint fit of such a file; a tie is kept as its values, and curves of a tied fit have no band."""
    study, single, saved = _study_in(content["study"]), content["single"], content["fits"]
    if not isinstance(single, bool) or (single and len(saved) != 1) or bool(saved) != bool(study.subjects):
        raise ValueError(f"single is {single!r} and there are {len(saved)} fits of {len(study.subjects)} patients")
    if content["request"] is None:
        return Fits(study, {})
    request = request_in(content["request"], given)
    only = study.each()
    each = {subject: _fit_in(request, only(subject), fit) for subject, fit in saved.items()}
    if "joint" in content:
        return _joint_in(request, study, each, content["joint"])
    return next(iter(each.values())) if single else Fits(study, each)


def _curve_in(saved: Mapping[str, Any]) -> Kept:
    days = np.array([_number(v) for v in saved["days"]])
    ln_f, stderr = (np.array([[_number(v) for v in row] for row in saved[name]]) for name in ("ln_f", "stderr"))
    return Kept(days, ln_f, stderr, _table_in(saved["residuals"]))


def _fit_in(request: Request, study: Study, saved: Mapping[str, Any]) -> Fit:
    case = prepare(request, study)
    parameters = _table_in(saved["parameters"])
    # A tie is a function and is not saved: its value stands in its place, and a band without it would be wrong.
    tied = bool((parameters["status"] == TIED).any())
    values = dict(zip(parameters.index, parameters["value"].to_numpy(float), strict=True))
    problem = replace(
        case.problem,
        values={name: float(values[name]) for name in request.model.parameters},
        free=tuple(saved["free"]),
        sd=np.array([_number(v) for v in saved["sd"]]),
        sd_free=np.array(saved["sd_free"], bool),
        few={name: SdPrior(**prior) for name, prior in saved.get("few", {}).items()},
    )
    names = ("outcome", "n_quantified", "n_censored", "n_excluded", "n_free", "solved_implicitly")
    numbers = ("log_likelihood_ln", "sum_ln_quantified", "degrees_of_freedom", "inflation", "seconds")
    size = len(saved["x"])
    return Fit(
        request=request,
        study=study,
        problem=problem,
        columns={str(name): list(column) for name, column in parameters.reset_index().items()},
        status=_status_in(saved),
        starts=tuple(saved["starts"]),
        kept=_curve_in(saved["curve"]) if "curve" in saved and isinstance(request.model, AbsentModel) else None,
        timings={str(name): float(each) for name, each in saved.get("timings", {}).items()},
        start_values=tuple(float(value) for value in saved.get("start_values", ())),
        misfit=_misfit_in(saved.get("misfit", {})),
        x=np.array([_number(v) for v in saved["x"]]),
        covariance=np.array([[np.nan if tied else _number(v) for v in row] for row in saved["covariance"]]).reshape(
            size, size
        ),
        **{name: saved[name] for name in names},
        **{name: _number(saved[name]) for name in numbers},
    )


def _misfit_in(saved: Mapping[str, Any]) -> Misfit:
    """As saved; of a file that is older than it, none."""
    days = tuple(_number(day) for day in saved.get("days", ()))
    p = {name: _number(value) for name, value in saved.get("p", {}).items()}
    return Misfit(saved.get("words", ""), days, p)


_JOINT = (
    "shared", "common_sd", "left_out", "outcome", "status", "log_likelihood_ln", "sum_ln_quantified", "n_quantified",
    "n_censored", "n_excluded", "n_free", "degrees_of_freedom", "inflation", "reference_dose", "seconds", "sd_by",
)  # fmt: skip


def _joint_in(request: Request, study: Study, each: Mapping[str, Fit], saved: Mapping[str, Any]) -> JointFit:
    texts, saved = ("shared", "left_out", "outcome", "sd_by"), {"sd_by": "", **saved}
    size = len(saved["columns"])
    return JointFit(
        request=request,
        study=study,
        columns=[Column(*column) for column in saved["columns"]],
        s=np.array([_number(v) for v in saved["s"]]),
        covariance=np.array([[_number(v) for v in row] for row in saved["covariance"]]).reshape(size, size),
        status=_status_in(saved),
        starts=tuple(saved["starts"]),
        each={
            subject: replace(fit, shared=shared_of(saved["shared"], bool(saved["common_sd"]), fit.problem))
            for subject, fit in each.items()
        },
        **{name: saved[name] if name in texts else _number(saved[name]) for name in _JOINT if name != "status"},
    )


def _status_in(saved: Mapping[str, Any]) -> Status:
    """As saved; of a file that is older than the status, from the words of the outcome."""
    if "status" in saved:
        return Status(saved["status"])
    words = saved["outcome"]
    return next((status for begin, status in _BEGIN.items() if words.startswith(begin)), Status.AT_BOUND)


def request_in(saved: Mapping[str, Any], given: Given) -> Request:
    """What was asked; a tie by its name alone."""
    doses = saved["doses"]
    if doses is not None:
        arrays = doses.get("arrays")
        doses = (
            Doses(
                np.array([_number(t) for t in arrays["times"]]),
                np.array(arrays["amounts"]),
                np.array(arrays["rates"]) if "rates" in arrays else None,
            )
            if arrays
            else doses["given"]
        )
    free = saved["free"]
    return Request(
        model=_model_in(saved["model"], given),
        fixed={name: _number(value) for name, value in saved["fixed"].items()},
        free=None if free is None else tuple(free),
        initial={name: _number(value) for name, value in saved["initial"].items()},
        tie={},
        censoring=saved["censoring"],
        doses=doses,
        starts=saved["starts"],
        seed=saved["seed"],
        prior={name: _PRIORS[kind](*numbers) for name, (kind, *numbers) in saved.get("prior", {}).items()},
        error=saved.get("error", LOG),
    )


def _model_in(saved: Mapping[str, Any], given: Given) -> Model:
    """The model of the library, or the one that is given; of the user's own file only what was saved of it."""
    if given.model is None and saved["path"]:
        if "described" in saved:
            return absent.restored({**saved["described"], "sha256": saved["sha256"]})
        file = saved["path"]
        raise ModelError(f"its model {saved['name']} was the file {file}, which is not run without being asked for")
    changes = saved.get("changes", {})
    if "bounds" in changes:
        bounds = {name: (_number(low), _number(high)) for name, (low, high) in changes["bounds"].items()}
        changes = {**changes, "bounds": bounds}
    return given.taken(saved, changes)


def _study_in(saved: Mapping[str, Any]) -> Study:
    tables = {name: _table_in(saved[name]) for name in ("observations", "doses", "covariates")}
    return Study(**{**saved, **tables})


def _table_in(saved: Mapping[str, Any]) -> pd.DataFrame:
    index = saved["index"]
    columns = {
        name: pd.Series(
            [_number(v) for v in column["values"]] if "float" in column["dtype"] else column["values"],
            dtype=column["dtype"],
        )
        for name, column in saved["columns"].items()
    }
    table = pd.DataFrame(columns)
    return table if index is None else table.set_index(pd.Index(index["values"], name=index["name"]))


def _number(value: Any) -> Any:
    if value is None:
        return np.nan
    return float(value) if isinstance(value, str) else value
