"""Columns that nothing reads, in five languages: those that change what a value means, and those that do not."""

import numpy as np
import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError
from cellkinetics.meaning.cells import mark_of

ROWS = [("A", 7, 5000), ("A", 28, 100), ("A", 60, 2.1), ("A", 90, 1.3), ("B", 7, 900), ("B", 60, 1.9), ("B", 90, 2.4)]
LOW = [False, False, True, True, False, True, True]
STATUSES = ["quantified", "quantified", "below", "below", "quantified", "below", "below"]


def table(name, cells, rows=ROWS):
    frame = pd.DataFrame(rows, columns=["subject", "day", "DV"]).astype("str")
    return frame.assign(**{name: list(cells)})


def on_low(name, other, cell):
    """A column that has `cell` on the values below 3 and `other` elsewhere."""
    return table(name, [cell if low else other for low in LOW])


FLAGS = [
    ("unter_NG", "nein", "ja"),
    ("nachweisbar", "ja", "nein"),
    ("sous_LIQ", "non", "oui"),
    ("inferieur_LQ", "0", "1"),
    ("debajo_del_limite", "no", "si"),
    ("sotto_limite", "no", "sì"),
    ("détecté", "oui", "non"),
    ("detected", "+", "-"),
    ("call", "P", "N"),
    ("Befund", "positiv", "negativ"),
    ("interpretation", "", "indeterminate"),
    ("lt", "0", "1"),
    ("delta", "1", "0"),
    ("M", "0", "1"),
    ("DVTYPE", "0", "1"),
    ("LBORNRIND", "", "LOW"),
    ("lab_qual", "", "U"),
    ("lab_qual", "", "J"),
    ("op", "", "kleiner"),
    ("hinweis", "", "niedrig"),
]


@pytest.mark.parametrize(("name", "other", "cell"), FLAGS)
def test_a_mark_on_the_lowest_values_is_found_in_any_language(name, other, cell):
    frame = on_low(name, other, cell)
    said = refusal(frame)
    assert f"the column {name} is not read" in said
    assert "blq" in said or "result" in said
    assert f"ignore=[{name!r}]" in said
    assert len(read_study(frame, ignore=[name]).used) == 7


TEXTS = [
    "n.n.",
    "nicht nachweisbar",
    "unter NG",
    "< Bestimmungsgrenze",
    "kleiner Nachweisgrenze",
    "inférieur à la LQ",
    "non détecté",
    "en dessous de la limite",
    "por debajo del LIC",
    "no detectado",
    "inferiore al limite di quantificazione",
    "non rilevabile",
    "<LQ",
    "below quant limit",
    "Less than LLOQ",
]


@pytest.mark.parametrize("text", TEXTS)
def test_words_for_below_the_limit_are_read_as_a_value_and_refused_beside_one(text):
    assert mark_of(text)[0] in ("blq", "nd")
    frame = on_low("txt", "", text)
    said = refusal(frame)
    assert "txt" in said
    meaning = "result" if "'result': 'txt'" in said else "blq"
    assert read_study(frame, columns={meaning: "txt"}, lloq=3).used["status"].tolist() == STATUSES
    values = frame.assign(DV=[text if low else value for low, value in zip(LOW, frame["DV"], strict=True)])
    assert read_study(values.drop(columns="txt"), lloq=3).used["status"].tolist() == STATUSES


@pytest.mark.parametrize("text", ["unter Therapie", "less detail", "no limit", "not done", "low", "5 ng", "lower limb"])
def test_other_words_are_no_limit(text):
    assert mark_of(text)[0] == "unreadable"


@pytest.mark.parametrize(
    "text", ["value extrapolated below the curve", "Wert < LLOQ gesetzt", "Probe nicht verwenden", "set to LLOQ/2"]
)
def test_a_comment_that_says_so_is_refused(text):
    assert "anmerkung" in refusal(table("anmerkung", ["", "", text, "", "", "", ""]))


@pytest.mark.parametrize(
    ("name", "no", "yes"), [("unter_NG", "nein", "ja"), ("sous_LIQ", "non", "oui"), ("x", "no", "sí"), ("x", "-", "+")]
)
def test_yes_and_no_of_other_languages_are_read(name, no, yes):
    study = read_study(on_low(name, no, yes), columns={"blq": name}, lloq=3)
    assert study.used["status"].tolist() == STATUSES


