"""Fits under each error model: against scipy's censored fits, each other, and what was simulated."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.likelihood.error_models import of
from cellkinetics.optimising import error_starts
from cellkinetics.optimising.optimise import newton, optimise

DECLINE = models.load("nk_decline")
TRUTH = {"F": 4e-3, "alpha": 0.4, "f_b": 0.05, "beta": 0.01}
DAYS = np.array([1, 2, 3, 5, 7, 10, 14, 17, 21, 28, 35, 42, 56, 70, 84, 100.0])
OFTEN = np.geomspace(1.0, 100.0, 32)
DOSE, LIMIT, MASS = 1e6, 3.0, 0.3
ERRORS = ("log", "proportional", "combined", "student", "counting")


@pytest.fixture(scope="module")
def noisy():
    """Function that simulates patients of nk_decline under an error model, with a limit."""

    def simulated(error, sds, seed, patients=1, days=DAYS, limit=LIMIT, mass=MASS):
        rng = np.random.default_rng(seed)
        exact = np.asarray(DECLINE.solve(days, TRUTH, DOSE)["copies_per_ug"])
        tables = []
        for number in range(patients):
            scatter = np.tile(np.array(sds)[:, None], len(days))
            copies = of(error).drawn(exact, scatter, np.full(len(days), mass), np.bool_(False), rng)
            shown = [f"<{limit:g}" if copy < limit else copy for copy in copies]
            tables.append(pd.DataFrame({"subject": f"S{number}", "day": days, "copies_per_ug": shown, "dose": DOSE}))
        return ck.read_study(pd.concat(tables), lloq=limit, dna_ug=mass)

    return simulated


@pytest.fixture(scope="module")
def patient_fits(noisy):
    """One patient of proportional errors under every error model."""
    study = noisy("proportional", (0.3,), 2020)
    return {error: ck.fit(DECLINE, study, error=error) for error in ERRORS}


# One level: scipy fits the same likelihood


@pytest.fixture(scope="module")
def censored():
    """Twenty values of one level, some below 3, one between 3 and 5, one above 40: a study and scipy's form of it."""
    rng = np.random.default_rng(2020)
    y = 9.0 + 5.0 * rng.normal(size=20)
    below, above = y < 3, y > 16
    shown = [f"<{3}" if b else f">{16}" if a else v for v, b, a in zip(y, below, above, strict=True)]
    table = pd.DataFrame({"subject": "S", "day": np.arange(20.0) + 1, "copies_per_ug": shown})
    data = {"uncensored": y[~below & ~above], "left": np.full(below.sum(), 3.0), "right": np.full(above.sum(), 16.0)}
    assert below.any()
    assert above.any()
    return ck.read_study(table, lloq=3.0), data


def test_an_additive_error_is_scipys_censored_normal(level, censored):
    study, data = censored
    fit = ck.fit(level, study, error="combined", fixed={"sd_prop": 0.0})
    mean, sd = stats.norm.fit(stats.CensoredData(**data))
    assert fit.outcome == "converged"
    assert fit.parameters.loc["c", "value"] == pytest.approx(mean, rel=1e-4)
    assert fit.sd["sd_add"] == pytest.approx(sd, rel=1e-4)
    likelihood = stats.norm.logpdf(data["uncensored"], mean, sd).sum() + stats.norm.logcdf(data["left"], mean, sd).sum()
    likelihood += stats.norm.logsf(data["right"], mean, sd).sum()
    assert fit.log_likelihood == pytest.approx(likelihood, abs=1e-6)
    assert fit.log_likelihood_ln == pytest.approx(likelihood + np.log(data["uncensored"]).sum(), abs=1e-6)


def test_of_one_level_a_proportional_error_is_an_additive_one(level, censored):
    study, data = censored
    fit = ck.fit(level, study, error="proportional")
    mean, sd = stats.norm.fit(stats.CensoredData(**data))
    assert fit.parameters.loc["c", "value"] == pytest.approx(mean, rel=1e-4)
    assert fit.sd == pytest.approx(sd / mean, rel=1e-4)


@pytest.mark.slow
def test_student_is_scipys_censored_t_of_the_logarithms(level, censored):
    study, data = censored
    fit = ck.fit(level, study, error="student")
    logs = stats.CensoredData(**{name: np.log(values) for name, values in data.items()})
    _, middle, scale = stats.t.fit(logs, f0=4)
    assert np.log(fit.parameters.loc["c", "value"]) == pytest.approx(middle, abs=2e-4)
    assert fit.sd == pytest.approx(scale, rel=1e-3)


# Error models against each other


