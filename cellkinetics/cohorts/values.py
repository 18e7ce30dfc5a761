"""What cohorts are compared by: one value a patient for each window, as an interval where a limit hides it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.arrays import Floats
from cellkinetics.cohorts.curves import by_visit, sampling_days
from cellkinetics.cohorts.nca import TOLERANCE, Days, area_name, nca, rising
from cellkinetics.cohorts.nca_summary import CONFIDENCE
from cellkinetics.data.study import Study
from cellkinetics.domains import days as checked_days
from cellkinetics.errors import suggest
from cellkinetics.statistics.ranks import tied_at_limit
from cellkinetics.statistics.visits import asked_days
from cellkinetics.words import count, number_text

if TYPE_CHECKING:
    from cellkinetics.fitting.fits import Fits

EARLY, LATE = (0.0, 28.0), (28.0, 365.0)
# Samples up to here belong to the peak: the study that the library grew from asks for the dose after day 14.
PEAK_OVER = 14.0
STEPS = 561
# The questions of a comparison, each with its windows named before the values are seen. p is adjusted within one.
PEAK, EXPOSURE, PERSISTENCE, FITTED = "peak", "exposure", "persistence", "fitted curves"
# Quantities of `nca` that can be compared, as they are printed, and what they are about.
QUANTITIES = {
    "days_above_lloq": ("days above the limit", PERSISTENCE),
    "below_from": ("day from which on all samples are below the limit", PERSISTENCE),
    "half_life": ("half-life", PERSISTENCE),
    "half_life_tobit": ("half-life with censored samples", PERSISTENCE),
    "clast": ("last quantified level", PERSISTENCE),
    "tlast": ("day of the last quantified sample", PERSISTENCE),
    "tmax": ("day of the peak", EXPOSURE),
    "auc_0_last": ("AUC to the last quantified sample", EXPOSURE),
    "auc_0_inf": ("AUC to infinity", EXPOSURE),
}


@dataclass(frozen=True, eq=False)
class Window:
    """One value a patient.

    name : as it is printed, "peak, days 0-28".
    values : by subject, in the order of the study: lower, upper (equal where the value is known, NaN where there is
        none), reason (why there is none).
    hidden_by_limit : whether an interval reaches from below a limit, so that values under the largest limit are tied;
        else (areas) the test is done at both ends.
    family : the question that it is part of, "peak", "exposure" (of the first weeks), "persistence" or "fitted
        curves".
    matched : which samples a day stands for, "" where all are of that day.
    """

    name: str
    values: pd.DataFrame
    hidden_by_limit: bool
    family: str = EXPOSURE
    matched: str = ""


def windows(
    study: Study,
    output: str | None = None,
    days: Sequence[float] | None = None,
    chosen: Sequence[Days | str] | None = None,
    tolerance: float | None = None,
) -> list[Window]:
    """What is compared: by default the peak and the area to day 28, the level at each visit after day 14, a late area.

    Parameters
    ----------
    study : Study
    output : which output; the first when not given.
    days : days for the level; those with a sample of more than half of the subjects when not given.
    chosen : (first, last) days of areas, with the peak where they begin with the infusion, and names of
        `QUANTITIES`; (0, 28) and (28, 365) when not given.
    tolerance : days by which a sample may lie from its day; half the gap to the next sample when not given.

    Raises
    ------
    ValueError
        A window that does not rise, an unknown quantity, days that are no days.
    """
    pairs, names = _chosen(chosen)
    rows = sampling_days(study, output, tolerance)
    name = str(rows["output"].iloc[0]) if len(rows) else "1"
    if days is None:
        sampled = rows[rows["planned"] > PEAK_OVER].groupby("planned")["subject"].nunique()
        wanted = [float(str(day)) for day, n in sampled.items() if n > len(study.subjects) / 2]
    else:
        wanted = np.unique(checked_days(days, "days")).tolist() if len(days) else []
        rows = rows.assign(planned=asked_days(rows["subject"], rows["position"], wanted, tolerance))
    visits = by_visit(rows[rows["planned"].notna()])
    last = rows.groupby("subject")["since"].max().reindex(list(study.subjects))
    early, late = list[Window](), list[Window]()
    for pair in pairs:
        table = _of_output(nca(study, pair, tolerance=max(TOLERANCE, tolerance or 0.0)), name, study)
        label = f"days {number_text(pair[0])}-{number_text(pair[1])}"
        if pair[0] == 0:
            early.append(Window(f"peak, {label}", _ends(table, "cmax"), True, PEAK))
        of_pair = Window(f"AUC, {label}", _ends(table, area_name(pair)), False, family_of(f"AUC, {label}"))
        (early if pair[0] == 0 else late).append(of_pair)
    levels = []
    for day in sorted(wanted):
        label, own = f"level, day {number_text(round(day, 2))}", rows[rows["planned"] == day]
        values = _level(visits[visits["planned"] == day], day, last, study)
        levels.append(Window(label, values, True, family_of(label), _matched(own, day)))
    found = [*early, *levels, *late]
    if names:
        table = _of_output(nca(study, EARLY), name, study)
        for quantity in names:
            label, family = QUANTITIES[quantity]
            found.append(Window(label, _ends(table, quantity), False, family))
    return found


def family_of(name: str) -> str:
    """The question that a window of days is part of, by its name.

    Examples
    --------
    >>> family_of("peak, days 0-28"), family_of("AUC, days 0-28"), family_of("level, day 90")
    ('peak', 'exposure', 'persistence')
    """
    if name.startswith("peak"):
        return PEAK
    if name.startswith("level"):
        return PERSISTENCE if float(name.rpartition(" ")[2]) > PEAK_OVER else EXPOSURE
    return EXPOSURE if name.startswith("AUC, days 0-") else PERSISTENCE


def _chosen(chosen: Sequence[Days | str] | None) -> tuple[list[Days], list[str]]:
    """Pairs of days, and names of quantities."""
    if chosen is None:
        return [EARLY, LATE], []
    if isinstance(chosen, str) or any(np.ndim(one) == 0 and not isinstance(one, str) for one in chosen):
        raise ValueError(f"windows={chosen!r}: give a list, such as [(0, 28), (28, 336), 'days_above_lloq'].")
    pairs, names = list[Days](), list[str]()
    for one in chosen:
        if not isinstance(one, str):
            pairs.append(rising(one, "windows"))
        elif one in QUANTITIES:
            names.append(one)
        else:
            known = ", ".join(QUANTITIES)
            raise ValueError(f"windows has no quantity {one!r}; there are {known}. {suggest(one, QUANTITIES)}".rstrip())
    return list(dict.fromkeys(pairs)), list(dict.fromkeys(names))


def _matched(own: pd.DataFrame, day: float) -> str:
    """The samples that stand for a day, where they are not all of that day."""
    if own.empty or (own["since"] == day).all():
        return ""
    first, last = (f"{end:.4g}" for end in (own["since"].min(), own["since"].max()))
    who = count(own["subject"].nunique(), "patient")
    return f"{who} sampled on day {first}" if first == last else f"{who} sampled on days {first} to {last}"


def ranked(window: Window, members: npt.NDArray[np.bool_]) -> list[Floats]:
    """What of a window is ranked, NaN for those who are not members: once, or the lower and the upper ends."""
    low, high = (window.values[end].to_numpy(float) for end in ("lower", "upper"))
    if not window.hidden_by_limit:
        return [np.where(members, ends, math.nan) for ends in (low, high)]
    scores = np.full(len(low), math.nan)
    scores[members] = tied_at_limit(low[members], high[members])
    return [scores]


def fitted_windows(fits: Fits) -> list[Window]:
    """Peak and area of the fitted curves to day 28; a fit that did not converge has its outcome as the reason."""
    peaks, areas = {}, {}
    for subject in fits.study.subjects:
        fit = fits.by_subject.get(subject)
        if fit is None or not fit.converged:
            reason = "not fitted" if fit is None else f"not converged: {fit.outcome}"
            peaks[subject] = areas[subject] = (math.nan, math.nan, reason)
            continue
        days = np.linspace(*EARLY, STEPS)
        column = next(iter(fit.model.outputs))
        curve = fit.predict(days + fits.study.infusion_day(subject))[column].to_numpy(float)
        area = float(np.trapezoid(curve, days))
        peaks[subject], areas[subject] = (float(curve.max()), float(curve.max()), ""), (area, area, "")
    return [
        Window("fitted peak, days 0-28", _table(peaks), False, FITTED),
        Window("fitted AUC, days 0-28", _table(areas), False, FITTED),
    ]


def _of_output(table: pd.DataFrame, output: str, study: Study) -> pd.DataFrame:
    return table[table["output"] == output].set_index("subject").reindex(list(study.subjects))


def _ends(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    lower = upper = table[metric]
    if f"{metric}_lower" in table and metric not in CONFIDENCE:
        lower, upper = table[f"{metric}_lower"], table[f"{metric}_upper"]
    reason = table[f"{metric}_reason"].where(lower.isna(), "").fillna("no sample of this output")
    return pd.DataFrame({"lower": lower, "upper": upper, "reason": reason})


def _level(own: pd.DataFrame, day: float, last: pd.Series, study: Study) -> pd.DataFrame:
    """The level of each patient at a visit, from one row a patient."""
    ends = own.set_index("subject")[["lower", "upper"]].reindex(list(study.subjects))
    reason = [
        "" if not math.isnan(low) else f"followed to day {end:.4g}" if end < day else "not sampled on this day"
        for low, end in zip(ends["lower"], last, strict=True)
    ]
    return ends.assign(reason=reason)


def _table(found: dict[str, tuple[float, float, str]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(found, orient="index", columns=["lower", "upper", "reason"]).rename_axis("subject")
