"""Marks on rows whose value is empty: these samples are below the limit, and no samples without a value."""

import warnings

import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics import StudyError, example, read_study
from cellkinetics.meaning.cells import mark_of

EMPTY = [False, False, True, True]


def table(name, cells):
    frame = {"subject": "A", "day": [7, 28, 60, 90], "copies_per_ug": ["5000", "100", "", ""], "dose": 1e6, "lloq": 3}
    return pd.DataFrame(frame | {name: list(cells)})


MARKS = {
    "Ct": ["24.1", "31", "Undetermined", "Undetermined"],
    "Cq": ["24.1", "31", "N/D", "ND"],
    "pcr": ["det", "det", "tnd", "tnd"],
    "qPCR": ["detected", "detected", "target not detected", "target not detected"],
    "remark": ["", "", "lower than 3", "lower than 3"],
    "bemerkung": ["", "", "unter 3", "kleiner als 3"],
    "call": ["+", "+", "-", "-"],
    "interpretation": ["pos", "pos", "neg", "neg"],
    "Befund": ["ja", "ja", "nein", "nein"],
    "result_code": ["Q", "Q", "B", "B"],
    "x": ["", "", "low", "low"],
    "state": ["quantified", "quantified", "interval", "below"],
}


@pytest.mark.parametrize("name", MARKS)
def test_a_mark_on_rows_without_a_value_is_refused_and_its_remedies_censor(name):
    frame = table(name, MARKS[name])
    said = refusal(frame)
    assert f"the column {name} is not read" in said and f"ignore=[{name!r}]" in said
    assert read_study(frame, ignore=[name]).exclusions == {"no value": 2}
    if "'result'" in said:
        assert read_study(frame, columns={"result": name}).counts["below"] == 2
    else:
        assert any(each in said for each in ("column blq", "'blq'", "Write into the rows what it says"))
        marked = frame.drop(columns=name).assign(blq=[int(empty) for empty in EMPTY])
        assert read_study(marked).counts == {"quantified": 2, "below": 2, "interval": 0, "above": 0}


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("reason", ["", "", "missed visit", "no show"]),
        ("comment", ["", "", "patient in hospital", "holiday"]),
        ("status", ["done", "done", "missed", "missed"]),
        ("sample_status", ["OK", "OK", "NS", "NS"]),
        ("visit", ["D7", "D28", "D60", "D90"]),
        ("CMV PCR", ["500", "500", "not detected", "not detected"]),
        ("attended", ["yes", "yes", "no", "no"]),
        ("call_date", ["5 May", "6 May", "", ""]),
        ("steroids", ["1", "1", "0", "0"]),
        ("remission status", ["PR", "PR", "CR", "CR"]),
    ],
)
def test_what_says_why_there_is_no_value_passes(name, cells):
    assert silently(table(name, cells)).exclusions == {"no value": 2}


def test_part_of_the_own_observations_is_read_as_the_same_samples():
    study = example()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        part = study.used[["subject", "day", "status", "value", "lloq"]]
        again = read_study(part[part["day"] > 0])
    used = study.used[study.used["day"] > 0]
    assert (
        again.used[["subject", "day", "status"]].values.tolist() == used[["subject", "day", "status"]].values.tolist()
    )
    assert again.counts["below"] == study.counts["below"] > 0
    with pytest.raises(StudyError, match="no limit is known"):
        read_study(part.drop(columns="lloq"))


def test_a_status_that_is_not_ours_stays_a_column():
    frame = pd.DataFrame({"subject": "A", "day": [7, 28], "dv": ["5", ""], "status": ["stable", "below"]})
    assert "status is not read and says below of 1 sample" in refusal(frame, lloq=3)


@pytest.mark.parametrize(
    ("text", "mark", "limit"),
    [
        ("lower than 3", "below", 3),
        ("less than 0.5", "below", 0.5),
        ("unter 3", "below", 3),
        ("inférieur à 10", "below", 10),
        ("menor que 3", "below", 3),
        ("more than 1e6", "above", 1e6),
        ("above 50000", "above", 50000),
    ],
)
def test_a_limit_in_words_is_a_limit(text, mark, limit):
    assert mark_of(text) == (mark, limit)


@pytest.mark.parametrize(
    "text", ["less detail", "lower limb", "unter Therapie", "below", "more than once", "lower than 0"]
)
def test_words_without_a_number_are_no_limit(text):
    assert mark_of(text)[0] == "unreadable"
