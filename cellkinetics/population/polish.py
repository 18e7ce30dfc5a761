"""Newton steps on the importance-sampled likelihood, with the same draws throughout: to its maximum, with derivatives.

The derivatives are those of `louis`. The draws stay where they are; of parameters without a random effect the curves
are solved anew at each step. One sample gives standard errors, a sandwich, and how far the estimates would move with
other draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Flags, Floats
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.lowered import Program
from cellkinetics.optimising.engine import Data
from cellkinetics.population.design import SD_BETWEEN
from cellkinetics.population.importance import Moments, mean_of
from cellkinetics.population.louis import Derivatives, OfSamples, theta_of, told, vector_of
from cellkinetics.population.running import SEED_OF_DRAWS, Population, Sample
from cellkinetics.population.saem import LEAST_SD, Theta
from cellkinetics.sampling import curves
from cellkinetics.saving import UNSAVED

CLIMBS = 12
LAST_STEP = 0.02  # standard errors: a step below is the last
DIFFERENCE = 1e-3  # of differences by ln sds and by scored columns
LONGEST_MOVE = 1.0  # of a step, in standard errors as far as they are known, and in units of the estimation scale
NO_SPREAD = (
    0.02  # sd between patients, in units, below which its logarithm is not moved: the likelihood hardly depends on it
)
LIKE_ZERO = 0.3  # stderr of ln sd between patients from which on it is compared with 0
STEPS_WITHOUT, SEEN = 4, 0.02  # Newton steps at 0; log-likelihood units below which they end
FEWEST_DRAWS, AT_ZERO_DRAWS = 500, 2000  # of each patient, that these go by; where they ended
FAR_FROM_ZERO = 4.0  # units: nobody takes that for nothing
COUNTS_AS_ZERO = 1.35  # log-likelihood units: half of the 95% point of a variance at its bound (Self and Liang 1987)


@dataclass(frozen=True, eq=False)
class Polished:
    """The maximum of the sampled likelihood, or where the steps ended.

    v : (d,) what `vector_of` makes of the estimates. information : (d, d) observed. scores : (n, d) of each patient.
    noise : (d, d) covariance of the gradient over other draws. step : (d,) the last one. moving : (d,) not held.
    sample : of the draws, and value : the log-likelihood by them, without priors; None and NaN of a fit that was read
        from a file.
    """

    theta: Theta = field(metadata=UNSAVED)
    v: Floats
    information: Floats
    scores: Floats
    noise: Floats
    step: Floats
    moving: Flags
    sample: Sample | None = field(metadata=UNSAVED)
    value: float = field(default=np.nan, metadata=UNSAVED)

    @property
    def covariance(self) -> Floats:
        """(d, d) of the estimates, by Louis' information; 0 where one is held, NaN where it is not determined."""
        return inverse_of(self.information, self.moving)

    @property
    def sandwich(self) -> Floats:
        """(d, d) the same without trusting the model: the scores' covariance between inverses of the information."""
        inverse = inverse_of(self.information, self.moving)
        return inverse @ np.where(np.outer(self.moving, self.moving), self.scores.T @ self.scores, 0.0) @ inverse

    @property
    def condition_number(self) -> float:
        """Largest over smallest eigenvalue of the correlations of what is not held; NaN where an error is not known."""
        covariance = self.covariance[np.ix_(self.moving, self.moving)]
        if not len(covariance) or not np.all(np.isfinite(covariance)) or not np.all(np.diag(covariance) > 0):
            return np.nan
        errors = np.sqrt(np.diag(covariance))
        values = np.linalg.eigvalsh(covariance / np.outer(errors, errors))
        return float(values[-1] / values[0]) if values[0] > 0 else np.inf

    @property
    def mc_errors(self) -> Floats:
        """(d,) how far other draws would move the estimates."""
        whole = inverse_of(self.information, self.moving)
        inverse, known = np.nan_to_num(whole), self.moving & np.isfinite(np.diag(whole))
        return np.where(known, np.sqrt(np.maximum(np.diag(inverse @ self.noise @ inverse), 0.0)), np.nan)

    @property
    def still_moves(self) -> Floats:
        """(d,) the last step in standard errors; 0 of what is held."""
        errors = np.sqrt(np.maximum(np.diag(self.covariance), 1e-300))
        return np.nan_to_num(np.where(self.moving, np.abs(self.step) / errors, 0.0), nan=np.inf)


