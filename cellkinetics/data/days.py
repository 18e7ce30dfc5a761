"""Days since the infusion, from dates, names of visits, study days, or times in hours, weeks or months."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.columns import MEANING, meaning_of, plain
from cellkinetics.errors import Finding, StudyError, one_problem, suggest
from cellkinetics.layout import visits
from cellkinetics.layout.agreement import VISITS
from cellkinetics.layout.dates import DATES, INFUSION_DATES, heading, is_serial, seconds_of
from cellkinetics.layout.sheet import Sheet
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import Texts, cell_of, number_of, numbers
from cellkinetics.meaning.units import DAYS_IN, UNITS_OF_TIME, unit_in_heading
from cellkinetics.meaning.vocabulary import folded

# Days in a unit of time; a month is a twelfth of 365.25 days.
DAYS_IN_UNIT = {"day": 1.0, "hour": 1 / 24, "week": 7.0, "month": 365.25 / 12}
_WORDS = {word: unit for word, unit in UNITS_OF_TIME.items() if unit in DAYS_IN_UNIT}
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
_OF_TIME |= {"ntime", "of", "in", "the", "zeit", "temps", "tiempo", "tempo", "nach", "apres", "despues", "dopo", "seit"}
_OF_TIME |= {"depuis", "desde", "der", "la", "l", "de", "infusione", "perfusion", "infusionen"}
_TIMES = ("day", "nominal_day", "until")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?", re.ASCII)
# The study days of CDISC.
_STUDY_DAY = re.compile(r"(pc|cp|lb|a|vs|ex|visit)dy|study_?day")
# The same in other languages, where they have no day 0: nobody says that they are those of CDISC.
_STUDY_DAY_ELSEWHERE = re.compile(
    r"studi(?:en|e)?_?(?:tag|dag)|jour_(?:de_l_|d_)?etude|dia_(?:de[l]?_)?estudio|giorno_(?:di_|dello_)?studio|"
    r"dia_(?:do_)?estudo"
)


def dated(sheet: Sheet, columns: Mapping[str, str] | None = None) -> tuple[Sheet, dict[str, str] | None]:
    """The sheet with a column of days since the infusion, when it has dates and no days.

    The infusion is the date in a column such as ``infusion_date``, else that of the subject's first row with a
    dose (where not every row of the subject has one). A column of clock times, ``14:30``, is added to the date.
    Dates are those that have one meaning: 2024-03-09, 20240309, 09-Mar-2024; 3/4/2024 is two days.

    Returns
    -------
    Sheet
    dict or None
        `columns` without ``date`` and ``infusion_date``, which name the two columns where their names are not known.

    Raises
    ------
    StudyError
        For each date that cannot be read, and each that has no date of infusion; when a column holds dates, nothing
        else is the day and its name is not known.
    """
    cells = sheet.cells
    asked = {key: name for key, name in (columns or {}).items() if plain(key) in ("date", "infusion_date")}
    columns = {ours: theirs for ours, theirs in columns.items() if ours not in asked} if columns else columns
    for key, name in asked.items():
        if name not in cells.columns:
            remedy = f"There are {', '.join(cells.columns)}. {suggest(name, cells.columns)}".rstrip()
            raise one_problem(f"there is no column {name!r} for {key}", remedy, sheet.source)
    named = {plain(key): name for key, name in asked.items()}
    known = {meaning_of(name): name for name in reversed(cells.columns)}
    given = {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    date = named.get("date") or next((name for name in cells.columns if heading(name) in DATES), None)
    clock = known.get("day")
    if clock is not None and not any(":" in text and _CLOCK.fullmatch(text) for text in pd.unique(cells[clock])):
        clock = None
    subject = given.get("subject", known.get("subject", ""))
    days = {"day", "nominal_day"} & {*given, *(name for name in known if name and known[name] != clock)}
    rest = None if columns is None else dict(columns)
    if days or subject not in cells.columns:
        return sheet, rest
    begin_name = named.get("infusion_date")
    begin_name = begin_name or next((name for name in cells.columns if heading(name) in INFUSION_DATES), None)
    if date is None:
        _name_dates(sheet, begin_name)
        return sheet, rest
    problems: list[Finding] = []
    zones: set[bool] = set()

    def moments(name: str, clocks: pd.Series | None = None) -> Floats:
        """Days since 1970 in (n,) cells, NaN where there is no date."""
        codes, texts = pd.factorize(cells[name].to_numpy(dtype=object))
        if len(texts) and all(is_serial(text) for text in texts if text):
            # The days of a spreadsheet: of two of them only the difference is used.
            found = np.array([float(text) if text else np.nan for text in texts])[codes]
        else:
            read = [seconds_of(text) if text else (np.nan, False) for text in texts]
            zones.update(zone for text, said in zip(texts, read, strict=True) if text and said for zone in [said[1]])
            found = np.array([np.nan if said is None else said[0] / 86400 for said in read])[codes]
            wrong = np.array([said is None for said in read], dtype=bool)[codes]
            for at in np.flatnonzero(wrong).tolist():
                what = f"{name} is {cells[name].iloc[at]!r}, which is not an ISO date"
                remedy = "Write dates as 2024-03-09 and times as 14:30."
                problems.append(Finding(int(sheet.row[at]), cells[subject].iloc[at] or None, None, what, remedy))
        if clocks is None:
            return found
        at_midnight = ~np.isnan(found) & (found % 1 == 0)
        for at in np.flatnonzero(at_midnight & (clocks != "").to_numpy()).tolist():
            time = clocks.iloc[at]
            hour, minute, second = (*map(int, time.split(":")), 0)[:3] if _CLOCK.fullmatch(time) else (99, 0, 0)
            if hour > 23 or minute > 59 or second > 59:
                what = f"{name} is {cells[name].iloc[at] + ' ' + time!r}, which is not an ISO date"
                remedy = "Write dates as 2024-03-09 and times as 14:30."
                problems.append(Finding(int(sheet.row[at]), cells[subject].iloc[at] or None, None, what, remedy))
            else:
                found[at] += hour / 24 + minute / 1440 + second / 86400
        return found

    when = moments(date, None if clock is None else cells[clock])
    if begin_name is not None:
        begin = pd.Series(moments(begin_name)).groupby(cells[subject]).transform("min").to_numpy()
        serial = [any(is_serial(text) for text in cells[name]) for name in (date, begin_name)]
        if serial[0] != serial[1]:
            found = f"{date} and {begin_name} are not written alike: one counts days (45360), the other has dates"
            problems.append(Finding(None, None, None, found, "Write both as 2024-03-09."))
    else:
        amounts = [cells[known[name]] for name in ("amount", "dose") if name in known]
        dose = np.zeros(len(cells), dtype=bool)
        for amount in amounts:
            filled = amount.map(lambda text: bool(number_of(str(text)) or number_of(str(text), ","))) & (amount != "")
            dose |= (filled & ~filled.groupby(cells[subject]).transform("all")).to_numpy()
        begin = pd.Series(np.where(dose, when, np.nan)).groupby(cells[subject]).transform("min").to_numpy()
        value = given.get("value", known.get("value"))
        if value in cells:
            number, _ = numbers(cells[value].to_numpy(dtype=object), sheet.decimal)
            # The first of a subject alone says when it was infused.
            for at in np.flatnonzero(dose & (when == begin) & (number > 0)).tolist():
                what = f"a dose stands on the row of a sample with the value {cells[value].iloc[at]}"
                remedy = "Give the date of the infusion in a column infusion_date, or a row of its own on its date."
                problems.append(Finding(int(sheet.row[at]), cells[subject].iloc[at] or None, None, what, remedy))
    if len(zones) > 1:
        found = f"some dates of {date} say their time zone and some do not"
        problems.append(Finding(None, None, None, found, "Write all of them in one way."))
    unknown = (cells[date] != "").to_numpy() & np.isnan(begin) & ~np.isnan(when)
    for at in np.flatnonzero(unknown).tolist():
        what = f"{date} is {cells[date].iloc[at]} and the date of the infusion is not known"
        remedy = "Give it in a column infusion_date, or give the dose a row with its date."
        problems.append(Finding(int(sheet.row[at]), cells[subject].iloc[at] or None, None, what, remedy))
    if problems:
        raise StudyError(problems, sheet.source)
    if not any(zones):
        # A sample whose hour is not known was not drawn before midnight of its day: days are counted from date to date.
        begin = np.where((when % 1 == 0) & (begin % 1 != 0), np.floor(begin), begin)
    day = ["" if np.isnan(days) else cell_of(round(days, 6), sheet.decimal) for days in when - begin]
    cells = cells.rename(columns={} if clock is None else {clock: "clock"}).assign(day=pd.Series(day, dtype="str"))
    return replace(sheet, cells=cells), rest


def _name_dates(sheet: Sheet, begin: str | None) -> None:
    """Say which column holds dates, when none is the day and no name says date."""
    cells = sheet.cells

    def holds_dates(name: str) -> bool:
        texts = [text for text in pd.unique(cells[name]) if text]
        # 20240309 may be anything else too.
        return bool(texts) and all(seconds_of(text) and not text.isdecimal() for text in texts)

    found = [name for name in cells.columns if name != begin and holds_dates(name)]
    if found and not any(unit_of(name) for name in cells.columns):
        infusion = "" if begin else ", 'infusion_date': ..."
        remedy = f"Say which is which, read_study(..., columns={{'date': {found[0]!r}{infusion}}})."
        what = f"there is no column for the day, and {' and '.join(found)} {'has' if len(found) == 1 else 'have'} dates"
        raise one_problem(what, remedy, sheet.source)


def visited(
    sheet: Sheet, columns: Mapping[str, str] | None = None, time_unit: str | None = None
) -> tuple[Sheet, dict[str, str] | None]:
    """The sheet with numbers where its days are names of visits (Day 7, D28, Week 2), or are study days (``--DY``).

    Study days have no day 0: the infusion is on day 1 and the day before it is -1.

    Returns
    -------
    Sheet
        With the note that says what was done; names that say no day are left as they are.
    dict or None
        `columns`, with the column that was converted as the day.

    Raises
    ------
    StudyError
        For a study day 0, and for each visit that names no day where others do and nothing else is the day.
    """
    cells = sheet.cells
    given = {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    rest = None if columns is None else dict(columns)
    meant = {kind: given.get(kind) for kind in ("day", "nominal_day")}
    for name in reversed(cells.columns):
        if meaning_of(name) in meant and meaning_of(name) not in given:
            meant[str(meaning_of(name))] = name
    days = [name for name in dict.fromkeys(meant.values()) if name is not None and name in cells.columns]
    alone = not days and not any(unit_of(name) for name in cells.columns)
    if alone:
        days = [name for name in cells.columns if _STUDY_DAY.fullmatch(plain(name))][:1]
        days = days or [name for name in cells.columns if plain(name) in VISITS and _names_days(cells[name])][:1]
    new: dict[str, pd.Series] = {}
    notes: list[str] = []
    problems: list[Finding] = []
    for name in days:
        codes, texts = pd.factorize(cells[name].to_numpy(dtype=object))
        # A million numbers are no names, which have a letter.
        named = re.search(r"[^\W\d_]", "\n".join(texts)) is not None
        read = [visits.day_of(text) if text and named else None for text in texts]
        unit = DAYS_IN_UNIT.get(time_unit or "day", 1.0)
        if any(said and said[1] for said in read):
            texts = [
                cell_of(said[0] * DAYS_IN[said[1]] / unit, sheet.decimal) if said and said[1] else text
                for said, text in zip(read, texts, strict=True)
            ]
            notes.append(f"{name}: visits by name, read as days.")
            if alone:
                wrong = np.array([bool(text) and said is None for said, text in zip(read, texts, strict=True)])[codes]
                for at in np.flatnonzero(wrong).tolist():
                    found, remedy = (
                        f"{name} is {cells[name].iloc[at]!r}, which names no day",
                        "Give the day in a column day.",
                    )
                    problems.append(Finding(int(sheet.row[at]), None, None, found, remedy))
        elif _is_study_day(name, texts, sheet.decimal):
            number = [number_of(text, sheet.decimal) for text in texts]
            for at in np.flatnonzero(np.array([each == 0 for each in number], dtype=bool)[codes]).tolist():
                found, remedy = (
                    f"{name} is 0, and study days have no day 0",
                    "Give days since the infusion in a column day.",
                )
                problems.append(Finding(int(sheet.row[at]), None, None, found, remedy))
            texts = [
                text if each is None else cell_of(each - (each > 0), sheet.decimal)
                for each, text in zip(number, texts, strict=True)
            ]
            notes.append(f"{name}: study days without a day 0, read as days since day 1.")
        else:
            continue
        new[name] = pd.Series(np.array(texts, dtype=object)[codes], dtype="str")
    if problems:
        raise StudyError(problems, sheet.source)
    if not new:
        return sheet, rest
    if alone:
        rest = {**(rest or {}), "day": days[0]}
    note = "\n".join(filter(None, [sheet.note, *notes]))
    return replace(sheet, cells=cells.assign(**new), note=note), rest


def _is_study_day(name: str, texts: Texts, decimal: str) -> bool:
    if _STUDY_DAY.fullmatch(plain(name)):
        return True
    low = re.sub(r"[^a-z]+", "_", folded(plain(name))).strip("_")
    return _STUDY_DAY_ELSEWHERE.fullmatch(low) is not None and all(number_of(text, decimal) != 0 for text in texts)


def _names_days(column: pd.Series) -> bool:
    return any((said := visits.day_of(text)) is not None and said[1] for text in pd.unique(column) if text)


def unit_of(name: str) -> str | None:
    """The unit of time that a heading says: "TIME (h)", "weeks" and "time_weeks" say one, TIME and dose do not."""
    words = re.findall(r"[a-z]+", folded(plain(name)))
    units = {_WORDS[word] for word in words if word in _WORDS}
    alone = len(words) == 1 and len(words[0]) < 3
    if len(units) != 1 or alone or any(word not in _WORDS and word not in _OF_TIME for word in words):
        return None
    return units.pop()


def _converted(
    name: str, unit: str, meant: Mapping[str, str], said: Mapping[str, str | None], given: Mapping[str, str]
) -> str:
    """What to do about a column of times in another unit; `time_unit=` would convert a day whose heading says none."""
    day = meant.get("day", meant.get("nominal_day", name))
    if unit not in DAYS_IN_UNIT:
        return "Give the times in days."
    if day == name or said[day] is not None:
        return f"Give read_study(..., time_unit={unit!r})."
    leave = (
        "leave it out of columns=" if name in given.values() else f"leave it out, read_study(..., ignore=[{name!r}])"
    )
    return f"Convert that column to days, as {day} is, or {leave}."


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
    # Of a column that the user calls a time, any word that is a unit says it: TAFD (hr), study week.
    said |= {name: unit for kind in _TIMES if (unit := unit_in_heading(name := given.get(kind, ""))) and name in said}
    if time_unit == "day":
        named = {meaning: name for meaning, name in meant.items() if said[name] not in (None, "day")}
        return sheet, given | named
    others = {name: unit for name in meant.values() if (unit := said[name]) not in (None, "day", time_unit)}
    problems = [
        Finding(None, None, None, f"the column {name} is in {unit}s", _converted(name, unit, meant, said, given))
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
