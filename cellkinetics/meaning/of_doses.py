"""What a column says of the infusions on whose rows it stands: how long they took, their rate, how much counts."""

from __future__ import annotations

import re

import numpy as np

from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import number_of
from cellkinetics.meaning.suspects import LOOKED_AT, Likeness, Suspect, Values
from cellkinetics.meaning.units import DAYS_IN, duration_of, time_unit_of, unit_of_amount, words_of
from cellkinetics.meaning.vocabulary import folded
from cellkinetics.words import number_text

# Days over which cells may be infused and still count as given at once.
LONGEST = 0.25


def amounts(column: Suspect, rows: Values) -> Likeness | None:
    """A unit of the cells infused that is not that of the doses, by its cells: Zellen, 10^6 cells, million cells/kg."""
    if not column.dose.any():
        return None
    said = [cell for cell, _ in _cells(column) if cell] or column.texts
    units = [unit_of_amount(cell) for cell in said]
    if not units or not all(unit for unit, _ in units):
        return None
    words = _words(column.name)
    about = any(
        word in vocabulary.OF_UNITS or word.endswith(("unit", "units", "einheit", "einheiten")) for word in words
    )
    # Cells are a product too, beside another drug: the bare word is a unit under a heading that speaks of one.
    if not about and column.name.strip()[-1:] not in "uU" and all(unit == ("cells", True) for unit in units):
        return None
    others = [(unit, plainly) for unit, plainly in units if unit != rows.dose_unit]
    if not others:
        return None
    unit, plainly = others[0]
    remedy = f"read_study(..., columns={{'dose_unit': {column.name!r}}}) to use it, or"
    if not plainly:
        remedy = "Write the cells out (1000000) with their unit in a column dose_unit, cells or cells/kg, or"
    return f"looks like a unit of the doses ({unit}), which are read in {rows.dose_unit}", remedy


def durations(column: Suspect, rows: Values) -> Likeness | None:
    """How long an infusion took, or when it ended."""
    words = _words(column.name)
    units = {unit for word in words if (unit := time_unit_of(word))}
    rest = words - {word for word in words if time_unit_of(word)}
    alone = not rest - vocabulary.INFUSION - vocabulary.DURATIONS
    long = bool(words & vocabulary.DURATIONS) or ("infusion" in words and bool(units)) or {"infusion", "time"} <= words
    # A day infused is when, and days or hours infused are how long.
    long |= "infused" in words and bool({*units} - {"day"} or words & {"days", "over", "uber", "sur", "tagen", "jours"})
    long = alone and (long or ({"inf", "time"} <= words and bool(units)))
    ends = bool(words & vocabulary.ENDED) and not rest - vocabulary.INFUSION - vocabulary.ENDED
    unit = units.pop() if len(units) == 1 else rows.time_unit
    scale = DAYS_IN.get(unit or "day", 1.0)
    for cell, at in _cells(column):
        days = duration_of(cell)
        if days is None and (long or ends):
            number = number_of(cell, rows.decimal)
            days = None if number is None or np.isnan(number) else number * scale
            if days is not None and ends:
                # The study days of CDISC begin with 1.
                days -= float(np.nanmin(rows.day[column.dose & (column.code == at)])) + ("DY" in column.name)
        if days is not None and days > LONGEST and (long or ends or words & {"infusion", "inf", "infused", "length"}):
            remedy = "A dose is taken at once: give a longer infusion as several doses, or"
            remedy += f" where it took less than {LONGEST * 24:g} hours,"
            what = "end" if ends and not long else "duration"
            return f"looks like the {what} of an infusion ({cell})", remedy
    return None


def shares(column: Suspect, rows: Values) -> Likeness | None:
    """The rate of an infusion, its lag, or the share of a dose that counts; 0, or a share of 1, changes nothing."""
    words = _words(column.name)
    rest = words - vocabulary.INFUSION
    kinds = {
        "rate": bool(words & vocabulary.RATES) and not rest - vocabulary.RATES - _of_units(rest),
        "lag": bool(words & vocabulary.LAGS) and not rest - vocabulary.LAGS - _of_units(rest),
        "share of a dose that counts": bool(rest) and rest <= vocabulary.SHARE_WORDS,
    }
    kind = next((kind for kind, named in kinds.items() if named), None)
    if kind is None:
        return None
    nothing = (0.0, 1.0) if kind == "share of a dose that counts" else (0.0,)
    for cell, _ in _cells(column):
        number = number_of(cell, rows.decimal)
        if number is None or np.isnan(number) or number in nothing:
            continue
        remedy = {
            "rate": "A dose is taken at once: give an infusion over days as several doses, or",
            "lag": "Give the day on which the cells were infused, or",
            "share of a dose that counts": "Give the dose that counts (the dose times it), or",
        }[kind]
        of = "" if kind == "share of a dose that counts" else " of an infusion"
        return f"looks like the {kind}{of} ({number_text(number)})", remedy
    return None


def _of_units(words: set[str]) -> set[str]:
    """Those of some words that belong to a unit: per_day, cells/min."""
    return {word for word in words if time_unit_of(word) or word in ("per", "cells", "cell", "kg")}


def _words(name: str) -> set[str]:
    """The words of a heading; a German one is taken apart: Infusionsdauer."""
    words = {folded(word) for word in words_of(name)}
    for word in list(words):
        if said := re.fullmatch(r"(infusion|dosis|gabe)s?(dauer|ende|zeit|rate)", word):
            words = words - {word} | {"infusion", said[2]}
        if word in ("exendy", "exdur"):
            words = words - {word} | {"infusion", "end" if word == "exendy" else "dur"}
    # The numbers of NONMEM's compartments: D1, ALAG1, F1.
    low = name.strip().casefold()
    return words | ({low} if re.fullmatch(r"(?:d|alag|f|r)\d", low) else set())


def _cells(column: Suspect) -> list[tuple[str, int]]:
    """The distinct cells on rows of doses."""
    return [(str(column.cells[at]), int(at)) for at in np.unique(column.code[column.dose])[:LOOKED_AT]]
