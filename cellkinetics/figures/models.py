"""The picture of several models of one subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.model_choice import compare_models
from cellkinetics.fitting.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_models(fits: Sequence[Fit], ax: Axes | None = None) -> Axes:
    """The candidates' curves over the samples of one subject, with their Akaike weights; returns the axes."""
    # matplotlib is heavy, and `ck.plot_models` is imported with the library.
    from cellkinetics.figures import style
    from cellkinetics.figures.drawing import new_axes
    from cellkinetics.figures.fit import plot_fit

    if any(isinstance(fit, Fits) for fit in fits):
        raise ValueError("plot_models draws one subject: give [fits[subject] for fits in ...] instead of whole Fits.")
    table = compare_models(fits)
    colours = [style.tone.one, *style.ramp(max(len(fits) - 1, 1))][: len(fits)]
    key = []
    own_figure = ax is None
    ax = ax or new_axes((5.6, 3.7))
    for fit, (name, row), colour in zip(fits, table.iterrows(), colours, strict=True):
        plot_fit(fit, ax, colour=colour)
        drawn = ax.lines[-1]
        line = type(drawn)([], [], color=colour, linewidth=1.6)
        key.append((line, f"{name}: weight {row['weight']:.2f}"))
    if own_figure:
        style.legend_below(ax, key)
    else:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "frameon": False}
        style.tidy(ax.legend(*style.entries(key), **place))
    return ax
