"""The posterior of one patient's parameters under a population, by importance sampling, and curves at its draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.censoring import UNMEASURED
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.engine import Data
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.samples import Samples
from cellkinetics.population import importance
from cellkinetics.population.importance import Moments
from cellkinetics.population.patients import Patients, one_more
from cellkinetics.population.prediction import known_of, matrix_of
from cellkinetics.population.running import Population
from cellkinetics.predictive import other_patients
from cellkinetics.predictive.described import Described, Populations
from cellkinetics.predictive.regimens import Regimen
from cellkinetics.sampling import chains
from cellkinetics.solving.solver import few_sizes

# Rounds in which draws of their own find out where the patient is; the last draws are about what these found.
ROUNDS_OF_DRAWS, DRAWS_OF_A_ROUND = 8, 500
GOOD_ENOUGH = 0.25  # effective share of the draws of a round after which there is no other
FEWEST_AGAIN, MORE_AGAIN = 20, 50  # draws that are solved again together; more of them by the latter: finer are dear
LEAST_EFFECTIVE = 60.0  # draws that moments are made of; weights are tempered as far as that takes
ROWS_APART_AHEAD = 8  # samples and times together, see `few_sizes`
SEED_OF_ROUNDS, SEED_OF_SAMPLES, SEED_OF_MEMBERS = 1000, 2000, 3000  # added to the seed


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of one patient.

    rows : day and output of each time asked for. phi : (m, q) on the estimation scale. weights : (m,), sum 1.
    ln_curves, drawn : (m, rows) ln f, and new samples about it. log_likelihood : ln of the predictive density of the
    samples, 0 without any. samples : those of the patient. limits : {output: lower limit}. effective : sample size.
    unsolved : share of draws of the population without a curve. away : (q,) how far the mean of the patient is from
    that of the population, in sds between patients. patients : this one.
    """

    rows: pd.DataFrame
    phi: Floats
    weights: Floats
    ln_curves: Floats
    drawn: Floats
    samples: pd.DataFrame
    limits: dict[str, float]
    log_likelihood: float
    effective: float
    unsolved: float
    away: Floats
    patients: Patients


@dataclass(frozen=True, eq=False)
class _Ahead(Patients):
    """One patient, whose arrays have rows of weight 0 at the times that are asked for, behind those that are known."""

    known: int = 0

    def data(self, method: Method) -> Data:
        """The samples, and the times behind them."""
        whole = super().data(method)
        asked = np.arange(whole.rows.weight.shape[1]) >= self.known
        # A value that is known, and does not count: nothing of an open interval is computed.
        lower, upper = (np.where(asked, 0.0, end) for end in (whole.rows.lower, whole.rows.upper))
        weight = np.where(asked, 0.0, whole.rows.weight)
        # What is shown is the curve itself: what keeps a likelihood finite is not added to it.
        least = np.where(asked, UNMEASURED, whole.inputs.least)
        return whole._replace(
            inputs=whole.inputs._replace(least=least),
            rows=whole.rows._replace(lower=lower, upper=upper, weight=weight),
        )

    @classmethod
    def of(cls, patients: Patients, subject: str, problem: Problem, known: int) -> _Ahead:
        """With another problem of the subject."""
        same = {each.name: getattr(patients, each.name) for each in fields(patients)}
        cases = {subject: replace(patients.cases[subject], problem=problem)}
        return cls(**{**same, "cases": cases}, known=known)


