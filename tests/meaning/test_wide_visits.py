"""Columns of a wide table that hold samples under a heading that is no day, and covariates that do not."""

import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics import read_study

DAYS = {"d7": ["5000", "4000", "900"], "d14": ["900", "700", "80"], "d28": ["80", "60", "9"]}


def table(name, cells, before=False):
    column = {name: cells}
    return pd.DataFrame({"patient": ["A", "B", "C"]} | (column | DAYS if before else DAYS | column))


VISITS = ["Nachsorge", "LTFU", "Suivi", "discharge", "Entlassung", "seguimiento", "sortie", "dernier bilan", "última",
          "Kontrolle 1", "fin d'étude", "tp5", "T4", "S3", "Gamma", "dimissione", "ontslag", "wypis"]  # fmt: skip


@pytest.mark.parametrize("name", VISITS)
@pytest.mark.parametrize("cells", [["12", "31", "4.5"], ["12", "<3", "BLQ"], ["120", "", ""]])
def test_numbers_like_those_of_the_days_are_refused_with_two_remedies(name, cells):
    said = refusal(table(name, cells), lloq=3)
    assert f"the column {name} holds numbers and its heading names no day" in said
    assert "Name it as the others are (d90" in said
    assert f"ignore=[{name!r}]" in said
    assert len(silently(table(name, cells), lloq=3, ignore=[name]).used) == 9
    assert len(silently(table(name, cells).rename(columns={name: "d90"}), lloq=3).observations) == 9 + sum(
        map(bool, cells)
    )


@pytest.mark.parametrize("name", ["Nachsorge", "Suivi", "baseline"])
def test_a_visit_before_the_days_is_a_visit(name):
    assert f"the column {name}" in refusal(table(name, ["12", "31", "4.5"], before=True))


COVARIATES = {
    "Alter": ["61", "44", "70"],
    "body weight": ["70.5", "81.2", "66"],
    "CRP max": ["12", "5", "80"],
    "n_prior_lines": ["3", "4", "12"],
    "KPS": ["80", "90", "100"],
    "LDH": ["300", "250", "900"],
    "Tumorlast": ["3500", "1200", "90"],
    "peak": ["5100", "4200", "900"],
    "highest": ["5000", "4000", "900"],
    "code of region": ["12", "31", "4"],
    "HLA": ["3", "4", "6"],
    "stratum": ["1", "2", "1"],
    "PFS (months)": ["12.5", "8", "30"],
    "days to last contact": ["300", "410", "90"],
    "IgG": ["7.1", "6.2", "12"],
    "EBV copies": ["<200", "900", "ND"],
    "postal": ["80331", "10115", "69120"],
    "trial": ["4201", "4201", "4201"],
}


@pytest.mark.parametrize("name", COVARIATES)
def test_a_covariate_behind_the_days_is_carried_along_without_a_word(name):
    assert len(silently(table(name, COVARIATES[name]), lloq=3).used) == 9


@pytest.mark.parametrize("name", ["Zufall", "center code", "arm"])
def test_numbers_before_the_days_under_any_heading_are_carried_along(name):
    assert len(silently(table(name, ["120", "310", "45"], before=True)).used) == 9


def with_column(name, first, second):
    days = {"subject": ["A", "B"], "dose": 1e6, "d7": [5000, 4000], "d14": [800, 700], "d28": [20, 30]}
    return pd.DataFrame(days | {name: [first, second]})


@pytest.mark.parametrize(
    "name",
    ["half year", "at death", "timepoint 6", "tp6", "Apr-24", "R+7", "autopsy", "most recent value", "Dec 2023"],
)
def test_a_time_in_other_words_is_refused_however_small_its_numbers(name):
    said = refusal(with_column(name, 3, 5))
    assert f"the column {name} holds numbers and its heading names no day" in said
    assert len(read_study(with_column(name, 3, 5), ignore=[name]).used) == 6


@pytest.mark.parametrize("name", ["d28 BM", "d90 marrow", "CSF d28"])
def test_another_specimen_is_not_told_to_be_named_as_blood(name):
    said = refusal(with_column(name, 300, 500))
    assert "another specimen" in said and "Name it as the others are" not in said


@pytest.mark.parametrize("name", ["age at death", "dead", "grade", "lines", "recent_therapies_number", "weight"])
def test_covariates_of_a_wide_table_pass(name):
    assert len(silently(with_column(name, 1, 0)).used) == 6
