"""Newton steps with exact Hessians for many problems: a compiled program evaluates, numpy decides."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.optimising.engine import Curvature
from cellkinetics.optimising.programs import Positions, Programs

EVALUATIONS, FIRST = 30, 8  # of a climb, and of one that scoring steps go on with
LATE = 6  # what is still moving after so many is on a ridge
ENOUGH, UNSEEN = 1e-9, 1e-6  # log-likelihood units that a step may still promise; below the second nobody sees a gain
LONGEST, SHORT = 2.0, 1e-3
FLATTEST = 1e-8  # of the largest curvature
NEAR = 1e-6  # a bound


@dataclass(eq=False)
class Ascent:
    """Problems (b, ...) on their way up.

    programs : of all problems, of which these are ``rows`` (b,).
    x : (b, d) where they are. at : `Curvature` there. still : (b, d) what is not to move.
    held : (b, d) pressed against a bound. converged : (b,) whether nothing is left to gain.
    """

    programs: Programs
    x: Floats
    still: Flags
    rows: Positions
    at: Curvature = field(init=False)
    held: Flags = field(init=False)
    converged: Flags = field(init=False)

    @classmethod
    def of(cls, programs: Programs, x: Floats, most: int = EVALUATIONS) -> Ascent:
        """Climb from ``x`` (b, d), the first b problems."""
        ascent = cls(programs, x.copy(), np.zeros_like(x, bool), np.arange(len(x)))
        ascent.climb(most)
        return ascent

    def again(self, which: Positions, x: Floats, still: Flags) -> Ascent:
        """Climb from other places with some parameters held."""
        ascent = Ascent(self.programs, x.copy(), still, self.rows[which])
        ascent.climb()
        return ascent

    def take(self, which: Positions, other: Ascent, of: Flags | slice = slice(None)) -> None:
        """Go where another ascent ended."""
        for name in ("x", "held", "converged"):
            getattr(self, name)[which] = getattr(other, name)[of]
        for mine, theirs in zip(self.at, other.at, strict=True):
            mine[which] = theirs[of]

    def climb(self, most: int = EVALUATIONS) -> None:
        """Newton steps, halved until they gain, for at most so many evaluations."""
        count = len(self.x)
        self.at = self.programs.curvature(self.x, self.rows)
        steps, self.held, expected = self._steps(np.arange(count))
        self.converged = self.at.solved & (expected < ENOUGH)
        halvings = np.zeros(count, int)
        lower, upper, units = self._bounds_and_units(self.rows)
        active = np.flatnonzero(self.at.solved & ~self.converged)
        for number in range(most):
            if not len(active):
                break
            step = steps[active] / 2.0 ** halvings[active, None]
            trial = np.clip(self.x[active] + step, lower[active], upper[active])
            there = self.programs.curvature(trial, self.rows[active])
            better = there.solved & (there.value > self.at.value[active])
            moved = active[better]
            self.x[moved] = trial[better]
            for mine, new in zip(self.at, there, strict=True):
                mine[moved] = new[better]
            if len(moved):
                steps[moved], self.held[moved], expected[moved] = self._steps(moved)
                halvings[moved] = 0
            halvings[active[~better]] += 2
            # A gain below the error of the solver cannot be seen. What climbs on for so little is on a ridge that rises
            # towards a limit at infinity, where every step is as long as the last.
            enough = UNSEEN if number >= LATE else ENOUGH
            self.converged[active] = (expected[active] < enough) | (~better & (expected[active] < UNSEEN))
            active = active[~self.converged[active]]
        # The last step of each is not worth an evaluation, and takes x to rounding.
        last = self.converged & (expected < ENOUGH) & np.all(np.abs(steps) < SHORT * units, axis=1)
        self.x[last] = np.clip(self.x[last] + steps[last], lower[last], upper[last])

    def _bounds_and_units(self, rows: Positions) -> list[Floats]:
        data = self.programs.data
        return [np.asarray(part)[rows] for part in (data.lower, data.upper, data.units)]

    def _steps(self, which: Positions) -> tuple[Floats, Flags, Floats]:
        """(n, d) steps with wrong curvature turned uphill, what is held at a bound, and half the expected gain."""
        lower, upper, units = self._bounds_and_units(self.rows[which])
        x, gradient = self.x[which], np.nan_to_num(self.at.gradient[which])
        held = ((x <= lower + NEAR) & (gradient < 0)) | ((x >= upper - NEAR) & (gradient > 0))
        free = (np.asarray(self.programs.data.moving)[self.rows[which]] > 0) & ~held & ~self.still[which]
        counted = np.where(free, units, 0.0)
        curved = -np.nan_to_num(self.at.hessian[which]) * counted[:, :, None] * counted[:, None, :]
        values, vectors = np.linalg.eigh(curved)
        along = np.einsum("bji,bj->bi", vectors, gradient * counted)
        largest = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-300)
        size = along / np.maximum(np.abs(values), FLATTEST * largest)
        relative = np.where(free, np.einsum("bij,bj->bi", vectors, size), 0.0)
        longest = np.maximum(np.abs(relative).max(axis=1, keepdims=True), 1e-300)
        return counted * relative * np.minimum(1.0, LONGEST / longest), held, 0.5 * np.sum(along * size, axis=1)
