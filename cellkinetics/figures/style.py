"""How the figures look: colours ordered by dose, plain decades, days that are wide early and narrow late."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Floats
from cellkinetics.data import groups
from cellkinetics.data.groups import NOBODY
from cellkinetics.figures.paper import LEAST_PANEL, asked_width, figure, narrow
from cellkinetics.words import dose_text, plain

# What is drawn with is imported where it is drawn: it takes as long as the rest of the library.
if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.transforms import ScaledTranslation

    from cellkinetics.data.study import Study


# From amber to indigo. Each is about 10 L* darker than the one before, so that the order survives in grey
# and for colour-blind readers.
RAMP = ("#d9921e", "#dd7243", "#c4496a", "#8d3a86", "#55307f", "#26194f")
RAMP_STEPS = {1: (4,), 2: (1, 4), 3: (0, 2, 4), 4: (0, 2, 3, 5), 5: (0, 1, 2, 3, 5), 6: (0, 1, 2, 3, 4, 5)}
ONE = "#1b6a8f"  # A single patient, of whom no other dose is to be told apart.
GREY = "#70757c"  # Patients without a group.
INK, FAINT, HAIR, LATE = "#2b2f36", "#6b7078", "#e9eaec", "#b9bcc1"
# The same on a dark ground, where the order of doses goes from dark to light.
DARK_RAMP = ("#a8690c", "#d06a3c", "#d9688a", "#c98ad0", "#b9a6ee", "#dcd6fb")
DARK = {"ink": "#e6e8eb", "faint": "#a3a8b0", "hair": "#33373d", "late": "#5d636b", "one": "#62b3dc", "grey": "#a3a8b0"}
LIGHT = {"ink": INK, "faint": FAINT, "hair": HAIR, "late": LATE, "one": ONE, "grey": GREY}

SMALL, TEXT, LABEL, TITLE = 7.5, 8.0, 9.0, 9.5

# What a sample is drawn with, and what the legend calls it.
MARKS = {
    "quantified": ("o", "quantified"),
    "below": ("v", "below the limit"),
    "interval": ("v", "detected, below the LLOQ"),
    "above": ("^", "above the upper limit"),
}

# Up to here a day is a day; later days are compressed when the follow-up is longer than LONG.
WIDE_DAYS, LONG, PACE = 28.0, 60.0, 14.0
MANY_ZEROS = 1e8  # zeros of more than this are not read but counted: 1e8 on an axis
BREAK, SPLIT = "break", f"scale changes at day {WIDE_DAYS:.0f}"
HOURS = 3.0  # days; a shorter follow-up has fractions of a day on its axis
STEPS = ((1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))  # of a decade
TICKS = (0, 28, 90, 365, 180, 14, 7, 730, 1825, 60)
UNITS = {"copies/ug": "CAR copies per µg genomic DNA"}
SHORT_UNITS = {"copies/ug": "CAR copies/µg DNA"}  # in a narrow figure


class _Tones:
    """Colours of text, lines and grounds in matplotlib's style of the moment, such as ``dark_background``."""

    @property
    def dark(self) -> bool:
        """Whether axes have a dark ground now."""
        from matplotlib import rcParams
        from matplotlib.colors import to_rgb

        ground = rcParams["axes.facecolor"]
        return ground not in ("none", "inherit") and float(np.dot((0.2126, 0.7152, 0.0722), to_rgb(ground))) < 0.3

    @property
    def ground(self) -> Any:
        """The ground of axes."""
        from matplotlib import rcParams

        ground = rcParams["axes.facecolor"]
        return "white" if ground in ("none", "inherit") else ground

    @property
    def ramp(self) -> tuple[str, ...]:
        """Six colours of doses, the lowest first."""
        return DARK_RAMP if self.dark else RAMP

    def __getattr__(self, name: str) -> str:
        """One of `LIGHT`, or of `DARK` on a dark ground."""
        tones = DARK if self.dark else LIGHT
        if name not in tones:
            raise AttributeError(name)
        return tones[name]


tone = _Tones()


