"""A file or a DataFrame as named columns of text, and which column means what."""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.errors import Problem, StudyError, suggest
from cellkinetics.notation import MISSING, Flags, Floats, number_text, numbers

SYNONYMS: dict[str, tuple[str, ...]] = {
    "subject": ("subject", "id", "patient", "usubjid", "subjid", "subject_id", "patient_id", "patient_no"),
    "day": (
        "day",
        "time",
        "days",
        "t",
        "actual_day",
        "actual_time",
        "time_days",
        "days_post_infusion",
        "days_after_infusion",
        "days_since_infusion",
        "day_post_infusion",
    ),
    "nominal_day": ("nominal_day", "ntime", "nominal_time"),
    "value": (
        "copies_per_ug",
        "dv",
        "copies_per_ug_dna",
        "copies_ug",
        "copies_ug_dna",
        "copies_per_ug_gdna",
        "copies_ug_gdna",
        "transgene_copies_ug",
        "transgene_copies_per_ug",
        "transgene_copies_ug_dna",
        "copies",
        "y",
        "value",
        "concentration",
        "conc",
    ),
    "cens": ("cens",),
    "limit": ("limit",),
    "lloq": ("lloq", "loq"),
    "lod": ("lod",),
    "uloq": ("uloq",),
    "output": ("output", "dvid", "ytype", "y_id"),
    "output_name": ("dvid_name",),
    "amount": ("amt", "amount"),
    "dose": ("dose", "dose_per_kg"),
    "kind": ("adm", "kind"),
    "kind_name": ("adm_name",),
    "dose_unit": ("dose_unit",),
    "evid": ("evid",),
    "addl": ("addl",),
    "mdv": ("mdv",),
    "postdose": ("postdose", "post_dose"),
    "cohort": ("cohort",),
    "until": ("until",),
    "until_reason": ("until_reason",),
    "excluded": ("excluded",),
    "unit": ("unit", "dv_unit"),
}
MEANING = {name: meaning for meaning, names in SYNONYMS.items() for name in names}
# What a heading may say in brackets, and still mean the same: "LLOQ (copies/ug)". "TIME (h)" is no day.
_COPIES = {"copies_ug", "copies_ug_dna", "copies_ug_gdna", "copies_per_ug", "copies_per_ug_dna", "copies_per_ug_gdna"}
_BRACKETS: dict[str, frozenset[str]] = {}
_BRACKETS |= dict.fromkeys(("value", "lloq", "lod", "uloq", "limit"), frozenset(_COPIES))
_BRACKETS |= dict.fromkeys(("day", "nominal_day", "until"), frozenset({"d", "day", "days"}))
_BRACKETS |= dict.fromkeys(("dose", "amount"), frozenset({"cells_kg", "cells_per_kg"}))
# Columns of Study.observations and Study.covariates that a column of the file may not take.
RESERVED = {"row", "status", "lower", "upper", *MEANING, *SYNONYMS}


@dataclass(frozen=True)
class Sheet:
    """A table as it stands in the file.

    Attributes
    ----------
    cells : DataFrame
        n rows of text without surrounding blanks; "" where a cell is empty or says that a value is missing.
    row : (n,) array of int
        Line of the file on which the row begins; in a DataFrame its position + 2, its line as a CSV.
    source : str
        Name of the file, or "DataFrame".
    note : str
        The comment lines above the header, without their ``#``.
    separator : str
        What stands between two cells: ",", ";" or a tab.
    problems : list of Problem
        Rows that have too many or too few cells; they are left out of `cells`.
    """

    cells: pd.DataFrame
    row: npt.NDArray[np.int64]
    source: str
    note: str = ""
    separator: str = ","
    problems: list[Problem] = field(default_factory=list)


def load(table: str | os.PathLike[str] | pd.DataFrame, columns: Mapping[str, str] | None = None) -> Sheet:
    """Read a file or take a DataFrame, without guessing what a cell means.

    Raises
    ------
    StudyError
        When it is not a table of text, has no rows, or two columns of one name.
    FileNotFoundError
        When there is no such file.
    """
    sheet = _from_frame(table) if isinstance(table, pd.DataFrame) else _from_file(Path(table), columns)
    names = list(sheet.cells.columns)
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    for name in dict.fromkeys(twice):
        sheet.problems.append(Problem(None, None, None, f"two columns are called {name!r}", "Rename one of them."))
    if twice:
        raise StudyError(sheet.problems, sheet.source)
    cells = sheet.cells.apply(_stripped)
    filled = (cells != "").any(axis=1).to_numpy()
    if not filled.any():
        nothing = Problem(None, None, None, "it has a header and no rows", "Give one row a sample.")
        raise StudyError(sheet.problems or [nothing], sheet.source)
    # A column without a name and without content is what a spreadsheet leaves at the right.
    unnamed = {name for name in names if name.startswith("column_") and not (cells[name] != "").any()}
    cells = cells.loc[filled, [name for name in names if name not in unnamed]].reset_index(drop=True)
    return Sheet(cells, sheet.row[filled], sheet.source, sheet.note, sheet.separator, sheet.problems)


