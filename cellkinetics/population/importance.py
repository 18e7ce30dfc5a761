"""The likelihood of a population by importance sampling, with its Monte Carlo error.

Every patient's parameters are drawn from a mixture: a t distribution with 5 degrees of freedom at the moments of its
chains, 1.2 times as wide, and for one draw in ten the population itself, so that no weight is without bound. Draws are
independent of those that the moments come from: adapting a proposal on the numbers that it is used with biases what it
estimates.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Floats, Ints
from cellkinetics.errors import ModelError, ModelWarning
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special, stats
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.lowered import Program
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.engine import Data
from cellkinetics.population.saem import PROBED, Theta
from cellkinetics.sampling import chains, curves
from cellkinetics.saving import UNSAVED, Saves, storable
from cellkinetics.solving.sensitivity import Ties

WIDER = 1.2  # than the moments of the chains
ONE_OF_POPULATION = 10  # of so many draws one is the population's
DRAWS_OF_A_BLOCK = 500  # draws of each patient in one call
CURVES_OF_A_STEP = 250  # at most, in one step of a program; those that are integrated step as often as the slowest
RANDOM_BITS = 2**30
FEW_EFFECTIVE = 100.0  # draws: below, the weights are uneven

APPROXIMATED_BY = {
    "laplace": "Laplace's approximation", "focei": "first-order conditional estimation with interaction",
    "agq": "adaptive Gauss-Hermite quadrature",
}  # fmt: skip


class Moments(NamedTuple):
    """Centre (n, q) and covariance (n, q, q) of each patient's parameters, as the chains saw them."""

    centre: Any
    spread: Any


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of each patient and their log density under the proposal.

    phi : (m, n, q) on the estimation scale. log_proposal : (m, n). by : what they were drawn from.
    """

    phi: Floats
    log_proposal: Floats
    by: Proposal

    def some(self, which: slice) -> Draws:
        """Some of them, of each patient."""
        return Draws(self.phi[which], self.log_proposal[which], self.by)

    def of(self, places: Ints) -> Draws:
        """Of some of the random parameters."""
        phi, by = self.phi[..., places], self.by.of(places)
        # Where nothing varies every draw is the same.
        return Draws(phi, by.log_density(phi) if len(places) else np.zeros_like(self.log_proposal), by)


class Proposal(NamedTuple):
    """A t of each patient, ``centre`` (n, q) and Cholesky factor ``own`` (n, q, q), and a share of the population."""

    centre: Floats
    own: Floats
    mean: Floats
    whole: Floats
    share: float

    def log_density(self, phi: Floats) -> Floats:
        """(m, n) of draws (m, n, q)."""
        log_own, log_whole = chains.log_t(phi - self.centre, self.own), chains.log_normal(phi - self.mean, self.whole)
        return np.logaddexp(np.log1p(-self.share) + log_own, np.log(self.share) + log_whole)

    def of(self, places: Ints) -> Proposal:
        """Of some of the random parameters: of a t, a t."""
        square = np.ix_(places, places)

        def part(factor: Floats) -> Floats:
            covariance = factor @ np.swapaxes(factor, 1, 2)
            return np.linalg.cholesky(np.stack([one[square] for one in covariance]))

        return Proposal(
            self.centre[:, places], part(self.own), self.mean[:, places], part(self.whole), self.share
        )  # fmt: skip


class ToldByDraws(NamedTuple):
    """What the weighted draws tell of the patients and of the values; see `LogLikelihood`."""

    individuals: pd.DataFrame
    scores: pd.DataFrame
    information: pd.DataFrame
    covariance: pd.DataFrame


@storable
@dataclass(frozen=True, eq=False)
class LogLikelihood(Saves):
    """A log-likelihood of ln(copies).

    Parameters
    ----------
    value : summed over patients. error : its Monte Carlo standard error, that of independent draws: a bound; 0 of an
        approximation.
    draws : of each patient.
    smallest_ess : the smallest effective sample size of a patient, of ``draws``; NaN of an approximation.
    each : {subject: its part}.
    worst : the patient with the smallest effective sample.
    method : "importance", or the approximation: "laplace", "focei" or "agq".
    exact : of an approximation, the integral by importance sampling at the same values.
    look : what else the draws tell, made when it is asked for; None of one that was read from a file.
    """

    value: float
    error: float
    draws: int
    smallest_ess: float
    each: dict[str, float]
    worst: str = ""
    method: str = "importance"
    exact: LogLikelihood | None = None
    look: Callable[[], ToldByDraws] | None = field(default=None, repr=False, metadata=UNSAVED)

    @property
    def individuals(self) -> pd.DataFrame:
        """By subject and parameter: conditional mean and sd given the samples, on the estimation scale."""
        return self._told.individuals

    @property
    def scores(self) -> pd.DataFrame:
        """(subjects, values) derivative of each patient's log-likelihood, zero in sum at the maximum (Fisher).

        By coefficients on the estimation scale, ln of sds, atanh of correlations: as in `information`.
        """
        return self._told.scores

    @property
    def information(self) -> pd.DataFrame:
        """(values, values) minus the second derivatives of the log-likelihood (Louis 1982)."""
        return self._told.information

    @property
    def covariance(self) -> pd.DataFrame:
        """(values, values) inverse of the information; NaN where that is not determined, which is said.

        Far from a maximum the information may have no inverse that is a covariance.
        """
        found = self._told.covariance
        if lost := [str(name) for name, value in zip(found.columns, np.diag(found), strict=True) if np.isnan(value)]:
            warnings.warn(
                f"no covariance of {', '.join(lost)} at these values: the likelihood is not curved downwards there in "
                "every direction, as it is at a maximum. Take the estimates of ck.fit_population.",
                ModelWarning,
                stacklevel=2,
            )
        return found

    @property
    def sandwich(self) -> pd.DataFrame:
        """(values, values) the same without trusting the model: the scores between inverses of the information."""
        covariance = self.covariance
        return covariance @ self.scores.T @ self.scores @ covariance

    @property
    def influence(self) -> pd.DataFrame:
        """(subjects, values) how far an estimate would move without the patient, in standard errors, to first order."""
        covariance = self.covariance
        errors = pd.Series(np.sqrt(np.diag(covariance)), index=covariance.columns)
        return -(self.scores @ covariance).div(errors, axis="columns")

    @cached_property
    def _told(self) -> ToldByDraws:
        if self.exact is not None:
            return self.exact._told
        if self.look is None:
            raise ModelError(
                "only what ck.population_log_likelihood returned, before it was saved, has the draws that this is made "
                "of; a population fit has .individuals, .covariance and .influence()."
            )
        return self.look()

    @property
    def outcome(self) -> str:
        """That the weights are even, or in words that they are not; of an approximation how far it is off."""
        if self.exact is not None:
            apart = f"{self.value - self.exact.value:+.2f} +- {self.exact.error:.2g} from the integral"
            text = f"{APPROXIMATED_BY[self.method]}, {apart}. Compare it with values of the same approximation only"
            return text if self.exact.outcome == "even" else f"{text}. Of the integral: {self.exact.outcome}"
        return "even" if self.smallest_ess >= FEW_EFFECTIVE else f"{self.uneven}. Give draws=."

    @property
    def uneven(self) -> str:
        """In whom the weights are how uneven."""
        return (
            f"importance sampling is uneven (smallest effective sample {self.smallest_ess:.0f} of {self.draws:,}: "
            f"patient {self.worst}): log-likelihood +- {self.error:.2g}"
        )

    def __repr__(self) -> str:
        if self.exact is not None:
            beside = f"{self.exact.value:.2f} +- {self.exact.error:.2g} by importance sampling"
            return f"<LogLikelihood {self.value:.4f} by {APPROXIMATED_BY[self.method]}; {beside}>"
        uneven = "" if self.smallest_ess >= FEW_EFFECTIVE else f"; uneven, {self.smallest_ess:.0f} of them count"
        return (
            f"<LogLikelihood {self.value:.2f} +- {self.error:.2g}, {self.draws:,} draws by importance sampling{uneven}>"
        )


def drawn(moments: Moments, mean: Floats, omega: Floats, draws: int, seed: int) -> Draws:
    """New draws of every patient; ``mean`` (n, q) is the population's."""
    mean, omega = np.asarray(mean), np.asarray(omega)
    n, q = mean.shape
    rng = np.random.default_rng(seed)
    centre, spread = np.asarray(moments.centre), np.asarray(moments.spread)
    own = WIDER * _factors(spread, omega)
    whole = np.linalg.cholesky(omega)
    # One in ten: which draws are the population's is no matter of chance, and any part of them has its share.
    which = np.arange(draws) % ONE_OF_POPULATION == 0
    uniform = np.empty((draws, n, q + 1))
    for mine in (which, ~which):
        uniform[mine] = net(int(mine.sum()), n, q + 1, rng)
    z = special.ndtri(uniform[..., :q])
    t = z * np.sqrt(chains.T_DEGREES / special.chdtri(chains.T_DEGREES, uniform[..., q:]))
    from_own, from_whole = centre + np.einsum("npq,mnq->mnp", own, t), mean + z @ whole.T
    phi = np.where(which[:, None, None], from_whole, from_own)
    wholes = np.broadcast_to(whole, (n, q, q))
    by = Proposal(centre, np.asarray(own, float), mean, np.asarray(wholes, float), float(which.mean()))
    return Draws(phi, by.log_density(phi), by)