def ramp(n: int) -> list[str]:
    """Colours of n cohorts, the lowest dose first and lightest; more than six are mixed from them."""
    if n in RAMP_STEPS:
        return [tone.ramp[step] for step in RAMP_STEPS[n]]
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    between = LinearSegmentedColormap.from_list("dose", tone.ramp)
    return [to_hex(between(i / (n - 1))) for i in range(n)]


def coloured(study: Study, by: str) -> tuple[pd.Series, dict[str, str]]:
    """Each subject's group, and {group: colour} in order of dose; grey, and last, for those without one."""
    members, names = groups.of(study, by)
    return members, shades(names)


def shades(names: Sequence[str]) -> dict[str, str]:
    """{group: colour}, in the order of the names; grey for patients without a group, where others have one."""
    known = [name for name in names if name != NOBODY]
    if not known:
        return dict.fromkeys(names, tone.one)
    return dict(zip(known, ramp(len(known)), strict=True)) | ({NOBODY: tone.grey} if NOBODY in names else {})


def unit_label(unit: str) -> str:
    """The unit of the samples in words, where the words are known."""
    return (SHORT_UNITS if narrow() else UNITS).get(unit, unit)


def wrapped(text: str, width: float) -> list[str]:
    """Lines of small text, about equally long, for axes of this width in points."""
    # A letter is about 0.56 of its height wide.
    most = max(12, int(0.94 * width / (0.56 * SMALL)))
    lines = textwrap.wrap(text, most)
    fewest = (textwrap.wrap(text, narrow) for narrow in range(12, most))
    return next((even for even in fewest if len(even) == len(lines)), lines)


