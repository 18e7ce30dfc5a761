"""Non-compartmental analysis of curves in which some samples are below a limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Flags, Floats
from cellkinetics.cohorts.areas import AREA_METHODS, Point, area
from cellkinetics.cohorts.half_lives import best_line, censored_line, given_line
from cellkinetics.data.overview import since_infusion
from cellkinetics.data.study import Study
from cellkinetics.errors import suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.notebook import table_with_card
from cellkinetics.running.phases import Phases
from cellkinetics.statistics.visits import combined
from cellkinetics.words import count, number_text

# Days by which the last sample may come before the end of a window.
DAYS_SHORT = 3.0
BLQ = ("interval", "zero", "half", "drop", "pknca")
# Of the many columns those that a reader looks for first; the area is the one of the window.
SHOWN_FIRST, SHOWN_LAST = ("n_samples", "n_censored", "cmax", "tmax"), ("half_life", "below_from")
SPELLED = {"cmax": "Cmax", "half_life": "half-life"}
MERGED = "of several samples at one time one is below its limit, and their mean may lie above it"
Days = tuple[float, float]
Metrics = dict[str, Any]


@domains.also_earlier("blq", "method", "terminal", "tolerance")
def nca(
    study: Study,
    window: Days = (0, 28),
    *,
    blq: str = "interval",
    method: str = AREA_METHODS[0],
    terminal: Days | Mapping[str, Days] | None = None,
    tolerance: float = DAYS_SHORT,
) -> pd.DataFrame:
    """Cmax, Tmax, areas, half-lives and times above the limit, one row a subject and output.

    Days count from each subject's first infusion. Several samples of a subject at one time are one, their geometric
    mean; where one of them is censored, only the ends of that mean are known (`visits.combined`). Excluded samples
    are not used, so a follow-up that ends (``until``) ends the analysis too. Every metric that cannot be computed is
    NaN, with its reason in ``<metric>_reason``.

    Parameters
    ----------
    study : Study
    window : the days of Cmax, Tmax and the area named after it (``auc_0_28``), both included.
    blq : what a censored sample is in an area (a sample above its upper limit always reaches to infinity):

        - "interval": all that it can be. The area lies between ``_lower`` (each at its lower end, 0 or the limit of
          detection) and ``_upper`` (each at its limit), and is NaN unless both are equal;
        - "zero", "half" (of its limit), "drop";
        - "pknca": PKNCA's default, 0 before the first and after the last quantified sample, else dropped.
    method : "linear-up/log-down", "linear" or "log", see `area`.
    terminal : (first, last) days of the terminal line, for all or {subject: days}; the line with the best adjusted
        R2 (`best_line`) where not given.
    tolerance : days by which the last sample may come before the end of the window; its level is then carried on.

    Returns
    -------
    DataFrame
        With a card of its own in a notebook. subject, cohort, output, n_samples, n_censored (in the window), then in
        the unit of the study, days, or their product:

        - cmax (the highest sample of the window; with ``_lower`` and ``_upper`` where a limit hides it), tmax (its
          first day);
        - auc_<window>, auc_0_last (to the last quantified sample of the follow-up), auc_0_inf (auc_0_last plus
          clast x half_life/ln 2), each with ``_lower`` and ``_upper``, and auc_extrapolated (the fraction of
          auc_0_inf after tlast);
        - clast, tlast: the last quantified sample;
        - half_life with half_life_adj_r2, half_life_n (samples), half_life_from (first day) and half_life_span (days
          of the line per half-life: below 2 it is a guess);
        - half_life_tobit with its 95% interval: the same days on, censored samples kept; with fewer than
          five quantified ones the sd has the stated prior of the fits (`censored_line`);
        - days_above_lloq, up to the last sample of the follow-up: gaps between two quantified samples count whole,
          gaps with a crossing half (``_lower`` without and ``_upper`` with those); NaN where no lower limit is known,
          or where a mean of several samples, one of them censored, may lie above the limit or below;
        - below_from: day from which on all samples are censored; the crossing lies between ``_lower`` and
          ``_upper`` (infinity where the last sample is quantified).

        The curve starts at 0 at the infusion where no sample is there.

    Raises
    ------
    ValueError
        An unknown ``blq`` or ``method``, a window or terminal days that do not rise or are no days, a negative
        tolerance, a subject in ``terminal`` who is not there.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> table = ck.nca(ck.example()).set_index("subject")
    >>> table.loc["P01", ["cmax", "tmax"]].tolist()
    [3970.0, 13.6]
    >>> table.loc["P10", "below_from_reason"]
    'the last sample, on day 181.9, is quantified'
    """
    phases = Phases()
    domains.instance(study, Study, "study", "Take ck.read_study(path), ck.example(), or the .study of fits.")
    start, end = rising(window, "window")
    tolerance = domains.not_negative(tolerance, "tolerance", 3)
    for name, value, known in (("blq", blq, BLQ), ("method", method, AREA_METHODS)):
        if value not in known:
            raise ValueError(
                f"there is no {name} {value!r}; there are {', '.join(known)}. {suggest(value, known)}".rstrip()
            )
    lines = terminal if isinstance(terminal, Mapping) else dict.fromkeys(study.subjects, terminal)
    if unknown := [subject for subject in lines if subject not in study.subjects]:
        raise ValueError(
            f"terminal has the subject {unknown[0]!r}, who is not there. {suggest(unknown[0], study.subjects)}".rstrip()
        )
    for given in lines.values():
        if given is not None:
            rising(given, "terminal")
    rows = combined(since_infusion(study), ("subject", "output", "since")).sort_values("since", kind="stable")
    outputs = list(dict.fromkeys(study.used["output"])) or ["1"]
    found = []
    for subject in study.subjects:
        cohort = study.covariates.at[subject, "cohort"]
        of_subject = rows[rows["subject"] == subject]
        own = [output for output in outputs if (of_subject["output"] == output).any()] or outputs[:1]
        for output in own:
            samples = of_subject[of_subject["output"] == output]
            with phases("metrics"):
                metrics = _metrics(samples, (start, end), blq, method, lines.get(subject), tolerance)
            found.append({"subject": subject, "cohort": cohort, "output": output} | metrics)
    table = pd.DataFrame(found)
    reasons = [column for column in table if str(column).endswith("_reason")]
    table = _kind()(table[[column for column in table if column not in reasons] + reasons])
    # What was asked, for `ck.save`, which keeps a table with its attributes.
    options = {"window": window, "blq": blq, "method": method, "terminal": terminal, "tolerance": tolerance}
    table.attrs |= {"verb": "nca", "data": study.sha256, "options": options}
    table.attrs["timings"] = phases.done(f"nca of {count(len(study.subjects), 'patient')}")
    table.attrs |= {"unit": study.unit, "simulated": study.simulated}
    return table


def rising(window: Days, name: str) -> Days:
    """Two days that rise, not before the infusion; a ValueError for anything else."""
    ends = domains.days(window, name, finite=False)
    if len(ends) != 2 or not 0 <= ends[0] < ends[1] < math.inf:
        text = ", ".join(f"{day:g}" for day in ends)
        raise ValueError(f"{name} ({text}) must be two days that rise, not before the infusion, such as (0, 28).")
    return float(ends[0]), float(ends[1])


def area_name(window: Days) -> str:
    """The column of the area over a window: auc_0_28."""
    return f"auc_{number_text(window[0])}_{number_text(window[1])}"


def _metrics(
    samples: pd.DataFrame, window: Days, blq: str, method: str, line: Days | None, tolerance: float
) -> Metrics:
    inside = samples[samples["since"].between(*window)]
    found: Metrics = {"n_samples": len(inside), "n_censored": int((inside["status"] != "quantified").sum())}
    found |= _peak(inside, window)
    found |= _window_area(samples, window, blq, method, tolerance)
    found |= _to_the_end(samples, blq, method, line)
    return found | _above(samples)


def _peak(inside: pd.DataFrame, window: Days) -> Metrics:
    if inside.empty:
        reason = f"no sample from day {window[0]:g} to day {window[1]:g}"
        return _value("cmax", math.nan, reason, math.nan, math.nan) | _value("tmax", math.nan, reason)
    low, high = float(inside["lower"].max()), float(inside["upper"].max())
    if low == high:
        tmax = inside.loc[inside["lower"] == low, "since"].iloc[0]
        return _value("cmax", low, "", low, high) | _value("tmax", float(tmax))
    if not (inside["status"] == "quantified").any() and not math.isinf(high):
        reason = MERGED if _seen(inside)[1].any() else "every sample of the window is below its limit"
    elif math.isinf(high):
        reason = f"a sample is above its upper limit, {low:g}"
    else:
        reason = f"a sample below its limit of {high:g} can be higher than the highest quantified one"
    return _value("cmax", math.nan, reason, low, high) | _value("tmax", math.nan, reason)


def _window_area(samples: pd.DataFrame, window: Days, blq: str, method: str, tolerance: float) -> Metrics:
    name, (start, end) = area_name(window), window
    if samples.empty:
        return _value(name, math.nan, "no sample", math.nan, math.nan)
    last = float(samples["since"].iloc[-1])
    if last < end - tolerance:
        reason = f"the last sample is on day {last:g}, before day {end:g}"
        return _value(name, math.nan, reason, math.nan, math.nan)
    areas = []
    for points in _curves(samples, blq):
        if len(points) == 1 and points[0].day == 0.0:
            return _value(name, math.nan, "no sample is left", math.nan, math.nan)
        if points[-1].day < end:
            if points[-1].day < end - tolerance:
                reason = f"the last sample that is not dropped is on day {points[-1].day:g}, before day {end:g}"
                return _value(name, math.nan, reason, math.nan, math.nan)
            points.append(points[-1]._replace(day=end))
        areas.append(area(points, start, end, method))
    return _interval(name, areas[0], areas[1], samples)


def _to_the_end(samples: pd.DataFrame, blq: str, method: str, line: Days | None) -> Metrics:
    """What goes to the last quantified sample and beyond."""
    seen = samples[samples["status"] == "quantified"]
    names = ("clast", "tlast")
    if seen.empty:
        reason = "no quantified sample" if len(samples) else "no sample"
        found = _value("auc_0_last", math.nan, reason, math.nan, math.nan)
        for name in names:
            found |= _value(name, math.nan, reason)
        found |= _half_lives(samples, seen, line)
        return found | _to_infinity(found)
    tlast, clast = float(seen["since"].iloc[-1]), float(seen["value"].iloc[-1])
    low, high = (area(points, 0.0, tlast, method) for points in _curves(samples[samples["since"] <= tlast], blq))
    found = _interval("auc_0_last", low, high, samples) | _value("clast", clast) | _value("tlast", tlast)
    found |= _half_lives(samples, seen, line)
    return found | _to_infinity(found)


def _half_lives(samples: pd.DataFrame, seen: pd.DataFrame, given: Days | None) -> Metrics:
    day, values = seen["since"].to_numpy(float), seen["value"].to_numpy(float)
    peak = float(day[np.argmax(values)]) if len(day) else -math.inf
    after = day > peak
    line = best_line(day[after], values[after]) if given is None else given_line(day, values, *given)
    found = _value("half_life", line.half_life, line.reason)
    found |= {"half_life_adj_r2": line.adj_r2, "half_life_n": line.n, "half_life_from": line.first}
    found["half_life_span"] = (line.last - line.first) / line.half_life
    since = samples["since"].to_numpy(float)
    if given is not None:
        kept = (since >= given[0]) & (since <= given[1])
    else:
        kept = since > peak if math.isnan(line.first) else since >= line.first
    ends = (samples.loc[kept, end].to_numpy(float) for end in ("lower", "upper"))
    half_life, low, high, reason = censored_line(since[kept], *ends)
    return found | _value("half_life_tobit", half_life, reason, low, high)


def _to_infinity(found: Metrics) -> Metrics:
    tail = found["clast"] * found["half_life"] / math.log(2)
    reason = found["auc_0_last_reason"] or found["half_life_reason"]
    ends = [found[f"auc_0_last{end}"] + tail for end in ("", "_lower", "_upper")]
    return _value("auc_0_inf", ends[0], reason, *ends[1:]) | _value("auc_extrapolated", tail / ends[0], reason)


def _above(samples: pd.DataFrame) -> Metrics:
    day = samples["since"].to_numpy(float)
    if not len(day):
        reason = "no sample"
        return _no_days_above(reason)
    if samples["lloq"].isna().all() and not samples["status"].isin(["below", "interval"]).any():
        return _no_days_above("no lower limit is known")
    surely, perhaps = _seen(samples)
    # Before the infusion there is nothing: the first gap crosses the limit, too.
    day, surely, perhaps = np.append(0.0, day), np.append(False, surely), np.append(False, perhaps)
    gap = np.diff(day)
    inside = float(gap[surely[1:] & surely[:-1]].sum())
    most = inside + float(gap[(perhaps[1:] | perhaps[:-1]) & ~(surely[1:] & surely[:-1])].sum())
    undecided = bool((surely != perhaps).any())
    reason = f"{MERGED}: between {inside:.6g} and {most:.6g} days"
    found = _value("days_above_lloq", math.nan if undecided else inside + (most - inside) / 2, reason, inside, most)
    first, last = (int(np.flatnonzero(each)[-1]) if each.any() else 0 for each in (surely, perhaps))
    end = float(day[last + 1]) if last < len(day) - 1 else math.inf
    if first < last:
        return found | _value("below_from", math.nan, f"{MERGED}, on day {day[last]:g}", float(day[first]), end)
    if math.isinf(end):
        reason = f"the last sample, on day {day[-1]:g}, is quantified"
        return found | _value("below_from", math.nan, reason, float(day[-1]), math.inf)
    return found | _value("below_from", end, "", float(day[last]), end)


def _seen(samples: pd.DataFrame) -> tuple[Flags, Flags]:
    """Whether each level is above the limit, surely and perhaps: a mean of wells reaches above that of one of them."""
    seen = samples["status"].isin(["quantified", "above"]).to_numpy(bool)
    limits = samples["lloq"]
    if "wells_averaged" in samples:
        # The limit of an average is what it may reach to, not that of its wells.
        limits = limits.mask((samples["wells_averaged"] > 1) & (samples["status"] != "quantified"))
    limits = limits.fillna(samples["lloq"].min())
    above = (samples["lower"] >= limits).to_numpy(bool) & (samples["upper"] > limits).to_numpy(bool)
    return seen | above, seen | (samples["upper"] > limits).to_numpy(bool)


def _no_days_above(reason: str) -> Metrics:
    found = _value("days_above_lloq", math.nan, reason, math.nan, math.nan)
    return found | _value("below_from", math.nan, reason, math.nan, math.nan)


def _curves(samples: pd.DataFrame, blq: str) -> tuple[list[Point], list[Point]]:
    """The points of the curve with every censored sample at its lowest, then at its highest; 0 at the infusion."""
    status, since = samples["status"].to_numpy(str), samples["since"].to_numpy(float)
    lower, upper = (samples[end].to_numpy(float).copy() for end in ("lower", "upper"))
    censored = np.isin(status, ["below", "interval"])
    vanishing = censored & (lower == 0)
    keep = np.ones(len(status), bool)
    if blq != "interval":
        vanishing[:] = False
        lower[censored] = upper[censored] = upper[censored] / 2 if blq == "half" else 0.0
    if blq == "drop":
        keep = ~censored
    if blq == "pknca" and not censored.all():
        seen = np.flatnonzero(~censored)
        middle = (np.arange(len(status)) > seen[0]) & (np.arange(len(status)) < seen[-1])
        keep = ~(censored & middle)
    return _points(since[keep], lower[keep], vanishing[keep]), _points(since[keep], upper[keep], ~keep[keep])


def _points(at: Floats, values: Floats, vanishing: Flags) -> list[Point]:
    points = [Point(float(day), float(c), bool(zero)) for day, c, zero in zip(at, values, vanishing, strict=True)]
    return points if points and points[0].day <= 0 else [Point(0.0, 0.0), *points]


def _interval(name: str, low: float, high: float, samples: pd.DataFrame) -> Metrics:
    if low == high:
        return _value(name, low, "", low, high)
    if math.isinf(high):
        return _value(name, math.nan, "a sample is above its upper limit", low, high)
    n = int((samples["status"] != "quantified").sum())
    text = "a censored sample" if n == 1 else "censored samples"
    return _value(name, math.nan, f"{text}: between {low:.6g} and {high:.6g}", low, high)


def _value(name: str, value: float, reason: str = "", *ends: float) -> Metrics:
    """A metric, its ends where it has any, and why it is NaN."""
    found: Metrics = {name: value}
    if ends:
        found |= {f"{name}_lower": ends[0], f"{name}_upper": ends[1]}
    return found | {f"{name}_reason": reason if math.isnan(value) else ""}


def _is_whole(table: pd.DataFrame) -> bool:
    """Whether it has the columns that a card shows."""
    return bool(area_of(table)) and {"subject", *SHOWN_FIRST, *SHOWN_LAST} <= set(table)


def _kind() -> type[pd.DataFrame]:
    """The class of the table: `NCATable`."""
    return table_with_card("NCATable", __name__, _is_whole)


def __getattr__(name: str) -> type[pd.DataFrame]:
    if name == "NCATable":
        return _kind()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def area_of(table: pd.DataFrame) -> str:
    """The column of the area of the window; "" where there is none."""
    known = (str(name) for name in table)
    return next((name for name in known if name.startswith("auc_") and name.split("_")[-1].isdecimal()), "")


def shown_of(table: pd.DataFrame) -> pd.DataFrame:
    """Its first columns: a value, or between which it lies, or nothing."""
    who = [name for name in ("subject", "cohort") if not table[name].isna().all()]
    several = ["output"] if table["output"].nunique() > 1 else []
    columns = {name: table[name] for name in (*who, *several)}
    for name in (*SHOWN_FIRST, area_of(table), *SHOWN_LAST):
        columns[name] = pd.Series([_cell(row, name) for row in table.to_dict("records")], index=table.index)
    return pd.DataFrame(columns)


def _cell(row: Any, name: str) -> Any:
    value, lower, upper = (float(row.get(each, math.nan)) for each in (name, f"{name}_lower", f"{name}_upper"))
    if not math.isnan(value) or math.isnan(lower) or math.isnan(upper):
        return value if name not in SHOWN_FIRST[:2] else int(value)
    return f"above {lower:.4g}" if math.isinf(upper) else f"{lower:.4g} to {upper:.4g}"


def words_of(table: pd.DataFrame) -> str:
    """How many have a value, and where the reasons of the others stand."""
    names = ("cmax", area_of(table), "half_life")
    have = [f"{SPELLED.get(name, name)} of {int(table[name].notna().sum())}" for name in names]
    text = (
        f"Of {len(table)} curves {', '.join(have)}. A value that is missing has its reason beside it, in <name>_reason"
    )
    return f"{text}; simulated data" if table.attrs.get("simulated") else text
