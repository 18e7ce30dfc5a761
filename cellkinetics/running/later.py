"""Results by subject that are put together when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

Made = TypeVar("Made")


class Later(Mapping[str, Made]):
    """{subject: result}, each made when it is first asked for."""

    def __init__(self, subjects: Iterable[str], make: Callable[[str], Made]) -> None:
        self._made: dict[str, Made | None] = dict.fromkeys(subjects)
        self._make = make

    def __getitem__(self, subject: str) -> Made:
        made = self._made[subject]
        if made is None:
            made = self._made[subject] = self._make(subject)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __reduce__(self) -> tuple[Any, ...]:
        # What is still to be put together cannot travel: it travels made.
        return dict, (dict(self),)
