"""Kinds of tables that say in passing that their numbers are something else, and neighbours that do not."""

import numpy as np
import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyWarning
from cellkinetics.meaning import titles
from cellkinetics.meaning.floors import likely
from cellkinetics.meaning.units import canonical, is_log

DAYS, HIGH, LOW = [7, 14, 28, 60, 90], [5200, 1310, 96], [2.2, 1.7]


def samples(**columns):
    """Two subjects with five samples after a dose of 1e6; a column is (dose row, high, low)."""
    rows = []
    for subject, factor in (("A", 1.0), ("B", 0.7)):
        rows.append(
            {"ID": subject, "TIME": 0, "DV": "", "AMT": "1e6"} | {key: cells[0] for key, cells in columns.items()}
        )
        for day, value in zip(DAYS, [*HIGH, *LOW], strict=True):
            said = {key: cells[2 if value < 5 else 1] for key, cells in columns.items()}
            rows.append({"ID": subject, "TIME": day, "DV": f"{value * factor:.5g}", "AMT": ""} | said)
    return pd.DataFrame(rows).astype("str")


def mapped(value="DV", day="TIME", numbers=("3.7", "3.1", "1.9")):
    return pd.DataFrame({"ID": "A", day: ["7", "14", "28"], value: numbers})


@pytest.mark.parametrize(
    ("heading", "unit"),
    [
        ("TAFD (hr)", "hour"),
        ("TSFD_hr", "hour"),
        ("h", "hour"),
        ("WK", "week"),
        ("study week", "week"),
        ("HPI", "hour"),
    ],
)
@pytest.mark.parametrize("meaning", ["day", "nominal_day"])
def test_any_word_of_a_mapped_time_that_is_a_unit_says_it(heading, unit, meaning):
    frame, columns = mapped(day=heading), {meaning: heading}
    assert f"time_unit={unit!r}" in refusal(frame, columns=columns)
    days = read_study(frame, columns=columns, time_unit=unit).used["day"]
    assert days.tolist() == pytest.approx(np.array([7, 14, 28]) * {"hour": 1 / 24, "week": 7}[unit])


@pytest.mark.parametrize("heading", ["elapsed (min)", "year"])
def test_a_mapped_time_in_a_unit_that_is_not_taken_is_refused(heading):
    assert "Give the times in days." in refusal(mapped(day=heading), columns={"day": heading})


@pytest.mark.parametrize("heading", ["Tag", "PI day", "T (d)", "study day of sample"])
def test_a_mapped_time_that_says_days_or_nothing_is_in_days(heading):
    assert silently(mapped(day=heading), columns={"day": heading}).used["day"].tolist() == [7, 14, 28]


def test_study_days_in_german_have_no_day_0_where_none_stands_there():
    frame = mapped(day="Studientag")
    assert silently(frame, columns={"day": "Studientag"}).used["day"].tolist() == [6, 13, 27]
    frame.loc[0, "Studientag"] = "0"
    assert read_study(frame, columns={"day": "Studientag"}).observations["day"].tolist() == [0, 14, 28]


@pytest.mark.parametrize("name", ["nominal week", "nominal time (h)"])
def test_a_nominal_time_in_weeks_is_no_reason_to_convert_the_day_beside_it(name):
    frame = samples(**{name: ("0", "1", "2")})
    said = refusal(frame)
    assert f"ignore=[{name!r}]" in said
    assert "time_unit" not in said
    assert read_study(frame, ignore=[name]).used["day"].tolist() == DAYS * 2


@pytest.mark.parametrize(
    ("name", "cell", "remedy"),
    [
        ("Dosiseinheit", "Zellen", "dose_unit"),
        ("AMT UNIT TEXT", "10^6 cells", "Write the cells out"),
        ("given as", "million cells/kg", "Write the cells out"),
        ("dose u", "x10^8 cells", "Write the cells out"),
    ],
)
def test_a_unit_of_doses_is_found_by_its_cells(name, cell, remedy):
    frame = samples(**{name: (cell, "", "")})
    assert remedy in refusal(frame)
    assert silently(frame, ignore=[name]).dose_unit == "cells/kg"


@pytest.mark.parametrize(("name", "cell"), [("dose as", "cells/kg"), ("product", "cells"), ("product", "CAR-T cells")])
def test_the_unit_in_force_and_a_product_are_no_other_unit_of_doses(name, cell):
    assert silently(samples(**{name: (cell, "", "")})).dose_unit == "cells/kg"


