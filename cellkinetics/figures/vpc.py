"""The picture of a visual predictive check: quantiles over time, and below them the share below the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from cellkinetics.figures import style
from cellkinetics.figures.drawing import area
from cellkinetics.figures.style import TITLE, tone
from cellkinetics.lazily import pandas as pd
from cellkinetics.words import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.predictive.vpc import VPC

PANEL, ONE_PANEL = (3.6, 3.9), (5.6, 4.3)  # inches of a stratum, and of the only one
BAND, MEDIAN_BAND, DARKER = 0.16, 0.32, 0.1  # how solid areas are, and how much more on a dark ground


def plot(found: VPC, columns: int, axes: Sequence[Axes] | None) -> Figure:
    """See `VPC.plot`."""
    keys = list(dict.fromkeys(zip(found.table["output"], found.table["stratum"], strict=True)))
    if axes is not None:
        chosen = style.given(axes, 2 * len(keys), simulated=found.simulated)
        for (output, stratum), top, bottom in zip(keys, chosen, chosen[len(keys) :], strict=False):
            _stratum(found, output, stratum, top, bottom, style.size(top)[0], left=True)
        return style.whole(chosen[0])
    columns = min(columns, len(keys), max(1, math.floor(min(style.asked_width() / style.LEAST_PANEL, 99))))
    strips = math.ceil(len(keys) / columns)
    width, height = PANEL if columns > 1 else ONE_PANEL
    figure = style.figure((columns * width + 0.6, strips * height + 0.5 + style.room_below()))
    width = min(width, (figure.get_figwidth() - 0.6) / columns)
    grid = figure.add_gridspec(2 * strips, columns, height_ratios=[2.6, 1] * strips)
    first: Axes | None = None
    for number, (output, stratum) in enumerate(keys):
        strip, column = divmod(number, columns)
        top = figure.add_subplot(grid[2 * strip, column], sharey=first)
        first = first or top
        bottom = figure.add_subplot(grid[2 * strip + 1, column], sharex=top)
        _stratum(found, output, stratum, top, bottom, 0.72 * 72 * width, left=column == 0)
        top.tick_params(labelbottom=False, labelleft=column == 0)
        bottom.tick_params(labelleft=column == 0)
    if found.simulated:
        style.tag_all(figure)
    assert first is not None
    style.legend_below(first, _key(found))
    return figure


def _stratum(found: VPC, output: str, stratum: str, top: Axes, bottom: Axes, width: float, *, left: bool) -> None:
    """Two panels, the axis of days `width` points long; names of the axes upright for those on the left."""
    lower, upper, last = _extent(found)
    own = [each[(each["output"] == output) & (each["stratum"] == stratum)] for each in
           (found.table, found.below, found.samples)]  # fmt: skip
    style.decades(top, lower, upper, minor=False)
    for ax in {top, *([] if bottom in top.get_shared_x_axes().get_siblings(top) else [bottom])}:
        style.days(ax, last, width)
    _quantiles(top, own[0], own[2], found)
    _below(bottom, own[1])
    several = found.table["output"].nunique() > 1
    name = " ".join(filter(None, [output if several else "", _name(found, stratum)]))
    if name:
        top.set_title(name, loc="left", fontsize=TITLE, color=tone.ink, parse_math=False)
    style.label(bottom, y="below limit" if left else "")
    style.label_days(bottom, words=left, width=width)
    if left:
        text = "value in the unit of each output" if several else style.unit_label(found.unit)
        style.label(top, y=f"{text}\ncorrected by prediction" if found.corrected else text)


def _name(found: VPC, stratum: str) -> str:
    return stratum if found.by else ""


def _quantiles(ax: Axes, table: pd.DataFrame, samples: pd.DataFrame, found: VPC) -> None:
    """Bands, medians of the simulated, samples, what was observed."""
    known = samples["status"] == "quantified"
    ax.plot(samples.loc[known, "day"], samples.loc[known, "value"], linestyle="none", marker="o", markersize=2.2,
            markerfacecolor=tone.faint, markeredgewidth=0, alpha=0.55, zorder=1.9, gid="samples")  # fmt: skip
    above = samples[samples["status"] == "above"]
    if len(above):
        ax.plot(above["day"], above["value"], **_triangle(), zorder=1.95, gid="above")
    one, more = table.drop_duplicates("bin"), DARKER if tone.dark else 0.0
    for end, gid in {"limit": "lloq", "highest_limit": "lloq", "upper_limit": "uloq"}.items():
        ax.plot(one["day"], one[end], color=tone.faint, linewidth=0.9, dashes=(4, 3), zorder=1.8, gid=gid)
    for share, own in table.groupby("quantile"):
        day = own["day"].to_numpy(float)
        low, mid, high, seen = (own[name].to_numpy(float) for name in ("low", "mid", "high", "observed"))
        # A band whose lower end lies below the limit ends at the limit, and so at the upper one.
        limit, highest = (own[name].to_numpy(float) for name in ("limit", "upper_limit"))
        over = {
            name: own["note"].str.contains(f"above the upper limit:.*{name}").to_numpy(bool) for name in ("low", "high")
        }
        floor = np.where(np.isnan(low) & ~over["low"], limit, low)
        high = np.where(over["high"], highest, high)
        drawn = ~np.isnan(high) & ~np.isnan(floor)
        solid = MEDIAN_BAND if _is_middle(float(share), found.quantiles) else BAND  # pyright: ignore[reportArgumentType]
        area(ax, day, np.minimum(floor, high), high, solid + more, drawn)
        ax.plot(day, mid, color=tone.one, linewidth=0.9, dashes=(2, 2), zorder=2.4, gid="simulated median")
        width = 1.6 if solid == MEDIAN_BAND else 1.1
        ax.plot(day, seen, color=tone.ink, linewidth=width, marker="o", markersize=3.2, zorder=3, gid="observed")
        out = own["outside"].to_numpy(bool) & ~np.isnan(seen)
        ax.plot(day[out], seen[out], **_ring(), zorder=3.2, gid="outside")


def _below(ax: Axes, table: pd.DataFrame) -> None:
    """The share below the limit: what was observed and its band."""
    style.dress(ax)
    day = table["day"].to_numpy(float)
    low, mid, high, seen = (table[name].to_numpy(float) for name in ("low", "mid", "high", "observed"))
    area(ax, day, low, high, MEDIAN_BAND + (DARKER if tone.dark else 0.0), ~np.isnan(high))
    ax.plot(day, mid, color=tone.one, linewidth=0.9, dashes=(2, 2), zorder=2.4, gid="simulated median")
    ax.plot(day, seen, color=tone.ink, linewidth=1.4, marker="o", markersize=3.2, zorder=3, gid="observed")
    out = table["outside"].to_numpy(bool)
    ax.plot(day[out], seen[out], **_ring(), zorder=3.2, gid="outside")
    ax.set_ylim(-0.06, 1.06)
    ax.set_yticks([0, 0.5, 1])
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _triangle() -> dict[str, Any]:
    """A sample above an upper limit, where it is."""
    return {"linestyle": "none", **style.marker("above", tone.faint, 3.6)}


def _ring() -> dict[str, Any]:
    """Round what lies beyond its band."""
    return {"linestyle": "none", "marker": "o", "markersize": 7.5, "markerfacecolor": "none",
            "markeredgecolor": tone.ramp[2], "markeredgewidth": 1.3}  # fmt: skip


def _is_middle(share: float, shares: Sequence[float]) -> bool:
    return abs(share - 0.5) == min(abs(each - 0.5) for each in shares)


def _extent(found: VPC) -> tuple[float, float, float]:
    """Ends of the log axis, and the last day."""
    values = found.table[["observed", "low", "mid", "high", "highest_limit", "upper_limit"]].to_numpy(float).ravel()
    values = np.concatenate([values, found.samples["value"].to_numpy(float)])
    values = values[np.isfinite(values) & (values > 0)]
    limits = found.table["limit"].to_numpy(float)
    low = float(np.nanmin(limits) / 2) if np.isfinite(limits).any() else float(values.min() / 2)
    low = min(low, float(values.min()) / 1.3)
    high = 1.6 * float(values.max())
    return low, max(high, 12 * low), float(found.samples["day"].max())


def _key(found: VPC) -> list[tuple[Any, str]]:
    shares = ", ".join(plain(round(100 * share, 6)) for share in found.quantiles)
    key: list[tuple[Any, str]] = [
        (Line2D([], [], color=tone.ink, linewidth=1.4, marker="o", markersize=3.2), f"observed ({shares}%)"),
        (Line2D([], [], color=tone.one, linewidth=0.9, dashes=(2, 2)), "simulated, median"),
        (Patch(color=tone.one, alpha=MEDIAN_BAND, linewidth=0), f"simulated, {100 * found.level:.3g}% band"),
    ]
    if found.table["outside"].any() or found.below["outside"].any():
        key.append((Line2D([], [], **_ring()), "beyond its band"))
    upper = found.table["upper_limit"].notna().any()
    if (found.samples["status"] == "above").any():
        key.append((Line2D([], [], **_triangle()), "sample above the upper limit"))
    if upper or found.table["limit"].notna().any():
        apart = (found.table["limit"] < found.table["highest_limit"]).any()
        name = "limits" if upper else "lowest and highest limit" if apart else "limit"
        key.append((Line2D([], [], color=tone.faint, linewidth=0.9, dashes=(4, 3)), name))
    return key
