"""What a column says of how samples came to their values: controls, dilutions, imputation, haemolysis, lost wells."""

from __future__ import annotations

import re

import numpy as np

from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import NO, YES, number_of
from cellkinetics.meaning.suspects import Likeness, Suspect, Values, shown, varies
from cellkinetics.meaning.units import words_of
from cellkinetics.meaning.vocabulary import folded
from cellkinetics.words import count

_EXCLUDE = "Say it in a column excluded, with the reason or 1, or"
_DILUTED = re.compile(r"(?:1 ?[:/] ?)?(\d+(?:[.,]\d+)?) ?(?:x|-? ?fold|fach)?|x ?(\d+(?:[.,]\d+)?)")
_NEAT = ("neat", "undiluted", "none", "no", "unverdunnt", "pur", "puro", "sin diluir", "non dilue", "non diluito")
_SHARE = re.compile(r"(\d+) ?(?:/|of|von|sur|de|di|out of) ?(\d+)")


def controls(column: Suspect, rows: Values) -> Likeness | None:
    """Rows of a standard, a control or a blank among those of samples."""
    words = set(words_of(column.name))
    of_roles = bool(words & vocabulary.ROLES) and not words - vocabulary.ROLES - vocabulary.OF_ROWS
    if words & (vocabulary.HARMLESS - {"phase"}) or words & vocabulary.OF_CARE:
        return None
    said = [cell for at in column.looked if vocabulary.CONTROL.fullmatch(cell := str(column.cells[at]).strip())]
    if not said or not (of_roles or varies(column, rows)):
        return None
    return f"says of rows that they are controls or standards ({shown(said)})", _EXCLUDE


def dilutions(column: Suspect, rows: Values) -> Likeness | None:
    """How far samples were diluted: what was measured in the tube is to be multiplied by it."""
    words = {folded(word) for word in words_of(column.name)}
    beside = vocabulary.BESIDE_FACTORS | vocabulary.FACTORS | {"sample", "dna", "template", "fold", "ratio", "d"}
    if not words & vocabulary.DILUTIONS or words - vocabulary.DILUTIONS - beside:
        return None
    for at in column.looked:
        text = folded(str(column.cells[at])).strip()
        found = _DILUTED.fullmatch(text)
        if found and text not in _NEAT and float((found[1] or found[2]).replace(",", ".")) != 1:
            remedy = "Give the values multiplied by it where they are not yet, or"
            return f"looks like a dilution of the samples ({column.cells[at]})", remedy
    return None


def derived(column: Suspect, rows: Values) -> Likeness | None:
    """Values that were not measured on their row: carried forward, interpolated, averaged."""
    words = {folded(word) for word in words_of(column.name)}
    if words & vocabulary.HARMLESS - {"period", "visit"}:
        return None
    cells = [str(column.cells[at]) for at in column.looked]
    said = [cell for cell in cells if vocabulary.DERIVED.search(folded(cell))]
    if words & vocabulary.ORIGINS and not words - vocabulary.ORIGINS - vocabulary.OF_ROWS:
        said += [cell for cell in cells if folded(cell).strip() in vocabulary.DERIVED_LOOSELY]
    if vocabulary.DERIVED.search(folded(column.name).replace("_", " ")):
        said += [cell for cell in cells if folded(cell) in YES]
    if not said:
        return None
    return f"says of values that they were not measured as they stand ({shown(said)})", _EXCLUDE


def spoilt(column: Suspect, rows: Values) -> Likeness | None:
    """Haemolysis, clots and their like in a sample, by a grade or a word above a slight one."""
    words = {folded(word) for word in words_of(column.name)}
    beside = vocabulary.OF_ROWS | vocabulary.CODES | {"index", "grade", "score", "degree", "visual"}
    if not words & vocabulary.SPOILS or words - vocabulary.SPOILS - beside:
        return None
    numbers = [number_of(text, rows.decimal) for text in column.texts]
    graded = all(number is None or number <= 4 for number in numbers)
    said = []
    for at, number in zip(column.looked, numbers, strict=True):
        low = folded(str(column.cells[at])).strip()
        plainly = number is None and low not in NO and not vocabulary.SLIGHT.fullmatch(low)
        if low in YES or plainly or (graded and number is not None and number >= 2):
            said.append(str(column.cells[at]))
    return (f"says of samples that they are spoilt ({shown(said)})", _EXCLUDE) if said else None


def hits(column: Suspect, rows: Values) -> Likeness | None:
    """Wells of a sample that were positive, where some were not: their mean is no measurement of it."""
    words = {folded(word) for word in words_of(column.name)}
    if not words & vocabulary.HITS or (not words & vocabulary.HIT_ALONE and not words & vocabulary.OF_WELLS):
        return None
    said, most = [], 0.0
    numbers = [number_of(text, rows.decimal) for text in column.texts]
    if None not in numbers and numbers:
        most = max(float(number or 0) for number in numbers)
    for at, number in zip(column.looked, numbers, strict=True):
        found = _SHARE.fullmatch(folded(str(column.cells[at])).strip())
        few = found and int(found[1]) < int(found[2]) <= vocabulary.MOST_WELLS
        counted = number is not None and most <= vocabulary.MOST_WELLS and number < most
        if few or (counted and bool(words & vocabulary.OF_WELLS)):
            said.append(str(column.cells[at]))
    there = column.sample & np.isin(column.cells[column.code], said) & (rows.value > 0)
    if not there.any():
        return None
    what = f"says that not all wells of {count(int(there.sum()), 'sample')} with a value were positive"
    remedy = "Write <3 or BLQ where that makes a sample one below the limit, or"
    return f"{what} ({shown(said)})", remedy
