"""Values of patients by group: non-compartmental ones, and the best response beside the expansion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.cohorts.nca import Days, area_of, nca
from cellkinetics.cohorts.nca_summary import CONFIDENCE, ENDS, nca_summary
from cellkinetics.data import groups
from cellkinetics.data.groups import NOBODY
from cellkinetics.data.study import Study
from cellkinetics.domains import Size
from cellkinetics.errors import suggest
from cellkinetics.figures import drawing, style
from cellkinetics.figures.names import names_across
from cellkinetics.figures.style import tone
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.placing import status_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC_NAMES = {"cmax": "Cmax", "tmax": "Tmax", "half_life": "half-life", "clast": "last quantified sample",
         "tlast": "day of the last quantified sample", "days_above_lloq": "days above the LLOQ",
         "below_from": "day from which all are below"}  # fmt: skip
OF_UNIT = ("cmax", "clast")
MOST_NAMES = 48  # of patients under the bars


@domains.picture
def plot_nca(
    of: Study | pd.DataFrame,
    by: str = "cohort",
    *,
    metrics: Sequence[str] | None = None,
    axes: Sequence[Axes] | None = None,
    size: Size = None,
) -> Figure:
    r"""Cmax, Tmax, area and half-life of each patient by group, a panel each; returns the figure.

    What a limit hides is drawn as far as it is known: a line from its lower to its upper end, with an open triangle
    there. Bars are the medians of `nca_summary`, broken where they are known as an interval only. Under each group
    stands how many of its patients have a value. Of several outputs the first is shown.

    Parameters
    ----------
    of : a study, whose table is that of ``ck.nca(study)``, or such a table, where it was asked with other arguments.
    by : "cohort", "dose" or another covariate of the study; of a table one of its columns.
    metrics : columns of the table; Cmax, Tmax, the area of the window and the half-life when not given.
    axes : one for each metric; a new figure when not given.
    size : width and height in mm of a new figure.

    Raises
    ------
    TypeError
        Neither a study nor a table.
    ValueError
        There is no such covariate, column or metric; too few axes.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> figure = ck.plot_nca(ck.example(), metrics=["cmax", "auc_0_28"])
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['Cmax (copies/ug)', 'area, days 0 to 28\n(copies/ug × days)']
    """
    table, order = _table_of(of, by)
    known = [str(name)[: -len("_reason")] for name in table if str(name).endswith("_reason")]
    if metrics is None:
        area = area_of(table)
        metrics = ["cmax", "tmax", *([area] if area in known else []), "half_life"]
    for metric in domains.some(metrics, "metrics", "['cmax']", "leave it out"):
        if metric not in known:
            raise ValueError(f"metrics: there is no {metric!r}. {suggest(metric, known)}".rstrip())
    summary = nca_summary(table, by)
    simulated = bool(table.attrs.get("simulated", False))
    panels = style.panels(axes, len(metrics), 4, (2.6, 2.9), simulated=simulated)
    for ax, metric in zip(panels, metrics, strict=True):
        _metric(ax, table, by, order, metric, summary)
    return style.whole(panels[0])


def _table_of(of: Study | pd.DataFrame, by: str) -> tuple[pd.DataFrame, list[str]]:
    """A table of `nca` with the group in the column ``by``, of one output, and the groups in order."""
    if isinstance(of, Study):
        members, names = groups.of(of, by)
        table, order = nca(of), list(names)
        attrs, own = table.attrs, table["subject"].map(members)
    else:
        table = domains.instance(of, pd.DataFrame, "what is drawn", "Give a study, or the table of ck.nca(study).")
        attrs = table.attrs
        if missing := [name for name in ("subject", "output") if name not in table]:
            raise ValueError(f"the table has no column {missing[0]!r}. Give a study, or the table of ck.nca(study).")
        if by not in table:
            remedy = f"Give the study, ck.plot_nca(study, by={by!r}), where it is a covariate."
            raise ValueError(f"the table has no column {by!r}. {remedy} {suggest(by, map(str, table))}".rstrip())
        own = table[by].astype(object).where(table[by].notna(), NOBODY).astype(str)
        order = sorted(set(own) - {NOBODY}, key=groups.counted) + [NOBODY] * int((own == NOBODY).any())
    table = table.assign(**{by: own})
    table = table[table["output"] == table["output"].iloc[0]]
    table.attrs = attrs
    return table, order


def _metric(ax: Axes, table: pd.DataFrame, by: str, order: Sequence[str], metric: str, summary: pd.DataFrame) -> None:
    """A group beside the other, the patients within it beside each other."""
    lower, upper = ends_of(table, metric)
    shades, members = style.shades(order), table[by].to_numpy(str)
    finite = np.concatenate([each[np.isfinite(each) & (each > 0)] for each in (lower, upper)])
    if not len(finite):
        _nothing(ax, table, metric)
        return
    if metric == "tmax":
        style.dress(ax)
        ax.set_ylim(0, 1.15 * finite.max(initial=1.0))
    else:
        style.decades(ax, finite.min() / 1.6, finite.max() * 1.6, minor=False)
        if finite.max() < 30 * finite.min():
            style.few_ticks(ax, upright=True)
    names = []
    for place, group in enumerate(order):
        inside = np.flatnonzero((members == group) & ~np.isnan(lower))
        # Spaces at which no line ends.
        names.append(f"{groups.shown(group, by)}\n{len(inside)}\u00a0of\u00a0{int((members == group).sum())}")
        aside = np.linspace(-0.25, 0.25, len(inside)) if len(inside) > 1 else np.zeros(len(inside))
        status = status_of(lower[inside], upper[inside])
        for shift, each, one in zip(aside, inside, status, strict=True):
            drawing.draw_value(ax, place + float(shift), lower[each], upper[each], str(one), shades[group])
        own = summary[(summary["metric"] == metric) & (summary["group"] == group)]
        low, high = own[["median_lower", "median_upper"]].to_numpy(float)[0]
        if not math.isnan(low):
            look = "-" if low == high else (0, (2, 1.5))
            ax.hlines(high if math.isfinite(high) else low, place - 0.38, place + 0.38, color=shades[group],
                      linewidth=2.4, linestyle=look, zorder=2.4, gid="median")  # fmt: skip
    names_across(ax, names)
    style.label(ax, by, titled(metric, str(table.attrs.get("unit", ""))))


def _nothing(ax: Axes, table: pd.DataFrame, metric: str) -> None:
    """In place of an empty panel why nobody has a value: the most frequent reason."""
    reasons = table[f"{metric}_reason"].value_counts()
    why = f"of nobody:\n{reasons.index[0]}" if len(reasons) else "of nobody"
    lines = [line for part in why.split("\n") for line in style.wrapped(part, style.size(ax)[0])]
    ax.set_axis_off()
    name = titled(metric, str(table.attrs.get("unit", "")))
    ax.text(0.5, 0.5, "\n".join([name, *lines]), transform=ax.transAxes, ha="center", va="center", fontsize=style.SMALL,
            color=tone.ink, parse_math=False, gid="reason")  # fmt: skip


def ends_of(table: pd.DataFrame, metric: str) -> tuple[Floats, Floats]:
    """What a metric can be: equal ends where it is known, NaN where it is missing."""
    value = table[metric].to_numpy(float)
    if metric + ENDS[0] not in table or metric in CONFIDENCE:
        return value, value
    lower, upper = (table[metric + end].to_numpy(float) for end in ENDS)
    return np.where(np.isnan(value), lower, value), np.where(np.isnan(value), upper, value)


def titled(metric: str, unit: str) -> str:
    """A metric in words, with its unit."""
    if metric in METRIC_NAMES:
        own = unit if metric in OF_UNIT else "" if metric == "tlast" or "from" in metric else "days"
        return f"{METRIC_NAMES[metric]} ({own})" if own else METRIC_NAMES[metric]
    if metric.startswith("auc_") and metric != "auc_extrapolated":
        first, last = metric.split("_")[1:3]
        text = f"area, days {first} to {'infinity' if last == 'inf' else last}"
        return f"{text}\n({unit} × days)" if unit else text
    return metric.replace("_", " ")


@domains.also_earlier("by")
@domains.picture
def plot_waterfall(
    study: Study,
    value: str | None = None,
    *,
    by: str = "cohort",
    window: Days = (0, 28),
    axes: Sequence[Axes] | None = None,
    size: Size = None,
) -> Figure:
    """The best response of each patient as bars in their order, and below them the expansion; returns the figure.

    Patients stand in the order of ``value``, the highest first, and below each bar is the Cmax of the same patient: an
    open triangle where a limit hides it. Without ``value`` there is Cmax alone, in its own order. Whoever has no value
    stands at the right, without a bar.

    Parameters
    ----------
    study : Study
    value : a covariate that is a number, such as the best change of the tumour burden in per cent.
    by : what the colour says: "cohort", "dose", or another covariate such as "response".
    window : the days of Cmax.
    axes : two (one without ``value``); a new figure when not given.
    size : width and height in mm of a new figure.

    Raises
    ------
    TypeError
        No study.
    ValueError
        There is no such covariate, ``value`` is no number in anybody, days that do not rise, too few axes.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> figure = ck.plot_waterfall(ck.example())
    >>> [text.get_text() for text in figure.axes[0].get_xticklabels()][:3]
    ['P09', 'P10', 'P11']
    """
    study = domains.instance(study, Study, "study", "Take ck.read_study(path) or ck.example().")
    members, shades = style.coloured(study, by)
    table = nca(study, window)
    table = table[table["output"] == table["output"].iloc[0]].set_index("subject")
    lower, upper = (pd.Series(ends, index=table.index) for ends in ends_of(table, "cmax"))
    bars = upper.where(np.isfinite(upper), lower) if value is None else _numbers(study, value)
    order = [str(subject) for subject in bars.sort_values(ascending=False, kind="stable", na_position="last").index]
    count = 1 if value is None else 2
    width = min(max(0.26 * len(order) + 1.2, 4.2), 11.0)
    panels = style.panels(axes, count, 1, (width, 2.5), simulated=study.simulated)
    places = np.arange(len(order))
    if value is not None:
        ax = panels[0]
        style.dress(ax)
        ax.bar(
            places, bars[order].to_numpy(float), color=[shades[str(members[s])] for s in order], width=0.72, gid="bar"
        )
        ax.axhline(0.0, color=tone.faint, linewidth=0.8)
        ax.set_xticks([])
        style.label(ax, y=value.replace("_", " "))
    ax = panels[-1]
    ends = np.array([*lower, *upper])
    ends = ends[np.isfinite(ends) & (ends > 0)]
    low, high = ends.min(initial=1e300) / 2, 2 * ends.max(initial=1e-300)
    style.decades(ax, *((low, high) if len(ends) else (0.1, 10.0)), minor=False)
    for place, subject in enumerate(order):
        one, other = float(lower[subject]), float(upper[subject])
        if math.isnan(one):
            continue
        status, shade = str(status_of(np.array([one]), np.array([other]))[0]), shades[str(members[subject])]
        top = one if status in ("quantified", "above") else other
        ax.vlines(place, ax.get_ylim()[0], top, color=shade, linewidth=1.6, alpha=0.6, zorder=2)
        drawing.draw_value(ax, place, one, other, status, shade)
    style.label(ax, y=titled("cmax", study.unit))
    shown = len(order) <= MOST_NAMES
    ax.set_xticks(places if shown else [], [style.shortened(s, 12) for s in order] if shown else [], rotation=90,
                  fontsize=style.TEXT, parse_math=False)  # fmt: skip
    ax.tick_params(axis="x", length=0)
    for each in panels:
        each.set_xlim(-0.7, len(order) - 0.3)
    if axes is None:
        style.legend_below(ax, style.named(shades, by))
    return style.whole(ax)


def _numbers(study: Study, value: str) -> pd.Series[float]:
    """A covariate that is a number."""
    covariates = study.covariates
    if value not in covariates:
        raise ValueError(f"value: there is no covariate {value!r}. {suggest(value, map(str, covariates))}".rstrip())
    found = pd.to_numeric(covariates[value], errors="coerce")
    if found.isna().all():
        raise ValueError(
            f"value={value!r} is no number in anybody. Give one that is, such as the best change in per cent, and "
            f"by={value!r} for the colour."
        )
    return found.astype(float)
