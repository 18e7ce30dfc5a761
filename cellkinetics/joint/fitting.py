"""Fit several patients together: who takes part, where to start, the optimum, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.fitting import fit as fitting
from cellkinetics.joint.blocks import Blocks
from cellkinetics.joint.corners import settled
from cellkinetics.joint.design import ALL, Joint, covariate_of, joined, shared_of
from cellkinetics.joint.evaluation import Batched, Second
from cellkinetics.joint.search import Layout, Worlds, held, polish, search
from cellkinetics.joint.spread import Spread
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_model import THROUGH_ALL
from cellkinetics.likelihood.sd_prior import MEDIAN, SdPrior
from cellkinetics.modelling.prior import centre
from cellkinetics.optimising import corners
from cellkinetics.optimising.cases import SPARE_ROWS, Case, prepare_each
from cellkinetics.optimising.error_starts import starts_of
from cellkinetics.optimising.optimise import SPREAD, Optimum
from cellkinetics.optimising.problem import Problem, SecondOrder
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.stacking import places
from cellkinetics.optimising.status import Outcome, Status, not_fitted
from cellkinetics.statistics import sobol
from cellkinetics.words import count

# Rounds in which patients' own values begin again, and the log-likelihood units that a round has to be worth.
MOVING_ROUNDS, WORTH_A_MOVE = 4, 1e-3
NEARBY = 5.0  # units from where it may begin, within which a patient's own optimum is taken as a start


@dataclass(frozen=True, eq=False)
class Members:
    """The patients of a joint fit: their cases, why others are left out, and priors of common sds of few rows."""

    request: Request
    study: Study
    shared: Mapping[str, str]
    common_sd: bool
    cases: Mapping[str, Case]
    left_out: Mapping[str, str]
    few: Mapping[str, SdPrior] = field(default_factory=dict)

    @property
    def sd_by(self) -> str:
        """How the sds are known that all samples together, or a subject's own, are too few for; "" where none is."""
        if self.few:
            rows = sum(int(problem.samples.quantified.sum()) for problem in self.problems)
            by = "the prior that was given" if any(prior.given for prior in self.few.values()) else "a prior"
            return f"{', '.join(self.few)} by {by}: {count(rows, 'quantified sample')} in all"
        few = [subject for subject, case in self.cases.items() if case.problem.few]
        return f"sd by a prior, too few quantified samples: {', '.join(few)}" if few else ""

    @property
    def problems(self) -> list[Problem]:
        """Of those who take part."""
        return [case.problem for case in self.cases.values()]


@dataclass(frozen=True, eq=False)
class Solution:
    """Where a joint fit ended: s (p,) and x (n, d), with derivatives; ``starts``: how many reached the best, of all."""

    joint: Joint
    ends: Worlds
    x: Floats
    blocks: Blocks
    part: Second
    held: tuple[Flags, Flags]
    starts: tuple[int, int]


def members(
    request: Request, study: Study, shared: str | Sequence[str] | Mapping[str, str], common_sd: bool
) -> Members:
    """Check what is asked, and prepare each patient.

    Raises
    ------
    ModelError, StudyError
        As `ck.fit`; a shared parameter that is fixed or tied.
    """
    how = shared_of(request.model, shared, request.error_model)
    for name in how:
        if name in request.fixed or name in request.tie:
            raise ModelError(f"{name} is shared and {'fixed' if name in request.fixed else 'tied'}.", name=name)
    own = request.free if request.free is not None or callable(request.model.free) else request.model.free
    if own is not None:
        known = [name for name in request.model.parameters if name in {*own, *how} and name not in request.tie]
        request = replace(request, free=tuple(name for name in known if name not in request.fixed))
    for pair, _ in request.correlation:
        if among := [name for name in pair if name in how]:
            text = f"prior of {pair!r}: {among[0]} is shared, and a correlation is of what a patient has of its own"
            raise ModelError(f"{text}. Leave the pair out, or do not share {among[0]}.", name=among[0])
    request = fitting.check(request, study)
    left: dict[str, str] = {}
    ready: dict[str, Case] = {}
    for subject, case in prepare_each(request, study, tuple(how)).items():
        why_not = case.reason if isinstance(case, Case) else not_fitted(case)
        reason = why_not.words if why_not else ""
        for name, of in how.items():
            if of != ALL and covariate_of(study, name, of, [subject]).isna().any():
                reason = reason or f"no {of}, which drives {name}."
        if reason or not isinstance(case, Case):
            left[subject] = reason
        else:
            ready[subject] = case
    cases = {s: replace(case, problem=_own_priors(case.problem, how, common_sd)) for s, case in ready.items()}
    those = Members(request, study, how, common_sd, cases, left)
    return _with_common_sd(those) if common_sd and cases else those


