"""Observed against predicted: the samples over the curve, with those beyond a limit at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.figures import style
from cellkinetics.figures.style import tone
from cellkinetics.lazily import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellkinetics.fitting.fits import Fits

MANY_SAMPLES = 300  # from which on marks are small and pale


def plot_fits(fits: Fits, by: str, axes: Axes | None) -> Axes:
    """See `Fits.plot_predicted`."""
    table, study = fits.residuals, fits.study
    if table.empty or table["predicted"].isna().all():
        raise ValueError("nobody was fitted: there is no prediction. Fits.outcomes says why.")
    table = table[table["predicted"].notna()]
    members, shades = style.coloured(study, by)
    panel = style.panels(axes, 1, 1, (4.6, 4.4), simulated=study.simulated)[0]
    draw(panel, table, "predicted", shades, table["subject"].map(members))
    style.label(panel, "predicted", f"observed, {style.unit_label(study.unit)}")
    if axes is None:
        style.legend_below(panel, [*style.named(shades, by), *key_of(table, tone.faint)])
    return panel


def draw(ax: Axes, table: pd.DataFrame, column: str, shades: Mapping[str, str], members: pd.Series[Any]) -> None:
    """Samples of a table of residuals over one of its columns, with the line of equal values.

    members : the group of each row, a key of ``shades``.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    seen = observed(table)
    low, high = seen[seen > 0].min() / 2, 2 * seen.max()
    style.decades(ax, low, high, minor=False)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(LogLocator(numticks=max(3, int(style.size(ax)[0] / (5 * style.TEXT)))))
    ax.xaxis.set_major_formatter(ax.yaxis.get_major_formatter())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.plot([low, high], [low, high], color=tone.faint, linewidth=0.9, zorder=1.5, gid="identity")
    size, alpha = (2.8, 0.55) if len(table) > MANY_SAMPLES else (4.2, 0.9)
    # What lies far below is drawn at the edge: a curve that falls to nothing would stretch the axis.
    x = np.clip(table[column].to_numpy(float), low * 1.1, high / 1.1)
    for (status, name), rows in table.assign(at=np.arange(len(table)), who=members).groupby(["status", "who"]):
        at = rows["at"].to_numpy()
        ax.plot(x[at], seen[at], **style.marker(str(status), shades[str(name)], size), alpha=alpha, gid=str(status))


def observed(table: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Where a sample is drawn: at its value, or at the limit that it lies beyond."""
    return np.where(table["status"] == "above", table["lower"], table["upper"]).astype(float)


def key_of(table: pd.DataFrame, colour: str | None = None) -> Sequence[tuple[Any, str]]:
    """What the marks and the line are."""
    from matplotlib.lines import Line2D

    there = [status for status in style.MARKS if (table["status"] == status).any()]
    marks = [(style.handle(status, colour or tone.one), style.MARKS[status][1]) for status in there]
    return [*marks, (Line2D([], [], color=tone.faint, linewidth=0.9), "as predicted")]
