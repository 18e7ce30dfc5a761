"""The size, font and ground that figures have for a paper or a slide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from cellkinetics import domains
from cellkinetics.errors import suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = {"column": 85.0, "page": 174.0}  # mm, of most journals
SIDE_BY_SIDE, THREE_ABREAST = (
    5.5,
    8.0,
)  # inches, from which on axes and a legend, and three panels, stand beside each other
LEAST_PANEL = 1.55  # inches; narrower panels go into fewer columns


@contextmanager
def style(
    *,
    width: float | str | None = None,
    height: float | None = None,
    font: str | None = None,
    dark: bool = False,
    dpi: float = 300,
) -> Iterator[None]:
    """Figures as a journal takes them: ``with ck.style(width="column"): study.plot().figure.savefig("curves.pdf")``.

    What is drawn and saved inside the block has this width, whatever it shows; panels that would be too narrow go into
    fewer columns. Text keeps its size, 7.5 to 9.5 points, so that it reads the same in each figure. PDF and EPS hold
    fonts that an editor of figures can change (type 42), SVG holds text as text. Axes that you give with
    ``axes=`` keep their own size, and ``size=`` of one picture goes before. matplotlib's settings are as before after
    the block.

    Parameters
    ----------
    width : mm, or "column" (85 mm) or "page" (174 mm); each figure's own when not given.
    height : mm; when not given it follows the width, more slowly.
    font : a font family that matplotlib finds on this machine, such as "Arial"; matplotlib's own when not given.
    dark : light text and lines on a dark ground, for slides. Where a style of matplotlib such as ``dark_background`` is
        on already, figures follow it without this.
    dpi : dots per inch of PNG and TIFF.

    Raises
    ------
    ValueError
        A width, height or dpi that is no positive number, a width of another name, a font that is not found.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> with ck.style(width="column", font="DejaVu Sans"):
    ...     figure = ck.example().plot().figure
    >>> [round(float(inches) * 25.4) for inches in figure.get_size_inches()]
    [85, 100]
    """
    from matplotlib import rc_context, rcParams
    from matplotlib import style as looks

    if isinstance(width, str):
        if width not in WIDTHS:
            raise ValueError(f"width={width!r}: give mm, such as 85, or one of {', '.join(map(repr, WIDTHS))}.")
        width = WIDTHS[width]
    sizes = [None if mm is None else domains.positive(mm, name, 85) / domains.MM for name, mm in
             (("width", width), ("height", height))]  # fmt: skip
    settings: dict[str, Any] = {
        "savefig.dpi": domains.positive(dpi, "dpi", 300), "savefig.bbox": None, "pdf.fonttype": 42, "ps.fonttype": 42,
        "svg.fonttype": "none",
    }  # fmt: skip
    if font is not None:
        settings["font.family"] = _found(font)
    dark = domains.flag(dark, "dark")
    token = domains.figure_size.set((sizes[0], sizes[1]))
    try:
        with rc_context():
            if dark:
                looks.use("dark_background")
            rcParams.update(cast("Any", settings))
            yield
    finally:
        domains.figure_size.reset(token)


def _found(font: str) -> str:
    """A font family that is there."""
    from matplotlib import font_manager

    try:
        font_manager.findfont(font, fallback_to_default=False)
    except ValueError:
        known = sorted(set(font_manager.get_font_names()))
        text = f"font={font!r} is not found on this machine. {suggest(font, known)}".rstrip()
        raise ValueError(f"{text} Install it, or take one of matplotlib.font_manager.get_font_names().") from None
    return font


def asked_width() -> float:
    """Inches that figures have by `style` or ``size=``; infinite where none are asked for."""
    return domains.figure_size.get()[0] or math.inf


def narrow() -> bool:
    """Whether figures are a journal's column wide: panels have no room beside each other."""
    return asked_width() < SIDE_BY_SIDE


def figure(size: tuple[float, float]) -> Figure:
    """A new figure of a size in inches, or of what `style` or ``size=`` asks for; a height goes with the width."""
    import matplotlib.pyplot as plt

    width, height = domains.figure_size.get()
    own = size[1] if width is None else size[1] * math.sqrt(min(width / size[0], 1.0))
    return plt.figure(figsize=(width or size[0], height or own), layout="constrained")
