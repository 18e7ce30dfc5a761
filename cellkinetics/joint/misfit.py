"""Whether curves of a joint fit miss their samples, and whose: the questions of `fitting.misfit`, beside the others.

The samples of the others are to a patient what a prior is: they say what the shared values are, and what they do not
say is left to its own. So a sample has less of a say in its own fitted value than where the patient is alone, and is
further from the curve of the rest. Without a doubtful sample all patients are fitted again, from where they are.

The sd is asked for each patient, and where all have one sd for all of them: curves that miss a little each are seen
together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.fitting.leave_out import Movable
from cellkinetics.fitting.misfit import (
    CALLED,
    MET,
    NAMED,
    PLAUSIBLE_SD,
    REFIT_SEED,
    REFIT_STARTS,
    Look,
    Misfit,
    Refit,
    concluded,
    looked,
    without,
)
from cellkinetics.joint.design import ALL, Column, Joint
from cellkinetics.joint.evaluation import Batched
from cellkinetics.joint.fitting import Members, Solution, alone, optimum_of
from cellkinetics.joint.search import Layout, search
from cellkinetics.joint.spread import Spread
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.error_starts import starts_of
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.stacking import places
from cellkinetics.optimising.uncertainty import Uncertainty, pseudo_inverse

SCATTER = "the curves miss the samples: "
# Of several patients something is said more often, and beside the others a sample has more power: half the levels of a
# single fit keep clean patients below 2% (tests/benchmarks/misfit_joint.py).
HALF_LEVELS = {question: level / 2 for question, level in CALLED.items()}
WHAT_TO_DO = "Look at the curves, fit.plot(): check these samples, share less, or try another model."


def misfits_of(members: Members, solution: Solution, spread: Spread) -> dict[str, Misfit]:
    """{subject: how its curve misses its samples}, and how "all" do where the sd of all is too large."""
    model, error = members.request.model, members.request.error_model
    study, problems, subjects = members.study, solution.joint.problems, list(members.cases)
    misfits = {**dict.fromkeys(subjects, MET), ALL: MET}
    if not np.isfinite(solution.ends.value[0]):
        return misfits
    each, looks = moves_of(solution), dict[int, Look]()
    for i, problem in enumerate(problems):
        look = looked(problem, optimum_of(solution, i), each[i], HALF_LEVELS)
        if look is not None:
            looks[i] = look
    asked = [(i, row) for i, look in looks.items() for row in look.rows]
    refits = dict(zip(asked, _refitted(solution, asked, each), strict=True))
    for i, look in looks.items():
        own, first = [refits[i, row] for row in look.rows], study.infusion_day(subjects[i])
        misfits[subjects[i]] = concluded(look, own, first, study.unit, WHAT_TO_DO)
    misfits[ALL] = of_common_sd(solution.joint.columns, solution.ends.s[0], spread.shared, model, error)
    return misfits


def of_common_sd(columns: Sequence[Column], s: Floats, known: Uncertainty, model: Model, error: ErrorModel) -> Misfit:
    """Whether samples of all together lie further from their curves than they may, by the interval of a common sd."""
    names, outputs = error.sd_names(model.outputs), len(model.outputs)
    in_copies = {name for name, adds in zip(names, error.additive(outputs), strict=True) if adds}
    for k, column in enumerate(columns):
        variance = float(known.covariance[k, k])
        if column.parameter in {*model.parameters, *in_copies} or not variance > 0:
            continue
        sd = float(np.exp(s[k])) * known.inflation
        lower = sd * float(np.exp(-known.quantile * np.sqrt(variance)))
        if lower > PLAUSIBLE_SD:
            size = f"residual {column.parameter} of all {sd:.2f} (95% from {lower:.2f})"
            return Misfit(f"{SCATTER}{size}, a factor of {np.exp(sd):.2g}, where up to 2 is usual. {WHAT_TO_DO}")
    return MET


def said(misfits: Mapping[str, Misfit], patients: int) -> str:
    """Whose curves miss the samples, with the days, and what to do; "" where none does."""
    missed = {subject: misfit for subject, misfit in misfits.items() if misfit}
    findings = {s: misfit.words.removesuffix(f". {WHAT_TO_DO}").partition(": ")[2] for s, misfit in missed.items()}
    named = [subject for subject in missed if subject != ALL]
    whole = [findings[ALL]] if ALL in missed else []
    if len(named) == 1:
        return f"the curve of {named[0]} misses the samples: {'; '.join([findings[named[0]], *whole])}. {WHAT_TO_DO}"
    if not named:
        return missed[ALL].words if missed else ""
    listed = [f"{s} on {_days(missed[s])}" for s in named[:NAMED]]
    listed += [f"and {', '.join(named[NAMED:])}"] if len(named) > NAMED else []
    listed = "; ".join([*listed, *whole, f"fit[{named[0]!r}].outcome says how far"])
    return f"the curves of {len(named)} of {patients} miss the samples: {listed}. {WHAT_TO_DO}"


def _days(misfit: Misfit) -> str:
    days = [f"{day:g}" for day in misfit.days]
    return f"day {days[0]}" if len(days) == 1 else f"days {', '.join(days[:-1])} and {days[-1]}"


def moves_of(solution: Solution) -> list[Movable]:
    """What moves each patient's curve: the shared values, told by the others, and its own."""
    joint, part, (shared_held, own_held) = solution.joint, solution.part, solution.held
    layout, known = joint.layout, joint.problems[0].model.parameters
    _, n, d = layout.own.shape
    is_sd = np.arange(d) >= d - len(joint.problems[0].sd)
    shared = np.array([c.parameter in known for c in joint.columns], bool) & ~shared_held
    design = layout.design[0][:, :, shared]
    own = (layout.own[0] > 0) & ~own_held & ~is_sd
    # What each patient says of the shared values where its own follow them.
    told = np.zeros((n, design.shape[2], design.shape[2]))
    for i in range(n):
        at, curved = np.flatnonzero(own[i]), part.curved[i]
        told[i] = design[i].T @ curved @ design[i]
        if len(at):
            mixed = curved[at] @ design[i]
            told[i] -= mixed.T @ pseudo_inverse(curved[np.ix_(at, at)], layout.units[1][0, i, at])[0] @ mixed
    others = told.sum(axis=0) - told + np.diag(layout.prior[1][shared])
    each = []
    for i, problem in enumerate(joint.problems):
        at, free = places(problem, d - len(problem.sd)), len(problem.free)
        moving = own[i, at[:free]]
        to = np.hstack([design[i, at[:free]], np.eye(free)[:, moving]])
        prior = np.zeros((to.shape[1], to.shape[1]))
        k = design.shape[2]
        prior[:k, :k] = 0.5 * (others[i] + others[i].T)
        prior[k:, k:] = problem.prior[1][:free, :free][np.ix_(moving, moving)]
        each.append(Movable(to, prior))
    return each


