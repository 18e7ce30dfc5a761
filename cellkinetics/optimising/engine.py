"""Many problems at once: one compiled loop of damped scoring steps over lanes that are refilled.

A lane holds one problem (a patient from one start). All lanes take a step together; one that has converged, or cannot,
writes its result and takes the next problem of the queue, so that none waits for the slowest. What is free, the
samples, the doses and the priors are data: one program serves every free set of the same padded size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.lowered import Program
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising import bounds
from cellkinetics.solving.sensitivity import HESSIAN_STEP, Inputs, Ties, evaluate

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from cellkinetics.arrays import Numeric

LANES = 64  # more do not stay near the processor; of fewer problems a smaller program is made
# Log-likelihood units that a full step may still promise where the loop hands over to exact Newton steps.
SCORING_PROMISE = 1e-10
LONGEST_SCORING_STEP = 1.0  # a step, in units of the parameters
WEAKEST, STRONGEST = 1e-9, 1e8  # damping
FLAT = 1e-8  # of the largest information: below, there is none


class Data(NamedTuple):
    """Problems, stacked along the first axis.

    x has k free parameters on their estimation scale, then ln of each sd in the order of `ErrorModel.sd_names`;
    `moving` is 0 for what is padding or held.

    inputs : of the curve. rows : (b, n) samples. moving, lower, upper, units : (b, k + sds).
    prior_mean, prior_precision : (b, k + sds) on the estimation scale; precision 0 without a prior, and a matrix
        (b, k + sds, k + sds) where any are correlated.
    """

    inputs: Inputs
    rows: Rows
    moving: Float[Numeric, "*patients columns"]
    lower: Float[Numeric, "*patients columns"]
    upper: Float[Numeric, "*patients columns"]
    units: Float[Numeric, "*patients columns"]
    prior_mean: Float[Numeric, "*patients columns"]
    prior_precision: Float[Numeric, "*patients columns"] | Float[Numeric, "*patients columns columns"]


class Score(NamedTuple):
    """The log posterior with its gradient, 0 where nothing moves, and what second derivatives are made of.

    information : (d, d) positive semi-definite: of quantified rows its expectation, of censored ones minus the second
    derivative of their log probability where it is concave.
    quantified : (k, k) that of quantified rows of free sd.
    curved : (sds, sds) second derivatives by ln sds, without priors.
    solved : whether the model was.
    """

    value: Float[Numeric, "*lanes"]
    gradient: Float[Numeric, "*lanes columns"]
    information: Float[Numeric, "*lanes columns columns"]
    quantified: Float[Numeric, "*lanes free free"]
    curved: Float[Numeric, "*lanes sds sds"]
    solved: Bool[Numeric, "*lanes"]


class Ends(NamedTuple):
    """Where the problems ended: x (q, d), the `Score` there, steps (q,), converged (q,)."""

    x: Float[Numeric, "starts columns"]
    at: Score
    steps: Int[Numeric, " starts"]
    converged: Bool[Numeric, " starts"]


class _Lane(NamedTuple):
    problem: Any
    x: Any
    trial: Any
    at: Score
    damping: Any
    steps: Any


@cache.kept
def searcher(model: Model, ties: Ties, method: Method, error: ErrorModel, lanes: int) -> Callable[..., Ends]:
    """The compiled loop: (data (b, ...), starts (q, d), whose (q,) row of the data, count, most) -> `Ends`.

    Starts from ``count`` on are padding and are not run; ``most`` steps are taken from each. With one step it tells
    the score at each start.
    """
    scoring, stepping = jax.vmap(lambda x, data: score(model, ties, method, error, x, data)), jax.vmap(_step)
    sds = len(error.parts) * len(model.outputs)

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        queue, lane, ends, data, starts, whose, count, most = carry
        # A lane that has run out of problems repeats the last one: all lanes do the same work whatever they hold.
        mine = jax.tree.map(lambda part: part[whose[jnp.minimum(lane.problem, count - 1)]], data)
        new = scoring(lane.trial, mine)
        # A curve that overflows may still have a value: without a finite gradient nobody could go on from there.
        fine = new.solved & jnp.isfinite(new.value) & jnp.all(jnp.isfinite(new.gradient), axis=-1)
        # A lane's first trial is its start, and counts as better than nothing (-inf).
        better = fine & (new.value >= lane.at.value)
        first = lane.steps == 0
        gain = new.value - lane.at.value
        x, at = _where(better, (lane.trial, new), (lane.x, lane.at))
        moving = _moving(x, at.gradient, mine)
        # Undamped where scoring is a good guide, which it is near an optimum; a ridge on the diagonal where it is not.
        damping = jnp.where(better, lane.damping / 6, lane.damping * 5)
        damping = jnp.clip(jnp.where(first, 1e-3, damping), WEAKEST, STRONGEST * 10)
        step, promised = stepping(at.gradient, at.information, moving, mine.units, damping)
        # What a first step would carry over its bound stays, and the others step without it.
        outward = bounds.outward(x, step, mine.lower, mine.upper)
        step = jax.lax.cond(
            jnp.any(outward & (moving > 0)),
            lambda: stepping(at.gradient, at.information, moving * ~outward, mine.units, damping)[0],
            lambda: step,
        )
        trial = jnp.clip(x + step, mine.lower, mine.upper)
        steps = lane.steps + 1
        # What an undamped step would gain tells whether there is anything left: a damped one is small by itself.
        # A step that is refused although it promised next to nothing: the value is exact to rounding only.
        converged = jnp.isfinite(at.value) & (
            (promised < SCORING_PROMISE) | (~better & ~first & (jnp.abs(gain) < SCORING_PROMISE))
        )
        # A start without a curve has no slope to follow; with the strongest damping a step is too short to change that.
        hopeless = (first & ~fine) | (damping > STRONGEST) | (steps >= most)
        done = (converged | hopeless) & (lane.problem < count)
        # Results go to the place of their problem; of lanes that go on, beyond the end, where they are dropped.
        target = jnp.where(done, lane.problem, len(starts))
        ended = Ends(x, at, steps, converged)
        ends = jax.tree.map(lambda every, here: every.at[target].set(here, mode="drop"), ends, ended)
        # The lanes that are done take the next problems in the order of the lanes: no two the same.
        following = jnp.minimum(queue + jnp.cumsum(done) - 1, count)
        lane = _where(done, _waiting(following, starts, count, sds), _Lane(lane.problem, x, trial, at, damping, steps))
        return jnp.minimum(queue + jnp.sum(done), count), lane, ends, data, starts, whose, count, most

    @Program
    def run(data: Data, starts: Any, whose: Any, count: Any, most: Any) -> Ends:
        # The first problems are in the lanes, the others wait; what was never run ends where it starts.
        lane = _waiting(jnp.minimum(jnp.arange(lanes), count), starts, count, sds)
        every = _waiting(jnp.arange(len(starts)), starts, count, sds)
        ends = Ends(starts, every.at, every.steps, jnp.zeros(len(starts), bool))
        begin = (jnp.minimum(lanes, count), lane, ends, data, starts, whose, count, most)
        _, _, ends, *_ = jax.lax.while_loop(lambda carry: jnp.any(carry[1].problem < count), body, begin)
        return ends

    return run


def _waiting(problem: Any, starts: Any, count: Any, sds: int) -> _Lane:
    """Lanes before their first step."""
    x, length = starts[jnp.minimum(problem, count - 1)], len(problem)
    size = starts.shape[1]
    free = size - sds
    nothing = Score(
        jnp.full(length, -jnp.inf), jnp.zeros((length, size)), jnp.zeros((length, size, size)),
        jnp.zeros((length, free, free)), jnp.zeros((length, sds, sds)), jnp.zeros(length, bool),
    )  # fmt: skip
    return _Lane(problem, x, x, nothing, jnp.zeros(length), jnp.zeros(length, int))


def _where(which: Any, these: Any, others: Any) -> Any:
    """Of each lane the one or the other."""

    def one(this: Any, other: Any) -> Any:
        return jnp.where(which.reshape(-1, *[1] * (this.ndim - 1)), this, other)

    return jax.tree.map(one, these, others)


@cache.kept
def scores(model: Model, ties: Ties, method: Method, error: ErrorModel) -> Callable[[Any, Data], Score]:
    """The compiled function (x (b, d), data (b, ...)) -> what `score` gives, stacked."""
    return Program(jax.vmap(lambda x, data: score(model, ties, method, error, x, data)))


def score(model: Model, ties: Ties, method: Method, error: ErrorModel, x: Any, data: Data) -> Score:
    """Log posterior at x (d,) and its derivatives."""
    free = data.inputs.basis.shape[-1]
    return _scored(error, x, data, *evaluate(model, ties, method, x[:free], data.inputs))[0]


def _scored(
    error: ErrorModel, x: Any, data: Data, predicted: Any, jacobian: Any, solved: Any
) -> tuple[Score, Any, Any, Any]:
    """The score of a curve, slopes (1 + parts, n) and second derivatives of each row, and (n, outputs) whose it is."""
    free = data.inputs.basis.shape[-1]
    outputs = (len(x) - free) // len(error.parts)
    belongs = (data.inputs.output[:, None] == jnp.arange(outputs)[None, :]).astype(float)
    ln_sd = x[free:].reshape(-1, outputs)[:, data.inputs.output]
    value, first, second = error.derivatives(predicted, ln_sd, data.rows)
    away = x - data.prior_mean
    gradient = jnp.concatenate([jacobian.T @ first[0], (first[1:] @ belongs).reshape(-1)])
    pull = pulled(data, away)
    total = jnp.sum(value) - 0.5 * jnp.sum(pull * away)

    known = jnp.where(_quantified(data), error.information(predicted, ln_sd, data.rows), 0.0)
    of_rows = _information(error, predicted, ln_sd, data, known, second)
    of_curve = jacobian.T @ (of_rows[0, 0][:, None] * jacobian)
    of_sds = _by_output(of_rows[1:, 1:], belongs)
    # Where the scatter depends on the curve, they tell of each other.
    mixed = jnp.einsum("nk,pn,no->kpo", jacobian, of_rows[0, 1:], belongs).reshape(free, -1)
    information = jnp.block([[of_curve, mixed], [mixed.T, of_sds]]) + _precision(data)
    free_sd = jnp.any(data.moving[free:].reshape(-1, outputs) > 0, axis=0).astype(float)
    of_quantified = jacobian.T @ (jnp.where(belongs @ free_sd > 0, known, 0.0)[:, None] * jacobian)
    both = jnp.outer(data.moving, data.moving)
    at = Score(
        total,
        (gradient - pull) * data.moving,
        information * both,
        of_quantified * both[:free, :free],
        _by_output(second[1:, 1:], belongs),
        solved,
    )
    return at, first, second, belongs


def pulled(data: Data, away: Any) -> Any:
    """(d,) how the priors draw what is so far ``away`` (d,) from their means."""
    if data.prior_precision.ndim == away.ndim:
        return data.prior_precision * away
    return jnp.sum(data.prior_precision * away[None, :], axis=1)


def _precision(data: Data) -> Any:
    """(..., d, d) of the priors."""
    known = data.prior_precision
    if known.ndim > data.moving.ndim:
        return known
    return known[..., None] * np.eye(known.shape[-1]).reshape(*[1] * (known.ndim - 1), *[known.shape[-1]] * 2)


def _information(error: ErrorModel, predicted: Any, ln_sd: Any, data: Data, known: Any, second: Any) -> Any:
    """(1 + parts, 1 + parts, n) what each row tells of the curve and of its sds; no direction of it is negative.

    known : (n,) the expectation of what a quantified row tells of the curve. second : derivatives of all rows.
    """
    quantified = _quantified(data)
    every = jnp.eye(len(second))[:, :, None]
    if error.least_squares:
        of_quantified = jnp.zeros_like(second).at[0, 0].set(known).at[1, 1].set(2.0)
    else:
        # Of errors in general: a row's scatter (sd of y over f, or of ln y) depends on the curve and on each part, and
        # what it tells of them is that of a normal variance.
        def ln_known(g: Any, ln_sd: Any) -> Any:
            return jnp.log(error.information(g, ln_sd, data.rows))

        ways = jnp.eye(len(second))[:, :, None] * jnp.ones_like(predicted)[None, None]
        slopes = jax.vmap(lambda way: jax.jvp(ln_known, (predicted, ln_sd), (way[0], way[1:]))[1])(ways)
        shares = -0.5 * slopes.at[0].add(-2.0 if error.natural else 0.0)
        of_quantified = 2 * shares[:, None] * shares[None, :] + jnp.zeros_like(second).at[0, 0].set(known)
    return jnp.where(quantified[None, None], of_quantified, every * jnp.maximum(-second, 0.0))


def _by_output(of_rows: Any, belongs: Any) -> Any:
    """(parts, parts, n) of rows, summed to (sds, sds): those of two outputs have nothing in common."""
    parts, outputs = len(of_rows), belongs.shape[-1]
    summed = jnp.einsum("pqn,no->pqo", of_rows, belongs)
    return jnp.einsum("pqo,or->poqr", summed, jnp.eye(outputs)).reshape(parts * outputs, -1)


def _quantified(data: Data) -> Any:
    return (data.rows.lower == data.rows.upper) & (data.rows.weight > 0)


def _moving(x: Any, gradient: Any, data: Data) -> Any:
    """What may move: free, and not pressed against a bound."""
    return data.moving * ~bounds.held(x, gradient, data.lower, data.upper, data.units)


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
    return units * jnp.clip(along(damping), -LONGEST_SCORING_STEP, LONGEST_SCORING_STEP), 0.5 * jnp.sum(g * along(0.0))


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
    """The log posterior with all second derivatives; 0 where nothing moves."""

    value: Any
    gradient: Any
    hessian: Any
    quantified: Any
    solved: Any


@cache.kept
def curvatures(model: Model, ties: Ties, method: Method, error: ErrorModel) -> Callable[..., Curvature]:
    """The compiled function (x (b, d), data (b, ...), second) -> `Curvature`, stacked.

    Second derivatives are 0 where not asked for; those of a closed form come along in any case.
    """
    if method is not Method.CLOSED_FORM:
        return Program(lambda x, data, second=True: _by_differences(model, ties, method, error, x, data, second))
    several = jax.vmap(lambda x, data: _by_derivatives(model, ties, method, error, x, data))
    return Program(lambda x, data, second=True: several(x, data))


def _by_derivatives(model: Model, ties: Ties, method: Method, error: ErrorModel, x: Any, data: Data) -> Curvature:
    free = data.inputs.basis.shape[-1]

    def evaluated(curve: Any) -> Any:
        return evaluate(model, ties, method, curve, data.inputs)

    predicted, jacobian, solved = evaluated(x[:free])
    bent = jax.jacfwd(lambda curve: evaluated(curve)[1])(x[:free])
    at, first, second, belongs = _scored(error, x, data, predicted, jacobian, solved)
    curve = jacobian.T @ (second[0, 0][:, None] * jacobian) + jnp.einsum("n,nij->ij", first[0], bent)
    mixed = jnp.einsum("pn,no,nk->pok", second[1:, 0], belongs, jacobian).reshape(-1, free)
    columns = jnp.concatenate([curve, mixed]) - _precision(data)[:, :free]
    return curvature(at, columns, data, jnp)


def _by_differences(
    model: Model, ties: Ties, method: Method, error: ErrorModel, x: Any, data: Data, second: Any
) -> Curvature:
    """Of all lanes (b, ...): slopes written by hand are exact to rounding, and their central differences to 1e-8.

    A loop over the directions that anybody moves in, both ways, after x itself: its length is no part of the program.
    """
    free = data.inputs.basis.shape[-1]
    points = jax.vmap(lambda x, data: score(model, ties, method, error, x, data))
    used = jnp.max(jnp.where(data.moving[:, :free] > 0, jnp.arange(1, free + 1), 0))

    def add(number: Any, carry: tuple[Score, Any]) -> tuple[Score, Any]:
        at, columns = carry
        direction, side = jnp.maximum(number - 1, 0) // 2, jnp.where(number > 0, 2.0 * (number % 2) - 1.0, 0.0)
        there = points(x.at[:, direction].add(side * HESSIAN_STEP), data)
        at = jax.tree.map(
            lambda new, old: jnp.where(number == 0, new, old), there, at._replace(solved=there.solved & at.solved)
        )
        slope = jnp.where(number == 0, 0.0, side / (2 * HESSIAN_STEP) * there.gradient)
        return at, columns.at[:, :, direction].add(slope)

    empty = jax.tree.map(lambda part: jnp.ones(part.shape, part.dtype), jax.eval_shape(points, x, data))
    at, columns = jax.lax.fori_loop(0, jnp.where(second, 2 * used, 0) + 1, add, (empty, jnp.zeros((*x.shape, free))))
    return curvature(at, columns, data, jnp)


def curvature(at: Score, columns: Any, data: Data, xp: Any) -> Curvature:
    """From the derivatives (..., d, k) of the gradient by the curve's parameters to all second derivatives.

    ``xp`` is numpy or `jax.numpy`; any leading dimensions.
    """
    free = columns.shape[-1]
    curve, mixed = columns[..., :free, :], columns[..., free:, :]
    of_sd = at.curved - _precision(data)[..., free:, free:]
    above = xp.concatenate([0.5 * (curve + xp.swapaxes(curve, -1, -2)), xp.swapaxes(mixed, -1, -2)], axis=-1)
    below = xp.concatenate([mixed, of_sd], axis=-1)
    both = data.moving[..., :, None] * data.moving[..., None, :]
    hessian = xp.concatenate([above, below], axis=-2) * both
    return Curvature(at.value, at.gradient, hessian, at.quantified, at.solved)
