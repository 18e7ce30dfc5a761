"""Names of groups under axes, in the room that there is."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cellkinetics.figures.style import TEXT, shortened, size, tone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SLANT = 35  # degrees, of names that are too long for their room
NAME_LINES, FEWEST_LETTERS = 2, 6  # of a name that a legend has whole


def names_across(ax: Axes, names: Sequence[str], *, told: bool = False) -> None:
    """Names of groups under axes, in the lines that their room allows; slanted where a word is too long for it.

    They stand upright where slanted ones would run into each other. A name may have lines of its own; its places are
    0, 1, ... and the axes end 0.6 beside the first and the last.

    told : whether a legend has the names whole, in this order: one that takes more than two lines is cut, and left out
    with all others where cut ones are alike, so that the axes keep their height. What follows the name's first line
    stays.
    """
    ax.set_xlim(-0.6, len(names) - 0.4)
    room = size(ax)[0] / (len(names) + 0.2)
    letters = int(room / (0.5 * TEXT))
    texts = _cut(names, letters) if told else None
    if texts is None:
        lines = [_broken(name, max(letters, 1)) for name in names]
        slanted = max((len(part) for each in lines for part in each), default=0) > letters
        texts = ["\n".join(each) for each in lines]
        if slanted:
            texts = [", ".join([shortened(first, 16), *rest]) for first, *rest in (name.split("\n") for name in names)]
    else:
        slanted = False
    ax.set_xticks(range(len(names)), texts, fontsize=TEXT, color=tone.ink, parse_math=False)
    if slanted:
        upright = room * math.sin(math.radians(SLANT)) < 1.2 * TEXT
        how = {"rotation": 90, "va": "center"} if upright else {"rotation": SLANT}
        for text in ax.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor", **how)
    ax.tick_params(axis="x", length=0)


def _cut(names: Sequence[str], letters: int) -> list[str] | None:
    """Names of at most two lines, or what follows them alone; None where they fit whole, or not even that does."""
    parts = [name.split("\n") for name in names]
    whole = [_broken(first, max(letters, 1)) for first, *_ in parts]
    if all(len(lines) <= NAME_LINES and max(map(len, lines)) <= letters for lines in whole):
        return None
    rests = [rest for _, *rest in parts]
    if max((len(line) for rest in rests for line in rest), default=0) > letters:
        return None
    cut = ["\n".join(_shortest(lines, letters)) for lines in whole]
    if letters < FEWEST_LETTERS or len(set(cut)) < len(cut):
        return ["\n".join(rest) for rest in rests]
    return ["\n".join([first, *rest]) for first, rest in zip(cut, rests, strict=True)]


def _shortest(lines: Sequence[str], letters: int) -> list[str]:
    """The first two lines, with … for what is left out."""
    kept = [shortened(line, letters) for line in lines[:NAME_LINES]]
    if len(lines) > NAME_LINES and not kept[-1].endswith("…"):
        kept[-1] = f"{kept[-1]} …" if len(kept[-1]) + 2 <= letters else f"{kept[-1][: letters - 1]}…"
    return kept


def _broken(name: str, most: int) -> list[str]:
    """Lines of at most so many letters, words whole."""
    wrap = textwrap.TextWrapper(most, break_long_words=False, break_on_hyphens=False)
    return [part for line in name.split("\n") for part in wrap.wrap(line) or [""]]
