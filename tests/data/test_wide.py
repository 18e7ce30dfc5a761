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


def test_columns_in_weeks_need_the_unit_and_get_it(read):
    text = "id,week 1,week 4\nA,5,6\n"
    with pytest.raises(StudyError, match=r"is in weeks. Give read_study\(..., time_unit='week'\)"):
        read(text)
    assert read(text, time_unit="week").observations["day"].tolist() == [7.0, 28.0]


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
