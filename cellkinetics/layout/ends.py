"""Values given by their two ends, ``lower`` and ``upper``, as `Study.observations` gives them, and as cells again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.errors import Finding, StudyError
from cellkinetics.layout.sheet import Sheet
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import Texts, numbers
from cellkinetics.meaning.headings import meaning_of
from cellkinetics.meaning.placing import written
from cellkinetics.meaning.synonyms import plain

ENDS_BY_NAME = (("lower", "upper"), ("dv_lower", "dv_upper"), ("left", "right"))
# Names that ranges of other things have too: ends where the value is empty, and nowhere around it.
_LOOSE = (
    ("ll", "ul"), ("von", "bis"), ("min", "max"), ("low", "high"), ("lo", "hi"), ("dv_lo", "dv_hi"), ("from", "to"),
    ("lower_bound", "upper_bound"), ("lower_limit", "upper_limit"), ("dv_low", "dv_high"), ("lb", "ub"), ("de", "a"),
    ("dv_min", "dv_max"), ("minimum", "maximum"), ("untere", "obere"), ("inf", "sup"),
)  # fmt: skip
_OWN = {"subject", "day", "value", "lower", "upper", "status", "lloq", "excluded"}


def own(sheet: Sheet) -> Sheet:
    """The sheet with cells such as ``<3`` where it has a value, or no value, by the two ends of an interval.

    A row whose value is empty lies between its ends: 0 (or nothing) and 3 is ``<3``, 1 and 3 is an interval, 1e6 and
    nothing is ``>1e6``. Beside a value the ends are error bars, and stay what they are. `Study.observations` is read
    as the same study: its samples on the day of the infusion are those that it used.

    Raises
    ------
    StudyError
        For each row whose ends are not two numbers in order.
    """
    cells = sheet.cells
    plains = {plain(name): name for name in reversed(cells.columns)}
    pair = next((pair for pair in ENDS_BY_NAME if set(pair) <= plains.keys()), None)
    if pair is None:
        pair = next((pair for pair in _LOOSE if set(pair) <= plains.keys() and _are_ends(sheet, plains, pair)), None)
    if pair is None and "status" in plains:
        return _by_status(sheet, plains["status"])
    if pair is None or any(meaning_of(name) in ("limit", "cens") for name in cells.columns):
        return sheet
    value = next((name for name in cells.columns if meaning_of(name) == "value"), None)
    ours = plains.keys() >= _OWN
    low_name, high_name = (plains[name] for name in pair)
    low, high = (_ends(cells[name], sheet.decimal) for name in (low_name, high_name))
    # Below everything is what R writes where there is no lower end.
    low[low == -np.inf] = np.nan
    bare = np.ones(len(cells), dtype=bool) if value is None else (cells[value] == "").to_numpy(copy=True)
    bare = bare & ~(np.isnan(low) & np.isnan(high))
    if ours:
        bare = bare & (cells[plains["status"]] != "missing").to_numpy()
    if not bare.any() and not ours:
        return sheet
    wrong = bare & ((low > high) | (low < 0) | (low == np.inf) | ((low <= 0) & (high == np.inf)))
    if wrong.any():
        found = "{} is {!r} and {} is {!r}"
        problems = [
            Finding(
                int(sheet.row[at]),
                None,
                None,
                found.format(low_name, cells[low_name].iloc[at], high_name, cells[high_name].iloc[at]),
                "They are the ends of one value: 0 and the limit when it is below, the limit and nothing above.",
            )
            for at in np.flatnonzero(wrong).tolist()
        ]
        raise StudyError([*sheet.problems, *problems], sheet.source)
    low, high = np.where(np.isnan(low) & bare, 0.0, low), np.where(np.isnan(high) & bare, np.inf, high)
    status = np.select([~bare, low == high, low <= 0, high == np.inf], ["", "quantified", "below", "above"], "interval")
    lloq_name = next((name for name in cells.columns if meaning_of(name) == "lloq"), None)
    lloq = np.full(len(cells), np.nan) if lloq_name is None else _ends(cells[lloq_name], sheet.decimal)
    ends = pd.DataFrame({"status": status, "value": low, "lower": low, "upper": high, "lloq": lloq})
    said = written(ends).map(lambda text: text.replace(".", sheet.decimal))
    limit = pd.Series(np.where(status == "below", cells[high_name], ""), dtype="str")
    # The end of what is below is the limit of its row.
    new = {"lloq": limit} if lloq_name is None else {lloq_name: cells[lloq_name]}
    for name in ("value", "cens", "limit", "lod"):
        there = value if name == "value" and value is not None else name
        before = cells[there].to_numpy(dtype=object) if there in cells else np.full(len(cells), "", dtype=object)
        now = np.where(bare, said[name].to_numpy(dtype=object), before)
        if name == "value" or (now != "").any():
            new[there] = pd.Series(now, dtype="str")
    left = [low_name, high_name]
    if ours:
        # What is in force for a row stands there; a sample that was used on the day of an infusion came after it.
        left += [plains["status"], *([plains["row"]] if "row" in plains else [])]
        used = (cells[plains["excluded"]] == "").to_numpy()
        if not any(meaning_of(name) == "postdose" for name in cells.columns):
            new["postdose"] = pd.Series(np.where(used, "1", ""), dtype="str")
    elif value is not None and (~bare & ~(np.isnan(low) & np.isnan(high))).any():
        left = []
    rest = cells.drop(columns=left)
    return replace(sheet, cells=rest.assign(**new))


def _by_status(sheet: Sheet, name: str) -> Sheet:
    """The sheet with BLQ where the status of `Study.observations` is below and the value is empty: it is so written."""
    cells, status = sheet.cells, sheet.cells[name].str.casefold()
    value = next((name for name in cells.columns if meaning_of(name) == "value"), None)
    if value is None or not status.isin(["quantified", "below", "missing", ""]).all():
        return sheet
    below, empty = (status == "below").to_numpy(), (cells[value] == "").to_numpy()
    if not below.any() or (below & ~empty).any() or ((status == "quantified").to_numpy() & empty).any():
        return sheet
    return replace(sheet, cells=cells.drop(columns=name).assign(**{value: cells[value].mask(below, "BLQ")}))


def _are_ends(sheet: Sheet, plains: Mapping[str, str], pair: tuple[str, str]) -> bool:
    """Whether two columns that may be anything have numbers on rows whose value is empty, and on no others."""
    cells = sheet.cells
    value = next((name for name in cells.columns if meaning_of(name) == "value"), None)
    if value is None:
        return False
    given = np.logical_or.reduce([(cells[plains[end]] != "").to_numpy() for end in pair])
    dosed = [cells[name] for name in cells.columns if meaning_of(name) in ("dose", "amount")]
    # A dose that stands on every row says nothing of one.
    doses = [(dose != "").to_numpy() & ~dose.isin(["0"]).to_numpy() for dose in dosed if not (dose != "").all()]
    empty = (cells[value] == "").to_numpy() & ~np.logical_or.reduce([np.zeros(len(cells), bool), *doses])
    return bool(given.any()) and not (given & ~empty).any()


def _ends(column: pd.Series, decimal: str) -> Floats:
    text: Texts = column.to_numpy(dtype=object)
    return numbers(text, decimal)[0].copy()
