"""Numbers and sentences as a person writes them: the one copy of what every text of the library needs."""

from __future__ import annotations

import textwrap

import numpy as np

NARROW, WIDE = 80, 96  # columns of a text: of one patient or study, and of a comparison


def number_text(number: float) -> str:
    """The shortest text that reads back as the same number: 3.0 is "3", 0.1 is "0.1", infinity is "inf"."""
    number = float(number)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def dose_text(number: float) -> str:
    """A dose as it is written: 1e6, 2.5e7, 40."""
    if number < 1e4:
        return number_text(number)
    mantissa, exponent = f"{number:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def plain(number: float) -> str:
    """A number as it is read aloud: 10,000, 3, 0.1; never 1e+04."""
    if abs(number) >= 1000 and float(number).is_integer():
        return f"{number:,.0f}"
    return np.format_float_positional(number, trim="-")


def digits(value: float) -> str:
    """Four digits of an estimate."""
    return f"{value:.4g}"


def p_text(p: float) -> str:
    """A p value: four decimals where it is small, two elsewhere; "<0.0001" below that, never 0."""
    if p < 0.0001:
        return "<0.0001"
    return f"{p:.4f}" if p < 0.1 else f"{p:.2f}"


def p_equals(p: float, name: str = "p") -> str:
    """A p value with its name: "p = 0.0123", "p < 0.0001"."""
    text = p_text(p)
    return f"{name} < {text[1:]}" if text.startswith("<") else f"{name} = {text}"


def percent(k: int, n: int) -> str:
    """A share that is not 0% or 100% unless it is."""
    share = 100 * k / n
    return "<1%" if 0 < share < 0.5 else ">99%" if 99.5 <= share < 100 else f"{share:.0f}%"


def count(n: int, what: str, more: str = "") -> str:
    """So many of something: 1 sample, 2 samples; `more` where several of it are not written with an s."""
    return f"{n} {what}" if n == 1 else f"{n} {more or f'{what}s'}"


def fold(value: float) -> str:
    """A factor: 58-fold, 0.147-fold, 100-fold, 12,000-fold; never 1e+04."""
    return f"{value:,.0f}-fold" if value >= 1000 else f"{value:.3g}-fold"


def labelled(label: str, text: str, column: int = 12, width: int = NARROW) -> list[str]:
    """A fact in lines of `width`, its label in front and its text from `column` on."""
    return textwrap.wrap(text, width, initial_indent=f"  {label:<{column - 2}}", subsequent_indent=" " * column)


def labelled_wide(label: str, text: str) -> list[str]:
    """`labelled` as the texts of comparisons have it."""
    return labelled(label, text, 11, WIDE)