CHANGE_WITH_TIME = [
    ("comedication", "0", "1"),
    ("IVIG", "no", "yes"),
    ("phase", "acute", "post"),
    ("response", "", "CR"),
    ("response_status", "NE", "CR"),
    ("status", "inpatient", "outpatient"),
    ("visit", "early", "FU"),
    ("site_of_draw", "ward", "clinic"),
    ("steroids", "ja", "nein"),
    ("unter_therapie", "nein", "ja"),
    ("sous_traitement", "oui", "non"),
    ("remission", "nein", "ja"),
    ("B_cells_below_5", "0", "1"),
    ("ferritin_below_limit", "0", "1"),
    ("weight", "70", "71"),
]


@pytest.mark.parametrize(("name", "other", "cell"), CHANGE_WITH_TIME)
def test_a_covariate_that_changes_as_the_curve_declines_passes(name, other, cell):
    assert len(silently(on_low(name, other, cell)).used) == 7


LONG = [("A", day, value) for day, value in zip([3, 7, 14, 28, 60, 90], [8, 5120, 900, 40, 3, 2], strict=True)]
LONG += [("B", day, value) for day, value in zip([3, 7, 14, 28, 60, 90], [9, 7000, 1000, 60, 9.5, 4], strict=True)]


@pytest.mark.parametrize(("name", "on", "off"), [("fever", "1", "0"), ("crs", "CRS", "none"), ("loc", "ward", "home")])
def test_what_comes_with_the_peak_passes(name, on, off):
    cells = [off, on, on, off, off, off] * 2
    assert len(silently(table(name, cells, LONG)).used) == 12


@pytest.mark.parametrize(("name", "cell"), [("peak_flag", "P"), ("FLAG", "max"), ("status code", "T"), ("qc_ind", "r")])
def test_a_code_at_the_peak_says_nothing_of_the_values_without_one(name, cell):
    for peaks in ([1], [1, 2], [0, 1, 3]):
        cells = [cell if at in peaks else "" for at in range(6)] * 2
        assert len(silently(table(name, cells, LONG)).used) == 12
    assert "is the lowest" in refusal(table(name, ["", "", "", "", cell, cell, "", "", "", "", "", cell], LONG))


def test_a_level_on_the_lowest_values_between_higher_ones_is_found_whatever_it_is_called():
    dip = [("A", day, value) for day, value in zip([3, 7, 14, 28, 60], [2, 5120, 1.1, 8, 1.5], strict=True)]
    frame = table("z", ["k", "m", "k", "m", "k"], dip)
    assert "is k on exactly the 3 rows whose value is the lowest (1.1 to 2)" in refusal(frame)
    assert read_study(table("z", ["k", "m", "m", "k", "k"], dip)).observations["z"].tolist() == list("kmmkk")


def test_a_limit_in_five_subjects_is_told_from_time():
    rows, cells = [], []
    curves = {"A": [900, 80, 2.5, 1], "B": [5000, 900, 70, 2.1], "C": [700, 2.9, 2, 1.1]}
    curves |= {"D": [4000, 30, 9, 1.2], "E": [8000, 6, 1.9, 1.4]}
    for subject, values in curves.items():
        rows += [(subject, day, value) for day, value in zip([7, 14, 28, 60], values, strict=True)]
        cells += ["p" if value < 3 else "q" for value in values]
    assert "the column z is not read and is p" in refusal(table("z", cells, rows))
    assert len(read_study(table("z", ["q", "q", "p", "p"] * 5, rows)).used) == 20


def test_columns_that_say_nothing_are_hardly_ever_taken_for_marks():
    rng = np.random.default_rng(2020)
    days = [1, 3, 7, 14, 28, 60, 90]
    alarms = 0
    for _ in range(100):
        rows = []
        for subject in "ABCDE":
            top = 10 ** rng.uniform(2.5, 4.5)
            values = top * np.exp(-0.08 * np.abs(np.array(days) - 10) + rng.normal(0, 0.6, len(days)))
            rows += [(subject, day, round(value, 2)) for day, value in zip(days, values, strict=True)]
        begins = rng.integers(5, 80, 5)
        begun = [str(int(day > begins["ABCDE".index(subject)])) for subject, day, _ in rows]
        frame = table("began", begun, rows).assign(z=rng.choice(["a", "b"], len(rows)))
        try:
            read_study(frame)
        except StudyError:
            alarms += 1
    assert alarms <= 3


