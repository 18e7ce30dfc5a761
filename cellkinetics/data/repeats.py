"""Samples and doses that stand twice in a table."""

from __future__ import annotations

import numpy as np

from cellkinetics.arrays import Flags
from cellkinetics.data.administrations import Dosing
from cellkinetics.data.columns import SheetRows
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import numbers


def report_repeats(rows: SheetRows, observations: pd.DataFrame, where: Flags, dosing: Dosing) -> None:
    """Say which samples and doses stand there twice, with nothing that tells them apart."""
    same = pd.DataFrame({"code": rows.code, "day": rows.day})[where].duplicated(keep=False)
    at = np.flatnonzero(where)[same.to_numpy()]
    said = observations.iloc[at].drop(columns=["row", "excluded"]).assign(said=rows.text("value").iloc[at])
    number, _ = numbers(said["said"].to_numpy(dtype=object), rows.decimal)
    said["said"] = said["said"].mask(~np.isnan(number), "")
    said["number"] = number
    _report_same(rows, said, "Remove it, or tell replicates apart by a column such as well.")
    doses = dosing.doses.set_index("at")[["subject", "day", "amount", "kind"]]
    _report_same(rows, doses, "Remove it, or give the sum in one row.")


def _report_same(rows: SheetRows, table: pd.DataFrame, remedy: str) -> None:
    same = table[table.duplicated(keep=False)]
    if same.empty:
        return
    at = pd.Series(same.index, index=same.index)
    first = at.groupby([same[name] for name in same], dropna=False).transform("first")
    again = np.zeros(len(rows.row), dtype=bool)
    again[at[at != first]] = True
    rows.report(again, lambda row: f"it repeats row {rows.row[first[row]]}", remedy)
