"""The optimum of shared and own parameters: damped scoring of many worlds at once, then exact Newton steps of one.

A world is one problem of all patients: a start, a permutation of the doses, a study with a patient left out. Worlds
differ in their design, their weights and where they start; the patients' samples are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.joint.blocks import Blocks, gathered, step, uphill
from cellkinetics.joint.evaluation import Batched, Second
from cellkinetics.optimising import bounds
from cellkinetics.optimising.ascent import ENOUGH, UNSEEN
from cellkinetics.optimising.engine import STRONGEST, WEAKEST

MOST_STEPS = 80  # of scoring
JOINT_PROMISE = 1e-8  # log-likelihood units that a step may still promise where scoring ends
LONGEST_STEP = 1.0  # in units of the parameters
FIRST_DAMPING = 1e-3
STUCK = 1e6  # damping of one patient from which on its own values stay where they are
NEWTON_STEPS = 30


@dataclass(frozen=True, eq=False)
class Layout:
    """What the p shared values and the n patients' own ones are; a first axis of 1 is the same in all w worlds.

    whose : (1 or w, n) numbers of the patients. offset : (1 or w, n, d) what is fixed.
    design : (1 or w, n, d, p). own : (1 or w, n, d) 0 or 1.
    lower, upper, units : of the shared values (p,) and of the patients' free vectors (1 or w, n, d).
    prior : mean and precision (p,) of shared values; patients' own priors are in the evaluator.
    """

    whose: Ints
    offset: Floats
    design: Floats
    own: Floats
    lower: tuple[Floats, Floats]
    upper: tuple[Floats, Floats]
    units: tuple[Floats, Floats]
    prior: tuple[Floats, Floats]

    def of(self, worlds: Ints) -> Layout:
        """Of some worlds."""

        def taken(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return part if len(part) == 1 else part[worlds]

        lower, upper, units = ((s, taken(u)) for s, u in (self.lower, self.upper, self.units))
        whose, offset, design, own = map(taken, (self.whose, self.offset, self.design, self.own))
        return Layout(whose, offset, design, own, lower, upper, units, self.prior)

    def x(self, s: Floats, u: Floats) -> Floats:
        """(w, n, d) free vectors of all patients."""
        return np.where(self.own > 0, u, self.offset + np.einsum("wndp,wp->wnd", self._full(len(s)), s))

    def _full(self, worlds: int) -> Floats:
        return np.broadcast_to(self.design, (worlds, *self.design.shape[1:]))

    def inside(self, x: Floats) -> Flags:
        """(w,) whether all that the shared values drive is within its bounds."""
        driven = np.any(self.design != 0, axis=-1)
        outside = bounds.beyond(x, self.lower[1], self.upper[1], self.units[1])
        return ~np.any(outside & driven, axis=(1, 2))


@dataclass(eq=False)
class Worlds:
    """Where w worlds are: s (w, p), u (w, n, d), value (w,) log posterior, converged (w,)."""

    s: Floats
    u: Floats
    value: Floats
    converged: Flags


def evaluated(
    layout: Layout, patients: Batched, s: Floats, u: Floats, weight: Floats, *, exact: bool = False
) -> tuple[Floats, Blocks, Second, Floats]:
    """The log posterior (w,), its blocks, each patient's part (w, n, ...), and the patients' vectors (w, n, d)."""
    x = layout.x(s, u)
    worlds, n, d = x.shape
    rows = np.flatnonzero(weight.ravel() > 0)
    whose = np.broadcast_to(layout.whose, (worlds, n)).ravel()[rows]
    at = x.reshape(-1, d)[rows]
    part = _spread(_second(patients, at, whose) if exact else patients.score(at, whose), rows, worlds, n)
    mean, precision = layout.prior
    value = np.sum(np.where(weight > 0, part.value, 0.0), axis=1) - 0.5 * np.sum(precision * (s - mean) ** 2, axis=1)
    solved = np.all(part.solved | (weight == 0), axis=1) & layout.inside(x) & np.isfinite(value)
    blocks = gathered(part.gradient, part.curved, layout.design, layout.own)
    blocks = blocks._replace(
        shared_gradient=blocks.shared_gradient - precision * (s - mean), shared=blocks.shared + np.diag(precision)
    )
    finite = np.all(np.isfinite(blocks.shared_gradient), axis=-1) & np.all(
        np.isfinite(blocks.own_gradient), axis=(1, 2)
    )
    return np.where(solved & finite, value, -np.inf), blocks, part, x


def _second(patients: Batched, x: Floats, whose: Ints) -> Second:
    """Exact derivatives; first ones and the expected information where second ones could not be had."""
    second = patients.second(x, whose)
    lost = np.flatnonzero(~second.solved)
    if len(lost):
        plain = patients.score(x[lost], whose[lost])
        second.value[lost], second.gradient[lost], second.curved[lost] = plain.value, plain.gradient, plain.curved
        second.solved[lost], second.quantified[lost] = plain.solved, 0.0
    return second


def _spread(second: Second, rows: Ints, worlds: int, n: int) -> Second:
    """Of the evaluated rows, as (worlds, n, ...); zeros for the others."""

    def full(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        whole = np.zeros((worlds * n, *values.shape[1:]), values.dtype)
        whole[rows] = values
        return whole.reshape(worlds, n, *values.shape[1:])

    quantified = full(second.quantified) if len(second.quantified) else second.quantified
    return Second(full(second.value), full(second.gradient), full(second.curved), quantified, full(second.solved))


def search(
    layout: Layout,
    patients: Batched,
    s: Floats,
    u: Floats,
    weight: Floats | None = None,
    *,
    small: float = JOINT_PROMISE,
) -> Worlds:
    """Uphill from ``s`` (w, p) and ``u`` (w, n, d) by damped scoring; patients of weight (w, n) 0 are left out.

    A patient whose curve gets worse, or can no longer be solved, is damped by itself, and in the end left where it is:
    one that says nothing of its own values must not stop the others.
    """
    weight = np.ones((len(s), layout.own.shape[1])) if weight is None else weight
    climb = _begun(layout, patients, s, u, weight)
    worlds = climb.worlds
    # A world that cannot be solved where it starts has no slope to follow.
    active = np.flatnonzero(np.isfinite(worlds.value))
    for _ in range(MOST_STEPS):
        # What an undamped step would gain decides whether there is anything left: a damped one is small by itself.
        moving, promised = _promised(layout, climb, active)
        worlds.converged[active] = promised < small
        # Worlds leave the loop one by one, so that those that take longest cost only their own steps.
        left = ~worlds.converged[active] & (climb.damping[active] < STRONGEST)
        active, moving = active[left], (moving[0][left], moving[1][left])
        if not len(active):
            break
        here, seen = layout.of(active), weight[active] > 0
        trial = _trial(here, climb, active, moving)
        value, blocks, part, _ = evaluated(here, patients, *trial, weight[active])
        better, gain = value >= worlds.value[active], value - worlds.value[active]
        # Whose own curve got worse is asked against where the world stood, so before the world moves.
        worse = ~better[:, None] & ~(part.solved & (part.value >= climb.each[active])) & seen
        _move(climb, active, better, (*trial, value), blocks, part)
        _damp(climb, active, better, worse, ~part.solved & seen)
        # A step that is refused although it promised next to nothing: the value is exact to rounding only.
        stalled = ~better & (np.abs(gain) < small)
        worlds.converged[active[stalled]] = True
        active = active[~stalled]
    return worlds


@dataclass(eq=False)
class _Search:
    """Worlds on their way up.

    blocks : gradients and information where they are. each : (w, n) the patients' parts of the log posterior.
    damping : (w,) of a world. alone : (w, n) of one patient's own values, where it is more.
    """

    worlds: Worlds
    blocks: Blocks
    each: Floats
    damping: Floats
    alone: Floats


def _begun(layout: Layout, patients: Batched, s: Floats, u: Floats, weight: Floats) -> _Search:
    """Before the first step, inside the bounds."""
    s, u = np.clip(s, layout.lower[0], layout.upper[0]), np.clip(u, layout.lower[1], layout.upper[1])
    value, blocks, part, _ = evaluated(layout, patients, s, u, weight)
    worlds = Worlds(s, u, value, np.zeros(len(s), bool))
    return _Search(worlds, blocks, part.value, np.full(len(s), FIRST_DAMPING), np.full(weight.shape, FIRST_DAMPING))


def _promised(layout: Layout, climb: _Search, active: Ints) -> tuple[tuple[Floats, Floats], Floats]:
    """What may move, shared and own, and half the gain that an undamped step of it may expect."""
    here, blocks = layout.of(active), climb.blocks.taken(active)
    shared, own = _moving(here, climb.worlds.s[active], climb.worlds.u[active], blocks)
    # A patient that no damping helps stays where it is: otherwise its promise would keep the world from ending.
    moving = shared, own * (climb.alone[active] < STUCK)[:, :, None]
    none = np.zeros(len(active)), np.zeros(climb.alone[active].shape)
    return moving, step(blocks, moving, here.units, none, LONGEST_STEP)[2]


def _trial(here: Layout, climb: _Search, active: Ints, moving: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Where a damped step leads, inside the bounds."""
    s, u, blocks = climb.worlds.s[active], climb.worlds.u[active], climb.blocks.taken(active)
    damping = climb.damping[active]
    ridge = damping, np.maximum(climb.alone[active], damping[:, None])
    ds, du, _ = step(blocks, moving, here.units, ridge, LONGEST_STEP)
    # What a first step would carry over its bound stays, and the others step without it.
    moving = _not_outward(here, s, u, ds, du, moving)
    ds, du, _ = step(blocks, moving, here.units, ridge, LONGEST_STEP)
    return np.clip(s + ds, here.lower[0], here.upper[0]), np.clip(u + du, here.lower[1], here.upper[1])


