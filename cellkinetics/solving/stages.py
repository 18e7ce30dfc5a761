"""One step of `lockstep` in all lanes: an explicit Runge-Kutta method, and a linearly implicit one for stiff equations.

States and slopes are (n, lanes), with directions of derivatives (k, ...) before. A step is nothing but sums of products
that are differentiated as they stand, so that slopes are those of the numbers that it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Tableau(NamedTuple):
    """Of a method with s stages: weights (s, s) of the stages before, days (s,) of the step, weights (s,) of the error.

    mixed : (s, s), by_time : (s,) and diagonal of a linearly implicit method.
    """

    stages: Any
    nodes: Any
    error: Any
    mixed: Any = None
    by_time: Any = None
    diagonal: float = 0.0


def _lower(*rows: Sequence[float]) -> Any:
    """(s, s) from the rows below the first, each as long as there are stages before it."""
    table = np.zeros((len(rows) + 1, len(rows) + 1))
    for number, row in enumerate(rows, 1):
        table[number, : len(row)] = row
    return table


# Tsitouras Ch. Comput Math Appl 2011;62:770-5: fifth order with an embedded fourth; its last slope is the next first.
TSIT5 = Tableau(
    stages=_lower(
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
    ),
    nodes=np.array([0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0]),
    error=np.array([
        -0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629, 0.5823571654525552,
        -0.45808210592918697, 0.015151515151515152,
    ]),
)  # fmt: skip
# Rodas5P: Steinebach G. BIT Numer Math 2023;63:27. Fifth order, stiffly accurate: its last increment is the error. A
# ninth stage tells the slopes at the end.
_LAST = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)
RODAS5P = Tableau(
    stages=_lower(
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _LAST,
        (*_LAST, 1.0),
        (*_LAST, 1.0, 1.0),
        (*_LAST, 1.0, 1.0, 1.0),
    ),
    nodes=np.array([0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1, 1, 1, 1]),
    error=np.array([0, 0, 0, 0, 0, 0, 0, 1.0, 0]),
    mixed=_lower(
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
        (30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
         -28.087943162872662),
        (37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
         -54.66780262877968, -9.48861652309627),
        (),
    ),
    by_time=np.array([
        0.21193756319429014, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069,
        0, 0, 0, 0,
    ]),
    diagonal=0.21193756319429014,
)  # fmt: skip

# (days, y, what the step shares, parameters) -> slopes of y a day; all of lanes.
Slope = Callable[[Any, Any, Any, Any], Any]


class Taken(NamedTuple):
    """The end of a step: y, its slopes a day there, both (n, l)."""

    y: Any
    last: Any


def with_slopes(function: Callable[..., Any], given: tuple[Any, ...], along: tuple[Any, ...] | None) -> Any:
    """What it gives, and its slopes (k, ...) where there are any of what is given."""
    if along is None:
        return function(*given), None

    def pushed(*directions: Any) -> Any:
        return jax.jvp(function, given, directions)

    return jax.vmap(pushed, out_axes=(None, 0))(*along)


def explicit(slope: Slope, given: tuple[Any, Any], along: tuple[Any, Any] | None) -> tuple[Taken, Taken | None, Any]:
    """A step from what is ``given``: what it shares (see `lockstep`), whose first slopes are known, and parameters.

    Returns
    -------
    The end, its slopes by the directions ``along``, and the estimated error of y (n, l).
    """
    begin, nodes, weights, rows = given[0], jnp.array(TSIT5.nodes), jnp.array(TSIT5.stages), len(TSIT5.nodes)

    def stage(number: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        known, known_along = carry

        def at(summed: Any, begin: Any, values: Any) -> Any:
            y = begin.y + begin.span[None] * summed
            return slope(begin.t + nodes[number] * begin.span, y, begin, values)

        new = _stage(at, weights[number], known, known_along, given, along)
        return _put(known, new[0], number), None if along is None else _put(known_along, new[1], number)

    # The compiler computes again what is read twice unless a loop is between.
    known, known_along = _filled(begin, along, rows)
    known, known_along = jax.lax.fori_loop(1, rows, stage, (known, known_along))
    end, end_along = _stage(
        lambda summed, begin, _: begin.y + begin.span[None] * summed, TSIT5.stages[-1], known, known_along, given, along
    )
    error = jnp.abs(begin.span[None] * jnp.tensordot(TSIT5.error, known, 1))
    return Taken(end, known[-1]), None if along is None else Taken(end_along, known_along[-1]), error


def linearly_implicit(
    slope: Slope, given: tuple[Any, Any], along: tuple[Any, Any] | None
) -> tuple[Taken, Taken | None, Any]:
    """As `explicit`, with the derivatives of the slopes by y: long steps where what decays fast has decayed."""
    begin = given[0]
    stages, nodes, _, mixed, times, diagonal = map(jnp.array, RODAS5P)
    rows = len(nodes)

    def of_begin(begin: Any, values: Any) -> tuple[Any, Any]:
        def at(t: Any, y: Any) -> Any:
            return slope(t, y, begin, values)

        unit = jnp.eye(len(begin.y))[:, :, None]
        still, ways = jnp.zeros_like(begin.t), jnp.broadcast_to(unit, (len(begin.y), *begin.y.shape))
        by_y = jax.vmap(lambda way: jax.jvp(at, (begin.t, begin.y), (still, way))[1])(ways)
        by_t = jax.jvp(at, (begin.t, begin.y), (still + 1.0, jnp.zeros_like(begin.y)))[1]
        return _inverse(unit - diagonal * begin.span[None, None] * jnp.swapaxes(by_y, 0, 1)), by_t

    shared, shared_along = with_slopes(of_begin, given, along)

    def stage(number: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        known, known_along = carry
        last = number == rows - 1

        def at(summed: Any, begin: Any, values: Any, shared: Any) -> Any:
            inverse, by_t = shared
            found = slope(begin.t + nodes[number] * begin.span, begin.y + summed[0], begin, values)
            span = begin.span[None]
            right = diagonal * (span * (found + span * times[number] * by_t) + summed[1])
            return jnp.where(last, found, jnp.sum(inverse * right[None], axis=1))

        weights = jnp.stack([stages[number], mixed[number]])
        wide = (*given, shared), None if along is None else (*along, shared_along)
        new = _stage(at, weights, known, known_along, *wide)
        return _put(known, new[0], number), None if along is None else _put(known_along, new[1], number)

    known, known_along = _filled(begin, along, rows, first=False)
    known, known_along = jax.lax.fori_loop(0, rows, stage, (known, known_along))
    end, end_along = _stage(
        lambda summed, begin, _: begin.y + summed, RODAS5P.stages[-1], known, known_along, given, along
    )
    return (
        Taken(end, known[-1]),
        None if along is None else Taken(end_along, known_along[-1]),
        jnp.abs(jnp.tensordot(RODAS5P.error, known, 1)),
    )


def _stage(
    at: Callable[..., Any], weights: Any, known: Any, known_along: Any, given: tuple[Any, ...], along: Any
) -> tuple[Any, Any]:
    """At the weighted sum of what is known: a value, and its slopes."""
    summed = jnp.tensordot(weights, known, 1)
    if along is None:
        return at(summed, *given), None
    # Of several rows of weights: directions come first.
    ahead = jnp.moveaxis(jnp.tensordot(weights, known_along, 1), np.ndim(weights) - 1, 0)
    return with_slopes(at, (summed, *given), (ahead, *along))


def _filled(begin: Any, along: Any, rows: int, *, first: bool = True) -> tuple[Any, Any]:
    """Tables of stages (rows, n, l) and (rows, k, n, l), of which the first is known or none."""
    known = jnp.zeros((rows, *begin.y.shape))
    known = known.at[0].set(begin.first) if first else known
    if along is None:
        return known, None
    known_along = jnp.zeros((rows, *along[0].y.shape))
    return known, known_along.at[0].set(along[0].first) if first else known_along


def _put(table: Any, row: Any, number: Any) -> Any:
    return jax.lax.dynamic_update_index_in_dim(table, row, number, 0)


@jax.custom_jvp
def _inverse(matrix: Any) -> Any:
    """The inverses of (n, n, l), by elimination over the columns; not finite where there is none."""
    size = len(matrix)
    unit = jnp.broadcast_to(jnp.eye(size)[:, :, None], matrix.shape)

    def column(number: Any, table: Any) -> Any:
        pivot = jax.lax.dynamic_index_in_dim(table, number, 0)
        at = jax.lax.dynamic_index_in_dim(pivot, number, 1)
        row = pivot / at
        others = jax.lax.dynamic_index_in_dim(table, number, 1)
        table = table - others * row
        return jax.lax.dynamic_update_index_in_dim(table, row[0], number, 0)

    return jax.lax.fori_loop(0, size, column, jnp.concatenate([matrix, unit], axis=1))[:, size:]


@_inverse.defjvp
def _(primals: Any, tangents: Any) -> Any:
    inverse = _inverse(primals[0])
    return inverse, -jnp.einsum("ijl,jkl,kml->iml", inverse, tangents[0], inverse)
