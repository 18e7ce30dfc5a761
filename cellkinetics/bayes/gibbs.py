"""Gibbs sampling with the moves of stochastic approximation EM, and draws of what is conjugate.

A sweep moves every patient's parameters as an iteration of `sampling.chains` does; draws coefficients from their
normal, spreads and covariances from inverse Wishart distributions, given these; moves coefficients and spreads once
more together with the patients, whose standardised effects stay, all at once and those of one parameter (without it
chains crawl where the samples say little of a patient: Yu and Meng 2011); and walks the sds of the error on curves that
are known. Proposals learn in the warm-up alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Floats
from cellkinetics.bayes import target as targets
from cellkinetics.bayes.target import HALF_T, Density, Priors
from cellkinetics.lowered import Program
from cellkinetics.optimising.engine import Data
from cellkinetics.population.polish import vector_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.saem import Theta
from cellkinetics.running.checkpoint import Checkpoint
from cellkinetics.sampling import chains
from cellkinetics.sampling.chains import Chains, Noise

SWEEPS = 50  # of one call
A_DRAW = 4  # sweeps between draws that are kept
SD_STEPS = 4  # walks of the sds in a sweep
WANTED_TOGETHER, LEARNING = 0.25, 0.15  # share of accepted moves together, and how fast their length learns it
USUAL = 0.3  # spread of a proposal where the fit has no error of an estimate


class ChainState(NamedTuple):
    """Of one chain: patients, coefficients (p,), covariance (q, q), ln sds (s,), ln lengths of the two walks."""

    patients: Chains
    beta: Any
    omega: Any
    ln_sd: Any
    ln_together: Any
    ln_walk: Any


class SweepNoise(NamedTuple):
    """Random numbers of sweeps: patients' moves, normals (p,) of coefficients, chi-squares and normals of blocks.

    chi : (q, 2) two for each effect, gamma draws times two. lower : (q, q) normals. together : (2, p + q) normals of
    the moves together, ln uniforms (2,), and which (2, p + q) they move: all, and what is of one parameter. sds :
    (steps, s) and ln uniforms (steps,). accepted : (q,) ln uniforms of spreads.
    """

    patients: Noise
    beta: Any
    chi: Any
    lower: Any
    together: Any
    ln_together: Any
    which: Any
    sds: Any
    ln_sds: Any
    accepted: Any


class Settings(NamedTuple):
    """What stays: data, design (n, k, p), priors, factors of the walks, which sds are free, whether lengths learn."""

    data: Data
    matrix: Any
    priors: Priors
    together: Any
    walk: Any
    sd_free: Any
    learning: Any


class Sweep(NamedTuple):
    """After a sweep: what was drawn, log-likelihood, shares of accepted moves."""

    phi: Any
    beta: Any
    omega: Any
    ln_sd: Any
    value: Any
    accepted: Any


@dataclass(frozen=True, eq=False)
class Sampled:
    """Draws of both samplers.

    v : (chains, draws, d) as `louis.vector_of`. phi : (chains, draws, n, q). value : (chains, draws) log-likelihood.
    accepted : (chains,) mean share of accepted moves. diverged : (chains, draws); none of Gibbs sampling.
    """

    v: Floats
    phi: Floats
    value: Floats
    accepted: Floats
    diverged: np.ndarray[Any, np.dtype[np.bool_]]


@cache.kept
def _program(target: Density, size: int) -> Callable[..., tuple[ChainState, Sweep]]:
    """The compiled sweeps of several chains: (fixed, states, draws (sweeps, chains, ...)) -> states, sweeps."""
    places = np.array(target.random, int)

    def run(fixed: Settings, states: ChainState, drawn: SweepNoise) -> tuple[ChainState, Sweep]:
        likelihood = targets.likelihood_of(target, fixed.matrix, fixed.data)
        of_curves = targets.of_curves(target, fixed.data)
        of_random = fixed.matrix[:, places]

        def sweep(state: ChainState, noise: SweepNoise) -> tuple[ChainState, Sweep]:
            mean = jnp.einsum("nqp,p->nq", of_random, state.beta)
            at, told, _ = chains.iterate(
                lambda phi, shift: likelihood(phi, state.beta, state.ln_sd), state.patients, mean, state.omega,
                noise.patients, probes=np.zeros((0, size)), learning=0.0,
            )  # fmt: skip
            phi = at.phi[0]
            beta = _coefficients(fixed, of_random, phi, state.beta, state.omega, noise.beta)
            mean = jnp.einsum("nqp,p->nq", of_random, beta)
            omega = _covariance(fixed.priors, phi - mean, state.omega, noise, target.blocks)
            at, beta, omega, ln_together, moved = _together(
                fixed, likelihood, of_random, at, beta, omega, state, noise, target.blocks
            )
            ln_sd, value, ln_walk = _sds(fixed, of_curves, at, state.ln_sd, state.ln_walk, noise)
            at = at._replace(value=value)
            accepted = jnp.append(told.accepted, moved)
            state = ChainState(at, beta, omega, ln_sd, ln_together, ln_walk)
            return state, Sweep(at.phi[0], beta, omega, ln_sd, jnp.sum(value), accepted)

        return jax.lax.scan(lambda state, noise: jax.vmap(sweep)(state, noise), states, drawn)

    return Program(run)


def _coefficients(fixed: Settings, of_random: Any, phi: Any, beta: Any, omega: Any, z: Any) -> Any:
    """From their normal given the patients' parameters; columns of what does not vary stay."""
    weighted = jnp.einsum("nqp,qr->npr", of_random, jnp.linalg.inv(omega))
    precision = jnp.einsum("npr,nrs->ps", weighted, of_random) + jnp.diag(fixed.priors.beta_precision)
    right = jnp.einsum("npr,nr->p", weighted, phi) + fixed.priors.beta_precision * fixed.priors.beta_mean
    drives = jnp.any(of_random != 0, axis=(0, 1))
    # A column that drives nothing random has a row of its own here, and is left as it is.
    precision = jnp.where(drives[:, None] & drives[None, :], precision, 0.0) + jnp.diag(jnp.where(drives, 0.0, 1.0))
    factor = jnp.linalg.cholesky(precision)
    centre = jax.scipy.linalg.cho_solve((factor, True), jnp.where(drives, right, 0.0))
    drawn = centre + jax.scipy.linalg.solve_triangular(factor.T, z, lower=False)
    return jnp.where(drives, drawn, beta)


