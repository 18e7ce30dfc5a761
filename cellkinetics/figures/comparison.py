"""A comparison of cohorts as one figure: curves with their medians, peaks, late levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from cellkinetics.cohorts.comparison import Comparison, WindowResult
from cellkinetics.cohorts.curves import cohort_curves, quantile, turnbull
from cellkinetics.cohorts.values import Kind
from cellkinetics.data import groups
from cellkinetics.figures import drawing, style
from cellkinetics.figures.names import names_across
from cellkinetics.figures.paper import THREE_ABREAST
from cellkinetics.figures.study import plot_study
from cellkinetics.figures.style import MARKS, tone
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.placing import status_of
from cellkinetics.words import p_equals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

JITTER = 0.28
LINE = 0.35  # inches of a legend, in a figure that will be narrower


def plot_comparison(found: Comparison, axes: Sequence[Axes] | None = None) -> Figure:
    """Three panels: all curves with the median of each group; the peaks; the last level of most that could be tested.

    Medians (bars, thick lines) take a sample below the limit as what it is; one that a limit hides is a dashed bar at
    that limit in the panels of values, and a gap in the curve, which is drawn while half of the group (at least two)
    are sampled. Where each patient has a dose of their own the values stand over the doses, without medians. The
    titles name p of the trend, or of the difference where there is no order, and whether it is exact.

    Returns
    -------
    Figure
    """
    # Beside each other where there is room, else the curves above the two others, or all below each other.
    if axes is not None:
        given = style.given(axes, 3, simulated=False)
    elif style.asked_width() >= THREE_ABREAST:
        given = list(style.figure((10.4, 4.2)).subplots(1, 3, width_ratios=[1.9, 1, 1]))
    elif not style.narrow():
        given = list(style.figure((7.0, 6.6)).subplot_mosaic("aa;bc").values())
    else:
        # Each group has a line or two of the legend.
        page = style.figure((6.0, 11.0 + LINE * max(len(found.order) - 3, 0)))
        given = list(page.subplots(3, 1, height_ratios=[1.15, 1, 1]))
    curves, *panels = given
    plot_study(found.study, curves, found.by, found.tolerance)
    # Its medians are by visit; these are by the windows of the comparison.
    for line in [line for line in curves.lines if line.get_gid() == "median"]:
        line.remove()
    _lighten(curves)
    if not found.individual:
        _draw_medians(curves, found)
    curves.set_title(
        "curves" if found.individual else "curves and medians", loc="left", fontsize=style.TITLE, color=tone.ink, pad=9
    )
    levels = [result for result in found.results if result.window.kind is Kind.LEVEL]
    # Of days that few have the one that most have: the last would show who was followed longest.
    levels = [result for result in levels if _seen_by_most(found, result)] or sorted(levels, key=_seen)
    # And of those one that could be tested: a day when all are below the limit shows nothing.
    levels = [result for result in levels if not result.main.reason] or levels
    peaks = [result for result in found.results if result.window.kind is Kind.PEAK]
    for ax, shown in zip(panels, (peaks[:1], levels[-1:]), strict=True):
        if shown and found.individual:
            _draw_over_doses(ax, found, shown[0])
        elif shown:
            _draw_values(ax, found, shown[0], told=axes is None)
        else:
            ax.set_axis_off()
            ax.text(
                0.5, 0.5, "no day after 14 with samples\nof most patients", ha="center", va="center", color=tone.faint
            )
    statuses = [status for status in MARKS if (found.study.used["status"] == status).any()]
    key: list[tuple[Any, str]] = [(style.handle(status, tone.faint), MARKS[status][1]) for status in statuses]
    ramp = list(style.shades(found.order).items())
    if found.individual:
        # The lowest and the highest dose tell the others, which may be dozens.
        key.append(style.heading(str(found.by)))
        key += [(Line2D([], [], color=shade, linewidth=3), n) for n, shade in (ramp[0], ramp[len(found.names) - 1])]
    else:
        key.append(style.heading(f"median by {found.by}"))
        key += [(Line2D([], [], color=shade, linewidth=3), groups.shown(name, str(found.by))) for name, shade in ramp]
    if axes is None:
        style.legend_below(curves, key)
    return style.whole(curves)


def _seen(result: WindowResult) -> int:
    """How many patients have a value."""
    return int(result.window.values["lower"].notna().sum())


def _seen_by_most(found: Comparison, result: WindowResult) -> bool:
    """Whether half of each group has a value: later days show who was followed longest."""
    there = result.window.values["lower"].notna()
    if found.individual:
        return 2 * int(there.sum()) >= len(there)
    return all(2 * int(there[found.groups == name].sum()) >= int((found.groups == name).sum()) for name in found.names)


def _lighten(ax: Axes) -> None:
    """Single curves step back behind the medians; the legend is the figure's."""
    for line in ax.lines:
        if line.get_gid() is None:
            line.set_alpha(0.35)
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()


