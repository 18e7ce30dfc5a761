"""Units: the many spellings of one, logarithms, and what a heading says."""

from __future__ import annotations

import re

from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.counted import FACTOR_WORDS, is_kind, multiplies
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.vocabulary import folded

_MICRO = str.maketrans({"\u03bc": "u", "\u00b5": "u"})
# What is counted, and what of; "copies" of the transgene are vector copies too.
_COUNTED = r"(?:(?:vector|transgene|car|car_t|vg|genome)_)*(copies|copy|cp|gc|cells?|transgenes?)"
_OF = {
    "ug": "ug",
    "microgram": "ug",
    "mcg": "ug",
    "ng": "ng",
    "mg": "mg",
    "ml": "mL",
    "ul": "uL",
    "microliter": "uL",
    "microlitre": "uL",
    "mm3": "uL",
    "l": "L",
    "cell": "cell",
    "cells": "cells",
    "kg": "kg",
    "well": "well",
    "reaction": "reaction",
    "rxn": "reaction",
    "genome": "genome",
    "pbmc": "PBMC",
    "m2": "m2",
}
# What may follow without changing the unit: 1 ug is that of DNA, and cells are those that were infused.
_SILENT = {"dna", "gdna", "genomic", "of", "total", "blood", "whole", "peripheral"}
# The same in German, French, Spanish, Italian and Dutch; "pro" and its like stand for per behind them.
_ELSEWHERE_COUNTED = (
    (re.compile(r"(?<![a-z])(?:kopien?|copias?|copie|kopieen|exemplaires?)(?![a-z])"), "copies"),
    (re.compile(r"(?<![a-z])(?:zellen?|cellules?|celulas?|cellule|cellen)(?![a-z])"), "cells"),
    (re.compile(r"(?<=copies|.cells)_(?:pro|je|par|por|al|alla)_"), "_per_"),
)
# A logarithm in one word: LDV, L10DV, DVLOG, Zehnerlogarithmus.
_LOGGED = re.compile(
    r".*logar[iy]t\w*|l(?:10)?_?(?:dv|copies|conc|vcn)|l(?:o?g)(?:10)?_?(?:dv|copies|conc|vcn|car|value)|"
    r"(?:dv|copies|conc|vcn|value|aval|stresn|result|car|t|y)log(?:10)?|l10"
)
_LOG = re.compile(
    r"(?:^|[^a-z])(?:log(?:10|2|e)?|lg|ln)(?:[^a-z]|$)|^(?:ln|log|log10)[_ ]?(?:dv|copies|conc|value|y)", re.I
)
_PER = re.compile(rf"((?:.*_)?){_COUNTED}_(?:per_)?(\d+)?_?([a-z]+\d?)((?:_[a-z]+)*)")


def is_log(unit: str) -> bool:
    """Whether a unit or a heading says a logarithm: "log10 copies/ug", LNDV, log_copies."""
    if _LOG.search(re.sub(r"[\s./\\-]+", "_", unit.casefold()).replace("_", " ")) is not None:
        return True
    low = folded(plain(unit))
    return "log" in words_of(unit) or any(map(_LOGGED.fullmatch, {low, *re.split(r"[^a-z\d]+", low)}))


def canonical(unit: str) -> str:
    """One spelling of a unit: copies/µg, Copies/ug gDNA and copies per ug are copies/ug; others as they stand.

    Words before it must be such as say which copies or cells are meant: k copies/ug and mio cells/kg stay so.

    Examples
    --------
    >>> [canonical(unit) for unit in ("Copies/µg gDNA", "cells/mm3", "CAR+ cells/kg", "IU", "mio cells/kg")]
    ['copies/ug', 'cells/uL', 'cells/kg', 'IU', 'mio cells/kg']
    """
    text = unit.strip()
    if not text or is_log(text):
        return text
    named = _of(text, strictly=True)
    return named or text.translate(_MICRO)