def _move(
    climb: _Search, active: Ints, better: Flags, trial: tuple[Floats, Floats, Floats], blocks: Blocks, part: Second
) -> None:
    """Worlds that got ``better`` go where they tried."""
    worlds, moved = climb.worlds, active[better]
    worlds.s[moved], worlds.u[moved], worlds.value[moved] = (each[better] for each in trial)
    climb.each[moved] = part.value[better]
    for whole, fresh in zip(climb.blocks, blocks, strict=True):
        whole[moved] = fresh[better]


def _damp(climb: _Search, active: Ints, better: Flags, worse: Flags, unsolved: Flags) -> None:
    """Damp worlds that got worse more, and those that got better less; patients (w, n) by themselves too."""
    # 5 and 6 have no common power: no damping is tried twice in a row of refusals and gains.
    factor = np.where(better, 1 / 6, 5.0)
    climb.damping[active] = np.clip(climb.damping[active] * factor, WEAKEST, STRONGEST * 10)
    own = np.where(worse, 5.0, np.where(better[:, None], 1 / 6, 1.0))
    # Where a curve cannot be solved, shorter steps of the others do not help.
    own = np.where(unsolved, 25.0, own)
    # Who is stuck stays stuck: let go, it would be refused and damped again for the rest of the search.
    kept = climb.alone[active] >= STUCK
    climb.alone[active] = np.where(kept, climb.alone[active], np.clip(climb.alone[active] * own, WEAKEST, STUCK))


