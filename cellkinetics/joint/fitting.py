"""Fit several patients together: who takes part, where to start, the optimum, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import scipy

from cellkinetics.arrays import Flags, Floats
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.fitting import fit as fitting
from cellkinetics.joint.blocks import Blocks
from cellkinetics.joint.corners import settled
from cellkinetics.joint.design import ALL, Joint, covariate_of, joined, shared_of
from cellkinetics.joint.search import Layout, Worlds, held, polish, search
from cellkinetics.joint.spread import Spread
from cellkinetics.likelihood.error_models import ERRORS, LOG
from cellkinetics.likelihood.sd_prior import MEDIAN, SdPrior
from cellkinetics.modelling.prior import centre
from cellkinetics.optimising.batch import batchable
from cellkinetics.optimising.cases import SPARE_ROWS, Case, prepare_each
from cellkinetics.optimising.evaluation import Evaluator, Second
from cellkinetics.optimising.optimise import SPREAD
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.status import Outcome, Status, not_fitted
from cellkinetics.words import count

NEARBY = 5.0  # units from the first guess, within which a patient's own optimum is taken as a start


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
    how = shared_of(request.model, shared)
    for name in how:
        if name in request.fixed or name in request.tie:
            raise ModelError(f"{name} is shared and {'fixed' if name in request.fixed else 'tied'}.", name=name)
    own = request.free if request.free is not None or callable(request.model.free) else request.model.free
    if own is not None:
        known = [name for name in request.model.parameters if name in {*own, *how} and name not in request.tie]
        request = replace(request, free=tuple(name for name in known if name not in request.fixed))
    fitting.check(request, study)
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
    ours = {*shared, *(ERRORS[LOG].sd_names(problem.model.outputs) if common_sd else ())}
    priors, few = ({n: p for n, p in given.items() if n not in ours} for given in (problem.priors, problem.few))
    return replace(problem, priors=priors, few=few)


def _with_common_sd(members: Members) -> Members:
    """One sd an output for all, with a prior where there are no rows to spare."""
    problems, request = members.problems, members.request
    names = ERRORS[LOG].sd_names(request.model.outputs)
    parameters = len(members.shared) + sum(len(set(problem.free) - set(members.shared)) for problem in problems)
    few: dict[str, SdPrior] = {}
    free = np.array([name not in request.fixed for name in names])
    sd = np.array([request.fixed.get(name, request.initial.get(name, 0.5)) for name in names])
    for i, name in enumerate(names):
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


def joint_of(members: Members, patients: Evaluator) -> Joint:
    """The layout of the joint problem of these patients."""
    request = members.request
    ours = {*members.shared, *(ERRORS[LOG].sd_names(request.model.outputs) if members.common_sd else ())}
    priors = {name: (centre(request.model, name, p), p.sd) for name, p in request.prior.items() if name in ours}
    priors |= {name: (prior.centre, prior.sd) for name, prior in members.few.items()}
    return joined(
        members.problems, list(members.cases), members.shared, members.study, members.common_sd, priors, patients
    )


def solve(members: Members, joint: Joint, patients: Evaluator) -> Solution:
    """The best of several starts, then exact Newton steps."""
    s, u = starting(members, joint, patients)
    ends = search(joint.layout, patients, s, u)
    best = int(np.argmax(ends.value))
    reached = int(np.sum(ends.value > ends.value[best] - 0.01))
    end, blocks, part, x = polish(joint.layout, patients, ends.s[[best]], ends.u[[best]])
    if members.request.model.corners and not end.converged[0]:
        end, blocks, part, x = settled(joint, patients, end.s, end.u) or (end, blocks, part, x)
    at_bound = held(joint.layout, end.s, end.u, blocks)
    inner = Second(part.value[0], part.gradient[0], part.curved[0], part.quantified[0], part.solved[0])
    return Solution(joint, end, x[0], blocks, inner, (at_bound[0][0], at_bound[1][0]), (max(reached, 1), len(s)))


def starting(members: Members, joint: Joint, patients: Evaluator) -> tuple[Floats, Floats]:
    """(starts, p) shared and (starts, n, d) own values.

    From each patient's own optimum (shared values at the medians of theirs), from the first guesses, and from seeded
    Sobol points around the former.
    """
    request, layout = members.request, joint.layout
    first = _placed(joint, patients, [case.problem.start(case.initial) for case in members.cases.values()])
    own = _own_optima(members, joint, patients, first)
    guesses = [(_shared(joint, own), own), (_shared(joint, first), first)][: max(request.starts, 1)]
    further = max(request.starts - len(guesses), 0)
    if further and joint.columns:
        drawn = _sobol(len(joint.columns), further, request.seed)
        guesses += [(guesses[0][0] + SPREAD * layout.units[0] * move, own) for move in drawn]
    return np.stack([s for s, _ in guesses]), np.stack([u for _, u in guesses])


def _placed(joint: Joint, patients: Evaluator, vectors: Sequence[Floats]) -> Floats:
    """Free vectors in the d columns (n, d)."""
    placed = joint.layout.offset[0].copy()
    for i, vector in enumerate(vectors):
        placed[i, patients.places(i)] = vector
    return placed


def _own_optima(members: Members, joint: Joint, patients: Evaluator, first: Floats) -> Floats:
    """Each patient's optimum alone where it has enough samples and ended near; elsewhere the first guess.

    Each patient is a world of its own in which nothing is shared.
    """
    problems, layout = members.problems, joint.layout
    rows = [problem.samples.quantified.sum() - len(problem.free) for problem in problems]
    enough = np.flatnonzero(np.array(rows) >= SPARE_ROWS)
    if not batchable(members.request.model) or not len(enough):
        return first
    n, d = first.shape
    all_own = np.zeros((n, 1, d))
    for i in range(n):
        all_own[i, 0, patients.places(i)] = 1.0
    nothing = np.zeros(0)
    lower, upper, units = ((nothing, part[1][0][:, None]) for part in (layout.lower, layout.upper, layout.units))
    starts = max(members.request.starts, 1)
    alone = Layout(
        np.arange(n)[:, None], first[:, None], np.zeros((n, 1, d, 0)), all_own, lower, upper, units, (nothing, nothing)
    ).of(np.tile(enough, starts))
    moves = SPREAD * np.concatenate([np.zeros((1, d)), _sobol(d, starts - 1, members.request.seed)])
    begin = first[enough] + moves[:, None, :] * layout.units[1][0, enough] * all_own[enough, 0]
    ends = search(alone, patients, np.zeros((begin[..., 0].size, 0)), begin.reshape(-1, 1, d))
    best = np.argmax(ends.value.reshape(starts, -1), axis=0) * len(enough) + np.arange(len(enough))
    reached, converged = ends.u[best, 0], ends.converged[best]
    near = np.abs(reached - first[enough]) < NEARBY * layout.units[1][0, enough]
    own = first.copy()
    own[enough] = np.where(near & converged[:, None], reached, first[enough])
    return own


def _sobol(size: int, count: int, seed: int) -> Floats:
    """(count, size) seeded standard normal Sobol points."""
    if not count or not size:
        return np.zeros((count, size))
    points = scipy.stats.qmc.MultivariateNormalQMC(np.zeros(size), rng=np.random.default_rng(seed))
    return points.random(1 << (count - 1).bit_length())[:count]


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
    width = joint.layout.own.shape[2] - len(ERRORS[LOG].sd_names(model.outputs))
    sds = [s for i, s in enumerate(subjects) if own_held[i, width:].any()]
    if sds or any(shared_held[k] for k, c in enumerate(joint.columns) if c.parameter not in model.parameters):
        whose = f" of {', '.join(sds)}" if sds else ""
        text = f"sd{whose} at its lower bound: the curve goes through every sample. Give fixed={{'sd': 0.5}}."
        return Outcome(Status.SD_AT_BOUND, text)
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
