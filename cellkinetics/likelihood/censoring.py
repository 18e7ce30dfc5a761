r"""The log-normal likelihood of quantified and censored samples, written once; `error_models` has the others.

On the ln scale, with prediction g = ln(f + e), standard deviation s and the standard normal :math:`\Phi`:

.. math::

    \ell = \begin{cases}
        -\tfrac12 z^2 - \ln s - \tfrac12\ln 2\pi, \quad z = (\ln y - g)/s & \text{quantified}\\
        \ln \Phi\big((\ln U - g)/s\big) & \text{below } U\\
        \ln \Phi\big((g - \ln L)/s\big) & \text{above } L\\
        \ln \big[\Phi((\ln U - g)/s) - \Phi((\ln L - g)/s)\big] & \text{between } L \text{ and } U
    \end{cases}

The e keeps g finite where a curve underflows. It is 1e-11 of the lowest value or limit of the output (`least_of`), so
that the unit of the samples makes no difference.

A row of a study is one pair (lower, upper) of ln values: equal if quantified, -inf or inf at an open end. The
root-deviances of `root_deviances` turn the same likelihood into least squares: their squares add up to
:math:`-2\sum\ell`, up to the terms of quantified rows that do not depend on the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.lazily import norm
from cellkinetics.likelihood.normal_tail import log_ndtr

if TYPE_CHECKING:
    from jaxtyping import Float

    from cellkinetics.arrays import Floats, Ints, Numeric

NEGLIGIBLE = 1e-11  # of the lowest value or limit: 3e-11 copies/ug at the usual limit of 3
UNMEASURED = 1e-290  # in any unit, where neither a value nor a limit says what is little
# From here on ln Phi(z) is -Phi(-z) to the last digit; sqrt(-2 log_ndtr(z)) loses its digits at 5, its gradient at 39.
TAIL = 9.0


class Rows(NamedTuple):
    """Observed samples on the ln scale.

    lower, upper : (n,) ln copies; equal for a quantified sample, -inf below a limit, inf above one.
    weight : (n,) 1 for a sample, 0 for padding.
    mass : (n,) ug of DNA in the wells of the sample, where counting noise needs it.
    """

    lower: Float[Numeric, "*patients samples"]
    upper: Float[Numeric, "*patients samples"]
    weight: Float[Numeric, "*patients samples"]
    mass: Float[Numeric, "*patients samples"] = None


def ln(copies: Any, least: Any) -> jax.Array:
    """ln(f + e) with e = ``least``: finite, with a finite gradient, where a curve underflows."""
    return jnp.log(copies + least)


def least_of(lower: Floats, upper: Floats, output: Ints, outputs: int) -> Floats:
    """What is added to the curve of each output: `NEGLIGIBLE` of the lowest value or limit of its samples.

    Parameters
    ----------
    lower, upper : (n,) both ends of the samples, copies; 0 and inf where open.
    output : (n,) index of the output of each.
    outputs : how many there are.

    Returns
    -------
    (outputs,) in the unit of the samples. An output without a value or a limit takes the lowest of all; `UNMEASURED`
    where there is none.
    """
    ends, of = np.append(lower, upper), np.append(output, output)
    known = (ends > 0) & np.isfinite(ends)
    lowest = np.full(outputs, np.min(ends[known], initial=np.inf))
    for index in np.unique(of[known]):
        lowest[index] = np.min(ends[known & (of == index)])
    return np.where(np.isfinite(lowest), NEGLIGIBLE * lowest, UNMEASURED)


def log_density(predicted: jax.Array, sd: Any, rows: Rows) -> jax.Array:
    """Log-likelihood of each sample on the scale of ln(copies).

    Parameters
    ----------
    predicted : (n,) ln of the predicted copies.
    sd : standard deviation on the ln scale, a number or (n,).
    rows : (n,) the samples.

    Returns
    -------
    (n,) 0 for padding.
    """
    quantified, z_lower, z_upper = standardised(predicted, sd, rows)
    density = norm.logpdf(jnp.where(quantified, z_upper, 0.0)) - jnp.log(sd)
    return rows.weight * jnp.where(quantified, density, log_probability(quantified, z_lower, z_upper))


def root_deviances(predicted: jax.Array, sd: Any, rows: Rows) -> jax.Array:
    """Residuals whose squares add up to -2 log-likelihood at fixed sd (without the constant of quantified rows).

    (y - f)/sd of a quantified sample; sqrt(-2 ln Phi(z)) of a censored one, which is positive, smooth and
    monotone in the prediction. Shapes as in `log_density`.
    """
    quantified, z_lower, z_upper = standardised(predicted, sd, rows)
    below, above = jnp.isneginf(rows.lower), jnp.isposinf(rows.upper)
    one_sided = root_deviance_below(jnp.where(above, -z_lower, jnp.where(below, z_upper, 0.0)))
    inside = log_probability(quantified | below | above, z_lower, z_upper)
    # An interval far wider than sd has probability 1: its root-deviance is 0, and flat.
    certain = inside > -1e-300
    two_sided = jnp.where(certain, 0.0, jnp.sqrt(-2 * jnp.where(certain, -1.0, inside)))
    return rows.weight * jnp.select([quantified, below | above], [z_upper, one_sided], two_sided)


def derivatives(value: jax.Array, ln_sd: jax.Array, rows: Rows) -> jax.Array:
    """(6, n) log-density of each sample and its derivatives by g = ln f and s = ln sd: l, g, s, gg, gs, ss."""

    def density(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        return (log_density(pair[0], jnp.exp(pair[1]), rows),)

    def with_slopes(inner: Callable[..., tuple[jax.Array, ...]]) -> Callable[..., tuple[jax.Array, ...]]:
        def outer(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
            result, pushed = jax.linearize(inner, pair)
            ones, zeros = jnp.ones_like(value), jnp.zeros_like(value)
            return (*result, *pushed((ones, zeros)), *pushed((zeros, ones)))

        return outer

    # with_slopes twice gives l, g, s, then each of these by g, then each by s.
    l, g, s, _, gg, _, _, gs, ss = with_slopes(with_slopes(density))((value, ln_sd))
    return jnp.stack([l, g, s, gg, gs, ss])


@jax.custom_jvp
def root_deviance_below(z: jax.Array) -> jax.Array:
    """sqrt(-2 ln Phi(z)), finite with finite derivative for every finite z.

    At the far right it is sqrt(2 Phi(-z)), whose logarithm is exact where the plain form has lost every digit.
    """
    # From the side on which it is exact: ln Phi(z) left of 0, ln Phi(-z) right of it.
    log_side = log_ndtr(-jnp.abs(z))
    near = jnp.where(z > 0, jnp.log1p(-jnp.exp(log_side)), log_side)
    return jnp.where(z > TAIL, jnp.exp(0.5 * (math.log(2) + log_side)), jnp.sqrt(-2 * near))


@root_deviance_below.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (z,), (dz,) = primals, tangents
    root = root_deviance_below(z)
    # d/dz sqrt(-2 ln Phi) = -phi/(Phi root); in the tail root = sqrt(2 Phi(-z)) may underflow, its logarithm not.
    log_near, log_far = log_ndtr(jnp.stack([jnp.minimum(z, TAIL), -jnp.maximum(z, TAIL)]))
    slope_far = jnp.exp(norm.logpdf(jnp.maximum(z, TAIL)) - 0.5 * (math.log(2) + log_far))
    slope_near = jnp.exp(norm.logpdf(jnp.minimum(z, TAIL)) - log_near) / jnp.where(z > TAIL, 1.0, root)
    return root, -jnp.where(z > TAIL, slope_far, slope_near) * dz


def standardised(predicted: jax.Array, sd: Any, rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whether quantified, and both ends in standard deviations from the prediction; -inf and inf stay open ends."""
    lower, upper = rows.lower, rows.upper
    # inf - g has a NaN gradient by sd: open ends are put back after the arithmetic.
    z_lower = (jnp.where(jnp.isneginf(lower), 0.0, lower) - predicted) / sd
    z_upper = (jnp.where(jnp.isposinf(upper), 0.0, upper) - predicted) / sd
    return (
        lower == upper,
        jnp.where(jnp.isneginf(lower), -jnp.inf, z_lower),
        jnp.where(jnp.isposinf(upper), jnp.inf, z_upper),
    )


