"""The picture of profiles: one panel a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics import style
from cellkinetics.style import FAINT, INK, ONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.profile import Profile

COLUMNS = 3
ABOVE = 2.5  # thresholds that are shown


def plot(profile: Profile, axes: Sequence[Axes] | None = None) -> Figure:
    """Deviance over the value on a log axis where all values are positive; the shape stands in the title."""
    names = list(profile.intervals.index)
    panels = style.panels(axes, len(names), COLUMNS, (3.0, 2.5), simulated=profile.simulated)
    for place, (ax, name) in enumerate(zip(panels, names, strict=True)):
        row, own = profile.intervals.loc[name], profile.table[profile.table["parameter"] == name]
        limit = float(row["threshold"])
        ax.plot(own["value"], own["deviance"], color=ONE, linewidth=1.6, marker="o", markersize=2.5)
        ax.axhline(limit, color=FAINT, linewidth=0.9, dashes=(4, 3))
        ax.axvline(row["value"], color=ONE, linewidth=0.9, dashes=(1, 2))
        for end in (row["lower"], row["upper"]):
            if np.isfinite(end):
                ax.plot([end, end], [0, limit], color=FAINT, linewidth=0.9)
        style.dress(ax)
        if (own["value"] > 0).all() and own["value"].max() / own["value"].min() > 3:
            style.few_ticks(ax)
        ax.set_ylim(-0.05 * limit, ABOVE * limit)
        ax.set_title(f"{name}: {row['shape']}", loc="left", fontsize=style.TEXT, color=INK, parse_math=False)
        style.label(ax, y="2 ln L below the best" if place % COLUMNS == 0 else "")
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    return figure
