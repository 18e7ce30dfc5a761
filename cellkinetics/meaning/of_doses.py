"""What a column says of the infusions on whose rows it stands: how long they took, their rate, how much counts."""

from __future__ import annotations

import re

import numpy as np

from cellkinetics.arrays import Flags
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import given, vocabulary
from cellkinetics.meaning.cells import NO, YES, number_of
from cellkinetics.meaning.suspects import LOOKED_AT, Likeness, Suspect, Values, shown, use
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import DAYS_IN, duration_of, time_unit_of, unit_of_amount, words_of
from cellkinetics.meaning.vocabulary import folded
from cellkinetics.words import number_text

# Days over which cells may be infused and still count as given at once.
LONGEST = 0.25
# More texts than these on the rows of doses are no units.
MOST_UNITS = 20


def amounts(column: Suspect, rows: Values) -> Likeness | None:
    """A unit of the cells infused that is not that of the doses, by its cells: Zellen, 10^6 cells, million cells/kg."""
    if not column.dose.any():
        return None
    said = [cell for cell, _ in _cells(column) if cell] or column.texts
    # Copies are a unit of values, whatever they are divided by.
    if len(said) > MOST_UNITS or any("cop" in folded(cell) for cell in said):
        return None
    heading = _words(column.name)
    units = [unit_of_amount(cell, about_units(heading) and about_doses(heading)) for cell in said]
    if not units or not all(unit for unit, _ in units):
        return None
    about = about_units(heading)
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
    long |= bool(words & {"given", "administered"}) and bool(words & {"over", "uber", "sur", "within"})
    infusing = words & vocabulary.INFUSIONS
    long |= bool(infusing) and bool({*units} - {"day"} or words & vocabulary.LENGTHS)
    long = alone and (long or ({"inf", "time"} <= words and bool(units)))
    ends = bool(words & (vocabulary.ENDED | vocabulary.LAST)) and not (
        rest - vocabulary.INFUSION - vocabulary.ENDED - vocabulary.LAST
    )
    of_infusions = bool(words & vocabulary.INFUSED or infusing)
    # The day of the infusion is no duration: day 28 of a second one is that of its row.
    when = long and words & {"infusion", "infused"} and "day" in words and not words & vocabulary.DURATIONS
    last = bool(words & vocabulary.LAST)
    if last and not of_infusions:
        return None
    if not (long or ends or of_infusions or words & {"inf", "length"}):
        return None
    unit = units.pop() if len(units) == 1 else rows.time_unit
    scale = DAYS_IN.get(unit or "day", 1.0)
    begins = rows.day if rows.infused is None else rows.infused
    # Where no dose is said the cells are taken as infused on day 0, and a heading that speaks of infusions says more.
    there = column.dose | (
        np.isfinite(begins) if of_infusions or (long and words & {"tinf", "infdur", "exdur"}) else False
    )
    at_time = "t" in words and not units and not words & vocabulary.DURATIONS
    for cell, at in _cells(column, there):
        # A time that is that of the row says when it was.
        if at_time and rows.day[there & (column.code == at)].tolist() == [number_of(cell, rows.decimal)]:
            continue
        days = duration_of(cell)
        if days is None and (long or ends):
            number = number_of(cell, rows.decimal)
            days = None if number is None or np.isnan(number) else number * scale
            if days is not None and (ends or when):
                own = there & (column.code == at)
                if last:
                    own = np.isfinite(begins) & np.isin(rows.subject, rows.subject[own])
                if not np.isfinite(begins[own]).any():
                    continue
                # The study days of CDISC begin with 1.
                days -= float((np.nanmax if last else np.nanmin)(begins[own])) + ("DY" in column.name)
        if days is not None and days > LONGEST:
            remedy = "A dose is taken at once: give a longer infusion as several doses, or"
            remedy += f" where it took less than {LONGEST * 24:g} hours,"
            if when or last:
                remedy = (
                    "Give the infusion a row without a value, on its day, with its dose, and leave the dose of the "
                )
                remedy += f"samples empty, or count the days from it; then ignore=[{column.name!r}]."
            what = "day" if when else "end" if ends and not long else "duration"
            return f"looks like the {what} of an infusion ({cell})", remedy
    return None


