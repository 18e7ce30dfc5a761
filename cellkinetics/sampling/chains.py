"""Chains over patients: one iteration of draws of all patients' own parameters, and what it adapts.

A chain holds a value of the random parameters of every patient, phi (chains, n, q), on the estimation scale. An
iteration makes one proposal from the population, two random walks with each patient's own covariance, and one from a
t distribution with 5 degrees of freedom at each patient's moments. The likelihood stands in one place of the program,
in a loop over the moves: to compile it is what takes the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    from cellkinetics.arrays import Numeric

REFRESH, POPULATION, WALK, OWN, BESIDE = range(5)
MOVES = (POPULATION, WALK, OWN, WALK)
T_DEGREES = 5  # of the t distribution
WANTED = 0.3  # share of accepted random walks
FORGETTING = 0.05  # weight of an iteration in the running moments of proposals
LEAST_VARIANCE = 1e-4  # of the population's, that a patient's own proposals keep


class Chains(NamedTuple):
    """Where the chains are.

    phi : values of the random parameters. curve : ln f at the samples. value : log-likelihood of the samples.
    centre, spread : running moments of each patient, for proposals. ln_scale : of each patient's random walk.
    """

    phi: Float[Numeric, "chains patients random"]
    curve: Float[Numeric, "chains patients samples"]
    value: Float[Numeric, "chains patients"]
    centre: Float[Numeric, "patients random"]
    spread: Float[Numeric, "patients random random"]
    ln_scale: Float[Numeric, " patients"]


class Told(NamedTuple):
    """Shares of an iteration: accepted of each of `MOVES` kinds (POPULATION, WALK, OWN), and those not solved.

    Not solved: (n,) of each patient's proposals near where its chains are, not of those from the population.
    """

    accepted: Any
    refused: Any


Likelihood = Callable[[Any, Any], tuple[Any, Any]]


def log_normal(away: Any, factor: Any) -> Any:
    """Log density (..., n) of a normal at ``away`` (..., n, q) from its mean; factor : (n, q, q) Cholesky factors."""
    z, q = solve(factor, away), away.shape[-1]
    return -0.5 * (z**2).sum(axis=-1) - _ln_determinant(factor)[None] - 0.5 * q * math.log(2 * math.pi)


def log_t(away: Any, factor: Any) -> Any:
    """Log density (..., n) of a t with `T_DEGREES` degrees of freedom; as `log_normal`."""
    z, q, v = solve(factor, away), away.shape[-1], float(T_DEGREES)
    constant = math.lgamma((v + q) / 2) - math.lgamma(v / 2) - 0.5 * q * math.log(v * math.pi)
    return constant - _ln_determinant(factor)[None] - 0.5 * (v + q) * _of(away).log1p((z**2).sum(axis=-1) / v)


def _of(array: Any) -> Any:
    """NumPy's functions for its arrays: outside of a program those of JAX take ten times as long for small ones."""
    return np if isinstance(array, np.ndarray) else jnp


def _ln_determinant(factor: Any) -> Any:
    """(n,) of Cholesky factors (n, q, q)."""
    own = _of(factor)
    return own.log(own.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)


def solve(factor: Any, away: Any) -> Any:
    """L^-1 away: (..., n, q) by forward substitution over the columns, which vectorises over all the rest."""
    parts: list[Any] = []
    for row in range(away.shape[-1]):
        rest = away[..., row]
        for column, known in enumerate(parts):
            rest = rest - factor[None, :, row, column] * known
        parts.append(rest / factor[None, :, row, row])
    return _of(away).stack(parts, axis=-1)


def times(factor: Any, z: Any) -> Any:
    """L z: (chains, n, q) of factors (n, q, q)."""
    return jnp.einsum("npq,cnq->cnp", factor, z)


class Noise(NamedTuple):
    """What the moves of an iteration are made of, drawn beforehand: normals, what makes them t, ln of uniforms.

    Generators of random numbers inside the program would take as long to compile as the likelihood.
    """

    z: Float[Numeric, "moves chains patients random"]
    stretch: Float[Numeric, "moves chains patients"]
    ln_uniform: Float[Numeric, "moves chains patients"]


def noise(shape: tuple[int, ...], random: int, probes: int, seed: Sequence[int]) -> Noise:
    """Of iterations, chains and patients, ``shape``; of moves in `iterate`'s order."""
    rng = np.random.default_rng(seed)
    iterations, chains, n = shape
    of = (iterations, len(MOVES) + (1 + probes if probes else 0), chains, n)
    stretch = np.sqrt(T_DEGREES / rng.chisquare(T_DEGREES, of))
    return Noise(rng.normal(size=(*of, random)), stretch, np.log1p(-rng.random(of)))


