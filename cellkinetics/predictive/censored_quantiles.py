r"""Quantiles of values of which some are only known to lie below limits, or above others, each beyond its own.

The distribution function is estimated by the product-limit estimator turned round (left-censored values; Gillespie et
al. 2010, doi:10.1097/EDE.0b013e3181ce9f08): at a value known, of :math:`n(t)` that are known or whose limit is not
above it, :math:`d(t)` equal it, and

.. math:: F(x) = \prod_{t > x} \left(1 - \frac{d(t)}{n(t)}\right).

With one limit for all, values below it are ranked at the bottom. Between known values quantiles are interpolated on the
given scale, as `numpy.quantile` does where nothing is censored; below the lowest known value nothing is known.

What lies above upper limits is ranked at the top where no value known lies above one of them. Where some do, the
distribution is the most likely one of such values (Turnbull 1976, doi:10.1111/j.2517-6161.1976.tb01597.x), found by its
self-consistency: each censored value has what the others say of where it could lie. Without upper limits that is the
product above, and without lower ones Kaplan and Meier's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats

ALMOST = 1e-9  # two places are one
MOST_ROUNDS, NOTHING_MOVES = 500, 1e-8  # of self-consistency, and probability by which nothing moves


def censored_quantiles(values: Floats, below: Flags, shares: npt.ArrayLike, above: Flags | None = None) -> Floats:
    """Quantiles of each row.

    Parameters
    ----------
    values : (m, n) what is known, or the limit of what lies below or above it; NaN for none.
    below, above : (m, n) whether it lies below, or above; nothing above where None.
    shares : (k,) from 0 to 1.

    Returns
    -------
    (m, k); -inf where the quantile lies below what is known, inf where above, NaN of a row without values.

    Examples
    --------
    >>> censored_quantiles(np.array([[3.0, 3.0, 5.0, 9.0]]), np.array([[True, True, False, False]]), [0, 0.7, 1])
    array([[-inf, 5.4, 9. ]])
    """
    shares = np.atleast_1d(np.asarray(shares, float))
    if above is not None and above.any():
        known = np.where(below | above | np.isnan(values), -np.inf, values).max(axis=1, initial=-np.inf)
        among = (np.where(above, values, np.inf) < known[:, None]).any(axis=1)
        values, both = np.where(above, np.inf, values), values
        found = censored_quantiles(values, below, shares)
        if among.any():
            found[among] = _of_both(both[among], below[among], above[among], shares)
        return found
    absent = np.isnan(values)
    # Of equal numbers what lies below a limit comes first: it counts among those at risk at that number.
    order = np.lexsort((~below, np.where(absent, np.inf, values), absent), axis=-1)
    value = np.take_along_axis(values, order, axis=-1)
    known = ~np.take_along_axis(below | absent, order, axis=-1)
    m, n = values.shape
    number = np.arange(1, n + 1)
    count = (~absent).sum(axis=-1, keepdims=True)
    # One value at a time from above: ties among the known give the same product.
    factor = np.where(known, 1 - 1 / number, 1.0)
    product = np.cumprod(factor[:, ::-1], axis=-1)[:, ::-1]
    reached = np.concatenate([product[:, 1:], np.ones((m, 1))], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        place = np.where(count > 1, (count * reached - 1) / (count - 1), 0.0)
    place, nobody = np.asarray(np.round(place, 12), float), ~known.any(axis=1)
    found = np.full((m, len(shares)), np.nan)
    for at, share in enumerate(shares):
        found[:, at] = _at(share, place, value, known)
    found[nobody] = -np.inf
    found[count[:, 0] == 0] = np.nan
    return found


def _of_both(values: Floats, below: Flags, above: Flags, shares: Floats) -> Floats:
    """The same of rows in which values known lie above upper limits of others."""
    absent = np.isnan(values)
    # At equal numbers what lies below comes first and what lies above last: neither may lie at the number itself.
    order = np.lexsort((above.astype(int) - below, np.where(absent, np.inf, values), absent), axis=-1)
    value = np.take_along_axis(values, order, axis=-1)
    low, high, gone = (np.take_along_axis(part, order, axis=-1) for part in (below, above, absent))
    known, n = ~(low | high | gone), (~absent).sum(axis=-1, keepdims=True)
    low, high = low & ~gone, high & ~gone
    p = np.where(known, 1.0, 0.0)
    first, last = low.any(axis=-1, keepdims=True) * 1.0, high.any(axis=-1, keepdims=True) * 1.0
    total = p.sum(axis=-1, keepdims=True) + first + last
    p, first, last, of_right = p / total, first / total, last / total, np.zeros_like(p)
    for _ in range(MOST_ROUNDS):
        reached = first + np.cumsum(p, axis=-1)
        of_low = np.where(low, 1 / np.where(low, np.maximum(reached, 1e-300), 1.0), 0.0)
        of_high = np.where(high, 1 / np.where(high, np.maximum(1 - reached, 1e-300), 1.0), 0.0)
        behind = np.cumsum(of_low[:, ::-1], axis=-1)[:, ::-1]
        before = np.cumsum(of_high, axis=-1)
        of_right = p * before  # of each value known what those above lower limits of others lend it
        more = (known + p * behind + of_right) / n
        first, last = first * behind[:, :1] / n, last * before[:, -1:] / n
        moved, p = np.abs(more - p).max(initial=0.0), more
        if moved < NOTHING_MOVES:
            break
    # What lies below limits counts below the value that it is given to, and what lies above them above it.
    rank = np.concatenate([n * (first + np.cumsum(p, axis=-1)) - of_right, n * (1 - last) + 1], axis=-1)
    value = np.concatenate([value, np.full((len(p), 1), np.inf)], axis=-1)
    known = np.concatenate([known, last > 1e-6], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        place = np.asarray(np.round(np.where(n > 1, (rank - 1) / (n - 1), 0.0), 7), float)
    return np.stack([_at(share, place, value, known) for share in shares], axis=-1)


def _at(share: float, place: Floats, value: Floats, known: Flags) -> Floats:
    """(m,) one quantile, interpolated between the known values on either side; -inf below the first."""
    every = np.arange(len(value))
    reached = known & (place >= share - ALMOST)
    last = value.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    above = np.where(reached.any(axis=1), reached.argmax(axis=1), last)
    before = known & (np.arange(value.shape[1]) < above[:, None])
    below = np.where(before.any(axis=1), value.shape[1] - 1 - before[:, ::-1].argmax(axis=1), above)
    low, high = place[every, below], place[every, above]
    exact = (high - low <= 0) | (high <= share + ALMOST)
    part = np.where(exact, 1.0, (share - low) / np.where(high > low, high - low, 1.0))
    start, end = value[every, below], value[every, above]
    with np.errstate(invalid="ignore"):
        between = np.where(exact, end, start + part * (end - start))
    first = place[every, known.argmax(axis=1)]
    return np.where(share < first - ALMOST, -np.inf, np.where(np.isnan(between), np.inf, between))
