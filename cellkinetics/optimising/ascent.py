"""Newton steps with exact Hessians, for one problem or many: who evaluates is given, numpy decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.optimising.bounds import held
from cellkinetics.optimising.engine import Curvature

EVALUATIONS, FIRST_EVALUATIONS = 30, 8  # of a climb, and of one that scoring steps go on with
ON_A_RIDGE = 6  # what is still moving after so many is on a ridge
ENOUGH, UNSEEN = 1e-9, 1e-6  # log-likelihood units that a step may still promise; below the second nobody sees a gain
APPROACHES, SHORT_APPROACH = 6, 0.1  # steps without second derivatives, and how long one may be
LONGEST_NEWTON_STEP, SHORT_STEP, SEEN_STEP, SHORTEST_SEEN = 2.0, 1e-3, 1e-6, 1e-8  # in units of the parameters
FLATTEST, WELL_CURVED = 1e-8, 1e-4  # of the largest curvature


@dataclass(frozen=True, eq=False)
class Region:
    """Of problems (b, d): bounds, the units in which steps are counted, and what may move at all."""

    lower: Floats
    upper: Floats
    units: Floats
    free: Flags

    def of(self, which: Ints) -> Region:
        """Of some of them."""
        return Region(self.lower[which], self.upper[which], self.units[which], self.free[which])


class Hills(Protocol):
    """Objectives that are climbed: the compiled ones of many problems, or one `Problem`."""

    def region(self, which: Ints) -> Region:
        """Of these problems (b,)."""
        ...

    def curvature(self, x: Floats, which: Ints) -> Curvature:
        """At ``x`` (b, d) of these problems (b,)."""
        ...

    def slope(self, x: Floats, which: Ints) -> Curvature:
        """The same; derivatives of second order may be left out."""
        ...

    def above(self, x: Floats, which: Ints, values: Floats) -> Curvature:
        """The same; where the objective is not above ``values`` (b,), derivatives may be left out."""
        ...


@dataclass(eq=False)
class Ascent:
    """Problems (b, ...) on their way up.

    hills : the objectives of all problems, of which these are ``rows`` (b,).
    x : (b, d) where they are. at : `Curvature` there. still : (b, d) what is not to move.
    held : (b, d) pressed against a bound. converged : (b,) whether nothing is left to gain.
    """

    hills: Hills
    x: Floats
    still: Flags
    rows: Ints
    at: Curvature = field(init=False)
    held: Flags = field(init=False)
    converged: Flags = field(init=False)

    @classmethod
    def of(cls, hills: Hills, x: Floats, most: int = EVALUATIONS, still: Flags | None = None) -> Ascent:
        """Climb from ``x`` (b, d), the first b problems."""
        stays = np.zeros_like(x, bool) if still is None else still
        ascent = cls(hills, x.copy(), stays, np.arange(len(x)))
        ascent.climb(most)
        return ascent

    def again(self, which: Ints, x: Floats, still: Flags) -> Ascent:
        """Climb from other places with some parameters held."""
        ascent = Ascent(self.hills, x.copy(), still, self.rows[which])
        ascent.climb()
        return ascent

    def take(self, which: Ints, other: Ascent, of: Ints | Flags | slice = slice(None)) -> None:
        """Go where another ascent ended."""
        for name in ("x", "held", "converged"):
            getattr(self, name)[which] = getattr(other, name)[of]
        for mine, theirs in zip(self.at, other.at, strict=True):
            mine[which] = theirs[of]

    def climb(self, most: int = EVALUATIONS) -> None:
        """Newton steps, shortened until they gain, for at most so many evaluations."""
        self.at = self.hills.curvature(self.x, self.rows)
        region = self.hills.region(self.rows)
        steps, self.held, expected = self._steps(np.arange(len(self.x)), region)
        self.converged = self.at.solved & (expected < ENOUGH)
        halvings = np.zeros(len(self.x), int)
        active = np.flatnonzero(self.at.solved & ~self.converged)
        for number in range(most):
            if not len(active):
                break
            # All that still climb try a step together, each at its own length, inside its bounds.
            step = steps[active] / 2.0 ** halvings[active, None]
            trial = np.clip(self.x[active] + step, region.lower[active], region.upper[active])
            there = self.hills.above(trial, self.rows[active], self.at.value[active])
            better = there.solved & (there.value > self.at.value[active])
            # Who gains goes there and takes a new, full step; who does not tries a quarter of the old one.
            moved = active[better]
            self.x[moved] = trial[better]
            for mine, new in zip(self.at, there, strict=True):
                mine[moved] = new[better]
            if len(moved):
                steps[moved], self.held[moved], expected[moved] = self._steps(moved, region)
                halvings[moved] = 0
            halvings[active[~better]] += 2
            # A gain below the error of the solver cannot be seen. What climbs on for so little is on a ridge that rises
            # towards a limit at infinity, where every step is as long as the last.
            enough = UNSEEN if number >= ON_A_RIDGE else ENOUGH
            self.converged[active] = (expected[active] < enough) | (~better & (expected[active] < UNSEEN))
            active = active[~self.converged[active]]
        # The last step of each takes x to rounding; it is not worth an evaluation unless standard errors would see it.
        last = self.converged & (expected < ENOUGH) & np.all(np.abs(steps) < SHORT_STEP * region.units, axis=1)
        self.x[last] = np.clip(self.x[last] + steps[last], region.lower[last], region.upper[last])
        moved = np.max(np.abs(steps) / region.units, axis=1, initial=0.0)
        seen = np.flatnonzero(last & (moved > SHORTEST_SEEN))
        exact = _determined(self.at.hessian[seen], region.free[seen] & ~self.still[seen], region.units[seen])
        seen = seen[exact | (moved[seen] > SEEN_STEP)]
        if len(seen):
            there = self.hills.curvature(self.x[seen], self.rows[seen])
            fine = there.solved & (there.value > self.at.value[seen] - ENOUGH)
            for mine, new in zip(self.at, there, strict=True):
                mine[seen[fine]] = new[fine]

    def _steps(self, which: Ints, region: Region) -> tuple[Floats, Flags, Floats]:
        """(n, d) steps with wrong curvature turned uphill, what is held at a bound, and half the expected gain."""
        mine, x, gradient = region.of(which), self.x[which], np.nan_to_num(self.at.gradient[which])
        pressed = held(x, gradient, mine.lower, mine.upper, mine.units)
        free = mine.free & ~pressed & ~self.still[which]
        counted = np.where(free, mine.units, 0.0)
        # Along the eigenvectors the problem falls into single parabolas; where one opens upwards its size still tells
        # how far to go, and the gradient in which direction. What does not move has curvature 0 and no step.
        curved = _curved(self.at.hessian[which], counted)
        values, vectors = np.linalg.eigh(curved)
        along = np.einsum("bji,bj->bi", vectors, gradient * counted)
        largest = np.maximum(np.abs(values).max(axis=1, keepdims=True, initial=0.0), 1e-300)
        size = along / np.maximum(np.abs(values), FLATTEST * largest)
        relative = np.where(free, np.einsum("bij,bj->bi", vectors, size), 0.0)
        # Shortened as a whole, so that its direction stays: far away the parabola is no guide.
        longest = np.maximum(np.abs(relative).max(axis=1, keepdims=True, initial=0.0), 1e-300)
        step = counted * relative * np.minimum(1.0, LONGEST_NEWTON_STEP / longest)
        return step, pressed, 0.5 * np.sum(along * size, axis=1)


def approach(hills: Hills, x: Floats, curved: Floats) -> Floats:
    """Nearer to the optimum by a few steps that ask for gradients alone: second derivatives take ten times as long.

    Parameters
    ----------
    x : (b, d) near an optimum, the first b problems.
    curved : (b, d, d) about minus the second derivatives there; learnt from the gradients on the way (BFGS).

    Returns
    -------
    (b, d) where the objective is not lower; as it was where a bound is near or the first step promises much.
    """
    x, every = x.copy(), np.arange(len(x))
    region, at = hills.region(every), hills.slope(x, every)
    free = region.free
    curved = curved * free[:, :, None] * free[:, None, :] + np.eye(x.shape[1]) * ~free[:, :, None]
    value, gradient = at.value, np.where(free, np.nan_to_num(at.gradient), 0.0)
    active = np.flatnonzero(at.solved & np.isfinite(value))
    for _ in range(APPROACHES):
        bend, slope = curved[active], gradient[active]
        bend = bend + FLATTEST * np.max(np.abs(bend), axis=(1, 2), keepdims=True) * np.eye(x.shape[1])
        step = np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
        trial, mine = x[active] + step, region.of(active)
        length = np.max(np.abs(step) / mine.units, axis=1)
        inside = np.all((trial > mine.lower + mine.units) & (trial < mine.upper - mine.units) | ~mine.free, axis=1)
        go = inside & (length < SHORT_APPROACH) & (length > SHORTEST_SEEN)
        active, step, trial = active[go], step[go], trial[go]
        if not len(active):
            break
        there = hills.slope(trial, active)
        after = np.where(free[active], np.nan_to_num(there.gradient), 0.0)
        # Rounding may hide the gain of so small a step.
        fine = there.solved & (there.value > value[active] - ENOUGH)
        active, step, after = active[fine], step[fine], after[fine]
        x[active], value[active] = trial[fine], there.value[fine]
        curved[active] = _learnt(curved[active], step, gradient[active] - after)
        gradient[active] = after
    return x


def _learnt(curved: Floats, step: Floats, fall: Floats) -> Floats:
    """(n, d, d) with what the ``fall`` (n, d) of the gradient along a ``step`` (n, d) tells."""
    along, seen = np.sum(fall * step, axis=1), np.einsum("bij,bj->bi", curved, step)
    expected = np.sum(step * seen, axis=1)
    known = (along > 0) & (expected > 0)
    gained = fall[:, :, None] * fall[:, None, :] / np.where(known, along, 1.0)[:, None, None]
    lost = seen[:, :, None] * seen[:, None, :] / np.where(known, expected, 1.0)[:, None, None]
    return np.where(known[:, None, None], curved + gained - lost, curved)


def _curved(hessian: Floats, counted: Floats) -> Floats:
    """Minus second derivatives (n, d, d) in the units ``counted`` (n, d) of what moves, 0 of what does not."""
    return -np.nan_to_num(hessian) * counted[:, :, None] * counted[:, None, :]


def _determined(hessian: Floats, free: Flags, units: Floats) -> Flags:
    """(n,) whether second derivatives (n, d, d) are curved enough in all directions to be exact to the last digits."""
    curved = _curved(hessian, np.where(free, units, 0.0))
    largest = np.max(np.abs(curved), axis=(1, 2), initial=1e-300)
    curved = curved / largest[:, None, None] + np.eye(hessian.shape[-1]) * ~free[:, :, None]
    return np.linalg.eigvalsh(curved)[:, 0] > WELL_CURVED