def log_probability(unused: jax.Array, z_lower: jax.Array, z_upper: jax.Array) -> jax.Array:
    """ln(Phi(z_upper) - Phi(z_lower)) without cancellation; ``unused`` as in `nearer_tail`."""
    small, large = nearer_tail(unused, z_lower, z_upper)
    open_ended = jnp.isneginf(small)
    log_small, log_large = log_ndtr(jnp.stack([jnp.where(open_ended, -1.0, small), large]))
    ratio = jnp.where(open_ended, -1.0, log_small - log_large)
    near = jnp.log(-jnp.expm1(jnp.maximum(ratio, -0.7)))
    far = jnp.log1p(-jnp.exp(jnp.minimum(ratio, -0.7)))
    return log_large + jnp.where(open_ended, 0.0, jnp.where(ratio > -0.7, near, far))


def nearer_tail(unused: jax.Array, z_lower: jax.Array, z_upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Both ends of an interval of a symmetric distribution, turned to the left where the tail on the right is nearer.

    Rows in ``unused`` get the ends of a harmless interval, so that no infinity reaches a gradient.
    """
    z_lower, z_upper = jnp.where(unused, -1.0, z_lower), jnp.where(unused, 1.0, z_upper)
    flip = z_lower + z_upper > 0
    return jnp.where(flip, -z_upper, z_lower), jnp.where(flip, -z_lower, z_upper)
