"""The likelihood of a population by importance sampling, beside quadrature."""

import numpy as np
import populations
import pytest

import cellkinetics as ck

DAYS = np.array([1.0, 3, 7, 14, 21, 28])
MEAN, BETWEEN, SD = {"c": 80.0, "k": 0.09}, {"c": 0.8, "k": 0.03}, 0.4


@pytest.fixture(scope="module")
def lines():
    rng = np.random.default_rng(2020)
    ln_c = np.log(80.0) + 0.8 * rng.normal(size=20)
    k = 0.09 + 0.03 * rng.normal(size=20)
    return populations.study_of(ln_c[:, None] - k[:, None] * DAYS, DAYS, SD, rng, limit=10.0)


def test_of_a_linear_mixed_model_with_censored_rows_is_that_of_quadrature(lines):
    censored = (lines.observations["status"] == "below").mean()
    assert 0.1 < censored < 0.4
    found = ck.population_log_likelihood(populations.line(), lines, mean=MEAN, between=BETWEEN, sd=SD)
    exact = populations.exact(lines, MEAN, BETWEEN, SD)
    assert found.error < 0.1
    assert abs(found.value - exact) < 3 * found.error
    assert found.smallest_ess > 1000
    assert found.outcome == "even"
    assert sum(found.each.values()) == pytest.approx(found.value)


def test_scores_and_information_are_the_derivatives_of_the_exact_likelihood(lines):
    found = ck.population_log_likelihood(populations.line(), lines, mean=MEAN, between=BETWEEN, sd=SD, draws=4000)
    assert list(found.scores) == ["c", "k", "sd between c", "sd between k", "sd"]
    at = np.array([np.log(80.0), 0.09, np.log(0.8), np.log(0.03), np.log(0.4)])

    def exact(v):
        mean, between = {"c": np.exp(v[0]), "k": v[1]}, {"c": np.exp(v[2]), "k": np.exp(v[3])}
        return populations.exact(lines, mean, between, np.exp(v[4]))

    aside = np.diag([1e-3, 1e-4, 1e-3, 1e-3, 1e-3])
    ahead, behind = (np.array([exact(at + sign * way) for way in aside]) for sign in (1, -1))
    gradient, curved = (ahead - behind) / (2 * np.diag(aside)), (ahead - 2 * exact(at) + behind) / np.diag(aside) ** 2
    errors = np.sqrt(np.diag(found.covariance))
    # In standard errors: that of the sum over other draws is about 0.05.
    np.testing.assert_allclose(found.scores.sum() * errors, gradient * errors, atol=0.1)
    np.testing.assert_allclose(np.diag(found.information), -curved, rtol=0.1)
    assert np.all(np.linalg.eigvalsh(found.information) > 0)
    np.testing.assert_allclose(found.information @ found.covariance, np.eye(5), atol=1e-6)
    assert found.sandwich.shape == found.influence.iloc[:5].shape == (5, 5)
    np.testing.assert_allclose(found.influence["c"], -(found.scores @ found.covariance)["c"] / errors[0])


def test_conditional_means_are_those_of_the_normal_where_nothing_is_censored():
    rng = np.random.default_rng(7)
    ln_c, k = np.log(80.0) + 0.8 * rng.normal(size=6), 0.09 + 0.03 * rng.normal(size=6)
    study = populations.study_of(ln_c[:, None] - k[:, None] * DAYS, DAYS, SD, rng, limit=1e-9)
    found = ck.population_log_likelihood(
        populations.line(), study, mean=MEAN, between=BETWEEN, sd=SD, method="agq", draws=4000
    )
    design, prior = np.stack([np.ones(6), -DAYS], axis=1), np.diag([0.8, 0.03]) ** 2
    spread = np.linalg.inv(np.linalg.inv(prior) + design.T @ design / SD**2)
    for subject, own in study.used.groupby("subject"):
        rest = np.log(own["value"].to_numpy(float)) - design @ [np.log(80.0), 0.09]
        mean = np.array([np.log(80.0), 0.09]) + spread @ design.T @ rest / SD**2
        told = found.individuals.loc[subject]
        np.testing.assert_allclose((told["mean"] - mean) / np.sqrt(np.diag(spread)), 0, atol=0.1)
        np.testing.assert_allclose(told["sd"], np.sqrt(np.diag(spread)), rtol=0.1)


