"""From parameters and doses to curves: the one place where a model is solved.

An ODE is solved in ln x, segment by segment between doses, by an explicit stepper; a solve that runs out of steps is
done again by an implicit one on the natural scale. Whether a solve succeeded is read from the stepper's result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.modelling.course import Course
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import SINCE, call, factor
from cellkinetics.modelling.structure import Method, Structure, methods, of_structure
from cellkinetics.solving import lockstep
from cellkinetics.solving.segments import Segments, segments

if TYPE_CHECKING:
    from cellkinetics.modelling.model import Function, Model

MAX_STEPS = 4096
MOST_STEPS = 1000  # of lanes, which wait for the longest: what needs more is stiff
# The implicit stepper works on natural scale. Its chord iteration stalls where it is asked for more digits than
# rounding leaves beside 1e5 copies (tolerances of 1e-10: none of 75 hard draws solved; these: all, to 1e-6).
IMPLICIT_RTOL, IMPLICIT_ATOL = 1e-8, 1e-18
CHORD_RTOL, CHORD_ATOL = 1e-5, 1e-6
IMPLICIT_MAX_STEPS = 16_384
# What a state that starts at 0 begins with in ln x: what flows into it within so much of the time to the first asked
# day (or of a thousandth of the segment, or within rounding of its begin, where these are longer), and of its scale at
# least so much. All follow the units of values and of time.
MOMENT, SHORTEST, ROUNDING, LEAST = 1e-8, 1e-3, 1e-14, 1e-15
LN_FLOOR = -230.0

Curves = dict[str, jax.Array]
Courses = Mapping[str, Course]
NO_COURSES: Courses = {}
PREPARED_LENGTH = 128  # what is prepared for one curve has a size below, or a multiple of it


def solve(
    model: Model,
    times: jax.Array,
    values: Mapping[str, Any],
    doses: Doses,
    courses: Courses = NO_COURSES,
    *,
    reverse: bool = False,
) -> tuple[Curves, jax.Array]:
    """Curves at ``times`` (n,) and whether the solve succeeded; NaN curves where it did not."""
    first, *others = methods(model)
    if first.fineness is not None and model.structure is not None:
        # One program holds them all: the finest structure stands for the others, and for the explicit stepper.
        instead = of_structure(model.structure)[-1] if doses.rates is None else Method.EXPLICIT
        others = [instead, Method.IMPLICIT]

    def rescued(given: Any) -> tuple[Curves, jax.Array]:
        curves, done, *asked = given
        for method in others:

            def again(method: Method = method, done: jax.Array = done) -> tuple[Curves, jax.Array]:
                return by(method, model, *asked, skip=done, reverse=reverse)

            otherwise, done_again = jax.lax.cond(done, lambda curves=curves, done=done: (curves, done), again)
            curves = {name: jnp.where(done, curves[name], otherwise[name]) for name in curves}
            done = done | done_again
        return curves, done

    given = (*by(first, model, times, values, doses, courses, reverse=reverse), times, values, doses, courses)
    if others:
        # Reverse derivatives do not pass through a rule of batching.
        given = rescued(given) if reverse else _lane_by_lane(rescued, given)
    curves, done, *_ = given
    return {name: jnp.where(done, curve, jnp.nan) for name, curve in curves.items()}, done


def _lane_by_lane(function: Callable[[Any], Any], given: Any) -> Any:
    """The function of arrays, whose lanes are run one after the other where it is vmapped.

    vmap makes of a `cond` both of its branches for every lane: here each lane takes its own, and a rescue costs
    only those lanes that need one.
    """
    # As a list: batching rules take no structure with None in it.
    leaves, tree = jax.tree.flatten(given)

    def plain(*leaves: Any) -> Any:
        return function(jax.tree.unflatten(tree, leaves))

    mapped = jax.custom_batching.custom_vmap(plain)

    @mapped.def_vmap
    def rule(size: int, batched: Sequence[bool], *leaves: Any) -> tuple[Any, Any]:
        del size
        if not any(batched):
            # Asked by forward derivatives, whose directions alone are batched.
            result = plain(*leaves)
            return result, jax.tree.map(lambda _: False, result)

        def one(lane: Sequence[Any]) -> Any:
            left = iter(lane)
            return mapped(*(next(left) if flag else leaf for leaf, flag in zip(leaves, batched, strict=True)))

        result = jax.lax.map(one, [leaf for leaf, flag in zip(leaves, batched, strict=True) if flag])
        return result, jax.tree.map(lambda _: True, result)

    return mapped(*leaves)


@cache.kept
def compiled(model: Model, reverse: bool) -> Callable[..., tuple[Curves, jax.Array]]:
    """`solve` of one model under jit: (times, values, doses, courses) -> curves, succeeded."""
    return jax.jit(partial(solve, model, reverse=reverse))


def by(
    method: Method,
    model: Model,
    times: jax.Array,
    values: Mapping[str, Any],
    doses: Doses,
    courses: Courses = NO_COURSES,
    *,
    prepared: tuple[Any, ...] = (),
    skip: jax.Array | bool = False,
    reverse: bool = False,
) -> tuple[Curves, jax.Array]:
    """`solve` by one of `methods`; ``skip`` makes a stepper's segments empty (for a batch in which few need it)."""
    if method is Method.CLOSED_FORM:
        return closed_form(model, times, values, doses, courses), jnp.array(True)
    if method.fineness is not None:
        assert model.structure is not None
        if doses.rates is not None:
            # The structure is worked out for boluses.
            return {name: jnp.zeros_like(times) for name in model.outputs}, jnp.array(False)
        fineness = method.fineness
        return model.structure.solve(times, values, doses, prepared[fineness] if prepared else None, fineness)
    if method is Method.EXPLICIT and not reverse:
        return solve_lanes(model, times, values, doses, courses, skip=skip)
    return solve_ode(
        model, times, values, doses, courses, implicit=method is Method.IMPLICIT, skip=skip, reverse=reverse
    )


