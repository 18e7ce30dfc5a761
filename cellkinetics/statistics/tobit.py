r"""Linear regression of censored ln values by maximum likelihood, many small data sets at once.

The likelihood is that of `censoring` with a linear prediction. With :math:`\theta = 1/s` and
:math:`\gamma = \beta/s` it is concave (Olsen 1978, doi:10.2307/1913082), so that Newton steps with exact derivatives
reach the one maximum from anywhere, if there is one. It is written in numpy because a permutation or a simulation fits
thousands of sets of a dozen values, each number of values another shape to compile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats
from cellkinetics.lazily import special

LN_2PI = float(np.log(2 * np.pi))
TOBIT_STEPS, TOLERANCE = 200, 1e-14
# A narrower interval of ln values says as much of a regression as a value: patients differ by more.
# One that is hardly an interval is a value, its probability would be lost in rounding.
NARROW_INTERVAL, CLOSED = float(np.log(1.25)), 1e-5
# The likelihood of some values rises without end: to infinity, or along a plateau on which nothing is known.
FAR, FLAT_FIT = 1e4, 1e-8
ON_THE_LINE = 1e-9  # sd by the spread of the values below which they lie on the line


@dataclass(frozen=True, eq=False)
class Tobit:
    """Censored regressions of m data sets of n values by p columns.

    coefficients : (m, p) of ln values; NaN where there is no maximum.
    sd : (m,) maximum-likelihood standard deviation of ln values, or the one given.
    log_likelihood : (m,) of ln values.
    degrees_of_freedom : (m,) quantified rows (see `quantified`) minus the coefficients that they, and not censored
        rows, determine (as in `uncertainty`), at least 1; infinite where sd was given.
    spent : (m,) how many coefficients those are.
    stderr : (m, p) from the observed information, without a correction for few values.
    converged : (m,) whether there is a maximum.
    """

    coefficients: Floats
    sd: Floats
    log_likelihood: Floats
    degrees_of_freedom: Floats
    spent: Floats
    stderr: Floats
    converged: Flags


def quantified(lower: npt.ArrayLike, upper: npt.ArrayLike) -> Flags:
    """Whether values are known, or to within 1.25-fold, so that they count as known.

    Parameters
    ----------
    lower, upper : (n,) or (m, n) ends on the ln scale.

    Examples
    --------
    >>> quantified(np.log([7, 100, 3]), np.log([7, 120, 6])).tolist()
    [True, True, False]
    """
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    finite = np.isfinite(low) & np.isfinite(high)
    return finite & (np.where(finite, high, 0.0) - np.where(finite, low, 0.0) <= NARROW_INTERVAL)


def tobit(design: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike, sd: float | Floats | None = None) -> Tobit:
    """Fit ln values with left-, interval- and right-censored rows.

    Parameters
    ----------
    design : (n, p) or (m, n, p) the columns, the intercept included.
    lower, upper : (n,) or (m, n) ends on the ln scale: equal for a quantified row, -inf or inf at an open end.
    sd : the standard deviation, or (m,) one for each data set, when it is not estimated.

    Returns
    -------
    Tobit
    """
    low, high = (np.atleast_2d(np.asarray(ends, float)) for ends in (lower, upper))
    low, high = np.broadcast_arrays(low, high)
    known = quantified(low, high)
    with np.errstate(invalid="ignore"):
        middle = np.where(known & (high - low < CLOSED) & (high != low), (low + high) / 2, np.nan)
    low, high = np.where(np.isnan(middle), low, middle), np.where(np.isnan(middle), high, middle)
    columns = np.broadcast_to(np.asarray(design, float), (*low.shape, np.shape(design)[-1]))
    # Centred and scaled values and columns: a dose of 1e7 and a day are then of one size.
    centre, scale = _scale(low, high)
    low, high = (low - centre[:, None]) / scale[:, None], (high - centre[:, None]) / scale[:, None]
    size = np.maximum(np.sqrt(np.mean(columns**2, axis=1)), 1e-300)
    scaled = columns / size[:, None, :]
    intercept = _intercept(scaled)
    w, value, converged = _maximum(scaled, low, high, None if sd is None else scale / sd)
    theta, gamma = w[:, 0], w[:, 1:]
    with np.errstate(all="ignore"):
        beta = np.where(converged[:, None], gamma / theta[:, None], np.nan)
        beta = (beta * scale[:, None] + centre[:, None] * intercept) / size
        spent, errors = _spread(scaled, low, high, w, known, sd is not None)
        degrees = np.full(len(w), np.inf) if sd is not None else np.maximum(known.sum(axis=1) - spent, 1.0)
    exact = (low == high).sum(axis=1)
    whole = (exact == low.shape[1]) & (low.shape[1] > scaled.shape[-1])
    if sd is None and whole.any():
        # Least squares: a maximum also where the values lie on a line so closely that theta is beyond all steps.
        for at in np.flatnonzero(whole & ~converged):
            gamma, theta, errors[at] = _least_squares(scaled[at], low[at])
            w[at] = np.append(theta, gamma)
            # Values of ln are right to 1e-15: what is left of an exact line is rounding, and nothing to estimate.
            converged[at] = 1 / theta > ON_THE_LINE and np.linalg.matrix_rank(scaled[at]) == scaled.shape[-1]
            spent[at] = scaled.shape[-1]
            degrees[at] = low.shape[1] - scaled.shape[-1]
            if converged[at]:
                beta[at] = (gamma / theta * scale[at] + centre[at] * intercept[at]) / size[at]
            value[at] = _log_likelihood(scaled[at : at + 1], low[at : at + 1], high[at : at + 1], w[at : at + 1])[0]
        theta = w[:, 0]
    return Tobit(
        coefficients=beta,
        sd=np.where(converged, scale / theta, np.nan),
        log_likelihood=np.where(converged, value - exact * np.log(scale), np.nan),
        degrees_of_freedom=np.where(converged, degrees, np.nan),
        spent=np.where(converged, spent, np.nan),
        stderr=np.where(converged[:, None], errors * scale[:, None] / size, np.nan),
        converged=converged,
    )


def _least_squares(columns: Floats, values: Floats) -> tuple[Floats, float, Floats]:
    """(p,) gamma, theta, and (p,) standard errors of beta of one data set without censoring."""
    inverse = np.linalg.pinv(columns)
    beta = inverse @ values
    rest = values - columns @ beta
    s = max(float(np.sqrt(np.mean(rest**2))), ON_THE_LINE)
    return beta / s, 1 / s, s * np.sqrt(np.diagonal(inverse @ inverse.T))


def _scale(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Centre and spread of the finite ends of each data set; 1 where they are all equal."""
    ends = np.concatenate([low, high], axis=1)
    known = np.isfinite(ends)
    n = np.maximum(known.sum(axis=1), 1)
    centre = np.where(known, ends, 0.0).sum(axis=1) / n
    spread = np.sqrt((np.where(known, ends - centre[:, None], 0.0) ** 2).sum(axis=1) / n)
    return centre, np.where(spread > 0, spread, 1.0)


