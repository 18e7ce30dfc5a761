"""What forecasts and trials share: a level, an output and a day that is asked for, found in what was computed."""

from __future__ import annotations

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Flags, Floats
from cellkinetics.errors import ModelError, suggest
from cellkinetics.lazily import pandas as pd


class Ahead:
    """Base of results with a ``table`` of times and outputs, and ``limits`` of each output."""

    table: pd.DataFrame
    limits: dict[str, float]

    def _limit(self, limit: float | None, output: str | None) -> float:
        """The limit that is given, or that is known.

        Raises
        ------
        ModelError
            No limit is known.
        """
        known = self.limits[self._called(output)]
        limit = known if limit is None else domains.positive(limit, "limit", 3.0)
        if not np.isfinite(limit):
            raise ModelError("no lower limit is known: give limit=, such as limit=3.0.")
        return limit

    def _row(self, own: pd.DataFrame, day: float, output: str | None) -> int:
        """Which row of a table is of a day and an output."""
        day = domains.finite(day, "day", 28.0)
        places = np.flatnonzero((own["output"] == self._called(output)).to_numpy(bool))
        days = own["day"].to_numpy(float)[places]
        near = int(np.argmin(np.abs(days - day)))
        if abs(days[near] - day) > 1e-9 * max(1.0, abs(day)):
            known = ", ".join(f"{each:g}" for each in days[:8]) + (" ..." if len(days) > 8 else "")
            raise ModelError(f"day {day:g} is not among the times ({known}). Give it in times=.")
        return int(places[near])

    def _called(self, output: str | None) -> str:
        """The output of this name, the first where none is given."""
        names = list(dict.fromkeys(self.table["output"]))
        if output is not None and output not in names:
            raise ModelError(f"there is no output {output!r}. {suggest(output, names)}".rstrip())
        return names[0] if output is None else output


def beyond(level: float, sample: bool, ln_curves: Floats, drawn: Floats) -> Flags:
    """Whether each curve, or each sample about it, lies above a level."""
    level = domains.positive(level, "level", 100.0)
    return drawn > level if domains.flag(sample, "sample") else ln_curves > np.log(level)