def test_log_likelihoods_are_densities_of_the_same_copies(patient_fits):
    for fit in patient_fits.values():
        quantified = fit.problem.samples.quantified
        logs = np.log(fit.problem.samples.upper[quantified]).sum()
        assert fit.log_likelihood == pytest.approx(fit.log_likelihood_ln - logs, abs=1e-9)
    table = ck.compare_models(list(patient_fits.values()))
    assert list(table.index) == [f"nk_decline ({error})" for error in ERRORS]
    assert table["weight"].sum() == pytest.approx(1.0)


def test_counted_molecules_end_in_a_batch_where_each_patient_ends_alone_by_newton_steps(noisy):
    study = noisy("counting", (0.3,), 7, patients=3, limit=60.0, mass=0.03)
    together = ck.fit_each(DECLINE, study, error="counting", progress=False)
    for fit in together.values():
        alone = optimise(fit.problem, fit.problem.values, starts=6, seed=2020)
        assert alone is not None
        assert fit.log_likelihood_ln == pytest.approx(alone.second.value, abs=1e-5)
        np.testing.assert_allclose(fit.x, alone.x, atol=0.02)


def test_the_search_of_counts_ends_with_an_sd_that_values_between_two_numbers_can_have(noisy):
    # Moments of the number of molecules explain these values by themselves; that 1.3 molecules are seen takes an sd.
    study = noisy("log", (0.1,), 7, patients=3, limit=60.0, mass=0.03)
    for fit in ck.fit_each(DECLINE, study, error="counting", progress=False).values():
        assert fit.outcome == "converged"
        assert max(fit.start_values) > fit.log_likelihood_ln - 2


def test_an_optimum_is_flat_in_every_direction_that_may_move(patient_fits):
    for fit in patient_fits.values():
        free = (fit.parameters.loc[fit.problem.names, "status"] != "at bound").to_numpy()
        assert np.abs(fit.problem.second_order(fit.x).gradient[free]).max() < 1e-3


def test_the_hessian_of_the_problem_is_that_of_finite_differences(patient_fits):
    for fit in patient_fits.values():
        second = fit.problem.second_order(fit.x)
        for at in range(len(fit.x)):
            moved = [fit.x.copy(), fit.x.copy()]
            moved[0][at] -= 1e-4
            moved[1][at] += 1e-4
            before, after = (fit.problem.second_order(x).gradient for x in moved)
            size = np.abs(second.hessian[at]).max()
            np.testing.assert_allclose(second.hessian[at], (after - before) / 2e-4, atol=1e-5 * size + 1e-6)


def test_a_combined_error_without_its_additive_part_has_the_proportional_likelihood(noisy, patient_fits):
    study = patient_fits["log"].study
    alone = patient_fits["proportional"]
    combined = ck.fit(DECLINE, study, error="combined", fixed={"sd_add": 0.0})
    assert combined.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-9)
    assert combined.sd == {"sd_add": 0.0, "sd_prop": pytest.approx(alone.sd, rel=1e-6)}
    assert combined.problem.log_likelihood(alone.x) == alone.problem.log_likelihood(alone.x)
    assert patient_fits["combined"].log_likelihood >= alone.log_likelihood - 1e-3


def test_proportional_is_named_as_a_part_of_combined_with_half_the_p(patient_fits):
    row = ck.compare_models([patient_fits["proportional"], patient_fits["combined"]]).iloc[0]
    assert row["nested_in"] == "nk_decline (combined)"
    assert "half of that of chi-squared" in row["note"]


def test_other_rows_are_refused_whatever_the_error_model(patient_fits):
    fit = patient_fits["student"]
    fewer = ck.fit(DECLINE, fit.study.select(until=80), error="student")
    with pytest.raises(ck.StudyError, match="their likelihoods do not compare"):
        ck.compare_models([fit, fewer])
    with pytest.raises(ck.StudyError, match="handled by"):
        ck.compare_models([fit, ck.fit(DECLINE, fit.study, error="proportional", censoring="m4")])


def test_m4_differs_from_m3_only_for_normal_copies(patient_fits):
    study = patient_fits["log"].study
    for error, same in (("student", True), ("proportional", False)):
        m4 = ck.fit(DECLINE, study, error=error, censoring="m4")
        gained = m4.log_likelihood - patient_fits[error].log_likelihood
        assert (abs(gained) < 1e-9) == same


# What was simulated


@pytest.mark.slow
def test_aic_picks_the_error_model_of_most_of_40_patients(noisy):
    # Both have one sd: AIC is the likelihood. 32 samples each: of a dozen it is hardly better than a coin.
    right = 0
    for truth, other, sds in (("proportional", "log", (0.4,)), ("log", "proportional", (0.6,))):
        study = noisy(truth, sds, 2020, patients=20, days=OFTEN)
        mine, theirs = (ck.fit_each(DECLINE, study, error=e, starts=1, progress=False) for e in (truth, other))
        right += sum(mine[subject].aic < theirs[subject].aic for subject in study.subjects)
    assert right >= 28