def _factors(spread: Floats, omega: Floats) -> Floats:
    """(n, q, q) Cholesky factors of patients' covariances, none next to nothing beside the population's.

    Of chains that stand together, far from 0, a covariance is what rounding has left of it.
    """
    scale = np.sqrt(np.diagonal(omega))
    values, vectors = np.linalg.eigh(spread / np.outer(scale, scale))
    kept = np.maximum(values, 0.0) + chains.LEAST_VARIANCE
    return scale[:, None] * np.linalg.cholesky(np.einsum("npa,na,nqa->npq", vectors, kept, vectors))


def net(count: int, n: int, size: int, rng: np.random.Generator) -> Floats:
    """(count, n, size) uniform numbers: the first points of Sobol's sequence, moved at random for each patient.

    The same random bits are changed in all points of a patient (a digital shift), so that they stay spread evenly. On
    smooth integrands the estimates of other seeds lie five times nearer to each other than with independent numbers.
    """
    points = stats.qmc.Sobol(size, scramble=False).random_base2(max(count - 1, 1).bit_length())[:count]
    bits = (points * RANDOM_BITS).astype(np.int64)[:, None] ^ rng.integers(0, RANDOM_BITS, (1, n, size))
    return (bits + 0.5) / RANDOM_BITS


@cache.kept
def solver(
    model: Model,
    ties: Ties,
    method: Method,
    error: ErrorModel,
    random: tuple[int, ...],
    scored: tuple[int, ...],
    size: int,
    own: tuple[int, ...],
) -> Callable[..., tuple[Any, Any, Any]]:
    """The compiled function of draws, a slice at a time.

    (matrix (n, k, p), beta (p,), ln_sd (s,), phi (slices, draws, n, q), units (p,), data) -> log-likelihoods
    (slices, draws, n), curves (..., samples), slopes (..., samples, scored) of the curves by the scored columns; slices
    are those of a block of `in_blocks`.
    """
    places, columns = np.array(random, int), np.array(scored, int)
    shifts = PROBED * np.eye(size)[columns]

    def of_patient(phi: Any, ln_sd: Any, data: Data) -> tuple[Any, Any]:
        return curves.log_likelihood(model, ties, method, error, phi, ln_sd, data, own)

    each = jax.vmap(jax.vmap(of_patient, in_axes=(0, None, 0)), in_axes=(0, None, None))

    @Program
    def run(matrix: Any, beta: Any, ln_sd: Any, phi: Any, units: Any, data: Data) -> tuple[Any, Any, Any]:
        def some(phi: Any) -> tuple[Any, Any, Any]:
            def at(shift: Any) -> tuple[Any, Any]:
                estimates = jnp.einsum("nkp,p->nk", matrix, beta + shift)
                whole = jnp.broadcast_to(estimates[None], (len(phi), *estimates.shape)).at[:, :, places].set(phi)
                return each(whole, ln_sd, data)

            # The curves themselves, and a little aside along each scored column: the likelihood stands here once.
            values, seen = jax.lax.map(at, jnp.concatenate([jnp.zeros((1, len(beta))), shifts * units[None]]))
            slopes = (seen[1:] - seen[:1]) / (PROBED * units[columns])[:, None, None, None]
            fine = jnp.isfinite(values[:1]) & jnp.isfinite(values[1:])
            slopes = jnp.where(fine[..., None], slopes, 0.0)
            return values[0], seen[0], jnp.moveaxis(slopes, 0, -1)

        return jax.lax.map(some, phi)

    return run


