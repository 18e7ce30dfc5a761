"""Columns that nothing reads: ten layouts that change what a value means, ten that do not."""

import warnings

import numpy as np
import pandas as pd
import pytest
from told import refusal

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyWarning

DAYS = [3, 7, 14, 28, 60, 90]
VALUES = [80, 5120, 900, 40, 3, 3]


def table(**columns):
    """Two subjects with six samples each, and more columns of six or twelve cells."""
    frame = pd.DataFrame(
        {"subject": ["A"] * 6 + ["B"] * 6, "day": DAYS * 2, "copies_per_ug": [*VALUES, 90, 7000, 1000, 60, 9, 4]}
    )
    for name, cells in columns.items():
        frame[name.replace("__", " ")] = list(cells) if len(cells) == 12 else list(cells) * 2
    return frame.astype("str")


def statuses(study):
    return study.used["status"].tolist()


CENSORED = ["", "", "", "", "BLQ", "BLQ"]
SUSPICIOUS = {
    "words of censoring": ("note_of_lab", CENSORED, "blq"),
    "signs under another name": ("rel", ["=", "=", "=", "=", "<", "<"], "qualifier"),
    "the result as text": ("as_reported", ["80", "5120", "900", "40", "<3", "<3"], "result"),
    "a flag of limits": ("under_loq_flag_below", ["N", "N", "N", "N", "Y", "Y"], "blq"),
    "a limit": ("qpcr_lloq_run", ["3", "3", "3", "5", "5", "5"], "lloq"),
    "a unit": ("measured_in", ["copies/mL"] * 6, "unit"),
    "rows not to be used": ("drop_row", ["0", "0", "0", "1", "0", "0"], "excluded"),
    "specimens": ("tube_from", ["blood", "blood", "marrow", "blood", "marrow", "blood"], "output"),
    "analytes": ("what", ["CAR copies", "CAR copies", "B cells", "B cells", "CAR copies", "B cells"], "output"),
    "compartments": ("CMT", ["1", "1", "2", "2", "1", "2"], "output"),
    "a verdict": ("verdict", ["ok", "ok", "invalid", "ok", "ok", "ok"], None),
    "a remark": ("remarks", ["", "", "sample haemolysed, do not use", "", "", ""], None),
    "a code on the lowest values": ("state", ["1", "1", "1", "1", "2", "2", "1", "1", "1", "1", "1", "1"], None),
}


@pytest.mark.parametrize(("name", "cells", "meaning"), SUSPICIOUS.values(), ids=SUSPICIOUS)
def test_a_column_that_changes_what_a_value_means_is_refused_with_both_remedies(name, cells, meaning):
    frame = table(**{name: cells})
    said = refusal(frame, lloq=1)
    assert name in said
    assert f"ignore=[{name!r}]" in said
    assert read_study(frame, lloq=1, ignore=[name]).note == f"Ignored: {name}."
    if meaning is not None:
        assert f"columns={{{meaning!r}: {name!r}}}" in said


def test_the_remedies_are_followed_to_the_right_study():
    below = ["quantified"] * 4 + ["below"] * 2
    for name, cells, meaning in SUSPICIOUS.values():
        if meaning in ("blq", "qualifier", "result"):
            study = read_study(table(**{name: cells}).head(6), columns={meaning: name}, lloq=3)
            assert statuses(study) == below, name
    name, cells, _ = SUSPICIOUS["rows not to be used"]
    assert read_study(table(**{name: cells}), columns={"excluded": name}).exclusions == {"excluded in the file": 2}
    name, cells, _ = SUSPICIOUS["specimens"]
    outputs = read_study(table(**{name: cells}), columns={"output": name}).used["output"]
    assert outputs.value_counts().to_dict() == {"blood": 8, "marrow": 4}
    name, cells, _ = SUSPICIOUS["a unit"]
    frame = table(**{name: cells})
    said = {"unit": name}
    assert read_study(frame.rename(columns={"copies_per_ug": "value"}), columns=said).unit == "copies/mL"
    assert "copies_per_ug says copies/ug, and the study is in copies/mL" in refusal(frame, columns=said)


