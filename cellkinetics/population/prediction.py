"""What is drawn from a population: curves of other patients, and the population of patients drawn again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.data.groups import named
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.fitting.bootstrap import Bootstrap
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.comedication import without_effect
from cellkinetics.modelling.levels import column_of
from cellkinetics.modelling.prior import SCALES, Prior
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.modelling.typical import DrawnTypical, Typical
from cellkinetics.population.climbing import Objective
from cellkinetics.population.design import Design
from cellkinetics.population.importance import Moments
from cellkinetics.population.polish import Polished, climbed, polish, theta_of
from cellkinetics.population.schedule import labels_of
from cellkinetics.population.text import STILL
from cellkinetics.progress import bar
from cellkinetics.running.run import Run
from cellkinetics.solving.simulation import simulate
from cellkinetics.words import count

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit


def predicted(
    fit: PopulationFit,
    days: Floats | None,
    doses: object,
    covariates: Mapping[str, Any] | None,
    inputs: Mapping[str, Any] | None,
    level: float,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """See `PopulationFit.predict`."""
    model, given = fit.model, dict(covariates or {})
    asked, doses = doses, _doses(fit, doses) if model.channels else None
    dose = float(asked) if isinstance(asked, (int, float)) else None
    if dose is None or not any(effect.covariate == BY_DOSE for effect in fit.design.effects):
        without_effect(model, asked)
    mean = estimates(fit, covariates_of(fit, given, dose))
    days = np.linspace(0.0, _last(fit), 100) if days is None else days
    rng = np.random.default_rng(seed)
    whole = np.linalg.cholesky(np.asarray(fit.polished.theta.omega))
    drawn = np.repeat(mean[None], draws + 1, axis=0)
    # The first is the median patient.
    drawn[1:, fit.design.places] += rng.normal(size=(draws, len(whole))) @ whole.T
    problem, sds = fit.patients.problems[0], np.zeros(int(fit.patients.sd_free.sum()))
    parameters = pd.DataFrame([problem.natural(np.append(row, sds)) for row in drawn])
    curves = simulate(model, parameters, days, doses, inputs=_inputs(fit, inputs))
    table = pd.DataFrame({"day": days})
    for output in model.outputs:
        each = curves[output].to_numpy().reshape(len(drawn), len(days))
        name = column_of(model, output, fit.study.unit)
        table[name] = each[0]
        table[f"{name}_lower"], table[f"{name}_upper"] = np.quantile(
            each[1:], [0.5 - level / 2, 0.5 + level / 2], axis=0
        )
    return table


# Draws of each patient that a bootstrap climbs on, and what is added to its seed for them.
BOOTSTRAP_DRAWS, SEED_OF_BOOTSTRAP = 1000, 103
FEW_LOST = 0.05  # of refits: intervals of the others are trusted
REFITS_AT_ONCE = 5  # chunks of a checkpoint


def bootstrapped(fit: PopulationFit, n: int, level: float, seed: int, run: Run, progress: bool) -> Bootstrap:
    """See `PopulationFit.bootstrap`."""
    theta, patients = fit.polished.theta, len(fit.subjects)
    counts = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=n).astype(float)
    chunks = [(counts[at : at + REFITS_AT_ONCE], fit.polished.v) for at in range(0, n, REFITS_AT_ONCE)]
    moments = Moments(fit.conditional_mean, fit.conditional_covariance)
    labels, ends = labels_of(fit.population), dict[int, Any]()

    def here(missing: Sequence[int]) -> Iterator[tuple[int, Any]]:
        if (by := fit.approximation) is not None:
            objective = Objective(fit.population, by.method, fit.asked["nodes"], fit.conditional_mean)
            refitted = partial(_climbed, fit, objective)
        else:
            sample = fit.population.sampled(theta, moments, BOOTSTRAP_DRAWS, seed + SEED_OF_BOOTSTRAP)
            refitted = partial(polish, fit.population, theta, sample)
        for number in missing:
            refits = [refitted(own) for own in chunks[number][0]]
            yield number, np.array([np.append(one.v, float(np.max(one.still_moves) <= STILL)) for one in refits])

    with suppress(KeyboardInterrupt), bar(n, progress, "refitting") as more:
        for number, refits in run.each("population", polish, chunks, here):
            ends[number] = refits
            more(len(refits))
    if not ends:
        raise KeyboardInterrupt
    done = np.concatenate([ends[number] for number in sorted(ends)])
    kept = done[done[:, -1] == 1, :-1]
    draws = natural_of(fit, kept, labels)
    free = [label for label in labels if fit.parameters.loc[label, "status"] != "fixed"]
    rows = {"value": fit.parameters.loc[free, "value"].astype(float)}
    needed = math.ceil(round(1 / (1 - level), 9))
    enough = len(draws) >= needed
    for side, share in (("lower", (1 - level) / 2), ("upper", (1 + level) / 2)):
        rows[side] = draws[free].quantile(share) if enough else pd.Series(np.nan, index=free)
    notes = [] if len(done) == n else [f"interrupted after {len(done)} of {count(n, 'refit')}"]
    if not enough:
        have = count(len(draws), "refit") + ("" if len(draws) == len(done) else f" that converged, of {len(done)}")
        notes.append(f"no intervals: {have}, and {level:.0%} intervals need at least {needed}. Give n=200")
    elif len(done) - len(kept) > FEW_LOST * len(done):
        notes.append(
            f"{len(done) - len(kept)} of {len(done)} refits did not converge and are in no interval, which may be too "
            "narrow: give fewer random= or correlated="
        )
    origin = Provenance("", fit.study.sha256, fit.model, {"n": n, "kind": "patients", "level": level, "seed": seed})
    intervals = pd.DataFrame(rows).loc[free].rename_axis("parameter")
    return Bootstrap(draws, intervals, len(done) - len(kept), "patients", level, seed, None, origin, "; ".join(notes))


def asked_of_bootstrap(fit: PopulationFit, n: int, seed: int) -> dict[str, Any]:
    """What a checkpoint is of; the estimates stand in each chunk."""
    own = {"verb": "bootstrap of a population", "data": fit.study.sha256, **fit.request.asked}
    return {**own, "varying": list(fit.design.random), "labels": fit.design.labels, "n": n, "seed of draws": seed}


def _climbed(fit: PopulationFit, objective: Objective, counts: Floats) -> Polished:
    return climbed(fit.population, fit.polished.v, lambda v: objective.look(v, counts))


def natural_of(fit: PopulationFit, v: Floats, labels: Sequence[str]) -> pd.DataFrame:
    """Rows of what `louis.vector_of` makes (m, d), as in the table of parameters."""
    kinds, found = fit.parameters["kind"], {}
    for at, label in enumerate(labels):
        if kinds[label] == "mean":
            found[label] = np.asarray(fit.model.parameters[label].to_natural(jnp.asarray(v[:, at])), float)
        elif kinds[label] == "coefficient":
            found[label] = v[:, at]
        else:
            found[label] = np.tanh(v[:, at]) if kinds[label] == "correlation" else np.exp(v[:, at])
    return pd.DataFrame(found, columns=list(labels), dtype=float)


def typical_of(fit: PopulationFit, dose: float | None, v: Floats | None = None) -> Typical:
    """See `PopulationFit.typical`; ``v`` are draws (b, d) of its posterior, whose means stand for the estimates."""
    if fit.patients.own_sds:
        raise ModelError(
            "sds of the error differ between these patients, and studies are planned with one for all. Take a "
            "population with common_sd=True, or its model with parameters= and sd=."
        )
    design, outputs = fit.design, list(fit.model.outputs)
    theta = fit.polished.theta if v is None else theta_of(design, v.mean(axis=0))
    driven = [effect for effect in design.effects if effect.covariate == BY_DOSE]
    matrix = matrix_of(design, {BY_DOSE: dose} if driven and dose is not None else {})
    at = matrix @ np.asarray(theta.beta)
    problem = fit.patients.problems[0]
    values = problem.natural(np.append(at, np.zeros(int(fit.patients.sd_free.sum()))))
    omega = np.asarray(theta.omega)
    spread = np.sqrt(np.diag(omega))
    labels = [effect.label for effect in design.effects]
    effect = {each.parameter: float(np.asarray(theta.beta)[labels.index(each.label)]) for each in driven}
    parts = np.exp(np.asarray(theta.ln_sd)).reshape(-1, len(outputs)).T
    sds = {name: tuple(map(float, own)) for name, own in zip(outputs, parts, strict=True)}
    drawn = None
    if v is not None:
        each = [theta_of(design, row) for row in v]
        beta = np.array([one.beta for one in each])
        ln_sd = np.array([one.ln_sd for one in each])
        drawn = DrawnTypical(
            dict(zip(design.names, matrix @ beta.T, strict=True)),
            {each.parameter: beta[:, labels.index(each.label)] for each in driven},
            np.linalg.cholesky(np.array([one.omega for one in each])),
            dict(zip(outputs, np.exp(ln_sd).reshape(len(v), -1, len(outputs)).transpose(2, 0, 1), strict=True)),
        )
    seen = np.unique(np.concatenate([problem.samples.output for problem in fit.patients.problems]))
    return Typical(
        fit.model, values, design.names, dict(zip(design.random, map(float, spread), strict=True)),
        omega / np.outer(spread, spread), effect, sds, fit.request.error, tuple(outputs[at] for at in seen), drawn,
    )  # fmt: skip


def _last(fit: PopulationFit) -> float:
    return float(max(problem.samples.day.max() for problem in fit.patients.problems))


def _doses(fit: PopulationFit, doses: object) -> object:
    """Those given, or the one that all patients had."""
    if doses is not None:
        return doses
    each = [problem.doses for problem in fit.patients.problems]
    same = all(
        (one.rates is None) == (each[0].rates is None) and all(map(np.array_equal, one[:2], each[0][:2]))
        and (one.rates is None or np.array_equal(one.rates, np.asarray(each[0].rates))) for one in each
    )  # fmt: skip
    if not same:
        raise ModelError("patients had different doses: give doses=, such as doses=1e6.", name="doses")
    return each[0]


def _inputs(fit: PopulationFit, inputs: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Those given, and of the others the course that all patients had."""
    each = [problem.courses for problem in fit.patients.problems]
    found = {**(inputs or {})}
    for name in fit.model.inputs:
        if name in found:
            continue
        if not all(all(map(np.array_equal, courses[name], each[0][name])) for courses in each):
            raise ModelError(
                f"patients had different {name}: give inputs={{{name!r}: a number, or (day, value) pairs}}.", name=name
            )
        found[name] = each[0][name]
    return found


