"""Columns on the rows of doses that would change what an infusion is: how long, how fast, how much of it, and when."""

import warnings

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


def everywhere(name, cell, dose="1e6"):
    """Two patients whose dose, and one more column, stand on all rows."""
    rows = [(p, d, v, dose, cell) for p in "AB" for d, v in (("7", "5200"), ("28", "410"), ("90", "6.3"))]
    columns = ["subject", "day", "DV", "dose", name]
    return pd.DataFrame(rows, columns=columns) if dose else pd.DataFrame(rows, columns=columns).drop(columns="dose")


def silently(frame, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_study(frame, **options)


@pytest.mark.parametrize(
    ("name", "cell", "what"),
    [
        ("duree perfusion (h)", "36", "duration of an infusion"),
        ("EXDUR", "P2D", "duration of an infusion"),
        ("infusion_period_days", "4", "duration of an infusion"),
        ("D1", "3", "duration of an infusion"),
        ("infusion stop day", "4", "end of an infusion"),
        ("day_of_last_dose", "5", "end of an infusion"),
        ("day of infusion", "3", "day of an infusion"),
        ("rate_per_hour", "4000", "rate of an infusion"),
        ("F1", "0.4", "share of a dose that counts"),
        ("fractionated dose", "y", "given in parts"),
        ("regimen", "20%, 30%, 50%", "given in parts"),
        ("comment", "dose divided over two days", "given in parts"),
        ("dose days", "d0, d1, d2", "given in parts"),
    ],
)
def test_what_changes_a_dose_that_stands_on_every_row_is_named(name, cell, what):
    with pytest.raises(StudyError, match=what) as caught:
        read_study(everywhere(name, cell))
    assert f"ignore=[{name!r}]" in str(caught.value)
    assert silently(everywhere(name, cell), ignore=[name]).doses["amount"].tolist() == [1e6, 1e6]


def test_one_long_infusion_among_short_ones_is_named():
    frame = everywhere("infusion_hours", "1")
    frame.loc[frame["subject"] == "B", "infusion_hours"] = "96"
    with pytest.raises(StudyError, match=r"duration of an infusion \(96\)"):
        read_study(frame)


def test_a_long_infusion_is_named_where_no_column_says_the_dose():
    with pytest.raises(StudyError, match="duration of an infusion"):
        read_study(everywhere("infusion_hours", "48", dose=""))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("infusion_minutes", "30"),
        ("day of infusion", "0"),
        ("infusion stop (h)", "2"),
        ("response duration (days)", "90"),
        ("schedule", "single"),
        ("lymphodepletion schedule", "d-5, d-4, d-3"),
        ("ejection fraction", "60"),
        ("last visit day", "90"),
        ("bags", "2"),
        ("comment", "seen over 3 years"),
        ("dose unit", "cells/kg"),
    ],
)
def test_what_changes_no_dose_passes_where_the_dose_stands_on_every_row(name, cell):
    assert silently(everywhere(name, cell)).doses["amount"].tolist() == [1e6, 1e6]


def test_the_day_of_a_second_infusion_is_that_of_its_row():
    frame = table("infusion day", "")
    frame.loc[len(frame)] = ["A", "30", "", "1e6", "30"]
    assert silently(frame).doses["day"].tolist() == [0, 30, 0]


@pytest.mark.parametrize("name", ["UnitsOfDose", "AmountUnit", "unit (infusion)", "Dosiseinheit", "dosing unit text"])
@pytest.mark.parametrize("cell", ["cells", "cells/m2"])
def test_a_unit_of_doses_is_never_proposed_as_that_of_the_values(name, cell):
    with pytest.raises(StudyError) as caught:
        read_study(everywhere(name, cell))
    assert f"columns={{'dose_unit': {name!r}}}" in str(caught.value)
    assert read_study(everywhere(name, cell), columns={"dose_unit": name}).dose_unit == cell
    assert "'unit':" not in str(caught.value)
    silently(everywhere(name, cell, dose=""))
