"""Dose and another factor in one regression, against least squares, and in a comparison of cohorts."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics.cohorts.two_factors import two_factors

DOSE = np.array([1e5] * 3 + [1e6] * 4 + [1e7] * 4)
RESPONSE = np.array([0, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1])
NAMES = ("no", "yes")


def test_without_censoring_it_is_least_squares_with_students_t():
    y = 5 + 0.4 * np.log(DOSE / 1e6) + 0.8 * RESPONSE + 0.5 * np.random.default_rng(2).normal(size=11)
    design = np.column_stack([np.ones(11), np.log(DOSE), RESPONSE])
    estimate, rest = np.linalg.lstsq(design, y)[:2]
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * rest[0] / 8)
    half = stats.t.ppf(0.975, 8) * error
    b, ratio = two_factors(DOSE, [(NAMES, RESPONSE)], np.exp(y), np.exp(y)).terms
    assert (b.name, ratio.name) == ("dose exponent", "yes : no")
    expected = [estimate[1], estimate[1] - half[1], estimate[1] + half[1]]
    np.testing.assert_allclose([b.estimate, b.lower, b.upper], expected, rtol=1e-6)
    expected = np.exp([estimate[2], estimate[2] - half[2], estimate[2] + half[2]])
    np.testing.assert_allclose([ratio.estimate, ratio.lower, ratio.upper], expected, rtol=1e-6)
    # Of two regressors the standard errors grow by 1/sqrt(1 - r2).
    r = np.corrcoef(np.log(DOSE), RESPONSE)[0, 1]
    assert b.inflation == pytest.approx(1 / np.sqrt(1 - r**2)) == ratio.inflation


def test_values_below_a_limit_stay_in():
    y = np.exp(2 + 0.5 * np.log(DOSE / 1e6) + 0.3 * np.random.default_rng(3).normal(size=11))
    low = np.where(y < 3, 0.0, y)
    found = two_factors(DOSE, [(NAMES, RESPONSE)], low, np.maximum(y, 3.0))
    assert found.n_quantified < 11
    assert found.terms[0].lower < 0.5 < found.terms[0].upper


@pytest.mark.parametrize(
    ("dose", "group", "lower", "reason"),
    [
        (DOSE, (DOSE > 1e6).astype(int), 5.0, ""),
        (np.where(DOSE > 1e6, 1e7, 1e6), (DOSE > 1e6).astype(int), 5.0, "cannot be told apart"),
        (DOSE, np.zeros(11, int), 5.0, "a group has no value"),
        (DOSE, RESPONSE, 0.0, "0 of 11 values are quantified; 5 are needed"),
        (DOSE[:0], RESPONSE[:0], 5.0, "there is no value"),
    ],
)
def test_what_cannot_be_told_apart_is_a_sentence(dose, group, lower, reason):
    spread = np.exp(0.3 * np.random.default_rng(1).normal(size=len(dose)))
    found = two_factors(dose, [(NAMES, group)], lower * spread, 5.0 * spread)
    assert reason in found.reason
    assert bool(found.reason) == bool(reason)


def test_in_the_simulated_study_response_says_nothing_at_equal_dose():
    found = ck.compare_cohorts(ck.example(), "response", within="cohort", days=[28])
    text = " ".join(found.summary().split())
    assert "response and cohort are confounded as far as they go together" in text
    assert "7 of 11 patients are in a group of cohort that has more than one of response" in text
    assert "within cohort: van Elteren, exact over all 12 arrangements within strata" in text
    peak = found.table[found.table["window"] == "peak, days 0-28"].set_index("quantity")
    assert peak.loc["van Elteren, within strata", "smallest_p"] == pytest.approx(1 / 6)
    ratio = peak.loc["responder : non-responder, both factors"]
    assert ratio["lower"] < 1 < ratio["upper"]
    b = peak.loc["dose exponent, both factors"]
    assert b["lower"] < 1 < b["upper"]


def test_the_dose_is_tested_within_responses():
    found = ck.compare_cohorts(ck.example(), within="response", days=[])
    peak = found.table[found.table["window"] == "peak, days 0-28"].set_index("quantity")
    assert peak.loc["stratified Jonckheere-Terpstra, within strata", "p"] < 0.05
    assert found.summary().startswith("Comparison by cohort within response")


def test_two_factors_without_a_dose_are_both_groups():
    rows = pd.DataFrame({"subject": list("ABCDEFGH"), "day": 7, "copies_per_ug": [9, 20, 31, 8, 90, 200, 310, 80]})
    study = ck.read_study(rows.assign(site=list("xxyyxxyy"), response=list("nnnnyyyy")), lloq=3)
    found = ck.compare_cohorts(study, "response", within="site", days=[])
    peak = found.table[found.table["window"] == "peak, days 0-28"].set_index("quantity")
    assert peak.loc["y : n, both factors", "estimate"] == pytest.approx(10, rel=0.01)
    assert "y : x, both factors" in peak.index


@pytest.mark.parametrize("within", ["cohort", "dose"])
def test_a_factor_within_itself_is_an_error(within):
    with pytest.raises(ValueError, match="is the factor that is compared"):
        ck.compare_cohorts(ck.example(), "cohort", within=within)
