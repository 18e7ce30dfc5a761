"""Patients with too few samples for an sd of their own: a prior, what the others add, and how it is told."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special

import cellkinetics as ck
from cellkinetics import models

STEIN = models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([3, 7, 10, 14, 28, 90, 365], float)


def table(subjects, sd=0.5, days=DAYS):
    rng, tables = np.random.default_rng(2020), []
    for number in range(subjects):
        values = {"c_max": 24000 * np.exp(0.6 * rng.normal()), "t_max": 9.3 * np.exp(0.15 * rng.normal())}
        copies = np.asarray(STEIN.solve(days, values)["copies_per_ug"]) * np.exp(sd * rng.normal(size=len(days)))
        tables.append(pd.DataFrame({"subject": f"S{number}", "day": days, "copies_per_ug": copies}))
    return pd.concat(tables, ignore_index=True)


STUDY = ck.read_study(table(6))
FIXED = {"beta": 0.0032, "f_b": 0.0079}


@pytest.fixture(scope="module")
def alone():
    return ck.fit(STEIN, STUDY.select("S1"), fixed={"beta": 0.0032})


@pytest.fixture(scope="module")
def each():
    return ck.fit_each(STEIN, STUDY, fixed={"beta": 0.0032}, pool_sd=True, progress=False)


def test_the_sd_is_where_the_restricted_likelihood_and_the_prior_balance(alone):
    assert alone.n_censored == 0
    sd = alone.sd
    squares = float(((np.log(alone.residuals["observed"]) - np.log(alone.residuals["predicted"])) ** 2).sum())
    # Seven samples that determined five parameters, or nearly so; ln sd is normal about ln 0.7 with an SD of 0.5.
    spent = alone.problem.few["sd"].spent
    assert spent == pytest.approx(5, abs=0.5)
    balance = optimize.brentq(
        lambda ln_s: -(7 - spent) + squares / np.exp(2 * ln_s) - (ln_s - np.log(0.7)) / 0.25, -5.0, 3.0
    )
    assert np.log(sd) == pytest.approx(balance, abs=1e-6)


def test_intervals_are_t_with_the_samples_to_spare_and_the_two_that_the_prior_is_worth(alone):
    assert alone.degrees_of_freedom == pytest.approx(7 - 5 + 2, abs=0.5)
    assert alone.inflation == 1.0
    row = alone.parameters.loc["c_max"]
    at = alone.problem.free.index("c_max")
    half = special.stdtrit(alone.degrees_of_freedom, 0.975) * np.sqrt(alone.covariance[at, at])
    assert np.log(row["upper"] / row["value"]) == pytest.approx(half)


def test_outcome_summary_and_table_say_so(alone):
    assert alone.outcome.endswith("sd by a prior: 7 quantified samples for 5 free parameters")
    summary = " ".join(alone.summary().split())
    assert "sd: LogNormal(0.7, 0.5)" in summary
    assert "2.0 of them from the prior of sd" in summary
    assert alone.parameters.loc["sd", "status"] == "free"
    assert "the information is the prior's" in alone.parameters.loc["sd", "source"]


def test_others_of_the_study_tell_of_the_sd_and_are_counted(each):
    prior = each["S1"].problem.few["sd"]
    assert prior.patients == 5
    assert prior.pooled == pytest.approx(sum(f.n_quantified - 5 for s, f in each.items() if s != "S1"), abs=0.5)
    assert f"sd pooled over 5 other patients, {prior.pooled:.0f} df" in each["S1"].outcome
    assert each["S1"].degrees_of_freedom > 4


def test_the_same_prior_given_to_one_patient_gives_the_same_fit(each):
    prior = each["S1"].problem.few["sd"]
    given = ck.fit(
        STEIN, STUDY.select("S1"), fixed={"beta": 0.0032}, prior={"sd": ck.LogNormal(prior.median, prior.sd)}
    )
    columns = ["value", "lower", "upper"]
    np.testing.assert_allclose(given.parameters[columns], each["S1"].parameters[columns], rtol=1e-4)
    assert "sd by the prior that was given" in given.outcome
    assert np.isnan(given.aic)
    assert np.isfinite(each["S1"].aic)


def test_unpooled_and_in_a_study_of_one_a_patient_is_fitted_as_alone(alone):
    (only,) = ck.fit_each(STEIN, STUDY.select("S1"), fixed={"beta": 0.0032}, pool_sd=True, progress=False).values()
    among = ck.fit_each(STEIN, STUDY, fixed={"beta": 0.0032}, progress=False)["S1"]
    for fit in (only, among):
        assert fit.outcome == alone.outcome
        np.testing.assert_allclose(fit.x, alone.x, rtol=1e-10)


def test_a_given_sd_wins_and_nothing_is_said(alone):
    fit = ck.fit(STEIN, STUDY.select("S1"), fixed={"beta": 0.0032, "sd": 0.4})
    assert fit.sd == 0.4
    assert fit.parameters.loc["sd", "status"] == "fixed"
    assert "prior" not in fit.outcome
    assert fit.aicc == fit.aic


def test_saved_and_loaded_it_says_the_same(each, tmp_path):
    each.save(tmp_path / "fits.json")
    again = ck.load(tmp_path / "fits.json")
    assert again["S1"].summary() == each["S1"].summary()
    assert again["S1"].problem.few == each["S1"].problem.few


def test_enough_samples_have_no_prior():
    days = np.array([1, 3, 7, 10, 14, 28, 60, 90, 365], float)
    fit = ck.fit(STEIN, ck.read_study(table(1, days=days)))
    assert not fit.problem.few
    assert "prior" not in fit.outcome


def test_an_sd_by_maximum_likelihood_is_corrected_as_its_interval_is():
    days = np.array([1, 3, 7, 10, 14, 28, 60, 90, 180, 365], float)
    fit = ck.fit(STEIN, ck.read_study(table(1, days=days)))
    row = fit.parameters.loc["sd"]
    assert row["value"] == pytest.approx(fit.sd * fit.inflation)
    assert np.sqrt(row["lower"] * row["upper"]) == pytest.approx(row["value"])
    assert "by maximum likelihood, times" in row["source"]
    np.testing.assert_allclose(fit.intervals().loc["sd"], row[["value", "lower", "upper"]].astype(float))


def test_the_profile_of_an_sd_is_chi_squared_of_the_samples_to_spare():
    days = np.array([1, 3, 7, 10, 14, 28, 60, 90, 180, 365], float)
    fit = ck.fit(STEIN, ck.read_study(table(1, days=days)), fixed=FIXED)
    interval = fit.profile(["sd"]).intervals.loc["sd"]
    degrees = fit.degrees_of_freedom
    assert degrees == pytest.approx(10 - 4, abs=0.5)
    assert interval["value"] == pytest.approx(fit.parameters.loc["sd", "value"])
    least, most = (interval["value"] / interval["upper"]) ** 2, (interval["value"] / interval["lower"]) ** 2
    inside = special.chdtr(degrees, degrees * most) - special.chdtr(degrees, degrees * least)
    assert inside == pytest.approx(0.95, abs=0.002)
    assert least - np.log(least) == pytest.approx(most - np.log(most), rel=0.01)


def test_a_joint_fit_of_few_samples_has_the_prior_and_its_sd_lies_in_its_interval(tmp_path):
    study = STUDY.select(["S1", "S2"])
    fit = ck.fit(STEIN, study, shared=[], fixed={"beta": 0.0032, "fold": 3900})
    row = fit.parameters.set_index("parameter").loc["sd"]
    assert row["lower"] < row["value"] < row["upper"]
    assert np.sqrt(row["lower"] * row["upper"]) == pytest.approx(row["value"])
    # Twelve parameters of their own and an sd: fourteen samples are too few.
    few = ck.fit(STEIN, study, shared=[])
    assert few.outcome.endswith("sd by a prior: 14 quantified samples in all")
    assert few.inflation == 1.0
    assert 0.2 < few.parameters.set_index("parameter").loc["sd", "value"] < 1.5
    few.save(tmp_path / "joint.json")
    assert ck.load(tmp_path / "joint.json").summary() == few.summary()


def test_what_only_its_prior_determines_has_the_interval_of_the_prior():
    """With one sample to spare t has few degrees of freedom; the prior is normal, and as wide as it was given."""
    fit = ck.fit(STEIN, STUDY.select("S1"), fixed={"beta": 0.0032}, prior={"alpha": ck.LogNormal(0.16, 0.05)})
    at = fit.problem.names.index("alpha")
    share = fit.covariance[at, at] / 0.05**2
    assert share > 0.95
    row = fit.parameters.loc["alpha"]
    degrees = fit.degrees_of_freedom / (1 - share)
    half = special.stdtrit(degrees, 0.975) * np.sqrt(fit.covariance[at, at])
    assert np.log(row["upper"] / row["value"]) == pytest.approx(half)
    assert np.log(row["upper"] / row["value"]) <= 1.01 * special.ndtri(0.975) * 0.05
    np.testing.assert_allclose(fit.intervals().loc["alpha"], row[["value", "lower", "upper"]].astype(float))
    assert "df/(1 - s) of a parameter where a share s of what is known" in " ".join(fit.summary().split())


def test_the_interval_of_an_sd_lies_between_that_of_its_prior_and_that_of_students_t(alone):
    at = alone.problem.names.index("sd")
    share = alone.covariance[at, at] * alone.problem.few["sd"].sd ** -2
    row, se = alone.parameters.loc["sd"], np.sqrt(alone.covariance[at, at])
    half = np.log(row["upper"] / row["value"])
    assert half == pytest.approx(special.stdtrit(alone.degrees_of_freedom / (1 - share), 0.975) * se)
    assert special.ndtri(0.975) * se < half < special.stdtrit(alone.degrees_of_freedom, 0.975) * se