def prepared_for(model: Model, times: Any, doses: Doses) -> tuple[Any, ...]:
    """What the model's structure takes, for each fineness, made from numbers; () for other models."""
    if model.structure is None or doses.rates is not None:
        return ()
    given = (np.asarray(part, float) for part in (times, doses.times, doses.amounts))
    return _prepared(model.structure, *((part.tobytes(), part.shape) for part in given))


@lru_cache(maxsize=64)
def _prepared(structure: Structure, *given: tuple[bytes, tuple[int, ...]]) -> tuple[Any, ...]:
    # Kept: to make it takes longer than a curve, and all curves of a schedule share it.
    days, events, amounts = (np.frombuffer(numbers).reshape(shape) for numbers, shape in given)
    doses, made = Doses(events, amounts), []
    for fineness in range(structure.finenesses):
        each = structure.prepare(days, doses, fineness, 0)
        size = structure.size_of(each)
        # Curves on a fine grid: few lengths, so that few programs are compiled.
        length = size if size <= PREPARED_LENGTH else PREPARED_LENGTH * -(-size // PREPARED_LENGTH)
        made.append(each if length == size else structure.prepare(days, doses, fineness, length))
    return tuple(made)


def closed_form(model: Model, times: jax.Array, values: Mapping[str, Any], doses: Doses, courses: Courses) -> Curves:
    """A closed form; summed over infusions where the model is linear in dose."""
    curve = model.curve
    assert curve is not None
    known = {**values, **{name: course.at(times) for name, course in courses.items()}}
    if not model.channels:
        return _outputs(model, call(curve, {**known, "t": times}), times)
    amounts = jnp.asarray(doses.amounts)[:, 0]
    if not model.linear_in_dose:
        since = jnp.maximum(times, 0.0)
        once = _outputs(model, call(curve, {**known, "t": since, "dose": amounts[0]}), times)
        return {name: jnp.where(times < 0, 0.0, curve) for name, curve in once.items()}
    total = {name: jnp.zeros_like(times) for name in model.outputs}
    for slot, start in enumerate(doses.times):
        given = times >= start
        since = jnp.where(given, times - jnp.where(jnp.isfinite(start), start, 0.0), 0.0)
        one = _outputs(model, call(curve, {**known, "t": since, "dose": amounts[slot]}), times)
        total = {name: total[name] + jnp.where(given, one[name], 0.0) for name in total}
    return total


def solve_lanes(
    model: Model,
    times: jax.Array,
    values: Mapping[str, Any],
    doses: Doses,
    courses: Courses = NO_COURSES,
    *,
    skip: jax.Array | bool = False,
) -> tuple[Curves, jax.Array]:
    """By the explicit stepper; vmapped, lanes are stepped together."""
    assert model.observe is not None
    order = jnp.argsort(times)
    asked = jnp.maximum(times[order], 0.0)
    parts = segments(model, values, doses)
    gains = _gains(model, values)
    start = _start(model, values)
    slopes = _slopes(model, values, courses)
    scale = _scale(slopes, start, parts, gains, asked[-1])
    begin = jnp.where(parts.begin < 0, 0.0, parts.begin)
    infused = None if parts.rates is None else parts.rates @ gains
    jump = jnp.where(jnp.isfinite(begin)[:, None], parts.amounts @ gains, 0.0)
    course = lockstep.Course(
        {name: jnp.asarray(value, float) for name, value in values.items()},
        start,
        asked,
        begin,
        jump,
        infused,
        parts.since,
    )
    setting = lockstep.Setting(parts.phase, scale, courses, jnp.asarray(model.rtol), jnp.where(skip, 0, MOST_STEPS))
    path, arrived = lockstep.curve(_field(model), course, setting)
    current = jnp.maximum(jnp.searchsorted(parts.begin, asked, side="right") - 1, 0)
    back = jnp.argsort(order)
    states = jnp.where((times < 0)[:, None], start[None], path[back])
    known = {
        **values,
        **_context(model, times, parts.since[current][back], parts.phase[current][back], courses),
        **dict(zip(model.states, states.T, strict=True)),
    }
    return _outputs(model, call(model.observe, known), times), arrived


@cache.kept
def _field(model: Model) -> lockstep.Field:
    def slopes(t: Any, x: Any, values: Any, since: Any, phase: Any, infused: Any, courses: Any) -> Any:
        return _slopes(model, values, courses)(t, x, (infused, since, phase))

    return lockstep.Field(slopes, tuple(state not in model.natural for state in model.states))


def solve_ode(
    model: Model,
    times: jax.Array,
    values: Mapping[str, Any],
    doses: Doses,
    courses: Courses = NO_COURSES,
    *,
    implicit: bool = False,
    skip: jax.Array | bool = False,
    reverse: bool = False,
) -> tuple[Curves, jax.Array]:
    """One stepper over all segments between doses and switches."""
    import diffrax

    assert model.observe is not None
    order = jnp.argsort(times)
    asked = times[order]
    parts = segments(model, values, doses)
    end = jnp.maximum(jnp.where(skip, 0.0, asked[-1]), 0.0)
    # Not clip: where an edge lies on day 0 or on the last day it has half a derivative.
    edges = jnp.append(parts.begin, jnp.inf)
    edges = jnp.where(edges < 0, 0.0, jnp.where(edges > end, end, edges))
    in_log = jnp.array([state not in model.natural and not implicit for state in model.states])
    gains = _gains(model, values)
    slopes = _slopes(model, values, courses)
    start = _start(model, values)
    scale = _scale(slopes, start, parts, gains, asked[-1])

    def field(t: Any, state: Any, args: Any) -> jax.Array:
        *args, void = args
        natural = _to_natural(state, in_log, scale)
        found = jnp.where(void, 0.0, slopes(t, natural, tuple(args)))
        return jnp.where(in_log, found / jnp.where(in_log, natural, 1.0), found / scale)

    chord = diffrax.VeryChord(rtol=CHORD_RTOL, atol=CHORD_ATOL)
    stepper = diffrax.Kvaerno5(root_finder=chord) if implicit else diffrax.Tsit5()
    rtol, atol = (IMPLICIT_RTOL, IMPLICIT_ATOL) if implicit else (model.rtol, model.rtol)
    controller = diffrax.PIDController(rtol=rtol, atol=atol)
    adjoint = diffrax.RecursiveCheckpointAdjoint() if reverse else diffrax.ForwardMode()

    def segment(before: tuple[Any, Any], slot: tuple[jax.Array, jax.Array, Segments]) -> tuple[Any, tuple[Any, ...]]:
        (state, void), (begin, stop, part) = before, slot
        infused = None if part.rates is None else part.rates @ gains
        saved = jnp.append(jnp.clip(asked, begin, stop), stop)
        args = (infused, part.since, part.phase)
        given = jnp.where(void, 0.0, _to_natural(state, in_log, scale)) + part.amounts @ gains
        filled = _inflow(slopes, begin, given, args, _moment(asked, begin, stop))
        dosed = _to_scale(given, in_log, scale, filled)
        void = _void(slopes, saved, filled, args) & in_log
        args = (*args, void)
        with cache.cacheable():
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(field), stepper, begin, stop, None, dosed, args=args,
                saveat=diffrax.SaveAt(ts=saved), stepsize_controller=controller,
                adjoint=adjoint, max_steps=IMPLICIT_MAX_STEPS if implicit else MAX_STEPS, throw=False,
            )  # fmt: skip
        assert solution.ys is not None
        # Of two edges on one day each has its derivative; a stepper with no way to go gives none.
        last = solution.ys[-1] + jnp.where(begin == stop, (stop - begin) * field(begin, dosed, args), 0.0)
        return (last, void), (solution.ys[:-1], void, solution.result == diffrax.RESULTS.successful)

    first = _to_scale(start, in_log, scale, jnp.zeros_like(start))
    _, (path, voids, done) = jax.lax.scan(segment, (first, (start == 0) & in_log), (edges[:-1], edges[1:], parts))
    current = jnp.maximum(jnp.searchsorted(parts.begin, asked, side="right") - 1, 0)
    back = jnp.argsort(order)
    states = _to_natural(path[current, jnp.arange(len(asked))], in_log[None], scale[None])
    states = jnp.where(voids[current], 0.0, states)[back]
    # The implicit stepper passes 0 by rounding where a state dies out; `natural` states may be negative.
    positive = jnp.array([state not in model.natural for state in model.states])[None, :]
    states = jnp.where(positive & (states < 0), 0.0, states)
    states = jnp.where((times < 0)[:, None], start[None], states)
    known = {
        **values,
        **_context(model, times, parts.since[current][back], parts.phase[current][back], courses),
        **dict(zip(model.states, states.T, strict=True)),
    }
    return _outputs(model, call(model.observe, known), times), jnp.all(done)


