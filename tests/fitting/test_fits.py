"""`ck.fit_each`: every subject, an outcome for each; saved and read back."""

import inspect
import json
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting.table import quantile_of

STEIN = models.load("stein_2019_tisagenlecleucel")
REAL = Path(__file__).parents[3] / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the folder with real patients' curves is not here")


@pytest.fixture(scope="module")
def study():
    """One patient who can be fitted, one with three samples, one below the limit throughout."""
    days = [1, 3, 5, 7, 9, 12, 14, 21, 28, 60, 120, 300]
    curve = STEIN.solve(days)["copies_per_ug"] * np.exp(0.3 * np.random.default_rng(3).normal(size=12))
    rich = pd.DataFrame({"subject": "good", "day": days, "copies_per_ug": curve})
    few = pd.DataFrame({"subject": "few", "day": [7, 14, 21], "copies_per_ug": [3000.0, 20000.0, 900.0]})
    none = pd.DataFrame({"subject": "none", "day": [7, 14, 21, 28, 60, 90, 120], "copies_per_ug": 0.0})
    return ck.read_study(pd.concat([rich, few, none]), lloq=3)


@pytest.fixture(scope="module")
def fits(study):
    return ck.fit_each(STEIN, study, progress=False)


def test_tables_of_a_batch_have_each_patients_standard_errors_and_intervals(fits):
    for fit in (fits["good"], fits["few"]):
        table = fit.parameters
        for at, name in enumerate(fit.problem.free):
            if table.loc[name, "status"] == "at bound":
                continue
            parameter, se = fit.model.parameters[name], np.sqrt(fit.covariance[at, at])
            half = quantile_of(fit.problem, fit.spread, at) * se
            value = parameter.from_estimation(fit.x[at])
            ends = [parameter.from_estimation(fit.x[at] + side * half) for side in (-1, 1)]
            expected = [value, abs(parameter.slope(value)) * se, *ends]
            np.testing.assert_allclose(table.loc[name, ["value", "stderr", "lower", "upper"]].to_numpy(float), expected)
    assert fits["none"].parameters.loc["beta", ["status", "source"]].tolist() == ["not estimated"] * 2


def test_fits_are_a_mapping_in_the_order_of_the_study(fits, study):
    assert tuple(fits) == study.subjects == ("good", "few", "none")
    assert fits["good"].converged


def test_a_subject_who_cannot_be_fitted_does_not_cost_the_others_theirs(fits):
    outcomes = fits.outcomes["outcome"]
    assert outcomes["good"] == "converged"
    assert outcomes["few"].startswith("not identifiable: 3 samples for 6")
    assert outcomes["none"].startswith("no quantified sample: all 7")


def test_a_fit_among_others_is_the_fit_alone(fits, study):
    alone = ck.fit(STEIN, study.select("good"))
    pd.testing.assert_frame_equal(alone.parameters, fits["good"].parameters)


def test_parameters_are_one_long_table(fits):
    table = fits.parameters
    assert list(table)[:3] == ["subject", "parameter", "value"]
    assert len(table) == 3 * 7


def test_an_unknown_subject_is_suggested(fits):
    with pytest.raises(KeyError, match="Did you mean good"):
        fits["goood"]


def test_the_summary_counts_and_names_who_needs_a_look(fits):
    text = fits.summary()
    assert "1 converged, 2 need a look" in text
    assert "few: not identifiable" in text
    assert "15 quantified, 7 censored, 0 excluded" in text


def test_a_subject_without_a_dose_is_an_outcome_when_others_have_one():
    rows = {
        "subject": ["A"] * 4 + ["B"] * 4,
        "day": [1, 2, 3, 5] * 2,
        "copies_per_ug": [90.0, 20, 8, 5] * 2,
        "dose": [1e6] * 4 + [None] * 4,
    }
    fits = ck.fit_each(models.load("nk_decline"), ck.read_study(pd.DataFrame(rows)), progress=False)
    assert fits["B"].outcome.startswith("no dose: nk_decline takes cells")
    assert fits["A"].fitted


