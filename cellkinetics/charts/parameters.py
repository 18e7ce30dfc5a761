"""Estimates of many patients: by group with their intervals, over covariates; and how those of one go together."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.charts import against, forest
from cellkinetics.charts.forest import AxisEnds, Row
from cellkinetics.errors import suggest
from cellkinetics.figures import style
from cellkinetics.figures.style import tone
from cellkinetics.fitting.table import FIXED
from cellkinetics.lazily import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.bayes.posterior import PopulationPosterior
    from cellkinetics.fitting.fits import Fits
    from cellkinetics.fitting.result import Fit
    from cellkinetics.population.result import PopulationFit

MANY_ROWS = 48  # from which on rows have no names
GIVEN = (FIXED, "tied", "not estimated")
NARROW_NAME = 14  # letters of a line beside a panel of a figure in a journal's column
LONG_NAME = 18  # letters of a parameter and its unit, from which on they stand in two lines
INTERVALS_UP_TO = 10.0  # times the range of the estimates, which intervals may take of the axes


def plot_parameters(fits: Fits, by: str, parameters: Sequence[str] | None, axes: Sequence[Axes] | None) -> Figure:
    """See `Fits.plot_parameters`."""
    tables, (members, shades) = estimated(fits, parameters), style.coloured(fits.study, by)
    order = [subject for name in shades for subject in fits if members[subject] == name]
    many = len(order) > MANY_ROWS
    height = 0.75 + (9.0 if many else max(0.17 * len(order) + 0.2, 1.1))
    panels = style.panels(axes, len(tables), min(len(tables), 3), (2.5, height), simulated=fits.study.simulated)
    columns = _columns(panels)
    for number, (ax, (name, own)) in enumerate(zip(panels, tables.items(), strict=True)):
        log = is_log(own, fits, name)
        shown = own[own["status"] == "free"]
        rows = [_row(own, subject, shades[str(members[subject])]) for subject in order]
        forest.draw(ax, rows, ends_of(shown if len(shown) else own, log=log), 3.0 if many else 4.4, log=log)
        for group, shade in shades.items():
            inside = [place for place, subject in enumerate(order) if members[subject] == group]
            values = shown.reindex([order[place] for place in inside])["value"].dropna()
            if len(values) > 1:
                ax.vlines(values.median(), inside[0] - 0.45, inside[-1] + 0.45, color=shade, linewidth=2.6, alpha=0.6,
                          zorder=2, gid="median")  # fmt: skip
        if many or number % columns:
            ax.set_yticks([])
        style.label(ax, titled(own, name))
    if axes is None:
        from matplotlib.lines import Line2D

        key = style.named(shades, by)
        key += [(Line2D([], [], color=tone.faint, linewidth=2.6, alpha=0.6), "median of filled marks")]
        key += [(style.handle("quantified", tone.faint), "estimate, 95% interval")]
        if any((own["status"] != "free").any() for own in tables.values()):
            mark = Line2D([], [], **style.marker("open", tone.faint, 4.4))
            key += [(mark, "at a bound, or not identifiable")]
        style.legend_below(panels[0], key)
    return style.whole(panels[0])


def plot_covariates(
    fits: Fits,
    covariates: Sequence[str] | None,
    parameters: Sequence[str] | None,
    by: str,
    axes: Sequence[Axes] | None,
) -> Figure:
    """See `Fits.plot_covariates`."""
    tables, (members, shades) = estimated(fits, parameters), style.coloured(fits.study, by)
    inside = {name: own for name, own in tables.items() if (own["status"] == "free").any()}
    # What is known of nobody is left out where all are drawn, and said where it was asked for.
    tables = inside if parameters is None and inside else tables
    names = against.covariates_of(fits.study, list(fits), covariates, name="covariates")
    if not names:
        raise ValueError("patients differ in no covariate. Give covariates=, such as ['age'].")
    count, narrow = len(tables) * len(names), axes is None and style.narrow()
    # A column wide, two stand beside each other, and have less height where they are many.
    height = min(2.4, max(1.9, 22.0 / count)) if narrow else 2.4
    panels = style.panels(axes, count, len(names), (2.7, height), simulated=fits.study.simulated, wrap=narrow)
    colours = {subject: shades[str(members[subject])] for subject in fits}
    for number, ax in enumerate(panels):
        (name, own), covariate = [*tables.items()][number // len(names)], names[number % len(names)]
        log, shown = is_log(own, fits, name), own.loc[own["status"] == "free", "value"]
        if shown.empty:
            raise ValueError(f"{name}: no estimate inside its bounds. Leave it out of parameters=.")
        lower, upper = ends_of(own.loc[shown.index].assign(lower=math.nan, upper=math.nan), log=log)
        if log:
            style.decades(ax, lower, upper, minor=False)
            style.few_ticks(ax, upright=True)
        else:
            style.dress(ax)
            ax.set_ylim(lower, upper)
        against.draw(ax, fits.study, covariate, shown, colours, log=log)
        unit = f" ({fits.study.dose_unit})" if covariate == "dose" else ""
        text = titled(own, name) if narrow or number % len(names) == 0 else ""
        if narrow:
            text = "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, NARROW_NAME))
        style.label(ax, f"{covariate}{unit}", text)
    if axes is None:
        style.legend_below(panels[0], style.named(shades, by))
    return style.whole(panels[0])


def plot_correlations(fit: Fit, axes: Axes | None) -> Axes:
    """See `Fit.plot_correlations`."""
    table = fit.correlations
    if not fit.fitted or table.isna().all(axis=None):
        raise ValueError(f"{fit.subject} has no correlations of estimates: {fit.outcome}")
    title = f"{fit.subject}: correlations of the estimates"
    return _triangle(table, axes, title, simulated=fit.study.simulated)


def plot_correlations_of_many(
    found: PopulationFit | PopulationPosterior, axes: Axes | None, what: str, *, simulated: bool
) -> Axes:
    """See `PopulationFit.plot_correlations` and that of its posterior; ``what`` is what they are of."""
    table = found.correlations
    known = np.isfinite(np.diag(table))
    if known.sum() < 2:
        raise ValueError(f"fewer than two estimates have a variance: {found.outcome}")
    title = f"population of {len(found.subjects)} patients:\ncorrelations of the {what}"
    return _triangle(table.loc[known, known], axes, title, simulated=simulated)


def plot_median_correlations(fits: Fits, axes: Axes | None) -> Axes:
    """See `Fits.plot_correlations`."""
    table = fits.correlations
    known = table.dropna() if "correlation" in table else table
    if not len(known):
        raise ValueError("there are no correlations of estimates. Fits.outcomes says why.")
    names = list(dict.fromkeys([*table["parameter"], *table["other"]]))
    names = [name for name in fits.parameters["parameter"].unique() if name in names]
    median, high = (pd.DataFrame(math.nan, index=names, columns=names, dtype=object) for _ in range(2))
    for (one, other), own in known.groupby(["parameter", "other"], sort=False)["correlation"]:
        row, column = sorted((str(one), str(other)), key=names.index, reverse=True)
        beyond = int((own.abs() > HIGH_CORRELATION).sum())
        median.loc[row, column] = own.median()
        high.loc[row, column] = f"{beyond} of {len(own)}"
    np.fill_diagonal(values := median.to_numpy(float, copy=True), 1.0)
    whole = pd.DataFrame(values, index=names, columns=names)
    title = f"{known['subject'].nunique()} patients: median correlations,\nand in how many beyond {HIGH_CORRELATION:g}"
    return _triangle(whole, axes, title, high, simulated=fits.study.simulated)


def _triangle(
    table: pd.DataFrame, axes: Axes | None, title: str, below: pd.DataFrame | None = None, *, simulated: bool
) -> Axes:
    """Correlations as the lower triangle of a matrix; ``below`` are texts under the numbers."""
    q, names = len(table), [str(name) for name in table]
    side = (0.5 if below is None else 0.62) * q + 1.6
    ax = style.panels(axes, 1, 1, (side, side - 0.3), simulated=simulated)[0]
    values = table.to_numpy(float)
    shown = np.ma.masked_invalid(np.where(np.tri(q, k=-1, dtype=bool), values, math.nan))
    from matplotlib.colors import LinearSegmentedColormap

    # From one end of the ramp over the ground to the other: the sign is in the hue, the size in the distance from it.
    colours = LinearSegmentedColormap.from_list("correlation", [tone.one, tone.ground, tone.ramp[1]])
    ax.imshow(shown, cmap=colours, vmin=-1, vmax=1, gid="correlations")
    for row in range(q):
        for column in range(row):
            value = values[row, column]
            text = "" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
            if text and below is not None:
                text += f"\n{below.iat[row, column]}"
            ax.text(
                column, row, text, ha="center", va="center", fontsize=style.TEXT if below is None else style.SMALL,
                color=style.on(colours(0.5 * value + 0.5)),
                fontweight="bold" if abs(value) > HIGH_CORRELATION else "normal",
            )  # fmt: skip
        if math.isnan(values[row, row]):
            ax.text(row, row, "none", ha="center", va="center", fontsize=style.SMALL, color=tone.faint)
    ax.set_xticks(range(q - 1), names[:-1], rotation=35, ha="right", rotation_mode="anchor", parse_math=False)
    ax.set_yticks(range(1, q), names[1:], parse_math=False)
    ax.set_xlim(-0.5, q - 1.5)
    ax.set_ylim(q - 0.5, 0.5)
    ax.tick_params(length=0, colors=tone.ink, labelsize=style.TEXT)
    ax.spines[:].set_visible(False)
    ax.set_title(title, loc="left", fontsize=style.TEXT, color=tone.ink, pad=9, parse_math=False)
    return ax


HIGH_CORRELATION = 0.9  # in size, from which on two estimates hardly tell themselves apart


def estimated(fits: Fits, parameters: Sequence[str] | None) -> dict[str, pd.DataFrame]:
    """{parameter: value, lower, upper, unit, status by subject} of what was estimated in anybody.

    Raises
    ------
    ValueError
        Nothing was estimated, or not the one that is asked for.
    """
    table = fits.parameters
    table = table[~table["status"].isin(GIVEN) & np.isfinite(table["value"].astype(float))]
    known = list(dict.fromkeys(table["parameter"]))
    if not known:
        raise ValueError("nothing was estimated: nobody was fitted. Fits.outcomes says why.")
    for name in parameters or ():
        if name not in known:
            raise ValueError(f"parameters: {name!r} was not estimated. {suggest(name, known)}".rstrip())
    chosen = known if parameters is None else list(parameters)
    return {name: table[table["parameter"] == name].set_index("subject") for name in chosen}


def is_log(own: pd.DataFrame, fits: Fits, name: str) -> bool:
    """Whether a parameter stands on a log axis: it is positive, and estimated there (or a share near 0)."""
    parameters = next(iter(fits.values())).model.parameters
    scale = parameters[name].scale if name in parameters else "log"
    return bool((own["value"] > 0).all()) and (scale == "log" or (scale == "logit" and own["value"].median() < 0.1))


def ends_of(own: pd.DataFrame, *, log: bool) -> AxisEnds:
    """Of the axes: all estimates, and intervals as far as they do not drown them."""
    values = own["value"].to_numpy(float)
    bounds = own[["lower", "upper"]].to_numpy(float)
    if log:
        low, high = values.min(), values.max()
        bounds = bounds[np.isfinite(bounds) & (bounds > 0)]
        low, high = (
            max(bounds.min(initial=low), low / INTERVALS_UP_TO),
            min(bounds.max(initial=high), high * INTERVALS_UP_TO),
        )
        room = max((high / low) ** 0.06, 1.25)
        return float(low / room), float(high * room)
    span = max(float(np.ptp(values)), 0.2 * float(np.abs(values).max()), 1e-12)
    bounds = bounds[np.isfinite(bounds)]
    low = max(bounds.min(initial=values.min()), values.min() - 2 * span)
    high = min(bounds.max(initial=values.max()), values.max() + 2 * span)
    return float(low - 0.06 * span), float(high + 0.06 * span)


def titled(own: pd.DataFrame, name: str) -> str:
    """A parameter with its unit."""
    units = [str(unit) for unit in own["unit"].dropna().unique() if str(unit) not in ("", "1")]
    between = "\n" if units and len(name) + len(units[0]) > LONG_NAME else " "
    return f"{name}{between}({units[0]})" if units else name


def _row(own: pd.DataFrame, subject: str, colour: str) -> Row:
    name = style.shortened(subject, 14)
    if subject not in own.index:
        return Row(name, colour=colour)
    at = own.index.get_loc(subject)
    status = "quantified" if str(own["status"].to_numpy()[at]) == "free" else "open"
    value, lower, upper = own[["value", "lower", "upper"]].to_numpy(float)[at]
    return Row(name, value, lower, upper, colour, status=status)


def _columns(panels: Sequence[Axes]) -> int:
    """Panels beside each other: as many as have the height of the first."""
    return sum(abs(ax.get_position().y0 - panels[0].get_position().y0) < 1e-6 for ax in panels)
