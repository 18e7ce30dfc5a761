"""What commands print: tables, and where the results are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cellkinetics.data.study import Study
from cellkinetics.fitting.fits import Fits
from cellkinetics.lazily import pandas as pd
from cellkinetics.optimising.status import Status
from cellkinetics.reporting.report import number
from cellkinetics.words import count

CONSOLE_ROWS = 60  # of a table on the console; the file has all of them


def outcome_table(fits: Fits) -> Table:
    """Who was fitted, on what, and how it ended."""
    cohorts = fits.study.covariates["cohort"].fillna("").astype("str")
    model = next(iter(fits.values())).model.name
    table = Table(
        "patient",
        "cohort",
        "quantified",
        "below",
        "sd",
        "outcome",
        title=f"{model}: {count(len(fits), 'patient')}",
        box=SIMPLE,
    )
    for column in table.columns[2:5]:
        column.justify = "right"
    for subject, fit in fits.items():
        sd = max(fit.sd.values()) if isinstance(fit.sd, dict) else fit.sd
        shown = f"{sd:.2f}" if fit.fitted else ""
        style = "yellow" if fit.needs_look else ""
        table.add_row(
            escape(subject),
            escape(cohorts[subject]),
            str(fit.n_quantified),
            str(fit.n_censored),
            shown,
            escape(fit.outcome),
            style=style,
        )
    return table


def table_of(frame: pd.DataFrame, title: str, headings: Mapping[str, str] | Sequence[str] | None = None) -> Table:
    """Rows of a table for the console, its numbers with four digits.

    Parameters
    ----------
    frame : its index is not shown.
    title : above it.
    headings : {column: heading} or names of the columns that are shown, in their order; all when not given.
    """
    chosen = headings if headings is not None else list(map(str, frame))
    shown = chosen if isinstance(chosen, Mapping) else {name: name.replace("_", " ") for name in chosen}
    more = f", the first {CONSOLE_ROWS} of {len(frame)} rows" if len(frame) > CONSOLE_ROWS else ""
    # Eight columns have room in a console of 80 letters.
    table = Table(title=escape(title + more), box=SIMPLE, collapse_padding=True, pad_edge=False)
    for place, (name, heading) in enumerate(shown.items()):
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        # A name that is broken is no name; the last column may hold sentences.
        whole = place == 0 or (numeric and place < len(shown) - 1)
        table.add_column(escape(heading), justify="right" if numeric else "left", no_wrap=whole, overflow="fold")
    for row in frame[list(shown)].head(CONSOLE_ROWS).itertuples(index=False):
        table.add_row(*(escape(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return number(float(value))
    return "" if value is None or value is pd.NA else str(value)


def say_written(console: Console, study: Study | None, folder: Path) -> None:
    """That the patients are simulated, where they are; which files there are, and where."""
    if study is not None and study.simulated:
        console.print("Simulated patients: no measurements of anybody.")
    names = ", ".join(sorted(file.name for file in folder.iterdir()))
    console.print(f"Written to {escape(str(folder))}: {escape(names)}", soft_wrap=True)


def unfinished(fits: Fits) -> list[str]:
    """Whom Ctrl-C left without a fit."""
    return [subject for subject, fit in fits.items() if fit.status is Status.INTERRUPTED]


def say_stopped(console: Console, kept: str) -> None:
    """What is kept of a command that was stopped."""
    console.print(f"[yellow]Stopped by Ctrl-C:[/yellow] {escape(kept)}", soft_wrap=True)
