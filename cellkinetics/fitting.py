"""Fit a model to one patient: read what is asked, set up the problem, optimise, say how it ended."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cellkinetics.dosing import Doses
from cellkinetics.errors import ModelError, StudyError, suggest
from cellkinetics.errors import Problem as Finding
from cellkinetics.model import Model
from cellkinetics.optimise import Optimum, optimise
from cellkinetics.problem import METHODS, Problem, censored, sd_names
from cellkinetics.result import Fit, Request, finished, refused
from cellkinetics.sensitivity import Floats, Tie
from cellkinetics.study import Study
from cellkinetics.uncertainty import uncertainty

SD_WHEN_FEW = 0.5
SPARE_ROWS = 3
ONE_AMOUNT = "one amount"


def fit(
    model: Model,
    study: Study,
    *,
    fixed: Mapping[str, float] | None = None,
    free: str | Sequence[str] | None = None,
    initial: Mapping[str, float] | None = None,
    tie: Mapping[str, Tie] | None = None,
    censoring: str = "m3",
    doses: object = None,
    starts: int = 4,
    seed: int = 2020,
) -> Fit:
    """Fit a model to one subject by censored nonlinear least squares, driven by lmfit.

    Parameters
    ----------
    model : a `Model`, from ``models.load(name)`` or ``ck.load_model(path)``.
    study : a study of one subject, as ``study.select(subjects=["P07"])``.
    fixed
        {name: natural value} held fixed; also ``sd`` (on the ln scale). Other parameters of the model's default
        free set stay free.
    free : names to estimate, in place of the model's default free set.
    initial : {name: natural value} where the optimiser starts; also ``sd``.
    tie : {name: function of other parameters, by name}, such as ``{"beta": lambda alpha: alpha / 50}``.
    censoring : "m3" (probability below the limit), "m4" (the same under a log-normal error), "drop", "half".
    doses
        doses in place of the study's: an amount at the first infusion, (days after it, amount) pairs or
        {channel: either}; "one amount" where no dose is known, to fit the product of F and dose.
    starts
        local optimisations: from ``initial``, the model's guess or its defaults, and from the best of 32
        seeded Sobol points.
    seed : of those points.

    Returns
    -------
    Fit
        ``fit.outcome`` is "converged" or the reason why not, with advice; a patient whose samples do not
        determine the parameters is such an outcome, not an exception.

    Raises
    ------
    ModelError
        An unknown parameter or a value outside its bounds.
    StudyError
        More than one subject, no dose for a model that needs one, a unit that is not the model's.
    """
    request = Request.of(model, fixed, free, initial, tie, censoring, doses, starts, seed)
    check(request, study)
    if len(study.subjects) != 1:
        first = study.subjects[0] if study.subjects else "..."
        raise _unfit(
            f"ck.fit takes one subject and this study has {len(study.subjects)}",
            f"Take study.select(subjects={first!r}) or ck.fit_each(model, study).",
        )
    return fit_one(request, study)


def check(request: Request, study: Study) -> None:
    """Raise for what is wrong with the request whoever the patient is."""
    model = request.model
    if not isinstance(model, Model):
        raise TypeError(f"model is {model!r}; take models.load(name) or ck.load_model(path).")
    if request.censoring not in METHODS:
        raise ValueError(f"censoring={request.censoring!r}: take one of {', '.join(METHODS)}.")
    sds = sd_names(model)
    for name, value in [*request.fixed.items(), *request.initial.items()]:
        if name in sds:
            if not (np.isfinite(value) and value > 0):
                raise ModelError(f"{name}={value:g}: an sd is a positive number on the ln scale.", name=name)
            continue
        if name.startswith("sd"):
            raise ModelError(
                f"{name}: the sd of this model is named {', '.join(sds)}. {suggest(name, sds)}".rstrip(),
                name=name,
            )
        model.require(name)
        parameter = model.parameters[name]
        if not parameter.min <= value <= parameter.max:
            raise ModelError(
                f"{name}={value:g} is outside its bounds [{parameter.min:g}, {parameter.max:g}].", name=name
            )
    for name in request.free or ():
        model.require(name)
    for name, function in request.tie.items():
        model.require(name)
        for other in inspect.signature(function).parameters:
            model.require(other)
            if other in request.tie:
                raise ModelError(
                    f"tie of {name} uses {other}, which is tied itself. Write it in terms of {other}'s own tie.",
                    name=name,
                )
    asked = [*request.fixed, *(request.free or ()), *request.tie]
    twice = [n for n in dict.fromkeys(asked) if asked.count(n) > 1] + [n for n in request.initial if n in request.fixed]
    if twice:
        raise ModelError(f"{twice[0]} is given twice among fixed, free, tie and initial; keep one.", name=twice[0])
    _check_dose_unit(request, study)
    units = set(model.outputs.values())
    if not model.scale_free and study.unit not in units:
        raise _unfit(
            f"the study is in {study.unit} and {model.name} gives {', '.join(sorted(units))}",
            "Convert the values, or take a model that has the unit of the study (such as stein_2019_tisagenlecleucel).",
        )
    if model.channels and request.doses is None and study.doses.empty:
        raise _unfit(
            f"{model.name} needs a dose and the study has none",
            "Give the column dose (or AMT), doses=1e6, doses='one amount' to fit F times dose, or take a model without "
            "dose (such as stein_2019_tisagenlecleucel).",
        )


def fit_one(request: Request, study: Study) -> Fit:
    """Fit one subject; the request has been checked."""
    began = time.perf_counter()
    case = prepare(request, study)
    problem, reason = case.problem, case.reason
    if reason:
        return refused(request, study, problem, reason, case.samples, time.perf_counter() - began)
    optimum = optimise(problem, case.initial, starts=request.starts, seed=request.seed)
    if optimum is None:
        reason = "not solved: the model could not be integrated at any start. Give initial=, or fix parameters."
        return refused(request, study, problem, reason, case.samples, time.perf_counter() - began)
    spread = uncertainty(problem, optimum)
    reason = outcome(problem, optimum, spread.loose)
    return finished(request, study, problem, case.samples, optimum, spread, reason, time.perf_counter() - began)


@dataclass(frozen=True)
class Case:
    """One subject made ready: its samples, the problem, where to start, why it cannot be fitted ('' if it can)."""

    samples: pd.DataFrame
    problem: Problem
    initial: dict[str, float]
    reason: str


def prepare(request: Request, study: Study) -> Case:
    """Set up the problem of one subject."""
    model = request.model
    samples = samples_of(model, study)
    seen = censored(samples, request.censoring)
    values = model.values({n: v for n, v in request.fixed.items() if n in model.parameters})
    chosen = request.free if request.free is not None else model.default_free(study)
    free = tuple(n for n in model.parameters if n in chosen and n not in request.fixed and n not in request.tie)
    doses, reason = doses_of(request, study)
    given = np.array([request.fixed.get(name, SD_WHEN_FEW) for name in sd_names(model)])
    problem = Problem(model, seen, doses, values, free, tuple(request.tie.items()), given, np.zeros(len(given), bool))
    guess = dict(model.guess(*_points(seen))) if model.guess and len(seen) else {}
    initial = {**values, **_within(model, guess), **{n: v for n, v in request.initial.items() if n in values}}
    for name in free:
        if not np.isfinite(model.parameters[name].to_estimation(initial[name])):
            raise ModelError(
                f"{name} starts at {initial[name]:g}, where its {model.parameters[name].scale} is not finite. "
                f"Give initial={{{name!r}: ...}}.",
                name=name,
            )
    reason = reason or _refusal(seen, samples, free)
    return Case(samples, problem if reason else _with_sd(problem, request, initial), initial, reason)


def _with_sd(problem: Problem, request: Request, initial: Mapping[str, float]) -> Problem:
    """Free the sd of each output with rows to spare: with fewer the likelihood has no bound as sd goes to 0."""
    names = sd_names(problem.model)
    reached = np.ones((len(names), len(problem.free)), bool)
    if len(names) > 1:
        slopes = problem.curve(problem.start(initial), 1).jacobian
        reached = np.array([np.any(slopes[problem.inputs.output == i] != 0, axis=0) for i in range(len(names))])
    rows = np.array([int(problem.quantified[problem.inputs.output == i].sum()) for i in range(len(names))])
    enough = rows >= reached.sum(axis=1) + SPARE_ROWS
    free = enough & np.array([name not in request.fixed for name in names])
    sd = np.where(free, [request.initial.get(name, SD_WHEN_FEW) for name in names], problem.sd)
    return replace(problem, sd=sd, sd_free=free)


def samples_of(model: Model, study: Study) -> pd.DataFrame:
    """The used samples with day since the first infusion and index of the model's output; others are left out.

    A DVID of 1, 2, ... is the model's first, second, ... output; a name is that output.
    """
    (subject,) = study.subjects
    used = study.used.copy()
    names = {str(i + 1): i for i in range(len(model.outputs))} | {name: i for i, name in enumerate(model.outputs)}
    used = used[used["output"].isin(names)]
    used["output"] = used["output"].map(names).astype(int)
    used["day"] = used["day"] - study.infusion_day(subject)
    return used.sort_values("day", kind="stable")


def doses_of(request: Request, study: Study) -> tuple[Doses, str]:
    """The subject's events on the days of the model, and why they cannot be taken ('' if they can)."""
    model, (subject,) = request.model, study.subjects
    if request.doses is not None or not model.channels:
        return model.doses(1.0 if request.doses == ONE_AMOUNT else request.doses), ""
    first = study.infusion_day(subject)
    events: dict[str, list[tuple[float, float]]] = {}
    for day, amount, kind in zip(study.doses["day"], study.doses["amount"], study.doses["kind"], strict=True):
        if kind in model.channels:
            events.setdefault(kind, []).append((day - first, amount))
    if model.channels[0] not in events:
        kinds = ", ".join(sorted(set(study.doses["kind"]))) or "nothing"
        text = f"no dose: {model.name} takes {model.channels[0]}, and the table has {kinds}."
        return model.doses(None), f"{text} Give it in the table, or doses=."
    try:
        return model.doses(events), ""
    except ModelError as error:
        return model.doses(None), f"not fitted: {error}"


