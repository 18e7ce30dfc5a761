"""Many least-squares problems at once: one compiled loop of damped scoring steps over lanes that are refilled.

A lane holds one problem (a patient from one start). All lanes take a step together; one that has converged, or cannot,
writes its result and takes the next problem of the queue, so that none waits for the slowest. What is free, the
samples, the doses and the priors are data: one program serves every free set of the same padded size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cellkinetics import cache
from cellkinetics.censoring import Rows, derivatives
from cellkinetics.model import Model
from cellkinetics.sensitivity import STEP, Inputs, Ties, evaluate
from cellkinetics.solver import STRUCTURE

Floats = npt.NDArray[np.float64]

LANES = 64  # more do not stay near the processor; of fewer problems a smaller program is made
# Log-likelihood units that a full step may still promise where the loop hands over to exact Newton steps.
SMALL = 1e-10
MOST, RIDGE = 30, 240  # steps of a first search, and of one along a ridge
LONGEST = 1.0  # a step, in units of the parameters
WEAKEST, STRONGEST = 1e-9, 1e8  # damping
FLAT = 1e-8  # of the largest information: below, there is none


class Data(NamedTuple):
    """Problems, stacked along the first axis.

    x has k free parameters on their estimation scale, then ln sd of each output; `moving` is 0 for what is padding or
    held.

    inputs : of the curve. rows : (b, n) samples. moving, lower, upper, units : (b, k + outputs).
    prior_mean, prior_precision : (b, k + outputs) on the estimation scale; precision 0 without a prior.
    """

    inputs: Inputs
    rows: Rows
    moving: Any
    lower: Any
    upper: Any
    units: Any
    prior_mean: Any
    prior_precision: Any


class Ends(NamedTuple):
    """Where the problems ended: x (q, d), value (q,) log posterior, steps (q,), converged (q,)."""

    x: Any
    value: Any
    steps: Any
    converged: Any


class _Lane(NamedTuple):
    problem: Any
    x: Any
    trial: Any
    value: Any
    gradient: Any
    information: Any
    damping: Any
    steps: Any


@lru_cache(maxsize=64)
def searcher(model: Model, ties: Ties, method: str, lanes: int) -> Callable[..., Ends]:
    """The compiled loop: (data (b, ...), starts (q, d), whose (q,) row of the data, count, most) -> `Ends`.

    Starts from ``count`` on are padding and are not run; ``most`` steps are taken from each.
    """
    cache.switch_on()
    scoring, stepping = jax.vmap(lambda x, data: score(model, ties, method, x, data)), jax.vmap(_step)

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        queue, lane, ends, data, starts, whose, count, most = carry
        mine = jax.tree.map(lambda part: part[whose[jnp.minimum(lane.problem, count - 1)]], data)
        value, gradient, information, solved = scoring(lane.trial, mine)
        fine = solved & jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient), axis=-1)
        better = fine & (value >= lane.value)
        first = lane.steps == 0
        x = jnp.where(better[:, None], lane.trial, lane.x)
        gain = value - lane.value
        gradient = jnp.where(better[:, None], gradient, lane.gradient)
        information = jnp.where(better[:, None, None], information, lane.information)
        value = jnp.where(better, value, lane.value)
        moving = _moving(x, gradient, mine)
        damping = jnp.where(better, lane.damping / 6, lane.damping * 5)
        damping = jnp.clip(jnp.where(first, 1e-3, damping), WEAKEST, STRONGEST * 10)
        step, promised = stepping(gradient, information, moving, mine.units, damping)
        # What a first step would carry over its bound stays, and the others step without it.
        outward = ((x <= mine.lower) & (step < 0)) | ((x >= mine.upper) & (step > 0))
        step = jax.lax.cond(
            jnp.any(outward & (moving > 0)),
            lambda: stepping(gradient, information, moving * ~outward, mine.units, damping)[0],
            lambda: step,
        )
        trial = jnp.clip(x + step, mine.lower, mine.upper)
        steps = lane.steps + 1
        # A step that is refused although it promised next to nothing: the value is exact to rounding only.
        converged = jnp.isfinite(value) & ((promised < SMALL) | (~better & ~first & (jnp.abs(gain) < SMALL)))
        hopeless = (first & ~fine) | (damping > STRONGEST) | (steps >= most)
        done = (converged | hopeless) & (lane.problem < count)
        target = jnp.where(done, lane.problem, len(starts))
        ends = Ends(
            ends.x.at[target].set(x, mode="drop"),
            ends.value.at[target].set(value, mode="drop"),
            ends.steps.at[target].set(steps, mode="drop"),
            ends.converged.at[target].set(converged, mode="drop"),
        )
        following = jnp.minimum(queue + jnp.cumsum(done) - 1, count)
        problem = jnp.where(done, following, lane.problem)
        start = starts[jnp.minimum(problem, count - 1)]
        lane = _Lane(
            problem,
            jnp.where(done[:, None], start, x),
            jnp.where(done[:, None], start, trial),
            jnp.where(done, -jnp.inf, value),
            jnp.where(done[:, None], 0.0, gradient),
            jnp.where(done[:, None, None], 0.0, information),
            jnp.where(done, 0.0, damping),
            jnp.where(done, 0, steps),
        )
        return jnp.minimum(queue + jnp.sum(done), count), lane, ends, data, starts, whose, count, most

    @jax.jit
    def run(data: Data, starts: Any, whose: Any, count: Any, most: Any) -> Ends:
        size = starts.shape[1]
        problem = jnp.minimum(jnp.arange(lanes), count)
        first = starts[jnp.minimum(problem, count - 1)]
        lane = _Lane(
            problem, first, first, jnp.full(lanes, -jnp.inf), jnp.zeros((lanes, size)), jnp.zeros((lanes, size, size)),
            jnp.zeros(lanes), jnp.zeros(lanes, int),
        )  # fmt: skip
        everyone = len(starts)
        ends = Ends(starts, jnp.full(everyone, -jnp.inf), jnp.zeros(everyone, int), jnp.zeros(everyone, bool))
        begin = (jnp.minimum(lanes, count), lane, ends, data, starts, whose, count, most)
        _, _, ends, *_ = jax.lax.while_loop(lambda carry: jnp.any(carry[1].problem < count), body, begin)
        return ends

    return run


@lru_cache(maxsize=64)
def scores(model: Model, ties: Ties, method: str) -> Callable[[Any, Data], tuple[Any, Any, Any, Any]]:
    """The compiled function (x (b, d), data (b, ...)) -> what `score` gives, stacked."""
    cache.switch_on()
    return jax.jit(jax.vmap(lambda x, data: score(model, ties, method, x, data)))


def score(model: Model, ties: Ties, method: str, x: Any, data: Data) -> tuple[Any, Any, Any, Any]:
    """Log posterior at x, its gradient, its information (positive semi-definite), and whether it was solved.

    The information of a quantified row is its expectation, that of a censored one minus the second derivative of its
    log probability, which is concave in ln f.
    """
    at = _point(model, ties, method, x, data)
    free = data.inputs.basis.shape[-1]
    spread = jnp.where(_quantified(data), 2.0, jnp.maximum(-at.ss, 0.0))
    of_curve = at.jacobian.T @ (jnp.maximum(-at.gg, 0.0)[:, None] * at.jacobian)
    information = jnp.zeros((len(x), len(x))).at[:free, :free].set(of_curve)
    of_sd = jnp.concatenate([jnp.zeros(free), at.belongs.T @ spread])
    information = information + jnp.diag(of_sd + data.prior_precision)
    return at.value, at.gradient, information * jnp.outer(data.moving, data.moving), at.solved


class _Point(NamedTuple):
    """The log posterior with its gradient, 0 where nothing moves, and what second derivatives are made of.

    jacobian : (n, k) of ln f. gg, ss : (n,) second derivatives of each sample by ln f and by ln sd.
    belongs : (n, outputs) 1 where the sample has this sd.
    """

    value: Any
    gradient: Any
    solved: Any
    jacobian: Any
    gg: Any
    ss: Any
    belongs: Any


def _point(model: Model, ties: Ties, method: str, x: Any, data: Data) -> _Point:
    free = data.inputs.basis.shape[-1]
    predicted, jacobian, solved = evaluate(model, ties, method, x[:free], data.inputs)
    value, g, s, gg, _, ss = derivatives(predicted, x[free:][data.inputs.output], data.rows)
    belongs = (data.inputs.output[:, None] == jnp.arange(len(x) - free)[None, :]).astype(float)
    away = x - data.prior_mean
    gradient = jnp.concatenate([jacobian.T @ g, belongs.T @ s]) - data.prior_precision * away
    total = jnp.sum(value) - 0.5 * jnp.sum(data.prior_precision * away**2)
    return _Point(total, gradient * data.moving, solved, jacobian, gg, ss, belongs)


def _quantified(data: Data) -> Any:
    return (data.rows.lower == data.rows.upper) & (data.rows.weight > 0)


def _moving(x: Any, gradient: Any, data: Data) -> Any:
    """What may move: free, and not pressed against a bound."""
    near = 1e-6
    held = ((x <= data.lower + near) & (gradient < 0)) | ((x >= data.upper - near) & (gradient > 0))
    return data.moving * ~held


def _step(gradient: Any, information: Any, moving: Any, units: Any, damping: Any) -> tuple[Any, Any]:
    """A damped step (d,), and half the gain that an undamped one may expect; what does not move has a step of 0.

    In units of the parameters and scaled to a unit diagonal, so that damping means the same for all.
    """
    g = gradient * moving * units
    inner = information * jnp.outer(moving * units, moving * units)
    diagonal = jnp.diagonal(inner)
    largest = jnp.maximum(jnp.max(diagonal), 1e-300)
    scale = jnp.where(moving > 0, 1 / jnp.sqrt(jnp.maximum(diagonal, FLAT * largest)), 0.0)
    scaled = inner * jnp.outer(scale, scale)

    def along(damping: Any) -> Any:
        ridge = jnp.where(moving > 0, damping + FLAT, 1.0)
        return _solved(scaled + jnp.diag(ridge), g * scale) * scale

    # One by one: a direction without information must not shorten the others' steps.
    return units * jnp.clip(along(damping), -LONGEST, LONGEST), 0.5 * jnp.sum(g * along(0.0))


def _solved(matrix: Any, right: Any) -> Any:
    """The solution (d,) of a positive definite system; 0 where rounding leaves no number.

    Elimination written out over the columns: vmapped over lanes it is one pass a column, where LAPACK is called for
    each lane.
    """
    table = jnp.concatenate([matrix, right[:, None]], axis=1)
    for column in range(len(right)):
        row = table[column] / table[column, column]
        table = (table - jnp.outer(table[:, column], row)).at[column].set(row)
    return jnp.where(jnp.isfinite(table[:, -1]), table[:, -1], 0.0)


class Curvature(NamedTuple):
    """The log posterior with exact derivatives; ``quantified`` (k, k): information of quantified rows of free sd."""

    value: Any
    gradient: Any
    hessian: Any
    quantified: Any
    solved: Any


@lru_cache(maxsize=64)
def curvatures(model: Model, ties: Ties, method: str) -> Callable[[Any, Data], Curvature]:
    """The compiled function (x (b, d), data (b, ...)) -> `Curvature`, stacked; 0 where nothing moves."""
    cache.switch_on()
    if method in STRUCTURE:
        return jax.jit(lambda x, data: _by_differences(model, ties, method, x, data))
    return jax.jit(jax.vmap(lambda x, data: _by_derivatives(model, ties, method, x, data)))


def _by_derivatives(model: Model, ties: Ties, method: str, x: Any, data: Data) -> Curvature:
    at, free = _point(model, ties, method, x, data), data.inputs.basis.shape[-1]

    def gradient(curve: Any) -> Any:
        return _point(model, ties, method, jnp.concatenate([curve, x[free:]]), data).gradient

    return _with_sd(at, jax.jacfwd(gradient)(x[:free]), data)


def _by_differences(model: Model, ties: Ties, method: str, x: Any, data: Data) -> Curvature:
    """Of all lanes (b, ...): slopes written by hand are exact to rounding, and their central differences to 1e-8.

    A loop over the directions that anybody moves in, both ways, after x itself: its length is no part of the program.
    """
    free = data.inputs.basis.shape[-1]
    points = jax.vmap(lambda x, data: _point(model, ties, method, x, data))
    if len(x) == 1:
        # All directions side by side: a single lane leaves the processor idle.
        sides = STEP * jnp.concatenate(
            [jnp.zeros((1, x.shape[1])), jnp.eye(free, x.shape[1]), -jnp.eye(free, x.shape[1])]
        )
        all_data = jax.tree.map(lambda part: jnp.repeat(jnp.asarray(part), len(sides), axis=0), data)
        there = points(x + sides, all_data)
        columns = (there.gradient[1 : free + 1] - there.gradient[free + 1 :]).T / (2 * STEP)
        at = jax.tree.map(lambda part: part[:1], there)._replace(solved=jnp.all(there.solved, keepdims=True))
        return jax.vmap(_with_sd)(at, columns[None], data)
    used = jnp.max(jnp.where(data.moving[:, :free] > 0, jnp.arange(1, free + 1), 0))

    def add(number: Any, carry: tuple[_Point, Any]) -> tuple[_Point, Any]:
        at, columns = carry
        direction, side = jnp.maximum(number - 1, 0) // 2, jnp.where(number > 0, 2.0 * (number % 2) - 1.0, 0.0)
        there = points(x.at[:, direction].add(side * STEP), data)
        at = jax.tree.map(
            lambda new, old: jnp.where(number == 0, new, old), there, at._replace(solved=there.solved & at.solved)
        )
        slope = jnp.where(number == 0, 0.0, side / (2 * STEP) * there.gradient)
        return at, columns.at[:, :, direction].add(slope)

    empty = jax.tree.map(lambda part: jnp.ones(part.shape, part.dtype), jax.eval_shape(points, x, data))
    at, columns = jax.lax.fori_loop(0, 2 * used + 1, add, (empty, jnp.zeros((*x.shape, free))))
    return jax.vmap(_with_sd)(at, columns, data)


def _with_sd(at: _Point, columns: Any, data: Data) -> Curvature:
    """From the derivatives (k + outputs, k) of the gradient by the curve's parameters to all second derivatives."""
    free = data.inputs.basis.shape[-1]
    curve, mixed = columns[:free], columns[free:]
    of_sd = at.belongs.T @ (at.ss[:, None] * at.belongs) - jnp.diag(data.prior_precision[free:])
    hessian = jnp.block([[0.5 * (curve + curve.T), mixed.T], [mixed, of_sd]])
    estimated = (at.belongs @ data.moving[free:]) > 0
    rows = _quantified(data) & estimated
    quantified = at.jacobian.T @ (jnp.where(rows, -at.gg, 0.0)[:, None] * at.jacobian)
    both = jnp.outer(data.moving, data.moving)
    return Curvature(at.value, at.gradient, hessian * both, quantified * both[:free, :free], at.solved)
