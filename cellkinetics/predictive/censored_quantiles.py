r"""Quantiles of values of which some are only known to lie below limits, each below its own.

The distribution function is estimated by the product-limit estimator turned round (left-censored values; Gillespie et
al. 2010, doi:10.1097/EDE.0b013e3181ce9f08): at a value known, of :math:`n(t)` that are known or whose limit is not
above it, :math:`d(t)` equal it, and

.. math:: F(x) = \prod_{t > x} \left(1 - \frac{d(t)}{n(t)}\right).

With one limit for all, values below it are ranked at the bottom. Between known values quantiles are interpolated on the
given scale, as `numpy.quantile` does where nothing is censored; below the lowest known value nothing is known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats

ALMOST = 1e-9  # two places are one


def censored_quantiles(values: Floats, below: Flags, shares: npt.ArrayLike) -> Floats:
    """Quantiles of each row.

    Parameters
    ----------
    values : (m, n) what is known, or the limit of what lies below it; inf of what lies above an upper limit, NaN for
        none.
    below : (m, n) whether it lies below. shares : (k,) from 0 to 1.

    Returns
    -------
    (m, k); -inf where the quantile lies below what is known, inf where above, NaN of a row without values.

    Examples
    --------
    >>> censored_quantiles(np.array([[3.0, 3.0, 5.0, 9.0]]), np.array([[True, True, False, False]]), [0, 0.7, 1])
    array([[-inf, 5.4, 9. ]])
    """
    shares = np.atleast_1d(np.asarray(shares, float))
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
    above = np.cumprod(factor[:, ::-1], axis=-1)[:, ::-1]
    reached = np.concatenate([above[:, 1:], np.ones((m, 1))], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        place = np.where(count > 1, (count * reached - 1) / (count - 1), 0.0)
    place, nobody = np.asarray(np.round(place, 12), float), ~known.any(axis=1)
    found = np.full((m, len(shares)), np.nan)
    for at, share in enumerate(shares):
        found[:, at] = _at(share, place, value, known)
    found[nobody] = -np.inf
    found[count[:, 0] == 0] = np.nan
    return found


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
