"""Spellings of one unit, logarithms, and what a heading says."""

import pytest

from cellkinetics.meaning.units import canonical, duration_of, is_log, time_unit_of, unit_of_heading


@pytest.mark.parametrize(
    ("unit", "same"),
    [
        *(
            (each, "copies/ug")
            for each in ("copies/µg", "copies/\u03bcg DNA", "Copies/ug gDNA", "copies per ug", "copies/ug")
        ),
        *((each, "cells/uL") for each in ("cells/µL", "cells/mm3", "Cells per microliter", "cells/uL blood")),
        *((each, "cells/kg") for each in ("CAR+ cells/kg", "cells per kg", "viable cells/kg")),
        ("total CAR-T cells", "cells"),
        ("copies/ 100 ng", "copies/100 ng"),
    ],
)
def test_one_unit_has_one_spelling(unit, same):
    assert canonical(unit) == same


@pytest.mark.parametrize(
    "unit", ["10^6 cells/kg", "million cells/kg", "1e6 cells/kg", "IU/L", "copies/ug protein", "%"]
)
def test_other_units_stay_as_they_are(unit):
    assert canonical(unit) == unit


@pytest.mark.parametrize(
    "text", ["log10 copies/ug", "LNDV", "log_copies", "ln(copies)", "Log10 copies/µg", "log2 copies"]
)
def test_logarithms_are_known(text):
    assert is_log(text)


@pytest.mark.parametrize("text", ["catalog", "logistics", "copies/ug", "biology", "sublingual", "lng", "online"])
def test_other_words_with_log_in_them_are_none(text):
    assert not is_log(text)


@pytest.mark.parametrize(
    ("heading", "unit"),
    [
        ("copies per 100 ng", "copies/100 ng"),
        ("copies_per_50ng_DNA", "copies/50 ng"),
        ("CAR copies / mL blood", "copies/mL"),
        ("Dose (cells)", "cells"),
        ("cells_per_ul", "cells/uL"),
        ("dose (10^6 cells/kg)", "10^6 cells/kg"),
        ("log10_copies_per_ug", "the logarithm of copies/ug"),
        *((each, "") for each in ("DV", "copies", "TIME (h)", "result (day 7)", "dose_per_kg")),
    ],
)
def test_a_heading_says_its_unit(heading, unit):
    assert unit_of_heading(heading) == unit


def test_units_of_time_and_durations():
    assert [time_unit_of(text) for text in ("HR", "days", "wk", "kg")] == ["hour", "day", "week", ""]
    assert duration_of("36 h") == pytest.approx(1.5)
    assert duration_of("30 min") == pytest.approx(30 / 1440)
    assert duration_of("30") is None
