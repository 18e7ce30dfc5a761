"""A file or a DataFrame as columns of text, as they stand there."""

from __future__ import annotations

import codecs
import csv
import gc
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.data.columns import MEANING, is_numeric, meaning_of, plain
from cellkinetics.data.layout.dates import DATES, heading
from cellkinetics.data.layout.packed import unpacked
from cellkinetics.data.layout.workbooks import TITLES, frame_of, grid_of, is_sas, is_workbook
from cellkinetics.data.notation import MISSING
from cellkinetics.errors import Problem, StudyError, one_problem
from cellkinetics.words import number_text

# Bytes of a file of which reading is worth a bar, and of a block when its encoding is found out.
LARGE, BLOCK = 20_000_000, 1 << 20
# Rows at a time: two new objects each, fewer than wake the garbage collector, which would walk through all of JAX.
ROWS = 300
_COMMA = re.compile(r"[<>≤≥=\s]*[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[<>≤≥=\s]*[+-]?[1-9]\d{0,2}(,\d{3})+")
# The same with points, and what shows that a point is one before decimals.
_POINTS = re.compile(r"[<>≤≥=\s]*[+-]?[1-9]\d{0,2}\.\d{3}")
_SEP = re.compile(r"\ufeff?\"?sep=(.)\"?", re.IGNORECASE)


