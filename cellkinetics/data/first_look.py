"""What is looked at before a table is read: its shape, names used twice, rows hidden from NONMEM, limits by output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.columns import MEANING, meaning_of, plain
from cellkinetics.errors import Finding, StudyError, suggest
from cellkinetics.layout.sheet import Sheet
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.synonyms import TIME_UNITS
from cellkinetics.meaning.units import canonical, time_unit_of

# Limits of one study, or one for each output.
Limit = float | Mapping[str, float] | None


def checked(sheet: Sheet) -> Sheet:
    """The sheet, with what NONMEM's ``IGNORE=C`` hides (a C in the column C) excluded.

    Raises
    ------
    StudyError
        When one name is used for subjects of two studies (a column such as ``STUDYID`` changes within it).
    """
    cells = sheet.cells
    subject = next((name for name in cells.columns if meaning_of(name) == "subject"), None)
    study = next((name for name in cells.columns if plain(name) in ("study", "studyid", "study_id")), None)
    if subject is not None and study is not None:
        said = cells[[subject, study]][(cells[study] != "") & (cells[subject] != "")].drop_duplicates()
        problems = [
            Finding(None, str(name), None, f"it is in the studies {', '.join(those)}", "Give each patient a name.")
            for name, those in said.groupby(subject, sort=False)[study]
            if len(those) > 1
        ]
        if problems:
            raise StudyError(problems, sheet.source)
    comment = next((name for name in cells.columns if plain(name) == "c"), None)
    if comment is not None and not any(meaning_of(name) == "excluded" for name in cells.columns):
        hidden = cells[comment].str.casefold() == "c"
        if hidden.any() and not cells.loc[~hidden, comment].str.contains("[a-zA-Z]", regex=True).any():
            excluded = pd.Series(np.where(hidden, f"C in the column {comment}", ""), index=cells.index, dtype="str")
            return replace(sheet, cells=cells.drop(columns=comment).assign(excluded=excluded))
    return sheet


def prepared(sheet: Sheet, columns: Mapping[str, str] | None, ignore: Sequence[str], time_unit: str | None) -> Sheet:
    """The sheet without the columns to `ignore`, its units in one spelling, its times in the unit that was asked for.

    Raises
    ------
    StudyError
        When there is no such column, or a column says that the times are in another unit than `time_unit`.
    """
    names = [ignore] if isinstance(ignore, str) else list(ignore)
    there = list(sheet.cells.columns)
    problems = [
        Finding(None, None, None, f"ignore= names {name!r}, which is no column", _there(name, there))
        for name in names
        if name not in there
    ]
    cells = sheet.cells.drop(columns=[name for name in names if name in there])
    note = f"{sheet.note}\nIgnored: {', '.join(names)}.".lstrip("\n") if names else sheet.note
    given = {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    known = {meaning_of(name): name for name in reversed(cells.columns)} | given
    for meaning in ("unit", "dose_unit"):
        name = known.get(meaning, "")
        if name in cells:
            said = {unit: canonical(unit) for unit in cells[name].unique()}
            cells = cells.assign(**{name: cells[name].map(said).astype("str")})
    for name in cells.columns:
        if plain(name) in TIME_UNITS:
            problems += _time_unit(name, cells[name], time_unit)
    if problems:
        raise StudyError([*sheet.problems, *problems], sheet.source)
    return replace(sheet, cells=cells, note=note)


def _there(name: str, there: Sequence[str]) -> str:
    return f"There are {', '.join(there)}. {suggest(name, there)}".rstrip()


def _time_unit(name: str, cells: pd.Series, asked: str | None) -> list[Finding]:
    """What is wrong when a column of time units does not say days, or what was asked for."""
    said = {cell: time_unit_of(cell) for cell in cells.unique() if cell != ""}
    units = sorted(set(said.values()))
    if not units or asked == "day" or units == [asked or "day"]:
        return []
    shown = f"the column {name} says {', '.join(said)}"
    if len(units) > 1:
        return [Finding(None, None, None, shown, "Give all times in days.")]
    if units[0] not in ("hour", "week", "month"):
        remedy = f"Give the times in days, or read_study(..., ignore=[{name!r}])."
        return [Finding(None, None, None, shown, remedy)]
    asked_for = f" and time_unit={asked!r} was given" if asked else ""
    return [Finding(None, None, None, f"{shown}{asked_for}", f"Give read_study(..., time_unit={units[0]!r}).")]


def limit_of_rows(limit: Limit, name: str, output: pd.Series, problems: list[Finding]) -> Floats:
    """One limit, or those of the outputs, for (n,) rows; an output that is not there is a problem."""
    if not isinstance(limit, Mapping):
        return np.full(len(output), np.nan if limit is None else limit)
    there = output.unique().tolist()
    wanted = {str(key): value for key, value in limit.items()}
    for key in wanted:
        if key not in there:
            remedy = f"There are {', '.join(there)}. {suggest(key, there)}".rstrip()
            problems.append(Finding(None, None, None, f"{name}= has a limit for {key!r}, which is no output", remedy))
    return np.array([wanted.get(name, np.nan) for name in output], dtype=np.float64)
