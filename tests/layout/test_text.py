"""Encodings, separators, large files, and tables of other libraries."""

import numpy as np
import pandas as pd
import pytest

from cellkinetics.data.cleaning import clean
from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError
from cellkinetics.layout import loading, text

ROWS = [("subject", "day", "copies_per_ug", "lloq"), ("P01", "7", "5120", "3"), ("P01", "28", "<3", "3")]


@pytest.fixture
def write(tmp_path):
    def written(content, encoding="utf-8"):
        path = tmp_path / "liu.csv"
        path.write_bytes(content.encode(encoding))
        return path

    return written


def said(study):
    return study.observations[["subject", "day", "value", "upper", "status", "lloq", "row"]]


def same(one, other):
    pd.testing.assert_frame_equal(said(one), said(other))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   ", " \t "])
def test_cells_are_separated_by_what_separates_those_of_the_header(write, separator):
    study = read_study(write("\n".join(separator.join(row) for row in ROWS)))
    assert study.observations["value"][0] == 5120.0
    assert study.observations["upper"][1] == 3.0


def test_columns_may_be_aligned_by_blanks_with_a_comment_above(write):
    study = read_study(
        write("# note\n  ID   TIME      DV  COHORT\n   1    0.5    7.25  'A'\n   1     14      <3  'A'\n"), lloq=3
    )
    assert study.observations["day"].tolist() == [0.5, 14.0]
    assert study.observations["row"].tolist() == [3, 4]
    assert study.note == "note"


def test_a_name_with_blanks_among_blanks_stands_in_quotation_marks(write):
    assert read_study(write('ID TIME DV\n"P 01" 7 5\n')).subjects == ("P 01",)


def test_a_row_among_blanks_that_lacks_a_cell_is_named(write):
    with pytest.raises(StudyError, match="row 3: it has 2 cells and the header has 3"):
        read_study(write("ID TIME DV\n1 7 5\n1 14\n"))


@pytest.mark.parametrize("separator", ["\t", "|", " "])
def test_decimal_commas_are_read_where_one_cannot_be_a_thousand(write, separator):
    rows = ["id time dv", "1 7,5 5120,25", "1 14 1,234"]
    study = read_study(write("\n".join(rows).replace(" ", separator)))
    assert study.observations["value"].tolist() == [5120.25, 1.234]
    with pytest.raises(StudyError, match="dv is '1,234', which is not a number"):
        read_study(write("\n".join([rows[0], "1 7 5", rows[2]]).replace(" ", separator)))


def test_windows_text_is_read_with_a_warning_that_shows_a_word_of_it(write):
    text = "Patient;Day;Copies/µg\nMüller;7;5120\nGómez;7;80\n"
    expected = read_study(write(text))
    with pytest.warns(
        UserWarning, match=r"liu.csv is not UTF-8; it was read as Windows-1252, so that it has '(µg|Müller)'"
    ):
        study = read_study(write(text, "cp1252"))
    same(study, expected)
    assert study.subjects == ("Müller", "Gómez")


def test_windows_text_is_cleaned_into_utf_8(write):
    path = write("patient;day;copies\nMüller ;7;5,5\n", "latin-1")
    with pytest.warns(UserWarning, match="Windows-1252"):
        cleaned, log, _ = clean(path)
    assert cleaned.read_text(encoding="utf-8") == "patient;day;copies\nMüller;7;5.5\n"
    assert "blanks dropped: 'Müller ' -> 'Müller'" in log.read_text(encoding="utf-8")


def test_a_table_among_blanks_is_cleaned_into_one_with_commas(write):
    cleaned, _, _ = clean(write("ID TIME DV LLOQ\n1 14 6 .\n1 7 5 3\n"))
    assert cleaned.read_text() == "ID,TIME,DV,LLOQ\n1,7,5,3\n1,14,6,\n"


def test_a_file_of_several_blocks_is_read_like_one_of_one(write, monkeypatch):
    lines = [f"P{n % 7},{n},{n % 11},note é{n}" for n in range(1, 200)]
    path = write("ID,TIME,DV,note\n" + "\n".join(lines) + "\nP1,x,1,\nP1,300\n")
    found = []
    for rows, block in ((20_000, 1 << 20), (7, 5)):
        monkeypatch.setattr(text, "ROWS", rows)
        monkeypatch.setattr(text, "BLOCK", block)
        with pytest.raises(StudyError) as caught:
            read_study(path, lloq=1)
        found.append([problem.line() for problem in caught.value.problems])
        table = loading.load(path)
        found[-1] += [table.cells.to_csv(), table.row.tolist()]
    assert found[0] == found[1]
    assert found[0][0].startswith("row 201, patient P1: TIME is 'x', which is not a number")


def test_a_large_file_shows_how_far_it_has_been_read(write, monkeypatch, capsys):
    path = write("ID,TIME,DV\n" + "".join(f"P1,{n},5\n" for n in range(1, 100)))
    quiet = read_study(path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(text, "LARGE", 1)
    monkeypatch.setattr(text, "ROWS", 10)
    monkeypatch.setenv("FORCE_COLOR", "1")
    same(read_study(path), quiet)
    assert "reading liu.csv" in capsys.readouterr().err
    read_study(path, progress=False)
    assert capsys.readouterr().err == ""


FRAME = {"subject": ["A", "A", "B", None], "day": [7, 14, 7, None], "copies": [5120.5, None, 80.0, None]}
FRAME |= {"marks": ["x", "late", None, None]}


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_a_table_of_another_library_is_the_same_study_as_that_of_pandas(library):
    module = pytest.importorskip(library)
    table = module.DataFrame(FRAME) if library == "polars" else module.table(FRAME)
    same(read_study(table), read_study(pd.DataFrame(FRAME)))


@pytest.fixture
def without_pyarrow(monkeypatch):
    def missing(_):
        raise ImportError("pyarrow")

    monkeypatch.setattr(pd.DataFrame, "from_arrow", missing)


def test_a_table_of_polars_is_read_without_pyarrow(without_pyarrow):
    polars = pytest.importorskip("polars")
    same(read_study(polars.DataFrame(FRAME)), read_study(pd.DataFrame(FRAME)))


def test_a_lazy_table_of_polars_is_to_be_collected():
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"not from a LazyFrame. Call its collect\(\) first."):
        read_study(polars.DataFrame(FRAME).lazy())


class Foreign:
    """A table that hands its columns over as Arrow does, of a library that has nothing else."""

    def __arrow_c_stream__(self, requested_schema=None):
        raise NotImplementedError


def test_without_pyarrow_a_foreign_table_says_what_to_do(without_pyarrow):
    with pytest.raises(ImportError, match="pandas reads a Foreign through pyarrow: install pyarrow, or pass a pandas"):
        read_study(Foreign())


@pytest.mark.parametrize("table", [5, None, [1, 2], np.ones(3), {"subject": "A"}])
def test_what_is_neither_a_path_nor_a_table_is_refused(table):
    with pytest.raises(TypeError, match="a study is read from a path or a DataFrame, not from a"):
        read_study(table)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(StudyError, match=r"it is a folder. Name the file in it."):
        read_study(tmp_path)
