"""Stochastic approximation EM: one program that draws, averages and maximises, a block of iterations at a time.

An iteration draws every patient's parameters (`chains`), averages their first and second moments with weight gamma, and
maximises: means and coefficients by generalised least squares, the covariance from the second moments, each ln sd by

    sd^2 <- sd^2 (1 + gamma mean(dl/dln sd)),

which is the EM step of a log-normal sd whatever is quantified, below, between or above limits: by Fisher's identity
sd^2 (1 + dl/dln sd) is the expected square of a sample's error given what is known of it. The same holds of every error
model here, each sd of which scales a normal error of its own. Parameters without a random effect take a scoring step
from the slopes of the curve (Delyon et al. 1999; Kuhn and Lavielle 2005; Samson et al. 2006 for censored samples).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.lowered import Program
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.engine import Data
from cellkinetics.sampling import chains, curves
from cellkinetics.sampling.chains import Chains, Noise
from cellkinetics.solving.sensitivity import Ties

if TYPE_CHECKING:
    from jaxtyping import Float

    from cellkinetics.arrays import Numeric

ITERATIONS = 25  # iterations of one call
LONGEST_SCORED = 0.5  # scoring step of a parameter without random effect, in its units
COOLING = 0.95  # of variances, while they are annealed
PROBED = 1e-4  # units aside, of curves whose difference is the slope by a column without random effect
STEEPEST = 1e6  # slope of ln f, in units; a curve that was refused is no neighbour
LEAST_SD = 1e-3  # between patients, in units of the estimation scale


class Theta(NamedTuple):
    """What is estimated: coefficients (p,), covariance (q, q) of random effects, ln sds of the error (s,)."""

    beta: Float[Numeric, " effects"]
    omega: Float[Numeric, "random random"]
    ln_sd: Float[Numeric, " sds"]


class Iterate(NamedTuple):
    """Between two iterations: estimates, chains, averaged moments of each patient, information of scored columns."""

    theta: Theta
    chains: Chains
    mean: Float[Numeric, "patients random"]
    second: Float[Numeric, "patients random random"]
    information: Float[Numeric, "scored scored"]


class Fixed(NamedTuple):
    """What stays: the data, the design (n, k, p), its mask (q, q), priors (d,), which sds move, their floors.

    units : (p,) of the coefficients. least : (q,) sds between patients that count as none.
    """

    data: Data
    matrix: Any
    mask: Any
    prior_mean: Any
    prior_precision: Any
    sd_free: Any
    sd_rows: Any
    ln_sd_floors: Any
    units: Any
    least: Any


class Gains(NamedTuple):
    """Of each iteration: weight of what is drawn, of what proposals learn, whether to anneal, and to move at all."""

    gamma: Any
    learning: Any
    annealed: Any
    moving: Any


class Trace(NamedTuple):
    """After each iteration: estimates, mean log-likelihood of the chains, shares accepted and (n,) not solved."""

    beta: Any
    omega: Any
    ln_sd: Any
    value: Any
    accepted: Any
    refused: Any


@cache.kept
def program(
    model: Model,
    ties: Ties,
    method: Method,
    error: ErrorModel,
    random: tuple[int, ...],
    scored: tuple[int, ...],
    size: int,
    own: tuple[int, ...],
) -> Callable[..., tuple[Iterate, Trace]]:
    """The compiled block: (fixed, state, plan of `ITERATIONS` iterations, noise) -> state, trace.

    Parameters
    ----------
    random : places of what varies among the free parameters. scored : columns of what does not. size : coefficients.
    own : places of the sds that each patient has of its own, which stand behind the parameters; others are given then.
    """
    outputs = len(model.outputs)
    places, columns = np.array(random, int), np.array(scored, int)
    driving = np.setdiff1d(np.arange(size), columns)

    def run(fixed: Fixed, state: Iterate, plan: Gains, noise: Noise) -> tuple[Iterate, Trace]:
        def whole(phi: Any, beta: Any) -> Any:
            estimates = jnp.einsum("nkp,p->nk", fixed.matrix, beta)
            return jnp.broadcast_to(estimates[None], (len(phi), *estimates.shape)).at[:, :, places].set(phi)

        def of_patient(phi: Any, ln_sd: Any, data: Data) -> tuple[Any, Any]:
            return curves.log_likelihood(model, ties, method, error, phi, ln_sd, data, own)

        def of_all(phi: Any, beta: Any, ln_sd: Any) -> tuple[Any, Any]:
            each = jax.vmap(jax.vmap(of_patient, in_axes=(0, None, 0)), in_axes=(0, None, None))
            return each(whole(phi, beta), ln_sd, fixed.data)

        def by_rows(function: Callable[..., Any], at: Chains, ln_sd: Any) -> Any:
            def of_patient(g: Any, phi: Any, data: Data) -> Any:
                return function(g, curves.ln_sds(phi, ln_sd, own), data)

            return jax.vmap(jax.vmap(of_patient), in_axes=(0, 0, None))(at.curve, at.phi, fixed.data)

        def iteration(state: Iterate, given: tuple[Gains, Noise]) -> tuple[Iterate, Trace]:
            plan, drawn = given
            theta, at = state.theta, state.chains
            if not scored and not own:
                # The curves are as they were: what a new sd changes is read off them.
                value = by_rows(
                    lambda g, ln_sd, data: jnp.sum(curves.density(error, outputs, g, ln_sd, data)),
                    at,
                    theta.ln_sd,
                )
                at = at._replace(value=jnp.where(jnp.isneginf(at.value), -jnp.inf, value))
            of_random = fixed.matrix[:, places]
            mean = jnp.einsum("nqp,p->nq", of_random, theta.beta)
            at, told, seen = chains.iterate(
                lambda phi, shift: of_all(phi, theta.beta + shift, theta.ln_sd), at, mean, theta.omega, drawn,
                probes=PROBED * jnp.asarray(fixed.units)[None] * np.eye(size)[columns], learning=plan.learning,
            )  # fmt: skip
            solved = jnp.isfinite(at.value)
            state = _averaged(state._replace(chains=at), plan.gamma)
            beta = _means(fixed, state, of_random, theta, driving)
            away = state.mean - jnp.einsum("nqp,p->nq", of_random, beta)
            within = state.second - state.mean[:, :, None] * state.mean[:, None, :]
            omega = jnp.mean(within + away[:, :, None] * away[:, None, :], axis=0) * fixed.mask
            omega = _kept_up(_shrunk(fixed, omega, len(theta.beta)), theta.omega, plan.annealed, fixed.least)
            ln_sd = theta.ln_sd
            if not own:
                slopes = by_rows(
                    lambda g, ln_sd, data: curves.by_ln_sds(error, outputs, g, ln_sd, data), at, theta.ln_sd
                )
                ln_sd = _sds(fixed, theta, jnp.where(solved[..., None], slopes, 0.0), plan)
            if scored:
                terms = by_rows(lambda g, ln_sd, data: row_terms(error, outputs, g, ln_sd, data), at, theta.ln_sd)
                step, information = _scored(columns, fixed, state, theta, seen, terms, plan.gamma)
                state = state._replace(information=information)
                beta = beta.at[columns].set(theta.beta[columns] + step)
            new = Theta(beta, omega, ln_sd)
            moved = Theta(*(jnp.where(plan.moving, after, before) for after, before in zip(new, theta, strict=True)))
            value = jnp.sum(jnp.mean(jnp.where(solved, at.value, 0.0), axis=0))
            return state._replace(theta=moved), Trace(*moved, value, told.accepted, told.refused)

        return jax.lax.scan(iteration, state, (plan, noise))

    return Program(run)


def _sds(fixed: Fixed, theta: Theta, slopes: Any, plan: Gains) -> Any:
    """The EM step of the sds that patients have in common, from slopes (chains, n, c) by their logarithms."""
    # An sd with a prior is drawn to it by no more than the way there.
    known = fixed.prior_precision[-len(theta.ln_sd) :]
    pull = known * (fixed.prior_mean[-len(theta.ln_sd) :] - theta.ln_sd)
    total = jnp.sum(slopes, axis=(0, 1)) / len(slopes) + pull
    share = total / (fixed.sd_rows + 0.5 * known)
    ln_sd = theta.ln_sd + 0.5 * jnp.log(jnp.maximum(1 + plan.gamma * share, 0.1))
    # A chain that begins far below its samples scatters, beside its curve, without bound: it is to move, not the sd.
    slowly = -0.5 * np.log(COOLING)
    ln_sd = jnp.where(plan.annealed, jnp.clip(ln_sd, theta.ln_sd - slowly, theta.ln_sd + slowly), ln_sd)
    return jnp.where(fixed.sd_free, jnp.maximum(ln_sd, fixed.ln_sd_floors), theta.ln_sd)


def _averaged(state: Iterate, gamma: Any) -> Iterate:
    """Moments of each patient's draws, with weight gamma of the newest."""
    phi = state.chains.phi
    mean = state.mean + gamma * (jnp.mean(phi, axis=0) - state.mean)
    second = jnp.einsum("cnp,cnq->npq", phi, phi) / len(phi)
    return state._replace(mean=mean, second=state.second + gamma * (second - state.second))


