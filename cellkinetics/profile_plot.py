"""The picture of profiles: one panel a parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cellkinetics import style
from cellkinetics.style import FAINT, ONE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cellkinetics.profile import Profile

COLUMNS = 3
ABOVE = 2.5  # thresholds that are shown


def plot(profile: Profile) -> Figure:
    """Deviance over the value on a log axis where all values are positive; the shape stands in the title."""
    import matplotlib.pyplot as plt

    names = list(profile.intervals.index)
    columns = min(COLUMNS, max(len(names), 1))
    rows = max(-(-len(names) // columns), 1)
    figure = plt.figure(figsize=(3.0 * columns, 2.5 * rows), layout="constrained")
    axes = np.atleast_1d(np.array(figure.subplots(rows, columns, squeeze=False))).ravel()
    for ax in axes[len(names) :]:
        ax.remove()
    for ax, name in zip(axes, names, strict=False):
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
        ax.set_title(f"{name}: {row['shape']}", loc="left", fontsize=8)
        ax.tick_params(labelsize=8)
    for ax in axes[: len(names) : columns]:
        ax.set_ylabel("2 ln L below the best", fontsize=8)
    return figure
