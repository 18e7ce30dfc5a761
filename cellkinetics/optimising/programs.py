"""What is asked of the engine about stacked problems, by as few compiled programs as their number is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Floats, Ints
from cellkinetics.likelihood import censoring
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.lowered import Program
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising import engine
from cellkinetics.optimising.ascent import Region
from cellkinetics.optimising.engine import LANES, Curvature, Data, Ends
from cellkinetics.optimising.optimise import ROUGH_SD
from cellkinetics.optimising.stacking import taken
from cellkinetics.solving.sensitivity import HESSIAN_STEP, Ties, ln_curve

# Problems in a compiled block, which costs the same however few it holds, and in a small one; so many at the end are
# worth small ones: a block of 64 takes four times as long as one of 8.
COMPILED_BLOCK, FEW, SOME = 64, 8, 24
# Problems that a program is made for, before whole chunks: lanes without work cost as much as the others.
SIZES = (1, 16, LANES)
STEPPER_LANES = 16  # all of a stepper wait for the longest, and those without work cost as much
ALONE = 6  # lanes of a single problem, which has so many starts
SCREEN_STEP = 16  # points that are screened: programs are made for multiples of so many
QUEUE = 4  # points a problem that the loop takes at once, and a problem alone as many as 64 together
# Steps of a first search, of one along a ridge, and of a first one under other errors, whose expectation guides worse.
FIRST_STEPS, RIDGE_STEPS, OTHER_STEPS = 30, 240, 90
ROUGHLY_RIGHT, LARGER_SDS = 1.0, (0.05, 0.1, 0.2, 0.4, 0.8)  # log-likelihood units; sds on the ln scale


@dataclass(eq=False)
class Programs:
    """Stacked problems of one model and error, solved by one ``method``.

    To compile a program takes seconds. Of up to 64 problems, and of any number by a stepper, the loop that searches
    does everything: with one step it tells the objective at a start, and the gradients that second derivatives are
    differences of. Others are worth programs made for one purpose.

    rough : the same problems solved more roughly, to search with; None where there is no such way, or so few problems
        that another program is not worth it.
    many : whether they are of so many problems that programs of blocks are there, however few these are.
    crowded : whether they are a part of more than `LANES`, and are done as those are.
    """

    model: Model
    ties: Ties
    method: Method
    data: Data
    error: ErrorModel
    rough: Programs | None = None
    many: bool = False
    crowded: bool = False

    @cached_property
    def _size(self) -> int:
        return len(self.data.moving)

    @cached_property
    def _few(self) -> bool:
        return (self._size <= LANES and not self.crowded) or self._steps

    @property
    def _steps(self) -> bool:
        return self.method in (Method.EXPLICIT, Method.IMPLICIT)

    @property
    def _by_loops(self) -> bool:
        return self._few and self.method is not Method.CLOSED_FORM

    @cached_property
    def _width(self) -> int:
        """Columns of free parameters, before the sds."""
        return self.data.inputs.basis.shape[-1]

    def search(self, points: Floats, whose: Ints, most: int = FIRST_STEPS) -> tuple[Floats, Floats]:
        """Climb from points (q, d), ``whose`` (q,) they are: values (q,), -inf where not solved, and ends (q, d)."""
        if self.rough is not None:
            roughly, x = self.rough.search(points, whose, most)
            values = self.values(x, whose)
            return (values, x) if self.rough.error is self.error else self._with_own_sds(x, whose, values, roughly)
        ends = self._ends(points, whose, most)
        return np.where(np.isfinite(ends.at.value), ends.at.value, -np.inf), ends.x

    def _with_own_sds(self, x: Floats, whose: Ints, values: Floats, roughly: Floats) -> tuple[Floats, Floats]:
        """Where an end of a rougher error stands lower than that said, the best of a few larger sds.

        Moments of a number of molecules leave an sd of nothing, with which values between two numbers cannot be.
        """
        low, x = np.flatnonzero(values < roughly - ROUGHLY_RIGHT), x.copy()
        free = np.asarray(self.data.moving)[whose, self._width :] > 0
        for sd in LARGER_SDS if len(low) else ():
            tried = x[low]
            own = tried[:, self._width :]
            tried[:, self._width :] = np.where(free[low], np.maximum(own, np.log(sd)), own)
            there = self.values(tried, whose[low])
            better = there > values[low]
            values[low[better]], x[low[better]] = there[better], tried[better]
        return values, x

    def values(self, x: Floats, whose: Ints) -> Floats:
        """(q,) log posterior at ``x`` (q, d) of the problems ``whose`` (q,); -inf where not solved."""
        at = self.slope(x, whose)
        return np.where(at.solved & np.isfinite(at.value), at.value, -np.inf)

    def information(self, x: Floats, which: Ints) -> Floats:
        """(b, d, d) at ``x`` (b, d) of these problems (b,): what a scoring step takes for minus second derivatives."""
        return (self.rough or self)._ends(x, which, 1).at.information

    def search_exactly(self, x: Floats, which: Ints, most: int) -> tuple[Floats, Floats]:
        """As `search` from one point (b, d) of each of these problems (b,), and never on the rougher solution.

        Where the batch searches on that, no loop of its size is compiled for the exact one: small ones are.
        """
        if self.rough is None:
            return self.search(x, which, most)
        parts = []
        for begin in range(0, len(which), LANES):
            here = slice(begin, begin + LANES)
            some = which[here]
            size = next(size for size in SIZES if len(some) <= size)
            fill = np.append(some, np.full(size - len(some), some[0]))
            small = replace(self, data=taken(self.data, fill), rough=None, crowded=False)
            parts.append(small.search(x[here], np.arange(len(some)), most))
        return _joined(parts)

    def screen(self, points: Floats, used: Sequence[int] | None = None) -> Floats:
        """(b, s) -2 log posterior at an sd of 1 at points (b, s, d) of the first b problems, ``used`` (b,) of each.

        Of log-normal errors, without constants of the problem; inf where not solved.
        """
        count, each, columns = points.shape
        if self._few:
            counts = np.full(count, each) if used is None else np.array(used)
            whose, which = np.nonzero(np.arange(each) < counts[:, None])
            rough = points[whose, which]
            rough[:, self._width :] = np.log(ROUGH_SD)
            objective = np.full((count, each), np.inf)
            objective[whose, which] = -2 * self.search(rough, whose, most=1)[0]
            return objective
        if self.rough is not None:
            return self.rough.screen(points, used)
        # Padded to few lengths: how many alternatives there are depends on the samples.
        padded = np.zeros((self._size, -(-each // SCREEN_STEP) * SCREEN_STEP, columns))
        padded[:] = points[:1, :1]
        padded[:count, :each] = points
        return np.array(_screen(self.model, self.ties, self.method)(padded, self.data))[:count, :each]

    def slope(self, x: Floats, which: Ints) -> Curvature:
        """At ``x`` (b, d) of these problems (b,), without second derivatives where those would have to be made."""
        if self._by_loops:
            at = self._ends(x, which, 1).at
            nothing = np.zeros((*x.shape, x.shape[1]))
            return Curvature(at.value, at.gradient, nothing, at.quantified, at.solved)
        return self._in_blocks(x, which, False)

    def curvature(self, x: Floats, which: Ints) -> Curvature:
        """At ``x`` (b, d) of these problems (b,)."""
        if self._by_loops:
            return self._by_loop(x, which)
        return self._in_blocks(x, which, True)

    def _in_blocks(self, x: Floats, which: Ints, second: bool) -> Curvature:
        blocks, begin = [], 0
        evaluate = engine.curvatures(self.model, self.ties, self.method, self.error)
        while begin < len(which):
            length = (
                self._size if self._few and not self.many else FEW if len(which) - begin <= SOME else COMPILED_BLOCK
            )
            here = slice(begin, min(begin + length, len(which)))
            count = here.stop - here.start
            fill = np.append(np.arange(count), np.zeros(length - count, int))
            block = evaluate(x[here][fill], taken(self.data, which[here][fill]), second)
            blocks.append(_first(block, count))
            begin += count
        return _joined(blocks)

    def above(self, x: Floats, which: Ints, values: Floats) -> Curvature:
        """See `ascent.Hills`: compiled for both, the objective alone would be a program more."""
        return self.curvature(x, which)

    def region(self, which: Ints) -> Region:
        """See `ascent.Hills`."""
        data = self.data
        lower, upper, units = (np.asarray(part)[which] for part in (data.lower, data.upper, data.units))
        return Region(lower, upper, units, np.asarray(data.moving)[which] > 0)

    def _by_loop(self, x: Floats, which: Ints) -> Curvature:
        """Central differences of gradients, as `engine.curvatures` takes them."""
        data = taken(self.data, which)
        directions = np.flatnonzero(np.any(data.moving[:, : self._width] > 0, axis=0))
        aside = HESSIAN_STEP * np.eye(x.shape[1])[directions]
        sides = np.concatenate([np.zeros((1, x.shape[1])), aside, -aside])
        points = (x[:, None] + sides).reshape(-1, x.shape[1])
        ends = self._ends(points, np.repeat(which, len(sides)), 1)
        at = jax.tree.map(lambda part: part.reshape(len(x), len(sides), *part.shape[1:]), ends.at)
        ahead, behind = at.gradient[:, 1 : len(aside) + 1], at.gradient[:, len(aside) + 1 :]
        columns = np.zeros((len(x), x.shape[1], self._width))
        columns[:, :, directions] = np.swapaxes(ahead - behind, 1, 2) / (2 * HESSIAN_STEP)
        solved = np.all(at.solved & np.isfinite(at.value), axis=1)
        first = jax.tree.map(lambda part: part[:, 0], at)._replace(solved=solved)
        return engine.curvature(first, columns, data, np)

    def _ends(self, points: Floats, whose: Ints, most: int) -> Ends:
        """Of the loop, in queues of one length."""
        length = LANES if self._size == 1 else QUEUE * self._size
        side_by_side = STEPPER_LANES if self._steps else LANES
        lanes = min(side_by_side, self._size) if self._size > 1 else ALONE
        run = engine.searcher(self.model, self.ties, self.method, self.error, lanes)
        parts = []
        for begin in range(0, len(points), length):
            some, theirs = points[begin : begin + length], whose[begin : begin + length]
            queue, owners = np.zeros((length, points.shape[1])), np.zeros(length, int)
            queue[: len(some)], owners[: len(some)] = some, theirs
            ends = run(self.data, queue, owners, len(some), most)
            parts.append(_first(ends, len(some)))
        return _joined(parts)


def _first(stacked: Any, count: int) -> Any:
    return jax.tree.map(lambda part: np.array(part)[:count], stacked)


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *each: np.concatenate(each), *parts)


@cache.kept
def _screen(model: Model, ties: Ties, method: Method) -> Any:
    """The compiled function (points (b, s, d), data (b, ...)) -> (b, s) sum of squared root-deviances at sd 1."""

    def one(x: Any, data: Data) -> Any:
        free = data.inputs.basis.shape[-1]
        predicted, solved = ln_curve(model, ties, method, x[:free], data.inputs)
        roots = censoring.root_deviances(predicted, ROUGH_SD, data.rows)
        away = jnp.append(x[:free], jnp.full(len(x) - free, jnp.log(ROUGH_SD))) - data.prior_mean
        return jnp.where(solved, jnp.sum(roots**2) + jnp.sum(engine.pulled(data, away) * away), jnp.inf)

    return Program(jax.vmap(jax.vmap(one, in_axes=(0, None))))
