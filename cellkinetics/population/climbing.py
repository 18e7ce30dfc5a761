"""From a start to the maximum of an approximate likelihood: quasi-Newton steps, then Newton's, on exact gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError
from cellkinetics.population import importance, polish
from cellkinetics.population.importance import Moments
from cellkinetics.population.louis import theta_of, vector_of
from cellkinetics.population.marginal import Marginal, marginal
from cellkinetics.population.polish import At, Polished
from cellkinetics.population.running import Population
from cellkinetics.population.saem import Theta
from cellkinetics.population.schedule import Path, as_table

MOST_ASCENTS = 150
NEAR = 1e-4  # log-likelihood units that a quasi-Newton step still promises where Newton's take over
PROBED_ASIDE = 2e-5  # of differences of the gradient
SHORT_WAY = 0.05  # on the estimation scale: modes are followed along their tangents
FARTHEST_START = 3.0  # spreads of a patient's own guess from the population
LONGEST_ASCENT = 1.0  # on the estimation scale, in its units
TRUE_SHARE, SHORTEST_ASCENT = 1e-4, 1e-3  # of what a step promises that must come true; of a step


@dataclass(eq=False)
class Objective:
    """An approximate likelihood by `louis.vector_of`, with priors; the modes of one value are where the next begin.

    method : "laplace", "focei" or "agq". nodes : of the last. x : (n, q) where the first modes are looked for.
    last, place : the last that there was, and its v.
    """

    population: Population
    method: str
    nodes: int
    x: Floats
    last: Marginal | None = None
    place: Floats | None = None

    def at(self, v: Floats, counts: Floats) -> tuple[float, Floats, Floats]:
        """Value, gradient (d,) and scores (n, d), a patient counted as often as ``counts`` (n,) say; -inf for none."""
        theta = theta_of(self.population.design, v)
        nothing = -np.inf, np.zeros(len(v)), np.zeros((len(counts), len(v)))
        try:
            np.linalg.cholesky(np.asarray(theta.omega))
        except np.linalg.LinAlgError:
            return nothing
        found = marginal(self.population, theta, self._start(v), self.method, self.nodes, gradient=True)
        if found.gradient is None or not np.isfinite(found.value):
            return nothing
        self.last, self.place, self.x = found, v, found.modes.x
        mean, precision = self.population.prior
        away = v - mean
        gradient = counts @ found.gradient - precision * away
        return float(counts @ found.each) + self.population.log_prior(v), gradient, found.gradient

    def beside(self, v: Floats, counts: Floats, at: At) -> At:
        """A last step away from ``at``, whose information holds here too."""
        value, gradient, scores = self.at(v, counts)
        return replace(at, value=value, gradient=gradient, scores=scores)

    def _start(self, v: Floats) -> Floats:
        """(n, q) where the modes of v are looked for: a short way off as far as they move along their tangents."""
        if self.place is None or self.last is None or self.last.moves is None:
            return self.x
        way = v - self.place
        return self.x + np.einsum("d,ndq->nq", way, self.last.moves) if np.max(np.abs(way)) < SHORT_WAY else self.x

    def moments(self) -> Moments:
        """Modes of the patients, and the inverses of the curvatures there, as of the last value."""
        assert self.last is not None
        return Moments(self.last.modes.x, np.linalg.inv(self.last.precision))

    def look(self, v: Floats, counts: Floats) -> At:
        """With minus its Hessian, by differences of the gradient to one side: off by a share of the way aside."""
        value, gradient, scores = self.at(v, counts)
        here, place, d = self.last, self.place, len(v)
        information = np.zeros((d, d))
        if np.isfinite(value):
            for at in np.flatnonzero(polish.moving_of(self.population, v, gradient)):
                aside = np.zeros(d)
                aside[at] = PROBED_ASIDE * (self.population.units[at] if at < len(self.population.units) else 1.0)
                information[at] = (gradient - self.at(v + aside, counts)[1]) / aside[at]
            self.last, self.place = here, place
            self.x = here.modes.x if here is not None else self.x
        return At(value, gradient, 0.5 * (information + information.T), scores, np.zeros((d, d)), None)


def ascended(
    population: Population, theta: Theta, method: str, nodes: int, more: Callable[[int], None]
) -> tuple[Polished, Path, Moments]:
    """The maximum from ``theta``; the steps that led there; modes of the patients with inverse curvatures.

    Raises
    ------
    ModelError
        There is no approximation at the start.
    """
    design, patients = population.design, population.patients
    counts = np.ones(len(patients.subjects))
    middle = importance.mean_of(design.matrix, theta, population.random)
    spread = FARTHEST_START * np.sqrt(np.diagonal(np.asarray(theta.omega)))
    x = middle + np.clip(patients.guesses[:, design.places] - middle, -spread, spread)
    objective, trace, interrupted = Objective(population, method, nodes, x), [], False
    v = vector_of(design, theta)
    while not np.isfinite(objective.at(v, counts)[0]):
        # A coarse solution may end where a patient has its mode.
        finer = population.finer()
        if finer is None:
            raise ModelError(
                f"method={method!r}: at the start a patient's curve cannot be solved, or its likelihood has no maximum "
                "with a curvature. Give initial=, or take method='saem'."
            )
        population = finer
        objective = Objective(population, method, nodes, x)

    def told(v: Floats, value: float) -> None:
        trace.append(np.append(v, value))
        more(1)

    try:
        v = _quasi_newton(objective, v, counts, told)
        best = polish.climbed(
            population, v, lambda v: objective.look(v, counts), last_look=lambda v, at: objective.beside(v, counts, at)
        )
    except KeyboardInterrupt:
        if not trace:
            raise
        interrupted = True
        v = trace[-1][:-1]
        value, gradient, scores = objective.at(v, counts)
        nothing = np.zeros((len(v), len(v)))
        moving = polish.moving_of(population, v, gradient)
        best = Polished(theta_of(design, v), v, nothing, scores, nothing, np.zeros(len(v)), moving, None)
    value, _, _ = objective.at(best.v, counts)
    told(best.v, value)
    table = as_table(population, np.array(trace)[:, :-1])
    table["log-likelihood, approximate"] = np.array(trace)[:, -1]
    return best, Path(population, None, table, (), np.zeros(len(counts)), interrupted), objective.moments()


def _quasi_newton(objective: Objective, v: Floats, counts: Floats, told: Callable[[Floats, float], None]) -> Floats:
    """BFGS steps with halving, from rough standard errors squared as the first inverse Hessian."""
    population = objective.population
    floors, first = polish.floors_of(population), _rough(population)
    inverse = np.diag(first)
    units = np.ones(len(v))
    units[: len(population.units)] = population.units
    value, gradient, _ = objective.at(v, counts)
    for _ in range(MOST_ASCENTS):
        told(v, value)
        moving = polish.moving_of(population, v, gradient)
        slope = np.where(moving, gradient, 0.0)
        step = np.where(moving, inverse @ slope, 0.0)
        if slope @ step <= 0:
            inverse, step = np.diag(first), first * slope
        step = step / max(1.0, float(np.max(np.abs(step) / (LONGEST_ASCENT * units))))
        promise = float(slope @ step)
        if promise < NEAR:
            break
        share = 1.0
        while share > SHORTEST_ASCENT:
            tried = np.maximum(v + share * step, floors)
            new, there, _ = objective.at(tried, counts)
            if new >= value + TRUE_SHARE * share * promise:
                break
            share /= 2
        else:
            break
        moved, turned = tried - v, gradient - there
        if moved @ turned > 1e-10 * np.sqrt((moved @ moved) * (turned @ turned)):
            rho = 1 / (moved @ turned)
            left = np.eye(len(v)) - rho * np.outer(moved, turned)
            inverse = left @ inverse @ left.T + rho * np.outer(moved, moved)
        v, value, gradient = tried, new, there
    return v


def _rough(population: Population) -> Floats:
    """(d,) squares of rough standard errors, as far as numbers of patients and samples say."""
    n, design = len(population.patients.subjects), population.design
    rows = np.maximum(population.patients.samples_each, 1.0)
    weight = np.einsum("nkp->p", design.matrix**2)
    return np.concatenate([
        population.units**2 / np.maximum(weight, 1e-12), np.full(len(design.random), 0.5 / n),
        np.full(len(design.pairs), 1.0 / n), 0.5 / rows,
    ])  # fmt: skip
