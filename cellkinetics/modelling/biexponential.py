"""The decline that most published curves share: its value, the label of its rates, and start values from samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Floats


def decline(after: Any, alpha: Any, f_b: Any, beta: Any) -> jax.Array:
    """Share of the peak that is left: (1 - f_b) exp(-alpha after) + f_b exp(-beta after).

    Parameters
    ----------
    after : (n,) days since the peak, not negative; at 0 the share is 1.
    alpha, beta : rates, 1/day.
    f_b : share of the second phase, 0 to 1.
    """
    return (1 - f_b) * jnp.exp(-alpha * after) + f_b * jnp.exp(-beta * after)


def faster_first(values: Mapping[str, float]) -> Mapping[str, float]:
    """The same curve with the faster rate as alpha: a `Model.canonical`."""
    if values["alpha"] >= values["beta"]:
        return values
    return {**values, "alpha": values["beta"], "beta": values["alpha"], "f_b": 1 - values["f_b"]}


def rates(after: Floats, lost: Floats, *, fast: float = 21.0) -> dict[str, float]:
    """Start values of alpha and beta from samples after a peak, as far as there are any.

    Parameters
    ----------
    after : (n,) days since the peak.
    lost : (n,) ln(peak / sample).
    fast : days for which the first phase is taken to last.
    """
    guess = {}
    early, late = (after > 0) & (after <= fast), after > fast
    if early.any():
        guess["alpha"] = float(np.clip(np.median(lost[early] / after[early]), 0.02, 2.0))
    if len(np.unique(after[late])) > 1:
        slope = np.polyfit(after[late], lost[late], 1)[0]
        guess["beta"] = float(np.clip(slope, 5e-4, 0.1))
    return guess


def from_peak(days: Floats, values: Floats) -> dict[str, float]:
    """Start values of t_max and c_max from the highest sample, of alpha and beta from the slopes after it.

    Parameters
    ----------
    days, values : (n,) samples of one patient by day, as `Model.initial` gets them.
    """
    peak = int(np.argmax(values))
    t_max, c_max = max(float(days[peak]), 1.0), float(values[peak])
    return {"t_max": t_max, "c_max": c_max, **rates(days[peak + 1 :] - days[peak], np.log(c_max / values[peak + 1 :]))}
