"""Error models that are normal on the scale of the copies: proportional and combined."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from cellkinetics.arrays import Flags, Floats
from cellkinetics.lazily import norm, special
from cellkinetics.likelihood.censoring import Rows, log_probability
from cellkinetics.likelihood.error_model import THROUGH_ALL, ErrorModel, of_normal_under
from cellkinetics.likelihood.normal_tail import log_ndtr


@dataclass(frozen=True)
class NormalCopies(ErrorModel, shared=True):
    """y = f + sd(f) e, with e standard normal; ``positive``: given that y is positive (M4)."""

    positive: bool = False
    at_bound: ClassVar[str] = THROUGH_ALL
    needs_mass: ClassVar[bool] = False
    least_squares: ClassVar[bool] = False
    natural: ClassVar[bool] = True
    plannable: ClassVar[bool] = True
    sd_unit: ClassVar[str] = "1"

    @abstractmethod
    def ln_spread(self, predicted: Any, ln_sd: Any) -> jax.Array:
        """Ln of the sd (n,) of y."""

    @abstractmethod
    def spread(self, predicted: Floats, sds: Floats) -> Floats:
        """The sd (n,) of y at these copies."""

    @abstractmethod
    def slope_of_spread(self, predicted: Floats, sds: Any) -> Floats:
        """How the sd (n,) of y grows with f."""

    def expected_information(self, ln_f: Floats, sds: Sequence[float], lloq: float | None) -> Floats:
        """(f/s)^2 (1 + 2 (ds/df)^2), for the spread tells of f too; less where a limit hides some of it."""
        f, given = np.exp(ln_f), np.asarray(sds, float)
        spread = self.spread(f, given)
        z = np.full(len(f), -np.inf) if lloq is None else (lloq - f) / spread
        return of_normal_under(f / spread, self.slope_of_spread(f, given), z)

    def from_normal(self, predicted: Floats, sds: Any, z: Floats, *, positive: bool) -> Floats:
        """As `ErrorModel.from_normal`."""
        sd = self.spread(predicted, sds)
        if positive:
            low = special.ndtr(-predicted / sd)
            z = special.ndtri(low + (1 - low) * special.ndtr(z))
        return predicted + sd * z

    @property
    def given_positive(self) -> bool:
        """As `ErrorModel.given_positive`."""
        return self.positive

    def under(self, censoring: str) -> Self:
        """Given that y is positive under "m4"."""
        return replace(self, positive=censoring == "m4")

    def log_density(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """As `ErrorModel.log_density`."""
        quantified, z_lower, z_upper, z_zero, ln_spread = self._in_sds(predicted, ln_sd, rows)
        density = norm.logpdf(jnp.where(quantified, z_upper, 0.0)) - ln_spread + jnp.where(quantified, rows.upper, 0.0)
        if self.positive:
            z_lower = jnp.where(jnp.isneginf(rows.lower), z_zero, z_lower)
        result = jnp.where(quantified, density, log_probability(quantified, z_lower, z_upper))
        if self.positive:
            result = result - log_ndtr(-z_zero)
        return rows.weight * result

    def residuals(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """(y - f)/sd(f)."""
        quantified, _, z_upper, _, _ = self._in_sds(predicted, ln_sd, rows)
        return jnp.where(quantified, z_upper, 0.0)

    def root_of_residual(self, z: jax.Array) -> jax.Array:
        """The residual itself, though ln sd(f) belongs to the likelihood too."""
        return z

    def information(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """(f/sd(f))^2."""
        return jnp.exp(2 * (predicted - self.ln_spread(predicted, ln_sd)))

    def drawn(
        self, predicted: Floats, sds: Floats, mass: Floats, positive: Flags | np.bool_, rng: np.random.Generator
    ) -> Floats:
        """As `ErrorModel.drawn`."""
        sd = self.spread(predicted, sds)
        lowest = np.where(positive | self.positive, -predicted / sd, -np.inf)
        return predicted + sd * scipy.stats.truncnorm.rvs(lowest, np.inf, size=predicted.shape, random_state=rng)

    def _in_sds(
        self, predicted: Any, ln_sd: Any, rows: Rows
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
        """Whether quantified, both ends and zero copies in sds from f, and ln sd; open ends stay -inf and inf."""
        ln_spread = self.ln_spread(predicted, ln_sd)
        ratio = jnp.exp(predicted - ln_spread)
        no_lower, no_upper = jnp.isneginf(rows.lower), jnp.isposinf(rows.upper)
        z_lower = jnp.expm1(jnp.where(no_lower, 0.0, rows.lower) - predicted) * ratio
        z_upper = jnp.expm1(jnp.where(no_upper, 0.0, rows.upper) - predicted) * ratio
        return (
            rows.lower == rows.upper,
            jnp.where(no_lower, -jnp.inf, z_lower),
            jnp.where(no_upper, jnp.inf, z_upper),
            -ratio,
            ln_spread,
        )


@dataclass(frozen=True)
class Proportional(NormalCopies):
    """sd(f) = s f."""

    name: ClassVar[str] = "proportional"
    parts: ClassVar[tuple[str, ...]] = ("sd",)
    words: ClassVar[str] = "proportional: normal on the scale of the copies, sd x prediction"

    def ln_spread(self, predicted: Any, ln_sd: Any) -> jax.Array:
        """As `NormalCopies.ln_spread`."""
        return ln_sd[0] + predicted

    def spread(self, predicted: Floats, sds: Floats) -> Floats:
        """As `NormalCopies.spread`."""
        return sds[0] * predicted

    def slope_of_spread(self, predicted: Floats, sds: Any) -> Floats:
        """As `NormalCopies.slope_of_spread`."""
        return np.full_like(predicted, sds[0])


@dataclass(frozen=True)
class Combined(NormalCopies):
    """sd(f) = sqrt(a^2 + b^2 f^2)."""

    name: ClassVar[str] = "combined"
    parts: ClassVar[tuple[str, ...]] = ("sd_add", "sd_prop")
    in_copies: ClassVar[tuple[str, ...]] = ("sd_add",)
    words: ClassVar[str] = "combined: normal on the scale of the copies, variance sd_add^2 + (sd_prop x prediction)^2"
    simpler: ClassVar[str] = "proportional"
    none_shown: ClassVar[tuple[str, ...]] = (
        "these samples show no additive part. Take error='proportional', which says the same with one parameter less.",
        "these samples show no proportional part. Fix it (fixed={{{name!r}: 0}}), which says the same with one "
        "parameter less.",
    )

    def ln_spread(self, predicted: Any, ln_sd: Any) -> jax.Array:
        """As `NormalCopies.ln_spread`."""
        return 0.5 * jnp.logaddexp(2 * ln_sd[0], 2 * (ln_sd[1] + predicted))

    def spread(self, predicted: Floats, sds: Floats) -> Floats:
        """As `NormalCopies.spread`."""
        return np.hypot(sds[0], sds[1] * predicted)

    def slope_of_spread(self, predicted: Floats, sds: Any) -> Floats:
        """As `NormalCopies.slope_of_spread`."""
        return sds[1] ** 2 * predicted / self.spread(predicted, sds)
