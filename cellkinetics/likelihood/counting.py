r"""Counting noise: a Poisson number of molecules in the wells, read by the assay with a log-normal error.

With m the mass of DNA in the wells and :math:`\lambda = m f` the expected number of molecules,

.. math::

    p(\ln y) = \sum_{n \ge 1} \text{Pois}(n; \lambda)\,\frac1s\,\varphi\Big(\frac{\ln (m y) - \ln n}{s}\Big),
    \qquad
    P(y < U) = e^{-\lambda} + \sum_{n \ge 1} \text{Pois}(n; \lambda)\,\Phi\Big(\frac{\ln (m U) - \ln n}{s}\Big)

and likewise above a limit and between two: no molecule in the wells is a sample below every limit. For wells that are
averaged m is the mass of all of them, as if they had been pooled.

Derivatives are sums over the same terms, without a logarithm in any: that would take longer than all the rest.

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

from cellkinetics.likelihood.censoring import Rows, nearer_tail
from cellkinetics.likelihood.normal_tail import scaled_tail

SUM_POINTS = 256
HALF_WIDTH = 12.0  # half width of the sum in standard deviations of the number of molecules
HALVINGS = 40
STIRLING = 15.0  # molecules from which on Stirling's series is exact to rounding
HALF_LN_2PI = 0.5 * math.log(2 * math.pi)
SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def log_density(predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
    """Log density of ln y of each sample, or the log probability of its interval; shapes as in `error_models`."""
    return _sum(predicted, ln_sd, rows).value


def derivatives(predicted: Any, ln_sd: Any, rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log density (n,), its slopes (2, n) and second derivatives (2, 2, n) by ln copies and ln sd."""
    each = _sum(predicted, ln_sd, rows)
    share = each.weight / each.total[:, None]
    # Counted from the middle, of which the differences are small: n itself may be 1e9.
    off, kernel, by_sd, twice = each.off, each.kernel, each.by_ln_sd, each.by_ln_sd_twice
    mean, slope = jnp.sum(share * kernel * off, axis=1), jnp.sum(share * by_sd, axis=1)
    spread = jnp.sum(share * kernel * off**2, axis=1) - mean**2
    mixed = jnp.sum(share * by_sd * off, axis=1) - mean * slope
    curved = jnp.sum(share * twice, axis=1) - slope**2
    first = jnp.stack([mean + each.middle - each.mean, slope])
    return each.value, first, jnp.stack([jnp.stack([spread - each.mean, mixed]), jnp.stack([mixed, curved])])


class _Sum(NamedTuple):
    """What the sum of ``weight * kernel`` is made of; the last of 257 terms is that of no molecule.

    value : (n,) its ln. total : (n,) itself, as much smaller as the weights are. mean, middle : (n,) molecules that are
    expected, and where the terms are largest. off : (n, 257) molecules of each term, from the middle. kernel, by_ln_sd,
    by_ln_sd_twice : (n, 257) the density or probability of the sample and its derivatives, over what is in the weight.
    """

    value: jax.Array
    total: jax.Array
    mean: jax.Array
    middle: jax.Array
    weight: jax.Array
    off: jax.Array
    kernel: jax.Array
    by_ln_sd: jax.Array
    by_ln_sd_twice: jax.Array


def _sum(predicted: Any, ln_sd: Any, rows: Rows) -> _Sum:
    ln_mass = jnp.log(rows.mass)
    ln_mean, sd = predicted + ln_mass, jnp.exp(ln_sd)
    ends = rows.lower + ln_mass, rows.upper + ln_mass
    points = _points(*map(jax.lax.stop_gradient, (ln_mean, sd, *ends)))
    bell, kernel, *slopes = _kernel(points.ln_n, ends[0][:, None], ends[1][:, None], sd[:, None])
    # Ln Pois(n; mean) without the cancellation of n ln(mean) - mean - ln n! (Loader 2000).
    off = points.ln_n - ln_mean[:, None]
    some = bell - points.n * (jnp.expm1(-off) + off) - points.ln_rest
    # No molecule at all is below every limit.
    nothing, mean = jnp.isneginf(rows.lower), jnp.exp(ln_mean)
    exponent = jnp.concatenate([some, jnp.where(nothing, -jnp.where(nothing, mean, 0.0), -jnp.inf)[:, None]], axis=1)
    highest = jax.lax.stop_gradient(jnp.max(exponent, axis=1))
    weight = jnp.exp(exponent - highest[:, None])
    kernel = jnp.pad(kernel, ((0, 0), (0, 1)), constant_values=1.0)
    total = jnp.sum(weight * kernel, axis=1)
    return _Sum(
        highest + jnp.log(total) - jnp.where(rows.lower == rows.upper, HALF_LN_2PI + ln_sd, 0.0),
        total,
        mean,
        points.middle,
        weight,
        jnp.concatenate([points.n - points.middle[:, None], -points.middle[:, None]], axis=1),
        kernel,
        *(jnp.pad(slope, ((0, 0), (0, 1))) for slope in slopes),
    )


