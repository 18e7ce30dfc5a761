"""Doses of cells and of other drugs, lymphodepletion, and rows that reset or repeat."""

import pandas as pd
import pytest

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError, StudyWarning


def refused(read, text):
    with pytest.raises(StudyError) as caught:
        read(text)
    return str(caught.value)


def given(study):
    return study.doses[["day", "amount", "kind"]].values.tolist()


LYMPHODEPLETION = [
    "ID,TIME,DV,AMT,EVID,ADM\n1,-5,.,.,1,lymphodepletion\n1,0,.,1e6,1,1\n1,7,5,.,0,.\n1,9,.,0.4,1,rimiducid\n",
    "ID,TIME,DV,AMT,ADM\n1,-5,.,0,Lymphodepletion\n1,0,.,1e6,1\n1,7,5,.,.\n1,9,.,0.4,Rimiducid\n",
    "ID,TIME,DV,AMT,EVID,ADM,ADM_NAME\n1,-5,.,1,1,2,lymphodepletion\n1,0,.,1e6,1,1,cells\n1,7,5,.,0,.,.\n"
    "1,9,.,0.4,1,3,rimiducid\n",
    "subject,day,dv,dose,kind\n1,-5,,,lymphodepletion\n1,0,,1e6,\n1,7,5,,\n1,9,,0.4,rimiducid\n",
]


@pytest.mark.parametrize("text", LYMPHODEPLETION)
def test_lymphodepletion_is_a_day_and_rimiducid_an_amount_also_before_the_infusion(read, text):
    study = read(text)
    assert given(study) == [[-5.0, 1.0, "lymphodepletion"], [0.0, 1e6, "cells"], [9.0, 0.4, "rimiducid"]]
    assert study.observations["day"].tolist() == [7.0]
    assert study.infusion_day("1") == 0.0
    assert study.covariates["dose"].tolist() == [1e6]


def test_the_amount_of_a_lymphodepletion_is_kept(read):
    assert given(read("ID,TIME,DV,AMT,ADM\n1,-5,.,500,lymphodepletion\n1,7,5,.,.\n")) == [
        [-5.0, 500.0, "lymphodepletion"]
    ]


def test_a_dose_on_every_row_stands_beside_the_row_of_a_lymphodepletion(read):
    study = read("subject,day,dv,dose,kind\n1,-5,,1e6,lymphodepletion\n1,7,5,1e6,\n1,9,6,1e6,\n")
    assert given(study) == [[-5.0, 1e6, "lymphodepletion"], [0.0, 1e6, "cells"]]


@pytest.mark.parametrize("style", ["plain", "monolix", "nlmixr2", "nonmem"])
def test_lymphodepletion_is_written_and_read_back(read, tmp_path, style):
    study = read(LYMPHODEPLETION[0])
    study.to_csv(tmp_path / "again.csv", style=style)
    back = read_study(tmp_path / "again.csv")
    assert given(back) == given(study)
    assert back.counts == study.counts


@pytest.mark.parametrize(
    "text",
    [
        "subject,day,dv,dose,kind\n1,9,,,rimiducid\n1,7,5,,\n",
        "ID,TIME,DV,AMT,EVID,ADM\n1,9,.,.,1,rimiducid\n1,7,5,.,0,.\n",
    ],
)
def test_rimiducid_without_an_amount_is_a_problem(read, text):
    assert "no amount is given. Give the amount" in refused(read, text)


def test_evid_4_is_a_dose_on_the_first_row_and_evid_3_nothing(read):
    study = read("ID,TIME,DV,AMT,EVID\n1,0,.,1e6,4\n1,7,5,.,0\n2,0,.,.,3\n2,0,.,2e6,1\n2,7,6,.,0\n")
    assert given(study) == [[0.0, 1e6, "cells"], [0.0, 2e6, "cells"]]
    assert len(study.observations) == 2


@pytest.mark.parametrize("evid", [3, 4])
def test_a_reset_after_other_rows_is_refused_with_what_to_do(read, evid):
    found = refused(read, f"ID,TIME,DV,AMT,EVID\n1,0,.,1e6,1\n1,7,5,.,0\n1,9,.,{'1e6' if evid == 4 else '.'},{evid}\n")
    assert found == (
        f"liu.csv, row 4, patient 1, day 9: EVID is {evid}, which resets the curve of a subject. "
        "Give what follows as another subject, or evid 1 for a dose that adds to the first."
    )


@pytest.mark.parametrize(
    ("columns", "cells", "found"),
    [
        ("RATE", "1e6", "RATE is 1e6. A dose is taken at once: leave RATE empty where it took less than 6 hours."),
        ("RATE", "-2", "RATE is -2"),
        ("RATE", "fast", "RATE is 'fast'. Write a number."),
        ("SS", "1", "SS is 1. Give each dose a row of its own"),
        ("ADDL,II", "3,7", "ADDL is 3. Give each dose a row of its own"),
    ],
)
def test_a_dose_that_is_infused_over_days_or_repeated_is_refused(read, columns, cells, found):
    empty = ",".join("." for _ in cells.split(","))
    assert found in refused(read, f"ID,TIME,DV,AMT,{columns}\n1,0,.,1e6,{cells}\n1,7,5,.,{empty}\n")


def test_an_infusion_of_an_hour_is_given_at_once_and_its_rate_is_carried(read):
    study = read("ID,TIME,DV,AMT,RATE\n1,0,.,1e6,2.4e7\n1,7,5,.,.\n")
    assert given(study) == [[0.0, 1e6, "cells"]]
    assert study.covariates["RATE"].tolist() == [2.4e7]


def test_doses_that_lack_their_factor_are_said_and_read_as_they_stand():
    table = pd.DataFrame({"subject": ["A", "B"], "day": 7.0, "copies_per_ug": 50.0, "dose": [2.5, 10.0]})
    with pytest.warns(StudyWarning, match=r"the doses are 2.5 to 10 cells/kg, .* Write the cells out \(2.5e6\)"):
        study = read_study(table, lloq=3)
    assert study.doses["amount"].tolist() == [2.5, 10.0]
    # Without a word: drugs, other units, real doses, and one that was not given beside them.
    for doses, unit in (([2.5, 10.0], "mg"), ([2.5e6, 1e7], "cells/kg"), ([0.0, 1e5], "cells/kg")):
        read_study(table.assign(dose=doses), lloq=3, dose_unit=unit)
