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