def posterior_of(
    given: Described, patient: Study, days: Floats, draws: int, seed: int, regimen: Regimen | None = None
) -> Posterior:
    """See `forecast`; ``regimen`` is what is given in place of the patient's own doses, on whatever day."""
    patients = one_more(given.patients, patient)
    (subject,) = patients.subjects
    case = patients.cases[subject]
    outputs, known = list(given.model.outputs), len(case.problem.samples)
    limits = limits_of(given.model, given.study, patient)
    ahead = _ahead(case.problem.samples, days, limits)
    matrix = matrix_of(given.design, known_of(given.design, patient))
    design = replace(given.design, matrix=matrix[None])
    nothing = np.zeros(len(design.effects))
    rates = case.problem.doses.rates is not None
    method = patients.method if rates or given.method is None else given.method

    def among(samples: Samples) -> Population:
        own = _Ahead.of(patients, subject, replace(case.problem, samples=samples), known)
        return Population(own, design, (nothing, nothing), method)

    one = among(ahead)
    theta, members = given.theta, None
    mean, omega = importance.mean_of(design.matrix, theta, one.random), np.asarray(theta.omega)
    size = importance.whole_blocks(draws)
    if given.drawn is not None:
        # A draw of the posterior for each of the patient: what is not known of the population is in the weights.
        order = np.random.default_rng([seed, SEED_OF_MEMBERS]).permutation(len(given.drawn.beta))
        members = given.drawn.take(np.resize(order, size))
        means = (members.beta @ matrix.T)[:, design.places]
        omega = members.omega.mean(axis=0) + np.cov(means.T, bias=True).reshape(omega.shape)
    moments = Moments(mean, omega[None])
    if known:
        # Where the patient is needs no curve but at its samples.
        alone = among(_ahead(case.problem.samples, days[:0], limits))
        moments = _found(alone, theta, mean, omega, seed + SEED_OF_ROUNDS)
    final = importance.drawn(moments, mean, omega, size, seed)
    if members is None:
        value, curve = _solved_again(one, theta, final.phi)
        ln_w = importance.log_weights(value, final, mean, omega)
    else:
        value, curve = _solved_each(one, members, final.phi)
        factors = np.linalg.cholesky(members.omega)
        away = final.phi[:, 0] - (members.beta @ matrix.T)[:, design.places]
        ln_w = value + chains.log_normal(away[None], factors)[0][:, None] - final.log_proposal
    told = importance.of_weights(ln_w, (subject,))
    solved = np.isfinite(ln_w[:, 0])
    weights = np.exp(ln_w[:, 0] - ln_w[solved, 0].max()) if solved.any() else np.zeros(len(ln_w))
    weights /= max(weights.sum(), 1e-300)
    at = slice(known, known + len(days) * len(outputs))
    ln_curves, phi = curve[:, 0, at], final.phi[:, 0]
    if regimen is not None:
        beta = np.asarray(theta.beta) if members is None else members.beta
        driven = {**known_of(given.design, patient), BY_DOSE: regimen.first}
        x = np.broadcast_to(beta @ matrix_of(given.design, driven).T, (len(phi), len(design.names))).copy()
        x[:, design.places] += phi - (beta @ matrix.T)[..., design.places]
        problem = replace(case.problem, samples=ahead, doses=regimen.doses)
        under = _Ahead.of(patients, subject, problem, known)
        first = under.method if regimen.doses.rates is not None else method
        ln_curves = other_patients.solved(under, x[:, None], first, len(ahead), np.float64)[:, 0, at]
        phi, solved = x[:, design.places], np.asarray(np.isfinite(ln_curves).all(axis=1))
        value = np.where(solved[:, None], value, -np.inf)
        weights = np.where(solved, weights, 0.0)
        weights /= max(weights.sum(), 1e-300)
    output = ahead.output[at]
    sds = patients.sds_at(phi, theta.ln_sd if members is None else members.ln_sd, output)
    error, limited = case.problem.error, ahead.lloq[at] > 0
    copies = np.empty_like(ln_curves)
    for column in range(copies.shape[1]):
        # The same chance on each day: from day to day it is the curve that changes. One without a curve has weight 0.
        here = slice(column, column + 1)
        rng = np.random.default_rng([seed, SEED_OF_SAMPLES])
        copies[:, here] = error.drawn(
            np.exp(ln_curves[:, here]), sds[..., here], ahead.mass[at][here], ~limited[here], rng
        )  # fmt: skip
    rows = pd.DataFrame({"day": ahead.day[at], "output": [outputs[i] for i in output]})
    unsolved = float(np.mean(~np.isfinite(value[:: importance.ONE_OF_POPULATION, 0])))
    return Posterior(
        rows, final.phi[:, 0], weights, ln_curves, copies, _table(case.samples, outputs),
        dict(zip(outputs, map(float, limits), strict=True)), told.value if known else 0.0, told.smallest_ess, unsolved,
        (weights @ final.phi[:, 0] - mean[0]) / np.sqrt(np.diag(omega)), patients,
    )  # fmt: skip


def _solved_each(one: Population, members: Populations, phi: Floats) -> tuple[Floats, Floats]:
    """The same where each draw has estimates of a population of its own."""
    data, design = one.data, one.design
    x = members.beta @ design.matrix[0].T
    x[:, design.places] = phi[:, 0]
    curve = other_patients.solved(one.patients, x[:, None], one.method, data.rows.weight.shape[1], np.float64)
    solved = np.isfinite(curve).all(axis=-1)
    curve = np.nan_to_num(curve)
    error, outputs = one.patients.request.error_model, len(one.patients.model.outputs)
    value = np.asarray(other_patients.densities(error, outputs)(curve, members.ln_sd, data)).sum(axis=-1)
    return np.where(solved, value, -np.inf), curve


