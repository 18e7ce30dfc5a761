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
    found = np.full((m, len(shares)), np.nan)
    for row in range(m):
        mine = known[row]
        if not count[row, 0]:
            continue
        if not mine.any():
            found[row] = -np.inf
            continue
        at, own = place[row, mine], value[row, mine]
        found[row] = _between(at, own, shares)
    return found


def _between(at: Floats, own: Floats, shares: Floats) -> Floats:
    """Interpolated; -inf below the first place, and towards what is infinite no number."""
    at = np.round(at, 12)
    upper = np.clip(np.searchsorted(at, shares, side="left"), 0, len(at) - 1)
    lower = np.maximum(upper - 1, 0)
    width = at[upper] - at[lower]
    exact = (width <= 0) | (np.abs(at[upper] - shares) <= 1e-12)
    part = np.where(exact, 1.0, (shares - at[lower]) / np.where(width > 0, width, 1.0))
    with np.errstate(invalid="ignore"):
        value = np.where(exact, own[upper], own[lower] + part * (own[upper] - own[lower]))
    value = np.where(np.isnan(value), np.inf, value)  # between two that are above an upper limit
    return np.where(shares < at[0] - 1e-9, -np.inf, np.where(shares > at[-1] + 1e-9, own[-1], value))
