"""The picture of npde: over time and prediction, against the normal, and their histogram, with bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from cellkinetics.arrays import Floats, Ints
from cellkinetics.figures import residuals, style
from cellkinetics.figures.style import tone
from cellkinetics.statistics.visits import visit_days

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.predictive.npde import NPDE

SHARES_SHOWN = (0.05, 0.5, 0.95)
LEAST_OF_A_BIN, MOST_BINS = 10, 12  # samples of a bin, and bins
SHADE = 0.15


def plot(found: NPDE, axes: Sequence[Axes] | None) -> Figure:
    """See `NPDE.plot`."""
    table = found.drawn().dropna(subset=["npde"])
    table = table.assign(residual=table["npde"])
    over_time, over_curve, _, counts = residuals.draw(table, simulated=found.simulated, axes=axes, name="npde")
    visit = pd.Series(visit_days(table["subject"].tolist(), table["day"].to_numpy(float)))
    many = visit.map(visit.value_counts()) >= LEAST_OF_A_BIN
    day = table["day"].to_numpy(float)
    bins = np.asarray(visit.rank(method="dense"), np.int64) if many.mean() > 0.5 else _quantiles(day)
    _bands(over_time, day, table["npde"].to_numpy(float), bins)
    predicted = table["predicted"].to_numpy(float)
    _bands(over_curve, predicted, table["npde"].to_numpy(float), _quantiles(predicted))
    _expected(counts, len(table))
    return style.whole(over_time)


def _quantiles(x: Floats) -> Ints:
    bins = max(1, min(MOST_BINS, len(x) // (2 * LEAST_OF_A_BIN)))
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
