"""Profile likelihood: exact where theory has the answer, equal to refits, and named where it is open."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting.profile import profile_each, threshold

STEIN = models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])


def level_study(count=6):
    values = 100 * np.exp(0.4 * np.random.default_rng(3).normal(size=count))
    return ck.read_study(
        pd.DataFrame({"subject": "A", "day": np.arange(count) + 1.0, "copies_per_ug": values}), lloq=1.0
    )


@pytest.fixture(scope="module")
def stein():
    curve = np.asarray(STEIN.solve(DAYS)["copies_per_ug"])
    copies = curve * np.exp(0.5 * np.random.default_rng(7).normal(size=15))
    return ck.fit(STEIN, ck.read_study(pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": copies}), lloq=30.0))


@pytest.fixture(scope="module")
def profile(stein):
    return stein.profile()


@pytest.mark.slow
def test_the_interval_of_a_level_is_students(level):
    study = level_study()
    logs = np.log(study.observations["value"].to_numpy(float))
    fit = ck.fit(level, study)
    row = fit.profile(["c"]).intervals.loc["c"]
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    np.testing.assert_allclose(np.log([row["lower"], row["upper"]]), logs.mean() + np.array([-half, half]), rtol=2e-4)
    assert row["shape"] == "closed"


def test_one_name_may_stand_without_a_list(level):
    fit = ck.fit(level, level_study())
    assert fit.profile("sd").intervals.equals(fit.profile(["sd"]).intervals)
    with pytest.raises(ValueError, match="zz is not free"):
        fit.profile("zz")


def test_with_a_given_sd_or_uncalibrated_the_threshold_is_chi_squared(level, stein):
    fit = ck.fit(level, level_study(), fixed={"sd": 0.4})
    assert threshold(fit, 0.95) == pytest.approx(stats.chi2.ppf(0.95, 1))
    assert threshold(stein, 0.9, calibrated=False) == pytest.approx(stats.chi2.ppf(0.9, 1))
    row = fit.profile().intervals.loc["c"]
    assert np.log(row["upper"] / row["value"]) == pytest.approx(1.959964 * 0.4 / np.sqrt(6), rel=1e-4)


def test_every_point_is_the_optimum_of_a_refit(stein, profile):
    some = profile.table[profile.table["parameter"] == "alpha"].iloc[[2, -3]]
    for value, log_likelihood in some[["value", "log_likelihood"]].to_numpy():
        again = ck.fit(STEIN, stein.study, fixed={"alpha": value}, initial={"sd": stein.sd})
        assert again.log_likelihood_ln == pytest.approx(log_likelihood, abs=1e-4)


def test_all_free_parameters_and_sd_have_a_profile_that_is_0_at_the_estimate(stein, profile):
    assert list(profile.intervals.index) == [*stein.problem.free, "sd"]
    assert profile.table.groupby("parameter")["deviance"].min().abs().max() < 1e-6
    closed = profile.intervals[profile.intervals["shape"] == "closed"]
    assert len(closed) >= 4
    assert ((closed["lower"] < closed["value"]) & (closed["value"] < closed["upper"])).all()


@pytest.mark.slow
def test_an_end_that_the_samples_do_not_give_is_open():
    # Everything after day 60 is below the limit: the slow phase may be as fast or as small as it likes.
    copies = np.where(DAYS < 50, np.asarray(STEIN.solve(DAYS)["copies_per_ug"]), 1.0)
    copies = copies * np.exp(0.3 * np.random.default_rng(5).normal(size=15))
    study = ck.read_study(pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": copies}), lloq=150.0)
    fit = ck.fit(STEIN, study, free=["t_max", "c_max", "alpha", "f_b"], fixed={"fold": 3900.0, "beta": 0.0032})
    row = fit.profile(["f_b"]).intervals.loc["f_b"]
    assert row["shape"].startswith("lower end open")
    assert np.isnan(row["lower"]) and row["upper"] < 0.1


@pytest.mark.parametrize("name", ["t_max", "c_max"])
def test_an_interval_holds_every_value_that_a_search_from_several_starts_finds_likely(name):
    # Two samples above the limit: plateaus with walls, and optima of the others between any two sampled days.
    days = [1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365]
    values = ["<520"] * 4 + [12288.0, 2305.0] + ["<520"] * 9
    study = ck.read_study(pd.DataFrame({"subject": "S", "day": days, "copies_per_ug": values}), lloq=520.0)
    fit = ck.fit(STEIN, study, starts=10)
    ends = fit.profile([name]).intervals.loc[name]
    lower, upper = (
        ends[end] if np.isfinite(ends[end]) else other for end, other in (("lower", 0.0), ("upper", np.inf))
    )
    at = fit.parameters.loc[name, "value"]
    found = []
    for value in at * np.geomspace(0.5, 2.0, 13):
        other = ck.fit(STEIN, study, fixed={name: value, "sd": fit.sd}, starts=10)
        likely = 2 * (fit.log_likelihood_ln - other.log_likelihood_ln) < ends["threshold"]
        found.append(likely)
        assert not likely or lower <= value <= upper, value
    assert any(found)
    assert name == "c_max" or not all(found)


def test_several_fits_are_profiled_in_one_call(stein, profile):
    both = profile_each([stein, stein], ["alpha"])
    for one in both:
        np.testing.assert_allclose(
            one.intervals.loc["alpha", ["lower", "upper"]].to_numpy(float),
            profile.intervals.loc["alpha", ["lower", "upper"]].to_numpy(float),
            rtol=1e-6,
        )


def test_intervals_by_choice_are_those_of_each_method(stein, profile):
    shown = stein.parameters.loc[list(profile.intervals.index), ["value", "lower", "upper"]].astype(float)
    pd.testing.assert_frame_equal(stein.intervals(), shown, check_exact=False, rtol=1e-9)
    pd.testing.assert_frame_equal(stein.intervals("profile"), profile.intervals[["value", "lower", "upper"]])
    narrow, wide = stein.intervals(level=0.5), stein.intervals(level=0.99)
    assert ((wide["lower"] < narrow["lower"]) & (narrow["upper"] < wide["upper"])).all()
    with pytest.raises(ValueError, match="hessian, profile, bootstrap"):
        stein.intervals("jackknife")


def test_a_name_that_is_not_free_is_refused_and_a_patient_without_a_fit_has_no_profile(stein):
    with pytest.raises(ValueError, match="Did you mean alpha"):
        stein.profile(["alpa"])
    few = ck.fit(STEIN, stein.study.select(until=5))
    assert few.profile().intervals.empty


def test_there_is_a_panel_for_each_parameter(profile):
    assert len(profile.plot().axes) == len(profile.intervals)
