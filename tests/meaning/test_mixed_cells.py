"""One cell with a unit, samples below the limit on day 0, one 999: what is said of a few values and not of all."""

import numpy as np
import pandas as pd
import pytest
from told import refusal, silently, warned


def course(*cells, days=(7, 14, 28, 60), **columns):
    return pd.DataFrame({"ID": "A", "TIME": [str(day) for day in days], "DV": list(cells)} | columns)


@pytest.mark.parametrize("cell", ["500 copies/mL", "<500 cells/uL", "5 %", "500 copies", "12 copies/100 ng"])
def test_a_unit_of_one_cell_is_not_proposed_for_the_bare_others(cell):
    said = refusal(course("5000", cell, "80", "9"), lloq=3)
    assert "and 3 others have none" in said
    assert "unit=" not in said


def test_a_unit_of_all_cells_is_proposed_and_read():
    frame = course("5000 copies/mL", "500 copies/mL", "80 copies/mL", "9 copies/mL")
    assert "unit='copies/mL'" in refusal(frame)
    assert silently(frame, unit="copies/mL").used["value"].tolist() == [5000, 500, 80, 9]


def test_a_bare_number_is_in_the_unit_of_the_study():
    assert silently(course("5000", "500 copies/ug", "80", "9")).unit == "copies/ug"
    assert silently(course("5000", "500 copies/mL", "80", "9"), unit="copies/mL").unit == "copies/mL"


@pytest.mark.parametrize("units", [["", "copies/mL", "", ""], ["cells/uL", "cells/uL", "", ""], ["", "", "", "GE/mL"]])
def test_a_column_of_units_that_is_empty_for_some_values_says_nothing_of_them(units):
    said = refusal(course("5000", "500", "80", "9", unit=units))
    assert "Say the unit of each value" in said


@pytest.mark.parametrize(
    ("cells", "units"),
    [
        (["5000", "500", "80", "9"], ["", "copies/ug", "", ""]),
        (["5000", "500", "", "9"], ["cells/uL", "cells/uL", "", "cells/uL"]),
        (["5000", "500", "80", "9"], ["copies/mL"] * 4),
    ],
)
def test_a_column_of_units_that_says_that_of_the_study_or_of_all_values_is_read(cells, units):
    silently(course(*cells, unit=units))


BELOW = {
    "<3": course("<3", "500", "80", days=(0, 7, 28), lloq="3"),
    "BLQ": course("BLQ", "500", "80", days=(0, 7, 28), lloq="3"),
    "below its limit": course("1.2", "500", "80", days=(0, 7, 28), lloq="3"),
    "CENS": course("3", "500", "80", days=(0, 7, 28), CENS=["1", "0", "0"]),
}


@pytest.mark.parametrize("name", BELOW)
def test_a_sample_below_the_limit_on_day_0_of_a_table_without_a_dose_is_named(name):
    said = warned(BELOW[name])
    assert "1 sample below the limit on day 0 is taken as drawn before the infusion and not used (row 2)" in said
    after = silently(BELOW[name].assign(postdose=["1", "", ""]))
    assert after.used["day"].tolist() == [0, 7, 28]
    before = silently(BELOW[name].assign(postdose=["0", "", ""]))
    assert before.used["day"].tolist() == [7, 28]


@pytest.mark.parametrize(
    "frame",
    [
        course("0", "500", "80", days=(0, 7, 28), lloq="3"),
        course("900", "500", "80", days=(0, 7, 28), lloq="3"),
        course("<3", "500", "80", days=(0, 7, 28), dose="1e6"),
        course("", "<3", "500", "80", days=(0, 0, 7, 28), lloq="3", dose=["1e6", "", "", ""]),
        course("<3", "500", "80", days=(-1, 7, 28)),
    ],
    ids=["a plain 0", "seen", "a dose on all rows", "a dose before", "the day before"],
)
def test_of_other_samples_about_the_infusion_nothing_is_said(frame):
    silently(frame)


def curve(number, at):
    """31 values of three patients who fall from 5,000 to 5 in 30 days, with one number in the place of another."""
    days = np.arange(31)
    values = [f"{value:.4g}" for value in 5000 * 10 ** (-days / 10)]
    values[at] = number
    return pd.DataFrame({"ID": days % 3, "TIME": days + 1, "DV": values}).astype("str")


@pytest.mark.parametrize("number", ["999", "888", "777"])
@pytest.mark.parametrize("at", [16, 20, 30])
def test_one_code_of_three_digits_far_above_its_neighbours_is_named(number, at):
    assert f"missing=[{number}]" in warned(curve(number, at))


@pytest.mark.parametrize(("number", "at"), [("999", 7), ("888", 8), ("777", 9), ("998", 20), ("999", 0), ("99", 18)])
def test_one_code_of_three_digits_in_its_place_or_another_number_is_a_value(number, at):
    assert len(silently(curve(number, at)).used) == 31
