"""How many patients would show equivalence, against simulated studies."""

import numpy as np
import pytest
from scipy import stats

from cellkinetics.statistics import equivalence
from cellkinetics.statistics.equivalence import patients_needed
from cellkinetics.statistics.slopes import slopes
from cellkinetics.statistics.tobit import tobit

X = np.log([1e5] * 3 + [1e6] * 4 + [1e7] * 4)
MARGIN = np.log(2) / np.log(100)
SD, BELOW = 0.5, 0.4


@pytest.fixture(scope="module")
def typical():
    """Eleven patients of whom about 40% are below the limit."""
    values = SD * stats.norm.ppf((np.array([2, 9, 6, 1, 5, 11, 8, 3, 10, 4, 7]) - 0.5) / 11)
    limit = np.sort(values)[3] + 1e-9
    low, high = np.where(values < limit, -np.inf, values), np.maximum(values, limit)
    return tobit(np.column_stack([np.ones(11), X]), low, high)


def test_with_values_below_the_limit_the_number_gives_the_power(typical):
    n = int(patients_needed(typical, X, 7, MARGIN))
    # The large-sample standard error that the number rests on, carried over to studies of n.
    error = float(typical.stderr[0, 1]) * np.sqrt(7 / float(typical.degrees_of_freedom[0]) * 11 / n)
    shown = equivalence._simulated(n, X, 4 / 11, error, MARGIN, seed=5)
    assert shown == pytest.approx(0.8, abs=0.04)


def test_normal_theory_alone_would_ask_for_too_few(typical, monkeypatch):
    n = patients_needed(typical, X, 7, MARGIN)
    monkeypatch.setattr(equivalence, "MANY_PATIENTS", 0)
    assert patients_needed(typical, X, 7, MARGIN) < n


def test_the_simulated_studies_have_the_standard_error_that_they_are_given():
    rng = np.random.default_rng(3)
    n, error = 150, 0.06
    x = np.sort(np.resize(X, n))
    x = x - x.mean()
    # Fisher's information of a value with 40% below the limit, by the score's square over 200,000 draws.
    z, limit = rng.normal(size=200_000), stats.norm.ppf(BELOW)
    score = np.where(z < limit, -stats.norm.pdf(limit) / BELOW, z)
    sd = error * np.sqrt(np.mean(score**2) * (x @ x))
    values = sd * rng.normal(size=(300, n))
    low, high = np.where(values < sd * limit, -np.inf, values), np.maximum(values, sd * limit)
    assert slopes(x, low, high, MARGIN).b.std() == pytest.approx(error, rel=0.1)
    theory = 2 * stats.norm.cdf(MARGIN / error - stats.norm.ppf(0.95)) - 1
    assert equivalence._simulated(n, X, BELOW, error, MARGIN, 1) == pytest.approx(theory, abs=0.08)


def test_more_than_ten_thousand_is_not_a_number(typical):
    assert np.isnan(patients_needed(typical, X, 7, MARGIN / 100))
