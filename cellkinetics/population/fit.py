"""`fit_population`: what is asked, the start, the way to the maximum, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.fitting import fit as fitting
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import LogNormal, Prior
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.engine import Data
from cellkinetics.optimising.request import Request
from cellkinetics.population import marginal
from cellkinetics.population import text as words
from cellkinetics.population.climbing import MOST_ASCENTS, ascended
from cellkinetics.population.design import SD_BETWEEN, Covariates, Design, apart, design_of, prior_of, varying_of
from cellkinetics.population.importance import FEW_EFFECTIVE, Moments
from cellkinetics.population.individuals import modes_of, searched_alone
from cellkinetics.population.marginal import Marginal
from cellkinetics.population.patients import Patients, own_sds_of, patients_of
from cellkinetics.population.polish import CLIMBS, Polished, like_zero, polish
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.running import SEED_OF_DRAWS, Population, Sample, too_many
from cellkinetics.population.saem import ITERATIONS, Theta
from cellkinetics.population.schedule import AVERAGED, MOST_BLOCKS, Path, climb
from cellkinetics.progress import bar
from cellkinetics.running.phases import Phases
from cellkinetics.running.run import Run
from cellkinetics.sampling import curves
from cellkinetics.solving.sensitivity import Tie
from cellkinetics.words import count

FITTED_BY = ("saem", *marginal.APPROXIMATIONS)
# Of each patient, that Newton climbs on: more where the first are too few, the most of so few patients with curves that
# cost next to nothing.
POLISH_DRAWS, FEW_PATIENTS = (1000, 2000, 4000), 200
LIKELIHOOD_DRAWS, HURRIED_DRAWS = 2000, 200  # others, for the likelihood; where Ctrl-C cut them short
SEED_OF_POLISH = 101  # added to the seed; of further draws one more each
LITTLE_SPREAD = 0.1  # units: where chains that stand far from the samples end up with
FAR_FROM_START, FAR_OFF = 10.0, 2.0  # units that a patient may be from where the search begins; that make it begin anew
STARTS_FAR_OFF, WORTH_IT = 4, 1.0  # of each patient by itself; log-likelihood units of all that are worth it


def fit_population(
    model: Model,
    study: Study,
    *,
    random: str | Sequence[str] | None = None,
    free: str | Sequence[str] | None = None,
    fixed: Mapping[str, float] | None = None,
    initial: Mapping[str, float] | None = None,
    tie: Mapping[str, Tie] | None = None,
    covariates: Covariates | None = None,
    correlated: Sequence[Sequence[str]] = (),
    prior: Mapping[str, Prior] | None = None,
    error: str = LOG,
    censoring: str = "m3",
    doses: object = None,
    common_sd: bool = True,
    method: str = "saem",
    nodes: int = 5,
    seed: int = 2020,
    progress: bool = True,
    checkpoint: str | FilePath | None = None,
) -> PopulationFit:
    """Fit a population: parameters that vary between patients about a mean, estimated from the samples of all.

    Everyone with a sample in the likelihood takes part, one with three samples as well as one with fifteen, and one
    whose samples are all below the limit. Estimates of patient i are ``mean + covariates + effect`` on the estimation
    scale of each parameter (ln, or logit between its bounds), the random effects normal with mean 0.

    Parameters
    ----------
    model, study : as `fit_each` takes them.
    random : names of the parameters that vary between patients; all that are free where None.
    free
        names to estimate; the model's default free sets of all patients together where None. What is free and not
        ``random`` has one value for all.
    fixed, tie, censoring, doses : as in `fit`. ``fixed`` also takes sds of the error.
    initial : {name: natural value} where the mean starts; the median of what each patient's samples suggest where None.
    covariates
        {parameter: covariate, or several}: the dose as ln dose about its geometric mean, a number about its mean,
        groups such as "cohort" as differences from the first. "ln vcn" is a number on the ln scale, about its geometric
        mean, and "groups of donor" are groups that have numbers as names. Coefficients are on the estimation scale.
        Of a rate also a comedication of the model, such as {"mu0": "IL-2"}: the factor on the rate while it acts is
        estimated, one for all unless ``random`` names it.
    correlated : blocks of names whose random effects are correlated, such as ``[("c_max", "alpha")]``; also of sds that
        patients have of their own.
    prior
        {name: `LogNormal`, `LogitNormal` or `Normal`} of means, and `LogNormal` of spreads and of sds of the error,
        named as in ``.parameters``: ``{"sd between F": ck.LogNormal(0.5, 0.3)}``. The maximum is that of the likelihood
        times the priors.
    error
        "log", "proportional", "combined", "student" or "counting", with one sd (an output) for all unless
        ``common_sd=False``.
    method
        "saem": stochastic approximation EM, then Newton steps on the importance-sampled likelihood. Approximations, for
        smooth curves: "laplace", "focei" or "agq", as of `population_log_likelihood`, maximised by exact gradients;
        "laplace" and "agq" of closed forms alone. The likelihood, AIC and BICc are those of the integral all the same.
    nodes : of "agq", for each random effect.
    seed : of all that is drawn.
    progress : whether a bar is shown.
    common_sd
        whether all patients have one sd of the error. False: ln sd of a patient is normal about that of the population,
        as a parameter is, with a row ``sd between sd`` (interindividual variability of the residual error; Karlsson,
        Jonsson, Wiltse and Wade 1998, https://doi.org/10.1023/A:1020561807903). Fixed sds stay. Not by "focei".
    checkpoint
        folder in which blocks of iterations of "saem" are kept: the same call goes on where a killed one ended, to the
        same result. Newton steps are not kept.

    Returns
    -------
    PopulationFit
        ``.outcome`` is "converged" or says what is not, and what to do. An interrupt from the keyboard gives the
        estimates so far, and the outcome says so.

    Raises
    ------
    ModelError
        An unknown name, a covariate that is missing or the same in all, too few patients for the effects; an
        approximation of a curve with a corner, or one that needs too many nodes.
    StudyError
        Nobody can take part, no dose for a model that needs one, a unit that is not the model's.

    Examples
    --------
    .. code-block:: python

       model, study = ck.models.load("nk_decline"), ck.example()
       population = ck.fit_population(model, study, free=["F", "alpha"], covariates={"F": "dose"})
       print(population.summary())
       population.plot_predicted(by="dose").savefig("predicted.png")
    """
    phases = Phases()
    fitting.check_kinds(model, study, "ck.fit_population")
    nodes, random = domains.count(nodes, "nodes"), (random,) if isinstance(random, str) else random
    common_sd = domains.flag(common_sd, "common_sd")
    _refuse(method, prior)
    spreads = _of_spreads(prior)
    if method != FITTED_BY[0]:
        marginal.refuse(model, method, FITTED_BY[0])
        if checkpoint is not None:
            raise ValueError(f"checkpoint=: iterations of method='saem' are kept, steps of {method!r} are not.")
    others, factors = apart(model, study, covariates, fixed or {})
    of_others = prior and {name: given for name, given in prior.items() if name not in spreads}
    request = Request.of(
        model, fixed=fixed, free=free, initial=initial, tie=tie, censoring=censoring, doses=doses, prior=of_others,
        error=error, seed=seed,
    )  # fmt: skip
    if request.correlation:
        raise ModelError(
            f"prior of {request.correlation[0][0]!r}: means of a population have a prior each. Leave the pair out; "
            "correlated= says which random effects are correlated."
        )
    request = replace(request, prior={**request.prior, **spreads})
    asked: dict[str, Any] = {
        "random": random, "free": free, "fixed": fixed, "initial": initial, "tie": tie, "covariates": covariates,
        "correlated": correlated, "prior": prior, "error": error, "censoring": censoring, "doses": doses,
        "common_sd": common_sd, "method": method, "nodes": nodes, "seed": seed, "progress": progress,
    }  # fmt: skip
    if free is not None:
        sds = request.error_model.sd_names(model.outputs)
        more = [name for name in random or () if name not in sds]
        request = replace(request, free=tuple(dict.fromkeys([*(request.free or ()), *more, *factors])))
    request = fitting.check(request, study)
    with phases("preparing"):
        wanted = (*(random or ()), *factors)
        patients = patients_of(request, study, wanted, () if common_sd else own_sds_of(request))
    if not patients.names:
        raise ModelError("nothing is free: give free=, or fewer names in fixed=.")
    design = design_of(patients, varying_of(patients, random, factors), others, correlated)
    marginal.refuse_own_sds(patients, method, FITTED_BY[0])
    if not design.random:
        raise ModelError(f"random=[]: nothing varies between patients: {words.one_for_all(patients.names)}.")
    if initial:
        patients = _found(patients, design)
    more_asked = {"random": random, "covariates": covariates, "correlated": correlated}
    more_asked |= {} if common_sd else {"own sds": patients.own_sds}
    run = Run.of(
        checkpoint, 1, lambda: {"verb": "fit_population", "data": study.sha256, **request.asked, **_plain(more_asked)}
    )
    population = Population(patients, design, prior_of(patients, design), patients.method, run.checkpoint)
    start = _start(population)
    if method != FITTED_BY[0]:
        return _approximated(population, start, method, nodes, progress, asked, phases)
    try:
        with phases("iterations"), bar((MOST_BLOCKS + AVERAGED) * ITERATIONS, progress, "population") as more:
            path = _climbed(population, start, int(request.seed), more)
        with phases("polish"):
            try:
                polished, moments, population = _polished(path, int(request.seed))
            except KeyboardInterrupt:
                path = replace(path, interrupted=True)
                polished, moments, population = _polished(path, int(request.seed))
        with phases("likelihood"):
            try:
                fresh = _fresh(population, polished.theta, moments, int(request.seed), again=not path.interrupted)
            except KeyboardInterrupt:
                if (drawn := polished.sample) is None:
                    raise
                path, fresh = replace(path, interrupted=True), drawn
        return _ended(path, polished, fresh, None, asked, phases)
    finally:
        if run.checkpoint is not None:
            run.checkpoint.write("iterations")


def _approximated(
    population: Population, start: Theta, method: str, nodes: int, progress: bool, asked: dict[str, Any], phases: Phases
) -> PopulationFit:
    """The maximum of an approximation, and the integral there."""
    marginal.refuse_nodes(method, nodes, len(population.design.random), FITTED_BY[0])
    if not marginal.third_derivatives(population, method):
        raise ModelError(
            f"{population.patients.model.name} is solved numerically, where method={method!r} finds no gradient. Take "
            "method='focei' or 'saem'."
        )
    seed = int(population.patients.request.seed)
    with bar(MOST_ASCENTS, progress, "population") as more:
        while True:
            with phases("climbing"):
                polished, path, moments = ascended(population, start, method, nodes, more)
            population, start = path.population, polished.theta
            with phases("likelihood"):
                try:
                    fresh = population.sampled(start, moments, LIKELIHOOD_DRAWS, seed + SEED_OF_DRAWS)
                except KeyboardInterrupt:
                    path = replace(path, interrupted=True)
                    fresh = population.sampled(start, moments, HURRIED_DRAWS, seed + SEED_OF_DRAWS)
            finer = population.finer() if too_many(fresh.unsolved) and not path.interrupted else None
            if finer is None:
                break
            population = finer
    there = marginal.marginal(population, polished.theta, np.asarray(moments.centre), method, nodes)
    return _ended(path, polished, fresh, (there, method), asked, phases)


def _plain(value: Any) -> Any:
    """Sequences as lists, so that a tuple asks the same."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return value if value is None or isinstance(value, str) else [_plain(each) for each in value]


def _refuse(method: str, prior: object) -> None:
    if method not in FITTED_BY:
        raise ValueError(f"method={method!r}: take one of {', '.join(FITTED_BY)}.")
    if isinstance(prior, str):
        raise ValueError(
            f"prior={prior!r} is of one patient, whose population is known. Give {{name: ck.LogNormal(median, sd)}} "
            "of a mean."
        )


def _of_spreads(prior: Mapping[str, Prior] | None) -> dict[str, Prior]:
    """Priors of spreads: a fit of one patient has none."""
    found = {name: given for name, given in (prior or {}).items() if str(name).startswith(SD_BETWEEN)}
    for name, given in found.items():
        if not isinstance(given, LogNormal):
            raise ModelError(
                f"prior of {name} is {given!r}: an sd is positive. Give ck.LogNormal(median, sd).", name=name
            )
    return found


def _start(population: Population) -> Theta:
    """Means where the samples of most patients suggest, spreads wide."""
    patients, design = population.patients, population.design
    middle, beta = np.median(patients.guesses, axis=0), np.zeros(len(design.effects))
    for at, effect in enumerate(design.effects):
        if not effect.covariate:
            beta[at] = middle[design.names.index(effect.parameter)]
    return Theta(jnp.asarray(beta), jnp.asarray(np.diag(population.spread_units**2)), jnp.asarray(patients.ln_sd_start))


def _climbed(population: Population, start: Theta, seed: int, more: Callable[[int], None]) -> Path:
    """Iterations from the start; where they seem astray, and nothing was guessed, also from where samples lie."""
    path, patients = climb(population, start, seed, more), population.patients
    spreads = np.sqrt(np.diagonal(np.asarray(path.theta.omega)))
    astray = path.moved or np.any(spreads < LITTLE_SPREAD * population.spread_units)
    if path.interrupted or patients.found is not None or patients.model.initial is not None or not astray:
        return path
    found = _found(patients, population.design)
    if not far_off(patients, found.guesses):
        return path
    nearer = replace(population, patients=found)
    try:
        again = climb(nearer, _start(nearer), seed, more)
    except KeyboardInterrupt:
        return replace(path, interrupted=True)
    return max((path, again), key=lambda each: _value_at(each, seed))


def _value_at(path: Path, seed: int) -> float:
    """The log-likelihood where iterations ended, by a few draws."""
    sample = path.population.sampled(path.theta, path.moments, HURRIED_DRAWS, seed + SEED_OF_POLISH)
    return float(np.nan_to_num(sample.log_likelihood(path.theta).value, nan=-np.inf))


def _found(patients: Patients, design: Design) -> Patients:
    """With each patient's samples looked at from where ``initial=`` says: chains do not find their way from far off.

    Where that is far off, they are also looked at from where the searches of most patients by themselves end: from far
    off one may end with a part of the curve that does nothing, and all are to begin with the same part.
    """
    alone = Population(patients, design, prior_of(patients, design), patients.method)
    wide = alone.spread_units * np.where(np.isin(design.random, patients.own_sds), 1.0, FAR_FROM_START)
    theta = _start(alone)._replace(omega=np.diag(wide**2))
    guesses, value = patients.guesses.copy(), 0.0
    for at, (_, optimum) in enumerate(modes_of(patients, design, theta, guesses[:, design.places])):
        if optimum is not None and np.isfinite(optimum.x).all():
            guesses[at, design.places], value = optimum.x, value + optimum.second.value
    if far_off(patients, guesses):
        own, higher = searched_alone(patients, FAR_FROM_START, STARTS_FAR_OFF)
        guesses = own if higher > value + WORTH_IT else guesses
    return replace(patients, found=guesses)


def far_off(patients: Patients, found: Floats) -> bool:
    """Whether samples lie far from where the search was to begin."""
    return bool(np.max(np.abs(np.median(found - patients.guesses, axis=0)) / patients.units) >= FAR_OFF)


def _ended(
    path: Path,
    polished: Polished,
    fresh: Sample,
    approximation: tuple[Marginal, str] | None,
    asked: dict[str, Any],
    phases: Phases,
) -> PopulationFit:
    """Likelihood, individuals, and how it ended; ``fresh`` is a sample at the estimates with draws of its own."""
    population = fresh.population
    # Draws go farther out than chains do.
    path = replace(path, population=population, refused_each=np.maximum(path.refused_each, fresh.unsolved))
    likelihood = fresh.log_likelihood(polished.theta)
    mean, covariance = fresh.conditional(polished.theta)
    zeros: dict[str, float] = {}
    try:
        with phases("spreads at 0"):
            zeros = {} if path.interrupted else like_zero(fresh, polished, likelihood.value)
    except KeyboardInterrupt:
        path = replace(path, interrupted=True)
    outcome = words.outcome_of(path, polished, likelihood, zeros)
    beside = (
        None if approximation is None else approximation[0].log_likelihood(population, approximation[1], likelihood)
    )
    n = count(len(population.patients.subjects), "patient")
    timings = phases.done(f"population of {population.patients.model.name}, {n}, {outcome.status}")
    return PopulationFit(
        request=population.patients.request, study=population.patients.study, patients=population.patients,
        design=population.design, population=population, polished=polished, likelihood=likelihood, path=path,
        conditional_mean=mean, conditional_covariance=covariance, like_zero=zeros, outcome=outcome.words,
        status=outcome.status, seconds=phases.total, timings=timings, asked=asked, refit=fit_population,
        log_likelihood_ln=likelihood.value, approximation=beside,
        residual_shrinkage=_residual_shrinkage(fresh, polished.theta), **_counts(population),
    )  # fmt: skip


def _polished(path: Path, seed: int) -> tuple[Polished, Moments, Population]:
    """The maximum, moments of each patient that go with it, and the population as its curves are solved.

    Where other draws would move it, again with more draws about what the first say of each patient; where a patient's
    weights are uneven, about chains that are run at the first maximum.
    """
    theta, moments = path.theta, path.moments
    few, *more = POLISH_DRAWS
    sample = path.population.sampled_where_solved(theta, moments, few, seed + SEED_OF_POLISH)
    population = sample.population
    polished = polish(population, theta, sample, climbs=0 if path.interrupted else CLIMBS)
    cheap = population.method is Method.CLOSED_FORM and len(population.patients.subjects) <= FEW_PATIENTS
    more = more if cheap else more[:1]
    for times, draws in enumerate([*more, more[-1]]):
        drawn = polished.sample or sample
        even = drawn.log_likelihood(polished.theta).smallest_ess >= FEW_EFFECTIVE
        enough = not words.unsure_of(polished).any() or times == len(more)
        if path.interrupted or (even and enough):
            break
        if even:
            # The draws say where each patient is; those that come next are others: nothing is adapted to itself.
            moments = Moments(*drawn.conditional(polished.theta))
        else:
            moments, _ = population.at(polished.theta, seed + SEED_OF_POLISH)
        sample = population.sampled(polished.theta, moments, draws, seed + SEED_OF_POLISH + 1 + times)
        polished = polish(population, polished.theta, sample)
    return polished, moments, population


def _fresh(population: Population, theta: Theta, moments: Moments, seed: int, *, again: bool) -> Sample:
    """New draws at the estimates; ``again`` about chains that are run there, where a spread has moved under them."""
    fresh = population.sampled(theta, moments, LIKELIHOOD_DRAWS, seed + SEED_OF_DRAWS)
    if not again or fresh.log_likelihood(theta).smallest_ess >= FEW_EFFECTIVE:
        return fresh
    moments, _ = population.at(theta, seed + SEED_OF_DRAWS)
    return population.sampled(theta, moments, LIKELIHOOD_DRAWS, seed + SEED_OF_DRAWS)


def _residual_shrinkage(sample: Sample, theta: Theta) -> dict[str, float]:
    """{output: 1 - SD of the residuals of its quantified samples from the expected curves, in sds}."""
    patients, data = sample.population.patients, sample.population.data
    error, outputs = patients.request.error_model, list(patients.model.outputs)

    def of_patient(g: Any, phi: Any, data: Data) -> Any:
        ln_sd = curves.ln_sds(phi, jnp.asarray(theta.ln_sd), patients.own_places).reshape(-1, len(outputs))
        return error.residuals(g, ln_sd[:, data.inputs.output], data.rows)

    z = np.asarray(jax.vmap(of_patient)(sample.expected_curves(theta), sample.conditional(theta)[0], data))
    rows = data.rows
    known = (np.asarray(rows.lower) == np.asarray(rows.upper)) & (np.asarray(rows.weight) > 0)
    each = [z[known & (np.asarray(data.inputs.output) == at)] for at in range(len(outputs))]
    return {name: float(1 - np.std(own)) if len(own) > 1 else np.nan for name, own in zip(outputs, each, strict=True)}


def _counts(population: Population) -> dict[str, Any]:
    """What criteria count."""
    patients = population.patients
    seen = [problem.samples for problem in patients.problems]
    quantified = sum(int(rows.quantified.sum()) for rows in seen)
    return {
        "n_quantified": quantified,
        "n_censored": sum(map(len, seen)) - quantified,
        "n_free": len(population.design.labels) + int(patients.sd_free.sum()),
        "sum_ln_quantified": float(sum(np.log(rows.lower[rows.quantified]).sum() for rows in seen)),
    }