def _context(model: Model, t: Any, since: Any, phase: Any, courses: Courses) -> dict[str, Any]:
    """What a function may take by name besides parameters and states; ``since`` has one column a marker."""
    clocks = {f"{SINCE}{marker}": t - since[..., column] for column, marker in enumerate(model.markers)}
    return {"t": t, "phase": phase, **clocks, **{name: course.at(t) for name, course in courses.items()}}


def _slopes(model: Model, values: Mapping[str, Any], courses: Courses) -> Function:
    """The function (t, natural states, (infused, since, phase)) -> derivatives per day, in natural units."""
    assert model.rhs is not None
    rhs = model.rhs

    def slopes(t: jax.Array, natural: jax.Array, args: tuple[Any, ...]) -> jax.Array:
        infused, since, phase = args
        named = dict(zip(model.states, natural, strict=True))
        found = call(rhs, {**values, **named, **_context(model, t, since, phase, courses)})
        found = jnp.stack([jnp.asarray(slope, float) for slope in found])
        return found if infused is None else found + infused

    return slopes


def _scale(slopes: Function, start: jax.Array, parts: Segments, gains: jax.Array, last: jax.Array) -> jax.Array:
    """(states,) how large each state is about: where it starts or what it is given, else what flows in.

    What flows in is counted over the time in which the fastest of the others changes by itself, where none does until
    the ``last`` day. Tolerances and floors are counted in the scale, so that a curve does not depend on the units of
    values and of time.
    """
    given = jnp.where(jnp.isfinite(parts.begin)[:, None], parts.amounts @ gains, 0.0)
    size = jnp.maximum(jnp.abs(start), jnp.max(jnp.abs(given), axis=0))
    rates = None if parts.rates is None else jnp.max(jnp.abs(parts.rates @ gains), axis=0)
    args = (rates, parts.since[0], parts.phase[0])
    for _ in start:
        found = jnp.abs(slopes(parts.begin[0], size, args))
        fastest = jnp.max(jnp.where(size > 0, found / jnp.where(size > 0, size, 1.0), 0.0))
        time = jnp.where(fastest > 0, 1 / jnp.where(fastest > 0, fastest, 1.0), jnp.where(last > 0, last, 1.0))
        size = jnp.where(size > 0, size, time * found)
    # What is nothing now and later is as large as the largest of the others.
    size = jnp.where(jnp.isfinite(size), size, 0.0)
    size = jnp.where(size > 0, size, jnp.max(size))
    return jax.lax.stop_gradient(jnp.where(size > 0, size, 1.0))


