"""What to say of a column that may be the value: nothing that, followed, would give a wrong study."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LOG = re.compile(r"^(log|ln|lg)|(^|_)(log(_?(2|10|e))?|ln|lg)(_|$)", re.IGNORECASE)
# What else a heading may say that is no copies/ug: per cell, per volume, per a mass that is not one microgram.
_OTHER = re.compile(
    r"(?:per|/|_)[\s_]*(\d+[\s_]*(?:ng|ug|pg|cells?)|cells?|ml|ul|l|ng|pg|genome|well)\b", re.IGNORECASE
)
# Names of tests, of units, of codes and flags beside a value.
_BESIDE = re.compile(r"(test|testcd|cat|spec|stat|method|nam|seq|u|unit|units|fl|flag|c|n)$", re.IGNORECASE)
_STANDARD = {"usubjid", "paramcd", "domain", "studyid"}


def no_value(name: str) -> bool:
    """Whether a column stands beside a value and is none: CPTEST, AVALU, PCSTRESU, units, flags."""
    return _BESIDE.search(name) is not None and re.fullmatch(r"[A-Za-z_]*", name) is not None and "_" not in name


def instead(name: str) -> str | None:
    """The remedy for a column that is the value in another scale or unit; None when nothing in its name says so.

    Examples
    --------
    >>> instead("log10_copies_per_ug")
    'log10_copies_per_ug looks like a logarithm: give the values, 10**x or exp(x), in a column copies_per_ug.'
    """
    if _LOG.search(name) or name.casefold().startswith("log"):
        return f"{name} looks like a logarithm: give the values, 10**x or exp(x), in a column copies_per_ug."
    if said := _OTHER.search(name):
        unit = f"copies/{said[1].replace('_', ' ').strip()}"
        return (
            f"{name} looks like {unit}: say so, read_study(..., unit={unit!r}, columns={{'value': {name!r}}}), or give "
            "the values in copies/ug."
        )
    return None


def of_cdisc(names: Sequence[str]) -> str | None:
    """What to map of an SDTM or ADaM table; None when it is none by its columns."""
    upper = {name.upper(): name for name in names}
    if len(upper.keys() & {name.upper() for name in _STANDARD}) < 1:
        return None
    domain = next((name[:2] for name in upper if re.fullmatch(r"[A-Z]{2}(STRESN|STRESC|ORRES)", name)), None)
    if domain is not None:
        kind, parts = f"an SDTM {domain} table", {"subject": "USUBJID"}
        # The text of a result says BLQ where its number is empty.
        parts |= {"value": next(domain + end for end in ("STRESC", "STRESN", "ORRES") if domain + end in upper)}
        parts |= {"lloq": f"{domain}LLOQ", "unit": f"{domain}STRESU", "day": f"{domain}DY", "output": f"{domain}TESTCD"}
    elif "AVAL" in upper:
        kind, parts = "an ADaM table", {"subject": "USUBJID", "value": "AVALC" if "AVALC" in upper else "AVAL"}
        parts |= {"unit": "AVALU", "day": "ADY", "output": "PARAMCD"}
    else:
        return None
    said = ", ".join(f"{ours!r}: {upper[theirs]!r}" for ours, theirs in parts.items() if theirs in upper)
    return f"It looks like {kind}: read_study(..., columns={{{said}}})."
