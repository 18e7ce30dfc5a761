"""Pictures of a study, of one fit and of all of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cellkinetics.arrays import Floats
from cellkinetics.data.groups import NOBODY
from cellkinetics.data.study import AFTER, Study
from cellkinetics.errors import suggest
from cellkinetics.figures import style
from cellkinetics.figures.style import FAINT, INK, LATE, MARKS, ONE, SMALL, TITLE, plain
from cellkinetics.statistics.medians import by_visit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.fitting.fits import Fits
    from cellkinetics.fitting.result import Fit

PER_PAGE, THICK = 24, 2.4


def plot_study(study: Study, ax: Axes | None = None, by: str = "cohort") -> Axes:
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
    ax : axes to draw on; new ones when not given.
    by : what the colour says, the lowest dose lightest: "cohort" (ordered by its median first dose, then by
        name; grey without one), "dose" (the first one), or another covariate of the study.

    Returns
    -------
    Axes
    """
    samples = _samples(study, set(study.used["output"].iloc[:1]))
    samples = samples[~samples["late"]]
    groups, shades = style.coloured(study, by)
    ax = ax or new_axes((6.8, 3.9))
    _frame(ax, samples, study.unit)
    step = min(5.0, 20 / len(shades))
    aside = {name: step * (place - (len(shades) - 1) / 2) for place, name in enumerate(shades)}
    for subject in study.subjects:
        colour = shades[groups[subject]]
        own = samples[samples["subject"] == subject]
        for _, run in own.groupby((own["status"] != "quantified").cumsum()):
            joined = run[run["status"] == "quantified"]
            ax.plot(joined["day"], joined["value"], color=colour, linewidth=0.8, alpha=0.5, zorder=2.5)
        _draw_samples(ax, own, colour, 3.4, aside[groups[subject]])
    medians = by_visit(samples, groups)
    for name, own in medians.groupby("group"):
        _draw_medians(ax, own, shades[str(name)])
    draw_limits(ax, samples)
    if study.simulated:
        style.tag(ax)
    members = groups.value_counts()
    key: list[tuple[Any, str]] = []
    for name, shade in shades.items() if set(shades) != {NOBODY} else ():
        sample = Line2D([], [], color=shade, marker="o", markersize=4, linewidth=1.2)
        key.append((sample, f"{name} (n = {members[name]})"))
    if len(medians):
        broken = (medians["lower"] < medians["upper"]).any()
        key.append(
            (Line2D([], [], color=FAINT, linewidth=THICK), "median, broken beyond a limit" if broken else "median")
        )
    beyond = [status for status in list(MARKS)[1:] if (samples["status"] == status).any()]
    key += [(style.handle(status, FAINT), MARKS[status][1]) for status in beyond]
    if key:
        style.tidy(ax.legend(*style.entries(key), loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False))
    return ax


def plot_fit(fit: Fit, ax: Axes | None = None, *, output: str | None = None, colour: str = ONE) -> Axes:
    """One patient's samples, limit and fitted curve with its 95% interval, on a log axis.

    Filled points are quantified samples; open triangles are samples beyond a limit, at that limit (one
    between detection and quantification has a line down to its lower end); samples after the end of the
    follow-up are grey; other excluded samples are not shown. Short bars at the top are infusions. A fit that
    did not converge says why. The samples and the curve set the axes; a very wide interval runs off them.
    When the follow-up is longer than 60 days, days are evenly spaced up to day 28 and compressed after it,
    like a logarithm; a shorter one is linear. Axes that show a fit already keep it in view, so that two fits
    of a patient can be laid over each other.

    Parameters
    ----------
    fit : one patient's fit.
    ax : axes to draw on; new ones, with a legend below, when not given.
    output : which output of the model; its first when not given.
    colour : of the samples and the curve.

    Returns
    -------
    Axes
    """
    name = _output(fit, output)
    samples, curve = _samples(fit.study, _names(fit, name)), _curve(fit, name)
    own_figure = ax is None
    ax = ax or new_axes((5.6, 3.7))
    width, height = style.size(ax)
    words = style.wrapped(_reason(fit), width)
    _frame(ax, samples, fit.study.unit, [curve], _room(words, height))
    _draw_fit(ax, fit, samples, curve, colour, words, width - 45 * fit.study.simulated)
    draw_limits(ax, samples)
    if fit.study.simulated:
        style.tag(ax)
    if own_figure:
        style.legend_below(ax, _key([samples], [fit], [curve], colour))
    return ax


