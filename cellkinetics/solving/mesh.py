"""Panels for the structured solve: where a curve is cut into pieces that Gauss-Legendre nodes resolve.

Edges come from data alone: every observation, every event, and steps that grow with the time since the last event.
`mesh` makes them in numpy from numbers; `traced_mesh` makes them in JAX, for times or doses that are differentiated.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Floats
from cellkinetics.modelling.dosing import Doses

CELL_EVENTS, RIMIDUCID, LYMPHODEPLETION = range(3)
# A step is at most max(first, ratio x time since the last event). A switch drug acts within hours: its own first step.
# One row a fineness; measured by tests/benchmarks/structured_accuracy.py. The last is for searches: less than half of
# the work, and errors of ln C of 1e-5 (median) and 2e-2 (p99) where it trusts itself, at log-SD 0.5 of all parameters.
PANEL_STEPS = ((0.5, 0.2), (0.25, 0.125), (0.05, 0.03), (2.0, 0.6))
FIRST_AFTER_RIMIDUCID = (0.05, 0.025, 0.0125, 0.1)
NODES = (6, 8, 10, 4)
MULTIPLE = 8
HORIZON = 3650.0


class Mesh(NamedTuple):
    """Panels of one patient; panels of length 0 at the end are padding.

    length : (p,) days.
    clock : (p,) days since the last lymphodepletion, at the start of each panel.
    cells, rimiducid : (p + 1,) amounts given at each edge.
    row : (n,) edge of each observation; -1 before day 0.
    """

    length: Any
    clock: Any
    cells: Any
    rimiducid: Any
    row: Any


class Rule(NamedTuple):
    """Gauss-Legendre on [0, 1].

    nodes, weights : (k,).
    partial : (k, k) the j-th row integrates from 0 to the j-th node the polynomial through the nodes.
    ends : (2, k) values at 0 and at 1 of the polynomial through the nodes.
    """

    nodes: Floats
    weights: Floats
    partial: Floats
    ends: Floats


@lru_cache(maxsize=16)
def rule(count: int) -> Rule:
    """The rule with ``count`` nodes."""
    x, w = np.polynomial.legendre.leggauss(count)
    values = np.polynomial.legendre.legvander(x, count)
    below = np.column_stack([-np.ones(count), values[:, :-2]])
    # The polynomial through f at the nodes is sum_k P_k (k + 1/2) sum_i w_i P_k(x_i) f_i; the integral of P_k is
    # (P_{k+1} - P_{k-1}) / (2 k + 1), with P_{-1} = -1.
    partial = 0.25 * (values[:, 1:] - below) @ (values[:, :-1] * w[:, None]).T
    at_ends = np.polynomial.legendre.legvander(np.array([-1.0, 1.0]), count - 1)
    ends = at_ends @ ((np.arange(count) + 0.5)[:, None] * values[:, :-1].T * w)
    return Rule((x + 1) / 2, w / 2, partial, ends)


def mesh(times: npt.ArrayLike, doses: Doses, fineness: int = 0, panels: int = 0) -> Mesh:
    """Panels for numbers.

    Parameters
    ----------
    times : (n,) days, in any order.
    doses
        amounts (m, 2 or 3) of cells, rimiducid and lymphodepletion; only a lymphodepletion may lie before day 0.
    fineness : 0, 1 or 2.
    panels : at least so many panels, so that patients share one program; always a multiple of 8.

    Raises
    ------
    ValueError
        Cells or rimiducid before day 0.
    """
    times = np.asarray(times, float)
    given = np.isfinite(doses.times)
    events, amounts = np.asarray(doses.times)[given], _three(np.asarray(doses.amounts)[given], np)
    if np.any(amounts[events < 0, :LYMPHODEPLETION] > 0):
        raise ValueError("cells or rimiducid before day 0. Count days from the first infusion.")
    end = max(times.max(initial=0.0), 0.0)
    starts = np.unique(np.append(events[(events >= 0) & (events <= end)], 0.0))
    seen = times[(times > 0) & (times <= end)]
    hard = np.unique(np.concatenate([starts, seen]))
    switched = set(events[amounts[:, RIMIDUCID] > 0])
    edges, since = [0.0], 0.0
    for begin, stop in pairwise(hard):
        since = begin if begin in starts else since
        edges.extend(_graded(begin, stop, since, fineness, since in switched))
    count = max(MULTIPLE * -(-max(panels, len(edges) - 1) // MULTIPLE), MULTIPLE)
    edges = np.append(edges, np.full(count + 1 - len(edges), edges[-1]))
    restarts = events[amounts[:, LYMPHODEPLETION] > 0]
    last = np.searchsorted(restarts, edges[:-1], side="right") - 1
    clock = edges[:-1] - np.where(last >= 0, np.append(restarts, 0.0)[last], 0.0)
    at_edge = np.zeros((count + 1, 3))
    here = (events >= 0) & (events <= end)
    np.add.at(at_edge, np.searchsorted(edges, events[here]), amounts[here])
    row = np.where(times < 0, -1, np.searchsorted(edges, times))
    return Mesh(np.diff(edges), clock, at_edge[:, CELL_EVENTS], at_edge[:, RIMIDUCID], row)


def panels(on: Mesh) -> int:
    """How many panels a mesh has, padding included."""
    return len(on.length)


def _graded(begin: float, stop: float, since: float, fineness: int, switched: bool) -> Floats:
    """Edges after ``begin`` up to ``stop``."""
    first, ratio = PANEL_STEPS[fineness]
    first = FIRST_AFTER_RIMIDUCID[fineness] if switched else first
    points = [begin]
    while points[-1] < stop:
        points.append(points[-1] + max(first, ratio * (points[-1] - since)))
    grown = np.array(points[1:])
    edges = begin + (grown - begin) * ((stop - begin) / (grown[-1] - begin))
    edges[-1] = stop
    return edges


def traced_mesh(times: jax.Array, doses: Doses, fineness: int = 0) -> Mesh:
    """The same in JAX; the number of panels depends on the lengths of ``times`` and ``doses`` alone.

    Every event starts a ladder of steps that reaches ten years; those after the next event or the last observation
    have length 0. What is given before day 0 is left out, a lymphodepletion excepted.
    """
    events, amounts = jnp.asarray(doses.times), _three(jnp.asarray(doses.amounts), jnp)
    end = jnp.maximum(jnp.max(times), 0.0)
    ladder = jnp.asarray(_ladder(fineness))
    # A ladder a slot, up to the next event, and one from day 0 to the first.
    starts = jnp.append(jnp.clip(events, 0.0, end), 0.0)
    stops = jnp.append(jnp.append(starts[1:-1], end), starts[0])
    rungs = jnp.minimum(starts[:, None] + ladder[None], stops[:, None]).ravel()
    edges = jnp.sort(jnp.concatenate([starts, rungs, jnp.clip(times, 0.0, end), end[None]]))
    restart = (amounts[None, :, LYMPHODEPLETION] > 0) & (events[None] <= edges[:-1, None])
    last = jnp.max(jnp.where(restart, events[None], -jnp.inf), axis=1)
    clock = edges[:-1] - jnp.where(jnp.isfinite(last), last, 0.0)
    inside = (events >= 0) & (events <= end)
    at = jnp.searchsorted(edges, jnp.where(inside, events, 0.0))
    at_edge = jnp.zeros((len(edges), 3)).at[at].add(jnp.where(inside[:, None], amounts, 0.0))
    row = jnp.searchsorted(edges, times, side="right") - 1
    return Mesh(jnp.diff(edges), clock, at_edge[:, CELL_EVENTS], at_edge[:, RIMIDUCID], jnp.where(times < 0, -1, row))


@lru_cache(maxsize=8)
def _ladder(fineness: int) -> Floats:
    """Steps after an event that may be a switch drug, up to ten years."""
    ratio, step = PANEL_STEPS[fineness][1], FIRST_AFTER_RIMIDUCID[fineness]
    rungs = [step]
    while rungs[-1] < HORIZON:
        rungs.append(rungs[-1] + max(step, ratio * rungs[-1]))
    return np.array(rungs)


def _three(amounts: Any, xp: Any) -> Any:
    """Amounts with a column of lymphodepletion, 0 where the model has no such channel."""
    missing = LYMPHODEPLETION + 1 - amounts.shape[1]
    return xp.concatenate([amounts, xp.zeros((amounts.shape[0], missing))], axis=1)
