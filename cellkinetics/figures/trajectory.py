"""The picture of a model: its curves at given parameters and doses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from cellkinetics import domains
from cellkinetics.figures import style
from cellkinetics.figures.drawing import one_panel
from cellkinetics.solving.simulation import simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellkinetics.modelling.model import Model

USUAL_DOSE = 1e6
# So far below its highest point a curve is not shown.
DEPTH = 1e7


def plot_model(
    model: Model,
    axes: Axes | None,
    doses: object,
    days: float,
    parameters: Mapping[str, Any] | None,
    inputs: Mapping[str, Any] | None,
) -> Axes:
    """`Model.plot`: a line for each output, on axes that are those of a fit."""
    days = domains.positive(days, "days", 365)
    if doses is None and model.channels:
        doses = USUAL_DOSE
    ax = one_panel(axes, (5.6, 3.7))
    events = model.doses(doses).times
    later = np.array([time for time in np.asarray(events) if 0 < time < days])
    even = style.expanded(np.linspace(0, style.compressed(days), 300))
    table = simulate(model, parameters, np.unique(np.concatenate([even, later - 1e-6, later])), doses, inputs=inputs)
    shades = style.ramp(len(model.outputs)) if len(model.outputs) > 1 else [style.tone.one]
    for output, shade in zip(model.outputs, shades, strict=True):
        ax.plot(table["day"], table[output].where(table[output] > 0), color=shade, linewidth=1.6)
    highest = float(table[list(model.outputs)].to_numpy().max())
    positive = table[list(model.outputs)].to_numpy()
    lowest = float(positive[positive > 0].min(initial=highest))
    style.decades(ax, max(lowest / 2, highest / DEPTH), 2 * highest)
    style.days(ax, days, style.size(ax)[0])
    style.label_days(ax)
    units = list(dict.fromkeys(model.outputs.values()))
    # Two names of units in full do not fit beside the axis.
    label = style.unit_label(units[0]) if len(units) == 1 else " or ".join(units)
    style.label(ax, y=label)
    if len(model.outputs) > 1:
        lines = [Line2D([], [], color=shade, linewidth=1.6) for shade in shades]
        names = [name.replace("_", " ") for name in model.outputs]
        style.legend_below(ax, [style.heading("output"), *zip(lines, names, strict=True)])
    style.tag(ax)
    return ax
