"""Texts that a spreadsheet would run: what begins with =, +, - or @ and is no number is written with a ' before it."""

from __future__ import annotations

import re

from cellkinetics.lazily import pandas as pd

_LIVE = re.compile(r"'*[=+\-@\t\r]")
_A_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:inf|nan)", re.IGNORECASE | re.ASCII)


def inert(text: str) -> str:
    """A text that a spreadsheet shows and does not run; `sheet.stripped` takes the ' away again.

    Examples
    --------
    >>> inert("=HYPERLINK(1)"), inert("-1.5"), inert("P01")
    ("'=HYPERLINK(1)", '-1.5', 'P01')
    """
    return f"'{text}" if _LIVE.match(text) and not _A_NUMBER.fullmatch(text) else text


def inert_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts, in its cells, its index and its headings, are all `inert`."""
    columns = {name: inert_column(column) for name, column in table.items()}
    made = pd.DataFrame(columns, index=table.index)
    if not pd.api.types.is_numeric_dtype(table.index.dtype):
        made.index = table.index.map(lambda text: inert(text) if isinstance(text, str) else text)
    return made.rename(columns=lambda name: inert(str(name)))


def inert_column(column: pd.Series) -> pd.Series:
    """The same of one column; numbers stay what they are."""
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return column
    live = column.astype("str").str.match(_LIVE.pattern)
    return column.where(~live, column[live].map(lambda text: inert(text) if isinstance(text, str) else text))
