"""Names that a spreadsheet would run as formulas, and the way back."""

import pandas as pd
import pytest

from cellkinetics.layout.formulas import inert, inert_table
from cellkinetics.layout.sheet import stripped

LIVE = ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "'=1", "''=1"]


@pytest.mark.parametrize("text", LIVE)
def test_a_formula_is_written_as_text_and_read_back(text):
    written = inert(text)
    assert written == f"'{text}"
    # A tab before a formula is a blank around a cell.
    assert stripped(written) in (text, text.strip())


@pytest.mark.parametrize("text", ["-5", "+3.2e-4", "-inf", "P01", "", "it's", "a=b", "'quoted'", "-.5"])
def test_numbers_and_names_stay_what_they_are(text):
    assert inert(text) == text


def test_cells_headings_and_the_index_of_a_table_are_inert():
    table = pd.DataFrame({"=a": ["@x", "y"], "n": [-1.0, 2.0]}, index=pd.Index(["=1", "P2"], name="subject"))
    made = inert_table(table)
    assert made.columns.tolist() == ["'=a", "n"]
    assert made.index.tolist() == ["'=1", "P2"] and made.index.name == "subject"
    assert made["'=a"].tolist() == ["'@x", "y"] and made["n"].tolist() == [-1.0, 2.0]


@pytest.mark.parametrize("style", ["plain", "monolix"])
def test_a_study_with_formulas_for_names_is_written_inert_and_read_back(read, tmp_path, style):
    study = read("subject,day,dv,dose,cohort\n=A1,0,,1e6,@high\n=A1,7,50,,@high\n=A1,28,5,,@high\n")
    study.to_csv(tmp_path / "t.csv", style=style)
    cells = pd.read_csv(tmp_path / "t.csv", dtype=str, comment="#").to_numpy(str).ravel()
    assert not [cell for cell in cells if cell[:1] in "=@"]
    back = read(tmp_path.joinpath("t.csv").read_text())
    assert back.subjects == study.subjects == ("=A1",)
    assert back.covariates["cohort"].tolist() == ["@high"]
