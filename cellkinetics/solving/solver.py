"""From parameters and doses to curves: the one place where a model is solved.

An ODE is solved by the steppers of `lockstep`, in ln x: an explicit one, and where that runs out of steps a linearly
implicit one. Whether a solve succeeded is read from the stepper's result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.lowered import Program
from cellkinetics.modelling.comedication import with_factors
from cellkinetics.modelling.course import Course
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.functions import call, factor
from cellkinetics.modelling.model import SINCE
from cellkinetics.modelling.structure import Method, Structure, methods, of_structure
from cellkinetics.solving import lockstep
from cellkinetics.solving.segments import Segments, segments

if TYPE_CHECKING:
    from cellkinetics.modelling.functions import Function
    from cellkinetics.modelling.model import Model

# Lanes wait for the longest; a curve that needs more of the first is stiff.
LANE_STEPS, STIFF_LANE_STEPS = 1000, 4000

Curves = dict[str, jax.Array]
Courses = Mapping[str, Course]
NO_COURSES: Courses = {}
SIZES_APART = 40  # of what is prepared; programs are made for few sizes, see `few_sizes`
# Of a curve that is drawn: all patients share a program, whatever their doses.
CURVE_DAYS, CURVE_SIZES = 128, 160


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
    curves, done = by(first, model, times, values, doses, courses, reverse=reverse)
    if model.structure is not None and doses.rates is None:
        # One program holds them all: the finest structure stands for the others, and for the explicit stepper.
        finest, others = of_structure(model.structure)[-1], [Method.IMPLICIT]

        def finer(given: Any) -> tuple[Curves, jax.Array]:
            curves, done, *asked = given
            return jax.lax.cond(done, lambda: (curves, done), lambda: by(finest, model, *asked))

        given = (curves, done, times, values, doses, courses)
        # Reverse derivatives do not pass through a rule of batching.
        curves, done = finer(given) if reverse else _lane_by_lane(finer, given)
    elif first.fineness is not None:
        others = [Method.EXPLICIT, Method.IMPLICIT]
    for method in others:
        again, solved = by(method, model, times, values, doses, courses, skip=done, reverse=reverse)
        curves = {name: jnp.where(done, curves[name], again[name]) for name in curves}
        done = done | solved
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
    return Program(partial(solve, model, reverse=reverse))


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
    """`solve` by one of `methods`; a stepper takes no step where it is to ``skip``, and waits for nobody."""
    if method is Method.CLOSED_FORM:
        return closed_form(model, times, values, doses, courses), jnp.array(True)
    if method.fineness is not None:
        assert model.structure is not None
        if doses.rates is not None:
            # The structure is worked out for boluses.
            return {name: jnp.zeros_like(times) for name in model.outputs}, jnp.array(False)
        fineness = method.fineness
        return model.structure.solve(times, values, doses, prepared[fineness] if prepared else None, fineness)
    step = partial(solve_ode, model, stiff=method is Method.IMPLICIT)
    if reverse:
        return _reversible(step, times, values, doses, courses, skip)
    return step(times, values, doses, courses, skip)


def _reversible(solved: Callable[..., tuple[Curves, jax.Array]], *given: Any) -> tuple[Curves, jax.Array]:
    """The same with reverse derivatives by all that is given."""
    flat, back = jax.flatten_util.ravel_pytree(given)
    return reversible(lambda flat: solved(*back(flat)), flat)


def reversible(function: Callable[..., tuple[Any, Any]], free: Any, *given: Any) -> tuple[Any, Any]:
    """Values and whether they were found, with reverse derivatives by the free values alone, made in forward mode.

    Steps have no derivatives backwards, and free values are few. Where nothing was found the derivatives are 0.

    Parameters
    ----------
    function : of (k,) free values and what else is ``given`` -> arrays in any structure, and a flag.
    """

    @jax.custom_vjp
    def of(free: Any, *given: Any) -> tuple[Any, Any]:
        return function(free, *given)

    def ahead(free: Any, *given: Any) -> tuple[tuple[Any, Any], Any]:
        def value(free: Any) -> tuple[Any, tuple[Any, Any]]:
            values, found = function(free, *given)
            return values, (values, found)

        slopes, (values, found) = jax.jacfwd(value, has_aux=True)(free)
        return (values, found), jax.tree.map(lambda slope: jnp.where(found, slope, 0.0), slopes)

    def behind(slopes: Any, along: tuple[Any, Any]) -> tuple[Any, ...]:
        each = jax.tree.map(lambda way, slope: jnp.tensordot(way, slope, way.ndim), along[0], slopes)
        return jnp.sum(jnp.stack(jax.tree.leaves(each)), axis=0), *(None for _ in given)

    of.defvjp(ahead, behind)
    return of(free, *given)


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
    apart = SIZES_APART if len(days) < CURVE_DAYS else CURVE_SIZES
    for fineness in range(structure.finenesses):
        each = structure.prepare(days, doses, fineness, 0)
        size = structure.size_of(each)
        length = few_sizes(size, apart)
        made.append(each if length == size else structure.prepare(days, doses, fineness, length))
    return tuple(made)


def few_sizes(count: int, step: int) -> int:
    """What a program is made for instead of ``count``: the next of 1, 2, 3, 4, 6, 8, 12, 16, ... times ``step``.

    A program of any size compiles in seconds and runs in milliseconds, of which a third at most is spent on padding.
    """
    steps, power = max(-(-count // step), 1), 1
    while 2 * power < steps:
        power *= 2
    # Now power < steps <= 2 power, or steps is 1.
    return step * (1 if steps == 1 else 3 * power // 2 if power > 1 and steps <= 3 * power // 2 else 2 * power)


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


def solve_ode(
    model: Model,
    times: jax.Array,
    values: Mapping[str, Any],
    doses: Doses,
    courses: Courses = NO_COURSES,
    skip: jax.Array | bool = False,
    *,
    stiff: bool = False,
) -> tuple[Curves, jax.Array]:
    """By the stepper of `lockstep`, explicit or for ``stiff`` equations: vmapped, lanes are stepped together."""
    assert model.observe is not None
    order = jnp.argsort(times)
    asked = jnp.maximum(times[order], 0.0)
    parts = _told(model, segments(model, values, doses))
    gains = _gains(model, values)
    start = _start(model, values)
    slopes = _slopes(model, values, courses)
    scale = _scale(slopes, start, parts, gains, asked[-1])
    begin = jnp.where(parts.begin < 0, 0.0, parts.begin)
    infused = None if parts.rates is None else parts.rates @ gains
    jump = jnp.where(jnp.isfinite(begin)[:, None], parts.amounts @ gains, 0.0)
    named, over = jax.tree.map(lambda part: jnp.asarray(part, float), (dict(values), dict(courses)))
    lane = lockstep.Lane(named, start, asked, begin, jump, infused, parts.since, over)
    most = STIFF_LANE_STEPS if stiff else LANE_STEPS
    setting = lockstep.Setting(parts.phase, scale, jnp.asarray(model.rtol), jnp.where(skip, 0, most))
    path, arrived = lockstep.curve(_field(model, stiff), lane, setting)
    current = jnp.maximum(jnp.searchsorted(parts.begin, asked, side="right") - 1, 0)
    back = jnp.argsort(order)
    states = jnp.where((times < 0)[:, None], start[None], path[back])
    known = {
        **values,
        **_context(model, times, parts.since[current][back], parts.phase[current][back], courses),
        **dict(zip(model.states, states.T, strict=True)),
    }
    return jax.tree.map(partial(_not_below_0, model), _outputs(model, call(model.observe, known), times)), arrived


def undefined(model: Model, values: Mapping[str, Any], doses: Doses, courses: Courses = NO_COURSES) -> list[str]:
    """States of an ODE whose derivative is NaN or infinite when the first cells have been given."""
    if model.rhs is None:
        return []
    parts = _told(model, segments(model, values, doses))
    gains = _gains(model, values)
    given = parts.amounts[0] @ gains if len(model.channels) else 0.0
    infused = None if parts.rates is None else parts.rates[0] @ gains
    args = (infused, parts.since[0], parts.phase[0])
    slopes = _slopes(model, values, courses)(jnp.maximum(parts.begin[0], 0.0), _start(model, values) + given, args)
    return [state for state, slope in zip(model.states, np.asarray(slopes), strict=True) if not np.isfinite(slope)]


def _not_below_0(model: Model, curve: jax.Array) -> jax.Array:
    """The curve, 0 where a sum of natural states is below it by no more than what a step may be wrong by."""
    lost = (curve < 0) & (curve >= -model.rtol * jnp.max(jnp.abs(curve)))
    return jnp.where(lost, 0.0, curve)


@cache.kept
def _field(model: Model, stiff: bool) -> lockstep.Field:
    def slopes(t: Any, x: Any, values: Any, since: Any, phase: Any, infused: Any, courses: Any) -> Any:
        return _slopes(model, values, courses)(t, x, (infused, since, phase))

    return lockstep.Field(slopes, tuple(state not in model.natural for state in model.states), stiff)


def _told(model: Model, parts: Segments) -> Segments:
    """Segments with what acts in them as further columns of ``since``, which the stepper hands on as it is."""
    if not model.comedication:
        return parts
    return parts._replace(since=jnp.concatenate([parts.since, parts.acts], axis=1))


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
        rates = with_factors(model, values, since[..., len(model.markers) :]) if model.comedication else values
        found = call(rhs, {**rates, **named, **_context(model, t, since, phase, courses)})
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


def _start(model: Model, values: Mapping[str, Any]) -> jax.Array:
    started = [factor(model.start[state], values) if state in model.start else 0.0 for state in model.states]
    return jnp.stack([jnp.asarray(value, float) for value in started])


def _gains(model: Model, values: Mapping[str, Any]) -> jax.Array:
    """(channels, states): what one unit of each channel adds to each state."""
    gains = jnp.zeros((len(model.channels), len(model.states)))
    for row, (state, rule) in enumerate(model.dosing.values()):
        for each in (state,) if isinstance(state, str) else state:
            gains = gains.at[row, model.states.index(each)].set(factor(rule, values))
    return gains


def _outputs(model: Model, result: Any, times: jax.Array) -> Curves:
    given = dict(result) if isinstance(result, Mapping) else dict.fromkeys(list(model.outputs)[:1], result)
    return {name: jnp.broadcast_to(jnp.asarray(given[name]), times.shape) for name in model.outputs}
