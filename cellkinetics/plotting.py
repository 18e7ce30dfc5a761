"""Pictures of a study, of one fit and of all of them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cellkinetics import style
from cellkinetics.errors import suggest
from cellkinetics.notation import number_text
from cellkinetics.style import FAINT, INK, LATE, NO_COHORT, ONE, SMALL, TEXT, TITLE, Floats, plain
from cellkinetics.study import AFTER, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from cellkinetics.fits import Fits
    from cellkinetics.result import Fit

PER_PAGE = 24
NOBODY = "no cohort"
# What a sample is drawn with, and what the legend calls it.
MARKS = {
    "quantified": ("o", "quantified"),
    "below": ("v", "below the limit"),
    "interval": ("v", "detected, below the LLOQ"),
    "above": ("^", "above the upper limit"),
}


def plot_study(study: Study, ax: Axes | None = None, by: str = "cohort") -> Axes:
    """All samples of a study against the days since each subject's first infusion.

    Quantified samples are points, joined by a thin line as long as no sample beyond a limit lies between them;
    samples beyond a limit are open triangles at it. Days are compressed after day 28 when the follow-up is longer than
    60 days. Of several outputs the first is shown.

    Parameters
    ----------
    study : the study.
    ax : axes to draw on; new ones when not given.
    by : what the colour says, the lowest dose lightest: "cohort" (ordered by its median first dose, then by name),
        "dose" (the first one), or another covariate of the study.

    Returns
    -------
    Axes
    """
    samples = _samples(study, set(study.used["output"].iloc[:1]))
    samples = samples[~samples["late"]]
    groups, shades = _groups(study, by)
    ax = ax or _new_axes((6.8, 3.9))
    _frame(ax, samples, study.unit)
    for subject in study.subjects:
        colour = shades[groups[subject]]
        own = samples[samples["subject"] == subject]
        for _, run in own.groupby((own["status"] != "quantified").cumsum()):
            joined = run[run["status"] == "quantified"]
            ax.plot(joined["day"], joined["value"], color=colour, linewidth=0.9, alpha=0.75, zorder=2.5)
        _draw_samples(ax, own, colour, size=3.4)
    _draw_limits(ax, samples)
    if study.simulated:
        _tag(ax)
    members = groups.value_counts()
    key: list[tuple[Any, str]] = [
        (Line2D([], [], color=shade, marker="o", markersize=4, linewidth=1.2), f"{name} (n = {members[name]})")
        for name, shade in shades.items()
    ]
    key += [(_handle(status, FAINT), MARKS[status][1]) for status in MARKS if (samples["status"] == status).any()][1:]
    _style_legend(
        ax.legend(*_entries(key), loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0, frameon=False)
    )
    return ax


def plot_fit(fit: Fit, ax: Axes | None = None, *, output: str | None = None, colour: str = ONE) -> Axes:
    """One patient's samples, limit and fitted curve with its 95% interval, on a log axis.

    Filled points are quantified samples; open triangles are samples beyond a limit, at that limit (one between
    detection and quantification has a line down to its lower end); samples after the end of the follow-up are
    grey; other excluded samples are not shown. Short bars at the top are infusions. Days are compressed after day 28
    when the follow-up is longer than 60 days. A fit that did not converge says why; the interval may run off
    the axes, which the samples and the curve set.

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
    ax = ax or _new_axes((5.6, 3.7))
    width, height = (72 * inches for inches in ax.get_window_extent().size / ax.figure.dpi)
    words = _wrapped(_reason(fit), width)
    _frame(ax, samples, fit.study.unit, [curve], len(words) * SMALL * 1.35 / height)
    _draw_fit(ax, fit, samples, curve, colour, words)
    _draw_limits(ax, samples)
    if fit.study.simulated:
        _tag(ax)
    if own_figure:
        _legend_below(ax, _key([samples], [fit], colour))
    return ax


def plot_fits(
    fits: Fits,
    columns: int = 4,
    axes_size: tuple[float, float] = (2.8, 2.3),
    page: int = 0,
    *,
    by: str = "cohort",
) -> Figure:
    """One panel a patient on shared axes, as `plot_fit` draws it, by cohort from the lowest dose to the highest.

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
    IndexError
        There is no such page.
    """
    if not 0 <= page < pages(fits):
        raise IndexError(f"there is no page {page}: {len(fits)} patients are on pages 0 to {pages(fits) - 1}.")
    groups, shades = _groups(fits.study, by)
    order = sorted(fits, key=lambda subject: list(shades).index(groups[subject]))
    shown = {subject: fits[subject] for subject in order[page * PER_PAGE : (page + 1) * PER_PAGE]}
    return _page(fits, shown, groups, shades, min(columns, len(fits)), axes_size)


