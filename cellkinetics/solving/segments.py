"""From doses, lags and switches to the segments of a solve.

Every dose, every switch and every end of an infusion ends a segment, so that derivatives by a lag, a switch time or a
dose time are exact: a jump that the stepper does not know of costs them an eightfold error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from cellkinetics.modelling.dosing import Doses

if TYPE_CHECKING:
    from cellkinetics.modelling.model import Model


class Segments(NamedTuple):
    """Segments in the order of their begins; padded ones begin at inf.

    begin : (s,) days since the first infusion.
    amounts : (s, c) given at the begin, by channel.
    rates : (s, c) infused per day during the segment; None where everything is a bolus.
    since : (s, markers) day of the last event of each marker; 0 where there was none.
    phase : (s,) number of switches passed.
    acts : (s, comedications) 1 while it acts, 0 while not.
    """

    begin: jax.Array
    amounts: jax.Array
    rates: jax.Array | None
    since: jax.Array
    phase: jax.Array
    acts: jax.Array


def segments(model: Model, values: Mapping[str, Any], doses: Doses) -> Segments:
    """The segments of one patient at these parameters."""
    begin, amounts = jnp.asarray(doses.times, float), jnp.asarray(doses.amounts, float)
    changes = None if doses.rates is None else jnp.asarray(doses.rates, float)
    switched = jnp.zeros(len(begin), int)
    if model.lags or model.switches:
        begin, amounts, changes, switched = _merged(model, values, begin, amounts, changes)
    rates = None if changes is None else jnp.cumsum(changes, axis=0)
    marked = amounts[:, len(model.dosing) : len(model.dosing) + len(model.markers)] > 0
    last = jax.lax.cummax(jnp.where(marked & jnp.isfinite(begin)[:, None], begin[:, None], -jnp.inf), axis=0)
    since = jnp.where(jnp.isfinite(last), last, 0.0)
    columns = [model.channels.index(each.what) for each in model.comedication.values()]
    acts = jnp.zeros((len(begin), len(columns))) if rates is None else (rates[:, columns] > 0.5).astype(float)
    return Segments(begin, amounts, rates, since, jnp.cumsum(switched), acts)


def _merged(
    model: Model, values: Mapping[str, Any], times: jax.Array, amounts: jax.Array, changes: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array]:
    """Events with lagged channels moved and switches inserted, in order."""
    channels = model.channels
    on_time = jnp.array([channel not in model.lags for channel in channels], float)
    parts = [(times, on_time)]
    for channel, lag in model.lags.items():
        parts.append((times + values[lag], jnp.array([name == channel for name in channels], float)))
    begins = [part[0] for part in parts] + [jnp.reshape(jnp.asarray(values[name], float), 1) for name in model.switches]
    nothing = jnp.zeros((len(model.switches), len(channels)))
    begin = jnp.concatenate(begins)
    order = jnp.argsort(begin, stable=True)

    def arranged(table: jax.Array) -> jax.Array:
        return jnp.concatenate([*(table * part[1][None, :] for part in parts), nothing])[order]

    switched = jnp.concatenate([jnp.zeros(len(times) * len(parts), int), jnp.ones(len(model.switches), int)])[order]
    return begin[order], arranged(amounts), None if changes is None else arranged(changes), switched
