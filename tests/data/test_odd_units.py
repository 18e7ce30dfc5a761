"""A heading that says a factor, a spread or copies per something else is never proposed, nor read, as the value."""

import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.data.columns import odd_unit
from cellkinetics.errors import StudyError

ODD = ["10^3 copies/ug", "copies/1e5 PBMC", "copies per 0.5 µg", "kcopies/ug", "copies_per_ug_x1000", "copies/µg/1000"]
ODD += [
    "sd_copies_ug",
    "1000 copies/ug",
    "copies per 1e6 cells",
    "million copies/ug",
    "SE (copies/ug)",
    "copies/2 T cells",
]


@pytest.mark.parametrize("name", ODD)
def test_a_heading_with_a_factor_is_neither_proposed_nor_read(read, name):
    text = f"subject,day,{name}\nA,7,50\nA,14,30\n"
    with pytest.raises(StudyError) as said:
        read(text)
    assert "columns={'value': '" not in str(said.value)
    with pytest.raises(StudyError, match=r"says a factor or another unit.*(?i:convert)"):
        read(text, columns={"value": name})


@pytest.mark.parametrize("name", ["LLOQ x1000", "10^3 copies/ug limit", "kcopies/ug"])
def test_a_limit_in_another_factor_is_refused(read, name):
    with pytest.raises(StudyError, match="says a factor or another unit"):
        read(f"subject,day,dv,{name}\nA,7,50,3\nA,14,30,3\n", columns={"lloq": name})


@pytest.mark.parametrize(
    "name",
    [
        "copies_per_ug",
        "qPCR copies",
        "Copies/µg gDNA",
        "CAR19 copies",
        "DV2",
        "value_2",
        "copies_per_ug_rep1",
        "result 1",
    ],
)
def test_a_heading_without_a_factor_is_read(read, name):
    assert not odd_unit(name)
    study = read(f"subject,day,{name}\nA,7,50\nA,14,30\n", columns={"value": name})
    assert study.used["value"].tolist() == [50, 30]


@pytest.mark.parametrize("name", ["copies per 100 ng", "copies_per_50_ng", "copies/cell", "cells/uL", "copies_per_ml"])
def test_a_unit_that_is_known_is_no_factor(name):
    assert not odd_unit(name)


@pytest.mark.parametrize("name", ["copies/ug (LLOQ=3)", "copies/ug (LOQ 3)", "copies/ug [LLOQ: 3]"])
def test_a_limit_in_the_heading_of_the_values_is_to_be_given(name):
    table = pd.DataFrame({"subject": "A", "day": [7, 28], name: ["100", "1.5"]})
    with pytest.raises(StudyError, match=r"says a limit. Name the column .* and give read_study\(..., lloq=3\)"):
        ck.read_study(table)
