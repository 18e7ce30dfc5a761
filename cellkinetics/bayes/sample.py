"""`sample_posterior`: the posterior of a population under priors, from where its fit ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.bayes import gibbs, nuts, target
from cellkinetics.bayes.gibbs import Sampled
from cellkinetics.bayes.posterior import PopulationPosterior, outcome_of
from cellkinetics.errors import ModelError
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.prior import Prior
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.population.prediction import natural_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.progress import bar
from cellkinetics.running.run import Run
from cellkinetics.statistics import mixing

SAMPLED_BY = ("gibbs", "nuts")
INTERVAL = [0.5, 0.025, 0.975]


def sample_posterior(
    population: PopulationFit,
    *,
    prior: Mapping[str, Prior] | None = None,
    draws: int = 1000,
    chains: int = 4,
    warmup: int = 500,
    method: str = "gibbs",
    seed: int = 2020,
    progress: bool = True,
    checkpoint: str | FilePath | None = None,
) -> PopulationPosterior:
    """The posterior of a population: means, coefficients, spreads, correlations, sds of the error, every patient.

    The samples, those below limits included, count as in `fit_population`. Where a fit has an estimate and a standard
    error, a posterior has a distribution: of a spread from few patients it is skew, and reaches towards 0.

    Parameters
    ----------
    population : a fit of `fit_population`; chains start about its estimates. Priors of means that it was given count.
    prior
        {name: prior} by the names in ``population.parameters``, in natural units: of a mean the kind of its scale
        (`LogNormal`, `LogitNormal` or `Normal`), of a coefficient ("c_max:dose") `Normal`, of a spread ("sd between
        c_max") and of an sd of the error `LogNormal`. Not given: flat of means and coefficients on the scale of
        estimation; half-t of spreads with 2 degrees of freedom and scale 1 there (Huang and Wand 2013; correlations are
        then uniform); flat of the ln of sds of the error.
    draws : of each chain, after ``warmup`` others in which proposals learn.
    chains : run side by side; R-hat compares them.
    method
        "gibbs": the moves of SAEM with conjugate draws of coefficients and covariances, four sweeps a draw. "nuts": the
        no-U-turn sampler of numpyro (extra ``bayes``) on standardised effects; slower, and better where a spread is
        near 0. Both draw from the same density.
    seed : of all that is drawn.
    progress : whether a bar is shown.
    checkpoint
        folder in which blocks of draws, with the chains where they end, are kept: the same call goes on where a killed
        one ended, to the same draws. With the folder of fewer draws the others are added.

    Returns
    -------
    PopulationPosterior
        ``.parameters`` with R-hat and effective sample sizes, ``.outcome``, ``.draws``, ``.individuals``,
        ``.inference_data`` for ArviZ, ``.plot()``, ``.summary()``. An interrupt from the keyboard after the warm-up
        gives the draws so far, and the outcome says so.

    Raises
    ------
    TypeError
        No population.
    ModelError
        A prior of what is not estimated, or of another kind than its scale.
    ImportError
        NUTS without numpyro.
    ValueError
        A checkpoint of another run.

    Examples
    --------
    .. code-block:: python

       population = ck.fit_population(ck.models.load("nk_decline"), ck.example(), free=["F", "alpha"])
       posterior = ck.sample_posterior(population, draws=500)
       print(posterior.parameters[["mean", "lower", "upper", "r_hat"]])
       posterior.plot().savefig("posterior.png")
    """
    began = time.perf_counter()
    draws, chains = domains.count(draws, "draws", 4), domains.count(chains, "chains")
    warmup, seed = domains.count(warmup, "warmup", 50), domains.seed(seed)
    if method not in SAMPLED_BY:
        raise ValueError(f"method={method!r}: take one of {', '.join(SAMPLED_BY)}.")
    progress = domains.flag(progress, "progress")
    remedy = "Give what ck.fit_population returned."
    fit = domains.instance(population, PopulationFit, "population", remedy)
    if fit.patients.own_sds:
        raise ModelError(
            f"patients of this population have {', '.join(fit.patients.own_sds)} of their own, and the sampler draws "
            "one for all. Take a population with common_sd=True, or population.bootstrap()."
        )
    priors, words = target.priors_for(fit, prior)
    kept = Run.of(checkpoint, 1, lambda: _asked(fit, words, chains, warmup, method, seed)).checkpoint
    sampler, of_a_draw = (nuts.sample, 1) if method == "nuts" else (gibbs.sample, gibbs.A_DRAW)
    try:
        with bar((draws + warmup) * of_a_draw, progress, "sampling") as more:
            sampled = sampler(fit, priors, draws, warmup, chains, seed, more, kept)
    finally:
        if kept is not None:
            kept.write("draws")
    return _told(fit, sampled, words, method, draws, warmup, seed, time.perf_counter() - began)


def _asked(
    fit: PopulationFit, words: Mapping[str, str], chains: int, warmup: int, method: str, seed: int
) -> dict[str, Any]:
    """What a checkpoint is of; more draws go on from fewer."""
    own = {"verb": "sample_posterior", "data": fit.study.sha256, **fit.request.asked, "labels": target.labels(fit)}
    own |= {"estimates": fit.polished.v, "prior": dict(words), "method": method, "chains": chains, "warmup": warmup}
    return {**own, "seed of draws": seed}


def _told(
    fit: PopulationFit,
    sampled: Sampled,
    words: Mapping[str, str],
    method: str,
    draws: int,
    warmup: int,
    seed: int,
    seconds: float,
) -> PopulationPosterior:
    labels = target.labels(fit)
    m, n, d = sampled.v.shape
    rows = natural_of(fit, sampled.v.reshape(m * n, d), labels)
    natural = rows.to_numpy(float).reshape(m, n, d)
    given, table = fit.parameters[["kind", "unit", "value"]].to_dict("index"), {}
    # A rate that nothing keeps from infinity has no mean; the outcome says so.
    with np.errstate(invalid="ignore", over="ignore"):
        for at, label in enumerate(labels):
            moved = bool(np.ptp(sampled.v[..., at]) > 0)
            table[label] = _row(natural[..., at], moved, given[label], words.get(label))
    parameters = pd.DataFrame.from_dict(table, orient="index").rename_axis("parameter")
    outcome = outcome_of(parameters, m, n, int(sampled.diverged.sum()), draws)
    options = {"method": method, "draws": draws, "chains": m, "warmup": warmup, "seed": seed, "prior": dict(words)}
    origin = Provenance("", fit.study.sha256, fit.model, options, seconds)
    return PopulationPosterior(
        parameters, _individuals(fit, sampled), outcome, method, warmup, seed, seconds, tuple(labels),
        fit.design.random, fit.subjects, fit.study.unit, fit.study.simulated, sampled.v, sampled.phi, natural,
        sampled.value, sampled.accepted, np.asarray(sampled.diverged, float), origin, fit,
    )  # fmt: skip


def _row(own: Floats, moved: bool, given: Mapping[Any, Any], prior: str | None) -> dict[str, Any]:
    """What is told of draws (chains, draws)."""
    middle, lower, upper = np.quantile(own, INTERVAL)
    ess = mixing.ess_mean(own) if moved else np.nan
    return {
        "kind": given["kind"], "mean": own.mean(), "sd": own.std(ddof=1), "median": middle,
        "lower": lower, "upper": upper, "unit": given["unit"],
        "ess_bulk": mixing.ess_bulk(own) if moved else np.nan,
        "ess_tail": mixing.ess_tail(own) if moved else np.nan,
        "r_hat": mixing.r_hat(own) if moved else np.nan, "mc_error": own.std(ddof=1) / np.sqrt(ess),
        "prior": prior or ("with the spreads" if moved else "fixed"), "estimate": given["value"],
    }  # fmt: skip


def _individuals(fit: PopulationFit, sampled: Sampled) -> pd.DataFrame:
    phi = sampled.phi.reshape(-1, *sampled.phi.shape[2:])
    means, ends = phi.mean(axis=0), np.quantile(phi, INTERVAL[1:], axis=0)
    rows = []
    for i, subject in enumerate(fit.subjects):
        for j, name in enumerate(fit.design.random):
            to = fit.model.parameters[name].from_estimation
            rows.append((subject, name, *(to(float(x)) for x in (means[i, j], ends[0, i, j], ends[1, i, j]))))
    return pd.DataFrame(rows, columns=["subject", "parameter", "mean", "lower", "upper"])
