"""What may stand in files of results: classes say so where they are defined, and hand over to who writes them."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from cellkinetics.notebook import Shown

C = TypeVar("C", bound=type)
STORABLE: dict[str, type] = {}
# metadata of a field that a file does not have, or has in another form: what a result only works with.
UNSAVED = MappingProxyType({"saved": False})


def storable(kind: C) -> C:
    """Let a dataclass, or an enumeration, be written to files by its fields, and be made anew from them.

    Nothing else is made from a file: its text can name no other class and no function.
    """
    STORABLE[kind.__name__] = kind
    return kind


class Saves(Shown):
    """Base of results that can be written to a file."""

    def save(self, path: str | Path) -> None:
        """Write the result as one file of JSON; `cellkinetics.load` reads it back.

        With it go the samples or their hash, the model's name, text and hash, what was asked, and versions. The file is
        written whole or not at all, and has a checksum.
        """
        from cellkinetics.reporting import results

        results.save(self, path)