def test_what_draws_tell_is_not_in_a_file(lines, tmp_path):
    found = ck.population_log_likelihood(populations.line(), lines, mean=MEAN, between=BETWEEN, sd=SD, draws=200)
    found.save(tmp_path / "l.json")
    with pytest.raises(ck.ModelError, match="before it was saved, has the draws"):
        _ = ck.load(tmp_path / "l.json").scores


def test_two_seeds_differ_by_their_monte_carlo_error(lines):
    one, other = (
        ck.population_log_likelihood(populations.line(), lines, mean=MEAN, between=BETWEEN, sd=SD, seed=seed)
        for seed in (1, 2)
    )
    assert one.value != other.value
    assert abs(one.value - other.value) < 3 * np.hypot(one.error, other.error)


def test_what_is_asked_of_a_likelihood_is_checked(lines):
    line = populations.line()
    with pytest.raises(ck.ModelError, match=r"between: k=0 is no positive sd\. Leave out what does not vary"):
        ck.population_log_likelihood(line, lines, mean=MEAN, between={"c": 0.8, "k": 0.0}, sd=SD)
    with pytest.raises(ck.ModelError, match="between: q has no mean"):
        ck.population_log_likelihood(line, lines, mean=MEAN, between={"q": 0.8}, sd=SD)
    usual = {"mean": MEAN, "between": BETWEEN, "sd": SD}
    for given, words in (
        ({"correlation": {("c", "k"): 1.5}}, r"correlation: \('c', 'k'\): 1\.5 is none of two names in between="),
        ({"correlation": {("c", "c"): 0.3}}, r"correlation: \('c', 'c'\): 0\.3 is none of two names"),
        ({"correlation": {("c", "q"): 0.3}}, r"correlation: \('c', 'q'\): 0\.3 is none of two names"),
        ({"correlation": {("c", "k"): np.nan}}, r"correlation: \('c', 'k'\): nan is none of two names"),
        (
            {"coefficients": {"c:age": 0.3}},
            r"coefficients: 'c:age' is no pair of names\. Give \{\(parameter, covariate\)",
        ),
        ({"sd": 0.0}, "sd: give sd, each a positive number"),
        ({"sd": np.inf}, "sd: give sd, each a positive number"),
        ({"sd": {"sd": 0.4, "sdd": 3.0}}, "sd: give sd, each a positive number"),
    ):
        with pytest.raises(ck.ModelError, match=words):
            ck.population_log_likelihood(line, lines, **{**usual, **given})
    with pytest.raises(ck.ModelError, match="dose is the same in all patients: it cannot drive c"):
        ck.population_log_likelihood(
            line, lines, mean=MEAN, between=BETWEEN, sd=SD, coefficients={("c", "dose"): 0.5}
        )  # fmt: skip


def test_where_nothing_is_curved_downwards_a_missing_covariance_is_said(lines):
    values = {"mean": {"c": 1.0, "k": 0.5}, "between": {"c": 0.1, "k": 0.01}, "sd": 3.0}
    far = ck.population_log_likelihood(populations.line(), lines, **values, draws=500)
    with pytest.warns(ck.ModelWarning, match="no covariance of"):
        covariance = far.covariance
    assert np.isnan(np.diag(covariance)).any()
    with pytest.raises(ValueError, match="between of c='x'"):
        ck.population_log_likelihood(populations.line(), lines, **values | {"between": {"c": "x"}})