def _covariance(priors: Priors, away: Any, omega: Any, noise: SweepNoise, blocks: targets.Blocks) -> Any:
    """Spreads given the effects ``away`` (n, q): proposed as under a flat prior of their ln, blocks from theirs."""
    for block in blocks:
        at, size = np.array(block), len(block)
        square = away[:, at].T @ away[:, at]
        if size == 1:
            k = block[0]
            new = jnp.log(square[0, 0] / noise.chi[k, 0]) / 2
            old = 0.5 * jnp.log(omega[k, k])
            ratio = targets.ln_prior_spreads(priors, jnp.full(len(omega), new))[k]
            ratio = ratio - targets.ln_prior_spreads(priors, jnp.full(len(omega), old))[k]
            taken = noise.accepted[k] <= ratio
            omega = omega.at[k, k].set(jnp.where(taken, jnp.exp(2 * new), omega[k, k]))
            continue
        own = omega[np.ix_(at, at)]
        # The scales that mix inverse Wishart distributions, then the covariance given them, by Bartlett's factor.
        a = (HALF_T * jnp.diagonal(jnp.linalg.inv(own)) + 1 / priors.scale[at] ** 2) / (0.5 * noise.chi[at, 1])
        whole = square + 2 * HALF_T * jnp.diag(1 / a)
        factor = jnp.linalg.cholesky(jnp.linalg.inv(whole))
        bartlett = jnp.tril(noise.lower[np.ix_(at, at)], -1) + jnp.diag(jnp.sqrt(noise.chi[at, 0]))
        root = factor @ bartlett
        omega = omega.at[np.ix_(at, at)].set(jnp.linalg.inv(root @ root.T))
    return omega


