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
from cellkinetics.sensitivity import Inputs, Ties, evaluate, evaluate_twice

Floats = npt.NDArray[np.float64]

LANES = 128
# Log-likelihood units that a full step may still promise where the loop hands over to exact Newton steps.
SMALL = 1e-10
MOST = 40  # steps
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
    """The compiled loop: (data (b, ...), starts (q, d), whose (q,) row of the data, count) -> `Ends`.

    Starts from ``count`` on are padding and are not run.
    """
    cache.switch_on()
    scoring = jax.vmap(lambda x, data: score(model, ties, method, x, data))

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        queue, lane, ends, data, starts, whose, count = carry
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
        _, promised = _step(gradient, information, moving, mine.units, jnp.zeros_like(value))
        damping = jnp.where(better, lane.damping / 6, lane.damping * 5)
        damping = jnp.clip(jnp.where(first, 1e-3, damping), WEAKEST, STRONGEST * 10)
        step, _ = _step(gradient, information, moving, mine.units, damping)
        # What a first step would carry over its bound stays, and the others step without it.
        outward = ((x <= mine.lower) & (step < 0)) | ((x >= mine.upper) & (step > 0))
        step, _ = _step(gradient, information, moving * ~outward, mine.units, damping)
        trial = jnp.clip(x + step, mine.lower, mine.upper)
        steps = lane.steps + 1
        # A step that is refused although it promised next to nothing: the value is exact to rounding only.
        converged = jnp.isfinite(value) & ((promised < SMALL) | (~better & ~first & (jnp.abs(gain) < SMALL)))
        hopeless = (first & ~fine) | (damping > STRONGEST) | (steps >= MOST)
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
        return jnp.minimum(queue + jnp.sum(done), count), lane, ends, data, starts, whose, count

    @jax.jit
    def run(data: Data, starts: Any, whose: Any, count: Any) -> Ends:
        size = starts.shape[1]
        problem = jnp.minimum(jnp.arange(lanes), count)
        first = starts[jnp.minimum(problem, count - 1)]
        lane = _Lane(
            problem, first, first, jnp.full(lanes, -jnp.inf), jnp.zeros((lanes, size)), jnp.zeros((lanes, size, size)),
            jnp.zeros(lanes), jnp.zeros(lanes, int),
        )  # fmt: skip
        everyone = len(starts)
        ends = Ends(starts, jnp.full(everyone, -jnp.inf), jnp.zeros(everyone, int), jnp.zeros(everyone, bool))
        begin = (jnp.minimum(lanes, count), lane, ends, data, starts, whose, count)
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
    free = data.inputs.basis.shape[-1]
    predicted, jacobian, solved = evaluate(model, ties, method, x[:free], data.inputs)
    ln_sd = x[free:][data.inputs.output]
    value, g, s, gg, _, ss = derivatives(predicted, ln_sd, data.rows)
    quantified = (data.rows.lower == data.rows.upper) & (data.rows.weight > 0)
    belongs = data.inputs.output[:, None] == jnp.arange(len(x) - free)[None, :]
    spread = jnp.where(quantified, 2.0, jnp.maximum(-ss, 0.0))
    away = x - data.prior_mean
    gradient = jnp.concatenate([jacobian.T @ g, belongs.T @ s]) - data.prior_precision * away
    of_curve = jacobian.T @ (jnp.maximum(-gg, 0.0)[:, None] * jacobian)
    information = jnp.zeros((len(x), len(x))).at[:free, :free].set(of_curve)
    information = information + jnp.diag(jnp.concatenate([jnp.zeros(free), belongs.T @ spread]) + data.prior_precision)
    total = jnp.sum(value) - 0.5 * jnp.sum(data.prior_precision * away**2)
    return total, gradient * data.moving, information * jnp.outer(data.moving, data.moving), solved


def _moving(x: Any, gradient: Any, data: Data) -> Any:
    """What may move: free, and not pressed against a bound."""
    near = 1e-6
    held = ((x <= data.lower + near) & (gradient < 0)) | ((x >= data.upper - near) & (gradient > 0))
    return data.moving * ~held


def _step(gradient: Any, information: Any, moving: Any, units: Any, damping: Any) -> tuple[Any, Any]:
    """A damped step and half its expected gain; what does not move has a step of 0.

    In units of the parameters and scaled to a unit diagonal, so that damping means the same for all.
    """
    g = gradient * moving * units
    inner = information * (moving * units)[:, None, :] * (moving * units)[:, :, None]
    diagonal = jnp.diagonal(inner, axis1=-2, axis2=-1)
    largest = jnp.maximum(jnp.max(diagonal, axis=-1, keepdims=True), 1e-300)
    scale = jnp.where(moving > 0, 1 / jnp.sqrt(jnp.maximum(diagonal, FLAT * largest)), 0.0)
    size = g.shape[-1]
    scaled = inner * scale[:, None, :] * scale[:, :, None]
    ridge = jnp.where(moving > 0, damping[:, None] + FLAT, 1.0)
    matrix = scaled + ridge[:, :, None] * jnp.eye(size)[None]
    along = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix), True), (g * scale)[:, :, None])[:, :, 0]
    relative = along * scale
    relative = jnp.where(jnp.isfinite(relative), relative, 0.0)
    # One by one: a direction without information must not shorten the others' steps.
    return units * jnp.clip(relative, -LONGEST, LONGEST), 0.5 * jnp.sum(g * relative, axis=-1)


class Curvature(NamedTuple):
    """The log posterior with exact derivatives; ``quantified`` (k, k): information of quantified rows of free sd."""

    value: Any
    gradient: Any
    hessian: Any
    quantified: Any
    solved: Any


@lru_cache(maxsize=64)
def curvatures(model: Model, ties: Ties, method: str) -> Callable[[Any, Data], Curvature]:
    """The compiled function (x (b, d), data (b, ...)) -> `Curvature`, stacked."""
    cache.switch_on()
    return jax.jit(jax.vmap(lambda x, data: curvature(model, ties, method, x, data)))


def curvature(model: Model, ties: Ties, method: str, x: Any, data: Data) -> Curvature:
    """Of one problem; rows and columns of what is not free are 0."""
    free = data.inputs.basis.shape[-1]

    predicted, jacobian, second, solved = evaluate_twice(model, ties, method, x[:free], data.inputs)
    value, g, s, gg, gs, ss = derivatives(predicted, x[free:][data.inputs.output], data.rows)
    belongs = (data.inputs.output[:, None] == jnp.arange(len(x) - free)[None, :]).astype(float)
    away = x - data.prior_mean
    gradient = jnp.concatenate([jacobian.T @ g, belongs.T @ s]) - data.prior_precision * away
    mixed = jacobian.T @ (gs[:, None] * belongs)
    hessian = jnp.block(
        [
            [jacobian.T @ (gg[:, None] * jacobian) + jnp.einsum("n,nij->ij", g, second), mixed],
            [mixed.T, belongs.T @ (ss[:, None] * belongs)],
        ]
    ) - jnp.diag(data.prior_precision)
    estimated = (belongs @ data.moving[free:]) > 0
    rows = (data.rows.lower == data.rows.upper) & (data.rows.weight > 0) & estimated
    quantified = jacobian.T @ (jnp.where(rows, -gg, 0.0)[:, None] * jacobian)
    total = jnp.sum(value) - 0.5 * jnp.sum(data.prior_precision * away**2)
    both = jnp.outer(data.moving, data.moving)
    return Curvature(total, gradient * data.moving, hessian * both, quantified * both[:free, :free], solved)