def _draw_medians(ax: Axes, found: Comparison) -> None:
    table = cohort_curves(found.study, found.by, quantiles=[0.5], tolerance=found.tolerance)
    shades = style.shades(found.order)
    for name in found.names:
        own = table[table["group"] == name]
        # A median of those few who are left jumps when one more leaves.
        enough = own["n"] >= max(2, int((found.groups == name).sum()) / 2)
        own = own.assign(value=own["value"].where(enough))
        ax.plot(own["day"], own["value"], color=shades[name], linewidth=2.8, zorder=3.6, gid="median")


def _draw_over_doses(ax: Axes, found: Comparison, result: WindowResult) -> None:
    """The value of each patient over the dose, both on log axes."""
    values, shades = result.window.values, style.shades(found.order)
    _value_axis(ax, found, values)
    doses = found.study.covariates["dose"].astype(float)
    there = (values["lower"].notna() & (doses > 0)).to_numpy()
    own = values[there]
    both = own[["lower", "upper"]].to_numpy(float)
    for subject, (lower, upper), status in zip(own.index, both, status_of(*both.T), strict=True):
        drawing.draw_value(ax, float(doses[subject]), lower, upper, status, shades[str(found.groups[subject])])
    ax.set_xscale("log")
    if there.any():
        ax.set_xlim(float(doses[there].min()) / 1.5, float(doses[there].max()) * 1.5)
    ax.xaxis.set_minor_formatter(lambda value, place: "")
    ax.set_xlabel(f"dose ({found.study.dose_unit})", fontsize=style.LABEL, color=tone.ink)
    _title(ax, found, result)


def _value_axis(ax: Axes, found: Comparison, values: pd.DataFrame) -> None:
    finite = values.to_numpy()[:, :2].astype(float)
    finite = finite[np.isfinite(finite) & (finite > 0)]
    low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 10.0)
    style.decades(ax, min(low / 2, 10 ** math.floor(math.log10(low))), max(2 * high, 10 * low))
    style.label(ax, y=style.unit_label(found.study.unit))
    if float(found.study.used["lloq"].max()) >= ax.get_ylim()[0]:
        drawing.draw_limits(ax, found.study.used)


def _draw_values(ax: Axes, found: Comparison, result: WindowResult, *, told: bool) -> None:
    """Groups beside each other, whose names a legend tells as well where there is one."""
    values, ticks, shades = result.window.values, [], style.shades(found.order)
    _value_axis(ax, found, values)
    for place, name in enumerate(found.names):
        own = values[(found.groups == name).to_numpy() & values["lower"].notna().to_numpy()]
        shade, n = shades[name], len(own)
        ticks.append(f"{name}\nn = {n}")
        aside = np.linspace(-JITTER, JITTER, n) if n > 1 else np.zeros(n)
        both = own[["lower", "upper"]].to_numpy(float)
        for shift, (lower, upper), status in zip(aside, both, status_of(*both.T), strict=True):
            drawing.draw_value(ax, place + float(shift), lower, upper, status, shade)
        if n:
            lower, upper = quantile(turnbull(own["lower"], own["upper"]), 0.5)
            at = upper if math.isfinite(upper) else lower
            look = "-" if lower == upper else (0, (2, 1.5))
            ax.hlines(
                at, place - 0.4, place + 0.4, color=shade, linewidth=2.8, linestyle=look, zorder=3.4, gid="median"
            )
    names_across(ax, ticks, told=told)
    style.label(ax, str(found.by))
    _title(ax, found, result)


def _title(ax: Axes, found: Comparison, result: WindowResult) -> None:
    test, kind = result.main, "trend" if result.trend else "difference"
    kind_of_p = f"{'Monte Carlo' if test.monte_carlo_error else 'exact'} p of the {kind}"
    text = f"no test: {test.reason}" if test.reason else p_equals(test.p, kind_of_p)
    rows = found.table[(found.table["window"] == result.window.name) & (found.table["quantity"] == test.name)]
    adjusted = rows["p_holm"].iloc[0] if len(rows) else math.nan
    name = result.window.name
    if not test.reason and adjusted > test.p:
        name += f"; {p_equals(adjusted, 'adjusted p')}"
    ax.set_title(f"{name}\n{text}", loc="left", fontsize=style.TEXT, color=tone.ink, pad=9)
