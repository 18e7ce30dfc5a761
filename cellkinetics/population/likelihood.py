"""`population_log_likelihood`: the likelihood of a population at values that are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np

from cellkinetics import domains
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError, suggest
from cellkinetics.fitting import fit as fitting
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_models import LOG, of
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.request import Request
from cellkinetics.population import louis, marginal, polish
from cellkinetics.population.design import GROUPS_OF, LN, Design, design_of, prior_of
from cellkinetics.population.importance import LogLikelihood, ToldByDraws
from cellkinetics.population.patients import Patients, patients_of
from cellkinetics.population.running import SEED_OF_DRAWS, Population, Sample
from cellkinetics.population.saem import Theta
from cellkinetics.population.schedule import labels_of
from cellkinetics.solving.sensitivity import Tie

INTEGRATED_BY = ("importance", *marginal.APPROXIMATIONS)


def population_log_likelihood(
    model: Model,
    study: Study,
    *,
    mean: Mapping[str, float],
    between: Mapping[str, float],
    sd: float | Mapping[str, float],
    coefficients: Mapping[tuple[str, str], float] | None = None,
    correlation: Mapping[tuple[str, str], float] | None = None,
    fixed: Mapping[str, float] | None = None,
    tie: Mapping[str, Tie] | None = None,
    error: str = LOG,
    censoring: str = "m3",
    doses: object = None,
    method: str = "importance",
    draws: int = 2000,
    nodes: int = 9,
    seed: int = 2020,
) -> LogLikelihood:
    """The log-likelihood of ln(copies) of a population at values that are given.

    Parameters
    ----------
    model, study : as `fit_population`; everyone with a sample takes part.
    mean
        {name: natural value} of the population: of the median patient, on the log and logit scales. What is neither
        here nor ``fixed`` is at the model's default.
    between : {name: SD between patients on the estimation scale}; names that are not here do not vary. An sd of the
        error named here is one that each patient has of its own, ``sd`` the median patient's.
    sd : of the error, or {name of an sd: value} where there are several.
    coefficients
        {(parameter, covariate): value} on the estimation scale: of ln dose over its geometric mean, of a number over
        its mean; {(parameter, "cohort B"): value} of a group, the difference from the first.
    correlation : {(parameter, parameter): correlation} of random effects; others are 0.
    fixed, tie, error, censoring, doses, seed : as in `fit_population`.
    method
        "importance": the integral over the random effects by importance sampling. Approximations, for comparison with
        other programs: "laplace" (exact Hessian at each patient's mode), "focei" (expected information in its place),
        "agq" (adaptive Gauss-Hermite quadrature, for few random effects). The integral stands beside them.
    draws : of each patient, in whole 500s: 600 are made 1,000. nodes : of the quadrature, for each random effect.

    Returns
    -------
    LogLikelihood
        ``value`` with its Monte Carlo standard ``error``, ``smallest_ess``, and the parts of ``each`` patient; of an
        approximation the integral as ``exact``. The draws of the integral also give ``individuals``, ``scores``,
        ``information``, ``covariance``, ``sandwich`` and ``influence`` at these values.

    Raises
    ------
    ModelError, StudyError
        As `fit_population`; a spread or an sd that is not positive, a covariance that is not positive definite; an
        approximation of a model whose curve has a corner, and one that needs too many nodes.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> given = {"mean": {"F": 4e-3, "alpha": 0.3}, "between": {"F": 0.5}, "sd": 0.5}
    >>> found = ck.population_log_likelihood(ck.models.load("nk_decline"), ck.example(), draws=500, **given)
    >>> round(found.value, -1), found.error < 1
    (-19310.0, True)
    """
    fitting.check_kinds(model, study, "ck.population_log_likelihood")
    if method not in INTEGRATED_BY:
        raise ValueError(f"method={method!r}: take one of {', '.join(INTEGRATED_BY)}.")
    draws, nodes = domains.count(draws, "draws"), domains.count(nodes, "nodes")
    if method != INTEGRATED_BY[0]:
        marginal.refuse(model, method, INTEGRATED_BY[0])
        marginal.refuse_nodes(method, nodes, len(between), INTEGRATED_BY[0])
    names = tuple(mean)
    _refuse_pairs(coefficients, "coefficients", "(parameter, covariate)")
    _refuse_pairs(correlation, "correlation", "(parameter, parameter)")
    for (one, other), value in (correlation or {}).items():
        if one == other or one not in between or other not in between or not abs(value) < 1:
            text = f"correlation: {(one, other)!r}: {value:g} is none of two names in between=, above -1 and below 1."
            raise ModelError(text, name=str(one))
    if not between:
        raise ModelError("between={}: give the sd between patients of one parameter at least.")
    sds = of(error, censoring).sd_names(model.outputs)
    for name, spread in between.items():
        if name not in (*names, *sds):
            raise ModelError(f"between: {name} has no mean. {suggest(name, names)}".rstrip(), name=name)
        spread = domains.number(spread, f"between of {name}", 0.5)
        if not (np.isfinite(spread) and spread > 0):
            raise ModelError(f"between: {name}={spread:g} is no positive sd. Leave out what does not vary.", name=name)
    request = Request.of(
        model, free=names, fixed=fixed, tie=tie, error=error, censoring=censoring, doses=doses, seed=seed
    )  # fmt: skip
    request = fitting.check(request, study)
    patients = patients_of(request, study, names, [name for name in sds if name in between])
    marginal.refuse_own_sds(patients, method, INTEGRATED_BY[0])
    given = dict(coefficients or {})
    design = _design(patients, tuple(between), given, tuple(correlation or {}))
    population = Population(patients, design, prior_of(patients, design), patients.method)
    theta = _theta(patients, design, mean, between, sd, given, dict(correlation or {}))
    moments, _ = population.at(theta, request.seed)
    sample = population.sampled_where_solved(theta, moments, draws, request.seed + SEED_OF_DRAWS)
    population, exact = sample.population, sample.log_likelihood(theta)
    exact = replace(exact, look=partial(_told, population, sample, theta))
    if method == INTEGRATED_BY[0]:
        return exact
    found = marginal.marginal(population, theta, np.asarray(moments.centre), method, nodes)
    if (lost := np.flatnonzero(~np.isfinite(found.each))).size:
        why = "no mode was found, or the likelihood is not curved there in every direction"
        raise ModelError(f"patient {patients.subjects[lost[0]]}: {why}. Take method='importance'.")
    return found.log_likelihood(population, method, exact)


def _told(population: Population, sample: Sample, theta: Theta) -> ToldByDraws:
    """See `ToldByDraws`."""
    design, patients = population.design, population.patients
    mean, covariance = sample.conditional(theta)
    spread = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))
    index = pd.MultiIndex.from_product([patients.subjects, design.random], names=["subject", "parameter"])
    at = polish.derivatives_at(population, sample, louis.vector_of(design, theta))
    labels = pd.Index(labels_of(population), name="value")
    known = np.ones(len(labels), bool)
    return ToldByDraws(
        pd.DataFrame({"mean": mean.ravel(), "sd": spread.ravel()}, index=index),
        pd.DataFrame(at.scores, index=pd.Index(patients.subjects, name="subject"), columns=labels),
        pd.DataFrame(at.information, index=labels, columns=labels),
        pd.DataFrame(polish.inverse_of(at.information, known), index=labels, columns=labels),
    )


def _refuse_pairs(given: Mapping[tuple[str, str], float] | None, argument: str, pair: str) -> None:
    for key in given or {}:
        if isinstance(key, str) or len(key) != 2:
            raise ModelError(f"{argument}: {key!r} is no pair of names. Give {{{pair}: value}}.", name=str(key))


def _design(
    patients: Patients,
    random: Sequence[str],
    coefficients: Mapping[tuple[str, str], float],
    pairs: Sequence[tuple[str, str]],
) -> Design:
    """The design that names all that is given."""
    known = [f"{word}{name}" for word in ("", LN, GROUPS_OF) for name in patients.study.covariates]
    covariates: dict[str, list[str]] = {}
    for parameter, what in coefficients:
        how = next((name for name in known if what == name or what.startswith(f"{name} ")), what)
        covariates.setdefault(parameter, [])
        covariates[parameter] += [] if how in covariates[parameter] else [how]
    blocks: list[set[str]] = []
    for pair in pairs:
        touched = [block for block in blocks if block & set(pair)]
        blocks = [block for block in blocks if block not in touched] + [set(pair).union(*touched)]
    ordered = [tuple(name for name in (*patients.names, *patients.own_sds) if name in block) for block in blocks]
    return design_of(patients, random, covariates, ordered)


def _theta(
    patients: Patients,
    design: Design,
    mean: Mapping[str, float],
    between: Mapping[str, float],
    sd: float | Mapping[str, float],
    coefficients: Mapping[tuple[str, str], float],
    correlation: Mapping[tuple[str, str], float],
) -> Theta:
    """What is given, as the programs take it."""
    parameters, beta = patients.parameters, np.zeros(len(design.effects))
    names, used = patients.sd_names, set()
    sds = dict(sd) if isinstance(sd, Mapping) else dict.fromkeys(names, domains.number(sd, "sd", 0.5))
    whole = np.array([sds.get(name, np.nan) for name in names], float).reshape(-1, len(patients.model.outputs))
    # One of two parts may be nothing, and not both.
    if {*sds} - {*names} or not np.all(np.isfinite(whole)) or np.any(whole < 0) or np.any(whole.sum(axis=0) <= 0):
        raise ModelError(f"sd: give {', '.join(names)}, each a positive number.", name=names[0])
    mean = {**mean, **sds}
    mean = {name: domains.number(value, f"mean of {name}", 1.0) for name, value in mean.items()}
    for at, effect in enumerate(design.effects):
        if not effect.covariate:
            beta[at] = parameters[effect.parameter].to_estimation(float(mean[effect.parameter]))
            if not np.isfinite(beta[at]):
                raise ModelError(f"mean of {effect.parameter} is {mean[effect.parameter]:g}, off its scale.")
            continue
        key = (effect.parameter, f"{effect.covariate} {effect.level}".rstrip())
        used.add(key)
        if key not in coefficients:
            raise ModelError(f"coefficients has no {key}: give the difference of every group from the first.")
        beta[at] = float(coefficients[key])
        if not np.isfinite(beta[at]):
            raise ModelError(f"coefficients: {key} is {beta[at]:g}. Give a number.", name=key[0])
    for key in coefficients:
        if key not in used:
            raise ModelError(f"coefficients: {key[0]} has no coefficient of {key[1]!r}.", name=key[0])
    spread = np.array([float(between[name]) for name in design.random])
    omega = np.diag(spread**2)
    for (one, other), value in correlation.items():
        if correlation.get((other, one), value) != value:
            raise ModelError(f"correlation: {one} and {other} have two, {value:g} and {correlation[other, one]:g}.")
        a, b = design.random.index(one), design.random.index(other)
        omega[a, b] = omega[b, a] = value * spread[a] * spread[b]
    if np.any(np.linalg.eigvalsh(omega) <= 0):
        raise ModelError("the covariance between patients is not positive definite: give smaller correlations.")
    ln_sd = np.log(np.maximum([float(sds[name]) for name in patients.common_sds], 1e-300))
    return Theta(jnp.asarray(beta), jnp.asarray(omega), jnp.asarray(ln_sd))
