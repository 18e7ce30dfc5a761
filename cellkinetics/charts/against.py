"""Values of patients over a covariate: a line through a number, the means of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data import groups
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError, suggest
from cellkinetics.figures import style
from cellkinetics.figures.names import names_across
from cellkinetics.figures.style import tone
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.lazily import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COVARIATES = 4


def covariates_of(
    study: Study, subjects: Sequence[str], asked: Sequence[str] | None, first: Sequence[str] = (), name: str = "by"
) -> list[str]:
    """Covariates asked for or, where None, the first ones, the dose and the cohort, as far as patients differ in them.

    Raises
    ------
    ModelError
        There is none of a name, or it is the same in all patients; ``name`` is that of the argument.
    """
    table = study.covariates.reindex(list(subjects))
    if asked is None:
        known = dict.fromkeys([*first, BY_DOSE, "cohort"])
        return [each for each in known if each in table and table[each].nunique() > 1 and _few(table[each])][
            :MOST_COVARIATES
        ]
    for each in asked:
        if each not in table:
            text = f"{name}: there is no covariate {each!r}. {suggest(each, map(str, table))}".rstrip()
            raise ModelError(text, name=each)
        if table[each].nunique() < 2:
            raise ModelError(f"{name}: {each} is the same in all patients.", name=each)
    return list(asked)


def draw(
    ax: Axes,
    study: Study,
    covariate: str,
    values: pd.Series[Any],
    colours: Mapping[str, str] | None = None,
    *,
    log: bool = False,
) -> None:
    """Values by subject over a number with a line, or over groups with their means.

    values : on the scale of the axes. colours : {subject: colour}; one for all when not given. log : whether the line
    and the means are those of the logarithm.
    """
    y = values.to_numpy(float)
    known, scaled = np.isfinite(y), np.log(y) if log else y
    shade = [tone.one] * len(y) if colours is None else [colours[str(subject)] for subject in values.index]
    given = study.covariates[covariate].reindex(list(values.index))
    if pd.api.types.is_numeric_dtype(given) and (covariate == BY_DOSE or _many(given)):
        x = given.to_numpy(float)
        known &= np.isfinite(x) & (x > 0 if covariate == BY_DOSE else True)
        _marks(ax, x, y, known, shade)
        if covariate == BY_DOSE:
            ax.dataLim.intervalx = (x[known].min() / 1.4, x[known].max() * 1.4)
            ax.set_xlim(*ax.dataLim.intervalx)
            style.few_ticks(ax)
            doses(ax)
        _line(ax, np.log(x[known]) if covariate == BY_DOSE else x[known], x[known], scaled[known], log=log)
        return
    members, order = groups.of(study, covariate)
    own = members.reindex(list(values.index)).where(given.notna())
    shown = [name for name in order if ((own == name).to_numpy() & known).any()]
    for at, name in enumerate(shown):
        inside = (own == name).to_numpy() & known
        spread = np.linspace(-0.12, 0.12, int(inside.sum())) if inside.sum() > 1 else np.zeros(1)
        place = np.full(len(y), float(at))
        place[inside] += spread
        _marks(ax, place, y, inside, shade)
        mean = scaled[inside].mean()
        ax.hlines(np.exp(mean) if log else mean, at - 0.28, at + 0.28, color=tone.ink, linewidth=1.4, gid="mean")
    names_across(ax, shown)


def _line(ax: Axes, at: Floats, x: Floats, y: Floats, *, log: bool) -> None:
    """The least-squares line, and the correlation above the axes; of two points neither says anything."""
    if len(at) < 3 or len(np.unique(at)) < 2 or len(np.unique(y)) < 2:
        return
    slope, level = np.polyfit(at, y, 1)
    ends = level + slope * np.array([at.min(), at.max()])
    ax.plot([x.min(), x.max()], np.exp(ends) if log else ends, color=tone.ink, linewidth=1.2, gid="line")
    said(ax, f"r = {np.corrcoef(at, y)[0, 1]:.2f}")


def _marks(ax: Axes, x: Floats, y: Floats, which: np.ndarray[Any, Any], shades: Sequence[str]) -> None:
    for shade in dict.fromkeys(shades):
        own = which & np.array([each == shade for each in shades])
        ax.plot(x[own], y[own], **style.marker("quantified", shade, 4.2), gid="value", zorder=3)


def said(ax: Axes, text: str) -> None:
    """A small text above the axes, at their right end."""
    ax.annotate(text, (1, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha="right", va="bottom",
                fontsize=style.SMALL, color=tone.faint)  # fmt: skip


def doses(ax: Axes) -> None:
    """Doses as they are written, 1e6."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    ax.xaxis.set_major_locator(LogLocator(numticks=4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.dose_text(float(f"{value:.4g}"))))


def _many(values: pd.Series[Any]) -> bool:
    """Whether values are a quantity: more than groups may be, or most patients have one of their own."""
    return values.nunique() > groups.MOST_GROUPS or 2 * values.nunique() > values.count()


def _few(values: pd.Series[Any]) -> bool:
    """A number, or groups that are not names of patients."""
    return pd.api.types.is_numeric_dtype(values) or values.nunique() <= groups.MOST_GROUPS
