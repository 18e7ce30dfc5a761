"""Dates, limits by mass of DNA and by output, means of wells, and tables that hide something."""

import math

import numpy as np
import pandas as pd
import pytest

from cellkinetics.columns import meaning_of
from cellkinetics.errors import StudyError
from cellkinetics.reading import read_study


@pytest.fixture
def read(tmp_path):
    """Write a text to liu.csv and read it."""

    def write_and_read(text, **options):
        (tmp_path / "liu.csv").write_text(text, encoding="utf-8")
        return read_study(tmp_path / "liu.csv", **options)

    return write_and_read


def refused(read, text, **options):
    with pytest.raises(StudyError) as caught:
        read(text, **options)
    return str(caught.value)


def test_dates_are_days_since_the_infusion_date_also_across_a_leap_day(read):
    study = read(
        "id,date,dv,infusion_date\n1,2024-03-01,5,2024-02-28\n1,2024-02-28,2,2024-02-28\n2,2023-03-01,7,2023-02-28\n"
    )
    assert study.observations[["subject", "day"]].values.tolist() == [["1", 0.0], ["1", 2.0], ["2", 1.0]]
    assert study.exclusions == {"pre-dose": 1}
    assert study.observations["date"].tolist() == ["2024-02-28", "2024-03-01", "2023-03-01"]


def test_the_date_of_the_first_dose_row_is_the_infusion(read):
    text = "id,date,dv,dose\n1,2024-02-27,0,\n1,2024-02-28,,1e6\n1,2024-03-10 12:00,7,\n1,2024-03-12,,2e6\n"
    study = read(text)
    assert study.doses["day"].tolist() == [0.0, 13.0]
    assert study.observations["day"].tolist() == [-1.0, 11.5]


def test_a_column_of_clock_times_is_added_to_the_date_also_with_decimal_commas(read):
    study = read("id;date;time;dv;dose\n1;2024-02-28;9:00;;1e6\n1;2024-03-10;21:00;7,5;\n")
    assert study.observations[["day", "value", "clock"]].values.tolist() == [[11.5, 7.5, "21:00"]]


def test_days_win_over_dates(read):
    assert read("id,date,day,dv\n1,2024-02-28,7,5\n").observations["day"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "id,date,dv,infusion_date\n1,3/4/2024,5,2024-02-28\n",
            "row 2, patient 1: date is '3/4/2024', which is not an ISO",
        ),
        ("id,date,dv,infusion_date\n1,2024-02-30,5,2024-02-28\n", "date is '2024-02-30', which is not an ISO date"),
        (
            "id,date,dv,dose\n1,2024-03-01,5,1e6\n",
            "the date of the infusion is not known. Give it in a column infusion",
        ),
        ("id,date,dv\n1,2024-03-01,5\n", "the date of the infusion is not known"),
        ("id,date,dv,infusion_date\n1,,5,2024-02-28\n", "row 2, patient 1: day is empty"),
    ],
)
def test_a_date_that_says_no_day_is_refused(read, text, found):
    assert found in refused(read, text)


def test_limits_differ_by_output_and_a_row_wins(read):
    text = "id,time,dv,dvid,lloq\n1,1,2,1,\n1,1,0.4,2,0.1\n1,3,0.4,2,\n"
    study = read(text, lloq={"1": 3, "2": 0.5})
    assert study.observations["status"].tolist() == ["below", "quantified", "below"]
    assert study.observations["lloq"].tolist() == [3.0, 0.1, 0.5]
    assert study.lloq is None


def test_limits_of_outputs_are_checked(read):
    text = "id,time,dv,dvid\n1,1,2,copies\n"
    assert "lloq= has a limit for 'copis', which is no output. There are copies. Did you" in refused(
        read, text, lloq={"copis": 3}
    )
    assert "A limit is a finite number above 0" in refused(read, text, lloq={"copies": -3})
    assert "lod=4 is above lloq=3" in refused(read, text, lloq={"copies": 3}, lod=4)


@pytest.mark.parametrize("column", ["dna_ug", "DNA ng"])
def test_the_limit_follows_from_copies_per_well_and_the_mass_of_dna(read, column):
    mass = (0.2, 0.1) if column == "dna_ug" else (200, 100)
    rows = f"1,1,60,{mass[0]},10\n1,2,ND,{mass[1]},10\n1,3,30,,\n"
    study = read(f"id,time,dv,{column},lloq_copies_per_well\n{rows}")
    assert study.observations["lloq"].tolist()[:2] == [50.0, 100.0]
    assert study.observations["status"].tolist() == ["quantified", "below", "quantified"]
    assert np.isnan(study.observations["lloq"][2])


def test_copies_per_well_can_be_an_argument_and_a_limit_of_the_row_wins(read):
    study = read("id;time;dv;dna_ug;lloq\n1;1;60,5;0,2;\n1;2;ND;0,1;3,5\n", lloq_copies_per_well=10)
    assert study.observations["lloq"].tolist() == [50.0, 3.5]


def test_a_limit_per_well_without_a_mass_is_refused(read):
    assert "no mass. Give the column dna_ug or dna_ng" in refused(read, "id,time,dv\n1,1,5\n", lloq_copies_per_well=10)
    assert "dna_ug is '0'" in refused(read, "id,time,dv,dna_ug\n1,1,5,0\n", lloq_copies_per_well=10)
    assert "lloq_copies_per_well=0 was given" in refused(read, "id,time,dv,dna_ug\n1,1,5,1\n", lloq_copies_per_well=0)


