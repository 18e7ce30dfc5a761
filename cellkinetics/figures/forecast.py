"""What is ahead: a forecast with its samples, and a virtual trial arm by arm; below the curves who is detectable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from cellkinetics.figures import style
from cellkinetics.figures.drawing import draw_limits, draw_samples, extent
from cellkinetics.figures.style import MARKS, tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.predictive.forecast import Forecast
    from cellkinetics.predictive.trial import VirtualTrial

BAND_OF_CURVE, BAND_OF_SAMPLE, MORE_IN_DARK = 0.32, 0.13, 0.08  # how solid areas are
WIDTH = 5.8  # inches
OF_ARM, OF_ONE_ARM, ACROSS = (3.3, 3.7), (5.6, 4.3), 3  # inches of an arm, and of the only one; arms in a row
BAND_OF_ESTIMATES = 0.55
REACH = 1e7  # of the axis of values, where no limit ends it


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


def plot_trial(found: VirtualTrial, output: str) -> Figure:
    """See `VirtualTrial.plot`."""
    import matplotlib.pyplot as plt

    arms = list(found.arms["arm"])
    limit, columns = found.limits[output], 2 if len(arms) == 4 else min(ACROSS, len(arms))
    strips, limited = math.ceil(len(arms) / columns), bool(np.isfinite(limit))
    width, height = OF_ARM if columns > 1 else OF_ONE_ARM
    figure = plt.figure(figsize=(columns * width + 0.6, strips * height + 0.5), layout="constrained")
    grid = figure.add_gridspec(2 * strips, columns, height_ratios=[2.6, 1 if limited else 1e-3] * strips)
    table = found.table[found.table["output"] == output].sort_values("day")
    high = 1.1 * float(table["sample_upper"].max())
    low = limit / 3 if limited else max(float(table["lower"].min()), high / REACH)
    usual = table[table["arm"] == arms[0]]
    first: Axes | None = None
    for number, arm in enumerate(arms):
        strip, column = divmod(number, columns)
        own = table[table["arm"] == arm]
        top = figure.add_subplot(grid[2 * strip, column], sharey=first)
        first = first or top
        style.decades(top, low, high, minor=False)
        style.days(top, float(table["day"].max()), 0.72 * 72 * width)
        _curves(top, own, low)
        if number:
            top.plot(
                usual["day"], usual["typical"], color=tone.ink, linewidth=1.0, linestyle=(0, (3, 2)), gid="first arm"
            )
        top.set_title(str(arm), loc="left", fontsize=style.TITLE, color=tone.ink, parse_math=False)
        axis = top
        if limited:
            draw_limits(top, own.iloc[:1].assign(lloq=limit, day=0.0, late=False))
            axis = figure.add_subplot(grid[2 * strip + 1, column], sharex=top)
            _detectable(axis, found, str(arm), output, own["day"].to_numpy(float))
            top.tick_params(labelbottom=False)
            axis.tick_params(labelleft=column == 0)
        top.tick_params(labelleft=column == 0)
        style.label(axis, "days since infusion", "detectable" if limited and column == 0 else "")
        if column == 0:
            several = found.table["output"].nunique() > 1
            style.label(top, y=output if several else style.unit_label(found.unit))
    if found.simulated:
        style.tag_all(figure)
    assert first is not None
    style.legend_below(first, _key_of_trial(found))
    return figure


def _curves(ax: Axes, own: Any, low: float) -> None:
    more = MORE_IN_DARK if tone.dark else 0.0
    bands = (("sample_lower", "sample_upper", BAND_OF_SAMPLE), ("lower", "upper", BAND_OF_CURVE),
             ("typical_lower", "typical_upper", BAND_OF_ESTIMATES))  # fmt: skip
    for lower, upper, solid in bands:
        ends = (np.maximum(own[end].to_numpy(float), low / 10) for end in (lower, upper))
        ax.fill_between(own["day"], *ends, color=tone.one, alpha=solid + more, linewidth=0, gid=lower)
    ax.plot(own["day"], own["typical"], color=tone.one, linewidth=1.9, zorder=2.5, gid="typical")


def _detectable(ax: Axes, found: VirtualTrial, arm: str, output: str, days: Any) -> None:
    style.dress(ax)
    shares = np.array([found.detectable(float(day), output=output).loc[arm].to_numpy(float) for day in days])
    if found.populations:
        more = MORE_IN_DARK if tone.dark else 0.0
        ax.fill_between(days, shares[:, 1], shares[:, 2], color=tone.one, alpha=BAND_OF_CURVE + more, linewidth=0)
    ax.plot(days, shares[:, 0], color=tone.one, linewidth=1.5, gid="detectable")
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks([0, 0.5, 1])
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _key_of_trial(found: VirtualTrial) -> list[tuple[Any, str]]:
    more, share = MORE_IN_DARK if tone.dark else 0.0, f"{100 * found.level:.3g}%"
    key: list[tuple[Any, str]] = [(Line2D([], [], color=tone.one, linewidth=1.9), "median patient")]
    if found.populations:
        solid = BAND_OF_ESTIMATES + more
        key.append((Patch(color=tone.one, alpha=solid, linewidth=0), f"{share} by the errors of the estimates"))
    key += [
        (Patch(color=tone.one, alpha=BAND_OF_CURVE + more, linewidth=0), f"{share} of patients"),
        (Patch(color=tone.one, alpha=BAND_OF_SAMPLE + more, linewidth=0), f"{share} of samples"),
    ]
    if len(found.arms) > 1:
        dashed = Line2D([], [], color=tone.ink, linewidth=1.0, linestyle=(0, (3, 2)))
        key.append((dashed, f"median patient, {found.arms['arm'].iloc[0]}"))
    return key
