"""Tables of CDISC, SDTM and ADaM: recognised by their columns, and what to map of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_STANDARD = {"usubjid", "paramcd", "domain", "studyid"}


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