def _kernel(ln_n: Any, lower: Any, upper: Any, sd: Any) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The density, or the probability, of a sample given n molecules (ends in ln molecules), without a logarithm.

    Returns
    -------
    Ln of a bell, what it is to be multiplied by, and by what for the first and second derivative by ln sd. The bell is
    the normal density of a quantified sample without its constant; of an interval in the tail, what makes it small.
    """
    no_lower, no_upper = jnp.isneginf(lower), jnp.isposinf(upper)
    z_lower = jnp.where(no_lower, -jnp.inf, (jnp.where(no_lower, 0.0, lower) - ln_n) / sd)
    z_upper = jnp.where(no_upper, jnp.inf, (jnp.where(no_upper, 0.0, upper) - ln_n) / sd)
    quantified = jnp.broadcast_to(lower == upper, z_upper.shape)
    square = jnp.where(quantified, z_upper, 0.0) ** 2
    small, large = nearer_tail(quantified, z_lower, z_upper)
    one = jnp.isneginf(small)
    small = jnp.where(one, -1.0, small)
    # Phi of a negative end is a half of erfcx times its bell, which is taken out; the farther end has less than that.
    tail = large < 0
    bell = jnp.where(tail, -0.5 * large**2, 0.0)
    at_large = jnp.where(tail, 1.0, jnp.exp(-0.5 * large**2))
    at_small = jnp.where(one, 0.0, jnp.exp(-0.5 * small**2 - bell))
    half = 0.5 * scaled_tail(jnp.abs(large))
    inside = jnp.where(tail, half, 1 - half * at_large) - 0.5 * scaled_tail(-small) * at_small
    # d/d ln s of Phi(z) is -z phi(z), and of that -(z^3 - z) phi(z).
    density = math.sqrt(0.5 / math.pi)
    first = density * (small * at_small - large * at_large)
    second = density * (small * (small**2 - 1) * at_small - large * (large**2 - 1) * at_large)
    return (
        jnp.where(quantified, -0.5 * square, bell),
        jnp.where(quantified, 1.0, inside),
        jnp.where(quantified, square - 1, first),
        jnp.where(quantified, (square - 1) ** 2 - 2 * square, second),
    )


class _Points(NamedTuple):
    """(n, 256) numbers of molecules, their ln, and ln n! - n ln n + n less ln of the step; (n,) the middle of them."""

    middle: jax.Array
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
        middle, jnp.where(few, WHOLE, spread), jnp.where(few, LN_WHOLE, ln_spread), jnp.where(few, OF_WHOLE, of_spread)
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
        bell, kernel, *_ = _kernel(x, lower, upper, sd)
        at_ends = [jnp.where(jnp.isfinite(end), -0.5 * ((end - x) / sd) ** 2, -jnp.inf) for end in (lower, upper)]
        between = [math.sqrt(0.5 / math.pi) * jnp.exp(end - bell) for end in at_ends]
        by_x = jnp.where(quantified, (upper - x) / sd, (between[0] - between[1]) / kernel) / sd
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
    np.vectorize(math.lgamma)(WHOLE + 1) - WHOLE * LN_WHOLE + WHOLE,
    HALF_LN_2PI + 0.5 * LN_WHOLE + _stirling(np.maximum(WHOLE, STIRLING)),
)