HARMLESS = {
    "weight": {"weight_kg": ["70", "70", "71", "70.5", "72", "73"]},
    "comedication": {"steroids": ["0", "0", "1", "1", "0", "0"], "tocilizumab": ["no", "yes", "no", "no", "no", "no"]},
    "leukocytes": {"leukocytes": ["200", "500", "2100", "4000", "5200", "6000"]},
    "visits": {"visit": ["D3", "D7", "D14", "M1", "M2", "M3"]},
    "age": {"age": ["61"] * 6 + ["44"] * 6, "age_group": [">60"] * 6 + ["<60"] * 6},
    "comments": {"comment": ["first run of the plate", "", "repeat of 12 May", "", "patient had fever", ""]},
    "another value with limits of its own": {"crp": ["<5", "120", "45.5", "<5", "<5", "8"]},
    "response": {"response": ["", "", "", "CR", "CR", "CR"], "mrd": ["", "", "", "negative", "positive", "negative"]},
    "sex and cells": {"sex": ["F"] * 6 + ["M"] * 6, "diagnosis": ["B-ALL"] * 6 + ["CLL"] * 6, "cd19": ["pos"] * 12},
    "wells": {"well": ["A1", "A2", "A3", "A4", "A5", "A6"], "operator": ["jk", "mm", "jk", "jk", "mm", "jk"]},
    "dates and names": {"sampled": ["2024-03-09"] * 6, "sample_id": [f"S-{n}" for n in range(12)]},
    "one specimen": {"specimen": ["whole blood"] * 6, "assay": ["qPCR"] * 6, "units": ["copies/µg DNA"] * 6},
    "grades": {"crs_grade": ["0", "2", "3", "1", "0", "0"], "icans": ["0", "0", "1", "0", "0", "0"]},
    "body": {"temperature": ["37.1", "39.2", "38", "36.8", "36.6", "36.9"], "weight_unit": ["kg"] * 6},
}


@pytest.mark.parametrize("columns", HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_column_passes_without_a_word(columns):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = read_study(table(**columns))
    assert statuses(study) == ["quantified"] * 12
    carried = {*study.observations.columns, *study.covariates.columns}
    assert {name for name in columns if name != "units"} <= carried


def test_a_column_to_ignore_must_be_there():
    assert "Did you mean weight?" in refusal(table(weight=["70"] * 6), ignore=["wieght"])


def test_what_is_not_read_is_named_once_in_the_summary():
    text = read_study(table(weight=["70"] * 6, fever=["0", "0", "1", "1", "0", "0"])).summary()
    assert "not read  2 columns, carried along: fever, weight" in text
    assert text.count("weight") == 1


@pytest.mark.parametrize("name", ["DUR", "TINF", "infusion_duration", "Duration of infusion"])
def test_an_infusion_over_days_is_refused_whatever_its_column_is_called(name):
    frame = pd.DataFrame(
        {"ID": 1, "TIME": [0, 7, 14], "DV": [None, 50, 20], "AMT": [1e6, None, None], name: [3, None, None]}
    )
    assert name in refusal(frame)
    assert len(read_study(frame.assign(**{name: [0.1, None, None]})).doses) == 1


def test_a_duration_has_the_unit_of_its_heading_or_of_its_cells():
    frame = pd.DataFrame({"ID": 1, "TIME": [0, 7, 14], "DV": [None, 50, 20], "AMT": [1e6, None, None]})
    assert len(read_study(frame.assign(infusion_min=[30, None, None])).doses) == 1
    assert len(read_study(frame.assign(duration_h=[2, None, None])).doses) == 1
    assert "duration_h" in refusal(frame.assign(duration_h=[48, None, None]))
    assert "infusion" in refusal(frame.assign(infusion=["48 h", None, None]))


@pytest.mark.parametrize(("name", "value"), [("RATE", 1e5), ("SS", 1), ("ADDL", 3)])
@pytest.mark.parametrize("dose", [[1e6, None, None], [1e6, 1e6, 1e6]])
def test_long_and_repeated_doses_are_refused_beside_a_column_dose_too(name, value, dose):
    frame = pd.DataFrame({"ID": 1, "TIME": [1, 7, 14], "DV": [90, 50, 20], "dose": dose, name: [value, None, None]})
    assert name in refusal(frame)


def test_the_time_needed_does_not_grow_with_the_square_of_the_rows():
    rng = np.random.default_rng(1)
    n = 20_000
    frame = pd.DataFrame({"subject": [f"P{k // 20}" for k in range(n)], "day": np.tile(np.arange(1, 21), n // 20)})
    frame["copies"] = np.exp(rng.normal(5, 2, n)).round(3)
    frame["sample_id"] = [f"S{k}" for k in range(n)]
    frame["fever"] = rng.integers(0, 2, n)
    assert len(read_study(frame).used) == n


def test_a_warning_is_one_of_ours():
    assert issubclass(StudyWarning, UserWarning)
