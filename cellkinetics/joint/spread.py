"""Standard errors of shared and own parameters from the exact Hessian, calibrated for few samples as of one patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.joint.design import Joint
from cellkinetics.joint.evaluation import Second
from cellkinetics.likelihood.sd_prior import SdPrior
from cellkinetics.optimising.stacking import places
from cellkinetics.optimising.uncertainty import IN_NULL, Uncertainty, loose_of, pseudo_inverse, shares_of


@dataclass(frozen=True, eq=False)
class Spread:
    """What the Hessian says.

    shared : covariance (p, p), degrees of freedom and inflation of the shared values.
    null : (p,) share of each shared value in directions of no information.
    each : of each patient's free vector, shared values included.
    """

    shared: Uncertainty
    null: Floats
    each: Sequence[Uncertainty]


@dataclass(frozen=True, eq=False)
class _Inverse:
    """Of the joint information: shared (p, p), shares in null directions (p,), and each patient's (n, d, d), (n, d)."""

    shared: Floats
    null: Floats
    each: Floats
    each_null: Floats


def spread_of(
    joint: Joint, part: Second, held: tuple[Flags, Flags], few: Mapping[str, SdPrior] | None = None
) -> Spread:
    """From each patient's exact derivatives (n, ...) at the optimum; ``held`` (p,), (n, d) are at bounds.

    A prior of an sd, ``few`` of common ones or of a patient's own, counts as so many samples more, and the sd is
    corrected already.
    """
    few = few or {}
    layout, problems = joint.layout, joint.problems
    _, n, d = layout.own.shape
    at_bound, own_at_bound = held
    moving = ~at_bound, (layout.own[0] > 0) & ~own_at_bound
    outputs = len(problems[0].sd)
    is_sd = np.arange(d) >= d - outputs
    common = [k for k, column in enumerate(joint.columns) if column.parameter not in problems[0].model.parameters]
    of_curve = moving[0].copy(), moving[1] & ~is_sd
    of_curve[0][common] = False
    alone = _inverse(joint, part.curved, of_curve, layout.prior[1])
    spent = np.einsum("nij,nji->n", np.nan_to_num(alone.each), part.quantified)
    counted = np.array([int(problem.quantified[problem.sd_outputs[problem.output]].sum()) for problem in problems])
    estimated = np.array([problem.sd_free.any() for problem in problems])
    most = int(of_curve[0].sum() + of_curve[1].sum())
    total = float(np.clip(spent[estimated].sum(), 0.0, most))
    worth = np.array([sum(prior.degrees for prior in problem.few.values()) for problem in problems])
    more = sum(prior.degrees for prior in few.values()) + float(worth.sum())
    pooled = max(counted[estimated].sum() - total + more, 1.0) if estimated.any() else np.inf
    if common or not estimated.any():
        degrees = np.full(n, pooled)
        factor = np.sqrt(counted.sum() / pooled) if estimated.any() and not few else 1.0
        inflation = np.full(n, factor)
    else:
        own = np.clip(spent, 0.0, [len(problem.free) for problem in problems])
        degrees = np.where(estimated, np.maximum(counted - own + worth, 1.0), np.inf)
        by_samples = estimated & (worth == 0)
        inflation = np.where(by_samples, np.sqrt(counted / np.where(estimated, degrees, 1.0)), 1.0)
    # The correction is of what the samples say: a prior is as wide as it was given.
    prior = np.zeros((n, d, d))
    each_at = [places(problem, d - outputs) for problem in problems]
    for i, problem in enumerate(problems):
        prior[i][np.ix_(each_at[i], each_at[i])] = problem.prior[1]
    calibrated = (part.curved - prior) / inflation[:, None, None] ** 2 + prior
    inverse = _inverse(joint, calibrated, moving, layout.prior[1])
    shared = Uncertainty(inverse.shared, float(pooled), float(np.sqrt(np.mean(inflation**2))), ())
    each = []
    for i, problem in enumerate(problems):
        at = each_at[i]
        covariance = inverse.each[i][np.ix_(at, at)]
        known = Uncertainty(covariance, float(degrees[i]), float(inflation[i]), ())
        free = len(problem.free)
        widths = known.quantile * np.sqrt(np.abs(np.diag(covariance)))[:free] / layout.units[1][0, i, at][:free]
        loose = loose_of(problem, widths, inverse.each_null[i, at][:free])
        each.append(Uncertainty(covariance, known.degrees_of_freedom, known.inflation, loose))
    return Spread(shared, inverse.null, each)


def _inverse(joint: Joint, curved: Floats, moving: tuple[Flags, Flags], prior: Floats) -> _Inverse:
    """The inverse of the joint information over what moves, by its Schur complement; NaN where nothing is known."""
    layout = joint.layout
    _, n, d = layout.own.shape
    p = len(moving[0])
    design = layout.design[0] * moving[0]
    schur = np.diag(prior * moving[0]).astype(float)
    inner, towards, nulls = np.zeros((n, d, d)), design.copy(), np.zeros((n, d))
    for i in range(n):
        at = np.flatnonzero(moving[1][i])
        schur += design[i].T @ curved[i] @ design[i]
        if not len(at):
            continue
        inverse, null = pseudo_inverse(curved[i][np.ix_(at, at)], layout.units[1][0, i, at])
        inner[i][np.ix_(at, at)], nulls[i, at] = inverse, shares_of(null)
        mixed = curved[i][at] @ design[i]
        schur -= mixed.T @ inverse @ mixed
        towards[i, at] = -inverse @ mixed
    known = np.flatnonzero(moving[0])
    shared, shares = np.zeros((p, p)), np.zeros(p)
    if len(known):
        inverse, null = pseudo_inverse(0.5 * (schur + schur.T)[np.ix_(known, known)], layout.units[0][known])
        shared[np.ix_(known, known)], shares[known] = inverse, shares_of(null)
        # What patients own goes along where a shared value is free to move.
        along = np.abs(towards[:, :, known] @ null) / np.maximum(np.abs(null).max(axis=0, initial=0.0), 1e-300)
        nulls = np.maximum(nulls, along.max(axis=-1, initial=0.0))
    each = inner + np.einsum("nip,pq,njq->nij", towards, shared, towards)
    lost = nulls > IN_NULL
    each[lost[:, :, None] | lost[:, None, :]] = np.nan
    shared[shares > IN_NULL, :] = shared[:, shares > IN_NULL] = np.nan
    return _Inverse(shared, shares, each, nulls)
