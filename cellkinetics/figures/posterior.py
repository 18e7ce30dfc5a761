"""The posterior of a population: a panel an estimate, chain by chain, beside where the fit ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy import stats

from cellkinetics.arrays import Floats
from cellkinetics.figures import style
from cellkinetics.figures.style import tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.bayes.posterior import PopulationPosterior

FILLED, MORE_FILLED, GRID_POINTS = 0.22, 0.2, 160  # how solid an interval is, more so in dark, and points of a density


def plot(found: PopulationPosterior, axes: Sequence[Axes] | None) -> Figure:
    """See `PopulationPosterior.plot`."""
    shown = [at for at in range(len(found.labels)) if np.ptp(found.v[..., at]) > 0]
    panels = style.panels(axes, len(shown), 3, (3.1, 1.9), simulated=found.simulated)
    rows: dict[str, Any] = found.parameters.to_dict("index")  # pyright: ignore[reportAssignmentType]
    for ax, at in zip(panels, shown, strict=True):
        style.dress(ax)
        row = rows[found.labels[at]]
        draws = found.natural[..., at]
        if _moves(draws):
            _densities(ax, draws, row["lower"], row["upper"])
        else:
            # Of a rate that nothing keeps from 0 the draws are too small for a number.
            ax.set_yticks([])
            ax.text(0.5, 0.5, f"every draw is {np.median(draws):g}", transform=ax.transAxes, ha="center", va="center",
                    fontsize=style.SMALL, color=tone.ink, gid="no density")  # fmt: skip
        ax.axvline(row["estimate"], color=tone.ink, linewidth=1.1, dashes=(4, 3), gid="estimate")
        ax.set_title(found.labels[at], loc="left", fontsize=style.TEXT, color=tone.ink, parse_math=False)
        style.label(ax, str(row["unit"]))
    if axes is not None:
        return style.whole(panels[0])
    key: list[tuple[Any, str]] = [
        (Line2D([], [], color=tone.one, linewidth=1.1), "a chain"),
        (Patch(color=tone.one, alpha=FILLED + (MORE_FILLED if tone.dark else 0.0), linewidth=0), "95% interval"),
        (Line2D([], [], color=tone.ink, linewidth=1.1, dashes=(4, 3)), "where the fit ended"),
    ]
    style.legend_below(panels[0], key)
    return style.whole(panels[0])


def _moves(draws: Floats) -> bool:
    """Whether there is a density: a spread above rounding, whose square is a number."""
    return bool(np.var(draws) > 0 and np.ptp(draws) > 1e-9 * np.abs(draws).max())


def _densities(ax: Axes, draws: Floats, lower: float, upper: float) -> None:
    """Of each chain, and the interval of all; what is positive is reflected at 0, where a spread may begin."""
    low, high = np.quantile(draws, [0.002, 0.998])
    positive = bool(draws.min() > 0)
    low = 0.0 if positive and low < 0.1 * high else low
    grid = np.linspace(low, high, GRID_POINTS)

    def density(values: Floats) -> Floats:
        kde = stats.gaussian_kde(values)
        return kde(grid) + (kde(-grid) if positive else 0.0)

    for chain in draws:
        if _moves(chain):
            ax.plot(grid, density(chain), color=tone.one, linewidth=1.0, alpha=0.8, gid="chain")
        else:
            ax.axvline(chain[0], color=tone.one, linewidth=1.0, alpha=0.8, gid="chain")
    inside = (grid >= lower) & (grid <= upper)
    solid = FILLED + (MORE_FILLED if tone.dark else 0.0)
    ax.fill_between(
        grid[inside], density(draws.ravel())[inside], color=tone.one, alpha=solid, linewidth=0, gid="interval"
    )
    ax.set_ylim(bottom=0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(False)
    ax.xaxis.set_major_locator(MaxNLocator(4))
