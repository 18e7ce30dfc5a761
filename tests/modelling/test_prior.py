"""Priors: the maximum a posteriori, on both paths, and how much of an estimate is the prior's."""

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting.profile import held

STEIN = models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])


@pytest.fixture(scope="module")
def study():
    curve = np.asarray(STEIN.solve(DAYS)["copies_per_ug"])
    copies = curve * np.exp(0.5 * np.random.default_rng(7).normal(size=(3, 15)))
    tables = [pd.DataFrame({"subject": f"S{i}", "day": DAYS, "copies_per_ug": row}) for i, row in enumerate(copies)]
    return ck.read_study(pd.concat(tables), lloq=100.0)


def test_a_level_with_a_prior_is_the_mean_weighted_by_precision(level):
    values = np.array([80.0, 120.0, 150.0])
    study = ck.read_study(pd.DataFrame({"subject": "A", "day": [1.0, 2, 3], "copies_per_ug": values}), lloq=1.0)
    fit = ck.fit(level, study, fixed={"sd": 0.4}, prior={"c": ck.LogNormal(50.0, 0.3)})
    weights = np.array([3 / 0.4**2, 1 / 0.3**2])
    expected = weights @ [np.log(values).mean(), np.log(50.0)] / weights.sum()
    assert np.log(fit.parameters.loc["c", "value"]) == pytest.approx(expected, abs=1e-8)
    assert fit.parameters.loc["c", "stderr"] / fit.parameters.loc["c", "value"] == pytest.approx(weights.sum() ** -0.5)
    assert f"{weights[1] / weights.sum():.0%} of the information is the prior's" in fit.parameters.loc["c", "source"]
    without = ck.fit(level, study, fixed={"sd": 0.4})
    assert fit.log_likelihood < without.log_likelihood
    assert np.isnan(fit.aic) and np.isnan(fit.aicc) and np.isnan(fit.bic)
    assert "no AIC" in fit.summary()


def test_the_derivatives_are_those_of_the_objective(study):
    fit = ck.fit(STEIN, study.select("S0"), prior="published", starts=1)
    problem, x = fit.problem, fit.x + 0.1
    second, step = problem.second_order(x), 1e-4 * np.eye(len(x))
    assert second.value == pytest.approx(problem.objective(x), abs=1e-12)
    slopes = [(problem.objective(x + e) - problem.objective(x - e)) / 2e-4 for e in step]
    np.testing.assert_allclose(second.gradient, slopes, rtol=1e-6, atol=1e-6)
    curved = [(problem.second_order(x + e).gradient - problem.second_order(x - e).gradient) / 2e-4 for e in step]
    np.testing.assert_allclose(second.hessian, curved, rtol=1e-5, atol=1e-4)


def test_published_priors_pull_towards_the_population_and_narrow_the_interval(study):
    with_prior, without = (ck.fit(STEIN, study.select("S0"), prior=p) for p in ("published", None))
    assert set(with_prior.problem.priors) == set(STEIN.parameters)
    for name in STEIN.parameters:
        assert with_prior.parameters.loc[name, "stderr"] <= without.parameters.loc[name, "stderr"] * 1.05, name
    assert with_prior.log_likelihood <= without.log_likelihood


def test_the_engine_finds_the_same_maximum(study):
    fits = ck.fit_each(STEIN, study, prior="published", progress=False)
    for subject in study.subjects:
        alone = ck.fit(STEIN, study.select(subject), prior="published")
        assert fits[subject].log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-4)
        np.testing.assert_allclose(fits[subject].x, alone.x, atol=1e-4)
        np.testing.assert_allclose(fits[subject].covariance, alone.covariance, rtol=1e-3, atol=1e-6)


