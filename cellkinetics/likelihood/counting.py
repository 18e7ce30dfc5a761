r"""Counting noise: a Poisson number of molecules in the wells, read by the assay with a log-normal error.

With m the mass of DNA in the wells and :math:`\lambda = m f` the expected number of molecules,

.. math::

    p(\ln y) = \sum_{n \ge 1} \text{Pois}(n; \lambda)\,\frac1s\,\varphi\Big(\frac{\ln (m y) - \ln n}{s}\Big),
    \qquad
    P(y < U) = e^{-\lambda} + \sum_{n \ge 1} \text{Pois}(n; \lambda)\,\Phi\Big(\frac{\ln (m U) - \ln n}{s}\Big)

and likewise above a limit and between two: no molecule in the wells is a sample below every limit. For wells that are
averaged m is the mass of all of them, as if they had been pooled.

The sum is taken over n = 1 ... 256 where no later term counts. Where one does, a term is a smooth bell many molecules
wide, and 256 points across the bell give the same sum: the trapezoidal rule converges faster than any power of the
step. Points are constants of the derivatives. What this leaves was measured against the plain sum in the tests.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, logsumexp
from jax.scipy.stats import norm

from cellkinetics.likelihood.censoring import Rows, log_probability

SUM_POINTS = 256
HALF_WIDTH = 12.0  # half width of the sum in standard deviations of the number of molecules
HALVINGS = 40
STIRLING = 500.0  # molecules from which on the series is exact to rounding


def log_density(predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
    """Log density of ln y of each sample, or the log probability of its interval; shapes as in `error_models`."""
    ln_mass = jnp.log(rows.mass)
    ln_mean, sd = predicted + ln_mass, jnp.exp(ln_sd)
    ends = rows.lower + ln_mass, rows.upper + ln_mass
    ln_n, ln_step = _points(*map(jax.lax.stop_gradient, (ln_mean, sd, *ends)))
    terms = _log_poisson(ln_n, ln_mean[:, None]) + _log_kernel(ln_n, *(e[:, None] for e in (*ends, sd))) + ln_step
    some = logsumexp(terms, axis=1)
    # No molecule at all is below every limit.
    nothing = jnp.isneginf(rows.lower)
    return jnp.where(nothing, jnp.logaddexp(some, jnp.where(nothing, -jnp.exp(ln_mean), 0.0)), some)


def _log_kernel(ln_n: Any, lower: Any, upper: Any, sd: Any) -> jax.Array:
    """Ln of the density, or of the probability, of a sample given n molecules (ends in ln molecules)."""
    quantified, no_lower, no_upper = lower == upper, jnp.isneginf(lower), jnp.isposinf(upper)
    z_lower = jnp.where(no_lower, -jnp.inf, (jnp.where(no_lower, 0.0, lower) - ln_n) / sd)
    z_upper = jnp.where(no_upper, jnp.inf, (jnp.where(no_upper, 0.0, upper) - ln_n) / sd)
    density = norm.logpdf(jnp.where(quantified, z_upper, 0.0)) - jnp.log(sd)
    quantified = jnp.broadcast_to(quantified, z_upper.shape)
    return jnp.where(quantified, density, log_probability(quantified, z_lower, z_upper))


def _log_poisson(ln_n: Any, ln_mean: Any) -> jax.Array:
    """Ln Pois(n; mean) without the cancellation of n ln(mean) - mean - ln n! (Loader 2000)."""
    n, off = jnp.exp(ln_n), ln_n - ln_mean
    series = 0.5 * (math.log(2 * math.pi) + ln_n) + 1 / (12 * n) - 1 / (360 * n**3)
    few = jnp.minimum(n, STIRLING)
    exact = gammaln(few + 1) - few * jnp.log(few) + few
    return -n * (jnp.expm1(-off) + off) - jnp.where(n > STIRLING, series, exact)


def _points(ln_mean: Any, sd: Any, lower: Any, upper: Any) -> tuple[jax.Array, jax.Array]:
    """(n, 256) ln of the numbers of molecules at which the sum is taken, and (n, 1) ln of the step."""
    middle = jnp.exp(_mode(ln_mean, sd, lower, upper))
    half = HALF_WIDTH * jnp.sqrt(middle) + HALF_WIDTH
    whole = jnp.arange(1.0, SUM_POINTS + 1)
    least = jnp.maximum(middle - half, 0.5)
    step = (middle + half - least) / (SUM_POINTS - 1)
    few = (middle + half <= SUM_POINTS)[:, None]
    points = jnp.where(few, whole[None, :], least[:, None] + step[:, None] * (whole - 1)[None, :])
    return jnp.log(points), jnp.where(few, 0.0, jnp.log(step)[:, None])


def _mode(ln_mean: Any, sd: Any, lower: Any, upper: Any) -> jax.Array:
    """(n,) ln of the number of molecules that contributes most: between the mean and the sample, by bisection."""
    quantified = lower == upper
    reach = jnp.where(quantified, 0.0, 8 * sd)
    low = jnp.minimum(ln_mean, upper - reach)
    high = jnp.maximum(ln_mean, lower + reach)

    def slope(x: jax.Array) -> jax.Array:
        # d/dn of ln Pois(n) + ln kernel(ln n), times n.
        _, by_x = jax.jvp(lambda at: _log_kernel(at, lower, upper, sd), (x,), (jnp.ones_like(x),))
        return jnp.exp(x) * (ln_mean - x) + by_x

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        rising = slope(middle) > 0
        return jnp.where(rising, middle, low), jnp.where(rising, high, middle)

    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
    return 0.5 * (low + high)