@pytest.mark.parametrize(
    "name",
    [
        "Bestimmungsgrenze",
        "NWG",
        "Grenze",
        "untere Grenze",
        "LIQ",
        "LQ",
        "BG",
        "RL",
        "límite",
        "limite_de_quantification",
        "min_quantifiable",
        "sensitivity",
        "reporting_limit",
        "soglia",
    ],
)
def test_a_limit_is_found_in_any_language_and_its_remedy_censors(name):
    frame = table(name, ["3"] * 7)
    said = refusal(frame)
    meaning = "lod" if "'lod'" in said else "lloq"
    assert f"columns={{{meaning!r}: {name!r}}}" in said
    assert f"ignore=[{name!r}]" in said
    if meaning == "lloq":
        assert read_study(frame, columns={"lloq": name}).used["status"].tolist() == STATUSES


def test_a_number_that_the_lowest_values_equal_or_halve_is_a_limit():
    rows = [(subject, day, 12.5 if low else value) for (subject, day, value), low in zip(ROWS, LOW, strict=True)]
    frame = table("par3", ["25"] * 7, rows)
    assert "columns={'lloq': 'par3'}, floor=12.5" in refusal(frame)
    assert read_study(frame, columns={"lloq": "par3"}, floor=12.5).used["upper"].tolist()[2:4] == [25, 25]
    assert "par3" in refusal(table("par3", ["12.5"] * 7, rows))
    with pytest.warns(UserWarning, match="the lowest"):
        assert len(read_study(table("par3", ["30"] * 7, rows)).used) == 7


OF_OTHERS = {
    "Ct_cutoff": ["38"] * 7,
    "threshold_ct": ["0.2"] * 7,
    "CRP_LLOQ": ["5"] * 7,
    "LLOQ_IL6": ["3"] * 7,
    "age_limit": ["18"] * 7,
    "CMV_PCR": ["<200", "negative", "<200", "negative", "<200", "negative", "<200"],
    "EBV": ["not detected"] * 6 + ["500"],
    "HHV6 DNA": ["<LOQ"] * 3 + ["700"] * 4,
    "age_unit": ["years"] * 7,
    "wbc_unit": ["cells/uL"] * 7,
    "drop_in_Hb": ["0", "1", "0", "1", "0", "0", "0"],
}


@pytest.mark.parametrize("name", OF_OTHERS)
def test_limits_units_and_results_of_another_laboratory_value_pass(name):
    assert len(silently(table(name, OF_OTHERS[name])).used) == 7


def test_copies_beside_another_word_are_still_ours():
    assert "looks like a limit" in refusal(table("CAR_copies_CT_LLOQ", ["3"] * 7))


EXCLUSIONS = [
    ("Ausschluss", "x", ""),
    ("nicht verwenden", "x", ""),
    ("gültig", "nein", "ja"),
    ("exclu", "1", ""),
    ("valide", "non", "oui"),
    ("escluso", "si", "no"),
    ("válido", "no", "sí"),
    ("reliable", "no", "yes"),
    ("useable", "no", ""),
    ("do_not_use", "1", ""),
    ("bad", "1", ""),
    ("QC", "NOK", "OK"),
    ("PPROTFL", "N", "Y"),
    ("sample_condition", "clotted", ""),
    ("Probe", "hämolytisch", ""),
    ("QNS?", "yes", ""),
    ("qpcr_failed", "1", "0"),
]


@pytest.mark.parametrize(("name", "cell", "other"), EXCLUSIONS)
def test_an_exclusion_is_found_in_any_language(name, cell, other):
    frame = table(name, [other, other, cell, other, other, other, other])
    said = refusal(frame)
    assert f"the column {name} is not read" in said
    if "'excluded'" in said:
        assert read_study(frame, columns={"excluded": name}).exclusions == {"excluded in the file": 1}


@pytest.mark.parametrize(
    "name",
    [
        "treatment_failed",
        "failed_prior_CAR",
        "outlier_MRI",
        "detected_mutation",
        "below_75kg",
        "missing_visits",
        "valid_consent_form",
    ],
)
def test_what_is_constant_within_every_subject_passes(name):
    assert len(silently(table(name, ["1"] * 4 + ["0"] * 3)).used) == 7


@pytest.mark.parametrize("name", ["antibiotic_use", "graft_failure", "catheter_removed", "treatment_failed"])
def test_what_is_used_or_failed_and_is_no_sample_passes(name):
    assert len(silently(table(name, ["0", "0", "1", "1", "0", "0", "1"])).used) == 7


