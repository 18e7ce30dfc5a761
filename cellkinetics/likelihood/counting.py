r"""Counting noise: a Poisson number of molecules in the wells, read by the assay with a log-normal error.

With m the mass of DNA in the wells and :math:`\lambda = m f` the expected number of molecules,

.. math::

    p(\ln y) = \sum_{n \ge 1} \text{Pois}(n; \lambda)\,\frac1s\,\varphi\Big(\frac{\ln (m y) - \ln n}{s}\Big),
    \qquad
    P(y < U) = e^{-\lambda} + \sum_{n \ge 1} \text{Pois}(n; \lambda)\,\Phi\Big(\frac{\ln (m U) - \ln n}{s}\Big)

and likewise above a limit and between two: no molecule in the wells is a sample below every limit. For wells that are
averaged m is the mass of all of them, as if they had been pooled.

Derivatives are means over the same terms: of ln of a sum of :math:`e^t` the first is E[t'] and the second
E[t''] + Var[t'], with the weights of the terms.

The sum is taken over n = 1 ... 256 where no later term counts. Where one does, a term is a smooth bell many molecules
wide, and 256 points across the bell give the same sum: the trapezoidal rule converges faster than any power of the
step. Points are constants of the derivatives. What this leaves was measured against the plain sum in the tests.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from scipy.special import gammaln

from cellkinetics.likelihood.censoring import Rows, nearer_tail
from cellkinetics.likelihood.normal_tail import excess, hazard, log_ndtr

SUM_POINTS = 256
HALF_WIDTH = 12.0  # half width of the sum in standard deviations of the number of molecules
HALVINGS = 40
STIRLING = 15.0  # molecules from which on Stirling's series is exact to rounding
HALF_LN_2PI = 0.5 * math.log(2 * math.pi)
SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def log_density(predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
    """Log density of ln y of each sample, or the log probability of its interval; shapes as in `error_models`."""
    return logsumexp(_sum(predicted, ln_sd, rows).terms, axis=1)


def derivatives(predicted: Any, ln_sd: Any, rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log density (n,), its slopes (2, n) and second derivatives (2, 2, n) by ln copies and ln sd."""
    each = _sum(predicted, ln_sd, rows)
    value = logsumexp(each.terms, axis=1)
    share = jnp.exp(each.terms - value[:, None])
    # The last term, of no molecule, has no kernel.
    by_ln_sd = [jnp.pad(part, ((0, 0), (0, 1))) for part in each.kernel[1:]]
    slopes = jnp.stack([each.by_mean, by_ln_sd[0]])
    first = jnp.sum(share[None] * slopes, axis=2)
    away = slopes - first[:, :, None]
    second = jnp.sum(share[None, None] * away[:, None] * away[None, :], axis=3)
    curved = jnp.stack([-each.mean, jnp.sum(share * by_ln_sd[1], axis=1)])
    return value, first, second + jnp.eye(2)[:, :, None] * curved[:, None]


class _Sum(NamedTuple):
    """What the sum is made of.

    mean : (n,) molecules. terms : (n, 257) ln of each; the last is that of no molecule. by_mean : (n, 257) their slopes
    by ln of the mean. kernel : (n, 256) its ln, and the first and second derivative of that by ln sd.
    """

    mean: jax.Array
    terms: jax.Array
    by_mean: jax.Array
    kernel: tuple[jax.Array, jax.Array, jax.Array]


def _sum(predicted: Any, ln_sd: Any, rows: Rows) -> _Sum:
    ln_mass = jnp.log(rows.mass)
    ln_mean, sd = predicted + ln_mass, jnp.exp(ln_sd)
    ends = rows.lower + ln_mass, rows.upper + ln_mass
    points = _points(*map(jax.lax.stop_gradient, (ln_mean, sd, *ends)))
    kernel = _log_kernel(points.ln_n, ends[0][:, None], ends[1][:, None], sd[:, None])
    # Ln Pois(n; mean) without the cancellation of n ln(mean) - mean - ln n! (Loader 2000).
    off = points.ln_n - ln_mean[:, None]
    fewer = jnp.expm1(-off)
    some = kernel[0] - points.n * (fewer + off) - points.ln_rest
    # No molecule at all is below every limit.
    nothing, mean = jnp.isneginf(rows.lower), jnp.exp(ln_mean)
    none = jnp.where(nothing, -jnp.where(nothing, mean, 0.0), -jnp.inf)
    return _Sum(
        mean,
        jnp.concatenate([some, none[:, None]], axis=1),
        jnp.concatenate([-points.n * fewer, -mean[:, None]], axis=1),
        kernel,
    )