def plot_fits(
    fits: Fits,
    columns: int = 4,
    axes_size: tuple[float, float] = (2.8, 2.3),
    page: int = 0,
    *,
    by: str = "cohort",
) -> Figure:
    """One panel a patient on shared axes, as `plot_fit` draws it, from the cohort of the lowest dose on.

    Within a cohort the patients are in the order of the study. The legend stands right of the panels, and
    says so when the study is simulated.

    Parameters
    ----------
    fits : {subject: Fit} with ``.study``, the whole study.
    columns : panels in a row.
    axes_size : width and height of a panel in inches, its title and margins included.
    page : which page of at most 24 panels, from 0; ``pages(fits)`` says how many there are.
    by : what the colour says, as in `plot_study`.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        There are no fits.
    IndexError
        There is no such page.
    """
    if not fits:
        raise ValueError("there are no fits to draw.")
    if not 0 <= page < pages(fits):
        raise IndexError(f"there is no page {page}: {len(fits)} patients are on pages 0 to {pages(fits) - 1}.")
    groups, shades = style.coloured(fits.study, by)
    order = sorted(fits, key=lambda subject: list(shades).index(groups[subject]))
    shown = {subject: fits[subject] for subject in order[page * PER_PAGE : (page + 1) * PER_PAGE]}
    return _page(fits, shown, groups, shades, min(columns, len(fits)), axes_size)


def pages(fits: Mapping[str, Fit]) -> int:
    """How many pages of at most 24 patients `plot_fits` has for these fits."""
    return math.ceil(len(fits) / PER_PAGE)


def cohort_colours(study: Study, by: str = "cohort") -> dict[str, str]:
    """{cohort: colour} of `plot_study` and `plot_fits`, from the lowest dose to the highest."""
    return style.coloured(study, by)[1]


def _page(
    fits: Fits,
    shown: Mapping[str, Fit],
    groups: pd.Series,
    shades: Mapping[str, str],
    columns: int,
    size: tuple[float, float],
) -> Figure:
    import matplotlib.pyplot as plt

    rows, count = math.ceil(len(shown) / columns), len(shown)
    names = {subject: _output(fit, None) for subject, fit in fits.items()}
    samples = {subject: _samples(fit.study, _names(fit, names[subject])) for subject, fit in fits.items()}
    curves = {subject: _curve(fit, names[subject]) for subject, fit in shown.items()}
    inside, height = 0.84 * 72 * size[0], 0.74 * 72 * size[1]
    words = {subject: style.wrapped(_reason(fit), inside) for subject, fit in shown.items()}
    whole = pd.concat(samples)
    lower, upper = _range(whole, list(curves.values()), reach=10)
    for subject in shown:
        upper = max(upper, _raised(lower, _top(samples[subject]), _room(words[subject], height)))
    last, one_limit = float(whole["day"].max()), whole["lloq"].nunique() == 1
    key: list[tuple[Any, str]] = []
    if set(shades) != {NOBODY}:
        key = [(Line2D([], [], color=shade, linewidth=4), name) for name, shade in shades.items()]
    key += _key([samples[s] for s in shown], list(shown.values()), list(curves.values()), FAINT)
    if fits.study.simulated:
        key.append((Line2D([], [], linestyle="none"), "simulated"))
    beside = 1.0 + 0.064 * max((len(text) for _, text in key), default=0)
    width = columns * size[0] + 0.5 + beside
    figure = plt.figure(figsize=(width, rows * size[1] + 0.35), layout="constrained")
    grid, first = figure.add_gridspec(rows, columns), None
    for place, (subject, fit) in enumerate(shown.items()):
        ax = figure.add_subplot(grid[divmod(place, columns)], sharex=first, sharey=first)
        first = first or ax
        # Small panels have no room for ticks between decades, which would be most of the time of drawing.
        style.decades(ax, lower, upper, minor=False)
        style.days(ax, last, inside)
        shade = shades[groups[subject]]
        _draw_fit(ax, fit, samples[subject], curves[subject], shade, words[subject], inside)
        right = place % columns == columns - 1
        named = right or place == count - 1 or not one_limit
        # Beside the last panel there is an empty place: its label needs no wider gap between the columns.
        draw_limits(ax, samples[subject], named=named, in_layout=right or place < count - 1)
        ax.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= count)
    if key:
        legend = figure.legend(*style.entries(key), loc="outside right upper", frameon=False)
        style.tidy(legend)
        if fits.study.simulated:
            legend.get_texts()[-1].set(style="italic", color=FAINT, gid="simulated")
    middle = (0.7 + width - beside) / 2 / width
    figure.supxlabel("days since infusion", x=middle, fontsize=style.LABEL, color=INK)
    unit = style.unit_label(fits.study.unit)
    figure.supylabel(unit, fontsize=style.LABEL, color=INK, parse_math=False)
    return figure


# What is drawn


