"""Likelihood ratios of arrangements of doses, or of groups, each at its own maximum, by the same draws for all.

Draws and curves stay where they are, and what the samples say at a draw changes with the sds of the error alone: it is
interpolated between values of these (`densities`), and all arrangements climb together. With a parameter that has one
value for all, curves move with it; and of a spread next to 0 draws tell little: then each arrangement climbs by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.permuting.densities import FARTHEST_LN_SD, POINTS, Densities
from cellkinetics.population import louis, polish
from cellkinetics.population.importance import Moments
from cellkinetics.population.polish import Polished
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.running import Sample
from cellkinetics.population.saem import Theta

REFIT_DRAWS, TAKEN = 500, 125  # draws of each patient, and how many of them are taken
SEED_OF_REFITS = 107  # added to the seed
MOST_CLIMBS = 40
LITTLE_TO_GAIN = 1e-4  # log-likelihood units that a Newton step promises: it is the last
SHORTEST_CLIMB = 0.05  # share of a Newton step
FAR_NARROWER = 0.3  # of the spread that draws are of
NUMBERS_AT_ONCE = 4_000_000  # of an array of scores


def climbs_together(smaller: PopulationFit) -> bool:
    """Whether all arrangements can climb together from this population."""
    population, theta = smaller.population, smaller.polished.theta
    spreads = np.sqrt(np.diagonal(np.asarray(theta.omega)))
    wide = bool(np.all(spreads > 2 * polish.NO_SPREAD * population.spread_units))
    return wide and not population.scored and int(population.patients.sd_free.sum()) in POINTS


@dataclass(frozen=True, eq=False)
class Arranged:
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
    def of(cls, full: PopulationFit, smaller: PopulationFit, name: str, columns: list[int], seed: int) -> Arranged:
        """Of a parameter's coefficients, which are in these columns."""
        theta = smaller.polished.theta
        moments = Moments(smaller.conditional_mean, smaller.conditional_covariance)
        sample = smaller.population.sampled(theta, moments, REFIT_DRAWS, seed + SEED_OF_REFITS)
        sample = sample.some(slice(TAKEN))
        # Its own maximum by these draws, so that no ratio is below 0.
        least = polish.polish(smaller.population, theta, sample)
        beta = np.insert(np.asarray(least.theta.beta), np.array(columns) - np.arange(len(columns)), 0.0)
        start = least.theta._replace(beta=jnp.asarray(beta))
        return cls(full, sample, start, _value(least), full.design.names.index(name), columns)

    def alone(self, weights: Floats) -> Floats:
        """The ratios where patients have these weights (arrangements, n, coefficients), one after the other."""
        return self._ratios(np.array([self._alone(each) for each in weights]))

    def _ratios(self, values: Floats) -> Floats:
        return np.maximum(2 * (values - self.without), 0.0)

    def _alone(self, weights: Floats) -> float:
        """The highest log-likelihood of one arrangement."""
        matrix = self.full.design.matrix.copy()
        matrix[:, self.place, self.columns] = weights
        population = replace(self.sample.population, design=replace(self.full.design, matrix=matrix),
                             prior=self.full.population.prior)  # fmt: skip
        return _value(polish.polish(population, self.start, replace(self.sample, population=population)))

    def together(self, weights: Floats) -> Floats:
        """The same of all at once; no ln sd farther than `FARTHEST_LN_SD` from the start.

        Where a spread falls far below that of the draws few of them count: such arrangements climb by themselves.
        """
        n, d = len(self.full.subjects), len(self.full.polished.v)
        densities = Densities.of(self.sample, self.start, d)
        size = max(1, NUMBERS_AT_ONCE // (len(self.sample.value) * n * d))
        parts = [self._climbed(densities, weights[at : at + size]) for at in range(0, len(weights), size)]
        values, spreads = (np.concatenate(part) for part in zip(*parts, strict=True))
        narrow = np.any(spreads < FAR_NARROWER * np.sqrt(np.diagonal(np.asarray(self.start.omega))), axis=1)
        values[narrow] = [self._alone(each) for each in weights[narrow]]
        return self._ratios(values)

    def _climbed(self, densities: Densities, weights: Floats) -> tuple[Floats, Floats]:
        """(a,) the highest log-likelihoods, and (a, q) spreads there."""
        population, design, draws = self.full.population, self.full.design, self.sample.draws
        places, counts = design.places, np.ones(len(self.full.subjects))
        matrix = np.repeat(design.matrix[None, :, places], len(weights), axis=0)
        matrix[:, :, places.tolist().index(self.place), self.columns] = weights
        p, q = len(design.effects), len(design.random)
        start = louis.vector_of(design, self.start)
        floors, tops = polish.floors_of(population), np.full(len(start), np.inf)
        floors[p : p + q] = np.log(polish.NO_SPREAD * population.spread_units) + 1e-6
        floors[densities.places] = np.maximum(floors[densities.places], start[densities.places] - FARTHEST_LN_SD)
        tops[densities.places] = start[densities.places] + FARTHEST_LN_SD

        def look(v: Floats, of: Flags) -> tuple[Floats, louis.Derivatives]:
            """Log-likelihoods with priors, and what draws say of arrangements at v."""
            found = louis.told(design, matrix[of], draws.phi, draws.log_proposal, densities.at(v), v, counts)
            found = found.with_prior(v, *population.prior)
            return found.value, found

        v, everyone = np.tile(start, (len(weights), 1)), np.ones(len(weights), bool)
        value, at = look(v, everyone)
        share, climbing = np.ones(len(weights)), everyone
        for _ in range(MOST_CLIMBS):
            here = louis.Derivatives(*(part[climbing] for part in at))
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
            climbing = climbing & (share > SHORTEST_CLIMB)
            climbing[ended] = False
            if not climbing.any():
                break
        return np.where(np.isfinite(at.value), at.value, -np.inf), np.exp(v[:, p : p + q])


def _value(found: Polished) -> float:
    """The log-likelihood by the draws, of what hardly varies at no spread; -inf where the climb went astray."""
    return found.value if np.isfinite(found.value) else -np.inf