class Arrow(Protocol):
    """A table of polars, pyarrow or another library that hands its columns over as Arrow does."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@dataclass(frozen=True)
class Sheet:
    """A table as it stands in the file.

    Attributes
    ----------
    cells : DataFrame
        n rows of text without surrounding blanks; "" where a cell is empty or says that a value is missing.
    row : (n,) array of int
        Line of the file on which the row begins, row of the worksheet; in a DataFrame or a file of SAS its
        position + 2, its line as a CSV.
    source : str
        Name of the file, or "DataFrame".
    note : str
        The comment lines above the header, without their ``#``.
    separator : str
        What stands between two cells: ",", ";", a tab, "|" or a blank.
    decimal : str
        "." or ",". With semicolons one number with a comma is enough; with tabs, strokes or blanks it must be one
        that cannot be a thousand, as 1,234 can.
    encoding : str
        Of the file.
    problems : list of Problem
        Rows that have too many or too few cells; they are left out of `cells`.
    """

    cells: pd.DataFrame
    row: npt.NDArray[np.int64]
    source: str
    note: str = ""
    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8-sig"
    problems: list[Problem] = field(default_factory=list)


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
        read.problems.append(Problem(None, None, None, f"two columns are called {name!r}", "Rename one of them."))
    if twice:
        raise StudyError(read.problems, read.source)
    content = {name: (read.cells[name] != "").to_numpy(dtype=bool) for name in names}
    filled = np.logical_or.reduce(list(content.values()))
    if not filled.any():
        nothing = Problem(None, None, None, "it has a header and no rows", "Give one row a sample.")
        raise StudyError(read.problems or [nothing], read.source)
    # A column without a name and without content is what a spreadsheet leaves at the right.
    kept = [name for name in names if not name.startswith("column_") or content[name].any()]
    cells, row = read.cells[kept], read.row
    if not filled.all():
        cells, row = cells[filled].reset_index(drop=True), row[filled]
    decimal = _decimal(cells, read.separator, columns, read.source)
    return Sheet(cells, row, read.source, read.note, read.separator, decimal, read.encoding, read.problems)


def _decimal(cells: pd.DataFrame, separator: str, columns: Mapping[str, str] | None, source: str) -> str:
    """What stands before the decimals of a table.

    Raises
    ------
    StudyError
        When all commas, or all points of a column, may be those of thousands: 5,120 is 5120 or 5.12.
    """
    if separator == ",":
        return "."
    distinct = {name: pd.unique(cells[name]).tolist() for name in cells.columns if is_numeric(name, columns)}
    commas = {
        name: [text for text in texts if "," in text and _COMMA.fullmatch(text)] for name, texts in distinct.items()
    }
    every = list(itertools.chain.from_iterable(commas.values()))
    if separator != ";":
        return "," if any(not _THOUSANDS.fullmatch(text) for text in every) else "."
    pointed = any("." in text and text != "." for text in itertools.chain.from_iterable(distinct.values()))
    if every and all(_THOUSANDS.fullmatch(text) for text in every) and not pointed:
        name = next(name for name, texts in commas.items() if texts)
        raise _thousands(name, commas[name][0], ",", source)
    for name, texts in distinct.items():
        points = [text for text in texts if "." in text]
        plain_numbers = [text for text in texts if text.isdecimal()]
        # Decimals that are printed with three digits are so in every cell, and no cell above 999 does without points.
        if (
            len(points) > 1
            and plain_numbers
            and all(map(_POINTS.fullmatch, points))
            and max(map(len, plain_numbers)) < 4
        ):
            raise _thousands(name, points[0], ".", source)
    return "," if every else "."


def _thousands(name: str, text: str, mark: str, source: str) -> StudyError:
    whole, decimal = text.replace(mark, ""), text.replace(",", ".")
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
    return pd.Series(np.array([_stripped(text) for text in distinct], dtype=object)[codes], dtype="str")


def _text(cell: object) -> str:
    if isinstance(cell, float | np.floating):
        return "" if np.isnan(cell) else number_text(float(cell))
    return "" if cell is None or cell is pd.NA or cell is pd.NaT else str(cell)


def _stripped(cell: str) -> str:
    """A cell without surrounding blanks, "" when it says that a value is missing."""
    cell = cell.strip()
    return "" if cell.lower() in MISSING else cell


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
        return _from_text(file, path.name, columns, progress)


def _from_workbook(path: Path, source: str, sheet: str | None, columns: Mapping[str, str] | None) -> Sheet:
    # A million new cells wake the garbage collector again and again, which walks through all of JAX.
    collecting = gc.isenabled()
    gc.disable()
    try:
        names, records, row, note = grid_of(path, source, sheet, lambda names: _known(list(names), columns))
    finally:
        if collecting:
            gc.enable()
    names = [name or f"column_{place}" for place, name in enumerate(names, start=1)]
    seen = _Seen()
    each = zip(*records, strict=True) if records else ([] for _ in names)
    columns_of_text = [pd.Series([seen[cell] for cell in cells], dtype="str") for cells in each]
    cells = pd.concat(columns_of_text, axis=1).set_axis(names, axis=1)
    return Sheet(cells, np.array(row, dtype=np.int64), source, note)


def _from_text(path: Path, source: str, columns: Mapping[str, str] | None, progress: bool) -> Sheet:
    encoding = _encoding(path, source)
    with path.open(encoding=encoding) as file, _bar(path, progress) as advance:
        above, start = _head(file, source, columns)
        said = _SEP.fullmatch(above[0].strip())
        titles = [line for line in above[:start] if line.strip() and not _SEP.fullmatch(line.strip())]
        note = "\n".join(line.removeprefix("#").removeprefix(" ").rstrip("\n") for line in titles)
        header = above[start].removeprefix("#")
        separator = said[1] if said else separator_of(header, columns)
        lines = itertools.chain([header], above[start + 1 :], _watched(file, advance))
        known = _is_header(header, columns)
        return _parsed(source, lines, start + 1, note, separator, encoding, known)


def _head(file: TextIO, source: str, columns: Mapping[str, str] | None) -> tuple[list[str], int]:
    """The lines up to the first that is no comment, and which of them is the header.

    NM-TRAN wants the header commented out: then it is the last comment. Excel writes ``sep=;`` above it. Where the
    first line names no columns that are known and one of the next does, the lines above that one are a title.
    """
    above: list[str] = []
    for line in file:
        above.append(line)
        if line.strip() and not line.startswith("#") and not _SEP.fullmatch(line.strip()):
            break
    else:
        raise one_problem("the file is empty", "Give a header and one row a sample.", source)
    if _is_header(above[-1], columns):
        return above, len(above) - 1
    last = max((place for place, line in enumerate(above[:-1]) if line.startswith("#")), default=None)
    if last is not None and _is_header(above[last][1:], columns):
        return above, last
    first = len(above) - 1
    for line in itertools.islice(file, TITLES):
        above.append(line)
        if _is_header(line, columns):
            return above, len(above) - 1
    return above, first


def _parsed(
    source: str, lines: Iterable[str], start: int, note: str, separator: str, encoding: str, known: bool
) -> Sheet:
    """The sheet whose header is the first of `lines`, line `start` of the file; `known`: it names columns we know."""
    if separator == " ":
        lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    numbered = _records(reader, source, start, separator)
    header = next(numbered)[1]
    names = [name.strip() or f"column_{place}" for place, name in enumerate(header, start=1)]
    problems: list[Problem] = []
    parts: list[list[npt.NDArray[np.object_]]] = [[] for _ in names]
    rows: list[npt.NDArray[np.int64]] = []
    seen = _Seen()
    width = len(names)
    while block := list(itertools.islice(numbered, ROWS)):
        whole = [(line, cells) for line, cells in block if len(cells) == width or _cut(cells, line, width, problems)]
        if whole:
            rows.append(np.array([line for line, _ in whole], dtype=np.int64))
            for part, cells in zip(parts, zip(*(cells for _, cells in whole), strict=True), strict=True):
                part.append(np.array(list(map(seen.__getitem__, cells)), dtype=object))
        if len(seen) > 200_000:
            seen.clear()
    if problems and not rows and not known:
        _refuse_title(source, start, header, separator, problems)
    # One after the other, each block freed as soon as it is part of its column.
    cells = pd.concat([pd.Series(_joined(part), dtype="str") for part in parts], axis=1).set_axis(names, axis=1)
    line = np.concatenate(rows) if rows else np.array([], dtype=np.int64)
    return Sheet(cells, line, source, note, separator, ".", encoding, problems)


class _Seen(dict[str, str]):
    """Cell to its text: of what is written a million times, one text is kept."""

    def __missing__(self, cell: str) -> str:
        text = self[cell] = _stripped(cell)
        return text


def _joined(part: list[npt.NDArray[np.object_]]) -> npt.NDArray[np.object_]:
    whole = np.concatenate(part) if part else np.array([], dtype=object)
    part.clear()
    return whole


def _cut(cells: list[str], line: int, width: int, problems: list[Problem]) -> bool:
    """Drop empty cells beyond the header, which a spreadsheet leaves there; whether the row is then whole."""
    if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
        del cells[width:]
    elif any(cell.strip() for cell in cells):
        found = f"it has {len(cells)} cells and the header has {width}"
        problems.append(Problem(line, None, None, found, "Give each column a cell, empty or not."))
    return len(cells) == width


def _refuse_title(source: str, start: int, header: list[str], separator: str, problems: list[Problem]) -> None:
    """Blame the first line, and not each of the others, when no row has as many cells as it."""
    found = f"line {start} is no header: it has {len(header)} cells between {separator!r}, {header[0][:40]!r} the first"
    remedy = f"Let the first line name the columns; the rows do not have as many cells ({problems[0].found})."
    raise one_problem(found, remedy, source)


def _records(reader: Any, source: str, start: int, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the line on which it begins.

    Raises
    ------
    StudyError
        When a line is too long, or a quotation mark opens a cell that holds lines which are rows themselves.
    """
    line = start
    width = 0
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise one_problem(f"line {line} cannot be read: {error}", "Save it as CSV.", source) from error
        if record:
            width = width or len(record)
            if start + reader.line_num - line > 1 and _holds_rows(record, separator, width):
                found = f"a quotation mark that opens on line {line} is not closed before line {line + 1}"
                remedy = "Close or remove it; a cell with several lines must not have the separators of a row in one."
                raise one_problem(found, remedy, source)
            yield line, record
        line = start + reader.line_num


