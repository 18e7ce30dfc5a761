"""Files of text: their encoding, the lines above the header, what separates the cells, the rows."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from cellkinetics.errors import Finding, TextWarning, one_problem
from cellkinetics.layout.dates import DATES, heading
from cellkinetics.layout.packed import BLOCK
from cellkinetics.layout.sheet import Seen, Sheet
from cellkinetics.layout.workbooks import TITLE_LINES
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.headings import meaning_of
from cellkinetics.meaning.synonyms import MEANING, plain

# Bytes of a file of which reading is worth a bar, and of a block when its encoding is found out.
LARGE = 20_000_000
# Rows at a time: two new objects each, fewer than wake the garbage collector, which would walk through all of JAX.
ROWS = 300
_SEP = re.compile(r"\ufeff?\"?sep=(.)\"?", re.IGNORECASE)


def from_text(path: Path, source: str, columns: Mapping[str, str] | None, progress: bool) -> Sheet:
    """The sheet of a file of text, with decimal points as they stand there; what is above its header is the note."""
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
    for line in itertools.islice(file, TITLE_LINES):
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
    problems: list[Finding] = []
    parts: list[list[npt.NDArray[np.object_]]] = [[] for _ in names]
    rows: list[npt.NDArray[np.int64]] = []
    seen = Seen()
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


def _refuse_title(source: str, start: int, header: list[str], separator: str, problems: list[Finding]) -> None:
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
        TextWarning,
        stacklevel=6,
    )
    return "cp1252"


# A word with a letter beyond ASCII.
_FOREIGN = re.compile(rb"\w*[\x80-\xff][\w\x80-\xff]*")


def separator_of(header: str, columns: Mapping[str, str] | None = None) -> str:
    """What separates the cells of a header; a blank only where nothing else does and the words are known columns."""
    bare = re.sub(r'"[^"]*"', "", header)
    counts = {separator: bare.count(separator) for separator in (",", ";", "\t", "|")}
    if not any(counts.values()) and is_known(header.split(), columns):
        return " "
    return max(counts, key=lambda separator: counts[separator])


def _is_header(line: str, columns: Mapping[str, str] | None) -> bool:
    separator = separator_of(line, columns)
    names = next(csv.reader([line.strip() if separator == " " else line], delimiter=separator), [])
    return is_known([name.strip() for name in names], columns)


def is_known(names: list[str], columns: Mapping[str, str] | None) -> bool:
    """Whether the cells of a line are the header: names of a subject and of a day or a date among three or more."""
    known = {meaning_of(name) for name in names}
    known |= {MEANING.get(plain(ours)) for ours, theirs in (columns or {}).items() if theirs in names}
    dated = any(heading(name) in DATES for name in names)
    return len(names) > 2 and "subject" in known and (dated or bool(known & {"day", "nominal_day"}))
