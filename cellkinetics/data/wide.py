"""Tables with one row a subject and one column a day, as one row a sample."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.columns import mass_of, per_well, resolve
from cellkinetics.errors import Finding, StudyError, one_problem
from cellkinetics.layout.sheet import Sheet
from cellkinetics.layout.visits import day_of, nearly
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import NO, Texts, cell_of, mark_of, marks
from cellkinetics.meaning.comments import in_comment
from cellkinetics.meaning.synonyms import MEANING, plain
from cellkinetics.meaning.units import DAYS_IN, UNITS_OF_TIME, is_log, unit_of_heading, words_of
from cellkinetics.meaning.vocabulary import folded

# What stands beside the column of a day, and is read with it.
_SAID_BESIDE = ("blq", "cens", "qualifier", "result", "limit", "lloq", "lod", "uloq", "excluded", "postdose", "unit")
_MARKS = ("below", "blq", "nd", "above", "alq")
_REMARKS = frozenset(
    {"comment", "comments", "note", "notes", "remark", "remarks", "bemerkung", "kommentar", "remarque"}
)
_OF_CELLS = vocabulary.CODES | vocabulary.FLAG_WORDS | vocabulary.OUT | vocabulary.IN | vocabulary.VERDICTS | _REMARKS
# A number of a well behind the day, and the name of the values before it.
_WELL = re.compile(r"(.*\d)[_. -](?:rep|well|w|r)?([1-9])", re.IGNORECASE)
_PREFIXED = re.compile(r"(.*?[a-z)])[_. -]+([a-z]+[_. -]?[+-]?\d+)", re.IGNORECASE)
# Time points that say no unit: T7, tp2, visit 3, what R calls a column 7, the day of a cycle.
_POINT_IN_TIME = re.compile(
    r"(?:.*[\s_.-])?(?:tp?|x|v|time|time[\s_.-]?point|visit[ea]?|zeitpunkt|c\d+[\s_.-]?d)"
    r"[\s_.-]*[+-]?\d+(?:\s*[(\[].*)?",
    re.IGNORECASE,
)
# Whole numbers below are codes and counts: a sex, a stage, lines of therapy.
FEWEST_OF_A_VALUE = 10
_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{1,2}[ -][a-z]{3,9}[ -]\d{2,4}", re.IGNORECASE
)


def tall(sheet: Sheet, columns: Mapping[str, str] | None = None, time_unit: str | None = None) -> Sheet:
    """The sheet with one row a sample, when it has one row a subject and columns called 0, 7, 14 or d0, d7, d14.

    That is so where no column means the day or the value and two or more are called as days are. Weeks, months and
    hours that the headings say become days, unless all are of the ``time_unit`` that is asked for. A cell that is
    empty is no sample, unless all of the subject's are. Other columns are repeated, and the note says what was done.

    Raises
    ------
    StudyError
        When the subjects are the columns, with the line that turns the table.
    """
    cells = sheet.cells
    found, problems = resolve(list(cells.columns), columns)
    if not problems or "value" in found or len(cells.columns) < 3:
        return sheet
    if "subject" not in found and {"day", "nominal_day"} & found.keys():
        _refuse_turned(sheet, found)
        return sheet
    days = {name: said for name in cells.columns if (said := day_of(name)) and name not in found.values()}
    value = "dv"
    if "subject" in found and "day" not in found and len(days) < 2:
        value, days = _named_days([name for name in cells.columns if name not in found.values()])
        _refuse_dates(sheet, found)
        if not days:
            _refuse_unsaid(sheet, found)
    units = {unit for _, unit in days.values()}
    if "subject" not in found or "day" in found or len(days) < 2:
        return sheet
    _refuse_repeated(sheet, list(days))
    others = [name for name in cells.columns if name not in days and name not in found.values()]
    beside = {word: those for word, those in _beside(sheet, others, days, value).items() if word not in cells.columns}
    taken = {name for those in beside.values() for name in those.values()}
    _refuse_nearly(sheet, [name for name in others if name not in taken], list(days))
    # Bare numbers, and the unit that is asked for, stay as they are; of any other unit each is made days.
    unit = units.pop() if len(units) == 1 and units <= {"", "day", time_unit} else "day"
    day = f"time ({unit})" if unit else "time"
    times = [
        cell_of(number if said == unit else _in_days(number, said), sheet.decimal) for number, said in days.values()
    ]
    kept = [name for name in cells.columns if name not in days and name not in taken]
    place, column = np.divmod(np.arange(len(cells) * len(days)), len(days))
    values = cells[list(days)].to_numpy(dtype=object).ravel()
    numbers = np.array(times, dtype=object)
    more = {word: _cells_of(cells, [those.get(name) for name in days]) for word, those in beside.items()}
    filled = values != ""
    for word, said in more.items():
        # An empty cell that a mark beside it calls below the limit is a sample.
        if MEANING.get(plain(word)) in ("blq", "result", "cens"):
            filled |= ~np.isin(np.char.lower(said.astype(str)), NO)
    sampled = np.bincount(place[filled], minlength=len(cells)) > 0
    used = filled | ~sampled[place]
    rows = cells[kept].iloc[place[used]].reset_index(drop=True)
    rows = rows.assign(
        **{day: pd.Series(numbers[column[used]], dtype="str"), value: pd.Series(values[used], dtype="str")},
        **{word: pd.Series(said[used], dtype="str") for word, said in more.items()},
    )
    names = list(days)
    line = f"One column a time, {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}: read as one row a sample."
    said = {said for _, said in days.values()} - {"", unit}
    line += f" {' and '.join(f'{each}s' for each in sorted(said)).capitalize()} were made days." if said else ""
    line += " A month is 30.4 days." if "month" in said else ""
    return replace(sheet, cells=rows, row=sheet.row[place[used]], note=f"{sheet.note}\n{line}".lstrip("\n"))


def _in_days(number: float, unit: str) -> float:
    # 168 / 24 and not 168 x (1 / 24), so that it is 7 to the last digit.
    return number / 24 if unit == "hour" else number * DAYS_IN[unit or "day"]


def _cells_of(cells: pd.DataFrame, names: list[str | None]) -> Texts:
    """(rows x days,) cells of the columns that stand beside those of the days, "" where there is none."""
    empty = np.full(len(cells), "", dtype=object)
    each = [empty if name is None else cells[name].to_numpy(dtype=object) for name in names]
    return np.stack(each, axis=1).ravel()


def _beside(
    sheet: Sheet, names: list[str], days: dict[str, tuple[float, str]], value: str
) -> dict[str, dict[str, str]]:
    """Columns that say something of those of the days, D7 flag and LLOQ_D28: {what: {column of the day: their name}}.

    A flag whose cells are marks (BLQ) is read as ``blq``, and values of another thing (CRP D7) are carried along.

    Raises
    ------
    StudyError
        For a flag, a remark or a verdict whose cells are no marks of censored values.
    """
    of_day = {days[name]: name for name in reversed(days)}
    found: dict[str, dict[str, str]] = {}
    for name in names:
        word, day = _parted(name, value)
        if day in of_day:
            found.setdefault(word, {})[of_day[day]] = name
    read: dict[str, dict[str, str]] = {}
    problems = []
    for word, those in found.items():
        words = set(words_of(word))
        said = list(dict.fromkeys(text for name in those.values() for text in pd.unique(sheet.cells[name]) if text))
        marked = [mark_of(text, sheet.decimal) for text in said]
        if MEANING.get(plain(word)) in _SAID_BESIDE or vocabulary.of_another(word, words):
            read[word] = those
        elif said and all(mark in _MARKS for mark, _ in marked):
            read["blq" if all(np.isnan(limit) for _, limit in marked) else "result"] = those
        elif words & _OF_CELLS:
            wrong = said if not words & _REMARKS else [text for text in said if _says(text)]
            for day, name in those.items() if wrong else ():
                cells = [text for text in pd.unique(sheet.cells[name]) if text in wrong]
                what = f"the column {name} says something of {day} and is not read ({', '.join(cells[:3])})"
                remedy = (
                    f"Write what it says into the cells of {day} (BLQ, <3, or nothing where it is not to be used), or "
                )
                remedy += f"read_study(..., ignore=[{name!r}]) when it says nothing about the values."
                problems += [Finding(None, None, None, what, remedy)] if cells else []
    if problems:
        raise StudyError([*sheet.problems, *problems], sheet.source)
    return read


def _parted(name: str, value: str) -> tuple[str, tuple[float, str] | None]:
    """What a heading says beside a day and the name of the values, and the day: D7 flag, BLQ_D60, copies_d60_cens."""
    parts = re.split(r"[\s_.:()\[\]-]+", name.strip().strip(")]"))
    for size in range(len(parts) - 1, 0, -1):
        for at in range(len(parts) - size + 1):
            day, rest = day_of(" ".join(parts[at : at + size])), [*parts[:at], *parts[at + size :]]
            rest = [part for part in rest if part.casefold() not in value.casefold().split("_")] or rest
            if day is not None and day[1] and any(map(str.isalpha, "".join(rest))):
                return "_".join(rest), day
    return "", None


def _says(text: str) -> bool:
    low = folded(text)
    return in_comment(low) or low in vocabulary.OUT_CELLS or mark_of(text)[0] in _MARKS


def _named_days(names: list[str]) -> tuple[str, dict[str, tuple[float, str]]]:
    """The name of the values and the day of each column, where they stand in one heading: copies_d7, d7_1 and d7_2.

    Of several wells (d7_1, d7_2) each is a row of its day.
    """
    wells: dict[str, tuple[float, str]] = {}
    prefixed: dict[str, dict[str, tuple[float, str]]] = {}
    for name in names:
        if (said := _WELL.fullmatch(name)) and (day := day_of(said[1])) and day[1]:
            wells[name] = day
        if (said := _PREFIXED.fullmatch(name)) and (day := day_of(said[2])) and day[1]:
            prefixed.setdefault(said[1], {})[name] = day
    if len(wells) > 2 and len(set(wells.values())) < len(wells):
        return "dv", wells
    values = [name for name in prefixed if MEANING.get(plain(name)) == "value" or unit_of_heading(name) or is_log(name)]
    if len(values) == 1 and len(prefixed[values[0]]) > 1:
        return values[0], prefixed[values[0]]
    return "dv", {}


def _refuse_repeated(sheet: Sheet, days: list[str]) -> None:
    """Say what d7.1 beside d7 is: the name that pandas gives a second column d7, and no day 7.1."""
    again = [
        name for name in days if (said := re.fullmatch(r"(.*[a-z].*)\.\d+", name, re.IGNORECASE)) and said[1] in days
    ]
    if again:
        what = f"the column {again[0]} is named as a second column {again[0].rpartition('.')[0]} is by pandas"
        remedy = "Call two wells of one day d7_1 and d7_2 (both, and all days alike); day 7.1 is written 7.1."
        raise one_problem(what, remedy, sheet.source)


def _refuse_dates(sheet: Sheet, found: Mapping[str, str]) -> None:
    """Say what to do when the columns are dates."""
    dates = [name for name in sheet.cells.columns if not name.isdecimal() and _DATE.fullmatch(name)]
    if len(dates) > 1:
        what = f"it has a column for each date ({', '.join(dates[:3])}{', ...' if len(dates) > 3 else ''})"
        remedy = f'Turn it, and add a column infusion_date: table.melt({found["subject"]!r}, var_name="date", '
        remedy += 'value_name="copies_per_ug"), with dates such as 2024-03-09.'
        raise one_problem(what, remedy, sheet.source)


def _refuse_unsaid(sheet: Sheet, found: Mapping[str, str]) -> None:
    """Say what to do when columns of measurements are called T0, T7, T28, x7 or C1D8: as time points, of no unit."""
    others = [name for name in sheet.cells.columns if name not in found.values()]
    points = [name for name in others if _POINT_IN_TIME.fullmatch(name) or _parted(name, "dv")[1]]
    table = [marks(sheet.cells[name].to_numpy(dtype=object), sheet.decimal)[0] for name in points]
    if len(points) > 1 and not any((mark == "unreadable").any() or (mark == "missing").all() for mark in table):
        several = f"{', '.join(points[:3])}{', ...' if len(points) > 3 else ''}"
        what = f"it seems to have a column for each time ({several}), and no heading says a time and its unit alone"
        remedy = "Call each by its time since the infusion, such as D7, W4, M3 or 6h (and LLOQ_D7 what belongs to D7), "
        remedy += "or give it one row a sample, with columns day and copies_per_ug."
        raise one_problem(what, remedy, sheet.source)


def _refuse_nearly(sheet: Sheet, others: list[str], days: list[str]) -> None:
    """Name the columns that hold measurements under a heading that is no day: EOT, baseline, Nachsorge, tp5."""
    table = np.stack([_numbers_of(sheet, name) for name in days], axis=1)
    behind = set(sheet.cells.columns[list(sheet.cells.columns).index(days[0]) :])
    problems = []
    for name in others:
        mark = marks(sheet.cells[name].to_numpy(dtype=object), sheet.decimal)[0]
        if (mark == "unreadable").any() or not (mark != "missing").any():
            continue
        words = {folded(word) for word in words_of(name)} & vocabulary.OF_PATIENTS - set(UNITS_OF_TIME)
        if (nearly(name) and not words) or _measures(sheet, name, mark, table, name in behind):
            found = f"the column {name} holds numbers and its heading names no day"
            remedy = "Name it as the others are (d90, or d-1 before the infusion), or"
            if {vocabulary.SPECIMENS.get(folded(word), "blood") for word in words_of(name)} - {"blood", "dna", "pbmc"}:
                remedy = "It is of another specimen: give it rows of its own with a column output (blood, marrow), or"
            remedy += f" read_study(..., ignore=[{name!r}])."
            problems.append(Finding(None, None, None, found, remedy))
    if problems:
        raise StudyError([*sheet.problems, *problems], sheet.source)


def _numbers_of(sheet: Sheet, name: str) -> Floats:
    """(rows,) finite numbers above 0 of a column, NaN elsewhere."""
    mark, number = marks(sheet.cells[name].to_numpy(dtype=object), sheet.decimal)
    return np.where((mark == "number") & (number > 0) & np.isfinite(number), number, np.nan)


def _measures(sheet: Sheet, name: str, mark: Texts, table: Floats, behind: bool) -> bool:
    """Whether a column holds values as the columns of the days do, whatever its heading.

    It has marks of censored values, or it stands behind the first day and its numbers lie where those of the days lie.
    Headings of covariates, limits and other laboratory values, small whole numbers, which are codes or counts, one
    number on all rows, and what sums up its row (the highest, the lowest, the mean) are none.
    """
    words = {folded(word) for word in words_of(name)}
    low = plain(name).replace("_", "")
    if vocabulary.of_another(name, words) or (words | {low}) & (vocabulary.OF_PATIENTS | vocabulary.LIMIT_WORDS):
        return False
    if MEANING.get(plain(name)) or mass_of(name) or per_well(name):
        return False
    if np.isin(mark, ["below", "blq", "above", "alq"]).any():
        return True
    number = _numbers_of(sheet, name)
    there = ~np.isnan(number)
    if not behind or not there.any() or np.isnan(table).all():
        return False
    if ((number[there] % 1 == 0) & (number[there] < FEWEST_OF_A_VALUE)).all():
        return False
    if len(number) > 2 and there.all() and len(np.unique(number)) == 1:
        return False
    rows = table[there & ~np.isnan(table).all(axis=1)]
    own = number[there & ~np.isnan(table).all(axis=1)]
    for summary in (np.nanmax, np.nanmin, np.nanmean, np.nansum, np.nanmedian) if len(rows) else ():
        if np.allclose(summary(rows, axis=1), own, rtol=0.02):
            return False
    inside = (number[there] >= np.nanmin(table) / 3) & (number[there] <= np.nanmax(table) * 3)
    return bool(2 * inside.sum() >= there.sum())


def _refuse_turned(sheet: Sheet, found: Mapping[str, str]) -> None:
    """Say what to do when the columns are the subjects: every one of them holds measurements."""
    day = found.get("day", found.get("nominal_day", ""))
    others = [name for name in sheet.cells.columns if name not in found.values()]
    read = [marks(sheet.cells[name].to_numpy(dtype=object), sheet.decimal)[0] for name in others]
    if len(others) > 1 and all(not (mark == "unreadable").any() and (mark != "missing").any() for mark in read):
        what = f"it has a column for each subject ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''})"
        remedy = f'Turn it: read_study(table.melt({day!r}, var_name="subject", value_name="copies_per_ug")).'
        raise one_problem(what, remedy, sheet.source)
