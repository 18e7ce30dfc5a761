"""A table as columns of text, as they stand there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cellkinetics.errors import Finding
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import MISSING


@dataclass(frozen=True)
class Sheet:
    """A table as it stands in the file.

    Attributes
    ----------
    cells : DataFrame
        n rows of text without surrounding blanks; "" where a cell is empty or says that a value is missing.
    row : (n,) array of int
        Line of the file on which the row begins, row of the worksheet; in a DataFrame or a file of SAS its
        position + 2, its line as a CSV.
    source : str
        Name of the file, or "DataFrame".
    note : str
        The comment lines above the header, without their ``#``.
    separator : str
        What stands between two cells: ",", ";", a tab, "|" or a blank.
    decimal : str
        "." or ",". With semicolons one number with a comma is enough; with tabs, strokes or blanks it must be one
        that cannot be a thousand, as 1,234 can. Numbers of covariates say it where those that are read do not.
    encoding : str
        Of the file.
    problems : list of Finding
        Rows that have too many or too few cells; they are left out of `cells`.
    """

    cells: pd.DataFrame
    row: npt.NDArray[np.int64]
    source: str
    note: str = ""
    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8-sig"
    problems: list[Finding] = field(default_factory=list)


class Seen(dict[str, str]):
    """Cell to its text: of what is written a million times, one text is kept."""

    def __missing__(self, cell: str) -> str:
        text = self[cell] = stripped(cell)
        return text


def stripped(cell: str) -> str:
    """A cell without surrounding blanks, "" when it says that a value is missing."""
    cell = cell.strip()
    # The ' by which a spreadsheet is told that -5 or =A1 is a text, as `formulas.inert` writes it.
    if cell[:1] == "'" and cell.lstrip("'").lstrip()[:1] in ("=", "+", "-", "@"):
        cell = cell[1:].strip()
    return "" if cell.lower() in MISSING else cell