def _intercept(columns: Floats) -> Floats:
    """(m, p) the combination of columns that is 1 in every row; values are centred by it."""
    solved = np.linalg.pinv(columns) @ np.ones(columns.shape[1])
    if not np.allclose(np.einsum("mnp,mp->mn", columns, solved), 1.0):
        raise ValueError("the design has no intercept: give a column of ones.")
    return solved


def _maximum(columns: Floats, low: Floats, high: Floats, theta: Floats | None) -> tuple[Floats, Floats, Flags]:
    """(theta, gamma) of each data set, its log-likelihood, and whether it is a maximum."""
    sets, _, p = columns.shape
    w = np.zeros((sets, p + 1))
    w[:, 0] = 1.0 if theta is None else theta
    value = _log_likelihood(columns, low, high, w)
    converged, active = np.zeros(sets, bool), np.ones(sets, bool)
    for _ in range(TOBIT_STEPS):
        at = np.flatnonzero(active)
        if not len(at):
            break
        gradient, hessian = (part.sum(axis=1) for part in _derivatives(columns[at], low[at], high[at], w[at]))
        if theta is not None:
            gradient[:, 0] = 0.0
            hessian[:, 0, :] = hessian[:, :, 0] = 0.0
            hessian[:, 0, 0] = -1.0
        # A direction without information must not stop the others: a trace of ridge, no bias at the maximum.
        ridge = 1e-12 * np.trace(-hessian, axis1=1, axis2=2) + 1e-200
        step = np.linalg.solve(-hessian + ridge[:, None, None] * np.eye(p + 1), gradient[..., None])[..., 0]
        decrement = np.einsum("mi,mi->m", gradient, step)
        done, curved = decrement < TOLERANCE, np.linalg.eigvalsh(-hessian)[:, 0] > FLAT_FIT
        converged[at[done]] = curved[done]
        active[at[done]] = False
        moving = ~done
        length = np.ones(len(at))
        for _ in range(40):
            trial = w[at] + length[:, None] * step
            better = np.full(len(at), -np.inf)
            inside = moving & (trial[:, 0] > 0)
            better[inside] = _log_likelihood(columns[at[inside]], low[at[inside]], high[at[inside]], trial[inside])
            accept = inside & (better >= value[at] + 1e-4 * length * decrement - 1e-12 * np.abs(value[at]))
            w[at[accept]], value[at[accept]] = trial[accept], better[accept]
            moving &= ~accept
            if not moving.any():
                break
            length[moving] /= 2
        # No step uphill is left: a maximum to rounding when the slope says so.
        converged[at[moving]] = (decrement < 1e-6)[moving] & curved[moving]
        active[at[moving]] = False
        away = at[np.abs(w[at]).max(axis=1) > FAR * (1.0 if theta is None else np.maximum(theta[at], 1.0))]
        converged[away] = active[away] = False
    return w, value, converged


