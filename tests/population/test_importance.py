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
    ln_c = np.log(80.0) + 0.8 * rng.normal(size=12)
    k = 0.09 + 0.03 * rng.normal(size=12)
    return populations.study_of(ln_c[:, None] - k[:, None] * DAYS, DAYS, SD, rng, limit=6.0)


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