def _means(fixed: Fixed, state: Iterate, of_random: Any, theta: Theta, driving: Ints) -> Any:
    """Coefficients by generalised least squares; those of columns that drive nothing random stay."""
    if not len(driving):
        return theta.beta
    design, inverse = of_random[:, :, driving], jnp.linalg.inv(theta.omega)
    weighted = jnp.einsum("nqp,qr->npr", design, inverse)
    precision = fixed.prior_precision[driving]
    matrix = jnp.einsum("npr,nrs->ps", weighted, design) + jnp.diag(precision)
    right = jnp.einsum("npr,nr->p", weighted, state.mean) + precision * fixed.prior_mean[driving]
    return theta.beta.at[driving].set(jnp.linalg.solve(matrix, right))


def _shrunk(fixed: Fixed, omega: Any, p: int) -> Any:
    """The covariance with spreads at the maximum of their likelihood and prior, its correlations kept.

    Of ln sd s with second moment S the log density is -n (s + S exp(-2 s) / 2), less the prior's: concave, and Newton
    steps from ln S / 2 end there.
    """
    n, q = fixed.matrix.shape[0], len(omega)
    mean, precision = fixed.prior_mean[p : p + q], fixed.prior_precision[p : p + q]
    variance = jnp.maximum(jnp.diagonal(omega), 1e-6 * fixed.least**2)
    first = 0.5 * jnp.log(variance)
    s = first
    for _ in range(4):
        ratio = jnp.exp(2 * (first - s))
        step = (n * (ratio - 1) - precision * (s - mean)) / (2 * n * ratio + precision)
        s = s + jnp.clip(step, -1.0, 1.0)
    factor = jnp.exp(s - first)
    return omega * factor[:, None] * factor[None, :]


