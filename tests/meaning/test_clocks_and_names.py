"""Days that go back in the file, names and headings that spreadsheets change, weights, and limits beside a header."""

import numpy as np
import pandas as pd
import pytest
from told import silently

from cellkinetics import StudyError, StudyWarning, read_study
from cellkinetics.cli.app import app
from cellkinetics.cli.remedies import as_options
from cellkinetics.meaning.floors import likely


def course(*days, name="A", **columns):
    return pd.DataFrame({"ID": name, "TIME": days, "DV": np.geomspace(9000, 11, len(days)).round(1)} | columns)


@pytest.mark.parametrize("columns", [{}, {"phase": ["1st"] * 4 + ["relapse"] * 3}])
def test_days_that_go_back_once_are_named_in_a_warning_and_in_the_summary(columns):
    frame = course(8, 15, 29, 61, 2, 11, 22, **columns)
    with pytest.warns(StudyWarning, match=r"days of A go back once .* from 61 to 2 in row 6") as caught:
        study = read_study(frame)
    assert len(caught) == 1
    assert len(study.used) == 7
    assert "go back once" in study.summary().replace("\n", " ")


def test_of_several_patients_the_first_are_named():
    blocks = [course(8, 15, 29, 2, 11, 22, name=name) for name in "ABCDE"]
    with pytest.warns(StudyWarning, match="days of A, B, C and 2 more go back once"):
        read_study(pd.concat(blocks))


@pytest.mark.parametrize(
    "days",
    [(60, 7, 28, 14, 3, 90, 10, 21), (90, 60, 28, 14, 7, 3), (7, 14, 28, 60, 3), (3, 7, 14, 28, 60, 10, 21)],
)
def test_rows_that_are_only_unsorted_pass_without_a_word(days):
    assert len(silently(course(*days)).used) == len(days)


def test_a_second_infusion_says_why_the_days_go_back():
    frame = pd.concat([course(40, 47, 60, 3, 10, 21), course(0, 35).assign(DV="", AMT="1e6")])
    assert len(silently(frame.astype("str").replace("nan", "")).doses) == 2


def test_a_lowest_value_that_is_a_third_of_all_is_named_although_another_stands_there_twice():
    values = [80.0, 3100, 640, 80, 11, 4, 4, 4, 4]
    assert [each.number for each in likely(np.array(values))] == [4]
    assert not likely(np.array([80.0, 3100, 640, 80, 11, 4, 5, 6, 4]))


@pytest.mark.parametrize(("first", "second"), [("2e5", "200000"), ("1.5e3", "1500"), ("1E+2", "100")])
def test_a_number_and_what_a_spreadsheet_makes_of_it_are_one_patient(first, second):
    frame = pd.DataFrame({"ID": [first, second], "TIME": [7, 14], "DV": [500, 60]})
    with pytest.raises(StudyError, match="look like one patient"):
        read_study(frame)


@pytest.mark.parametrize("names", [("d14", "d14.1", "d28"), ("Day 7", "Day 28", "Day 28.2", "Day 28.1")])
def test_a_second_column_of_a_day_as_pandas_names_it_is_no_day_of_its_own(names):
    frame = pd.DataFrame([["A", *range(50, 50 + len(names))]], columns=["ID", *names])
    with pytest.raises(StudyError, match="is named as a second column"):
        read_study(frame)
    assert read_study(frame[["ID"]].assign(d7=5, d9=4.0)).used["day"].tolist() == [7, 9]


def test_a_limit_beside_the_header_is_quoted():
    frame = course(7, 14, 28).assign(**{"LLOQ": "", "50": ""})
    with pytest.warns(StudyWarning, match="speaks of a limit and is not read: 'LLOQ 50'"):
        assert "50" not in read_study(frame).observations
    assert silently(frame, lloq=50).lloq == 50


@pytest.mark.parametrize("name", ["BWTKG", "weight baseline (kg)", "Gewicht in kg", "poids corporel", "Peso", "WT_BL"])
def test_a_weight_by_another_name_divides_the_cells(name):
    study = silently(course(7, 14).assign(dose="6e7", **{name: "60"}), dose_unit="cells")
    assert (study.dose_unit, study.doses["amount"].tolist()) == ("cells/kg", [1e6])


@pytest.mark.parametrize("name", ["WT_LB", "weight (pounds)", "body weight (g)"])
def test_a_weight_in_another_unit_is_refused_where_doses_are_in_cells(name):
    frame = course(7, 14).assign(dose="6e7", **{name: "130"})
    with pytest.raises(StudyError, match="doses are in cells and the weight"):
        read_study(frame, dose_unit="cells")
    assert silently(frame, dose_unit="cells", ignore=[name]).dose_unit == "cells"
    assert silently(frame).dose_unit == "cells/kg"


@pytest.mark.parametrize("name", ["birth weight", "weight loss", "weight class"])
def test_what_is_no_weight_divides_nothing(name):
    assert silently(course(7, 14).assign(dose="6e7", **{name: "60"}), dose_unit="cells").dose_unit == "cells"


def test_the_remedies_of_check_are_options_of_the_command_line(tmp_path, capsys):
    table = tmp_path / "t.csv"
    course(7, 14).assign(dose="6e7", **{"Dose as": "10^6 cells", "my mark": "BLQ"}).to_csv(table, index=False)
    assert app(["check", str(table)], result_action="return_value") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "read_study" not in shown
    assert "--ignore" in shown


def test_a_remedy_of_python_has_the_same_words_on_the_command_line():
    said = "Give read_study(..., dose_unit='cells', columns={'dose': 'x (y)'}), or ignore=['x (y)'] when it is none."
    assert as_options(said) == "Give --dose-unit cells --columns 'dose=x (y)', or --ignore 'x (y)' when it is none."


def test_options_with_numbers_or_none_are_options_too():
    said = "if it stands for no value, give missing=[-9], floor=0.2, with lloq= where it is 3; day=7 is none"
    assert (
        as_options(said)
        == "if it stands for no value, give --missing -9, --floor 0.2, with --lloq where it is 3; day=7 is none"
    )
    assert as_options("Give the column lloq, or read_study(..., lloq=...).") == "Give the column lloq, or --lloq ...."