def _own_priors(problem: Problem, shared: Mapping[str, str], common_sd: bool) -> Problem:
    """The problem without the priors of what is shared: each counts once."""
    ours = {*shared, *(problem.sd_names if common_sd else ())}
    few = {name: prior for name, prior in problem.few.items() if name not in ours}
    return replace(problem, priors=problem.priors.only(set(problem.priors) - ours), few=few)


def _with_common_sd(members: Members) -> Members:
    """One sd an output for all, with a prior where there are no rows to spare."""
    problems, request = members.problems, members.request
    names = problems[0].sd_names
    parameters = len(members.shared) + sum(len(set(problem.free) - set(members.shared)) for problem in problems)
    few: dict[str, SdPrior] = {}
    free = np.array([name not in request.fixed for name in names])
    usual = np.full(len(names), 0.5)
    if not request.error_model.least_squares:
        usual = np.median([problem.sd for problem in problems], axis=0)
    each = zip(names, usual.tolist(), strict=True)
    sd = np.array([request.fixed.get(name, request.initial.get(name, known)) for name, known in each])
    # The prior of few samples is that of an sd on ln copies.
    for i, name in enumerate(names if request.error_model.least_squares else ()):
        rows = sum(int((p.samples.quantified & (p.samples.output == i)).sum()) for p in problems)
        if not free[i] or rows >= parameters / len(names) + SPARE_ROWS:
            continue
        if not rows:
            free[i], sd[i] = False, request.initial.get(name, MEDIAN)
            continue
        given, spent = request.prior.get(name), min(parameters / len(names), float(rows))
        few[name] = SdPrior(spent=spent)
        if given:
            few[name] = SdPrior(centre(request.model, name, given), given.sd, spent, given=True)
        sd[i] = request.initial.get(name, few[name].median)
    changed = {
        subject: replace(case, problem=replace(case.problem, sd=sd, sd_free=free))
        for subject, case in members.cases.items()
    }
    return replace(members, cases=changed, few=few)


def driver(members: Members, by: str) -> pd.Series:
    """What drives the parameters, by subject: the dose, or the name of the group."""
    return covariate_of(members.study, by, by, list(members.cases))


def joint_of(members: Members, patients: Batched) -> Joint:
    """The layout of the joint problem of these patients."""
    request = members.request
    ours = {*members.shared, *(members.problems[0].sd_names if members.common_sd else ())}
    priors = {name: (centre(request.model, name, p), p.sd) for name, p in request.prior.items() if name in ours}
    priors |= {name: (prior.centre, prior.sd) for name, prior in members.few.items()}
    return joined(
        members.problems, list(members.cases), members.shared, members.study, members.common_sd, priors, patients
    )


def solve(members: Members, joint: Joint, patients: Batched) -> Solution:
    """The best of several starts, then exact Newton steps."""
    places = _places_of_starts(members, patients)
    s, u = starting(members, joint, patients, places)
    ends = search(joint.layout, patients, s, u)
    best = int(np.argmax(ends.value))
    top = _each_again(joint, patients, places, ends.s[[best]], ends.u[[best]], float(ends.value[best]))
    reached = int(np.sum(ends.value > top.value[0] - 0.01))
    polished = polish(joint.layout, patients, top.s, top.u)
    if members.request.model.corners and not polished[0].converged[0]:
        polished = settled(joint, patients, polished[0].s, polished[0].u) or polished
    return ended(joint, polished, (max(reached, 1), len(s)))


def ended(joint: Joint, polished: tuple[Worlds, Blocks, Second, Floats], starts: tuple[int, int] = (1, 1)) -> Solution:
    """What the one world of `polish` says."""
    end, blocks, part, x = polished
    at_bound = held(joint.layout, end.s, end.u, blocks)
    inner = Second(part.value[0], part.gradient[0], part.curved[0], part.quantified[0], part.solved[0])
    return Solution(joint, end, x[0], blocks, inner, (at_bound[0][0], at_bound[1][0]), starts)


