"""Days by name, as visits and the headings of a wide table write them: Day 7, D28, Week 2, M3, Day 14 (±2)."""

from __future__ import annotations

import re

from cellkinetics.meaning.units import UNITS_OF_TIME
from cellkinetics.meaning.vocabulary import folded

# As cells say it, and letters that only stand in the name of a visit: M3 is a month, and no minute.
VISIT_UNITS = {word: unit for word, unit in UNITS_OF_TIME.items() if unit != "minute"}
VISIT_UNITS |= {"j": "day", "mos": "month", "m": "month", "y": "year", "yr": "year", "yrs": "year"}
_ANY_UNIT = "|".join(sorted(VISIT_UNITS, key=len, reverse=True))
_DAY_NUMBER = r"[+-]?\d+(?:[.,]\d+)?"
# What may follow and changes nothing: the window in which the visit may be, and that it is after the infusion.
_WINDOW = r"(?:[\s_]*[(\[]?[\s_]*(?:±|\+/?-|\+-)[\s_]*\d+[\s_]*[a-z]*[\s_]*[)\]]?)?"
_AFTER = r"(?:[\s_]*(?:post|after)(?:[\s_-]*(?:infusion|dose))?)?"
_BEFORE = re.compile(rf"({_ANY_UNIT})[\s_.:-]{{0,2}}?({_DAY_NUMBER}){_AFTER}{_WINDOW}", re.IGNORECASE)
_BEHIND = re.compile(rf"(?:t[\s_.]?)?({_DAY_NUMBER})[\s_.-]?({_ANY_UNIT}){_AFTER}{_WINDOW}", re.IGNORECASE)
_BARE = re.compile(rf"({_DAY_NUMBER}){_WINDOW}", re.IGNORECASE)
_NEARLY = re.compile(
    rf"(^|[^a-z])({_ANY_UNIT}|visit|v|fu|c\d+d)[\s_.+-]*\d"
    r"|^(eot|eos|eoi|bl|pre|post|fu|base|baseline|last|final|scr)$"
    r"|\b(end[\s_]of|baseline|screening|relapse|progression|follow[\s_-]?up|pre[\s_-]?(dose|infusion)|visit)\b",
    re.IGNORECASE,
)
# Visits in other languages, without accents, and what else a last or a late one is called.
_FOREIGN_VISITS = re.compile(
    r"\b(lt?fu|ltfup|f[\s_-]?up|long[\s-]?term|discharge|late|last|end|exit|withdrawal|unscheduled|"
    r"nachsorge|nachuntersuchung|nachbeobachtung|kontrolle|entlassung|abschluss|verlauf|letzter?|ausgangswert|besuch|"
    r"termin|vor infusion|studienende|suivi|sortie|controle|derniere?|fin|inclusion|bilan|visite|avant|"
    r"seguimiento|alta|ultim[ao]|basale?|visita|consulta|dimissione|controllo|fine|opvolging|ontslag|"
    r"laatste|bezoek|uppfoljning|oppfolging|utskrivning|wizyta|wypis|acompanhamento|seguimento)\b"
)
# Times in other words: half year, at death, timepoint 6, the month of a year, days since a reinfusion.
_OTHER_TIMES = re.compile(
    r"\b(?:half[ -]?year|halbjahr|semestre|(?:at|before) death|autopsy|necropsy|post[ -]?mortem|obduktion|autopsie|"
    r"(?:most )?recent|latest|time ?points?|tp ?\d+|zeitpunkt|annual|anniversary)\b|^[a-z]{1,3} ?\+ ?\d+$|"
    r"^(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mai|okt|dez)[a-z]* ?'?\d{2,4}$"
)


def day_of(name: str) -> tuple[float, str] | None:
    """The number and the unit of time that a name says, "" for a bare number; None when it says no time.

    Examples
    --------
    >>> day_of("Day 14 (±2)"), day_of("M3"), day_of("T6h"), day_of("-1"), day_of("T7")
    ((14.0, 'day'), (3.0, 'month'), (6.0, 'hour'), (-1.0, ''), None)
    """
    name = name.strip()
    if said := _BEFORE.fullmatch(name):
        return _number(said[2]), VISIT_UNITS[said[1].lower()]
    if said := _BEHIND.fullmatch(name):
        return _number(said[1]), VISIT_UNITS[said[2].lower()]
    said = _BARE.fullmatch(name)
    return (_number(said[1]), "") if said else None


def nearly(name: str) -> bool:
    """Whether a name that says no day looks like a visit: EOT, baseline, C1D8, Day 14 or 15, Nachsorge, sortie."""
    if day_of(name) is not None:
        return False
    low = re.sub(r"[\s_./-]+", " ", folded(name)).strip()
    return _NEARLY.search(name.strip()) is not None or any(said.search(low) for said in (_FOREIGN_VISITS, _OTHER_TIMES))


def _number(text: str) -> float:
    return float(text.replace(",", "."))
