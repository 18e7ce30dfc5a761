"""The example: eleven simulated patients, and what its header says was put in."""

import importlib.util
from pathlib import Path

import pytest

import cellkinetics as ck

FOLDER = Path(ck.__file__).parent / "_data"


@pytest.fixture(scope="module")
def study():
    return ck.example()


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_example", FOLDER / "make_example.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_its_script_makes(script):
    assert script.text() == (FOLDER / "example.csv").read_text(encoding="utf-8")


def test_the_file_says_in_its_first_line_that_it_is_simulated(study):
    assert (FOLDER / "example.csv").read_text().startswith("# Simulated data")
    assert study.simulated
    assert "simulated" in repr(study)


def test_doses_and_cohorts_are_those_of_the_study(study):
    doses = study.covariates["dose"].tolist()
    assert doses == [1e5] * 3 + [0.25e6] + [1e6] * 3 + [1e7] * 4
    assert study.covariates["cohort"].tolist() == ["1e5/kg"] * 3 + ["1e6/kg"] * 4 + ["1e7/kg"] * 4
    assert study.lloq == 3


def test_follow_up_is_between_three_and_twelve_months(study):
    last = study.observations.groupby("subject")["nominal_day"].max()
    assert last.min() >= 60
    assert last.max() == 365


def test_post_remission_therapy_cuts_five_curves(study):
    assert study.covariates["until"].notna().sum() == 5
    lifted = study.select(until=float("inf"))
    assert lifted.counts["quantified"] > study.counts["quantified"]


def test_medians_of_the_true_peaks_are_the_published_ones(script):
    import numpy as np

    truth = script.draw(np.random.default_rng(script.SEED))
    model = ck.models.load("il15_persistence")
    days = [day for day in script.NOMINAL_DAYS if 0 < day <= 28]
    peaks = [
        ck.simulate(model, {name: row[name] for name in script.VARIABILITY}, days, dose)["copies_per_ug"].max()
        for (_, row), dose in zip(truth.iterrows(), script.DOSES, strict=True)
    ]
    medians = truth.assign(peak=peaks).groupby("response")["peak"].median()
    assert medians["responder"] == pytest.approx(31744, rel=1e-4)
    assert medians["non-responder"] == pytest.approx(903, rel=1e-4)