def unit_of_heading(name: str) -> str:
    """The unit that a heading says, "" when it says none: "copies per 100 ng", "Dose (cells)", "log10_copies_per_ug".

    Examples
    --------
    >>> unit_of_heading("copies per 100 ng"), unit_of_heading("Dose (cells)"), unit_of_heading("DV")
    ('copies/100 ng', 'cells', '')
    """
    if is_log(name):
        return f"the logarithm of {_of(re.sub('(?i)log(10|2|e)?|ln', '', name)) or 'copies'}"
    said = re.fullmatch(r"(.*?)[(\[](.*)[)\]]\s*", name, re.DOTALL)
    if said:
        inside = said[2].strip()
        if _of(inside, strictly=True):
            return _of(inside, strictly=True)
        return inside if re.search(r"cells?|cop(y|ies)|/|%", inside, re.I) else ""
    return _of(name)


def _of(text: str, strictly: bool = False) -> str:
    """The unit in its one spelling when the text is one of copies or cells, with what follows dropped; else "".

    Words before it may be any in a heading, but for factors; of a unit, `strictly`, they must be known.
    """
    low = _flat(text)
    # "10^6 cells/kg" and "million cells" are not cells.
    if re.search(r"million|thousand|10_?\d|x_?10|1e\d", re.split("cell|cop", low)[0]):
        return ""
    if re.fullmatch(r"(?:(?:viable|total|car|car_t|car_nk|t|nk|infused|dose|dosed|of|number)_)*cells", low):
        return "cells"
    found = _PER.fullmatch(low)
    if not found or found[4] not in _OF or set(found[5].split("_")) - _SILENT - {""}:
        return ""
    # One digit of a heading is the number of a replicate or a site.
    rest = re.sub(r"(?:^|_)\d(?=_|$)", "", found[1])
    if multiplies(found[1] if strictly else rest) or (strictly and not is_kind(found[1])):
        return ""
    what = "cells" if found[2].startswith("cell") else "copies"
    per = _OF[found[4]]
    return f"{what}/{found[3].rstrip('_')} {per}" if found[3] and found[3] != "1" else f"{what}/{per}"


def _flat(text: str) -> str:
    """A unit as `_PER` has it: lower case, strokes between its parts, copies and cells in English."""
    low = re.sub(r"^c\s*/", "copies/", folded(text.translate(_MICRO)))
    low = re.sub(r"[\s./\\*^-]+", "_", low.replace("+", "")).strip("_")
    for words, ours in _ELSEWHERE_COUNTED:
        low = words.sub(ours, low)
    return re.sub(r"_1$", "", low)


_ANY_COUNTED = re.compile(r"(?:^|(?<=_))(?:copies|copy|cells?|transgenes?|cp|gc)(?=_|$)")
_FACTOR_BEHIND = re.compile(rf"_(?:x_?\d[\d_]*|\d*\.?\d*e\d+|10_\d+|1?000+|(?:{FACTOR_WORDS.pattern}))$")


def strange(unit: str, of_doses: bool = False) -> bool:
    """Whether a unit of copies or cells has a factor, or a word of which nobody knows that it is none.

    Of doses all is strange that is not cells, cells/kg or cells/m2 of some kind.

    Examples
    --------
    >>> [strange(unit) for unit in ("k copies/ug", "kcopies/ug", "cells/uL x10^3", "CAR copies/100 ng", "IU/mL")]
    [True, True, True, False, False]
    """
    low = re.sub(r"[()\[\]_]+", "_", _flat(unit)).strip("_")
    counted = _ANY_COUNTED.search(low)
    # In one word, kcopies/ug; and without a word for cells, M/kg.
    joined = re.search(r"(?:^|_)([a-z\d]+?)(?:copies|cells)(?=_|$)", low)
    bare = re.fullmatch(r"(.+?)(?:_(?:per_)?(?:kg|m2))?", low) if of_doses and counted is None else None
    if (joined and multiplies(joined[1])) or (bare and multiplies(bare[1])):
        return True
    if counted is None or "%" in unit or is_log(unit):
        return False
    before, behind = low[: counted.start()].strip("_"), low[counted.end() :].removeprefix("_per")
    if of_doses:
        return not (is_kind(before) and counted[0].startswith("cell") and behind in ("", "_kg", "_m2"))
    per = re.fullmatch(r"_(?:\d\w*_)*([a-z]+\d?)((?:_\w+)*)", behind)
    return (
        multiplies(before)
        or (per is not None and per[1] in _OF and not is_kind(before))
        or (per is not None and bool(per[2]) and _FACTOR_BEHIND.search(per[2]) is not None)
    )


