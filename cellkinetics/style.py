"""How the figures look: colours ordered by dose, plain decades, days that are wide early and narrow late."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MultipleLocator, NullFormatter

Floats = npt.NDArray[np.float64]

# From amber to indigo, each step about 10 L* darker than the one before: ordered in grey and for colour-blind readers.
RAMP = ("#d9921e", "#dd7243", "#c4496a", "#8d3a86", "#55307f", "#26194f")
STEPS = {1: (4,), 2: (1, 4), 3: (0, 2, 4), 4: (0, 2, 3, 5), 5: (0, 1, 2, 3, 5), 6: (0, 1, 2, 3, 4, 5)}
ONE = "#1b6a8f"  # A single patient, of whom no other dose is to be told apart.
NO_COHORT = "#70757c"
INK, FAINT, HAIR, LATE = "#2b2f36", "#6b7078", "#e9eaec", "#b9bcc1"

SMALL, TEXT, LABEL, TITLE = 7.5, 8.0, 9.0, 9.5

# Up to here a day is a day; later days are compressed when the follow-up is longer than LONG.
WIDE, LONG, PACE = 28.0, 60.0, 14.0
TICKS = (0, 7, 14, 28, 90, 180, 365, 730, 1825, 3650)
UNITS = {"copies/ug": "CAR copies per µg genomic DNA"}


def ramp(n: int) -> list[str]:
    """Colours of n cohorts, the lowest dose first and lightest; between the six picked ones when there are more."""
    if n in STEPS:
        return [RAMP[step] for step in STEPS[n]]
    between = LinearSegmentedColormap.from_list("dose", RAMP)
    return [to_hex(between(i / (n - 1))) for i in range(n)]


def plain(number: float) -> str:
    """A number as it is read aloud: 10,000, 3, 0.1; never 1e+04."""
    if abs(number) >= 1000 and float(number).is_integer():
        return f"{number:,.0f}"
    return np.format_float_positional(number, trim="-")


def unit_label(unit: str) -> str:
    """The unit of the samples in words, where the words are known."""
    return UNITS.get(unit, unit)


def dress(ax: Axes) -> None:
    """Spines, ticks and a faint line a decade; nothing but this is changed on the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color=FAINT, linewidth=0.8)
    ax.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=TEXT, direction="out")
    ax.tick_params(which="major", length=3.5, width=0.8)
    ax.tick_params(which="minor", length=2, width=0.5)
    ax.grid(axis="y", which="major", color=HAIR, linewidth=0.7)
    ax.set_axisbelow(True)


def decades(ax: Axes, lower: float, upper: float) -> None:
    """A log axis from lower to upper whose decades are written out: 1, 10, 100, 1,000."""
    ax.set_yscale("log")
    ax.set_ylim(lower, upper)
    ax.yaxis.set_major_locator(LogLocator(numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(_decade))
    ax.yaxis.set_minor_locator(LogLocator(subs=np.arange(2, 10).tolist(), numticks=99))
    ax.yaxis.set_minor_formatter(NullFormatter())


def days(ax: Axes, last: float) -> None:
    """The axis of days since infusion, from 0 to `last`; compressed after day 28 when `last` is beyond day 60."""
    if last > LONG:
        ax.set_xscale("function", functions=(compressed, expanded))
        _ticks(ax.xaxis, [day for day in TICKS if day <= last], _months(last))
        margin = 0.025 * float(compressed(last))
        ax.set_xlim(-margin, float(expanded(compressed(last) + margin)))
        return
    step = next(step for step, longest in ((1, 8), (2, 14), (7, 42), (14, np.inf)) if last <= longest)
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(FuncFormatter(_plain_tick))
    ax.set_xlim(-0.025 * last, 1.025 * last)


def compressed(day: npt.ArrayLike) -> Floats:
    """The place of a day on the axis: itself up to day 28, then slower and slower, without a kink."""
    day = np.asarray(day, float)
    return np.where(day <= WIDE, day, WIDE + PACE * np.log1p(np.maximum(day - WIDE, 0) / PACE))


def expanded(place: npt.ArrayLike) -> Floats:
    """The inverse of `compressed`."""
    place = np.asarray(place, float)
    return np.where(place <= WIDE, place, WIDE + PACE * np.expm1(np.maximum(place - WIDE, 0) / PACE))


def _ticks(axis: Axis, major: Sequence[float], minor: Sequence[float]) -> None:
    axis.set_major_locator(FixedLocator(major))
    axis.set_minor_locator(FixedLocator(minor))
    axis.set_major_formatter(FuncFormatter(_plain_tick))
    axis.set_minor_formatter(NullFormatter())


def _months(last: float) -> list[float]:
    """Day 21 and the months of the first year, which show how the scale narrows."""
    return [day for day in (21.0, *np.arange(60.0, 361.0, 30.0)) if day <= last]


def _decade(value: float, position: int | None) -> str:
    return plain(float(f"{value:.6g}"))


def _plain_tick(value: float, position: int | None) -> str:
    return plain(float(f"{value:.6g}"))
