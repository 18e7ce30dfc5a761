"""The picture of residuals that respect censoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special, stats

from cellkinetics import style
from cellkinetics.style import FAINT, ONE, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(residuals: pd.DataFrame, *, simulated: bool) -> Figure:
    """Residuals over time, over the prediction, against the normal with its 95% band, and their histogram."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(8.4, 5.6), layout="constrained")
    panels = np.array(figure.subplots(2, 2))
    over_time, over_curve, normal, counts = panels.ravel()
    quantified = (residuals["status"] == "quantified").to_numpy()
    z = residuals["residual"].to_numpy(float)
    _scatter(over_time, residuals["day"].to_numpy(float), z, quantified)
    over_time.set(xlabel="day", ylabel="quantile residual")
    _scatter(over_curve, residuals["predicted"].to_numpy(float), z, quantified)
    over_curve.set(xlabel="predicted", xscale="log")
    order, count = np.argsort(z, kind="stable"), len(z)
    expected = special.ndtri((np.arange(1, count + 1) - 0.5) / max(count, 1))
    ranks = np.arange(1, count + 1)
    low, high = (special.ndtri(stats.beta.ppf(share, ranks, count + 1 - ranks)) for share in (0.025, 0.975))
    normal.fill_between(expected, low, high, color=FAINT, alpha=0.15, linewidth=0)
    normal.axline((0, 0), slope=1, color=FAINT, linewidth=0.9, dashes=(4, 3))
    _scatter(normal, expected, z[order], quantified[order])
    normal.set(xlabel="expected of a normal", ylabel="quantile residual")
    edges = np.arange(-4.0, 4.5, 0.5)
    counts.hist(np.clip(z, -3.99, 3.99), bins=edges, color=ONE, alpha=0.35)
    grid = np.linspace(-4, 4, 161)
    counts.plot(grid, count * 0.5 * stats.norm.pdf(grid), color=FAINT, linewidth=1.2)
    counts.set(xlabel="quantile residual", ylabel="samples")
    for ax in (over_time, over_curve):
        for line in (-1.96, 0.0, 1.96):
            ax.axhline(line, color=FAINT, linewidth=0.9, dashes=(4, 3) if line else (1, 0))
    for ax in panels.ravel():
        style.dress(ax)
    key = [
        (style.handle("quantified", ONE), "quantified"),
        (style.handle("below", ONE), "censored, drawn within its ends"),
    ]
    figure.legend(*style.entries(key), loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    if simulated:
        figure.suptitle("simulated", x=0.99, ha="right", fontsize=SMALL, style="italic", color=FAINT)
    return figure


def _scatter(ax: Axes, x: np.ndarray, z: np.ndarray, quantified: np.ndarray) -> None:  # pyright: ignore[reportMissingTypeArgument]
    ax.plot(x[quantified], z[quantified], **style.marker("quantified", ONE, 4.0))
    ax.plot(x[~quantified], z[~quantified], **style.marker("below", ONE, 4.0))
