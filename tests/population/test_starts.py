"""Where a population's search begins, and what it says of spreads that are next to nothing."""

import sys
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import cellkinetics as ck
from cellkinetics.population import importance, polish, schedule

sys.path.insert(0, str(Path(__file__).parent))

import populations  # pyright: ignore[reportMissingImports]

DAYS = np.array([1.0, 5, 10, 20, 30])


def drawn(spread_c, spread_k, patients=12):
    rng = np.random.default_rng(2020)
    ln_c = np.log(100.0) + spread_c * rng.normal(size=(patients, 1))
    k = 0.1 + spread_k * rng.normal(size=(patients, 1))
    return populations.study_of(ln_c - k * DAYS, DAYS, 0.3, rng, limit=3.0)


@pytest.fixture(scope="module")
def varied():
    return drawn(0.5, 0.03)


@pytest.fixture(scope="module")
def usual(varied):
    return ck.fit_population(populations.line(), varied, progress=False)


def test_a_search_finds_its_way_from_far_off(varied, usual):
    far = ck.fit_population(populations.line(), varied, initial={"c": 1e9}, progress=False)
    assert far.status is ck.Status.CONVERGED
    assert far.log_likelihood_ln == pytest.approx(usual.log_likelihood_ln, abs=0.05)


def test_defaults_that_are_far_off_do_no_harm(varied, usual):
    line = populations.line()
    far = replace(line, parameters={**line.parameters, "c": replace(line.parameters["c"], value=1e9)})
    found = ck.fit_population(far, varied, progress=False)
    assert found.log_likelihood_ln == pytest.approx(usual.log_likelihood_ln, abs=0.05)


@pytest.fixture(scope="module")
def two_phases():
    rng, days = np.random.default_rng(2020), np.array([1, 3, 7, 14, 28, 60.0, 90])
    ln = np.log([1000, 0.3, 30, 0.01]) + rng.normal(size=(12, 4)) * [0.5, 0.2, 0.5, 0.2]
    a, fast, b, slow = ln.T[:, :, None]
    g = np.logaddexp(a - np.exp(fast) * days, b - np.exp(slow) * days)
    return populations.study_of(g, days, 0.3, rng)


def test_a_part_of_the_curve_that_does_nothing_where_it_begins_is_found(two_phases, monkeypatch):
    near = ck.fit_population(populations.biexponential(), two_phases, progress=False)
    far = populations.biexponential()
    begun = {"a": 1e-2, "fast": 5.0, "b": 1e-4, "slow": 2.0}
    far = replace(far, parameters={name: replace(far.parameters[name], value=at) for name, at in begun.items()})
    found = ck.fit_population(far, two_phases, progress=False)
    assert found.log_likelihood_ln == pytest.approx(near.log_likelihood_ln, abs=0.1)
    # Interrupted on the second way up, it gives what the first one came to.
    climbs = []

    def climb(*args):
        climbs.append(args)
        if len(climbs) > 1:
            raise KeyboardInterrupt
        return schedule.climb(*args)

    monkeypatch.setattr("cellkinetics.population.fit.climb", climb)
    assert ck.fit_population(far, two_phases, progress=False).status is ck.Status.INTERRUPTED
    assert len(climbs) == 2


@pytest.mark.slow
def test_a_spread_on_the_natural_scale_is_told_from_0_however_large_the_mean():
    level = ck.Parameter(10.0, "1", "this test", min=-np.inf, scale="identity")
    model = ck.Model(
        name="level", parameters={"g": level, "k": ck.Parameter(0.1, "1/day", "this test")},
        outputs={"copies_per_ug": "copies/ug"}, curve=lambda t, g, k: jnp.exp(g - k * t),
    )  # fmt: skip
    rng = np.random.default_rng(2020)
    g = 10 + 0.15 * rng.normal(size=(24, 1))
    study = populations.study_of(g - 0.1 * DAYS, DAYS, 0.1, rng)
    found = ck.fit_population(model, study, random="g", initial={"g": 0.1}, progress=False)
    assert found.status is ck.Status.CONVERGED
    # n patients with a level of their own: between them lies what their means vary, less the noise of a mean.
    residuals = np.log([[row.value for row in study.select(subjects=s).used.itertuples()] for s in study.subjects])
    value = found.parameters["value"].astype(float)
    means = (residuals + value["k"] * DAYS).mean(axis=1)
    expected = np.sqrt(means.var() - value["sd"] ** 2 / len(DAYS))
    assert value["sd between g"] == pytest.approx(expected, rel=0.01)


def test_where_nothing_varies_standard_errors_are_those_of_one_value_for_all():
    study = drawn(0.0, 0.0)
    population = ck.fit_population(populations.line(), study, progress=False)
    assert population.outcome.count("cannot be told from 0") == 2
    assert "take ck.fit(model, study, shared=['c', 'k'])" in population.outcome
    joint = ck.fit(populations.line(), study, shared=["c", "k"]).parameters.set_index("parameter")
    for name in ("c", "k"):
        assert population.parameters.loc[name, "value"] == pytest.approx(joint.loc[name, "value"], rel=1e-3)
        assert population.parameters.loc[name, "stderr"] == pytest.approx(joint.loc[name, "stderr"], rel=0.03)


def test_a_spread_of_0_is_worse_by_what_a_fit_without_it_says():
    study = drawn(0.5, 0.016, patients=16)
    found = ck.fit_population(populations.line(), study, progress=False)
    without = ck.fit_population(populations.line(), study, random=["c"], free=["c", "k"], progress=False)
    worse = found.log_likelihood_ln - without.log_likelihood_ln
    assert found.like_zero["k"] == pytest.approx(worse, abs=0.05)
    assert f"log-likelihood at 0 differs by {max(found.like_zero['k'], 0):.2f}" in found.outcome


def test_halves_of_the_draws_tell_how_far_other_seeds_end(usual):
    polished, population = usual.polished, usual.population
    moments = importance.Moments(usual.conditional_mean, usual.conditional_covariance)
    draws = len(polished.sample.value)
    samples = [population.sampled(polished.theta, moments, draws, seed) for seed in range(16)]
    each = [polish.derivatives_at(population, sample, polished.v) for sample in samples]
    seen, said = (
        np.std([at.gradient for at in each], axis=0),
        np.mean([np.diag(at.noise) for at in each], axis=0) ** 0.5,
    )
    assert np.all(seen < 1.3 * said)
    assert np.all(said < 6 * seen)


def test_an_sd_that_does_not_vary_keeps_the_standard_error_of_one_in_common(varied, usual):
    own = ck.fit_population(populations.line(), varied, common_sd=False, progress=False)
    assert "leave common_sd=False out" in own.outcome
    # A spread that may be a little more than 0 adds to what is not known of the sd, and takes nothing away.
    ratio = own.parameters["stderr"] / usual.parameters["stderr"]
    assert ratio[["c", "k", "sd"]].between(0.95, 1.5).all()


def test_chains_that_stand_together_far_from_0_have_a_covariance():
    spread = np.full((1, 2, 2), 1e-15) - 2e-15 * np.eye(2)
    drawn = importance.drawn(
        importance.Moments(np.full((1, 2), 5.0), spread), np.full((1, 2), 5.0), 1e-16 * np.eye(2), 500, 1
    )
    assert np.isfinite(drawn.log_proposal).all()
    assert np.abs(drawn.phi - 5.0).max() < 1e-6