def _kept_up(omega: Any, before: Any, annealed: Any, least_sd: Any) -> Any:
    """The covariance with variances that fall by `COOLING` at most while annealed, its correlations kept."""
    variance = jnp.diagonal(omega)
    least = jnp.where(annealed, COOLING * jnp.diagonal(before), least_sd**2)
    factor = jnp.sqrt(jnp.maximum(variance, least) / jnp.maximum(variance, 1e-6 * least_sd**2))
    # Correlations of a few draws may be 1: the covariance stays one that has a Cholesky factor.
    return omega * factor[:, None] * factor[None, :] * (1 - 1e-6) + 1e-6 * jnp.diag(jnp.maximum(variance, least))


def _scored(
    columns: Ints, fixed: Fixed, state: Iterate, theta: Theta, seen: Any, terms: tuple[Any, Any], gamma: Any
) -> tuple[Any, Any]:
    """A scoring step of the columns without random effect, and their information, averaged with weight gamma.

    seen : (f, chains, n, rows) curves a little aside. terms : what `row_terms` gives of all.
    """
    at, (by_row, weight) = state.chains, terms
    slopes = (seen - at.curve[None]) / (PROBED * fixed.units[columns])[:, None, None, None]
    # A curve that was refused is 0, and tells nothing.
    fine = jnp.isfinite(at.value)[None, :, :, None] & (jnp.abs(slopes) < STEEPEST)
    slopes = jnp.where(fine, slopes, 0.0)
    score = jnp.einsum("fcnr,cnr->f", slopes, by_row) / len(at.phi)
    information = jnp.einsum("fcnr,cnr,gcnr->fg", slopes, weight, slopes) / len(at.phi)
    precision = fixed.prior_precision[columns]
    score = score + precision * (fixed.prior_mean[columns] - theta.beta[columns])
    information = state.information + gamma * (information - state.information)
    matrix = information + jnp.diag(precision)
    ridge = 1e-9 * jnp.maximum(jnp.diagonal(matrix), 1e-300) + 1e-12
    step = gamma * jnp.linalg.solve(matrix + jnp.diag(ridge), score)
    longest = LONGEST_SCORED * fixed.units[columns]
    return jnp.clip(step, -longest, longest), information


