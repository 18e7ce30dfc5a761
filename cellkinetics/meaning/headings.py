"""What the heading of a column says: its meaning, another unit, a mass of DNA, copies per well."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cellkinetics.meaning.synonyms import MEANING, plain

# What a heading may say in brackets, and still mean the same: "LLOQ (copies/ug)". "TIME (h)" is no day.
_COPIES = {"copies_ug", "copies_ug_dna", "copies_ug_gdna", "copies_per_ug", "copies_per_ug_dna", "copies_per_ug_gdna"}
_BRACKETS: dict[str, frozenset[str]] = {}
_BRACKETS |= dict.fromkeys(("value", "lloq", "lod", "uloq", "limit"), frozenset(_COPIES))
_BRACKETS |= dict.fromkeys(("day", "nominal_day", "until"), frozenset({"d", "day", "days"}))
_BRACKETS |= dict.fromkeys(("dose", "amount"), frozenset({"cells_kg", "cells_per_kg"}))
_NUMERIC = {"day", "nominal_day", "value", "limit", "lloq", "lod", "uloq", "amount", "dose", "until"}
_MICROGRAMS = {"ug": 1.0, "ng": 1e-3, "pg": 1e-6}
_OF_DNA = {"dna", "gdna", "genomic", "mass", "input", "amount", "per", "in", "well", "reaction", "rxn"}
_OF_WELLS = {"copies", "copy", "number", "transgene", "car", "vector", "value", "dv", "per", "well", "reaction", "rxn"}


def meaning_of(name: str) -> str | None:
    """The meaning of a heading, None when it has none; a unit in brackets must be the one that is meant."""
    said = re.fullmatch(r"(.*?)[(\[](.*)[)\]]\s*", name, re.DOTALL)
    meaning = MEANING.get(plain(said[1])) if said else None
    if said and meaning and plain(said[2]) in _BRACKETS.get(meaning, ()):
        return meaning
    return MEANING.get(plain(name))


def other_unit(name: str) -> tuple[str | None, str]:
    """The meaning of a heading but for its unit in brackets, and the unit, when it is not the one that is meant."""
    said = re.fullmatch(r"(.*?)[(\[](.*)[)\]]\s*", name, re.DOTALL)
    meaning = MEANING.get(plain(said[1])) if said else None
    if said is None or meaning not in _BRACKETS or meaning_of(name) or mass_of(name) or per_well(name):
        return None, ""
    return meaning, said[2].strip()


def mass_of(name: str) -> float | None:
    """Micrograms in the unit of a heading that says mass of DNA, such as ``dna_ng``; None when it does not."""
    words = _words(name)
    units = words & _MICROGRAMS.keys()
    if len(units) == 1 and words & {"dna", "gdna"} and words - units <= _OF_DNA:
        return _MICROGRAMS[units.pop()]
    return None


def per_well(name: str) -> str | None:
    """What a heading says in copies per well: "value", "lloq", "lod" or "uloq"; None when it does not."""
    words = _words(name)
    limits = words & {"lloq", "lod", "uloq"}
    if words & {"copies", "copy"} and words & {"well", "reaction", "rxn"} and words - limits <= _OF_WELLS:
        return limits.pop() if len(limits) == 1 else None if limits else "value"
    return None


def is_numeric(name: str, columns: Mapping[str, str] | None = None) -> bool:
    """Whether a column has a meaning that is a number: such columns tell whether a file has decimal commas."""
    given = {theirs for ours, theirs in (columns or {}).items() if MEANING.get(plain(ours), ours) in _NUMERIC}
    return name in given or meaning_of(name) in _NUMERIC or bool(mass_of(name) or per_well(name))


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", plain(name)))
