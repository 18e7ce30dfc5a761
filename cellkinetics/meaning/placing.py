"""From a mark and the limits of its row to a status and two ends, and back to text.

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

from dataclasses import dataclass

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import Texts
from cellkinetics.words import number_text


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
        1: below, the number is the limit (the row's lloq where the number is less). -1: above. 0 or NaN: what
        the cell says.
    other : (n,) array of float
        LIMIT, the other end of a censored row; NaN when there is none, and not used unless `cens` is 1 or -1.
    limits : Limits
        Of each row. A lod at or above the lloq is no limit of its own.

    Returns
    -------
    Measurements
    """
    lloq, lod, uloq = limits.lloq, limits.lod, limits.uloq
    # Half the limit beside CENS 1 is no limit, and below the row's own limit is true of any smaller number; but for
    # the lod, below which the sample may be, and the upper end of an interval whose lower end is said.
    halved = np.isclose(number, lloq / 2, rtol=1e-3) | np.isclose(number, lloq / np.sqrt(2), rtol=1e-3)
    put = (cens == 1) & (mark == "number") & (number > 0) & ((number < limits.own_lloq) | halved)
    put &= ~(number <= lod) & np.isnan(other)
    number = np.where(put, lloq, number)
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
