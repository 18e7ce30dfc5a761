"""Power against the number of patients, one panel a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from cellkinetics.cohorts.power import AIM, QUESTIONS, Power
from cellkinetics.figures import style
from cellkinetics.figures.style import tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    QUESTIONS[0]: "a trend is found (exact test)",
    QUESTIONS[2]: "the dose exponent's interval leaves out 0",
    QUESTIONS[3]: "equivalence is shown",
}


def plot_power(found: Power, axes: Sequence[Axes] | None) -> Figure:
    """Three panels: trend test, dose exponent, equivalence. A line at 80%, bars of 95% Monte Carlo error."""
    names = list(found.truth.index)
    shades = dict(zip(names, style.ramp(len(names)), strict=True))
    if axes is None:
        panels = list(style.figure((10.4, 3.9)).subplots(1, 3, sharey=True))
    else:
        panels = style.given(axes, 3, simulated=False)
    totals = sorted(found.table["patients"].unique())
    for ax, (question, title) in zip(panels, TITLES.items(), strict=True):
        style.dress(ax)
        ax.axhline(AIM, color=tone.faint, linewidth=0.9, linestyle=(0, (4, 3)), gid="aim")
        for name in names:
            own = found.table[(found.table["window"] == name) & (found.table["question"] == question)]
            ax.errorbar(
                own["patients"], own["power"], 1.96 * own["monte_carlo_error"], color=shades[name], linewidth=1.4,
                marker="o", markersize=3.2, elinewidth=0.8, gid=name,
            )  # fmt: skip
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(totals))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks(totals, [f"{n:g}" for n in totals])
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set_title(title, loc="left", fontsize=style.TEXT, color=tone.ink, pad=9)
        ax.set_xlabel("patients", fontsize=style.LABEL, color=tone.ink)
    panels[0].set_ylabel("share of simulated studies", fontsize=style.LABEL, color=tone.ink)
    if axes is not None:
        return style.whole(panels[0])
    key = [style.heading("window")]
    key += [(Line2D([], [], color=shade, marker="o", markersize=3.2, linewidth=1.4), n) for n, shade in shades.items()]
    key.append((Line2D([], [], color=tone.faint, linewidth=0.9, linestyle=(0, (4, 3))), f"{100 * AIM:.0f}%"))
    style.legend_below(panels[1], key)
    return style.whole(panels[0])