def _solved_again(one: Population, theta: Any, phi: Floats) -> tuple[Floats, Floats]:
    """Log-likelihoods (m, 1) and curves (m, 1, rows), where a solution does not trust itself by the finer ones.

    Draws of the population go farther out than a fit does: to leave them out would cut off who is unusual.
    """
    value, curve, _ = one.solved(theta, phi, slopes=False)
    finer = one.finer()
    while finer is not None and finer.method.fineness is not None:
        lost = np.flatnonzero(~np.isfinite(value[:, 0]))
        if not len(lost):
            break
        among = np.resize(lost, FEWEST_AGAIN if len(lost) <= FEWEST_AGAIN else few_sizes(len(lost), MORE_AGAIN))
        if len(among) >= len(phi):
            break
        again, curves, _ = finer.solved(theta, phi[among], slopes=False)
        value[lost], curve[lost] = again[: len(lost)], curves[: len(lost)]
        finer = finer.finer()
    return value, curve


def _table(samples: Samples, outputs: Sequence[str]) -> pd.DataFrame:
    """What is known of the patient."""
    return pd.DataFrame({
        "day": samples.day, "output": pd.Series([outputs[i] for i in samples.output], dtype="str"),
        "status": pd.Series(samples.status, dtype="str"),
        "value": np.where(samples.quantified, samples.upper, np.nan), "lower": samples.lower, "upper": samples.upper,
    })  # fmt: skip


def limits_of(model: Model, *studies: Study | None) -> Floats:
    """(outputs,) the largest lower limit of the rows of the last study that has any; NaN without."""
    found = np.full(len(model.outputs), np.nan)
    for study in studies:
        if study is None:
            continue
        rows = study.observations
        for at, name in enumerate(model.outputs):
            # A file names outputs, or counts them.
            known = rows.loc[rows["output"].isin([name, str(at + 1)]), "lloq"].dropna()
            found[at] = known.max() if len(known) else found[at]
    return found


def _ahead(samples: Samples, days: Floats, limits: Floats) -> Samples:
    """The samples, then a row for each time of each output; filled up with the last to a length that many share."""
    n, outputs = len(samples), len(limits)
    asked = len(days) * outputs
    spare = few_sizes(n + asked, ROWS_APART_AHEAD) - n - asked
    last = float(np.max(np.append(samples.day, days), initial=0.0))
    day = np.concatenate([np.tile(days, outputs), np.full(spare, last)])
    output = np.concatenate([np.repeat(np.arange(outputs), len(days)), np.zeros(spare)]).astype(np.int64)
    # What is measured ahead has the mass of DNA of the last sample.
    mass = samples.mass[np.isfinite(samples.mass)]
    more = {
        "day": day, "output": output, "lower": np.zeros(len(day)),
        "upper": np.where(np.isfinite(limits), limits, np.inf)[output],
        "status": np.full(len(day), "ahead", object), "row": np.full(len(day), -1),
        "mass": np.full(len(day), mass[-1] if len(mass) else 1.0), "lloq": limits[output],
        "uloq": np.full(len(day), np.nan),
    }  # fmt: skip
    return Samples(**{name: np.concatenate([getattr(samples, name), values]) for name, values in more.items()})


def _found(one: Population, theta: Any, mean: Floats, omega: Floats, seed: int) -> Moments:
    """Moments of the patient: draws about the population first, then about what the last ones say, tempered."""
    moments = Moments(mean, omega[None])
    for number in range(ROUNDS_OF_DRAWS):
        drawn = importance.drawn(moments, mean, omega, DRAWS_OF_A_ROUND, seed + number)
        value, _, _ = one.solved(theta, drawn.phi, slopes=False)
        ln_w = importance.log_weights(value, drawn, mean, omega)[:, 0]
        if not np.isfinite(ln_w).any():
            return moments
        power, weight = _tempered(ln_w)
        centre = weight @ drawn.phi[:, 0]
        away = drawn.phi[:, 0] - centre
        moments = Moments(centre[None], (weight[:, None] * away).T @ away[None, :, :])
        if power == 1.0 and _effective(weight) >= GOOD_ENOUGH * DRAWS_OF_A_ROUND:
            break
    return moments


def _tempered(ln_w: Floats) -> tuple[float, Floats]:
    """Weights to the power, at most 1, that leaves `LEAST_EFFECTIVE` draws, and that power."""
    finite = np.where(np.isfinite(ln_w), ln_w - np.max(ln_w), -np.inf)

    def at(power: float) -> Floats:
        weight = np.where(np.isfinite(finite), np.exp(power * np.where(np.isfinite(finite), finite, 0.0)), 0.0)
        return weight / weight.sum()

    if _effective(at(1.0)) >= LEAST_EFFECTIVE:
        return 1.0, at(1.0)
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _effective(at(middle)) >= LEAST_EFFECTIVE else (low, middle)
    return low, at(low)


def _effective(weight: Floats) -> float:
    return float(1 / np.sum(weight**2))
