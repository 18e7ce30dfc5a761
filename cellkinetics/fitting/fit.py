"""Fit a model to one patient: read what is asked, set up the problem, optimise, say how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np

from cellkinetics import domains
from cellkinetics.data.study import UNIT, Study
from cellkinetics.data.wells import dna_mass
from cellkinetics.errors import ModelError, one_problem, suggest
from cellkinetics.fitting.few import settled, told
from cellkinetics.fitting.misfit import MET, Misfit, joined, misfit_of
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.table import Columns, parameter_columns
from cellkinetics.meaning.units import is_log
from cellkinetics.modelling import levels
from cellkinetics.modelling.comedication import takes_doses, without_effect
from cellkinetics.modelling.functions import check_ties
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import published_of
from cellkinetics.optimising.batch import optima
from cellkinetics.optimising.cases import Case, prepare
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Asked, Request, asking
from cellkinetics.optimising.samples import CENSORINGS, Samples
from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.optimising.uncertainty import Uncertainty, uncertainty
from cellkinetics.running.phases import COMPILING, Phases
from cellkinetics.solving.solver import undefined

if TYPE_CHECKING:
    from cellkinetics.joint.result import JointFit


@overload
def fit(model: Model, study: Study, **asked: Unpack[Asked]) -> Fit: ...
@overload
def fit(
    model: Model,
    study: Study,
    *,
    shared: str | Sequence[str] | Mapping[str, str],
    common_sd: bool = True,
    **asked: Unpack[Asked],
) -> JointFit: ...
@asking
def fit(
    model: Model,
    study: Study,
    *,
    shared: str | Sequence[str] | Mapping[str, str] | None = None,
    common_sd: bool = True,
    **asked: Unpack[Asked],
) -> Fit | JointFit:
    """Fit a model to one subject, or with ``shared`` to several together, by censored nonlinear least squares.

    Parameters
    ----------
    model : a `Model`, from ``models.load(name)`` or ``ck.load_model(path)``.
    study : a study of one subject, as ``study.select(subjects=["P07"])``; with ``shared`` of any number.
    fixed
        {name: natural value} held fixed; also ``sd``, in the terms of ``error``. Other parameters of the model's
        default free set stay free.
    free : names to estimate, in place of the model's default free set.
    initial : {name: natural value} where the optimiser starts; also ``sd``.
    tie : {name: function of other parameters, by name}, such as ``{"beta": lambda alpha: alpha / 50}``.
    censoring : "m3" (probability below the limit), "m4" (the same under a log-normal error), "drop", "half".
    doses
        doses in place of the study's: an amount at the first infusion, (days after it, amount) pairs or
        {channel: either}; "one amount" where no dose is known, to fit the product of F and dose.
    prior
        {name: `LogNormal`, `LogitNormal` or `Normal`, as its scale, in its unit or that said by ``unit=``}: the
        maximum a posteriori is found, its row says how much of its information is the prior's, and AIC and its kin are
        NaN; "published" takes the spread between patients from the model's file, for all that is free and has one. A
        pair of names has a correlation on the estimation scale: {"alpha": ..., "beta": ..., ("alpha", "beta"): 0.5}.
    starts
        local optimisations, 4 where none is given: from ``initial``, the model's guess or its defaults, and from the
        best of the model's alternatives and of 32 seeded Sobol points, no two of them copies. A closed form with
        alternatives has one or two more where none is given.
    seed : of those points.
    error
        how samples scatter about the curve: "log" (log-normal, one sd on ln copies), "proportional" (normal, sd times
        the prediction), "combined" (normal, ``sd_add`` in the unit of the study and ``sd_prop``), "student" (t with 4
        degrees of freedom on ln copies), "counting" (log-normal on top of the Poisson number of molecules in the
        wells; needs the mass of DNA, a column ``dna_ug``). All but "log" start from the least squares of ln copies and
        go on in their own likelihood; counts one patient at a time.
    shared
        names of parameters with one value for all subjects, the others being each subject's own; or {name: how}, with
        "all", "dose" (ln value = a + b ln dose, b free, on the parameter's estimation scale) or a covariate such as
        "cohort" (a value for each of its groups). ``[]`` shares the sd alone.
    common_sd : of a joint fit, whether one residual sd (an output) holds for all subjects, or each has its own.

    Returns
    -------
    Fit, or with ``shared`` a JointFit
        ``fit.outcome`` is "converged" or the reason why not, with advice, and ``fit.status`` the same for programs, a
        `Status`; a patient whose samples do not
        determine the parameters is such an outcome, not an exception. ``fit.lmfit`` is lmfit's own result there. With
        fewer quantified samples than free parameters and three more the sd has a prior, ln sd normal about ln 0.7 with
        an SD of 0.5, unless it is fixed or has a prior of yours; the outcome says so.

    Notes
    -----
    All models are fitted as in `fit_each`, by damped scoring steps and exact Newton steps in one compiled loop; lmfit
    drives what the loop cannot settle. A tie goes on with the numbers that it found around it when it was called.

    Raises
    ------
    TypeError
        What is no model or no study, or the two in the wrong order.
    ValueError
        ``starts`` below 1, a negative ``seed``, a ``common_sd`` that is not True or False.
    ModelError
        An unknown parameter or a value outside its bounds.
    StudyError
        More than one subject without ``shared``, no dose for a model that needs one, a unit that is not the model's.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> fit = ck.fit(ck.models.load("nk_decline"), ck.example()["P03"], starts=1)
    >>> fit.status, fit.parameters.loc["alpha", "unit"]
    (<Status.CONVERGED: 'converged'>, '1/day')
    """
    check_kinds(model, study, "ck.fit")
    check_asked(asked)
    request, common_sd = Request.of(model, **asked), domains.flag(common_sd, "common_sd")
    if shared is None and not common_sd:
        raise ValueError(
            "common_sd=False is of a joint fit, where each patient has an sd. Give shared=, or leave it out."
        )
    if shared is not None:
        from cellkinetics.joint.result import fit_joint

        return fit_joint(request, study, shared, common_sd)
    request = check(request, study)
    if len(study.subjects) != 1:
        first = study.subjects[0] if study.subjects else "..."
        raise one_problem(
            f"ck.fit takes one subject and this study has {len(study.subjects)}",
            f"Take study.select(subjects={first!r}), ck.fit_each(model, study), or shared= for a joint fit.",
        )
    return fit_one(request, study)


def check_kinds(model: object, study: object, function: str) -> None:
    """Raise a TypeError for arguments in the wrong order, and for what is no model or no study."""
    if isinstance(model, Study) and isinstance(study, Model):
        raise TypeError(f"the model comes first: {function}(model, study).")
    domains.instance(model, Model, "model", "Take models.load(name) or ck.load_model(path).")
    domains.instance(study, Study, "study", "Take ck.read_study(path), ck.example(), or the .study of fits.")


def check_asked(asked: Asked) -> None:
    """Raise a ValueError for numbers, names, ties and priors that are none."""
    for name in ("fixed", "initial"):
        domains.by_name(asked.get(name), name, {"alpha": 0.3})
    free, tie, prior = asked.get("free"), asked.get("tie") or {}, asked.get("prior") or {}
    names = (free,) if isinstance(free, str) or not isinstance(free, Iterable) else tuple(free)
    if free is not None and not all(isinstance(name, str) for name in names):
        raise ValueError(f"free={free!r}: give names of parameters, such as ['alpha', 'beta'].")
    if not isinstance(tie, Mapping):
        raise ValueError(f"tie={tie!r}: give {{name: function of other parameters, by name}}.")
    for name, function in tie.items():
        if not callable(function):
            raise ValueError(
                f"tie of {name} is {function!r}: give a function of other parameters, as lambda alpha: alpha / 50, "
                f"or fixed={{{name!r}: ...}} for a value."
            )
    if not isinstance(prior, Mapping | str):
        raise ValueError(f"prior={prior!r}: give {{name: ck.LogNormal(median, sd)}}, or 'published'.")


def check(request: Request, study: Study) -> Request:
    """The request in the units of the study; raises for what is wrong with it whoever the patient is."""
    model = request.model
    if request.censoring not in CENSORINGS:
        raise ValueError(f"censoring={request.censoring!r}: take one of {', '.join(CENSORINGS)}.")
    check_error(request, study)
    error = request.error_model
    sds = error.sd_names(model.outputs)
    for name, value in [*request.fixed.items(), *request.initial.items()]:
        if name in sds:
            none = value == 0 and len(error.parts) > 1 and request.fixed.get(name) == 0
            if not (np.isfinite(value) and (value > 0 or none)):
                scale = "" if error.natural else " on the ln scale"
                raise ModelError(f"{name}={value:g}: an sd is a positive number{scale}.", name=name)
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
    check_ties(model, request.tie)
    known = request.free if request.free is not None else None if callable(model.free) else model.free
    for name in request.initial:
        if known is not None and name in model.parameters and name not in known:
            raise ModelError(
                f"initial={{{name!r}: ...}} and {name} is not free. Give fixed=, or free= with it.", name=name
            )
    for name in request.prior:
        if name in request.fixed or name in request.tie:
            raise ModelError(f"{name} has a prior and is {'fixed' if name in request.fixed else 'tied'}.", name=name)
        if request.free is not None and name in model.parameters and name not in request.free:
            raise ModelError(f"{name} has a prior and is not among free={list(request.free)}.", name=name)
    asked = [*request.fixed, *(request.free or ()), *request.tie]
    twice = [n for n in dict.fromkeys(asked) if asked.count(n) > 1] + [n for n in request.initial if n in request.fixed]
    if twice:
        raise ModelError(f"{twice[0]} is given twice among fixed, free, tie and initial; keep one.", name=twice[0])
    without_effect(model, request.doses)
    _check_dose_unit(request, study)
    _check_unit(request, study)
    _check_one_amount(request, study)
    if takes_doses(model) and request.doses is None and study.doses.empty:
        raise one_problem(
            f"{model.name} needs a dose and the study has none",
            "Give the column dose (or AMT), doses=1e6, doses='one amount' to fit F times dose, or a model without one.",
        )
    return request.in_units_of(study.unit)


def check_error(request: Request, study: Study) -> None:
    """Raise for an error model that is unknown or that this study cannot have."""
    error, outputs = request.error_model, len(request.model.outputs)
    names = error.sd_names(request.model.outputs)
    for own in [names[at::outputs] for at in range(outputs)] if len(error.parts) > 1 else ():
        if all(request.fixed.get(name) == 0 for name in own):
            raise ModelError(f"{' and '.join(own)} are both fixed at 0. Free one of them.", name=own[0])
    if not error.needs_mass:
        return
    if study.unit != UNIT:
        raise one_problem(
            f"the study is in {study.unit} and error={error.name!r} counts copies in the wells",
            f"Fit the values in {UNIT}, or take error='log'.",
        )
    if request.censoring == "m4":
        raise ValueError(
            f"error={error.name!r} with censoring='m4': that no molecule was in the wells is part of what a value "
            "below the limit says, and m4 leaves it out. Take censoring='m3'."
        )
    if not np.isfinite(dna_mass(study)).any():
        raise one_problem(
            f"error={error.name!r} needs the mass of DNA in the wells, and the study has none",
            "Give a column dna_ug or dna_ng (and wells, if several were averaged), read_study(..., dna_ug=0.3) or "
            "ck.Assay(dna_ug=0.3).limits, or take error='log'.",
        )


def fit_one(request: Request, study: Study) -> Fit:
    """Fit one subject; the request has been checked."""
    phases = Phases()
    with phases("preparing"):
        case = prepare(request, study)
    with phases("optimising"):
        if (optimum := None if case.reason else optimum_of(request, case)) is not None:
            ((problem, optimum),) = settled(request, {"": (case.problem, optimum)}, together=False).values()
            case = replace(case, problem=problem)
    with phases("judging"):
        fit = ended(request, study, case, optimum, phases.seconds)
    return replace(fit, timings=phases.done(f"{request.model.name} fitted to {fit.subject}, {fit.status}"))


def optimum_of(request: Request, case: Case) -> Optimum | None:
    """By the engine; None where the model could not be solved."""
    (ends,) = optima([case.problem], [case.initial], request.starts, request.seed)
    return ends[0]


def ended(
    request: Request,
    study: Study,
    case: Case,
    optimum: Optimum | None,
    timings: Mapping[str, float],
    misfit: Misfit | None = None,
    spread: Uncertainty | None = None,
    columns: Columns | None = None,
) -> Fit:
    """The fit of one subject from where its optimiser ended; None where there was nothing to optimise or to solve.

    ``timings`` are seconds by phase until now; ``misfit``, ``spread`` and ``columns`` where they are there already.
    """
    seconds = sum(each for name, each in timings.items() if name != COMPILING)
    problem, reason = case.problem, case.reason
    if optimum is None:
        why = reason or _unsolved(case)
        return replace(refused(request, study, problem, why, case.samples, seconds), timings=timings)
    spread = uncertainty(problem, optimum) if spread is None else spread
    reason = told(outcome(problem, optimum, spread.loose), problem)
    if misfit is None:
        misfit = misfit_of(problem, optimum, study.infusion_day(study.subjects[0]), study.unit)
    found = case.samples, optimum, spread, reason, seconds, misfit
    return replace(finished(request, study, problem, *found, columns=columns), timings=timings)


def finished(
    request: Request,
    study: Study,
    problem: Problem,
    samples: Samples,
    optimum: Optimum,
    spread: Uncertainty,
    outcome: Outcome,
    seconds: float,
    misfit: Misfit = MET,
    shared: tuple[str, ...] = (),
    columns: Columns | None = None,
) -> Fit:
    """The fit of a patient whose optimiser ended somewhere."""
    return Fit(
        request=request, study=study, problem=problem, outcome=joined(outcome, misfit), status=outcome.status,
        columns=columns or parameter_columns(request, study, problem, optimum, spread),
        log_likelihood_ln=optimum.second.value - problem.log_prior(optimum.x),
        **_counts(problem, samples, study),
        n_free=len(optimum.x), x=optimum.x,
        covariance=spread.covariance, degrees_of_freedom=spread.degrees_of_freedom, inflation=spread.inflation,
        starts=(optimum.reached, optimum.started), start_values=optimum.values, one_by_one=problem.solves.one_by_one,
        solved_implicitly=problem.solved_implicitly, seconds=seconds, misfit=misfit, shared=shared,
    )  # fmt: skip


def refused(
    request: Request, study: Study, problem: Problem, outcome: Outcome, samples: Samples, seconds: float
) -> Fit:
    """A patient who was not fitted: no value is given for what would have been estimated."""
    size = len(problem.free)
    return Fit(
        request=request, study=study, problem=problem, outcome=outcome.words, status=outcome.status,
        columns=parameter_columns(request, study, problem),
        log_likelihood_ln=np.nan, **_counts(problem, samples, study),
        n_free=size, x=np.full(size, np.nan), covariance=np.full((size, size), np.nan),
        degrees_of_freedom=np.nan, inflation=np.nan, seconds=seconds,
    )  # fmt: skip


def _counts(problem: Problem, samples: Samples, study: Study) -> dict[str, Any]:
    quantified, seen = samples.quantified, problem.samples
    kept = np.isin(samples.row, seen.row) if seen is not samples else np.ones(len(samples), bool)
    return {
        "n_quantified": int(quantified.sum()),
        "n_censored": int((kept & ~quantified).sum()),
        "n_excluded": study.n_rows - int(kept.sum()),
        "sum_ln_quantified": float(np.log(seen.lower[seen.quantified]).sum()),
    }


def _unsolved(case: Case) -> Outcome:
    """Why the optimiser came to no end: no curve, or one without derivatives."""
    problem = case.problem
    where = ", ".join(f"{name} {case.initial[name]:.3g}" for name in problem.free)
    start = problem.curve(problem.start(case.initial), 1)
    slopes = np.asarray(start.jacobian)
    lost = [name for column, name in enumerate(problem.free) if not np.isfinite(slopes[:, column]).all()]
    if lost and np.isfinite(start.value).all():
        text = f"not solved: the curve has no finite derivative by {_join(lost)}, the first start at {where}."
        remedy = (
            "Look for the square root, power or absolute value of 0, and for a where() whose other branch overflows."
        )
        return Outcome(Status.NOT_SOLVED, f"{text} {remedy}")
    at = problem.natural(problem.start(case.initial))
    if states := undefined(problem.model, at, problem.doses, problem.courses):
        text = f"not solved: the derivative of {_join(states)} is not a finite number on day 0, first start at {where}."
        remedy = "Look in rhs() for a square root or logarithm of a negative value and for a division by 0."
        return Outcome(Status.NOT_SOLVED, f"{text} {remedy}")
    text = f"not solved: the model could not be integrated at any start, the first at {where}."
    return Outcome(Status.NOT_SOLVED, f"{text} Give initial=, or fix parameters.")


def outcome(problem: Problem, optimum: Optimum, loose: Sequence[str]) -> Outcome:
    """How the fit ended."""
    together = f"{_join(loose)} move together" if len(loose) > 1 else f"the samples do not determine {_join(loose)}"
    fewer = f"Fix {_join(loose[:1])} (fixed=), free fewer parameters, or add samples where they differ."
    if not optimum.converged and loose:
        return Outcome(
            Status.RIDGE, f"not converged: the likelihood still rises along a ridge, where {together}. {fewer}"
        )
    if not optimum.converged:
        advice = "Give initial= nearer to the curve, or more starts=."
        text = f"not converged: the optimiser stopped before the likelihood was flat. {advice}"
        return Outcome(Status.NOT_CONVERGED, text)
    if optimum.held[len(problem.free) :].any():
        return _sd_at_bound(problem, optimum)
    lower, upper = problem.bounds
    held = optimum.held[: len(problem.free)]
    at_bound = _join(
        [
            f"{name} at its {'lower' if optimum.x[i] - lower[i] <= upper[i] - optimum.x[i] else 'upper'} bound"
            for i, name in enumerate(problem.free)
            if held[i]
        ]
    )
    if loose:
        also = f", with {at_bound}" if at_bound else ""
        return Outcome(Status.NOT_IDENTIFIABLE, f"not identifiable: {together}{also}. {fewer}")
    if at_bound:
        last = problem.samples.day[problem.samples.quantified].max()
        advice = "Fix it, or see whether a simpler model does."
        text = f"{at_bound}: the last quantified sample is {last:g} days after the infusion. {advice}"
        return Outcome(Status.AT_BOUND, text)
    return Outcome(Status.CONVERGED, "converged")


def _sd_at_bound(problem: Problem, optimum: Optimum) -> Outcome:
    """What it means that an sd ended at its lower bound."""
    outputs, error = len(problem.model.outputs), problem.error
    at_bound = np.zeros(len(problem.sd), bool)
    at_bound[problem.sd_free] = optimum.held[len(problem.free) :]
    none = (at_bound | (problem.sds(optimum.x) == 0)).reshape(-1, outputs).all(axis=0)
    if not none.any():
        first = int(np.argmax(at_bound))
        name = problem.sd_names[first]
        text = error.none_shown[first // outputs].format(name=name)
        return Outcome(Status.PART_AT_BOUND, f"{name} at its lower bound: {text}")
    return Outcome(Status.SD_AT_BOUND, f"sd at its lower bound: {error.at_bound}")


def _check_unit(request: Request, study: Study) -> None:
    """A logarithm is no level, and a default in copies/ug is none in cells/uL."""
    if is_log(study.unit):
        raise one_problem(
            f"the study is in {study.unit}, a logarithm, and {request.model.name} gives a level",
            "Give the values untransformed: 10 to the power of a log10, exp of an ln.",
        )
    model = request.model
    # Levels that are fixed by default are freed where their default is in another unit; what the user frees stays.
    free = model.parameters if request.free is None else request.free
    mismatch, remedy = levels.why_not(model, study.unit, {*free, *request.fixed, *request.tie, *model.held})
    if mismatch:
        raise one_problem(mismatch, remedy)
    published = published_of(model)
    for name in levels.levels(model) if study.unit not in model.outputs.values() else ():
        if name in request.prior and request.prior[name] == published.get(name):
            raise one_problem(
                f"the study is in {study.unit}, and the published prior of {name} is in {model.parameters[name].unit}",
                f"Convert the values, or give prior= of {name} in {study.unit} and of what else has one.",
            )


def _check_one_amount(request: Request, study: Study) -> None:
    """With a dose that nobody knows, what it is multiplied with has to be free to stand for the product."""
    if not request.one_amount or not study.subjects:
        return
    model = request.model
    names = [*levels.per_dose(model)]
    known = {*request.fixed, *request.tie, *model.held}
    added = [*names] if request.free is None else []
    free = {*(request.free or model.default_free(study.each()(study.subjects[0]))), *added} - known
    carried = [name for _, name in list(model.dosing.values())[:1] if isinstance(name, str)]
    could = [*dict.fromkeys([*names, *carried])]
    product = [name for name in could if name in free]
    if not product:
        what = (
            f"{' and '.join(could)} {'is' if len(could) == 1 else 'are'} not free" if could else "nothing scales a dose"
        )
        remedy = f"Free {could[0]} (free=[..., {could[0]!r}])" if could else "Take a model without dose"
        text = f"doses='one amount' fits the product of a factor and an unknown dose, and in {model.name} {what}."
        raise ModelError(f"{text} {remedy}, or give doses=.")
    if named := [name for name in product if name in request.prior]:
        raise ModelError(
            f"prior of {named[0]}: with doses='one amount' {named[0]} stands for the product of itself and an unknown "
            f"dose, which a prior in {model.parameters[named[0]].unit} does not speak of. Give doses= with the amount, "
            f"or leave out the prior; doses=1 with a prior of the product says that it is meant.",
            name=named[0],
        )
    bounded = [name for name in product if np.isfinite(model.parameters[name].max)]
    if len(bounded) == len(product):
        name = bounded[0]
        raise ModelError(
            f"doses='one amount' fits the product of {name} and an unknown dose, and {name} of {model.name} is at most "
            f"{model.parameters[name].max:g}. Give doses= with the amount, or one that is likely.",
            name=name,
        )


def _check_dose_unit(request: Request, study: Study) -> None:
    """A model whose F is per cell/kg does not take cells."""
    units = {p.unit.partition(" per ")[2] for p in request.model.parameters.values()}
    if "cell/kg" in units and request.doses is None and study.dose_unit != "cells/kg":
        raise one_problem(
            f"the study's doses are in {study.dose_unit} and {request.model.name} takes cells/kg",
            "Divide them by the body weight, or give doses=.",
        )


def _join(words: Sequence[str]) -> str:
    *others, last = words or [""]
    return f"{', '.join(others)} and {last}" if others else last
