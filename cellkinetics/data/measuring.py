"""The measurement of each row: its cell, what other columns say of it, and the limits of the row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.data.columns import SheetRows
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import NO, YES, Texts, mark_of, marks, marks_and_units
from cellkinetics.meaning.placing import Limits, Measurements, place
from cellkinetics.meaning.units import canonical, strange
from cellkinetics.words import number_text

_CENSORED = ("below", "blq", "nd", "above", "alq")
_BELOW, _ABOVE, _EQUAL = ("<", "<=", "≤", "lt", "le", "below"), (">", ">=", "≥", "gt", "ge", "above"), ("", "=", "eq")
# What R packages and tables write for CENS 1, -1 and 0.
_LEFT, _RIGHT = ("left", "true", "yes", "y", "below"), ("right", "above")
_NONE = ("none", "false", "no", "n", "uncensored", "observed", "quantified")


@dataclass(frozen=True)
class Written:
    """What stands in (n,) rows, and what it means.

    Attributes
    ----------
    measured : Measurements
        Between the limits.
    zero : (n,) array of bool
        Where the number is 0.
    text : (n,) array of str
        The cell that was read.
    column : (n,) array of str, or str
        The column that it stands in.
    units : dict
        {cell: the unit behind its number}.
    """

    measured: Measurements
    zero: Flags
    text: Texts
    column: Texts | str
    units: dict[str, str]


def limits_of(rows: SheetRows, study: list[Floats]) -> Limits:
    """The limits of each row: those of its columns, else those of the study (lloq, lod, uloq)."""
    own = {name: rows.number(name) for name in ("lloq", "lod", "uloq")}
    for name, limit in own.items():
        found, remedy = (
            f"{rows.names.get(name)} is ",
            "A limit is above 0; leave the cell empty where none is known.",
        )
        rows.report(limit <= 0, lambda at, found=found, limit=limit: found + number_text(limit[at]), remedy)
    used = {name: np.where(np.isnan(own[name]), other, own[name]) for name, other in zip(own, study, strict=True)}
    for low, high in (("lod", "lloq"), ("lloq", "uloq")):
        # The lloq of a row may lie under the lod of the study, which then says nothing about the row.
        own_pair = ~np.isnan(own["lod"]) if low == "lod" else ~np.isnan(own["lloq"]) | ~np.isnan(own["uloq"])
        rows.report(
            own_pair & (used[low] > used[high]),
            lambda at, low=low, high=high: (
                f"{low} is {number_text(used[low][at])}, above the {high} {number_text(used[high][at])}"
            ),
            "Correct one of them.",
        )
    return Limits(used["lloq"], used["lod"], used["uloq"], own["lloq"])


def measure(
    rows: SheetRows, limits: Limits, skipped: Flags, floor: float | None = None, missing: Sequence[float] = ()
) -> Written:
    """The measurement of each row; what makes no sense on a skipped row is missing.

    Parameters
    ----------
    rows : SheetRows
        With their columns by meaning.
    limits : Limits
        Of each row.
    skipped : (n,) array of bool
        Rows that are not used whatever stands in them.
    floor : float, optional
        A number that stands for a value below the limit.
    missing : sequence of float
        Numbers that stand for no value.
    """
    name, text = rows.names["value"], rows.text("value").to_numpy(dtype=object)
    column: Texts | str = name
    # A laboratory's text and sign beside the number come before the number.
    if "result" in rows.names:
        text, column = _with_result(rows, text, column, limits, skipped)
    if "qualifier" in rows.names:
        text, column = _with_qualifier(rows, text, column, skipped)
    mark, number, units = marks_and_units(text, rows.decimal)
    stands = (mark == "number") & np.isin(number, list(missing))
    mark[stands], number[stands] = "missing", np.nan
    if floor is not None:
        at_floor = (mark == "number") & np.isclose(number, floor, rtol=1e-6, atol=0)
        # Of half the limit, as of the limit itself, it is known that the sample lies below the limit.
        mark[at_floor] = np.where(limits.lloq[at_floor] >= floor, "blq", "below")
        unknown = at_floor & np.isnan(limits.lloq)
        limits = replace(limits, lloq=np.where(unknown, floor, limits.lloq))
        number[at_floor & (mark == "blq")] = np.nan
    if "blq" in rows.names:
        _flag(rows, mark, number, limits, skipped)
    senseless = (mark == "unreadable") | ((mark == "number") & ((number < 0) | np.isinf(number)))
    mark[skipped & senseless], number[skipped & senseless] = "missing", np.nan
    remedy = f"Write a number{rows.comma}, <3, >1e6, BLQ or ND, or leave the cell empty."
    unreadable = mark == "unreadable"
    rows.report(unreadable, lambda at: f"{_heading(column, at)} is {text[at]!r}, which is not a number", remedy)
    _report_negative(rows, mark, number, text, name)
    rows.report(np.isposinf(number), lambda at: f"{name} is {text[at]}", "Write >1e6 for a value above the range.")
    cens = _censoring(rows)
    measured = place(mark, number, cens, rows.number("limit", 0), limits)
    return Written(measured, (mark == "number") & (number == 0), text, column, units)


def _with_result(
    rows: SheetRows, text: Texts, column: Texts | str, limits: Limits, skipped: Flags
) -> tuple[Texts, Texts]:
    """The cells with the result as text in place of the number where it says censored; the column of each."""
    name, value, said = rows.names["result"], rows.names["value"], rows.text("result").to_numpy(dtype=object)
    (mark, number), (of_value, measured) = marks(said, rows.decimal), marks(text, rows.decimal)
    there = (of_value == "number") & (measured > 0) & ~skipped
    most = np.select([mark == "below", np.isin(mark, ["blq", "nd"])], [number, limits.lloq], np.nan)
    against = (measured > most * (1 + 1e-9)) | ((mark == "above") & (measured < number * (1 - 1e-9)))
    against |= (mark == "number") & ~np.isclose(number, measured, rtol=0.01)
    remedy = f"Let the two agree, or read_study(..., ignore=[{name!r}]) when it is another measurement."
    rows.report(there & against, lambda at: f"{name} is {said[at]!r} and {value} is {text[at]}", remedy)
    unknown = (mark == "unreadable") & ~skipped
    fine = np.array([str(cell).strip().casefold() in ("positive", "pos", "detected") for cell in said[unknown]], bool)
    unknown[np.flatnonzero(unknown)[fine & there[unknown]]] = False
    remedy = f"Write a number, <3, >1e6, BLQ or ND, or read_study(..., ignore=[{name!r}])."
    rows.report(unknown, lambda at: f"{name} is {said[at]!r}", remedy)
    taken = np.isin(mark, _CENSORED) | ((mark == "number") & (of_value == "missing"))
    return np.where(taken, said, text), np.where(taken, name, column)


def _with_qualifier(rows: SheetRows, text: Texts, column: Texts | str, skipped: Flags) -> tuple[Texts, Texts]:
    """The cells with ``<`` or ``>`` of the column beside them; the column of each."""
    name, value = rows.names["qualifier"], rows.names["value"]
    said = rows.text("qualifier").to_numpy(dtype=object)
    low = rows.text("qualifier").str.casefold()
    below, above, equal = (low.isin(words).to_numpy(dtype=bool) for words in (_BELOW, _ABOVE, _EQUAL))
    mark, number = marks(text, rows.decimal)
    word = np.isin(marks(said, rows.decimal)[0], _CENSORED)
    unknown = ~(below | above | equal | word) & ~skipped
    remedy = f"It is < or > where the number is a limit, = or empty elsewhere; or read_study(..., ignore=[{name!r}])."
    rows.report(unknown, lambda at: f"{name} is {said[at]!r}", remedy)
    contradicts = (low.isin(["=", "eq"]).to_numpy() & np.isin(mark, _CENSORED)) & ~skipped
    contradicts |= (below & np.isin(mark, ["above", "alq"])) | (above & np.isin(mark, ["below", "blq", "nd"]))
    remedy = "Let the two agree."
    rows.report(contradicts, lambda at: f"{name} is {said[at]!r} and {value} is {text[at]!r}", remedy)
    limit = (mark == "number") & (number > 0)
    nothing = (mark == "missing") | ((mark == "number") & (number == 0))
    taken = (below | above) & (limit | nothing) | (word & (limit | nothing))
    now = text.copy()
    now[below & limit], now[above & limit] = "<" + text[below & limit], ">" + text[above & limit]
    now[below & nothing], now[above & nothing] = "BLQ", "ALQ"
    now[word & (limit | nothing)] = said[word & (limit | nothing)]
    return now, np.where(taken, name, column)


def _flag(rows: SheetRows, mark: Texts, number: Floats, limits: Limits, skipped: Flags) -> None:
    """Rows that a flag says are below the limit have no number: what stands there may be half the limit."""
    name, value = rows.names["blq"], rows.names["value"]
    said, low = rows.text("blq").to_numpy(dtype=object), rows.text("blq").str.casefold()
    codes, distinct = pd.factorize(said)
    word = np.array([mark_of(cell)[0] in ("blq", "nd") for cell in distinct], dtype=bool)[codes]
    yes, no = low.isin([*YES, "below"]).to_numpy() | word, low.isin(NO).to_numpy()
    remedy = f"It is 1 or yes below the limit, else 0; or read_study(..., ignore=[{name!r}])."
    rows.report(~yes & ~no & ~skipped, lambda at: f"{name} is {said[at]!r}", remedy)
    over = yes & ~skipped & (mark == "number") & (number > limits.lloq * (1 + 1e-9))
    remedy = "Correct one of them."
    found = f"{name} says that the value is below the limit"
    rows.report(
        over, lambda at: f"{found} {number_text(limits.lloq[at])} and {value} is {number_text(number[at])}", remedy
    )
    against = (said != "") & no & np.isin(mark, ["below", "blq", "nd"]) & ~skipped
    rows.report(against, lambda at: f"{name} is {said[at]} and {value} is below the limit", remedy)
    flagged = yes & np.isin(mark, ["number", "missing"]) & ~skipped
    unknown = flagged & np.isnan(limits.lloq)
    remedy = "Give the column lloq, or read_study(..., lloq=...)."
    rows.report(unknown, lambda at: f"{name} is {said[at]} and no limit is known", remedy)
    mark[flagged], number[flagged] = "blq", np.nan


def _censoring(rows: SheetRows) -> Floats:
    """CENS as -1, 0 or 1, NaN where empty; words for them are put into the rows as these numbers."""
    if "cens" in rows.names:
        name, text = rows.names["cens"], rows.text("cens")
        low = text.str.casefold().str.replace(r"\s", "", regex=True)
        known = dict.fromkeys(_LEFT, "1") | dict.fromkeys(_RIGHT, "-1") | dict.fromkeys(_NONE, "0")
        known |= {word: "1" for word in low.unique() if mark_of(word)[0] == "blq"}
        now = low.map(known).fillna(text).astype("str")
        codes, distinct = pd.factorize(now.to_numpy(dtype=object))
        word = np.array([re.search(r"[a-z]", cell, re.IGNORECASE) is not None for cell in distinct], bool)[codes]
        remedy = "It is 1 for below (or left, TRUE), -1 for above (right), 0 for measured (none, FALSE)."
        remedy += " Between two ends it is 1, with the upper end as the value and the lower one in the column limit."
        rows.report(word, lambda at: f"{name} is {text[at]!r}", remedy)
        rows.cells = rows.cells.assign(**{name: now.mask(word, "")})
    return rows.choice("cens", (-1, 0, 1))


def _report_negative(rows: SheetRows, mark: Texts, number: Floats, text: Texts, name: str) -> None:
    negative = (mark == "number") & (number < 0)
    counts = pd.Series(number[negative]).value_counts()
    # -9 and -99 stand for nothing more often than for a logarithm.
    code = {float(each) for each in counts.index if re.fullmatch(r"-(9+|1)(\.0)?", number_text(each))}

    def remedy(at: int) -> str:
        if number[at] in code and len(code) == len(counts):
            those = ", ".join(number_text(each) for each in sorted(code))
            stands = "it stands" if len(code) == 1 else "they stand"
            return f"If {stands} for no value, read_study(..., missing=[{those}])."
        return "Give the values untransformed; 0, BLQ or <3 where nothing was measured."

    rows.report(negative, lambda at: f"{name} is {text[at]}, which is negative", remedy)


def report_faults(rows: SheetRows, cells: Written, sample: Flags, used: Flags, unit: str) -> None:
    """Say what is wrong with a measurement, on rows without other fault; a row that is not used needs no limit."""
    measured, text, column = cells.measured, cells.text, cells.column
    cens, limit = rows.text("cens").to_numpy(dtype=object), rows.text("limit").to_numpy(dtype=object)
    lloq = rows.text("lloq").to_numpy(dtype=object)

    def said(at: int) -> str:
        censored = f"{rows.names['cens']} is {cens[at]}, " if cens[at] in ("1", "-1") else ""
        name = _heading(column, at)
        return f"{censored}{name} is {text[at]!r}" if text[at] else f"{censored}{name} is empty"

    def named(at: int) -> str:
        mark, bound = mark_of(text[at], rows.decimal)
        return number_text(bound) if mark == "below" and np.isfinite(bound) else "..."

    faults = {
        "no lower limit": (
            lambda at: f"{said(at)} and no limit is known",
            lambda at: f"Give the column lloq, or read_study(..., lloq={named(at)}).",
        ),
        "no upper limit": (
            lambda at: f"{said(at)} and no upper limit is known",
            "Give the column uloq, or read_study(..., uloq=...).",
        ),
        "cens": (
            lambda at: f"{rows.names['cens']} is {cens[at]} and {_heading(column, at)} is {text[at]!r}",
            "Let the two agree: cens is 1 for below, -1 for above; or leave cens empty.",
        ),
        "over": (
            lambda at: f"{said(at)}, a limit above the row's {rows.names['lloq']}, {lloq[at]}",
            "A censored row holds its limit, not a measured value: correct one of them.",
        ),
        "side": (
            lambda at: f"{said(at)} and {rows.names['limit']} is {limit[at]}, on the wrong side",
            "LIMIT is the other end: under DV when cens is 1, above it when cens is -1.",
        ),
    }
    clean = sample & ~rows.reported & (used | ~np.isin(measured.fault, ["no lower limit", "no upper limit"]))
    for fault, (found, remedy) in faults.items():
        rows.report(clean & (measured.fault == fault), found, remedy)
    other = [cell for cell, said in cells.units.items() if canonical(said) != unit]
    if other:
        # unit= would say of bare numbers, too, what one cell says.
        bare = sample & (measured.status != "missing") & ~np.isin(text, list(cells.units))
        units = {canonical(cells.units[cell]) for cell in other}
        remedy = f"Values have one unit: write the numbers of all in {unit}, or their unit in a column unit."
        if not bare.any() and len(units) == 1 and not strange(unit_said := units.pop()):
            remedy = f"Values have one unit: is it read_study(..., unit={unit_said!r})?"
        found = f"and {int(bare.sum())} others have none: the study is in {unit}" if bare.any() else ""
        rows.report(
            np.isin(text, other) & sample,
            lambda at: f"{_heading(column, at)} is {text[at]!r} {found or f'and the study is in {unit}'}",
            remedy,
        )


def without_limit(
    rows: SheetRows, written: Written, limits: Limits, output: pd.Series, used: Flags, per_mass: str = ""
) -> list[str]:
    """Measured rows without a limit whose number lies below limits that other rows of their output have.

    Below all of them it is reported: with the limit of any other row it would be censored. Below some of them it is
    said: a text, or none. Where a column such as CENS says which rows are measured, that is taken as said.

    Parameters
    ----------
    rows : SheetRows
        With their columns by meaning.
    written : Written
        What stands in them.
    limits : Limits
        Of each row.
    output : (n,) Series of str
        Which measurement each row is.
    used : (n,) array of bool
        Samples that are used.
    per_mass : str
        The column of the mass of DNA, where limits come from one per well.
    """
    known = used & ~np.isnan(limits.lloq)
    open_ = used & np.isnan(limits.lloq) & np.isnan(limits.lod) & (written.measured.status == "quantified")
    if {"cens", "blq", "qualifier", "result"} & rows.names.keys() or not known.any() or not open_.any():
        return []
    each = pd.Series(limits.lloq[known]).groupby(output.to_numpy(dtype=object)[known])
    least, most = (output.map(limit).to_numpy(dtype=float) for limit in (each.min(), each.max()))
    value = written.measured.value
    heading, empty = rows.names["value"], per_mass or rows.names.get("lloq", "lloq")
    below = open_ & (value < least)

    def found(at: int) -> str:
        limit = number_text(least[at]) if least[at] == most[at] else f"{number_text(least[at])} and more"
        of_others = f"it lies below the limit of the other rows, {limit}"
        return f"{heading} is {number_text(value[at])} and {empty} is empty: {of_others}"

    remedy = f"Fill the cell in, or read_study(..., {'dna_ug' if per_mass else 'lloq'}=...) for rows without one"
    remedy += "." if per_mass else "; the value itself as its limit says that it was measured."
    rows.report(below, found, remedy)
    between = rows.row[open_ & ~below & (value < most)]
    if not len(between):
        return []
    first = ", ".join(map(str, between[:3])) + (", ..." if len(between) > 3 else "")
    are = "sample is" if len(between) == 1 else "samples are"
    return [
        f"{len(between)} {are} taken as measured (row{'s' * (len(between) > 1)} {first}): {empty} is empty there, and "
        "the value lies below the limit of other rows: fill the cell in"
    ]


def _heading(column: Texts | str, at: int) -> str:
    return column if isinstance(column, str) else str(column[at])