def _log_kernel(ln_n: Any, lower: Any, upper: Any, sd: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Ln of the density, or of the probability, of a sample given n molecules (ends in ln molecules).

    With its first and second derivative by ln sd.
    """
    no_lower, no_upper = jnp.isneginf(lower), jnp.isposinf(upper)
    z_lower = jnp.where(no_lower, -jnp.inf, (jnp.where(no_lower, 0.0, lower) - ln_n) / sd)
    z_upper = jnp.where(no_upper, jnp.inf, (jnp.where(no_upper, 0.0, upper) - ln_n) / sd)
    quantified = jnp.broadcast_to(lower == upper, z_upper.shape)
    square = jnp.where(quantified, z_upper, 0.0) ** 2
    small, large = nearer_tail(quantified, z_lower, z_upper)
    one = jnp.isneginf(small)
    small = jnp.where(one, -1.0, small)
    log_large, of_large = log_ndtr(large), hazard(large)
    # Of one tail, ln Phi(z); between two ends, ln(Phi(large) - Phi(small)).
    left = jnp.where(one, 1.0, -jnp.expm1(jnp.minimum(log_ndtr(small) - log_large, 0.0)))
    at_small, at_large = hazard(small) * (1 - left) / left, of_large / left
    by_ends = small * at_small - large * at_large
    of_ends = (small**3 - small) * at_small - (large**3 - large) * at_large - by_ends**2
    of_tail = large * of_large * (1 - large * excess(large, of_large))
    return (
        jnp.where(quantified, -0.5 * square - HALF_LN_2PI - jnp.log(sd), log_large + jnp.log(left)),
        jnp.select([quantified, one], [square - 1, -large * of_large], by_ends),
        jnp.select([quantified, one], [-2 * square, of_tail], of_ends),
    )


class _Points(NamedTuple):
    """(n, 256) numbers of molecules, their ln, and ln n! - n ln n + n less ln of the step between them."""

    n: jax.Array
    ln_n: jax.Array
    ln_rest: jax.Array


def _points(ln_mean: Any, sd: Any, lower: Any, upper: Any) -> _Points:
    """At which the sum is taken."""
    middle = jnp.exp(_mode(ln_mean, sd, lower, upper))
    half = HALF_WIDTH * jnp.sqrt(middle) + HALF_WIDTH
    least = jnp.maximum(middle - half, 0.5)
    step = (middle + half - least) / (SUM_POINTS - 1)
    spread = least[:, None] + step[:, None] * (WHOLE - 1)
    few = (middle + half <= SUM_POINTS)[:, None]
    ln_spread = jnp.log(spread)
    # Where points are spread, fewer molecules than the series is for are ten sds from the middle.
    of_spread = HALF_LN_2PI + 0.5 * ln_spread + _stirling(jnp.maximum(spread, STIRLING)) - jnp.log(step)[:, None]
    return _Points(
        jnp.where(few, WHOLE, spread), jnp.where(few, LN_WHOLE, ln_spread), jnp.where(few, OF_WHOLE, of_spread)
    )


def _stirling(n: Any) -> Any:
    """What the series adds to ln n!; of 15 molecules and more exact to rounding."""
    return functools.reduce(lambda total, term: total / n**2 + term, SERIES[::-1]) / n


def _mode(ln_mean: Any, sd: Any, lower: Any, upper: Any) -> jax.Array:
    """(n,) ln of the number of molecules that contributes most: between the mean and the sample, by bisection."""
    quantified = lower == upper
    reach = jnp.where(quantified, 0.0, 8 * sd)
    low = jnp.minimum(ln_mean, upper - reach)
    high = jnp.maximum(ln_mean, lower + reach)

    def slope(x: jax.Array) -> jax.Array:
        # d/dn of ln Pois(n) + ln kernel(ln n), times n.
        _, by_x = jax.jvp(lambda at: _log_kernel(at, lower, upper, sd)[0], (x,), (jnp.ones_like(x),))
        return jnp.exp(x) * (ln_mean - x) + by_x

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        rising = slope(middle) > 0
        return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
    return 0.5 * (low + high)


WHOLE = np.arange(1.0, SUM_POINTS + 1)[None]
LN_WHOLE = np.log(WHOLE)
OF_WHOLE = np.where(
    WHOLE < STIRLING,
    gammaln(WHOLE + 1) - WHOLE * LN_WHOLE + WHOLE,
    HALF_LN_2PI + 0.5 * LN_WHOLE + _stirling(np.maximum(WHOLE, STIRLING)),
)
