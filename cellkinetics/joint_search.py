"""The optimum of shared and own parameters: damped scoring of many worlds at once, then exact Newton steps of one.

A world is one problem of all patients: a start, a permutation of the doses, a study with a patient left out. Worlds
differ in their design, their weights and where they start; the patients' samples are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cellkinetics.joint_blocks import Blocks, gathered, step, uphill
from cellkinetics.joint_evaluation import Evaluator, Second
from cellkinetics.sensitivity import Floats

Flags = npt.NDArray[np.bool_]
MOST = 80  # scoring steps
SMALL = 1e-8  # log-likelihood units that a step may still promise where scoring ends
LONGEST = 1.0
WEAKEST, STRONGEST = 1e-9, 1e8  # damping
NEWTON = 30
ENOUGH, UNSEEN = 1e-9, 1e-6  # as in `polishing`
NEAR = 1e-6  # a bound


@dataclass(frozen=True, eq=False)
class Layout:
    """What the p shared values and the patients' own ones are.

    offset : (n, d) what is fixed, and where own values are put. design : (w or 1, n, d, p). own : (n, d) 0 or 1.
    lower, upper, units : of the shared values (p,) and of the patients' free vectors (n, d).
    prior : mean and precision (p,) of shared values; patients' own priors are in the evaluator.
    """

    offset: Floats
    design: Floats
    own: Floats
    lower: tuple[Floats, Floats]
    upper: tuple[Floats, Floats]
    units: tuple[Floats, Floats]
    prior: tuple[Floats, Floats]

    def of(self, worlds: npt.NDArray[np.int64]) -> Layout:
        """With the designs of some worlds."""
        return self if len(self.design) == 1 else replace(self, design=self.design[worlds])

    def x(self, s: Floats, u: Floats) -> Floats:
        """(w, n, d) free vectors of all patients."""
        return np.where(self.own > 0, u, self.offset + np.einsum("wndp,wp->wnd", self._full(len(s)), s))

    def _full(self, worlds: int) -> Floats:
        return np.broadcast_to(self.design, (worlds, *self.design.shape[1:]))

    def inside(self, x: Floats) -> Flags:
        """(w,) whether all that the shared values drive is within its bounds."""
        driven = np.any(self.design != 0, axis=-1)
        beyond = (x < self.lower[1] - NEAR) | (x > self.upper[1] + NEAR)
        return ~np.any(beyond & driven, axis=(1, 2))


@dataclass(eq=False)
class Ends:
    """Where w worlds are: s (w, p), u (w, n, d), value (w,) log posterior, converged (w,)."""

    s: Floats
    u: Floats
    value: Floats
    converged: Flags


def evaluated(
    layout: Layout, patients: Evaluator, s: Floats, u: Floats, weight: Floats, *, exact: bool = False
) -> tuple[Floats, Blocks, Second, Floats]:
    """The log posterior (w,), its blocks, each patient's part (w, n, ...), and the patients' vectors (w, n, d)."""
    x = layout.x(s, u)
    worlds, n, d = x.shape
    rows = np.flatnonzero(weight.ravel() > 0)
    found = (patients.second if exact else patients.score)(x.reshape(-1, d)[rows], rows % n)
    part = Second(*(_spread(each, rows, worlds, n) for each in found[:3]), *_rest(found, rows, worlds, n))
    mean, precision = layout.prior
    value = np.sum(np.where(weight > 0, part.value, 0.0), axis=1) - 0.5 * np.sum(precision * (s - mean) ** 2, axis=1)
    solved = np.all(part.solved | (weight == 0), axis=1) & layout.inside(x) & np.isfinite(value)
    blocks = gathered(part.gradient, part.curved, layout.design, layout.own)
    blocks = blocks._replace(
        shared_gradient=blocks.shared_gradient - precision * (s - mean), shared=blocks.shared + np.diag(precision)
    )
    finite = np.all(np.isfinite(blocks.shared_gradient), axis=-1) & np.all(np.isfinite(blocks.own_gradient), axis=(1, 2))
    return np.where(solved & finite, value, -np.inf), blocks, part, x


def _spread(values: Floats, rows: npt.NDArray[np.int64], worlds: int, n: int) -> Floats:
    full = np.zeros((worlds * n, *values.shape[1:]), values.dtype)
    full[rows] = values
    return full.reshape(worlds, n, *values.shape[1:])


def _rest(found: Second, rows: npt.NDArray[np.int64], worlds: int, n: int) -> tuple[Floats, Flags]:
    quantified = _spread(found.quantified, rows, worlds, n) if len(found.quantified) else found.quantified
    return quantified, _spread(found.solved, rows, worlds, n).astype(bool)


def search(
    layout: Layout, patients: Evaluator, s: Floats, u: Floats, weight: Floats | None = None, *, small: float = SMALL
) -> Ends:
    """Uphill from ``s`` (w, p) and ``u`` (w, n, d) by damped scoring; patients of weight (w, n) 0 are left out."""
    worlds, n = len(s), len(layout.own)
    weight = np.ones((worlds, n)) if weight is None else weight
    s = np.clip(s, layout.lower[0], layout.upper[0])
    u = np.clip(u, layout.lower[1], layout.upper[1])
    ends = Ends(s.copy(), u.copy(), np.full(worlds, -np.inf), np.zeros(worlds, bool))
    value, blocks, *_ = evaluated(layout, patients, s, u, weight)
    ends.value, damping = value, np.full(worlds, 1e-3)
    active = np.flatnonzero(np.isfinite(value))
    for _ in range(MOST):
        here = layout.of(active)
        mine = blocks.taken(active)
        at_s, at_u = ends.s[active], ends.u[active]
        moving = _moving(here, at_s, at_u, mine)
        _, _, promised = step(mine, moving, layout.units, np.zeros(len(active)), LONGEST)
        ends.converged[active] = promised < small
        left = ~ends.converged[active] & (damping[active] < STRONGEST)
        active, mine, at_s, at_u = active[left], mine.taken(left), at_s[left], at_u[left]
        if not len(active):
            break
        here, moving = layout.of(active), (moving[0][left], moving[1][left])
        ds, du, _ = step(mine, moving, layout.units, damping[active], LONGEST)
        # What a first step would carry over its bound stays, and the others step without it.
        moving = _not_outward(here, at_s, at_u, ds, du, moving)
        ds, du, _ = step(mine, moving, layout.units, damping[active], LONGEST)
        trial_s = np.clip(at_s + ds, layout.lower[0], layout.upper[0])
        trial_u = np.clip(at_u + du, layout.lower[1], layout.upper[1])
        value, new, *_ = evaluated(here, patients, trial_s, trial_u, weight[active])
        better = value >= ends.value[active]
        moved = active[better]
        gain = value - ends.value[active]
        ends.s[moved], ends.u[moved], ends.value[moved] = trial_s[better], trial_u[better], value[better]
        for whole, part in zip(blocks, new, strict=True):
            whole[moved] = part[better]
        damping[active] = np.where(better, damping[active] / 6, damping[active] * 5)
        damping = np.clip(damping, WEAKEST, STRONGEST * 10)
        stalled = ~better & (np.abs(gain) < small)
        ends.converged[active[stalled]] = True
        active = active[~stalled]
    return ends


def polish(layout: Layout, patients: Evaluator, s: Floats, u: Floats) -> tuple[Ends, Blocks, Second, Floats]:
    """Exact Newton steps of one world (1, p), (1, n, d): its end, blocks, the patients' parts and free vectors."""
    weight = np.ones((1, len(layout.own)))
    value, blocks, part, x = evaluated(layout, patients, s, u, weight, exact=True)
    ends = Ends(s, u, value, np.zeros(1, bool))
    halvings, expected = 0, np.full(1, np.inf)
    ds, du = np.zeros_like(s), np.zeros_like(u)
    fresh = bool(np.isfinite(value[0]))
    for _ in range(NEWTON if fresh else 0):
        if fresh:
            moving = _moving(layout, ends.s, ends.u, blocks)
            ds, du, expected = step(uphill(blocks), moving, layout.units, np.zeros(1), 2 * LONGEST)
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
        halvings += 2
    ends.converged = np.isfinite(ends.value) & ((expected < ENOUGH) | (~np.array([fresh]) & (expected < UNSEEN)))
    return ends, blocks, part, x