def row_terms(error: ErrorModel, outputs: int, g: Any, ln_sd: Any, data: Data) -> tuple[Any, Any]:
    """(rows,) of one patient: the slope of the log density by g, and what the row tells of g, not negative.

    Of a censored row the square of its slope: what a step is scaled with need not be its curvature.
    """
    of_rows = ln_sd.reshape(-1, outputs)[:, data.inputs.output]

    def density(g: Any) -> Any:
        return error.log_density(g, of_rows, data.rows)

    first = jax.jvp(density, (g,), (jnp.ones_like(g),))[1]
    quantified = (data.rows.lower == data.rows.upper) & (data.rows.weight > 0)
    known = jnp.where(quantified, error.information(g, of_rows, data.rows), 0.0)
    return first, jnp.where(quantified, known, first**2)


def chains_of(patients: int) -> int:
    """How many chains: with 150 lanes and more an average over patients moves little from one iteration to the next."""
    return max(3, -(-150 // patients))


def begun(
    theta: Theta, matrix: Floats, places: Ints, guesses: Floats, scored: Flags, rows: int, seed: int, count: int
) -> Iterate:
    """The state before the first iteration: chains about each patient's own guess and about the population."""
    rng = np.random.default_rng(seed)
    mean = np.einsum("nkp,p->nk", matrix, np.asarray(theta.beta))[:, places]
    n, q = mean.shape
    spread = np.sqrt(np.diagonal(theta.omega))
    # A guess from few samples may be far away: no farther than three spreads.
    own = mean + np.clip(guesses[:, places] - mean, -3 * spread, 3 * spread)
    drawn = rng.normal(size=(count, n, q)) * spread
    middle = np.where((np.arange(count) % 2 == 0)[:, None, None], own[None], mean[None])
    phi = middle + 0.3 * drawn
    f = int(scored.sum())
    second = np.einsum("cnp,cnq->npq", phi, phi) / count
    state = Iterate(theta, chains.start(jnp.asarray(phi), theta.omega, rows), phi.mean(0), second, np.zeros((f, f)))
    # As the program gives it back: a number of another kind would compile it once more.
    return jax.tree.map(lambda part: jnp.array(np.asarray(part, float)), state)


def noise_of(state: Iterate, probes: int, seed: int, block: int) -> Noise:
    """Random numbers of one block of iterations."""
    chains_, n, q = state.chains.phi.shape
    return chains.noise((ITERATIONS, chains_, n), q, probes, (seed, block))
