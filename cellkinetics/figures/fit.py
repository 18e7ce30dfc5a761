"""The picture of one fit: samples, limit and curve with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study
from cellkinetics.errors import suggest
from cellkinetics.figures import style
from cellkinetics.figures.drawing import draw_limits, draw_samples, frame, one_panel, samples_of
from cellkinetics.figures.style import MARKS, SMALL, TITLE, tone
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.levels import column_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellkinetics.fitting.result import Fit


BAND_NAME = "fit, 95% interval"
HIDDEN_BAND_NAME = "fit, 95% interval\n(not where it fills the axes)"


def plot_fit(fit: Fit, axes: Axes | None = None, *, output: str | None = None, colour: str | None = None) -> Axes:
    """One patient's samples, limit and fitted curve with its 95% interval, on a log axis.

    Filled points are quantified samples; open triangles are samples beyond a limit, at that limit (one
    between detection and quantification has a line down to its lower end); samples after the end of the
    follow-up are grey; other excluded samples are not shown. Short bars at the top are infusions. A fit that
    did not converge says why. The samples and the curve set the axes; a very wide interval runs off them, and is not
    drawn where it would fill them from bottom to top (the legend says so).
    When the follow-up is longer than 60 days, days are evenly spaced up to day 28 and compressed after it,
    like a logarithm; a shorter one is linear. Axes that show a fit already keep it in view, so that two fits
    of a patient can be laid over each other.

    Parameters
    ----------
    fit : one patient's fit.
    axes : to draw on; new ones, with a legend below, when not given.
    output : which output of the model; its first when not given.
    colour : of the samples and the curve.

    Returns
    -------
    Axes
    """
    colour = colour or tone.one
    name = output_of(fit, output)
    samples, curve = samples_of(fit.study, names_of(fit, name)), curve_of(fit, name)
    ax = one_panel(axes, (5.6, 3.7))
    width, height = style.size(ax)
    words = style.wrapped(reason_of(fit), width)
    frame(ax, samples, fit.study.unit, [curve], room_of(words, height))
    draw_fit(ax, fit, samples, curve, colour, words, width - 45 * fit.study.simulated)
    draw_limits(ax, samples)
    if fit.study.simulated:
        style.tag(ax)
    if axes is None:
        hidden = filling(curve, ax.get_ylim()).any()
        style.legend_below(ax, key_of([samples], [fit], [curve], colour, hidden=bool(hidden)))
    return ax


def draw_fit(
    ax: Axes,
    fit: Fit,
    samples: pd.DataFrame,
    curve: pd.DataFrame,
    colour: str,
    words: Sequence[str],
    width: float,
) -> None:
    """Curve, samples, doses, title (of at most `width` points) and the words of a fit that did not converge."""
    if len(curve):
        lower, upper = (curve[end].clip(1e-30, 1e30).to_numpy() for end in ("lower", "upper"))
        ax.fill_between(
            curve["day"], lower, upper, where=~filling(curve, ax.get_ylim()), color=colour, alpha=0.16, linewidth=0,
            zorder=1.5, gid="band",
        )  # fmt: skip
        ax.plot(curve["day"], curve["value"].clip(lower=1e-30), color=colour, linewidth=1.6, zorder=2.6)
    draw_samples(ax, samples, colour)
    _draw_doses(ax, fit.study)
    cohort = fit.study.covariates["cohort"].iloc[0]
    title, most = f"{fit.subject} · {cohort}", int(width / (0.58 * TITLE))
    if pd.isna(cohort) or len(title) > most:
        title = style.shortened(fit.subject, most)
    ax.set_title(title, loc="left", fontsize=TITLE, color=tone.ink, pad=9, parse_math=False)
    if not words:
        return
    for text in [text for text in ax.texts if text.get_gid() == "outcome"]:
        words = [text.get_text(), *words]
        text.remove()
    ax.text(
        0.98, 0.98, "\n".join(words), transform=ax.transAxes, ha="right", va="top", fontsize=SMALL, color=tone.ink,
        linespacing=1.2, parse_math=False, gid="outcome", zorder=4,
        bbox={"facecolor": tone.ground, "edgecolor": "none", "alpha": 0.7, "pad": 1.5},
    )  # fmt: skip


def filling(curve: pd.DataFrame, ends: tuple[float, float]) -> np.ndarray[Any, Any]:
    """Where the interval of a curve fills axes with these ends from bottom to top, and says nothing."""
    return ((curve["lower"] <= ends[0]) & (curve["upper"] >= ends[1])).to_numpy(bool)


def _draw_doses(ax: Axes, study: Study) -> None:
    """Marks on the top edge: bars for cells, open diamonds for another drug."""
    doses = study.doses.assign(since=study.doses["day"] - study.infusion_day(study.subjects[0]))
    for kind, rows in doses[doses["since"].between(*ax.get_xlim())].groupby("kind"):
        top, look = ax.get_xaxis_transform() + style.points(ax, up=3.5), style.dose_marker(str(kind))
        ax.plot(rows["since"], np.ones(len(rows)), transform=top, clip_on=False, gid=f"dose {kind}", **look)


def room_of(words: Sequence[str], height: float) -> float:
    """The part of axes of this height in points that the words take, with the half of a marker below."""
    return min((len(words) * SMALL * 1.35 + 8) / height, 0.6) if words else 0.0


def key_of(
    samples: Sequence[pd.DataFrame],
    fits: Sequence[Fit],
    curves: Sequence[pd.DataFrame],
    colour: str,
    *,
    hidden: bool = False,
) -> list[tuple[Any, str]]:
    """Handles and names of what is there to be explained."""
    rows = pd.concat(samples)
    seen = [status for status in MARKS if ((rows["status"] == status) & ~rows["late"]).any()]
    key: list[tuple[Any, str]] = [(style.handle(status, colour), MARKS[status][1]) for status in seen]
    line, band = Line2D([], [], color=colour, linewidth=1.6), Patch(facecolor=colour, alpha=0.2, linewidth=0)
    if any(curve["upper"].notna().any() for curve in curves):
        key.append(((band, line), HIDDEN_BAND_NAME if hidden else BAND_NAME))
    elif any(len(curve) for curve in curves):
        key.append((line, "fit"))
    if rows["late"].any():
        key.append((style.handle("quantified", tone.late), "after the follow-up"))
    # What was given before the infusion, such as lymphodepletion, lies left of the axes.
    given = [fit.study.doses[fit.study.doses["day"] >= fit.study.infusion_day(fit.subject)] for fit in fits]
    kinds = pd.concat([doses["kind"] for doses in given]).unique()
    for kind in kinds:
        name = "infusion" if kind == "cells" else str(kind)
        key.append((Line2D([], [], **style.dose_marker(str(kind))), name))
    return key


def output_of(fit: Fit, output: str | None) -> str:
    """The output that is asked for, the first when none is."""
    outputs = list(fit.model.outputs)
    output = {column_of(fit.model, name, fit.study.unit): name for name in outputs}.get(str(output), output)
    if output is not None and output not in outputs:
        raise ValueError(f"there is no output {output!r}. {suggest(output, outputs)}".rstrip())
    return output or outputs[0]


def names_of(fit: Fit, output: str) -> set[str]:
    """How the rows of an output are marked: by its name or its number."""
    return {output, str(list(fit.model.outputs).index(output) + 1)}


def curve_of(fit: Fit, output: str) -> pd.DataFrame:
    """Columns day (since infusion), value, lower, upper up to the last sample used; empty when not fitted.

    Days are evenly spaced on the axis as it is drawn, with both sides of each dose.
    """
    study = fit.study
    first, used = study.infusion_day(fit.subject), study.used["day"]
    if not fit.fitted or used.empty:
        return pd.DataFrame({"day": [], "value": [], "lower": [], "upper": []})
    last = max(float(used.max()) - first, 1.0)
    doses = study.doses["day"].to_numpy(float) - first
    doses = doses[(doses > 0) & (doses < last)]
    even = style.expanded(np.linspace(0, style.compressed(last), 240))
    days: Floats = np.unique(np.concatenate([even, doses - 1e-6, doses]))
    # Where nothing bounds the interval, its end overflows; it is drawn to the edge.
    with np.errstate(over="ignore", invalid="ignore"):
        table = fit.predict(days + first)
    # The columns go by the unit of the study: three an output, in the order of the model.
    at = 1 + 3 * list(fit.model.outputs).index(output)
    return table.iloc[:, at : at + 3].set_axis(["value", "lower", "upper"], axis=1).assign(day=days)


def reason_of(fit: Fit) -> str:
    """The first sentence of an outcome that needs a look, and the days of samples that the curve misses."""
    # A misfit stands first in an outcome, with all that it says.
    ended = fit.outcome.rpartition("After that: ")[2] if fit.misfit else fit.outcome
    ended = "" if fit.converged else ended.split(". ")[0].rstrip(".")
    if not fit.misfit:
        return ended
    missed = f"misses day {', '.join(f'{day:g}' for day in fit.misfit.days)}"
    return f"{ended}; {missed}" if ended else missed
