"""A file or a DataFrame as columns of text, as they stand there."""

from __future__ import annotations

import gc
import itertools
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from cellkinetics.arrays import Flags
from cellkinetics.errors import Finding, StudyError, StudyWarning, one_problem
from cellkinetics.layout.packed import unpacked
from cellkinetics.layout.sheet import Seen, Sheet, stripped
from cellkinetics.layout.text import from_text, is_known
from cellkinetics.layout.visits import day_of
from cellkinetics.layout.workbooks import frame_of, grid_of, is_sas, is_workbook
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import mark_of, number_of
from cellkinetics.meaning.headings import is_numeric, meaning_of
from cellkinetics.words import number_text

_COMMA_NUMBER = re.compile(r"[<>≤≥=\s]*[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[<>≤≥=\s]*[+-]?[1-9]\d{0,2}(,\d{3})+")
# The same with points, and what shows that a point is one before decimals.
_POINTS = re.compile(r"[<>≤≥=\s]*[+-]?[1-9]\d{0,2}\.\d{3}")
_MANY_POINTS = re.compile(r"[<>≤≥=\s]*[+-]?[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?")
_POINT_NUMBER = re.compile(r"[<>≤≥=\s]*[+-]?\d*\.\d+(e[+-]?\d+)?", re.IGNORECASE)
# So many cells of a column are looked at before all of them are.
FIRST_CELLS = 200