def test_three_samples_are_enough_with_a_published_population(study):
    few = study.select("S0", until=14)
    table = few.used.iloc[[2, 4, 5]][["subject", "day", "value"]].rename(columns={"value": "copies_per_ug"})
    few = ck.read_study(table, lloq=100.0)
    assert ck.fit(STEIN, few).outcome.startswith("not identifiable: 3 samples")
    fit = ck.fit(STEIN, few, prior="published")
    assert fit.converged
    # Nothing was seen of the slow phase: its estimate is the population's.
    assert "100% of the information is the prior's" in fit.parameters.loc["beta", "source"]
    assert fit.parameters.loc["beta", "value"] == pytest.approx(STEIN.parameters["beta"].value, rel=0.05)
    # And so is its interval: a prior is normal, whatever the few degrees of freedom of what samples say.
    wide = special.ndtri(0.975) * 0.86
    assert fit.parameters.loc["beta", "lower"] == pytest.approx(0.0032 * np.exp(-wide), rel=0.1)


def test_a_fit_with_priors_is_saved_with_them(study, tmp_path):
    fit = ck.fit(STEIN, study.select("S0"), prior={"beta": ck.LogNormal(0.003, 0.5), "f_b": ck.LogitNormal(0.01, 1)})
    fit.save(tmp_path / "fit.json")
    back = ck.load(tmp_path / "fit.json")
    assert back.request.prior == fit.request.prior
    assert back.problem.priors == fit.problem.priors


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bta": ck.LogNormal(1.0, 1.0)}, "Did you mean beta"),
        ({"beta": ck.Normal(1.0, 1.0)}, "Give ck.LogNormal"),
        ({"f_b": ck.LogNormal(0.01, 1.0)}, "Give ck.LogitNormal"),
        ({"f_b": ck.LogitNormal(1.5, 1.0)}, "within its bounds"),
        ("posterior", "'published'"),
    ],
)
def test_a_prior_that_cannot_be_meant_is_refused(study, given, said):
    with pytest.raises(ck.ModelError, match=said):
        ck.fit(STEIN, study.select("S0"), prior=given)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ck.LogNormal(-1.0, 1.0), r"median=-1: give a number above 0"),
        (lambda: ck.LogNormal(1.0, 0.0), r"sd=0: give a number above 0"),
        (lambda: ck.LogNormal(np.nan, 1.0), r"median=nan: give a number above 0"),
        (lambda: ck.LogNormal("1", 1.0), r"median='1': give a number above 0"),
        (lambda: ck.LogitNormal(np.inf, 1.0), r"median=inf: give a finite number"),
        (lambda: ck.Normal(0.0, -1.0), r"sd=-1: give a number above 0"),
        (lambda: ck.Normal(True, 1.0), r"mean=True: give a number"),
    ],
)
def test_a_prior_that_is_none_is_refused_where_it_is_made(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_prior_of_what_is_fixed_or_without_a_published_spread_is_refused(level, study):
    with pytest.raises(ck.ModelError, match="has a prior and is fixed"):
        ck.fit(STEIN, study.select("S0"), fixed={"beta": 0.003}, prior={"beta": ck.LogNormal(0.003, 1.0)})
    with pytest.raises(ck.ModelError, match="no published spread"):
        ck.fit(level, study.select("S0"), prior="published")


def correlated(rho=0.7):
    return {"alpha": ck.LogNormal(0.4, 0.5), "c_max": ck.LogNormal(2e4, 0.4), ("c_max", "alpha"): rho}


def test_correlated_priors_add_their_normal_density(study):
    fit = ck.fit(STEIN, study.select("S0"), prior=correlated(), starts=1)
    problem = fit.problem
    covariance = np.array([[0.5**2, 0.7 * 0.5 * 0.4], [0.7 * 0.5 * 0.4, 0.4**2]])
    known = stats.multivariate_normal(np.log([0.4, 2e4]), covariance)
    at = [problem.names.index(name) for name in ("alpha", "c_max")]
    assert problem.log_prior(fit.x) == pytest.approx(known.logpdf(fit.x[at]) - known.logpdf(known.mean), abs=1e-10)
    x, step = fit.x + 0.1, 1e-4 * np.eye(len(fit.x))
    second = problem.second_order(x)
    slopes = [(problem.objective(x + e) - problem.objective(x - e)) / 2e-4 for e in step]
    np.testing.assert_allclose(second.gradient, slopes, rtol=1e-6, atol=1e-6)
    curved = [(problem.second_order(x + e).gradient - problem.second_order(x - e).gradient) / 2e-4 for e in step]
    np.testing.assert_allclose(second.hessian, curved, rtol=1e-5, atol=1e-4)
    roots = problem.prior_roots @ (x - problem.prior[0])
    assert -0.5 * roots @ roots == pytest.approx(problem.log_prior(x), abs=1e-10)
    assert "correlation of c_max and alpha: 0.7" in fit.summary()


def test_the_engine_takes_correlated_priors_as_one_fit_does(study):
    fits = ck.fit_each(STEIN, study, prior=correlated(), progress=False)
    for subject in study.subjects:
        alone = ck.fit(STEIN, study.select(subject), prior=correlated())
        assert fits[subject].log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-4)
        np.testing.assert_allclose(fits[subject].x, alone.x, atol=1e-4)
        np.testing.assert_allclose(fits[subject].covariance, alone.covariance, rtol=1e-3, atol=1e-6)
    # And what one is known to be says something of the other.
    without = {name: prior for name, prior in correlated().items() if isinstance(name, str)}
    apart = ck.fit_each(STEIN, study, prior=without, progress=False)
    assert abs(apart["S0"].estimates["alpha"] / fits["S0"].estimates["alpha"] - 1) > 0.01


