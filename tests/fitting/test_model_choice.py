"""Models compared on the same samples."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics import models

NK, STEIN = models.load("nk_decline"), models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])


def simulated(model, values, seed, subject="S1", lloq=3.0, **given):
    curve = np.asarray(model.solve(DAYS, values, **given)["copies_per_ug"])
    copies = curve * np.exp(0.4 * np.random.default_rng(seed).normal(size=len(DAYS)))
    return pd.DataFrame({"subject": subject, "day": DAYS, "copies_per_ug": copies, "dose": 1e6})


@pytest.fixture(scope="module")
def expanding():
    return ck.read_study(simulated(STEIN, {}, 1), lloq=3.0)


@pytest.fixture(scope="module")
def declining():
    return ck.read_study(simulated(NK, {"F": 4e-3, "beta": 0.01}, 2, doses=1e6), lloq=3.0)


@pytest.fixture(scope="module")
def both(expanding):
    return ck.fit(STEIN, expanding), ck.fit(NK, expanding)


def test_a_patient_who_expands_is_told_from_one_who_does_not(both, declining):
    assert ck.compare_models(both)["weight"].idxmax() == STEIN.name
    other = ck.compare_models([ck.fit(STEIN, declining), ck.fit(NK, declining)])
    assert other["weight"].idxmax() == NK.name


def test_weights_are_those_of_akaike(both):
    table = ck.compare_models(both)
    assert table.attrs["criterion"] == "AICc"
    aicc = np.array([fit.aicc for fit in both])
    expected = np.exp(-(aicc - aicc.min()) / 2)
    np.testing.assert_allclose(table["weight"], expected / expected.sum(), rtol=1e-12)
    np.testing.assert_allclose(table["delta"], aicc - aicc.min(), rtol=1e-12)


def test_bic_stands_in_where_a_model_leaves_fewer_than_six_samples(expanding):
    few = expanding.select(until=28)
    fits = [ck.fit(STEIN, few, fixed={"beta": 0.003}), ck.fit(STEIN, few, free=["c_max", "alpha"])]
    assert not fits[0].problem.few and fits[0].n - fits[0].n_free == 2
    table = ck.compare_models(fits)
    assert table.attrs["criterion"] == "BIC"
    bic = np.array([fit.bic for fit in fits])
    np.testing.assert_allclose(table["delta"], bic - bic.min(), rtol=1e-12)


def test_of_a_given_and_an_estimated_sd_the_one_wins_that_aic_and_bic_prefer():
    patient = ck.example().select(subjects=["P06"])
    table = ck.compare_models([ck.fit(NK, patient), ck.fit(NK, patient, fixed={"sd": 0.6})])
    assert table.attrs["criterion"] == "BIC"
    # AICc alone corrects the one and not the other.
    assert table["aicc"].iloc[0] > table["aicc"].iloc[1]
    assert {table[by].idxmin() for by in ("aic", "bic")} == {table["weight"].idxmax()} == {table.index[0]}
    expected = 1 / (1 + np.exp(-(table["bic"].iloc[1] - table["bic"].iloc[0]) / 2))
    assert table["weight"].iloc[0] == pytest.approx(expected)


def test_aicc_of_a_known_sd_is_aic_and_chooses_as_it_does(expanding):
    fits = [ck.fit(model, expanding.select(until=28), fixed={"sd": 0.5}) for model in (STEIN, NK)]
    # Nothing is estimated but the curve: k is its parameters, and there is no correction to make.
    assert [fit.n_free for fit in fits] == [6, 4]
    assert [fit.aicc for fit in fits] == [fit.aic for fit in fits]
    assert [fit.aic for fit in fits] == [2 * fit.n_free - 2 * fit.log_likelihood for fit in fits]
    table = ck.compare_models(fits)
    assert table.attrs["criterion"] == "AICc"
    np.testing.assert_allclose(table["delta"], table["aic"] - table["aic"].min(), rtol=1e-12)


def test_a_nested_model_gets_its_likelihood_ratio(expanding):
    large, small = ck.fit(STEIN, expanding), ck.fit(STEIN, expanding, fixed={"beta": 0.0032, "fold": 3900.0})
    table = ck.compare_models([large, small])
    ratio = 2 * (large.log_likelihood - small.log_likelihood)
    row = table.iloc[1]
    assert row["nested_in"] == table.index[0]
    assert row["ratio"] == pytest.approx(ratio)
    assert row["p"] == pytest.approx(stats.chi2.sf(ratio, 2))
    assert table.iloc[0]["nested_in"] == ""


def test_a_parameter_fixed_at_its_bound_halves_p_and_the_note_says_so(declining):
    large = ck.fit(NK, declining, free=["F", "alpha", "f_b", "beta"])
    small = ck.fit(NK, declining, free=["F", "alpha"], fixed={"f_b": NK.parameters["f_b"].min, "beta": 0.01})
    row = ck.compare_models([large, small]).iloc[1]
    assert row["note"].startswith("f_b fixed at a bound")


def test_different_values_of_what_both_fix_are_not_nested(expanding):
    large = ck.fit(STEIN, expanding, fixed={"fold": 3900.0})
    small = ck.fit(STEIN, expanding, fixed={"fold": 1000.0, "beta": 0.0032})
    assert ck.compare_models([large, small]).iloc[1]["nested_in"] == ""


def test_other_samples_or_another_way_with_the_limit_are_refused(expanding, both):
    with pytest.raises(ck.StudyError, match="same rows"):
        ck.compare_models([both[0], ck.fit(NK, expanding.select(until=180))])
    with pytest.raises(ck.StudyError, match="same censoring"):
        ck.compare_models([both[0], ck.fit(NK, expanding, censoring="drop")])
    with pytest.raises(ValueError, match="at least two"):
        ck.compare_models([both[0]])


def test_a_fit_without_an_optimum_keeps_its_row_without_weight():
    few = ck.read_study(simulated(STEIN, {}, 3).iloc[[1, 4, 7, 9]], lloq=3.0)
    table = ck.compare_models([ck.fit(STEIN, few), ck.fit(STEIN, few, free=["c_max"])])
    assert table["weight"].to_list() == [0.0, 1.0]
    assert np.isnan(table["log_likelihood"].iloc[0])


def test_studies_are_compared_by_subject_and_in_sum(expanding, declining):
    study = ck.read_study(pd.concat([simulated(STEIN, {}, n, f"S{n}") for n in (1, 4)]), lloq=3.0)
    fits = [ck.fit_each(model, study, progress=False) for model in (STEIN, NK)]
    table = ck.compare_models(fits)
    assert list(dict.fromkeys(table.index.get_level_values("subject"))) == ["all", "S1", "S4"]
    expected = sum(fit.log_likelihood for fit in fits[0].values())
    assert table.loc[("all", STEIN.name), "log_likelihood"] == pytest.approx(expected)


def test_one_model_fitted_twice_has_one_name_for_all_patients_whatever_is_free_in_each():
    study = ck.example().select(subjects=["P01", "P08"]).select(until=30)
    usual, held = (ck.fit_each(NK, study, starts=1, progress=False, fixed=fixed) for fixed in ({}, {"beta": 0.01}))
    assert usual["P01"].problem.names != usual["P08"].problem.names
    table = ck.compare_models([usual, held])
    names = list(dict.fromkeys(table.index.get_level_values("model")))
    assert len(names) == 2
    assert all(list(own.index.get_level_values("model")) == names for _, own in table.groupby("subject"))
    assert np.isfinite(table.loc["all", "delta"]).all()


def test_the_forecast_of_late_samples_is_scored_with_their_density(expanding):
    table = ck.forecast_error([STEIN, NK], expanding, until=90)
    (row,) = (row for name, row in table.iterrows() if name == (STEIN.name, "S1"))
    early = ck.fit(STEIN, expanding.select(until=90))
    late = expanding.used[expanding.used["day"] > 90]
    predicted = np.log(early.predict(late["day"])["copies_per_ug"].to_numpy())
    quantified = (late["status"] == "quantified").to_numpy()
    density = np.where(
        quantified,
        stats.norm.logpdf(np.log(late["upper"]), predicted, early.sd),
        stats.norm.logcdf(np.log(late["upper"]), predicted, early.sd),
    )
    assert row["n_quantified"] == quantified.sum()
    assert row["log_score"] == pytest.approx(density.mean(), abs=1e-6)
    errors = np.abs(np.log(late["upper"]) - predicted)[quantified]
    assert row["absolute_error"] == pytest.approx(errors.mean(), abs=1e-6)


def test_the_candidates_are_drawn_with_their_weights(both):
    ax = ck.plot_models(both)
    (legend,) = ax.figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[0] == "model" and texts[1].startswith(f"{STEIN.name}: weight ")
    assert len(texts) == 3


def test_what_is_not_a_list_of_fits_is_an_error(both):
    for given in (both[0], {"a": both[0], "b": both[1]}):
        with pytest.raises(ValueError, match=r"a list of fits, such as \[fit_a, fit_b\]"):
            ck.compare_models(given)


def test_an_sd_that_is_fixed_in_one_fit_and_estimated_in_the_other_is_named(expanding, both):
    table = ck.compare_models([both[0], ck.fit(NK, expanding, fixed={"sd": 0.5})])
    assert table["note"].iloc[0] == ""
    assert table["note"].iloc[1].startswith("sd fixed at 0.5, estimated in others: fix it in all (fixed=)")
    same = ck.compare_models([ck.fit(model, expanding, fixed={"sd": 0.5}) for model in (STEIN, NK)])
    assert (same["note"] == "").all()
