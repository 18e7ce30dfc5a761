"""Doses as the solver takes them: event times and amounts, one column a channel, padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from cellkinetics.errors import ModelError, suggest

Array = jax.Array | npt.NDArray[np.float64]
NOTHING_ACTS: Mapping[str, float] = MappingProxyType({})


class Doses(NamedTuple):
    """Events in the order of their times; a padded slot has time inf and amount 0.

    times
        (m,) days since the first infusion. One event is at day 0 (of amount 0 if nothing is given then); only
        markers, such as a lymphodepletion, come before it.
    amounts : (m, c) one column a channel of the model (`Model.channels`), in its unit.
    rates
        (m, c) change of the infusion rate at the event, amount per day, and of how many administrations of a
        comedication act; None where everything is a bolus.
    """

    times: Array
    amounts: Array
    rates: Array | None = None


def as_doses(
    doses: object, channels: Sequence[str], markers: Sequence[str] = (), acting: Mapping[str, float] = NOTHING_ACTS
) -> Doses:
    """Read what a user gives as doses.

    Parameters
    ----------
    doses
        a number (one bolus of cells at day 0), a list of (day, amount) pairs or (day, amount, days of infusion)
        triples, or a dictionary {channel: either of these}; None for no dose at all.
    channels : names of what the model takes, cells first.
    markers : those of them that only mark a day and may come before the first infusion.
    acting
        {channel: days that one acts} of comedication, which enters no state and may come before the first infusion.
        Days that are given with an event, infinite ones among them, are the days that it acts instead.

    Raises
    ------
    ModelError
        A channel that the model does not have, a negative or non-finite day, amount or duration.
    """
    if isinstance(doses, Doses):
        return doses
    if not channels:
        if doses is not None and not isinstance(doses, Mapping):
            as_doses(doses, ("cells",))  # refused as elsewhere where it can be no dose
        # A model that names no dose: what was given is carried by the study and does not reach the curve.
        return Doses(np.zeros(1), np.zeros((1, 0)))
    given: Mapping[str, Any] = doses if isinstance(doses, Mapping) else {} if doses is None else {channels[0]: doses}
    if {*channels} <= {*acting}:
        # As above, of all but the comedication.
        cells = given.get("cells") if isinstance(doses, Mapping) else doses
        as_doses(cells, ("cells",))
        given = {what: value for what, value in given.items() if what != "cells"} if isinstance(doses, Mapping) else {}
    amounts: dict[float, npt.NDArray[np.float64]] = {0.0: np.zeros(len(channels))}
    changes: dict[float, npt.NDArray[np.float64]] = {}
    for channel, value in given.items():
        if channel not in channels:
            remedy = suggest(str(channel), channels)
            if isinstance(channel, Real):
                remedy = f"Give days as pairs: doses=[({channel:g}, amount), ...], or {{{channels[0]!r}: [...]}}."
            raise ModelError(
                f"there is no dosing channel {channel!r}; the model has {', '.join(channels)}. {remedy}".rstrip(),
                name=str(channel),
            )
        column = list(channels).index(channel)
        for day, amount, duration in _events(str(channel), value):
            early = day < 0 and channel not in (*markers, *acting)
            endless = channel in acting and np.isposinf(duration)
            if early or not np.all(np.isfinite([day, amount, 0 if endless else duration])) or min(amount, duration) < 0:
                raise ModelError(
                    f"dose of {channel}: day {day:g}, amount {amount:g}, over {duration:g} days. All must be finite "
                    "and not negative; days count from the first infusion.",
                    name=str(channel),
                )
            if channel in acting:
                # Counted, so that administrations one after the other, or side by side, are one that acts.
                for at, change in ((day, 1.0), (day + (duration or acting[channel]), -1.0)):
                    if amount > 0 and at < np.inf:
                        changes.setdefault(at, np.zeros(len(channels)))[column] += change
                continue
            if duration == 0:
                amounts.setdefault(day, np.zeros(len(channels)))[column] += amount
                continue
            for at, change in ((day, amount / duration), (day + duration, -amount / duration)):
                changes.setdefault(at, np.zeros(len(channels)))[column] += change
    times = np.array(sorted({*amounts, *(at for at, change in changes.items() if np.any(change))}))
    nothing = np.zeros(len(channels))
    return padded(
        Doses(
            times,
            np.array([amounts.get(time, nothing) for time in times]).reshape(len(times), len(channels)),
            np.array([changes.get(time, nothing) for time in times]) if changes else None,
        )
    )


def _events(channel: str, value: Any) -> list[tuple[float, float, float]]:
    """(day, amount, days of infusion), 0 days for a bolus."""
    try:
        # np.ndim alone has no answer for a list of pairs and triples.
        one = not isinstance(value, list | tuple) and np.ndim(value) == 0
        given: list[tuple[Any, ...]] = [(0.0, value)] if one else [tuple(event) for event in value]
        whole = [(*event, 0.0) if len(event) == 2 else event for event in given]
        if any(isinstance(part, (str, bytes, bool, np.bool_)) for event in whole for part in event):
            # float() would take them for numbers.
            raise TypeError
        return [(float(day), float(amount), float(duration)) for day, amount, duration in whole]
    except (TypeError, ValueError):
        text = (
            f"doses of {channel} are {value!r}. Give a number, or (day, amount) pairs such as [(0, 1e6), (7, 1e6)]; "
            "a third number is the duration of an infusion in days."
        )
        raise ModelError(text, name=channel) from None


def padded(doses: Doses) -> Doses:
    """Fill up to a power of two, so that patients with 3 and with 4 infusions share one compiled program."""
    count = len(doses.times)
    slots = 1 << (count - 1).bit_length()
    times, amounts = np.full(slots, np.inf), np.zeros((slots, doses.amounts.shape[1]))
    times[:count], amounts[:count] = doses.times, doses.amounts
    if doses.rates is None:
        return Doses(times, amounts)
    rates = np.zeros_like(amounts)
    rates[:count] = doses.rates
    return Doses(times, amounts, rates)
