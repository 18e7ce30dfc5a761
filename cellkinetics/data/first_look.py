"""What is looked at before a table is read: its shape, names used twice, rows hidden from NONMEM, limits by output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from cellkinetics.arrays import Floats
from cellkinetics.data.columns import meaning_of, plain
from cellkinetics.data.sheet import Sheet
from cellkinetics.errors import Finding, StudyError, suggest

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
    if "C" in cells and not any(meaning_of(name) == "excluded" for name in cells.columns):
        hidden = cells["C"].str.casefold() == "c"
        if hidden.any() and cells.loc[~hidden, "C"].isin(["", "0"]).all():
            excluded = pd.Series(np.where(hidden, "C in the column C", ""), index=cells.index, dtype="str")
            return replace(sheet, cells=cells.drop(columns="C").assign(excluded=excluded))
    return sheet


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
