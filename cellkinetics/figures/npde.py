"""The picture of npde: over time and prediction, against the normal, and their histogram, with bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy

from cellkinetics.arrays import Floats, Ints
from cellkinetics.figures import residuals, style
from cellkinetics.figures.style import TITLE, tone
from cellkinetics.lazily import pandas as pd
from cellkinetics.statistics.visits import visit_days

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.predictive.npde import NPDE

DRAWN = ("npde", "npd")
SHARES_SHOWN = (0.05, 0.5, 0.95)
LEAST_OF_A_BIN, MOST_BINS = 10, 12  # samples of a bin, and bins
SHADE = 0.15
STRATUM, MOST_COLUMNS = (3.3, 4.4), 3  # inches of a group, and groups side by side


def plot(found: NPDE, axes: Sequence[Axes] | None, which: str) -> Figure:
    """See `NPDE.plot`."""
    table = _drawn(found, which)
    over_time, over_curve, _, counts = residuals.draw(
        table, simulated=found.simulated, axes=axes, name=which, words=_without_bands([table])
    )
    _bands_of_days(over_time, table)
    predicted = table["predicted"].to_numpy(float)
    _bands(over_curve, predicted, table["residual"].to_numpy(float), _quantiles(predicted))
    _expected(counts, len(table))
    return style.whole(over_time)


def _drawn(found: NPDE, which: str) -> pd.DataFrame:
    """One imputation of what is known, with npd or npde as the residual."""
    table = found.drawn().dropna(subset=[which])
    return table.assign(residual=table[which])


def plot_strata(found: NPDE, which: str) -> Figure:
    """A column a group: npde over time above, against the normal below."""
    table, names = _drawn(found, which), list(found.strata["stratum"])
    columns = min(MOST_COLUMNS, len(names), max(1, math.floor(min(style.asked_width() / style.LEAST_PANEL, 99))))
    strips = math.ceil(len(names) / columns)
    width, height = STRATUM
    figure = style.figure((columns * width + 0.6, strips * height + 0.5))
    width = min(width, (figure.get_figwidth() - 0.6) / columns)
    grid = figure.add_gridspec(2 * strips, columns)
    last, first = float(table["day"].max()), None
    for number, name in enumerate(names):
        strip, column = divmod(number, columns)
        top = figure.add_subplot(grid[2 * strip, column], sharey=first)
        first = first or top
        bottom = figure.add_subplot(grid[2 * strip + 1, column], sharey=first)
        own = table[table["stratum"] == name]
        z, quantified = own["residual"].to_numpy(float), (own["status"] == "quantified").to_numpy()
        shades = np.full(len(z), tone.one)
        residuals.scatter(top, own["day"].to_numpy(float), z, quantified, shades)
        residuals.lines(top)
        _bands_of_days(top, own)
        residuals.normal(bottom, z, quantified, shades)
        for ax in (top, bottom):
            style.dress(ax)
            ax.tick_params(labelleft=column == 0)
        style.days(top, last, 0.72 * 72 * width)
        top.set_title(name, loc="left", fontsize=TITLE, color=tone.ink, parse_math=False)
        style.label(top, y=which if column == 0 else "")
        style.label_days(top, words=column == 0, width=0.72 * 72 * width)
        words = "\n".join(style.wrapped("expected of a normal", 0.72 * 72 * width))
        style.label(bottom, words, which if column == 0 else "")
    if found.simulated:
        style.tag_all(figure)
    assert first is not None
    parts = [table[table["stratum"] == name] for name in names]
    style.legend_below(first, residuals.marks_key(words=_without_bands(parts)))
    return figure


def _bands_of_days(ax: Axes, table: pd.DataFrame) -> None:
    """Over time."""
    _bands(ax, table["day"].to_numpy(float), table["residual"].to_numpy(float), _bins_of_days(table))


def _bins_of_days(table: pd.DataFrame) -> Ints:
    """By visit where most samples are of visits with enough of them, else by quantiles of time."""
    visit = pd.Series(visit_days(table["subject"].tolist(), table["day"].to_numpy(float)))
    many = visit.map(visit.value_counts()) >= LEAST_OF_A_BIN
    if many.mean() > 0.5:
        return np.asarray(visit.rank(method="dense"), np.int64)
    return _quantiles(table["day"].to_numpy(float), LEAST_OF_A_BIN)


def _without_bands(tables: Sequence[pd.DataFrame]) -> str:
    """What the legend says of bins of days that are too small for quantiles; "" where there are none."""
    few = any((np.unique(_bins_of_days(table), return_counts=True)[1] < LEAST_OF_A_BIN).any() for table in tables)
    return f"no band on days of fewer than {LEAST_OF_A_BIN} samples" if few else ""


def _quantiles(x: Floats, samples: int = 2 * LEAST_OF_A_BIN) -> Ints:
    """Bins of at least so many samples."""
    bins = max(1, min(MOST_BINS, len(x) // samples))
    edges = np.quantile(x, np.arange(1, bins) / bins)
    return np.asarray(np.searchsorted(edges, x), np.int64)


def _bands(ax: Axes, x: Floats, z: Floats, bins: Ints) -> None:
    """Quantiles of each bin, and the 95% band of those of as many normal values."""
    rows = []
    for number in np.unique(bins):
        own = bins == number
        n = int(own.sum())
        if n < LEAST_OF_A_BIN:
            continue
        ends = [scipy.stats.norm.ppf(scipy.stats.beta.ppf(side, n * share + 0.5, n * (1 - share) + 0.5))
                for share in SHARES_SHOWN for side in (0.025, 0.975)]  # fmt: skip
        rows.append((float(np.median(x[own])), *np.quantile(z[own], SHARES_SHOWN), *ends))
    if not rows:
        return
    day, *columns = np.array(sorted(rows)).T
    for at in range(len(SHARES_SHOWN)):
        low, high = columns[3 + 2 * at], columns[4 + 2 * at]
        ax.fill_between(day, low, high, color=tone.faint, alpha=SHADE, linewidth=0, zorder=1.5, gid="band")
        ax.plot(day, columns[at], color=tone.ink, linewidth=1.4, zorder=3.5, gid="quantile")


def _expected(ax: Axes, n: int) -> None:
    """The 95% band of counts of a standard normal."""
    edges = residuals.EDGES
    share = np.diff(scipy.stats.norm.cdf(np.concatenate([[-np.inf], edges[1:-1], [np.inf]])))
    low, high = scipy.stats.binom.ppf(0.025, n, share), scipy.stats.binom.ppf(0.975, n, share)
    ax.fill_between(edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color=tone.faint,
                    alpha=2 * SHADE, linewidth=0, gid="band")  # fmt: skip
