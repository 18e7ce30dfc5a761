"""What a column says of the numbers of all values: their unit, that they are logarithms, a factor, cycles of a PCR."""

from __future__ import annotations

import numpy as np

from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import YES, mark_of, number_of
from cellkinetics.meaning.suspects import Likeness, Suspect, Values, shown, use_unit
from cellkinetics.meaning.units import other_units, words_of
from cellkinetics.meaning.vocabulary import folded
from cellkinetics.words import count, number_text


def value_units(column: Suspect, rows: Values) -> Likeness | None:
    """A unit of the values that is not that of the study, under a heading about units, in whatever language."""
    found = other_units(column.name, [str(column.cells[at]) for at in column.looked], rows.unit)
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
    nothing = 1.0 if words & vocabulary.FACTORS else 0.0
    if (
        not words & (vocabulary.FACTORS | vocabulary.POWERS)
        or words - vocabulary.FACTORS - vocabulary.POWERS - vocabulary.BESIDE_FACTORS
    ):
        return None
    numbers = [number_of(text, rows.decimal) for text in column.texts]
    changed = [number for number in numbers if number is not None and not np.isnan(number) and number != nothing]
    if not changed or None in numbers:
        return None
    what = "a factor of the values" if words & vocabulary.FACTORS else "a power of ten of the values"
    return f"looks like {what} ({number_text(changed[0])})", "Give the values multiplied by it, or"


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
