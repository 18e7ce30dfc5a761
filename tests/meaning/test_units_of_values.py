"""In what the values are, told by the heading that is named as the value, and by the names of measurements."""

import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics.meaning.units import may_be_copies, other_unit_said

DAYS = (7, 14, 28, 60)


def named(heading):
    """One patient whose values stand under a heading."""
    return pd.DataFrame({"ID": "A", "day": DAYS, heading: [5210, 1830, 421, 6.1]})


def pairs(name, first, second):
    """Two measurements of each day, told apart by a column."""
    rows = [("A", day, value, cell) for day in DAYS for value, cell in ((5210 / day, first), (903 / day, second))]
    return pd.DataFrame(rows, columns=["ID", "day", "DV", name])


@pytest.mark.parametrize(
    "heading",
    ["NK_uL", "CAR+ NK per mm3", "CAR+/mL", "absolute count", "events", "copies_M", "transgene_l10", "RESULTLOG",
     "delta delta Cq", "relative quantity", "pct CAR of CD56", "frequency", "gMFI", "AUC 0-28", "kilocopies", "x",
     "Anzahl", "taux", "copies/10^5 cells", "chimerism"],
)  # fmt: skip
def test_a_mapped_heading_with_any_word_that_may_be_a_unit_is_not_read_as_copies_per_ug(heading):
    said = refusal(named(heading), columns={"value": heading})
    assert heading in said
    assert "columns={'value'" not in said


@pytest.mark.parametrize("heading", ["kinetics in blood", "NK_uL", "Anzahl", "signal"])
def test_a_unit_that_is_said_answers_for_any_heading(heading):
    for unit in ("copies/ug", "cells/uL"):
        assert silently(named(heading), columns={"value": heading}, unit=unit).unit == unit
    assert silently(named(heading), columns={"copies_per_ug": heading}).unit == "copies/ug"
    assert silently(named(heading).assign(unit="cells/uL"), columns={"value": heading}).unit == "cells/uL"


@pytest.mark.parametrize(
    "heading",
    ["CAR_copies_per_ug_PB", "CAR19 transgene", "Ergebnis", "valeur mesurée", "PCORRES", "LBSTRESC", "qPCR level",
     "copies per ug gDNA", "copies_per_ug_rep1", "Kopien/µg DNA", "resultado"],
)  # fmt: skip
def test_a_mapped_heading_that_says_copies_per_ug_or_nothing_passes(heading):
    assert silently(named(heading), columns={"value": heading}).unit == "copies/ug"


def test_no_call_that_is_printed_reads_another_unit_as_copies_per_ug():
    for heading in ("copies_k", "transgene_l10", "CAR copies uL", "conc_per_mm3"):
        said = refusal(named(heading))
        assert f"columns={{'value': {heading!r}}})" not in said


def test_a_heading_is_of_copies_when_no_word_of_it_can_be_a_unit():
    assert not may_be_copies("")
    assert not may_be_copies("10^3 copies")
    assert may_be_copies("y")


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("TEST", "CAR-NK cells per mm3", "CAR transgene"),
        ("measure", "ln copies", "copies"),
        ("platform", "Durchflusszytometrie", "qPCR"),
        ("analyte", "CAR+ of CD56+ (%)", "CAR transgene"),
        ("endpoint", "VCN", "CAR copies"),
        ("marker", "CAR copies/100 ng", "CAR copies/ug"),
        ("DVID", "Cq", "copies/ug"),
    ],
)
def test_an_output_that_says_another_unit_than_its_values_is_refused_whatever_column_it_is(name, first, second):
    given = {} if name == "DVID" else {"columns": {"output": name}}
    said = refusal(pairs(name, first, second), **given)
    assert f"the column {name} says {first!r}" in said
    assert f"says {second!r}" not in said


def test_outputs_with_their_units_are_read_and_logarithms_never():
    frame = pairs("analyte", "CAR+ cells/uL", "CAR copies/ug")
    frame["unit"] = ["cells/uL", "copies/ug"] * len(DAYS)
    study = silently(frame, columns={"output": "analyte"})
    assert study.observations.groupby("output")["unit"].unique().str[0].to_dict() == {
        "CAR+ cells/uL": "cells/uL", "CAR copies/ug": "copies/ug",
    }  # fmt: skip
    assert "untransformed" in refusal(pairs("what", "log10 copies", "copies"), columns={"output": "what"})


@pytest.mark.parametrize(
    "names", [("blood", "marrow"), ("CAR copies", "RNA"), ("qPCR", "ddPCR"), ("1", "2"), ("a/b", "c")]
)
def test_outputs_that_say_no_unit_pass(names):
    assert len(silently(pairs("DVID", *names)).used) == 2 * len(DAYS)


def test_what_an_output_says_is_compared_with_the_unit_of_its_values():
    assert other_unit_said("CAR+ cells per uL", "cells/uL") == ""
    assert other_unit_said("CAR+ cells per uL", "cells/mL") == "cells/uL"
    assert other_unit_said("CAR (%)", "%") == ""