def splits(column: Suspect, rows: Values) -> Likeness | None:
    """A dose that was given in parts, on several days: split over 3 days, 10%/30%/60% d0-d2, yes under "split"."""
    words = _words(column.name)
    if words & vocabulary.NO_DOSES:
        return None
    there = column.dose if rows.infused is None else column.dose | np.isfinite(rows.infused)
    counted = vocabulary.INFUSION | {"number", "n", "no", "num", "nr", "is"}
    named = bool(words & vocabulary.SPLITS) and not words - vocabulary.SPLITS - counted
    about = named or bool(words & (vocabulary.INFUSED | vocabulary.SCHEDULES))
    for cell, _ in _cells(column, there):
        low = folded(cell)
        number = number_of(cell, rows.decimal)
        # One fraction is all of the dose.
        yes = low in YES and not (low == "1" and words & {"fraction", "fractions", "parts", "portions"})
        parts = named and (yes or (number or 0) > 1 or (duration_of(cell) or 0) > LONGEST)
        if number is None:
            parts |= vocabulary.IN_PARTS.search(low) is not None
            parts |= about and vocabulary.ON_DAYS.search(low) is not None
        if parts:
            remedy = "A dose is taken at once: give each part a row without a value, on its day, with its amount, or"
            return f"says that the dose was given in parts ({cell})", remedy
    return None


def drugs(column: Suspect, rows: Values) -> Likeness | None:
    """Names of what was given, cells on one row of a dose and another drug on the next."""
    words = _words(column.name)
    if rows.given is None or not rows.given.any() or words & given.BESIDE_CELLS:
        return None
    there = rows.given
    said = [(cell, at) for cell, at in _cells(column, there) if cell and re.search("[^\\W\\d_]", cell)]
    if not said or len(said) > MOST_UNITS:
        return None
    code, subject = column.code[there], rows.subject[there]
    each = pd.Series(code).groupby(subject)
    within = bool((each.min() != each.max()).any())
    cells = [cell for cell, _ in said if given.names_cells(cell)]
    others = [cell for cell, _ in said if given.names_drug(cell)]
    rest = [cell for cell, _ in said if not given.names_cells(cell)]
    named = bool(words & (given.DRUGS | given.MAY_BE_DRUGS))
    if (others and (within or named)) or (within and rest and (cells or words & given.DRUGS)):
        shown_names = shown([*(others or rest), *cells])
        return f"names what was given ({shown_names}), all of which is read as infused cells", use("kind", column)
    return None