def optimum_of(solution: Solution, i: int) -> Optimum:
    """Where the joint optimum leaves one patient, in the terms of its problem."""
    problem, layout, part = solution.joint.problems[i], solution.joint.layout, solution.part
    at = places(problem, layout.own.shape[2] - len(problem.sd))
    inner = at[: len(problem.free)]
    at_bound = solution.held[1][i] | np.any((layout.design[0, i] != 0) & solution.held[0], axis=-1)
    second = SecondOrder(
        float(part.value[i]), part.gradient[i, at], -part.curved[i][np.ix_(at, at)],
        part.quantified[i][np.ix_(inner, inner)], bool(part.solved[i]),
    )  # fmt: skip
    reached, started = solution.starts
    converged = bool(solution.ends.converged[0])
    return Optimum(solution.x[i, at], second, at_bound[at], converged, started, reached)


def starting(
    members: Members, joint: Joint, patients: Batched, places: Sequence[Floats] | None = None
) -> tuple[Floats, Floats]:
    """(starts, p) shared and (starts, n, d) own values.

    From each patient's own optimum (shared values at the medians of theirs), from the first guesses, and from seeded
    Sobol points around the former. ``places`` are where each patient may begin, as `_places_of_starts` gives them.
    """
    request, layout = members.request, joint.layout
    places = _places_of_starts(members, patients) if places is None else places
    first = np.stack([each[0] for each in places])
    own = _own_optima(members, joint, patients, places)
    guesses = [(_shared(joint, own), own), (_shared(joint, first), first)][: max(request.starts, 1)]
    further = max(request.starts - len(guesses), 0)
    if further and joint.columns:
        drawn = sobol.normals(len(joint.columns), further, request.seed)
        guesses += [(guesses[0][0] + SPREAD * layout.units[0] * move, own) for move in drawn]
    return np.stack([s for s, _ in guesses]), np.stack([u for _, u in guesses])


def _places_of_starts(members: Members, patients: Batched) -> list[Floats]:
    """(starts, d) where each patient's own fit would begin, the first guess first."""
    request, places = members.request, []
    starts = max(request.starts, 1)
    for i, case in enumerate(members.cases.values()):
        points = starts_of(case.problem, case.initial, starts, request.seed)
        places.append(_placed(patients, i, case.problem, points))
    return places


def _placed(patients: Batched, patient: int, problem: Problem, vectors: Sequence[Floats]) -> Floats:
    """Free vectors of one patient in the d columns (m, d); sds that are fixed at their values."""
    placed = np.zeros((len(vectors), patients.size))
    placed[:, patients.width :] = problem.ln_sd_given
    placed[:, patients.places(patient)] = vectors
    return placed


def _own_optima(members: Members, joint: Joint, patients: Batched, places: Sequence[Floats]) -> Floats:
    """Each patient's optimum alone where it has enough samples and ended near; elsewhere the first guess."""
    first = np.stack([each[0] for each in places])
    rows = [problem.samples.quantified.sum() - len(problem.free) for problem in members.problems]
    enough = [i for i, spare in enumerate(rows) if spare >= SPARE_ROWS]
    if not enough:
        return first
    may = np.zeros(first.shape)
    for i in enough:
        may[i, patients.places(i)] = 1.0
    _, x, converged = alone(joint, patients, {i: places[i] for i in enough}, may)
    units = joint.layout.units[1][0]
    own = first.copy()
    for i in enough:
        near = np.any(np.abs(x[i] - places[i]) < NEARBY * units[i], axis=0)
        own[i] = np.where(near & converged[i], x[i], first[i])
    return own


def alone(
    joint: Joint, patients: Batched, places: Mapping[int, Floats], may: Floats
) -> tuple[dict[int, float], dict[int, Floats], dict[int, bool]]:
    """The best end of each patient by itself, from its ``places`` (m, d); what ``may`` not (n, d) move stays.

    Each start is a world of its own in which nothing is shared.
    """
    whose = np.concatenate([np.full(len(points), i) for i, points in places.items()])
    begin = np.concatenate(list(places.values()))[:, None]
    layout, nothing = joint.layout, np.zeros(0)
    lower, upper, units = ((nothing, part[1][0][whose][:, None]) for part in (layout.lower, layout.upper, layout.units))
    alone = Layout(
        whose[:, None], begin, np.zeros((*begin.shape, 0)), may[whose][:, None], lower, upper, units, (nothing, nothing)
    )
    ends = search(alone, patients, np.zeros((len(whose), 0)), begin)
    best = {i: int(np.flatnonzero(whose == i)[np.argmax(ends.value[whose == i])]) for i in places}
    return (
        {i: float(ends.value[at]) for i, at in best.items()},
        {i: ends.u[at, 0] for i, at in best.items()},
        {i: bool(ends.converged[at]) for i, at in best.items()},
    )


