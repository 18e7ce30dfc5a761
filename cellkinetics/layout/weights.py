"""Doses in cells and the weight of the patient as doses in cells/kg."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cellkinetics.errors import Finding, StudyError, one_problem
from cellkinetics.layout.sheet import Sheet
from cellkinetics.layout.subjects import column_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import cell_of, numbers
from cellkinetics.meaning.given import names_cells
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import words_of
from cellkinetics.meaning.vocabulary import folded

IN_CELLS, PER_KG = ("cells", "cell", "total cells"), "cells/kg"
DIVIDED = "Doses in cells were divided by"
WEIGHTS = ("weight_kg", "body_weight_kg", "bw_kg", "weight", "body_weight", "bodyweight", "wt", "bw")
_OTHER_DRUG = ("", "0", "1", "cell", "cells")
# Other headings of the weight are these words, with words that change nothing, and with another unit than kg.
_WEIGHING = {"weight", "wt", "bw", "bwt", "wtkg", "weightkg", "bwtkg", "bodyweight", "wtbl", "gewicht", "korpergewicht"}
_WEIGHING |= {"koerpergewicht", "poids", "peso", "lichaamsgewicht", "patientenweight", "bodyweightkg"}
_BESIDE = {
    "kg",
    "kgs",
    "kilo",
    "kilogram",
    "kilograms",
    "baseline",
    "base",
    "bl",
    "body",
    "at",
    "infusion",
    "screening",
}
_BESIDE |= {"day", "d", "patient", "actual", "of", "the", "corporel", "corporal", "corporeo", "du", "in", "am", "tag"}
_NOT_KG = {"lb", "lbs", "pound", "pounds", "g", "gram", "grams", "stone", "st", "oz"}
# The unit of the weight in a column of its own: weight_unit, WTU, BW (uom), Gewichtseinheit, unit of weight.
_ITS_UNIT = re.compile(
    r"(?:(?:patient|body|baseline|base|bl)?(?:weight|wt|bwt?|gewichts?|korpergewichts?|koerpergewichts?|poids|peso|mass)"
    r"(?:bl|base\w*|kg|at\w*)?(?:u|units?|uom|einheit|unite|unidad|unita))"
    r"|(?:units?|uom|einheit|unite|unidad|unita)(?:of|de|du|del|der|des|di)?(?:the)?(?:body)?"
    r"(?:weight|wt|bwt?|gewichts?|korpergewichts?|poids|peso|mass)"
)
_KG = {"kg", "kgs", "kilo", "kilos", "kilogram", "kilograms", "kilogramm", "kilogramme", "kilogramo", "chilogrammi"}
# Cells that say a unit of weight whatever stands above them.
_SURELY = {"lb", "lbs", "pound", "pounds", "stone", "stones", "pfund", "livre", "livres", "libra", "libras", "libbre"}
# Nobody of another weight is a patient: a weight in grams or in pounds of a child would pass as nothing else.
LIGHTEST, HEAVIEST = 2.0, 350.0
# More texts than these are no units.
MOST_UNITS_OF_WEIGHT = 20


def per_kg(sheet: Sheet, columns: Mapping[str, str] | None, dose_unit: str) -> tuple[Sheet, str, str]:
    """The sheet with doses in cells/kg, where they are in cells and a column has the weight in kg.

    The doses as they were stay in a column ``dose_cells``; a subject has the first weight that its rows say.

    Returns
    -------
    Sheet
        The note says what was done.
    str
        The unit of the doses.
    str
        What they were given in, when they have been converted; else "".

    Raises
    ------
    StudyError
        For each dose of a patient whose weight is not known, or is no weight in kg.
    """
    cells = sheet.cells
    subject, unit = (column_of(meaning, sheet, columns) for meaning in ("subject", "dose_unit"))
    weight = next((name for word in WEIGHTS for name in cells.columns if _word(name) == word), None)
    weight = weight or next((name for name in cells.columns if _weighs(name)), None)
    kind = column_of("kind_name", sheet, columns) or column_of("kind", sheet, columns)
    names = [] if kind is None else pd.unique(cells[kind])
    ours = [name for name in names if name.casefold() in _OTHER_DRUG or names_cells(name)]
    other = np.zeros(len(cells), bool) if kind is None else ~cells[kind].isin(ours).to_numpy()
    # Another drug has a unit of its own.
    said = [text.casefold() for text in pd.unique(cells[unit][~other]) if text] if unit else [dose_unit.casefold()]
    if subject is None or weight is None or not said or any(text not in IN_CELLS for text in said):
        return sheet, dose_unit, ""
    given = {column_of(meaning, sheet, columns) for meaning in ("dose", "amount")} - {None}
    other_unit = sorted(set(words_of(weight)) & _NOT_KG)
    if other_unit and given:
        found = f"doses are in cells and the weight of the patients, {weight}, is in {other_unit[0]}"
        remedy = f"Give it in kg in a column weight_kg, or read_study(..., ignore=[{weight!r}]): doses stay in cells."
        raise one_problem(found, remedy, sheet.source)
    if given:
        _refuse_unit(sheet, weight, given)
    kg, unreadable = numbers(cells[weight].to_numpy(dtype=object), sheet.decimal)
    kg = np.where(unreadable, np.nan, kg)
    kg = pd.Series(kg).groupby(cells[subject].to_numpy()).transform("first").to_numpy(float)
    problems: list[Finding] = []
    new: dict[str, pd.Series] = {}
    before = pd.Series("", index=cells.index, dtype="str")
    for name in sorted(str(name) for name in given):
        amount, _ = numbers(cells[name].to_numpy(dtype=object), sheet.decimal)
        dosed = (amount > 0) & ~other
        for at in np.flatnonzero(dosed & ~((kg >= LIGHTEST) & (kg <= HEAVIEST))).tolist():
            found = f"{name} is in cells and {weight} is {cells[weight].iloc[at]!r}"
            remedy = f"Give the weight in kg ({LIGHTEST:g} to {HEAVIEST:g}), or the dose in cells/kg, with that unit."
            problems.append(Finding(int(sheet.row[at]), cells[subject].iloc[at] or None, None, found, remedy))
        texts = [cell_of(float(each), sheet.decimal) for each in amount / kg]
        before = before.mask(dosed, cells[name])
        new[name] = cells[name].mask(dosed, pd.Series(texts, dtype="str"))
    if problems:
        raise StudyError([*sheet.problems, *problems], sheet.source)
    if unit is not None:
        new[unit] = cells[unit].mask(cells[unit].str.casefold().isin(IN_CELLS), PER_KG)
    kept = "dose_cells" if "dose_cells" not in cells else "dose_cells_given"
    if kept not in cells and (before != "").any():
        new[kept] = before
    line = f"{DIVIDED} {weight}, in kg: they are in cells/kg, and {kept} has what was given."
    return replace(sheet, cells=cells.assign(**new), note=f"{sheet.note}\n{line}".lstrip("\n")), PER_KG, IN_CELLS[0]


def _refuse_unit(sheet: Sheet, weight: str, given: set[str | None]) -> None:
    """Refuse a weight whose unit, in a column of its own, is not kg."""
    for name in sheet.cells.columns:
        if name == weight or name in given:
            continue
        texts = [text for text in pd.unique(sheet.cells[name]) if text]
        said = {text: folded(text).strip(" .") for text in texts[:MOST_UNITS_OF_WEIGHT]}
        named = _ITS_UNIT.fullmatch(re.sub("[^a-z]", "", folded(name))) is not None
        others = [text for text, low in said.items() if low not in _KG]
        if len(texts) <= MOST_UNITS_OF_WEIGHT and others and (named or set(said.values()) <= _KG | _SURELY):
            found = f"doses are in cells and {name} says {', '.join(others[:3])} of the weight, {weight}"
            remedy = "Give it in kg in a column weight_kg, with kg or no unit beside it, or "
            remedy += f"read_study(..., ignore=[{weight!r}]): doses stay in cells."
            raise one_problem(found, remedy, sheet.source)


def _weighs(name: str) -> bool:
    words = set(words_of(name))
    return bool(words & _WEIGHING) and not words - _WEIGHING - _BESIDE - _NOT_KG


def _word(name: str) -> str:
    """A heading without brackets around its unit: Weight (kg) is weight_kg."""
    return plain(name.replace("(", " ").replace(")", " ").replace("[", " ").replace("]", " "))
