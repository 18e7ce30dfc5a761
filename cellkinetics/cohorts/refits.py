"""The exact permutation of doses, or of groups, by refits: a population for each arrangement, each with its maximum.

The statistic is the likelihood ratio of the coefficients that are tested. Doses go to other patients in these
coefficients alone, and every arrangement is climbed from the population without them, by Newton steps on the
importance-sampled likelihood. The draws of each patient are those of that population and the same for all
arrangements: the statistic of an arrangement is a function of it and of the samples, so that under no effect each is
as likely to have the largest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.population.importance import Moments
from cellkinetics.population.polish import Polished, polish
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.running import Sample
from cellkinetics.population.saem import Theta
from cellkinetics.statistics import arrangements
from cellkinetics.statistics.ranks import ALPHA

MOST_REFITTED = 15  # patients: a refit of eleven takes 0.05 s
REFIT_DRAWS, ONE_DRAW_OF = 500, 4  # draws of each patient, and which of them are taken
SEED_OF_REFITS = 107  # added to the seed
AS_LARGE = 1e-6  # log-likelihood units: nearer ones are tied


@dataclass(frozen=True)
class Refitted:
    """A test by refits.

    p : share of arrangements whose ratio is at least that of the one given. refits : how many. every : whether these
    are all arrangements. attained : the largest level up to 5% that such a p can have; 0 where it has none.
    statistic : the ratio of the arrangement given, by the draws of the population without the coefficients.
    """

    p: float
    refits: int
    every: bool
    attained: float
    statistic: float


def refitted(full: PopulationFit, smaller: PopulationFit, name: str, by: str, most: int, seed: int) -> Refitted | None:
    """The test of what ``by`` does to the parameter ``name``; None for many patients.

    Parameters
    ----------
    full, smaller : with and without its coefficients. most : refits; all arrangements where there are no more.
    """
    if len(full.subjects) > MOST_REFITTED:
        return None
    columns = [i for i, e in enumerate(full.design.effects) if e.parameter == name and e.covariate == by]
    weights = full.design.matrix[:, full.design.names.index(name), :][:, columns]
    levels, of = np.unique(weights, axis=0, return_inverse=True)
    of = of.reshape(-1)
    sizes = np.bincount(of).tolist()
    every = arrangements.count(sizes) <= most
    rng = np.random.default_rng(seed + SEED_OF_REFITS)
    given = arrangements.all_of(sizes) if every else arrangements.sampled(sizes, most, rng)
    ratio = _Ratio.of(full, smaller, name, columns, seed)
    own = ratio.at(weights)
    values = np.array([ratio.at(levels[arrangement]) for arrangement in given])
    if not every:
        values = np.append(values, own)
    larger = values >= own - AS_LARGE
    return Refitted(float(np.mean(larger)), len(given), every, attained(values), own)


def attained(values: Floats) -> float:
    """The largest p of one of the values that is not above 5%."""
    shares = np.array([np.mean(values >= value - AS_LARGE) for value in values])
    return float(np.max(shares, initial=0.0, where=shares <= ALPHA * (1 + 1e-12)))


@dataclass(frozen=True, eq=False)
class _Ratio:
    """Likelihood ratios of arrangements.

    sample : of each patient's parameters in the population without the coefficients. start : that one, with 0 in their
    place. without : its log-likelihood by this sample. place : of the parameter.
    """

    full: PopulationFit
    sample: Sample
    start: Theta
    without: float
    place: int
    columns: list[int]

    @classmethod
    def of(cls, full: PopulationFit, smaller: PopulationFit, name: str, columns: list[int], seed: int) -> _Ratio:
        theta = smaller.polished.theta
        moments = Moments(smaller.conditional_mean, smaller.conditional_covariance)
        sample = smaller.population.sampled(theta, moments, REFIT_DRAWS, seed + SEED_OF_REFITS)
        some = slice(None, None, ONE_DRAW_OF)
        draws = sample.draws.some(some)
        sample = replace(
            sample, draws=draws, value=sample.value[some], curve=sample.curve[some], slopes=sample.slopes[some]
        )
        # Its own maximum by these draws, so that no ratio is below 0.
        least = polish(smaller.population, theta, sample)
        beta = np.insert(np.asarray(least.theta.beta), np.array(columns) - np.arange(len(columns)), 0.0)
        start = least.theta._replace(beta=jnp.asarray(beta))
        return cls(full, sample, start, _value(least, sample), full.design.names.index(name), columns)

    def at(self, weights: Floats) -> float:
        """The ratio where each patient has these weights (n, coefficients)."""
        matrix = self.full.design.matrix.copy()
        matrix[:, self.place, self.columns] = weights
        population = replace(self.sample.population, design=replace(self.full.design, matrix=matrix),
                             prior=self.full.population.prior)  # fmt: skip
        own = replace(self.sample, population=population)
        return max(2 * (_value(polish(population, self.start, own), own) - self.without), 0.0)


def _value(found: Polished, sample: Sample) -> float:
    """The log-likelihood by the draws of a sample; -inf where the climb went astray."""
    value = (found.sample or sample).log_likelihood(found.theta).value
    return value if np.isfinite(value) else -np.inf
