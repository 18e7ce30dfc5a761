"""Lines above the header of a table: those that say something of its values which nothing has read."""

from __future__ import annotations

import re
from collections.abc import Collection

from cellkinetics.meaning.units import canonical
from cellkinetics.meaning.vocabulary import folded

# What is written by the library itself, also into the files that it writes.
_BY_US = re.compile(
    r"Ignored: |Converted from |One column a time|Doses in cells were divided|"
    r".*: (?:converted from|visits by name|study days without)|"
    r".*, by hand or by a filter"
)
_SAYS_LOG = re.compile(r"\blog(?:10|2|e)?\b|\bln\b|logarit|\blog[- ]?transf")
# Of a spread, or of how wells are averaged, a logarithm says nothing of the values.
_OF_SPREADS = re.compile(r"\b(?:sd|se|cv|residuals?|errors?|variab\w*|between|averaged?|means?|models?)\b")
_SAYS_UNIT = re.compile(
    r"\b((?:vector |transgene )?(?:copies|copy|kopien|copias|cells|zellen) ?(?:/|per |pro |por ) ?"
    r"(?:\d+ ?)?(?:[mu]l|[nupm]?g|cell|well|mm3|[0-9^]+|genome)\b)"
)
_TIME = re.compile(
    r"\b(?:time|times|tad|tafd|zeit|zeiten|temps|tiempo|tempo|days?|sampling)\b.*"
    r"\b(?:hours?|hrs?|h|stunden|heures|horas|ore|weeks?|wochen|minutes?|months?)\b"
)
_LIMIT = re.compile(r"\b(?:ll?oq|lod|llod|uloq|blq|bloq|bql)\b|\b(?:limit|cut-?off|threshold)\b|\w*grenze\b|\blimite\b")
_PUT = re.compile(
    r"\b(?:set|replaced|imputed|substituted|reported|given|coded|entered|ersetzt|gesetzt)\b.{0,25}?"
    r"\b(?:to|as|by|with|at|auf|durch)\b (?:the )?(?:half|1/|\d|ll?oq|lod|limit)|/ ?2\b|\bhalf\b"
)
_BARE_NUMBER = re.compile(r"(?<![\w.^])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")


def doubts(note: str, unit: str, dose_unit: str, limits: Collection[float]) -> list[str]:
    """A text for each line of a note that speaks of logarithms, another unit, hours, or a limit that is not in force.

    Parameters
    ----------
    note : str
        The lines above the header, and what was done to the table.
    unit, dose_unit : str
        Of the values and of the infused cells.
    limits : collection of float
        Those in force for a row.
    """
    lines = note.splitlines()
    converted = any(": converted from" in line for line in lines)
    texts = []
    for line in lines:
        low = folded(line)
        if _BY_US.match(line) or not line.strip():
            continue
        others = {canonical(said) for said in _SAYS_UNIT.findall(low)} - {unit, dose_unit}
        numbers = {float(said) for said in _BARE_NUMBER.findall(low)}
        of_limit = _LIMIT.search(low) and (_PUT.search(low) or (numbers and not numbers & set(limits)))
        logs = _SAYS_LOG.search(low) and not _OF_SPREADS.search(low)
        what = "logarithms" if logs else "another unit" if others else ""
        what = what or (
            "a limit" if of_limit else "times in another unit" if _TIME.search(low) and not converted else ""
        )
        if what:
            texts.append(f"a line above the header speaks of {what} and is not read: {line.strip()[:100]!r}")
    return texts