def pages(fits: Mapping[str, Fit]) -> int:
    """How many pages `plot_fits` has for these fits: one for every 24 patients begun, at least one."""
    return max(1, math.ceil(len(fits) / PER_PAGE))


def cohort_colours(study: Study, by: str = "cohort") -> dict[str, str]:
    """{cohort: colour}, from the lowest dose to the highest, in the colours of `plot_study` and `plot_fits`."""
    return _groups(study, by)[1]


def _page(
    fits: Fits,
    shown: Mapping[str, Fit],
    groups: pd.Series,
    shades: Mapping[str, str],
    columns: int,
    size: tuple[float, float],
) -> Figure:
    import matplotlib.pyplot as plt

    rows = max(1, math.ceil(len(shown) / columns))
    longest = max(map(len, [*shades, MARKS["interval"][1]]))
    figure = plt.figure(
        figsize=(columns * size[0] + 0.6 + 0.075 * longest, rows * size[1] + 0.35), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.02)  # pyright: ignore
    names = {subject: _output(fit, None) for subject, fit in shown.items()}
    curves = {subject: _curve(fit, names[subject]) for subject, fit in shown.items()}
    samples = {subject: _samples(fit.study, _names(fit, names[subject])) for subject, fit in shown.items()}
    whole = pd.concat([_samples(fit.study, _names(fit, _output(fit, None))) for fit in fits.values()])
    one_limit = whole["lloq"].nunique() == 1
    words = {subject: _wrapped(_reason(fit), 0.84 * 72 * size[0]) for subject, fit in shown.items()}
    room = {subject: len(words[subject]) * SMALL * 1.35 / (0.74 * 72 * size[1]) for subject in shown}
    lower, upper = _range(whole, list(curves.values()))
    tops = [_raised(lower, _top(samples[s], curves[s]), room[s]) for s in shown]
    grid, first = figure.add_gridspec(rows, columns), None
    for place, (subject, fit) in enumerate(shown.items()):
        ax = figure.add_subplot(grid[divmod(place, columns)], sharex=first, sharey=first)
        first = first or ax
        _scales(ax, lower, max([upper, *tops]), float(whole["day"].max()))
        _draw_fit(ax, fit, samples[subject], curves[subject], shades[groups[subject]], words[subject])
        alone = place == len(shown) - 1 or place % columns == columns - 1
        _draw_limits(ax, samples[subject], named=alone or not one_limit)
        ax.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= len(shown))
    key: list[tuple[Any, str]] = [(Line2D([], [], color=c, linewidth=4), name) for name, c in shades.items()]
    key += _key(list(samples.values()), list(shown.values()), FAINT)
    figure.supxlabel("days since infusion", fontsize=style.LABEL, color=INK)
    figure.supylabel(style.unit_label(fits.study.unit), fontsize=style.LABEL, color=INK)
    _style_legend(figure.legend(*_entries(key), loc="outside right upper", frameon=False))
    return figure


# What is drawn


def _draw_fit(
    ax: Axes, fit: Fit, samples: pd.DataFrame, curve: pd.DataFrame, colour: str, words: Sequence[str]
) -> None:
    if len(curve):
        lower, upper = (curve[end].clip(1e-30, 1e30).to_numpy() for end in ("lower", "upper"))
        ax.fill_between(curve["day"], lower, upper, color=colour, alpha=0.16, linewidth=0, zorder=1.5)
        ax.plot(curve["day"], curve["value"].clip(lower=1e-30), color=colour, linewidth=1.6, zorder=2.6)
    _draw_samples(ax, samples, colour)
    _draw_doses(ax, fit.study)
    cohort = fit.study.covariates["cohort"].iloc[0]
    title = fit.subject if pd.isna(cohort) else f"{fit.subject} · {cohort}"
    ax.set_title(
        _shortened(title, 34), loc="left", fontsize=TITLE, color=INK, pad=9, parse_math=False
    )
    if words:
        ax.text(
            0.98, 0.98, "\n".join(words), transform=ax.transAxes, ha="right", va="top", fontsize=SMALL,
            color=INK, linespacing=1.2, parse_math=False, gid="outcome",
        )  # fmt: skip


def _draw_samples(ax: Axes, samples: pd.DataFrame, colour: str, size: float = 5.0) -> None:
    for (status, late), rows in samples.groupby(["status", "late"]):
        shade = LATE if late else colour
        at = {"quantified": rows["value"], "above": rows["lower"]}.get(str(status), rows["upper"])
        if status == "interval":
            ax.vlines(rows["day"], rows["lower"], rows["upper"], color=shade, linewidth=1.0, zorder=3)
        ax.plot(rows["day"], at, **_marker(str(status), shade, size), zorder=3.2, gid=str(status))


