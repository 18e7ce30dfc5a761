"""Patients made ready to be fitted: samples, doses, what is free, where to start, or why they cannot be fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.likelihood.sd_prior import MEDIAN, SdPrior
from cellkinetics.modelling import levels
from cellkinetics.modelling.absent import AbsentModel
from cellkinetics.modelling.comedication import days_acting, from_columns, not_given, takes_doses
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.loading import library_twin
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import NormalPriors, centre
from cellkinetics.optimising.guessing import from_samples
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.samples import Samples, courses_of, infusion_days, samples_each
from cellkinetics.optimising.status import Outcome, Status, not_fitted
from cellkinetics.solving.captured import parted
from cellkinetics.solving.sensitivity import Ties
from cellkinetics.solving.solver import NO_COURSES, Courses
from cellkinetics.words import count

SPARE_ROWS = 3
Event = tuple[float, float, str, float]


@dataclass(frozen=True)
class Case:
    """One subject made ready: its samples, the problem, where to start, why it cannot be fitted, if so."""

    samples: Samples
    problem: Problem
    initial: dict[str, float]
    reason: Outcome | None


def prepare(request: Request, study: Study) -> Case:
    """The case of a study of one subject."""
    (case,) = prepare_each(request, study).values()
    if isinstance(case, Exception):
        raise case
    return case


def prepare_each(request: Request, study: Study, shared: Sequence[str] = ()) -> dict[str, Case | Exception]:
    """{subject: its case, or what went wrong with this subject's numbers}; ``shared`` parameters are free in all."""
    samples, events, only = samples_each(request.model, study), _events(request.model, study), study.each()
    designs: dict[object, tuple[str, ...]] = {}
    by_design = _by_design(request.model)
    common = cache(lambda: _Common.of(request))
    cases: dict[str, Case | Exception] = {}
    for subject in study.subjects:
        own = samples[subject]

        def free(subject: str = subject, own: Samples = own) -> tuple[str, ...]:
            # Which parameters are free is a matter of the design, where the library says: asked once for each.
            if not by_design:
                return request.model.default_free(only(subject))
            design = (tuple(events[subject]), own.day.tobytes())
            if design not in designs:
                designs[design] = request.model.default_free(only(subject))
            return designs[design]

        try:
            cases[subject] = _case(request, common(), only, subject, own, events[subject], free, shared, study.unit)
        except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
            cases[subject] = error
    return cases


def _by_design(model: Model) -> bool:
    """Whether which parameters are free depends on days and doses alone; a user's function may look at all there is."""
    return not callable(model.free) or getattr(library_twin(model), "free", None) is model.free


@dataclass(frozen=True, eq=False)
class _Common:
    """What is the same for all subjects of a request.

    values : of all parameters, those that are fixed as they are. sd_names : of all sds. given : of each sd, that which
    is fixed or what it is where too few samples tell it. priors : all of them. ties, captured : see `Problem`.
    """

    values: dict[str, float]
    sd_names: list[str]
    given: Floats
    priors: NormalPriors
    ties: Ties
    captured: Floats

    @classmethod
    def of(cls, request: Request) -> _Common:
        model, error = request.model, request.error_model
        values = model.values({n: v for n, v in request.fixed.items() if n in model.parameters})
        names = error.sd_names(model.outputs)
        # Where too few samples are quantified to estimate it an additive part is left out.
        when_few = np.where(error.additive(len(model.outputs)), 0.0, MEDIAN)
        given = np.array([request.fixed.get(name, few) for name, few in zip(names, when_few, strict=True)])
        each = {name: (centre(model, name, prior), prior.sd) for name, prior in request.prior.items()}
        ties, captured = parted(request.tie, values)
        return cls(values, names, given, NormalPriors.of(each, dict(request.correlation)), (*ties.items(),), captured)


def _case(
    request: Request,
    common: _Common,
    only: Callable[[str], Study],
    subject: str,
    samples: Samples,
    events: Sequence[Event],
    default_free: Callable[[], Sequence[str]],
    shared: Sequence[str],
    unit: str,
) -> Case:
    model = request.model
    seen = samples.censored(request.censoring)
    values = dict(common.values)
    chosen = {*(request.free if request.free is not None else default_free()), *shared}
    if request.free is None:
        # The default of a level is in the model's own unit, and says nothing in another.
        chosen |= {*levels.per_dose(model)} if request.one_amount else set()
        chosen |= {*levels.held(model, unit, {*chosen, *request.fixed, *request.tie, *model.held, *model.ties})}
    chosen -= not_given(model, [kind for _, _, kind, _ in events]) - {*shared}
    free = tuple(n for n in model.parameters if n in chosen and n not in request.fixed and n not in request.tie)
    doses, reason = doses_of(request, events)
    courses, missing = courses_of(model, only(subject)) if model.inputs else (NO_COURSES, None)
    reason = reason or missing
    priors = common.priors.only({*free, *common.sd_names})
    problem = Problem(
        model=model,
        samples=seen,
        doses=doses,
        values=values,
        free=free,
        ties=common.ties,
        sd=common.given,
        sd_free=np.zeros(len(common.given), bool),
        courses=courses,
        priors=priors,
        error=request.error_model,
        captured=common.captured,
    )
    amount = float(doses.amounts[0, 0]) if doses.amounts.size else 1.0
    other_unit = unit not in model.outputs.values()
    if not model.scale_free and other_unit:
        guess = _guess_in(unit, model, seen, free, amount, courses)
    else:
        guess = from_samples(model, seen, amount, courses)
    known = [name for name in free if name in priors]
    middle = {name: model.parameters[name].from_estimation(priors[name][0]) for name in known}
    initial = {**values, **guess, **middle, **{n: v for n, v in request.initial.items() if n in values}}
    for name in free:
        if not np.isfinite(model.parameters[name].to_estimation(initial[name])):
            raise ModelError(
                f"{name} starts at {initial[name]:g}, where its {model.parameters[name].scale} is not finite. "
                f"Give initial={{{name!r}: ...}}.",
                name=name,
            )
    if model.scale_free or other_unit:
        # Open ends are counted from the default, which for a level is in the model's own unit: here from the start.
        problem = replace(problem, values=values | {n: initial[n] for n in levels.levels(model) if n in free})
    own = [name for name in free if name not in priors and name not in shared]
    reason = reason or (None if len(samples) else _no_sample(only(subject).exclusions))
    reason = reason or (_refusal(seen, samples, own) if own or not shared else None)
    reason = reason or _not_countable(problem)
    return Case(samples, problem if reason else _with_sd(problem, request, initial), initial, reason)


def _guess_in(
    unit: str, model: Model, seen: Samples, free: Sequence[str], amount: float, courses: Courses
) -> dict[str, float]:
    """Start values in the unit of the study: those of the curve at the level of the model's own defaults, carried back.

    A guess may be bounded in the model's own unit, as N of il15_persistence is.
    """
    names = levels.levels(model)
    rough = from_samples(model, seen, amount, courses)
    known = [name for name in names if rough.get(name, 0.0) > 0]
    if known:
        factor = model.parameters[known[0]].value / rough[known[0]]
    else:
        first = model.parameters[names[0]]
        ends = np.where(np.isfinite(seen.upper), seen.upper, seen.lower)
        level = first.value * (amount if " per " in first.unit else 1.0)
        factor = level / max(float(np.max(ends, initial=0.0)), 1e-300)
    scaled = replace(seen, lower=seen.lower * factor, upper=seen.upper * factor)
    guess = from_samples(model, scaled, amount, courses)
    start = {name: guess.get(name, model.parameters[name].value) for name in names if name in free}
    return guess | {name: value / factor for name, value in start.items()}


def _with_sd(problem: Problem, request: Request, initial: Mapping[str, float]) -> Problem:
    """Free the sds, with a prior where an output has no rows to spare: the likelihood has no bound as sd goes to 0.

    Each sd beyond the first needs a row more. Of a combined error the additive part is the first to go, to 0.
    """
    names, outputs = problem.sd_names, len(problem.model.outputs)
    reached = np.ones((outputs, len(problem.free)), bool)
    samples = problem.samples
    # Of a model that is not at hand nothing is asked: its fit says what was free.
    if outputs > 1 and not isinstance(problem.model, AbsentModel):
        slopes = problem.curve(problem.start(initial), 1).jacobian
        reached = np.array([np.any(slopes[problem.output == i] != 0, axis=0) for i in range(outputs)])
    rows = np.array([int((samples.quantified & (samples.output == i)).sum()) for i in range(outputs)])
    determined = reached.sum(axis=1)
    asked = np.array([name not in request.fixed for name in names]).reshape(-1, outputs)
    # From the last part on: each that is estimated leaves a row less to those before it.
    taken = np.cumsum(asked[::-1], axis=0)[::-1] - asked
    enough = (asked & (rows - determined - SPARE_ROWS - taken >= 0)).ravel()
    by_prior = asked.ravel() & ~enough & ~problem.error.additive(outputs)
    # Without a quantified row there is nothing that an sd could be estimated from.
    by_prior &= np.tile(rows > 0, len(names) // outputs)
    few: dict[str, SdPrior] = {}
    for at in np.flatnonzero(by_prior):
        name, output = names[at], at % outputs
        free, spent = int(determined[output]), float(min(determined[output], rows[output]))
        given = problem.priors.get(name)
        prior = SdPrior(*given, given=True) if given else SdPrior()
        few[name] = replace(prior, spent=spent, parameters=free)
    start = [few[name].median if name in few else 0.5 for name in names]
    estimated = enough | by_prior
    sd = np.where(estimated, [request.initial.get(name, at) for name, at in zip(names, start, strict=True)], problem.sd)
    return replace(problem, sd=sd, sd_free=estimated, few=few)


def _not_countable(problem: Problem) -> Outcome | None:
    """Why the molecules of some sample cannot be counted, if so."""
    unknown = problem.samples.day[np.isnan(problem.samples.mass)]
    if not problem.error.needs_mass or not len(unknown):
        return None
    days = ", ".join(f"{day:g}" for day in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    return Outcome(
        Status.NO_MASS,
        f"no mass of DNA on day {days}: counting noise needs it for each sample. "
        "Give the column dna_ug, read_study(..., dna_ug=0.3), or error='log'.",
    )


def _events(model: Model, study: Study) -> dict[str, list[Event]]:
    """{subject: (day since the first infusion, amount, kind, days or 0) of each dose, and of comedication}."""
    first = dict(zip(study.subjects, infusion_days(study), strict=True))
    events: dict[str, list[Event]] = {subject: [] for subject in study.subjects}
    columns = (study.doses[name].to_numpy(object) for name in ("subject", "day", "amount", "kind"))
    for subject, day, amount, kind in zip(*columns, strict=True):
        events[subject].append((float(day - first[subject]), float(amount), str(kind), 0.0))
    if model.comedication:
        for subject, given in from_columns(model, study).items():
            events[subject] += [(max(day - first[subject], 0.0) if np.isinf(day) else float(day - first[subject]), 1.0,
                                 what, days) for day, what, days in given]  # fmt: skip
    return events


def doses_of(request: Request, events: Sequence[Event]) -> tuple[Doses, Outcome | None]:
    """The subject's doses as the model takes them, and why it cannot, if so."""
    model = request.model
    given: dict[str, list[tuple[float, float, float]]] = {}
    for day, amount, kind, days in events:
        if kind in model.channels:
            given.setdefault(kind, []).append((day, amount, days))
    takes = takes_doses(model)
    if request.doses is not None or not takes:
        asked: Any = 1.0 if request.one_amount else request.doses
        beside = {what: given[what] for what in days_acting(model) if what in given}
        if beside and not isinstance(asked, Doses):
            asked = {**beside, **(asked if isinstance(asked, Mapping) else {model.channels[0]: asked} if takes else {})}
        return model.doses(asked), None
    if model.channels[0] not in given:
        kinds = ", ".join(sorted({kind for _, _, kind, _ in events})) or "nothing above 0"
        text = f"no dose: {model.name} takes {model.channels[0]}, and the table has {kinds}."
        return model.doses(None), Outcome(Status.NO_DOSE, f"{text} Give it in the table, or doses=.")
    try:
        return model.doses(given), None
    except ModelError as error:
        return model.doses(None), not_fitted(error)


def _no_sample(exclusions: Mapping[str, int]) -> Outcome:
    """With how many rows are left out for what reason."""
    left = ", ".join(f"{n} {why}" for why, n in exclusions.items())
    excluded = f"every row is excluded ({left})," if left else "every row is excluded"
    return Outcome(Status.NO_SAMPLE, f"no sample: {excluded} or of an output that the model does not have.")


def _refusal(seen: Samples, samples: Samples, free: Sequence[str]) -> Outcome | None:
    if not samples.quantified.any():
        return Outcome(
            Status.NO_QUANTIFIED_SAMPLE,
            f"no quantified sample: all {len(samples)} are beyond their limit, so the level is only bounded. "
            "Report the limit, or fit the patient together with others.",
        )
    if len(seen) < len(free):
        return Outcome(
            Status.NOT_IDENTIFIABLE,
            f"not identifiable: {count(len(seen), 'sample')} for {count(len(free), 'free parameter')} "
            f"({', '.join(free)}). "
            f"Fix all but {max(len(seen) - 1, 1)} at published values (fixed=, or free=), take a simpler model, "
            "or add samples.",
        )
    return None
