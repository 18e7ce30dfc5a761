"""From a start to where stochastic approximation ends: annealed, then drawn until nothing drifts, then averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError
from cellkinetics.lazily import pandas as pd
from cellkinetics.population.design import Design
from cellkinetics.population.importance import Moments
from cellkinetics.population.running import UNSOLVED, UNSOLVED_OF_ONE, Population, gains_of, moments_of, too_many
from cellkinetics.population.saem import ITERATIONS, Iterate, Theta, Trace
from cellkinetics.saving import UNSAVED

ANNEALED = 75  # iterations
FEWEST_BLOCKS, MOST_BLOCKS = 5, 16  # blocks of the first phase
FURTHER_BLOCKS = 2  # of it, from where curves are solved in a finer way
AVERAGED = 4  # blocks of the second
WINDOW = 50  # iterations in which nothing may drift
DRIFT = 0.2  # standard errors in a window, or so many of the drift's own as NOISE says
NOISE = 2.5


HELD = "give a prior of the spreads, or hold what varies too far (fixed=)"  # what keeps curves that can be solved


@dataclass(frozen=True, eq=False)
class Path:
    """Where it ended and how it came there.

    moved : labels of what still drifted when the first phase was cut off; empty where nothing did.
    refused_each : (n,) share of each patient's proposals of the last phase that could not be solved; at the end of a
        fit that of its draws, if larger.
    interrupted : from the keyboard. traces : by blocks. chains : of each patient.
    state : where the chains stand; None of a fit that was read from a file.
    """

    population: Population = field(metadata=UNSAVED)
    state: Iterate | None = field(metadata=UNSAVED)
    trace: pd.DataFrame
    moved: tuple[str, ...]
    refused_each: Floats
    interrupted: bool = False
    traces: Sequence[Trace] = field(default=(), metadata=UNSAVED)
    chains: int = 0

    @property
    def unsolved(self) -> str:
        """In words that too many proposals could not be solved; "" where that is not so."""
        worst = int(np.argmax(self.refused_each))
        if self.refused_each.mean() > UNSOLVED:
            return f"{self.refused_each.mean():.0%} of proposed curves could not be solved; {HELD}"
        if self.refused_each[worst] > UNSOLVED_OF_ONE:
            of = self.population.patients.subjects[worst]
            return f"{self.refused_each[worst]:.0%} of the proposed curves of patient {of} could not be solved; {HELD}"
        return ""

    @property
    def theta(self) -> Theta:
        """The estimates."""
        return self.ended.theta

    @property
    def ended(self) -> Iterate:
        """Where the chains stand."""
        if self.state is None:
            raise ModelError("chains are not kept in files: fit the population again.")
        return self.state

    @property
    def moments(self) -> Moments:
        """Of each patient's parameters: averaged, or where that was not begun those that proposals had learnt."""
        if not self.interrupted:
            return moments_of(self.ended)
        return Moments(np.asarray(self.ended.chains.centre), np.asarray(self.ended.chains.spread))


