"""Factors and words before a unit, units beside the weight and the limits, and headings about units: never dropped."""

import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics.meaning.units import canonical, strange, unit_of_amount

DAYS, VALUES = [7, 14, 28, 60, 90], ["5210", "1830", "421", "37.2", "6.1"]


def table(dose="1e6", **columns):
    """One subject with a dose and five samples; a column is one cell on every row, or (dose row, samples)."""
    rows = [{"ID": "A", "TIME": "0", "DV": "", "AMT": dose}]
    rows += [{"ID": "A", "TIME": str(day), "DV": value, "AMT": ""} for day, value in zip(DAYS, VALUES, strict=True)]
    for name, cell in columns.items():
        first, rest = cell if isinstance(cell, tuple) else (cell, cell)
        for row in rows:
            row[name] = first if row["AMT"] else rest
    return pd.DataFrame(rows)


FACTORS = ["mio", "M", "e6", "k", "MM", "Mio.", "thousand", "lakh", "Tsd.", "10E6", "mega", "x10^6", "foo"]


@pytest.mark.parametrize("factor", FACTORS)
def test_a_factor_or_an_unknown_word_before_a_unit_is_never_dropped(factor):
    for unit in ("cells/kg", "copies/ug", "cells/uL"):
        assert canonical(f"{factor} {unit}") == f"{factor} {unit}"
        assert strange(f"{factor} {unit}")
    assert f"{factor} cells/kg" in refusal(table("5"), dose_unit=f"{factor} cells/kg")
    assert f"{factor} cells/kg" in refusal(table("5", dose_unit=(f"{factor} cells/kg", "")))
    assert f"{factor} copies/ug" in refusal(table(), unit=f"{factor} copies/ug")
    assert f"{factor} copies/ug" in refusal(table(unit=f"{factor} copies/ug"))


@pytest.mark.parametrize("factor", FACTORS)
def test_a_factor_in_a_heading_is_refused_and_no_remedy_takes_it_for_a_unit(factor):
    dose = refusal(table("5").rename(columns={"AMT": f"Dose ({factor} cells/kg)"}))
    assert "Write the cells out" in dose
    assert "dose_unit='" not in dose
    value = refusal(table().rename(columns={"DV": f"DV ({factor} copies/ug)"}))
    assert "unit='" not in value


@pytest.mark.parametrize(
    ("unit", "plainly"),
    [
        ("viable CAR+ T cells/kg", "cells/kg"),
        ("CD19 CAR-NK cells/kg", "cells/kg"),
        ("autologous transduced T cells per kg", "cells/kg"),
        ("CD3+ CAR+ cells/uL", "cells/uL"),
        ("anti-BCMA CAR copies/ug gDNA", "copies/ug"),
        ("B cells/mm3", "cells/uL"),
    ],
)
def test_words_that_say_which_cells_or_copies_are_part_of_no_factor(unit, plainly):
    assert canonical(unit) == plainly
    assert not strange(unit)
    study = silently(table(), **{"dose_unit" if plainly == "cells/kg" else "unit": unit})
    assert plainly in (study.dose_unit, study.unit)


@pytest.mark.parametrize("unit", ["cells/kg x10^6", "copies/ug x1000", "copies/ug * 1e3", "cells/uL (thousand)"])
def test_a_factor_behind_a_unit_is_refused(unit):
    option = {"dose_unit": unit} if "kg" in unit else {"unit": unit}
    assert unit in refusal(table(), **option)


@pytest.mark.parametrize("unit", ["copies/100 ng", "copies/1e5 PBMC", "IU/mL", "% of CAR+ cells", "copies/10^5 cells"])
def test_units_of_other_kinds_are_taken_as_they_stand(unit):
    assert not strange(unit)
    assert silently(table(), unit=unit).unit == canonical(unit)


def test_a_unit_per_kg_with_an_unknown_word_is_one_with_a_factor():
    assert unit_of_amount("MM cells/kg") == ("MM cells/kg", False)
    assert unit_of_amount("NK92 cells") == ("", False)
    assert "Write the cells out" in refusal(table("5", **{"given as": ("crore cells/kg", "")}))


@pytest.mark.parametrize("unit", ["Mcells/kg", "M/kg", "MM/kg", "k", "kcells", "lakh/kg"])
def test_a_factor_of_doses_in_one_word_or_without_a_word_for_cells_is_refused(unit):
    assert "a factor" in refusal(table("5"), dose_unit=unit)
    assert "a factor" in refusal(table("5", dose_unit=(unit, "")))


@pytest.mark.parametrize("unit", ["kcopies/ug", "Mcopies/mL", "kcells/uL"])
def test_a_factor_of_values_in_one_word_is_refused(unit):
    assert "has a factor" in refusal(table(), unit=unit)
    assert "has a factor" in refusal(table(unit=("", unit)))