def _holds_rows(record: list[str], separator: str, width: int) -> bool:
    """Whether a cell of several lines has as many separators as a row, all in one line or together."""
    long = [cell for cell in record if "\n" in cell]
    return any(cell.count(separator) >= max(width - 1, 1) for cell in long)


def _watched(file: TextIO, advance: Callable[[int], None]) -> Iterator[str]:
    for number, line in enumerate(file):
        if number % ROWS == 0:
            advance(file.buffer.tell())
        yield line


@contextmanager
def _bar(path: Path, progress: bool) -> Iterator[Callable[[int], None]]:
    """A function to be told how many bytes have been read; of a large file it shows a bar on the terminal."""
    size = path.stat().st_size
    if not progress or size < LARGE:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(path.name, total=size)
        yield lambda done: bar.update(task, completed=done)


_OTHER_FILES = {
    b"%PDF": "a PDF",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def _encoding(path: Path, source: str) -> str:
    """UTF-8, or Windows-1252 (which has Latin-1's letters) with a warning; anything else is refused."""
    utf8, windows = (codecs.getincrementaldecoder(name)() for name in ("utf-8", "cp1252"))
    possible, foreign = {"utf-8-sig": utf8, "cp1252": windows}, b""
    with path.open("rb") as file:
        first = file.read(BLOCK)
        kind = next((kind for magic, kind in _OTHER_FILES.items() if first.startswith(magic)), None)
        for block in itertools.chain([first], iter(lambda: file.read(BLOCK), b""), [b""]):
            if kind is None and b"\0" in block:
                kind = "a binary file (it holds NUL bytes)"
            for name, decoder in list(possible.items()):
                try:
                    decoder.decode(block, final=not block)
                except UnicodeDecodeError:
                    foreign = foreign or b"".join(_FOREIGN.findall(block)[:1])
                    del possible[name]
            if kind is not None or not possible:
                break
    if kind is not None or not possible:
        kind = kind or "neither UTF-8 nor Windows-1252 text"
        raise one_problem(f"it is {kind}, not a table of text", "Save it as CSV (UTF-8).", source)
    if "utf-8-sig" in possible:
        return "utf-8-sig"
    text = foreign.decode("cp1252")
    warnings.warn(
        f"{source} is not UTF-8; it was read as Windows-1252, so that it has {text!r}. "
        "If that is not what it says, save it as CSV (UTF-8).",
        UserWarning,
        stacklevel=6,
    )
    return "cp1252"


# A word with a letter beyond ASCII.
_FOREIGN = re.compile(rb"\w*[\x80-\xff][\w\x80-\xff]*")


def separator_of(header: str, columns: Mapping[str, str] | None = None) -> str:
    """What separates the cells of a header; a blank only where nothing else does and the words are known columns."""
    bare = re.sub(r'"[^"]*"', "", header)
    counts = {separator: bare.count(separator) for separator in (",", ";", "\t", "|")}
    if not any(counts.values()) and _known(header.split(), columns):
        return " "
    return max(counts, key=lambda separator: counts[separator])


def _is_header(line: str, columns: Mapping[str, str] | None) -> bool:
    separator = separator_of(line, columns)
    names = next(csv.reader([line.strip() if separator == " " else line], delimiter=separator), [])
    return _known([name.strip() for name in names], columns)


def _known(names: list[str], columns: Mapping[str, str] | None) -> bool:
    known = {meaning_of(name) for name in names}
    known |= {MEANING.get(plain(ours)) for ours, theirs in (columns or {}).items() if theirs in names}
    dated = any(heading(name) in DATES for name in names)
    return len(names) > 2 and "subject" in known and (dated or bool(known & {"day", "nominal_day"}))
