"""The no-U-turn sampler, by numpyro (extra ``bayes``), on standardised effects and whitened estimates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.bayes import target as targets
from cellkinetics.bayes.gibbs import USUAL, Sampled, block_of
from cellkinetics.bayes.target import Priors
from cellkinetics.modelling.structure import Method
from cellkinetics.population.polish import vector_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.running import Population
from cellkinetics.population.saem import Theta
from cellkinetics.running.checkpoint import Checkpoint

TARGET_ACCEPT = 0.9
DEEPEST = 8  # at most 2^8 steps a draw
DRAWS_OF_A_CALL = 25  # of one call
NO_NUMPYRO = "method='nuts' needs numpyro: pip install numpyro. method='gibbs' needs nothing."


class DrawsOfNuts(NamedTuple):
    """Of a block of draws (draws, chains, ...): the coordinates of `_potential`, and how the moves went."""

    u: Any
    z: Any
    diverging: Any
    accepted: Any


def sample(
    fit: PopulationFit,
    priors: Priors,
    draws: int,
    warmup: int,
    chains: int,
    seed: int,
    more: Callable[[int], None],
    checkpoint: Checkpoint | None = None,
) -> Sampled:
    """Chains side by side in one program, from the estimates of the population.

    An interrupt from the keyboard after the warm-up leaves the draws so far.

    Raises
    ------
    ImportError
        numpyro is not installed.
    """
    try:
        from numpyro.infer import NUTS
    except ImportError:
        raise ImportError(NO_NUMPYRO) from None
    potential, unpacked, start = _potential(fit, priors)
    rng = np.random.default_rng([seed, 17])
    n, q = len(fit.subjects), len(fit.design.random)
    middle = _standardised(fit)
    begun = {
        "u": start + 0.5 * rng.normal(size=(chains, len(start))),
        "z": middle + 0.5 * rng.normal(size=(chains, n, q)),
    }
    kernel = NUTS(potential_fn=potential, target_accept_prob=TARGET_ACCEPT, max_tree_depth=DEEPEST)
    # Keys that are plain numbers: a state is kept on disk.
    keys = jax.random.split(jax.random.PRNGKey(seed), chains)

    @jax.jit
    def some(state: Any) -> tuple[Any, DrawsOfNuts]:
        def one(state: Any, _: None) -> tuple[Any, DrawsOfNuts]:
            state = kernel.sample(state, (), {})
            return state, DrawsOfNuts(state.z["u"], state.z["z"], state.diverging, state.accept_prob)

        return jax.lax.scan(one, state, length=DRAWS_OF_A_CALL)

    found: list[DrawsOfNuts] = []
    blocks_of_warmup, blocks = -(-warmup // DRAWS_OF_A_CALL), -(-draws // DRAWS_OF_A_CALL)
    # numpyro's own arrays are promoted, wherever that is an error.
    with jax.numpy_rank_promotion("allow"):
        state = jax.jit(lambda keys, begun: kernel.init(keys, blocks_of_warmup * DRAWS_OF_A_CALL, begun))(keys, begun)
        for number in range(blocks_of_warmup + blocks):
            try:
                state, told = block_of(some, state, (number, warmup, seed), checkpoint)
            except KeyboardInterrupt:
                if not found:
                    raise
                break
            found += [DrawsOfNuts(*told)] if number >= blocks_of_warmup else []
            more(DRAWS_OF_A_CALL)
    whole = DrawsOfNuts(*(np.moveaxis(np.concatenate(parts)[:draws], 1, 0) for parts in zip(*found, strict=True)))
    v, phi, value = jax.jit(jax.vmap(jax.vmap(unpacked)))(whole.u, whole.z)
    return Sampled(
        np.asarray(v), np.asarray(phi), np.asarray(value), whole.accepted.mean(axis=1), whole.diverging.astype(bool)
    )


def _trusted(population: Population) -> Population:
    """With the finer solution in place of the first of a structure.

    A path of NUTS ends, and diverges, where a curve is refused: 5% of the draws of il15_persistence.
    """
    finer = population.finer() if population.method is Method.STRUCTURE else None
    return population if finer is None else finer


def _potential(fit: PopulationFit, priors: Priors) -> tuple[Callable[..., Any], Callable[..., Any], Floats]:
    """Minus the log density of (u, z), what (u, z) are as (v, phi, log-likelihood), and u of the estimates.

    u whitens coefficients, ln spreads, correlations as `CorrCholeskyTransform` has them, and free ln sds.
    """
    from numpyro.distributions.transforms import CorrCholeskyTransform

    population = _trusted(fit.population)
    target, design, patients = targets.target_of(fit)._replace(method=population.method), fit.design, fit.patients
    theta = fit.polished.theta
    p, q, free = len(design.effects), len(design.random), np.flatnonzero(patients.sd_free)
    # As JAX's own arrays: a derivative written by hand takes no constants of NumPy.
    data, matrix = jax.tree.map(jnp.asarray, population.data), jnp.asarray(design.matrix)
    of_random = matrix[:, design.places]
    likelihood = targets.likelihood_of(target, matrix, data, reverse=True)
    to_factor = CorrCholeskyTransform()
    linked = [block for block in target.blocks if len(block) > 1]
    sizes = [len(block) * (len(block) - 1) // 2 for block in linked]

    def parts(w: Any) -> tuple[Any, Any, Any, Any]:
        """Coefficients, covariance, ln sds, and ln of what the correlations' coordinates stretch."""
        beta, ln_spread = w[:p], w[p : p + q]
        correlation, stretched, first = jnp.eye(q), 0.0, p + q
        for block, size in zip(linked, sizes, strict=True):
            x = w[first : first + size]
            factor = to_factor(x)
            at, k = np.array(block), len(block)
            correlation = correlation.at[np.ix_(at, at)].set(factor @ factor.T)
            # From x to the factor, and from the factor to the correlations.
            stretched = stretched + to_factor.log_abs_det_jacobian(x, factor)
            stretched = stretched + jnp.sum(jnp.arange(k - 1, -1, -1) * jnp.log(jnp.diagonal(factor)))
            first += size
        spread = jnp.exp(ln_spread)
        ln_sd = jnp.asarray(theta.ln_sd).at[free].set(w[first:])
        return beta, spread[:, None] * correlation * spread[None, :], ln_sd, stretched

    start, factor = _whitening(fit, linked, free)

    def effects(u: Any, z: Any) -> tuple[Any, ...]:
        beta, omega, ln_sd, stretched = parts(jnp.asarray(start) + jnp.asarray(factor) @ u)
        phi = jnp.einsum("nqp,p->nq", of_random, beta) + z @ jnp.linalg.cholesky(omega).T
        value, _ = likelihood(phi[None], beta, ln_sd)
        return phi, beta, omega, ln_sd, stretched, jnp.sum(value)

    def potential(at: dict[str, Any]) -> Any:
        _, beta, omega, ln_sd, stretched, value = effects(at["u"], at["z"])
        prior = targets.ln_prior_beta(priors, beta) + targets.ln_prior_omega(priors, omega, target.blocks)
        prior = prior + targets.ln_prior_sds(priors, ln_sd) + stretched
        return -(value + prior - 0.5 * jnp.sum(at["z"] ** 2))

    pairs = design.pairs

    def unpacked(u: Any, z: Any) -> tuple[Any, Any, Any]:
        phi, beta, omega, ln_sd, _, value = effects(u, z)
        spread = jnp.sqrt(jnp.diagonal(omega))
        linked_by = [jnp.arctanh(omega[a, b] / (spread[a] * spread[b])) for a, b in pairs]
        return jnp.concatenate([beta, jnp.log(spread), jnp.array(linked_by).reshape(-1), ln_sd]), phi, value

    return potential, unpacked, np.zeros(len(start))


