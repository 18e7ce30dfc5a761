"""Population fits in files, on a model of the library and simulated patients."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models

DAYS = np.array([1.0, 3, 7, 14, 28])
MODEL = models.load("nk_decline")


@pytest.fixture(scope="module")
def fit():
    rng, rows = np.random.default_rng(2020), []
    names = MODEL.parameters
    for i in range(10):
        dose = [1e5, 1e6, 1e7][i % 3]
        values = {name: one.value for name, one in names.items()}
        first = next(iter(names))
        values[first] *= float(np.exp(0.5 * rng.normal()))
        copies = np.asarray(MODEL.solve(DAYS, values, dose)["copies_per_ug"]) * np.exp(0.3 * rng.normal(size=len(DAYS)))
        text = [f"<{3:g}" if value < 3 else f"{value:.6g}" for value in copies]
        rows.append(pd.DataFrame({"subject": f"P{i:02d}", "day": DAYS, "copies_per_ug": text, "dose": dose}))
    study = ck.read_study(pd.concat(rows), lloq=3.0)
    first = next(iter(names))
    return ck.fit_population(
        MODEL, study, free=[first], covariates={first: "dose"}, prior={first: ck.LogNormal(names[first].value, 2.0)},
        progress=False,
    )  # fmt: skip


def test_what_is_saved_comes_back_to_the_last_bit(fit, tmp_path):
    fit.save(tmp_path / "population.json")
    again = ck.load(tmp_path / "population.json")
    assert isinstance(again, ck.PopulationFit)
    assert again.summary() == fit.summary()
    for name in ("parameters", "individuals", "trace", "covariance", "sandwich", "residuals"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(fit, name), check_exact=True)
    for name in ("log_likelihood_ln", "log_likelihood_error", "aic", "bicc", "outcome", "status", "shrinkage"):
        assert np.array_equal(getattr(again, name), getattr(fit, name), equal_nan=name in ("aic", "bicc"))
    assert again.asked["covariates"] == fit.asked["covariates"]
    asked = {"doses": 1e6, "covariates": {"dose": 1e6}}
    pd.testing.assert_frame_equal(again.predict([1, 7], **asked), fit.predict([1, 7], **asked))
    assert again["P03"].estimates == fit["P03"].estimates
    # What is saved of it again is the same text but for when it was written.
    again.save(tmp_path / "again.json")
    files = [tmp_path / name for name in ("population.json", "again.json")]
    once, twice = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    assert once["content"] == twice["content"]
    with pytest.raises(ck.ModelError, match="chains are not kept in files"):
        _ = again.path.theta


def test_an_approximation_comes_back_with_the_integral_beside_it(fit, tmp_path):
    beside = replace(fit.likelihood, value=-1.5, error=0.0, smallest_ess=np.nan, method="focei", exact=fit.likelihood)
    own = replace(fit, approximation=beside, asked={**fit.asked, "method": "focei", "nodes": 3})
    own.save(tmp_path / "population.json")
    again = ck.load(tmp_path / "population.json")
    assert again.summary() == own.summary()
    assert again.approximation.value == -1.5
    assert again.approximation.exact is again.likelihood
    assert (again.asked["method"], again.asked["nodes"]) == ("focei", 3)


def test_a_population_from_a_file_is_checked_and_forecasts_as_the_one_that_was_saved(fit, tmp_path):
    fit.save(tmp_path / "population.json")
    again, patient = ck.load(tmp_path / "population.json"), fit.study.select("P03", until=7)
    for result, same in (
        (fit.vpc(replicates=30), again.vpc(replicates=30)),
        (fit.npde(replicates=100, imputations=2), again.npde(replicates=100, imputations=2)),
        (fit.forecast(patient, [28], draws=500), again.forecast(patient, [28], draws=500)),
    ):
        pd.testing.assert_frame_equal(same.table, result.table, check_exact=True)
        result.save(tmp_path / "result.json")
        loaded = ck.load(tmp_path / "result.json")
        assert loaded.summary() == result.summary()
        pd.testing.assert_frame_equal(loaded.table, result.table, check_exact=True)
    pd.testing.assert_frame_equal(again.influence(), fit.influence(), check_exact=True)


def test_a_file_that_was_changed_is_refused(fit, tmp_path):
    file = tmp_path / "population.json"
    ck.save(fit, file)
    file.write_text(file.read_text(encoding="utf-8").replace('"P03"', '"P99"', 1), encoding="utf-8")
    with pytest.raises(ck.StudyError):
        ck.load(file)


def test_a_population_says_how_long_its_phases_took(fit):
    assert {"preparing", "iterations", "polish", "likelihood", "compiling"} <= set(fit.timings)
    parts = sum(seconds for phase, seconds in fit.timings.items() if phase != "compiling")
    assert 0.5 * fit.seconds < parts <= fit.seconds
