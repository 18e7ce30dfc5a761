"""How a cell of a table writes a measurement: a number, ``<3``, ``>1e6``, BLQ, ND, CENS and LIMIT.

A cell says a number or a *mark*; with the limits of its row it becomes a status and two ends:

============  ==================================  ===================================================
status        ends                                written as
============  ==================================  ===================================================
quantified    lower = upper = value               ``5120``
below         0 and the limit                     ``<3``, BLQ, ND, 0, 0 < number < lloq, CENS 1
interval      both ends                           ``<3`` with lloq 3 and lod 1, CENS 1 with LIMIT
above         the limit and infinity              ``>1e6``, ALQ, number > uloq, CENS -1
missing       none                                empty, ``.``, NA
============  ==================================  ===================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.arrays import Flags, Floats
from cellkinetics.words import number_text

Texts = npt.NDArray[np.object_]

MISSING = frozenset({"", ".", "na", "n/a", "nan", "null", "<na>"})

# Below the lower limit of quantification; not seen at all (below the limit of detection when there is one).
_BLQ = {
    "blq",
    "bloq",
    "bql",
    "blloq",
    "<lloq",
    "<loq",
    "<llq",
    "<blq",
    "<bloq",
    "belowlloq",
    "belowloq",
    "notquantifiable",
}
_ND = {"nd", "n.d.", "<lod", "<llod", "<nd", "blod", "bld", "bdl", "belowlod", "tnd", "negative", "neg"}
_ND |= {"notdetected", "targetnotdetected", "undetected", "undetectable", "undetermined"}
_ALQ = {"alq", "aloq", "aql", "auloq", ">uloq", ">ulq", ">alq", "aboveuloq"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_INFINITE = re.compile(r"([+-]?)inf(inity)?", re.IGNORECASE)
_BOUND = re.compile(r"([<>≤≥])=?(.+)")


def cell_of(number: float, decimal: str = ".") -> str:
    """A number as a cell of a table with these decimals; "" for NaN."""
    return "" if np.isnan(number) else number_text(number).replace(".", decimal)


def number_of(text: str, decimal: str = ".") -> float | None:
    """The number in a cell: NaN when it is empty, None when it is not a number, infinity when it says so."""
    if text == "":
        return np.nan
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".")
    if _NUMBER.fullmatch(text):
        return float(text)
    infinite = _INFINITE.fullmatch(text)
    return float(f"{infinite[1]}inf") if infinite else None


def numbers(text: Texts, decimal: str = ".") -> tuple[Floats, Flags]:
    """Cells as numbers.

    Parameters
    ----------
    text : (n,) array of str
        Cells without surrounding blanks; "" is missing.
    decimal : str
        "." or ",". With "," a point is refused, because 1.234 could be a thousand.

    Returns
    -------
    (n,) array of float
        NaN where missing or unreadable; infinite where the cell says so.
    (n,) array of bool
        True where there is text that is not a number.
    """
    codes, distinct = pd.factorize(text)
    read = [number_of(cell, decimal) for cell in distinct]
    values = np.array([np.nan if number is None else number for number in read], dtype=float)
    unreadable = np.array([number is None for number in read], dtype=bool)
    return values[codes], unreadable[codes]


def mark_of(text: str, decimal: str = ".") -> tuple[str, float]:
    """What one cell says about a measurement.

    Returns
    -------
    str
        "number", "missing", "below" (``<3``), "blq", "nd", "above" (``>1e6``), "alq" or "unreadable".
    float
        The number, or the limit that ``<`` or ``>`` names; NaN where none is said.

    Examples
    --------
    >>> mark_of("< 3"), mark_of("BLQ"), mark_of("5120")
    (('below', 3.0), ('blq', nan), ('number', 5120.0))
    """
    number = number_of(text, decimal)
    if number is not None:
        return ("missing" if np.isnan(number) else "number"), number
    word = re.sub(r"[\s_]", "", text).casefold()
    for mark, words in (("blq", _BLQ), ("nd", _ND), ("alq", _ALQ)):
        if word in words:
            return mark, np.nan
    bound = _BOUND.fullmatch(word)
    limit = number_of(bound[2], decimal) if bound else None
    if bound is None or limit is None or not 0 < limit < np.inf:
        return "unreadable", np.nan
    return ("below" if bound[1] in "<≤" else "above"), limit


def marks(text: Texts, decimal: str = ".") -> tuple[Texts, Floats]:
    """`mark_of` for each of (n,) cells: (n,) marks and (n,) numbers or named limits."""
    codes, distinct = pd.factorize(text)
    read = [mark_of(cell, decimal) for cell in distinct]
    names = np.array([mark for mark, _ in read], dtype=object)
    values = np.array([number for _, number in read], dtype=float)
    return names[codes], values[codes]


@dataclass(frozen=True)
class Limits:
    """The limits of (n,) rows, NaN where there is none; `own_lloq` only what the row itself says."""

    lloq: Floats
    lod: Floats
    uloq: Floats
    own_lloq: Floats


@dataclass(frozen=True)
class Measurements:
    """(n,) rows placed between their limits.

    Attributes
    ----------
    status : (n,) array of str
        "quantified", "below", "interval", "above" or "missing".
    value, lower, upper : (n,) arrays of float
        As in `Study.observations`; an end is NaN where no limit is known.
    lloq : (n,) array of float
        The limit in force; NaN where none is known.
    fault : (n,) array of str
        "" or what is wrong: "no lower limit", "no upper limit", "cens" (CENS contradicts the text),
        "over" (a censored row names a limit above its own lloq), "side" (LIMIT on the wrong side).
    """

    status: Texts
    value: Floats
    lower: Floats
    upper: Floats
    lloq: Floats
    fault: Texts


def status_of(lower: Floats, upper: Floats, read: Flags | None = None) -> Texts:
    """Where each sample (n,) lies by its two ends: "quantified", "below", "interval" or "above"; "missing" with none.

    A lower end that is not known leaves it above, an upper one below. ``read``: (n,) which are quantified; those with
    equal ends when not given.
    """
    read = lower == upper if read is None else read
    none, above = np.isnan(lower) & np.isnan(upper), np.isposinf(upper) | np.isnan(lower)
    given = [none, read, above, (lower > 0) & ~np.isnan(upper)]
    return np.select(given, ["missing", "quantified", "above", "interval"], "below").astype(object)


def place(mark: Texts, number: Floats, cens: Floats, other: Floats, limits: Limits) -> Measurements:
    """Turn marks, CENS and LIMIT into a status and two ends.

    Parameters
    ----------
    mark, number : (n,) arrays
        From `marks`.
    cens : (n,) array of float
        1: below, the number is the limit. -1: above. 0 or NaN: what the cell says.
    other : (n,) array of float
        LIMIT, the other end of a censored row; NaN when there is none, and not used unless `cens` is 1 or -1.
    limits : Limits
        Of each row. A lod at or above the lloq is no limit of its own.

    Returns
    -------
    Measurements
    """
    lloq, lod, uloq = limits.lloq, limits.lod, limits.uloq
    known = np.where(np.isnan(lloq), lod, lloq)
    lod = np.where(lod < lloq, lod, np.where(np.isnan(lloq), lod, np.nan))
    left, right = cens == 1, cens == -1
    other = np.where(left | right, other, np.nan)
    says = (mark == "number") & (number > 0)
    nothing = (mark == "missing") | ((mark == "number") & ~says)

    named_below = (mark == "below") | (left & says)
    blq = (mark == "blq") | (left & nothing)
    nd = (mark == "nd") | ((mark == "number") & ~says & ~left & ~right)
    named_above = (mark == "above") | (right & says)
    alq = (mark == "alq") | (right & nothing)
    plain = says & ~left & ~right
    low, high = plain & (number < known), plain & (number > uloq)
    quantified = plain & ~low & ~high

    # The upper end of a row below: the limit it names, the lod where nothing was seen, else the lloq.
    unseen = nd | (low & (number < lod))
    upper = np.select(
        [named_below, unseen, blq | low, named_above | alq, high, quantified],
        [number, np.fmin(lod, known), lloq, np.where(np.isnan(other), np.inf, other), np.inf, number],
        np.nan,
    )
    detected = np.where((named_below | blq | low) & ~unseen & (lod < upper), lod, 0.0)
    lower = np.select(
        [named_below | blq, nd | low, named_above, alq | high, quantified],
        [np.where(np.isnan(other), detected, other), detected, number, uloq, number],
        np.nan,
    )
    below, above = named_below | blq | nd | low, named_above | alq | high
    # LIMIT without the limit itself says nothing.
    lower, upper = np.where(below & np.isnan(upper), 0, lower), np.where(above & np.isnan(lower), np.inf, upper)
    status = status_of(lower, upper, quantified)

    # A row that names its limit has that limit, unless it has a column for it or the name is its lod.
    renamed = named_below & np.isnan(limits.own_lloq) & ~(number <= lod)
    in_force = np.select([renamed, blq & np.isnan(lloq)], [number, np.nan], known)

    text_below, text_above = np.isin(mark, ["below", "blq", "nd"]), np.isin(mark, ["above", "alq"])
    contradicts = ((text_below | text_above) & (cens == 0)) | (text_above & left) | (text_below & right)
    unnamed = (mark == "below") & ~left & np.isnan(known)
    fault = np.select(
        [
            contradicts,
            named_below & (number > limits.own_lloq),
            ((left & (other >= upper)) | (right & (other <= lower))),
            unnamed | (blq & np.isnan(lloq)) | (nd & np.isnan(known)),
            alq & np.isnan(uloq),
        ],
        ["cens", "over", "side", "no lower limit", "no upper limit"],
        "",
    ).astype(object)
    return Measurements(status, np.where(quantified, number, np.nan), lower, upper, in_force, fault)


def written(observations: pd.DataFrame) -> pd.DataFrame:
    """The inverse of `place`: observations as cells of text.

    Parameters
    ----------
    observations : DataFrame
        Columns status, value, lower, upper, lloq, as in `Study.observations`, n rows.

    Returns
    -------
    DataFrame
        n rows, columns value, cens, limit, lloq, lod, all text, "" for an empty cell. An interval that ends
        at the row's lloq is ``<3`` with a lod; any other is CENS -1, its lower end, and LIMIT its upper end.
    """

    def one(status: str, value: float, lower: float, upper: float, lloq: float) -> tuple[str, ...]:
        limit = "" if np.isnan(lloq) else number_text(lloq)
        if status == "quantified":
            return number_text(value), "", "", limit, ""
        if status == "below":
            return ("0" if np.isnan(upper) else f"<{number_text(upper)}"), "", "", limit, ""
        if status == "above":
            return (">ULOQ" if np.isnan(lower) else f">{number_text(lower)}"), "", "", limit, ""
        if status == "interval" and upper == lloq:
            return f"<{number_text(upper)}", "", "", limit, number_text(lower)
        if status == "interval":
            return number_text(lower), "-1", number_text(upper), limit, ""
        return "", "", "", limit, ""

    columns = (observations[name].tolist() for name in ("status", "value", "lower", "upper", "lloq"))
    cells = [one(*row) for row in zip(*columns, strict=True)]
    return pd.DataFrame(cells, columns=["value", "cens", "limit", "lloq", "lod"], dtype="str")