def test_a_subject_with_one_sample_is_told_that_it_determines_nothing():
    table = pd.DataFrame({"subject": "A", "day": [7], "copies_per_ug": ["80"], "dose": 1e6})
    one = ck.fit_each(models.load("nk_decline"), ck.read_study(table, lloq=3), starts=1, progress=False)["A"]
    assert one.outcome.startswith("not identifiable: 1 sample for 4 free parameters")


def test_what_goes_wrong_for_one_subject_is_its_outcome(study):
    def guess(days, values):
        if len(days) == 3:
            raise ValueError("no peak to be seen")
        return {}

    fits = ck.fit_each(replace(STEIN, initial=guess), study.select(["few", "good"]), progress=False)
    assert fits["few"].outcome == "not fitted: no peak to be seen"
    assert fits["good"].fitted


def test_what_was_fixed_for_some_is_not_said_of_all():
    model = models.load("il15_persistence")
    text = ck.fit_each(model, ck.example().select(["P01", "P05"]), progress=False).summary()
    assert "N 150 for 1 of 2 subjects" in " ".join(text.split())


def test_a_model_file_that_changed_since_is_named_when_its_fit_is_loaded(study, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(Path(inspect.getfile(models.load("nk_decline").curve)).with_name(f"{STEIN.name}.py").read_text())
    fit = ck.fit(ck.load_model(path), study.select("good"), free=["c_max"])
    fit.save(tmp_path / "x.json")
    path.write_text(path.read_text() + "\n# another version\n")
    with pytest.warns(UserWarning, match="has changed since this fit"):
        ck.load(tmp_path / "x.json", model=ck.load_model(path))


def test_a_missing_cohort_stays_missing_when_saved(tmp_path):
    rows = pd.DataFrame({"subject": ["A", "B"], "day": 1.0, "copies_per_ug": 5.0, "cohort": ["low", None]})
    fits = ck.fit_each(STEIN, ck.read_study(rows), progress=False)
    fits.save(tmp_path / "x.json")
    assert ck.load(tmp_path / "x.json").study.covariates["cohort"].isna().tolist() == [False, True]


def test_the_bar_goes_to_the_error_stream_and_leaves_the_output_clean(study, capsys):
    ck.fit_each(STEIN, study.select("few"), progress=True)
    assert capsys.readouterr().out == ""


def test_saved_fits_come_back_as_they_were(fits, tmp_path):
    fits.save(tmp_path / "fits.json")
    again = ck.load(tmp_path / "fits.json")
    pd.testing.assert_frame_equal(again.parameters, fits.parameters)
    pd.testing.assert_frame_equal(again.outcomes, fits.outcomes)
    pd.testing.assert_frame_equal(again.predict([10.0, 60.0]), fits.predict([10.0, 60.0]), rtol=1e-12)
    assert [path.name for path in tmp_path.iterdir()] == ["fits.json"]


def test_a_saved_single_fit_comes_back_as_a_fit_with_its_tie_as_a_value(study, tmp_path):
    fit = ck.fit(STEIN, study.select("good"), tie={"beta": lambda alpha: alpha / 50})
    fit.save(tmp_path / "one.json")
    again = ck.load(tmp_path / "one.json")
    assert isinstance(again, ck.Fit)
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    pd.testing.assert_frame_equal(
        again.predict([60.0])[["copies_per_ug"]], fit.predict([60.0])[["copies_per_ug"]], rtol=1e-12
    )


def test_saved_fits_are_json_without_nan(fits, tmp_path):
    fits.save(tmp_path / "fits.json")
    content = json.loads((tmp_path / "fits.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["version"] == 2


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "not json", '{"format": "cellkinetics fits", "version": 99}'])
def test_another_file_is_refused_with_the_remedy(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ck.StudyError, match=r"x\.json"):
        ck.load(tmp_path / "x.json")


@needs_real
def test_three_weekly_samples_of_real_children_end_as_not_identifiable():
    study = ck.read_study(REAL / "sjcar19_weekly.csv")
    for name in ("il15_persistence", "stein_2019_tisagenlecleucel"):
        fits = ck.fit_each(models.load(name), study, progress=False)
        assert fits.outcomes["outcome"].str.startswith("not identifiable: 3 samples for").all()
        assert (
            fits.parameters.query("parameter in @names", local_dict={"names": ["rho", "r", "alpha"]})["value"]
            .isna()
            .sum()
            >= 14
        )


@needs_real
def test_real_patients_in_remission_are_fitted_or_say_why_not():
    with pytest.warns(ck.StudyWarning) as said:
        study = ck.read_study(REAL / "b_all_remission.csv", unit="cells/uL")
    texts = " ".join(str(each.message) for each in said)
    assert len(said) == 2
    assert "16 of 127 values of output 1 are 0.2" in texts and "19 of 56 values of output 2" in texts
    fits = ck.fit_each(STEIN, study, progress=False)
    assert len(fits) == 14
    zeros = study.observations.query("output == '1' and day == 0")
    assert len(zeros) == 14
    assert (zeros["excluded"] == "pre-dose").all()
    ended = {fit.status for fit in fits.values()}
    assert ended <= {"converged", "not identifiable", "at bound", "sd at bound"}
    assert (
        fits.outcomes["outcome"].str.match(r"(.* )?(converged|not identifiable: |.* at its (lower|upper) bound)").all()
    )
    # Ten samples over 99 days tell the peak of patient 1, whatever they say of the late decline.
    peak = fits["1"].parameters.loc[["t_max", "c_max"]]
    assert (peak["status"] == "free").all()
    assert peak.loc["t_max", "lower"] > 5
    assert peak.loc["t_max", "upper"] < 20
    assert peak.loc["c_max", "unit"] == "cells/uL"
    quantified = fits.outcomes["n_quantified"]
    assert (fits.outcomes.loc[quantified < 6, "outcome"].str.startswith("not identifiable")).all()


def test_intervals_of_nobody_fitted_are_a_table_without_rows(fits):
    nobody = type(fits)(fits.study.select(subjects=["none"]), {"none": fits["none"]})
    assert list(nobody.intervals("profile")) == ["subject", "parameter", "value", "lower", "upper"]
    assert not len(nobody.intervals("profile"))


def test_free_parameters_that_a_function_takes_from_the_values_are_each_patients_own():
    """A user's function may look at the samples, which patients of one design do not share."""

    def free(study):
        return ("A", "k", "B") if study.used["value"].min() < 100 else ("A", "k")

    parameters = {
        "A": ck.Parameter(1e4, "copies/ug", "assumption"),
        "k": ck.Parameter(0.1, "1/day", "assumption"),
        "B": ck.Parameter(10.0, "copies/ug", "assumption"),
    }
    model = ck.Model(
        name="two_levels", reference="simulated", parameters=parameters, outputs={"copies_per_ug": "copies/ug"},
        curve=lambda t, A, k, B: A * jnp.exp(-k * t) + B, free=free,
    )  # fmt: skip
    days, rng = np.array([1, 3, 7, 10, 14, 21, 28, 60, 90.0]), np.random.default_rng(0)
    table = pd.concat(
        pd.DataFrame({
            "subject": subject, "day": days,
            "copies_per_ug": (1e4 * np.exp(-0.15 * days) + level) * np.exp(0.1 * rng.normal(size=len(days))),
        })
        for subject, level in (("high", 1000.0), ("low", 5.0), ("high too", 1000.0))
    )  # fmt: skip
    study = ck.read_study(table, lloq=1.0)
    together = ck.fit_each(model, study)
    for subject, names in (("high", ["A", "k"]), ("low", ["A", "k", "B"]), ("high too", ["A", "k"])):
        alone = ck.fit(model, study.select(subject))
        assert [name for name in parameters if together[subject].parameters["status"][name] != "fixed"] == names
        assert together[subject].log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-9)
