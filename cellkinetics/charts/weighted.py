"""Individual weighted residuals (IWRES) over time and over the prediction; of a censored sample that of its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.data.groups import NOBODY
from cellkinetics.errors import ModelError
from cellkinetics.figures import style
from cellkinetics.figures.residuals import lines
from cellkinetics.figures.style import tone
from cellkinetics.lazily import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.data.study import Study
    from cellkinetics.fitting.result import Fit

AT_ITS_LIMIT = {"below": "below the limit: at it", "interval": "below the LLOQ: at it", "above": "above: at its limit"}
FARTHEST_SHOWN = 6.0  # sds, at which what lies farther is drawn


def plot(each: Mapping[str, Fit], study: Study, by: str | None, axes: Sequence[Axes] | None) -> Figure:
    """See `PopulationFit.plot_residuals`."""
    fitted = [fit for fit in each.values() if fit.fitted]
    if not fitted:
        raise ModelError("nobody was fitted: there is no residual. Look at the outcomes.")
    table = pd.concat([weighted_of(fit) for fit in fitted], ignore_index=True)
    if by is None:
        members, shades = pd.Series(NOBODY, index=list(study.subjects)), {NOBODY: tone.one}
    else:
        members, shades = style.coloured(study, by)
    narrow = axes is None and style.narrow()
    panels = style.panels(axes, 2, 1 if narrow else 2, (4.2, 3.2), simulated=study.simulated)
    over_time, over_curve = panels
    z = table["iwres"].to_numpy(float).clip(-FARTHEST_SHOWN, FARTHEST_SHOWN)
    small = (2.8, 0.55) if len(table) > 300 else (4.2, 0.9)
    for (status, name), own in table.assign(at=np.arange(len(table)), who=table["subject"].map(members)).groupby(
        ["status", "who"]
    ):
        at = own["at"].to_numpy()
        look = style.marker(str(status), shades[str(name)], small[0])
        for ax, column in ((over_time, "day"), (over_curve, "predicted")):
            ax.plot(own[column].to_numpy(float), z[at], **look, alpha=small[1], gid=str(status))
    for ax in panels:
        style.dress(ax)
        lines(ax)
    width = style.size(over_time)[0]
    style.days(over_time, float(table["day"].max()), width)
    style.few_ticks(over_curve)
    style.label_days(over_time, width=width)
    style.label(over_curve, f"individual prediction, {style.unit_label(study.unit)}")
    for ax in panels if narrow else panels[:1]:
        style.label(ax, y="IWRES")
    if axes is None:
        there = [status for status in style.MARKS if (table["status"] == status).any()]
        shade = tone.one if by is None else tone.faint
        key: list[tuple[Any, str]] = [] if by is None else style.named(shades, by)
        key += [(style.handle(status, shade), AT_ITS_LIMIT.get(status, style.MARKS[status][1])) for status in there]
        style.legend_below(over_time, key)
    return style.whole(over_time)


def weighted_of(fit: Fit) -> pd.DataFrame:
    """Of each sample: subject, day since the infusion, status, predicted, iwres, of a censored one at its limit."""
    table = fit.residuals
    iwres = table["residual"].to_numpy(float)
    if fit.kept is None:
        # A sample at the end that it is known to lie beyond.
        rows = fit.problem.rows
        end = np.where(np.isfinite(np.asarray(rows.upper)), np.asarray(rows.upper), np.asarray(rows.lower))
        ln_f, ln_sd = fit.problem.curve(fit.x, 0).value, fit.problem.ln_sd(fit.x)
        at_end = fit.problem.error.residuals(ln_f, ln_sd, rows._replace(lower=end, upper=end))
        iwres = np.asarray(at_end, float)[: len(table)]
    return pd.DataFrame(
        {
            "subject": fit.subject, "day": table["day"] - fit.study.infusion_day(fit.subject),
            "status": table["status"], "predicted": table["predicted"], "iwres": iwres,
        }
    )  # fmt: skip
