"""The picture of a study: all samples, with the medians of its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from cellkinetics import domains
from cellkinetics.data.groups import NOBODY, shown
from cellkinetics.data.study import Study
from cellkinetics.figures import style
from cellkinetics.figures.drawing import draw_limits, draw_samples, frame, one_panel, samples_of
from cellkinetics.figures.style import MARKS, tone
from cellkinetics.lazily import pandas as pd
from cellkinetics.statistics.medians import by_visit
from cellkinetics.words import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THICK = 2.4


def plot_study(study: Study, axes: Axes | None = None, by: str = "cohort", tolerance: float | None = None) -> Axes:
    """All samples of a study against the days since each subject's first infusion.

    Quantified samples are points, joined by a thin line where no sample beyond a limit lies between them;
    samples beyond a limit are open triangles at it, those of several cohorts side by side. When the follow-up
    is longer than 60 days, days are evenly spaced up to day 28 and compressed after it, like a logarithm; a
    shorter one is linear. Of several outputs the first is shown. The thick lines are the medians of
    `medians.by_visit`, broken and with an open triangle where they lie below the limit: at the limit when more
    than half of the patients are below it.

    Parameters
    ----------
    study : the study.
    axes : to draw on; new ones when not given.
    by : what the colour says, the lowest dose lightest: "cohort" (ordered by its median first dose, then by
        name; grey without one), "dose" (the first one), or another covariate of the study.
    tolerance
        days by which a sample may lie from the middle of its visit; half the gap to the next sample when not given.
        The legend says how far samples lie from their visits.

    Returns
    -------
    Axes
    """
    if tolerance is not None:
        tolerance = domains.positive(tolerance, "tolerance", 2)
    samples = samples_of(study, set(study.used["output"].iloc[:1]))
    samples = samples[~samples["late"]]
    groups, shades = style.coloured(study, by)
    below = axes is None and style.narrow()
    ax = one_panel(axes, (6.8, 5.6 if below else 3.9))
    frame(ax, samples, study.unit)
    step = min(5.0, 20 / len(shades))
    aside = {name: step * (place - (len(shades) - 1) / 2) for place, name in enumerate(shades)}
    for subject in study.subjects:
        colour = shades[groups[subject]]
        own = samples[samples["subject"] == subject]
        for _, run in own.groupby((own["status"] != "quantified").cumsum()):
            joined = run[run["status"] == "quantified"]
            ax.plot(joined["day"], joined["value"], color=colour, linewidth=0.8, alpha=0.5, zorder=2.5)
        draw_samples(ax, own, colour, 3.4, aside[groups[subject]])
    medians = by_visit(samples, groups, tolerance)
    for name, own in medians.groupby("group"):
        _draw_medians(ax, own, shades[str(name)])
    draw_limits(ax, samples)
    if study.simulated:
        style.tag(ax)
    members = groups.value_counts()
    key: list[tuple[Any, str]] = [style.heading(by)] if set(shades) != {NOBODY} else []
    for name, shade in shades.items() if set(shades) != {NOBODY} else ():
        sample = Line2D([], [], color=shade, marker="o", markersize=4, linewidth=1.2)
        key.append((sample, f"{shown(name, by)} (n = {members[name]})"))
    if len(medians):
        broken = (medians["lower"] < medians["upper"]).any()
        text = ("median, broken beyond a limit" if broken else "median") + _matched(samples, medians, tolerance)
        key.append((Line2D([], [], color=tone.faint, linewidth=THICK), text))
    beyond = [status for status in list(MARKS)[1:] if (samples["status"] == status).any()]
    key += [(style.handle(status, tone.faint), MARKS[status][1]) for status in beyond]
    if key and below:
        style.legend_below(ax, key)
    elif key:
        style.tidy(ax.legend(*style.entries(key), loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False))
    return ax


def _matched(samples: pd.DataFrame, medians: pd.DataFrame, tolerance: float | None) -> str:
    """Which samples make a median, where they are not all of its day."""
    if "nominal_day" in samples and samples["nominal_day"].notna().all():
        return "\nof samples of a nominal day"
    apart = float(medians["apart"].max())
    if not apart > 0 and tolerance is None:
        return ""
    text = f"\nof samples up to {number_text(round(apart, 1)) if apart >= 0.05 else f'{apart:.1g}'} days from a visit"
    return text if tolerance is None else f"{text}\n(tolerance {number_text(tolerance)})"


def cohort_colours(study: Study, by: str = "cohort") -> dict[str, str]:
    """{cohort: colour} of `plot_study` and `plot_fits`, from the lowest dose to the highest."""
    return style.coloured(study, by)[1]


def _draw_medians(ax: Axes, medians: pd.DataFrame, colour: str) -> None:
    """A thick line from visit to visit, broken where an end of it is not quantified, with a mark there."""
    known = (medians["lower"] == medians["upper"]).to_numpy()
    upper = medians["upper"].to_numpy(float)
    at = np.where(np.isfinite(upper), upper, medians["lower"].to_numpy(float))
    day = medians["day"].to_numpy(float)
    for first in range(len(day) - 1):
        both = slice(first, first + 2)
        dashes = "-" if known[both].all() else (0, (1.6, 1.2))
        ax.plot(day[both], at[both], color=colour, linewidth=THICK, linestyle=dashes, zorder=3.4, gid="median")
    for status, where in (("below", ~known & np.isfinite(upper)), ("above", np.isinf(upper))):
        ax.plot(day[where], at[where], **style.marker(status, colour, 6.5), zorder=3.5, gid=f"median {status}")