def climb(population: Population, theta: Theta, seed: int, more: Callable[[int], None]) -> Path:
    """Two phases from ``theta``; where curves are refused too often, with the model's next way of solving."""
    path = _climb(population, population.begun(theta, seed), 0, seed, more)
    while too_many(path.refused_each) and not path.interrupted:
        finer = path.population.finer()
        if finer is None:
            break
        path = _climb(finer, path.ended, len(path.trace) // ITERATIONS, seed, more, path.traces)
    return path


def _climb(
    population: Population,
    state: Iterate,
    block: int,
    seed: int,
    more: Callable[[int], None],
    before: Sequence[Trace] = (),
) -> Path:
    traces, moved, interrupted = list(before), (), False
    begun, most = block, block + MOST_BLOCKS
    fewest = FEWEST_BLOCKS if not block else block + FURTHER_BLOCKS
    try:
        while block < most:
            k = np.arange(ITERATIONS, dtype=float) + block * ITERATIONS
            state, trace = population.run(
                state, gains_of(np.ones(ITERATIONS), k, annealed=ANNEALED, moving=True), seed, block
            )
            traces.append(_numbers(trace))
            block += 1
            more(ITERATIONS)
            if block < fewest:
                continue
            # Chains that stand where curves are solved go on from there.
            finer = population.finer() if block - begun >= 2 and too_many(_refused(traces[-2:])) else None
            if finer is not None:
                population, fewest, begun = finer, min(block + FURTHER_BLOCKS, most), block
                continue
            moved = drifting(population, state, traces)
            if not moved:
                break
        first = block * ITERATIONS
        for _ in range(AVERAGED):
            k = np.arange(ITERATIONS, dtype=float) + block * ITERATIONS
            state, trace = population.run(state, gains_of(1 / (k - first + 1), k, moving=True), seed, block)
            traces.append(_numbers(trace))
            block += 1
            more(ITERATIONS)
    except KeyboardInterrupt:
        interrupted = True
        if not traces:
            raise
    return Path(
        population,
        state,
        _table(population, traces),
        moved,
        _refused(traces[-AVERAGED:]),
        interrupted,
        traces,
        len(state.chains.phi),
    )


def _refused(traces: Sequence[Trace]) -> Floats:
    """(n,) share of each patient's proposals that could not be solved."""
    return np.mean(np.concatenate([trace.refused for trace in traces]), axis=0)


def _numbers(trace: Trace) -> Trace:
    return Trace(*(np.asarray(part) for part in trace))


def errors_of(population: Population, state: Iterate) -> Floats:
    """Rough standard errors of what `values_of` gives, from the numbers of patients and samples."""
    design, theta = population.design, state.theta
    n = len(population.patients.subjects)
    omega = np.diagonal(np.asarray(theta.omega))
    of_effects, at = np.zeros(len(design.effects)), 0
    for column, effect in enumerate(design.effects):
        if design.scored[column]:
            known = float(np.asarray(state.information)[at, at])
            of_effects[column], at = 1 / np.sqrt(max(known, 1e-12)), at + 1
        else:
            weights = design.matrix[:, design.names.index(effect.parameter), column]
            of_effects[column] = np.sqrt(omega[design.random.index(effect.parameter)] / np.sum(weights**2))
    rows = np.maximum(population.patients.samples_each, 1.0)
    spreads, linked = np.full(len(omega), 1 / np.sqrt(2 * n)), np.full(len(design.pairs), 1 / np.sqrt(n))
    return np.concatenate([of_effects, spreads, linked, 1 / np.sqrt(2 * rows)])


def values_of(design: Design, beta: Floats, omega: Floats, ln_sd: Floats) -> Floats:
    """(iterations, all) coefficients, ln sds between, atanh correlations, ln sds of the error."""
    variance = np.maximum(np.diagonal(omega, axis1=1, axis2=2), 1e-300)
    linked = [omega[:, a, b] / np.sqrt(variance[:, a] * variance[:, b]) for a, b in design.pairs]
    atanh = np.arctanh(np.clip(np.array(linked).reshape(len(linked), len(beta)).T, -0.999999, 0.999999))
    return np.hstack([beta, 0.5 * np.log(variance), atanh, ln_sd])


def labels_of(population: Population) -> list[str]:
    """Of `values_of`."""
    return [*population.design.labels, *population.patients.common_sds]


def drifting(population: Population, state: Iterate, traces: Sequence[Trace]) -> tuple[str, ...]:
    """What the last iterations of gamma 1 still move: more than a line through them would by chance, in its errors."""
    beta, omega, ln_sd = (
        np.concatenate([getattr(trace, part) for trace in traces])[-WINDOW:] for part in ("beta", "omega", "ln_sd")
    )
    values = values_of(population.design, beta, omega, ln_sd) / errors_of(population, state)
    time = np.linspace(-0.5, 0.5, len(values))
    slope = time @ values / (time @ time)
    rest = values - values.mean(axis=0) - np.outer(time, slope)
    variance = np.mean(rest**2, axis=0)
    follow = np.clip(np.mean(rest[1:] * rest[:-1], axis=0) / np.maximum(variance, 1e-300), 0.0, 0.95)
    own = np.sqrt(variance * (1 + follow) / (1 - follow) / (time @ time))
    free = np.append(np.ones(values.shape[1] - len(population.patients.sd_free), bool), population.patients.sd_free)
    moves = free & (np.abs(slope) > np.maximum(DRIFT, NOISE * own))
    return tuple(label for label, moving in zip(labels_of(population), moves, strict=True) if moving)


def _table(population: Population, traces: Sequence[Trace]) -> pd.DataFrame:
    """One row an iteration: what is estimated, the chains' log-likelihood, shares accepted."""
    beta, omega, ln_sd, value, accepted, refused = (np.concatenate(part) for part in zip(*traces, strict=True))
    table = as_table(population, values_of(population.design, beta, omega, ln_sd))
    table["log-likelihood of the chains"] = value
    for column, name in enumerate(("population", "walk", "own")):
        table[f"accepted {name}"] = accepted[:, column]
    table["refused"] = refused.mean(axis=1)
    return table


def as_table(population: Population, values: Floats) -> pd.DataFrame:
    """Of `values_of`, a row an iteration: means on the estimation scale, sds and correlations as they are."""
    design, values = population.design, values.copy()
    q, effects, sds = len(design.random), len(design.effects), len(population.patients.sd_free)
    linked = slice(effects + q, effects + q + len(design.pairs))
    own = [at for at, effect in enumerate(design.effects) if effect.label in population.patients.own_sds]
    for part in (own, slice(effects, effects + q), slice(values.shape[1] - sds, None)):
        values[:, part] = np.exp(values[:, part])
    values[:, linked] = np.tanh(values[:, linked])
    return pd.DataFrame(values, columns=labels_of(population)).rename_axis("iteration")