def _marker(status: str, colour: str, size: float = 5.0) -> dict[str, Any]:
    filled = status == "quantified"
    return {
        "linestyle": "none",
        "marker": MARKS[status][0],
        "markersize": size if filled else size + 0.6,
        "markerfacecolor": colour if filled else "white",
        "markeredgecolor": "white" if filled else colour,
        "markeredgewidth": 0.6 if filled else 1.1,
    }


def _draw_doses(ax: Axes, study: Study) -> None:
    """Bars that stand on the top edge: dark for cells, open diamonds for another drug."""
    first = study.infusion_day(study.subjects[0])
    for kind, rows in study.doses.groupby("kind"):
        look: dict[str, Any] = {"marker": 2, "markersize": 6, "markeredgewidth": 1.8}
        if kind != "cells":
            look = {"marker": "D", "markersize": 3.5, "markerfacecolor": "white", "markeredgewidth": 0.9}
        ax.plot(
            rows["day"] - first, np.ones(len(rows)), transform=ax.get_xaxis_transform(), clip_on=False,
            linestyle="none", color=INK, zorder=3, gid=f"dose {kind}", **look,
        )  # fmt: skip


def _draw_limits(ax: Axes, samples: pd.DataFrame, *, named: bool = True) -> None:
    """A dashed line at the lower limit, or at the two ends of its range; its name stands right of the axes."""
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
        )  # fmt: skip


def _tag(ax: Axes) -> None:
    if not any(text.get_gid() == "simulated" for text in ax.texts):
        ax.annotate(
            "simulated", (1, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha="right",
            va="bottom", fontsize=SMALL, style="italic", color=FAINT, gid="simulated",
        )  # fmt: skip


# The axes


def _frame(
    ax: Axes, samples: pd.DataFrame, unit: str, curves: Sequence[pd.DataFrame] = (), room: float = 0.0
) -> None:
    """Scales and names; on axes that already show something the wider limits are kept."""
    lower, upper = _range(samples, curves)
    upper = max([upper, *(_raised(lower, _top(samples, curve), room) for curve in curves)])
    last = float(samples["day"].max()) if len(samples) else 28.0
    if ax.has_data() and ax.get_yscale() == "log":
        there = ax.get_ylim()
        lower, upper = min(lower, there[0]), max(upper, there[1])
        last = max(last, float(ax.dataLim.x1))
    _scales(ax, lower, upper, last)
    ax.set_xlabel("days since infusion", fontsize=style.LABEL, color=INK)
    ax.set_ylabel(style.unit_label(unit), fontsize=style.LABEL, color=INK, parse_math=False)


def _scales(ax: Axes, lower: float, upper: float, last: float) -> None:
    style.dress(ax)
    style.decades(ax, lower, upper)
    style.days(ax, last if last > 0 else 1.0)


def _range(samples: pd.DataFrame, curves: Sequence[pd.DataFrame]) -> tuple[float, float]:
    """Limits of the log axis: a third of the lowest limit (a tenth of the lowest value without one), and room above."""
    ends = samples[["lloq", "lower", "upper"]].to_numpy(float)[(samples["status"] != "quantified").to_numpy()]
    limits = np.append(ends.ravel(), samples["lloq"].to_numpy(float))
    limits = limits[np.isfinite(limits) & (limits > 0)]
    values = samples["value"].dropna().to_numpy(float)
    lower = min([*limits / 3, *(values / (2 if len(limits) else 10))], default=0.1)
    upper = 2 * max([lower, *(_top(samples, curve) for curve in curves or [pd.DataFrame()])])
    while math.floor(math.log10(upper)) - math.ceil(math.log10(lower)) < 1:
        upper = 1.3 * 10 ** math.ceil(math.log10(upper * 1.0001))
    return lower, upper


def _top(samples: pd.DataFrame, curve: pd.DataFrame) -> float:
    """The highest mark or point of the curve; the curve counts up to 100 times the highest mark."""
    marks = samples[["value", "lower", "lloq"]].to_numpy(float)
    highest = float(np.nanmax(marks, initial=0.0))
    peak = float(np.nanmax(curve["value"], initial=0.0)) if len(curve) else 0.0
    return max(highest, min(peak, 100 * highest))


def _raised(lower: float, top: float, room: float) -> float:
    """The upper limit that leaves a part `room` of the axes free above `top`."""
    return lower * (1.25 * top / lower) ** (1 / (1 - min(room, 0.6))) if room else 0.0


def _new_axes(size: tuple[float, float]) -> Axes:
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size, layout="constrained").add_subplot()