def test_a_dose_per_kg_contradicts_doses_in_cells():
    frame = samples(weight=("70", "70", "70")).rename(columns={"AMT": "dose_per_kg"})
    assert "dose_per_kg says cells/kg" in refusal(frame, dose_unit="cells")


@pytest.mark.parametrize(
    ("name", "cell"),
    [("Einheit", "Kopien/mL"), ("Unidad", "copias/mL"), ("result units", "GE/mL"), ("uom", "%")],
)
def test_a_unit_of_values_is_found_in_other_languages(name, cell):
    assert f"columns={{'unit': {name!r}}}" in refusal(samples(**{name: ("", cell, cell)}))


@pytest.mark.parametrize(("name", "cell"), [("Einheit", "Kopien/µg"), ("per", "ug"), ("Einheit", "Station 3")])
def test_a_unit_that_is_that_of_the_study_or_none_passes(name, cell):
    assert silently(samples(**{name: ("", cell, cell)})).unit == "copies/ug"


@pytest.mark.parametrize(
    "heading",
    ["Kopien/mL", "copias/mL", "copie/ml", "c/mL", "Zellen/µl", "genome equivalents/mL", "VCN", "Ct", "conc_ng_ml"],
)
def test_a_mapped_value_in_another_unit_is_never_read_as_copies_per_ug(heading):
    refusal(mapped(heading), columns={"value": heading})


@pytest.mark.parametrize("heading", ["Kopien/µg", "transgene", "Messwert", "qPCR copies"])
def test_a_mapped_value_that_says_no_other_unit_is_read(heading):
    assert silently(mapped(heading), columns={"value": heading}).used["value"].tolist() == [3.7, 3.1, 1.9]


def test_units_in_other_languages_have_one_spelling():
    assert [canonical(unit) for unit in ("Kopien/µg", "copias por 100 ng", "Zellen/µl", "células/kg")] == [
        "copies/ug", "copies/100 ng", "cells/uL", "cells/kg",
    ]  # fmt: skip


def test_a_limit_in_another_unit_than_the_study_is_refused_though_nobody_named_it():
    frame = samples(**{"LLOQ (copies/ug)": ("", "3", "3")})
    assert "LLOQ (copies/ug) says copies/ug" in refusal(frame, unit="copies/mL")
    assert read_study(frame).lloq == 3


@pytest.mark.parametrize(
    "heading",
    ["LDV", "L10DV", "DVLOG", "copiesLog", "logVCN", "Logarithm of copies", "Zehnerlogarithmus", "logarithme"],
)
def test_a_logarithm_in_one_word_is_refused_as_a_value_and_as_a_unit(heading):
    assert "logarithms" in refusal(mapped(heading), columns={"value": heading})
    assert "is a logarithm" in refusal(mapped(), unit=heading)


@pytest.mark.parametrize("heading", ["catalog", "LCAR", "dialog", "biology", "lot", "plasma"])
def test_no_other_word_is_a_logarithm(heading):
    assert not is_log(heading)


@pytest.mark.parametrize(("name", "cell"), [("log_transformed", "yes"), ("multiplier", "1000"), ("exponent", "3")])
def test_a_column_by_which_the_values_are_to_be_changed_is_refused(name, cell):
    assert "Give the values" in refusal(samples(**{name: ("", cell, cell)}))
    nothing = {"log_transformed": "no", "multiplier": "1", "exponent": "0"}[name]
    silently(samples(**{name: ("", nothing, nothing)}))


MARKS = {
    "Ct": ("", "24.1", "Undetermined"), "imputed": ("", "no", "yes"), "neg": ("", "0", "1"), "det": ("", "1", "0"),
    "Det.": ("", "Y", "N"), "amplified": ("", "yes", "no"), "comments": ("", "", "too low to quantify"),
    "remark": ("", "", "outside the standard curve"), "comment": ("", "", "result below reporting threshold"),
    "report_status": ("", "final", "preliminary"), "strike": ("", "", "x"), "quality": ("", "good", "poor"),
    "valid": ("", "1", "2"),
}  # fmt: skip


@pytest.mark.parametrize("name", MARKS)
def test_marks_and_exclusions_by_more_words_are_refused(name):
    assert f"ignore=[{name!r}]" in refusal(samples(**{name: MARKS[name]}))


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("Ct", ("", "24.1", "36.2")), ("comments", ("", "", "not detected by PET")),
        ("venous access", ("", "", "poor")),
        ("comment", ("", "", "relapse not detected")), ("hospital", ("", "UKE", "home")),
        ("note", ("", "", "CRP below limit")), ("arm", ("1", "1", "1")),
    ],
)  # fmt: skip
def test_their_neighbours_pass_without_a_word(name, cells):
    assert set(silently(samples(**{name: cells})).used["status"]) == {"quantified"}