def covariates_of(fit: PopulationFit, given: Mapping[str, Any], dose: float | None) -> dict[str, Any]:
    """{column: value} of what drives the population, the dose as it is given where nothing is said of it."""
    known = {effect.column for effect in fit.design.effects if effect.column}
    for name in given:
        if name not in known:
            raise ModelError(f"covariates: {name} drives nothing here; {', '.join(sorted(known)) or 'nothing'} does.")
    found = dict(given)
    if BY_DOSE in known and BY_DOSE not in found and dose is not None:
        found[BY_DOSE] = dose
    return found


def estimates(fit: PopulationFit, covariates: Mapping[str, Any], beta: Floats | None = None) -> Floats:
    """(k,) of the median patient with these covariates, at coefficients that are given or those of the fit."""
    design = fit.design
    beta = np.asarray(fit.polished.theta.beta) if beta is None else beta
    return matrix_of(design, covariates) @ beta


def matrix_of(design: Design, covariates: Mapping[str, Any]) -> Floats:
    """(k, p) the design of one patient with these covariates; what is not given is at its centre."""
    matrix = np.zeros((len(design.names), len(design.effects)))
    for column, effect in enumerate(design.effects):
        given = covariates.get(effect.column)
        weight = (effect.weight(given) if given is not None else 0.0) if effect.covariate else 1.0
        matrix[design.names.index(effect.parameter), column] = weight
    return matrix


