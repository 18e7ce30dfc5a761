"""The doses of a table: rows with AMT or EVID, cells of a column dose, and the days that lymphodepletion was given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.data.columns import SheetRows, plain
from cellkinetics.data.study import DOSE_UNIT
from cellkinetics.errors import Finding
from cellkinetics.layout.doses import FEWEST_CELLS
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import numbers
from cellkinetics.meaning.given import names_cells
from cellkinetics.meaning.units import strange, unit_of_amount
from cellkinetics.words import number_text

# Monolix numbers its administrations; the first is that of the cells.
_CELLS = ["", "0", "1", "cell", "cells"]
# What is known by the day that it was given, whatever the amount; and the drug of the safety switch.
MARKER, SWITCH = "lymphodepletion", "rimiducid"
# Days over which a dose may be infused and still count as given at once: cells move within days.
LONGEST_BOLUS = 0.25


@dataclass(frozen=True)
class Dosing:
    """The doses, with `at`, the row they were read from, and `position`, infinite if no row can follow them.

    (n,) flags: `event`, AMT or EVID says dose; `any`, the row is a dose; `other`, one that is not cells;
    `spare`, a cell of the column dose that is no dose because the subject has AMT.
    """

    doses: pd.DataFrame
    event: Flags
    any: Flags
    other: Flags
    spare: Flags


def doses_of(rows: SheetRows, evid: Floats, empty: Flags, seen: Flags) -> Dosing:
    """The doses of all rows; `empty` are those without a value, `seen` those above 0 and every limit.

    What cannot be a dose is reported.
    """
    amount, dose = rows.number("amount", 0), rows.number("dose", 0)
    amount[amount == 0], dose[dose == 0] = np.nan, np.nan
    kind = rows.text("kind_name").mask(rows.text("kind_name") == "", rows.text("kind"))
    low = kind.str.casefold()
    cells = low.isin([*_CELLS, *(name for name in low.unique() if names_cells(name))])
    kind = kind.mask(cells, "cells").mask(low.isin([MARKER, SWITCH]), low).to_numpy(dtype=object)
    says_dose = np.isin(evid, (1, 4))
    marked = (kind == MARKER) & empty & (says_dose | np.isnan(evid))
    amount[marked & np.isnan(amount)] = np.where(np.isnan(dose), 1.0, dose)[marked & np.isnan(amount)]
    event = (~np.isnan(amount) & (says_dose | np.isnan(evid))) | (says_dose & ~np.isnan(dose))
    nothing = (kind == SWITCH) & empty & np.isnan(evid) & np.isnan(amount) & np.isnan(dose)
    rows.report(nothing, lambda _: f"it is {SWITCH} and no amount is given", "Give the amount, in mg/kg for example.")
    column = rows.names.get("evid")
    rows.report(
        says_dose & ~event & ~rows.reported,
        lambda at: f"{column} is {evid[at]:g} and no amount is given",
        "Give the amount, or evid 0 for a sample.",
    )
    rows.report(
        ~np.isnan(amount) & ~says_dose & ~np.isnan(evid),
        lambda at: f"{column} is {evid[at]:g} and {rows.names['amount']} is {number_text(amount[at])}",
        "A dose has evid 1; a sample has no amount.",
    )
    more = rows.number("addl", 0)
    rows.report(more > 0, lambda at: f"{rows.names['addl']} is {more[at]:g}", "Give each dose a row of its own.")

    def each(where: Flags) -> Ints:
        return np.bincount(rows.code[where], minlength=len(rows.subjects))

    eventful = each(event & (kind == "cells")) > 0
    filled = ~event & ~np.isnan(dose)
    by_subject = pd.Series(np.where(filled, dose, np.nan)).groupby(rows.code)
    same = (by_subject.min() == by_subject.max()).to_numpy()
    every = each(filled) == each(~event)
    # A subject without any value may have rows of doses only, or missing samples: it is read like the others.
    doses_have_rows = ((each(filled) > 0) & ~every).any()
    constant = ~eventful & same & every & ((each(~event & ~empty) > 0) | ~doses_have_rows)
    infused = filled & ~(eventful | constant)[rows.code]
    unsaid = (infused | (event & np.isnan(evid))) & (kind == "cells")
    _report_repeated(rows, unsaid, empty, np.where(event, amount, dose))
    _report_late(rows, unsaid, each((event | infused) & (kind == "cells") & ~unsaid) > 0, empty, seen)
    repeating = np.flatnonzero(filled & constant[rows.code])
    _, first = np.unique(rows.code[repeating], return_index=True)
    given = event | infused
    _report_long(rows, np.where(event & ~np.isnan(amount), amount, dose), given | (filled & constant[rows.code]))
    at = np.concatenate([np.flatnonzero(given), repeating[first]])
    once = given[at]
    doses = pd.DataFrame(
        {
            "subject": pd.Series(rows.subject[at], dtype="str"),
            "day": np.where(once, rows.day[at], 0.0),
            "amount": np.where(event & ~np.isnan(amount), amount, dose)[at],
            "kind": pd.Series(np.where(once, kind[at], "cells"), dtype="str"),
            "unit": rows.text("dose_unit").iloc[at].to_numpy(),
            "row": rows.row[at],
            "at": at,
            "position": np.where(once, at, np.inf),
        }
    )
    doses = doses.iloc[np.lexsort((at, doses["day"], rows.code[at]))].reset_index(drop=True)
    return Dosing(doses, event, given, given & (kind != "cells"), filled & eventful[rows.code])


def _report_repeated(rows: SheetRows, given: Flags, empty: Flags, amount: Floats) -> None:
    """Say where a dose stands on most samples of a subject and not on all, or changes among them.

    Each cell would be an infusion, and its sample one before it: 4 infusions where one was given.
    """
    size = len(rows.subjects)
    beside = given & ~empty
    if not beside.any():
        return
    on = np.bincount(rows.code[beside], minlength=size)
    off = np.bincount(rows.code[~given & ~empty], minlength=size)
    # Doses with a sample on their rows, which come one after the other without a sample in between.
    order = np.lexsort((rows.day, rows.code))
    order = order[~empty[order]]
    runs = beside[order] & np.roll(beside[order], -1) & (rows.code[order] == np.roll(rows.code[order], -1))
    runs[-1:] = False
    row_of = np.bincount(rows.code[order][runs], minlength=size)
    each = pd.DataFrame({"code": rows.code[beside], "day": rows.day[beside], "amount": amount[beside]})
    days = each.groupby("code")["day"].nunique().reindex(range(size), fill_value=0).to_numpy()
    # Amounts that all differ are doses of their own; one that is repeated is carried along.
    kinds = each.groupby("code")["amount"].nunique().reindex(range(size), fill_value=0).to_numpy()
    # Every other sample filled, three times or more, is no schedule of infusions either.
    suspects = (days > 1) & (kinds < on) & ((on > off) | (row_of > 1) | ((on > 2) & (on >= off)))
    first = np.zeros(len(rows.code), dtype=bool)
    at = np.flatnonzero(beside & suspects[rows.code])
    first[at[np.unique(rows.code[at], return_index=True)[1]]] = True
    named = rows.names.get("dose", rows.names.get("amount", "dose"))

    def found(at: int) -> str:
        own = beside & (rows.code == rows.code[at])
        amounts = list(dict.fromkeys(number_text(each) for each in amount[own].tolist()))
        each = on[rows.code[at]]
        return f"{named} is {', then '.join(amounts[:4])} on {each} samples and empty on {off[rows.code[at]]}"

    remedy = "Give each infusion a row without a value, on its day, and leave the dose of all samples empty."
    rows.report(first, found, remedy)


def _report_late(rows: SheetRows, given: Flags, said: Flags, empty: Flags, seen: Flags) -> None:
    """Say where the first dose of a subject stands on the row of a sample on another day than that of the infusion.

    The amount of day 0, written on the first sample, would move the infusion there and take its sample as one before.

    Parameters
    ----------
    rows : SheetRows
    given : (rows,) array of bool
        Doses of cells that no EVID says are doses.
    said : (subjects,) array of bool
        Who has a dose of which it is said.
    empty, seen : (rows,) arrays of bool
        Rows without a value, and with one above 0 and every limit.
    """
    # Days that are counted from 1 may have a sample before the infusion on day 1, which is below the limit.
    late = given & ((seen & (rows.day != 0)) | (~empty & (rows.day > 1)))
    at = np.flatnonzero(given)
    at = at[np.lexsort((at, rows.day[at], rows.code[at]))]
    at = at[np.unique(rows.code[at], return_index=True)[1]]
    first = np.zeros(len(rows.code), dtype=bool)
    first[at] = True
    # A row on the day of the infusion itself, before or after it in the file, says when it was.
    on_day_0 = np.bincount(rows.code[given & (rows.day == 0)], minlength=len(said)) > 0
    named = rows.names.get("dose", rows.names.get("amount", "dose"))
    rows.report(
        first & late & ~(said | on_day_0)[rows.code] & ~rows.reported,
        lambda _: f"{named} stands on the row of a sample, and no row says on which day it was given",
        "Give the infusion a row without a value, on its day (0), or write the dose on all rows of the patient.",
    )


def _report_long(rows: SheetRows, amount: Floats, event: Flags) -> None:
    """Say which doses are infused over more than hours, or given again and again: each is taken at once, and once."""
    for word in ("rate", "ss"):
        name = next((name for name in rows.cells.columns if plain(name) == word), None)
        if name is None:
            continue
        text = rows.cells[name].to_numpy(dtype=object)
        number, unreadable = numbers(text, rows.decimal)
        if word == "rate":
            with np.errstate(divide="ignore"):
                wrong = event & ((number < 0) | ((number > 0) & (amount / number > LONGEST_BOLUS)))
            remedy = f"A dose is taken at once: leave RATE empty where it took less than {LONGEST_BOLUS * 24:g} hours."
        else:
            wrong, remedy = event & (number > 0), "Give each dose a row of its own, from the first on."
        rows.report(event & unreadable, lambda at, name=name, text=text: f"{name} is {text[at]!r}", "Write a number.")
        rows.report(wrong, lambda at, name=name, text=text: f"{name} is {text[at]}", remedy)


def unit_of_cells(rows: SheetRows, dosing: Dosing, dose_unit: str) -> str:
    """The unit of the cells; it is put on their doses."""
    said = rows.text("dose_unit")[~dosing.other]
    units = said[said != ""].unique().tolist()
    _report_factors(rows, dosing, units or [dose_unit], "dose_unit" in rows.names and bool(units))
    if not units:
        _report_units(rows, dosing, dose_unit)
    if len(units) > 1 or (units and dose_unit not in (DOSE_UNIT, units[0])):
        found = f"the column {rows.names['dose_unit']} says {', '.join(units)}" + f" and dose_unit={dose_unit!r}"
        rows.problems.append(Finding(None, None, None, found, "The cells of a study have one unit."))
    unit = units[0] if units else dose_unit
    _report_few(rows, dosing, unit)
    dosing.doses["unit"] = dosing.doses["unit"].mask(dosing.doses["kind"] == "cells", unit).astype("str")
    return unit


def _report_factors(rows: SheetRows, dosing: Dosing, units: list[str], in_column: bool) -> None:
    """Report a unit of the cells with a factor, 10^6 cells/kg: a model takes 5 of them as 5 cells."""
    for unit in units if len(dosing.doses) else []:
        named, plainly = unit_of_amount(unit, bare=True)
        factor = bool(named) and not plainly
        if factor or strange(unit, of_doses=True):
            says = f"the column {rows.names['dose_unit']} says" if in_column else "dose_unit= is"
            remedy = "Write the cells out (5000000), with cells or cells/kg as their unit."
            found = f"{says} {unit!r}, a unit with a factor{'' if factor else ' or a word that is not known'}"
            rows.problems.append(Finding(None, None, None, found, remedy))


def _report_units(rows: SheetRows, dosing: Dosing, dose_unit: str) -> None:
    """Report what the column of the units of values says on rows of infusions, when the doses are not read in it."""
    name, said = rows.names.get("unit", ""), rows.text("unit").to_numpy(dtype=object)
    given = dosing.any & ~dosing.other & (said != "")
    elsewhere = set(said[~dosing.any & (rows.text("value") != "").to_numpy()])
    for unit in pd.unique(said[given]):
        named, plainly = unit_of_amount(unit, bare=True)
        if unit in elsewhere or (named == dose_unit and plainly):
            continue
        remedy = "Write the cells out (5000000), and their unit into a column dose_unit."
        if plainly:
            remedy = f"Give read_study(..., dose_unit={named!r}), or leave the unit of these rows empty."
        elif not named:
            remedy = "Say what was given in a column kind, or leave the unit of these rows empty."
        found = f"the column {name} says {unit!r} on rows of doses, which are read in {dose_unit}"
        rows.problems.append(Finding(None, None, None, found, remedy))


def _report_few(rows: SheetRows, dosing: Dosing, unit: str) -> None:
    """Report doses that are no number of cells beside one of their subject that is: 30 of a drug, then 1e6."""
    own = dosing.doses[dosing.doses["kind"] == "cells"]
    if unit not in ("cells", "cells/kg") or own.empty:
        return
    most = own.groupby("subject")["amount"].transform("max")
    few = np.zeros(len(rows.code), dtype=bool)
    few[own["at"][(own["amount"] < FEWEST_CELLS) & (most >= FEWEST_CELLS)]] = True
    amount = dict(zip(own["at"], own["amount"], strict=True))
    rows.report(
        few & ~rows.reported,
        lambda at: f"a dose of {number_text(amount[at])} {unit} stands beside one of many cells",
        "Another drug needs its name in a column kind; cells of another unit must be written out.",
    )