def polish(
    layout: Layout, patients: Batched, s: Floats, u: Floats, still: tuple[Flags, Flags] | None = None
) -> tuple[Worlds, Blocks, Second, Floats]:
    """Exact Newton steps of one world (1, p), (1, n, d): its end, blocks, the patients' parts and free vectors.

    What is to stay ``still`` does.
    """
    weight = np.ones((1, layout.own.shape[1]))
    stays = (np.zeros(s.shape, bool), np.zeros(u.shape, bool)) if still is None else (still[0], still[1].copy())
    value, blocks, part, x = evaluated(layout, patients, s, u, weight, exact=True)
    ends = Worlds(s, u, value, np.zeros(1, bool))
    halvings, expected = 0, np.full(1, np.inf)
    ds, du = np.zeros_like(s), np.zeros_like(u)
    none = np.zeros(1), np.zeros(weight.shape)
    fresh = bool(np.isfinite(value[0]))
    for _ in range(NEWTON_STEPS if fresh else 0):
        if fresh:
            may_s, may_u = _moving(layout, ends.s, ends.u, blocks)
            moving = may_s * ~stays[0], may_u * ~stays[1]
            ds, du, expected = step(uphill(blocks), moving, layout.units, none, 2 * LONGEST_STEP)
            halvings = 0
            if expected[0] < ENOUGH:
                break
        trial_s = np.clip(ends.s + ds / 2**halvings, layout.lower[0], layout.upper[0])
        trial_u = np.clip(ends.u + du / 2**halvings, layout.lower[1], layout.upper[1])
        value, new, new_part, new_x = evaluated(layout, patients, trial_s, trial_u, weight, exact=True)
        fresh = bool(value[0] > ends.value[0])
        if fresh:
            ends.s, ends.u, ends.value = trial_s, trial_u, value
            blocks, part, x = new, new_part, new_x
        elif expected[0] < UNSEEN:
            break
        elif not new_part.solved.all():
            # Own values on their way to where the curve cannot be solved stay where they are.
            stays[1][~new_part.solved] = True
            fresh = True
        halvings += 2
    ends.converged = np.isfinite(ends.value) & ((expected < ENOUGH) | (expected < UNSEEN) & ~np.array([fresh]))
    return ends, blocks, part, x


def held(layout: Layout, s: Floats, u: Floats, blocks: Blocks) -> tuple[Flags, Flags]:
    """What is pressed against a bound, shared (w, p) and own (w, n, d)."""
    may_s, may_u = _moving(layout, s, u, blocks)
    return may_s == 0, (may_u == 0) & (layout.own > 0)


def _moving(layout: Layout, s: Floats, u: Floats, blocks: Blocks) -> tuple[Floats, Floats]:
    g_s, g_u = blocks.shared_gradient, blocks.own_gradient
    held_s = bounds.held(s, g_s, layout.lower[0], layout.upper[0], layout.units[0])
    held_u = bounds.held(u, g_u, layout.lower[1], layout.upper[1], layout.units[1])
    return (~held_s).astype(float), layout.own * ~held_u


def _not_outward(
    layout: Layout, s: Floats, u: Floats, ds: Floats, du: Floats, moving: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    out_s = bounds.outward(s, ds, layout.lower[0], layout.upper[0])
    out_u = bounds.outward(u, du, layout.lower[1], layout.upper[1])
    return moving[0] * ~out_s, moving[1] * ~out_u
