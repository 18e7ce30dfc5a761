"""The pictures of profiles: one panel a parameter, or one parameter patient by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.figures import style
from cellkinetics.figures.style import LABEL, SMALL, tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.fitting.profile import Profile
    from cellkinetics.fitting.profiles import Profiles

PANELS_A_ROW = 3
ABOVE = 2.5  # thresholds that are shown
BEYOND = 30.0  # times the highest estimate, and as far under the lowest: an interval runs off the axes there


def plot(profile: Profile, axes: Sequence[Axes] | None = None) -> Figure:
    """Deviance over the value on a log axis where all values are positive; the shape stands in the title."""
    names = list(profile.intervals.index)
    panels = style.panels(axes, len(names), PANELS_A_ROW, (3.0, 2.5), simulated=profile.simulated)
    for place, (ax, name) in enumerate(zip(panels, names, strict=True)):
        row, own = profile.intervals.loc[name], profile.table[profile.table["parameter"] == name]
        limit = float(row["threshold"])
        ax.plot(own["value"], own["deviance"], color=tone.one, linewidth=1.6, marker="o", markersize=2.5)
        ax.axhline(limit, color=tone.faint, linewidth=0.9, dashes=(4, 3))
        ax.axvline(row["value"], color=tone.one, linewidth=0.9, dashes=(1, 2))
        for end in (row["lower"], row["upper"]):
            if np.isfinite(end):
                ax.plot([end, end], [0, limit], color=tone.faint, linewidth=0.9)
        style.dress(ax)
        if (own["value"] > 0).all() and own["value"].max() / own["value"].min() > 3:
            style.few_ticks(ax)
        ax.set_ylim(-0.05 * limit, ABOVE * limit)
        ax.set_title(f"{name}: {row['shape']}", loc="left", fontsize=style.TEXT, color=tone.ink, parse_math=False)
        style.label(ax, y="2 ln L below the best" if place % PANELS_A_ROW == 0 else "")
    return style.whole(panels[0])


def plot_patients(profiles: Profiles, parameter: str, axes: Axes | None = None, by: str = "cohort") -> Axes:
    """Estimates with their intervals, one row a patient; an end that the samples do not give is an arrow."""
    from cellkinetics.figures import drawing

    table = profiles.intervals
    table = table[table["parameter"] == parameter].set_index("subject")
    if table.empty:
        raise ValueError(f"{parameter} has no profile. Give fits.profile([{parameter!r}]).")
    groups, shades = style.coloured(profiles.fits.study, by)
    order = sorted(map(str, table.index), key=lambda subject: list(shades).index(groups[subject]))
    ax = drawing.one_panel(axes, (5.2, 1.3 + 0.2 * max(len(order), 4)))
    values = table["value"].astype(float)
    known = profiles.fits[order[0]].model.parameters.get(parameter)
    # An sd is estimated on the log scale.
    logged = known is None or known.scale == "log"
    ends = table[["lower", "upper"]].to_numpy(float)
    least, most = np.nanmin([values.min(), *ends.ravel()]), np.nanmax([values.max(), *ends.ravel()])
    if logged:
        least, most = max(least, values.min() / BEYOND) / 1.5, min(most, values.max() * BEYOND) * 1.5
    else:
        margin = 0.06 * (most - least or 1.0)
        least, most = least - margin, most + margin
    numbers = table.loc[order, ["value", "lower", "upper"]].to_numpy(float)
    for row, (subject, (value, lower, upper)) in enumerate(zip(order, numbers, strict=True)):
        colour = shades[groups[subject]]
        shown = [least if np.isnan(lower) else max(lower, least), most if np.isnan(upper) else min(upper, most)]
        ax.plot(shown, [row, row], color=colour, linewidth=1.5, solid_capstyle="butt", zorder=2)
        for end, edge, arrow in ((lower, least, "<"), (upper, most, ">")):
            if np.isnan(end) or (end < least if arrow == "<" else end > most):
                ax.plot([edge], [row], marker=arrow, markersize=5, color=colour, clip_on=False, zorder=3)
        ax.plot([value], [row], **style.marker("quantified", colour, 5.5), zorder=4)
    style.dress(ax)
    ax.grid(axis="y", visible=False)
    if logged:
        style.few_ticks(ax)
    ax.set_xlim(least, most)
    ax.set_yticks(range(len(order)), [style.shortened(subject, 14) for subject in order])
    ax.set_ylim(len(order) - 0.5, -0.5)
    unit = str(profiles.fits[order[0]].parameters.loc[parameter, "unit"])
    ax.set_xlabel(f"{parameter} ({unit}), {profiles.level:.0%} profile interval", fontsize=LABEL, color=tone.ink)
    if profiles.fits.study.simulated:
        ax.set_title("simulated", loc="right", fontsize=SMALL, style="italic", color=tone.faint)
    if axes is None:
        style.legend_below(ax, style.named(shades, by))
    return ax