def held(layout: Layout, s: Floats, u: Floats, blocks: Blocks) -> tuple[Flags, Flags]:
    """What is pressed against a bound, shared (w, p) and own (w, n, d)."""
    may_s, may_u = _moving(layout, s, u, blocks)
    return may_s == 0, (may_u == 0) & (layout.own > 0)


def _moving(layout: Layout, s: Floats, u: Floats, blocks: Blocks) -> tuple[Floats, Floats]:
    (low_s, low_u), (high_s, high_u) = layout.lower, layout.upper
    g_s, g_u = blocks.shared_gradient, blocks.own_gradient
    held_s = ((s <= low_s + NEAR) & (g_s < 0)) | ((s >= high_s - NEAR) & (g_s > 0))
    held_u = ((u <= low_u + NEAR) & (g_u < 0)) | ((u >= high_u - NEAR) & (g_u > 0))
    return (~held_s).astype(float), layout.own * ~held_u


def _not_outward(
    layout: Layout, s: Floats, u: Floats, ds: Floats, du: Floats, moving: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    (low_s, low_u), (high_s, high_u) = layout.lower, layout.upper
    out_s = ((s <= low_s) & (ds < 0)) | ((s >= high_s) & (ds > 0))
    out_u = ((u <= low_u) & (du < 0)) | ((u >= high_u) & (du > 0))
    return moving[0] * ~out_s, moving[1] * ~out_u