def polish(
    population: Population, theta: Theta, sample: Sample, counts: Floats | None = None, climbs: int = CLIMBS
) -> Polished:
    """Climb from ``theta``, where the sample was drawn; a patient counts once, or as often as ``counts`` (n,) say."""
    counts = np.ones(len(sample.subjects)) if counts is None else counts
    v = vector_of(population.design, theta)
    # A last step is so short that curves need not be solved once more.
    last = (lambda v, at: at) if population.scored else None
    return climbed(population, v, lambda v: derivatives_at(population, sample, v, counts), climbs, last)


def climbed(
    population: Population,
    v: Floats,
    look: Callable[[Floats], At],
    climbs: int = CLIMBS,
    last_look: Callable[[Floats, At], At] | None = None,
) -> Polished:
    """Newton steps from ``v``, each halved until it leads up; at most ``climbs`` of them.

    ``last_look`` is of the last step, `LAST_STEP` at most, from where it began; ``look`` where it is not given.
    """
    floors = floors_of(population)
    at = look(v)
    for _ in range(climbs):
        moving = moving_of(population, v, at.gradient)
        step = newton(population, at.gradient, at.information, moving)
        errors = np.sqrt(np.maximum(np.diag(np.nan_to_num(inverse_of(at.information, moving))), 1e-300))
        last = bool(np.all(np.abs(step)[moving] < LAST_STEP * errors[moving]))
        share = 1.0
        while share > 0.05:
            tried = np.maximum(v + share * step, floors)
            new = last_look(tried, at) if last and last_look else look(tried)
            # A spread that has become nothing is left out: the likelihood is then another sum over the draws.
            if np.isfinite(new.value) and (new.value >= at.value - 1e-9 or new.without != at.without):
                break
            share /= 2
        else:
            break
        v, at = tried, new
        if last:
            break
    moving = moving_of(population, v, at.gradient)
    return Polished(
        theta_of(population.design, v), v, at.information, at.scores, at.noise,
        newton(population, at.gradient, at.information, moving), moving, at.sample,
        at.value - population.log_prior(v),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class At:
    """A log-likelihood with its derivatives at one point, as `Polished` has them; ``sample`` None of what has none.

    without : what has so small a spread that its random effect was left out.
    """

    value: float
    gradient: Floats
    information: Floats
    scores: Floats
    noise: Floats
    sample: Sample | None
    without: tuple[str, ...] = ()


def derivatives_at(population: Population, sample: Sample, v: Floats, counts: Floats | None = None) -> At:
    """The log-likelihood by these draws at ``v``; a patient counts once, or as often as ``counts`` (n,) say."""
    counts = np.ones(len(sample.subjects)) if counts is None else counts
    if without := _without(population, v):
        return _left_out(population, sample, v, counts, without)
    design = population.design
    theta = theta_of(design, v)
    if not np.all(np.linalg.eigvalsh(theta.omega) > 0):
        nothing = np.zeros((len(v), len(v)))
        return At(-np.inf, np.zeros(len(v)), nothing, np.zeros((1, len(v))), nothing, sample)
    if population.scored:
        value, curve, slopes = population.solved(theta, sample.draws.phi)
        sample = replace(sample, value=value, curve=curve, slopes=slopes)
    # What the samples say of the sds of the error and of scored columns, by differences.
    changes = np.flatnonzero(population.patients.sd_free)
    values, first, second = _by_differences(population, sample, theta, changes.tolist())
    places = np.array([*(len(v) - len(population.patients.sd_free) + changes), *population.scored], int)
    draws = sample.draws
    of_samples = OfSamples(values[None], first[None], second[None], places)
    matrix = design.matrix[None, :, design.places]
    every = told(design, matrix, draws.phi, draws.log_proposal, of_samples, v[None], counts)
    one = Derivatives(*(part[0] for part in every.with_prior(v[None], *population.prior)))
    return At(float(one.value), one.gradient, one.information, one.scores, one.noise, replace(sample, value=values))


def _little(population: Population, v: Floats) -> Flags:
    """(..., q) which spreads are next to nothing."""
    design = population.design
    spread = v[..., len(design.effects) :][..., : len(design.random)]
    return spread <= np.log(NO_SPREAD * population.spread_units)


def _without(population: Population, v: Floats) -> tuple[str, ...]:
    """What has so small a spread that draws tell nothing of its mean.

    Of a spread s the draws' information on the mean is a difference of terms of size 1/s^2.
    """
    design, own = population.design, population.patients.own_sds
    # The sd of a patient that follows a covariate is none that all have in common.
    driven = {effect.parameter for effect in design.effects if effect.covariate and effect.parameter in own}
    small = zip(design.random, _little(population, v), strict=True)
    return tuple(name for name, little in small if little and name not in driven)


def _left_out(population: Population, sample: Sample, v: Floats, counts: Floats, without: tuple[str, ...]) -> At:
    """With one value for all of what hardly varies: what the samples say of it is then in the slopes of the curves."""
    design = population.design
    p, q, linked = len(design.effects), len(design.random), len(design.pairs)
    kept = np.array([name not in without for name in design.random])
    pairs = [p + q + at for at, (a, b) in enumerate(design.pairs) if kept[a] and kept[b]]
    # An sd of the error that does not vary is one of those in common, which stand at the end.
    own = {
        name: at for at, name in enumerate(e.parameter for e in design.effects) if name in population.patients.own_sds
    }
    sds = own | {name: p + q + linked + at for at, name in enumerate(population.patients.common_sds)}
    varying = [own[name] for name in own if name not in without]
    effects = [at for at in range(p) if at not in own.values() or at in varying]
    common = [sds[name] for name in population.patients.sd_names if sds[name] not in varying]
    places = np.array([*effects, *(p + np.flatnonzero(kept)), *pairs, *common], int)
    smaller = population.without_effects(without, places)
    draws = sample if kept.any() else sample.some(slice(0, 2))
    at = derivatives_at(smaller, replace(draws, population=smaller, draws=draws.draws.of(np.flatnonzero(kept))),
                        v[places], counts)  # fmt: skip
    square = np.ix_(places, places)
    gradient, scores = np.zeros(len(v)), np.zeros((len(at.scores), len(v)))
    information, noise = np.zeros((len(v), len(v))), np.zeros((len(v), len(v)))
    gradient[places], scores[:, places] = at.gradient, at.scores
    information[square], noise[square] = at.information, at.noise
    theta = theta_of(design, v)
    if population.scored:
        value, curve, slopes = population.solved(theta, sample.draws.phi)
        sample = replace(sample, value=value, curve=curve, slopes=slopes)
    sample = replace(sample, value=_by_differences(population, sample, theta, [])[0])
    return At(at.value, gradient, information, scores, noise, sample, without)


@cache.kept
def _values(error: ErrorModel, outputs: int, own: tuple[int, ...]) -> Callable[..., Any]:
    """The compiled function to log-likelihoods (k, m, n), each of another change of ln sds and scored columns.

    Takes curves (m, n, rows), their slopes (m, n, rows, f), phi (m, n, q), ln sds (k, c), changes (k, f), data.
    """

    def one(g: Any, phi: Any, ln_sd: Any, data: Data) -> Any:
        return jnp.sum(curves.density(error, outputs, g, curves.ln_sds(phi, ln_sd, own), data))

    every = jax.vmap(jax.vmap(one, in_axes=(0, 0, None, 0)), in_axes=(0, 0, None, None))

    def run(curve: Any, slopes: Any, phi: Any, ln_sds: Any, changes: Any, data: Data) -> Any:
        def moved(asked: tuple[Any, Any]) -> Any:
            return every(curve + slopes @ asked[1], phi, asked[0], data)

        return jax.lax.map(moved, (ln_sds, changes))

    return Program(run)


def values_at(sample: Sample, ln_sds: Floats, changes: Floats | None = None) -> Floats:
    """(k, m, n) log-likelihoods of the curves of a sample at other ln sds (k, c).

    changes : (k, f) of scored columns, along which curves go on as they began; none where None.
    """
    population = sample.population
    patients, f = population.patients, 0 if changes is None else changes.shape[1]
    program = _values(patients.request.error_model, len(patients.model.outputs), patients.own_places)
    if changes is None:
        changes = np.zeros((len(ln_sds), 0))
    # As many at once as derivatives ask for: one program serves any number.
    free = int(patients.sd_free.sum()) + f
    size = 1 + free + free**2
    short = -len(ln_sds) % size
    ln_sds, changes = (np.concatenate([each, np.repeat(each[:1], short, axis=0)]) for each in (ln_sds, changes))
    parts = [
        program(sample.curve, sample.slopes[..., :f], sample.draws.phi, ln_sds[at : at + size], changes[at : at + size],
                population.data)
        for at in range(0, len(ln_sds), size)
    ]  # fmt: skip
    return np.concatenate([np.asarray(part) for part in parts])[: len(ln_sds) - short]


def _by_differences(
    population: Population, sample: Sample, theta: Theta, sds: list[int]
) -> tuple[Floats, Floats, Floats]:
    """Log-likelihoods (m, n), first (m, n, u) and second (m, n, u, u) derivatives by free ln sds and scored columns."""
    count, ln_sd = len(sds) + len(population.scored), np.asarray(theta.ln_sd)
    solved, aside = np.isfinite(sample.value), DIFFERENCE * np.eye(count)
    a, b = np.tril_indices(count, -1)
    changes = np.concatenate([np.zeros((1, count)), aside, -aside, aside[a] + aside[b], -aside[a] - aside[b]])
    ln_sds = np.repeat(ln_sd[None], len(changes), axis=0)
    ln_sds[:, sds] += changes[:, : len(sds)]
    values = values_at(sample, ln_sds, changes[:, len(sds) :])
    middle, ahead, behind, up, down = np.split(values, np.cumsum([1, count, count, len(a)]))
    first, square = (ahead - behind) / (2 * DIFFERENCE), (ahead - 2 * middle + behind) / DIFFERENCE**2
    mixed = (up + down - ahead[a] - ahead[b] - behind[a] - behind[b] + 2 * middle) / (2 * DIFFERENCE**2)
    middle, first = middle[0], np.moveaxis(first, 0, -1)
    second = np.zeros((*middle.shape, count, count))
    second[..., range(count), range(count)] = np.moveaxis(square, 0, -1)
    second[..., a, b] = second[..., b, a] = np.moveaxis(mixed, 0, -1)
    kept = solved[..., None]
    return (
        np.where(solved, middle, -np.inf), np.where(kept, first, 0.0), np.where(kept[..., None], second, 0.0),
    )  # fmt: skip


def floors_of(population: Population) -> Floats:
    """(d,) the lowest value of each estimate."""
    design = population.design
    free = np.full(len(design.effects), -np.inf)
    spreads, linked = np.log(LEAST_SD * population.spread_units), np.full(len(design.pairs), -4.0)
    floors = np.where(population.patients.sd_free, population.patients.ln_sd_floors, -np.inf)
    return np.concatenate([free, spreads, linked, floors])


def moving_of(population: Population, v: Floats, gradient: Floats, floors: Floats | None = None) -> Flags:
    """What Newton moves of v (..., d): not what is given, not an sd at its floor, nor a spread too small to matter."""
    design = population.design
    p, q = len(design.effects), len(design.random)
    floors = floors_of(population) if floors is None else floors
    moving = np.ones(v.shape, bool)
    moving[..., p : p + q] = ~_little(population, v)
    for at, (a, b) in enumerate(design.pairs):
        moving[..., p + q + at] = moving[..., p + a] & moving[..., p + b]
    moving[..., v.shape[-1] - len(population.patients.sd_free) :] = population.patients.sd_free
    return moving & ~((v <= floors + 1e-9) & (gradient <= 0))


def newton(population: Population, gradient: Floats, information: Floats, moving: Flags) -> Floats:
    """Newton steps (..., d) of what moves, where the information is positive; damped ones in other directions."""
    gradient = np.where(moving, gradient, 0.0)
    information = np.where(moving[..., :, None] & moving[..., None, :], information, np.eye(gradient.shape[-1]))
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(information, axis1=-2, axis2=-1)), 1e-12))
    values, vectors = np.linalg.eigh(scale[..., :, None] * information * scale[..., None, :])
    values = np.maximum(np.abs(values), 1e-3)
    inner = np.einsum("...ab,...a->...b", vectors, scale * gradient) / values
    step = scale * np.einsum("...ab,...b->...a", vectors, inner)
    units = np.ones(step.shape[-1])
    units[: len(population.units)] = population.units
    longest = LONGEST_MOVE * units
    cut = np.clip(step, -longest, longest)
    # Cut in some of its coordinates it may lead down: then all are made shorter alike.
    shorter = step / np.maximum(1.0, np.max(np.abs(step) / longest, axis=-1, keepdims=True))
    return np.where(np.sum(gradient * cut, axis=-1, keepdims=True) > 0, cut, shorter)


