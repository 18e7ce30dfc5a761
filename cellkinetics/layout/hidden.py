"""What a worksheet (.xlsx) has that its values do not show: errors, formulas that were never computed, hidden rows."""

from __future__ import annotations

import html
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_SHEET = re.compile(r"<(?:\w+:)?sheet ([^>]*)>")
_RELATION = re.compile(r"<(?:\w+:)?Relationship ([^>]*)>")
_ERROR = re.compile(rb"<(?:\w+:)?c ([^>]*\bt=\"e\"[^>]*)>(.*?)</(?:\w+:)?c>", re.DOTALL)
_VALUE = re.compile(rb"<(?:\w+:)?v>([^<]*)</")
_FORMULA = re.compile(
    rb"<(?:\w+:)?c ([^>]*)>\s*<(?:\w+:)?f(?:[^>]*/>|[^>]*>([^<]*)</(?:\w+:)?f>)\s*"
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v></(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
_HIDDEN = re.compile(rb"<(?:\w+:)?row ([^>]*\bhidden=\"(?:1|true)\"[^>]*)>")
_PLACE = re.compile(r"([A-Z]+)(\d+)")


class Unseen(NamedTuple):
    """Texts of cells by (row, column), both from 0, and the rows that are hidden, from 1."""

    texts: dict[tuple[int, int], str]
    hidden: list[int]


def unseen(path: Path, sheet: str) -> Unseen:
    """What a worksheet does not show; nothing for a file of another kind.

    An error is its own text, ``#DIV/0!``; a formula that has no value, as programs write it that do not compute, is
    the formula, ``=B2*10``. Neither is a number, so that neither is read as no value.
    """
    if not zipfile.is_zipfile(path):
        return Unseen({}, [])
    with zipfile.ZipFile(path) as archive:
        member = _member(archive, sheet)
        if member is None:
            return Unseen({}, [])
        cells = archive.read(member)
    texts: dict[tuple[int, int], str] = {}
    if b't="e"' in cells:
        for attributes, content in _ERROR.findall(cells):
            said = _VALUE.search(content)
            _put(texts, attributes, said[1].decode() if said else "#N/A")
    if b"<f" in cells or b":f" in cells:
        for attributes, formula in _FORMULA.findall(cells):
            # A formula may have the text "" as its value.
            if b't="str"' not in attributes:
                _put(texts, attributes, "=" + html.unescape(formula.decode()))
    hidden = []
    if b"hidden=" in cells:
        hidden = [int(said) for each in _HIDDEN.findall(cells) if (said := _attribute(each.decode(), "r")).isdecimal()]
    return Unseen(texts, hidden)


def _put(texts: dict[tuple[int, int], str], attributes: bytes, text: str) -> None:
    place = _PLACE.fullmatch(_attribute(attributes.decode(), "r"))
    if place is None:
        return
    column = 0
    for letter in place[1]:
        column = 26 * column + ord(letter) - ord("A") + 1
    texts[int(place[2]) - 1, column - 1] = text


def _member(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """The file of a worksheet in the archive."""
    names = set(archive.namelist())
    book, relations = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
    if not {book, relations} <= names:
        return None
    sheets = _SHEET.findall(archive.read(book).decode())
    key = next(
        (re.search(r"\br?\w*:id=\"([^\"]*)\"", each) for each in sheets if _attribute(each, "name") == sheet), None
    )
    if key is None:
        return None
    target = {
        _attribute(each, "Id"): _attribute(each, "Target")
        for each in _RELATION.findall(archive.read(relations).decode())
    }.get(key[1], "")
    found = target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)
    return found if found in names else None


def _attribute(attributes: str, name: str) -> str:
    said = re.search(rf"(?:^|\s){name}=\"([^\"]*)\"", attributes)
    return html.unescape(said[1]) if said else ""
