"""How long the phases of a piece of work took, in the result and in the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from cellkinetics import cache
from cellkinetics.progress import log

COMPILING = "compiling"


class Phases:
    """Seconds by phase; "compiling" is what of them the compiler took, in this process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began, self._compiled = time.perf_counter(), cache.seconds_compiled()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count what is done inside as this phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._began

    def done(self, what: str) -> dict[str, float]:
        """The seconds of each phase; with a line in the log of ``what`` was done."""
        found = {**self.seconds, COMPILING: cache.seconds_compiled() - self._compiled}
        each = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.items() if seconds >= 0.05)
        log.info("%s: %.1f s%s", what, self.total, f" ({each})" if each else "")
        return found
