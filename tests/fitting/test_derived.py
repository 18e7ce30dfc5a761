"""Quantities of a fitted curve against closed forms and quadrature."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.cohorts.values import fitted_windows
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.kept import kept_of

STEIN = models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])


@pytest.fixture(scope="module")
def fit():
    curve = np.asarray(STEIN.solve(DAYS)["copies_per_ug"])
    copies = curve * np.exp(0.4 * np.random.default_rng(7).normal(size=15))
    return ck.fit(STEIN, ck.read_study(pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": copies}), lloq=30.0))


@pytest.fixture(scope="module")
def table(fit):
    return fit.derived()


def test_the_peak_of_stein_is_its_parameter_with_its_interval(fit, table):
    for quantity, name in (("c_max_of_curve", "c_max"), ("t_max_of_curve", "t_max")):
        mine, theirs = table.loc[quantity], fit.parameters.loc[name]
        np.testing.assert_allclose(
            mine[["value", "lower", "upper"]].to_numpy(float),
            theirs[["value", "lower", "upper"]].to_numpy(float),
            rtol=2e-4,
        )


def test_doubling_time_and_half_lives_are_those_of_the_closed_form(fit, table):
    p = fit.parameters["value"]
    assert table.loc["doubling_time", "value"] == pytest.approx(np.log(2) * p["t_max"] / np.log(p["fold"]), rel=1e-4)
    fast = (1 - p["f_b"]) * p["alpha"] + p["f_b"] * p["beta"]
    assert table.loc["half_life_after_peak", "value"] == pytest.approx(np.log(2) / fast, rel=0.01)
    assert table.loc["half_life_at_day_365", "value"] == pytest.approx(np.log(2) / p["beta"], rel=0.01)


def test_the_area_is_that_of_quadrature(fit, table):
    p = fit.parameters["value"].drop("sd").to_dict()

    def curve(day):
        return float(np.asarray(STEIN.solve([day], p)["copies_per_ug"])[0])

    expected = quad(curve, 0, p["t_max"], epsrel=1e-6)[0] + quad(curve, p["t_max"], 28, epsrel=1e-6)[0]
    assert table.loc["auc_0_28", "value"] == pytest.approx(expected, rel=1e-4)


def test_levels_have_the_interval_of_the_predicted_curve(fit, table):
    predicted = fit.predict([28.0, 90.0, 365.0])
    mine = table.loc[["level_day_28", "level_day_90", "level_day_365"], ["value", "lower", "upper"]].to_numpy(float)
    columns = ["copies_per_ug", "copies_per_ug_lower", "copies_per_ug_upper"]
    np.testing.assert_allclose(mine, predicted[columns].to_numpy(float), rtol=1e-3)


def test_the_last_day_above_the_limit_is_where_the_curve_crosses_it(fit, table):
    row = table.loc["time_above_lloq"]
    if np.isfinite(row["value"]):
        assert fit.predict([row["value"]])["copies_per_ug"].iloc[0] == pytest.approx(30.0, rel=1e-3)
    else:
        assert row["note"] == "still above the limit on day 730"


def test_what_lies_beyond_the_follow_up_says_so(fit):
    early = ck.fit(STEIN, fit.study.select(until=60), fixed={"beta": 0.0032})
    table = early.derived()
    assert table.loc["level_day_365", "note"] == "beyond the last sample (day 60)"
    assert table.loc["level_day_28", "note"] == ""


def test_a_curve_that_only_falls_has_no_doubling_time():
    model = models.load("nk_decline")
    curve = np.asarray(model.solve(DAYS, doses=1e6)["copies_per_ug"])
    copies = curve * np.exp(0.3 * np.random.default_rng(1).normal(size=15))
    table = pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": copies, "dose": 1e6})
    row = ck.fit(model, ck.read_study(table, lloq=0.01)).derived().loc["doubling_time"]
    assert np.isnan(row["value"])
    assert row["note"] == "the curve does not rise"


def test_a_patient_who_was_not_fitted_has_reasons_for_all(fit):
    table = ck.fit(STEIN, fit.study.select(until=3)).derived()
    assert table["value"].isna().all()
    assert table["note"].str.startswith("not fitted").all()


def of_two_doses(fit, alpha, beta, doses):
    """(curve, area to day 28) of two exponentials by hand."""
    p = fit.parameters["value"]
    parts = [(p["F"] * amount * share, rate, day) for day, amount in doses
             for share, rate in ((1 - p["f_b"], p[alpha]), (p["f_b"], p[beta]))]  # fmt: skip

    def curve(at):
        return sum(height * np.exp(-rate * (at - day)) for height, rate, day in parts if at >= day)

    area = sum(height * -np.expm1(-rate * (28 - day)) / rate for height, rate, day in parts if day < 28)
    return curve, area


@pytest.mark.parametrize("doses", [[(0, 1e6), (10, 2e6)], [(0, 3e5), (1, 7e5)]])
def test_a_second_infusion_is_a_jump_of_the_curve_and_no_growth(doses):
    model = models.load("nk_decline")
    days = np.array([2, 3, 5, 7, 9, 11, 13, 17, 21, 28.0])
    copies = ck.simulate(model, {}, days, doses=doses)["copies_per_ug"].to_numpy() * np.exp(0.1 * np.cos(7 * days))
    rows = [{"subject": "A", "day": day, "dose": dose} for day, dose in doses]
    rows += [{"subject": "A", "day": day, "copies_per_ug": value} for day, value in zip(days, copies, strict=True)]
    fit = ck.fit(model, ck.read_study(pd.DataFrame(rows), lloq=1.0), starts=1)
    curve, area = of_two_doses(fit, "alpha", "beta", doses)
    table, last = fit.derived(), doses[1][0]
    assert table.loc["c_max_of_curve", "value"] == pytest.approx(max(curve(0.0), curve(last)), rel=1e-9)
    assert table.loc["t_max_of_curve", "value"] == pytest.approx(last, rel=1e-12)
    assert table.loc["auc_0_28", "value"] == pytest.approx(area, rel=2e-3)
    assert table.loc["doubling_time", "note"] == "the curve does not rise"
    assert table.loc["level_day_28", "value"] == pytest.approx(curve(28.0), rel=1e-9)
    # What cohorts are compared by, also where the window ends with the dose, and what a file keeps.
    peak, whole = fitted_windows(Fits(fit.study, {"A": fit}), [(0, 28)])
    assert peak.values.loc["A", "lower"] == pytest.approx(max(curve(0.0), curve(last)), rel=1e-9)
    assert whole.values.loc["A", "lower"] == pytest.approx(area, rel=2e-3)
    upto = fitted_windows(Fits(fit.study, {"A": fit}), [(0, last)])[1].values.loc["A", "lower"]
    assert upto == pytest.approx(quad(curve, 0, last * (1 - 1e-9))[0], rel=2e-3)
    kept = kept_of(fit)
    assert kept is not None
    before_and_after = [kept.ln_curve(np.array([day]), 0, 2.0)[0][0] for day in (last * (1 - 1e-9), last)]
    np.testing.assert_allclose(before_and_after, np.log([curve(last * (1 - 1e-9)), curve(last)]), rtol=1e-7)
