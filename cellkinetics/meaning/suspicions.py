"""Columns that nothing reads: whether one looks as if it changed what a value means, by its cells and its heading."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.arrays import Flags, Floats
from cellkinetics.errors import Finding
from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import NO, VAGUE, YES, mark_of, number_of
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import DAYS_IN, canonical, duration_of, is_log, time_unit_of, unit_of_heading, words_of
from cellkinetics.words import number_text

# Texts of a column that are looked at, the most frequent first: a mark in a million cells stands there often.
LOOKED_AT = 1000
# Levels that a column of kinds can have: blood and marrow, CMT 1 and 2.
KINDS = 8
# Days over which cells may be infused and still count as given at once.
LONGEST = 0.25


@dataclass
class Suspect:
    """A column that nothing reads, by its distinct cells, on the rows that are samples with a value or a word for one.

    Parameters
    ----------
    name : str
        Its heading.
    code : (n,) array of int
        Which of `cells` each row has.
    cells : (k,) array of str
        The distinct texts, "" among them where a row is empty.
    sample, dose : (n,) arrays of bool
        Values that are samples, and rows that are doses.
    """

    name: str
    code: npt.NDArray[np.intp]
    cells: npt.NDArray[np.object_]
    sample: Flags
    dose: Flags
    counts: npt.NDArray[np.intp] = field(init=False)
    looked: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.bincount(self.code[self.sample], minlength=len(self.cells))
        order = np.argsort(-self.counts, kind="stable")[:LOOKED_AT]
        self.looked = [int(at) for at in order if self.counts[at] and self.cells[at] != ""]

    @property
    def texts(self) -> list[str]:
        """The cells that are looked at, lower case, the most frequent first."""
        return [str(self.cells[at]).casefold() for at in self.looked]

    @property
    def words(self) -> set[str]:
        """The words of its heading."""
        return {*words_of(self.name), plain(self.name).replace("_", "")}

    @property
    def levels(self) -> list[int]:
        """The distinct cells that samples have, "" among them."""
        return [int(at) for at in np.flatnonzero(self.counts)]


@dataclass(frozen=True)
class Values:
    """What is known of the (n,) rows: their subject, day and number as read, and the unit of the study."""

    subject: npt.NDArray[np.intp]
    day: Floats
    value: Floats
    unit: str
    output: npt.NDArray[np.intp]
    decimal: str = "."


Likeness = tuple[str, str]


def suspicion(column: Suspect, rows: Values) -> Finding | None:
    """What a column that nothing reads looks like, when that would change the meaning of a value; else None.

    The first rule that holds is named, with what to do: ``columns=`` to use the column, ``ignore=`` to say that it is
    nothing.
    """
    for rule in _RULES:
        found = rule(column, rows)
        if found is not None:
            what, remedy = found
            nothing = f"read_study(..., ignore=[{column.name!r}]) when it says nothing about the values."
            text = f"the column {column.name} is not read and {what}"
            return Finding(None, None, None, text, f"{remedy} {nothing}".lstrip())
    return None


def _use(meaning: str, column: Suspect) -> str:
    return f"read_study(..., columns={{{meaning!r}: {column.name!r}}}) to use it, or"


def _shown(cells: list[str]) -> str:
    return ", ".join(dict.fromkeys(cells[:3]))


def _qualifiers(column: Suspect, rows: Values) -> Likeness | None:
    texts = column.texts
    if texts and set(texts) <= vocabulary.QUALIFIERS and set(texts) - {"=", "eq"}:
        return f"looks like the sign of a limit ({_shown(texts)})", _use("qualifier", column)
    return None


def _marks(column: Suspect, rows: Values) -> Likeness | None:
    """Cells such as BLQ or <3; a laboratory value with limits of its own, such as CRP <5, is none of ours."""
    marked = [mark_of(text, rows.decimal)[0] for text in column.texts]
    sure = [
        at
        for at, mark in zip(column.looked, marked, strict=True)
        if mark in vocabulary.CENSORED and not _vague(column, at)
    ]
    vague = [at for at in column.looked if _vague(column, at)]
    numbers = [at for at, mark in zip(column.looked, marked, strict=True) if mark == "number"]
    if not sure and not vague:
        return None
    if numbers:
        agree, of = _agreement(column, rows, numbers)
        if agree < 0.5 * of:
            return None
        return f"has the result as text ({_shown([str(column.cells[at]) for at in sure or vague])})", _use(
            "result", column
        )
    shown = _shown([str(column.cells[at]) for at in sure or vague])
    if not sure and not _lowest(column, rows, vague):
        return None
    if not sure:
        return f"says {shown} where the values are lowest or empty", _use("result", column)
    if not _varies(column, rows):
        return None
    above = any(mark in ("above", "alq") for mark in marked)
    return f"says of values that they are censored ({shown})", _use(
        "result" if above or _named(column, sure) else "blq", column
    )


def _vague(column: Suspect, at: int) -> bool:
    return re.sub(r"[\s_]", "", str(column.cells[at])).casefold() in VAGUE


def _named(column: Suspect, cells: list[int]) -> bool:
    return any(re.search(r"\d", str(column.cells[at])) for at in cells)


def _agreement(column: Suspect, rows: Values, numbers: list[int]) -> tuple[int, int]:
    """How many rows have the number of the cell as their value, of how many that have both."""
    number = np.full(len(column.cells), np.nan)
    for at in numbers:
        read = number_of(str(column.cells[at]), rows.decimal)
        number[at] = np.nan if read is None else read
    said = number[column.code]
    both = column.sample & ~np.isnan(said) & ~np.isnan(rows.value)
    return int(np.isclose(said[both], rows.value[both], rtol=0.02).sum()), int(both.sum())


def _lowest(column: Suspect, rows: Values, levels: list[int]) -> bool:
    """Whether the rows of these cells, two at least, have no value or one below all others."""
    chosen = column.sample & np.isin(column.code, levels)
    others = rows.value[column.sample & ~chosen]
    own = rows.value[chosen]
    own, others = own[own > 0], others[others > 0]
    return int(chosen.sum()) > 1 and len(others) > 0 and (len(own) == 0 or own.max() < others.min())


def _varies(column: Suspect, rows: Values) -> bool:
    """Whether samples of one subject differ in it."""
    filled = column.sample
    each = pd.Series(column.code[filled]).groupby(rows.subject[filled])
    return bool((each.min() != each.max()).any())


def _comments(column: Suspect, rows: Values) -> Likeness | None:
    found = [str(column.cells[at]) for at in column.looked if vocabulary.IN_COMMENTS.search(str(column.cells[at]))]
    if found:
        remedy = "Write into the rows what it says (<3 or BLQ as the value; a column excluded with the reason), or"
        return f"says of values that they are censored or not valid ({found[0]!r})", remedy
    return None


def _limits(column: Suspect, rows: Values) -> Likeness | None:
    words = column.words
    named = words & vocabulary.LIMIT_WORDS or any(word[-4:] in ("lloq", "uloq") for word in words)
    if not named and not ({"limit", "limits"} & words and words & vocabulary.OF_LIMITS):
        return None
    numbers = [number_of(text, rows.decimal) for text in column.texts]
    # A flag of 0 and 1 is no limit; a column of 1 throughout is one.
    real = [number for number in numbers if number is not None]
    if not real or len(real) < len(numbers) or min(real) <= 0:
        return None
    upper = {"upper", "uloq", "ulq"} & words or any(word.endswith("uloq") for word in words)
    lod = words & {"lod", "llod", "detection", "detectable", "mdl"}
    other = unit_of_heading(column.name)
    if other and canonical(other) != rows.unit:
        return f"looks like a limit in {other}", f"Give it in {rows.unit}, or"
    return "looks like a limit", _use("uloq" if upper else "lod" if lod else "lloq", column)


def _units(column: Suspect, rows: Values) -> Likeness | None:
    words = column.words
    about = any(
        word in ("unit", "units") or word.endswith(("unit", "units")) for word in words
    ) or column.name.endswith("U")
    units = {canonical(str(column.cells[at])) for at in column.looked}
    ours = {unit for unit in units if (is_log(unit) and (about or "cop" in unit)) or unit_of_heading(unit)}
    if ours and ours != {rows.unit} and len(ours) == len(units):
        return f"looks like a unit of the values ({_shown(sorted(ours))})", _use("unit", column)
    times = {time_unit_of(unit) for unit in units}
    if about and times and "" not in times and times != {"day"}:
        return f"looks like a unit of the times ({_shown(sorted(units))})", "Give the times in days, or"
    return None


def _flags(column: Suspect, rows: Values) -> Likeness | None:
    """A flag of few codes whose heading speaks of limits."""
    words = column.words
    if not words & vocabulary.FLAG_WORDS or not column.texts or len(column.texts) > 4:
        return None
    small = {*YES, *NO, "-1", "2", "3", "below", "above", "left", "right", "none"}
    if not set(column.texts) <= small or len(column.levels) < 2:
        return None
    positive = words & {"detected", "detect", "detectable", "quantifiable", "quantified"}
    if positive or set(column.texts) - {*YES, *NO}:
        remedy = "Say it in a column blq, 1 for below the limit and 0 elsewhere, or"
    else:
        remedy = _use("blq", column)
    return f"looks like a mark of censored values ({_shown(column.texts)})", remedy


def _exclusions(column: Suspect, rows: Values) -> Likeness | None:
    """Yes and no of a heading that speaks of leaving out or using; or cells that do."""
    texts, words = set(column.texts), column.words
    out = [text for text in column.texts if text in vocabulary.OUT_CELLS]
    if out:
        remedy = "Say it in a column excluded, with the reason or 1, or"
        return f"says of values that they are not to be used ({_shown(out)})", remedy
    if not texts or not texts <= {*YES, *NO}:
        return None
    if words & vocabulary.OUT and texts & {*YES}:
        return "looks like a mark of rows that are not to be used", _use("excluded", column)
    fewer = bool(texts & {*NO}) or any(column.cells[at] == "" for at in column.levels)
    if words & vocabulary.IN and fewer and (texts & {*YES}):
        remedy = "Leave out the rows that it does not mark (a column excluded with 1), or"
        return "looks like a mark of rows that are to be used", remedy
    return None


def _endpoints(column: Suspect, rows: Values) -> Likeness | None:
    """Kinds of measurement: by heading, by words for specimens and analytes, or because they share days."""
    levels = [at for at in column.levels if column.cells[at] != ""]
    if not 2 <= len(levels) <= KINDS:
        return None
    texts = [str(column.cells[at]).casefold() for at in levels]
    words = set(words_of(column.name))
    named = bool(words & vocabulary.ENDPOINTS) and not words - vocabulary.ENDPOINTS - vocabulary.OF_ENDPOINTS
    named |= plain(column.name).replace("_", "") in vocabulary.ENDPOINTS
    specimens = [_specimen(text) for text in texts]
    of_specimens = all(specimens) and len(set(specimens)) > 1
    analytes = all(vocabulary.ANALYTES.search(text) for text in texts)
    within = _varies(column, rows)
    paired = (
        not words & vocabulary.REPLICATES
        and all(re.search(r"[a-z]{2}", text) for text in texts)
        and _shares_days(column, rows)
    )
    if not (of_specimens or (within and (named or analytes or paired))):
        return None
    if _follows_output(column, rows):
        return None
    shown = _shown([str(column.cells[at]) for at in levels])
    if len(np.unique(rows.output[column.sample])) > 1:
        return (
            f"tells measurements of one output apart ({shown})",
            "Give each its own name in the column of outputs, or",
        )
    return f"tells measurements apart ({shown})", _use("output", column)


def _specimen(text: str) -> str:
    """Which specimen a cell names; "" for another text, such as "blood type A"."""
    words = re.findall(r"[a-z]+", text)
    found = [vocabulary.SPECIMENS[word] for word in words if word in vocabulary.SPECIMENS]
    usual = {"whole", "peripheral", "bone", "lymph", "aspirate", "fluid", "cells", "mononuclear", "edta", "sample"}
    return found[-1] if found and not set(words) - {*vocabulary.SPECIMENS} - usual else ""


def _shares_days(column: Suspect, rows: Values) -> bool:
    """Whether most days of a subject have several rows, all different in this column, in turn of all its levels."""
    filled = column.sample & (column.cells[column.code] != "")
    table = pd.DataFrame({"subject": rows.subject[filled], "day": rows.day[filled], "code": column.code[filled]})
    table["output"] = rows.output[filled]
    groups = table.groupby(["subject", "day", "output"])["code"]
    size, different = groups.size(), groups.nunique()
    several = size > 1
    return bool(several.sum() >= 2 and (size[several] == different[several]).all() and several.mean() > 0.3)


def _follows_output(column: Suspect, rows: Values) -> bool:
    """Whether it says no more than the column of outputs does."""
    each = pd.Series(column.code[column.sample]).groupby(rows.output[column.sample])
    return bool((each.min() == each.max()).all())


def _at_the_floor(column: Suspect, rows: Values) -> Likeness | None:
    """A level that stands on exactly the rows that share the lowest value, such as status 2; visits do not count."""
    if not 2 <= len(column.levels) <= 6 or not _varies(column, rows):
        return None
    there = column.sample & (rows.value > 0)
    values, code = rows.value[there], column.code[there]
    if not len(values):
        return None
    floor = values == values.min()
    level = code[floor]
    if floor.sum() < 2 or (level != level[0]).any() or (code == level[0]).sum() != floor.sum() or floor.all():
        return _lowest_by_code(column, rows)
    each = pd.Series(rows.subject[there][floor]).value_counts()
    if each.max() < 2:
        return None
    cell = str(column.cells[level[0]]) or "nothing"
    return _of_floor(column, cell, int(floor.sum()), number_text(values.min()))


def _of_floor(column: Suspect, cell: str, n: int, lowest: str) -> Likeness:
    remedy = "If these are limits: say it in a column blq, 1 there and 0 elsewhere, with lloq=, or"
    return f"is {cell} on exactly the {n} rows whose value is the lowest ({lowest})", remedy


def _lowest_by_code(column: Suspect, rows: Values) -> Likeness | None:
    """A code, by its heading, that stands on the lowest values alone."""
    if not set(words_of(column.name)) & vocabulary.CODES:
        return None
    for level in column.levels:
        chosen = column.sample & (column.code == level)
        each = pd.Series(rows.subject[chosen]).value_counts()
        if len(each) and each.max() > 1 and chosen.sum() > 2 and _lowest(column, rows, [level]):
            cell = str(column.cells[level]) or "nothing"
            own = rows.value[chosen & (rows.value > 0)]
            if len(own) == 0:
                continue
            return _of_floor(column, cell, int(chosen.sum()), f"{number_text(own.min())} to {number_text(own.max())}")
    return None


def _durations(column: Suspect, rows: Values) -> Likeness | None:
    """How long an infusion took, on the rows of doses."""
    if not column.dose.any():
        return None
    words = set(words_of(column.name))
    units = {unit for word in words if (unit := time_unit_of(word))}
    named = words & {"dur", "duration", "tinf", "infdur", "exdur"} or {"infusion", "time"} <= words
    named = named and not words - vocabulary.INFUSION - {"dur", "duration", "infdur", "exdur", "n"} - {
        word for word in words if time_unit_of(word)
    }
    scale = DAYS_IN[units.pop()] if len(units) == 1 else 1.0
    for at in np.unique(column.code[column.dose])[:LOOKED_AT]:
        text = str(column.cells[at])
        days = duration_of(text)
        if days is None and named:
            number = number_of(text, rows.decimal)
            days = None if number is None or np.isnan(number) else number * scale
        if days is not None and days > LONGEST and (named or words & {"infusion", "inf", "length"}):
            remedy = "A dose is taken at once: give a longer infusion as several doses, or"
            remedy += f" where it took less than {LONGEST * 24:g} hours,"
            return f"looks like the duration of an infusion ({text})", remedy
    return None


_RULES: tuple[Callable[[Suspect, Values], Likeness | None], ...] = (
    _qualifiers,
    _marks,
    _limits,
    _units,
    _flags,
    _exclusions,
    _durations,
    _endpoints,
    _comments,
    _at_the_floor,
)
