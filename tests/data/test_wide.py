"""One row a subject, one column a day."""

import pandas as pd
import pytest

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError


@pytest.fixture
def read(tmp_path):
    """Write a text to wide.csv and read it."""

    def write_and_read(text, **options):
        (tmp_path / "wide.csv").write_text(text, encoding="utf-8")
        return read_study(tmp_path / "wide.csv", **options)

    return write_and_read


@pytest.mark.parametrize(
    "header", ["0,7,14.5,28", "d0,d7,d14.5,d28", "Day 0,Day 7,Day 14.5,Day 28", "day_0,day_7,day_14.5,day_28"]
)
def test_a_column_a_day_is_the_same_study_as_a_row_a_sample(read, header):
    wide = read(f"patient,{header},cohort,dose\nP1,0,500,200,10,A,1e6\nP2,0,50,,<3,B,3e6\n", lloq=3)
    rows = {"patient": ["P1"] * 4 + ["P2"] * 3, "day": [0, 7, 14.5, 28, 0, 7, 28]}
    rows |= {"dv": ["0", "500", "200", "10", "0", "50", "<3"], "cohort": ["A"] * 4 + ["B"] * 3}
    tall = read_study(pd.DataFrame(rows).assign(dose=[1e6] * 4 + [3e6] * 3), lloq=3)
    for name in ("observations", "doses"):
        one, other = (getattr(study, name).drop(columns="row") for study in (wide, tall))
        pd.testing.assert_frame_equal(one, other)
    pd.testing.assert_frame_equal(wide.covariates, tall.covariates)
    assert wide.observations["row"].tolist() == [2, 2, 2, 2, 3, 3, 3]
    assert "read as one row a sample" in wide.note


def test_a_subject_whose_cells_are_all_empty_is_still_one(read):
    study = read("id,d7,d14\nA,5,\nB,,\n")
    assert study.subjects == ("A", "B")
    assert study.exclusions == {"no value": 2}


def test_decimal_commas_and_cells_that_make_no_sense_are_read_as_elsewhere(read):
    assert read("id;d0,5;d7;lloq\nA;5,5;6,5;3,5\n").observations["day"].tolist() == [0.5, 7.0]
    with pytest.raises(StudyError, match=r"row 3, patient B, day 14: dv is 'many', which is not a number"):
        read("id,d7,d14\nA,5,6\nB,7,many\n")


@pytest.mark.parametrize(
    ("headings", "days"),
    [
        ("week 1,week 4", [7.0, 28.0]),
        ("Month 1,Month 12", [365.25 / 12, 365.25]),
        ("M1,M12", [365.25 / 12, 365.25]),
        ("T6h,T168h", [0.25, 7.0]),
        ("T24h,T7d", [1.0, 7.0]),
        ("T2W,T1M", [14.0, 365.25 / 12]),
    ],
)
def test_a_unit_that_the_headings_say_is_made_days(read, headings, days):
    study = read(f"id,{headings}\nA,5,6\n")
    assert study.observations["day"].tolist() == days
    assert "were made days" in study.note


def test_a_unit_that_is_asked_for_as_well_is_applied_once(read):
    assert read("id,week 1,week 4\nA,5,6\n", time_unit="week").observations["day"].tolist() == [7.0, 28.0]
    with pytest.raises(StudyError, match=r"time_unit='week' was given and no column is in weeks\. Leave it out"):
        read("id,week 1,M3\nA,5,6\n", time_unit="week")


@pytest.mark.parametrize(
    "headings",
    [
        "T0,T7,T28",
        "x7,x28,x90",
        "C1D1,C1D8,C1D15",
        "V1,V2,V3",
        "copies_T0,T7 (copies/ug),tp 3",
        "D7 copies,D28 copies,D7 LLOQ",
    ],
)
def test_time_points_of_no_unit_are_no_days_and_named_with_the_remedy(read, headings):
    found = r"a column for each time \(.*, .*, .*\), and no heading says .* alone\. Call each by .* such as D7, W4, M3"
    with pytest.raises(StudyError, match=found) as refused:
        read(f"id,age,{headings}\nA,61,120,5000,<3\nB,50,80,,12\n", lloq=3)
    assert "columns={'day'" not in str(refused.value)


def test_decimal_commas_of_a_wide_table_are_those_of_a_long_one(read):
    wide = read("id;age;D0;D7;D28\nA;60,5;1200,5;5000,0;<3,5\nB;61;80,0;;12,4\n", lloq=3).observations
    assert wide["value"].fillna(0).tolist() == [1200.5, 5000, 0, 80, 12.4]
    assert wide["upper"].tolist() == [1200.5, 5000, 3.5, 80, 12.4]
    with pytest.raises(StudyError, match=r"the columns of the days is '1,200', which is 1200 or 1\.200"):
        read("id;D0;D7\nA;1,200;5,000\nB;80;12\n")


def test_days_weeks_and_months_may_stand_side_by_side(read):
    study = read("id,d1,w4,M3\nA,5,6,7\n")
    assert study.observations["day"].tolist() == [1.0, 28.0, 3 * 365.25 / 12]
    assert "A month is 30.4 days." in study.note


def test_a_table_with_a_column_for_each_subject_says_how_to_turn_it(read, tmp_path):
    with pytest.raises(StudyError, match=r"it has a column for each subject \(P1, P2\). Turn it: .*table.melt\('day'"):
        read("day,P1,P2\n7,500,<3\n14,200,50\n", lloq=3)
    table = pd.read_csv(tmp_path / "wide.csv").melt("day", var_name="subject", value_name="copies_per_ug")
    assert read_study(table, lloq=3).counts["quantified"] == 3


def test_a_tall_table_with_columns_called_like_days_is_left_as_it_is(read):
    study = read("id,day,dv,d7\nA,7,5,x\nA,14,6,y\n")
    assert study.observations["d7"].tolist() == ["x", "y"]
    assert study.note == ""
