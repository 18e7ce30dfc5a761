"""Censored regression in numpy: R's numbers, the library's likelihood, and what has no maximum."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellkinetics.likelihood.censoring import Rows, log_density
from cellkinetics.statistics.tobit import tobit

FOLDER = Path(__file__).parents[1] / "reference"
SAMPLES = pd.read_csv(FOLDER / "censored_regression.csv")
R = json.loads((FOLDER / "censored_regression.json").read_text())
LOWER = np.log(SAMPLES["lower"]).fillna(-np.inf).to_numpy()
UPPER = np.log(SAMPLES["upper"]).fillna(np.inf).to_numpy()
LINE = np.column_stack([np.ones(len(SAMPLES)), SAMPLES["day"]])


@pytest.mark.parametrize(("block", "design"), [("line", LINE), ("intercept", LINE[:, :1])])
def test_estimates_errors_and_likelihood_are_those_of_r(block, design):
    fit, expected = tobit(design, LOWER, UPPER), R[block]
    estimates = list(expected["estimates"].values())
    np.testing.assert_allclose(fit.coefficients[0], estimates[:-1], atol=1e-7)
    assert np.log(fit.sd[0]) == pytest.approx(estimates[-1], abs=1e-7)
    np.testing.assert_allclose(fit.stderr[0], list(expected["standard_errors"].values())[:-1], rtol=1e-6)
    assert fit.log_likelihood[0] == pytest.approx(expected["log_likelihood"], abs=1e-9)


def test_the_likelihood_is_that_of_the_library():
    fit = tobit(LINE, LOWER, UPPER, sd=0.8)
    rows = Rows(LOWER, UPPER, np.ones(len(LOWER)))
    library = log_density(LINE @ fit.coefficients[0], 0.8, rows).sum()
    assert fit.log_likelihood[0] == pytest.approx(float(library), abs=1e-9)
    assert fit.sd[0] == 0.8
    assert np.isinf(fit.degrees_of_freedom[0])


def test_without_censoring_it_is_least_squares():
    rng = np.random.default_rng(3)
    x = np.arange(9.0)
    y = 2 + 0.4 * x + rng.normal(size=(5, 9))
    fit = tobit(np.column_stack([np.ones(9), x]), y, y)
    solved, squares = np.linalg.lstsq(np.column_stack([np.ones(9), x]), y.T)[:2]
    np.testing.assert_allclose(fit.coefficients, solved.T, rtol=1e-7)
    np.testing.assert_allclose(fit.sd, np.sqrt(squares / 9), rtol=1e-7)
    np.testing.assert_allclose(fit.degrees_of_freedom, 7, rtol=1e-9)


def test_many_data_sets_at_once_are_each_on_its_own():
    rng = np.random.default_rng(4)
    x = np.log([1e5] * 3 + [1e6] * 4 + [1e7] * 4)
    y = 0.5 * x + rng.normal(size=(6, 11))
    low, high = np.where(y < 6.5, -np.inf, y), np.maximum(y, 6.5)
    together = tobit(np.column_stack([np.ones(11), x]), low, high)
    for i in range(6):
        alone = tobit(np.column_stack([np.ones(11), x]), low[i], high[i])
        np.testing.assert_allclose(together.coefficients[i], alone.coefficients[0], rtol=1e-8)
        assert together.log_likelihood[i] == pytest.approx(alone.log_likelihood[0], abs=1e-10)


def test_units_and_far_away_values_change_nothing_but_the_scale():
    fit, moved = tobit(LINE, LOWER, UPPER), tobit(LINE * [1, 1e6], LOWER + 500, UPPER + 500)
    np.testing.assert_allclose(moved.coefficients[0], fit.coefficients[0] * [1, 1e-6] + [500, 0], rtol=1e-7)
    assert moved.sd[0] == pytest.approx(fit.sd[0], rel=1e-7)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ([-np.inf] * 4, [1.0] * 4),  # nothing is quantified
        ([2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0]),  # no spread
    ],
)
def test_what_has_no_maximum_is_not_converged(lower, upper):
    fit = tobit(np.ones((4, 1)), lower, upper)
    assert not fit.converged[0]
    assert np.isnan(fit.coefficients).all()


def test_a_design_without_an_intercept_is_refused():
    with pytest.raises(ValueError, match="no intercept"):
        tobit(np.array([[1.0], [2.0]]), [1.0, 2.0], [1.0, 2.0])