class Arrow(Protocol):
    """A table of polars, pyarrow or another library that hands its columns over as Arrow does."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


def load(
    table: str | os.PathLike[str] | pd.DataFrame | Arrow,
    columns: Mapping[str, str] | None = None,
    progress: bool = False,
    sheet: str | None = None,
) -> Sheet:
    """Read a file or take a DataFrame, without guessing what a cell means; `sheet` names one of a workbook.

    Raises
    ------
    StudyError
        When it is not a table of text, has no rows, or two columns of one name.
    FileNotFoundError
        When there is no such file.
    TypeError
        When it is neither a path nor a table.
    """
    if isinstance(table, str | os.PathLike):
        read = _from_file(Path(table), columns, progress, sheet)
    elif sheet is not None:
        raise ValueError(f"sheet={sheet!r}: a DataFrame has no sheets.")
    else:
        read = _from_frame(_as_frame(table))
    names = list(read.cells.columns)
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    for name in dict.fromkeys(twice):
        read.problems.append(Finding(None, None, None, f"two columns are called {name!r}", "Rename one of them."))
    if twice:
        raise StudyError(read.problems, read.source)
    content = {name: (read.cells[name] != "").to_numpy(dtype=bool) for name in names}
    filled = np.logical_or.reduce(list(content.values()))
    if not filled.any():
        nothing = Finding(None, None, None, "it has a header and no rows", "Give one row a sample.")
        raise StudyError(read.problems or [nothing], read.source)
    # A column without a name and without content is what a spreadsheet leaves at the right.
    kept = [name for name in names if not name.startswith("column_") or content[name].any()]
    note, aside = _aside(names, content)
    kept = [name for name in kept if name not in aside]
    cells, row = read.cells[kept], read.row
    if not filled.all():
        cells, row = cells[filled].reset_index(drop=True), row[filled]
    decimal = _decimal(cells, read.separator, columns, read.source)
    note = "\n".join(filter(None, [read.note, *note]))
    return Sheet(cells, row, read.source, note, read.separator, decimal, read.encoding, read.problems)


def _aside(names: Sequence[str], content: Mapping[str, Flags]) -> tuple[list[str], set[str]]:
    """What stands beside the header, LLOQ in one cell and 50 in the next, and nothing beneath: lines of the note."""
    lines, aside = [], set[str]()
    for left, right in itertools.pairwise(names):
        empty = not content[left].any() and not content[right].any()
        named = any(map(str.isalpha, left)) and not left.startswith("column_") and day_of(left) is None
        if empty and named and number_of(right) is not None:
            lines.append(f"{left} {right}")
            aside |= {left, right}
    return lines, aside


def _decimal(cells: pd.DataFrame, separator: str, columns: Mapping[str, str] | None, source: str) -> str:
    """What stands before the decimals of a table.

    The columns that are read say it: days, values, limits, doses. Where they leave it open, every other column of
    numbers does, such as an age or a weight.

    Raises
    ------
    StudyError
        When all commas, or all points of a column, may be those of thousands: 5,120 is 5120 or 5.12.
    """
    numeric = [name for name in cells.columns if is_numeric(name, columns)]
    days = [name for name in cells.columns if name not in numeric and (said := day_of(name)) and said[1]]
    # The columns of the days of a wide table hold values of one kind.
    days = days if len(days) > 1 else []
    read = {name: [name] for name in numeric} | ({"the columns of the days": days} if days else {})
    notes = [_points(name, [cells[each] for each in those], separator, source) for name, those in read.items()]
    if separator == ",":
        return "."
    distinct = {name: pd.unique(cells[those].to_numpy().ravel()).tolist() for name, those in read.items()}
    texts = list(itertools.chain.from_iterable(distinct.values()))
    every = [text for text in texts if "," in text and _COMMA_NUMBER.fullmatch(text)]
    others = cells.columns.difference([*numeric, *days])
    others = [cells[name] for name in others if meaning_of(name) != "subject"]
    if any(map(_is_decimal_comma, every)) or (not any(map(_is_decimal_point, texts)) and _has_commas(others)):
        return ","
    pointed = any("." in text and text != "." for text in texts)
    if separator == ";" and every and not pointed:
        name = next(name for name, texts in distinct.items() if every[0] in texts)
        raise _thousands(name, every[0], ",", source)
    if separator == ";" and every:
        return ","
    for note in filter(None, notes):
        warnings.warn(
            f"{source}: {note} read as decimals: write thousands without a point.", StudyWarning, stacklevel=4
        )
    return "."


def _is_decimal_comma(text: str) -> bool:
    return "," in text and _COMMA_NUMBER.fullmatch(text) is not None and not _THOUSANDS.fullmatch(text)


def _is_decimal_point(text: str) -> bool:
    return "." in text and _POINT_NUMBER.fullmatch(text) is not None and not _POINTS.fullmatch(text)


def _has_commas(columns: Iterable[pd.Series]) -> bool:
    """Whether one of the columns of numbers has decimal commas and none has decimal points."""
    comma = False
    for column in columns:
        filled = column[column != ""]
        # Words with a number here and there are no numbers; of a million names the first tell it.
        first = filled.iloc[:FIRST_CELLS].tolist()
        if 2 * sum(mark_of(text.replace(",", "."))[0] != "unreadable" for text in first) < len(first):
            continue
        cells = pd.unique(filled).tolist()
        if any(map(_is_decimal_point, cells)):
            return False
        comma |= any(map(_is_decimal_comma, cells))
    return comma


def _points(name: str, columns: Sequence[pd.Series], separator: str, source: str) -> str:
    """Refuse columns whose points are, or may be, those of thousands: 1.234.567, or 5.120 beside 96.

    Decimals that are printed with three digits are so in every cell, and no cell above 999 does without points. Between
    semicolons that is enough; elsewhere, where points are usual, one number must end in 0 too, as no program prints
    decimals beside a whole number. Returned is what is to be said of the points where they are read as decimals:
    between tabs, of those beside a whole number; between semicolons, of those beside none, 1.234 and 12.345.
    """
    # In most tables the first decimals end it, and a million cells need not be told apart.
    first = [text for each in columns for text in each.iloc[:FIRST_CELLS].tolist() if "." in text]
    several = any(text.count(".") > 1 for text in first)
    if not several and not all(map(_POINTS.fullmatch, first)):
        return ""
    texts = list(dict.fromkeys(itertools.chain(*(pd.unique(each).tolist() for each in columns))))
    if any("." in text and not _POINTS.fullmatch(text) for text in texts):
        many = next((text for text in texts if text.count(".") > 1), "")
        if _MANY_POINTS.fullmatch(many):
            raise _thousands(name, many, ".", source)
        return ""
    points = [text for text in texts if "." in text]
    whole = [text for text in texts if text.isdecimal() and (separator == ";" or text.strip("0"))]
    if len(points) < 2 or (whole and max(map(len, whole)) > 3):
        return ""
    if not whole:
        timed = meaning_of(name) in ("day", "nominal_day")
        return f"{name} has {points[0]} and {points[1]}, which are" if separator == ";" and not timed else ""
    if separator == ";" or any(text.endswith("0") for text in points):
        raise _thousands(name, next((text for text in points if text.endswith("0")), points[0]), ".", source)
    return f"{name} has {points[0]} beside {whole[0]} and is" if separator == "\t" else ""


def _thousands(name: str, text: str, mark: str, source: str) -> StudyError:
    whole, decimal = text.replace(mark, ""), text.replace(",", ".")
    if text.count(mark) > 1:
        found = f"{name} is {text!r}, with marks of thousands"
        return one_problem(found, f"Write thousands without a mark ({whole}).", source)
    found = f"{name} is {text!r}, which is {whole} or {decimal}: nothing says which"
    return one_problem(found, f"Write thousands without a mark ({whole}), or all decimals with four digits.", source)


# A table in memory


def _as_frame(table: pd.DataFrame | Arrow) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    if not hasattr(table, "__arrow_c_stream__"):
        remedy = " Call its collect() first." if hasattr(table, "collect") else ""
        raise TypeError(f"a study is read from a path or a DataFrame, not from a {type(table).__name__}.{remedy}")
    try:
        return pd.DataFrame.from_arrow(table)  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        # polars needs no pyarrow, and pandas does.
        as_dict = getattr(table, "to_dict", None)
        if as_dict is not None:
            return pd.DataFrame(as_dict(as_series=False))
        remedy = "install pyarrow, or pass a pandas DataFrame."
        raise ImportError(f"pandas reads a {type(table).__name__} through pyarrow: {remedy}") from None


def _from_frame(frame: pd.DataFrame, source: str = "DataFrame") -> Sheet:
    labels = {name for name in frame.index.names if name is not None}
    if labels and labels.isdisjoint(frame.columns):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    if not len(frame) or not names:
        raise one_problem("it has no rows", "Give one row a sample.", source)
    cells = pd.concat([_texts(frame.iloc[:, place]) for place in range(len(names))], axis=1)
    cells.columns = pd.Index(names)
    return Sheet(cells, np.arange(len(frame)) + 2, source)


def _texts(column: pd.Series) -> pd.Series:
    """A column as text; 1.0 becomes "1", because pandas makes numbers with a gap float."""
    if pd.api.types.is_float_dtype(column.dtype):
        codes, distinct = pd.factorize(column.to_numpy(dtype=float, na_value=np.nan))
        texts = np.array([*(number_text(number) for number in distinct), ""], dtype=object)[codes]
        return pd.Series(texts, dtype="str")
    codes, distinct = pd.factorize(np.array([_text(cell) for cell in column.astype(object)], dtype=object))
    return pd.Series(np.array([stripped(text) for text in distinct], dtype=object)[codes], dtype="str")


def _text(cell: object) -> str:
    if isinstance(cell, float | np.floating):
        return "" if np.isnan(cell) else number_text(float(cell))
    return "" if cell is None or cell is pd.NA or cell is pd.NaT else str(cell)


# A file


def _from_file(path: Path, columns: Mapping[str, str] | None, progress: bool, sheet: str | None) -> Sheet:
    if path.is_dir():
        raise one_problem("it is a folder", "Name the file in it.", str(path))
    with unpacked(path) as file:
        with file.open("rb") as begin:
            first = begin.read(80)
        if is_workbook(first):
            return _from_workbook(file, path.name, sheet, columns)
        if sheet is not None:
            raise one_problem(f"sheet={sheet!r} was given and it is no workbook", "Leave it out.", path.name)
        if is_sas(first):
            return _from_frame(frame_of(file, path.name, first), path.name)
        return from_text(file, path.name, columns, progress)


def _from_workbook(path: Path, source: str, sheet: str | None, columns: Mapping[str, str] | None) -> Sheet:
    # A million new cells wake the garbage collector again and again, which walks through all of JAX.
    collecting = gc.isenabled()
    gc.disable()
    try:
        names, records, row, note = grid_of(path, source, sheet, lambda names: is_known(list(names), columns))
    finally:
        if collecting:
            gc.enable()
    names = [name or f"column_{place}" for place, name in enumerate(names, start=1)]
    seen = Seen()
    each = zip(*records, strict=True) if records else ([] for _ in names)
    columns_of_text = [pd.Series([seen[cell] for cell in cells], dtype="str") for cells in each]
    cells = pd.concat(columns_of_text, axis=1).set_axis(names, axis=1)
    return Sheet(cells, np.array(row, dtype=np.int64), source, note)
