"""The folder that a command writes, whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cellkinetics.cli.stopping import ctrl_c
from cellkinetics.figures.drawing import png
from cellkinetics.layout.formulas import inert_table
from cellkinetics.lazily import pandas as pd
from cellkinetics.reporting import output

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Target:
    """Where a command writes: known, and found to be writable, before anything is computed.

    Parameters
    ----------
    path : the folder.
    force : whether it may be there already.
    name : of a numbered folder, without its number; None for one that was asked for.
    ours : the names that the command gives to files.
    """

    path: Path
    force: bool
    name: str | None
    ours: re.Pattern[str]

    @classmethod
    def of(cls, verb: str, out: Path | None, force: bool, ours: re.Pattern[str]) -> Target:
        """The folder asked for, or the next numbered one of the command."""
        name = f"cellkinetics-{verb}"
        path = output.folder(out, force=force, name=name)
        return cls(path, force, name if out is None else None, ours)

    def put(self, make: Callable[[Path], None]) -> Path:
        """Have the files made, and put in place together; Ctrl-C waits for that once. Returns the folder."""
        with ctrl_c.held():
            folder = output.place(make, self.path, self.ours, force=self.force, name=self.name)
        if folder != self.path and self.name is None:
            text = f"{self.path} was made by another process meanwhile: these results are in {folder}."
            Console(stderr=True).print(text, markup=False, soft_wrap=True)
        return folder


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """A table without its index, its names such that no spreadsheet runs them."""
    inert_table(table).to_csv(path, index=False)


def write_figure(figure: Figure, path: Path) -> None:
    """A picture; the figure is closed."""
    path.write_bytes(png(figure))
