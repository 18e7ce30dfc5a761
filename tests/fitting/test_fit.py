"""`ck.fit`: the optimum, what is free, fixed and tied, and how a fit ends."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models

STEIN = models.load("stein_2019_tisagenlecleucel")
DECLINE = models.load("nk_decline")
DAYS = np.array([1, 3, 5, 7, 9, 10, 12, 14, 17, 21, 28, 60, 120, 200, 300, 400], float)


def patient(model, values, days, *, sd=0.3, lloq=3.0, dose=1e6, seed=1):
    """A simulated patient."""
    curve = ck.simulate(model, values, days, dose if model.channels else None).iloc[:, 1].to_numpy()
    noise = np.exp(sd * np.random.default_rng(seed).normal(size=len(days)))
    table = pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": curve * noise})
    return ck.read_study(table.assign(dose=dose) if model.channels else table, lloq=lloq)


@pytest.fixture(scope="module")
def rich():
    return patient(STEIN, {}, DAYS)


@pytest.fixture(scope="module")
def fitted(rich):
    return ck.fit(STEIN, rich)


def test_a_well_sampled_patient_gives_the_parameters_back(fitted):
    assert fitted.outcome == "converged"
    table = fitted.parameters.drop("sd")
    truth = pd.Series({name: p.value for name, p in STEIN.parameters.items()})
    assert ((table["lower"] < truth) & (truth < table["upper"])).all()
    assert 0.1 < fitted.sd < 0.5


def test_standard_errors_on_the_natural_scale_are_those_of_the_interval(fitted):
    row = fitted.parameters.loc["alpha"]
    width = np.log(row["upper"] / row["lower"]) / 2
    from scipy.stats import t

    assert row["stderr"] == pytest.approx(row["value"] * width / t.ppf(0.975, fitted.degrees_of_freedom), rel=1e-9)


def test_lmfit_holds_the_same_estimates_under_the_names_of_the_model(fitted):
    for name in STEIN.parameters:
        assert fitted.lmfit.params[name].value == pytest.approx(fitted.parameters.loc[name, "value"], rel=1e-9)


def test_information_criteria_follow_from_the_likelihood_of_the_copies(fitted):
    k, n = 7, fitted.n_quantified + fitted.n_censored
    assert fitted.n_free == k
    assert fitted.aic == pytest.approx(2 * k - 2 * fitted.log_likelihood)
    assert fitted.aicc == pytest.approx(fitted.aic + 2 * k * (k + 1) / (n - k - 1))
    assert fitted.bic == pytest.approx(k * np.log(n) - 2 * fitted.log_likelihood)
    quantified = fitted.study.used.query("status == 'quantified'")["value"]
    assert fitted.log_likelihood_ln - fitted.log_likelihood == pytest.approx(np.log(quantified).sum())


def test_counting_rows_tells_quantified_censored_and_excluded_apart():
    table = pd.DataFrame({"subject": "P", "day": [0, 1, 3, 7, 9, 11, 14, 28, 60, 90, 120], "dose": 1e6,
                          "copies_per_ug": ["0", 90, 20, 9, 8, 7, 6, 5, 4, "<3", "<3"]})  # fmt: skip
    fit = ck.fit(DECLINE, ck.read_study(table, lloq=3))
    assert (fit.n_quantified, fit.n_censored, fit.n_excluded) == (8, 2, 1)
    dropped = ck.fit(DECLINE, ck.read_study(table, lloq=3), censoring="drop")
    assert (dropped.n_quantified, dropped.n_censored, dropped.n_excluded) == (8, 0, 3)


def test_censoring_changes_the_objective_and_m4_equals_m3_under_a_log_normal_error():
    study = patient(DECLINE, {}, np.array([0.1, 0.5, 1, 2, 3, 4, 5, 7, 10, 14, 21, 28]), lloq=10)
    by_method = {
        m: ck.fit(DECLINE, study, censoring=m, fixed={"sd": 0.3}).log_likelihood_ln
        for m in ("m3", "m4", "drop", "half")
    }
    assert by_method["m3"] == by_method["m4"]
    assert len({round(value, 3) for value in by_method.values()}) == 3


def test_sd_has_a_prior_unless_three_quantified_rows_are_to_spare():
    days = np.array([0.1, 0.5, 1, 2, 4, 7, 12])
    seven = ck.fit(DECLINE, patient(DECLINE, {}, days, lloq=1e-3))
    six = ck.fit(DECLINE, patient(DECLINE, {}, days[:6], lloq=1e-3))
    assert seven.parameters.loc["sd", "status"] == "free"
    assert not seven.problem.few
    assert six.parameters.loc["sd", "status"] == "free"
    assert "LogNormal(0.7, 0.5)" in six.parameters.loc["sd", "source"]
    assert "sd by a prior: 6 quantified samples for 4 free parameters" in six.summary()


def test_the_correction_of_sd_counts_what_quantified_rows_spent(rich):
    # Without censored rows every parameter is paid for by quantified ones: n - 6 degrees of freedom.
    uncensored = patient(STEIN, {}, DAYS, lloq=1e-6)
    fit = ck.fit(STEIN, uncensored)
    assert fit.degrees_of_freedom == pytest.approx(len(DAYS) - 6, abs=0.5)
    assert fit.inflation == pytest.approx(np.sqrt(len(DAYS) / fit.degrees_of_freedom))


def test_fixed_and_tied_parameters_keep_their_values(rich):
    fit = ck.fit(STEIN, rich, fixed={"t_max": 9.3, "sd": 0.4}, tie={"beta": lambda alpha: alpha / 50})
    table = fit.parameters
    assert table.loc["t_max", ["value", "status", "source"]].tolist() == [9.3, "fixed", "fixed by the user"]
    assert fit.sd == 0.4
    assert table.loc["beta", "status"] == "tied"
    assert table.loc["beta", "value"] == pytest.approx(table.loc["alpha", "value"] / 50)
    assert table.loc["beta", "stderr"] == pytest.approx(table.loc["alpha", "stderr"] / 50)


def test_free_replaces_the_default_set(rich):
    fit = ck.fit(STEIN, rich, free=["c_max", "alpha"])
    assert fit.parameters.query("status == 'free'").index.tolist() == ["c_max", "alpha", "sd"]


def test_a_tie_reaches_the_optimum_of_the_scalar_likelihood(rich):
    from scipy.optimize import minimize
    from scipy.stats import norm

    free = ["c_max", "alpha", "f_b"]
    fit = ck.fit(STEIN, rich, fixed={"sd": 0.4}, free=free, tie={"beta": lambda alpha: alpha / 50})
    used = fit.study.used
    quantified = (used["status"] == "quantified").to_numpy()

    def negative(x):
        c_max, alpha, f_b = np.exp(x[0]), np.exp(x[1]), 1 / (1 + np.exp(-x[2]))
        t = used["day"].to_numpy()
        before, after = np.minimum(t - 9.3, 0), np.maximum(t - 9.3, 0)
        decline = (1 - f_b) * np.exp(-alpha * after) + f_b * np.exp(-alpha / 50 * after)
        ln_f = np.log(c_max * np.exp(np.log(3900) / 9.3 * before) * decline)
        density = norm.logpdf(np.log(used["upper"]), ln_f, 0.4)
        return -np.where(quantified, density, norm.logcdf(np.log(used["upper"]), ln_f, 0.4)).sum()

    start = [np.log(24000), np.log(0.16), -4.8]
    best = minimize(negative, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})
    assert fit.log_likelihood_ln == pytest.approx(-best.fun, abs=1e-8)


def test_a_seed_repeats_a_fit_to_the_last_digit(rich, fitted):
    assert ck.fit(STEIN, rich).log_likelihood_ln == fitted.log_likelihood_ln


def test_predictions_pass_through_the_samples_and_carry_their_interval(fitted):
    curve = fitted.predict([10.0, 28.0])
    assert list(curve) == ["day", "copies_per_ug", "copies_per_ug_lower", "copies_per_ug_upper"]
    assert (curve["copies_per_ug_lower"] < curve["copies_per_ug"]).all()
    assert (curve["copies_per_ug"] < curve["copies_per_ug_upper"]).all()
    direct = STEIN.solve([10.0, 28.0], fitted.parameters["value"].drop("sd").to_dict())["copies_per_ug"]
    np.testing.assert_allclose(curve["copies_per_ug"], direct, rtol=1e-9)


def test_residuals_add_up_to_the_likelihood(fitted):
    table = fitted.residuals
    n, sd = fitted.n_quantified, fitted.sd
    constant = n * (np.log(sd) + 0.5 * np.log(2 * np.pi))
    assert -0.5 * (table["root_deviance"] ** 2).sum() - constant == pytest.approx(fitted.log_likelihood_ln, abs=1e-9)


def test_three_samples_for_six_parameters_are_an_outcome_that_says_what_would_help():
    table = pd.DataFrame({"subject": "P", "day": [7, 14, 21], "copies_per_ug": [3114, 199054, 13744]})
    fit = ck.fit(STEIN, ck.read_study(table))
    assert fit.outcome.startswith("not identifiable: 3 samples for 6 free parameters")
    assert "fixed=" in fit.outcome
    assert fit.parameters["value"].drop("sd").isna().all()
    assert np.isnan(fit.aic)
    assert fit.predict([7.0])["copies_per_ug"].isna().all()


def test_a_patient_below_the_limit_throughout_is_an_outcome():
    table = pd.DataFrame({"subject": "P", "day": [1, 7, 14, 21, 28, 60], "copies_per_ug": "<3", "dose": 1e6})
    fit = ck.fit(DECLINE, ck.read_study(table, lloq=3))
    assert fit.outcome.startswith("no quantified sample: all 6")
    assert not fit.fitted


def test_a_parameter_at_its_bound_is_named():
    # Copies that rise again towards the end: no decline is slow enough.
    rising = STEIN.solve(DAYS, {"beta": 1e-5})["copies_per_ug"] * np.where(DAYS > 100, DAYS / 100, 1.0)
    table = pd.DataFrame({"subject": "P", "day": DAYS, "copies_per_ug": rising})
    fit = ck.fit(STEIN, ck.read_study(table), fixed={"sd": 0.3})
    assert fit.outcome.startswith("beta at its lower bound")
    assert fit.parameters.loc["beta", "status"] == "at bound"
    assert np.isnan(fit.parameters.loc["beta", "stderr"])


def test_a_combination_that_the_samples_do_not_determine_is_named():
    # No sample before the peak: the rise is only bounded.
    late = patient(STEIN, {}, np.array([14, 17, 21, 28, 40, 60, 90, 120, 200, 300, 400], float))
    fit = ck.fit(STEIN, late)
    assert fit.outcome.startswith("not identifiable: ")
    assert fit.parameters.loc["fold", "status"] == "not identifiable"
    assert fit.parameters.loc["fold", "upper"] > 1e4 * fit.parameters.loc["fold", "lower"]
    assert fit.parameters.loc["alpha", "stderr"] < 0.1


def test_an_optimum_at_a_corner_of_the_likelihood_counts_as_converged():
    # The best t_max of this patient is exactly a sampled day, where the curve has two slopes.
    rng = np.random.default_rng(1)
    days = np.array([1, 3, 5, 7, 10, 14, 17, 21, 28, 42, 60, 90, 180, 270, 365], float)
    curve = STEIN.solve(days)["copies_per_ug"] * np.exp(0.5 * rng.normal(size=15))
    fit = ck.fit(STEIN, ck.read_study(pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": curve}), lloq=30))
    assert fit.outcome == "converged"
    assert np.abs(days - fit.parameters.loc["t_max", "value"]).min() < 1e-4


def test_time_counts_from_the_first_infusion():
    days = np.array([0.1, 0.5, 1, 2, 4, 7, 12, 20])
    table = patient(DECLINE, {}, days, lloq=1e-3).observations[["subject", "day", "value"]]
    shifted = pd.concat([
        pd.DataFrame({"subject": ["P"], "day": [5.0], "dose": [1e6]}),
        table.assign(day=table["day"] + 5).rename(columns={"value": "copies_per_ug"}),
    ])  # fmt: skip
    plain = table.rename(columns={"value": "copies_per_ug"}).assign(dose=1e6)
    assert ck.fit(DECLINE, ck.read_study(shifted)).log_likelihood == pytest.approx(
        ck.fit(DECLINE, ck.read_study(plain)).log_likelihood
    )


def test_an_amount_of_one_fits_the_product_of_fraction_and_dose():
    study = patient(DECLINE, {}, np.array([0.1, 0.5, 1, 2, 4, 7, 12, 20]), lloq=1e-3)
    without = ck.read_study(study.observations[["subject", "day", "value"]].rename(columns={"value": "copies_per_ug"}))
    row = ck.fit(DECLINE, without, doses="one amount").parameters.loc["F"]
    product = row["value"]
    assert row["unit"] == "copies/ug"
    assert product == pytest.approx(1e6 * ck.fit(DECLINE, study).parameters.loc["F", "value"], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"fixed": {"tmax": 9}}, ck.ModelError, "no parameter tmax; it has fold, t_max, .* Did you mean t_max"),
        ({"free": ["gamma"]}, ck.ModelError, "no parameter gamma"),
        ({"initial": {"beta": 99.0}}, ck.ModelError, r"beta=99 is outside its bounds \[1e-05, 5\]"),
        ({"fixed": {"sd": 0.0}}, ck.ModelError, "an sd is a positive number"),
        ({"fixed": {"sd_copies": 0.5}}, ck.ModelError, "the sd of this model is named sd"),
        ({"tie": {"beta": lambda alfa: alfa}}, ck.ModelError, "no parameter alfa"),
        ({"tie": {"beta": lambda alpha: alpha}, "fixed": {"beta": 0.1}}, ck.ModelError, "beta is given twice among"),
        ({"fixed": {"alpha": 99.0}}, ck.ModelError, "alpha=99 is outside"),
        ({"free": ["beta"], "tie": {"beta": lambda alpha: alpha}}, ck.ModelError, "beta is given twice among"),
        ({"fixed": {"beta": 0.1}, "initial": {"beta": 0.2}}, ck.ModelError, "beta is given twice among"),
        ({"censoring": "m7"}, ValueError, "take one of m3, m4, drop, half"),
    ],
)
def test_a_wrong_argument_is_named_with_its_remedy(rich, arguments, error, text):
    with pytest.raises(error, match=text):
        ck.fit(STEIN, rich, **arguments)


def test_a_study_of_several_subjects_is_refused_with_the_remedy():
    with pytest.raises(ck.StudyError, match=r"11.*fit_each"):
        ck.fit(models.load("il15_persistence"), ck.example())


def test_a_dose_in_cells_is_refused_by_a_model_that_takes_cells_per_kg():
    table = pd.DataFrame({"subject": "P", "day": DAYS, "copies_per_ug": 100.0, "dose": 7e7})
    with pytest.raises(ck.StudyError, match="doses are in cells and nk_decline takes cells/kg"):
        ck.fit(DECLINE, ck.read_study(table, dose_unit="cells"))


def test_a_missing_dose_is_an_error_only_for_a_model_that_needs_one(rich):
    assert ck.fit(STEIN, rich).fitted
    with pytest.raises(ck.StudyError, match="needs a dose"):
        ck.fit(DECLINE, rich)


def test_a_unit_that_is_not_the_models_is_taken_where_its_levels_are_free_and_refused_where_one_is_fixed():
    table = pd.DataFrame({"subject": "P", "day": DAYS, "value": STEIN.solve(DAYS)["copies_per_ug"], "dose": 1e6})
    study = ck.read_study(table, unit="cells/uL")
    decline = ck.fit(DECLINE, study, fixed={"sd": 0.5})
    assert "cells/uL" in decline.summary()
    assert decline.parameters.loc["F", "unit"] == "cells/uL per cell/kg"
    with pytest.raises(ck.StudyError, match="cells/uL and nk_decline gives copies/ug"):
        ck.fit(DECLINE, study, free=["alpha"])
    with pytest.raises(ck.StudyError, match="logarithm"):
        ck.fit(DECLINE, ck.read_study(table, unit="log10 copies/ug"))
    assert ck.fit(STEIN, study, fixed={"sd": 0.5}).parameters.loc["c_max", "unit"] == "cells/uL"
