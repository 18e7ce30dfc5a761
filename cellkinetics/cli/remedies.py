"""Remedies of the library as they are given on the command line."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import replace

from cellkinetics.errors import LINES, StudyError, alike

_CALL = re.compile(r"read_study\(\.\.\., ((?:[^()'\"]|'[^']*'|\"[^\"]*\")*)\)")
_ARGUMENT = re.compile(r"(?<![\w-])([a-z_]+=(?:\{[^{}]*\}|\[[^\[\]]*\]|'[^']*'|\"[^\"]*\"))")
# Options by their names alone, and with a number: "give floor=5, with lloq= where the limit is another number".
_OPTIONS = (
    "lloq|lod|uloq|unit|dose_unit|time_unit|columns|dna_ug|lloq_copies_per_well|replicates|ignore|floor|missing|sheet"
)
_NUMBER_OR_NONE = re.compile(rf"(?<![\w-])({_OPTIONS})=(?:([+-]?\d[\d.]*(?:e[+-]?\d+)?(?<!\.))|(?=[\s,.;)]|$))")


def as_options(remedy: str) -> str:
    """A remedy as it is given here: ``read_study(..., lloq=3, ignore=['x y'])`` is ``--lloq 3 --ignore 'x y'``."""

    def options(said: re.Match[str]) -> str:
        try:
            call = ast.parse(f"f({said[1]})", mode="eval").body
            keywords = call.keywords if isinstance(call, ast.Call) else []
            given = {each.arg: ast.literal_eval(each.value) for each in keywords}
        except (SyntaxError, ValueError):
            return said[0]
        return " ".join(f"--{str(name).replace('_', '-')} {_shown(value)}" for name, value in given.items()) or said[0]

    def option(said: re.Match[str]) -> str:
        return f"--{said[1].replace('_', '-')}" + (f" {said[2]}" if said[2] else "")

    return _NUMBER_OR_NONE.sub(option, _ARGUMENT.sub(options, _CALL.sub(options, remedy)))


def message(error: StudyError) -> str:
    """What is wrong with a table, a line a lot of problems that are alike, with the remedy as it is given here."""
    lines, lots = [], alike(error.problems)
    for text, lot in lots[:LINES]:
        problem = replace(lot[0], found=text, remedy=as_options(lot[0].remedy))
        if len(lot) == 1:
            lines.append(problem.line(error.source))
            continue
        rows = some([str(each.row) for each in lot if each.row is not None])
        place = ", ".join(part for part in (error.source, f"rows {rows}" if rows else "") if part)
        lines.append(replace(problem, row=None, subject=None, day=None).line(place))
    if len(lots) > LINES:
        lines.append(f"and {len(lots) - LINES} more")
    return "\n".join(lines)


def some(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    names = list(dict.fromkeys(names))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shown(value: object) -> str:
    """An argument of Python as one of the command line; dots stay dots."""
    if value is ...:
        return "..."
    if isinstance(value, dict):
        return " ".join(f"{name}=..." if one is ... else shlex.quote(f"{name}={one}") for name, one in value.items())
    return " ".join(map(_shown, value)) if isinstance(value, list) else shlex.quote(str(value))