def on(colour: Any) -> str:
    """The ink that stands out from a colour: dark on light ones."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return "#000000" if float(np.dot((0.2126, 0.7152, 0.0722), linear)) > 0.18 else "#ffffff"


def shortened(text: str, most: int) -> str:
    """At most so many letters, with … for the rest."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def dress(ax: Axes) -> None:
    """Spines, ticks and a faint line at each decade."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color=tone.faint, linewidth=0.8)
    ax.tick_params(which="both", color=tone.faint, labelcolor=tone.ink, labelsize=TEXT, direction="out")
    ax.tick_params(which="major", length=3.5, width=0.8)
    ax.tick_params(which="minor", length=2, width=0.5)
    ax.grid(axis="y", which="major", color=tone.hair, linewidth=0.7)
    ax.set_axisbelow(True)


def label(ax: Axes, x: str = "", y: str = "") -> None:
    """Names of the axes, in which no dollar sign is mathematics; upright in lines where the axes are too short."""
    if y and max(map(len, y.split("\n"))) * 0.5 * LABEL > size(ax)[1]:
        y = "\n".join(part for line in y.split("\n") for part in wrapped(line, size(ax)[1]))
    for named, text in ((ax.set_xlabel, x), (ax.set_ylabel, y)):
        if text:
            named(text, fontsize=LABEL, color=tone.ink, parse_math=False)


def tag(ax: Axes) -> None:
    """Says above the axes that what they show is simulated, once."""
    if not any(text.get_gid() == "simulated" for text in ax.texts):
        ax.annotate(
            "simulated", (1, 1), (0, 9), xycoords="axes fraction", textcoords="offset points", ha="right",
            va="bottom", fontsize=SMALL, style="italic", color=tone.faint, gid="simulated",
        )  # fmt: skip


def tag_all(figure: Figure) -> None:
    """Says above a whole figure that what it shows is simulated."""
    figure.suptitle("simulated", x=0.99, ha="right", fontsize=SMALL, style="italic", color=tone.faint)


def given(axes: Any, count: int, *, simulated: bool) -> list[Axes]:
    """The first `count` of the axes that a user gives, row by row where they are an array; one is no list.

    Raises
    ------
    TypeError
        Something else than axes.
    ValueError
        Fewer axes than panels, or several where there is one panel.
    """
    from matplotlib.axes import Axes

    found = list(np.asarray(axes, object).ravel())
    for each in found:
        if not isinstance(each, Axes):
            raise TypeError(f"axes= has a {type(each).__name__}. Give axes of matplotlib, as plt.subplots makes them.")
    if len(found) < count or len(found) > count == 1:
        panels_are = "panel is" if count == 1 else "panels are"
        raise ValueError(f"{count} {panels_are} drawn and axes= has {len(found)}. Give {count}, or none.")
    if simulated:
        tag(found[0])
    return found[:count]


def panels(
    axes: Any, count: int, columns: int, size: tuple[float, float], *, simulated: bool, wrap: bool = True
) -> list[Axes]:
    """The first `count` of the axes given or, when None, of a new figure with panels of `size` in inches.

    wrap : whether fewer columns are made of them where the figure is to be narrow.

    Raises
    ------
    TypeError, ValueError
        As of `given`.
    """
    if axes is not None:
        return given(axes, count, simulated=simulated)
    columns = min(columns, count, math.floor(min(asked_width() / LEAST_PANEL, 99)) if wrap else columns)
    rows, columns = max(math.ceil(count / max(columns, 1)), 1), max(columns, 1)
    # A legend below takes more lines of a narrow figure.
    page = figure((columns * size[0], rows * size[1] + 0.9 * narrow()))
    made = list(np.array(page.subplots(rows, columns, squeeze=False)).ravel())
    for ax in made[count:]:
        ax.remove()
    if simulated:
        tag_all(page)
    return made[:count]


def room_below() -> float:
    """Inches more for a legend that takes more lines, in a narrow figure of panels above each other."""
    return 2.0 if narrow() else 0.0


def whole(ax: Axes) -> Figure:
    """The figure that axes belong to."""
    found = ax.get_figure(root=True)
    assert found is not None
    return found


def size(ax: Axes) -> tuple[float, float]:
    """Width and height of axes in points; less than now where a layout will still make room beside them."""
    figure = ax.get_figure(root=True)
    box = ax.get_window_extent()
    share = 1.0
    if figure is not None and figure.get_layout_engine() is not None:
        share = 0.85 if len(figure.axes) == 1 else 0.72
    dpi = 72.0 if figure is None else figure.dpi
    return share * box.width * 72 / dpi, share * box.height * 72 / dpi


def points(ax: Axes, right: float = 0.0, up: float = 0.0) -> ScaledTranslation:
    """A shift by so many points."""
    from matplotlib.transforms import ScaledTranslation

    return ScaledTranslation(right / 72, up / 72, ax.figure.dpi_scale_trans)


def decades(ax: Axes, lower: float, upper: float, *, minor: bool = True) -> None:
    """A log axis from lower to upper whose decades are written out: 1, 10, 100, 1,000."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    dress(ax)
    ax.set_yscale("log")
    ax.set_ylim(lower, upper)
    # Each decade has a number where there is room for it.
    ax.yaxis.set_major_locator(LogLocator(numticks=max(3, min(12, int(size(ax)[1] / (1.4 * TEXT))))))
    ax.yaxis.set_major_formatter(FuncFormatter(_tick))
    between = LogLocator(subs=np.arange(2, 10).tolist(), numticks=99)
    ax.yaxis.set_minor_locator(between if minor else NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())


def few_ticks(ax: Axes, *, upright: bool = False) -> None:
    """A log axis across (or upright), whose range may be less than a decade: few numbers, written out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    scale, axis = (ax.set_yscale, ax.yaxis) if upright else (ax.set_xscale, ax.xaxis)
    low, high = ax.get_ylim() if upright else (ax.dataLim.x0, ax.dataLim.x1)
    scale("log")
    span = math.log10(max(high / max(low, 1e-300), 1.0))
    # A number of seven digits is about as wide as three of its heights.
    most = max(2, min(6, int(size(ax)[1] / (2 * TEXT) if upright else size(ax)[0] / (3.4 * TEXT))))
    subs = next((each for each in STEPS if span * len(each) <= most), STEPS[-1])
    axis.set_major_locator(LogLocator(subs=subs, numticks=most))
    axis.set_major_formatter(FuncFormatter(lambda value, at: _tick(value, at) if value >= 1e-4 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def days(ax: Axes, last: float, width: float) -> None:
    """The axis of days since infusion up to `last`, `width` points long; see LONG for when it is compressed."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

    last = last if last > 0 else 1.0
    if last > LONG:
        ax.set_xscale("function", functions=(compressed, expanded))
        _ticks(ax.xaxis, _labelled(last, width), _months(last))
        margin = 0.025 * float(compressed(last))
        ax.set_xlim(-margin, float(expanded(compressed(last) + margin)))
        _break(ax)
        return
    step = next(step for step, longest in ((1, 8), (2, 14), (7, 42), (14, np.inf)) if last <= longest)
    ax.xaxis.set_major_locator(MultipleLocator(step) if last >= HOURS else MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(_tick))
    ax.set_xlim(-0.025 * last, 1.025 * last)


