"""What is counted in a unit of copies or cells: words before it that say of what, and those that multiply it."""

from __future__ import annotations

import re

from cellkinetics.meaning.vocabulary import WHICH_COUNTED, folded

# A factor in words or as a prefix, in a heading or a unit; those in digits are `_IN_DIGITS`.
FACTOR_WORDS = re.compile(
    r"hunder?t(?:tausend)?|hundreds?|cents?|thousands?|thsd|tausend|tsd|milles?|mila|miles|duizend|tys(?:iac\w*)?|"
    r"tusen|deci|centi|milli|micro|nano|hecto|hekto|k|kilo|mil(?:l?i?ons?|lionen|l)?|millones|milioni|milhoes|"
    r"milj\w*|mio|mln|mn|mm|m|mega|billions?|billones|bn|milliard\w*|miliard\w*|mrd|mld|g|giga|tera|trillions?|"
    r"lakhs?|lacs?|crores?|dozens?|dutzend|half|pct|percent"
)
_IN_DIGITS = re.compile(r"x|times|mal|fois|veces|(?:exp?|pow)\d*|\d*\.?\d*e\d+|x?\d+x?|x\d\w*|x?10e?\d+")
# Names of constructs and antigens: CD19, BCMA, GPRC5D, NK92, CD19CAR; 10e6 and x10 are none.
_CONSTRUCT = re.compile(r"(?!exp?\d|pow\d|x\d)(?:cd\d+\w*|[a-z]{2,6}\d+[a-z]{0,3}|\w*car\w*|bcma|gprc|egfr|psma)")


def multiplies(words: str) -> bool:
    """Whether one of some words, parted by "_", is a factor: million_car, x10, 1e6, k."""
    return any(FACTOR_WORDS.fullmatch(word) or _IN_DIGITS.fullmatch(word) for word in words.split("_") if word)


def is_kind(words: str) -> bool:
    """Whether all words before copies or cells, parted by "_", say no more than which are meant.

    >>> [is_kind(words) for words in ("", "viable_car_t", "cd19_car_nk", "mio", "lakh", "e6", "mm")]
    [True, True, True, False, False, False, False]
    """
    return all(
        word in WHICH_COUNTED or _CONSTRUCT.fullmatch(word) is not None for word in folded(words).split("_") if word
    ) and not multiplies(words)
