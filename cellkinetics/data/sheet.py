"""A file or a DataFrame as columns of text, as they stand there."""

from __future__ import annotations

import codecs
import csv
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
from cellkinetics.errors import Finding, StudyError, one_problem
from cellkinetics.meaning.cells import MISSING
from cellkinetics.words import number_text

# Bytes of a file of which reading is worth a bar, and of a block when its encoding is found out.
LARGE, BLOCK = 20_000_000, 1 << 20
# Rows at a time: two new objects each, fewer than wake the garbage collector, which would walk through all of JAX.
ROWS = 300
_COMMA_IN_CELL = re.compile(r"[<>≤≥=\s]*[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[<>≤≥=\s]*[+-]?\d{1,3}(,\d{3})+")


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
        Line of the file on which the row begins; in a DataFrame its position + 2, its line as a CSV.
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
    problems : list of Finding
        Rows that have too many or too few cells; they are left out of `cells`.
    """

    cells: pd.DataFrame
    row: npt.NDArray[np.int64]
    source: str
    note: str = ""
    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8-sig"
    problems: list[Finding] = field(default_factory=list)


def load(
    table: str | os.PathLike[str] | pd.DataFrame | Arrow,
    columns: Mapping[str, str] | None = None,
    progress: bool = False,
) -> Sheet:
    """Read a file or take a DataFrame, without guessing what a cell means.

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
        sheet = _from_file(Path(table), columns, progress)
    else:
        sheet = _from_frame(_as_frame(table))
    names = list(sheet.cells.columns)
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    for name in dict.fromkeys(twice):
        sheet.problems.append(Finding(None, None, None, f"two columns are called {name!r}", "Rename one of them."))
    if twice:
        raise StudyError(sheet.problems, sheet.source)
    content = {name: (sheet.cells[name] != "").to_numpy(dtype=bool) for name in names}
    filled = np.logical_or.reduce(list(content.values()))
    if not filled.any():
        nothing = Finding(None, None, None, "it has a header and no rows", "Give one row a sample.")
        raise StudyError(sheet.problems or [nothing], sheet.source)
    # A column without a name and without content is what a spreadsheet leaves at the right.
    kept = [name for name in names if not name.startswith("column_") or content[name].any()]
    cells, row = sheet.cells[kept], sheet.row
    if not filled.all():
        cells, row = cells[filled].reset_index(drop=True), row[filled]
    decimal = _decimal(cells, sheet.separator, columns)
    return Sheet(cells, row, sheet.source, sheet.note, sheet.separator, decimal, sheet.encoding, sheet.problems)


def _decimal(cells: pd.DataFrame, separator: str, columns: Mapping[str, str] | None) -> str:
    if separator == ",":
        return "."
    numeric = [name for name in cells.columns if is_numeric(name, columns)]
    texts = itertools.chain.from_iterable(pd.unique(cells[name]) for name in numeric)
    commas = (text for text in texts if "," in text and _COMMA_IN_CELL.fullmatch(text))
    return "," if any(separator == ";" or not _THOUSANDS.fullmatch(text) for text in commas) else "."


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


def _from_frame(frame: pd.DataFrame) -> Sheet:
    labels = {name for name in frame.index.names if name is not None}
    if labels and labels.isdisjoint(frame.columns):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    if not len(frame) or not names:
        raise one_problem("it has no rows", "Give one row a sample.", "DataFrame")
    cells = pd.concat([_texts(frame.iloc[:, place]) for place in range(len(names))], axis=1)
    cells.columns = pd.Index(names)
    return Sheet(cells, np.arange(len(frame)) + 2, "DataFrame")


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


def _from_file(path: Path, columns: Mapping[str, str] | None, progress: bool) -> Sheet:
    if path.is_dir():
        raise one_problem("it is a folder", "Name the file in it.", str(path))
    encoding = _encoding(path)
    with path.open(encoding=encoding) as file, _bar(path, progress) as advance:
        above, start = _head(file, path.name, columns)
        note = "\n".join(line[1:].removeprefix(" ").rstrip("\n") for line in above[:start] if line.startswith("#"))
        header = above[start].removeprefix("#")
        lines = itertools.chain([header], above[start + 1 :], _watched(file, advance))
        return _parsed(path.name, lines, start + 1, note, separator_of(header, columns), encoding)


def _head(file: TextIO, source: str, columns: Mapping[str, str] | None) -> tuple[list[str], int]:
    """The lines up to the first that is no comment, and which of them is the header.

    NM-TRAN wants the header commented out: then it is the last comment.
    """
    above: list[str] = []
    for line in file:
        above.append(line)
        if line.strip() and not line.startswith("#"):
            break
    else:
        raise one_problem("the file is empty", "Give a header and one row a sample.", source)
    last = max((place for place, line in enumerate(above[:-1]) if line.startswith("#")), default=None)
    if last is not None and _is_header(above[last][1:], columns) and not _is_header(above[-1], columns):
        return above, last
    return above, len(above) - 1


def _parsed(source: str, lines: Iterable[str], start: int, note: str, separator: str, encoding: str) -> Sheet:
    """The sheet whose header is the first of `lines`, line `start` of the file."""
    if separator == " ":
        lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    numbered = _records(reader, source, start)
    header = next(numbered)[1]
    names = [name.strip() or f"column_{place}" for place, name in enumerate(header, start=1)]
    problems: list[Finding] = []
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


def _cut(cells: list[str], line: int, width: int, problems: list[Finding]) -> bool:
    """Drop empty cells beyond the header, which a spreadsheet leaves there; whether the row is then whole."""
    if len(cells) > width and not any(cell.strip() for cell in cells[width:]):
        del cells[width:]
    elif any(cell.strip() for cell in cells):
        found = f"it has {len(cells)} cells and the header has {width}"
        problems.append(Finding(line, None, None, found, "Give each column a cell, empty or not."))
    return len(cells) == width


def _records(reader: Any, source: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the line on which it begins."""
    line = start
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise one_problem(f"line {line} cannot be read: {error}", "Save it as CSV.", source) from error
        if record:
            yield line, record
        line = start + reader.line_num


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
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def _encoding(path: Path) -> str:
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
        raise one_problem(f"it is {kind}, not a table of text", "Save it as CSV (UTF-8).", path.name)
    if "utf-8-sig" in possible:
        return "utf-8-sig"
    text = foreign.decode("cp1252")
    warnings.warn(
        f"{path.name} is not UTF-8; it was read as Windows-1252, so that it has {text!r}. "
        "If that is not what it says, save it as CSV (UTF-8).",
        UserWarning,
        stacklevel=5,
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
    return len(names) > 2 and "subject" in known and bool(known & {"day", "nominal_day"})