WELLS = (
    "id,time,dv,well\n1,1,5,1\n1,1,<3,2\n1,2,4,1\n1,2,16,2\n1,3,ND,1\n1,3,ND,2\n1,4,9,1\n"
    "1,5,8,1\n1,5,>20,2\n1,6,.,1\n1,6,.,2\n"
)


def test_each_well_is_a_sample_unless_the_mean_is_asked_for(read):
    assert len(read(WELLS, lloq=3).observations) == 11


def test_the_mean_of_wells_lies_between_the_means_of_their_ends(read):
    rows = read(WELLS, lloq=3, replicates="mean").observations
    assert rows["day"].tolist() == [1, 2, 3, 4, 5, 6]
    assert rows["status"].tolist() == ["below", "quantified", "below", "quantified", "above", "missing"]
    assert rows["value"].tolist() == pytest.approx([np.nan, 8, np.nan, 9, np.nan, np.nan], nan_ok=True)
    assert rows["upper"].tolist() == pytest.approx([math.sqrt(15), 8, 3, 9, np.inf, np.nan], nan_ok=True)
    assert rows["lower"][4] == pytest.approx(math.sqrt(160))
    assert rows["upper"][2] == 3.0
    assert rows["wells_averaged"].tolist() == [2, 2, 2, 1, 2, 2]
    assert rows["row"].tolist() == [2, 4, 6, 8, 9, 11]


def test_wells_between_two_limits_have_a_mean_between_two_ends(read):
    study = read("id,time,dv,well\n1,1,8,1\n1,1,<2,2\n", lloq=2, lod=1, replicates="mean")
    [low, high] = study.observations[["lower", "upper"]].values[0]
    assert (low, high) == pytest.approx((math.sqrt(8), 4))


def test_wells_that_were_averaged_are_written_and_read_back(read, tmp_path):
    study = read(WELLS, lloq=3, replicates="mean")
    for style in ("plain", "monolix"):
        study.to_csv(tmp_path / "again.csv", style=style)
        back = read_study(tmp_path / "again.csv")
        columns = ["value", "lower", "upper", "status", "lloq"]
        pd.testing.assert_frame_equal(back.observations[columns], study.observations[columns], check_exact=True)


def test_replicates_takes_two_words(read):
    with pytest.raises(ValueError, match="replicates='median': take 'each' or 'mean'"):
        read(WELLS, replicates="median")


@pytest.mark.parametrize(
    ("heading", "meaning"),
    [
        ("DV (copies/µg DNA)", "value"),
        ("DV (cells/uL)", None),
        ("TIME (d)", "day"),
        ("TIME (h)", None),
        ("LLOQ [copies/ug]", "lloq"),
        ("Dose (cells/kg)", "dose"),
        ("Dose (cells)", None),
        ("Days post infusion", "day"),
    ],
)
def test_a_unit_in_brackets_must_be_the_one_that_is_meant(heading, meaning):
    assert meaning_of(heading) == meaning


@pytest.mark.parametrize("word", ["BLD", "BDL", "TND", "n.d.", "negative", "Undetermined", "target not detected"])
def test_what_a_machine_writes_where_it_saw_nothing_lies_below_the_lod(read, word):
    assert read(f"id,time,dv\n1,1,{word}\n", lloq=3, lod=1).observations["upper"].tolist() == [1.0]


def test_one_name_in_two_studies_is_refused(read):
    found = refused(read, "id,studyid,time,dv\n1,A,1,30\n1,B,2,30\n2,B,1,4\n")
    assert found == "liu.csv, patient 1: it is in the studies A, B. Give each patient a name."


def test_rows_that_nonmem_is_told_to_ignore_are_excluded(read):
    study = read("C,ID,TIME,DV\n.,1,7,5\nC,1,9,6\n")
    assert study.exclusions == {"C in the column C": 1}
    assert len(read("C,ID,TIME,DV\n1.5,1,7,5\n2,1,9,6\n").used) == 2


def test_markers_of_other_treatment_are_carried_along(read):
    study = read("id,time,dv,ruxolitinib,arm,response\n1,1,30,0,a,CR\n1,2,40,1,a,CR\n")
    assert study.observations["ruxolitinib"].tolist() == [0.0, 1.0]
    assert study.covariates[["arm", "response"]].values.tolist() == [["a", "CR"]]


def test_strange_names_and_a_cohort_of_one_are_read_as_they_stand(read, tmp_path):
    study = read("id,time,dv,cohort\n<script>,1,30,A\n=cmd(),1,31,A\nÅsa 李,1,2,B\n", lloq=1)
    assert study.subjects == ("<script>", "=cmd()", "Åsa 李")
    study.to_csv(tmp_path / "again.csv", style="monolix")
    assert read_study(tmp_path / "again.csv").subjects == study.subjects
    assert study.select(cohort="B").subjects == ("Åsa 李",)


def test_a_dose_after_the_last_sample_leaves_nothing_to_use_and_says_so(read):
    study = read("id,time,dv,dose\n1,1,30,\n1,20,,1e6\n")
    assert study.exclusions == {"before the first infusion": 1}


def test_two_units_of_one_output_are_refused(read):
    found = refused(read, "id,time,dv,unit\n1,1,30,copies/ug\n1,2,30,cells/uL\n")
    assert "the column unit says copies/ug, cells/uL. Values of one output have one unit." in found
