"""Optima at which a switch day lies on a sampled day, where Newton steps end at a corner of the joint likelihood."""

from __future__ import annotations

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.joint.blocks import Blocks
from cellkinetics.joint.design import Joint
from cellkinetics.joint.evaluation import Batched, Second
from cellkinetics.joint.search import Worlds, evaluated, polish
from cellkinetics.optimising.corners import ASIDE, leaving, near_sampled

CORNER_ROUNDS = 6
Polished = tuple[Worlds, Blocks, Second, Floats]


def settled(joint: Joint, patients: Batched, s: Floats, u: Floats) -> Polished | None:
    """The optimum near ``s`` (1, p), ``u`` (1, n, d) with switches held on sampled days; None if that is none.

    Switches near a sampled day are put on it and held while the others move; the slopes on both sides of each decide
    whether it stays, or is let go.
    """
    s, u = s.copy(), u.copy()
    still_s, still_u = _on_days(joint, s, u)
    for _ in range(CORNER_ROUNDS):
        if not (still_s.any() or still_u.any()):
            return None
        polished = polish(joint.layout, patients, s, u, (still_s, still_u))
        ends = polished[0]
        s, u = ends.s.copy(), ends.u.copy()
        (after_s, after_u), (before_s, before_u) = (
            _slopes(joint, patients, s, u, (still_s, still_u), side) for side in (ASIDE, -ASIDE)
        )
        leaves_s = still_s * leaving(after_s, before_s)
        leaves_u = still_u * leaving(after_u, before_u)
        if not (leaves_s.any() or leaves_u.any()):
            return polished if ends.converged[0] else None
        s += ASIDE * leaves_s
        u += ASIDE * leaves_u
        still_s, still_u = still_s & (leaves_s == 0), still_u & (leaves_u == 0)
    return None


def _on_days(joint: Joint, s: Floats, u: Floats) -> tuple[Flags, Flags]:
    """Put each switch that is near a sampled day of its patient on it; which they are."""
    still_s, still_u = np.zeros(s.shape, bool), np.zeros(u.shape, bool)
    x, layout = joint.layout.x(s, u)[0], joint.layout
    for i, problem in enumerate(joint.problems):
        for name in problem.model.corners:
            day = near_sampled(problem, name, x[i, : len(problem.free)])
            if day is None:
                continue
            at = problem.free.index(name)
            if layout.own[0, i, at]:
                u[0, i, at], still_u[0, i, at] = day, True
                continue
            driven = np.flatnonzero(layout.design[0, i, at])
            if len(driven) == 1:
                s[0, driven], still_s[0, driven] = day, True
    return still_s, still_u


def _slopes(
    joint: Joint, patients: Batched, s: Floats, u: Floats, still: tuple[Flags, Flags], side: float
) -> tuple[Floats, Floats]:
    """Gradient beside the days on which switches are held."""
    weight = np.ones((1, u.shape[1]))
    _, blocks, *_ = evaluated(joint.layout, patients, s + side * still[0], u + side * still[1], weight)
    return blocks.shared_gradient, blocks.own_gradient
