"""The columns that nothing reads: named, looked at, and carried along."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.data.administrations import Dosing
from cellkinetics.data.columns import RESERVED_COLUMNS, SheetRows, mass_of, per_well, plain
from cellkinetics.data.days import unit_of
from cellkinetics.data.measuring import Written
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import suspicions
from cellkinetics.meaning.cells import Texts, number_of, numbers
from cellkinetics.meaning.synonyms import TIME_UNITS
from cellkinetics.meaning.units import time_unit_of

_LEADING_ZERO = re.compile(r"[+-]?0\d.*")
# What other steps read by its name, though it has no meaning in `SYNONYMS`.
_READ = {"rate", "ss", "study", "studyid", "study_id", "simulated", "clock", *TIME_UNITS}

_REPORTED = {"ORRES", "ORRESU", "STRESC", "STRESN"}


@dataclass(frozen=True)
class Carried:
    """The columns that mean nothing here: (rows, those that vary) and (subjects, those that do not)."""

    varying: pd.DataFrame
    steady: pd.DataFrame


def carried(
    rows: SheetRows,
    output: pd.Series,
    written: Written,
    sample: Flags,
    dosing: Dosing,
    unit: str,
    units_differ: bool,
    time_unit: str | None = None,
    dose_unit: str = "cells/kg",
    empty: Flags | None = None,
) -> Carried:
    """The columns that nothing reads; one that looks as if it changed the meaning of a value is reported."""
    known = set(rows.names.values())
    # The result as it was reported, which STRESC and STRESN have in standard units.
    standard = {name[:2].upper() for name in known if re.fullmatch(r"[A-Z]{2}STRES[CN]", name.upper())}
    reported = {name for name in rows.cells.columns if name.upper()[2:] in _REPORTED and name.upper()[:2] in standard}
    texts = {name: rows.cells[name] for name in rows.cells.columns if name not in known}
    said, infused = _infused(rows, dosing)
    table = suspicions.Values(
        subject=rows.code,
        day=rows.day,
        value=np.where(written.measured.status == "quantified", written.measured.value, np.nan),
        unit=unit,
        output=pd.factorize(output)[0],
        decimal=rows.decimal,
        time_unit=time_unit,
        says_days=unit_of(rows.names["day"]) == "day",
        dose_unit=dose_unit,
        infused=infused,
        given=dosing.any & ~dosing.other,
        empty=empty,
    )
    taken = {name for name in texts if plain(name) not in RESERVED_COLUMNS}
    new_name = {name: name if name in taken else _free(name, taken) for name in texts}
    if dosing.spare.any():
        spare = rows.names["dose"]
        new_name[spare] = _free(spare, taken)
        texts[spare] = rows.text("dose").where(dosing.spare, "")
    varying: dict[str, pd.Series] = {}
    steady: dict[str, pd.Series] = {}
    if "nominal_day" in rows.names:
        varying["nominal_day"] = pd.Series(rows.nominal_day)
    if units_differ:
        varying["unit"] = rows.text("unit").replace("", np.nan)
    size = len(rows.subjects)
    samples = np.bincount(rows.code[sample], minlength=size)
    for name, text in texts.items():
        # The distinct texts of one column at a time: those of a million names take as much memory as the names.
        code, distinct = pd.factorize(text.to_numpy(dtype=object))
        # A clock that says hours is none.
        read = plain(name) in _READ - ({"clock"} if any(time_unit_of(cell) for cell in distinct[:3]) else set[str]())
        if name not in known | reported and not (read or mass_of(name) or per_well(name)):
            found = suspicions.suspicion(suspicions.Suspect(name, code, distinct, sample, said), table)
            rows.problems += [] if found is None else [found]
        filled = (distinct != "")[code]
        each_said = pd.Series(code[filled]).groupby(rows.code[filled])
        on_samples = np.bincount(rows.code[filled & sample], minlength=size)
        if (each_said.min() == each_said.max()).all() and np.isin(on_samples - samples * (on_samples > 0), 0).all():
            each = text[filled].groupby(rows.code[filled]).first().reindex(range(size), fill_value="")
            steady[new_name[name]] = _typed(each, rows.decimal)
        elif sample.all():
            varying[new_name[name]] = _typed(text, rows.decimal, (code, distinct))
        else:
            varying[new_name[name]] = _typed(text.where(sample, ""), rows.decimal)
    constant = pd.DataFrame(steady, index=range(len(rows.subjects)))
    return Carried(pd.DataFrame(varying, index=rows.cells.index), constant.set_axis(list(rows.subjects), axis=0))


def _infused(rows: SheetRows, dosing: Dosing) -> tuple[Flags, Floats]:
    """Which rows say a dose of cells, and the day on which the cells of each row were infused, as `Values` has it."""
    given = dosing.any & ~dosing.other
    constant = rows.code[dosing.doses["at"].to_numpy()[np.isinf(dosing.doses["position"])]]
    every = np.isin(rows.code, constant)
    nothing = ~np.isin(rows.code, rows.code[dosing.doses["at"].to_numpy()])
    return given | every, np.where(given, rows.day, np.where(every | nothing, 0.0, np.nan))


def _free(name: str, taken: set[str]) -> str:
    """A name for a column whose own name means something here."""
    name = f"{name}_in_file"
    while name in taken:
        name = f"{name}_in_file"
    taken.add(name)
    return name


def _typed(text: pd.Series, decimal: str, known: tuple[Ints, Texts] | None = None) -> pd.Series:
    """Numbers where every filled cell is one (01 is a code, not a number), else text; missing where empty."""
    places, distinct = pd.factorize(text.to_numpy(dtype=object)) if known is None else known
    # A column of text says so by its first cell; a name for each sample need not be looked at a million times.
    if any(number_of(cell, decimal) is None for cell in distinct[:2]):
        return text.mask(text == "")
    values, unreadable = numbers(distinct, decimal)
    code = any(_LEADING_ZERO.fullmatch(cell) for cell in distinct)
    if unreadable.any() or np.isinf(values).any() or np.isnan(values).all() or code:
        return text.mask(text == "")
    return pd.Series(values[places], index=text.index)
