"""The decline that most published curves share: its value, the label of its rates, and start values from samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.modelling.functions import Function
from cellkinetics.modelling.parameter import Parameter
from cellkinetics.modelling.structure import Equations

SLOWEST_RATE, FASTEST_RATE = 5e-4, 10.0  # rates of start values, 1/day
LEAST_SHARE, LARGEST_SHARE = 1e-4, 0.9  # shares of a second phase
DROP = 3.0  # 1/day, of a loss before the next sample


def decline(after: Any, alpha: Any, f_b: Any, beta: Any) -> jax.Array:
    """Share of the peak that is left: (1 - f_b) exp(-alpha after) + f_b exp(-beta after).

    Parameters
    ----------
    after : (n,) days since the peak, not negative; at 0 the share is 1.
    alpha, beta : rates, 1/day.
    f_b : share of the second phase, 0 to 1.
    """
    return (1 - f_b) * jnp.exp(-alpha * after) + f_b * jnp.exp(-beta * after)


def two_parts(falls: Any, growth: Any, first: Any, second: Any, alpha: Any, beta: Any) -> tuple[jax.Array, jax.Array]:
    """Derivatives per day of the two parts of the decline, which grow at one rate until it begins: for `Equations`.

    Parameters
    ----------
    falls : whether the decline has begun.
    growth, alpha, beta : rates, 1/day.
    first, second : the parts, whose sum is the curve.
    """
    return jnp.where(falls, -alpha, growth) * first, jnp.where(falls, -beta, growth) * second


def from_fold(observe: Function, rho: Parameter) -> Equations:
    """`Equations` of a rise by ``fold`` from day 0 to ``c_max`` on day ``t_max``, and the decline in `two_parts` of it.

    Parameters
    ----------
    observe : what is seen of ``first`` and ``second``, the parts of the decline.
    rho : the growth rate, 1/day, with its default and source; tied to ln(fold)/t_max.
    """

    def rhs(phase: Any, first: Any, second: Any, rho: Any, alpha: Any, beta: Any) -> tuple[jax.Array, jax.Array]:
        return two_parts(phase > 0, rho, first, second, alpha, beta)

    return Equations(
        states=("first", "second"),
        rhs=rhs,
        observe=observe,
        start={
            "first": lambda c_max, fold, f_b: (1 - f_b) * c_max / fold,
            "second": lambda c_max, fold, f_b: f_b * c_max / fold,
        },
        switches=("t_max",),
        parameters={"rho": rho},
        ties={"rho": lambda fold, t_max: jnp.log(fold) / t_max},
    )


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


class Lines(NamedTuple):
    """Least-squares lines through samples i to j - 1 of n, each (n + 1, n + 1): slope, value at day 0, squares left.

    Of fewer than two days NaN, and infinite squares.
    """

    slope: Floats
    level: Floats
    squares: Floats

    def at(self, begin: Ints, end: Ints, day: Floats) -> tuple[Floats, Floats]:
        """Of some lines (m,), the value on a day and the rate of loss."""
        slope = self.slope[begin, end]
        return self.level[begin, end] + slope * day, np.clip(-slope, SLOWEST_RATE, FASTEST_RATE)

    def cuts(self, begin: Ints) -> Ints:
        """(m, n + 1) where two lines through the samples from ``begin`` (m,) on are best divided, the best first."""
        places = np.arange(len(self.slope))
        squares = self.squares[begin] + self.squares[:, -1]
        return np.argsort(np.where(places >= begin[:, None] + 2, squares, np.inf), axis=1, kind="stable")


def lines(days: Floats, logs: Floats) -> Lines:
    """All of them at once, from running sums: of 15 samples there are 105."""
    sums = np.cumsum([days**0, days, logs, days**2, days * logs, logs**2], axis=1)
    sums = np.concatenate([np.zeros((6, 1)), sums], axis=1)
    count, d, y, dd, dy, yy = sums[:, None, :] - sums[:, :, None]
    apart = count * dd - d**2
    known = (count > 1) & (apart > 1e-9 * count * dd)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(known, (count * dy - d * y) / apart, np.nan)
        level = (y - slope * d) / count
    squares = np.where(known, np.maximum(yy - level * y - slope * dy, 0.0), np.inf)
    return Lines(slope, level, squares)


def seen(days: Floats, values: Floats, quantified: Flags) -> tuple[Floats, Floats]:
    """Days and ln of the samples that show a shape: quantified ones, and censored ones next to them."""
    beside = np.convolve(quantified, [1, 1, 1], "same") > 0
    kept = beside & (days >= 0) & (values > 0)
    return days[kept], np.log(values[kept])


class Declines(NamedTuple):
    """Start values of declines, (m,) each: ln of the level at the beginning, rates, share of the second phase."""

    height: Floats
    alpha: Floats
    f_b: Floats
    beta: Floats


def two_phases(fitted: Lines, first: Ints, cut: Ints, since: Floats) -> Declines:
    """Through the samples ``first`` (m,) to ``cut`` (m,) and from there on; a decline that begins on day ``since``."""
    (high, fast), (low, slow) = (
        fitted.at(first, cut, since),
        fitted.at(cut, np.full(len(cut), len(fitted.slope) - 1), since),
    )
    return Declines(high, np.maximum(fast, 1.1 * slow), np.clip(np.exp(low - high), LEAST_SHARE, LARGEST_SHARE), slow)


def one_phase(fitted: Lines, first: Ints, since: Floats) -> Declines:
    """Through the samples from ``first`` on."""
    level, rate = fitted.at(first, np.full(len(first), len(fitted.slope) - 1), since)
    none = np.ones(len(first))
    return Declines(level, np.maximum(rate, 2 * SLOWEST_RATE), LEAST_SHARE * none, SLOWEST_RATE * none)


def after_a_drop(fitted: Lines, first: Ints, since: Floats, height: Floats) -> Declines:
    """From ``height`` down to the samples from ``first`` on before the first of them, which show the second phase."""
    level, rate = fitted.at(first, np.full(len(first), len(fitted.slope) - 1), since)
    top = np.maximum(height, level + 0.5)
    return Declines(top, np.maximum(DROP, 1.1 * rate), np.clip(np.exp(level - top), LEAST_SHARE, LARGEST_SHARE), rate)


def switches(days: Floats, values: Floats, quantified: Flags, fold: float, t_max: float) -> dict[str, Floats]:
    """Further start values: a switch in each interval between samples, and after it each of the three declines.

    Parameters
    ----------
    days, values, quantified : (n,) samples of one patient by day, as `Model.alternatives` gets them.
    fold, t_max : the defaults, which tell the growth where the samples do not.

    Returns
    -------
    {name: (m,)} of fold, t_max, c_max, alpha, f_b and beta.
    """
    days, logs = seen(days, values, quantified)
    if len(days) < 2:
        return {}
    fitted, before = lines(days, logs), np.append(0.0, days[:-1])
    first = np.flatnonzero(days > before)[: len(days) - 1]
    switch = (days[first] + before[first]) / 2
    rise = fitted.slope[0, first]
    # Through the last sample before the switch where there is no line that rises.
    rising = rise > 0
    rise = np.where(rising, rise, np.log(fold) / t_max)
    last = np.where(first > 0, logs[first - 1] + rise * (switch - before[first]), -np.inf)
    height = np.where(rising, fitted.level[0, first] + rise * switch, last)
    cuts = fitted.cuts(first)[:, 0]
    each = (
        two_phases(fitted, first, cuts, switch),
        one_phase(fitted, first, switch),
        after_a_drop(fitted, first, switch, np.where(first > 0, height, logs[0] + 1)),
    )
    found = Declines(*map(np.concatenate, zip(*each, strict=True)))
    grown = np.maximum(np.exp(np.minimum(rise * switch, 20.0)), 1.1)
    return {
        "fold": np.tile(grown, len(each)), "t_max": np.tile(switch, len(each)), "c_max": np.exp(found.height),
        "alpha": found.alpha, "f_b": found.f_b, "beta": found.beta,
    }  # fmt: skip
