"""Flags of values below the limit in a column of their own: refused with what to do, also for one sample."""

import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics.meaning.units import words_of

ROWS = [("A", 7, 5000.0), ("A", 28, 500.0), ("A", 60, 3.0)]


def table(name, seen, unseen, rows=ROWS):
    """A study whose last sample has `unseen` in the column and the others `seen`."""
    frame = pd.DataFrame(rows, columns=["subject", "day", "DV"]).astype("str")
    return frame.assign(**{name: [seen] * (len(rows) - 1) + [unseen]})


NAMES = ("BLQFLAG", "BQLFL", "LLOQFL", "BQLF", "LTLOQ", "isBLQ", "BLOQ_YN", "flag", "status", "PCSTAT", "qual", "call")


@pytest.mark.parametrize(("seen", "unseen"), [("", "Y"), ("0", "1"), ("N", "Y")])
@pytest.mark.parametrize("name", NAMES)
def test_a_flag_of_one_sample_is_never_ignored(name, seen, unseen):
    text = refusal(table(name, seen, unseen))
    assert name in text and ("blq" in text or "lloq=" in text)


@pytest.mark.parametrize(("seen", "unseen"), [("1", "0"), ("Y", ""), ("yes", "no"), ("True", "False")])
@pytest.mark.parametrize("name", ["detection", "measurable", "positive", "amplified"])
def test_a_flag_of_what_was_measured_says_how_to_turn_it(name, seen, unseen):
    assert "column blq, 1 there and 0 elsewhere" in refusal(table(name, seen, unseen))


@pytest.mark.parametrize("name", ["status", "BLQFLAG", "state", "x"])
def test_words_of_a_flag_are_read_under_any_heading(name):
    assert f"ignore=['{name}']" in refusal(table(name, "quantified", "below"))


@pytest.mark.parametrize(
    ("name", "seen", "unseen"),
    [
        ("vital_status", "0", "1"),
        ("response", "N", "Y"),
        ("ventilated", "N", "Y"),
        ("operator", "AB", "CD"),
        ("CRP_flag", "", "Y"),
        ("note", "", "clinic closed"),
    ],
)
def test_other_columns_on_the_last_sample_are_no_flags(name, seen, unseen):
    assert (silently(table(name, seen, unseen)).used["status"] == "quantified").all()


def test_a_flag_on_a_value_above_others_is_none():
    rows = [("A", 7, 500.0), ("A", 28, 20.0), ("A", 60, 3000.0)]
    assert len(silently(table("flag", "0", "1", rows)).used) == 3


def test_headings_of_flags_are_parted_into_their_words():
    assert [words_of(name) for name in ("BQLFL", "LTLOQ", "BLQFLAG", "lloq_fl", "belowlloq")] == [
        ["bql", "fl"],
        ["lt", "loq"],
        ["blq", "flag"],
        ["lloq", "fl"],
        ["below", "lloq"],
    ]
