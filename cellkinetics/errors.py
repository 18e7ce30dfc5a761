"""What is wrong with a table or a model: the place, the finding, the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

from cellkinetics.lazily import pandas as pd
from cellkinetics.words import number_text

LINES = 20


@dataclass(frozen=True)
class Finding:
    """One finding in a table.

    Parameters
    ----------
    row : int or None
        Line of the file (see `Study`); None when the finding is not about one row, or the row is unknown.
    subject : str or None
        Subject of the row.
    day : float or None
        Day of the row.
    found : str
        What is wrong, with the text that stands there.
    remedy : str
        What to do about it, as a sentence.
    """

    row: int | None
    subject: str | None
    day: float | None
    found: str
    remedy: str

    def line(self, source: str = "") -> str:
        """The finding in one line, beginning with `source`."""
        place = [source] if source else []
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.subject is not None:
            place.append(f"patient {self.subject}")
        if self.day is not None:
            place.append(f"day {number_text(self.day)}")
        return f"{', '.join(place)}{': ' if place else ''}{self.found}. {self.remedy}".rstrip()


def alike(problems: Sequence[Finding]) -> list[tuple[str, list[Finding]]]:
    """Problems that are the same but for the cell, together: what to say of each lot, and the problems in it.

    Two are the same when they have one remedy and their findings differ by what stands in quotes or by numbers only.
    """
    lots: dict[tuple[str, str], list[Finding]] = {}
    for problem in problems:
        pattern = re.sub(r"'[^']*'|\"[^\"]*\"|[\d.,+-]*\d\S*", "...", problem.found)
        lots.setdefault((pattern, re.sub(r"\d+(\.\d+)?", "...", problem.remedy)), []).append(problem)
    found = []
    for lot in lots.values():
        texts = list(dict.fromkeys(problem.found for problem in lot))
        more = f" (and {len(texts) - 1} more like it)" if len(texts) > 1 else ""
        found.append((texts[0] + more, lot))
    return found


def one_problem(found: str, remedy: str, source: str = "") -> StudyError:
    """The error of the one thing that is wrong with a study as a whole."""
    return StudyError([Finding(None, None, None, found, remedy)], source)


class StudyError(ValueError):
    """A table that cannot be read as a study, or a study that was asked for what it does not have.

    Parameters
    ----------
    problems : sequence of Finding
        Everything that was found, in the order of the rows. The message shows the first 20.
    source : str
        Name of the file; it opens each line of the message.

    Attributes
    ----------
    problems : list of Finding
        All of them.
    source : str
        As given.
    """

    def __init__(self, problems: Sequence[Finding], source: str = "") -> None:
        self.problems = list(problems)
        self.source = source
        lines = [problem.line(source) for problem in self.problems[:LINES]]
        if len(self.problems) > LINES:
            lines.append(f"and {len(self.problems) - LINES} more")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[StudyError], tuple[list[Finding], str]]:
        # An exception is rebuilt from its message by default; worker processes send these back whole.
        return type(self), (self.problems, self.source)

    @property
    def table(self) -> pd.DataFrame:
        """One row a problem: row, subject, day, found, remedy."""
        columns = [field.name for field in fields(Finding)]
        return pd.DataFrame([asdict(problem) for problem in self.problems], columns=columns)


class Doubt(UserWarning):
    """Base of all warnings of this library; ``code`` is where the documentation explains it."""

    code = ""

    def __str__(self) -> str:
        return f"{super().__str__()} [{self.code}]" if self.code else super().__str__()


class StudyWarning(Doubt):
    """A table was read, and something in it is likely not what it was read as; what, and what to give."""

    code = "CK101"


class TextWarning(Doubt):
    """A file is not UTF-8 and was read as Windows-1252: letters beyond ASCII may be others."""

    code = "CK102"


class AssayWarning(Doubt):
    """More copies than all cells together could have: the vector copy number, the unit or the DNA may be another."""

    code = "CK103"


class DoseWarning(Doubt):
    """Doses were given for a model that takes none: they have no effect."""

    code = "CK201"


class TimeWarning(Doubt):
    """A curve was asked for on days before the infusion, where it is what it starts with."""

    code = "CK202"


class ModelWarning(Doubt):
    """The file of a model has changed since the result that was loaded."""

    code = "CK301"


class FileWarning(Doubt):
    """A file was written by a later version; what this one does not know of it is left out."""

    code = "CK302"


class ModelError(ValueError):
    """A model that cannot be used as written or as asked.

    Parameters
    ----------
    message : str
        What is wrong and what to do about it.
    name : str or None
        The parameter or function at fault; None when there is no single one.
    """

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name

    def __reduce__(self) -> tuple[type[ModelError], tuple[str, str | None]]:
        return type(self), (str(self), self.name)


def suggest(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is nearest to an unknown one.

    Parameters
    ----------
    name : str
        The name that was not found. Case and underscores do not count.
    known : iterable of str
        The names there are.

    Returns
    -------
    str
        ``"Did you mean t_max?"``, or ``""`` when nothing is near.

    Examples
    --------
    >>> suggest("Tmax", ["fold", "t_max", "c_max"])
    'Did you mean t_max?'
    >>> suggest("colour", ["fold", "t_max", "c_max"])
    ''
    """
    plain = {_plain(candidate): candidate for candidate in reversed(list(known))}
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return f"Did you mean {plain[near[0]]}?" if near else ""


def _plain(name: str) -> str:
    return str(name).casefold().replace("_", "")