def _refitted(solution: Solution, asked: Sequence[tuple[int, int]], each: Sequence[Movable]) -> list[Refit | None]:
    """All patients again, uphill, without a sample of one of them; each is a world of its own."""
    joint = solution.joint
    used = [(i, row) for i, row in asked if without(joint.problems[i], row).samples.quantified.any()]
    if not used:
        return [None] * len(asked)
    n, m = len(joint.problems), len(used)
    rests = [without(joint.problems[i], row) for i, row in used]
    whole = _with(joint, rests, [i for i, _ in used])
    patients = Batched(whole.problems)
    layout = joint.layout
    s, u = np.repeat(solution.ends.s, m, axis=0), np.repeat(solution.ends.u, m, axis=0)
    whose = np.repeat(np.arange(n)[None], m, axis=0)
    for k, (i, _) in enumerate(used):
        whose[k, i] = n + k
    if joint.problems[0].model.corners:
        # A switch day has an optimum between any two samples, and where the sample was is not where it is without it.
        begun = {
            n + k: _starts(solution, i, rest, patients.width)
            for k, ((i, _), rest) in enumerate(zip(used, rests, strict=True))
        }
        _, best, _ = alone(whole, patients, begun, whole.layout.own[0])
        for k, (i, _) in enumerate(used):
            u[k, i] = best[n + k]
    ends = search(replace(layout, whose=whose), patients, s, u)
    x = layout.x(ends.s, ends.u)
    found = {}
    for k, (i, row) in enumerate(used):
        at = places(joint.problems[i], patients.width)
        found[i, row] = Refit(x[k, i, at], each[i]) if np.isfinite(ends.value[k]) else None
    return [found.get(one) for one in asked]


def _with(joint: Joint, rests: Sequence[Problem], of: Sequence[int]) -> Joint:
    """The joint problem with further patients, copies of some."""
    layout, n = joint.layout, len(joint.problems)
    rows = [*range(n), *of]

    def taken(values: Floats) -> Floats:
        return values[:, rows]

    lower, upper, units = ((s, taken(u)) for s, u in (layout.lower, layout.upper, layout.units))
    wide = Layout(
        np.arange(len(rows))[None], taken(layout.offset), taken(layout.design), taken(layout.own), lower, upper, units,
        layout.prior,
    )  # fmt: skip
    return replace(joint, problems=[*joint.problems, *rests], layout=wide)


def _starts(solution: Solution, i: int, rest: Problem, width: int) -> Floats:
    """(starts, d) where a patient without a sample begins beside the shared values: where it is, and elsewhere."""
    here, at = solution.x[i], places(rest, width)
    points = starts_of(rest, rest.natural(here[at]), REFIT_STARTS, REFIT_SEED)
    begun = np.repeat(here[None], len(points), axis=0)
    begun[:, at] = points
    own = solution.joint.layout.own[0, i] > 0
    return np.vstack([here, np.where(own, begun, here)])