def _break(ax: Axes) -> None:
    """Two strokes on the axis line after day 28, of these axes and of those that share theirs."""
    for each in ax.get_shared_x_axes().get_siblings(ax):
        if not any(text.get_gid() == BREAK for text in each.texts):
            each.annotate(
                "//", (WIDE_DAYS, 0), (4.5, -0.3), xycoords=each.get_xaxis_transform(), textcoords="offset points",
                ha="center", va="center", fontsize=SMALL, color=tone.faint, gid=BREAK, in_layout=False,
                bbox={"facecolor": tone.ground, "linewidth": 0, "pad": 0.2}, zorder=2.6,
            )  # fmt: skip


def label_days(ax: Axes, *, words: bool = True, width: float | None = None) -> None:
    """Names the axis of days, which says where its scale changes if it does.

    words : whether it says so; beside axes that do, the mark alone is enough. width : of the room in points, when it is
    not that of the axes.
    """
    split = words and ax.get_xscale() == "function"
    letters = max(12, int((size(ax)[0] if width is None else width) / (0.5 * LABEL)))
    name = "days" if split and letters < len(SPLIT) - 4 else "days since infusion"
    text = f"{name}, {SPLIT}" if split else name
    if len(text) > letters:
        text = "\n".join(line for part in text.split(", ") for line in textwrap.wrap(part, letters))
    label(ax, text)


def compressed(day: npt.ArrayLike) -> Floats:
    """The place of a day on the axis: itself up to day 28, then slower and slower, without a kink."""
    day = np.asarray(day, float)
    return np.where(day <= WIDE_DAYS, day, WIDE_DAYS + PACE * np.log1p(np.maximum(day - WIDE_DAYS, 0) / PACE))


def expanded(place: npt.ArrayLike) -> Floats:
    """The inverse of `compressed`."""
    place = np.asarray(place, float)
    return np.where(place <= WIDE_DAYS, place, WIDE_DAYS + PACE * np.expm1(np.maximum(place - WIDE_DAYS, 0) / PACE))


