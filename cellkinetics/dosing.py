"""Doses as the solver takes them: event times and amounts, one column a channel, padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from cellkinetics.errors import ModelError, suggest

Array = jax.Array | npt.NDArray[np.float64]
DoseLike = "Doses | float | Sequence[tuple[float, float]] | Mapping[str, float | Sequence[tuple[float, float]]]"


class Doses(NamedTuple):
    """Events in the order of their times; a padded slot has time inf and amount 0.

    times : (m,) days since the first infusion; the first event is at day 0 (of amount 0 if nothing is given then).
    amounts : (m, c) one column a channel of the model's ``dosing``, in its order and unit.
    """

    times: Array
    amounts: Array


def as_doses(doses: object, channels: Sequence[str]) -> Doses:
    """Read what a user gives as doses.

    Parameters
    ----------
    doses
        a number (one infusion of cells at day 0), a list of (day, amount) pairs,
        or a dictionary {channel: either of these}; None for no dose at all.
    channels : names of what the model takes, cells first.

    Raises
    ------
    ModelError
        A channel that the model does not have, a negative or non-finite day or amount.
    """
    if isinstance(doses, Doses):
        return doses
    if not channels:
        # A model that names no dose: what was given is carried by the study and does not reach the curve.
        return Doses(np.zeros(1), np.zeros((1, 0)))
    given: Mapping[str, Any] = doses if isinstance(doses, Mapping) else {} if doses is None else {channels[0]: doses}
    events: dict[float, npt.NDArray[np.float64]] = {0.0: np.zeros(len(channels))}
    for channel, value in given.items():
        if channel not in channels:
            raise ModelError(
                f"there is no dosing channel {channel!r}; the model has {', '.join(channels)}. "
                f"{suggest(str(channel), channels)}",
                name=str(channel),
            )
        for day, amount in _pairs(str(channel), value):
            if not (np.isfinite(day) and np.isfinite(amount) and day >= 0 and amount >= 0):
                raise ModelError(
                    f"dose of {channel}: day {day:g}, amount {amount:g}. Both must be finite and not negative; "
                    "days count from the first infusion.",
                    name=str(channel),
                )
            events.setdefault(day, np.zeros(len(channels)))[list(channels).index(channel)] += amount
    times = np.array(sorted(events))
    return padded(Doses(times, np.array([events[time] for time in times]).reshape(len(times), len(channels))))


def _pairs(channel: str, value: Any) -> list[tuple[float, float]]:
    try:
        pairs = [(0.0, value)] if np.ndim(value) == 0 else value
        return [(float(day), float(amount)) for day, amount in pairs]
    except (TypeError, ValueError):
        text = f"doses of {channel} are {value!r}. Give a number, or (day, amount) pairs such as [(0, 1e6), (7, 1e6)]."
        raise ModelError(text, name=channel) from None


def padded(doses: Doses) -> Doses:
    """Fill up to a power of two, so that patients with 3 and with 4 infusions share one compiled program."""
    count = len(doses.times)
    slots = 1 << (count - 1).bit_length()
    times, amounts = np.full(slots, np.inf), np.zeros((slots, doses.amounts.shape[1]))
    times[:count], amounts[:count] = doses.times, doses.amounts
    return Doses(times, amounts)