def _draw_fit(
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
        ax.fill_between(curve["day"], lower, upper, color=colour, alpha=0.16, linewidth=0, zorder=1.5)
        ax.plot(curve["day"], curve["value"].clip(lower=1e-30), color=colour, linewidth=1.6, zorder=2.6)
    _draw_samples(ax, samples, colour)
    _draw_doses(ax, fit.study)
    cohort = fit.study.covariates["cohort"].iloc[0]
    title, most = f"{fit.subject} · {cohort}", int(width / (0.58 * TITLE))
    if pd.isna(cohort) or len(title) > most:
        title = style.shortened(fit.subject, most)
    ax.set_title(title, loc="left", fontsize=TITLE, color=INK, pad=9, parse_math=False)
    if not words:
        return
    for text in [text for text in ax.texts if text.get_gid() == "outcome"]:
        words = [text.get_text(), *words]
        text.remove()
    ax.text(
        0.98, 0.98, "\n".join(words), transform=ax.transAxes, ha="right", va="top", fontsize=SMALL, color=INK,
        linespacing=1.2, parse_math=False, gid="outcome", zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.5},
    )  # fmt: skip


def _draw_samples(ax: Axes, samples: pd.DataFrame, colour: str, size: float = 5.0, shift: float = 0.0) -> None:
    """Marks; those of samples beyond a limit are moved by `shift` points to the right."""
    aside = ax.transData + style.points(ax, right=shift) if shift else ax.transData
    for (status, late), rows in samples.groupby(["status", "late"]):
        shade, day = LATE if late else colour, rows["day"]
        at = {"quantified": rows["value"], "above": rows["lower"]}.get(str(status), rows["upper"])
        place = ax.transData if status == "quantified" else aside
        if status == "interval":
            ax.vlines(day, rows["lower"], rows["upper"], color=shade, linewidth=1, zorder=3, transform=place)
        look = style.marker(str(status), shade, size)
        ax.plot(day, at, **look, zorder=3.2, gid=str(status), transform=place)


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


def _draw_doses(ax: Axes, study: Study) -> None:
    """Marks on the top edge: bars for cells, open diamonds for another drug."""
    doses = study.doses.assign(since=study.doses["day"] - study.infusion_day(study.subjects[0]))
    for kind, rows in doses[doses["since"].between(*ax.get_xlim())].groupby("kind"):
        top, look = ax.get_xaxis_transform() + style.points(ax, up=3.5), style.dose_marker(str(kind))
        ax.plot(rows["since"], np.ones(len(rows)), transform=top, clip_on=False, gid=f"dose {kind}", **look)