def _ticks(axis: Axis, major: Sequence[float], minor: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    axis.set_major_locator(FixedLocator(major))
    axis.set_minor_locator(FixedLocator(minor))
    axis.set_major_formatter(FuncFormatter(_tick))
    axis.set_minor_formatter(NullFormatter())


def _labelled(last: float, width: float) -> list[float]:
    """Days to write on an axis `width` points long: the first of TICKS, and those that have room beside them."""
    point = 1.05 * float(compressed(last)) / width
    days: list[float] = []
    for day in TICKS:
        apart = [abs(float(compressed(day) - compressed(other))) / point for other in days]
        needed = [0.32 * TEXT * (len(plain(day)) + len(plain(other))) + 2.5 for other in days]
        shown = day <= last and not (day == 60 and last >= 90)
        if shown and all(gap > least for gap, least in zip(apart, needed, strict=True)):
            days.append(day)
    return sorted(days)


def _months(last: float) -> list[float]:
    """Day 21 and the months of the first year, which show how the scale narrows."""
    return [day for day in (21.0, *np.arange(60.0, 361.0, 30.0)) if day <= last]


def _tick(value: float, position: int | None) -> str:
    value = float(f"{value:.6g}")
    return dose_text(value) if value >= MANY_ZEROS else plain(value)


def marker(status: str, colour: str, size: float = 5.0) -> dict[str, Any]:
    """How a sample is drawn: filled when quantified, else open; an open circle for what is no status of a sample."""
    filled = status == "quantified"
    return {
        "linestyle": "none",
        "marker": MARKS.get(status, "o")[0],
        "markersize": size if filled else size + 0.6,
        "markerfacecolor": colour if filled else tone.ground,
        "markeredgecolor": tone.ground if filled else colour,
        "markeredgewidth": 0.6 if filled else 1.1,
    }


def dose_marker(kind: str) -> dict[str, Any]:
    """How a dose is drawn: a bar for cells, an open diamond for another drug."""
    look: dict[str, Any] = {"color": tone.ink, "linestyle": "none"}
    if kind == "cells":
        return look | {"marker": "|", "markersize": 6.5, "markeredgewidth": 1.8}
    return look | {"marker": "D", "markersize": 3.8, "markerfacecolor": tone.ground, "markeredgewidth": 1.0}


def handle(status: str, colour: str) -> Any:
    """A sample in the legend."""
    from matplotlib.lines import Line2D

    mark = Line2D([], [], **marker(status, colour))
    tail = Line2D([], [], color=colour, linestyle="none", marker=3, markersize=6, markeredgewidth=1)
    return (tail, mark) if status == "interval" else mark


def entries(key: Sequence[tuple[Any, str]]) -> tuple[list[Any], list[str]]:
    """Handles and labels; a label that begins with an underscore would be hidden."""
    return [handle for handle, _ in key], [f" {text}" if text.startswith("_") else text for _, text in key]


def heading(text: str) -> tuple[Any, str]:
    """A line of a legend that says what the entries after it are."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none"), text


def named(shades: Mapping[str, str], by: str) -> list[tuple[Any, str]]:
    """Groups in a legend, under what they are; nothing where there is no group."""
    from matplotlib.lines import Line2D

    if set(shades) == {NOBODY}:
        return []
    return [
        heading(by),
        *((Line2D([], [], color=shade, linewidth=4), groups.shown(name, by)) for name, shade in shades.items()),
    ]


def legend_below(ax: Axes, key: Sequence[tuple[Any, str]], title: str = "") -> None:
    """A legend under the axes, in as many columns as fit; ``title`` where one says what all entries are."""
    figure = ax.get_figure(root=True)
    if figure is None or not key:
        return
    width = 72 * figure.get_figwidth()
    key = [
        (handle, "\n".join(part for line in text.split("\n") for part in _lines(line, width))) for handle, text in key
    ]
    lengths = [max(map(len, text.splitlines()), default=0) for _, text in key]
    columns, wide = len(key) + 1, math.inf
    while wide > width and columns > 1:
        columns -= 1
        # The first columns take one more where they are not all alike.
        deep, more = divmod(len(key), columns)
        ends = np.cumsum([0, *(deep + (at < more) for at in range(columns))])
        wide = sum(max(lengths[first:end]) * 0.58 * TEXT + 34 for first, end in itertools.pairwise(ends.tolist()))
    legend = figure.legend(
        *entries(key), loc="outside lower center", ncols=columns, frameon=False, columnspacing=1.4,
        handlelength=1.6, handletextpad=0.5, fontsize=TEXT, title=title or None,
    )  # fmt: skip
    tidy(legend)


def _lines(text: str, width: float) -> list[str]:
    """An entry of a legend in the lines that a figure of this width in points takes."""
    return wrapped(text, width - 34) if len(text) * 0.58 * TEXT + 34 > width else [text]


def tidy(legend: Legend) -> None:
    """Small text, in which no dollar sign is mathematics; headings are pale."""
    for text in [*legend.get_texts(), legend.get_title()]:
        text.set(fontsize=TEXT, color=tone.ink, parse_math=False)
    for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
        # An entry of words alone: neither a line nor a mark.
        if getattr(handle, "get_linestyle", str)() == getattr(handle, "get_marker", str)() == "None":
            text.set(color=tone.faint, style="italic")
    legend.get_title().set(color=tone.faint, style="italic")
