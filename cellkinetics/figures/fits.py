"""The picture of all fits of a study: one panel a patient, in pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from cellkinetics import domains
from cellkinetics.figures import style
from cellkinetics.figures.drawing import draw_limits, extent, raised, samples_of, top_of
from cellkinetics.figures.fit import curve_of, draw_fit, filling, key_of, names_of, output_of, reason_of, room_of
from cellkinetics.figures.paper import THREE_ABREAST
from cellkinetics.figures.style import tone
from cellkinetics.lazily import pandas as pd
from cellkinetics.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.fitting.fits import Fits
    from cellkinetics.fitting.result import Fit

MOST_LINES = 3  # of words in a panel
PER_PAGE = 24
LEAST_WIDTH = 1.3  # inches of a panel
# Of many patients in the width of a journal's column: inches of all panels together, and of one at least.
PAGE_HEIGHT, SMALL_WIDTH, SMALL_HEIGHT = 8.2, 0.93, 1.0


def plot_fits(
    fits: Fits,
    columns: int = 4,
    axes_size: tuple[float, float] = (2.8, 2.3),
    page: int = 0,
    *,
    by: str = "cohort",
    axes: Sequence[Axes] | None = None,
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
    axes : one for each patient of the page; a new figure when not given.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        There are no fits; too few axes.
    IndexError
        There is no such page.
    """
    if not fits:
        raise ValueError("there are no fits to draw.")
    columns = domains.count(columns, "columns")
    if not 0 <= page < pages(fits):
        raise IndexError(f"there is no page {page}: {count(len(fits), 'patient')} on pages 0 to {pages(fits) - 1}.")
    groups, shades = style.coloured(fits.study, by)
    order = sorted(fits, key=lambda subject: list(shades).index(groups[subject]))
    shown = {subject: fits[subject] for subject in order[page * PER_PAGE : (page + 1) * PER_PAGE]}
    if axes is not None:
        panels = style.given(axes, len(shown), simulated=fits.study.simulated)
        return _on(panels, _Drawn.of(fits, shown, style.size(panels[0])), groups, shades)
    return _page(fits, shown, groups, shades, min(columns, len(fits)), axes_size, by)


def pages(fits: Mapping[str, Fit]) -> int:
    """How many pages of at most 24 patients `plot_fits` has for these fits."""
    return math.ceil(len(fits) / PER_PAGE)


@dataclass(frozen=True)
class _Drawn:
    """What the panels of a page share.

    samples, curves, words : of each patient. whole : samples of the study. lower, upper, last : ends of the axes.
    """

    shown: Mapping[str, Fit]
    samples: Mapping[str, pd.DataFrame]
    curves: Mapping[str, pd.DataFrame]
    words: Mapping[str, list[str]]
    whole: pd.DataFrame
    lower: float
    upper: float

    @classmethod
    def of(cls, fits: Fits, shown: Mapping[str, Fit], size: tuple[float, float]) -> _Drawn:
        """Of panels of a size in points."""
        names = {subject: output_of(fit, None) for subject, fit in fits.items()}
        samples = {subject: samples_of(fit.study, names_of(fit, names[subject])) for subject, fit in fits.items()}
        curves = {subject: curve_of(fit, names[subject]) for subject, fit in shown.items()}
        words = {subject: _words(fit, size[0]) for subject, fit in shown.items()}
        whole = pd.concat(samples)
        lower, upper = extent(whole, list(curves.values()), reach=10)
        for subject in shown:
            upper = max(upper, raised(lower, top_of(samples[subject]), room_of(words[subject], size[1])))
        return cls(shown, samples, curves, words, whole, lower, upper)

    def draw(self, ax: Axes, subject: str, colour: str, width: float) -> None:
        """One patient, on axes `width` points long."""
        # Small panels have no room for ticks between decades, which would be most of the time of drawing.
        style.decades(ax, self.lower, self.upper, minor=False)
        style.days(ax, float(self.whole["day"].max()), width)
        samples, curve = self.samples[subject], self.curves[subject]
        draw_fit(ax, self.shown[subject], samples, curve, colour, self.words[subject], width)


def _words(fit: Fit, width: float) -> list[str]:
    """Why a fit needs a look, in lines; a word or two where there is no room for more: it is the samples'."""
    words = reason_of(fit)
    lines = style.wrapped(words if width > 72 else words.partition(":")[0], width)
    if len(lines) > MOST_LINES:
        lines = style.wrapped(words.partition(":")[0], width)
    return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1]} ..."]


