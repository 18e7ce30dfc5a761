"""The exact permutation of doses, or of groups, by refits: a population for each arrangement, each with its maximum.

The statistic is the likelihood ratio of the coefficients that are tested. Doses go to other patients in these
coefficients alone, and every arrangement is climbed from the population without them, by Newton steps on the
importance-sampled likelihood. The draws of each patient are those of that population and the same for all
arrangements: the statistic of an arrangement is a function of it and of the samples, so that under no effect each is
as likely to have the largest.

Draws and curves stay where they are, and what the samples say at a draw changes with the sds of the error alone: it is
interpolated between Chebyshev points of these, and all arrangements climb together. With a parameter that has one value
for all, curves move with it; and of a spread next to 0 draws tell little: then each arrangement climbs by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.population import louis, polish
from cellkinetics.population.importance import Moments
from cellkinetics.population.louis import OfSamples, Told
from cellkinetics.population.polish import Polished
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.running import Sample
from cellkinetics.population.saem import Theta
from cellkinetics.statistics import arrangements
from cellkinetics.statistics.ranks import ALPHA

MOST_TOGETHER, MOST_ALONE = 50, 15  # patients: 200 refits of 24 take 2 s together, of 11 take 7 s one by one
REFIT_DRAWS, ONE_DRAW_OF = 500, 4  # draws of each patient, and which of them are taken
SEED_OF_REFITS = 107  # added to the seed
AS_LARGE = 1e-6  # log-likelihood units: nearer ones are tied
NODES = {0: 1, 1: 9, 2: 7, 3: 5}  # Chebyshev points of each ln sd, by how many of them there are
FARTHEST = 0.5  # of a ln sd from that without the coefficients
MOST_CLIMBS = 40
LITTLE_TO_GAIN = 1e-4  # log-likelihood units that a Newton step promises: it is the last
SHORTEST = 0.05  # share of a Newton step
NUMBERS_AT_ONCE = 4_000_000  # of an array of scores


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
    together = _together(smaller)
    if len(full.subjects) > (MOST_TOGETHER if together else MOST_ALONE):
        return None
    columns = [i for i, e in enumerate(full.design.effects) if e.parameter == name and e.covariate == by]
    weights = full.design.matrix[:, full.design.names.index(name), :][:, columns]
    levels, of = np.unique(weights, axis=0, return_inverse=True)
    of = of.reshape(-1)
    sizes = np.bincount(of).tolist()
    every = arrangements.count(sizes) <= most
    rng = np.random.default_rng(seed + SEED_OF_REFITS)
    given = arrangements.all_of(sizes) if every else arrangements.sampled(sizes, most, rng)
    ratio = Ratio.of(full, smaller, name, columns, seed)
    own, *values = (ratio.together if together else ratio.alone)(np.concatenate([weights[None], levels[given]]))
    if not every:
        values = [*values, own]
    larger = np.array(values) >= own - AS_LARGE
    return Refitted(float(np.mean(larger)), len(given), every, attained(np.array(values)), float(own))


def attained(values: Floats) -> float:
    """The largest p of one of the values that is not above 5%."""
    shares = np.array([np.mean(values >= value - AS_LARGE) for value in values])
    return float(np.max(shares, initial=0.0, where=shares <= ALPHA * (1 + 1e-12)))


def _together(smaller: PopulationFit) -> bool:
    """Whether all arrangements can climb together."""
    population, theta = smaller.population, smaller.polished.theta
    spreads = np.sqrt(np.diagonal(np.asarray(theta.omega)))
    wide = bool(np.all(spreads > 2 * polish.NO_SPREAD * population.spread_units))
    return wide and not population.scored and int(population.patients.sd_free.sum()) in NODES


@dataclass(frozen=True, eq=False)
class Ratio:
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
    def of(cls, full: PopulationFit, smaller: PopulationFit, name: str, columns: list[int], seed: int) -> Ratio:
        """Of a parameter's coefficients, which are in these columns."""
        theta = smaller.polished.theta
        moments = Moments(smaller.conditional_mean, smaller.conditional_covariance)
        sample = smaller.population.sampled(theta, moments, REFIT_DRAWS, seed + SEED_OF_REFITS)
        some = slice(None, None, ONE_DRAW_OF)
        draws = sample.draws.some(some)
        sample = replace(
            sample, draws=draws, value=sample.value[some], curve=sample.curve[some], slopes=sample.slopes[some]
        )
        # Its own maximum by these draws, so that no ratio is below 0.
        least = polish.polish(smaller.population, theta, sample)
        beta = np.insert(np.asarray(least.theta.beta), np.array(columns) - np.arange(len(columns)), 0.0)
        start = least.theta._replace(beta=jnp.asarray(beta))
        return cls(full, sample, start, _value(least, sample), full.design.names.index(name), columns)

    def alone(self, weights: Floats) -> Floats:
        """The ratios where patients have these weights (arrangements, n, coefficients), one after the other."""
        return np.array([self._alone(each) for each in weights])

    def _alone(self, weights: Floats) -> float:
        matrix = self.full.design.matrix.copy()
        matrix[:, self.place, self.columns] = weights
        population = replace(self.sample.population, design=replace(self.full.design, matrix=matrix),
                             prior=self.full.population.prior)  # fmt: skip
        own = replace(self.sample, population=population)
        return max(2 * (_value(polish.polish(population, self.start, own), own) - self.without), 0.0)

    def together(self, weights: Floats) -> Floats:
        """The same of all at once; no ln sd farther than `FARTHEST` from the start, no spread next to 0."""
        n, d = len(self.full.subjects), len(self.full.polished.v)
        densities = _Densities.of(self.sample, self.start, d)
        size = max(1, NUMBERS_AT_ONCE // (len(self.sample.value) * n * d))
        parts = [self._climbed(densities, weights[at : at + size]) for at in range(0, len(weights), size)]
        return np.maximum(2 * (np.concatenate(parts) - self.without), 0.0)

    def _climbed(self, densities: _Densities, weights: Floats) -> Floats:
        """(a,) the highest log-likelihoods."""
        population, design, draws = self.full.population, self.full.design, self.sample.draws
        places, counts = design.places, np.ones(len(self.full.subjects))
        matrix = np.repeat(design.matrix[None, :, places], len(weights), axis=0)
        matrix[:, :, places.tolist().index(self.place), self.columns] = weights
        mean, precision = population.prior
        p, q = len(design.effects), len(design.random)
        start = louis.vector_of(design, self.start)
        floors, tops = polish.floors_of(population), np.full(len(start), np.inf)
        floors[p : p + q] = np.log(polish.NO_SPREAD * population.spread_units) + 1e-6
        floors[densities.places] = np.maximum(floors[densities.places], start[densities.places] - FARTHEST)
        tops[densities.places] = start[densities.places] + FARTHEST

        def look(v: Floats, of: Flags) -> tuple[Floats, Told]:
            """Log-likelihoods with priors, and what draws say of arrangements at v."""
            found = louis.told(design, matrix[of], draws.phi, draws.log_proposal, densities.at(v), v, counts)
            away = v - mean
            found = found._replace(
                gradient=found.gradient - precision * away, information=found.information + np.diag(precision)
            )
            return found.value - 0.5 * (away**2) @ precision, found

        v, everyone = np.tile(start, (len(weights), 1)), np.ones(len(weights), bool)
        value, at = look(v, everyone)
        share, climbing = np.ones(len(weights)), everyone
        for _ in range(MOST_CLIMBS):
            here = Told(*(part[climbing] for part in at))
            moving = polish.moving_of(population, v[climbing], here.gradient, floors)
            step = polish.newton(population, here.gradient, here.information, moving)
            promise = np.sum(here.gradient * step, axis=1)
            tried = np.clip(v[climbing] + share[climbing, None] * step, floors, tops)
            new, there = look(tried, climbing)
            higher = new >= value[climbing] - 1e-9
            moved = np.flatnonzero(climbing)[higher]
            v[moved], value[moved] = tried[higher], new[higher]
            for whole, part in zip(at, there, strict=True):
                whole[moved] = part[higher]
            lower = np.flatnonzero(climbing)[~higher]
            ended = np.flatnonzero(climbing)[higher & (promise < LITTLE_TO_GAIN)]
            share[moved], share[lower] = 1.0, share[lower] / 2
            climbing = climbing & (share > SHORTEST)
            climbing[ended] = False
            if not climbing.any():
                break
        return np.where(np.isfinite(at.value), at.value, -np.inf)


@dataclass(frozen=True, eq=False)
class _Densities:
    """Log-likelihoods of draws between Chebyshev points of the ln sds of the error that are free.

    table : (points of all, m, n). middle : (u,) where they are symmetric about. places : (u,) in v. basis : (points,
    points) coefficients of the powers of each Lagrange polynomial of one ln sd. solved : (m, n).
    """

    table: Floats
    middle: Floats
    places: Ints
    basis: Floats
    solved: Flags

    @classmethod
    def of(cls, sample: Sample, start: Theta, d: int) -> _Densities:
        """Of the curves of a sample, about the sds of ``start``, the last of d estimates."""
        patients, theta = sample.population.patients, np.asarray(start.ln_sd, float)
        free = np.flatnonzero(patients.sd_free)
        count = NODES[len(free)]
        nodes = np.cos(np.pi * (np.arange(count) + 0.5) / count)
        basis = np.linalg.inv(np.vander(nodes, increasing=True)).T
        ln_sds = np.tile(theta, (count ** len(free), 1))
        for at, place in enumerate(product(range(count), repeat=len(free))):
            ln_sds[at, free] += FARTHEST * nodes[list(place)]
        table = polish.values_at(sample, ln_sds)
        solved = np.isfinite(table).all(axis=0)
        return cls(np.where(solved, table, 0.0), theta[free], d - len(theta) + free, basis, solved)

    def at(self, v: Floats) -> OfSamples:
        """What the samples say where the ln sds are those of v (a, d)."""
        a, u, degree = len(v), len(self.places), len(self.basis)
        t = (v[:, self.places] - self.middle)[..., None] / FARTHEST
        of_power = np.arange(degree)
        # Derivatives of the powers, and with them of each point's polynomial: (orders, a, u, points).
        slopes = [np.ones(degree), of_power, of_power * (of_power - 1)]
        powers = [t ** np.maximum(of_power - order, 0) * by for order, by in enumerate(slopes)]
        each = np.stack([power @ self.basis.T / FARTHEST**order for order, power in enumerate(powers)])

        def summed(*by: int) -> Floats:
            """(a, m, n) the derivative by these ln sds."""
            weight = np.ones((a, 1))
            for at in range(u):
                weight = (weight[:, :, None] * each[by.count(at), :, at, None, :]).reshape(a, -1)
            return np.tensordot(weight, self.table, 1)

        first, second = np.zeros((a, *self.solved.shape, u)), np.zeros((a, *self.solved.shape, u, u))
        for at in range(u):
            first[..., at] = summed(at)
            for other in range(at + 1):
                second[..., at, other] = second[..., other, at] = summed(at, other)
        return OfSamples(np.where(self.solved, summed(), -np.inf), first, second, self.places)


def _value(found: Polished, sample: Sample) -> float:
    """The log-likelihood by the draws of a sample; -inf where the climb went astray."""
    value = (found.sample or sample).log_likelihood(found.theta).value
    return value if np.isfinite(value) else -np.inf
