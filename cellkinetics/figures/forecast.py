"""The picture of a forecast: samples, the curve to be expected with its band, and whether a sample is detectable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from cellkinetics.figures import style
from cellkinetics.figures.drawing import draw_limits, draw_samples, extent
from cellkinetics.figures.style import MARKS, tone

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cellkinetics.predictive.forecast import Forecast

BAND_OF_CURVE, BAND_OF_SAMPLE, MORE_IN_DARK = 0.32, 0.13, 0.08  # how solid areas are
WIDTH = 5.8  # inches


def plot(found: Forecast, output: str) -> Figure:
    """See `Forecast.plot`."""
    limit = found.limits[output]
    limited = bool(np.isfinite(limit))
    figure = style.figure((WIDTH, 4.6 if limited else 3.6))
    grid = figure.add_gridspec(2 if limited else 1, 1, height_ratios=[2.7, 1] if limited else [1])
    top = figure.add_subplot(grid[0, 0])
    table = found.table[found.table["output"] == output].sort_values("day")
    samples = found.samples[found.samples["output"] == output].assign(late=False, lloq=limit)
    curve = table.rename(columns={"median": "value"})
    low, high = extent(samples, [curve])
    if limited:
        low = min(low, limit / 3)
    day = table["day"].to_numpy(float)
    last = max(float(day.max()), float(samples["day"].max()) if len(samples) else 0.0)
    style.decades(top, low, high)
    style.days(top, last, 0.8 * 72 * figure.get_figwidth())
    more = MORE_IN_DARK if tone.dark else 0.0
    for lower, upper, solid in (("sample_lower", "sample_upper", BAND_OF_SAMPLE), ("lower", "upper", BAND_OF_CURVE)):
        ends = (np.maximum(table[end].to_numpy(float), low / 10) for end in (lower, upper))
        top.fill_between(day, *ends, color=tone.one, alpha=solid + more, linewidth=0, gid=lower)
    top.plot(day, table["median"], color=tone.one, linewidth=1.9, zorder=2.5, gid="median")
    draw_samples(top, samples, tone.ink)
    if limited:
        draw_limits(top, samples if len(samples) else samples.reindex([0]).assign(lloq=limit))
    several = found.table["output"].nunique() > 1
    style.label(top, y=output if several else style.unit_label(found.unit))
    top.set_title(found.subject, loc="left", fontsize=style.TITLE, color=tone.ink, parse_math=False)
    axis = top
    if limited:
        bottom = figure.add_subplot(grid[1, 0], sharex=top)
        style.dress(bottom)
        shares = [found.detectable(float(at), output=output) for at in day]
        bottom.plot(day, shares, color=tone.ink, linewidth=1.5, gid="detectable")
        bottom.set_ylim(-0.05, 1.05)
        bottom.set_yticks([0, 0.5, 1])
        bottom.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        style.label(bottom, y="detectable")
        top.tick_params(labelbottom=False)
        axis = bottom
    style.label(axis, "days since infusion")
    if found.simulated:
        style.tag_all(figure)
    key: list[tuple[Any, str]] = [
        (style.handle(status, tone.ink), MARKS[status][1]) for status in MARKS if (samples["status"] == status).any()
    ]
    share = f"{100 * found.level:.3g}%"
    key += [
        (Line2D([], [], color=tone.one, linewidth=1.9), "median"),
        (Patch(color=tone.one, alpha=BAND_OF_CURVE + more, linewidth=0), f"{share} of the curve"),
        (Patch(color=tone.one, alpha=BAND_OF_SAMPLE + more, linewidth=0), f"{share} of a sample"),
    ]
    style.legend_below(top, key)
    return figure