def _moment(asked: jax.Array, begin: jax.Array, stop: jax.Array) -> jax.Array:
    """Days that are nothing against a segment and against the time to its first asked day."""
    length = stop - begin
    first = jnp.min(jnp.where(asked > begin, asked - begin, length))
    return jnp.maximum(MOMENT * jnp.clip(first, SHORTEST * length, length), ROUNDING * begin)


def _inflow(slopes: Function, t: jax.Array, natural: jax.Array, args: tuple[Any, ...], moment: jax.Array) -> jax.Array:
    """(states,) what flows within a moment into states that are nothing, from those that are something."""
    for _ in natural:
        found = moment * slopes(t, natural, args)
        natural = jnp.maximum(natural, jnp.where(jnp.isfinite(found), found, 0.0))
    return jax.lax.stop_gradient(natural)


def _void(slopes: Function, days: jax.Array, filled: jax.Array, args: tuple[Any, ...]) -> jax.Array:
    """(states,) which are nothing and stay it: nothing flows in from what is ``filled`` on any of the days.

    Without this a state that grows by itself would grow out of the number that ln x begins with.
    """
    found = jax.vmap(slopes, in_axes=(0, None, None))(days, filled, args)
    return (filled == 0) & jnp.all(found == 0, axis=0)


def _to_natural(state: jax.Array, in_log: jax.Array, scale: jax.Array) -> jax.Array:
    # Gradients turn NaN where exp underflows: ln x is held at -230.
    return scale * jnp.where(in_log, jnp.exp(jnp.clip(jnp.where(in_log, state, 0.0), LN_FLOOR, -LN_FLOOR)), state)


def _to_scale(natural: jax.Array, in_log: jax.Array, scale: jax.Array, least: jax.Array) -> jax.Array:
    least = jnp.maximum(least, LEAST * scale)
    # Not maximum: where both are the same it has half a derivative.
    floored = jnp.where(natural < least, least, natural)
    return jnp.where(in_log, jnp.log(floored / scale), natural / scale)


def _start(model: Model, values: Mapping[str, Any]) -> jax.Array:
    started = [factor(model.start[state], values) if state in model.start else 0.0 for state in model.states]
    return jnp.stack([jnp.asarray(value, float) for value in started])


def _gains(model: Model, values: Mapping[str, Any]) -> jax.Array:
    """(channels, states): what one unit of each channel adds to each state."""
    gains = jnp.zeros((len(model.channels), len(model.states)))
    for row, (state, rule) in enumerate(model.dosing.values()):
        gains = gains.at[row, model.states.index(state)].set(factor(rule, values))
    return gains


def _outputs(model: Model, result: Any, times: jax.Array) -> Curves:
    given = dict(result) if isinstance(result, Mapping) else dict.fromkeys(list(model.outputs)[:1], result)
    return {name: jnp.broadcast_to(jnp.asarray(given[name]), times.shape) for name in model.outputs}