def known_of(design: Design, patient: Study) -> Mapping[str, Any]:
    """What drives the population, of this patient."""
    return known_in(design, patient.covariates.iloc[0], patient.subjects[0])


def known_in(design: Design, row: Any, who: str, without: Sequence[str] = ()) -> Mapping[str, Any]:
    """What drives the population, of a row of covariates, whose it is in words; ``without`` is not asked for."""
    found: dict[str, Any] = {}
    for effect in design.effects:
        name = effect.column
        if not name or name in found or name in without:
            continue
        if name not in row or pd.isna(row[name]):
            raise ModelError(f"{who} has no {name}, which drives {effect.parameter}. Give it as a column.", name=name)
        levels = [e.level for e in design.effects if e.column == name and e.level]
        if levels and named(row[name]) not in (*levels, effect.reference):
            known = ", ".join((effect.reference, *levels))
            raise ModelError(f"{name} of {who} is {row[name]}: the population knows {known}.", name=name)
        found[name] = row[name]
    return found


def _estimates(fit: PopulationFit, patient: Study) -> Floats:
    """(k,) of a patient without random effects, by its covariates."""
    domains.instance(patient, Study, "patient", "Give a study of one subject, such as study.select('P07').")
    if len(patient) != 1:
        raise ModelError(f"a prior is of one patient, and the study has {len(patient)}. Select one.")
    return matrix_of(fit.design, known_of(fit.design, patient)) @ np.asarray(fit.polished.theta.beta)


def common_of(fit: PopulationFit, patient: Study) -> dict[str, float]:
    """See `PopulationFit.common`."""
    estimates = _estimates(fit, patient)
    problem, theta = fit.patients.problems[0], fit.polished.theta
    free = estimates[: len(fit.patients.names)]
    values = problem.natural(np.append(free, np.zeros(int(problem.sd_free.sum()))))
    given = {*fit.design.random, *dict(problem.ties)}
    sds = dict(zip(fit.patients.common_sds, np.exp(np.asarray(theta.ln_sd)).tolist(), strict=True))
    return {name: float(value) for name, value in values.items() if name not in given} | sds


def prior_of(fit: PopulationFit, patient: Study) -> dict[str | tuple[str, str], Prior | float]:
    """See `PopulationFit.prior`."""
    estimates = _estimates(fit, patient)
    spreads = np.sqrt(np.diag(np.asarray(fit.polished.theta.omega)))
    pairs = fit.design.correlation(fit.polished.theta.omega)
    found: dict[str | tuple[str, str], Prior | float] = {
        pair: rho for pair, rho in pairs.items() if set(pair) <= {*fit.model.parameters}
    }
    for name, spread in zip(fit.design.random, spreads, strict=True):
        parameter = fit.patients.parameters[name]
        middle = parameter.from_estimation(float(estimates[fit.design.names.index(name)]))
        found[name] = SCALES[parameter.scale](middle, float(spread))
    return found