def resolve(names: Sequence[str], columns: Mapping[str, str] | None = None) -> tuple[dict[str, str], list[Problem]]:
    """Which column of a table has which meaning.

    Parameters
    ----------
    names : sequence of str
        The columns of the table.
    columns : mapping, optional
        ``{ours: theirs}``: wins over the synonyms.

    Returns
    -------
    dict
        Meaning (a key of `SYNONYMS`) to column. A column that is not in it has no meaning here.
    list of Problem
        Missing and ambiguous columns.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []

    def report(finding: str, remedy: str) -> None:
        problems.append(Problem(None, None, None, finding, remedy.strip()))

    if len(names) == 1:
        report(f"the header has one cell, {names[0]!r}", "Separate the cells by comma, semicolon or tab.")
        return found, problems
    for ours, theirs in (columns or {}).items():
        meaning = ours if ours in SYNONYMS else MEANING.get(plain(ours))
        if meaning is None:
            report(f"columns= has no {ours!r}", f"It takes {', '.join(SYNONYMS)}. {suggest(ours, SYNONYMS)}")
        elif theirs not in names:
            report(f"there is no column {theirs!r}", f"There are {', '.join(names)}. {suggest(theirs, names)}")
        else:
            found[meaning] = theirs
    taken = set(found.values())
    for meaning in SYNONYMS:
        same = [name for name in names if name not in taken and meaning_of(name) == meaning]
        if meaning in found or not same:
            continue
        found[meaning] = same[0]
        if len(same) > 1:
            report(
                f"the columns {', '.join(same)} all mean {meaning}",
                f"Say which one, read_study(..., columns={{{meaning!r}: {same[0]!r}}}).",
            )
    if "day" not in found and "nominal_day" in found:
        found["day"] = found["nominal_day"]
    for meaning in ("subject", "day", "value"):
        if meaning not in found and not any(meaning == MEANING.get(plain(ours)) for ours in columns or {}):
            report(f"there is no column for the {meaning}", _nearest(meaning, names, set(found.values())))
    return found, problems


class Rows:
    """The rows of a sheet by meaning, and what is wrong with them."""

    def __init__(self, sheet: Sheet, names: dict[str, str], problems: list[Problem]) -> None:
        self.cells, self.row, self.names, self.problems = sheet.cells, sheet.row, names, problems
        self.reported = np.zeros(len(sheet.row), dtype=bool)
        self.decimal = _decimal(sheet, names)
        self.subject = self.text("subject").to_numpy(dtype=object)
        self.code, subjects = pd.factorize(self.subject)
        self.subjects: tuple[str, ...] = tuple(subjects)
        self.day = np.full(len(self.row), np.nan)
        self.nominal_day = self.number("nominal_day")
        if names["day"] == names.get("nominal_day"):
            self.day = self.nominal_day
        else:
            actual = self.number("day")
            self.day = np.where(np.isnan(actual), self.nominal_day, actual)
        no_day = np.isnan(self.day) & ~self.reported
        self.report(no_day, lambda _: f"{names['day']} is empty", "Give the day of the row.")
        self.report(self.subject == "", lambda _: f"{names['subject']} is empty", "Say whose row it is.")
        hidden = {name for name in subjects if name.startswith("#") and name[1:].strip() in set(subjects)}
        remedy = "Comments stand above the header: remove the row, or its #."
        self.report(np.isin(self.subject, list(hidden)), lambda _: "the row is commented out", remedy)

    def text(self, meaning: str) -> pd.Series:
        """Cells of the column with a meaning, "" for each row when there is no such column."""
        if meaning in self.names:
            return self.cells[self.names[meaning]]
        return pd.Series("", index=self.cells.index, dtype="str")

    def number(self, meaning: str, least: float = -np.inf) -> Floats:
        """Cells as finite numbers of at least `least`, NaN where empty; anything else is reported."""
        if meaning not in self.names:
            return np.full(len(self.row), np.nan)
        name, text = self.names[meaning], self.text(meaning).to_numpy(dtype=object)
        values, unreadable = numbers(text, self.decimal)
        remedy = f"Write a number{self.comma}, or leave the cell empty."
        self.report(unreadable, lambda at: f"{name} is {text[at]!r}, which is not a number", remedy)
        outside = np.isinf(values) | (values < least)
        remedy = f"Give a finite number{', not negative,' * (least == 0)} or leave the cell empty."
        self.report(outside, lambda at: f"{name} is {text[at]}", remedy)
        return np.where(outside, np.nan, values)

    def choice(self, meaning: str, allowed: tuple[int, ...]) -> Floats:
        """Cells as one of a few whole numbers, NaN where empty."""
        values = self.number(meaning)
        wrong = ~np.isnan(values) & ~np.isin(values, allowed)
        found = f"{self.names.get(meaning)} is "
        self.report(wrong, lambda at: found + number_text(values[at]), f"It is one of {', '.join(map(str, allowed))}.")
        return np.where(wrong, np.nan, values)

    def constant(self, meaning: str, number: bool = False) -> pd.Series:
        """One cell a subject (index: the subjects), missing where all are empty; a change is reported."""
        text = self.text(meaning)
        series = pd.Series(self.number(meaning)) if number else text.replace("", np.nan)
        first = series.groupby(self.code).first().reindex(range(len(self.subjects)))
        expected = first.iloc[self.code].reset_index(drop=True)
        differs = (series.notna() & (series != expected)).to_numpy(dtype=bool)
        begins = differs & ~pd.Series(self.code).where(differs).duplicated().to_numpy()

        def found(at: int) -> str:
            was = number_text(expected[at]) if number else expected[at]
            return f"{self.names[meaning]} is {text[at]} and was {was}"

        self.report(begins, found, "It is one and the same for all rows of a subject.")
        first.index = pd.Index(self.subjects)
        return first

    def report(self, where: Flags, found: Callable[[int], str], remedy: str | Callable[[int], str]) -> None:
        """Note a problem for each row in `where`."""
        self.reported |= where
        for at in np.flatnonzero(where).tolist():
            day = None if np.isnan(self.day[at]) else float(self.day[at])
            advice = remedy if isinstance(remedy, str) else remedy(at)
            self.problems.append(Problem(int(self.row[at]), self.subject[at] or None, day, found(at), advice))

    @property
    def comma(self) -> str:
        """What a remedy adds about decimals."""
        return " (decimals with a comma, as elsewhere in the file)" if self.decimal == "," else ""


def _decimal(sheet: Sheet, names: dict[str, str]) -> str:
    if sheet.separator != ";":
        return "."
    known = ("day", "nominal_day", "value", "limit", "lloq", "lod", "uloq", "amount", "dose", "until")
    columns = [sheet.cells[names[meaning]] for meaning in known if meaning in names]
    comma = r"[<>≤≥=\s]*[+-]?\d*,\d+(e[+-]?\d+)?"
    return "," if any(column.str.fullmatch(comma, case=False).any() for column in columns) else "."


def plain(name: str) -> str:
    """A column name as the synonyms write it: lower case, underscores for blanks, points and strokes."""
    return re.sub(r"[\s./\\-]+", "_", name.strip().casefold().replace("\u03bc", "u").replace("\u00b5", "u")).strip("_")


def meaning_of(name: str) -> str | None:
    """The meaning of a heading, None when it has none; a unit in brackets must be the one that is meant."""
    said = re.fullmatch(r"(.*?)[(\[](.*)[)\]]\s*", name, re.DOTALL)
    meaning = MEANING.get(plain(said[1])) if said else None
    if said and meaning and plain(said[2]) in _BRACKETS.get(meaning, ()):
        return meaning
    return MEANING.get(plain(name))


def _nearest(meaning: str, names: Sequence[str], taken: Iterable[str]) -> str:
    free = {plain(name): name for name in reversed(names) if name not in taken}
    ratio = {
        name: max(difflib.SequenceMatcher(None, low, synonym).ratio() for synonym in SYNONYMS[meaning])
        for low, name in free.items()
    }
    best = max(ratio, key=lambda name: ratio[name], default="")
    if best and ratio[best] >= 0.6:
        return f"Is it {best}? Then read_study(..., columns={{{meaning!r}: {best!r}}})."
    return f"There are {', '.join(names)}. Say which one, read_study(..., columns={{{meaning!r}: ...}})."


def _stripped(column: pd.Series) -> pd.Series:
    codes, distinct = pd.factorize(column.to_numpy(dtype=object))
    cells = [cell.strip() for cell in distinct]
    texts = np.array(["" if cell.lower() in MISSING else cell for cell in cells], dtype=object)
    return pd.Series(texts[codes], dtype="str")


def _unreadable(source: str, found: str, remedy: str) -> StudyError:
    return StudyError([Problem(None, None, None, found, remedy)], source)


def _from_frame(frame: pd.DataFrame) -> Sheet:
    labels = {name for name in frame.index.names if name is not None}
    if labels and labels.isdisjoint(frame.columns):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    if not len(frame) or not names:
        raise _unreadable("DataFrame", "it has no rows", "Give one row a sample.")
    cells = pd.concat([_texts(frame.iloc[:, place]) for place in range(len(names))], axis=1)
    cells.columns = pd.Index(names)
    return Sheet(cells, np.arange(len(frame)) + 2, "DataFrame")


def _texts(column: pd.Series) -> pd.Series:
    """A column as text; 1.0 becomes "1", because pandas makes numbers with a gap float."""
    if pd.api.types.is_float_dtype(column.dtype):
        codes, distinct = pd.factorize(column.to_numpy(dtype=float, na_value=np.nan))
        texts = np.array([*(number_text(number) for number in distinct), ""], dtype=object)[codes]
    else:
        texts = [_text(cell) for cell in column.astype(object)]
    return pd.Series(texts, dtype="str")


def _text(cell: object) -> str:
    if isinstance(cell, float | np.floating):
        return "" if np.isnan(cell) else number_text(float(cell))
    return "" if cell is None or cell is pd.NA or cell is pd.NaT else str(cell)


def _from_file(path: Path, columns: Mapping[str, str] | None) -> Sheet:
    text = _decoded(path)
    lines = text.split("\n")
    start = 0
    while start < len(lines) and (not lines[start].strip() or lines[start].startswith("#")):
        start += 1
    if start == len(lines):
        raise _unreadable(path.name, "the file is empty", "Give a header and one row a sample.")
    note = [number for number in range(start) if lines[number].startswith("#")]
    if note and _is_header(lines[note[-1]][1:], columns) and not _is_header(lines[start], columns):
        start = note.pop()
        lines[start] = lines[start][1:]
    separator = _separator(lines[start])
    reader = csv.reader(io.StringIO("\n".join(lines[start:]), newline=""), delimiter=separator, skipinitialspace=True)
    records: list[list[str]] = []
    begins: list[int] = []
    line = start + 1
    try:
        for record in reader:
            if record:
                records.append(record)
                begins.append(line)
            line = start + 1 + reader.line_num
    except csv.Error as error:
        raise _unreadable(path.name, f"line {line} cannot be read: {error}", "Save it as CSV.") from error
    header, *rows = records
    names = [name.strip() or f"column_{place}" for place, name in enumerate(header, start=1)]
    problems: list[Problem] = []
    row = np.array(begins[1:], dtype=np.int64)
    width = np.array([len(record) for record in rows], dtype=np.int64)
    for place in np.flatnonzero(width != len(names)):
        record = rows[place]
        if not any(cell.strip() for cell in record[len(names) :]) and len(record) > len(names):
            rows[place] = record[: len(names)]
            width[place] = len(names)
        elif any(cell.strip() for cell in record):
            found = f"it has {len(record)} cells and the header has {len(names)}"
            problems.append(Problem(int(row[place]), None, None, found, "Give each column a cell, empty or not."))
    whole = width == len(names)
    cells = pd.DataFrame([rows[place] for place in np.flatnonzero(whole)], columns=names, dtype="str")
    notes = "\n".join(lines[number][1:].removeprefix(" ") for number in note)
    return Sheet(cells, row[whole], path.name, notes, separator, problems)


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    kind = next((kind for magic, kind in _OTHER_FILES.items() if raw.startswith(magic)), None)
    if kind is None and b"\0" in raw:
        kind = "a binary file (it holds NUL bytes)"
    if kind is None:
        try:
            return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            kind = "not UTF-8 text"
    raise _unreadable(path.name, f"it is {kind}, not a table of text", "Save it as CSV (UTF-8).")


_OTHER_FILES = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def _separator(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    counts = {separator: bare.count(separator) for separator in (",", ";", "\t")}
    return max(counts, key=lambda separator: counts[separator])


def _is_header(line: str, columns: Mapping[str, str] | None) -> bool:
    names = next(csv.reader([line], delimiter=_separator(line)), [])
    names = [name.strip() for name in names]
    known = {MEANING.get(plain(name)) for name in names}
    known |= {MEANING.get(plain(ours)) for ours, theirs in (columns or {}).items() if theirs in names}
    return len(names) > 2 and "subject" in known and bool(known & {"day", "nominal_day"})
