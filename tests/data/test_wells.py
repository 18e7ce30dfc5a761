"""Copies per well with a mass of DNA, and the means of replicate wells."""

import math

import numpy as np
import pandas as pd
import pytest

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError


def refused(read, text, **options):
    with pytest.raises(StudyError) as caught:
        read(text, **options)
    return str(caught.value)


@pytest.mark.parametrize("column", ["dna_ug", "DNA ng"])
def test_the_limit_follows_from_copies_per_well_and_the_mass_of_dna(read, column):
    mass = (0.2, 0.1) if column == "dna_ug" else (200, 100)
    rows = f"1,1,60,{mass[0]},10\n1,2,ND,{mass[1]},10\n1,3,130,,\n"
    study = read(f"id,time,dv,{column},lloq_copies_per_well\n{rows}")
    assert study.observations["lloq"].tolist()[:2] == [50.0, 100.0]
    assert study.observations["status"].tolist() == ["quantified", "below", "quantified"]
    assert np.isnan(study.observations["lloq"][2])


def test_copies_per_well_can_be_an_argument_and_a_limit_of_the_row_wins(read):
    study = read("id;time;dv;dna_ug;lloq\n1;1;60,5;0,2;\n1;2;ND;0,1;3,5\n", lloq_copies_per_well=10)
    assert study.observations["lloq"].tolist() == [50.0, 3.5]


def test_a_limit_per_well_without_a_mass_is_refused(read):
    assert "the mass of DNA is not known. Give it in a column dna_ug or dna_ng" in refused(
        read, "id,time,dv\n1,1,5\n", lloq_copies_per_well=10
    )
    assert "dna_ug is '0'" in refused(read, "id,time,dv,dna_ug\n1,1,5,0\n", lloq_copies_per_well=10)
    assert "lloq_copies_per_well=0 was given" in refused(read, "id,time,dv,dna_ug\n1,1,5,1\n", lloq_copies_per_well=0)


def test_values_per_well_become_copies_per_ug_with_their_limits_and_marks(read):
    rows = "1,1,60,200,10\n1,2,<8,100,10\n1,3,ND,200,10\n1,4,>1e5,50,10\n1,5,.,50,10\n1,6,0,50,10\n"
    study = read(f"id,time,copies/well,DNA (ng),LLOQ copies per well\n{rows}")
    used = study.observations
    assert used["status"].tolist() == ["quantified", "below", "below", "above", "missing", "below"]
    assert used["value"][0] == 60 / 0.2
    assert used["upper"].tolist()[1:3] == [8 / 0.1, 10 / 0.2]
    assert used["lower"][3] == 1e5 / 0.05
    assert used["lloq"].tolist() == [50.0, 100.0, 50.0, 200.0, 200.0, 200.0]
    assert study.unit == "copies/ug"


def test_values_per_well_are_the_same_study_as_values_per_ug(read):
    wells = read("id,time,copies_per_well,dna_ug,lloq_copies_per_well\n1,1,60,0.5,3\n1,2,2,0.25,3\n1,3,ND,0.5,3\n")
    direct = read("id,time,dv,lloq\n1,1,120,6\n1,2,8,12\n1,3,ND,6\n")
    columns = ["value", "lower", "upper", "status", "lloq"]
    pd.testing.assert_frame_equal(wells.observations[columns], direct.observations[columns], check_exact=True)


def test_one_mass_of_dna_can_be_given_for_all_wells_and_that_of_a_row_wins(read):
    study = read("id,time,copies_per_well,dna_ng\n1,1,60,\n1,2,60,100\n", dna_ug=0.2)
    assert study.observations["value"].tolist() == [300.0, 600.0]


def test_cens_and_limit_are_per_well_like_their_values(read):
    study = read("id,time,copies_per_well,cens,limit,lloq_copies_per_well,dna_ug\n1,1,4,1,1,4,0.5\n")
    assert study.observations[["lower", "upper", "status"]].values.tolist() == [[2.0, 8.0, "interval"]]


def test_decimal_commas_are_read_in_values_per_well(read):
    study = read("id;time;copies_per_well;dna_ug\n1;1;60,5;0,2\n")
    assert study.observations["value"].tolist() == [60.5 / 0.2]


def test_copies_per_ug_win_over_copies_per_well(read):
    study = read("id,time,copies_per_ug,copies_per_well\n1,1,300,60\n1,2,30,6\n")
    assert study.observations[["value", "copies_per_well"]].values.tolist() == [[300.0, 60.0], [30.0, 6.0]]


def test_values_per_well_are_written_and_read_back(read, tmp_path):
    study = read("id,time,copies_per_well,dna_ug,lloq_copies_per_well\n1,1,60,0.3,3\n1,2,<2,0.3,3\n")
    for style in ("plain", "monolix"):
        study.to_csv(tmp_path / "again.csv", style=style)
        back = read_study(tmp_path / "again.csv")
        pd.testing.assert_frame_equal(
            back.observations.drop(columns="row"), study.observations.drop(columns="row"), check_exact=True
        )


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        ("id,time,copies_per_well\n1,1,60\n", {}, "copies_per_well has copies per well and the mass of DNA is not"),
        (
            "id,time,copies_per_well,dna_ng\n1,1,60,\n",
            {},
            "row 2, patient 1: copies_per_well is 60 and the mass of DNA is not known. Give it in the row",
        ),
        ("id,time,copies_per_well,dna_ng\n1,1,60,-5\n", {}, "row 2, patient 1: dna_ng is '-5'"),
        ("id,time,copies_per_well\n1,1,60\n", {"dna_ug": -1}, "dna_ug=-1 was given"),
        (
            "id,time,copies_per_well,dna_ng,lloq\n1,1,60,5,3\n",
            {},
            "the column lloq does not say in what it is. Call it lloq_copies_per_well, or lloq (copies/ug).",
        ),
        ("id,time,copies_per_well,dna_ng,dna_ug\n1,1,60,5,3\n", {}, "all mean the mass of DNA"),
        ("id,time,copies_per_well,dna_ng\n1,1,many,5\n", {}, "is 'many', which is not a number"),
    ],
)
def test_values_per_well_that_say_no_concentration_are_refused(read, text, options, found):
    assert found in refused(read, text, **options)


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