def _each_again(
    joint: Joint, patients: Batched, places: Sequence[Floats], s: Floats, u: Floats, value: float
) -> Worlds:
    """Uphill once more with each patient's own values where they are best beside the shared ones (1, p), (1, n, d).

    A patient alone may lie in another basin than beside the others, whose shared values it has then to follow: so each
    begins again from all of its starts while the shared values stay, and all together from there.
    """
    top, layout = Worlds(s, u, np.array([value]), np.zeros(1, bool)), joint.layout
    driven = np.any(layout.design[0] != 0, axis=-1)
    may = layout.own[0] * ~driven
    for _ in range(MOVING_ROUNDS if np.isfinite(value) and may.any() and len(places[0]) > 1 else 0):
        here = layout.x(top.s, top.u)[0]
        again = {}
        for i, (problem, points) in enumerate(zip(joint.problems, places, strict=True)):
            across, _ = corners.beyond([problem], here[[i]])
            again[i] = np.vstack([here[i], np.where(may[i] > 0, np.vstack([points, across]), here[i])])
        values, x, _ = alone(joint, patients, again, may)
        stood = patients.score(here, np.arange(len(here))).value
        gained = [i for i in again if values[i] > stood[i] + WORTH_A_MOVE]
        if not gained:
            break
        moved = top.u.copy()
        for i in gained:
            moved[0, i] = x[i]
        trial = search(layout, patients, top.s, moved)
        if not trial.value[0] > top.value[0] + WORTH_A_MOVE:
            break
        top = trial
    return top


def _shared(joint: Joint, x: Floats) -> Floats:
    """Shared values from the patients' vectors (n, d): medians; no slope."""
    values = np.zeros(len(joint.columns))
    for k, column in enumerate(joint.columns):
        design = joint.layout.design[0, :, :, k]
        if not column.slope:
            values[k] = np.median(x[design != 0])
    return values


def outcome(members: Members, solution: Solution, spread: Spread) -> Outcome:
    """How the joint fit ended."""
    joint, (shared_held, own_held) = solution.joint, solution.held
    subjects, model = list(members.cases), members.request.model
    if not np.isfinite(solution.ends.value[0]):
        text = "not solved: the model could not be integrated at any start. Give initial=, or fix parameters."
        return Outcome(Status.NOT_SOLVED, text)
    if not solution.ends.converged[0]:
        text = "not converged: the optimiser stopped before the likelihood was flat. Give initial=, or more starts=."
        return Outcome(Status.NOT_CONVERGED, text)
    width = joint.layout.own.shape[2] - len(joint.problems[0].sd)
    sds = [s for i, s in enumerate(subjects) if own_held[i, width:].any()]
    if sds or any(shared_held[k] for k, c in enumerate(joint.columns) if c.parameter not in model.parameters):
        whose = f" of {', '.join(sds)}" if sds else ""
        return Outcome(Status.SD_AT_BOUND, f"sd{whose} at its lower bound: {THROUGH_ALL}")
    wide = [name for name in members.shared if any(name in known.loose for known in spread.each)]
    null = [joint.columns[int(k)].label for k in np.flatnonzero(spread.null > 0.3)]
    names = list(dict.fromkeys([*null, *wide]))
    loose = [f"{' and '.join(names)} (shared)"] if names else []
    for subject, known, problem in zip(subjects, spread.each, joint.problems, strict=True):
        own = [name for name in known.loose if name in problem.free and name not in members.shared]
        loose += [f"{subject}: {' and '.join(own)}"] * bool(own)
    bounds = [f"{joint.columns[int(k)].label} (shared)" for k in np.flatnonzero(shared_held)]
    for i, (subject, problem) in enumerate(zip(subjects, joint.problems, strict=True)):
        own = [problem.free[k] for k in np.flatnonzero(own_held[i, : len(problem.free)])]
        bounds += [f"{subject}: {' and '.join(own)}"] * bool(own)
    also = f", at a bound {'; '.join(bounds)}" if bounds else ""
    if loose:
        text = f"not identifiable: the samples do not determine {'; '.join(loose)}{also}"
        return Outcome(Status.NOT_IDENTIFIABLE, f"{text}. Share or fix them, give priors, or add samples.")
    if bounds:
        text = f"at a bound: {'; '.join(bounds)}. Fix or share them, or see whether a simpler model does."
        return Outcome(Status.AT_BOUND, text)
    return Outcome(Status.CONVERGED, "converged")
