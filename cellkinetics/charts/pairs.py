"""Draws of a posterior, one estimate against another: which of them the samples tell only together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from cellkinetics.charts import against
from cellkinetics.charts.population import grid_of
from cellkinetics.errors import suggest
from cellkinetics.figures import style
from cellkinetics.figures.style import TITLE, tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.bayes.posterior import PopulationPosterior

MOST_PAIRED, MOST_MARKS = 5, 1000  # estimates where none are asked for, and draws that are marks
CORE = (0.001, 0.999)  # quantiles between which the axes lie


def plot(found: PopulationPosterior, parameters: Sequence[str] | None, axes: Sequence[Axes] | None) -> Figure:
    """See `PopulationPosterior.plot_pairs`."""
    names = _chosen(found, parameters)
    draws, unit = found.draws[names], found.parameters["unit"]
    r, q = found.correlations.loc[names, names].to_numpy(float), len(names)
    places = [(row, column) for row in range(q) for column in range(row + 1)]
    panels = grid_of(q, q, axes, places)
    every = np.linspace(0, len(draws) - 1, min(len(draws), MOST_MARKS)).astype(int)
    ends = {name: tuple(map(float, np.quantile(draws[name], CORE))) for name in names}
    for (row, column), ax in panels.items():
        across, up = names[column], names[row]
        style.dress(ax)
        if row == column:
            ax.hist(
                draws[up],
                bins=30,
                range=(ends[up][0], ends[up][1]),
                density=True,
                color=tone.one,
                alpha=0.35,
                gid="draws",
            )
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
            ax.grid(False)
            tagged = ", simulated" if found.simulated and axes is not None and row == 0 else ""
            ax.set_title(up + tagged, loc="left", fontsize=TITLE, color=tone.ink, parse_math=False)
        else:
            look: dict[str, Any] = {**style.marker("quantified", tone.one, 2.2), "markeredgewidth": 0.0}
            ax.plot(draws[across].to_numpy()[every], draws[up].to_numpy()[every], **look, alpha=0.3, gid="draws")
            ax.set_ylim(ends[up][0], ends[up][1])
            ax.yaxis.set_major_locator(MaxNLocator(3))
            against.said(ax, f"r = {r[row, column]:.2f}")
        ax.set_xlim(ends[across][0], ends[across][1])
        ax.xaxis.set_major_locator(MaxNLocator(2))
        if row == q - 1:
            style.label(ax, _titled(across, str(unit[across])))
        if column == 0 and row > 0:
            style.label(ax, y=_titled(up, str(unit[up])))
        elif row != column:
            ax.tick_params(labelleft=False)
    figure = style.whole(panels[0, 0])
    if found.simulated and axes is None:
        style.tag_all(figure)
    return figure


def _titled(name: str, unit: str) -> str:
    return name if unit in ("", "1", "ln", "nan") else f"{name} ({unit})"


def _chosen(found: PopulationPosterior, parameters: Sequence[str] | None) -> list[str]:
    """Those that are asked for, or that go together most, in the order of the table."""
    r = found.correlations
    moves = np.isfinite(np.diag(r.to_numpy(float)))
    known = [name for name, one in zip(map(str, r), moves, strict=True) if one]
    for name in parameters or ():
        if name not in known:
            raise ValueError(f"parameters: no draws of {name!r}, or all alike. {suggest(str(name), known)}".rstrip())
    if parameters is not None:
        chosen = list(dict.fromkeys(parameters))
    else:
        size = np.abs(r.loc[known, known].to_numpy(float)) - np.eye(len(known))
        room = max(2, int(min(style.asked_width() / style.LEAST_PANEL, MOST_PAIRED)))
        most = np.argsort(-size.max(axis=1, initial=0.0), kind="stable")[:room]
        chosen = [known[at] for at in sorted(most)]
    if len(chosen) < 2:
        raise ValueError("a pair is of two estimates: give two or more in parameters=.")
    return chosen