def test_a_profile_takes_the_other_priors_as_they_are_given_the_held_value(study):
    fit = ck.fit(STEIN, study.select("S0"), prior=correlated(), starts=1)
    problem, at = fit.problem, fit.problem.names.index("alpha")
    value = fit.x[at] + 0.2
    rest = held(problem, at, value)
    others = np.delete(fit.x, at)
    whole = problem.objective(np.insert(others, at, value))
    mean, sd = problem.priors["alpha"]
    assert rest.objective(others) - 0.5 * ((value - mean) / sd) ** 2 == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({("alpha", "beta"): 0.5}, "'alpha', 'beta'.*beta has no prior"),
        ({("alpha", "c_max"): 1.0}, "give a correlation between -1 and 1"),
        ({("alpha", "c_max"): "0.5"}, "give a correlation between -1 and 1"),
        ({("c_max", "alpha"): 0.1, ("alpha", "c_max"): 0.1}, "given twice"),
        ({("alpha", "sd"): 0.1}, "correlation of parameters"),
        ({("alpha", "alpha"): 0.1}, "a correlation is of two parameters"),
    ],
)
def test_correlations_that_cannot_be_are_refused(study, given, words):
    known = {"alpha": ck.LogNormal(0.4, 0.5), "c_max": ck.LogNormal(2e4, 0.4), **given}
    with pytest.raises(ck.ModelError, match=words):
        ck.fit(STEIN, study.select("S0"), prior=known)


def test_correlations_that_contradict_each_other_are_refused(study):
    known = {name: ck.LogNormal(STEIN.parameters[name].value, 0.5) for name in ("alpha", "beta", "c_max")}
    pairs = {("alpha", "beta"): 0.9, ("beta", "c_max"): 0.9, ("alpha", "c_max"): -0.9}
    with pytest.raises(ck.ModelError, match="their matrix is not positive definite"):
        ck.fit(STEIN, study.select("S0"), prior={**known, **pairs})
    with pytest.raises(ck.ModelError, match="alpha is shared, and a correlation is of what a patient has of its own"):
        ck.fit(STEIN, study, prior=correlated(), shared="alpha")
    with pytest.raises(ck.ModelError, match="means of a population have a prior each"):
        ck.fit_population(STEIN, study, prior=correlated(), progress=False)


def test_a_published_level_is_no_prior_of_samples_in_another_unit(study):
    cells = ck.read_study(study.used[["subject", "day", "value"]].dropna(), unit="cells/uL", lloq=1.0)
    with pytest.raises(ck.StudyError, match=r"in cells/uL, and the published prior of c_max is in copies/ug"):
        ck.fit(STEIN, cells["S0"], prior="published")
    known = {"c_max": ck.LogNormal(2e4, 0.65), "fold": ck.LogNormal(3900, 2.4)}
    assert ck.fit(STEIN, cells["S0"], prior=known).parameters.loc["c_max", "unit"] == "cells/uL"
