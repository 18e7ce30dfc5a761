"""The steps of a choice of covariates: what each fit that was tried did to BICc."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D

from cellkinetics.charts import forest
from cellkinetics.charts.forest import Row
from cellkinetics.figures import style
from cellkinetics.figures.style import tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.predictive.covariate_choice import CovariateChoice

LONGEST_STATUS = 30  # letters of a status beside the axes


def plot(choice: CovariateChoice, axes: Axes | None, chosen: str) -> Figure:
    """See `CovariateChoice.plot`; ``chosen`` is the status of what was taken."""
    narrow = axes is None and style.narrow()
    rows: list[Row] = []
    for (step, direction), own in choice.steps[choice.steps["step"] > 0].groupby(["step", "direction"], sort=False):
        rows.append(Row(f"step {step}, {direction}"))
        for row in own.to_dict("records"):
            away, error = float(row["difference"]), float(row["error"])
            status = str(row["status"]).partition(":")[0].partition(" (")[0]
            taken = status == chosen
            text = f"{away:+.1f}" if np.isfinite(away) else ""
            text += "" if taken or narrow else f"  {style.shortened(status, LONGEST_STATUS)}"
            sign = "+ " if row["change"] == "added" else "\N{MINUS SIGN} "
            name = sign + style.shortened(str(row["tried"]), 14 if narrow else 24)
            colour = tone.one if taken else tone.faint
            rows.append(Row(name, away, away - error, away + error, colour, text.strip()))
    size = 7.4 - 1.6 * narrow, 0.24 * len(rows) + 1.1
    ax = style.panels(axes, 1, 1, size, simulated=choice.simulated)[0]
    ax.axvline(0.0, color=tone.ink, linewidth=0.9, zorder=1)
    ends = np.array([end for row in rows for end in (row.lower, row.upper)])
    ends = np.append(ends[np.isfinite(ends)], 0.0)
    aside = 0.06 * (float(np.ptp(ends)) or 1.0)
    forest.draw(ax, rows, (float(ends.min()) - aside, float(ends.max()) + aside), 5.0, log=False)
    style.label(ax, "change of BICc" + ("" if narrow else ", with its Monte Carlo error"))
    if axes is None:
        marks = [(style.handle("quantified", tone.one), "chosen"), (style.handle("quantified", tone.faint), "tried")]
        style.legend_below(ax, [*marks, (Line2D([], [], color=tone.ink, linewidth=0.9), "as before the step")])
    return style.whole(ax)
