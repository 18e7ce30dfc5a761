"""Points of thousands in tables of any kind: refused where they can be nothing else, and decimals are decimals."""

import pandas as pd
import pytest

from cellkinetics import read_study
from cellkinetics.errors import StudyError, StudyWarning

POINTS = {
    "several points": ["1.234.567", "96.5", "12"],
    "several points and a comma": ["1.234.567,5", "96,5", "12"],
    "a whole number below": ["5.120", "1.830", "96"],
    "a limit": ["<5.120", "1.250", "96"],
}


@pytest.mark.parametrize("separator", ["\t", ";", "|", ","])
@pytest.mark.parametrize("name", POINTS)
def test_points_of_thousands_are_refused_whatever_separates_the_cells(read, name, separator):
    lines = ["ID,TIME,DV", *(f"1,{day},{{}}" for day in (7, 14, 28))]
    quoted = [f'"{cell}"' if separator == "," and "," in cell else cell for cell in POINTS[name]]
    text = "\n".join([lines[0], *(line.format("@") for line in lines[1:])]).replace(",", separator)
    for cell in quoted:
        text = text.replace("@", cell, 1)
    with pytest.raises(StudyError, match="Write thousands without a mark"):
        read(text, name="table.txt")


def test_points_of_thousands_are_refused_in_a_wide_table_and_in_texts_of_a_data_frame(read):
    with pytest.raises(StudyError, match=r"the columns of the days is '5\.120'"):
        read("patient\td7\td14\td28\nA\t5.120\t1.830\t96\nB\t4.100\t900\t80\n")
    frame = pd.DataFrame({"ID": "1", "TIME": ["7", "14", "28"], "DV": ["5.120", "1.830", "96"]})
    with pytest.raises(StudyError, match=r"DV is '5\.120'"):
        read_study(frame)


def test_three_digits_beside_a_whole_number_are_named_between_tabs(read):
    with pytest.warns(StudyWarning, match="DV has 5.125 beside 96 and is read as decimals"):
        assert read("ID\tTIME\tDV\n1\t7\t5.125\n1\t14\t1.834\n1\t28\t96\n").used["value"].tolist() == [5.125, 1.834, 96]


DECIMALS = {
    "other digits": ["5120.5", "1.830", "96"],
    "all with three digits": ["5.120", "1.830", "0.962"],
    "a whole number above 999": ["5.120", "1.830", "5120"],
    "a zero": ["5.125", "1.834", "0"],
    "one alone": ["5.120", "96", "12"],
    "without a 0 at the end": ["5.125", "1.834", "96"],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DECIMALS)
def test_decimals_with_a_point_are_read(read, name):
    cells = DECIMALS[name]
    study = read(
        "ID,TIME,DV\n" + "".join(f"1,{day},{cell}\n" for day, cell in zip((7, 14, 28), cells, strict=True)),
        lloq=0.5,
    )
    assert study.observations["value"].fillna(0).tolist() == [float(cell) for cell in cells]


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("covariate", ["age", "weight", "vcn", "leukocytes", "crp"])
def test_a_comma_in_a_covariate_alone_is_that_of_the_decimals_of_the_sheet(read, separator, covariate):
    rows = [f"subject;day;copies_per_ug;{covariate}", "A;7;@;60,5", "A;14;1.234;60,5", "A;28;35;<0,5"]
    text = "\n".join(rows).replace(";", separator)
    with pytest.raises(
        StudyError, match=r"copies_per_ug is '12\.346', which is not a number\. .*decimals with a comma"
    ):
        read(text.replace("@", "12.346").replace("35", "3.500"), name="table.txt")
    study = read(text.replace("@", "12,3").replace("1.234", "1234").replace("<0,5", "60,5"), name="table.txt")
    assert study.used["value"].tolist() == [12.3, 1234, 35]
    said = {**study.covariates, **study.observations}[covariate]
    assert said.unique().tolist() == [60.5]


@pytest.mark.filterwarnings("error")
def test_decimal_points_of_the_values_outweigh_a_comma_elsewhere(read):
    text = "subject;day;copies_per_ug;lines\nA;7;12.5;1,2\nB;7;1.234;3\n"
    assert read(text).used["value"].tolist() == [12.5, 1.234]
    text = "subject;day;copies_per_ug;note\nA;7;120;1,2\nB;7;35;see 3\nC;7;40;none\n"
    assert read(text).covariates["note"].tolist() == ["1,2", "see 3", "none"]


def test_three_digits_behind_each_point_are_named_between_semicolons(read):
    text = "subject;day;copies_per_ug\nA;7.000;1.234\nA;14.000;12.345\nA;28.000;101.000\n"
    with pytest.warns(StudyWarning, match=r"copies_per_ug has 1\.234 and 12\.345, which are read as decimals") as said:
        assert read(text).used["value"].tolist() == [1.234, 12.345, 101]
    assert len(said) == 1
