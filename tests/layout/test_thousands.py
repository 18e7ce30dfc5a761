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
