"""Days since the infusion, from dates, or from times in hours, weeks or months."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd

from cellkinetics.arrays import Floats
from cellkinetics.data.columns import MEANING, meaning_of, plain
from cellkinetics.data.sheet import Sheet
from cellkinetics.errors import Finding, StudyError, suggest
from cellkinetics.meaning.cells import cell_of, number_of, numbers

DATES = ("date", "sample_date", "sampling_date", "collection_date", "date_of_sample")
INFUSION_DATES = ("infusion_date", "date_of_infusion", "dose_date", "dosing_date")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?", re.ASCII)
# Days in a unit of time; a month is a twelfth of 365.25 days.
DAYS_IN_UNIT = {"day": 1.0, "hour": 1 / 24, "week": 7.0, "month": 365.25 / 12}
_WORDS = {"d": "day", "day": "day", "days": "day", "h": "hour", "hr": "hour", "hrs": "hour", "hour": "hour"}
_WORDS |= {"hours": "hour", "wk": "week", "wks": "week", "week": "week", "weeks": "week", "w": "week"}
_WORDS |= {"month": "month", "months": "month"}
_OF_TIME = {
    "time",
    "t",
    "tad",
    "nominal",
    "actual",
    "post",
    "after",
    "since",
    "from",
    "first",
    "infusion",
    "dose",
    "until",
}
_OF_TIME |= {"ntime", "of", "in", "the"}
_TIMES = ("day", "nominal_day", "until")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?", re.ASCII)


def dated(sheet: Sheet, columns: Mapping[str, str] | None = None) -> Sheet:
    """The sheet with a column of days since the infusion, when it has dates and no days.

    The infusion is the date in a column such as ``infusion_date``, else that of the subject's first row with a
    dose (where not every row of the subject has one). A column of clock times, ``14:30``, is added to the date.
    Dates are ISO dates: 3/4/2024 is two days.

    Raises
    ------
    StudyError
        For each date that cannot be read, and each that has no date of infusion.
    """
    cells = sheet.cells
    known = {meaning_of(name): name for name in reversed(cells.columns)}
    given = {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    date = next((name for name in cells.columns if plain(name) in DATES), None)
    clock = known.get("day")
    if clock is not None and not cells[clock].str.fullmatch(_CLOCK).any():
        clock = None
    subject = given.get("subject", known.get("subject", ""))
    days = {"day", "nominal_day"} & {*given, *(name for name in known if name and known[name] != clock)}
    if date is None or days or subject not in cells.columns:
        return sheet
    problems: list[Finding] = []

    def moments(name: str, clocks: pd.Series | None = None) -> Floats:
        found = np.full(len(cells), np.nan)
        for at, text in enumerate(cells[name]):
            time = "" if clocks is None else clocks.iloc[at]
            joined = f"{text} {time.zfill(5)}" if time and len(text) == 10 else text
            try:
                if text and not _ISO.fullmatch(joined):
                    raise ValueError
                if text:
                    found[at] = (datetime.fromisoformat(joined) - datetime(1970, 1, 1)).total_seconds() / 86400
            except ValueError:
                remedy = "Write dates as 2024-03-09 and times as 14:30."
                what = f"{name} is {joined!r}, which is not an ISO date"
                problems.append(Finding(int(sheet.row[at]), cells[subject].iloc[at] or None, None, what, remedy))
        return found

    when = moments(date, None if clock is None else cells[clock])
    begin_name = next((name for name in cells.columns if plain(name) in INFUSION_DATES), None)
    if begin_name is not None:
        begin = pd.Series(moments(begin_name)).groupby(cells[subject]).transform("min").to_numpy()
    else:
        amounts = [cells[known[name]] for name in ("amount", "dose") if name in known]
        dose = np.zeros(len(cells), dtype=bool)
        for amount in amounts:
            filled = amount.map(lambda text: bool(number_of(str(text)) or number_of(str(text), ","))) & (amount != "")
            dose |= (filled & ~filled.groupby(cells[subject]).transform("all")).to_numpy()
        begin = pd.Series(np.where(dose, when, np.nan)).groupby(cells[subject]).transform("min").to_numpy()
    unknown = (cells[date] != "").to_numpy() & np.isnan(begin) & ~np.isnan(when)
    for at in np.flatnonzero(unknown).tolist():
        what = f"{date} is {cells[date].iloc[at]} and the date of the infusion is not known"
        remedy = "Give it in a column infusion_date, or give the dose a row with its date."
        problems.append(Finding(int(sheet.row[at]), cells[subject].iloc[at] or None, None, what, remedy))
    if problems:
        raise StudyError(problems, sheet.source)
    day = ["" if np.isnan(days) else cell_of(round(days, 6), sheet.decimal) for days in when - begin]
    cells = cells.rename(columns={} if clock is None else {clock: "clock"}).assign(day=pd.Series(day, dtype="str"))
    return replace(sheet, cells=cells)


def unit_of(name: str) -> str | None:
    """The unit of time that a heading says: "TIME (h)", "weeks" and "time_weeks" say one, TIME and dose do not."""
    words = re.findall(r"[a-z]+", plain(name))
    units = {_WORDS[word] for word in words if word in _WORDS}
    alone = len(words) == 1 and len(words[0]) < 3
    if len(units) != 1 or alone or any(word not in _WORDS and word not in _OF_TIME for word in words):
        return None
    return units.pop()


def timed(
    sheet: Sheet, columns: Mapping[str, str] | None = None, time_unit: str | None = None
) -> tuple[Sheet, dict[str, str]]:
    """The sheet with days, when its times are in another unit; see `read_study` for `time_unit`.

    Returns
    -------
    Sheet
        The columns that were converted hold days, and the note says which.
    dict
        `columns`, with those that were converted as what they mean.

    Raises
    ------
    ValueError
        When there is no such unit.
    StudyError
        When a heading says a unit that was not asked for, or no column is in that which was.
    """
    if time_unit is not None and time_unit not in DAYS_IN_UNIT:
        known = (
            f"time_unit={time_unit!r}: take {', '.join(map(repr, DAYS_IN_UNIT))}. {suggest(time_unit, DAYS_IN_UNIT)}"
        )
        raise ValueError(known.rstrip())
    given = {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    said = {name: unit_of(name) for name in sheet.cells.columns}
    meant = {meaning: name for name in reversed(sheet.cells.columns) if (meaning := meaning_of(name)) in _TIMES}
    meant |= {meaning: name for meaning, name in given.items() if meaning in _TIMES and name in said}
    for name, unit in said.items():
        # A heading such as "TIME (h)" or "weeks" is a time where nothing else is, or where it is asked for.
        meaning = next((kind for kind in ("nominal_day", "until") if kind[:5] in plain(name)), "day")
        free = meaning not in meant and (meaning != "day" or "nominal_day" not in meant or unit == time_unit)
        if unit not in (None, "day") and free and name not in given.values():
            meant[meaning] = name
    if time_unit == "day":
        named = {meaning: name for meaning, name in meant.items() if said[name] not in (None, "day")}
        return sheet, given | named
    others = {name: unit for name in meant.values() if (unit := said[name]) not in (None, "day", time_unit)}
    problems = [
        Finding(None, None, None, f"the column {name} is in {unit}s", f"Give read_study(..., time_unit={unit!r}).")
        for name, unit in others.items()
    ]
    converted = {kind: name for kind, name in meant.items() if said[name] in (None, time_unit)} if time_unit else {}
    if time_unit and not {"day", "nominal_day"} & converted.keys() and not problems:
        found = f"time_unit={time_unit!r} was given and no column is in {time_unit}s"
        problems.append(Finding(None, None, None, found, "Leave it out, or name the column, columns={'day': ...}."))
    if problems:
        raise StudyError(problems, sheet.source)
    if not converted:
        return sheet, dict(columns or {})
    cells = sheet.cells.copy(deep=False)
    rates = [name for name in cells.columns if plain(name) == "rate" and name not in converted.values()]
    for name in rates:
        rate, _ = numbers(cells[name].to_numpy(dtype=object), sheet.decimal)
        texts = pd.Series([cell_of(each, sheet.decimal) for each in rate / DAYS_IN_UNIT[str(time_unit)]], dtype="str")
        cells[name] = cells[name].where(np.isnan(rate), texts)
    for name in converted.values():
        number, _ = numbers(cells[name].to_numpy(dtype=object), sheet.decimal)
        # 7 / 24 and not 7 x (1 / 24), so that 168 hours are 7 days to the last digit.
        days = number / 24 if time_unit == "hour" else number * DAYS_IN_UNIT[str(time_unit)]
        texts = pd.Series([cell_of(day, sheet.decimal) for day in days], dtype="str")
        cells[name] = cells[name].where(np.isnan(number), texts)
    line = f"{', '.join([*converted.values(), *rates])}: converted from {time_unit}s to days."
    return replace(sheet, cells=cells, note=f"{sheet.note}\n{line}".lstrip("\n")), given | converted
