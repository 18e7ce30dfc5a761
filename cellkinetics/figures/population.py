"""Pictures of a population fit: samples against predictions, effects of patients, traces of the iterations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from pandas.api.types import is_numeric_dtype

from cellkinetics.arrays import Floats
from cellkinetics.data import groups
from cellkinetics.errors import ModelError, suggest
from cellkinetics.figures import style
from cellkinetics.figures.style import SMALL, TITLE, tone
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.population.table import GROUP
from cellkinetics.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.population.result import PopulationFit

MANY_SAMPLES = 300  # from which on marks are small and pale
MOST_COVARIATES = 4
EQUIVALENT = (0.8, 1.25)
FARTHEST = 1000.0  # ratio that an axis goes to
HIGH = 0.3  # shrinkage from which on effects say little of their distribution


def plot_predicted(fit: PopulationFit) -> Figure:
    """See `PopulationFit.plot_predicted`."""
    table = fit.residuals
    panels = style.panels(None, 2, 2, (4.1, 3.9), simulated=fit.study.simulated)
    seen = np.where(table["status"] == "quantified", table["upper"], np.where(
        table["status"] == "above", table["lower"], table["upper"]
    )).astype(float)  # fmt: skip
    low, high = seen.min() / 2, 2 * seen.max()
    size, alpha = (2.8, 0.55) if len(table) > MANY_SAMPLES else (4.2, 0.9)
    for ax, column, name in zip(panels, ("population", "predicted"), ("population", "individual"), strict=True):
        style.decades(ax, low, high, minor=False)
        ax.set_xscale("log")
        ax.set_xlim(low, high)
        ax.xaxis.set_major_locator(LogLocator(numticks=12))
        ax.xaxis.set_major_formatter(ax.yaxis.get_major_formatter())
        ax.xaxis.set_minor_locator(NullLocator())
        ax.plot([low, high], [low, high], color=tone.faint, linewidth=0.9, zorder=1.5, gid="identity")
        # What lies far below is drawn at the edge: a curve that falls to nothing would stretch the axis.
        x = np.clip(table[column].to_numpy(float), low * 1.1, high / 1.1)
        for status in dict.fromkeys(table["status"]):
            own = (table["status"] == status).to_numpy()
            ax.plot(x[own], seen[own], **style.marker(status, tone.one, size), alpha=alpha, gid=status)
        style.label(
            ax, f"predicted, {name}", f"observed, {style.unit_label(fit.study.unit)}" if ax is panels[0] else ""
        )
    style.label(panels[0], y=f"observed, {style.unit_label(fit.study.unit)}")
    key = [(style.handle(status, tone.one), style.MARKS[status][1]) for status in style.MARKS
           if (table["status"] == status).any()]  # fmt: skip
    style.legend_below(panels[0], [*key, (Line2D([], [], color=tone.faint, linewidth=0.9), "as predicted")])
    return _figure(panels[0])


def plot_effects(fit: PopulationFit, by: Sequence[str] | None) -> Figure:
    """See `PopulationFit.plot_effects`."""
    import matplotlib.pyplot as plt

    names, covariates = fit.design.random, _covariates(fit, by)
    effects = fit.individuals.pivot_table(index="subject", columns="parameter", values="effect")
    effects = effects.reindex(index=list(fit.subjects), columns=list(names))
    q, columns = len(names), len(names) + len(covariates)
    figure = plt.figure(figsize=(2.35 * columns + 0.5, 2.15 * q + 0.4), layout="constrained")
    grid = figure.subplots(q, columns, squeeze=False)
    sds = np.sqrt(np.diag(np.asarray(fit.polished.theta.omega)))
    for row, name in enumerate(names):
        for column in range(columns):
            ax, y = grid[row, column], effects[name].to_numpy(float)
            if column > row and column < q:
                ax.remove()
                continue
            style.dress(ax)
            ax.locator_params(nbins=5)
            if column == row:
                _distribution(ax, y, sds[row], fit.shrinkage[name])
                ax.set_title(name, loc="left", fontsize=TITLE, color=tone.ink)
            elif column < row:
                _pair(ax, effects[names[column]].to_numpy(float), y)
            else:
                _against(ax, fit, covariates[column - q], y)
            if column == 0 and row > 0:
                style.label(ax, y=f"effect on {name}")
            if row == q - 1:
                style.label(ax, f"effect on {names[column]}" if column < q else covariates[column - q])
            elif column == q and row < q:
                ax.tick_params(labelbottom=False)
            if column == q:
                style.label(ax, y=f"effect on {name}")
    if fit.study.simulated:
        style.tag_all(figure)
    return figure


def plot_forest(fit: PopulationFit, level: float) -> Figure:
    """See `PopulationFit.plot_forest`."""
    table = fit.effects(level)
    if table.empty:
        raise ModelError("no covariate drives a parameter: there is no forest. Give covariates= of fit_population.")
    lines = sum(1 for _ in table.groupby("parameter")) + len(table)
    ax = style.panels(None, 1, 1, (7.4, 0.27 * lines + 1.15), simulated=fit.study.simulated)[0]
    style.dress(ax)
    ax.grid(False)
    ax.set_xscale("log")
    ax.axvspan(*EQUIVALENT, color=tone.faint, alpha=0.2, linewidth=0, zorder=0.5, gid="equivalent")
    for end in EQUIVALENT:
        ax.axvline(end, color=tone.faint, linewidth=0.9, dashes=(4, 3), zorder=1)
    ax.axvline(1.0, color=tone.ink, linewidth=0.9, zorder=1)
    seen = table[["ratio", "lower", "upper"]].to_numpy(float)
    seen = np.clip(seen[np.isfinite(seen)], 1 / FARTHEST, FARTHEST)
    low, high = min(seen.min(initial=1.0), 0.8) / 1.12, max(seen.max(initial=1.0), 1.25) * 1.12
    ax.set_xlim(low, high)
    ax.dataLim.intervalx = (low, high)
    style.few_ticks(ax)
    y, places, names, heads = 0, [], [], []
    for parameter, rows in table.groupby("parameter", sort=False):
        places.append(y)
        heads.append(len(names))
        names.append(str(parameter))
        for _, row in rows.iterrows():
            y += 1
            places.append(y)
            names.append(_place(row))
            _interval(ax, y, row, _colour(fit, row), (low, high))
        y += 1
    ax.set_ylim(y - 0.4, -0.6)
    ax.set_yticks(places, names, parse_math=False)
    ax.tick_params(axis="y", length=0)
    for at in heads:
        ax.get_yticklabels()[at].set_fontweight("bold")
    style.label(ax, f"ratio to the median patient or the first group, {100 * level:g}% interval")
    band = Line2D([], [], color=tone.faint, linewidth=6, alpha=0.25)
    style.legend_below(ax, [(band, "0.8 to 1.25")])
    return _figure(ax)


def _place(row: pd.Series[Any]) -> str:
    """A row of a forest in words: dose 1e7 (95th percentile), cohort high for low."""
    if row["what"] == GROUP:
        return (
            f"{row['covariate']} {style.shortened(str(row['at']), 18)} : {style.shortened(str(row['reference']), 18)}"
        )
    value, middle = (
        style.dose_text(float(f"{number:.3g}")) if row["covariate"] == BY_DOSE else f"{number:.3g}"
        for number in (row["at"], row["reference"])
    )
    return f"{row['covariate']} {value} : {middle} ({row['what']})"


def _colour(fit: PopulationFit, row: pd.Series[Any]) -> str:
    """Of a group its own, of a number that of low and of high doses."""
    if row["what"] == GROUP:
        return style.coloured(fit.study, str(row["covariate"]))[1].get(str(row["at"]), tone.one)
    return style.ramp(2)[int(row["at"] > row["reference"])]


def _interval(ax: Axes, y: int, row: pd.Series[Any], colour: str, ends: tuple[float, float]) -> None:
    """A point with its interval, an arrow where that goes on, and the numbers beside the axes."""
    ratio, lower, upper = (float(row[name]) for name in ("ratio", "lower", "upper"))
    if math.isfinite(lower):
        ax.hlines(y, max(lower, ends[0]), min(upper, ends[1]), color=colour, linewidth=1.7, gid="interval")
        for end, beyond, mark in ((ends[0], lower < ends[0], "<"), (ends[1], upper > ends[1], ">")):
            if beyond:
                ax.plot(end, y, mark, color=colour, markersize=5, clip_on=False)
    if ends[0] < ratio < ends[1]:
        ax.plot(ratio, y, **style.marker("quantified", colour, 6.0), gid="ratio")
    text = str(row["note"]) if not math.isfinite(ratio) else f"{ratio:.2f}, no interval"
    text = f"{ratio:.2f} ({lower:.2f} to {upper:.2f})" if math.isfinite(lower) else text
    ax.annotate(text, (1, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                fontsize=style.TEXT, color=tone.ink, annotation_clip=False, parse_math=False)  # fmt: skip


def plot_trace(fit: PopulationFit) -> Figure:
    """See `PopulationFit.plot_trace`."""
    trace = fit.trace
    shares = [name for name in trace if str(name).startswith("accepted") or name == "refused"]
    names = [name for name in trace if name not in shares]
    panels = style.panels(None, len(names), 3, (3.1, 1.9), simulated=fit.study.simulated)
    for number, (ax, name) in enumerate(zip(panels, names, strict=True)):
        style.dress(ax)
        ax.plot(trace.index, trace[name], color=tone.one, linewidth=1.1)
        ax.axvspan(len(trace) - _averaged(fit), len(trace), color=tone.faint, alpha=0.12, linewidth=0, gid="averaged")
        ax.set_title(str(name), loc="left", fontsize=style.TEXT, color=tone.ink, parse_math=False)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        # The first iterations are far off: what matters is where it ends.
        later = trace[name].to_numpy(float)[min(10, len(trace) - 1) :]
        span = float(later.max() - later.min()) or 1.0
        ax.set_ylim(later.min() - 0.15 * span, later.max() + 0.15 * span)
        if number >= len(names) - 3:
            style.label(ax, "iteration")
    key = [(Line2D([], [], color=tone.faint, linewidth=6, alpha=0.25), "averaged (gains fall)")]
    style.legend_below(panels[0], key)
    return _figure(panels[0])


def _averaged(fit: PopulationFit) -> int:
    """Iterations at the end whose gains fall."""
    from cellkinetics.population.saem import ITERATIONS
    from cellkinetics.population.schedule import AVERAGED

    return min(AVERAGED * ITERATIONS, len(fit.trace))


def _distribution(ax: Axes, effects: Floats, sd: float, shrinkage: float) -> None:
    """Effects of the patients, beside the normal of the population."""
    bins = int(np.clip(math.ceil(2 * len(effects) ** 0.5), 5, 20))
    ax.hist(effects, bins=bins, density=True, color=tone.one, alpha=0.35, gid="effects")
    grid = np.linspace(-3.2 * sd, 3.2 * sd, 121)
    ax.plot(grid, scipy.stats.norm.pdf(grid, scale=sd), color=tone.faint, linewidth=1.2, gid="population")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(False)
    high = shrinkage > HIGH
    ax.annotate(
        f"shrinkage {percent(round(1000 * max(shrinkage, 0.0)), 1000)}", (1, 1), (0, 3), xycoords="axes fraction",
        textcoords="offset points", ha="right", va="bottom", fontsize=SMALL, color=tone.ramp[2] if high else tone.faint,
    )  # fmt: skip


def _pair(ax: Axes, x: Floats, y: Floats) -> None:
    ax.plot(x, y, **style.marker("quantified", tone.one, 4.2))
    _zero(ax)
    _said(ax, f"r = {np.corrcoef(x, y)[0, 1]:.2f}")


def _against(ax: Axes, fit: PopulationFit, covariate: str, y: Floats) -> None:
    """Effects over a number with a line, or over groups with their means."""
    values = fit.study.covariates[covariate].reindex(list(fit.subjects))
    if is_numeric_dtype(values) and (covariate == BY_DOSE or values.nunique() > groups.MOST_GROUPS):
        x = values.to_numpy(float)
        known = np.isfinite(x) & (x > 0 if covariate == BY_DOSE else True)
        ax.plot(x[known], y[known], **style.marker("quantified", tone.one, 4.2))
        at = np.log(x[known]) if covariate == BY_DOSE else x[known]
        slope, level = np.polyfit(at, y[known], 1)
        ends = np.array([at.min(), at.max()])
        ax.plot(np.exp(ends) if covariate == BY_DOSE else ends, level + slope * ends, color=tone.ink, linewidth=1.2)
        if covariate == BY_DOSE:
            style.few_ticks(ax)
            _doses(ax)
        _said(ax, f"r = {np.corrcoef(at, y[known])[0, 1]:.2f}")
    else:
        members, order = groups.of(fit.study, covariate)
        own = members.reindex(list(fit.subjects))
        shown = [name for name in order if (own == name).any()]
        for at, name in enumerate(shown):
            inside = (own == name).to_numpy()
            spread = np.linspace(-0.12, 0.12, int(inside.sum())) if inside.sum() > 1 else np.zeros(1)
            ax.plot(at + spread, y[inside], **style.marker("quantified", tone.one, 4.2))
            ax.hlines(y[inside].mean(), at - 0.28, at + 0.28, color=tone.ink, linewidth=1.4)
        ax.set_xticks(range(len(shown)), [style.shortened(name, 9) for name in shown], rotation=30, ha="right")
        ax.set_xlim(-0.6, len(shown) - 0.4)
    ax.axhline(0.0, color=tone.faint, linewidth=0.9, dashes=(4, 3), zorder=1.5)


def _doses(ax: Axes) -> None:
    """Doses as they are written, 1e6."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    ax.xaxis.set_major_locator(LogLocator(numticks=4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.dose_text(float(f"{value:.4g}"))))


