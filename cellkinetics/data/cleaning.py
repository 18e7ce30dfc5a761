"""A cleaned copy of a table: what has one safe remedy is done and logged, the rest is left."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellkinetics.data.columns import SYNONYMS, is_numeric, meaning_of, resolve
from cellkinetics.errors import StudyError
from cellkinetics.layout.loading import load
from cellkinetics.layout.packed import is_packed
from cellkinetics.layout.sheet import Sheet
from cellkinetics.layout.workbooks import is_sas, is_workbook
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import mark_of, number_of

_COMMA = re.compile(r"([<>≤≥]=?\s*)?[+-]?\d+,(\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Change:
    """One change: the line of the file (None for the header), what was done, from what, to what."""

    row: int | None
    what: str
    was: str
    now: str

    def line(self) -> str:
        """The change in one line of the log."""
        place = "header" if self.row is None else f"row {self.row}"
        return f"{place}: {self.what}: {self.was!r} -> {self.now!r}"


def clean(path: Path, sheet_name: str | None = None) -> tuple[Path, Path, list[Change]]:
    """Write a cleaned copy of a table beside it, ``<name>.cleaned.csv``, and a log of the changes.

    Done is what has one safe remedy: blanks around a cell are dropped, decimal commas become points (unless
    there are points too), a column goes by its standard name, a sample that repeats another cell by cell is
    removed (a dose is not: there may be two bags), and the rows are sorted by subject and day. Cells that say that
    a value is missing, such as NA, are empty in the copy. Rows at one time stay in their order, because it says
    what was drawn before a dose; and rows are not sorted when a day cannot be read. Neither file is ever written
    over another.

    Parameters
    ----------
    path : Path
        The table; it is not changed.
    sheet_name : str, optional
        Of a workbook that has several.

    Returns
    -------
    cleaned, log : Path
        The files that were written.
    changes : list of Change
        In the order of the log.

    Raises
    ------
    FileExistsError
        When there is such a file already.
    StudyError
        When it is not a table of text, or has rows of the wrong length: their cells could be anybody's.
    """
    cleaned, log = (path.with_name(f"{path.name.removesuffix('.csv')}.cleaned{end}") for end in (".csv", ".log"))
    sheet = load(path, sheet=sheet_name)
    if sheet.problems:
        raise StudyError(sheet.problems, sheet.source)
    taken = next((file for file in (cleaned, log) if file.exists()), None)
    if taken is not None:
        raise FileExistsError(f"{taken} exists already: move it away, it is never written over.")
    cells, row = sheet.cells.copy(), sheet.row
    names, _ = resolve(list(cells.columns))
    changes = _blanks(path, sheet)

    known = {name for name in cells.columns if is_numeric(name)}
    texts = [text for name in known for text in cells[name]]
    # 5.120 among decimal commas may be five thousand: nobody but its writer knows.
    if (sheet.separator == ";" or sheet.decimal == ",") and not any(re.search(r"\d\.\d", text) for text in texts):
        for name in cells.columns:
            column = cells[name]
            if name not in known and any(mark_of(text, ",")[0] == "unreadable" for text in pd.unique(column)):
                continue
            comma = column.str.fullmatch(_COMMA)
            for at in np.flatnonzero(comma).tolist():
                now = column[at].replace(",", ".")
                changes.append(Change(int(row[at]), f"decimal comma in {name}", column[at], now))
            cells[name] = column.where(~comma, column.str.replace(",", "."))
    # Two bags of cells on one day may be two doses.
    empty = cells[names["value"]] == "" if "value" in names else pd.Series(True, index=cells.index)
    again = (cells.duplicated() & ~empty).to_numpy()
    first = pd.Series(row).groupby([cells[name] for name in cells.columns]).transform("first")
    for at in np.flatnonzero(again).tolist():
        changes.append(
            Change(int(row[at]), f"removed, it repeats row {first[at]}", sheet.separator.join(cells.iloc[at]), "")
        )
    cells, row = cells[~again].reset_index(drop=True), row[~again]
    if "subject" in names and "day" in names:
        days = [number_of(text) for text in cells[names["day"]]]
        if all(day is not None and np.isfinite(day) for day in days):
            order = np.lexsort((np.array(days, dtype=float), pd.factorize(cells[names["subject"]])[0]))
            for at, place in enumerate(order.tolist()):
                if at != place:
                    was, now = f"line {row[place]}", f"line {row[at]}"
                    changes.append(Change(int(row[place]), "sorted by subject and day", was, now))
            cells = cells.iloc[order]
    standard: dict[str, str] = {}
    for meaning, name in names.items():
        usual = SYNONYMS[meaning][0]
        ambiguous = sum(meaning_of(other) == meaning for other in cells.columns) > 1
        if name.casefold() not in SYNONYMS[meaning] and not ambiguous and usual not in cells.columns:
            standard[name] = usual
            changes.append(Change(None, "column renamed", name, usual))
    cells = cells.rename(columns=standard)
    _write(cleaned, sheet.note, sheet.separator, cells)
    try:
        with log.open("x", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in [f"{path.name} -> {cleaned.name}", *(c.line() for c in changes)])
    except FileExistsError:
        cleaned.unlink()
        raise
    return cleaned, log, changes


def _blanks(path: Path, sheet: Sheet) -> list[Change]:
    """The cells with blanks around them, as they stand in the file; none where blanks separate, or it is no text."""
    changes: list[Change] = []
    with path.open("rb") as begin:
        packed = begin.read(80)
    if sheet.separator == " " or is_workbook(packed) or is_sas(packed) or is_packed(packed):
        return changes
    with path.open(encoding=sheet.encoding, newline="") as file:
        reader = csv.reader(file, delimiter=sheet.separator)
        line = 1
        for record in reader:
            if record and not record[0].startswith("#"):
                stray = [cell for cell in record if cell != cell.strip()]
                changes += [Change(line, "blanks dropped", cell, cell.strip()) for cell in stray]
            line = reader.line_num + 1
    return changes


def _write(path: Path, note: str, separator: str, cells: pd.DataFrame) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        file.writelines(f"# {line}\n" for line in note.split("\n") if note)
        # An empty cell between blanks is none.
        table = csv.writer(file, delimiter="," if separator == " " else separator, lineterminator="\n")
        table.writerow(cells.columns)
        table.writerows(cells.itertuples(index=False))