_COPIES_PER_UG = re.compile(r"(?:copies|copy)_(?:per_)?ug(?:_g?dna)?(?=_|$)")
_OF_SDTM = re.compile(r"[a-z]{2}(?:stresn|stresc|orres)")


def may_be_copies(name: str) -> bool:
    """Whether the heading of a value says copies/ug, or no more than that it is a value: any other word may be a unit.

    Examples
    --------
    >>> [may_be_copies(name) for name in ("CAR copies/ug blood", "qPCR result", "PCSTRESN", "CART_uL", "dCt", "x1000")]
    [True, True, True, False, False, False]
    """
    low = _flat(name)
    rest = _COPIES_PER_UG.sub("copies", low)
    if re.search(r"%|(?:^|_)x_?\d|(?:^|_)10_\d", low):
        return False
    return all(word in vocabulary.PLAIN_VALUES or _OF_SDTM.fullmatch(word) for word in words_of(rest)) and bool(
        words_of(rest)
    )


# Cycles of a PCR, copies per cell, shares, what is relative to another, areas, and masses per volume.
_OTHER_KINDS = re.compile(
    r"(?:^|_)(?:d{0,2}c[tqp]|rq|g?mfi|auc\w*|pct\w*|percent\w*|freq|frequency|mrd|rel(?:ative)?_expr\w*|fold\w*|vcn|"
    r"[npuf]?g_(?:per_)?[mud]?l|i?u_(?:per_)?[mud]?l|cycles?)(?:_|$)"
)
_CYTOMETRY = re.compile(r"(?:^|_)(?:flow|facs|[zc][yi]t?t?ometr\w*|durchfluss\w*|citometr\w*)")
_DENOMINATOR = re.compile(r"(?:/|\bper\b|\bpro\b|\bpar\b|\bpor\b)\s*(\d+\s*)?([a-z]+3?)(?![a-z])")


def of_another_kind(name: str) -> bool:
    """Whether a heading is of a value that is never in copies/ug: Ct, VCN, MFI, conc_ng_ml."""
    return _OTHER_KINDS.search(re.sub(r"[^a-z0-9%]+", "_", plain(name))) is not None


def unit_of_limit(name: str, unit: str) -> str:
    """What the heading of a limit says of its unit, "" where it says none, or that of the values.

    Examples
    --------
    >>> [unit_of_limit(name, "copies/ug") for name in ("LLOQ_per_mL", "lod (log10)", "LLOQ 100ng", "LLOQ copies/ug")]
    ['mL', 'logarithms', '100 ng', '']
    """
    if is_log(name):
        return "" if is_log(unit) else "logarithms"
    said = unit_of_heading(name)
    if said:
        return "" if canonical(said) == unit else said
    if of_another_kind(name) or "%" in name:
        return name
    low = _flat(name)
    parts = set(re.split(r"[/ ]", unit))
    for number, word in re.findall(r"(?:(?<=_)|(?<=^))(?:per_?)?(\d*)_?([a-z]+\d?)(?=_|$)", low):
        per = _OF.get(word, "")
        if per and (per not in parts or (number and number not in parts)):
            return f"{number} {per}".strip()
    return ""


