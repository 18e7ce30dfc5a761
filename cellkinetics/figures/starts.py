"""The picture of the starts of a fit: where each ended, below the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.figures import style
from cellkinetics.figures.style import LABEL, SMALL, TEXT, tone
from cellkinetics.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellkinetics.fitting.fits import Fits
    from cellkinetics.fitting.result import Fit

SAME_OPTIMUM = 0.01  # log-likelihood units below the best: the same optimum
LEAST_SHOWN, MOST_SHOWN = 1e-4, 1e6  # that are shown


def below_best(fit: Fit) -> Floats:
    """Log-likelihood units (log posterior with priors) below the best at which each start ended, in their order.

    Inf where a start ended nowhere. The best is that of the fit, whose last Newton steps may have gained a little.
    """
    if not fit.fitted or not fit.start_values:
        return np.zeros(0)
    best = fit.log_likelihood_ln + fit.problem.log_prior(fit.x)
    return np.maximum(best - np.array(fit.start_values), 0.0)


def plot_one(fit: Fit, axes: Axes | None = None) -> Axes:
    """See `Fit.plot_starts`."""
    ax = _panel(axes)
    behind = np.sort(below_best(fit))
    _draw(ax, behind, 6.0, 1.0, tone.one)
    _frame(ax, [behind], simulated=fit.study.simulated)
    reached = int((behind <= SAME_OPTIMUM).sum())
    text = f"{fit.subject}: {reached} of {count(len(behind), 'start')} reached the best optimum"
    _title(ax, text if len(behind) else f"{fit.subject}: no start ended anywhere", simulated=fit.study.simulated)
    return ax


def plot_each(fits: Fits, axes: Axes | None = None, by: str | None = None) -> Axes:
    """See `Fits.plot_starts`."""
    ax = _panel(axes)
    members, shades = (None, {}) if by is None else style.coloured(fits.study, by)
    of = {subject: np.sort(below_best(fit)) for subject, fit in fits.items()}
    of = {subject: behind for subject, behind in of.items() if len(behind)}
    each = list(of.values())
    for subject, behind in of.items():
        colour = tone.one if members is None else shades[members[subject]]
        _draw(ax, behind, 3.0, max(0.15, 1 / max(len(each), 1) ** 0.5), colour)
    _frame(ax, each, simulated=fits.study.simulated)
    alone = sum(int((behind <= SAME_OPTIMUM).sum()) == 1 < len(behind) for behind in each)
    text = f"for {alone} only one start reached the best" if alone else "no best optimum is that of one start alone"
    if all(len(behind) < 2 for behind in each):
        text = "one start each"
    text = f"{count(len(each), 'subject')}; {text}"
    _title(ax, text, simulated=fits.study.simulated)
    if axes is None and by is not None:
        style.legend_below(ax, style.named(shades, by))
    return ax


def _panel(axes: Axes | None) -> Axes:
    from cellkinetics.figures import drawing

    return drawing.one_panel(axes, (4.6, 3.1))


def _draw(ax: Axes, behind: Floats, size: float, alpha: float, colour: str) -> None:
    order = np.arange(1, len(behind) + 1)
    shown = np.clip(behind, LEAST_SHOWN, MOST_SHOWN)
    ax.plot(order, shown, color=colour, linewidth=1.2, alpha=alpha, zorder=2)
    for reached, look in ((True, colour), (False, tone.ground)):
        which = (behind <= SAME_OPTIMUM) == reached
        ax.plot(
            order[which], shown[which], linestyle="none", marker="o", markersize=size, alpha=alpha,
            markerfacecolor=look, markeredgecolor=colour, zorder=3,
        )  # fmt: skip


def _title(ax: Axes, text: str, *, simulated: bool) -> None:
    """Above the axes, in lines that leave room for the word "simulated"."""
    room = style.size(ax)[0] - 45 * simulated
    ax.set_title("\n".join(style.wrapped(text, room)), loc="left", fontsize=TEXT, color=tone.ink, parse_math=False)


def _frame(ax: Axes, each: Sequence[Floats], *, simulated: bool) -> None:
    most = max([1, *(len(behind) for behind in each)])
    worst = max([1.0, *(float(np.clip(behind, LEAST_SHOWN, MOST_SHOWN).max(initial=0.0)) for behind in each)])
    style.decades(ax, LEAST_SHOWN / 2, 3 * worst, minor=False)
    ax.invert_yaxis()
    ax.axhline(SAME_OPTIMUM, color=tone.faint, linewidth=0.9, dashes=(4, 3))
    ax.annotate(
        "the same optimum above this line", (0, SAME_OPTIMUM), xycoords=("axes fraction", "data"), xytext=(3, -3),
        textcoords="offset points", va="top", fontsize=SMALL, color=tone.faint, zorder=1.5,
    )  # fmt: skip
    if simulated:
        style.tag(ax)
    ax.set_xlim(0.5, most + 0.5)
    ax.set_xticks(np.unique(np.linspace(1, most, min(most, 10)).round()))
    ax.set_xlabel("start, from the best to the worst", fontsize=LABEL, color=tone.ink)
    ax.set_ylabel(
        f"log-likelihood below the best\n({LEAST_SHOWN:g} or less at the top)", fontsize=LABEL, color=tone.ink
    )
