"""What cohorts are compared by: one value a patient for each window, as an interval where a limit hides it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.cohorts.curves import by_visit, sampling_days
from cellkinetics.cohorts.nca import DAYS_SHORT, Days, area_name, nca, rising
from cellkinetics.cohorts.nca_summary import CONFIDENCE
from cellkinetics.copies import HandsOutCopies
from cellkinetics.data.overview import since_infusion
from cellkinetics.data.study import Study
from cellkinetics.errors import suggest
from cellkinetics.fitting.derived import jumps_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.saving import storable
from cellkinetics.solving.pieces import both_sides
from cellkinetics.statistics.ranks import tied_at_limit
from cellkinetics.statistics.visits import asked_days
from cellkinetics.words import count, number_text

if TYPE_CHECKING:
    from cellkinetics.fitting.fits import Fits

EARLY, LATE_WINDOW = (0.0, 28.0), (28.0, 365.0)
# Samples up to here belong to the peak: the study that the library grew from asks for the dose after day 14.
PEAK_OVER = 14.0
# Of fitted curves: one a 20th of a day, in long windows fewer.
STEPS_A_DAY, POINTS_OF_A_CURVE = 20, 4000


@storable
class Kind(StrEnum):
    """What the value of a window is."""

    PEAK = "peak"
    AREA = "AUC"
    LEVEL = "level"
    QUANTITY = "quantity"


@storable
class Family(StrEnum):
    """A question of a comparison, its windows named before the values are seen. p is adjusted within one."""

    PEAK = "peak"
    EXPOSURE = "exposure"
    PERSISTENCE = "persistence"
    FITTED = "fitted curves"


# Quantities of `nca` that can be compared, as they are printed, and what they are about.
QUANTITIES = {
    "days_above_lloq": ("days above the limit", Family.PERSISTENCE),
    "below_from": ("day from which on all samples are below the limit", Family.PERSISTENCE),
    "half_life": ("half-life", Family.PERSISTENCE),
    "half_life_tobit": ("half-life with censored samples", Family.PERSISTENCE),
    "clast": ("last quantified level", Family.PERSISTENCE),
    "tlast": ("day of the last quantified sample", Family.PERSISTENCE),
    "tmax": ("day of the peak", Family.EXPOSURE),
    "auc_0_last": ("AUC to the last quantified sample", Family.EXPOSURE),
    "auc_0_inf": ("AUC to infinity", Family.EXPOSURE),
}
# Those that are of a window; the others are of the whole follow-up.
OF_A_WINDOW = ("tmax",)
AREA_NAME = re.compile(r"auc_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)")


@storable
@dataclass(frozen=True, eq=False)
class Window(HandsOutCopies):
    """One value a patient.

    name : as it is printed, "peak, days 0-28".
    kind : what it is of.
    values : by subject, in the order of the study: lower, upper (equal where the value is known, NaN where there is
        none), reason (why there is none).
    hidden_by_limit : whether an interval reaches from below a limit, so that values under the largest limit are tied;
        else (areas) the test is done at both ends.
    family : the question that it is part of; "exposure" is that of the first weeks.
    days : its first and last day; None where it has none.
    matched : which samples a day stands for, or how far areas are carried on; "" where all are of that day.
    """

    name: str
    kind: Kind
    values: pd.DataFrame
    hidden_by_limit: bool
    family: Family = Family.EXPOSURE
    matched: str = ""
    days: Days | None = None


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
    chosen : (first, last) days of areas, or "auc_0_90", with the peak where they begin with the infusion, and names of
        `QUANTITIES`; (0, 28) and (28, 365) when not given. The day of the peak is that of each window that begins
        with the infusion, of days 0-28 where none does; the other quantities are of the whole follow-up.
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
        seen = rows
    else:
        if np.ndim(days) == 0:
            raise ValueError(f"days={days!r}: give a list of days, such as [28, 84].")
        wanted = np.unique(domains.since_infusion(days)).tolist() if len(days) else []
        asked = rows.assign(planned=asked_days(rows["subject"], rows["position"], wanted, tolerance))
        seen, rows = pd.concat([rows, asked]), asked
    visits = by_visit(rows[rows["planned"].notna()])
    last = rows.groupby("subject")["since"].max().reindex(list(study.subjects))
    early, late = list[Window](), list[Window]()
    for pair in pairs:
        table, carried = _reaching(study, pair, name, seen, max(DAYS_SHORT, tolerance or 0.0))
        label = _days(pair)
        if pair[0] == 0:
            early.append(Window(f"peak, {label}", Kind.PEAK, _ends(table, "cmax"), True, Family.PEAK, days=pair))
        family, values = family_of(Kind.AREA, pair), _ends(table, area_name(pair))
        of_pair = Window(f"AUC, {label}", Kind.AREA, values, False, family, carried, pair)
        (early if pair[0] == 0 else late).append(of_pair)
    levels = []
    for day in sorted(wanted):
        label, own = f"level, day {number_text(round(day, 2))}", rows[rows["planned"] == day]
        values = _level(visits[visits["planned"] == day], day, last, study)
        family = family_of(Kind.LEVEL, (day, day))
        levels.append(Window(label, Kind.LEVEL, values, True, family, _matched(own, day), (day, day)))
    found = [*early, *levels, *late]
    for quantity in names:
        label, family = QUANTITIES[quantity]
        for pair in [pair for pair in pairs if pair[0] == 0] or [EARLY] if quantity in OF_A_WINDOW else [None]:
            table = _of_output(nca(study, pair or EARLY), name, study)
            label = label if pair is None else f"{label} of {_days(pair)}"
            found.append(Window(label, Kind.QUANTITY, _ends(table, quantity), False, family, days=pair))
    return found


def _reaching(study: Study, pair: Days, output: str, seen: pd.DataFrame, tolerance: float) -> tuple[pd.DataFrame, str]:
    """`nca` of a window, by subject, and whose last levels are carried on further than `tolerance`, in words.

    Who has a sample of the visit on the last day reaches it, however early it was: of levels it counts as well.
    """
    table = _of_output(nca(study, pair, tolerance=tolerance), output, study)
    there = seen[(seen["planned"] - pair[1]).abs() <= tolerance].groupby("subject")["since"].max()
    last = seen.groupby("subject")["since"].max()
    early = last[last.index.isin(there.index) & (last == there.reindex(last.index)) & (last < pair[1] - tolerance)]
    if early.empty:
        return table, ""
    wide = _of_output(nca(study, pair, tolerance=float(pair[1] - early.min())), output, study)
    table.loc[early.index] = wide.loc[early.index]
    days = dict.fromkeys(f"{day:.4g}" for day in (early.min(), early.max()))
    whose = "area ends" if len(early) == 1 else "areas end"
    words = f"{len(early)} {whose} on {'days' if len(days) > 1 else 'day'} {' to '.join(days)}, carried on"
    return table, words


def family_of(kind: Kind, window: Days) -> Family:
    """The question that a window of these days is part of.

    Examples
    --------
    >>> [str(family_of(kind, (0, 28))) for kind in (Kind.PEAK, Kind.AREA)], str(family_of(Kind.LEVEL, (90, 90)))
    (['peak', 'exposure'], 'persistence')
    """
    if kind is Kind.PEAK:
        return Family.PEAK
    late = window[0] > (PEAK_OVER if kind is Kind.LEVEL else 0)
    return Family.PERSISTENCE if late else Family.EXPOSURE


def _chosen(chosen: Sequence[Days | str] | None) -> tuple[list[Days], list[str]]:
    """Pairs of days, and names of quantities."""
    if chosen is None:
        return [EARLY, LATE_WINDOW], []
    if isinstance(chosen, str) or any(np.ndim(one) == 0 and not isinstance(one, str) for one in chosen):
        raise ValueError(f"windows={chosen!r}: give a list, such as [(0, 28), (28, 336), 'days_above_lloq'].")
    pairs, names = list[Days](), list[str]()
    for one in chosen:
        if not isinstance(one, str):
            pairs.append(rising(one, "windows"))
        elif one in QUANTITIES:
            names.append(one)
        elif area := AREA_NAME.fullmatch(one):
            pairs.append(rising((float(area[1]), float(area[2])), "windows"))
        else:
            known = f"there are {', '.join(QUANTITIES)}, and areas such as auc_0_90"
            raise ValueError(f"windows has no quantity {one!r}; {known}. {suggest(one, QUANTITIES)}".rstrip())
    return list(dict.fromkeys(pairs)), list(dict.fromkeys(names))


def _days(pair: Days) -> str:
    return f"days {number_text(pair[0])}-{number_text(pair[1])}"


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


def fitted_windows(fits: Fits, chosen: Sequence[Days | str] | None = None) -> list[Window]:
    """Areas of the fitted curves, with their peaks where a window begins with the infusion.

    A fit that did not converge has its outcome as the reason. Curves that go on beyond the last sample are counted in
    ``matched``: what lies there is the model's.

    Parameters
    ----------
    fits : of `fit_each`.
    chosen : as in `windows`; days 0-28 when not given.
    """
    pairs = [EARLY] if chosen is None else _chosen(chosen)[0]
    last = since_infusion(fits.study).groupby("subject")["since"].max()
    found = list[Window]()
    for pair in pairs:
        peaks, areas = {}, {}
        days = np.linspace(*pair, int(min(STEPS_A_DAY * (pair[1] - pair[0]), POINTS_OF_A_CURVE)) + 1)
        beyond = 0
        for subject in fits.study.subjects:
            fit = fits.by_subject.get(subject)
            if fit is None or not fit.converged:
                reason = "not fitted" if fit is None else f"not converged: {fit.outcome}"
                peaks[subject] = areas[subject] = (math.nan, math.nan, reason)
                continue
            # A dose ends the step before it.
            at = both_sides(days, jumps_of(fit))
            curve = np.exp(fit.ln_curve(at, 0)[0])
            area = float(np.trapezoid(curve, at))
            peaks[subject], areas[subject] = (float(curve.max()), float(curve.max()), ""), (area, area, "")
            beyond += float(last.get(subject, 0.0)) < pair[1] - DAYS_SHORT
        words = f"{count(beyond, 'curve')} beyond the last sample" if beyond else ""
        for name, kind, table in (("peak", Kind.PEAK, peaks), ("AUC", Kind.AREA, areas)):
            if kind is Kind.AREA or pair[0] == 0:
                label = f"fitted {name}, {_days(pair)}"
                found.append(Window(label, kind, _table(table), False, Family.FITTED, words))
    return found


def missing(fits: Fits) -> tuple[str, ...]:
    """Whose curves are among the `fitted_windows` and miss their samples."""
    return tuple(subject for subject, fit in fits.items() if fit.converged and fit.misfit)


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