def two_a_day(name, first, second):
    rows = [("A", day, value + k) for day, value in [(7, 5000), (14, 900), (28, 100)] for k in (0, 1)]
    return table(name, [first, second] * 3, rows)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("reader", "AK", "MS"),
        ("technical", "rep1", "rep2"),
        ("Ansatz", "eins", "zwei"),
        ("Messung", "erste", "zweite"),
        ("draw", "first", "second"),
        ("x", "run1", "run2"),
        ("time_of_day", "morning", "evening"),
        ("storage", "fresh", "frozen"),
    ],
)
def test_two_rows_a_day_of_one_sample_are_replicates(name, first, second):
    assert len(read_study(two_a_day(name, first, second)).used) == 6


def test_two_rows_a_day_of_two_measurements_are_refused():
    assert "columns={'output': 'xx'}" in refusal(two_a_day("xx", "copies", "protein"))
    assert "columns={'output': 'Probe'}" in refusal(two_a_day("Probe", "blood", "marrow"))


def test_names_of_samples_are_never_proposed_as_outputs():
    said = refusal(table("sample_id", ["PB1", "PB2", "PB3", "BM1", "PB1", "PB2", "PB3"]))
    assert "Say which is which in a column output (blood, marrow)" in said
    assert "columns=" not in said


@pytest.mark.parametrize(
    ("name", "cell", "unit"),
    [
        ("Zeiteinheit", "Stunden", "hour"),
        ("zeit", "h", "hour"),
        ("unite_temps", "heures", "hour"),
        ("unità", "ore", "hour"),
        ("RRLTU", "HOURS", "hour"),
        ("einheit", "Wochen", "week"),
        ("TU", "meses", "month"),
    ],
)
def test_a_unit_of_the_times_is_answered_by_time_unit(name, cell, unit):
    frame = table(name, [cell] * 7)
    assert f"Call the column of the times TIME and give read_study(..., time_unit={unit!r})" in refusal(frame)
    frame = frame.rename(columns={"day": "TIME"})
    assert f"time_unit={unit!r}" in refusal(frame)
    factor = {"hour": 1 / 24, "week": 7, "month": 365.25 / 12}[unit]
    study = read_study(frame, time_unit=unit)
    assert study.used["day"].tolist()[:4] == pytest.approx([7 * factor, 28 * factor, 60 * factor, 90 * factor])
    assert read_study(frame, time_unit="day").used["day"].tolist()[0] == 7
    assert name in refusal(frame, time_unit="week" if unit == "hour" else "hour")


@pytest.mark.parametrize(("name", "cell"), [("sex", "W"), ("Zeiteinheit", "Tage"), ("age_unit", "Jahre")])
def test_other_letters_and_days_are_no_unit_of_the_times(name, cell):
    assert len(silently(table(name, [cell] * 7)).used) == 7


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Stunden", "hour"),
        ("temps_h", "hour"),
        ("Woche", "week"),
        ("semaine", "week"),
        ("mois", "month"),
    ],
)
def test_a_heading_says_a_unit_of_time_in_any_language(name, unit):
    frame = pd.DataFrame({"subject": ["A", "A"], name: ["24", "96"], "DV": ["5000", "100"]})
    for options in ({}, {"columns": {"day": name}}):
        assert f"time_unit={unit!r}" in refusal(frame, **options)
        days = read_study(frame, time_unit=unit, **options).used["day"].tolist()
        factor = {"hour": 1 / 24, "week": 7, "month": 365.25 / 12}[unit]
        assert days == pytest.approx([24 * factor, 96 * factor])


def test_the_unit_of_a_limit_is_no_unit_of_the_study():
    frame = table("LLOQ (copies/mL)", ["3"] * 7)
    assert "Give it in the unit of the values, or leave it out" in refusal(frame)
    said = refusal(frame, columns={"lloq": "LLOQ (copies/mL)"})
    assert "the limit LLOQ (copies/mL) says copies/mL, and the study is in copies/ug" in said
    assert "unit=" not in said
    assert len(read_study(frame, ignore=["LLOQ (copies/mL)"]).used) == 7


@pytest.mark.parametrize(
    ("name", "usual", "other"),
    [
        ("Probe", "Blut", "KM"),
        ("prelevement", "sang", "moelle"),
        ("muestra", "sangre", "médula"),
        ("Methode", "qPCR", "Durchflusszytometrie"),
        ("remark", "", "bone marrow"),
        ("site_of_sample", "blood", "LN"),
    ],
)
def test_one_row_of_another_specimen_or_method_is_named(name, usual, other):
    assert (
        "measurements apart" in (text := refusal(table(name, [usual] * 3 + [other] + [usual] * 3)))
        or "specimen" in text
    )


def test_a_note_at_the_peak_says_nothing_of_the_others():
    assert len(silently(table("note", ["fever"] + [""] * 6)).used) == 7
