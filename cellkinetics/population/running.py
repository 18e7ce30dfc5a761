"""Blocks of iterations by plan: chains at values that are given, and what a weighted sample at them says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Floats, Ints
from cellkinetics.modelling.structure import Method, methods
from cellkinetics.optimising.engine import Data
from cellkinetics.population import importance, saem
from cellkinetics.population.design import Design
from cellkinetics.population.importance import LogLikelihood, Moments
from cellkinetics.population.patients import Patients
from cellkinetics.population.saem import ITERATIONS, LEAST_SD, Fixed, Gains, Iterate, Theta, Trace
from cellkinetics.running.checkpoint import Checkpoint
from cellkinetics.solving.sensitivity import padded_length

WARM_UP, SETTLED = 4, 4  # blocks of iterations before, and while, the moments at given values are taken
SEED_OF_DRAWS = 1  # added to the seed: draws are independent of the chains
# Shares of proposals from which on a finer solution is asked for, of all patients and of one of them: of 50 simulated
# patients of il15_persistence one had two thirds of its weight where the first solution fails, the others nothing.
UNSOLVED, UNSOLVED_OF_ONE = 0.01, 0.05


@dataclass(frozen=True, eq=False)
class Population:
    """A population as its programs take it.

    prior : means and precisions (d,) of all that is estimated, as `louis.vector_of` has it.
    method : how curves are solved; the model's first if None.
    kept : where blocks of iterations are kept, for a run that goes on where another one was killed; None for nowhere.
    """

    patients: Patients
    design: Design
    prior: tuple[Floats, Floats]
    method: Method
    kept: Checkpoint | None = None

    @cached_property
    def data(self) -> Data:
        """The samples and doses."""
        return self.patients.data(self.method)

    @cached_property
    def fixed(self) -> Fixed:
        """What stays the same from one iteration to the next."""
        patients, design = self.patients, self.design
        return Fixed(
            self.data, design.matrix, design.mask, *self.prior, patients.sd_free,
            np.maximum(patients.samples_each, 1.0), patients.ln_sd_floors, self.units, LEAST_SD * self.spread_units,
        )  # fmt: skip

    @cached_property
    def units(self) -> Floats:
        """(p,) in what coefficients are counted, as `Patients.units`."""
        of = dict(zip(self.design.names, self.patients.units, strict=True))
        return np.array([of[effect.parameter] for effect in self.design.effects])

    @cached_property
    def spread_units(self) -> Floats:
        """(q,) the same of what varies."""
        of = {effect.parameter: unit for effect, unit in zip(self.design.effects, self.units, strict=True)}
        return np.array([of[name] for name in self.design.random])

    def log_prior(self, v: Floats) -> float:
        """Of all that is estimated (d,), but for a constant."""
        mean, precision = self.prior
        return -0.5 * float(precision @ (v - mean) ** 2)

    @property
    def random(self) -> tuple[int, ...]:
        """Places of what varies."""
        return tuple(map(int, self.design.places))

    @property
    def scored(self) -> tuple[int, ...]:
        """Columns of what does not."""
        return tuple(map(int, np.flatnonzero(self.design.scored)))

    @property
    def rows(self) -> int:
        """Samples of a patient, padded."""
        return padded_length(self.data.inputs.times.shape[1], 1)

    @cached_property
    def _smaller(self) -> dict[tuple[str, ...], Population]:
        return {}

    def without_effects(self, names: tuple[str, ...], places: Ints) -> Population:
        """With one value for all of what had a random effect; ``places`` are those of the prior that are left."""
        if names not in self._smaller:
            prior = self.prior[0][places], self.prior[1][places]
            patients = self.patients.with_common_sds([name for name in self.patients.own_sds if name in names])
            smaller = Population(
                patients, self.design.without_effects(names, self.patients.own_sds), prior, self.method
            )
            smaller.__dict__["data"] = self.data
            self._smaller[names] = smaller
        return self._smaller[names]

    def finer(self) -> Population | None:
        """With the model's next way of solving its curves; None where there is none."""
        every = methods(self.patients.model)
        after = every[every.index(self.method) + 1 :]
        return replace(self, method=after[0]) if after else None

    def begun(self, theta: Theta, seed: int) -> Iterate:
        """Before the first iteration."""
        count = saem.chains_of(len(self.patients.subjects))
        return saem.begun(
            theta, self.design.matrix, self.design.places, self.patients.guesses, self.design.scored, self.rows, seed,
            count,
        )  # fmt: skip

    def run(self, state: Iterate, plan: Gains, seed: int, block: int) -> tuple[Iterate, Trace]:
        """One block of iterations."""
        # What a program gives back is tied to a device: as arguments those arrays would have it compiled once more.
        state = jax.tree.map(np.asarray, state)
        if self.kept is None:
            return self._run(state, plan, seed, block)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((state, plan))]
        given = leaves, str(self.method), seed, block
        ends, trace = self.kept.once("iterations", given, lambda: self._run(state, plan, seed, block))
        return jax.tree.unflatten(jax.tree.structure(state), ends), Trace(*trace)

    def _run(self, state: Iterate, plan: Gains, seed: int, block: int) -> tuple[Iterate, Trace]:
        patients = self.patients
        run = saem.program(
            patients.model, patients.problems[0].ties, self.method, patients.request.error_model, self.random,
            self.scored, len(self.design.effects), patients.own_places,
        )  # fmt: skip
        return run(self.fixed, state, plan, saem.noise_of(state, len(self.scored), seed, block))

    def at(self, theta: Theta, seed: int) -> tuple[Moments, float]:
        """Moments of each patient's parameters at values that are given, and the share of proposals not solved."""
        state, refused = self.begun(theta, seed), 0.0
        for block in range(WARM_UP + SETTLED):
            # The start is no draw yet: moments of proposals are learnt fast at first, and averaged at the end.
            k = np.arange(ITERATIONS, dtype=float) + block * ITERATIONS
            gamma = np.where(k < WARM_UP * ITERATIONS, 1.0, 1 / np.maximum(k - WARM_UP * ITERATIONS + 1.0, 1.0))
            state, trace = self.run(state, gains_of(gamma, k), seed, block)
            refused = float(np.mean(trace.refused))
        return moments_of(state), refused

    def sampled(self, theta: Theta, moments: Moments, draws: int, seed: int) -> Sample:
        """A weighted sample of every patient's parameters at ``theta``."""
        patients = self.patients
        mean = importance.mean_of(self.design.matrix, theta, self.random)
        size = importance.whole_blocks(draws)
        drawn = importance.drawn(moments, mean, np.asarray(theta.omega), size, seed)
        return Sample(self, drawn, *self.solved(theta, drawn.phi), patients.subjects)

    def sampled_where_solved(self, theta: Theta, moments: Moments, draws: int, seed: int) -> Sample:
        """The same, with the first way of solving from this one on that fails in few draws of every patient."""
        sample = self.sampled(theta, moments, draws, seed)
        finer = self.finer() if too_many(sample.unsolved) else None
        return sample if finer is None else finer.sampled_where_solved(theta, moments, draws, seed)

    def solved(self, theta: Theta, phi: Floats, *, slopes: bool = True) -> tuple[Floats, Floats, Floats]:
        """Log-likelihoods (m, n), curves (m, n, rows) and slopes (m, n, rows, scored) at draws (m, n, q).

        Without ``slopes`` there are none: each takes a curve more.
        """
        patients = self.patients
        run = importance.solver(
            patients.model, patients.problems[0].ties, self.method, patients.request.error_model, self.random,
            self.scored if slopes else (), len(self.design.effects), patients.own_places,
        )  # fmt: skip
        blocks = [
            run(self.design.matrix, theta.beta, theta.ln_sd, block, self.units, self.data)
            for block in importance.in_blocks(phi)
        ]
        value, curve, by_columns = (
            np.concatenate([np.asarray(part).reshape(len(phi) // len(blocks), *part.shape[2:]) for part in parts])
            for parts in zip(*blocks, strict=True)
        )
        return value, curve, by_columns


@dataclass(frozen=True, eq=False)
class Sample:
    """Draws of each patient with their log-likelihoods (m, n), curves (m, n, rows) and slopes."""

    population: Population
    draws: importance.Draws
    value: Floats
    curve: Floats
    slopes: Floats
    subjects: tuple[str, ...]

    @property
    def unsolved(self) -> Floats:
        """(n,) share of each patient's draws whose curves could not be solved."""
        return np.mean(~np.isfinite(self.value), axis=0)

    def some(self, which: slice) -> Sample:
        """Some of the draws, of each patient."""
        return replace(
            self, draws=self.draws.some(which), value=self.value[which], curve=self.curve[which],
            slopes=self.slopes[which],
        )  # fmt: skip

    def log_weights(self, theta: Theta) -> Floats:
        """(m, n) at the values where the curves were made."""
        mean = importance.mean_of(self.population.design.matrix, theta, self.population.random)
        return importance.log_weights(self.value, self.draws, mean, np.asarray(theta.omega))

    def log_likelihood(self, theta: Theta) -> LogLikelihood:
        """With its Monte Carlo error."""
        return importance.of_weights(self.log_weights(theta), self.subjects)

    def _weights(self, theta: Theta) -> Floats:
        """(m, n) that add up to 1 for each patient."""
        ln_w = self.log_weights(theta)
        weight = np.exp(ln_w - ln_w.max(axis=0))
        return weight / weight.sum(axis=0)

    def expected_curves(self, theta: Theta) -> Floats:
        """(n, rows) conditional means of ln f."""
        return np.einsum("mn,mnr->nr", self._weights(theta), self.curve)

    def conditional(self, theta: Theta) -> tuple[Floats, Floats]:
        """Means (n, q) and covariances (n, q, q) of each patient's parameters given its samples."""
        weight = self._weights(theta)
        mean = np.einsum("mn,mnq->nq", weight, self.draws.phi)
        away = self.draws.phi - mean
        return mean, np.einsum("mn,mnp,mnq->npq", weight, away, away)


def moments_of(state: Iterate) -> Moments:
    """As averaged over iterations and chains."""
    mean, second = np.asarray(state.mean), np.asarray(state.second)
    return Moments(mean, second - mean[:, :, None] * mean[:, None, :])


def gains_of(gamma: Floats, k: Floats, *, annealed: int = 0, moving: bool = False) -> Gains:
    """Of iterations numbered k (from 0): annealed below that number."""
    learning = np.maximum(1 / (k + 2.0), 0.05)
    return Gains(
        jnp.asarray(gamma, float), jnp.asarray(learning), jnp.asarray(k < annealed), jnp.full(len(k), moving)
    )  # fmt: skip


def too_many(refused: Floats) -> bool:
    """Whether a finer solution is asked for: one patient alone may have its curves where a coarse one fails."""
    return bool(refused.mean() > UNSOLVED or refused.max() > UNSOLVED_OF_ONE)
