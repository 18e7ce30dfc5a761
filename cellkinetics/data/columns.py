"""Which column of a table means what, and its rows by meaning."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.errors import Finding, suggest
from cellkinetics.layout.cdisc import of_cdisc
from cellkinetics.layout.doses import unit_of_dose
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import numbers
from cellkinetics.meaning.headings import is_numeric as is_numeric
from cellkinetics.meaning.headings import mass_of as mass_of
from cellkinetics.meaning.headings import meaning_of as meaning_of
from cellkinetics.meaning.headings import other_unit
from cellkinetics.meaning.headings import per_well as per_well
from cellkinetics.meaning.synonyms import MEANING as MEANING
from cellkinetics.meaning.synonyms import SYNONYMS as SYNONYMS
from cellkinetics.meaning.synonyms import plain as plain
from cellkinetics.meaning.units import (
    canonical,
    is_log,
    may_be_copies,
    strange,
    unit_of_heading,
    unit_of_limit,
    words_of,
)
from cellkinetics.meaning.units import of_another_kind as of_another_kind
from cellkinetics.words import number_text

if TYPE_CHECKING:
    from cellkinetics.layout.sheet import Sheet

VALUE, DOSE = "copies/ug", "cells/kg"
LIMITS = ("lloq", "lod", "uloq")
_LIMIT_IN_A_HEADING = re.compile(r"\b(LLOQ|LOQ|LLQ|LOD)\b\W*(\d[\d.]*)", re.IGNORECASE)
# Days after the infusion beyond which a number is a date as a spreadsheet counts, or in another unit: 55 years.
LATEST = 20000.0
UNTRANSFORMED = "Give the values untransformed: 10 to the power of a log10, exp of an ln."
# Columns of Study.observations and Study.covariates that a column of the file may not take.
RESERVED_COLUMNS = {"row", "status", "lower", "upper", *MEANING, *SYNONYMS}


def resolve(names: Sequence[str], columns: Mapping[str, str] | None = None) -> tuple[dict[str, str], list[Finding]]:
    """Which column of a table has which meaning.

    Parameters
    ----------
    names : sequence of str
        The columns of the table.
    columns : mapping, optional
        ``{ours: theirs}``: wins over the synonyms.

    Returns
    -------
    dict
        Meaning (a key of `SYNONYMS`) to column. A column that is not in it has no meaning here.
    list of Finding
        Missing and ambiguous columns.
    """
    found: dict[str, str] = {}
    problems: list[Finding] = []

    def report(finding: str, remedy: str) -> None:
        problems.append(Finding(None, None, None, finding, remedy.strip()))

    if len(names) == 1:
        report(f"the header has one cell, {names[0]!r}", "Separate the cells by comma, semicolon or tab.")
        return found, problems
    for ours, theirs in (columns or {}).items():
        meaning = ours if ours in SYNONYMS else MEANING.get(plain(ours))
        if meaning is None:
            report(f"columns= has no {ours!r}", f"It takes {', '.join(SYNONYMS)}. {suggest(ours, SYNONYMS)}")
        elif theirs not in names:
            report(f"there is no column {theirs!r}", f"There are {', '.join(names)}. {suggest(theirs, names)}")
        else:
            found[meaning] = theirs
    taken = set(found.values())
    for meaning in SYNONYMS:
        same = [name for name in names if name not in taken and meaning_of(name) == meaning]
        if meaning in found or not same:
            continue
        found[meaning] = same[0]
        if len(same) > 1:
            report(
                f"the columns {', '.join(same)} all mean {meaning}",
                f"Say which one, read_study(..., columns={{{meaning!r}: {same[0]!r}}}).",
            )
    for name in names:
        meaning, unit = other_unit(name)
        if meaning in ("value", "lloq", "lod", "uloq", "dose") and not {meaning, per_well(name)} & found.keys():
            if is_log(unit):
                report(f"the column {name} holds logarithms", UNTRANSFORMED)
                found[meaning] = name
                continue
            if meaning == "dose" and not unit_of_dose(name)[1]:
                report(
                    f"the column {name} is not in {DOSE}", f"Write the cells out, or ignore=[{name!r}] if it is none."
                )
                found[meaning] = name
                continue
            if meaning == "value" and (limit := _LIMIT_IN_A_HEADING.search(unit)):
                short = "lod" if limit[1].lower() == "lod" else "lloq"
                remedy = f"Name the column by its unit, such as {VALUE}, and give read_study(..., {short}={limit[2]})."
                report(f"the heading {name} says a limit", remedy)
                found[meaning] = name
                continue
            if meaning != "dose" and strange(unit):
                remedy = f"Give the numbers multiplied by it, in a column whose heading says {VALUE}."
                report(f"the heading {name} says a factor, or a word that is not known", remedy)
                found[meaning] = name
                continue
            asked = f"{'dose_unit' if meaning == 'dose' else 'unit'}={unit!r}, columns={{{meaning!r}: {name!r}}}"
            remedy = f"Give read_study(..., {asked})."
            if meaning in LIMITS and all(other_unit(each) != ("value", unit) for each in names):
                # The unit of a limit is no reason to change that of the values.
                remedy = f"Give it in the unit of the values, or leave it out, read_study(..., ignore=[{name!r}]). "
                remedy += f"Only where the values are in {unit} too: read_study(..., {asked})."
            report(f"the column {name} is not in {DOSE if meaning == 'dose' else VALUE}", remedy)
            found[meaning] = name
    # A result beside no number is the value itself, in a unit that nobody has said.
    if "value" not in found and "result" not in {MEANING.get(plain(ours), ours) for ours in columns or {}}:
        found.pop("result", None)
    if "day" not in found and "nominal_day" in found:
        found["day"] = found["nominal_day"]
    for meaning in ("subject", "day", "value"):
        if meaning not in found and not any(meaning == MEANING.get(plain(ours)) for ours in columns or {}):
            report(f"there is no column for the {meaning}", _nearest(meaning, names, set(found.values())))
    return found, problems


class SheetRows:
    """The rows of a sheet by meaning, and what is wrong with them."""

    def __init__(self, sheet: Sheet, names: dict[str, str], problems: list[Finding]) -> None:
        self.cells, self.row, self.names, self.problems = sheet.cells, sheet.row, names, problems
        self.reported = np.zeros(len(sheet.row), dtype=bool)
        self.decimal = sheet.decimal
        self.subject = self.text("subject").to_numpy(dtype=object)
        self.code, subjects = pd.factorize(self.subject)
        self.subjects: tuple[str, ...] = tuple(subjects)
        self.day = np.full(len(self.row), np.nan)
        self.nominal_day = self.number("nominal_day")
        if names["day"] == names.get("nominal_day"):
            self.day = self.nominal_day
        else:
            actual = self.number("day")
            self.day = np.where(np.isnan(actual), self.nominal_day, actual)
        name = names["day"]
        self.report(
            np.abs(self.day) > LATEST,
            lambda at: f"{name} is {self.day[at]:g}, {self.day[at] / 365.25:.0f} years after the infusion",
            "A date as a spreadsheet counts days goes into a column date, that of the infusion into infusion_date; "
            "times in hours need time_unit='hour'.",
        )
        no_day = np.isnan(self.day) & ~self.reported
        self.report(no_day, lambda _: f"{names['day']} is empty", "Give the day of the row.")
        self.report(self.subject == "", lambda _: f"{names['subject']} is empty", "Say whose row it is.")
        hidden = {name for name in subjects if name.startswith("#") and name[1:].strip() in set(subjects)}
        remedy = "Comments stand above the header: remove the row, or its #."
        self.report(np.isin(self.subject, list(hidden)), lambda _: "the row is commented out", remedy)

    def text(self, meaning: str) -> pd.Series:
        """Cells of the column with a meaning, "" for each row when there is no such column."""
        if meaning in self.names:
            return self.cells[self.names[meaning]]
        return pd.Series("", index=self.cells.index, dtype="str")

    def number(self, meaning: str, least: float = -np.inf) -> Floats:
        """Cells as finite numbers of at least `least`, NaN where empty; anything else is reported."""
        if meaning not in self.names:
            return np.full(len(self.row), np.nan)
        name, text = self.names[meaning], self.text(meaning).to_numpy(dtype=object)
        values, unreadable = numbers(text, self.decimal)
        remedy = f"Write a number{self.comma}, or leave the cell empty."
        self.report(unreadable, lambda at: f"{name} is {text[at]!r}, which is not a number", remedy)
        outside = np.isinf(values) | (values < least)
        remedy = f"Give a finite number{', not negative,' * (least == 0)} or leave the cell empty."
        self.report(outside, lambda at: f"{name} is {text[at]}", remedy)
        return np.where(outside, np.nan, values)

    def choice(self, meaning: str, allowed: tuple[int, ...]) -> Floats:
        """Cells as one of a few whole numbers, NaN where empty."""
        values = self.number(meaning)
        wrong = ~np.isnan(values) & ~np.isin(values, allowed)
        found = f"{self.names.get(meaning)} is "
        self.report(wrong, lambda at: found + number_text(values[at]), f"It is one of {', '.join(map(str, allowed))}.")
        return np.where(wrong, np.nan, values)

    def constant(self, meaning: str, number: bool = False) -> pd.Series:
        """One cell a subject (index: the subjects), missing where all are empty; a change is reported."""
        text = self.text(meaning)
        series = pd.Series(self.number(meaning)) if number else text.replace("", np.nan)
        first = series.groupby(self.code).first().reindex(range(len(self.subjects)))
        expected = first.iloc[self.code].reset_index(drop=True)
        differs = (series.notna() & (series != expected)).to_numpy(dtype=bool)
        begins = differs & ~pd.Series(self.code).where(differs).duplicated().to_numpy()

        def found(at: int) -> str:
            was = number_text(expected[at]) if number else expected[at]
            return f"{self.names[meaning]} is {text[at]} and was {was}"

        self.report(begins, found, "It is one and the same for all rows of a subject.")
        first.index = pd.Index(self.subjects)
        return first

    def report(self, where: Flags, found: Callable[[int], str], remedy: str | Callable[[int], str]) -> None:
        """Note a problem for each row in `where`."""
        self.reported |= where
        for at in np.flatnonzero(where).tolist():
            day = None if np.isnan(self.day[at]) else float(self.day[at])
            advice = remedy if isinstance(remedy, str) else remedy(at)
            self.problems.append(Finding(int(self.row[at]), self.subject[at] or None, day, found(at), advice))

    @property
    def comma(self) -> str:
        """What a remedy adds about decimals."""
        return " (decimals with a comma, as elsewhere in the file)" if self.decimal == "," else ""


def check_units(
    rows: SheetRows, columns: Mapping[str, str] | None, unit: str, dose_unit: str, is_said: bool = True
) -> None:
    """Report the columns of values, limits and doses whose heading says another unit than that of the study.

    Where nobody has said the unit of the study, that of a value by `columns` must be told by its heading.
    """
    named = {MEANING.get(plain(ours), ours): name for ours, name in (columns or {}).items()}
    is_said |= any(unit_of_heading(ours) == unit for ours in columns or {})
    if not is_said and not (rows.text("unit") != "").any():
        _check_named(rows, named.get("value", ""))
    known = {meaning: rows.names[meaning] for meaning in ("value", *LIMITS, "dose", "amount") if meaning in rows.names}
    for meaning, name in (known | named).items():
        expected = unit if meaning in ("value", "limit", "lloq", "lod", "uloq") else dose_unit
        said = unit_of_heading(name) or (unit_of_dose(name)[0] if meaning in ("dose", "amount") else "")
        odd = odd_unit(name) or (meaning == "value" and expected == VALUE and of_another_kind(name))
        if meaning in ("limit", *LIMITS):
            said = said or unit_of_limit(name, expected)
        known = said or odd or is_log(name)
        if meaning not in ("value", "limit", "lloq", "lod", "uloq", "dose", "amount") or not known or per_well(name):
            continue
        if is_log(name):
            rows.problems.append(Finding(None, None, None, f"the column {name} holds logarithms", UNTRANSFORMED))
        elif odd and meaning not in ("dose", "amount"):
            found = f"the heading {name} says a factor or another unit"
            remedy = f"Convert the numbers to {expected}, in a column with a heading that says no more than its unit."
            rows.problems.append(Finding(None, None, None, found, remedy))
        elif said and canonical(said) != expected and meaning in ("limit", *LIMITS):
            found = f"the limit {name} says {said}, and the study is in {expected}"
            remedy = f"Give it in {expected}, or leave it out, read_study(..., ignore=[{name!r}])."
            rows.problems.append(Finding(None, None, None, found, remedy))
        elif said and canonical(said) != expected:
            asked = f"{'dose_unit' if expected is dose_unit else 'unit'}={said!r}"
            found = f"the column {name} says {said}, and the {'doses are' if expected is dose_unit else 'study is'} in"
            remedy = f"Give read_study(..., {asked}), or convert them to {expected}."
            if strange(said, expected is dose_unit):
                remedy = f"Convert them to {expected}, in a column with a heading that says no factor."
            if meaning == "value" and "unit" in rows.names:
                column = rows.names["unit"]
                remedy = f"Where the heading is right: read_study(..., ignore=[{column!r}]). Where {column} is right: "
                remedy += f"call the column DV; a model of {VALUE} does not take it."
            rows.problems.append(Finding(None, None, None, f"{found} {expected}", remedy))


def _check_named(rows: SheetRows, name: str) -> None:
    """Report a column that is named as the value and whose heading may say another unit, in whatever words."""
    told = not name or may_be_copies(name) or unit_of_heading(name) or odd_unit(name) or of_another_kind(name)
    if told or per_well(name) or is_log(name):
        return
    found = f"the heading {name} of the values does not say that they are in {VALUE}"
    remedy = f"Say in what they are, read_study(..., unit=...): {VALUE!r} where they are in that."
    rows.problems.append(Finding(None, None, None, found, remedy))


# What a heading may say of a value that no unit here has: a factor, a number, another thing counted, a spread.
_ODD = re.compile(
    r"10\s*[\^*]|(?:^|[^a-z0-9])(?:x\s*\d|\d*\.?\d*e\d)|\d{3}|million|thousand"
    r"|(?:^|[^a-z])(?:k|m|kilo|mega|mio|mrd)[ _]?cop"
    r"|(?:^|[^a-z0-9])\d+\s*_?[kmx]?\s*cop|%|percent",
    re.IGNORECASE,
)
_SPREAD = {"sd", "se", "sem", "std", "stdev", "stddev", "stderr", "cv", "rsd", "variance", "error", "ratio", "fold"}


def odd_unit(name: str) -> bool:
    """Whether a heading says a factor, a spread, or copies per something that is no unit here: never read as copies/ug.

    Examples
    --------
    >>> odd_unit("10^3 copies/ug"), odd_unit("copies/1e5 PBMC"), odd_unit("copies per 100 ng"), odd_unit("qPCR copies")
    (True, True, False, False)
    """
    # The number of a replicate is no factor: copies_per_ug_rep1.
    low = re.sub(r"[_ ](?:rep|replicate|run|well)[_ ]?\d*$", "", name.strip().casefold())
    if set(re.findall(r"[a-z]+", low)) & _SPREAD:
        return True
    unit = unit_of_heading(low)
    if re.fullmatch(r"copies/\d+ \w+", unit):
        # 100 of "copies per 100 ng" is part of a unit.
        return re.match(r"\d", low) is not None
    if _ODD.search(low) is not None:
        return True
    counted = re.search(
        r"cop(?:y|ies)|(?:^|[^a-z])(?:c|cp|gc|vg|vcn|ge|geq|gec)(?:[^a-z]|$)|cells?|genom|equivalent", low
    )
    per = re.search(r"/|(?:^|[^a-z])(?:per|pro|par|je|por)(?:[^a-z]|$)", low)
    return not unit and counted is not None and per is not None and not may_be_copies(name)


def _is_no_value(name: str) -> bool:
    """Whether a heading that is like that of the values is of something else: CRP value, copies_LLOQ, value_date."""
    words = set(words_of(name))
    dna = bool(words & {"dna", "gdna", "rna"}) and not words & {"copies", "copy", "per"}
    return dna or bool(words & vocabulary.NO_VALUES) or vocabulary.of_another(name, words) or of_another_kind(name)


def _nearest(meaning: str, names: Sequence[str], taken: Iterable[str]) -> str:
    """What to do about a missing column: the heading that is nearest, but for logarithms, which are no values."""
    logs = [name for name in names if meaning == "value" and is_log(name)]
    free = {plain(name): name for name in reversed(names) if name not in taken and name not in logs}
    standard = of_cdisc(names) if meaning in ("value", "day") else None
    if standard:
        return standard
    if meaning == "value":
        # Names of tests and units are text; what says another unit is a value in that unit.
        free = {low: name for low, name in free.items() if not low.endswith(("test", "testcd", "unit", "units", "cd"))}
        free = {low: name for low, name in free.items() if not _is_no_value(name)}
    if meaning == "day":
        free = {low: name for low, name in free.items() if not set(words_of(name)) & vocabulary.NO_DAYS}
    ratio = {
        name: max(difflib.SequenceMatcher(None, low, synonym).ratio() for synonym in SYNONYMS[meaning])
        for low, name in free.items()
    }
    if meaning == "value":
        ratio |= {name: 1.0 for name in free.values() if unit_of_heading(name).startswith(("copies/", "cells/"))}
    best = max(ratio, key=lambda name: ratio[name], default="")
    if best and ratio[best] >= 0.6:
        if meaning == "value" and odd_unit(best):
            return (
                f"The heading {best} says a factor or another unit: convert it to {VALUE}, in a column copies_per_ug."
            )
        said = unit_of_heading(best) if meaning == "value" else ""
        unit = f", unit={said!r}" if said and canonical(said) != VALUE else ""
        if meaning == "value" and not said and not may_be_copies(best):
            unit = ", unit=...)" + f", with the unit that it has: {VALUE!r} where it is that"
            return f"Is it {best}? Then read_study(..., columns={{{meaning!r}: {best!r}}}{unit}."
        return f"Is it {best}? Then read_study(..., columns={{{meaning!r}: {best!r}}}{unit})."
    if logs:
        return f"The column {logs[0]} holds logarithms. {UNTRANSFORMED}"
    return f"There are {', '.join(names)}. Say which one, read_study(..., columns={{{meaning!r}: ...}})."
