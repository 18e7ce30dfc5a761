"""What is ahead: a forecast with its samples, and a virtual trial arm by arm; below the curves who is detectable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from cellkinetics.figures import style
from cellkinetics.figures.drawing import area, draw_limits, draw_samples, extent
from cellkinetics.figures.style import MARKS, tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.predictive.forecast import Forecast
    from cellkinetics.predictive.trial import VirtualTrial

BAND_OF_CURVE, BAND_OF_SAMPLE, MORE_IN_DARK = 0.32, 0.13, 0.08  # how solid areas are
WIDTH, TITLE_LINE = 5.8, 0.28  # inches, and those of a line of the title
OF_ARM, OF_ONE_ARM, ACROSS = (3.3, 3.7), (5.6, 4.3), 3  # inches of an arm, and of the only one; arms in a row
BAND_OF_ESTIMATES = 0.55
REACH = 1e7  # of the axis of values, where no limit ends it


def plot(found: Forecast, output: str, axes: Sequence[Axes] | None) -> Figure:
    """See `Forecast.plot`."""
    limit = found.limits[output]
    limited = bool(np.isfinite(limit))
    bottom: Axes | None
    if axes is None:
        lines = len(style.wrapped(found.given, 72 * 0.8 * min(WIDTH, style.asked_width()))) if found.given else 0
        figure = style.figure((WIDTH, (4.6 if limited else 3.6) + TITLE_LINE * lines))
        grid = figure.add_gridspec(2 if limited else 1, 1, height_ratios=[2.7, 1] if limited else [1])
        top = figure.add_subplot(grid[0, 0])
        bottom = figure.add_subplot(grid[1, 0], sharex=top) if limited else None
        width = 0.8 * 72 * figure.get_figwidth()
    else:
        top, bottom = [*style.given(axes, 1 + limited, simulated=found.simulated), None][:2]
        assert top is not None
        figure, width = style.whole(top), style.size(top)[0]
    table = found.table[found.table["output"] == output].sort_values("day")
    samples = found.samples[found.samples["output"] == output].assign(late=False, lloq=limit)
    curve = table.rename(columns={"median": "value"})
    low, high = extent(samples, [curve])
    if limited:
        low = min(low, limit / 3)
    day = table["day"].to_numpy(float)
    last = max(float(day.max()), float(samples["day"].max()) if len(samples) else 0.0)
    style.decades(top, low, high)
    style.days(top, last, width)
    more = MORE_IN_DARK if tone.dark else 0.0
    for lower, upper, solid in (("sample_lower", "sample_upper", BAND_OF_SAMPLE), ("lower", "upper", BAND_OF_CURVE)):
        begin, end = (np.maximum(table[end].to_numpy(float), low / 10) for end in (lower, upper))
        area(top, day, begin, end, solid + more, gid=lower)
    top.plot(day, table["median"], **_line(day, 1.9), zorder=2.5, gid="median")
    draw_samples(top, samples, tone.ink)
    if limited:
        draw_limits(top, samples if len(samples) else samples.reindex([0]).assign(lloq=limit))
    several = found.table["output"].nunique() > 1
    style.label(top, y=output if several else style.unit_label(found.unit))
    given = style.wrapped(found.given, width) if found.given else []
    title = "\n".join([found.subject, *given])
    top.set_title(title, loc="left", fontsize=style.TITLE, color=tone.ink, parse_math=False)
    axis = top
    if bottom is not None:
        style.dress(bottom)
        if axes is not None:
            style.days(bottom, last, width)
        shares = [found.detectable(float(at), output=output) for at in day]
        bottom.plot(day, shares, **_line(day, 1.5, tone.ink), gid="detectable")
        bottom.set_ylim(-0.05, 1.05)
        bottom.set_yticks([0, 0.5, 1])
        bottom.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        style.label(bottom, y="detectable")
        if axes is None:
            top.tick_params(labelbottom=False)
        axis = bottom
    style.label_days(axis, width=width)
    if axes is not None:
        return figure
    if found.simulated:
        style.tag_all(figure)
    key: list[tuple[Any, str]] = [
        (style.handle(status, tone.ink), MARKS[status][1]) for status in MARKS if (samples["status"] == status).any()
    ]
    share = f"{100 * found.level:.3g}%"
    key += [
        (Line2D([], [], **_line(day, 1.9)), "median"),
        (Patch(color=tone.one, alpha=BAND_OF_CURVE + more, linewidth=0), f"{share} of the curve"),
        (Patch(color=tone.one, alpha=BAND_OF_SAMPLE + more, linewidth=0), f"{share} of a sample"),
    ]
    style.legend_below(top, key)
    return figure


def plot_trial(found: VirtualTrial, output: str, axes: Sequence[Axes] | None) -> Figure:
    """See `VirtualTrial.plot`."""
    arms = list(found.arms["arm"])
    limited = bool(np.isfinite(found.limits[output]))
    if axes is not None:
        chosen = style.given(axes, len(arms) * (1 + limited), simulated=found.simulated)
        below = chosen[len(arms) :] if limited else [None] * len(arms)
        for arm, top, bottom in zip(arms, chosen, below, strict=False):
            _arm(found, arm, output, top, bottom, style.size(top)[0], left=True, right=True)
        return style.whole(chosen[0])
    columns = 2 if len(arms) == 4 else min(ACROSS, len(arms))
    columns = min(columns, max(1, math.floor(min(style.asked_width() / style.LEAST_PANEL, 99))))
    strips = math.ceil(len(arms) / columns)
    width, height = OF_ARM if columns > 1 else OF_ONE_ARM
    figure = style.figure((columns * width + 0.6, strips * height + 0.5 + style.room_below()))
    width = min(width, (figure.get_figwidth() - 0.6) / columns)
    grid = figure.add_gridspec(2 * strips, columns, height_ratios=[2.6, 1 if limited else 1e-3] * strips)
    first: Axes | None = None
    for number, arm in enumerate(arms):
        strip, column = divmod(number, columns)
        top = figure.add_subplot(grid[2 * strip, column], sharey=first)
        bottom = figure.add_subplot(grid[2 * strip + 1, column], sharex=top) if limited else None
        first = first or top
        # The name of the limit stands once in a row, where it takes no room from between panels.
        right = column == columns - 1 or number == len(arms) - 1
        _arm(found, arm, output, top, bottom, 0.72 * 72 * width, left=column == 0, right=right)
        top.tick_params(labelleft=column == 0, labelbottom=not limited)
        if bottom is not None:
            bottom.tick_params(labelleft=column == 0)
    if found.simulated:
        style.tag_all(figure)
    assert first is not None
    style.legend_below(first, _key_of_trial(found))
    return figure


def _arm(
    found: VirtualTrial, arm: str, output: str, top: Axes, bottom: Axes | None, width: float, *, left: bool, right: bool
) -> None:
    """An arm with the median patient of the first; below it who is detectable, where a limit is known."""
    limit, table = found.limits[output], found.table[found.table["output"] == output].sort_values("day")
    own, usual = table[table["arm"] == arm], table[table["arm"] == found.arms["arm"].iloc[0]]
    high = 1.1 * float(table["sample_upper"].max())
    low = limit / 3 if bottom is not None else max(float(table["lower"].min()), high / REACH)
    style.decades(top, low, high, minor=False)
    style.days(top, float(table["day"].max()), width)
    _curves(top, own, low)
    if arm != found.arms["arm"].iloc[0]:
        top.plot(usual["day"], usual["typical"], **_dashed(usual["day"]), gid="first arm")
    top.set_title(str(arm), loc="left", fontsize=style.TITLE, color=tone.ink, parse_math=False)
    if bottom is not None:
        draw_limits(top, own.iloc[:1].assign(lloq=limit, day=0.0, late=False), named=right)
        if bottom not in top.get_shared_x_axes().get_siblings(top):
            style.days(bottom, float(table["day"].max()), width)
        _detectable(bottom, found, arm, output, own["day"].to_numpy(float))
    style.label(bottom or top, y="detectable" if left and bottom is not None else "")
    style.label_days(bottom or top, words=left, width=width)
    if left:
        several = found.table["output"].nunique() > 1
        style.label(top, y=output if several else style.unit_label(found.unit))


def _curves(ax: Axes, own: Any, low: float) -> None:
    more = MORE_IN_DARK if tone.dark else 0.0
    bands = (("sample_lower", "sample_upper", BAND_OF_SAMPLE), ("lower", "upper", BAND_OF_CURVE),
             ("typical_lower", "typical_upper", BAND_OF_ESTIMATES))  # fmt: skip
    day = own["day"].to_numpy(float)
    for lower, upper, solid in bands:
        if own[lower].notna().any():
            begin, end = (np.maximum(own[end].to_numpy(float), low / 10) for end in (lower, upper))
            area(ax, day, begin, end, solid + more, gid=lower)
    ax.plot(day, own["typical"], **_line(day, 1.9), zorder=2.5, gid="typical")


def _line(days: Any, width: float, colour: str | None = None) -> dict[str, Any]:
    """A curve; of one day, which makes none, a mark."""
    look: dict[str, Any] = {"color": colour or tone.one, "linewidth": width}
    return look if len(days) > 1 else look | {"linestyle": "none", "marker": "o", "markersize": 5}


def _dashed(days: Any) -> dict[str, Any]:
    """The curve of the first arm beside that of another; of one day a mark."""
    if len(days) > 1:
        return {"color": tone.ink, "linewidth": 1.0, "linestyle": (0, (3, 2))}
    return {"color": tone.ink, "linestyle": "none", "marker": "_", "markersize": 11, "markeredgewidth": 1.2}


def _detectable(ax: Axes, found: VirtualTrial, arm: str, output: str, days: Any) -> None:
    style.dress(ax)
    shares = np.array([found.detectable(float(day), output=output).loc[arm].to_numpy(float) for day in days])
    if np.isfinite(shares[:, 1]).any():
        more = MORE_IN_DARK if tone.dark else 0.0
        area(ax, days, shares[:, 1], shares[:, 2], BAND_OF_CURVE + more)
    ax.plot(days, shares[:, 0], **_line(days, 1.5), gid="detectable")
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks([0, 0.5, 1])
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _key_of_trial(found: VirtualTrial) -> list[tuple[Any, str]]:
    more, share = MORE_IN_DARK if tone.dark else 0.0, f"{100 * found.level:.3g}%"
    days = found.table["day"].unique()
    key: list[tuple[Any, str]] = [(Line2D([], [], **_line(days, 1.9)), "median patient")]
    if found.populations:
        solid = BAND_OF_ESTIMATES + more
        key.append((Patch(color=tone.one, alpha=solid, linewidth=0), f"{share} by the errors of the estimates"))
    key += [
        (Patch(color=tone.one, alpha=BAND_OF_CURVE + more, linewidth=0), f"{share} of patients"),
        (Patch(color=tone.one, alpha=BAND_OF_SAMPLE + more, linewidth=0), f"{share} of samples"),
    ]
    if len(found.arms) > 1:
        key.append((Line2D([], [], **_dashed(days)), f"median patient, {found.arms['arm'].iloc[0]}"))
    return key
