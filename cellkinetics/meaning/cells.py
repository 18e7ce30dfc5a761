"""What one cell of a table says: a number, ``<3``, ``>1e6``, BLQ, ND, or a number with its unit."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.vocabulary import below_in_words, folded
from cellkinetics.words import number_text

Texts = npt.NDArray[np.object_]

MISSING = frozenset({"", ".", "na", "n/a", "nan", "null", "<na>"})
YES = ("1", "yes", "y", "true", "x", "ja", "j", "oui", "si", "sí", "s\u00ec", "+", "wahr", "vrai")
NO = ("", "0", "no", "n", "false", "nein", "non", "-", "falsch", "faux")

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
    "notquantified",
    "belowlimitofquantification",
    "belowthelimitofquantification",
    "belowquantificationlimit",
}
# Seen and not quantified says the same: between the limit of detection, where there is one, and that of quantification.
# "Positive" alone does not say so: it may stand for 5,000 copies that nobody wrote down.
_DNQ = {"dnq", "uq", "pnq", "trace", "traces"}
_ND = {"nd", "n.d.", "<lod", "<llod", "<nd", "blod", "bld", "bdl", "belowlod", "tnd", "negative", "neg"}
_ND |= {"notdetected", "targetnotdetected", "undetected", "undetectable", "undetermined"}
_ALQ = {"alq", "aloq", "aql", "auloq", ">uloq", ">ulq", ">alq", "aboveuloq"}
# These say something of other things too, of a tumour or of an infection.
VAGUE = {
    "trace",
    "traces",
    "nd",
    "n.d.",
    "negative",
    "neg",
    "undetected",
    "undetectable",
    "undetermined",
    "notdetected",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_INFINITE = re.compile(r"([+-]?)inf(inity)?", re.IGNORECASE)
_BOUND = re.compile(r"([<>≤≥])=?(.+)")
# A bound in words, without blanks and accents: lower than 3, unter 3, more than 1e6.
_IN_WORDS = re.compile(
    r"(?P<low>(?:lower|less|smaller|fewer)than|below|under|lt|unter(?:halb)?(?:von)?|kleiner(?:als)?|weniger(?:als)?|"
    r"inferieure?a|moinsde|sous|menor(?:que|de)|menosde|inferior[ea]?|minoredi|menodi|sotto|kleinerdan|minderdan|onder)"
    r"(?P<below>[\d.,e+-]+)|"
    r"(?:(?:greater|more|higher|larger)than|above|over|exceeds|gt|uber|grosser(?:als)?|mehrals|superieure?a|plusde|"
    r"mayorque|masde|superiorea|maggioredi|piudi)(?P<above>[\d.,e+-]+)"
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
# A power of ten as papers print it: 1.2x10^4, 1.2×10⁴, 1.2*10**4, 10^6.
_POWER = re.compile(
    r"(?:([+-]?(?:\d+\.?\d*|\.\d+))\s*[x×*·⋅]\s*)?10\s*(?:\^|\*\*)\s*([+-]?\d+)", re.IGNORECASE | re.ASCII
)
_RAISED = re.compile(r"10\s*([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
# A word for the sample, then what its limit is: detected, <3.
_SEEN = re.compile(r"(?:detected|detectable|positive|pos)[,;:]?[(]?(.+?)[)]?", re.IGNORECASE)
# A mark and its limit: BLQ (<3), <LLOQ (3), ND (LOD 1), <3 (BLQ).
_WITH_LIMIT = re.compile(r"(.+?)[(\[](?:(?:ll?oq|llq|lod|llod|limit)[:=]?)?([^()\[\]]+)[)\]]")
_UNIT = re.compile(
    r"(.*[\d⁰¹²³⁴⁵⁶⁷⁸⁹])\s*((?:vector|transgene|car)?\s*(?:copies|copy|cells?|gc|vgc|cp)\b.*|%)", re.IGNORECASE
)


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
    if infinite:
        return float(f"{infinite[1]}inf")
    if "10" not in text:
        return None
    raised = _RAISED.sub(lambda found: f"10^{found[1].translate(_SUPERSCRIPT)}", text.replace("\u2212", "-"))
    power = _POWER.fullmatch(raised)
    # By way of text, so that 1.2x10^4 and 1.2e4 are one number to the last digit.
    return float(f"{power[1] or 1}e{power[2]}") if power else None


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
        "number", "missing", "below" (``<3``), "blq" (also detected and not quantified), "nd", "above" (``>1e6``), "alq"
        or "unreadable".
    float
        The number, or the limit that ``<`` or ``>`` names; NaN where none is said.

    Examples
    --------
    >>> mark_of("< 3"), mark_of("BLQ (<3)"), mark_of("pos <3"), mark_of("5120")
    (('below', 3.0), ('below', 3.0), ('below', 3.0), ('number', 5120.0))
    """
    number = number_of(text, decimal)
    if number is not None:
        return ("missing" if np.isnan(number) else "number"), number
    word = re.sub(r"[\s_]", "", text).casefold()
    in_words = below_in_words(text)
    if in_words and word not in VAGUE:
        return ("nd" if in_words == "unseen" else in_words), np.nan
    for mark, words in (("blq", _BLQ), ("blq", _DNQ), ("nd", _ND), ("alq", _ALQ)):
        if word in words:
            return mark, np.nan
    bound = _BOUND.fullmatch(word)
    limit = number_of(bound[2], decimal) if bound else None
    if bound is not None and limit is not None and 0 < limit < np.inf:
        return ("below" if bound[1] in "<≤" else "above"), limit
    worded = _IN_WORDS.fullmatch(folded(word))
    limit = number_of(worded["below"] or worded["above"], decimal) if worded else None
    if worded is not None and limit is not None and 0 < limit < np.inf:
        return ("below" if worded["low"] else "above"), limit
    return _composed(word, decimal)


