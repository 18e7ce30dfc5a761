r"""Student's t with 4 degrees of freedom: density and probabilities of intervals in closed form, exact in the tails.

With :math:`v = 1 + z/\sqrt{4 + z^2}` the cumulative probability is :math:`v^2 (3 - v)/4`. Four degrees of freedom are
fixed: they cannot be estimated from a dozen samples, and 4 is the usual choice (Lange, Little and Taylor 1989,
doi:10.1080/01621459.1989.10478852).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from cellkinetics.likelihood.censoring import nearer_tail

DEGREES = 4


def log_density(z: jax.Array) -> jax.Array:
    """Ln of the density."""
    return math.log(3 / 8) - 2.5 * jnp.log1p(z**2 / DEGREES)


def log_cdf(z: jax.Array) -> jax.Array:
    """Ln P(t < z), from the tail in which z lies."""
    near = _v(-jnp.abs(z))
    tail = near**2 * (3 - near) / 4
    return jnp.where(z > 0, jnp.log1p(-tail), 2 * jnp.log(near) + jnp.log((3 - near) / 4))


def log_probability(unused: jax.Array, z_lower: jax.Array, z_upper: jax.Array) -> jax.Array:
    """Ln P(z_lower < t < z_upper) without cancellation; an end may be infinite, ``unused`` as in `nearer_tail`."""
    small, large = nearer_tail(unused, z_lower, z_upper)
    one_sided = jnp.isneginf(small)
    small = jnp.where(one_sided, jnp.minimum(large, 0.0) - 1.0, small)
    v_small, v_large = _v(small), _v(large)
    sides = 3 * (v_small + v_large) - (v_small**2 + v_small * v_large + v_large**2)
    both = jnp.log(_apart(small, large)) + jnp.log(sides / 4)
    return jnp.where(one_sided, log_cdf(large), both)


def _v(z: jax.Array) -> jax.Array:
    """1 + z/sqrt(4 + z^2)."""
    left = jnp.minimum(z, 0.0)
    root = jnp.sqrt(DEGREES + left**2)
    return jnp.where(z > 0, 1 + z / jnp.sqrt(DEGREES + z**2), DEGREES / (root * (root - left)))


def _apart(small: jax.Array, large: jax.Array) -> jax.Array:
    """v(large) - v(small), where small is negative and further out than large."""
    near = jnp.minimum(large, 0.0)
    root_small, root_near = jnp.sqrt(DEGREES + small**2), jnp.sqrt(DEGREES + near**2)
    one_side = DEGREES * (near - small) * (near + small)
    one_side = one_side / (root_small * root_near * (near * root_small + small * root_near))
    far = jnp.maximum(large, 0.0)
    return one_side + far / jnp.sqrt(DEGREES + far**2)