def _together(
    fixed: Settings,
    likelihood: Any,
    of_random: Any,
    at: Chains,
    beta: Any,
    omega: Any,
    state: ChainState,
    noise: SweepNoise,
    blocks: targets.Blocks,
) -> tuple[Any, ...]:
    """All coefficients and spreads at once, then those of one parameter, the patients' standardised effects kept."""
    p = len(beta)

    def prior(beta: Any, omega: Any) -> Any:
        return targets.ln_prior_beta(fixed.priors, beta) + targets.ln_prior_omega(fixed.priors, omega, blocks)

    def move(carry: tuple[Any, ...], given: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, Any]]:
        at, beta, omega = carry
        z, ln_uniform, which, ln_length = given
        step = jnp.exp(ln_length) * which * (fixed.together @ z)
        mean, new_beta = jnp.einsum("nqp,p->nq", of_random, beta), beta + step[:p]
        stretch = jnp.exp(step[p:])
        new_omega = stretch[:, None] * omega * stretch[None, :]
        new_mean = jnp.einsum("nqp,p->nq", of_random, new_beta)
        new_phi = new_mean[None] + stretch[None, None] * (at.phi - mean[None])
        value, curve = likelihood(new_phi, new_beta, state.ln_sd)
        ratio = jnp.sum(value) - jnp.sum(at.value) + prior(new_beta, new_omega) - prior(beta, omega)
        taken = ln_uniform <= ratio
        at = at._replace(
            phi=jnp.where(taken, new_phi, at.phi),
            value=jnp.where(taken, value, at.value),
            curve=jnp.where(taken, curve, at.curve),
        )
        share = jnp.where(jnp.isnan(ratio), 0.0, jnp.exp(jnp.minimum(ratio, 0.0)))
        ends = at, jnp.where(taken, new_beta, beta), jnp.where(taken, new_omega, omega)
        return ends, (1.0 * taken, ln_length + fixed.learning * (share - WANTED_TOGETHER))

    given = noise.together, noise.ln_together, noise.which, state.ln_together
    (at, beta, omega), (moved, ln_length) = jax.lax.scan(move, (at, beta, omega), given)
    return at, beta, omega, ln_length, jnp.mean(moved)


def _sds(
    fixed: Settings, of_curves: Any, at: Chains, ln_sd: Any, ln_walk: Any, noise: SweepNoise
) -> tuple[Any, Any, Any]:
    """Walks of the ln sds at the curves that are there; values (1, n) at the last."""

    def step(carry: Any, given: Any) -> tuple[Any, Any]:
        ln_sd, value, ln_walk = carry
        z, ln_uniform = given
        new = jnp.where(fixed.sd_free, ln_sd + jnp.exp(ln_walk) * (fixed.walk @ z), ln_sd)
        # One that was refused has no curve, and no part in this.
        known = jnp.isfinite(at.value[0])
        proposed = jnp.where(known, of_curves(at.curve[0], new), at.value[0])
        ratio = jnp.sum(jnp.where(known, proposed - value, 0.0))
        ratio = ratio + targets.ln_prior_sds(fixed.priors, new) - targets.ln_prior_sds(fixed.priors, ln_sd)
        taken = ln_uniform <= ratio
        share = jnp.minimum(jnp.exp(jnp.minimum(ratio, 0.0)), 1.0)
        ln_walk = ln_walk + fixed.learning * (share - WANTED_TOGETHER) / SD_STEPS
        return (jnp.where(taken, new, ln_sd), jnp.where(taken, proposed, value), ln_walk), None

    (ln_sd, value, ln_walk), _ = jax.lax.scan(step, (ln_sd, at.value[0], ln_walk), (noise.sds, noise.ln_sds))
    return ln_sd, value[None], ln_walk


def block_of(
    run: Callable[[Any], tuple[Any, Any]], state: Any, given: Any, checkpoint: Checkpoint | None
) -> tuple[Any, list[Any]]:
    """A block of draws from a state: the state after it and arrays of what was drawn; ``given`` is what else counts."""
    # What a program gives back is tied to a device: as arguments those arrays would have it compiled once more.
    state = jax.tree.map(np.asarray, state)
    if checkpoint is None:
        ended, told = run(state)
        return ended, [np.asarray(leaf) for leaf in jax.tree.leaves(told)]
    ends, told = checkpoint.once("draws", (jax.tree.leaves(state), given), lambda: run(state))
    return jax.tree.unflatten(jax.tree.structure(state), ends), told


