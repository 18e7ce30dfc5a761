"""An explicit stepper for many lanes: every lane has its own step and error control, and all take a step together.

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

# Tsitouras Ch. Comput Math Appl 2011;62:770-5: fifth order with an embedded fourth, first slope of a step last of the
# one before.
NODES = np.array([0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0])
STAGES = np.zeros((7, 7))
STAGES[1, :1] = 0.161
STAGES[2, :2] = -0.008480655492356989, 0.335480655492357
STAGES[3, :3] = 2.8971530571054935, -6.359448489975075, 4.3622954328695815
STAGES[4, :4] = 5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525
STAGES[5, :5] = 5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383
STAGES[6, :6] = (
    0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774,
)  # fmt: skip
ERROR = np.array([
    -0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629, 0.5823571654525552,
    -0.45808210592918697, 0.015151515151515152,
])  # fmt: skip
ORDER = 5
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
FIRST_SHARE, FIRST_CHANGE = 1e-3, 0.02  # of the segment, and relative change of a state, that a first step may span
SHORTEST = 1e-14  # of the days already passed, or of the segment: a step below is a failure
LEAST = 1e-100  # of its scale: a state below is held there


class Course(NamedTuple):
    """What a lane's curve depends on and may be differentiated by; ``(..., lanes)`` inside the stepper.

    values : {name: ()} of parameters. start : (n,) states on day 0. asked : (d,) days in order, none before 0.
    begin : (s,) of segments, 0 and later. jump : (s, n) what is added there. infused : (s, n) a day; None for boluses.
    since : (s, markers).
    """

    values: Any
    start: Any
    asked: Any
    begin: Any
    jump: Any
    infused: Any
    since: Any


class Setting(NamedTuple):
    """What is not differentiated by.

    phase : (s,). scale : (n,) of each state. courses : covariates. rtol : () of ln x. most : () steps.
    """

    phase: Any
    scale: Any
    courses: Any
    rtol: Any
    most: Any


class Field(NamedTuple):
    """The equations: slopes(t, states, values, since, phase, infused, courses) -> (n,) a day; which are in ln x."""

    slopes: Callable[..., Any]
    in_log: tuple[bool, ...]


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


def march(field: Field, course: Course, setting: Setting, along: Course | None = None) -> tuple[Any, Any, Any]:
    """States on asked days (d, n, l), their slopes (k, d, n, l) or None, and which lanes arrived (l,).

    ``course`` and ``setting`` have lanes as their last axis; slopes ``along`` have directions before all others.
    """
    days, lanes = course.asked.shape
    nothing, none = jnp.zeros(lanes), jnp.zeros(lanes, int)
    flow = _Flow(nothing, course.start, jnp.zeros_like(course.start))
    path, slopes, paths = jnp.zeros((days, *course.start.shape)), None, None
    if along is not None:
        width = len(along.asked)
        slopes = jax.tree.map(lambda part: jnp.zeros((width, *part.shape)), flow)._replace(x=along.start)
        paths = jnp.zeros((width, *path.shape))
    control = _Control(
        nothing, jnp.zeros(lanes, bool), none, none, jnp.ones(lanes, bool), jnp.zeros_like(course.start, bool),
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
        flow, slopes, control = _step(field, flow, slopes, course, along, setting, control)
        return flow, slopes, path, paths, control

    carry = jax.lax.while_loop(going, body, (flow, slopes, path, paths, control))
    control = carry[-1]
    return *recorded(carry), control.alive & (control.seen >= days)


def _with_slopes(function: Callable[..., Any], given: tuple[Any, ...], along: tuple[Any, ...] | None) -> Any:
    """What it gives, and its slopes (k, ...) where there are any of what is given."""
    if along is None:
        return function(*given), None

    def pushed(*directions: Any) -> Any:
        return jax.jvp(function, given, directions)

    return jax.vmap(pushed, out_axes=(None, 0))(*along)


def _step(
    field: Field,
    flow: _Flow,
    slopes: _Flow | None,
    course: Course,
    along: Course | None,
    setting: Setting,
    control: Any,
) -> tuple[_Flow, _Flow | None, _Control]:
    """One step of every lane."""
    aim, in_log = _aim(field, flow, course, control), jnp.array(field.in_log)[:, None]
    scale, sloped = setting.scale, along is not None

    def begun(flow: _Flow, course: Course) -> _Begin:
        t = jnp.where(aim.at_event, _of(aim.event, course.begin), flow.t + jnp.where(aim.still, 0.0, control.step))
        t = jnp.where(aim.at_row, _of(aim.row, course.asked), t)
        held = jnp.where(aim.on_ln, jnp.maximum(flow.x, LEAST * scale), scale)
        y = jnp.where(aim.on_ln, jnp.log(held / scale), flow.x / scale)
        infused = None if course.infused is None else _of(aim.segment[:, None], course.infused)
        return _Begin(flow.t, t - flow.t, y, flow.f / held, _of(aim.segment[:, None], course.since), infused)

    begin, begin_along = _with_slopes(begun, (flow, course), (slopes, along) if sloped else None)
    phase = _of(aim.segment, setting.phase)
    equations = jax.vmap(field.slopes, in_axes=-1, out_axes=-1)
    nodes, stages = jnp.array(NODES), jnp.array(STAGES)

    def natural(y: Any) -> Any:
        return scale * jnp.where(aim.on_ln, jnp.exp(jnp.where(aim.on_ln, jnp.maximum(y, np.log(LEAST)), 0.0)), y)

    def point(begin: _Begin, sum_of: Any) -> Any:
        return begin.y + begin.span[None] * sum_of

    def stage(number: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        known, known_along = carry

        def slope(begin: _Begin, sum_of: Any, values: Any) -> Any:
            x, t = natural(point(begin, sum_of)), begin.t + nodes[number] * begin.span
            found = equations(t, x, values, begin.since, phase, begin.infused, setting.courses)
            return found / jnp.where(aim.on_ln, x, scale)

        weights = stages[number]
        given = (begin, jnp.tensordot(weights, known, 1), course.values)
        directions = (begin_along, jnp.tensordot(weights, known_along, 1), along.values) if along else None
        new, new_along = _with_slopes(slope, given, directions)
        return _put(known, new, number), _put(known_along, new_along, number) if sloped else None

    none = jnp.zeros((len(NODES), *flow.x.shape)).at[0].set(begin.first)
    none_along = jnp.zeros((len(NODES), *slopes.x.shape)).at[0].set(begin_along.first) if slopes is not None else None
    known, known_along = jax.lax.fori_loop(1, len(NODES), stage, (none, none_along))
    # A second event of a day comes before its slopes are learnt. It takes no time, but its day moves x by them.
    known = _put(known, jnp.where(control.known[None], known[0], known[1]), 0)

    sum_of = jnp.tensordot(STAGES[-1], known, 1)
    y = point(begin, sum_of)
    error = jnp.abs(begin.span[None] * jnp.tensordot(ERROR, known, 1))
    size = jnp.maximum(jnp.abs(begin.y), jnp.abs(y))
    # What grows from nothing is as exact as what it becomes.
    allowed = setting.rtol[None] * jnp.where(in_log & ~aim.on_ln, jnp.maximum(size, LEAST), 1.0 + size)
    error = jnp.sqrt(jnp.mean((error / allowed) ** 2, axis=0))
    fine = aim.active & (error <= 1.0)

    def ended(flow: _Flow, begin: _Begin, sum_of: Any, last: Any, jump: Any) -> _Flow:
        x = natural(point(begin, sum_of))
        f = last * jnp.where(aim.on_ln, x, scale)
        x = jnp.where(aim.at_event[None], x + _of(aim.event[:, None], jump), x)
        new = _Flow(begin.t + begin.span, x, f)
        t, *others = (
            jnp.where(fine, new.t, flow.t),
            *(jnp.where(fine[None], *pair) for pair in zip(new[1:], flow[1:], strict=True)),
        )
        return _Flow(t, *others)

    given, directions = (flow, begin, sum_of, known[-1], course.jump), None
    if along is not None:
        directions = (slopes, begin_along, jnp.tensordot(STAGES[-1], known_along, 1), known_along[-1], along.jump)
    after, after_along = _with_slopes(ended, given, directions)
    return after, after_along, _controlled(flow, after, course, control, aim, begin.span, error, fine)


def _put(table: Any, row: Any, number: Any) -> Any:
    return jax.lax.dynamic_update_index_in_dim(table, row, number, 0)


def _aim(field: Field, flow: _Flow, course: Course, control: _Control) -> _Aim:
    events, days = jnp.arange(len(course.begin))[:, None], jnp.arange(len(course.asked))[:, None]
    active = control.alive & (control.seen < len(days))
    passed = control.passed[None]
    event, row, segment = events == passed, days == control.seen[None], events == jnp.maximum(passed - 1, 0)
    next_event, next_row = _of(event, course.begin, jnp.inf), _of(row, course.asked)
    end = flow.t + control.step
    at_event = active & ((control.known & (next_event <= jnp.minimum(next_row, end))) | (next_event <= flow.t))
    still = ~active | ~(control.known | at_event)
    on_ln = jnp.array(field.in_log)[:, None] & (flow.x > 0) & ~control.fed
    at_row = ~still & ~at_event & (next_row <= end)
    return _Aim(active, still, at_event, at_row, event, row, segment, on_ln)


def _controlled(
    before: _Flow, flow: _Flow, course: Course, control: _Control, aim: _Aim, span: Any, error: Any, fine: Any
) -> _Control:
    """What the next step is to know."""
    t, last = flow.t, course.asked[-1]
    days = jnp.arange(len(course.asked))[:, None]
    arrived = (fine & aim.at_row)[None] & (days >= control.seen[None]) & (course.asked <= t[None])
    factor = jnp.clip(SAFETY * jnp.maximum(error, 1e-30) ** (-1 / ORDER), SHRINK, GROW)
    factor = jnp.where(jnp.isfinite(factor), factor, SHRINK)
    # A step that was ended early says little of the next.
    wanted = jnp.where(aim.at_event | aim.at_row, jnp.maximum(control.step, factor * span), factor * span)
    horizon = jnp.minimum(_of(aim.event, course.begin, jnp.inf), last) - t
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
def curve(field: Field, course: Course, setting: Setting) -> tuple[Any, Any]:
    """States on asked days (d, n) of one lane, and whether it arrived. Vmapped, lanes march together."""

    def together(course: Course, setting: Setting) -> tuple[Any, Any]:
        path, _, arrived = march(field, course, setting)
        return path, arrived

    return _single(together)(course, setting)


@curve.defjvp
def _forward(field: Field, primals: Any, tangents: Any) -> Any:
    path, slope, arrived = _in_one_direction(field)(*primals, tangents[0])
    return (path, arrived), (slope, np.zeros(np.shape(arrived), jax.dtypes.float0))


def _in_one_direction(field: Field) -> Callable[..., Any]:
    """(course, setting, slopes of the course) -> as `march`; vmapped over directions they are carried together."""
    several = _single(partial(march, field))

    def single(course: Course, setting: Setting, along: Course) -> tuple[Any, ...]:
        path, slopes, arrived = several(course, setting, jax.tree.map(lambda part: jnp.asarray(part)[None], along))
        return path, slopes[0], arrived

    def rule(size: int, flags: Any, course: Course, setting: Setting, along: Course) -> tuple[Any, Any]:
        if any(jax.tree.leaves(flags[:2])):
            axes = jax.tree.map(lambda flag: 0 if flag else None, flags)
            lanes = jax.vmap(single, in_axes=axes, axis_size=size)
            return lanes(course, setting, along), (True, True, True)
        wide = jax.tree.map(
            lambda part, flag: part if flag else jnp.broadcast_to(part, (size, *np.shape(part))), along, flags[2]
        )
        return several(course, setting, wide), (False, True, False)

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