def test_aic_of_eight_patients_together_sees_that_molecules_were_counted(noisy):
    # 0.03 ug of DNA: 60 copies/ug are two molecules, and the top of the curve is 120.
    study = noisy("counting", (0.3,), 2020, patients=8, limit=60.0, mass=0.03)
    counted, log = (ck.fit_each(DECLINE, study, error=error, progress=False) for error in ("counting", "log"))
    whole = ck.compare_models([counted, log]).loc["all"]
    assert whole["aic"].idxmin() == "nk_decline (counting)"


def test_student_is_not_moved_by_a_spike(noisy):
    study = noisy("log", (0.2,), 3)
    table = study.observations.rename(columns={"value": "copies_per_ug"})
    spiked = table["copies_per_ug"].where(table["day"] != 28, 30 * table["copies_per_ug"])
    table = table.assign(copies_per_ug=spiked.fillna("<3"), dose=DOSE)
    study = ck.read_study(table[["subject", "day", "copies_per_ug", "dose"]], lloq=LIMIT)
    student, log = (ck.fit(DECLINE, study, error=error) for error in ("student", "log"))
    assert student.aic < log.aic - 4
    assert student.sd < 0.5 * log.sd
    moved = [abs(np.log(fit.parameters.loc["alpha", "value"] / TRUTH["alpha"])) for fit in (student, log)]
    assert moved[0] < moved[1]


# The sds


def test_each_sd_needs_a_row_of_its_own(noisy):
    study = noisy("proportional", (0.2,), 5)
    sds = {}
    # Four free parameters: with eight quantified samples both sds are free, with seven one, which has a prior with six.
    for rows in (8, 7, 6):
        fit = ck.fit(DECLINE, study.select(until=DAYS[rows - 1]), error="combined")
        sds[rows] = fit.parameters.loc[["sd_add", "sd_prop"], "status"].to_list()
        assert fit.n_quantified == rows
    assert sds[8][1] == sds[7][1] == "free"
    assert sds[8][0] in ("free", "at bound")
    assert sds[7][0] == "fixed"
    assert sds[6] == ["fixed", "free"]
    assert fit.sd["sd_add"] == 0.0
    assert list(fit.problem.few) == ["sd_prop"]
    assert "sd_prop by a prior: 6 quantified samples for 4 free parameters" in fit.outcome


def test_bad_requests_say_what_to_give(level, noisy):
    study = noisy("log", (0.3,), 1)
    with pytest.raises(ValueError, match="take one of log, proportional, combined, student, counting"):
        ck.fit(DECLINE, study, error="normal")
    with pytest.raises(ck.ModelError, match="the sd of this model is named sd_add, sd_prop"):
        ck.fit(DECLINE, study, error="combined", fixed={"sd": 0.3})
    with pytest.raises(ck.ModelError, match="both fixed at 0"):
        ck.fit(DECLINE, study, error="combined", fixed={"sd_add": 0.0, "sd_prop": 0.0})
    with pytest.raises(ck.ModelError, match="an sd is a positive number"):
        ck.fit(DECLINE, study, error="proportional", fixed={"sd": 0.0})


def test_a_part_that_the_samples_do_not_show_is_named_and_not_a_failure():
    # The scatter falls from 20% at the top to 5% at the bottom: an additive part would do the contrary.
    exact = np.asarray(DECLINE.solve(DAYS, TRUTH, DOSE)["copies_per_ug"])
    off = np.linspace(0.2, 0.05, len(DAYS)) * np.tile([1, -1, -1, 1], 4)
    table = pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": exact * (1 + off), "dose": DOSE})
    fit = ck.fit(DECLINE, ck.read_study(table), error="combined")
    assert fit.outcome.startswith("sd_add at its lower bound: these samples show no additive part")
    assert fit.parameters.loc["sd_add", "status"] == "at bound"
    assert np.isfinite(fit.aic)


def test_sds_that_do_nothing_are_settled_by_the_engine_as_by_newton_steps_of_one_problem(noisy):
    idle = 0
    for seed in (2020, 2021, 2022):
        fit = ck.fit(DECLINE, noisy("proportional", (0.3,), seed), error="combined")
        x, second, held, converged = newton(fit.problem, fit.x.copy(), search=False)
        x, second, held, _ = error_starts.settled(fit.problem, x, second, held, converged)
        at_floor = np.append(np.zeros(len(fit.problem.free), bool), fit.x[-2:] == fit.problem.ln_sd_floors)
        assert second.value == pytest.approx(fit.log_likelihood_ln, abs=1e-6)
        assert list(held[-2:]) == list(at_floor[-2:])
        np.testing.assert_allclose(x, fit.x, atol=1e-4)
        idle += int(at_floor.sum())
    assert idle > 0


# What a fit offers


