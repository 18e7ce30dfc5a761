"""The table of `nca` as a notebook shows it: few columns, intervals in words, and its picture."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cellkinetics.notebook import Shown

# Of the many columns those that a reader looks for first; the area is the one of the window.
FIRST, LAST = ("n_samples", "n_censored", "cmax", "tmax"), ("half_life", "below_from")
WORDS = {"cmax": "Cmax", "half_life": "half-life"}


class NCATable(Shown, pd.DataFrame):
    """A DataFrame with a card of its own in a notebook; whatever is made of it is a plain DataFrame."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        # Columns may have been taken from it in place.
        return super()._repr_html_() if area_of(self) and {"subject", *FIRST, *LAST} <= set(self) else self._plain()

    def _plain(self) -> str | None:
        return pd.DataFrame(self)._repr_html_()  # pyright: ignore[reportCallIssue]


def again(table: pd.DataFrame) -> pd.DataFrame:
    """A table that was read from a file, as it was made."""
    if table.attrs.get("verb") != "nca":
        return table
    made = NCATable(table)
    made.attrs = table.attrs
    return made


def area_of(table: pd.DataFrame) -> str:
    """The column of the area of the window; "" where there is none."""
    known = (str(name) for name in table)
    return next((name for name in known if name.startswith("auc_") and name.split("_")[-1].isdecimal()), "")


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Its first columns: a value, or between which it lies, or nothing."""
    who = [name for name in ("subject", "cohort") if not table[name].isna().all()]
    several = ["output"] if table["output"].nunique() > 1 else []
    columns = {name: table[name] for name in (*who, *several)}
    for name in (*FIRST, area_of(table), *LAST):
        columns[name] = pd.Series([_cell(row, name) for row in table.to_dict("records")], index=table.index)
    return pd.DataFrame(columns)


def _cell(row: Any, name: str) -> Any:
    value, lower, upper = (float(row.get(each, math.nan)) for each in (name, f"{name}_lower", f"{name}_upper"))
    if not math.isnan(value) or math.isnan(lower) or math.isnan(upper):
        return value if name not in FIRST[:2] else int(value)
    return f"above {lower:.4g}" if math.isinf(upper) else f"{lower:.4g} to {upper:.4g}"


def words(table: pd.DataFrame) -> str:
    """How many have a value, and where the reasons of the others stand."""
    names = ("cmax", area_of(table), "half_life")
    have = [f"{WORDS.get(name, name)} of {int(table[name].notna().sum())}" for name in names]
    text = (
        f"Of {len(table)} curves {', '.join(have)}. A value that is missing has its reason beside it, in <name>_reason"
    )
    return f"{text}; simulated data" if table.attrs.get("simulated") else text
