"""What a column says of the numbers of all values: their unit, that they are logarithms, a factor, cycles of a PCR."""

from __future__ import annotations

import re

import numpy as np

from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import YES, mark_of, number_of
from cellkinetics.meaning.suspects import Likeness, Suspect, Values, shown, use_unit
from cellkinetics.meaning.units import other_units, strange, unit_per, words_of
from cellkinetics.meaning.vocabulary import folded
from cellkinetics.words import count, number_text

# A heading that is a power of ten itself: x10^, 10^, x10e, E.
_TEN = re.compile(r"[x×*·]?\s*10\s*(?:\^|\*\*|e)?|10\s*(?:power|to the)|e\+?|exp10")


def value_units(column: Suspect, rows: Values) -> Likeness | None:
    """A unit of the values that is not that of the study, under a heading about units, in whatever language."""
    cells = [str(column.cells[at]) for at in column.looked]
    found = other_units(column.name, cells, rows.unit)
    words = set(words_of(column.name))
    if words & vocabulary.PER_WORDS and not words - vocabulary.PER_WORDS - vocabulary.BESIDE_PER:
        per = {cell: unit for cell in cells if (unit := unit_per(cell, rows.unit))}
        if per:
            unit = next(iter(per.values()))
            what = f"says what the values are divided by ({shown(list(per))}), and they are read in {rows.unit}"
            remedy = f"read_study(..., unit={unit!r}) when that is their unit, or"
            if len(set(per.values())) > 1 or len(per) < len(cells) or strange(unit):
                remedy = "Give the values in one unit, and say it in a column unit, or"
            return what, remedy
    if not found:
        return None
    return f"looks like a unit of the values ({shown(found)})", use_unit(column)


def scales(column: Suspect, rows: Values) -> Likeness | None:
    """A factor, a power of ten or a yes that the values are logarithms: the numbers are not the values."""
    words = set(words_of(column.name))
    if words & vocabulary.LOGS and not words - vocabulary.LOGS - vocabulary.BESIDE_LOGS:
        said = [text for text in column.texts if text in YES or folded(text) in vocabulary.LOGS]
        if said:
            return f"says that the values are logarithms ({shown(said)})", "Give the values untransformed, or"
        return None
    raised = _TEN.fullmatch(column.name.strip().casefold()) is not None
    nothing = 1.0 if words & vocabulary.FACTORS else 0.0
    if not raised and (
        not words & (vocabulary.FACTORS | vocabulary.POWERS)
        or words - vocabulary.FACTORS - vocabulary.POWERS - vocabulary.BESIDE_FACTORS
    ):
        return None
    numbers = [number_of(text, rows.decimal) for text in column.texts]
    changed = [number for number in numbers if number is not None and not np.isnan(number) and number != nothing]
    if not changed or None in numbers:
        return None
    if words & vocabulary.FACTORS:
        return f"looks like a factor of the values ({number_text(changed[0])})", "Give the values multiplied by it, or"
    remedy = "Give the values multiplied by 10 to the power of it, or"
    return f"looks like a power of ten of the values ({number_text(changed[0])})", remedy


def cycles(column: Suspect, rows: Values) -> Likeness | None:
    """Samples without a cycle of the PCR (Undetermined) that have a value all the same."""
    if not column.words & vocabulary.CYCLES:
        return None
    unseen = [at for at in column.looked if mark_of(str(column.cells[at]), rows.decimal)[0] in ("nd", "blq", "below")]
    there = column.sample & np.isin(column.code, unseen)
    said = shown([str(column.cells[at]) for at in unseen])
    remedy = "Say it in a column blq, 1 there and 0 elsewhere, with lloq=, or"
    if rows.empty is not None and (there & rows.empty).any():
        return f"says {said} of {count(int((there & rows.empty).sum()), 'sample')} whose value is empty", remedy
    there &= rows.value > 0
    if not there.any():
        return None
    return f"says {said} of {int(there.sum())} samples that have a value", remedy
