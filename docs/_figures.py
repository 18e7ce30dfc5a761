"""The figures of the guide that are not pages of the gallery: drawn when the docs are built."""

from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import log_ndtr

import cellkinetics as ck
from cellkinetics.figures import style

LLOQ, SD = 3.0, 0.5


def censored_sample(path: Path) -> None:
    """What a sample below the limit says of the curve, by its probability, at half the limit and left out."""
    predicted = np.geomspace(0.05, 60.0, 400)
    g = np.log(predicted)
    deviances = {
        "M3: its probability": -2 * log_ndtr((np.log(LLOQ) - g) / SD),
        "M5: half the limit": ((np.log(LLOQ / 2) - g) / SD) ** 2,
        "M1: left out": np.zeros_like(g),
    }
    figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (name, deviance), colour in zip(deviances.items(), (style.ONE, style.RAMP[5], style.RAMP[1]), strict=True):
        ax.plot(predicted, deviance, color=colour, linewidth=1.9, label=name)
    ax.axvline(LLOQ, color=style.FAINT, linewidth=0.9, dashes=(4, 3))
    ax.annotate(" LLOQ 3", (LLOQ, 19.2), fontsize=style.SMALL, color=style.FAINT, va="top")
    style.dress(ax)
    style.few_ticks(ax)
    ax.set(xlim=(0.05, 60), ylim=(-0.6, 20))
    ax.set_xlabel("predicted copies/µg", fontsize=style.LABEL, color=style.INK)
    ax.set_ylabel("−2 ln L of one sample", fontsize=style.LABEL, color=style.INK)
    ax.legend(frameon=False, fontsize=style.LABEL, loc="upper left", bbox_to_anchor=(0.18, 1.0))
    save(figure, path)


@cache
def fits() -> ck.Fits:
    """The example, by the model that simulated it."""
    return ck.fit_each(ck.models.load("il15_persistence"), ck.example(), progress=False)


def diagnostics(path: Path) -> None:
    """Quantile residuals of the example."""
    save(fits().diagnostics(), path)


def parameters(path: Path) -> None:
    """Estimates of the example by cohort."""
    save(fits().plot_parameters(), path)


def nca(path: Path) -> None:
    """The example without a model."""
    save(ck.plot_nca(ck.example()), path)


def column(path: Path) -> None:
    """The example at the width of a journal's column."""
    with ck.style(width="column"):
        save(style.whole(ck.example().plot()), path)


def dose(path: Path) -> None:
    """The example's cohorts compared."""
    save(ck.compare_cohorts(ck.example(), by="cohort").plot(), path)


def save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, dpi=150)
    plt.close(figure)


FIGURES = {
    "censoring": censored_sample, "diagnostics": diagnostics, "dose": dose, "parameters": parameters, "nca": nca,
    "column": column,
}  # fmt: skip


def write(folder: Path) -> None:
    """All of them that are not there yet, as name.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        if not (folder / f"{name}.png").exists():
            draw(folder / f"{name}.png")
