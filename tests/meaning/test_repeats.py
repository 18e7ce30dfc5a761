"""More infusions than there are doses, however a table says so; and covariates that only look like marks."""

import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics import read_study


def given(name, cell, more=()):
    rows = [("1", 0, "", "1e6", "1", cell), ("1", 7, "5000", "", "0", ""), ("1", 28, "100", "", "0", ""), *more]
    return pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", "EVID", name]).astype("str")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("given over", "3 days"),
        ("AMTDUR", "3"),
        ("EXDOSFRQ", "QW x3"),
        ("frequency", "weekly x3"),
        ("dosing schedule", "every 2 weeks"),
        ("freq", "Q1W"),
        ("II", "7"),
        ("doses given", "3"),
        ("bags", "3"),
        ("infusions received", "2"),
        ("number of infusions", "2"),
    ],
)
def test_how_often_or_how_long_cells_were_given_is_refused(name, cell):
    assert f"ignore=[{name!r}]" in refusal(given(name, cell))
    assert len(read_study(given(name, cell), ignore=[name]).doses) == 1


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("given over", "30 min"),
        ("AMTDUR", "0.02"),
        ("EXDOSFRQ", "ONCE"),
        ("frequency", "once"),
        ("II", "0"),
        ("doses given", "1"),
        ("bags", "1"),
        ("frequency of visits", "weekly"),
        ("prior infusions", "3"),
    ],
)
def test_one_dose_at_once_passes(name, cell):
    assert len(silently(given(name, cell)).doses) == 1


def test_two_doses_that_stand_there_are_no_more_than_are_counted():
    more = [("1", 30, "", "1e6", "1", "2")]
    assert len(silently(given("doses given", "2", more)).doses) == 2


ROWS = [("A", 7, 5000), ("A", 28, 100), ("A", 40, 4000), ("A", 60, 100)]


def courses(name, cells):
    frame = pd.DataFrame(ROWS, columns=["subject", "day", "copies_per_ug"])
    return frame.assign(dose=1e6, **{name: list(cells)})


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("infusion", [1, 1, 2, 2]),
        ("DOSNUM", [1, 1, 2, 2]),
        ("dose_number", [1, 1, 1, 2]),
        ("reinfused", ["no", "no", "yes", "yes"]),
        ("retreated on", [30, 30, 30, 30]),
        ("re-dosed", ["", "", "day 30", "day 30"]),
    ],
)
def test_a_second_course_without_a_dose_is_refused(name, cells):
    assert "Give each infusion a row without a value, on its day" in refusal(courses(name, cells))


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("infusion", [1, 1, 1, 1]),
        ("infusion", [0, 1, 1, 1]),
        ("reinfused", ["no"] * 4),
        ("reinfusion planned", ["no", "no", "yes", "yes"]),
        ("sample_number", [1, 2, 3, 4]),
        ("infusion reaction", ["yes", "no", "no", "no"]),
    ],
)
def test_one_course_passes(name, cells):
    assert len(silently(courses(name, cells)).used) == 4


def test_a_second_course_with_its_dose_passes():
    frame = courses("infusion", [1, 1, 2, 2]).assign(dose=None)
    doses = pd.DataFrame({"subject": "A", "day": [0, 30], "dose": 1e6, "infusion": [1, 2]})
    assert len(silently(pd.concat([doses, frame]).sort_values("day")).doses) == 2


DECLINE = [(subject, day, value) for subject in "AB" for day, value in [(7, 5000), (14, 900), (28, 100), (60, 20)]]
HARMLESS = {
    "risk": ("high", "low"),
    "activity": ("high", "low"),
    "performance": ("good", "low"),
    "arm drawn": ("R", "L"),
    "ADA": ("positive", "negative"),
    "anti-CAR antibodies": ("positive", "negative"),
    "blood culture": ("positive", "negative"),
    "B-NHL PET": ("positive", "negative"),
    "cytokines": ("elevated", "undetectable"),
    "serum BCMA": ("12", "BLQ"),
    "spleen below costal margin": ("1", "0"),
    "liver below rib": ("no", "yes"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_findings_that_end_as_the_curve_declines_pass(name):
    first, second = HARMLESS[name]
    frame = pd.DataFrame(DECLINE, columns=["subject", "day", "copies_per_ug"]).assign(dose=1e6)
    assert len(silently(frame.assign(**{name: [first, first, second, second] * 2})).used) == 8


@pytest.mark.parametrize("name", ["result", "call", "qual", "pcr result flag"])
def test_the_same_words_under_a_heading_of_the_value_are_refused(name):
    frame = pd.DataFrame(DECLINE, columns=["subject", "day", "copies_per_ug"]).assign(dose=1e6)
    assert name in refusal(frame.assign(**{name: ["high", "high", "low", "low"] * 2}))


@pytest.mark.parametrize(("first", "second"), [("A.B.", "AB"), ("A B", "AB"), ("PO1", "P01"), ("A. B.", "a.b.")])
def test_one_patient_by_two_spellings_is_refused(first, second):
    frame = pd.DataFrame({"subject": [first, first, second], "day": [7, 14, 28], "copies_per_ug": [5, 6, 7]})
    assert "look like one patient" in refusal(frame)


@pytest.mark.parametrize(("first", "second"), [("AB", "AC"), ("CO1", "C1"), ("A 1", "B 1"), ("Ann B", "Anna B")])
def test_two_patients_stay_two(first, second):
    frame = pd.DataFrame({"subject": [first, first, second], "day": [7, 14, 28], "copies_per_ug": [5, 6, 7]})
    assert len(silently(frame).subjects) == 2
