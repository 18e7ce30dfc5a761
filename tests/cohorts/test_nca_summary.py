"""Cohorts in numbers: medians that a limit can hide, geometric means by maximum likelihood."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import cellkinetics as ck
from cellkinetics.cohorts.nca_summary import geometric, nca_summary


def test_known_values_have_the_usual_geometric_mean_and_cv():
    values = np.array([12.0, 340.0, 55.0, 71.0])
    mean, cv = geometric(values, values)
    assert mean == pytest.approx(stats.gmean(values), rel=1e-7)
    assert cv == pytest.approx(100 * math.sqrt(math.exp(np.log(values).var(ddof=1)) - 1), rel=1e-6)


def test_censored_values_enter_by_their_probability():
    lower, upper = np.array([0, 0, 8.0, 20, 55, 3]), np.array([3, 3, 8.0, 20, 55, 9])
    known = lower == upper

    def minus_log_likelihood(at):
        curve = stats.norm(at[0], math.exp(at[1]))
        with np.errstate(divide="ignore"):
            low, high = np.log(lower), np.log(upper)
        return -curve.logpdf(high[known]).sum() - np.log(curve.cdf(high[~known]) - curve.cdf(low[~known])).sum()

    best = optimize.minimize(minus_log_likelihood, [2.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9}).x
    mean, cv = geometric(lower, upper)
    assert mean == pytest.approx(math.exp(best[0]), rel=1e-6)
    sd = math.exp(best[1]) * math.sqrt(3 / 2)
    assert cv == pytest.approx(100 * math.sqrt(math.expm1(sd**2)), rel=1e-5)


@pytest.mark.parametrize(
    ("lower", "upper"), [([0, 0, 5], [3, 3, 5]), ([0, 5, 5], [3, 5, 5]), ([0, 0], [3, 3]), ([5], [5]), ([0, 0], [0, 0])]
)
def test_too_little_is_known_for_a_mean(lower, upper):
    assert np.isnan(geometric(np.array(lower, float), np.array(upper, float))).all()


def test_equal_values_vary_by_nothing():
    assert geometric(np.array([7.0, 7.0]), np.array([7.0, 7.0])) == (7.0, 0.0)


def row(found, metric, group):
    return found[(found["metric"] == metric) & (found["group"] == group)].iloc[0]


@pytest.fixture(scope="module")
def table():
    rows = {"A": 10, "B": 30, "C": 0, "D": 0, "E": 50, "F": 70}
    samples = pd.DataFrame({"subject": list(rows), "copies_per_ug": list(rows.values()), "day": 7})
    samples["cohort"] = ["low"] * 5 + [None]
    return ck.nca(ck.read_study(samples, lloq=20))


def test_a_median_in_an_interval_has_ends(table):
    # 10 is below the limit of 20: 10, C and D lie between 0 and 20; B and E are 30 and 50.
    low = row(nca_summary(table), "cmax", "low")
    assert (low["n"], low["n_interval"], low["n_missing"]) == (5, 3, 0)
    assert math.isnan(low["median"])
    assert (low["median_lower"], low["median_upper"]) == (0.0, 20.0)
    assert math.isnan(low["lowest"])
    assert low["highest"] == 50


def test_who_has_no_cohort_is_not_left_out(table):
    found = row(nca_summary(table), "cmax", "none")
    assert found[["n", "median", "lowest", "highest"]].tolist() == [1, 70, 70, 70]


def test_missing_values_are_counted_with_their_reasons(table):
    found = row(nca_summary(table), "auc_0_28", "low")
    assert (found["n"], found["n_missing"]) == (0, 5)
    assert found["missing"] == "5 the last sample is on day 7, before day 28"


def test_the_simulated_cohorts_are_summarised_in_every_metric():
    found = nca_summary(ck.nca(ck.example()))
    assert (found["n"] + found["n_missing"] == found["group"].map({"1e5/kg": 3, "1e6/kg": 4, "1e7/kg": 4})).all()
    peaks = found[found["metric"] == "cmax"].set_index("group")
    assert peaks.loc["1e5/kg", "median"] == 1090.0


def test_an_unknown_column_is_named(table):
    with pytest.raises(ValueError, match=r"no column 'cohorts'. Did you mean cohort\?"):
        nca_summary(table, "cohorts")


def test_an_area_known_to_within_a_percent_counts_as_known():
    # An early sample below the limit moves an area of thousands by less than 1%.
    rng = np.random.default_rng(6)
    peaks = np.exp(rng.normal(8, 0.8, 8))
    rows = [
        (f"S{i}", day, share * peak)
        for i, peak in enumerate(peaks)
        for day, share in ((1, 0), (7, 1), (14, 0.6), (28, 0.2))
    ]
    samples = pd.DataFrame(rows, columns=["subject", "day", "copies_per_ug"]).assign(cohort="a")
    table = ck.nca(ck.read_study(samples, lloq=5))
    assert (table["auc_0_28_lower"] < table["auc_0_28_upper"]).all()
    assert (table["auc_0_28_upper"] / table["auc_0_28_lower"]).max() < 1.02
    found, middle = row(nca_summary(table), "auc_0_28", "a"), np.sqrt(table["auc_0_28_lower"] * table["auc_0_28_upper"])
    assert found["n_interval"] == 8
    assert found["geometric_mean"] == pytest.approx(stats.gmean(middle), rel=1e-4)
    assert found["geometric_cv"] == pytest.approx(100 * math.sqrt(math.expm1(np.log(middle).var(ddof=1))), rel=1e-3)
