"""One patient under several spellings, and courses of one patient that begin again at day 0."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats
from cellkinetics.errors import Finding, StudyError
from cellkinetics.layout import series
from cellkinetics.layout.sheet import Sheet
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import marks, numbers
from cellkinetics.meaning.headings import meaning_of
from cellkinetics.meaning.synonyms import MEANING, plain
from cellkinetics.meaning.vocabulary import CONTROL

Places = npt.NDArray[np.intp]
_MEANINGS = ("subject", "day", "nominal_day", "amount", "dose", "value", "output", "output_name", "kind")
_STATISTIC = re.compile(
    r"(?:grand |arithmetic |geometric |geo )?(?:means?|medians?|totals?|sums?|averages?|avg|mittelwert|summe|gesamt|"
    r"moyenne|mediane?|stdev|geomean)(?: ?[±(].*)?",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"[\s\u200b\u200c\u200d\u2060\ufeff]+")


def one_spelling(sheet: Sheet, columns: Mapping[str, str] | None = None) -> Sheet:
    """The sheet with one spelling of each subject where two differ by what cannot be seen: hard and double blanks.

    Raises
    ------
    StudyError
        When two subjects differ only by case, leading zeros, ``.0`` or the stroke between two parts: 001, 1 and 1.0.
    """
    name = column_of("subject", sheet, columns)
    if name is None:
        return sheet
    codes, distinct = pd.factorize(sheet.cells[name].to_numpy(dtype=object))
    seen = [_BLANKS.sub(" ", unicodedata.normalize("NFKC", text)).strip() for text in distinct]
    alike: dict[str, list[str]] = {}
    for text in dict.fromkeys(seen):
        alike.setdefault(_folded(text), []).append(text)
    for texts in _zeros_and_letters(seen):
        alike.setdefault("\x00".join(texts), []).extend(texts)
    problems = _summary_rows(sheet, codes, seen)
    for texts in alike.values():
        if len(texts) > 1:
            first = [int(sheet.row[codes == seen.index(text)][0]) for text in texts]
            found = f"{', '.join(map(repr, texts))} (first in rows {', '.join(map(str, first))}) look like one patient"
            remedy = "Write one name on all rows; two patients need names that differ by more (A1, B1)."
            problems.append(Finding(None, texts[0], None, found, remedy))
    if problems:
        raise StudyError([*sheet.problems, *problems], sheet.source)
    if all(new == old for new, old in zip(seen, distinct, strict=True)):
        return sheet
    spelled = pd.Series(np.array(seen, dtype=object)[codes], dtype="str")
    return replace(sheet, cells=sheet.cells.assign(**{name: spelled}))


def _summary_rows(sheet: Sheet, codes: Places, seen: list[str]) -> list[Finding]:
    """A problem for each name that is that of a statistic, such as a last row ``mean``: it is no patient."""
    problems = []
    for code, text in enumerate(seen):
        if _STATISTIC.fullmatch(text) and len(seen) > 1:
            found = f"{text!r} is the name of a statistic and no patient"
            remedy = "Remove the rows that sum others up; a patient of that name needs another."
            problems.append(Finding(int(sheet.row[codes == code][0]), text, None, found, remedy))
    controls = [bool(CONTROL.fullmatch(text)) for text in seen]
    for code in np.flatnonzero(controls).tolist() if not all(controls) else ():
        found = f"{seen[code]!r} is the name of a control, a standard or a limit and no patient"
        remedy = "Remove its rows (a limit goes into lloq=); a patient of that name needs another."
        problems.append(Finding(int(sheet.row[codes == code][0]), seen[code], None, found, remedy))
    return problems


def _zeros_and_letters(seen: list[str]) -> list[list[str]]:
    """Names that differ by the letter O in place of a zero only: PO1 and P01."""
    found: dict[str, list[str]] = {}
    for text in dict.fromkeys(seen):
        low = text.casefold()
        found.setdefault(low.replace("o", "0"), []).append(text)
    return [texts for texts in found.values() if len({text.casefold() for text in texts}) > 1]


def _folded(text: str) -> str:
    """What is left of a name without case, leading zeros, ``.0`` and the kind of stroke between its parts."""
    text = re.sub(r"^(\d+)\.0+$", r"\1", text.casefold())
    # 1e3 is what a spreadsheet makes of 1000.
    if re.fullmatch(r"\d+(?:\.\d+)?e\+?\d{1,2}", text) and float(text) % 1 == 0:
        text = str(int(float(text)))
    # Initials: A.B. and A B are AB.
    if re.fullmatch(r"(?:[^\W\d_][\s.]*){2,3}", text):
        text = re.sub(r"[\s.]+", "", text)
    text = re.sub(r"[\s_.\-/\u2010-\u2015\u2212]+", "-", text)
    # P-01 is P01, and 1-1 is not 11.
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"(?<=[^\W\d])-(?=\d)|(?<=\d)-(?=[^\W\d])", "", text))


def one_clock(sheet: Sheet, columns: Mapping[str, str] | None = None, averaged: bool = False) -> Sheet:
    """The sheet, when the days of each subject run on; `averaged`: samples of one day are of one sample.

    Raises
    ------
    StudyError
        When they begin again: a column such as OCC or ``course`` changes while the days overlap, cells are infused
        twice on one day with later samples between the two rows, or the samples are two series with nothing that
        tells them apart.
    """
    names = {meaning: column_of(meaning, sheet, columns) for meaning in _MEANINGS}
    subject, day = names["subject"], names["day"] or names["nominal_day"]
    if subject is None or day is None:
        return sheet
    cells = sheet.cells
    days, unreadable = numbers(cells[day].to_numpy(dtype=object), sheet.decimal)
    code, subjects = pd.factorize(cells[subject].to_numpy(dtype=object))
    days[np.isinf(days) | unreadable] = np.nan
    at_places = series.places(sheet, code, days, subjects, names.values())
    if at_places:
        raise StudyError([*sheet.problems, *at_places], sheet.source)
    found = series.courses(sheet, code, days, names)
    restarted: dict[int, str] = {}
    # Only where the day of a subject goes back in the order of the file can cells be infused again on an earlier one.
    order = np.argsort(code, kind="stable")
    back = (np.diff(code[order]) == 0) & (np.diff(days[order]) < 0)
    place = np.split(order, np.searchsorted(code[order], np.arange(1, len(subjects))))
    for suspect in np.unique(code[order][1:][back]).tolist():
        at = place[suspect][~np.isnan(days[place[suspect]])]
        if suspect in found:
            continue
        if again := _again(sheet, names, at, days):
            found[suspect] = again
        elif after := _before_its_dose(sheet, names, at, days):
            restarted[suspect] = after
    found = {
        each: text
        for each, text in (series.twice(sheet, code, days, names, averaged) | found).items()
        if each not in restarted
    }
    if found or restarted:
        problems = series.problems_of(found, sheet, code, subjects)
        problems += series.problems_of(restarted, sheet, code, subjects, series.AFTER_A_DOSE)
        raise StudyError(problems, sheet.source)
    return sheet


def _doses(sheet: Sheet, names: Mapping[str, str | None], at: Places) -> tuple[Places, Flags]:
    """Where among the rows `at` of one subject doses stand, and which of these rows have a value.

    A dose that stands on every row says of none that it was given there.
    """
    cells = sheet.cells
    dosed, measured = np.zeros(len(at), dtype=bool), np.zeros(len(at), dtype=bool)
    for meaning in ("amount", "dose"):
        name = names[meaning]
        if name is not None:
            dosed |= numbers(cells[name].iloc[at].to_numpy(dtype=object), sheet.decimal)[0] > 0
    value = names["value"]
    if value is not None:
        measured = marks(cells[value].iloc[at].to_numpy(dtype=object), sheet.decimal)[0] != "missing"
    return np.flatnonzero(dosed & ~dosed.all()), measured


def _again(sheet: Sheet, names: Mapping[str, str | None], at: Places, days: Floats) -> str:
    """What is said when a dose comes again on a day that was there before."""
    doses, _ = _doses(sheet, names, at)
    for first, second in zip(doses[:-1].tolist(), doses[1:].tolist(), strict=True):
        between, after = days[at[first + 1 : second]], days[at[second + 1 :]]
        # Rows that are only unsorted do not run from dose to dose: here both series rise, each after its own dose.
        rising = (np.diff(days[at[first:second]]) >= 0).all() and len(after) > 0 and after[0] > days[at[second]]
        if rising and days[at[first]] >= days[at[second]] and (between > days[at[second]]).any():
            rows = f"rows {sheet.row[at[first]]} and {sheet.row[at[second]]}"
            return f"it is infused on day {days[at[second]]:g} again, after later samples ({rows})"
    return ""


def _before_its_dose(sheet: Sheet, names: Mapping[str, str | None], at: Places, days: Floats) -> str:
    """What is said when samples stand below the row of a dose and their days begin again.

    Both runs rise, that above the dose and that below it, and the second begins where the first has been, before the
    day of the dose or on days that are there above it: rows that are only unsorted do not, nor do doses that stand
    above or below all samples. Each kind of measurement is a run of its own, and wells are not asked for: a well of an
    earlier sample does not stand below a later infusion.
    """
    doses, measured = _doses(sheet, names, at)
    kinds = sheet.cells.iloc[at][
        [name for name in sheet.cells.columns if meaning_of(name) in ("output", "output_name")]
    ]
    kind = kinds.agg("\x1f".join, axis=1).to_numpy(dtype=object) if len(kinds.columns) else np.full(len(at), "")
    ends = [0, *doses.tolist(), len(at)]
    for begin, place, end in zip(ends[:-2], ends[1:-1], ends[2:], strict=True):
        day = float(days[at[place]])
        for each in np.unique(kind[place + 1 : end]).tolist():
            own = measured & (kind == each)
            before, after = (days[at[part][own[part]]] for part in (slice(begin, place), slice(place + 1, end)))
            if not len(before) or not len(after) or (np.diff(before) < 0).any() or (np.diff(after) < 0).any():
                continue
            follows = before[-1] <= day or len(before) > 1
            earlier = after[0] < day or (len(before) > 1 and np.isin(after, before).sum() > 1)
            if follows and earlier and after[0] <= before[-1]:
                row = int(sheet.row[at[place + 1 + int(np.argmax(own[place + 1 : end]))]])
                below = f"below its infusion on day {day:g} (row {sheet.row[at[place]]})"
                return f"its days begin again on day {after[0]:g} (row {row}), {below}"
    return ""


def column_of(meaning: str, sheet: Sheet, columns: Mapping[str, str] | None = None) -> str | None:
    """The column of a sheet with a meaning, by `columns` or by its name."""
    given = {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    names = [name for name in sheet.cells.columns if meaning_of(name) == meaning]
    name = given.get(meaning, names[0] if names else None)
    return name if name in sheet.cells else None
