"""What cohorts are compared by: one value a patient for each window, as an interval where a limit hides it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.arrays import Floats
from cellkinetics.cohorts.curves import sampling_days
from cellkinetics.cohorts.nca import area_name, nca
from cellkinetics.data.study import Study
from cellkinetics.statistics.ranks import tied_at_limit

if TYPE_CHECKING:
    from cellkinetics.fitting.fits import Fits

EARLY, LATE_WINDOW = (0.0, 28.0), (28.0, 365.0)
# Samples up to here belong to the peak: the study that the library grew from asks for the dose after day 14.
PEAK_OVER = 14.0
GRID_STEPS = 561


class Kind(StrEnum):
    """What the value of a window is."""

    PEAK = "peak"
    AREA = "AUC"
    LEVEL = "level"


@dataclass(frozen=True, eq=False)
class Window:
    """One value a patient.

    name : as it is printed, "peak, days 0-28".
    kind : what it is of.
    values : by subject, in the order of the study: lower, upper (equal where the value is known, NaN where there is
        none), reason (why there is none).
    hidden_by_limit : whether an interval reaches from below a limit, so that values under the largest limit are tied;
        else (areas) the test is done at both ends.
    """

    name: str
    kind: Kind
    values: pd.DataFrame
    hidden_by_limit: bool


def windows(study: Study, output: str | None = None, days: list[float] | None = None) -> list[Window]:
    """Peak and area to day 28, the level on each planned day after 14, the area from day 28 to 365.

    Parameters
    ----------
    study : Study
    output : which output; the first when not given.
    days : planned days for the level; those with a sample of more than half of the subjects when not given.
    """
    rows = sampling_days(study, output)
    name = str(rows["output"].iloc[0]) if len(rows) else "1"
    early, late = (_of_output(nca(study, window), name, study) for window in (EARLY, LATE_WINDOW))
    if days is None:
        sampled = rows[rows["planned"] > PEAK_OVER].groupby("planned")["subject"].nunique()
        days = [float(str(day)) for day, n in sampled.items() if n > len(study.subjects) / 2]
    levels = [Window(f"level, day {day:g}", Kind.LEVEL, _level(rows, day, study), True) for day in sorted(days)]
    return [
        Window("peak, days 0-28", Kind.PEAK, _ends(early, "cmax"), True),
        Window("AUC, days 0-28", Kind.AREA, _ends(early, area_name(EARLY)), False),
        *levels,
        Window("AUC, days 28-365", Kind.AREA, _ends(late, area_name(LATE_WINDOW)), False),
    ]


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
        days = np.linspace(*EARLY, GRID_STEPS)
        column = next(iter(fit.model.outputs))
        curve = fit.predict(days + fits.study.infusion_day(subject))[column].to_numpy(float)
        area = float(np.trapezoid(curve, days))
        peaks[subject], areas[subject] = (float(curve.max()), float(curve.max()), ""), (area, area, "")
    return [
        Window("fitted peak, days 0-28", Kind.PEAK, _table(peaks), False),
        Window("fitted AUC, days 0-28", Kind.AREA, _table(areas), False),
    ]


def _of_output(table: pd.DataFrame, output: str, study: Study) -> pd.DataFrame:
    return table[table["output"] == output].set_index("subject").reindex(list(study.subjects))


def _ends(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    lower, upper = table[f"{metric}_lower"], table[f"{metric}_upper"]
    reason = table[f"{metric}_reason"].where(lower.isna(), "").fillna("no sample of this output")
    return pd.DataFrame({"lower": lower, "upper": upper, "reason": reason})


def _level(rows: pd.DataFrame, day: float, study: Study) -> pd.DataFrame:
    """Several samples of one day are one interval that holds them all."""
    own = rows[rows["planned"] == day].groupby("subject")
    ends = pd.DataFrame({"lower": own["lower"].min(), "upper": own["upper"].max()}).reindex(list(study.subjects))
    known = own["value"].apply(lambda values: math.exp(np.log(values).mean()) if values.notna().all() else math.nan)
    known = known.reindex(list(study.subjects)).astype(float)
    last = rows.groupby("subject")["since"].max().reindex(list(study.subjects))
    reason = [
        "" if not math.isnan(low) else f"followed to day {end:.4g}" if end < day else "not sampled on this day"
        for low, end in zip(ends["lower"], last, strict=True)
    ]
    return ends.assign(lower=known.fillna(ends["lower"]), upper=known.fillna(ends["upper"]), reason=reason)


def _table(found: dict[str, tuple[float, float, str]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(found, orient="index", columns=["lower", "upper", "reason"]).rename_axis("subject")
