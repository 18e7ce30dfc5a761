"""Error models with a constant sd on ln copies: log-normal and Student's t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.lazily import special
from cellkinetics.likelihood import censoring, student
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.error_model import THROUGH_ALL, ErrorModel, of_normal_under, residuals_on_ln


@dataclass(frozen=True)
class ConstantOnLn(ErrorModel, shared=True):
    """What scatters about ln f with one sd."""

    parts: ClassVar[tuple[str, ...]] = ("sd",)
    at_bound: ClassVar[str] = THROUGH_ALL
    sd_unit: ClassVar[str] = "ln"
    needs_mass: ClassVar[bool] = False
    natural: ClassVar[bool] = False
    plannable: ClassVar[bool] = True

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

    def expected_information(self, ln_f: Floats, sds: Sequence[float], lloq: float | None) -> Floats:
        """(1 - Phi(z) + z phi(z) + phi(z)^2/Phi(z))/s^2, with z the limit in sds from ln f."""
        if lloq is None:
            return np.full(len(ln_f), 1 / sds[0] ** 2)
        return of_normal_under(np.full(len(ln_f), 1 / sds[0]), 0.0, (np.log(lloq) - ln_f) / sds[0])

    def from_normal(self, predicted: Floats, sds: Any, z: Floats, *, positive: bool) -> Floats:
        """As `ErrorModel.from_normal`."""
        return predicted * np.exp(sds[0] * z)

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

    def expected_information(self, ln_f: Floats, sds: Sequence[float], lloq: float | None) -> Floats:
        """5/7 of 1/s^2; under a limit z scales from ln f, with u = z/sqrt(4 + z^2), a part of it in closed form.

        Above the limit 75/16 (8/105 - u^3/3 + 2 u^5/5 - u^7/7), and density^2/probability below it.
        """
        if lloq is None:
            return np.full(len(ln_f), 5 / 7 / sds[0] ** 2)
        z = (np.log(lloq) - ln_f) / sds[0]
        u = z / np.sqrt(student.DEGREES + z**2)
        above = 75 / 16 * (8 / 105 - u**3 / 3 + 2 * u**5 / 5 - u**7 / 7)
        below = np.exp(2 * np.asarray(student.log_density(z)) - np.asarray(student.log_cdf(z)))
        return (above + below) / sds[0] ** 2

    def from_normal(self, predicted: Floats, sds: Any, z: Floats, *, positive: bool) -> Floats:
        """As `ErrorModel.from_normal`."""
        return predicted * np.exp(sds[0] * special.stdtrit(float(student.DEGREES), special.ndtr(z)))

    def drawn(
        self, predicted: Floats, sds: Floats, mass: Floats, positive: Flags | np.bool_, rng: np.random.Generator
    ) -> Floats:
        """As `ErrorModel.drawn`."""
        return np.exp(np.log(predicted) + sds[0] * rng.standard_t(student.DEGREES, size=predicted.shape))
