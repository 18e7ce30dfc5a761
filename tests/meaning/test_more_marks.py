"""Limits, exclusions, verdicts and units by further names, and remedies that are followed to no wrong study."""

import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics import read_study

ROWS = [("A", 7, 5000), ("A", 28, 100), ("A", 60, 1.4), ("B", 7, 4000), ("B", 28, 90), ("B", 60, 2.4), ("B", 90, 1.9)]
LOW = [value < 3 for _, _, value in ROWS]
STATUSES = ["below" if low else "quantified" for low in LOW]


def table(name, cells, rows=ROWS, value="copies_per_ug"):
    frame = pd.DataFrame(rows, columns=["subject", "day", value]).astype({value: "str"})
    return frame.assign(dose=1e6, **{name: [str(cell) for cell in cells]})


def on_low(name, other, cell):
    return table(name, [cell if low else other for low in LOW])


@pytest.mark.parametrize(
    "name", ["QL", "LQL", "QLL", "PCLLOQN", "BQL_limit", "quantitation cut", "quant_cut", "LLoQ_val", "lower cut"]
)
def test_a_lower_limit_by_another_name_is_refused_and_its_remedy_censors(name):
    frame = table(name, [3] * 7)
    assert f"columns={{'lloq': {name!r}}}" in refusal(frame)
    assert read_study(frame, columns={"lloq": name}).used["status"].tolist() == STATUSES


@pytest.mark.parametrize("name", ["UQL", "HLOQ", "max quant", "ULoQN"])
def test_an_upper_limit_by_another_name_is_refused_and_its_remedy_censors(name):
    frame = table(name, [1000] * 7)
    assert f"columns={{'uloq': {name!r}}}" in refusal(frame)
    assert read_study(frame, columns={"uloq": name}).counts["above"] == 2


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("cut of sample", ["a"] * 7),
        ("QLQ_C30", [50, 60, 70, 55, 65, 75, 80]),
        ("max grade", [2] * 7),
        ("level", [3] * 7),
    ],
)
def test_names_near_those_of_limits_pass(name, cells):
    assert len(silently(table(name, cells)).used) == 7


EXCLUSIONS = [
    ("disregard", "0", "1"),
    ("PKEVAL", "Y", "N"),
    ("PKANLFL", "Y", "N"),
    ("ANL01FL", "Y", "N"),
    ("in_analysis_set", "1", "0"),
    ("QCpass", "1", "0"),
    ("nonevaluable", "0", "1"),
    ("void", "", "x"),
    ("retracted", "no", "yes"),
    ("superseded", "0", "1"),
    ("del", "0", "1"),
    ("problem", "0", "1"),
    ("anomaly", "0", "1"),
    ("error", "0", "1"),
    ("qc_status", "ok", "repeat"),
    ("QC", "pass", "rerun"),
    ("withdrawn result", "no", "yes"),
    ("flagged", "0", "1"),
]


@pytest.mark.parametrize(("name", "other", "cell"), EXCLUSIONS)
def test_an_exclusion_by_another_name_is_refused(name, other, cell):
    frame = table(name, [other, other, cell, other, other, other, other])
    said = refusal(frame)
    assert f"the column {name} is not read" in said and "to be used" in said
    if "'excluded'" in said:
        assert read_study(frame, columns={"excluded": name}).exclusions == {"excluded in the file": 1}


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("withdrawn_consent", ["0", "0", "1", "0", "0", "1", "1"]),
        ("liver_problem", ["0", "1", "0", "0", "0", "1", "0"]),
        ("reinfusion planned", ["no", "yes", "no", "no", "no", "yes", "no"]),
        ("problem list", ["fever", "", "", "rash", "", "", ""]),
        ("draw", ["first", "repeat", "first", "first", "repeat", "first", "first"]),
    ],
)
def test_problems_of_patients_are_no_exclusions(name, cells):
    assert len(silently(table(name, cells)).used) == 7


VERDICTS = [
    ("detection", "quantifiable", "detectable"),
    ("prefix", "", "less than"),
    ("DTYPE", "", "HALFLLOQ"),
    ("reportable", "Y", "N"),
    ("uncensored", "1", "0"),
    ("dl_flag", "0", "1"),
    ("footnote", "", "*"),
    ("note", "", "upper bound"),
    ("measured", "yes", "no"),
    ("kind_of_value", "exact", "sub-LLOQ"),
]