@pytest.mark.parametrize("error", ERRORS[1:])
def test_a_saved_fit_comes_back_with_its_error_model(tmp_path, patient_fits, error):
    fit = patient_fits[error]
    fit.save(tmp_path / "fit.json")
    again = ck.load(tmp_path / "fit.json")
    assert again.error == error
    assert again.aic == fit.aic
    assert again.start_values == fit.start_values
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    pd.testing.assert_frame_equal(again.predict([3.0, 30.0]), fit.predict([3.0, 30.0]))
    pd.testing.assert_frame_equal(again.residuals, fit.residuals)


@pytest.mark.parametrize("error", ERRORS[1:])
def test_a_summary_names_the_error_model_and_how_it_was_fitted(patient_fits, error):
    text = patient_fits[error].summary()
    assert {"student": "Student t", "counting": "Poisson"}.get(error, error) in text
    assert "Newton steps" in text


def test_residuals_are_in_the_terms_of_the_error_model(patient_fits):
    fit = patient_fits["combined"]
    table = fit.residuals[fit.residuals["status"] == "quantified"]
    sd = np.hypot(fit.sd["sd_add"], fit.sd["sd_prop"] * table["predicted"])
    np.testing.assert_allclose(table["residual"], (table["observed"] - table["predicted"]) / sd, rtol=1e-6)
    for error in ERRORS:
        scores = patient_fits[error].quantile_residuals()
        assert len(scores) == fit.n
        assert scores["residual"].abs().max() < 5


@pytest.mark.slow
def test_profile_and_bootstrap_agree_with_the_hessian_about_beta(patient_fits):
    fit = patient_fits["student"]
    value, lower, upper = fit.parameters.loc["beta", ["value", "lower", "upper"]].astype(float)
    profile = fit.profile(["beta"]).intervals.loc["beta"]
    boot = fit.bootstrap(40, level=0.9)
    assert profile["shape"] == "closed"
    assert profile["lower"] < value < profile["upper"]
    assert 0.5 < np.log(profile["upper"] / profile["lower"]) / np.log(upper / lower) < 2
    assert boot.failed <= 4
    assert 0.3 < boot.draws["beta"].apply(np.log).std() / (np.log(upper / lower) / 4) < 2


def test_the_forecast_of_late_samples_has_the_density_of_its_error_model(noisy):
    study, until = noisy("student", (0.3,), 5, limit=60.0), 40
    table = ck.forecast_error([DECLINE], study, until=until, error="student")
    early = ck.fit(DECLINE, study.select(until=until), error="student")
    late = study.used[study.used["day"] > until]
    z = (np.log(late["upper"]) - np.log(early.predict(late["day"])["copies_per_ug"].to_numpy())) / early.sd
    quantified = (late["status"] == "quantified").to_numpy()
    density = np.where(quantified, stats.t.logpdf(z, 4) - np.log(early.sd), stats.t.logcdf(z, 4))
    assert not quantified.all()
    assert table["log_score"].iloc[0] == pytest.approx(density.mean(), abs=1e-6)


@pytest.mark.parametrize("error", ["proportional", "student"])
def test_a_prior_of_sd_is_part_of_what_is_maximised_under_every_error_model(noisy, error):
    study = noisy(error, (0.3,), 11)
    free = ck.fit(DECLINE, study, error=error)
    pulled = ck.fit(DECLINE, study, error=error, prior={"sd": ck.LogNormal(0.1, 0.2)})
    certain = ck.fit(DECLINE, study, error=error, prior={"sd": ck.LogNormal(0.1, 1e-3)})
    assert certain.sd == pytest.approx(0.1, rel=2e-3)
    assert certain.sd < pulled.sd < free.sd
    best = pulled.problem.objective(pulled.x)
    assert best == pytest.approx(pulled.log_likelihood_ln + pulled.problem.log_prior(pulled.x), abs=1e-9)
    for aside in (1e-2, -1e-2):
        beside = pulled.x + aside * (np.arange(len(pulled.x)) == len(pulled.x) - 1)
        assert pulled.problem.objective(beside) < best


def test_fit_each_gives_the_fit_of_each(noisy):
    study = noisy("proportional", (0.3,), 11, patients=2)
    fits = ck.fit_each(DECLINE, study, error="student", progress=False)
    alone = ck.fit(DECLINE, study.select(subjects=["S1"]), error="student")
    assert fits["S1"].log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-9)
    assert "Student t" in fits.summary()


def test_several_outputs_have_sds_of_their_own():
    model = models.load("qpcr_and_flow")
    names = [f"{part}_{output}" for part in ("sd_add", "sd_prop") for output in model.outputs]
    assert of("combined").sd_names(model.outputs) == names
    assert of("student").sd_names(model.outputs) == of("log").sd_names(model.outputs)
