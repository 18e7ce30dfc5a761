"""What the pictures of a study and of fits share: samples and limits drawn, and the axes that hold them."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.data.study import AFTER, Study
from cellkinetics.figures import style
from cellkinetics.figures.style import MARKS, SMALL, plain, tone
from cellkinetics.lazily import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


def one_panel(axes: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes that a user gives, or those of a new figure of a size in inches; errors as of `style.given`."""
    return style.figure(size).add_subplot() if axes is None else style.given(axes, 1, simulated=False)[0]


def png(figure: Figure, dpi: float = 150) -> bytes:
    """A picture as PNG, drawn once (`savefig` draws twice); the figure is closed."""
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    FigureCanvasAgg(figure).print_png(buffer)
    plt.close(figure)
    return buffer.getvalue()


def samples_of(study: Study, outputs: Collection[str]) -> pd.DataFrame:
    """The samples to draw, by days since the first infusion; `late` are those after the end of follow-up."""
    rows = study.observations
    late = rows["excluded"].str.startswith(AFTER)
    rows = rows.assign(late=late)[((rows["excluded"] == "") | late) & rows["output"].isin(outputs)]
    rows = rows[rows["status"].isin(MARKS)]
    first = {subject: study.infusion_day(subject) for subject in rows["subject"].unique()}
    days = rows["subject"].map(first).astype(float)
    if "nominal_day" in rows:
        rows = rows.assign(nominal_day=rows["nominal_day"].astype(float) - days)
    return rows.assign(day=rows["day"] - days)


def draw_samples(ax: Axes, samples: pd.DataFrame, colour: str, size: float = 5.0, shift: float = 0.0) -> None:
    """Marks; those of samples beyond a limit are moved by `shift` points to the right."""
    aside = ax.transData + style.points(ax, right=shift) if shift else ax.transData
    for (status, late), rows in samples.groupby(["status", "late"]):
        shade, day = tone.late if late else colour, rows["day"]
        at = {"quantified": rows["value"], "above": rows["lower"]}.get(str(status), rows["upper"])
        place = ax.transData if status == "quantified" else aside
        if status == "interval":
            ax.vlines(day, rows["lower"], rows["upper"], color=shade, linewidth=1, zorder=3, transform=place)
        look = style.marker(str(status), shade, size)
        ax.plot(day, at, **look, zorder=3.2, gid=str(status), transform=place)


def draw_value(ax: Axes, at: float, lower: float, upper: float, status: str, colour: str) -> None:
    """A value, or the open end that is known of it with a line to the other."""
    level = lower if status in ("quantified", "above") else upper
    if status == "interval":
        ax.vlines(at, lower, upper, color=colour, linewidth=1, zorder=3)
    ax.plot(at, level, **style.marker(status, colour), zorder=3.2, gid=status)


def area(
    ax: Axes, day: Floats, low: Floats, high: Floats, solid: float, drawn: Flags | None = None, gid: str = "band"
) -> None:
    """A band over days, where ``drawn``; a bar on a day whose neighbours have none, or that is the only one."""
    drawn = np.ones(len(day), bool) if drawn is None else drawn
    ax.fill_between(day, low, high, where=drawn.tolist(), color=tone.one, alpha=solid, linewidth=0, gid=gid)
    for at in np.flatnonzero(drawn):
        beside = (at > 0 and drawn[at - 1]) or (at + 1 < len(day) and drawn[at + 1])
        if not beside:
            ax.vlines(day[at], low[at], high[at], color=tone.one, alpha=solid, linewidth=6, gid=gid)


def draw_limits(ax: Axes, samples: pd.DataFrame, *, named: bool = True, in_layout: bool = True) -> None:
    """A dashed line at the lower limit, or at both ends of its range, and its name right of the axes."""
    limits = samples["lloq"].dropna()
    if limits.empty or any(line.get_gid() == "lloq" for line in ax.lines):
        return
    low, high = float(limits.min()), float(limits.max())
    for limit in dict.fromkeys((low, high)):
        ax.axhline(limit, color=tone.faint, linewidth=0.9, dashes=(4, 3), zorder=1.8, gid="lloq")
    if not named:
        return
    names = {limit: f"LLOQ {plain(limit)}" for limit in (low, high)}
    if 1 < high / low < 4:
        names = {math.sqrt(low * high): f"LLOQ {plain(low)}–{plain(high)}"}
    for limit, text in names.items():
        ax.annotate(
            text, (1, limit), (3, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
            va="center", fontsize=SMALL, color=tone.faint, annotation_clip=False, gid="lloq name",
            in_layout=in_layout,
        )  # fmt: skip


def frame(ax: Axes, samples: pd.DataFrame, unit: str, curves: Sequence[pd.DataFrame] = (), room: float = 0.0) -> None:
    """Scales and names; what these axes, or axes that share theirs, already show stays in view."""
    lower, upper = extent(samples, curves)
    upper = max([upper, *(raised(lower, top_of(samples, curve), room) for curve in curves)])
    last = float(samples["day"].max()) if len(samples) else 28.0
    last = max([last, *(float(np.max(line.get_xdata())) for line in _marks(ax.get_shared_x_axes(), ax))])
    if _marks(ax.get_shared_y_axes(), ax):
        lower, upper = min(lower, ax.get_ylim()[0]), max(upper, ax.get_ylim()[1])
    style.decades(ax, lower, upper)
    style.days(ax, last, style.size(ax)[0])
    style.label_days(ax)
    style.label(ax, y=style.unit_label(unit))


def _marks(shared: Any, ax: Axes) -> list[Line2D]:
    """The samples drawn on axes that share theirs with these, these included."""
    return [line for other in shared.get_siblings(ax) for line in other.lines if line.get_gid() in MARKS]


def extent(samples: pd.DataFrame, curves: Sequence[pd.DataFrame], reach: float = 100) -> tuple[float, float]:
    """Ends of the log axis: from a third of the lowest limit or (without) a tenth of the lowest value."""
    beyond = samples[samples["status"] != "quantified"]
    limits = np.append(beyond[["lower", "upper"]].to_numpy(float), samples["lloq"].to_numpy(float))
    limits = limits[np.isfinite(limits) & (limits > 0)]
    values = samples["value"].dropna().to_numpy(float)
    lower = min([*limits / 3, *(values / (2 if len(limits) else 10))], default=0.1)
    highest = max([lower, *(top_of(samples, curve, reach) for curve in curves or [None])])
    bands = [float(np.nanmax(curve["upper"].to_numpy(float), initial=0.0)) for curve in curves]
    upper = max([2 * highest, *(1.2 * band for band in bands if band <= 6 * highest)])
    while math.floor(math.log10(upper)) - math.ceil(math.log10(lower)) < 1:
        upper = 1.3 * 10 ** math.ceil(math.log10(upper * 1.0001))
    return lower, upper


def top_of(samples: pd.DataFrame, curve: pd.DataFrame | None = None, reach: float = 100) -> float:
    """The highest mark or point of the curve; the curve counts up to `reach` times the highest mark."""
    marks = samples[["value", "lower", "lloq"]].to_numpy(float)
    highest = float(np.nanmax(marks, initial=0.0))
    peak = 0.0 if curve is None else float(np.nanmax(curve["value"].to_numpy(float), initial=0.0))
    return max(highest, min(peak, reach * highest))


def raised(lower: float, top: float, room: float) -> float:
    """The upper limit that leaves a part `room` of the axes free above `top`."""
    return lower * (top / lower) ** (1 / (1 - room)) if room and top else 0.0
