"""A stepper of ODEs for many lanes: every lane has its own step and error control, and all take a step together.

A lane is one curve at one set of parameters. Lanes lie along the last axis of every array and directions of
derivatives along the first, so that the processor works on lanes side by side; a lane that has passed its last day
waits. Slopes by parameters are carried along each step of the curve itself: the same steps, no more error control.

States are stepped in ln x; a state that is 0 is stepped as it is until something has flowed in. A step ends at the next
dose, switch or asked day at the latest, whose own derivatives are exact for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.solving import stages

ORDER = 5
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
FIRST_SHARE, FIRST_CHANGE = 1e-3, 0.02  # of the segment, and relative change of a state, that a first step may span
SHORTEST = 1e-14  # of the days already passed, or of the segment: a step below is a failure
LEAST = 1e-100  # of its scale: a state below is held there
VANISHING = 1e-30  # of its scale, in which a state that was empty is exact to rtol
LN_LEAST = float(np.log(LEAST))


class Lane(NamedTuple):
    """What a lane's curve depends on and may be differentiated by; ``(..., lanes)`` inside the stepper.

    values : {name: ()} of parameters. start : (n,) states on day 0. asked : (d,) days in order, none before 0.
    begin : (s,) of segments, 0 and later. jump : (s, n) what is added there. infused : (s, n) a day; None for boluses.
    since : (s, markers). courses : covariates.
    """

    values: Any
    start: Any
    asked: Any
    begin: Any
    jump: Any
    infused: Any
    since: Any
    courses: Any


class Setting(NamedTuple):
    """What is not differentiated by.

    phase : (s,). scale : (n,) of each state. rtol : () of ln x. most : () steps; 0 for none.
    """

    phase: Any
    scale: Any
    rtol: Any
    most: Any


class Field(NamedTuple):
    """The equations: slopes(t, states, values, since, phase, infused, courses) -> (n,) a day.

    in_log : (n) which states are stepped in ln x. stiff : whether by the linearly implicit method.
    """

    slopes: Callable[..., Any]
    in_log: tuple[bool, ...]
    stiff: bool = False


class _Flow(NamedTuple):
    """What is carried and has slopes: days (l,), states (n, l), and their derivatives a day."""

    t: Any
    x: Any
    f: Any


class _Control(NamedTuple):
    """What is carried and has none, of each lane.

    step : days, proposed. known : whether f is. passed, seen : events and asked days behind. alive : not given up.
    fed : (n, l) states that grow by what flows in rather than by themselves. arrived : (d, l) the asked days that
    this day is. count : () steps taken.
    """

    step: Any
    known: Any
    passed: Any
    seen: Any
    alive: Any
    fed: Any
    arrived: Any
    count: Any


class _Aim(NamedTuple):
    """What a step is for, of each lane: to learn f, to reach an event or an asked day, or as far as was proposed.

    event : (s, l) the next one. row : (d, l) the next asked day. segment : (s, l) this one. on_ln : (n, l).
    """

    active: Any
    still: Any
    at_event: Any
    at_row: Any
    event: Any
    row: Any
    segment: Any
    on_ln: Any


class _Begin(NamedTuple):
    """What the stages of a step share, and has slopes; y : (n, l) ln of the states, or they themselves, over scale.

    first : (n, l) slopes of y. since, infused : of the segment.
    """

    t: Any
    span: Any
    y: Any
    first: Any
    since: Any
    infused: Any


def march(field: Field, lane: Lane, setting: Setting, along: Lane | None = None) -> tuple[Any, Any, Any]:
    """States on asked days (d, n, l), their slopes (k, d, n, l) or None, and which lanes arrived (l,).

    ``lane`` and ``setting`` have lanes as their last axis; slopes ``along`` have directions before all others.
    """
    days, lanes = lane.asked.shape
    nothing, none = jnp.zeros(lanes), jnp.zeros(lanes, int)
    flow = _Flow(nothing, lane.start, jnp.zeros_like(lane.start))
    path, slopes, paths = jnp.zeros((days, *lane.start.shape)), None, None
    if along is not None:
        width = len(along.asked)
        slopes = jax.tree.map(lambda part: jnp.zeros((width, *part.shape)), flow)._replace(x=along.start)
        paths = jnp.zeros((width, *path.shape))
    control = _Control(
        nothing, jnp.zeros(lanes, bool), none, none, setting.most > 0, jnp.zeros_like(lane.start, bool),
        jnp.zeros((days, lanes), bool), jnp.zeros((), int),
    )  # fmt: skip
    most = jnp.max(setting.most)

    def going(carry: tuple[Any, ...]) -> Any:
        control = carry[-1]
        return (control.count < most) & jnp.any(control.alive & (control.seen < days))

    def recorded(carry: tuple[Any, ...]) -> tuple[Any, Any]:
        # What the step before reached: in the same step the compiler would compute it again for each of the days.
        flow, slopes, path, paths, control = carry
        path = jnp.where(control.arrived[:, None], flow.x[None], path)
        return path, None if paths is None else jnp.where(control.arrived[None, :, None], slopes.x[:, None], paths)

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        flow, slopes, *_, control = carry
        path, paths = recorded(carry)
        flow, slopes, control = _step(field, flow, slopes, lane, along, setting, control)
        return flow, slopes, path, paths, control

    carry = jax.lax.while_loop(going, body, (flow, slopes, path, paths, control))
    control = carry[-1]
    return *recorded(carry), control.alive & (control.seen >= days)


def _step(
    field: Field,
    flow: _Flow,
    slopes: _Flow | None,
    lane: Lane,
    along: Lane | None,
    setting: Setting,
    control: Any,
) -> tuple[_Flow, _Flow | None, _Control]:
    """One step of every lane."""
    aim, in_log = _aim(field, flow, lane, control), jnp.array(field.in_log)[:, None]
    scale = setting.scale

    def begun(flow: _Flow, lane: Lane) -> _Begin:
        t = jnp.where(aim.at_event, _of(aim.event, lane.begin), flow.t + jnp.where(aim.still, 0.0, control.step))
        t = jnp.where(aim.at_row, _of(aim.row, lane.asked), t)
        held = jnp.where(aim.on_ln, jnp.maximum(flow.x, LEAST * scale), scale)
        y = jnp.where(aim.on_ln, jnp.log(held / scale), flow.x / scale)
        infused = None if lane.infused is None else _of(aim.segment[:, None], lane.infused)
        return _Begin(flow.t, t - flow.t, y, flow.f / held, _of(aim.segment[:, None], lane.since), infused)

    begin, begin_along = stages.with_slopes(begun, (flow, lane), None if along is None else (slopes, along))
    phase = _of(aim.segment, setting.phase)
    equations = jax.vmap(field.slopes, in_axes=-1, out_axes=-1)

    def natural(y: Any) -> Any:
        # Not maximum: at the least it has half a derivative.
        ln_x = jnp.where(aim.on_ln, jnp.where(y > LN_LEAST, y, LN_LEAST), 0.0)
        return scale * jnp.where(aim.on_ln, jnp.exp(ln_x), y)

    def slope(t: Any, y: Any, begin: _Begin, given: tuple[Any, Any]) -> Any:
        x = natural(y)
        found = equations(t, x, given[0], begin.since, phase, begin.infused, given[1])
        return found / jnp.where(aim.on_ln, x, scale)

    take = stages.linearly_implicit if field.stiff else stages.explicit
    directions = None if along is None else (begin_along, (along.values, along.courses))
    taken, taken_along, error = take(slope, (begin, (lane.values, lane.courses)), directions)
    size = jnp.maximum(jnp.abs(begin.y), jnp.abs(taken.y))
    # What grows from nothing is as exact as what it becomes, down to where no short first step has a digit right: so it
    # is from the sixth state of a chain on.
    allowed = setting.rtol[None] * jnp.where(in_log & ~aim.on_ln, jnp.maximum(size, VANISHING), 1.0 + size)
    error = jnp.sqrt(jnp.mean((error / allowed) ** 2, axis=0))
    fine = aim.active & (error <= 1.0)

    def ended(flow: _Flow, begin: _Begin, taken: stages.Taken, jump: Any) -> _Flow:
        x = natural(taken.y)
        f = taken.last * jnp.where(aim.on_ln, x, scale)
        x = jnp.where(aim.at_event[None], x + _of(aim.event[:, None], jump), x)
        new = _Flow(begin.t + begin.span, x, f)
        t, *others = (
            jnp.where(fine, new.t, flow.t),
            *(jnp.where(fine[None], *pair) for pair in zip(new[1:], flow[1:], strict=True)),
        )
        return _Flow(t, *others)

    given = (flow, begin, taken, lane.jump)
    directions = None if along is None else (slopes, begin_along, taken_along, along.jump)
    after, after_along = stages.with_slopes(ended, given, directions)
    return after, after_along, _controlled(flow, after, lane, control, aim, begin.span, error, fine)


def _aim(field: Field, flow: _Flow, lane: Lane, control: _Control) -> _Aim:
    events, days = jnp.arange(len(lane.begin))[:, None], jnp.arange(len(lane.asked))[:, None]
    active = control.alive & (control.seen < len(days))
    passed = control.passed[None]
    event, row, segment = events == passed, days == control.seen[None], events == jnp.maximum(passed - 1, 0)
    next_event, next_row = _of(event, lane.begin, jnp.inf), _of(row, lane.asked)
    end = flow.t + control.step
    # Of two events on one day each has its own derivative: what flows between them must be known.
    still = ~active | ~control.known
    at_event = ~still & ((next_event <= jnp.minimum(next_row, end)) | (next_event <= flow.t))
    on_ln = jnp.array(field.in_log)[:, None] & (flow.x > 0) & ~control.fed
    at_row = ~still & ~at_event & (next_row <= end)
    return _Aim(active, still, at_event, at_row, event, row, segment, on_ln)


def _controlled(
    before: _Flow, flow: _Flow, lane: Lane, control: _Control, aim: _Aim, span: Any, error: Any, fine: Any
) -> _Control:
    """What the next step is to know."""
    t, last = flow.t, lane.asked[-1]
    days = jnp.arange(len(lane.asked))[:, None]
    arrived = (fine & aim.at_row)[None] & (days >= control.seen[None]) & (lane.asked <= t[None])
    factor = jnp.clip(SAFETY * jnp.maximum(error, 1e-30) ** (-1 / ORDER), SHRINK, GROW)
    factor = jnp.where(jnp.isfinite(factor), factor, SHRINK)
    # A step that was ended early says little of the next.
    wanted = jnp.where(aim.at_event | aim.at_row, jnp.maximum(control.step, factor * span), factor * span)
    horizon = jnp.minimum(_of(aim.event, lane.begin, jnp.inf), last) - t
    fastest = jnp.max(jnp.abs(jnp.where(flow.x > 0, flow.f / jnp.where(flow.x > 0, flow.x, 1.0), 0.0)), axis=0)
    first = jnp.minimum(FIRST_SHARE * horizon, FIRST_CHANGE / jnp.maximum(fastest, 1e-300))
    step = jnp.where(fine, jnp.where(aim.still, first, wanted), jnp.minimum(factor, 0.9) * span)
    lost = aim.active & ~fine & (span <= SHORTEST * jnp.maximum(t, last))
    return _Control(
        jnp.where(aim.active, step, control.step),
        jnp.where(fine, ~aim.at_event, control.known),
        control.passed + (fine & aim.at_event),
        control.seen + jnp.sum(arrived, axis=0),
        control.alive & ~lost,
        jnp.where((fine & (span > 0))[None], _fed(before, flow), control.fed),
        arrived,
        control.count + 1,
    )


def _fed(before: _Flow, after: _Flow) -> Any:
    """(n, l) of growing states those whose growth f changed less over the step than their relative growth f/x.

    They are stepped as they are: what is fed from nothing has a long way to go in ln x.
    """
    by_itself = jnp.abs(after.f * before.x - before.f * after.x)
    change = jnp.abs(after.f - before.f) * jnp.maximum(after.x, before.x)
    return (after.f > 0) & (before.f > 0) & (change < 1.2 * by_itself)


def _of(which: Any, table: Any, otherwise: Any = 0.0) -> Any:
    """The one of the rows (s, ..., l) that ``which`` (s, 1 or more, l) marks; ``otherwise`` where none."""
    which = jnp.broadcast_to(which, table.shape)
    return jnp.where(jnp.any(which, axis=0), jnp.sum(jnp.where(which, table, 0.0), axis=0), otherwise)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def curve(field: Field, lane: Lane, setting: Setting) -> tuple[Any, Any]:
    """States on asked days (d, n) of one lane, and whether it arrived. Vmapped, lanes march together."""

    def together(lane: Lane, setting: Setting) -> tuple[Any, Any]:
        path, _, arrived = march(field, lane, setting)
        return path, arrived

    return _single(together)(lane, setting)


@curve.defjvp
def _forward(field: Field, primals: Any, tangents: Any) -> Any:
    path, slope, arrived = _in_one_direction(field)(*primals, tangents[0])
    return (path, arrived), (slope, np.zeros(np.shape(arrived), jax.dtypes.float0))


def _in_one_direction(field: Field) -> Callable[..., Any]:
    """(lane, setting, slopes of the lane) -> as `march`; vmapped over directions they are carried together."""
    several = _single(partial(march, field))

    def single(lane: Lane, setting: Setting, along: Lane) -> tuple[Any, ...]:
        path, slopes, arrived = several(lane, setting, jax.tree.map(lambda part: jnp.asarray(part)[None], along))
        return path, slopes[0], arrived

    def rule(size: int, flags: Any, lane: Lane, setting: Setting, along: Lane) -> tuple[Any, Any]:
        if any(jax.tree.leaves(flags[:2])):
            axes = jax.tree.map(lambda flag: 0 if flag else None, flags)
            lanes = jax.vmap(single, in_axes=axes, axis_size=size)
            return lanes(lane, setting, along), (True, True, True)
        wide = jax.tree.map(
            lambda part, flag: part if flag else jnp.broadcast_to(part, (size, *np.shape(part))), along, flags[2]
        )
        return several(lane, setting, wide), (False, True, False)

    return _with_rule(single, rule)


def _single(together: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays with lanes last as one of a single lane: however often it is vmapped, all lie together."""

    def rule(size: int, flags: Any, *given: Any) -> tuple[Any, Any]:
        lanes = jax.tree.leaves(given)[0].shape[-1]

        def merged(part: Any, flag: bool) -> Any:
            wide = jnp.moveaxis(part, 0, -2) if flag else jnp.repeat(part[..., None, :], size, axis=-2)
            return wide.reshape(*wide.shape[:-2], size * lanes)

        results = of_lanes(*jax.tree.map(merged, given, flags))
        split = tuple(jnp.moveaxis(part.reshape(*part.shape[:-1], size, lanes), -2, 0) for part in results)
        return split, (True,) * len(split)

    of_lanes = _with_rule(together, rule)

    def single(*given: Any) -> Any:
        lanes = of_lanes(*jax.tree.map(lambda part: jnp.asarray(part)[..., None], given))
        return tuple(part[..., 0] for part in lanes)

    return single


def _with_rule(function: Callable[..., Any], rule: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its own rule of batching: (size, flags as the arguments, *arguments) -> results, flags."""

    def run(*given: Any) -> Any:
        # As a list: batching rules take no structure with None in it.
        leaves, tree = jax.tree.flatten(given)

        @jax.custom_batching.custom_vmap
        def of_leaves(*leaves: Any) -> Any:
            return function(*jax.tree.unflatten(tree, leaves))

        @of_leaves.def_vmap
        def of_lanes(size: int, flags: Sequence[bool], *leaves: Any) -> Any:
            if not any(flags):
                # Asked by derivatives of derivatives, whose directions alone are batched.
                results = function(*jax.tree.unflatten(tree, leaves))
                return results, jax.tree.map(lambda _: False, results)
            return rule(size, jax.tree.unflatten(tree, flags), *jax.tree.unflatten(tree, leaves))

        return of_leaves(*leaves)

    return run