UNITS_OF_WEIGHT = [
    ("weight_unit", "lb"),
    ("WTU", "lbs"),
    ("bw_unit", "pounds"),
    ("Gewichtseinheit", "Pfund"),
    ("unit of weight", "stone"),
    ("VSSTRESU", "LB"),
    ("wt (uom)", "g"),
    ("WTBLU", "oz"),
]


@pytest.mark.parametrize(("name", "cell"), UNITS_OF_WEIGHT)
def test_the_unit_of_a_weight_in_a_column_of_its_own_is_read_where_the_weight_is_used(name, cell):
    frame = table("7e7", weight="70", **{name: cell})
    said = refusal(frame, dose_unit="cells")
    assert name in said
    assert "weight_kg" in said
    assert silently(frame, dose_unit="cells", ignore=["weight"]).doses["amount"].tolist() == [7e7]
    assert silently(frame).doses["unit"].tolist() == ["cells/kg"]


@pytest.mark.parametrize(
    ("name", "cell"), [("weight_unit", "kg"), ("WTU", "Kg"), ("bw_unit", "kilograms"), ("visit", "lb"), ("grade", "st")]
)
def test_kg_beside_a_weight_and_other_columns_are_no_other_unit(name, cell):
    frame = table("7e7", weight="70", **{name: cell})
    if cell == "lb":
        assert "weight_kg" in refusal(frame, dose_unit="cells")
        return
    assert silently(frame, dose_unit="cells").doses["amount"].tolist() == [1e6]


LIMITS = [
    ("LLOQ_per_mL", "lloq"),
    ("lod_log10", "lod"),
    ("ULOQ per 100ng", "uloq"),
    ("LLOQ_cells", "lloq"),
    ("lod_iu_ml", "lod"),
    ("LLOQ/well DNA", "lloq"),
]


@pytest.mark.parametrize(("name", "meaning"), LIMITS)
def test_a_limit_in_another_unit_is_neither_proposed_nor_taken(name, meaning):
    frame = table(**{name: ("", "10")})
    assert "columns=" not in refusal(frame)
    assert name in refusal(frame, columns={meaning: name})
    assert len(silently(frame, ignore=[name]).used) == 5


@pytest.mark.parametrize("name", ["LLOQ copies/ug DNA", "qpcr lloq run", "lloq_value", "LLOQ copies"])
def test_a_limit_in_the_unit_of_the_values_is_proposed_and_taken(name):
    frame = table(**{name: ("", "10")})
    assert f"columns={{'lloq': {name!r}}}" in refusal(frame)
    assert silently(frame, columns={"lloq": name}).used["status"].tolist() == ["quantified"] * 4 + ["below"]


@pytest.mark.parametrize("cells", [("T", "F"), ("1", "2")])
def test_a_flag_that_a_column_excluded_would_take_for_reasons_is_not_proposed_as_one(cells):
    frame = table(omit_row=("", cells[1]))
    frame.loc[4, "omit_row"] = cells[0]
    said = refusal(frame)
    assert "Say it in a column excluded" in said
    assert "columns=" not in said


@pytest.mark.parametrize(
    ("name", "cell"),
    [("dvunit", "GE/mL"), ("res_units", "IU per uL"), ("site_unit", "copies/mL"), ("Laboreinheit", "c/mL")],
)
def test_a_heading_about_units_with_any_word_beside_it_is_looked_at(name, cell):
    assert f"columns={{'unit': {name!r}}}" in refusal(table(**{name: ("", cell)}))
    partly = table(**{name: ("", cell)})
    partly.loc[5, name] = ""
    assert "Say the unit of every value" in refusal(partly)


@pytest.mark.parametrize(
    ("name", "cell"), [("site_unit", "ICU"), ("ward_unit", "3/L"), ("age_unit", "years"), ("dose_uom", "mg/mL")]
)
def test_units_of_hospitals_and_of_other_things_are_none_of_values(name, cell):
    assert len(silently(table(**{name: ("", cell)})).used) == 5


@pytest.mark.parametrize(
    ("name", "cell", "unit"),
    [("tu", "h", "hour"), ("time_scale", "h", "hour"), ("clock", "hours", "hour"), ("T unit", "wk", "week"),
     ("Zeit in", "h", "hour"), ("sampling interval", "w", "week")],
)  # fmt: skip
def test_one_letter_under_a_heading_of_time_is_its_unit(name, cell, unit):
    frame = table(**{name: cell})
    assert f"time_unit={unit!r}" in refusal(frame)
    days = {"hour": 1 / 24, "week": 7}[unit]
    assert silently(frame, time_unit=unit).used["day"].tolist() == pytest.approx([day * days for day in DAYS])


@pytest.mark.parametrize(("name", "cell"), [("sex", "W"), ("clock", "14:30"), ("tu", "d"), ("time_scale", "days")])
def test_days_hours_of_the_clock_and_other_letters_are_no_unit_of_the_times(name, cell):
    assert silently(table(**{name: cell})).used["day"].tolist() == DAYS