def other_unit_said(name: str, unit: str) -> str:
    """What the name of a measurement says of its unit, "" where it says none, or that of its values.

    Examples
    --------
    >>> [other_unit_said(name, "copies/ug") for name in ("T cells/uL", "CAR copies/ug", "log10 CAR", "flow", "blood")]
    ['cells/uL', '', 'logarithms', 'flow', '']
    """
    low = folded(plain(name)).replace("_", " ")
    if is_log(name):
        return "" if is_log(unit) else "logarithms"
    # An output of a model that is named by its own unit, such as cells_per_ul of qpcr_and_flow.
    if folded(unit) in folded(name) or re.fullmatch(r"[a-z0-9]+_per_[a-z0-9]+", name):
        return ""
    said = unit_of_heading(name)
    if "/" in said and (canonical(said) == unit or _of(said)):
        return "" if canonical(said) == unit else said
    found = _DENOMINATOR.search(folded(name.translate(_MICRO)))
    per = _OF.get(found[2]) if found else None
    if found and per and not unit.endswith(f"/{found[1] or ''}{per}"):
        return found[0].strip()
    counted = unit.startswith("copies")
    if (counted and (of_another_kind(name) or _CYTOMETRY.search(re.sub(r"[^a-z0-9]+", "_", low)))) or "%" in name:
        return name
    return ""


_TIMES_TEN = r"x?_?(?:10_?e?_?\d+|1?e_?\d+|mil(?:l?i?ons?|lionen)?|mio|thousands?|billions?|k|\d+)_?x?_?"
_OF_AMOUNT = re.compile(
    rf"({_TIMES_TEN})?(?:(?:viable|total|infused|absolute|car|t|nk|car_t|car_nk)_)*cells(_(?:per_)?(?:kg|m2))?"
)
# A factor without the word for cells: 10^6/kg, million/kg; and, where it is a unit of doses that is said, x10^6.
_FACTOR_PER = re.compile(rf"{_TIMES_TEN}_?(?:per_)?(?:kg|m2)")
_ANY_FACTOR = re.compile(_TIMES_TEN)


def unit_of_amount(cell: str, bare: bool = False) -> tuple[str, bool]:
    """The unit of infused cells that a cell says, "" when it says none, and whether it is one without a factor.

    With `bare` it is known to be one of infused cells, and a factor alone is one too.

    Examples
    --------
    >>> unit_of_amount("Zellen"), unit_of_amount("10^6 cells"), unit_of_amount("mg"), unit_of_amount("x10^6", bare=True)
    (('cells', True), ('10^6 cells', False), ('', False), ('x10^6', False))
    """
    low = _flat(cell)
    if _FACTOR_PER.fullmatch(low) or (bare and _ANY_FACTOR.fullmatch(low)):
        return cell, False
    found = _OF_AMOUNT.fullmatch(low)
    if not found:
        before = re.fullmatch(r"(.*?)_?cells(?:_(?:per_)?(kg|m2))?", low)
        # What is infused per kg is a unit, whatever word stands before it.
        return (
            (cell, False)
            if before and (multiplies(before[1]) or (before[2] and not is_kind(before[1])))
            else ("", False)
        )
    return (cell, False) if found[1] else (canonical(cell), True)


def unit_per(cell: str, unit: str) -> str:
    """The unit of values that are divided by what a cell says, "" where it is that of the study or no such thing.

    Examples
    --------
    >>> [unit_per(cell, "copies/ug") for cell in ("mL blood", "100 ng DNA", "per 10^6 cells", "ug DNA", "lab A")]
    ['copies/mL', 'copies/100 ng', 'copies/10^6 cells', '', '']
    """
    rest = re.sub(r"^(?:(?:per|pro|par|por|1)\s+|/\s*)", "", folded(cell.translate(_MICRO)).strip())
    counted = unit.split("/")[0]
    said = canonical(f"{counted}/{rest}")
    if said == unit or not rest or "/" in rest:
        return ""
    return said if _of(said) or _SURELY_A_UNIT.fullmatch(f"/{rest}") else ""


