"""Limits by output, and tables that hide something."""

import pytest

from cellkinetics.data.columns import meaning_of
from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError


def refused(read, text, **options):
    with pytest.raises(StudyError) as caught:
        read(text, **options)
    return str(caught.value)


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


@pytest.mark.parametrize(
    ("header", "found", "options"),
    [
        (
            "id,time,DV (cells/uL),dose",
            "the column DV (cells/uL) is not in copies/ug. "
            "Give read_study(..., unit='cells/uL', columns={'value': 'DV (cells/uL)'}).",
            {"unit": "cells/uL", "columns": {"value": "DV (cells/uL)"}},
        ),
        (
            "id,time,dv,Dose (cells)",
            "the column Dose (cells) is not in cells/kg. "
            "Give read_study(..., dose_unit='cells', columns={'dose': 'Dose (cells)'}).",
            {"dose_unit": "cells", "columns": {"dose": "Dose (cells)"}},
        ),
        ("id,time,dv,LLOQ [copies/mL]", "the column LLOQ [copies/mL] is not in copies/ug", None),
    ],
)
def test_a_column_in_another_unit_is_refused_until_it_is_named(read, header, found, options):
    text = f"{header}\n1,1,5,2e6\n"
    assert found in refused(read, text)
    if options:
        assert len(read(text, **options).used) == 1


def test_a_second_column_in_another_unit_is_carried(read):
    study = read("id,time,dv,DV (cells/uL)\n1,1,5,2\n1,2,6,3\n")
    assert study.observations["DV (cells/uL)"].tolist() == [2.0, 3.0]


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