@pytest.mark.parametrize(
    "name",
    ["quantif. limit (copies/ug)", "qPCR cut-off", "assay lower bound", "min_quant", "lowest_standard", "limite inf.",
     "bepalingsgrens"],
)  # fmt: skip
def test_limits_in_more_words_are_refused(name):
    frame = samples(**{name: ("", "1.1", "1.1")})
    assert f"columns={{'lloq': {name!r}}}" in refusal(frame)
    assert read_study(frame, columns={"lloq": name}).lloq == 1.1


@pytest.mark.parametrize(
    "cells",
    [("D7 PB", "D7 BM"), ("D7 blood", "D28 marrow"), ("bloed", "beenmerg"), ("PB", "leukapheresis"), ("gDNA", "cDNA")],
)
@pytest.mark.parametrize("name", ["visit", "sample", "template"])
def test_a_specimen_within_the_cells_of_any_column_is_refused(cells, name):
    assert repr(name) in refusal(samples(**{name: ("", *cells)}))


@pytest.mark.parametrize("cells", [("D7", "D28"), ("gDNA", "gDNA"), ("tube 1", "tube 2")])
def test_visits_without_a_specimen_pass(cells):
    silently(samples(sample=("", *cells)))


def test_one_name_at_two_sites_is_refused_and_a_patient_who_moves_is_one():
    frame = pd.DataFrame(
        {"ID": "1", "Zentrum": ["B", "B", "M", "M"], "TIME": [7, 14, 9, 17], "DV": [900, 300, 850, 250]}
    )
    assert "ignore=['Zentrum']" in refusal(frame)
    assert len(silently(frame, ignore=["Zentrum"]).used) == 4
    assert len(silently(frame.assign(TIME=[7, 14, 28, 60])).used) == 4


@pytest.mark.parametrize("name", ["Cycle #", "Zyklus-Nr", "Infusion Nr."])
def test_courses_with_a_number_in_their_heading_are_courses(name):
    frame = pd.DataFrame({"ID": "1", name: [1, 1, 2, 2], "TIME": [7, 14, 7, 14], "DV": [900, 300, 850, 250]})
    assert "lie on each other" in refusal(frame)


@pytest.mark.parametrize("name", ["NTC", "neg ctrl", "QC_low", "STD1", "blank", "LLOQ", "H2O"])
def test_controls_are_no_patients(name):
    frame = pd.DataFrame({"ID": ["1", "1", name], "TIME": [7, 14, 7], "DV": [900, 300, 1]})
    assert f"{name!r} is the name of a control" in refusal(frame)


@pytest.mark.parametrize("name", ["C1", "QC-01", "P-STD", "Blanka", "N1"])
def test_patients_with_names_like_those_are_patients(name):
    frame = pd.DataFrame({"ID": ["1", "1", name], "TIME": [7, 14, 7], "DV": [900, 300, 1]})
    assert silently(frame).subjects == ("1", name)


@pytest.mark.parametrize("pair", [("LL", "UL"), ("von", "bis"), ("min", "max"), ("low", "high")])
def test_ends_by_other_names_are_ends_where_the_value_is_empty(pair):
    frame = pd.DataFrame({"ID": "1", "TIME": [7, 28, 60], "DV": ["900", "", ""]})
    ends = dict(zip(pair, (["", "0", "1"], ["", "3", "3"]), strict=True))
    study = silently(frame.assign(**ends))
    assert study.used[["status", "lower", "upper"]].to_numpy().tolist()[1:] == [["below", 0, 3], ["interval", 1, 3]]
    # Around a value they are its range, or that of another thing.
    around = dict(zip(pair, (["800", "0", "1"], ["1000", "3", "3"]), strict=True))
    assert silently(frame.assign(**around)).exclusions == {"no value": 2}


