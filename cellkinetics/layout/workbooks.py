"""Workbooks (.xlsx, .xls, .ods) and files of SAS (.xpt, .sas7bdat) as rows of text."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

from cellkinetics.errors import StudyWarning, TextWarning, one_problem, suggest
from cellkinetics.layout.hidden import unseen
from cellkinetics.lazily import pandas as pd
from cellkinetics.words import count, number_text

# Rows above the header that may hold a title, and below which no header is looked for.
TITLE_LINES = 20
_WORKBOOK = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_XPORT = b"HEADER RECORD*******LIB"
_ZERO = 16.0**-65
_SAS = bytes(12) + b"\xc2\xea\x81\x60"


class Grid(NamedTuple):
    """A header, rows of text beneath it, the row of the worksheet that each is, and what stands above the header."""

    names: list[str]
    records: list[list[str]]
    row: list[int]
    note: str


def is_workbook(first: bytes) -> bool:
    """Whether a file that begins so is a workbook."""
    return first.startswith(_WORKBOOK)


def is_sas(first: bytes) -> bool:
    """Whether a file that begins so is one of SAS."""
    return first.startswith((_XPORT, _SAS))


def grid_of(path: Path, source: str, sheet: str | None, is_header: Callable[[Sequence[str]], bool]) -> Grid:
    """The table of a workbook.

    Parameters
    ----------
    path, source : Path, str
        The file, and what it is called.
    sheet : str, optional
        Name of the worksheet; not needed where one only has content, or one only a header that is known.
    is_header : function
        Whether the cells of a row are names of columns that are known.

    Raises
    ------
    StudyError
        When it cannot be read, there is no such worksheet, or it is not clear which one holds the table.
    ImportError
        When python-calamine is not installed.
    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        remedy = "install it by pip install python-calamine, or save the table as CSV (UTF-8)."
        raise ImportError(f"{source} is a workbook, which python-calamine reads: {remedy}") from None
    try:
        with CalamineWorkbook.from_path(path) as book:
            names = list(book.sheet_names)
            if sheet is not None and sheet not in names:
                raise one_problem(
                    f"there is no sheet {sheet!r}",
                    f"There are {', '.join(names)}. {suggest(sheet, names)}".rstrip(),
                    source,
                )
            wanted = names if sheet is None else [sheet]
            # With the empty rows and columns at the top left, so that a row keeps its number.
            read = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in wanted}
    except CalamineError as error:
        raise one_problem(f"the workbook cannot be read: {error}", "Save it as CSV (UTF-8).", source) from error
    tables = {name: _texts(table) for name, table in read.items()}
    full = {name: table for name, table in tables.items() if any(any(record) for record in table)}
    if not full:
        raise one_problem("the workbook is empty", "Give a header and one row a sample.", source)
    header = {name: _header(table, is_header) for name, table in full.items()}
    known = [name for name in full if header[name] is not None]
    chosen = list(full) if len(full) == 1 else known
    if len(chosen) != 1:
        found = f"the workbook has several sheets with content: {', '.join(full)}"
        raise one_problem(found, f"Say which one, read_study(..., sheet={next(iter(full))!r}).", source)
    table = full[chosen[0]]
    texts, hidden = unseen(path, chosen[0])
    for (row, column), text in texts.items():
        if row < len(table) and column < len(table[row]):
            table[row][column] = text
    grid = _grid(table, header[chosen[0]])
    hidden = sorted(set(hidden) & set(grid.row))
    if not hidden:
        return grid
    rows = f"{count(len(hidden), 'row')} of the worksheet {'is' if len(hidden) == 1 else 'are'} hidden"
    shown = ", ".join(map(str, hidden[:6])) + (", ..." if len(hidden) > 6 else "")
    note = f"{rows}, by hand or by a filter, and read like the others: {shown}"
    warnings.warn(f"{source}: {note}.", StudyWarning, stacklevel=6)
    return grid._replace(note="\n".join(filter(None, [grid.note, f"{note}."])))


def frame_of(path: Path, source: str, first: bytes) -> pd.DataFrame:
    """The table of a file of SAS; text is UTF-8, or Windows-1252 with a warning.

    Raises
    ------
    StudyError
        When it cannot be read.
    """
    kind = "xport" if first.startswith(_XPORT) else "sas7bdat"
    try:
        try:
            frame = pd.read_sas(path, format=kind, encoding="utf-8")
        except UnicodeDecodeError:
            frame = pd.read_sas(path, format=kind, encoding="cp1252")
            warnings.warn(f"{source} is not UTF-8; it was read as Windows-1252.", TextWarning, stacklevel=6)
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise one_problem(f"the file of SAS cannot be read: {error}", "Save it as CSV (UTF-8).", source) from error
    # pandas reads the 0 of a transport file as 16 to the power of -65.
    return frame.replace(_ZERO, 0.0) if kind == "xport" else frame


class _Numbers(dict[float, str]):
    """Number to its text: a day, a limit or a dose stands there thousands of times."""

    def __missing__(self, number: float) -> str:
        text = self[number] = number_text(number)
        return text


def _texts(table: Iterable[Sequence[object]]) -> list[list[str]]:
    """The cells of all rows as text, stripped later; most are text or numbers."""
    seen = _Numbers()
    return [
        [cell if cell.__class__ is str else seen[cell] if cell.__class__ is float else _text(cell) for cell in record]  # pyright: ignore[reportArgumentType, reportReturnType]
        for record in table
    ]


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, float | int):
        return number_text(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ") if cell.time() != time() else cell.date().isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return f"{int(cell.total_seconds()) // 3600:02d}:{int(cell.total_seconds()) // 60 % 60:02d}"
    return cell.isoformat() if isinstance(cell, time) else ""


def _header(table: list[list[str]], is_header: Callable[[Sequence[str]], bool]) -> int | None:
    filled = itertools.islice((at for at, record in enumerate(table) if any(record)), TITLE_LINES + 1)
    return next((at for at in filled if is_header([name for name in _names(table, at) if name])), None)


def _names(table: list[list[str]], at: int) -> list[str]:
    """The names in a row; a cell that is merged over two rows has its name in the upper one."""
    names = [name.strip() for name in table[at]]
    above = [name.strip() for name in table[at - 1]] if at else []
    # A title has one cell.
    return [name or upper for name, upper in zip(names, above, strict=True)] if sum(map(bool, above)) > 1 else names


def _grid(table: list[list[str]], header: int | None) -> Grid:
    if header is None:
        # The first row with two cells: a title has one.
        header = next((at for at, record in enumerate(table) if sum(map(bool, record)) > 1), 0)
    note = "\n".join(line for record in table[:header] if (line := " ".join(filter(None, record))))
    start = header + 1
    return Grid(_names(table, header), table[start:], list(range(start + 1, len(table) + 1)), note)
