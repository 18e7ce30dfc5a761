"""Columns on the rows of doses that would change what an infusion is: how long, how fast, how much of it, and when."""

import pandas as pd
import pytest

from cellkinetics import StudyError, read_study


def table(name, cell, day="0"):
    rows = [("A", day, "", "1e6", cell), ("A", "7", "5000", "", ""), ("A", "28", "100", "", "")]
    rows += [("B", day, "", "1e6", cell), ("B", "7", "900", "", ""), ("B", "28", "20", "", "")]
    return pd.DataFrame(rows, columns=["subject", "day", "DV", "dose", name])


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("infusion_hours", "48"),
        ("inf_time_h", "30"),
        ("D1", "2"),
        ("Infusionsdauer", "2 d"),
        ("duree de perfusion", "2 j"),
        ("infusion_duration_min", "600"),
        ("durata infusione (h)", "20"),
        ("EXDUR", "P2D"),
    ],
)
def test_a_long_infusion_is_named_whatever_its_column_is_called(name, cell):
    with pytest.raises(StudyError, match="looks like the duration of an infusion"):
        read_study(table(name, cell))


@pytest.mark.parametrize(("name", "cell"), [("infusion_end_day", "2"), ("stop_time", "2"), ("EXENDY", "3")])
def test_a_late_end_of_an_infusion_is_named(name, cell):
    with pytest.raises(StudyError, match="looks like the end of an infusion"):
        read_study(table(name, cell))


@pytest.mark.parametrize(
    ("name", "cell", "what"),
    [
        ("rate_per_day", "5e5", "rate of an infusion"),
        ("TLAG", "1", "lag of an infusion"),
        ("ALAG1", "2", "lag of an infusion"),
        ("F1", "0.3", "share of a dose that counts"),
        ("bioavailability", "0.3", "share of a dose that counts"),
    ],
)
def test_what_changes_a_dose_is_named(name, cell, what):
    with pytest.raises(StudyError, match=what):
        read_study(table(name, cell))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("infusion_hours", "1"),
        ("infusion_duration_min", "30"),
        ("EXENDY", "1"),
        ("infusion_end_day", "0"),
        ("ALAG1", "0"),
        ("F1", "1"),
        ("heart_rate", "88"),
        ("lot", "L12"),
        ("viability", "88"),
        ("dose_level", "2"),
        ("product", "NK-19"),
        ("days_in_hospital", "21"),
    ],
)
def test_what_changes_no_dose_passes(name, cell):
    assert read_study(table(name, cell)).doses["amount"].tolist() == [1e6, 1e6]


def test_the_remedy_reads_the_study_as_before():
    plain = read_study(table("lot", "x"))
    ignored = read_study(table("infusion_hours", "48"), ignore=["infusion_hours"])
    assert ignored.used[["subject", "day", "value"]].equals(plain.used[["subject", "day", "value"]])
