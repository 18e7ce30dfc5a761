import pickle

import pandas as pd
import pytest

from cellkinetics.errors import Finding, ModelError, StudyError, suggest

LIMIT = Finding(17, "4", 180.0, "copies is '<3' and no limit is known", "Give the column lloq.")
FILE = Finding(None, None, None, "the file is empty", "Give a header and one row a sample.")


def test_a_line_says_file_row_patient_day_finding_and_remedy():
    expected = "liu.csv, row 17, patient 4, day 180: copies is '<3' and no limit is known. Give the column lloq."
    assert str(StudyError([LIMIT], "liu.csv")) == expected


def test_what_is_unknown_of_a_place_is_left_out():
    assert str(StudyError([FILE], "liu.csv")) == ("liu.csv: the file is empty. Give a header and one row a sample.")
    assert LIMIT.line() == "row 17, patient 4, day 180: copies is '<3' and no limit is known. Give the column lloq."
    assert FILE.line() == "the file is empty. Give a header and one row a sample."


def test_the_message_stops_after_twenty_lines_and_the_list_does_not():
    problems = [Finding(row, "1", None, "subject is empty", "Say whose row it is.") for row in range(57)]
    error = StudyError(problems, "liu.csv")
    lines = str(error).split("\n")
    assert len(lines) == 21
    assert lines[-1] == "and 37 more"
    assert error.problems == problems


def test_twenty_problems_are_shown_whole():
    assert "more" not in str(StudyError([FILE] * 20))


def test_the_table_has_one_row_a_problem():
    table = StudyError([LIMIT, FILE]).table
    assert list(table.columns) == ["row", "subject", "day", "found", "remedy"]
    assert table["row"][0] == 17
    assert pd.isna(table["row"][1])
    assert len(StudyError([]).table.columns) == 5


@pytest.mark.parametrize("error", [StudyError([LIMIT], "liu.csv"), ModelError("no parameter tmax", name="tmax")])
def test_an_error_survives_the_way_back_from_a_worker_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_both_errors_are_value_errors_and_a_model_error_may_have_no_name():
    assert issubclass(StudyError, ValueError)
    assert issubclass(ModelError, ValueError)
    assert ModelError("no such model file").name is None


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("tmax", "Did you mean t_max?"),
        ("T_MAX", "Did you mean t_max?"),
        ("betta", "Did you mean beta?"),
        ("colour", ""),
    ],
)
def test_the_nearest_name_is_asked_for_whatever_its_case_and_underscores(name, question):
    assert suggest(name, ["fold", "t_max", "c_max", "alpha", "beta"]) == question


def test_nothing_is_suggested_from_nothing():
    assert suggest("t_max", []) == ""


def test_of_two_names_that_differ_in_case_only_the_first_is_suggested():
    assert suggest("beta ", ["Beta", "beta"]) == "Did you mean Beta?"
