"""Profiles of all patients of a study in one call."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models

DECLINE = models.load("nk_decline")


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(DECLINE, ck.example().select(subjects=["P05", "P06", "P07"]), starts=2, progress=False)


@pytest.fixture(scope="module")
def profiles(fits):
    return fits.profile(["alpha", "beta"])


def test_each_is_the_profile_of_that_patient(fits, profiles):
    assert list(profiles) == list(fits)
    alone = fits["P06"].profile(["alpha", "beta"])
    pd.testing.assert_frame_equal(profiles["P06"].intervals, alone.intervals, rtol=1e-5)


def test_the_long_table_has_a_row_a_patient_and_parameter(profiles):
    table = profiles.intervals
    assert list(table.columns[:5]) == ["subject", "parameter", "value", "lower", "upper"]
    assert len(table) == 6
    assert set(profiles.table["subject"]) == set(profiles)
    known = table.dropna()
    assert (known["lower"] < known["value"]).all()


def test_patients_without_a_fit_are_left_out_and_unknown_names_refused(fits):
    nothing = pd.DataFrame({"subject": "S", "day": [1.0], "copies_per_ug": ["<3"], "lloq": 3.0, "dose": 1e6})
    empty = ck.fit_each(DECLINE, ck.read_study(nothing), progress=False).profile()
    assert len(empty) == 0
    assert empty.intervals.empty
    with pytest.raises(ValueError, match=r"alhpa is free in no fit; .* Did you mean alpha"):
        fits.profile(["alhpa"])


def test_the_plot_has_a_row_a_patient_with_its_estimate(profiles):
    ax = profiles.plot("alpha")
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert sorted(labels) == ["P05", "P06", "P07"]
    points = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    values = profiles.intervals.set_index(["subject", "parameter"])["value"]
    np.testing.assert_allclose(points, [values[name, "alpha"] for name in labels])
    assert ax.get_xscale() == "log"
    with pytest.raises(ValueError, match="F has no profile"):
        profiles.plot("F")