def inverse_of(information: Floats, moving: Flags) -> Floats:
    """The inverse over what moves, 0 elsewhere; NaN in a direction that is not determined."""
    inverse = np.zeros_like(information)
    part = information[np.ix_(moving, moving)]
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diag(part)), 1e-300))
    scaled = scale[:, None] * part * scale
    values, vectors = np.linalg.eigh(scaled) if len(part) else (np.zeros(0), np.zeros((0, 0)))
    known = values > 1e-8
    inner = (vectors[:, known] / values[known]) @ vectors[:, known].T
    inner = scale[:, None] * inner * scale
    lost = np.max(np.abs(vectors[:, ~known]), axis=1, initial=0.0) > 0.1
    inner[lost, :] = inner[:, lost] = np.nan
    inverse[np.ix_(moving, moving)] = inner
    return inverse


def like_zero(fresh: Sample, polished: Polished, value: float) -> dict[str, float]:
    """{name: log-likelihood units} by which a spread of 0 is worse, where that is next to nothing.

    ``value`` is that of ``fresh``.
    """
    population, found = fresh.population, {}
    known, p = Moments(*fresh.conditional(polished.theta)), len(population.design.effects)
    errors = np.sqrt(np.maximum(np.diag(polished.covariance), 0.0))
    for at, name in enumerate(population.design.random):
        place = p + at
        unsure = not polished.moving[place] or not errors[place] < LIKE_ZERO
        if not unsure or f"{SD_BETWEEN} {name}" in population.patients.request.prior:
            continue
        worse = value - _highest_without(population, polished, known, value, at)
        if worse < COUNTS_AS_ZERO:
            found[name] = worse
    return found