@pytest.mark.parametrize(("name", "cell"), [("hours_infused", "72"), ("infused over (days)", "3")])
def test_infusions_that_took_days_are_refused(name, cell):
    assert "duration of an infusion" in refusal(samples(**{name: (cell, "", "")}))
    silently(samples(**{name: ("2" if "hours" in name else "0", "", "")}))


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("LLOQ = 50", True), ("Values below LLOQ were set to LLOQ/2", True), ("log10 copies/ug", True),
        ("all values in copies/mL", True), ("time in hours", True), ("LLOQ 3 copies/ug", False), ("Trial of NK", False),
        ("values below the LLOQ of 3 are reported as BLQ", False), ("Residual SD 0.5 on the ln scale", False),
        ("dose in cells/kg, values in copies/ug DNA", False),
    ],
)  # fmt: skip
def test_a_line_above_the_header_that_says_something_of_the_values_is_quoted(line, warned, tmp_path):
    assert bool(titles.doubts(line, "copies/ug", "cells/kg", [3.0])) == warned
    path = tmp_path / "t.csv"
    path.write_text(f"# {line}\nID,TIME,DV,LLOQ\n1,7,5200,3\n1,14,1310,3\n1,28,96,3\n")
    if not warned:
        silently(path)
        return
    with pytest.warns(StudyWarning, match="a line above the header"):
        study = read_study(path)
    assert line[:20] in " ".join(study.summary().split())


def test_a_limit_is_found_although_a_lower_value_stands_there():
    values = [1003.1 * i for i in range(1, 11)] + [301.7 * i for i in range(1, 11)] + [50.0] * 20 + [900.3, 31.2]
    assert [(each.kind, each.number, each.times) for each in likely(np.array(values))] == [("second", 50, 20)]
    values = np.array([5123, 812, 33, 5173, 842, 31, 4123, 612, 28.4, *[10] * 8, 3.3])
    assert [(each.kind, each.number, each.times) for each in likely(values)] == [("second", 10, 8)]


@pytest.mark.parametrize("low", [1, 4])
def test_the_higher_of_two_numbers_is_no_limit_of_a_site(low):
    found = likely(np.array([3.3] * low + [10.0] * 8))
    assert "second" not in [each.kind for each in found]


def test_the_limits_of_three_sites_are_named():
    high = [5123, 812, 73.1, 4123, 612, 64, 2123, 712, 118.4, 88, 431]
    found = likely(np.array([*high, *[5] * 5, *[25] * 5, *[50] * 5], dtype=float))
    assert [each.number for each in found] == [5, 25, 50]


@pytest.mark.parametrize(
    "name", ["CRP value", "DNA concentration", "Ct value", "copies_LLOQ", "IPRED value", "value_date"]
)
def test_a_column_of_another_thing_is_not_proposed_as_the_value(name):
    said = refusal(mapped(name))
    assert "no column for the value" in said
    assert f"'value': {name!r}" not in said


@pytest.mark.parametrize("name", ["Days since leukapheresis", "Days since diagnosis", "age_days", "Date of infusion"])
def test_a_day_of_another_thing_is_not_proposed_as_the_day(name):
    assert f"'day': {name!r}" not in refusal(mapped(day=name))


def test_two_codes_are_both_in_the_remedy_and_it_is_followed():
    frame = mapped(numbers=("-99", "5.5", "-9"))
    assert "missing=[-99, -9]" in refusal(frame)
    assert read_study(frame, missing=[-99, -9]).used["value"].tolist() == [5.5]


def test_two_series_are_told_apart_by_an_output():
    frame = pd.DataFrame({"ID": "1", "cut": [*"TMTM"], "TIME": [7, 7, 14, 14], "DV": [5200, 21, 1310, 15]})
    assert "column output" in refusal(frame)
    assert read_study(frame, columns={"output": "cut"}).used["output"].nunique() == 2


@pytest.mark.parametrize(
    ("names", "days"),
    [
        (["copies_d7", "copies_d14", "copies_d28"], [7, 14, 28]), (["J7", "J14", "J28"], [7, 14, 28]),
        (["d7_1", "d7_2", "d14_1"], [7, 7, 14]),
    ],
)  # fmt: skip
def test_wide_tables_with_more_headings_are_read(names, days):
    frame = pd.DataFrame([["1", "900", "800", "300"], ["2", "90", "80", "30"]], columns=["ID", *names])
    study = silently(frame)
    assert study.used["day"].tolist() == days * 2
    assert study.used["value"].tolist() == [900, 800, 300, 90, 80, 30]


def test_wide_tables_in_another_unit_or_of_dates_are_refused_with_a_way_out():
    frame = pd.DataFrame([["1", "900", "300"]], columns=["ID", "copies_ml_d7", "copies_ml_d14"])
    assert "unit='copies/mL'" in refusal(frame)
    assert "infusion_date" in refusal(frame.set_axis(["ID", "01.02.2024", "08.02.2024"], axis=1))