def draw_limits(ax: Axes, samples: pd.DataFrame, *, named: bool = True, in_layout: bool = True) -> None:
    """A dashed line at the lower limit, or at both ends of its range, and its name right of the axes."""
    limits = samples["lloq"].dropna()
    if limits.empty or any(line.get_gid() == "lloq" for line in ax.lines):
        return
    low, high = float(limits.min()), float(limits.max())
    for limit in dict.fromkeys((low, high)):
        ax.axhline(limit, color=FAINT, linewidth=0.9, dashes=(4, 3), zorder=1.8, gid="lloq")
    if not named:
        return
    names = {limit: f"LLOQ {plain(limit)}" for limit in (low, high)}
    if 1 < high / low < 4:
        names = {math.sqrt(low * high): f"LLOQ {plain(low)}–{plain(high)}"}
    for limit, text in names.items():
        ax.annotate(
            text, (1, limit), (3, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
            va="center", fontsize=SMALL, color=FAINT, annotation_clip=False, gid="lloq name",
            in_layout=in_layout,
        )  # fmt: skip


# The axes


def _frame(ax: Axes, samples: pd.DataFrame, unit: str, curves: Sequence[pd.DataFrame] = (), room: float = 0.0) -> None:
    """Scales and names; what these axes, or axes that share theirs, already show stays in view."""
    lower, upper = _range(samples, curves)
    upper = max([upper, *(_raised(lower, _top(samples, curve), room) for curve in curves)])
    last = float(samples["day"].max()) if len(samples) else 28.0
    last = max([last, *(float(np.max(line.get_xdata())) for line in _marks(ax.get_shared_x_axes(), ax))])
    if _marks(ax.get_shared_y_axes(), ax):
        lower, upper = min(lower, ax.get_ylim()[0]), max(upper, ax.get_ylim()[1])
    style.decades(ax, lower, upper)
    style.days(ax, last, style.size(ax)[0])
    ax.set_xlabel("days since infusion", fontsize=style.LABEL, color=INK)
    ax.set_ylabel(style.unit_label(unit), fontsize=style.LABEL, color=INK, parse_math=False)


def _marks(shared: Any, ax: Axes) -> list[Line2D]:
    """The samples drawn on axes that share theirs with these, these included."""
    return [line for other in shared.get_siblings(ax) for line in other.lines if line.get_gid() in MARKS]


def _range(samples: pd.DataFrame, curves: Sequence[pd.DataFrame], reach: float = 100) -> tuple[float, float]:
    """Ends of the log axis: from a third of the lowest limit or (without) a tenth of the lowest value."""
    beyond = samples[samples["status"] != "quantified"]
    limits = np.append(beyond[["lower", "upper"]].to_numpy(float), samples["lloq"].to_numpy(float))
    limits = limits[np.isfinite(limits) & (limits > 0)]
    values = samples["value"].dropna().to_numpy(float)
    lower = min([*limits / 3, *(values / (2 if len(limits) else 10))], default=0.1)
    highest = max([lower, *(_top(samples, curve, reach) for curve in curves or [None])])
    bands = [float(np.nanmax(curve["upper"].to_numpy(float), initial=0.0)) for curve in curves]
    upper = max([2 * highest, *(1.2 * band for band in bands if band <= 6 * highest)])
    while math.floor(math.log10(upper)) - math.ceil(math.log10(lower)) < 1:
        upper = 1.3 * 10 ** math.ceil(math.log10(upper * 1.0001))
    return lower, upper


def _top(samples: pd.DataFrame, curve: pd.DataFrame | None = None, reach: float = 100) -> float:
    """The highest mark or point of the curve; the curve counts up to `reach` times the highest mark."""
    marks = samples[["value", "lower", "lloq"]].to_numpy(float)
    highest = float(np.nanmax(marks, initial=0.0))
    peak = 0.0 if curve is None else float(np.nanmax(curve["value"].to_numpy(float), initial=0.0))
    return max(highest, min(peak, reach * highest))


def _room(words: Sequence[str], height: float) -> float:
    """The part of axes of this height in points that the words take, with the half of a marker below."""
    return min((len(words) * SMALL * 1.35 + 8) / height, 0.6) if words else 0.0


def _raised(lower: float, top: float, room: float) -> float:
    """The upper limit that leaves a part `room` of the axes free above `top`."""
    return lower * (top / lower) ** (1 / (1 - room)) if room and top else 0.0


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes of a figure of their own, of a size in inches."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size, layout="constrained").add_subplot()


# The legend


def _key(
    samples: Sequence[pd.DataFrame], fits: Sequence[Fit], curves: Sequence[pd.DataFrame], colour: str
) -> list[tuple[Any, str]]:
    """Handles and names of what is there to be explained."""
    rows = pd.concat(samples)
    seen = [status for status in MARKS if ((rows["status"] == status) & ~rows["late"]).any()]
    key: list[tuple[Any, str]] = [(style.handle(status, colour), MARKS[status][1]) for status in seen]
    line, band = Line2D([], [], color=colour, linewidth=1.6), Patch(facecolor=colour, alpha=0.2, linewidth=0)
    if any(curve["upper"].notna().any() for curve in curves):
        key.append(((band, line), "fit, 95% interval"))
    elif any(len(curve) for curve in curves):
        key.append((line, "fit"))
    if rows["late"].any():
        key.append((style.handle("quantified", LATE), "after the follow-up"))
    # What was given before the infusion, such as lymphodepletion, lies left of the axes.
    given = [fit.study.doses[fit.study.doses["day"] >= fit.study.infusion_day(fit.subject)] for fit in fits]
    kinds = pd.concat([doses["kind"] for doses in given]).unique()
    for kind in kinds:
        name = "infusion" if kind == "cells" else str(kind)
        key.append((Line2D([], [], **style.dose_marker(str(kind))), name))
    return key


# What is known of the samples, the curve and the cohorts


def _samples(study: Study, outputs: Collection[str]) -> pd.DataFrame:
    """The samples to draw, by days since the first infusion; `late` are those after the end of follow-up."""
    rows = study.observations
    late = rows["excluded"].str.startswith(AFTER)
    rows = rows.assign(late=late)[((rows["excluded"] == "") | late) & rows["output"].isin(outputs)]
    rows = rows[rows["status"].isin(MARKS)]
    first = {subject: study.infusion_day(subject) for subject in rows["subject"].unique()}
    return rows.assign(day=rows["day"] - rows["subject"].map(first).astype(float))


def _output(fit: Fit, output: str | None) -> str:
    outputs = list(fit.model.outputs)
    if output is not None and output not in outputs:
        raise ValueError(f"there is no output {output!r}. {suggest(output, outputs)}".rstrip())
    return output or outputs[0]


def _names(fit: Fit, output: str) -> set[str]:
    """How the rows of an output are marked: by its name or its number."""
    return {output, str(list(fit.model.outputs).index(output) + 1)}


def _curve(fit: Fit, output: str) -> pd.DataFrame:
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
    columns = {output: "value", f"{output}_lower": "lower", f"{output}_upper": "upper"}
    return table.rename(columns=columns)[list(columns.values())].assign(day=days)


def _reason(fit: Fit) -> str:
    """The first sentence of an outcome that is not "converged"."""
    return "" if fit.converged else fit.outcome.split(". ")[0].rstrip(".")