_UNIT_IN_CELLS = re.compile(
    r"[/%]|\b(?:per|pro|par|por|je)\b|\d\s*[npuf]g\b|copies|cells|\bvcn\b|\bc[tq]\b|\b[npumf]g\b"
)
# What is surely a unit, under any heading about units: GE/mL, IU per uL, ng/dL.
_SURELY_A_UNIT = re.compile(
    r"(?:[a-z][a-z0-9^. +_-]{0,20}?)?(?:/|\bper\b|\bpro\b|\bpar\b|\bpor\b)[ _]?(?:\d[\d^e.]*[ _]?)?"
    r"(?:[mud]?l|[nump]?g|mm3|cells?|well|reaction|rxn|genomes?|pbmcs?|dna)(?:[ _]\w+)?"
)
# Copies of whatever per whatever are a unit under any heading.
_COPIES_PER = re.compile(
    r"(?:[a-z][a-z0-9+-]* ){0,3}(?:cop(?:y|ies)|kopien|copias?|copie)\s?(?:/|per |pro |par |por )\s?[\w^. ]{1,25}"
)
_ABOUT_UNITS = re.compile(r"\w*(?:units?|einheit(?:en)?|unites?|unidad|unita|uom)")


def other_units(name: str, cells: list[str], unit: str) -> list[str]:
    """Those of the cells, under a heading that is about the unit of the values, that say another unit than this one."""
    words = set(words_of(name))
    copies = [cell for cell in cells if _COPIES_PER.fullmatch(folded(cell.translate(_MICRO)))]
    if cells and len(copies) == len(cells):
        return [cell for cell in copies if canonical(cell) != unit]
    per = words == {"per"}
    ours = words & vocabulary.OF_UNITS and not words - vocabulary.OF_UNITS - vocabulary.OF_VALUES
    if not per and not ours:
        # Of a heading that names something else too, site_unit, only what is surely a unit is taken as one.
        about = any(map(_ABOUT_UNITS.fullmatch, words)) and not any(word[:3] in ("dos", "amt") for word in words)
        return [
            cell
            for cell in cells
            if about and _SURELY_A_UNIT.fullmatch(folded(cell.translate(_MICRO))) and canonical(cell) != unit
        ]
    said = [
        cell for cell in cells if _UNIT_IN_CELLS.search(_flat(cell).replace("_", " ") + ("/" if "/" in cell else ""))
    ]
    if per:
        return [cell for cell in said if canonical(f"{unit.split('/')[0]}/{cell}") != unit]
    return [cell for cell in said if canonical(cell) != unit]


# Time