def start(phi: Any, omega: Any, rows: int) -> Chains:
    """Chains before their first iteration, proposals as wide as the population."""
    chains, n, q = phi.shape
    nothing = jnp.full((chains, n), -jnp.inf)
    spread = jnp.broadcast_to(jnp.asarray(omega)[None], (n, q, q))
    return Chains(phi, jnp.zeros((chains, n, rows)), nothing, jnp.mean(phi, axis=0), spread, jnp.full(n, -0.5))


def iterate(
    likelihood: Likelihood, at: Chains, mean: Any, omega: Any, drawn: Noise, *, probes: Any, learning: Any
) -> tuple[Chains, Told, Any]:
    """One iteration.

    Parameters
    ----------
    likelihood : function of phi (chains, n, q), shift (p,) of the coefficients -> log-likelihoods (chains, n), curves
        (chains, n, samples).
    mean : (n, q) of the population for each patient. omega : (q, q) its covariance.
    drawn : of the moves.
    probes : (f, p) shifts of coefficients at which curves are asked for at the end; where there are any, likelihoods
        and curves are made anew first.
    learning : weight of what proposals learn from this iteration.

    Returns
    -------
    Where the chains are, shares, and the curves (f, chains, n, samples) of the probes.
    """
    chains, n, q = at.phi.shape
    of_population = jnp.broadcast_to(jnp.linalg.cholesky(omega)[None], (n, q, q))
    # A patient's own proposals never collapse where the chains of a short run happen to stand together.
    least = LEAST_VARIANCE * jnp.diag(jnp.diagonal(omega))
    own = jnp.linalg.cholesky(at.spread + least[None])
    walk = own * jnp.exp(at.ln_scale)[:, None, None]

    def move(carry: tuple[Any, ...], given: tuple[Any, Any, Noise]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        phi, curve, value = carry
        kind, shift, (z, stretch, ln_uniform) = given
        proposed = jnp.select(
            [kind == POPULATION, kind == WALK, kind == OWN],
            [
                mean[None] + times(of_population, z),
                phi + times(walk, z),
                at.centre[None] + times(own, z * stretch[..., None]),
            ],
            phi,
        )
        new, new_curve = likelihood(proposed, shift)
        prior = log_normal(proposed - mean[None], of_population) - log_normal(phi - mean[None], of_population)
        back = log_t(phi - at.centre[None], own) - log_t(proposed - at.centre[None], own)
        ratio = new - value + jnp.where(kind == POPULATION, 0.0, prior) + jnp.where(kind == OWN, back, 0.0)
        # From where there is no curve, every curve is better.
        ratio = jnp.where(jnp.isneginf(value) & jnp.isfinite(new), 0.0, ratio)
        taken = ((ln_uniform <= ratio) | (kind == REFRESH)) & (kind != BESIDE)
        phi = jnp.where(taken[..., None], proposed, phi)
        curve = jnp.where(taken[..., None], new_curve, curve)
        said = jnp.mean(taken, axis=0), jnp.mean(jnp.isneginf(new), axis=0)
        return (phi, curve, jnp.where(taken, new, value)), (*said, new_curve) if count else said

    count, first = len(probes), bool(len(probes))
    kinds = jnp.array([*[REFRESH] * first, *MOVES, *[BESIDE] * count])
    shifts = jnp.concatenate([jnp.zeros((first + len(MOVES), probes.shape[1])), probes])
    (phi, curve, value), (accepted, refused, *seen) = jax.lax.scan(
        move, (at.phi, at.curve, at.value), (kinds, shifts, drawn)
    )
    accepted, refused = (part[first : first + len(MOVES)] for part in (accepted, refused))
    order = jnp.array(MOVES)
    shares = jnp.stack([jnp.mean(accepted, axis=1) @ (order == kind) for kind in (POPULATION, WALK, OWN)])
    shares = shares / jnp.array([float(MOVES.count(kind)) for kind in (POPULATION, WALK, OWN)])
    walked = jnp.sum(accepted * (order == WALK)[:, None], axis=0) / MOVES.count(WALK)
    # A proposal from the population is often far from all samples, where a curve that is not solved changes nothing.
    near = order != POPULATION
    refused = jnp.sum(refused * near[:, None], axis=0) / jnp.sum(near)
    centre = at.centre + learning * (jnp.mean(phi, axis=0) - at.centre)
    away = phi - centre[None]
    spread = at.spread + learning * (jnp.einsum("cnp,cnq->npq", away, away) / chains - at.spread)
    ln_scale = jnp.clip(at.ln_scale + 2 * learning * (walked - WANTED) * (learning > 0), -6.0, 2.0)
    ends = Chains(phi, curve, value, centre, spread, ln_scale)
    return ends, Told(shares, refused), seen[0][-count:] if count else None