def _log_likelihood(columns: Floats, low: Floats, high: Floats, w: Floats) -> Floats:
    quantified, z_low, z_high = _standardised(columns, low, high, w)
    with np.errstate(all="ignore"):
        rows = np.where(
            quantified, np.log(w[:, :1]) - 0.5 * z_high**2 - 0.5 * LN_2PI, _log_probability(quantified, z_low, z_high)
        )
    return np.where(np.isnan(rows), -np.inf, rows).sum(axis=1)


def _standardised(columns: Floats, low: Floats, high: Floats, w: Floats) -> tuple[Flags, Floats, Floats]:
    predicted = np.einsum("mnp,mp->mn", columns, w[:, 1:])
    return low == high, w[:, :1] * low - predicted, w[:, :1] * high - predicted


def _log_probability(unused: Flags, z_low: Floats, z_high: Floats) -> Floats:
    """ln(Phi(z_high) - Phi(z_low)), taken from the tail in which both lie; 0 where unused."""
    z_low, z_high = np.where(unused, -np.inf, z_low), np.where(unused, np.inf, z_high)
    flip = z_low + z_high > 0
    small, large = np.where(flip, -z_high, z_low), np.where(flip, -z_low, z_high)
    log_small, log_large = special.log_ndtr(small), special.log_ndtr(large)
    gap = np.where(np.isneginf(log_small), -np.inf, log_small - log_large)
    with np.errstate(divide="ignore"):
        return log_large + np.where(gap > -0.7, np.log(-np.expm1(np.minimum(gap, -0.0))), np.log1p(-np.exp(gap)))


def _derivatives(columns: Floats, low: Floats, high: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Gradient (m, n, p + 1) and Hessian (m, n, p + 1, p + 1) of each row in (theta, gamma)."""
    quantified, z_low, z_high = _standardised(columns, low, high, w)
    with np.errstate(invalid="ignore"):
        log_p = _log_probability(quantified, z_low, z_high)

    def end(z: Floats, place: Floats) -> tuple[Floats, Floats, Floats]:
        """Density at an end by the probability, its product with z, and d z/d (theta, gamma)."""
        finite = np.isfinite(z) & ~quantified
        inside = np.where(finite, z, 0.0)
        with np.errstate(over="ignore"):  # a trial far off, which is then not taken
            ratio = np.where(finite, np.exp(-0.5 * inside**2 - 0.5 * LN_2PI - log_p), 0.0)
        slope = np.concatenate([np.where(np.isfinite(place), place, 0.0)[..., None], -columns], axis=-1)
        return ratio, inside * ratio, slope

    ratio_high, curve_high, slope_high = end(z_high, high)
    ratio_low, curve_low, slope_low = end(z_low, low)
    gradient = ratio_high[..., None] * slope_high - ratio_low[..., None] * slope_low
    hessian = -curve_high[..., None, None] * slope_high[..., None] * slope_high[..., None, :]
    hessian += curve_low[..., None, None] * slope_low[..., None] * slope_low[..., None, :]
    hessian -= gradient[..., None] * gradient[..., None, :]
    z = np.where(quantified, z_high, 0.0)
    seen_gradient, seen_hessian = -z[..., None] * slope_high, -slope_high[..., None] * slope_high[..., None, :]
    theta = np.broadcast_to(w[:, :1], quantified.shape)
    seen_gradient[..., 0] += 1 / theta
    seen_hessian[..., 0, 0] -= 1 / theta**2
    pick = quantified[..., None]
    return np.where(pick, seen_gradient, gradient), np.where(pick[..., None], seen_hessian, hessian)


def _spread(columns: Floats, low: Floats, high: Floats, w: Floats, known: Flags, given: bool) -> tuple[Floats, Floats]:
    """Coefficients that quantified rows determine, and standard errors of beta = gamma/theta by the delta method."""
    hessian = _derivatives(columns, low, high, w)[1]
    information = -hessian.sum(axis=1)
    theta, gamma = w[:, 0], w[:, 1:]
    p = gamma.shape[1]
    of_curve = np.linalg.pinv(information[:, 1:, 1:])
    seen = -np.where(known[..., None, None], hessian, 0.0).sum(axis=1)[:, 1:, 1:]
    spent = np.clip(np.einsum("mij,mji->m", of_curve, seen), 0.0, p)
    if given:
        covariance = of_curve / theta[:, None, None] ** 2
    else:
        slopes = np.concatenate(
            [-(gamma / theta[:, None] ** 2)[..., None], np.eye(p) / theta[:, None, None]], axis=-1
        )  # d beta / d (theta, gamma)
        covariance = slopes @ np.linalg.pinv(information) @ slopes.transpose(0, 2, 1)
    return spent, np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))
