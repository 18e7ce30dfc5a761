"""Two series of samples in one subject: courses by a column, days that begin again, days that all stand there twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats
from cellkinetics.errors import Finding
from cellkinetics.layout.sheet import Sheet
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import marks
from cellkinetics.meaning.headings import meaning_of
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import words_of
from cellkinetics.meaning.vocabulary import folded

COURSES = {"occ", "occasion", "course", "cycle", "period", "treatment", "infusion", "infusion_no", "infusion_nr"}
COURSES |= {"infusion_number", "infusion_num", "infusion_id", "course_no", "course_number", "cycle_no", "cycle_number"}
COURSES |= {"dose_no", "dose_number", "treatment_no", "reinfusion", "epoch", "round", "series", "zyklus", "kurs"}
COURSES |= {"serie", "gabe", "infusionsnummer", "infusion_nummer", "cure", "cyclo", "ciclo", "curso", "behandlung"}
# Of these the levels are counted when they are courses: treatment 1 and 2, and not steroids and none.
_OTHERWISE = {
    "treatment",
    "period",
    "infusion",
    "epoch",
    "round",
    "series",
    "serie",
    "behandlung",
    "reinfusion",
    "gabe",
}
# Headings that tell the rows of one day apart as repeats of one measurement.
REPEATS = {"well", "wells", "replicate", "replicates", "rep", "run", "plate", "tube", "aliquot", "duplicate", "repeat"}
REPEATS |= {
    "triplicate",
    "technical",
    "reader",
    "messung",
    "ansatz",
    "wiederholung",
    "replikat",
    "extraction",
    "dilution",
}
# What may stand beside these words in a heading: Cycle #, Zyklus-Nr, Infusion No.
_NUMBERS_OF = {"no", "nr", "num", "number", "id", "n", "nummer", "numero", "index", "count"}
# Places and studies, in each of which patients may be numbered from 1.
PLACES = {"site", "siteid", "center", "centre", "centreid", "centerid", "country", "hospital", "clinic", "institution"}
PLACES |= {"zentrum", "klinik", "land", "standort", "trial", "protocol", "hopital", "pays", "ensayo", "institute"}
PLACES |= {"sitio", "centro", "sito", "ospedale", "protokoll", "investigator", "prufzentrum", "krankenhaus"}
_KINDS_OF = ("output", "output_name", "kind", "kind_name")
# How far two values of one day may be apart and still be one measurement, done twice.
FAR_APART = 3.0
ADMINISTRATION = "adm"
ONE_CLOCK = (
    "Give days since the first infusion of the patient, make each course a subject of its own ({0}-1, {0}-2), or tell "
    "measurements of one sample apart in a column replicate, and two kinds of measurement in a column output; rows "
    "that are only unsorted: sort them by day."
)

AFTER_A_DOSE = (
    "Give days since the first infusion of the patient on all rows, or make each course a subject of its own ({0}-1, "
    "{0}-2); rows that are only unsorted: sort them by day, the row of a dose before the samples that follow it."
)


def courses(sheet: Sheet, code: npt.NDArray[np.intp], days: Floats, taken: Mapping[str, str | None]) -> dict[int, str]:
    """What is said of each subject, by its code, the days of whose courses lie on each other; NaN is no day."""
    found: dict[int, str] = {}
    for name in sheet.cells.columns:
        word = course_of(name)
        if not word or name in taken.values():
            continue
        said = sheet.cells[name].to_numpy(dtype=object)
        levels = [text for text in pd.unique(said) if text]
        if len(levels) < 2 or (word in _OTHERWISE and not all(any(map(str.isdigit, text)) for text in levels)):
            continue
        for each, shown in _overlapping(said, code, days).items():
            found[each] = f"the days of its courses ({name} {shown}) lie on each other"
    return found


def course_of(name: str) -> str:
    """The word of `COURSES` that a heading is, but for a number beside it; "" when it is none."""
    if plain(name) in COURSES:
        return plain(name)
    words = [word for word in words_of(name) if word not in _NUMBERS_OF]
    return words[0] if len(words) == 1 and words[0] in COURSES else ""


def _overlapping(said: npt.NDArray[np.object_], code: npt.NDArray[np.intp], days: Floats) -> dict[int, str]:
    """The levels of a column in each subject in which their days lie on each other, as text, by its code."""
    there = ~np.isnan(days) & (said != "")
    rows = pd.DataFrame({"code": code[there], "course": said[there], "day": days[there]})
    spans = rows.groupby(["code", "course"], sort=False)["day"].agg(["min", "max"]).reset_index()
    spans = spans.sort_values(["code", "min", "max"], kind="stable")
    before = spans.groupby("code")["max"].transform(lambda ends: ends.cummax().shift())
    return {
        int(each): ", ".join(spans["course"][spans["code"] == each].astype(str).head(4))
        for each in spans["code"][spans["min"] < before].unique().tolist()
    }


def places(
    sheet: Sheet,
    code: npt.NDArray[np.intp],
    days: Floats,
    subjects: npt.NDArray[np.object_],
    taken: Iterable[str | None],
) -> list[Finding]:
    """A problem for each name that stands at two sites, or in two trials, on days that lie on each other.

    A patient who moves to another hospital has its days one after the other, and is one patient.
    """
    for name in sheet.cells.columns:
        words = {word for word in words_of(name) if word not in _NUMBERS_OF}
        if len(words) != 1 or not words & PLACES or name in taken:
            continue
        said = sheet.cells[name].to_numpy(dtype=object)
        level, texts = pd.factorize(said)
        filled = said != ""
        # The site of a draw, blood or marrow, is a kind of measurement.
        if len(texts) < 2 or all(folded(str(text)) in vocabulary.SPECIMENS for text in texts if text):
            continue
        each = pd.Series(level[filled]).groupby(code[filled])
        several = each.min().index[(each.min() != each.max()).to_numpy()].to_numpy()
        chosen = np.isin(code, several)
        found = _overlapping(said[chosen], code[chosen], days[chosen]) if len(several) else {}
        if found:
            remedy = f"Give each patient a name of its own ({{0}}-A, {{0}}-B), or read_study(..., ignore=[{name!r}]) "
            remedy += "when it is one patient with samples from both."
            return [
                Finding(
                    int(sheet.row[int(np.argmax(code == at))]),
                    str(subjects[at]),
                    None,
                    f"it is at several of the column {name} ({shown}), on days that lie on each other",
                    remedy.format(subjects[at]),
                )
                for at, shown in sorted(found.items())
            ]
    return []


def twice(
    sheet: Sheet,
    code: npt.NDArray[np.intp],
    days: Floats,
    names: Mapping[str, str | None],
    averaged: bool,
) -> dict[int, str]:
    """What is said of each subject, by its code, whose samples are two series and no column tells them apart.

    Either its days begin again in the order of the file, or two days or more stand there twice, with values that are
    more than three times apart, which no two measurements of one sample are.

    Parameters
    ----------
    sheet, code, days : Sheet, (n,) array of int, (n,) array
        The subject of each row, and its day, NaN where there is none.
    names : mapping
        Meaning to column.
    averaged : bool
        Whether the user says that samples of one day are to be averaged.
    """
    value = names.get("value")
    if value is None:
        return {}
    mark, number = marks(sheet.cells[value].to_numpy(dtype=object), sheet.decimal)
    there = np.flatnonzero(~np.isnan(days) & (mark != "missing"))
    # The number of an administration tells no samples apart.
    kinds = [name for name in sheet.cells.columns if meaning_of(name) in _KINDS_OF or name in _given(names)]
    kinds = [name for name in kinds if ADMINISTRATION not in words_of(name)]
    rows = pd.DataFrame({"code": code[there], "day": days[there], "number": number[there], "at": there})
    rows["number"] = rows["number"].where((mark == "number")[there] & (rows["number"] > 0))
    rows["kind"] = ""
    for name in kinds:
        rows["kind"] += "\x1f" + sheet.cells[name].iloc[there].reset_index(drop=True)
    same = rows.duplicated(["code", "day", "kind"], keep=False).to_numpy()
    found: dict[int, str] = {}
    for each, own in rows[same].groupby("code") if not averaged else ():
        days_of = own.groupby(["day", "kind"])["number"].agg(["min", "max", "count"])
        wide = days_of[(days_of["count"] > 1) & (days_of["max"] > FAR_APART * days_of["min"])]
        if len(wide) > 1 and not _told_apart(sheet, own):
            shown = ", ".join(f"{day:g}" for day, _ in wide.index[:3])
            lines = ", ".join(str(sheet.row[at]) for at in own["at"].head(2))
            found[int(str(each))] = f"two series stand on each other: days {shown} have values far apart (rows {lines})"
    for each, own in _unsorted(rows):
        if each not in found and (again := _restart(own)) is not None and not _told_apart(sheet, own):
            day, at = again
            found[each] = f"its days begin again on day {day:g} (row {sheet.row[at]}), with nothing that says why"
    return found


def _given(names: Mapping[str, str | None]) -> set[str]:
    return {name for meaning, name in names.items() if meaning in _KINDS_OF and name is not None}


def _unsorted(rows: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
    """The rows of each subject and kind whose day goes back in the order of the file."""
    order = rows.sort_values(["code", "kind", "at"], kind="stable")
    code, kind, day = (order[name].to_numpy() for name in ("code", "kind", "day"))
    back = (code[1:] == code[:-1]) & (kind[1:] == kind[:-1]) & (day[1:] < day[:-1])
    suspects = order[["code", "kind"]].iloc[1:][back].drop_duplicates()
    if suspects.empty:
        return []
    chosen = order.merge(suspects, on=["code", "kind"])
    return [(int(str(key[0])), own) for key, own in chosen.groupby(["code", "kind"], sort=False)]


def _restart(own: pd.DataFrame) -> tuple[float, int] | None:
    """The day and the row on which a second series begins, whose days are those of the first or nearly so.

    Rows that are only unsorted rise in many runs, or fill the gaps between days that are there.
    """
    day = own["day"].to_numpy(dtype=float)
    starts = np.flatnonzero(np.diff(day) < 0) + 1
    runs = np.split(day, starts)
    if len(runs) > max(2, len(day) // 3) or min(map(len, runs)) < 2:
        return None
    for start, first, second in zip(starts.tolist(), runs[:-1], runs[1:], strict=True):
        near = np.abs(second[:, None] - first[None, :]).min(axis=1) <= np.minimum(2.0, 0.15 * np.abs(second))
        begins = abs(second[0] - first[0]) <= min(2.0, 0.15 * abs(second[0])) or second[0] < first[0]
        if begins and near.sum() >= 2 and 2 * near.sum() >= len(second):
            if _close(own, first, start, second):
                continue
            return float(second[0]), int(own["at"].iloc[start])
    return None


def _close(own: pd.DataFrame, first: Floats, start: int, second: Floats) -> bool:
    """Whether the second run has the days of the first and values like theirs: one sample measured twice."""
    number = own["number"].to_numpy(dtype=float)
    before = dict(zip(first.tolist(), number[start - len(first) : start].tolist(), strict=True))
    after = number[start : start + len(second)]
    pairs = [(before[day], each) for day, each in zip(second.tolist(), after.tolist(), strict=True) if day in before]
    known = [(one, two) for one, two in pairs if one > 0 and two > 0]
    return len(pairs) == len(second) and all(max(pair) <= FAR_APART * min(pair) for pair in known)


def _told_apart(sheet: Sheet, own: pd.DataFrame) -> bool:
    """Whether a column tells the rows of one day apart: a replicate, or a text, an endpoint that is looked at later."""
    at = own["at"].to_numpy()
    for name in sheet.cells.columns:
        words = {*words_of(name), plain(name).replace("_", "")}
        texts = sheet.cells[name].iloc[at]
        levels = [text for text in pd.unique(texts) if text]
        if len(levels) < 2 or meaning_of(name) not in (None, "result"):
            continue
        if course_of(name):
            continue
        kinds = len(levels) <= 8 and (
            words & vocabulary.ENDPOINTS or all(sum(map(str.isalpha, text)) > 1 for text in levels)
        )
        if (words & REPEATS or kinds) and _differs(own.assign(said=texts.to_numpy())):
            return True
    return False


def _differs(own: pd.DataFrame) -> bool:
    """Whether the rows of one day differ in a column, or it has one level in each run where no day is there twice."""
    several = own[own.duplicated(["day", "kind"], keep=False)]
    if several.empty:
        return own["said"].nunique() > 1
    return bool((several.groupby(["day", "kind"])["said"].nunique() > 1).all())


def problems_of(
    found: Mapping[int, str],
    sheet: Sheet,
    code: npt.NDArray[np.intp],
    subjects: npt.NDArray[np.object_],
    remedy: str = ONE_CLOCK,
) -> list[Finding]:
    """One problem a subject, on its first row."""
    listed = []
    for each, text in sorted(found.items()):
        first: Flags = code == each
        row = int(sheet.row[int(np.argmax(first))])
        listed.append(Finding(row, str(subjects[each]) or None, None, text, remedy.format(subjects[each])))
    return listed