def repeats(column: Suspect, rows: Values) -> Likeness | None:
    """More infusions than there are doses: how often cells were given, how many bags, or a second course of samples."""
    words, low = _words(column.name), plain(column.name)
    if words & (vocabulary.NO_DOSES - {"previous", "prior"}) or words & vocabulary.HARMLESS - {"treatment", "therapy"}:
        return None
    none = np.zeros(len(rows.subject), dtype=bool)
    infused = np.bincount(
        rows.subject, weights=none if rows.given is None else rows.given, minlength=int(rows.subject.max(initial=0)) + 1
    )
    once = np.isin(rows.subject, np.flatnonzero(infused < 2))
    remedy = f"Give each infusion a row without a value, on its day, with its dose; then ignore=[{column.name!r}]."
    often = bool(words & given.OFTEN) and not words - given.OFTEN - given.BESIDE_OFTEN
    counted = bool(words & given.COUNTED_DOSES) and not words - given.COUNTED_DOSES - given.BESIDE_COUNTED
    numbered = bool(words & given.OF_COURSES) and not words - given.OF_COURSES - given.BESIDE_COURSES
    again = given.AGAIN.search(folded(low)) is not None and not words & given.NOT_AGAIN
    beside_doses = column.dose if rows.infused is None else column.dose | np.isfinite(rows.infused)
    for cell, at in _cells(column, once):
        own, text = once & (column.code == at), folded(cell).strip()
        number = number_of(cell, rows.decimal)
        many = number is not None and not np.isnan(number) and number > 1
        on_doses = bool((own & (beside_doses if not column.dose.any() else column.dose)).any())
        if often and on_doses and number is None and given.REPEATED.search(text):
            return f"says how often cells were given ({cell}), and one dose is there", remedy
        if words <= given.INTERVALS and on_doses and number is not None and number > 0:
            return f"looks like the interval between doses ({cell}), and one dose is there", remedy
        bags = words & given.BAGS and (rows.given is None or not (own & rows.given).any())
        if counted and many and not bags and number is not None and number <= 20 and number % 1 == 0:
            at_once = f"where they were given within {LONGEST * 24:g} hours, ignore=[{column.name!r}]."
            return f"counts {cell} infusions or bags where one dose is there", f"{remedy[:-1]}; {at_once}"
        if again and text not in {*NO, "0", "nan"} and (text in YES or number is not None or re.search(r"\d", text)):
            return f"says that cells were given again ({cell}), and one dose is there", remedy
    if numbered and _rises(column, rows, once):
        return "numbers the infusions of a patient from 1 on, and one dose is there", remedy
    return None


def _rises(column: Suspect, rows: Values, once: Flags) -> bool:
    """Whether a column is 1, and later 2, in the samples of a patient with one dose."""
    number = np.array([number_of(str(cell), rows.decimal) for cell in column.cells], dtype=float)[column.code]
    there = once & ~np.isnan(number) & ((number % 1 == 0) & (number < 10))
    if not there.any() or (number[column.sample & once] > 10).any():
        return False
    frame = pd.DataFrame({"subject": rows.subject[there], "day": rows.day[there], "number": number[there]})
    frame = frame.sort_values(["subject", "day"], kind="stable")
    each = frame.groupby("subject")["number"]
    rising = each.apply(_never_falls)
    several = each.nunique()
    # Every row its own number is a count of samples.
    return bool((rising & (several > 1) & (several < each.size()) & (each.min() == 1)).any())


def _never_falls(numbers: pd.Series) -> bool:
    return bool((numbers.diff().dropna() >= 0).all())


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
        short = r"t?(?:inf|infus|infusion|perf)(len|length|lange|dur|time|h|hr|hrs|hours|min|mins|days)"
        if said := re.fullmatch(short, word):
            words = words - {word} | {"infusion", said[1]}
        if word in ("amtdur", "dosedur", "dosdur", "durinf", "durdose"):
            words = words - {word} | {"infusion", "dur"}
        if word in ("exendy", "exdur"):
            words = words - {word} | {"infusion", "end" if word == "exendy" else "dur"}
    # The numbers of NONMEM's compartments: D1, ALAG1, F1.
    low = name.strip().casefold()
    return words | ({low} if re.fullmatch(r"(?:d|alag|f|r)\d", low) else set())


def about_units(words: set[str]) -> bool:
    """Whether some words of a heading say that it is about a unit: unit, DoseUnits, Dosiseinheit."""
    ends = ("unit", "units", "einheit", "einheiten")
    return any(word in vocabulary.OF_UNITS or word.endswith(ends) for word in words)


def about_doses(words: set[str]) -> bool:
    """Whether some words of a heading speak of doses: dose unit, doseunits, AmtUnit, Dosiseinheit."""
    return any(
        word in vocabulary.INFUSED or word.startswith(("dose", "dosis", "dosing", "amt", "amount")) for word in words
    )


def _cells(column: Suspect, where: Flags | None = None) -> list[tuple[str, int]]:
    """The distinct cells on rows of doses, or where it is said."""
    there = np.bincount(column.code[column.dose if where is None else where], minlength=len(column.cells))
    return [(str(column.cells[at]), int(at)) for at in np.flatnonzero(there)[:LOOKED_AT]]