def _highest_without(population: Population, polished: Polished, known: Moments, value: float, at: int) -> float:
    """The log-likelihood where the at-th spread is next to nothing, all else by Newton steps at its maximum.

    known : of each patient at the estimates. Far below ``value``, which is that there, the steps end early.
    """
    design, seed = population.design, int(population.patients.request.seed)
    p, q = len(design.effects), len(design.random)
    linked = [p + q + i for i, pair in enumerate(design.pairs) if at in pair]
    v, moving, highest = polished.v.copy(), polished.moving.copy(), -np.inf
    v[p + at], v[linked] = np.log(1.001 * NO_SPREAD * population.spread_units[at]), 0.0
    moving[[p + at, *linked]] = False
    inverse, best = np.nan_to_num(inverse_of(polished.information, moving)), v

    def seen(v: Floats, draws: int) -> tuple[float, Sample]:
        there = theta_of(design, v)
        sample = population.sampled(there, _given_mean(population, known, there, at), draws, seed + SEED_OF_DRAWS)
        return sample.log_likelihood(there).value, sample

    for _ in range(STEPS_WITHOUT):
        reached, sample = seen(v, FEWEST_DRAWS)
        if not reached > highest + SEEN:
            break
        highest, best = reached, v
        gradient = derivatives_at(population, sample, v).gradient
        step = inverse @ gradient
        # What the step promises is mostly more than it holds.
        if value - highest - 0.5 * gradient @ step > FAR_FROM_ZERO:
            return highest
        v = v + step
    nothing = best.copy()
    nothing[p + at] = np.log(LEAST_SD * population.spread_units[at])
    return seen(nothing, AT_ZERO_DRAWS)[0]


def _given_mean(population: Population, known: Moments, there: Theta, at: int) -> Moments:
    """What is ``known`` of each patient where its at-th parameter is the population's."""
    centre, spread = known
    away = mean_of(population.design.matrix, there, population.random)[:, at] - centre[:, at]
    follow = spread[:, :, at] / spread[:, at, at][:, None]
    spread = spread - follow[:, :, None] * spread[:, at, :][:, None, :]
    spread[:, at, :] = spread[:, :, at] = 0.0
    spread[:, at, at] = there.omega[at, at]
    return Moments(centre + follow * away[:, None], spread)
