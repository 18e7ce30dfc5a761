"""Pictures of a population fit: samples against predictions, effects of patients, traces of the iterations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cellkinetics.arrays import Floats
from cellkinetics.charts import against, forest, predicted
from cellkinetics.charts.forest import Row
from cellkinetics.data.groups import NOBODY
from cellkinetics.errors import ModelError
from cellkinetics.figures import style
from cellkinetics.figures.style import SMALL, TITLE, tone
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.lazily import pandas as pd
from cellkinetics.population.table import GROUP, WHILE_GIVEN
from cellkinetics.words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.population.result import PopulationFit

EQUIVALENT = (0.8, 1.25)
FARTHEST = 1000.0  # ratio that an axis goes to
HIGH = 0.3  # shrinkage from which on effects say little of their distribution


def plot_predicted(fit: PopulationFit, axes: Sequence[Axes] | None, by: str | None) -> Figure:
    """See `PopulationFit.plot_predicted`."""
    table, study = fit.residuals, fit.study
    # Two of a column's width side by side are slivers, whose decades run into each other.
    narrow = axes is None and style.narrow()
    panels = style.panels(axes, 2, 1 if narrow else 2, (4.1, 3.9), simulated=study.simulated)
    if by is None:
        members, shades = pd.Series(NOBODY, index=list(study.subjects)), {NOBODY: tone.one}
    else:
        members, shades = style.coloured(study, by)
    for ax, column, name in zip(panels, ("population", "predicted"), ("population", "individual"), strict=True):
        predicted.draw(ax, table, column, shades, table["subject"].map(members))
        style.label(ax, f"predicted, {name}")
    for ax in panels if narrow else panels[:1]:
        style.label(ax, y=f"observed, {style.unit_label(study.unit)}")
    if axes is None:
        key = predicted.key_of(table, None if by is None else tone.faint)
        style.legend_below(panels[0], [*([] if by is None else style.named(shades, by)), *key])
    return style.whole(panels[0])


def plot_effects(fit: PopulationFit, by: Sequence[str] | None, axes: Sequence[Axes] | None) -> Figure:
    """See `PopulationFit.plot_effects`."""
    driving = [effect.column for effect in fit.design.effects if effect.column]
    names, covariates = fit.design.random, against.covariates_of(fit.study, fit.subjects, by, driving)
    effects = fit.individuals.pivot_table(index="subject", columns="parameter", values="effect")
    effects = effects.reindex(index=list(fit.subjects), columns=list(names))
    q, columns = len(names), len(names) + len(covariates)
    places = [(row, column) for row in range(q) for column in range(columns) if not row < column < q]
    # Where the panels of a row have no room beside each other, they follow one another.
    flowing = axes is None and columns * style.LEAST_PANEL > style.asked_width()
    if flowing:
        places.sort(key=lambda place: (place[1] >= q, place[0] != place[1], place[::-1]))
        made = style.panels(None, len(places), columns, (2.35, 2.15), simulated=fit.study.simulated)
        panels = dict(zip(places, made, strict=True))
    else:
        panels = grid_of(q, columns, axes, places)
    figure = style.whole(panels[0, 0])
    sds = np.sqrt(np.diag(np.asarray(fit.polished.theta.omega)))
    for (row, column), ax in panels.items():
        name = names[row]
        y = effects[name].to_numpy(float)
        style.dress(ax)
        ax.locator_params(nbins=3 if flowing else 5)
        ax.locator_params(axis="x", nbins=2 if flowing else 5)
        if column == row:
            _distribution(ax, y, sds[row], fit.shrinkage[name])
            # On axes of the user there is no place for the word above all.
            tagged = ", simulated" if fit.study.simulated and axes is not None and row == 0 else ""
            # In a column the shrinkage stands under the name.
            ax.set_title(name + tagged + "\n" * flowing, loc="left", fontsize=TITLE, color=tone.ink, parse_math=False)
        elif column < row:
            _pair(ax, effects[names[column]].to_numpy(float), y)
        else:
            against.draw(ax, fit.study, covariates[column - q], effects[name])
            ax.axhline(0.0, color=tone.faint, linewidth=0.9, dashes=(4, 3), zorder=1.5)
        if flowing and column < q:
            ax.xaxis.set_major_formatter("{x:g}")  # 0 and not 0.00, which meets its neighbours
        if (flowing and column != row) or column == q or (column == 0 and row > 0):
            style.label(ax, y=f"effect on {name}")
        if flowing or row == q - 1:
            style.label(ax, f"effect on {names[column]}" if column < q else covariates[column - q])
        elif column == q:
            ax.tick_params(labelbottom=False)
    if fit.study.simulated and axes is None:
        style.tag_all(figure)
    return figure


def grid_of(
    q: int, columns: int, axes: Sequence[Axes] | None, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Axes]:
    """Panels of a row for each effect, of which those above the diagonal are left out."""
    if axes is None:
        grid = style.figure((2.35 * columns + 0.5, 2.15 * q + 0.4)).subplots(q, columns, squeeze=False)
    else:
        grid = np.array(style.given(axes, q * columns, simulated=False), object).reshape(q, columns)
    for row in range(q):
        for column in range(row + 1, q):
            grid[row, column].remove()
    return {place: grid[place] for place in places}


def plot_forest(fit: PopulationFit, level: float, axes: Axes | None) -> Figure:
    """See `PopulationFit.plot_forest`."""
    table = fit.effects(level)
    if table.empty:
        raise ModelError(
            "no covariate drives a parameter, and no factor of a comedication was estimated: there is no forest. Give "
            "covariates= of fit_population."
        )
    # In a column names and numbers take two lines, and leave room for the axes between them.
    rows, narrow = list[Row](), axes is None and style.narrow()
    for parameter, own in table.groupby("parameter", sort=False):
        rows.append(Row(str(parameter)))
        rows += [_row(fit, row, "\n" if narrow else " ") for _, row in own.iterrows()]
    size = 7.4, (0.45 if narrow else 0.27) * len(rows) + 1.15
    ax = style.panels(axes, 1, 1, size, simulated=fit.study.simulated)[0]
    ax.axvspan(*EQUIVALENT, color=tone.faint, alpha=0.2, linewidth=0, zorder=0.5, gid="equivalent")
    for end in EQUIVALENT:
        ax.axvline(end, color=tone.faint, linewidth=0.9, dashes=(4, 3), zorder=1)
    ax.axvline(1.0, color=tone.ink, linewidth=0.9, zorder=1)
    seen = table[["ratio", "lower", "upper"]].to_numpy(float)
    seen = np.clip(seen[np.isfinite(seen)], 1 / FARTHEST, FARTHEST)
    forest.draw(ax, rows, (min(seen.min(initial=1.0), 0.8) / 1.12, max(seen.max(initial=1.0), 1.25) * 1.12))
    given = table["what"] == WHILE_GIVEN
    references = [] if given.all() else ["the median patient or the first group"]
    references += ["days without the comedication"] if given.any() else []
    words = f"ratio to {', or to '.join(references)}, {100 * level:g}% interval"
    style.label(ax, "\n".join(style.wrapped(words, 72 * style.whole(ax).get_figwidth() / 2)))
    if axes is None:
        band = Line2D([], [], color=tone.faint, linewidth=6, alpha=0.25, solid_capstyle="butt")
        style.legend_below(ax, [(band, "0.8 to 1.25")])
    return style.whole(ax)


def _row(fit: PopulationFit, row: pd.Series[Any], between: str) -> Row:
    """An effect, with its numbers beside it; ``between`` stands before what is in brackets."""
    ratio, lower, upper = (float(row[name]) for name in ("ratio", "lower", "upper"))
    text = str(row["note"]) if not math.isfinite(ratio) else f"{ratio:.2f}, no interval"
    text = f"{ratio:.2f}{between}({lower:.2f} to {upper:.2f})" if math.isfinite(lower) else text
    return Row(_place(row, between), ratio, lower, upper, _colour(fit, row), text)


def _place(row: pd.Series[Any], between: str) -> str:
    """A row of a forest in words: dose 1e7 (95th percentile), cohort high for low, IL-2 given : not given."""
    if row["what"] in (GROUP, WHILE_GIVEN):
        return (
            f"{row['covariate']} {style.shortened(str(row['at']), 18)} : {style.shortened(str(row['reference']), 18)}"
        )
    value, middle = (
        style.dose_text(float(f"{number:.3g}")) if row["covariate"] == BY_DOSE else f"{number:.3g}"
        for number in (row["at"], row["reference"])
    )
    return f"{row['covariate']} {value} : {middle}{between}({row['what']})"


def _colour(fit: PopulationFit, row: pd.Series[Any]) -> str:
    """Of a group its own, of a number that of low and of high doses."""
    if row["what"] == WHILE_GIVEN:
        return tone.one
    if row["what"] == GROUP:
        return style.coloured(fit.study, str(row["covariate"]))[1].get(str(row["at"]), tone.one)
    return style.ramp(2)[int(row["at"] > row["reference"])]


def plot_influence(fit: PopulationFit, most: int, axes: Sequence[Axes] | None, by: str | None) -> Figure:
    """See `PopulationFit.plot_influence`."""
    table = fit.influence().sort_values("cook", ascending=False, kind="stable").head(most)
    part = table["log_likelihood"] / table["samples"]
    moves = table.drop(columns=["samples", "log_likelihood", "cook"])
    members, shades = (None, {}) if by is None else style.coloured(fit.study, by)
    # Beside two narrow axes there is no room for words: one below the other.
    narrow, rows = style.narrow(), ([], [])
    size = 3.4, (0.16 if narrow else 0.22) * len(table) + 0.9
    panels = style.panels(axes, 2, 1 if narrow else 2, size, simulated=fit.study.simulated, wrap=False)
    wordless = axes is not None and style.size(panels[1])[0] < 200
    for at, (subject, cook) in enumerate(zip(table.index, table["cook"].to_numpy(float), strict=True)):
        name = style.shortened(str(subject), 14)
        own = moves.iloc[at].to_numpy(float)
        largest = int(np.nanargmax(np.abs(own))) if np.isfinite(own).any() else -1
        text = f"{moves.columns[largest]} {own[largest]:+.1f} SE" if largest >= 0 and not wordless else ""
        colour = tone.one if members is None else shades[str(members[subject])]
        rows[0].append(Row(name, float(part.iloc[at]), colour=colour))
        rows[1].append(Row(name if narrow and axes is None else "", cook, colour=colour, text=text))
    words = ("log-likelihood of a sample", "Cook's distance")
    for ax, own, text in zip(panels, rows, words, strict=True):
        values = np.array([row.value for row in own])
        aside = 0.08 * (float(np.ptp(values)) or 1.0)
        ends = (min(float(values.min()) - aside, 0.0 if ax is panels[1] else np.inf), float(values.max()) + aside)
        forest.draw(ax, own, ends, 5.0, log=False)
        ax.locator_params(axis="x", nbins=4)
        style.label(ax, text)
    if not wordless:
        panels[1].annotate(
            "moves most\nwithout" if narrow else "moves most without", (1, 1), (6, 2), xycoords="axes fraction",
            textcoords="offset points", va="bottom", fontsize=SMALL, color=tone.faint,
        )  # fmt: skip
    left = len(fit.subjects) - len(table)
    if left:
        panels[0].set_title(
            f"largest {len(table)} of {len(fit.subjects)}", loc="left", fontsize=SMALL, color=tone.faint
        )  # fmt: skip
    if by is not None and axes is None:
        style.legend_below(panels[0], style.named(shades, by))
    return style.whole(panels[0])


def plot_trace(fit: PopulationFit, axes: Sequence[Axes] | None) -> Figure:
    """See `PopulationFit.plot_trace`."""
    trace = fit.trace
    shares = [name for name in trace if str(name).startswith("accepted") or name == "refused"]
    names = [name for name in trace if name not in shares]
    panels = style.panels(axes, len(names), 3, (3.1, 1.9), simulated=fit.study.simulated)
    averaged, counted = _averaged(fit), "iteration" if fit.approximation is None else "step"
    for number, (ax, name) in enumerate(zip(panels, names, strict=True)):
        style.dress(ax)
        ax.plot(trace.index, trace[name], color=tone.one, linewidth=1.1)
        if averaged:
            ax.axvspan(len(trace) - averaged, len(trace), color=tone.faint, alpha=0.12, linewidth=0, gid="averaged")
        ax.set_title(str(name), loc="left", fontsize=style.TEXT, color=tone.ink, parse_math=False)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        # The first iterations are far off: what matters is where it ends.
        later = trace[name].to_numpy(float)[min(10, len(trace) // 3) :]
        span = float(later.max() - later.min()) or 1.0
        ax.set_ylim(later.min() - 0.15 * span, later.max() + 0.15 * span)
        if axes is not None or number >= len(names) - 3:
            style.label(ax, counted)
    if averaged and axes is None:
        key = [
            (Line2D([], [], color=tone.faint, linewidth=6, alpha=0.25, solid_capstyle="butt"), "averaged (gains fall)")
        ]
        style.legend_below(panels[0], key)
    return style.whole(panels[0])


def _averaged(fit: PopulationFit) -> int:
    """Iterations at the end whose gains fall; none of steps, nor of a run that was stopped on its way there."""
    from cellkinetics.population.saem import ITERATIONS
    from cellkinetics.population.schedule import AVERAGED

    if fit.approximation is not None or fit.path.interrupted:
        return 0
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
    text, high = percent(round(1000 * max(shrinkage, 0.0)), 1000), shrinkage > HIGH
    ax.annotate(
        f"shrinkage {text}", (1, 1), (0, 3), xycoords="axes fraction",
        textcoords="offset points", ha="right", va="bottom", fontsize=SMALL, color=tone.ramp[2] if high else tone.faint,
    )  # fmt: skip


def _pair(ax: Axes, x: Floats, y: Floats) -> None:
    ax.plot(x, y, **style.marker("quantified", tone.one, 4.2))
    _zero(ax)
    against.said(ax, f"r = {np.corrcoef(x, y)[0, 1]:.2f}")


def _zero(ax: Axes) -> None:
    for line in (ax.axhline, ax.axvline):
        line(0.0, color=tone.faint, linewidth=0.9, dashes=(4, 3), zorder=1.5)
