r"""Error models: how samples scatter about the curve, each with its censored samples in the same terms.

Of a sample y and a prediction f, with g = ln f and the standard normal :math:`\Phi`:

.. math::

    \begin{aligned}
    \text{log:} \quad & \ln y = g + s\,\varepsilon \\
    \text{student:} \quad & \ln y = g + s\,t_4 \\
    \text{proportional:} \quad & y = f + s f\,\varepsilon \\
    \text{combined:} \quad & y = f + \sqrt{a^2 + b^2 f^2}\;\varepsilon \\
    \text{counting:} \quad & y = (N/m)\,e^{s\varepsilon}, \quad N \sim \text{Poisson}(m f)
    \end{aligned}

with m the mass of DNA. Every density here is that of ln y (that of y times y), and the contribution of a censored
sample is the probability of its interval; below a limit it is that of everything under the limit, which on the natural
scale includes negative values (M3), unless the error model is asked for given a positive y (M4).

`censoring` holds the log-normal likelihood itself, `counting` the Poisson mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from scipy.special import ndtri_exp

from cellkinetics.arrays import Floats
from cellkinetics.likelihood import censoring, counting
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.normal_tail import log_ndtr
from cellkinetics.likelihood.student import log_density as student_density
from cellkinetics.likelihood.student import log_probability as student_probability

LOG = "log"
NATURAL = ("proportional", "combined")  # normal on the scale of the copies
# What each estimates, for every output.
PARTS: dict[str, tuple[str, ...]] = {
    LOG: ("sd",),
    "proportional": ("sd",),
    "combined": ("sd_add", "sd_prop"),
    "student": ("sd",),
    "counting": ("sd",),
}
IN_WORDS = {
    LOG: "log-normal: constant sd on ln copies",
    "proportional": "proportional: normal on the scale of the copies, sd x prediction",
    "combined": "combined: normal on the scale of the copies, variance sd_add^2 + (sd_prop x prediction)^2",
    "student": "Student t with 4 degrees of freedom on ln copies, scale sd",
    "counting": "log-normal on top of the Poisson number of molecules in the wells",
}


@dataclass(frozen=True)
class ErrorModel:
    """One of `PARTS` by name; ``positive``: given that y is positive (M4), which changes only a normal y."""

    name: str = LOG
    positive: bool = False

    @classmethod
    def of(cls, name: str, censoring: str) -> ErrorModel:
        """Under a method of handling values below the limit."""
        return cls(name, censoring == "m4" and name in NATURAL)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of what is estimated for each output."""
        return PARTS[self.name]


