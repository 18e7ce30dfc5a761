"""What the dose, or the group, moves in a model: effects with their intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.charts import forest
from cellkinetics.charts.forest import Row
from cellkinetics.figures import style
from cellkinetics.figures.style import tone
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.words import p_equals

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from cellkinetics.joint.comparison import ModelComparison

MOST_LETTERS = 22  # of a note beside the axes, which the table has in full
FURTHEST, AT_LEAST = 3.0, 0.5  # dose exponents, or decades of a ratio, that the axis goes to at most and at least


def plot(found: ModelComparison, axes: Axes | None) -> Axes:
    """See `ModelComparison.plot`."""
    if found.table.empty:
        raise ValueError(f"nothing was compared: {found.reason or 'no parameter was tested.'}")
    exponents = found.by == BY_DOSE
    rows = [_row(row) for _, row in found.table.iterrows()]
    ax = style.panels(axes, 1, 1, (6.4, 0.3 * len(rows) + 1.1), simulated=False)[0]
    ends = found.table[["estimate", "lower", "upper"]].to_numpy(float)
    if not exponents:
        with np.errstate(divide="ignore"):
            ends = np.log10(ends)
    shown = np.clip(ends[np.isfinite(ends)], -FURTHEST, FURTHEST)
    low, high = min(1.1 * shown.min(initial=0.0), -AT_LEAST), max(1.1 * shown.max(initial=0.0), AT_LEAST)
    limits = (low, high) if exponents else (10**low, 10**high)
    forest.draw(ax, rows, limits, log=not exponents)
    ax.axvline(0.0 if exponents else 1.0, color=tone.ink, linewidth=0.9, zorder=1)
    effects = list(dict.fromkeys(found.table["effect"].astype(str)))
    name = "dose exponent" if exponents else effects[0] if len(effects) == 1 else "ratio"
    style.label(ax, f"{name}, 95% interval")
    return ax


def _row(row: pd.Series[Any]) -> Row:
    p = float(row["p"])
    parts = ["" if math.isnan(p) else p_equals(p, "p"), style.shortened(str(row["note"]), MOST_LETTERS)]
    text = "; ".join(filter(None, parts))
    value, lower, upper = (float(row[name]) for name in ("estimate", "lower", "upper"))
    effect = str(row["effect"])
    alone = "" if math.isfinite(value) or not effect else f" ({effect})"
    return Row(f"{row['parameter']}{alone}", value, lower, upper, tone.one, text)