# The legend


def _handle(status: str, colour: str) -> Any:
    mark = Line2D([], [], **_marker(status, colour))
    tail = Line2D([], [], color=colour, linestyle="none", marker=3, markersize=8, markeredgewidth=1)
    return (tail, mark) if status == "interval" else mark


def _key(samples: Sequence[pd.DataFrame], fits: Sequence[Fit], colour: str) -> list[tuple[Any, str]]:
    """Handles and names of what is there to be explained."""
    rows = pd.concat(samples)
    seen = [status for status in MARKS if ((rows["status"] == status) & ~rows["late"]).any()]
    key: list[tuple[Any, str]] = [(_handle(status, colour), MARKS[status][1]) for status in seen]
    if any(fit.fitted for fit in fits):
        band = Patch(facecolor=colour, alpha=0.2, linewidth=0)
        key.append(((band, Line2D([], [], color=colour, linewidth=1.6)), "fit, 95% interval"))
    if rows["late"].any():
        key.append((_handle("quantified", LATE), "after the follow-up"))
    kinds = pd.concat([fit.study.doses["kind"] for fit in fits]).unique()
    if "cells" in kinds:
        key.append((Line2D([], [], color=INK, linestyle="none", marker="|", markeredgewidth=1.8), "infusion"))
    drug = {"color": INK, "linestyle": "none", "marker": "D", "markersize": 3.5, "markerfacecolor": "white"}
    key += [(Line2D([], [], **drug), str(kind)) for kind in kinds if kind != "cells"]
    return key


def _entries(key: Sequence[tuple[Any, str]]) -> tuple[list[Any], list[str]]:
    """Handles and labels; a label that begins with an underscore would be hidden."""
    return [handle for handle, _ in key], [f" {text}" if text.startswith("_") else text for _, text in key]


def _legend_below(ax: Axes, key: Sequence[tuple[Any, str]]) -> None:
    figure = ax.get_figure(root=True)
    if figure is not None and key:
        columns = min(len(key), 4)
        _style_legend(
            figure.legend(*_entries(key), loc="outside lower center", ncols=columns, frameon=False)
        )


def _style_legend(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set(fontsize=TEXT, color=INK, parse_math=False)


# What is known of the samples, the curve and the cohorts


def _samples(study: Study, outputs: Collection[str]) -> pd.DataFrame:
    """The samples to draw, on days since the subject's first infusion; `late` are those after the end of follow-up."""
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
    """day since infusion, value, lower, upper up to the last sample used; empty for a patient who was not fitted.

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
    with np.errstate(over="ignore", invalid="ignore"):  # An interval without an upper end is drawn to the edge.
        table = fit.predict(days + first)
    columns = {"value": output, "lower": f"{output}_lower", "upper": f"{output}_upper"}
    return pd.DataFrame({"day": days, **{ours: table[name].to_numpy(float) for ours, name in columns.items()}})


def _groups(study: Study, by: str) -> tuple[pd.Series, dict[str, str]]:
    """Each subject's group, and {group: colour} in order of dose; those without a group come last, in grey."""
    table = study.covariates
    if by not in table:
        raise ValueError(f"there is no covariate {by!r}. {suggest(by, list(table))}".rstrip())
    values, suffix = table[by], f" {study.dose_unit}" if by == "dose" else ""
    numeric = pd.api.types.is_numeric_dtype(values)
    text = values.map(lambda value: f"{_short(value) if numeric else value}{suffix}", na_action="ignore")
    rank = (values if numeric else table["dose"]).astype(float).groupby(text).median()
    names = sorted(rank.index, key=lambda name: (math.isnan(rank[name]), rank[name], name))
    shades = dict(zip(names, style.ramp(len(names)), strict=True))
    return text.fillna(NOBODY), shades | ({NOBODY: NO_COHORT} if text.isna().any() else {})


def _short(number: float) -> str:
    """A dose as it is written: 1e6, 2.5e7, 40."""
    if number < 1e4:
        return number_text(number)
    mantissa, exponent = f"{number:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _reason(fit: Fit) -> str:
    """The first sentence of an outcome that is not "converged"."""
    return "" if fit.converged else fit.outcome.split(". ")[0].rstrip(".")


def _wrapped(text: str, width: float) -> list[str]:
    """Lines of small text for axes of this width in points; a letter of it is 0.56 of its height wide."""
    return textwrap.wrap(text, max(12, int(0.94 * width / (0.56 * SMALL))))


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
