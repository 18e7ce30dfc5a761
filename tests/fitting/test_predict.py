"""Predictions: of a curve and of a new sample, under doses that were not given; tables of many patients."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics import models

NK = models.load("nk_decline")
DAYS = np.array([1.0, 7, 14, 28, 90])
NAME = "copies_per_ug"


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(NK, ck.example(), starts=1, progress=False)


def halves(table):
    return np.log(table[f"{NAME}_upper"] / table[f"{NAME}_lower"]).to_numpy() / 2


def test_a_new_sample_lies_as_far_from_the_curve_as_the_curve_is_uncertain_and_samples_scatter(fits):
    fit = fits["P06"]
    curve, sample = fit.predict(DAYS), fit.predict(DAYS, interval="prediction")
    quantile, sd = stats.t.ppf(0.975, fit.degrees_of_freedom), fit.parameters.loc["sd", "value"]
    np.testing.assert_allclose(halves(sample) ** 2, halves(curve) ** 2 + (quantile * sd) ** 2, rtol=1e-9)
    np.testing.assert_array_equal(sample[NAME], curve[NAME])


@pytest.mark.parametrize("error", ["proportional", "student"])
def test_under_other_errors_a_new_sample_has_the_quantiles_of_its_distribution(error):
    given = {"F": 4e-3, "alpha": 0.1, "f_b": 0.05, "beta": 0.01, "sd": 0.3}
    fit = ck.fit(NK, ck.example()["P06"], error=error, fixed=given)
    found = fit.predict(DAYS, interval="prediction")
    f = found[NAME].to_numpy()
    ends = {
        "proportional": f * (1 + 0.3 * stats.truncnorm(-1 / 0.3, np.inf).ppf([[0.025], [0.975]])),
        "student": f * np.exp(0.3 * stats.t(4).ppf([[0.025], [0.975]])),
    }[error]
    for side, end in zip(("lower", "upper"), ends, strict=True):
        # Three Monte Carlo errors of the quantile of 2,000 draws.
        np.testing.assert_allclose(found[f"{NAME}_{side}"], end, rtol=0.15)


def test_a_regimen_that_was_not_given_is_that_of_the_model(fits):
    fit = fits["P06"]
    doses = [(0.0, 1e6), (20.0, 3e6)]
    expected = ck.simulate(NK, fit, DAYS, doses)[NAME]
    np.testing.assert_allclose(fit.predict(DAYS, doses=doses)[NAME], expected, rtol=1e-9)
    np.testing.assert_allclose(fit.predict(DAYS, doses=2e6)[NAME], 2 * fit.predict(DAYS, doses=1e6)[NAME], rtol=1e-9)
    pd.testing.assert_frame_equal(fit.predict(DAYS, doses=1e6), fit.predict(DAYS))


def test_what_cannot_be_predicted_says_what_to_do(fits):
    with pytest.raises(ValueError, match=r"take 'confidence' .* or 'prediction'"):
        fits["P06"].predict(DAYS, interval="sample")
    stein = ck.fit(models.load("stein_2019_tisagenlecleucel"), ck.example()["P06"], starts=1)
    with pytest.raises(ValueError, match="stein_2019_tisagenlecleucel has none"):
        stein.predict(DAYS, doses=1e6)


def test_correlations_are_the_covariance_over_its_standard_deviations(fits):
    fit = fits["P06"]
    found = fit.correlations
    assert list(found) == [*fit.problem.free, "sd"]
    np.testing.assert_allclose(np.diag(found), 1.0)
    sd = np.sqrt(np.diag(fit.covariance))
    np.testing.assert_allclose(found.loc["F", "alpha"], fit.covariance[0, 1] / sd[0] / sd[1])


@pytest.mark.parametrize("verb", ["derived", "intervals", "identifiability", "influence", "residuals", "bootstrap"])
def test_many_patients_have_the_tables_of_one_under_one_another(fits, verb):
    def asked(of):
        found = getattr(of, verb)
        return found(n=20) if verb == "bootstrap" else found() if callable(found) else found

    whole, one = asked(fits), asked(fits["P06"])
    one = getattr(one, {"bootstrap": "intervals", "identifiability": "parameters"}.get(verb, ""), one)
    own = whole[whole["subject"] == "P06"]
    assert list(dict.fromkeys(whole["subject"])) == list(fits)
    assert len(own) == len(one)
    for name in one.columns:
        np.testing.assert_array_equal(own[name].to_numpy(), one[name].to_numpy())


@pytest.mark.parametrize("verb", ["derived", "intervals", "bootstrap", "predict"])
def test_levels_of_many_are_checked_as_those_of_one(fits, verb):
    with pytest.raises(ValueError, match="level=95"):
        getattr(fits, verb)(level=95)