def _on(panels: Sequence[Axes], drawn: _Drawn, groups: pd.Series, shades: Mapping[str, str]) -> Figure:
    """On axes of the user, whose names are theirs."""
    for ax, subject in zip(panels, drawn.shown, strict=True):
        drawn.draw(ax, subject, shades[groups[subject]], style.size(ax)[0])
        draw_limits(ax, drawn.samples[subject])
    return style.whole(panels[0])


def _fitting(count: int, columns: int, size: tuple[float, float], width: float) -> tuple[int, tuple[float, float]]:
    """Columns and size of panels in a width that is asked for; more and smaller ones where they would exceed a page."""
    columns = max(1, min(columns, math.floor((width + 0.1) / LEAST_WIDTH)))
    height = size[1]
    if math.ceil(count / columns) * height > PAGE_HEIGHT:
        columns = min(count, max(columns, math.floor(width / SMALL_WIDTH)))
        height = min(height, max(1.6 * width / columns, SMALL_HEIGHT))
        height = min(height, max(PAGE_HEIGHT / math.ceil(count / columns), SMALL_HEIGHT))
    return columns, (min(size[0], width / columns), height)


def _page(
    fits: Fits,
    shown: Mapping[str, Fit],
    groups: pd.Series,
    shades: Mapping[str, str],
    columns: int,
    size: tuple[float, float],
    by: str,
) -> Figure:
    asked, count = style.asked_width(), len(shown)
    narrow = asked < THREE_ABREAST  # the legend takes no room beside the panels
    if math.isfinite(asked):
        columns, size = _fitting(count, columns, size, asked - 0.5 - 2.2 * (not narrow))
    rows = math.ceil(count / columns)
    inside, height = 0.84 * 72 * size[0], 0.74 * 72 * size[1]
    drawn = _Drawn.of(fits, shown, (inside, height))
    samples, curves, one_limit = drawn.samples, drawn.curves, drawn.whole["lloq"].nunique() == 1
    key = style.named(shades, by)
    hidden = any(filling(curve, (drawn.lower, drawn.upper)).any() for curve in curves.values())
    key += key_of(
        [samples[s] for s in shown], list(shown.values()), list(curves.values()), tone.faint, hidden=bool(hidden)
    )
    split = float(drawn.whole["day"].max()) > style.LONG
    if split and narrow:
        key.append((Line2D([], [], linestyle="none"), f"// {style.SPLIT}"))
    if fits.study.simulated:
        key.append((Line2D([], [], linestyle="none"), "simulated"))
    beside = (
        0.0 if narrow else 1.0 + 0.064 * max((len(line) for _, text in key for line in text.splitlines()), default=0)
    )
    figure = style.figure((columns * size[0] + 0.5 + beside, rows * size[1] + 0.35 + 0.6 * narrow))
    width = figure.get_figwidth()
    grid, first = figure.add_gridspec(rows, columns), None
    for place, subject in enumerate(shown):
        ax = figure.add_subplot(grid[divmod(place, columns)], sharex=first, sharey=first)
        first = first or ax
        drawn.draw(ax, subject, shades[groups[subject]], inside)
        right = place % columns == columns - 1
        named = right or place == count - 1 or not one_limit
        # Beside the last panel there is an empty place: its label needs no wider gap between the columns.
        draw_limits(ax, samples[subject], named=named, in_layout=right or place < count - 1)
        ax.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= count)
    if narrow:
        style.legend_below(next(iter(figure.axes)), key)
    elif key:
        legend = figure.legend(*style.entries(key), loc="outside right upper", frameon=False)
        style.tidy(legend)
        if fits.study.simulated:
            legend.get_texts()[-1].set(style="italic", color=tone.faint, gid="simulated")
    unit = style.unit_label(fits.study.unit)
    figure.supylabel(unit, fontsize=style.LABEL, color=tone.ink, parse_math=False)
    if narrow:
        # A name of all panels would stand in the legend.
        for ax in figure.axes[-columns:]:
            style.label(ax, "days")
        return figure
    middle = (0.7 + width - beside) / 2 / width
    text = f"days since infusion, {style.SPLIT}" if split else "days since infusion"
    figure.supxlabel(text, x=middle, fontsize=style.LABEL, color=tone.ink)
    return figure
