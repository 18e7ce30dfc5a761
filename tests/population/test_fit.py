"""`fit_population`: who takes part, what it gives, and what it refuses; on simulated patients."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import populations
import pytest

import cellkinetics as ck
from cellkinetics.optimising.request import Request
from cellkinetics.population import polish, prediction, text
from cellkinetics.population.patients import patients_of
from cellkinetics.population.running import Population

DAYS = np.array([1.0, 3, 7, 14, 21, 28])


def table_of(n=20, seed=3, *, between_k=0.03):
    """Lines of n patients whose level follows the dose and whose loss follows nothing."""
    rng = np.random.default_rng(seed)
    doses = np.resize([1e5, 1e6, 1e7], n)
    ln_c = np.log(300.0) + 0.5 * np.log(doses / 1e6) + 0.6 * rng.normal(size=n)
    k = 0.1 + between_k * rng.normal(size=n)
    values = np.exp(ln_c[:, None] - k[:, None] * DAYS + 0.3 * rng.normal(size=(n, len(DAYS))))
    return pd.DataFrame(
        {
            "subject": np.repeat([f"P{i + 1:02d}" for i in range(n)], len(DAYS)),
            "day": np.tile(DAYS, n),
            "copies_per_ug": [f"<{5:g}" if value < 5 else f"{value:.6g}" for value in values.ravel()],
            "dose": np.repeat(doses, len(DAYS)),
            "cohort": np.repeat(np.resize(["low", "mid", "high"], n), len(DAYS)),
            "SIMULATED": 1,
            "age": np.repeat(np.resize([40, 52, 61, 38, 70], n), len(DAYS)),
        }
    )


@pytest.fixture(scope="module")
def study():
    return ck.read_study(table_of(), lloq=5.0)


@pytest.fixture(scope="module")
def fit(study):
    return ck.fit_population(populations.line(), study, covariates={"c": "dose"}, progress=False)


def test_the_table_has_a_row_for_each_thing_estimated(fit):
    table = fit.parameters
    assert list(table.index) == ["c", "c:dose", "k", "sd between c", "sd between k", "sd"]
    kinds = ["mean", "coefficient", "mean", "sd between", "sd between", "sd"]
    assert table["kind"].tolist() == kinds
    assert table["status"].tolist() == ["free"] * 6
    assert table.loc["c", "unit"] == "copies/ug"
    assert table.loc["c", "source"] == "estimated at a dose of 8.91e5"  # 10^5.95
    assert table.loc["c", "value"] == pytest.approx(np.exp(table.loc["c", "estimate"]))
    ends = np.log(table.loc["c", ["lower", "upper"]].to_numpy(float))
    assert ends == pytest.approx(
        table.loc["c", "estimate"] + 1.96 * np.array([-1, 1]) * table.loc["c", "estimate_stderr"], abs=1e-4
    )
    assert (table["lower"] < table["value"]).all()
    assert (table["value"] < table["upper"]).all()
    assert table.loc["c:dose", "value"] == pytest.approx(0.5, abs=3 * table.loc["c:dose", "stderr"])
    assert 0 < table.loc["sd between c", "shrinkage"] < 0.5
    assert (table["mc_error"] < 0.1 * table["estimate_stderr"]).all()


def test_what_is_written_into_its_tables_changes_nothing_of_it(fit):
    summary, said = fit.summary(), fit.parameters.loc["c", "value"]
    for name in ("parameters", "individuals", "trace", "covariance"):
        table = getattr(fit, name)
        table.loc[:, table.select_dtypes("number").columns] = 99.0
        assert (getattr(fit, name).select_dtypes("number").to_numpy() != 99.0).any()
    assert fit.summary() == summary
    assert fit.parameters.loc["c", "value"] == said


def test_shrinkage_of_residuals_and_the_condition_number_are_as_by_hand(fit):
    own = fit.residuals
    z = own.loc[own["status"] == "quantified", "residual"]
    # Modes there, expected curves here: the same where all is nearly linear.
    assert fit.parameters.loc["sd", "shrinkage"] == pytest.approx(1 - np.std(z), abs=0.02)
    assert 0 < fit.residual_shrinkage["copies_per_ug"] < 0.3
    values = np.linalg.eigvalsh(fit.covariance / np.sqrt(np.outer(np.diag(fit.covariance), np.diag(fit.covariance))))
    assert fit.condition_number == pytest.approx(values[-1] / values[0])
    assert f"condition number {fit.condition_number:.3g}" in fit.summary()


def test_priors_of_spreads_and_sds_are_maximised_with_the_likelihood(study):
    """Two ways to the same maximum, far from that of the likelihood alone."""
    prior = {"sd between c": ck.LogNormal(1.5, 0.1), "sd": ck.LogNormal(0.2, 0.05), "c": ck.LogNormal(300.0, 0.2)}
    asked = {"covariates": {"c": "dose"}, "prior": prior, "progress": False}
    sampled = ck.fit_population(populations.line(), study, **asked)
    quick = ck.fit_population(populations.line(), study, method="focei", **asked)
    one, other = sampled.parameters, quick.parameters
    assert sampled.outcome == quick.outcome == "converged"
    apart = (one["estimate"] - other["estimate"]) / one["estimate_stderr"]
    assert apart.abs().max() < 0.1
    assert one["estimate_stderr"].to_numpy(float) == pytest.approx(other["estimate_stderr"].to_numpy(float), rel=0.1)
    assert one.loc["sd between c", "value"] == pytest.approx(1.3, abs=0.05)
    assert "with the prior LogNormal(median=0.2, sd=0.05)" in one.loc["sd", "source"]
    # The path came there by itself, before the last Newton steps.
    assert sampled.trace.iloc[-1]["sd between c"] == pytest.approx(one.loc["sd between c", "value"], rel=0.02)
    assert sampled.trace.iloc[-1]["sd"] == pytest.approx(one.loc["sd", "value"], rel=0.02)
    assert np.isnan(sampled.aic)


def test_its_likelihood_is_that_at_its_values(fit, study):
    value = fit.parameters["value"]
    again = ck.population_log_likelihood(
        populations.line(), study, mean={"c": value["c"], "k": value["k"]},
        between={"c": value["sd between c"], "k": value["sd between k"]}, sd=value["sd"],
        coefficients={("c", "dose"): value["c:dose"]}, seed=5,
    )  # fmt: skip
    assert abs(again.value - fit.log_likelihood_ln) < 3 * np.hypot(again.error, fit.log_likelihood_error)


def test_criteria_count_patients_for_what_varies_and_samples_for_the_rest(fit):
    assert fit.n_free == 6
    assert fit.n == 20 * len(DAYS)
    assert fit.aic == pytest.approx(12 - 2 * fit.log_likelihood)
    assert fit.bicc == pytest.approx(5 * np.log(20) + np.log(fit.n) - 2 * fit.log_likelihood)


def test_another_seed_ends_within_a_tenth_of_a_standard_error(fit, study):
    other = ck.fit_population(populations.line(), study, covariates={"c": "dose"}, progress=False, seed=7)
    apart = (other.parameters["estimate"] - fit.parameters["estimate"]) / fit.parameters["estimate_stderr"]
    assert apart.abs().max() < 0.1


def test_without_the_dose_it_is_worse_by_a_likelihood_ratio(fit):
    smaller = fit.without("c:dose")
    assert list(smaller.parameters.index) == ["c", "k", "sd between c", "sd between k", "sd"]
    assert smaller.parameters.loc["sd between c", "value"] > fit.parameters.loc["sd between c", "value"]
    ratio = fit.likelihood_ratio(smaller)
    assert ratio["df"] == 1
    assert ratio["statistic"] > 5
    assert ratio["p"] < 0.05
    with pytest.raises(ck.ModelError, match="the second with fewer"):
        smaller.likelihood_ratio(fit)
    with pytest.raises(ck.ModelError, match=r"no coefficient 'k:dose'\. It has c:dose"):
        fit.without("k:dose")
    for part, given in (
        ("censoring", "half"),
        ("prior", {"sd between k": ck.LogNormal(0.1, 0.1)}),
        ("fixed", {"q": 1}),
    ):
        other = replace(smaller, request=replace(smaller.request, **{part: given}))
        held = part == "fixed"  # a parameter that the smaller one holds is nested
        if held:
            assert fit.likelihood_ratio(other)["df"] == 1
            other, given = smaller, replace(fit, request=replace(fit.request, fixed=given))
        with pytest.raises(ck.ModelError, match=f"asked with another {part}="):
            (given if held else fit).likelihood_ratio(other)


def test_a_patient_is_between_its_samples_and_the_population(fit):
    each = fit.individuals
    assert len(each) == 2 * 20
    assert list(each.columns) == ["subject", "parameter", "mode", "mean", "lower", "upper", "effect", "effect_sd"]
    # Linear in the parameters and next to no sample below the limit: mode and mean are the same.
    levels = each[each["parameter"] == "c"]
    assert np.log(levels["mode"]).to_numpy() == pytest.approx(np.log(levels["mean"]).to_numpy(), abs=0.1)
    one = fit["P01"]
    assert one.subject == "P01"
    assert one.outcome == "converged"
    assert one.sd == pytest.approx(fit.parameters.loc["sd", "value"])
    assert one.parameters.loc["c", "status"] == "free"
    assert one.parameters.loc["sd", "source"] == "population: one value for all"
    assert one.estimates["c"] == levels["mode"].iloc[0]
    assert len(fit.residuals) == fit.n
    # The mode is that of a fit with the population as its prior.
    alone = ck.fit(
        populations.line(), fit.study.select(subjects=["P01"]), fixed={"sd": one.sd}, prior=dict(one.request.prior)
    )  # fmt: skip
    assert alone.estimates["c"] == pytest.approx(one.estimates["c"], rel=1e-3)
    assert alone.estimates["k"] == pytest.approx(one.estimates["k"], rel=1e-3)


def test_its_prediction_is_the_curve_of_the_median_patient(fit):
    value = fit.parameters["value"]
    table = fit.predict([0.0, 7.0], covariates={"dose": 1e7})
    centre = float(fit.design.effects[1].centre)
    expected = value["c"] * (1e7 / centre) ** value["c:dose"] * np.exp(-value["k"] * np.array([0.0, 7.0]))
    assert table["copies_per_ug"].to_numpy() == pytest.approx(expected, rel=1e-6)
    spread = value["sd between c"]
    assert table["copies_per_ug_upper"][0] / table["copies_per_ug"][0] == pytest.approx(np.exp(1.645 * spread), rel=0.3)
    with pytest.raises(ck.ModelError, match="covariates: age drives nothing here; dose does"):
        fit.predict([0.0], covariates={"age": 50})


def test_its_summary_says_who_takes_part_and_how_it_ended(fit):
    text = fit.summary()
    for part in (
        "a population of 20 patients (simulated data)",
        "outcome   converged",
        "c:dose",
        "importance sampling",
    ):
        assert part in text
    assert repr(fit) == "<PopulationFit of 20 subjects, line, varying: c, k: converged>"
    assert list(fit.trace.columns[:3]) == ["c", "c:dose", "k"]


def test_of_a_model_made_in_memory_a_file_has_the_tables_and_with_the_model_all_else(fit, tmp_path):
    fit.save(tmp_path / "population.json")
    again, whole = ck.load(tmp_path / "population.json"), ck.load(tmp_path / "population.json", model=fit.model)
    for one in (again, whole):
        assert one.summary() == fit.summary()
        for name in ("parameters", "individuals", "trace"):
            pd.testing.assert_frame_equal(getattr(one, name), getattr(fit, name), check_exact=True)
    pd.testing.assert_frame_equal(whole.predict([1.0, 7.0]), fit.predict([1.0, 7.0]))
    with pytest.raises(ck.ModelError, match=r"nothing new can be computed. Give ck\.load\(path, model="):
        again.predict([1.0, 7.0])


def test_a_notebook_shows_what_was_estimated(fit):
    page = fit._repr_html_()
    assert fit.outcome in page
    assert f"{fit.parameters['shrinkage'].dropna().iloc[0]:.4g}" in page
    assert "design" not in dir(fit)


def test_everyone_with_a_sample_takes_part(study):
    table = table_of()
    alone = table[table["subject"].isin(["P01", "P02"])].groupby("subject").head(1)
    below = table[table["subject"] == "P03"].assign(copies_per_ug="<5")
    whole = pd.concat([alone, below, table[table["subject"] > "P03"]])
    patients = patients_of(Request.of(populations.line()), ck.read_study(whole, lloq=5.0), None)
    assert len(patients.subjects) == 20
    assert not patients.left_out
    data = patients.data(patients.method)
    assert data.rows.weight.sum(axis=1)[:4].tolist() == [1, 1, 6, 6]
    # A common sd has its gradient from every patient.
    assert np.all(data.moving == 1)


def test_doses_are_padded_to_the_longest(loss):
    events = {"1": [0], "2": [0, 3, 5], "3": [0]}
    rows = [(who, day, ".", "1e6") for who, days in events.items() for day in days]
    rows += [("1", 1, "300", "."), ("1", 7, "100", "."), ("2", 6, "400", "."), ("3", 2, "250", ".")]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT"]).sort_values(["ID", "TIME"])
    patients = patients_of(Request.of(loss), ck.read_study(frame), None)
    data = patients.data(patients.method)
    assert data.inputs.doses.times.shape == (3, 4)
    assert np.isinf(data.inputs.doses.times[0, 1:]).all()


def test_groups_are_differences_from_the_first_and_numbers_are_centred(study):
    found = ck.fit_population(
        populations.line(), study, random=["c"], covariates={"c": ["cohort", "age"]}, progress=False
    )  # fmt: skip
    table = found.parameters
    assert list(table.index) == ["c", "c:cohort mid", "c:cohort high", "c:age", "k", "sd between c", "sd"]
    assert table.loc["c:cohort high", "source"] == "estimated: difference from low"
    assert table.loc["c", "source"] == "estimated at cohort low, age 52.2"
    apart = table.loc["c:cohort high", "value"] - 0.5 * np.log(100.0)
    assert abs(apart) < 3 * table.loc["c:cohort high", "stderr"]
    # k has one value for all: its error is that of the samples alone.
    assert table.loc["k", "value"] == pytest.approx(0.1, abs=0.02)
    assert "for all   k" in found.summary()


def test_what_cannot_be_fitted_is_refused_with_the_remedy(study):
    line = populations.line()

    def refused(words, **asked):
        with pytest.raises(ck.ModelError, match=words):
            ck.fit_population(line, study, progress=False, **asked)

    refused(r"random: k is fixed\. Free are c", random=["k"], fixed={"k": 0.1})
    refused("has no parameter q", random=["q"])
    refused(r"covariates=\{'c': 'weight'\}: take one of", covariates={"c": "weight"})
    refused("correlated: k has no random effect", random=["c"], correlated=[("c", "k")])
    refused(r"correlated=\('c', 'k'\): give blocks of names, such as \[\('c', ...\)\]", correlated=("c", "k"))
    refused(r"covariates='dose' does not say of what\. Give \{parameter: covariate\}", covariates="dose")
    refused("has no parameter level", random="level")
    refused("covariates tell the same", covariates={"c": ["dose", "cohort"]})
    few = study.select(subjects=["P01", "P02", "P03"])
    with pytest.raises(ck.ModelError, match="2 random effects from 3 patients: give random= with at most 1 name"):
        ck.fit_population(line, few, progress=False)
    with pytest.raises(ck.ModelError, match="cohort is the same in all patients: it cannot drive c"):
        ck.fit_population(line, study.select(cohort="low"), covariates={"c": "cohort"}, progress=False)
    table = table_of()
    table["weight"] = np.where(table["subject"] == "P02", np.nan, 70.0 + np.arange(len(table)) // len(DAYS))
    with pytest.raises(ck.ModelError, match=r"no weight of P02, which drives c\. Give it, or leave the patient out"):
        ck.fit_population(line, ck.read_study(table, lloq=5.0), covariates={"c": "weight"}, progress=False)


def test_a_prior_of_what_has_none_is_refused(study):
    for prior, words in (
        ({"sd between c": ck.Normal(0.5, 0.1)}, r"an sd is positive\. Give ck\.LogNormal"),
        ({"sd between k": ck.LogNormal(0.5, 0.1)}, "prior of sd between k: it has no random effect"),
        ({"sd betwen c": ck.LogNormal(0.5, 0.1)}, "prior of sd betwen c: line has c, k, sd"),
    ):
        with pytest.raises(ck.ModelError, match=words):
            ck.fit_population(populations.line(), study, random=["c"], prior=prior, progress=False)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"method": "nuts"}, "method='nuts': take one of saem, laplace, focei, agq"),
        ({"prior": "published"}, "prior='published' is of one patient, whose population is known"),
    ],
)
def test_what_is_not_there_yet_says_so(study, asked, words):
    with pytest.raises(ValueError, match=words):
        ck.fit_population(populations.line(), study, progress=False, **asked)


def test_a_spread_that_is_nothing_is_said_by_a_comparison_at_0():
    study = ck.read_study(table_of(between_k=0.0), lloq=5.0)
    found = ck.fit_population(populations.line(), study, covariates={"c": "dose"}, progress=False)
    assert "between-patient sd of k cannot be told from 0 (log-likelihood at 0 differs by" in found.outcome
    assert "give random= without k" in found.outcome


def test_an_interrupt_gives_the_estimates_so_far_and_says_so(study, monkeypatch):
    run, calls = Population.run, []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(*given)

    monkeypatch.setattr(Population, "run", interrupted)
    found = ck.fit_population(populations.line(), study, covariates={"c": "dose"}, progress=False)
    assert found.status is ck.Status.INTERRUPTED
    assert found.outcome.startswith("interrupted: these are the estimates after 75 iterations")
    assert not found.converged
    assert np.isfinite(found.log_likelihood_ln)


@pytest.mark.parametrize("where", ["_polished", "like_zero"])
def test_an_interrupt_after_the_iterations_gives_the_estimates_too(where, fit, study, monkeypatch):
    module, calls = sys.modules["cellkinetics.population.fit"], []
    done = getattr(module, where)

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return done(*given)

    monkeypatch.setattr(module, where, interrupted)
    found = ck.fit_population(populations.line(), study, covariates={"c": "dose"}, progress=False)
    assert found.status is ck.Status.INTERRUPTED
    assert found.outcome.startswith("interrupted: these are the estimates after")
    assert np.isfinite(found.parameters.loc["c:dose", "stderr"])
    assert found.parameters.loc["c", "value"] == pytest.approx(fit.parameters.loc["c", "value"], rel=0.1)


def test_an_interrupt_of_the_likelihood_of_an_approximation_leaves_what_was_climbed(study, monkeypatch):
    sampled, calls = Population.sampled, []

    def interrupted(*given):
        calls.append(given[3])
        if len(calls) == 1:
            raise KeyboardInterrupt
        return sampled(*given)

    whole = ck.fit_population(populations.line(), study, method="laplace", progress=False)
    monkeypatch.setattr(Population, "sampled", interrupted)
    found = ck.fit_population(populations.line(), study, method="laplace", progress=False)
    assert calls[:2] == [2000, 200]
    assert found.status is ck.Status.INTERRUPTED
    assert found.log_likelihood_ln == pytest.approx(whole.log_likelihood_ln, abs=0.5)
    np.testing.assert_allclose(found.parameters["value"], whole.parameters["value"])


def test_uneven_weights_and_curves_that_were_not_solved_are_said_with_what_a_fit_can_be_given(fit):
    few = replace(fit.likelihood, smallest_ess=5.0, worst="P03")
    path = replace(fit.path, refused_each=np.full(len(fit.subjects), 0.03))
    words = text.outcome_of(path, fit.polished, few, {}).words
    assert "smallest effective sample 5 of 2,000: patient P03" in words
    assert "give random= with fewer names" in words
    assert "draws=" not in words
    assert "3% of proposed curves could not be solved; give a prior of the spreads" in words


def test_an_sd_of_the_error_that_is_nothing_and_a_single_spread_that_is_are_said():
    rng = np.random.default_rng(2020)
    ln_curves = np.log(300.0) + 0.5 * rng.normal(size=(12, 1)) - 0.1 * DAYS
    exact = populations.study_of(ln_curves, DAYS, 1e-7, rng)
    found = ck.fit_population(populations.line(), exact, random="c", fixed={"k": 0.1}, progress=False)
    assert found.status is ck.Status.SD_AT_BOUND
    assert found.outcome.startswith("sd at its lower bound: curves go through the samples")
    alike = populations.study_of(np.log(300.0) - 0.1 * np.tile(DAYS, (12, 1)), DAYS, 0.3, rng)
    found = ck.fit_population(populations.line(), alike, random="c", progress=False)
    assert "between-patient sd of c cannot be told from 0" in found.outcome
    assert "take ck.fit(model, study, shared=['c', 'k'])" in found.outcome


def test_the_study_again_has_its_limits_and_the_spread_of_the_population(fit, study):
    table = fit.simulate(40, seed=1)
    own = study.observations
    assert len(table) == 40 * len(own)
    assert table["subject"].head(len(own)).tolist() == own["subject"].tolist()
    assert table["day"].head(len(own)).tolist() == own["day"].tolist()
    below = table["status"] == "below"
    assert (table.loc[below, "upper"] == 5.0).all()
    assert below.mean() == pytest.approx((own["status"] == "below").mean(), abs=0.08)
    first = table[(table["day"] == 1.0) & (table["subject"].isin(["P02", "P05", "P08"]))]  # 1e6 cells/kg
    value = fit.parameters["value"]
    mean = np.log(value["c"]) + value["c:dose"] * np.log(1e6 / fit.design.effects[1].centre) - value["k"]
    sd = np.hypot(np.hypot(value["sd between c"], value["sd between k"]), value["sd"])
    ln_y = np.log(first["upper"])
    assert ln_y.mean() == pytest.approx(mean, abs=3 * sd / np.sqrt(len(first)))
    assert ln_y.std() == pytest.approx(sd, rel=0.2)


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_result(fit, study, monkeypatch, tmp_path):
    run, calls = Population._run, []

    def killed(*given):
        calls.append(1)
        if len(calls) == 6:
            raise SystemExit
        return run(*given)

    asked = {"covariates": {"c": "dose"}, "progress": False, "checkpoint": tmp_path / "kept"}
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(Population, "_run", killed)
        ck.fit_population(populations.line(), study, **asked)
    calls.clear()
    monkeypatch.setattr(Population, "_run", lambda *given: (calls.append(1), run(*given))[1])
    again = ck.fit_population(populations.line(), study, **asked)
    assert len(calls) == len(fit.trace) // 25 - 5
    pd.testing.assert_frame_equal(again.parameters, fit.parameters, check_exact=True)
    with pytest.raises(ValueError, match="is of another run: covariates is"):
        ck.fit_population(populations.line(), study, **(asked | {"covariates": {"k": "dose"}}))


def test_a_bootstrap_draws_patients_and_goes_on_from_its_checkpoint(fit, monkeypatch, tmp_path):
    asked = {"level": 0.5, "progress": False, "checkpoint": tmp_path / "kept"}
    found = fit.bootstrap(5, **asked)
    assert list(found.draws.columns) == list(fit.parameters.index)
    assert len(found.draws) + found.failed == 5
    # A refit is the maximum with each patient as often as it was drawn.
    counts = np.random.default_rng(2020).multinomial(20, np.full(20, 1 / 20), size=5).astype(float)
    sample = fit.polished.sample
    one = polish.polish(fit.population, fit.polished.theta, sample, counts[0])
    apart = (np.log(found.draws["c"].iloc[0]) - one.v[0]) / fit.parameters.loc["c", "estimate_stderr"]
    assert abs(apart) < 0.1
    at = polish.derivatives_at(fit.population, sample, fit.polished.v, counts[0])
    assert at.gradient == pytest.approx(counts[0] @ at.scores)
    ahead, behind = (
        polish.derivatives_at(fit.population, sample, fit.polished.v + d, counts[0]) for d in _sides(0, 1e-4, 6)
    )
    assert at.gradient[0] == pytest.approx((ahead.value - behind.value) / 2e-4, rel=1e-4)
    assert at.information[0] == pytest.approx(-(ahead.gradient - behind.gradient) / 2e-4, rel=1e-3, abs=0.05)
    monkeypatch.setattr(prediction, "polish", None)
    pd.testing.assert_frame_equal(fit.bootstrap(5, **asked).draws, found.draws)


def _sides(place, step, size):
    aside = np.zeros(size)
    aside[place] = step
    return aside, -aside


def test_ln_of_what_has_none_is_refused():
    table = table_of()
    table["vcn"] = np.where(table["subject"] == "P02", 0.0, 1.0 + np.arange(len(table)) // len(DAYS))
    table["lot"] = table["subject"].str[-1].map(lambda end: "A" if end < "5" else "B")
    study = ck.read_study(table, lloq=5.0)

    def refused(words, how):
        with pytest.raises(ck.ModelError, match=words):
            ck.fit_population(populations.line(), study, covariates={"c": how}, progress=False)

    refused(r"no vcn above 0 of P02, which drives c", "ln vcn")
    refused(r"lot is no number and has no ln\. Take 'lot'", "ln lot")
    refused(r"'ln ' or 'groups of ' before it\. Did you mean ln vcn\?", "ln vnc")
    refused(r"a dose is a number\. Take 'dose', or 'cohort'", "groups of dose")


def test_a_study_of_nothing_but_limits_has_no_population():
    table = pd.DataFrame(
        [{"subject": f"P{i}", "day": day, "copies_per_ug": "<5"} for i in range(12) for day in (1, 7, 14)]
    )
    with pytest.raises(ck.StudyError, match="no sample of 12 patients is quantified"):
        ck.fit_population(populations.line(), ck.read_study(table, lloq=5.0), progress=False)


def test_few_refits_say_that_they_make_no_interval(fit):
    few = fit.bootstrap(3, progress=False)
    assert few.note.startswith("no intervals: 3 refits") and "need at least 20" in few.note
    assert few.intervals["lower"].isna().all()
