"""Stochastic approximation against the likelihood that it climbs: every kind of sample, several outputs, steppers."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import populations
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics.population import importance, louis, polish, running
from cellkinetics.sampling import chains

DAYS = np.array([1.0, 3, 7, 14, 21, 28])
LOD, LLOQ, ULOQ = 10.0, 25.0, 150.0


def study_of_all_kinds():
    """Simulated lines, samples below LOD, between LOD and LLOQ, and above ULOQ; some rows have limits twice as high."""
    rng = np.random.default_rng(11)
    ln_c, k = np.log(150.0) + 0.7 * rng.normal(size=20), 0.09 + 0.03 * rng.normal(size=20)
    values = np.exp(ln_c[:, None] - k[:, None] * DAYS + 0.4 * rng.normal(size=(20, len(DAYS))))
    rows = []
    for i, day, value in zip(np.repeat(np.arange(20), 6), np.tile(DAYS, 20), values.ravel(), strict=True):
        times = 2.0 if (i + day) % 3 == 0 else 1.0
        lod, lloq, uloq = times * LOD, times * LLOQ, times * ULOQ
        row = {"ID": f"P{i + 1:02d}", "TIME": day, "DV": f"{value:.6g}", "CENS": 0, "LIMIT": ""}
        if value < lod:
            row |= {"DV": f"{lod:g}", "CENS": 1}
        elif value < lloq:
            row |= {"DV": f"{lloq:g}", "CENS": 1, "LIMIT": f"{lod:g}"}
        elif value > uloq:
            row |= {"DV": f"{uloq:g}", "CENS": -1}
        rows.append(row)
    return ck.read_study(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def all_kinds():
    """A study with every kind of sample, and its population."""
    study = study_of_all_kinds()
    return study, ck.fit_population(populations.line(), study, progress=False)


@pytest.mark.parametrize("error", ["log", pytest.param("student", marks=pytest.mark.slow)])
def test_chains_and_importance_sampling_agree_at_one_point(all_kinds, error, monkeypatch):
    study, found = all_kinds
    # Chains that have forgotten where they began: of the usual 100 iterations 0.01 standard errors are left.
    monkeypatch.setattr(running, "WARM_UP", 12)
    if error != "log":
        found = ck.fit_population(populations.line(), study, error=error, progress=False)
    theta, design = found.polished.theta, found.design
    mean, spread = np.asarray(theta.beta), np.sqrt(np.diag(np.asarray(theta.omega)))
    scores = []
    for seed in range(20):
        moments, _ = found.population.at(theta, seed)
        away = np.asarray(moments.centre) - mean
        square = np.diagonal(np.asarray(moments.spread), axis1=1, axis2=2) + away**2
        # Of the complete data, by means and by ln spreads: at the maximum of the sampled likelihood both are 0.
        scores.append(np.concatenate([(away / spread**2).sum(axis=0), (square / spread**2 - 1).sum(axis=0)]))
        assert np.abs(moments.centre - found.conditional_mean).max() < 0.25 * spread.max()
    assert design.names == design.random
    # Both have a Monte Carlo error: that of chains by their seeds, that of draws by their weights.
    of_chains = np.var(scores, axis=0, ddof=1) / len(scores)
    of_draws = np.diag(found.polished.noise)[: len(of_chains)]
    assert np.all(np.abs(np.mean(scores, axis=0)) < 3.0 * np.sqrt(of_chains + of_draws))
    # In standard errors of the estimates that is next to nothing.
    errors = np.sqrt(np.diag(found.polished.covariance))[: len(of_chains)]
    assert np.all(np.abs(np.mean(scores, axis=0)) * errors < 0.15)


def test_a_proportional_error_finds_its_way_from_the_default_start():
    # A chain far below its samples scatters, beside its curve, by millions: its sd is not to follow.
    parameters = {
        "c": ck.Parameter(100.0, "copies/ug", "this test"), "k": ck.Parameter(0.1, "1/day", "this test")
    }  # fmt: skip
    model = ck.Model(
        name="decline", parameters=parameters, outputs={"copies_per_ug": "copies/ug"}, scale_free=True,
        curve=lambda t, c, k: c * jnp.exp(-k * t),
    )  # fmt: skip
    rng, days = np.random.default_rng(3), np.array([1.0, 4, 9, 15, 25, 40, 60])
    ln_c, ln_k = np.log(300) + 0.85 * rng.normal(size=24), np.log(0.05) + 0.4 * rng.normal(size=24)
    g = ln_c[:, None] - np.exp(ln_k)[:, None] * days
    study = populations.study_of(g, days, 0.4, rng, limit=1e-6)
    found = ck.fit_population(model, study, error="proportional", progress=False)
    assert found.outcome == "converged"
    assert found.parameters.loc["sd", "value"] == pytest.approx(0.4, abs=0.1)


def test_every_kind_of_censored_sample_enters_by_its_probability(all_kinds):
    study, found = all_kinds
    kinds = study.observations["status"].value_counts()
    assert {kind for kind, number in kinds.items() if number > 5} == {"quantified", "below", "interval", "above"}
    table, theta = found.parameters, found.polished.v
    # The likelihood there is that of quadrature, and Newton steps leave SAEM's end nearly where it was.
    value = table["value"]
    exact = populations.exact(
        study, {"c": value["c"], "k": value["k"]}, {"c": value["sd between c"], "k": value["sd between k"]}, value["sd"]
    )  # fmt: skip
    assert found.log_likelihood_ln == pytest.approx(exact, abs=3 * found.log_likelihood_error)
    ended = louis.vector_of(found.design, found.path.theta)
    assert np.max(np.abs(ended - theta) / table["estimate_stderr"].to_numpy(float)) < 0.25
    # At the maximum the exact likelihood is flat: less than 0.01 is lost by the Monte Carlo error of where it lies.
    errors = table["estimate_stderr"].to_numpy(float)
    for at, error in enumerate(errors):
        sides = []
        for side in (-0.3, 0.3):
            moved = theta.copy()
            moved[at] += side * error
            mean, between = {"c": np.exp(moved[0]), "k": moved[1]}, {"c": np.exp(moved[2]), "k": np.exp(moved[3])}
            sides.append(populations.exact(study, mean, between, np.exp(moved[4]), nodes=61, width=6.0))
        # A parabola through three points: its top lies within a tenth of a standard error.
        top = 0.15 * (sides[0] - sides[1]) / (sides[0] - 2 * exact + sides[1])
        assert abs(top) < 0.1


def test_two_outputs_have_an_sd_each():
    model = ck.Model(
        name="two_outputs",
        parameters={"c": ck.Parameter(100.0, "1", "this test"), "k": ck.Parameter(0.1, "1/day", "this test")},
        outputs={"one": "copies/ug", "other": "cells/uL"},
        curve=lambda t, c, k: {"one": c * jnp.exp(-k * t), "other": 5 * c * jnp.exp(-k * t)},
    )  # fmt: skip
    rng = np.random.default_rng(4)
    ln_c, ln_k = np.log(100) + 0.5 * rng.normal(size=20), np.log(0.1) + 0.3 * rng.normal(size=20)
    g = ln_c[:, None] - np.exp(ln_k)[:, None] * DAYS
    values = [np.exp(g + 0.2 * rng.normal(size=g.shape)), np.exp(np.log(5) + g + 0.6 * rng.normal(size=g.shape))]
    rows = pd.concat(
        pd.DataFrame(
            {
                "subject": np.repeat([f"P{i:02d}" for i in range(20)], 6), "day": np.tile(DAYS, 20),
                "value": value.ravel(), "output": name, "unit": unit,
            }
        )
        for value, (name, unit) in zip(values, model.outputs.items(), strict=True)
    )  # fmt: skip
    found = ck.fit_population(model, ck.read_study(rows), progress=False)
    table = found.parameters
    assert found.outcome == "converged"
    for name, truth in (("sd_one", 0.2), ("sd_other", 0.6), ("sd between c", 0.5), ("sd between k", 0.3)):
        assert abs(table.loc[name, "estimate"] - np.log(truth)) < 3 * table.loc[name, "estimate_stderr"]


def test_a_stepper_gives_the_likelihood_of_its_closed_form():
    ode = ck.Model(
        name="line_as_ode",
        parameters=dict(populations.line().parameters),
        outputs={"copies_per_ug": "copies/ug"},
        states=("C",),
        start={"C": "c"},
        rhs=lambda C, k: (-k * C,),
        observe=lambda C: C,
        scale_free=True,
    )
    rng = np.random.default_rng(2020)
    ln_c, k = np.log(80.0) + 0.8 * rng.normal(size=20), 0.09 + 0.03 * rng.normal(size=20)
    study = populations.study_of(ln_c[:, None] - k[:, None] * DAYS, DAYS, 0.4, rng, limit=10.0)
    asked = {"mean": {"c": 80.0, "k": 0.09}, "between": {"c": 0.8, "k": 0.03}, "sd": 0.4}
    stepped, closed = (
        ck.population_log_likelihood(model, study, draws=500, **asked) for model in (ode, populations.line())
    )  # fmt: skip
    assert stepped.value == pytest.approx(closed.value, abs=0.1)


def test_scores_and_information_are_the_derivatives_of_the_sampled_likelihood():
    rng = np.random.default_rng(2020)
    ln_c, k = np.log(80.0) + 0.8 * rng.normal(size=20), 0.09 + 0.03 * rng.normal(size=20)
    study = populations.study_of(ln_c[:, None] - k[:, None] * DAYS, DAYS, 0.4, rng, limit=10.0)
    found = ck.fit_population(populations.line(), study, progress=False, correlated=[("c", "k")])
    population, sample = found.population, found.polished.sample
    # The mode of a patient is its fit under the prior that the population is, correlation and all.
    own, sd = study[found.subjects[0]], float(found.parameters.loc["sd", "value"])
    prior = found.prior(own)
    assert prior["c", "k"] == pytest.approx(found.parameters.loc["correlation c, k", "value"], rel=1e-6)
    alone = ck.fit(populations.line(), own, prior=prior, fixed={"sd": sd})
    assert alone.estimates == pytest.approx(found[found.subjects[0]].estimates, rel=1e-5)
    # And so is its forecast, with the same draws.
    days = [5.0, 30.0]
    by_prior = ck.forecast(populations.line(), own, days, prior=prior, fixed={"sd": sd}, draws=4000)
    by_population = ck.forecast(found, own, days, draws=4000)
    medians = [np.log(one.table["median"].to_numpy(float)) for one in (by_prior, by_population)]
    np.testing.assert_allclose(*medians, atol=0.05)
    v = found.polished.v + np.array([0.1, 0.01, 0.1, -0.1, 0.1, 0.05])
    at = polish.derivatives_at(population, sample, v)
    for place in range(len(v)):
        aside = np.zeros(len(v))
        aside[place] = 1e-4
        ahead, behind = (polish.derivatives_at(population, sample, v + side * aside) for side in (1, -1))
        assert at.gradient[place] == pytest.approx((ahead.value - behind.value) / 2e-4, rel=1e-4, abs=1e-4)
        slope = -(ahead.gradient - behind.gradient) / 2e-4
        assert at.information[place] == pytest.approx(slope, rel=1e-3, abs=1e-3 * np.abs(at.information).max())
    assert at.scores.sum(axis=0) == pytest.approx(at.gradient)


@pytest.fixture(scope="module")
def alike():
    """Patients whose slopes are all the same."""
    rng = np.random.default_rng(2020)
    ln_c = np.log(80.0) + 0.8 * rng.normal(size=20)
    return populations.study_of(ln_c[:, None] - 0.09 * DAYS, DAYS, 0.4, rng, limit=10.0)


def test_the_mean_of_what_does_not_vary_has_its_standard_error(alike):
    found = ck.fit_population(populations.line(), alike, progress=False)
    assert found.parameters.loc["sd between k", "status"] == "at bound"
    assert found.status == ck.Status.AT_BOUND
    assert "not identifiable" not in found.outcome
    assert "sd between" in found.outcome or "between-patient sd of k cannot be told from 0" in found.outcome
    fixed = ck.fit_population(populations.line(), alike, random=["c"], free=["c", "k"], progress=False)
    columns = ["estimate", "estimate_stderr"]
    same = [name for name in fixed.parameters.index if fixed.parameters.loc[name, "estimate_stderr"] > 0]
    ours, theirs = (one.parameters.loc[same, columns].astype(float) for one in (found, fixed))
    assert {"c", "k"} <= set(same)
    off = (ours["estimate"] - theirs["estimate"]) / theirs["estimate_stderr"]
    assert np.abs(off).max() < 0.1
    np.testing.assert_allclose(ours["estimate_stderr"], theirs["estimate_stderr"], rtol=0.05)
    assert found.log_likelihood == pytest.approx(fixed.log_likelihood, abs=0.1)


def test_draws_of_some_random_parameters_have_the_density_of_their_own(alike):
    moments = importance.Moments(
        np.array([[1.0, 2.0, 3.0]]), np.array([[[1.0, 0.3, 0.1], [0.3, 0.5, 0.0], [0.1, 0.0, 2.0]]])
    )
    omega = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.5]])
    draws = importance.drawn(moments, np.array([[0.5, 2.0, 2.0]]), omega, 2000, 7)
    some = draws.of(np.array([0, 2]))
    by = draws.by
    own = by.own[0] @ by.own[0].T
    t = stats.multivariate_t(by.centre[0, [0, 2]], own[np.ix_([0, 2], [0, 2])], df=chains.T_DEGREES)
    normal = stats.multivariate_normal(by.mean[0, [0, 2]], omega[np.ix_([0, 2], [0, 2])])
    expected = np.log((1 - by.share) * t.pdf(some.phi[:, 0]) + by.share * normal.pdf(some.phi[:, 0]))
    np.testing.assert_allclose(some.log_proposal[:, 0], expected, rtol=1e-10)