def outcome(problem: Problem, optimum: Optimum, loose: Sequence[str]) -> str:
    """How the fit ended, in words."""
    if not optimum.converged:
        advice = "Give initial= nearer to the curve, or more starts=."
        return f"not converged: the optimiser stopped before the likelihood was flat. {advice}"
    if optimum.held[len(problem.free) :].any():
        advice = "Give fixed={'sd': 0.5}, or free fewer parameters."
        return f"sd at its lower bound: the curve goes through every sample. {advice}"
    lower, _ = problem.bounds
    held = optimum.held[: len(problem.free)]
    at_bound = _join(
        [
            f"{name} at its {'lower' if optimum.x[i] <= lower[i] + 1e-6 else 'upper'} bound"
            for i, name in enumerate(problem.free)
            if held[i]
        ]
    )
    if loose:
        found = f"{_join(loose)} move together" if len(loose) > 1 else f"the samples do not determine {loose[0]}"
        also = f", with {at_bound}" if at_bound else ""
        advice = f"Fix {loose[0]} (fixed=), free fewer parameters, or add samples where they differ."
        return f"not identifiable: {found}{also}. {advice}"
    if at_bound:
        last = problem.samples.loc[problem.samples["lower"] == problem.samples["upper"], "day"].max()
        advice = "Fix it, or see whether a simpler model does."
        return f"{at_bound}: the last quantified sample is {last:g} days after the infusion. {advice}"
    return "converged"