def in_blocks(phi: Floats) -> Floats:
    """(blocks, slices, draws of one, n, q) of draws (m, n, q), m as `whole_blocks` says or fewer than a block."""
    block, most = min(len(phi), DRAWS_OF_A_BLOCK), max(1, CURVES_OF_A_STEP // phi.shape[1])
    size = next(size for size in range(min(most, block), 0, -1) if block % size == 0)
    return phi.reshape(len(phi) // block, block // size, size, *phi.shape[1:])


def whole_blocks(draws: int) -> int:
    """The number of draws that is made: whole blocks, so that one program serves any number of them."""
    return max(DRAWS_OF_A_BLOCK, -(-draws // DRAWS_OF_A_BLOCK) * DRAWS_OF_A_BLOCK)


def log_weights(value: Floats, draws: Draws, mean: Floats, omega: Floats) -> Floats:
    """(m, n) ln of the integrand over the proposal."""
    factor = np.broadcast_to(np.linalg.cholesky(np.asarray(omega))[None], (mean.shape[0], *omega.shape))
    prior = chains.log_normal(draws.phi - mean, factor)
    return value + prior - draws.log_proposal


def of_weights(ln_w: Floats, subjects: tuple[str, ...]) -> LogLikelihood:
    """The log-likelihood of weights (m, n)."""
    m = len(ln_w)
    top = np.max(ln_w, axis=0)
    top = np.where(np.isfinite(top), top, 0.0)
    weight = np.exp(ln_w - top)
    total, squares = weight.sum(axis=0), (weight**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = top + np.log(total / m)
        effective = np.where(total > 0, total**2 / squares, 0.0)
        variance = np.where(total > 0, (m * squares / total**2 - 1) / (m - 1), np.inf)
    worst = int(np.argmin(effective))
    return LogLikelihood(
        float(each.sum()), float(np.sqrt(variance.sum())), m, float(effective[worst]),
        dict(zip(subjects, map(float, each), strict=True)), subjects[worst],
    )  # fmt: skip


def mean_of(matrix: Floats, theta: Theta, random: tuple[int, ...]) -> Floats:
    """(n, q) means of the random parameters of each patient."""
    return np.einsum("nkp,p->nk", matrix, np.asarray(theta.beta))[:, np.array(random, int)]
