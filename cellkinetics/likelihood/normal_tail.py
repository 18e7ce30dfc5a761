r"""ln of the normal probability with derivatives that keep their digits however far out: limits may be 1e10 sds away.

Left of -20 from Laplace's continued fraction of Mills' ratio, with t = -z:
:math:`\varphi(z)/\Phi(z) = t + r,\; r = 1/(t + 2/(t + 3/(t + \dots)))`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy import special
from jax.scipy.stats import norm

FAR_TAIL, TERMS = 20.0, 6


@jax.custom_jvp
def log_ndtr(z: jax.Array) -> jax.Array:
    """Ln of the standard normal probability of lying below z (no infinity)."""
    far = jnp.maximum(-z, FAR_TAIL)
    return jnp.where(
        z < -FAR_TAIL, norm.logpdf(far) - jnp.log(far + _excess(far)), special.log_ndtr(jnp.maximum(z, -FAR_TAIL))
    )


@jax.custom_jvp
def hazard(z: jax.Array) -> jax.Array:
    """Density over probability: the slope of `log_ndtr`."""
    far, near = jnp.maximum(-z, FAR_TAIL), jnp.maximum(z, -FAR_TAIL)
    return jnp.where(z < -FAR_TAIL, far + _excess(far), jnp.exp(norm.logpdf(near) - special.log_ndtr(near)))


def _excess(far: jax.Array) -> jax.Array:
    """Mills' ratio turned over, less t, for t of 20 and more."""
    fraction = jnp.zeros_like(far)
    for term in range(TERMS, 0, -1):
        fraction = term / (far + fraction)
    return fraction


@log_ndtr.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return log_ndtr(*primals), hazard(*primals) * tangents[0]


@hazard.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (z,) = primals
    slope = hazard(z)
    excess = jnp.where(z < -FAR_TAIL, _excess(jnp.maximum(-z, FAR_TAIL)), jnp.maximum(z, -FAR_TAIL) + slope)
    return slope, -slope * excess * tangents[0]