def _refusal(seen: pd.DataFrame, samples: pd.DataFrame, free: Sequence[str]) -> str:
    quantified = int((samples["lower"] == samples["upper"]).sum())
    if samples.empty:
        return "no sample: every row is excluded or of an output that the model does not have."
    if not quantified:
        return (
            f"no quantified sample: all {len(samples)} are beyond their limit, so the level is only bounded. "
            "Report the limit, or fit the patient together with others."
        )
    if len(seen) < len(free):
        return (
            f"not identifiable: {len(seen)} samples for {len(free)} free parameters ({', '.join(free)}). "
            f"Fix all but {max(len(seen) - 1, 1)} at published values (fixed=, or free=), take a simpler model, "
            "or add samples."
        )
    return ""


def _points(seen: pd.DataFrame) -> tuple[Floats, Floats]:
    """Days and values for a model's guess; a censored sample stands at half its limit, one above at its limit."""
    upper, lower = seen["upper"].to_numpy(float), seen["lower"].to_numpy(float)
    value = np.where(lower == upper, upper, np.where(np.isfinite(upper), upper / 2, lower))
    return seen["day"].to_numpy(float), value


def _within(model: Model, guess: Mapping[str, float]) -> dict[str, float]:
    """A guess pulled inside the bounds."""
    return {
        n: float(np.clip(v, p.min + 1e-6 * min(1.0, p.max - p.min), p.max - 1e-6 * min(1.0, p.max - p.min)))
        for n, v in guess.items()
        for p in [model.parameters[n]]
        if np.isfinite(v)
    }


def _unfit(found: str, remedy: str) -> StudyError:
    return StudyError([Finding(None, None, None, found, remedy)])


def _check_dose_unit(request: Request, study: Study) -> None:
    """A model whose F is per cell/kg does not take cells."""
    units = {p.unit.partition(" per ")[2] for p in request.model.parameters.values()}
    if "cell/kg" in units and request.doses is None and study.dose_unit != "cells/kg":
        raise _unfit(
            f"the study's doses are in {study.dose_unit} and {request.model.name} takes cells/kg",
            "Divide them by the body weight, or give doses=.",
        )


def _join(words: Sequence[str]) -> str:
    if not words:
        return ""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