@pytest.mark.parametrize(("name", "other", "cell"), VERDICTS)
def test_a_verdict_on_lowest_values_that_differ_is_refused(name, other, cell):
    frame = on_low(name, other, cell)
    said = refusal(frame)
    assert f"the column {name} is not read" in said and "blq" in said
    marked = frame.drop(columns=name).assign(blq=[int(low) for low in LOW])
    assert read_study(marked, lloq=3).used["status"].tolist() == STATUSES


@pytest.mark.parametrize(
    ("name", "other", "cell"), [("footnote", "*", ""), ("drawn", "clinic", "home"), ("sampling prefix", "V1", "V2")]
)
def test_what_else_stands_there_passes(name, other, cell):
    cells = [other, cell, other, other, cell, cell, other]
    assert len(silently(table(name, cells)).used) == 7


@pytest.mark.parametrize(
    ("name", "cell", "unit"),
    [
        ("denominator", "mL blood", "copies/mL"),
        ("normalised to", "100 ng DNA", "copies/100 ng"),
        ("reference", "per cell", "copies/cell"),
        ("basis", "per mL", "copies/mL"),
        ("per", "100 ng", "copies/100 ng"),
    ],
)
def test_what_values_are_divided_by_is_a_unit_and_its_remedy_is_that_unit(name, cell, unit):
    frame = table(name, [cell] * 7, value="DV")
    assert f"read_study(..., unit={unit!r})" in refusal(frame)
    assert read_study(frame, unit=unit).unit == unit
    assert read_study(table(name, ["ug DNA"] * 7, value="DV")).unit == "copies/ug"
    assert read_study(table(name, ["laboratory A"] * 7, value="DV")).unit == "copies/ug"


def test_copies_per_cells_are_a_unit_of_values_and_of_no_dose():
    said = refusal(table("VALU", ["copies/10^6 cells"] * 7, value="DV"))
    assert "a unit of the values (copies/10^6 cells)" in said and "dose_unit" not in said


@pytest.mark.parametrize("name", ["x10^", "x10", "10^", "exponent"])
def test_a_power_of_ten_is_said_to_be_one(name):
    said = refusal(table(name, [3, 2, 1, 3, 2, 1, 1]))
    assert "power of ten of the values (" in said and "10 to the power of it" in said
    assert len(silently(table(name, [0] * 7)).used) == 7


def test_a_factor_of_dilution_by_another_name_is_refused():
    assert "a dilution of the samples (10)" in refusal(table("DILFAC", [1, 1, 10, 1, 1, 10, 10]))
    assert len(silently(table("DILFAC", [1] * 7)).used) == 7


@pytest.mark.parametrize("name", ["over LLOQ", "AboveLLOQ", "not_BLQ", "LLOQ_flag"])
def test_a_flag_of_which_yes_means_measured_is_not_offered_as_blq(name):
    said = refusal(on_low(name, "1", "0"))
    assert "columns=" not in said and "1 for below the limit and 0 elsewhere" in said
    assert "columns={'blq': 'LLOQ_flag'}" in refusal(on_low("LLOQ_flag", "0", "1"))


def test_a_flag_of_the_upper_limit_is_not_offered_as_blq():
    assert "Write > and the upper limit" in refusal(table("above ULOQ", [1, 0, 0, 1, 0, 0, 0]))


def test_the_day_of_an_infusion_is_not_said_to_be_nothing():
    days = {"subject": "A", "days from enrollment": [30, 37, 58], "copies_per_ug": [0, 5000, 100]}
    frame = pd.DataFrame(days | {"dose": 1e6, "infusion day": 30})
    columns = {"day": "days from enrollment"}
    said = refusal(frame, columns=columns, lloq=3)
    assert "Give the infusion a row without a value" in said and "says nothing" not in said
    right = frame.assign(dose=[1e6, None, None], copies_per_ug=[None, 5000, 100])
    study = read_study(right, columns=columns, lloq=3, ignore=["infusion day"])
    assert study.infusion_day("A") == 30 and study.counts["below"] == 0