UNITS_OF_TIME = {"d": "day", "day": "day", "days": "day", "h": "hour", "hr": "hour", "hrs": "hour", "hour": "hour"}
UNITS_OF_TIME |= {"hours": "hour", "wk": "week", "wks": "week", "week": "week", "weeks": "week", "w": "week"}
UNITS_OF_TIME |= {"month": "month", "months": "month", "mo": "month", "mon": "month"}
UNITS_OF_TIME |= {
    "min": "minute",
    "mins": "minute",
    "minute": "minute",
    "minutes": "minute",
    "year": "year",
    "years": "year",
}
# German, French, Spanish and Italian, without accents.
_ELSEWHERE = {
    "day": "tag tage tagen jour jours dia dias giorno giorni",
    "hour": "stunde stunden std heure heures hora horas ora ore hs",
    "week": "woche wochen semaine semaines semana semanas settimana settimane wo sem",
    "month": "monat monate mois mes meses mese mesi",
    "minute": "minuten minuto minutos minuti",
    "year": "jahr jahre an ans annee annees ano anos anno anni yr yrs",
}
UNITS_OF_TIME |= {word: unit for unit, words in _ELSEWHERE.items() for word in words.split()}
DAYS_IN = {"minute": 1 / 1440, "hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}


def time_unit_of(cell: str) -> str:
    """The unit of time that a cell says, "hour" of HR; "" when it says none."""
    return UNITS_OF_TIME.get(folded(cell.strip().rstrip(".")), "")


# Hours, weeks and months post infusion, in one word.
_POST = {"hpi": "hour", "wpi": "week", "mpi": "month", "ypi": "year"}


def unit_in_heading(name: str) -> str:
    """The one unit of time other than the day among the words of a heading that is known to be of times; else "".

    Examples
    --------
    >>> unit_in_heading("TAFD (hr)"), unit_in_heading("study week"), unit_in_heading("h"), unit_in_heading("T (d)")
    ('hour', 'week', 'hour', '')
    """
    units = {time_unit_of(word) or _POST.get(word, "") for word in words_of(name)} - {""}
    return units.pop() if len(units) == 1 and units != {"day"} else ""


def duration_of(cell: str) -> float | None:
    """Days in a cell such as "30 min", "2 h", or "PT48H" as ISO 8601 writes it; None when it says no duration."""
    text = folded(cell.strip())
    found = re.fullmatch(r"(\d+\.?\d*)\s*([a-z]+)", text) or re.fullmatch(r"pt?(\d+\.?\d*)([a-z])", text)
    # The minutes of ISO 8601, whose months have no T before them; a day as French writes it beside a number.
    short = {"j": "day", "m": "minute" if text.startswith("pt") else ""}
    unit = (time_unit_of(found[2]) or short.get(found[2], "")) if found else ""
    return float(found[1]) * DAYS_IN[unit] if found and unit else None


# Words that a heading writes as one: BLQFLAG, BQLFL, LLOQFL, LTLOQ, isblq.
_JOINED = re.compile(
    r"(is|has|lt|below|under|sub)?(blq|bloq|bql|blloq|lloq|llq|loq|lod|llod|bdl|bld|uloq|alq)(flag|flg|fl|f|ind|yn)?"
)


def words_of(name: str) -> list[str]:
    """The words of a heading, lower case: ``DoseUnit_2`` has dose and unit, ``BQLFL`` has bql and fl."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    words: list[str] = []
    for word in re.split(r"[^a-z]+", folded(plain(parted))):
        joined = _JOINED.fullmatch(word)
        words += [part for part in (joined.groups() if joined else (word,)) if part]
    return words


# {unit: (its size, in what)}, besides those of time.
_SIZES = {
    "": (1.0, ""), "%": (0.01, ""), "pg": (1e-6, "ug"), "ng": (1e-3, "ug"), "ug": (1.0, "ug"), "mg": (1e3, "ug"),
    "g": (1e6, "ug"), "kg": (1e9, "ug"), "ul": (1.0, "ul"), "ml": (1e3, "ul"), "l": (1e6, "ul"),
    "copy": (1.0, "copy"), "copies": (1.0, "copy"), "cell": (1.0, "cell"), "cells": (1.0, "cell"),
}  # fmt: skip


def factor_between(unit: str, other: str) -> float | None:
    """What a number in one unit is multiplied with in another one; None where they are not of one kind, or not known.

    Units are words of time, mass, volume, copies and cells, with numbers before them, over each other: 1/week,
    copies/100 ng, copies/ug per 1e6 cells/kg. Others are the same where they are written alike.

    Examples
    --------
    >>> round(factor_between("1/week", "1/day"), 4), factor_between("copies/mL", "copies/\u00b5L")
    (0.1429, 0.001)
    >>> factor_between("1/week", "copies/ug") is None
    True
    """
    if unit.strip() == other.strip():
        return 1.0
    one, two = _size_of(unit), _size_of(other)
    return one[0] / two[0] if one and two and one[1] == two[1] else None


def _size_of(unit: str) -> tuple[float, dict[str, int]] | None:
    """How large a unit is, and the power of each of what it is made of; None where a word is not known."""
    size, powers = 1.0, dict[str, int]()
    for at, part in enumerate(re.split(r"\s+per\s+|^per\s+", canonical(unit))):
        for place, text in enumerate(part.split("/")):
            sign = 1 if (at == 0) == (place == 0) else -1
            found = re.fullmatch(
                r"(\d+\.?\d*(?:e[+-]?\d+)?)?\s*([a-z%]*?)(\^?-1)?", text.strip().translate(_MICRO).lower()
            )
            if not found:
                return None
            word = time_unit_of(found[2])
            each = (DAYS_IN[word], "day") if word else _SIZES.get(found[2])
            if each is None:
                return None
            sign = -sign if found[3] else sign
            size *= (float(found[1] or 1) * each[0]) ** sign
            if each[1]:
                powers[each[1]] = powers.get(each[1], 0) + sign
    return size, {name: power for name, power in powers.items() if power}
