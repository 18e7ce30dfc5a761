"""One patient under several spellings, and courses of one patient that begin again at day 0."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.arrays import Flags, Floats
from cellkinetics.errors import Finding, StudyError
from cellkinetics.layout import series
from cellkinetics.layout.sheet import Sheet
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


def _folded(text: str) -> str:
    """What is left of a name without case, leading zeros, ``.0`` and the kind of stroke between its parts."""
    text = re.sub(r"^(\d+)\.0+$", r"\1", text.casefold())
    # 1e3 is what a spreadsheet makes of 1000.
    if re.fullmatch(r"\d+(?:\.\d+)?e\+?\d{1,2}", text) and float(text) % 1 == 0:
        text = str(int(float(text)))
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
    # Only where the day of a subject goes back in the order of the file can cells be infused again on an earlier one.
    order = np.argsort(code, kind="stable")
    back = (np.diff(code[order]) == 0) & (np.diff(days[order]) < 0)
    place = np.split(order, np.searchsorted(code[order], np.arange(1, len(subjects))))
    for suspect in np.unique(code[order][1:][back]).tolist():
        at = place[suspect][~np.isnan(days[place[suspect]])]
        again = "" if suspect in found else _again(sheet, names, at, days)
        if again:
            found[suspect] = again
    found = series.twice(sheet, code, days, names, averaged) | found
    if found:
        raise StudyError(series.problems_of(found, sheet, code, subjects), sheet.source)
    return sheet


def _again(sheet: Sheet, names: Mapping[str, str | None], at: Places, days: Floats) -> str:
    """What is said when a dose comes again on a day that was there before."""
    cells = sheet.cells

    def filled(meaning: str) -> Flags:
        name = names[meaning]
        if name is None:
            return np.zeros(len(at), dtype=bool)
        number, _ = numbers(cells[name].iloc[at].to_numpy(dtype=object), sheet.decimal)
        return number > 0

    value = names["value"]
    measured = np.zeros(len(at), dtype=bool)
    if value is not None:
        measured = marks(cells[value].iloc[at].to_numpy(dtype=object), sheet.decimal)[0] != "missing"
    doses = np.flatnonzero((filled("amount") | filled("dose")) & ~measured)
    for first, second in zip(doses[:-1].tolist(), doses[1:].tolist(), strict=True):
        between, after = days[at[first + 1 : second]], days[at[second + 1 :]]
        # Rows that are only unsorted do not run from dose to dose: here both series rise, each after its own dose.
        rising = (np.diff(days[at[first:second]]) >= 0).all() and len(after) > 0 and after[0] > days[at[second]]
        if rising and days[at[first]] >= days[at[second]] and (between > days[at[second]]).any():
            rows = f"rows {sheet.row[at[first]]} and {sheet.row[at[second]]}"
            return f"it is infused on day {days[at[second]]:g} again, after later samples ({rows})"
    return ""


def column_of(meaning: str, sheet: Sheet, columns: Mapping[str, str] | None = None) -> str | None:
    """The column of a sheet with a meaning, by `columns` or by its name."""
    given = {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    names = [name for name in sheet.cells.columns if meaning_of(name) == meaning]
    name = given.get(meaning, names[0] if names else None)
    return name if name in sheet.cells else None
