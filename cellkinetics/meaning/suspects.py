"""A column that nothing reads, and the rows that it stands beside."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import vocabulary
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import words_of

# Texts of a column that are looked at, the most frequent first: a mark in a million cells stands there often.
LOOKED_AT = 1000
# Levels that a column of kinds can have: blood and marrow, CMT 1 and 2.
KINDS = 8


@dataclass
class Suspect:
    """A column that nothing reads, by its distinct cells, on the rows that are samples with a value or a word for one.

    Parameters
    ----------
    name : str
        Its heading.
    code : (n,) array of int
        Which of `cells` each row has.
    cells : (k,) array of str
        The distinct texts, "" among them where a row is empty.
    sample, dose : (n,) arrays of bool
        Values that are samples, and rows that say a dose of cells: those of infusions, and all rows of a subject
        whose dose stands on each of them.
    """

    name: str
    code: npt.NDArray[np.intp]
    cells: npt.NDArray[np.object_]
    sample: Flags
    dose: Flags
    counts: npt.NDArray[np.intp] = field(init=False)
    looked: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.bincount(self.code[self.sample], minlength=len(self.cells))
        order = np.argsort(-self.counts, kind="stable")[:LOOKED_AT]
        self.looked = [int(at) for at in order if self.counts[at] and self.cells[at] != ""]

    @property
    def texts(self) -> list[str]:
        """The cells that are looked at, lower case, the most frequent first."""
        return [str(self.cells[at]).casefold() for at in self.looked]

    @property
    def words(self) -> set[str]:
        """The words of its heading."""
        return {*words_of(self.name), plain(self.name).replace("_", "")}

    @property
    def of_a_number(self) -> bool:
        """Whether its heading is below a number that it names, as "below_75kg" and "B_cells_under_5" are."""
        under = bool(self.words & vocabulary.UNDER_WORDS) and not self.words & vocabulary.OF_FLAGS
        return under and any(letter.isdigit() for letter in self.name)

    @property
    def levels(self) -> list[int]:
        """The distinct cells that samples have, "" among them."""
        return [int(at) for at in np.flatnonzero(self.counts)]


@dataclass(frozen=True)
class Values:
    """What is known of the (n,) rows: their subject, day and number as read, and the unit of the study.

    `time_unit` is that of the times as the user gave it, None where nobody said; `says_days`, whether their heading
    does; `dose_unit` that in which the doses were given. `infused` is the day on which the cells of the row are taken
    as infused: that of a row with a dose, 0 where the dose stands on all rows of a subject or no row has one, else NaN;
    `given`, whether the row itself is an infusion; `empty`, whether it has no value, and nothing that says why.
    """

    subject: npt.NDArray[np.intp]
    day: Floats
    value: Floats
    unit: str
    output: npt.NDArray[np.intp]
    decimal: str = "."
    time_unit: str | None = None
    says_days: bool = False
    dose_unit: str = "cells/kg"
    infused: Floats | None = None
    given: Flags | None = None
    empty: Flags | None = None


Likeness = tuple[str, str]


def use(meaning: str, column: Suspect) -> str:
    """The remedy that gives a column its meaning."""
    return f"read_study(..., columns={{{meaning!r}: {column.name!r}}}) to use it, or"


def use_unit(column: Suspect) -> str:
    """The remedy for a unit of values: that of some says nothing of the others."""
    if column.counts[column.cells == ""].any():
        return "Say the unit of every value in a column unit (each output has one), or"
    return use("unit", column)


def shown(cells: list[str]) -> str:
    """The first few of some cells."""
    return ", ".join(dict.fromkeys(cells[:3]))


def varies(column: Suspect, rows: Values) -> bool:
    """Whether samples of one subject differ in it."""
    filled = column.sample
    each = pd.Series(column.code[filled]).groupby(rows.subject[filled])
    return bool((each.min() != each.max()).any())
