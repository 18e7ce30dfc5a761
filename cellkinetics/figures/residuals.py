"""The picture of residuals that respect censoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cellkinetics.figures import style
from cellkinetics.figures.style import tone
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.data.study import Study

EDGES = np.arange(-4.0, 4.5, 0.5)  # of the histogram
MANY_RESIDUALS = 200  # residuals from which the marks are small and pale


def plot(
    residuals: pd.DataFrame,
    *,
    simulated: bool,
    axes: Sequence[Axes] | None = None,
    study: Study | None = None,
    by: str | None = None,
) -> Figure:
    """Residuals in the panels of `draw`, with what their marks are.

    study, by : whose they are, and what the colour says; one colour where None.
    """
    if study is None or by is None:
        return style.whole(draw(residuals, simulated=simulated, axes=axes)[0])
    members, shades = style.coloured(study, by)
    colours = residuals["subject"].map(members).map(shades).to_numpy(str)
    panels = draw(residuals, simulated=simulated, axes=axes, colours=colours, key=style.named(shades, by))
    return style.whole(panels[0])


def draw(
    residuals: pd.DataFrame,
    *,
    simulated: bool,
    axes: Sequence[Axes] | None = None,
    name: str = "quantile residual",
    colours: np.ndarray[Any, Any] | None = None,
    key: Sequence[tuple[Any, str]] = (),
    words: str = "",
) -> list[Axes]:
    """Residuals over time, over the prediction, against the normal with its 95% band, and their histogram.

    name : of the residuals, on the axes. colours : of each. key : what the colours are. words : last in the legend.
    """
    over_time, over_curve, quantiles, counts = panels = style.panels(axes, 4, 2, (4.2, 2.8), simulated=simulated)
    quantified = (residuals["status"] == "quantified").to_numpy()
    z, day = residuals["residual"].to_numpy(float), residuals["day"].to_numpy(float)
    colours = np.full(len(z), tone.one) if colours is None else colours
    scatter(over_time, day, z, quantified, colours)
    scatter(over_curve, residuals["predicted"].to_numpy(float), z, quantified, colours)
    normal(quantiles, z, quantified, colours)
    counts.hist(np.clip(z, -3.99, 3.99), bins=EDGES.tolist(), color=tone.one, alpha=0.35)
    grid = np.linspace(-4, 4, 161)
    counts.plot(grid, len(z) * 0.5 * scipy.stats.norm.pdf(grid), color=tone.faint, linewidth=1.2)
    for ax in (over_time, over_curve):
        lines(ax)
    for ax in panels:
        style.dress(ax)
    if len(day):
        style.days(over_time, float(day.max()), style.size(over_time)[0])
        style.few_ticks(over_curve)
    style.label(over_time, y=name)
    style.label_days(over_time)
    style.label(over_curve, "predicted", name)
    style.label(quantiles, "expected of a normal", name)
    style.label(counts, name, "samples")
    if axes is None:
        style.legend_below(panels[0], [*key, *marks_key(tone.faint if key else tone.one, words)])
    return panels


def marks_key(shade: str = "", words: str = "") -> list[tuple[Any, str]]:
    """Entries of the legend; ``words`` without a mark last."""
    marks = {"quantified": "quantified", "below": "censored, drawn within its ends"}
    key: list[tuple[Any, str]] = [(style.handle(status, shade or tone.one), text) for status, text in marks.items()]
    return key + ([style.heading(words)] if words else [])


def lines(ax: Axes) -> None:
    """At 0, and where 95% of normal values lie between."""
    for line in (-1.96, 0.0, 1.96):
        ax.axhline(line, color=tone.faint, linewidth=0.9, dashes=(4, 3) if line else (1, 0))


def normal(ax: Axes, z: np.ndarray[Any, Any], quantified: np.ndarray[Any, Any], colours: np.ndarray[Any, Any]) -> None:
    """Sorted residuals over those expected of as many normal values, with the band in which 95% of each would lie."""
    order, count = np.argsort(z, kind="stable"), len(z)
    ranks = np.arange(1, count + 1)
    expected = special.ndtri((ranks - 0.5) / max(count, 1))
    low, high = (special.ndtri(scipy.stats.beta.ppf(share, ranks, count + 1 - ranks)) for share in (0.025, 0.975))
    ax.fill_between(expected, low, high, color=tone.faint, alpha=0.15, linewidth=0)
    ax.axline((0, 0), slope=1, color=tone.faint, linewidth=0.9, dashes=(4, 3))
    scatter(ax, expected, z[order], quantified[order], colours[order])


def scatter(
    ax: Axes,
    x: np.ndarray[Any, Any],
    z: np.ndarray[Any, Any],
    quantified: np.ndarray[Any, Any],
    colours: np.ndarray[Any, Any],
) -> None:
    """Residuals as marks, smaller where there are many."""
    small, alpha = (2.6, 0.5) if len(z) > MANY_RESIDUALS else (4.0, 1.0)
    for colour in dict.fromkeys(colours.tolist()):
        for status, which in (("quantified", quantified), ("below", ~quantified)):
            own = which & (colours == colour)
            ax.plot(x[own], z[own], **style.marker(status, colour, small), alpha=alpha)
