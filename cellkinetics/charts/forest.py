"""Rows of values with their intervals, an arrow where one goes on beyond the axes, and numbers beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cellkinetics.figures import style
from cellkinetics.figures.style import tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AxisEnds = tuple[float, float]


class Row(NamedTuple):
    """A row of a forest; one without a colour is a heading.

    name : beside the axes. value, lower, upper : on the axes; NaN is not drawn. status : of the mark, as of a sample.
    text : right of the axes.
    """

    name: str
    value: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    colour: str = ""
    text: str = ""
    status: str = "quantified"


def draw(ax: Axes, rows: Sequence[Row], ends: AxisEnds, size: float = 6.0, *, log: bool = True) -> None:
    """Rows from the top down, on axes from one end to the other."""
    style.dress(ax)
    ax.grid(False)
    ax.set_xlim(*ends)
    if log:
        ax.dataLim.intervalx = ends
        style.few_ticks(ax)
    else:
        ax.locator_params(axis="x", nbins=5)
    for y, row in enumerate(rows):
        interval(ax, y, row, ends, size)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [row.name for row in rows], parse_math=False)
    ax.tick_params(axis="y", length=0)
    for text, row in zip(ax.get_yticklabels(), rows, strict=True):
        if not row.colour:
            text.set_fontweight("bold")


def interval(ax: Axes, y: float, row: Row, ends: AxisEnds, size: float = 6.0) -> None:
    """A mark with its interval, an arrow where that goes on, and the text of the row beside the axes."""
    if math.isfinite(row.value) and not (math.isnan(row.lower) and math.isnan(row.upper)):
        lower, upper = np.nan_to_num(row.lower, nan=-np.inf), np.nan_to_num(row.upper, nan=np.inf)
        width = 1.7 if size > 5 else 1.1
        ax.hlines(y, max(lower, ends[0]), min(upper, ends[1]), color=row.colour, linewidth=width, gid="interval")
        for end, beyond, mark in ((ends[0], lower < ends[0], "<"), (ends[1], upper > ends[1], ">")):
            if beyond:
                ax.plot(end, y, mark, color=row.colour, markersize=0.8 * size, clip_on=False, gid="beyond")
    if ends[0] <= row.value <= ends[1]:
        ax.plot(row.value, y, **style.marker(row.status, row.colour, size), gid="value", zorder=3)
    if row.text:
        ax.annotate(
            row.text, (1, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
            fontsize=style.TEXT, color=tone.ink, annotation_clip=False, parse_math=False,
        )  # fmt: skip
