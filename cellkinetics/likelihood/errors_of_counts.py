"""The error model of few molecules: a log-normal error on top of the Poisson number of molecules in the wells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.likelihood import censoring, counting
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.error_model import ErrorModel, residuals_on_ln

MOST_MOLECULES = 1e12


@dataclass(frozen=True)
class Counting(ErrorModel):
    """y = (N/m) exp(s e), with N Poisson of mean m f and e standard normal."""

    name: ClassVar[str] = "counting"
    parts: ClassVar[tuple[str, ...]] = ("sd",)
    words: ClassVar[str] = "log-normal on top of the Poisson number of molecules in the wells"
    at_bound: ClassVar[str] = (
        "the number of molecules explains the scatter. Give the sd that the assay has besides (fixed=), such as 0.1."
    )
    sd_unit: ClassVar[str] = "ln"
    needs_mass: ClassVar[bool] = True
    least_squares: ClassVar[bool] = False
    natural: ClassVar[bool] = False

    def under(self, censoring: str) -> Self:
        """The same; a fit refuses "m4"."""
        return self

    @property
    def rough(self) -> ErrorModel | None:
        """With the moments of the number of molecules in the place of the sum."""
        return CountingRoughly()

    def log_density(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """As `ErrorModel.log_density`."""
        return rows.weight * counting.log_density(predicted, ln_sd[0], rows)

    def derivatives(self, predicted: Any, ln_sd: Any, rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As `ErrorModel.derivatives`."""
        value, first, second = counting.derivatives(predicted, ln_sd[0], rows)
        weight = rows.weight
        return weight * value, weight[None] * first, weight[None, None] * second

    def residuals(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """(ln y - g) in sds of the delta method, sqrt(s^2 + 1/(m f))."""
        log_sd = 0.5 * jnp.logaddexp(2 * ln_sd[0], -predicted - jnp.log(rows.mass))
        return residuals_on_ln(predicted, jnp.exp(log_sd), rows)

    def root_of_residual(self, z: jax.Array) -> jax.Array:
        """The residual itself."""
        return z

    def information(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """That of the delta method, 1/(s^2 + 1/(m f))."""
        return jnp.exp(-jnp.logaddexp(2 * ln_sd[0], -predicted - jnp.log(rows.mass)))

    def drawn(
        self, predicted: Floats, sds: Floats, mass: Floats, positive: Flags | np.bool_, rng: np.random.Generator
    ) -> Floats:
        """As `ErrorModel.drawn`."""
        mean = mass * predicted
        # Beyond a million million molecules their number is its mean, and NumPy's generator has no such numbers.
        number = np.where(mean < MOST_MOLECULES, rng.poisson(np.minimum(mean, MOST_MOLECULES)), mean)
        return number / mass * np.exp(sds[0] * rng.normal(size=predicted.shape))


@dataclass(frozen=True)
class CountingRoughly(Counting):
    """As if the logarithm of the number of molecules were normal where there are some; to search with."""

    @property
    def rough(self) -> ErrorModel | None:
        """Nothing rougher."""
        return None

    def log_density(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """With mean and variance of N given that N > 0, and of a sample below a limit P(N = 0) beside."""
        ln_mass = jnp.log(rows.mass)
        mean = jnp.exp(predicted + ln_mass)
        some = -jnp.expm1(-mean)
        variance = (1 + mean) * some / mean - 1
        sd = jnp.sqrt(jnp.exp(2 * ln_sd[0]) + jnp.maximum(variance, 0.0))
        ln_some = jnp.log(some)
        value = ln_some + censoring.log_density(predicted - ln_some, sd, rows._replace(weight=jnp.ones_like(mean)))
        nothing = jnp.isneginf(rows.lower)
        return rows.weight * jnp.where(nothing, jnp.logaddexp(value, -jnp.where(nothing, mean, 0.0)), value)

    def derivatives(self, predicted: Any, ln_sd: Any, rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As `ErrorModel.derivatives`."""
        return ErrorModel.derivatives(self, predicted, ln_sd, rows)