def _composed(word: str, decimal: str) -> tuple[str, float]:
    """A mark that is said twice, or beside its limit; "unreadable" when the two do not go together."""
    seen = _SEEN.fullmatch(word)
    if seen:
        mark, limit = mark_of(seen[1].removeprefix("but"), decimal)
        return (mark, limit) if mark in ("below", "blq") else ("unreadable", np.nan)
    pair = _WITH_LIMIT.fullmatch(word)
    if not pair:
        return "unreadable", np.nan
    (first, named), (second, limit) = mark_of(pair[1], decimal), mark_of(pair[2], decimal)
    if first in ("blq", "nd") and second in ("below", "number") and limit > 0:
        return "below", limit
    if first == "alq" and second in ("above", "number") and limit > 0:
        return "above", limit
    if (first, second) in (("below", "blq"), ("below", "nd"), ("above", "alq")):
        return first, named
    return "unreadable", np.nan


def marks(text: Texts, decimal: str = ".") -> tuple[Texts, Floats]:
    """`mark_of` for each of (n,) cells: (n,) marks and (n,) numbers or named limits."""
    codes, distinct = pd.factorize(text)
    read = [mark_of(cell, decimal) for cell in distinct]
    names = np.array([mark for mark, _ in read], dtype=object)
    values = np.array([number for _, number in read], dtype=float)
    return names[codes], values[codes]


def marks_and_units(text: Texts, decimal: str = ".") -> tuple[Texts, Floats, dict[str, str]]:
    """`marks`, and {cell: unit} of those with a unit behind the number, such as "5120 copies/ug"."""
    codes, distinct = pd.factorize(text)
    names, values = np.empty(len(distinct), dtype=object), np.empty(len(distinct))
    units: dict[str, str] = {}
    for place, cell in enumerate(distinct):
        mark, number = mark_of(cell, decimal)
        unit = _UNIT.fullmatch(cell) if mark == "unreadable" else None
        if unit:
            mark, number = mark_of(unit[1], decimal)
            units[cell] = unit[2].strip()
        names[place], values[place] = mark, number
    return names[codes], values[codes], units
