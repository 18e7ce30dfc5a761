"""Days by name, as visits and the headings of a wide table write them: Day 7, D28, Week 2, M3, Day 14 (±2)."""

from __future__ import annotations

import re

# Days in a unit of time; a month is a twelfth of 365.25 days.
DAYS_IN = {"day": 1.0, "hour": 1 / 24, "week": 7.0, "month": 365.25 / 12, "year": 365.25}
WORDS = {"d": "day", "day": "day", "days": "day", "h": "hour", "hr": "hour", "hrs": "hour", "hour": "hour"}
WORDS |= {"hours": "hour", "wk": "week", "wks": "week", "week": "week", "weeks": "week", "w": "week"}
WORDS |= {"month": "month", "months": "month", "mo": "month", "mos": "month", "m": "month"}
WORDS |= {"y": "year", "yr": "year", "yrs": "year", "year": "year", "years": "year"}
_UNIT = "|".join(sorted(WORDS, key=len, reverse=True))
_NUMBER = r"[+-]?\d+(?:[.,]\d+)?"
# What may follow and changes nothing: the window in which the visit may be, and that it is after the infusion.
_WINDOW = r"(?:[\s_]*[(\[]?[\s_]*(?:±|\+/?-|\+-)[\s_]*\d+[\s_]*[a-z]*[\s_]*[)\]]?)?"
_AFTER = r"(?:[\s_]*(?:post|after)(?:[\s_-]*(?:infusion|dose))?)?"
_BEFORE = re.compile(rf"({_UNIT})[\s_.:-]{{0,2}}?({_NUMBER}){_AFTER}{_WINDOW}", re.IGNORECASE)
_BEHIND = re.compile(rf"({_NUMBER})[\s_.-]?({_UNIT}){_AFTER}{_WINDOW}", re.IGNORECASE)
_BARE = re.compile(rf"({_NUMBER}){_WINDOW}", re.IGNORECASE)
_NEARLY = re.compile(
    rf"(^|[^a-z])({_UNIT}|visit|v|fu|c\d+d)[\s_.+-]*\d"
    r"|^(eot|eos|eoi|bl|pre|post|fu|base|baseline|last|final|scr)$"
    r"|\b(end[\s_]of|baseline|screening|relapse|progression|follow[\s_-]?up|pre[\s_-]?(dose|infusion)|visit)\b",
    re.IGNORECASE,
)


def day_of(name: str) -> tuple[float, str] | None:
    """The number and the unit of time that a name says, "" for a bare number; None when it says no time.

    Examples
    --------
    >>> day_of("Day 14 (±2)"), day_of("M3"), day_of("-1"), day_of("EOT")
    ((14.0, 'day'), (3.0, 'month'), (-1.0, ''), None)
    """
    name = name.strip()
    if said := _BEFORE.fullmatch(name):
        return _number(said[2]), WORDS[said[1].lower()]
    if said := _BEHIND.fullmatch(name):
        return _number(said[1]), WORDS[said[2].lower()]
    said = _BARE.fullmatch(name)
    return (_number(said[1]), "") if said else None


def nearly(name: str) -> bool:
    """Whether a name that says no day looks like a visit: EOT, baseline, C1D8, Day 14 or 15."""
    return day_of(name) is None and _NEARLY.search(name.strip()) is not None


def _number(text: str) -> float:
    return float(text.replace(",", "."))