def _zero(ax: Axes) -> None:
    for line in (ax.axhline, ax.axvline):
        line(0.0, color=tone.faint, linewidth=0.9, dashes=(4, 3), zorder=1.5)


def _said(ax: Axes, text: str) -> None:
    ax.annotate(text, (1, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha="right", va="bottom",
                fontsize=SMALL, color=tone.faint)  # fmt: skip


def _covariates(fit: PopulationFit, by: Sequence[str] | None) -> list[str]:
    """Those asked for, or those in which patients differ."""
    table = fit.study.covariates.reindex(list(fit.subjects))
    if by is None:
        driving = [effect.covariate for effect in fit.design.effects if effect.covariate]
        known = dict.fromkeys([*driving, BY_DOSE, "cohort"])
        found = [name for name in known if name in table and table[name].nunique() > 1 and _few(table[name])]
        return found[:MOST_COVARIATES]
    for name in by:
        if name not in table:
            raise ModelError(
                f"by: there is no covariate {name!r}. {suggest(name, map(str, table))}".rstrip(), name=name
            )
        if table[name].nunique() < 2:
            raise ModelError(f"by: {name} is the same in all patients.", name=name)
    return list(by)


def _few(values: pd.Series[Any]) -> bool:
    """A number, or groups that are not names of patients."""
    return is_numeric_dtype(values) or values.nunique() <= groups.MOST_GROUPS


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
