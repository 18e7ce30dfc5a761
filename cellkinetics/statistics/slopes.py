"""What a dose exponent's interval says, of many simulated studies at once: the tests of `dose_exponent`, vectorised."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from cellkinetics.arrays import Flags, Floats
from cellkinetics.statistics.tobit import quantified, tobit

# Two coefficients and the sd use up three quantified values; with a fourth the sd has a meaning.
FEWEST = 4


class Exponents(NamedTuple):
    """Of m studies.

    b : (m,) the exponent; NaN where it cannot be estimated.
    estimable : (m,) whether it can.
    found : (m,) whether its 95% interval leaves out 0.
    equivalent : (m,) whether its 90% interval lies within the margin.
    """

    b: Floats
    estimable: Flags
    found: Flags
    equivalent: Flags


def slopes(ln_dose: Floats, low: Floats, high: Floats, margin_b: float) -> Exponents:
    """Regressions of ln values on ln doses, with the calibrated profile.

    Parameters
    ----------
    ln_dose : (n,)
    low, high : (m, n) ends of ln values: equal where quantified, low -inf below a limit without a lower end.
    margin_b : the exponent of the margin.

    Returns
    -------
    Exponents
        A study with fewer than four quantified values, all of them at one dose, or without a maximum of the
        likelihood cannot be estimated and shows nothing.
    """
    x = ln_dose - ln_dose.mean()
    known = quantified(low, high)
    estimable = known.sum(axis=1) >= FEWEST
    estimable &= sum((known & (x == dose)).any(axis=1).astype(int) for dose in np.unique(x)) >= 2
    b, found, equivalent = np.full(len(low), np.nan), np.zeros(len(low), bool), np.zeros(len(low), bool)
    whole = (low == high).all(axis=1)
    for ratio_of, of_kind in ((_plain, estimable & whole), (_censored, estimable & ~whole)):
        if of_kind.any():
            slope, ratios, n, degrees = ratio_of(x, low[of_kind], high[of_kind], (0.0, -margin_b, margin_b))
            with np.errstate(invalid="ignore"):
                found[of_kind] = ratios[0] > threshold(n, degrees, 0.95)
                inside = np.abs(slope) < margin_b
                equivalent[of_kind] = inside & (ratios[1:] > threshold(n, degrees, 0.9)).all(axis=0)
            b[of_kind] = slope
    return Exponents(b, estimable & ~np.isnan(b), found, equivalent)


def threshold(n_quantified: npt.ArrayLike, degrees: npt.ArrayLike, level: float) -> Floats:
    """The likelihood ratio 2 (l(b_hat) - l(b)) up to which b is in the calibrated interval; shapes broadcast."""
    t = scipy.stats.t.ppf(0.5 + level / 2, degrees)
    return np.asarray(n_quantified * np.log1p(t**2 / degrees))


def _plain(
    x: Floats, values: Floats, same: Floats, at: tuple[float, ...]
) -> tuple[Floats, Floats, Floats | float, Floats | float]:
    """Least squares: slopes, likelihood ratios of given slopes (k, m), quantified values, degrees of freedom."""
    del same
    n = len(x)
    centred = values - values.mean(axis=1, keepdims=True)
    spread = float(x @ x)
    slope = centred @ x / spread
    rest = np.maximum((centred**2).sum(axis=1) - slope**2 * spread, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.stack([n * np.log1p((slope - b) ** 2 * spread / rest) for b in at])
    return slope, ratios, float(n), float(n - 2)


def _censored(
    x: Floats, low: Floats, high: Floats, at: tuple[float, ...]
) -> tuple[Floats, Floats, Floats | float, Floats | float]:
    fit = tobit(np.column_stack([np.ones(len(x)), x]), low, high)
    alone = np.ones((len(x), 1))
    given = [tobit(alone, low - b * x, high - b * x).log_likelihood for b in at]
    ratios = np.stack([2 * (fit.log_likelihood - one) for one in given])
    return fit.coefficients[:, 1], ratios, quantified(low, high).sum(axis=1).astype(float), fit.degrees_of_freedom
