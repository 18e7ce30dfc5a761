"""Several models compared: their curves over one subject's samples, or their weights in every subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cellkinetics import domains
from cellkinetics.data import groups
from cellkinetics.domains import Size
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.model_choice import EVERYONE, compare_models
from cellkinetics.fitting.result import Fit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from cellkinetics.data.study import Study

LEAST_WRITTEN = 0.12  # of a weight, in the bar


@domains.picture
def plot_models(
    fits: Sequence[Fit] | Sequence[Fits], axes: Axes | None = None, *, by: str | None = None, size: Size = None
) -> Axes:
    """Models compared in a picture, as `compare_models` weighs them; returns the axes.

    Fits of one subject are curves over its samples, each with its weight. Results of several `fit_each` are a bar a
    subject, divided among the models by their weights, and one of all together; where no model has a weight the bar is
    empty.

    Parameters
    ----------
    fits : as in `compare_models`.
    axes : to draw on; new ones, with a legend below, when not given.
    by : a covariate whose groups the subjects of several `fit_each` stand in; in the order of the study when not given.
    size : width and height in mm of a new figure.

    Raises
    ------
    TypeError, ValueError, StudyError
        As of `compare_models`; there is no such covariate, or ``by`` is given for fits of one subject.

    Examples
    --------
    Of all patients, in the order of their response:

    .. code-block:: python

       study = ck.example()
       each = [ck.fit_each(ck.models.load(name), study) for name in ("nk_decline", "logistic_expansion")]
       ck.plot_models(each, by="response").figure.savefig("weights.png")
    """
    table = compare_models(fits)
    if each := [fit for fit in fits if isinstance(fit, Fits)]:
        return weights(table, axes, each[0].study, by)
    if by is not None:
        raise ValueError(f"by={by!r} is of many subjects: give results of fit_each, or leave it out.")
    # matplotlib is heavy, and `ck.plot_models` is imported with the library.
    from cellkinetics.figures import style
    from cellkinetics.figures.drawing import one_panel
    from cellkinetics.figures.fit import plot_fit

    alone = [fit for fit in fits if isinstance(fit, Fit)]
    key = [style.heading("model")]
    ax = one_panel(axes, (5.6, 3.7))
    for fit, (name, row), colour in zip(alone, table.iterrows(), _colours(len(alone)), strict=True):
        plot_fit(fit, ax, colour=colour)
        drawn = ax.lines[-1]
        line = type(drawn)([], [], color=colour, linewidth=1.6)
        key.append((line, f"{name}: weight {row['weight']:.2f}"))
    if axes is None:
        style.legend_below(ax, key)
    else:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "frameon": False}
        style.tidy(ax.legend(*style.entries(key), **place))
    return ax


def _colours(count: int) -> list[str]:
    from cellkinetics.figures import style

    return [style.tone.one, *style.ramp(max(count - 1, 1))][:count]


def weights(table: pd.DataFrame, axes: Axes | None = None, study: Study | None = None, by: str | None = None) -> Axes:
    """A bar a subject, divided by weight, of a table of `compare_models`; ``by`` a covariate of the study."""
    from matplotlib.patches import Patch

    from cellkinetics.figures import style
    from cellkinetics.figures.style import tone

    subjects = list(dict.fromkeys(table.index.get_level_values("subject")))
    names = list(dict.fromkeys(table.index.get_level_values("model")))
    headings: dict[int, str] = {}
    if study is not None and by is not None:
        members, known = style.coloured(study, by)
        rows: list[str] = []
        for group in known:
            headings[len(rows)] = f"{by}: {groups.shown(group, by)}"
            rows += ["", *(subject for subject in subjects if members.get(subject) == group)]
        subjects = [*rows, *(subject for subject in subjects if subject == EVERYONE)]
    size = (5.6, 0.24 * len(subjects) + 1.3)
    ax = style.panels(axes, 1, 1, size, simulated=table.attrs["simulated"])[0]
    style.dress(ax)
    ax.grid(False)
    of = dict(zip(table.index, table["weight"].to_numpy(float), strict=True))
    shades = dict(zip(names, _colours(len(names)), strict=True))
    for y, subject in enumerate(subjects):
        if y in headings:
            ax.text(0, y, headings[y], ha="left", va="center", fontsize=style.TEXT, color=tone.ink, parse_math=False,
                    gid="group")  # fmt: skip
            continue
        left = 0.0
        for name in names:
            weight = of[subject, name]
            if not weight > 0:
                continue
            ax.barh(y, weight, left=left, height=0.72, color=shades[name], gid=name)
            if weight >= LEAST_WRITTEN:
                ax.text(left + weight / 2, y, f"{weight:.2f}", ha="center", va="center", fontsize=style.SMALL,
                        color=style.on(shades[name]))  # fmt: skip
            left += weight
    ax.set_yticks(range(len(subjects)), [style.shortened(str(subject), 14) for subject in subjects], parse_math=False)
    if EVERYONE in subjects:
        ax.get_yticklabels()[subjects.index(EVERYONE)].set_fontweight("bold")
    ax.set_ylim(len(subjects) - 0.4, -0.6)
    ax.set_xlim(0, 1)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    style.label(ax, "\n".join(style.wrapped(f"weight by {table.attrs['criterion']}", style.size(ax)[0])))
    key = [style.heading("model"), *((Patch(color=shades[name]), name) for name in names)]
    if axes is None:
        style.legend_below(ax, key)
    else:
        style.tidy(ax.legend(*style.entries(key), frameon=False))
    return ax