def log_density(error: ErrorModel, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
    """Log-likelihood of each sample on the scale of ln(copies).

    Parameters
    ----------
    error : which error model.
    predicted : (n,) ln of the predicted copies.
    ln_sd : (parts, n) ln of what is estimated, in the order of `PARTS`.
    rows : (n,) the samples.

    Returns
    -------
    (n,) 0 for padding.
    """
    if error.name == LOG:
        return censoring.log_density(predicted, jnp.exp(ln_sd[0]), rows)
    if error.name == "counting":
        return rows.weight * counting.log_density(predicted, ln_sd[0], rows)
    if error.name == "student":
        quantified, z_lower, z_upper = censoring.standardised(predicted, jnp.exp(ln_sd[0]), rows)
        density = student_density(jnp.where(quantified, z_upper, 0.0)) - ln_sd[0]
        return rows.weight * jnp.where(quantified, density, student_probability(quantified, z_lower, z_upper))
    quantified, z_lower, z_upper, z_zero, ln_spread = _on_natural_scale(error, predicted, ln_sd, rows)
    density = norm.logpdf(jnp.where(quantified, z_upper, 0.0)) - ln_spread + jnp.where(quantified, rows.upper, 0.0)
    if error.positive:
        z_lower = jnp.where(jnp.isneginf(rows.lower), z_zero, z_lower)
    result = jnp.where(quantified, density, censoring.log_probability(quantified, z_lower, z_upper))
    if error.positive:
        result = result - log_ndtr(-z_zero)
    return rows.weight * result


def residuals(error: ErrorModel, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
    """(n,) quantified samples in sds from the prediction, in the terms of the error model; 0 for others."""
    if error.name in NATURAL:
        quantified, _, z_upper, _, _ = _on_natural_scale(error, predicted, ln_sd, rows)
    elif error.name == "counting":
        log_sd = 0.5 * jnp.logaddexp(2 * ln_sd[0], -predicted - jnp.log(rows.mass))
        quantified, _, z_upper = censoring.standardised(predicted, jnp.exp(log_sd), rows)
    else:
        quantified, _, z_upper = censoring.standardised(predicted, jnp.exp(ln_sd[0]), rows)
    return jnp.where(quantified, z_upper, 0.0)


def root_deviances(error: ErrorModel, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
    """(n,) as `censoring.root_deviances`; their squares add up to -2 log-likelihood where sds do not depend on f.

    Those of Student's t are sqrt(5 ln(1 + z^2/4)) with the sign of z. On the natural scale, where ln sd(f) belongs to
    the likelihood too, and for counts, those of quantified samples are their `residuals`.
    """
    if error.name == LOG:
        return censoring.root_deviances(predicted, jnp.exp(ln_sd[0]), rows)
    z = residuals(error, predicted, ln_sd, rows)
    if error.name == "student":
        z = jnp.sign(z) * jnp.sqrt(5 * jnp.log1p(z**2 / 4))
    quantified = rows.lower == rows.upper
    certain = (beyond := log_density(error, predicted, ln_sd, rows)) > -1e-300
    censored = jnp.where(certain, 0.0, jnp.sqrt(-2 * jnp.where(certain | quantified, -1.0, beyond)))
    return rows.weight * jnp.where(quantified, z, censored)


def information(error: ErrorModel, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
    """(n,) expected information of a quantified sample about where g lies, the sd taken as known.

    What a quantified row spends on the curve: that of weighted least squares at the fitted weights. Of a count it is
    that of the delta method, 1/(s^2 + 1/(m f)).
    """
    if error.name in NATURAL:
        return jnp.exp(2 * (predicted - _ln_spread(error, predicted, ln_sd)))
    if error.name == "counting":
        return jnp.exp(-jnp.logaddexp(2 * ln_sd[0], -predicted - jnp.log(rows.mass)))
    return (5 / 7 if error.name == "student" else 1.0) * jnp.exp(-2 * ln_sd[0])


def derivatives(
    error: ErrorModel, predicted: jax.Array, ln_sd: jax.Array, rows: Rows
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log-density (n,), its slopes (1 + parts, n) and second derivatives by g and each ln sd."""
    if error.name == LOG:
        value, g, s, gg, gs, ss = censoring.derivatives(predicted, ln_sd[0], rows)
        return value, jnp.stack([g, s]), jnp.stack([jnp.stack([gg, gs]), jnp.stack([gs, ss])])

    def density(point: jax.Array) -> jax.Array:
        return log_density(error, point[0], point[1:], rows)

    point = jnp.concatenate([predicted[None], ln_sd])
    along = jnp.eye(len(point))[:, :, None] * jnp.ones_like(point)[None]

    def slopes(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        # One program for all directions: that compiles in half the time.
        return lambda point: jax.vmap(lambda way: jax.jvp(function, (point,), (way,))[1])(along)

    return density(point), slopes(density)(point), slopes(slopes(density))(point)


def normal_scores(error: ErrorModel, predicted: Any, ln_sd: Floats, rows: Rows) -> tuple[Floats, Floats]:
    """(n,) both ends of each sample as the standard normal values of the same probability; -inf and inf where open."""
    ends = []
    for end in (np.asarray(rows.lower), np.asarray(rows.upper)):
        known = np.where(np.isfinite(end), end, 0.0)
        nothing, everything = np.full_like(known, -np.inf), np.full_like(known, np.inf)
        below, above = (
            np.asarray(_log_density(error, predicted, ln_sd, rows._replace(lower=low, upper=high)))
            for low, high in ((nothing, known), (known, everything))
        )
        score = np.where(below < above, ndtri_exp(np.minimum(below, 0.0)), -ndtri_exp(np.minimum(above, 0.0)))
        ends.append(np.where(np.isfinite(end), score, end))
    return ends[0], ends[1]


def _ln_spread(error: ErrorModel, predicted: Any, ln_sd: Any) -> jax.Array:
    """Ln of the sd of y, normal on its natural scale."""
    if error.name == "proportional":
        return ln_sd[0] + predicted
    return 0.5 * jnp.logaddexp(2 * ln_sd[0], 2 * (ln_sd[1] + predicted))


def _on_natural_scale(
    error: ErrorModel, predicted: Any, ln_sd: Any, rows: Rows
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Whether quantified, both ends and zero copies in sds from f, and ln sd; open ends stay -inf and inf."""
    ln_spread = _ln_spread(error, predicted, ln_sd)
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


_log_density = jax.jit(log_density, static_argnums=0)
