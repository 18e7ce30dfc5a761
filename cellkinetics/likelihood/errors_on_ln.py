"""Error models with a constant sd on ln copies: log-normal and Student's t."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.likelihood import censoring, student
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.error_model import THROUGH_ALL, ErrorModel, residuals_on_ln


@dataclass(frozen=True)
class ConstantOnLn(ErrorModel, shared=True):
    """What scatters about ln f with one sd."""

    parts: ClassVar[tuple[str, ...]] = ("sd",)
    at_bound: ClassVar[str] = THROUGH_ALL
    sd_unit: ClassVar[str] = "ln"
    needs_mass: ClassVar[bool] = False
    natural: ClassVar[bool] = False

    def under(self, censoring: str) -> Self:
        """The same: every y is positive."""
        return self

    def residuals(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """(ln y - g)/s."""
        return residuals_on_ln(predicted, jnp.exp(ln_sd[0]), rows)


@dataclass(frozen=True)
class NormalOnLn(ConstantOnLn):
    """ln y = g + s e, with e standard normal."""

    name: ClassVar[str] = "log"
    words: ClassVar[str] = "log-normal: constant sd on ln copies"
    least_squares: ClassVar[bool] = True

    def log_density(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """As `ErrorModel.log_density`."""
        return censoring.log_density(predicted, jnp.exp(ln_sd[0]), rows)

    def root_of_residual(self, z: jax.Array) -> jax.Array:
        """The residual itself."""
        return z

    def root_deviances(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """As `censoring.root_deviances`: exact far into the tails."""
        return censoring.root_deviances(predicted, jnp.exp(ln_sd[0]), rows)

    def information(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """1/s^2."""
        return jnp.exp(-2 * ln_sd[0])

    def derivatives(self, predicted: jax.Array, ln_sd: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
        """As `ErrorModel.derivatives`, in one program with the value."""
        value, g, s, gg, gs, ss = censoring.derivatives(predicted, ln_sd[0], rows)
        return value, jnp.stack([g, s]), jnp.stack([jnp.stack([gg, gs]), jnp.stack([gs, ss])])

    def drawn(
        self, predicted: Floats, sds: Floats, mass: Floats, positive: Flags | np.bool_, rng: np.random.Generator
    ) -> Floats:
        """As `ErrorModel.drawn`."""
        return np.exp(np.log(predicted) + sds[0] * rng.normal(size=predicted.shape))


@dataclass(frozen=True)
class Student(ConstantOnLn):
    """ln y = g + s t, with t of Student's distribution with 4 degrees of freedom."""

    name: ClassVar[str] = "student"
    words: ClassVar[str] = "Student t with 4 degrees of freedom on ln copies, scale sd"
    least_squares: ClassVar[bool] = False

    def log_density(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """As `ErrorModel.log_density`."""
        quantified, z_lower, z_upper = censoring.standardised(predicted, jnp.exp(ln_sd[0]), rows)
        density = student.log_density(jnp.where(quantified, z_upper, 0.0)) - ln_sd[0]
        return rows.weight * jnp.where(quantified, density, student.log_probability(quantified, z_lower, z_upper))

    def root_of_residual(self, z: jax.Array) -> jax.Array:
        """sqrt(5 ln(1 + z^2/4)) with the sign of z."""
        return jnp.sign(z) * jnp.sqrt(5 * jnp.log1p(z**2 / 4))

    def information(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """(5/7)/s^2."""
        return 5 / 7 * jnp.exp(-2 * ln_sd[0])

    def drawn(
        self, predicted: Floats, sds: Floats, mass: Floats, positive: Flags | np.bool_, rng: np.random.Generator
    ) -> Floats:
        """As `ErrorModel.drawn`."""
        return np.exp(np.log(predicted) + sds[0] * rng.standard_t(student.DEGREES, size=predicted.shape))