def sample(
    fit: PopulationFit,
    priors: Priors,
    draws: int,
    warmup: int,
    chains_: int,
    seed: int,
    more: Callable[[int], None],
    checkpoint: Checkpoint | None = None,
) -> Sampled:
    """Chains from the estimates of a population; ``warmup`` and ``draws`` are of what is kept, `A_DRAW` sweeps each.

    An interrupt from the keyboard after the warm-up leaves the draws so far.
    """
    target, design = targets.target_of(fit), fit.design
    run = _program(target, len(design.effects))
    fixed, states = _begun(fit, priors, chains_, seed)

    def sweeps(fixed: Settings, number: int, states: ChainState) -> tuple[ChainState, Sweep]:
        return run(fixed, states, _noise(fit, target, chains_, (seed, number)))

    kept: list[Sweep] = []
    blocks_of_warmup, blocks = -(-warmup * A_DRAW // SWEEPS), -(-draws * A_DRAW // SWEEPS)
    for number in range(blocks_of_warmup + blocks):
        if number == blocks_of_warmup:
            kept = []
        learning = number < blocks_of_warmup
        fixed = fixed._replace(learning=LEARNING if learning else 0.0)
        of_block = partial(sweeps, fixed, number)
        try:
            states, told = block_of(of_block, states, (jax.tree.leaves(fixed), number, seed), checkpoint)
        except KeyboardInterrupt:
            if not kept or learning:
                raise
            break
        kept.append(Sweep(*told))
        if number + 1 in (blocks_of_warmup // 4, blocks_of_warmup // 2):
            fixed, states = _learnt(fit, fixed, states, kept)
        more(SWEEPS)
    parts_of = zip(Sweep._fields, zip(*kept, strict=True), strict=True)
    whole = {name: np.concatenate(parts)[A_DRAW - 1 :: A_DRAW][:draws] for name, parts in parts_of}
    v = np.array([
        [vector_of(design, Theta(b, o, s)) for b, o, s in zip(*parts, strict=True)]
        for parts in zip(*(np.moveaxis(whole[name], 1, 0) for name in ("beta", "omega", "ln_sd")), strict=True)
    ])  # fmt: skip
    accepted = np.concatenate([one.accepted for one in kept]).mean(axis=(0, 2))
    phi, value = np.moveaxis(whole["phi"], 1, 0), np.moveaxis(whole["value"], 1, 0)
    return Sampled(v, phi, value, accepted, np.zeros(value.shape, bool))


def _begun(fit: PopulationFit, priors: Priors, count: int, seed: int) -> tuple[Settings, ChainState]:
    """Chains spread about the estimates by twice their errors, patients about their conditional means."""
    rng = np.random.default_rng([seed, 7])
    design, patients, theta = fit.design, fit.patients, fit.polished.theta
    p, q, s = len(design.effects), len(design.random), len(patients.sd_names)
    together, walk = _factors(fit, p, q)
    beta = np.asarray(theta.beta) + rng.normal(size=(count, p + q)) @ together.T[:, :p]
    stretch = np.exp(np.clip(rng.normal(size=(count, q)), -1, 1) * 0.3)
    least = np.where(np.diag(theta.omega) < (0.05 * fit.population.spread_units) ** 2, 0.05, 0.0)
    omega = np.asarray(theta.omega) + np.diag((least * fit.population.spread_units) ** 2)
    omegas = stretch[:, :, None] * omega * stretch[:, None, :]
    ln_sd = np.asarray(theta.ln_sd) + np.where(patients.sd_free, 0.2 * rng.normal(size=(count, s)), 0.0)
    ln_sd = np.maximum(ln_sd, np.where(patients.sd_free, patients.ln_sd_floors, -np.inf))
    centre, spread = fit.conditional_mean, fit.conditional_covariance
    own = np.linalg.cholesky(spread + 1e-12 * omega)
    phi = centre + np.einsum("npq,cnq->cnp", own, rng.normal(size=(count, *centre.shape)))
    matrix, data = design.matrix, fit.population.data
    # No value yet: whatever is proposed first is taken.
    curve, value = (
        np.zeros((count, 1, len(centre), data.inputs.times.shape[1])),
        np.full((count, 1, len(centre)), -np.inf),
    )
    centres, spreads, ln_scales = _each(count, centre, spread, np.full(len(centre), np.log(2.0 / np.sqrt(q))))
    at = Chains(phi[:, None], curve, value, centres, spreads, ln_scales)
    lengths = np.repeat([np.log(2.38 / np.sqrt([p + q, 2]))], count, axis=0)
    states = ChainState(at, beta, omegas, ln_sd, lengths, np.full(count, np.log(2.38)))
    return Settings(data, matrix, priors, together, walk, patients.sd_free, LEARNING), states


def _each(count: int, *arrays: Floats) -> list[Floats]:
    return [np.repeat(array[None], count, axis=0) for array in arrays]


def _factors(fit: PopulationFit, p: int, q: int) -> tuple[Floats, Floats]:
    """Cholesky factors of what the fit says of its errors, for the walks."""
    covariance = fit.polished.covariance.copy()
    lost = ~(np.diag(covariance) > 0)
    covariance[lost, :] = covariance[:, lost] = 0.0
    units = np.concatenate([fit.population.units, np.ones(len(covariance) - p)])
    covariance[lost, lost] = (USUAL * units[lost]) ** 2
    first, last = covariance[: p + q, : p + q], covariance[len(covariance) - len(fit.patients.sd_names) :]
    return _factor(first), _factor(last[:, len(covariance) - len(fit.patients.sd_names) :])


def _factor(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    largest = max(float(values.max()), 1e-300)
    return vectors * np.sqrt(np.maximum(values, 1e-8 * largest))


def _learnt(
    fit: PopulationFit, fixed: Settings, states: ChainState, kept: Sequence[Sweep]
) -> tuple[Settings, ChainState]:
    """Proposals from what the chains saw in the last half of the sweeps so far."""
    late = kept[len(kept) // 2 :]
    beta, omega, ln_sd, phi = (
        np.concatenate(parts)
        for parts in zip(*((one.beta, one.omega, one.ln_sd, one.phi) for one in late), strict=True)
    )
    v = np.concatenate([beta, 0.5 * np.log(np.diagonal(omega, axis1=2, axis2=3))], axis=2).reshape(
        -1, beta.shape[2] + omega.shape[2]
    )
    sds, phi = ln_sd.reshape(-1, ln_sd.shape[2]), phi.reshape(-1, *phi.shape[2:])
    centre = phi.mean(axis=0)
    away = phi - centre
    spread = np.einsum("mnp,mnq->npq", away, away) / len(phi)
    at = states.patients
    count = len(states.beta)
    centres, spreads = _each(count, centre, spread)
    walk = _factor(np.atleast_2d(np.cov(sds.T)) + 1e-6 * np.eye(sds.shape[1]))
    return (
        fixed._replace(together=_factor(np.cov(v.T)), walk=walk),
        states._replace(patients=at._replace(centre=centres, spread=spreads)),
    )


def _noise(fit: PopulationFit, target: Density, count: int, seed: tuple[int, ...]) -> SweepNoise:
    """Of the sweeps of one call."""
    rng, design = np.random.default_rng([*seed, 11]), fit.design
    n, q, p, s = len(fit.subjects), len(design.random), len(design.effects), len(fit.patients.sd_names)
    shape = (SWEEPS, count)
    of_patients = chains.noise((SWEEPS, count, n), q, 0, (*seed, 13))
    # (sweeps, moves, chains, ...) as (sweeps, chains, moves, 1, ...): each chain stands alone.
    patients = Noise(*(np.moveaxis(part, 2, 1)[:, :, :, None] for part in of_patients))
    chi = np.empty((*shape, q, 2))
    for block in target.blocks:
        for place, at in enumerate(block):
            # Of a spread alone n; of a block those of Bartlett's factor, n + degrees + size - 1, one less each.
            degrees = n if len(block) == 1 else n + HALF_T + len(block) - 1 - place
            chi[..., at, 0] = rng.chisquare(degrees, shape)
            chi[..., at, 1] = rng.chisquare(HALF_T + len(block), shape)
    # What belongs to each parameter: its mean and coefficients, and its spread where it varies.
    own = np.array([
        [*(effect.parameter == name for effect in design.effects), *(other == name for other in design.random)]
        for name in design.names
    ])  # fmt: skip
    which = np.stack([np.ones((*shape, p + q)), own[rng.integers(len(own), size=shape)]], axis=2)
    return SweepNoise(
        patients, rng.normal(size=(*shape, p)), chi, rng.normal(size=(*shape, q, q)),
        rng.normal(size=(*shape, 2, p + q)), np.log1p(-rng.random((*shape, 2))), which,
        rng.normal(size=(*shape, SD_STEPS, s)), np.log1p(-rng.random((*shape, SD_STEPS))),
        np.log1p(-rng.random((*shape, q))),
    )  # fmt: skip