def _whitening(fit: PopulationFit, linked: list[tuple[int, ...]], free: Any) -> tuple[Floats, Floats]:
    """Where u = 0 lies, and the factor by which u moves from there."""
    from numpyro.distributions.transforms import CorrCholeskyTransform

    design, theta = fit.design, fit.polished.theta
    p, q = len(design.effects), len(design.random)
    v = vector_of(design, theta)
    least = 0.1 * fit.population.spread_units
    ln_spread = np.log(np.maximum(np.exp(v[p : p + q]), least))
    omega = np.asarray(theta.omega)
    spread = np.sqrt(np.diag(omega))
    correlations = []
    for block in linked:
        at = np.array(block)
        own = omega[np.ix_(at, at)] / np.outer(spread[at], spread[at])
        own = 0.9 * own + 0.1 * np.eye(len(at))
        correlations.append(np.asarray(CorrCholeskyTransform().inv(jnp.linalg.cholesky(own))))
    start = np.concatenate([v[:p], ln_spread, *correlations, np.asarray(theta.ln_sd)[free]])
    errors = np.sqrt(np.diag(fit.polished.covariance))
    units = np.concatenate([fit.population.units, np.ones(len(errors) - p)])
    # A spread that ended at 0 has no error, and moves here all the same.
    errors = np.where(errors > 0, np.minimum(errors, units), USUAL * units)
    tail = errors[len(errors) - len(fit.patients.sd_names) :][free]
    between = np.full(sum(map(len, correlations)), 0.5)
    scales = np.concatenate([errors[:p], errors[p : p + q], between, tail])
    return start, np.diag(scales)


def _standardised(fit: PopulationFit) -> Floats:
    """(n, q) effects of the conditional means, in standard deviations of the population."""
    theta: Theta = fit.polished.theta
    mean = np.einsum("nkp,p->nk", fit.design.matrix, np.asarray(theta.beta))[:, fit.design.places]
    omega = np.asarray(theta.omega) + np.diag((0.1 * fit.population.spread_units) ** 2)
    return np.linalg.solve(np.linalg.cholesky(omega), (fit.conditional_mean - mean).T).T
