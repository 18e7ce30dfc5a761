"""Amounts of cells by other names: what a heading says of its unit, and columns that look like a dose unread."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from cellkinetics.errors import one_problem
from cellkinetics.layout.dates import is_serial
from cellkinetics.layout.sheet import Sheet
from cellkinetics.layout.subjects import column_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import marks, numbers
from cellkinetics.meaning.counted import multiplies
from cellkinetics.meaning.headings import is_numeric, meaning_of, other_unit
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import strange, unit_of_heading
from cellkinetics.words import dose_text, number_text

# The least number of cells, or cells/kg, that is infused; laboratory values of the rows of doses are below.
FEWEST_CELLS = 1e4
# Where no dose is of as many, their factor is not written: 2.5 is 2.5e6.
WITHOUT_FACTOR = 1e3
SMALLEST_FACTOR = 0.01  # less is no number of millions either
_DOSES = "dose|doses|dosis|dosage|amt|amount|zelldosis|exdose|infused|infundiert|administered|given|injected"
_CELL_WORDS = "cells|zellen|cellules|celulas"
_FACTOR = re.compile(
    r"mil(?:lions?)?|mio|mln|mn|m|k|bn|thousands?|billions?|x?_?10_?(?:e_?)?\d+|x_?\d*e?\d+|\d*e\d+|(?:1_?)?000(?:_?000)*"
)
_OTHERS = {"mg": "mg", "ml": "mL", "ug": "ug", "iu": "IU", "level": "a level", "group": "a group", "number": "a number"}
_OTHERS |= {
    "no": "a number",
    "nr": "a number",
    "%": "a percentage",
    "percent": "a percentage",
    "bags": "bags",
    "m2": "m2",
}
_OTHERS |= {"day": "a day", "date": "a date", "tag": "a day"}
# A second dose of a patient in a column of its own, or the number of doses.
_NUMBERED = re.compile(r"(?:cell_)?(?:dose|dosis|infusion|amt|dose_cells)_?(\d)(?:_cells|_kg|_cells_kg)?")
_AGAIN = re.compile(
    r"(?:re|(?:second|2nd|third|3rd)_)_?(?:infusion|dose|dosing|treatment)_?(?:day|date|time|tag|dose|cells)"
)
_HOW_MANY = re.compile(r"(?:n|nb|number_of|no_of|num)_?(?:doses?|infusions)")
_SIMPLE = {"car", "t", "nk", "viable", "total", "n", "no", "number", "of", "per", "kg", "positive", "cell", "count"}
_SIMPLE |= {"actual", "received", "x", "in", "infusion", "product", "m2"}
_FLAGS = {"given", "infused", "administered", "injected", "infundiert"}


def unit_of_dose(name: str) -> tuple[str, bool]:
    """The unit of a heading of doses, "" when it says none, and whether it is written out: no factor, nothing else.

    Examples
    --------
    >>> unit_of_dose("cells infused"), unit_of_dose("dose_million_per_kg"), unit_of_dose("Dose (mg)")
    (('cells', True), ('cells/kg in another factor', False), ('mg', False))
    """
    said = unit_of_heading(name)
    if said in ("cells", "cells/kg"):
        return said, True
    low = _flat(name)
    words = low.split("_")
    per_kg = "kg" in words
    cells = any(re.fullmatch(_CELL_WORDS, word) for word in words)
    # One digit is the number of a dose: dose_1_cells.
    before = re.sub(r"(?:^|_)\d(?=_|$)", "", re.split(_CELL_WORDS, low)[0])
    if re.search(rf"(?:^|_)(?:{_FACTOR.pattern})(?:_|$)", low) or (cells and multiplies(before)):
        return f"cells{'/kg' * per_kg} in another factor", False
    if said and strange(said, of_doses=True):
        return said, False
    counted = {"number", "no", "nr"} if cells else set()
    other = next((_OTHERS[word] for word in words if word in _OTHERS and word not in counted), "")
    if other:
        return other, False
    return ("cells/kg" if per_kg else "cells" if cells else ""), True


def named_dose(
    sheet: Sheet, columns: Mapping[str, str] | None, dose_unit: str, default: str
) -> tuple[Mapping[str, str] | None, str]:
    """`columns` with the dose, and its unit, where the only column of doses is one by another name: "cells infused".

    Raises
    ------
    StudyError
        Where a heading of doses says a factor or another unit, doses stand in several columns, or a column that
        nothing reads has numbers of cells on rows without a value.
    """
    given = [name for meaning in ("dose", "amount") if (name := column_of(meaning, sheet, columns)) is not None]
    mapped = {*(columns or {}).values(), *given}
    free = [name for name in sheet.cells.columns if name not in mapped and meaning_of(name) is None]
    _refuse_again(sheet, given, free, columns)
    _refuse_factors(sheet, given)
    if given:
        return columns, dose_unit
    found = [name for name in free if _is_dose(name) and other_unit(name)[0] != "dose" and _are_amounts(sheet, name)]
    _refuse_factors(sheet, found)
    if len(found) > 1:
        what = f"the columns {', '.join(found)} all look like the dose"
        raise one_problem(what, f"Say which one, read_study(..., columns={{'dose': {found[0]!r}}}).", sheet.source)
    if not found:
        _refuse_unread(sheet, free, columns)
        return columns, dose_unit
    name = found[0]
    unit, _ = unit_of_dose(name)
    if not unit and dose_unit == default and column_of("dose_unit", sheet, columns) is None:
        what = f"the column {name} looks like a dose, and its unit is not said"
        raise one_problem(what, _asked(name), sheet.source)
    meaning = "amount" if re.match(r"amt|amount", plain(name)) else "dose"
    return {**(columns or {}), meaning: name}, unit if unit and dose_unit == default else dose_unit


def _asked(name: str) -> str:
    return (
        f"Give read_study(..., columns={{'dose': {name!r}}}, dose_unit=...), 'cells' or 'cells/kg', "
        f"or ignore=[{name!r}] when it is no dose."
    )


def _flat(name: str) -> str:
    # DoseM is a dose in millions.
    return re.sub(r"[^a-z0-9%]+", "_", plain(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))).strip("_")


def _is_dose(name: str) -> bool:
    """Whether a heading is of a dose: nothing in it but words of doses, of cells, and of their unit."""
    low = _flat(name)
    words = low.split("_")
    known = re.compile(rf"{_DOSES}|{_CELL_WORDS}|{_FACTOR.pattern}|\d+")
    if (
        low in _FLAGS
        or _HOW_MANY.fullmatch(low)
        or any(word not in _SIMPLE and not known.fullmatch(word) for word in words)
    ):
        return False
    return any(re.fullmatch(_DOSES, word) for word in words)


def _are_amounts(sheet: Sheet, name: str) -> bool:
    number, unreadable = numbers(sheet.cells[name].to_numpy(dtype=object), sheet.decimal)
    return not unreadable.any() and bool((number > 0).any()) and not (number < 0).any()


def _refuse_factors(sheet: Sheet, names: Sequence[str]) -> None:
    for name in names:
        unit, plainly = unit_of_dose(name)
        if not plainly:
            what = f"the heading {name} of the dose says {unit}"
            remedy = "Write the cells out (1000000) in a column dose_cells, or dose (cells/kg),"
            raise one_problem(what, f"{remedy} or ignore=[{name!r}] when it is no dose.", sheet.source)


def _refuse_again(sheet: Sheet, given: Sequence[str], free: Sequence[str], columns: Mapping[str, str] | None) -> None:
    """Refuse second infusions that stand in columns: dose_1 and dose_2, reinfusion_day, a number of doses."""
    numbered = [name for name in [*given, *free] if _NUMBERED.fullmatch(_flat(name)) and _are_amounts(sheet, name)]
    if numbered and (len(numbered) > 1 or not _flat(numbered[0]).endswith("1")):
        _refuse_columns(sheet, numbered, "doses of one patient stand in")
    subject = column_of("subject", sheet, columns)
    if subject is None:
        return
    code, _ = pd.factorize(sheet.cells[subject].to_numpy(dtype=object))
    doses = np.zeros(code.max(initial=0) + 1)
    for name in given:
        amount, _ = numbers(sheet.cells[name].to_numpy(dtype=object), sheet.decimal)
        each = np.bincount(code[amount > 0], minlength=len(doses))
        # On all rows of a patient it is one dose.
        doses += np.where(each == np.bincount(code, minlength=len(doses)), np.minimum(each, 1), each)
    for name in free:
        said = sheet.cells[name].to_numpy(dtype=object)
        if _AGAIN.fullmatch(_flat(name)) and (doses[code[(said != "") & (said != "0")]] < 2).any():
            _refuse_columns(sheet, [name], "a second infusion stands in")
        if _HOW_MANY.fullmatch(_flat(name)):
            number, _ = numbers(said, sheet.decimal)
            if (number > np.maximum(doses[code], 1)).any():
                _refuse_columns(sheet, [name], "more infusions than there are doses are counted in")


def _refuse_columns(sheet: Sheet, names: list[str], found: str) -> None:
    remedy = f"Give each infusion a row without a value, on its day, with its dose; then ignore={names!r}."
    raise one_problem(f"{found} {' and '.join(names)}, which nothing reads", remedy, sheet.source)


def _refuse_unread(sheet: Sheet, names: Sequence[str], columns: Mapping[str, str] | None) -> None:
    """Refuse a table whose only numbers of cells, on rows without a value, stand in a column that nothing reads."""
    value = column_of("value", sheet, columns)
    if value is None:
        return
    empty = marks(sheet.cells[value].to_numpy(dtype=object), sheet.decimal)[0] == "missing"
    if empty.all() or not empty.any():
        return
    for name in names:
        said = sheet.cells[name].to_numpy(dtype=object)
        filled = said != ""
        if (filled & ~empty).any() or not filled.any() or is_numeric(name, columns):
            continue
        number, unreadable = numbers(said[filled], sheet.decimal)
        number = number[number != 0]
        if not unreadable.any() and len(number) and number.min() >= FEWEST_CELLS and not is_serial(said[filled][0]):
            what = f"the column {name} is not read, and looks like the cells infused ({number[0]:g} where no value is)"
            raise one_problem(what, _asked(name), sheet.source)


def of_few_cells(doses: pd.DataFrame) -> list[str]:
    """What is said where all infusions are of fewer cells than are ever given: a text, or none."""
    given = doses[(doses["kind"] == "cells") & doses["unit"].isin(["cells", "cells/kg"]) & (doses["amount"] > 0)]
    amount = given["amount"]
    if amount.empty or not SMALLEST_FACTOR <= amount.max() < WITHOUT_FACTOR:
        return []
    low, high, unit = float(amount.min()), float(amount.max()), given["unit"].iloc[0]
    said = number_text(low) if low == high else f"{number_text(low)} to {number_text(high)}"
    is_one = "the dose is" if low == high else "the doses are"
    return [
        f"{is_one} {said} {unit}, fewer than are ever given: in 1e6 {unit}? Write the cells out "
        f"({dose_text(1e6 * low)}), or say another unit, read_study(..., dose_unit='mg')"
    ]
