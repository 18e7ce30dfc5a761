"""From parameters and doses to curves: the one place where a model is solved.

An ODE is solved in ln x, segment by segment between doses, by an explicit stepper; a solve that runs out of steps is
done again by an implicit one on the natural scale. Whether a solve succeeded is read from the stepper's result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from cellkinetics import cache
from cellkinetics.dosing import Doses
from cellkinetics.errors import ModelError

if TYPE_CHECKING:
    from cellkinetics.model import Function, Model

RTOL = 3e-8
MAX_STEPS = 4096
# The implicit stepper works on natural scale. Its chord iteration stalls where it is asked for more digits than
# rounding leaves beside 1e5 copies (tolerances of 1e-10: none of 75 hard draws solved; these: all, to 1e-6).
IMPLICIT_RTOL, IMPLICIT_ATOL = 1e-8, 1e-9
CHORD_RTOL, CHORD_ATOL = 1e-5, 1e-6
IMPLICIT_MAX_STEPS = 16_384
# A floor of 1e-9 stalls the stepper, one of 1e-3 costs 1e-4 of the curve (il15_persistence, E = M = 0 at the start).
FLOOR = 1e-6
LN_FLOOR = -230.0

Curves = dict[str, jax.Array]


def solve(
    model: Model, times: jax.Array, values: Mapping[str, Any], doses: Doses, *, reverse: bool = False
) -> tuple[Curves, jax.Array]:
    """Curves at ``times`` (n,) and whether the solve succeeded; NaN curves where it did not."""
    if model.curve is not None:
        return closed_form(model, times, values, doses), jnp.array(True)
    explicit, done = solve_ode(model, times, values, doses, reverse=reverse)

    def again() -> tuple[Curves, jax.Array]:
        return solve_ode(model, times, values, doses, implicit=True, skip=done, reverse=reverse)

    implicit, done_again = jax.lax.cond(done, lambda: (explicit, done), again)
    curves = {name: jnp.where(done, explicit[name], implicit[name]) for name in explicit}
    succeeded = done | done_again
    return {name: jnp.where(succeeded, curve, jnp.nan) for name, curve in curves.items()}, succeeded


@lru_cache(maxsize=64)
def compiled(model: Model, reverse: bool) -> Callable[..., tuple[Curves, jax.Array]]:
    """`solve` of one model under jit: (times, values, doses) -> curves, succeeded."""
    cache.switch_on()
    return jax.jit(partial(solve, model, reverse=reverse))


def closed_form(model: Model, times: jax.Array, values: Mapping[str, Any], doses: Doses) -> Curves:
    """A closed form; summed over infusions where the model is linear in dose."""
    assert model.curve is not None
    if not model.channels:
        return _outputs(model, _call(model.curve, {**values, "t": times}), times)
    amounts = jnp.asarray(doses.amounts)[:, 0]
    if not model.linear_in_dose:
        since = jnp.maximum(times, 0.0)
        once = _outputs(model, _call(model.curve, {**values, "t": since, "dose": amounts[0]}), times)
        return {name: jnp.where(times < 0, 0.0, curve) for name, curve in once.items()}
    total = {name: jnp.zeros_like(times) for name in model.outputs}
    for slot, start in enumerate(doses.times):
        given = times >= start
        since = jnp.where(given, times - jnp.where(jnp.isfinite(start), start, 0.0), 0.0)
        one = _outputs(model, _call(model.curve, {**values, "t": since, "dose": amounts[slot]}), times)
        total = {name: total[name] + jnp.where(given, one[name], 0.0) for name in total}
    return total


def solve_ode(
    model: Model,
    times: jax.Array,
    values: Mapping[str, Any],
    doses: Doses,
    *,
    implicit: bool = False,
    skip: jax.Array | bool = False,
    reverse: bool = False,
) -> tuple[Curves, jax.Array]:
    """One stepper over all segments; ``skip`` makes them empty (for a batch in which few need it)."""
    import diffrax

    assert model.observe is not None
    order = jnp.argsort(times)
    asked = times[order]
    events, amounts = jnp.asarray(doses.times), jnp.asarray(doses.amounts)
    end = jnp.maximum(jnp.where(skip, 0.0, asked[-1]), 0.0)
    edges = jnp.minimum(jnp.append(events, jnp.inf), end)
    in_log = jnp.array([state not in model.natural and not implicit for state in model.states])
    gains = _gains(model, values)
    field = _vector_field(model, values, in_log)
    chord = diffrax.VeryChord(rtol=CHORD_RTOL, atol=CHORD_ATOL)
    stepper = diffrax.Kvaerno5(root_finder=chord) if implicit else diffrax.Tsit5()
    rtol, atol = (IMPLICIT_RTOL, IMPLICIT_ATOL) if implicit else (RTOL, RTOL)
    controller = diffrax.PIDController(rtol=rtol, atol=atol)
    adjoint = diffrax.RecursiveCheckpointAdjoint() if reverse else diffrax.ForwardMode()

    def segment(state: jax.Array, slot: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        begin, stop, amount = slot
        dosed = _to_scale(_to_natural(state, in_log) + amount @ gains, in_log)
        saved = jnp.append(jnp.clip(asked, begin, stop), stop)
        with cache.cacheable():
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(field), stepper, begin, stop, None, dosed,
                saveat=diffrax.SaveAt(ts=saved), stepsize_controller=controller,
                adjoint=adjoint, max_steps=IMPLICIT_MAX_STEPS if implicit else MAX_STEPS, throw=False,
            )  # fmt: skip
        assert solution.ys is not None
        return solution.ys[-1], (solution.ys[:-1], solution.result == diffrax.RESULTS.successful)

    first = _to_scale(_start(model, values), in_log)
    _, (path, done) = jax.lax.scan(segment, first, (edges[:-1], edges[1:], amounts))
    current = jnp.maximum(jnp.searchsorted(events, asked, side="right") - 1, 0)
    states = _to_natural(path[current, jnp.arange(len(asked))], in_log)[jnp.argsort(order)]
    states = jnp.where((times < 0)[:, None], _start(model, values), states)
    named = dict(zip(model.states, states.T, strict=True))
    return _outputs(model, _call(model.observe, {**values, **named, "t": times}), times), jnp.all(done)


def _vector_field(model: Model, values: Mapping[str, Any], in_log: jax.Array) -> Function:
    assert model.rhs is not None
    rhs = model.rhs

    def field(t: jax.Array, state: jax.Array, _: None) -> jax.Array:
        natural = _to_natural(state, in_log)
        slopes = _call(rhs, {**values, **dict(zip(model.states, natural, strict=True)), "t": t})
        if len(slopes) != len(model.states):
            raise ModelError(
                f"{model.name}: rhs() returns {len(slopes)} derivatives for {len(model.states)} states "
                f"({', '.join(model.states)}). Return one a state, in that order.",
                name="rhs",
            )
        slopes = jnp.stack([jnp.asarray(slope, float) for slope in slopes])
        return jnp.where(in_log, slopes / jnp.where(in_log, natural, 1.0), slopes)

    return field


def _to_natural(state: jax.Array, in_log: jax.Array) -> jax.Array:
    # Gradients turn NaN where exp underflows: ln x is held at -230.
    return jnp.where(in_log, jnp.exp(jnp.clip(jnp.where(in_log, state, 0.0), LN_FLOOR, -LN_FLOOR)), state)


def _to_scale(natural: jax.Array, in_log: jax.Array) -> jax.Array:
    floored = jnp.maximum(natural, FLOOR)
    return jnp.where(in_log, jnp.log(floored), natural)


def _start(model: Model, values: Mapping[str, Any]) -> jax.Array:
    return jnp.stack([jnp.asarray(values[model.start[s]] if s in model.start else 0.0, float) for s in model.states])


def _gains(model: Model, values: Mapping[str, Any]) -> jax.Array:
    """(channels, states): what one unit of each channel adds to each state."""
    gains = jnp.zeros((len(model.dosing), len(model.states)))
    for row, (state, parameter) in enumerate(model.dosing.values()):
        gains = gains.at[row, model.states.index(state)].set(values[parameter])
    return gains


def _call(function: Function, known: Mapping[str, Any]) -> Any:
    from cellkinetics.model import names_of

    return function(**{name: known[name] for name in names_of(function)})


def _outputs(model: Model, result: Any, times: jax.Array) -> Curves:
    given = dict(result) if isinstance(result, Mapping) else dict.fromkeys(list(model.outputs)[:1], result)
    if set(given) != set(model.outputs):
        raise ModelError(
            f"{model.name}: outputs are {', '.join(model.outputs)}; the model returns {', '.join(given)}. "
            "Return {output: array}.",
            name="outputs",
        )
    return {name: jnp.broadcast_to(jnp.asarray(given[name]), times.shape) for name in model.outputs}
