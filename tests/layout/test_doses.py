"""Doses by other names: read in the unit that the heading says, or refused with what to do; never lost."""

import pytest

from cellkinetics.errors import StudyError
from cellkinetics.layout.doses import unit_of_dose

ROWS = "A,0,,1e6\nA,14,5000,\nA,30,,3e6\nA,44,8000,\n"


@pytest.mark.parametrize(
    "name",
    [
        "dose_cells",
        "cells infused",
        "infused_cells",
        "Dose cells",
        "total_dose_cells",
        "CAR-T cells infused",
        "cells_given",
    ],
)
def test_a_heading_of_cells_that_were_given_is_the_dose_in_cells(read, name):
    study = read(f"subject,day,DV,{name}\n{ROWS}")
    assert study.doses[["day", "amount", "unit"]].values.tolist() == [[0, 1e6, "cells"], [30, 3e6, "cells"]]


def test_an_amount_in_cells_is_the_amount(read):
    study = read("ID,TIME,DV,AMT (cells),EVID\nA,0,0,1e6,1\nA,14,5000,0,0\n")
    assert study.doses[["day", "amount", "unit"]].values.tolist() == [[0, 1e6, "cells"]]


def test_cells_by_another_name_are_divided_by_the_weight(read):
    study = read("subject,day,DV,dose_cells,weight_kg\nA,0,,7e7,70\nA,14,5000,,70\n")
    assert study.doses[["amount", "unit"]].values.tolist() == [[1e6, "cells/kg"]]
    assert study.covariates["dose_cells_given"].tolist() == [7e7]


@pytest.mark.parametrize(
    "name", ["total_dose", "EXDOSE", "Dosis", "Zelldosis", "dose_given", "n_cells", "Zellen", "product", "treatment_x"]
)
def test_numbers_of_cells_in_an_unread_column_are_named_and_read_as_the_error_says(read, name):
    text = f"subject,day,DV,{name}\n{ROWS}"
    with pytest.raises(StudyError, match=f"'dose': '{name}'}}, dose_unit=...") as said:
        read(text)
    assert f"ignore=['{name}']" in str(said.value)
    study = read(text, columns={"dose": name}, dose_unit="cells")
    assert study.doses[["amount", "unit"]].values.tolist() == [[1e6, "cells"], [3e6, "cells"]]
    assert read(text, ignore=[name]).doses.empty


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cells infused", "says cells, and the doses are in cells/kg"),
        ("n_cells", "says cells, and the doses are in cells/kg"),
        ("dose_million_per_kg", "says cells/kg in another factor"),
        ("Dose [x10^6]", "in another factor"),
        ("Dose 10^6 cells/kg", "in another factor"),
        ("Dose (mg)", "says mg"),
        ("dose_level", "says a level"),
        ("dose in mio", "in another factor"),
    ],
)
def test_a_column_that_is_named_as_the_dose_is_never_read_in_another_unit(read, name, says):
    with pytest.raises(StudyError, match=says.replace("[", r"\[")):
        read(f"subject,day,DV,{name}\nA,0,,70\nA,14,5000,\n", columns={"dose": name})


@pytest.mark.parametrize("name", ["dose_million_per_kg", "Dose [x10^6]", "Dose (mg)", "dose_1e6_cells"])
def test_a_dose_with_a_factor_is_not_lost_and_no_remedy_reads_it(read, name):
    with pytest.raises(StudyError, match="Write the cells out") as said:
        read(f"subject,day,DV,{name}\nA,0,,70\nA,14,5000,\n")
    assert "columns=" not in str(said.value)


@pytest.mark.parametrize(
    "text",
    [
        "subject,day,DV,dose_1,dose_2\nA,14,5000,1e6,3e6\nA,44,8000,1e6,3e6\n",
        "subject,day,DV,dose,dose_2\nA,14,5000,1e6,3e6\nA,44,8000,1e6,3e6\n",
        "subject,day,DV,dose,reinfusion_day\nA,14,5000,1e6,30\nA,44,8000,1e6,30\n",
        "subject,day,DV,dose,second infusion date\nA,14,5000,1e6,2024-03-02\nA,44,8000,1e6,2024-03-02\n",
        "ID,TIME,DV,AMT,NDOSE,II\nA,0,,1e6,3,7\nA,14,5000,,,\n",
        "ID,TIME,DV,AMT,NBDOSES\nA,0,,1e6,2\nA,14,5000,,\n",
    ],
)
def test_a_second_infusion_in_a_column_of_its_own_is_refused(read, text):
    with pytest.raises(StudyError, match="Give each infusion a row without a value"):
        read(text)


@pytest.mark.parametrize(
    "column",
    [
        "dose_level,2",
        "dose_group,low",
        "platelets,250000",
        "n_doses,1",
        "cohort_dose,1",
        "infused,1",
        "cells_per_ul,50000",
    ],
)
def test_a_column_that_is_no_dose_is_carried_along(read, column):
    name, cell = column.split(",")
    study = read(f"subject,day,DV,dose,{name}\nA,0,,1e6,{cell}\nA,14,5000,,{cell}\n")
    assert study.doses["amount"].tolist() == [1e6]
    study = read(f"subject,day,DV,{name}\nA,7,900,{cell}\nA,14,5000,{cell}\n")
    assert study.doses.empty


def test_a_number_of_infusions_that_is_that_of_the_rows_passes(read):
    study = read(f"subject,day,DV,dose,n_infusions,reinfusion_day\n{ROWS.replace(chr(10), ',2,30' + chr(10))}")
    assert study.doses["amount"].tolist() == [1e6, 3e6]


def test_the_unit_of_a_heading_of_doses():
    assert unit_of_dose("cells infused") == ("cells", True)
    assert unit_of_dose("dose_per_kg") == ("cells/kg", True)
    assert unit_of_dose("dose") == unit_of_dose("AMT") == ("", True)
    assert unit_of_dose("Dose (10^6 cells)") == ("cells in another factor", False)


@pytest.mark.parametrize("name", ["dose_cells", "cells infused"])
def test_a_weight_that_divided_the_cells_was_read_and_both_amounts_are_shown(read, name):
    rows = "A,7,50,7e7,70,x\nA,28,5,7e7,70,x\nB,7,50,1.2e8,60,y\n"
    said = " ".join(read(f"subject,day,DV,{name},weight_kg,arm\n{rows}").summary().split())
    assert "70000000 to 120000000 cells, divided by weight_kg: 1000000 to 2000000 cells/kg" in said
    assert "1 column, carried along: arm" in said
