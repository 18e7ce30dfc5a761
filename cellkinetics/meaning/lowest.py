"""Levels of a column that stand on the lowest values of their subjects: marks of censored values by content."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.cells import NO, YES, mark_of, number_of
from cellkinetics.meaning.suspects import Likeness, Suspect, Values, shown, use, varies
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import words_of
from cellkinetics.meaning.vocabulary import folded
from cellkinetics.words import count, number_text

# Rows that a level needs before it says anything: two of six samples are the lowest by chance in 1 of 15 subjects.
FEWEST_MARKED = 3
# Subjects in which a level begins on days of its own before one number that divides the table is no chance: of 300
# simulated covariates that begin at random, it divided 33 in three subjects, and 4 in five.
SUBJECTS_MARKED = 5
_BESIDE_BELOW = (
    vocabulary.UNDER_WORDS | vocabulary.OF_FLAGS | vocabulary.FLAG_WORDS | vocabulary.OF_ROWS | vocabulary.CODES
)
# What `Study.observations` says of a sample without a value.
OWN_STATUS = frozenset({"below", "interval", "above"})


def lowest(subject: npt.NDArray[np.intp], value: Floats, chosen: Flags, sample: Flags) -> bool:
    """Whether the chosen rows, two at least, have no value or one below all others of their subject.

    Parameters
    ----------
    subject : (n,) array of int
        Whose row it is.
    value : (n,) array
        Quantified values, NaN elsewhere.
    chosen, sample : (n,) arrays of bool
        The rows of the level, and all samples.
    """
    if int((chosen & sample).sum()) < 2:
        return False
    positive = sample & (value > 0)
    if not (positive & ~chosen).any():
        return False
    if not (positive & chosen).any():
        return True
    own = pd.Series(value[positive & chosen]).groupby(subject[positive & chosen]).max()
    others = pd.Series(value[positive & ~chosen]).groupby(subject[positive & ~chosen]).min()
    both = own.index.intersection(others.index)
    return len(both) > 0 and bool((own[both] < others[both]).all())


def not_of_time(subject: npt.NDArray[np.intp], day: Floats, value: Floats, chosen: Flags, sample: Flags) -> bool:
    """Whether time does not explain why the chosen rows, which are `lowest`, are low.

    The late samples of a decline are the lowest, and those before a peak too: what is "after discharge", or "no fever",
    is on the lowest values with no word about them. A limit is told from such a covariate in two ways: a chosen
    sample lies between two others in time, or the rows of five subjects begin on days that differ and are divided by
    one number in the whole table.
    """
    rows = sample & (value > 0)
    if (rows & chosen).sum() < FEWEST_MARKED:
        return False
    frame = pd.DataFrame({"subject": subject[rows], "day": day[rows], "value": value[rows], "chosen": chosen[rows]})
    others = frame[~frame["chosen"]].groupby("subject")["day"]
    own = frame[frame["chosen"]]
    first, last = own["subject"].map(others.min()), own["subject"].map(others.max())
    between = (first < own["day"]) & (own["day"] < last)
    if between.any():
        return True
    if own["value"].max() >= frame.loc[~frame["chosen"], "value"].min():
        return False
    begins = own[own["day"] > last].groupby("subject")["day"].min()
    # Of subjects that were sampled on a day, some are chosen on it and some are not.
    crossed = others.max().max() >= begins.min() if len(begins) else False
    return len(begins) >= SUBJECTS_MARKED and begins.nunique() >= 3 and bool(crossed)


def on_the_lowest(column: Suspect, rows: Values, levels: list[int]) -> bool:
    """Whether the rows of these cells, two at least, have no value or one below all others of their subjects."""
    return lowest(rows.subject, rows.value, np.isin(column.code, levels), column.sample)


def on_empty(column: Suspect, rows: Values) -> Likeness | None:
    """A mark on rows whose value is empty, and on no value: below, tnd, lower than 3, - under "call".

    These samples are below the limit, where the reader would take them for none. A word for a sample that was not
    taken, such as "missed", says no more than that.
    """
    words = set(words_of(column.name)) | {plain(column.name)}
    if rows.empty is None or words & vocabulary.HARMLESS or not (column.sample & rows.empty).any():
        return None
    numbers = [number_of(text, rows.decimal) for text in column.texts]
    if any(number is not None and number not in (-1, 0, 1, 2) for number in numbers):
        return None
    verdict = bool(words & (vocabulary.VERDICTS | vocabulary.FLAG_WORDS | vocabulary.CODES))
    verdict |= not words - vocabulary.ASSAYS
    seen = column.sample & (rows.value > 0)
    full = seen.any() and (column.cells[column.code[seen]] != "").all()
    said, n = [], 0
    for level in column.levels:
        cell, own = str(column.cells[level]), column.code == level
        there = int((own & column.sample & rows.empty).sum())
        if cell == "" or not there or (own & seen).any():
            continue
        low = folded(cell).strip()
        marked = (
            mark_of(cell, rows.decimal)[0] in (*vocabulary.CENSORED, "nd") or low in vocabulary.LOW_CELLS | OWN_STATUS
        )
        no = verdict and low in {*NO, "n"} | vocabulary.NEGATIVE
        # A code of few letters stands for something where all samples have one.
        coded = verdict and full and there > 1 and len(low) <= 3 and not vocabulary.NOT_DONE.search(low)
        if marked or no or coded:
            said.append(cell)
            n += there
    if not said:
        return None
    remedy = "If these are below the limit: write <3 or BLQ as their value, or say it in a column blq, 1 there and 0 "
    remedy += "elsewhere, with lloq=, or"
    return f"says {shown(said)} of {count(n, 'sample')} whose value is empty", remedy


def at_the_floor(column: Suspect, rows: Values) -> Likeness | None:
    """A level that stands on exactly the rows that share the lowest value, such as status 2; visits do not count."""
    if not 2 <= len(column.levels) <= 6 or not varies(column, rows):
        return None
    there = column.sample & (rows.value > 0)
    values, code = rows.value[there], column.code[there]
    if not len(values):
        return None
    floor = values == values.min()
    level = code[floor]
    if floor.sum() < 2 or (level != level[0]).any() or (code == level[0]).sum() != floor.sum() or floor.all():
        return _lowest_by_code(column, rows)
    each = pd.Series(rows.subject[there][floor]).value_counts()
    if each.max() < 2:
        return None
    cell = str(column.cells[level[0]]) or "nothing"
    return _of_floor(column, cell, int(floor.sum()), number_text(values.min()))


def _of_floor(column: Suspect, cell: str, n: int, lowest: str) -> Likeness:
    remedy = "If these are limits: say it in a column blq, 1 there and 0 elsewhere, with lloq=, or"
    return f"is {cell} on exactly the {n} rows whose value is the lowest ({lowest})", remedy


def _lowest_by_code(column: Suspect, rows: Values) -> Likeness | None:
    """A level on the lowest values alone that its heading or its cell gives away, or that time does not explain.

    A covariate that changes with time stands on the lowest values as well: see `not_of_time`.
    """
    words = set(words_of(column.name)) | {plain(column.name)}
    if words & vocabulary.HARMLESS or column.of_a_number:
        return None
    numbers = [number_of(text, rows.decimal) is not None for text in column.texts]
    codes, verdict = words & vocabulary.CODES, words & (vocabulary.VERDICTS | vocabulary.FLAG_WORDS)
    # Below the costal margin is below something that is no limit.
    if verdict == {"below"} and set(words_of(column.name)) - _BESIDE_BELOW:
        verdict = set[str]()
    grades = {folded(text).strip() for text in column.texts} & vocabulary.GRADES and not verdict and not codes
    under = words & vocabulary.UNDER_WORDS and not words - vocabulary.UNDER_WORDS - vocabulary.OF_FLAGS
    for level in column.levels:
        chosen = column.sample & (column.code == level)
        cell = str(column.cells[level])
        said = (folded(cell) in vocabulary.LOW_CELLS and not grades) or verdict or under
        # Under a heading such as status or type a code is looked at, and a word such as "outpatient" is not.
        # Nor is the empty cell: a note stands where there was something to say, which may be at the peak.
        coded = bool(codes) and cell != "" and (len(cell) <= 3 or bool(codes - vocabulary.GENERAL))
        told = bool(said or coded)
        if cell == "" and not told:
            continue
        if int(chosen.sum()) < (2 if said else FEWEST_MARKED) or not on_the_lowest(column, rows, [level]):
            continue
        each = pd.Series(rows.subject[chosen]).value_counts()
        own = rows.value[chosen & (rows.value > 0)]
        if len(own) == 0 or (not said and each.max() < 2):
            continue
        if not told and sum(numbers) > 0 and len(column.levels) > 2:
            continue
        if told or not_of_time(rows.subject, rows.day, rows.value, chosen, column.sample):
            lowest_values = f"{number_text(own.min())} to {number_text(own.max())}"
            return _of_floor(column, cell or "nothing", int(chosen.sum()), lowest_values)
    return None


def flagged(column: Suspect, rows: Values) -> Likeness | None:
    """One of two cells of a flag, on values that are all the lowest of their subjects; one sample is enough.

    Either the heading is that of a flag or a verdict and of nothing else, and both cells are those of a flag (empty and
    Y, 0 and 1, pos and neg, quantified and below), or the cell on the lowest values says nothing else than that.
    """
    words, levels = _without_domain(column) or set(words_of(column.name)), column.levels
    if len(levels) != 2 or column.words & vocabulary.HARMLESS or column.of_a_number:
        return None
    at = _all_lowest(column, rows, levels)
    if at is None:
        return None
    low, other = (folded(str(column.cells[level])).strip() for level in (at, *(each for each in levels if each != at)))
    yes, no = {folded(each) for each in YES} | {"2", "t"}, {folded(each) for each in NO} | {"-1", "f"}
    kinds = yes | no | vocabulary.POSITIVE | vocabulary.NEGATIVE | vocabulary.FLAG_SEEN | vocabulary.FLAG_UNSEEN
    kinds |= vocabulary.FLAG_BELOW | vocabulary.LOW_CELLS
    if not {low, other} <= kinds:
        return None
    about = vocabulary.VERDICTS | vocabulary.FLAG_WORDS | vocabulary.CODES | vocabulary.MEASURED_WORDS
    beside = vocabulary.OF_ROWS | vocabulary.UNDER_WORDS | vocabulary.OF_FLAGS | vocabulary.BESIDE_FLAGS
    named = bool(words & about) and not words - about - beside
    # No says that a value is low to a heading of which yes means measured.
    if low in no and not words & (vocabulary.SEEN_WORDS | vocabulary.MEASURED_WORDS | vocabulary.VERDICTS):
        return None
    told = low in vocabulary.FLAG_BELOW or (low in vocabulary.FLAG_UNSEEN and other in vocabulary.FLAG_SEEN)
    if not named and not told:
        return None
    marked = column.sample & (column.code == at) & (rows.value > 0)
    least, most = number_text(rows.value[marked].min()), number_text(rows.value[marked].max())
    values = least if least == most else f"{least} to {most}"
    remedy = use("blq", column)
    if low not in {folded(each) for each in YES} or other not in {folded(each) for each in NO}:
        remedy = "If these are below the limit: say it in a column blq, 1 there and 0 elsewhere, with lloq=, or"
    what = f"is {str(column.cells[at]) or 'empty'} on the lowest values of their subjects ({values})"
    return f"looks like a mark of censored values: it {what}", remedy


def _without_domain(column: Suspect) -> set[str]:
    """The word of a heading of CDISC without the domain before it: stat of PCSTAT, fl of LBFL."""
    said = re.fullmatch(r"(?:pc|lb|gf|is|mb)(stat|fl|flag|ind|nrind)", plain(column.name))
    return {said[1]} if said else set()


def _all_lowest(column: Suspect, rows: Values, levels: list[int]) -> int | None:
    """The one of two levels whose values all lie below those that their subjects have with the other one."""
    there = column.sample & (rows.value > 0)
    for level in levels:
        own = column.code == level
        marked = pd.Series(rows.value[there & own]).groupby(rows.subject[there & own]).max()
        rest = pd.Series(rows.value[there & ~own]).groupby(rows.subject[there & ~own]).min()
        both = marked.index.intersection(rest.index)
        if len(both) and bool((marked[both] < rest[both]).all()):
            return level
    return None
