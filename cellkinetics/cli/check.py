"""`cellkinetics check`: what is in a table, or everything that is wrong with it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cellkinetics.cli.app import DONE, NONE_FITTED, app
from cellkinetics.cli.asked import Flag, Reading
from cellkinetics.cli.remedies import as_options, some
from cellkinetics.data import overview
from cellkinetics.data.cleaning import clean
from cellkinetics.errors import StudyError, alike
from cellkinetics.words import count, number_text


@app.command
def check(
    table: Path,
    /,
    *,
    reading: Reading | None = None,
    fix: Flag = False,
) -> int:
    """Read a table and say what is in it, or everything that is wrong with it.

    Parameters
    ----------
    table
        A CSV of samples.
    reading
        How the table is read.
    fix
        Write a cleaned copy beside the table (.cleaned.csv, with .cleaned.log) and check that: repeated samples are
        removed, days sorted, blanks and decimal commas corrected, columns renamed. What needs a decision is left.
    """
    console = Console()
    if fix:
        table, log, changes = clean(table, None if reading is None else reading.sheet)
        console.print(f"Written {escape(str(table))}: {count(len(changes), 'change')}, listed in {escape(log.name)}.")
    told: list[warnings.WarningMessage] = []
    try:
        # The cleaned copy is no workbook any more.
        how = reading or Reading()
        with warnings.catch_warnings(record=True) as told:
            # What is warned of is printed below, beside the facts.
            warnings.simplefilter("always", UserWarning)
            study = (replace(how, sheet=None) if fix else how).study(table)
    except StudyError as error:
        found = Table(
            "rows",
            "patients",
            "found",
            "remedy",
            title=f"{count(len(error.problems), 'problem')} in {escape(table.name)}",
            box=SIMPLE,
        )
        for text, lot in alike(error.problems):
            rows = some([str(problem.row) for problem in lot if problem.row is not None])
            days = [f"{number_text(problem.day)}" for problem in lot if problem.day is not None]
            where = f" (day {days[0]})" if len(lot) == 1 and days else ""
            who = some([problem.subject for problem in lot if problem.subject is not None])
            found.add_row(*(escape(cell) for cell in (rows, who + where, text, as_options(lot[0].remedy))))
        console.print(found)
        _print_facts(console, [("look at", text) for text in _warned(told, error.source)])
        return NONE_FITTED
    console.print(escape(repr(study)))
    facts = overview.facts(study)
    lines = [(name, facts[name]) for name in ("doses", "not read", "likely", "look at") if name in facts]
    said = "; ".join(text for _, text in lines)
    lines += [("look at", text) for text in _warned(told, study.source) if text.rstrip(".") not in said]
    _print_facts(console, lines)
    return DONE


def _warned(told: list[warnings.WarningMessage], source: str) -> list[str]:
    """What a table was read with, a text a warning, without the name of its file."""
    texts = [str(each.message.args[0]) for each in told if isinstance(each.message, UserWarning)]
    return list(dict.fromkeys(text.removeprefix(f"{source}: ") for text in texts))


def _print_facts(console: Console, lines: list[tuple[str, str]]) -> None:
    for name, text in lines:
        console.print(escape(f"  {name:<18}{as_options(text)}"), soft_wrap=True)
