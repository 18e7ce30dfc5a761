"""What a fitted curve says in the field's terms: peak, area, doubling time, half-lives, persistence, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.levels import unit_of_output
from cellkinetics.solving.simulation import before

if TYPE_CHECKING:
    from cellkinetics.fitting.result import Fit

MONTH = 28.0
LEVELS = (28.0, 90.0, 365.0)
LAST_DAY = 730.0  # days over which persistence is looked for
FINE, COARSE = 0.25, 1.03  # days up to day 28, then a ratio
DERIVED_STEP = 1e-3  # of central differences, on the estimation scale, in units of the parameter
SAMPLE_DRAWS, SAMPLE_SEED = 2000, 2020  # of a new sample under an error that has no closed interval
LN_NOTHING = -230.0  # a curve that has vanished
NO_FALL = "the curve does not fall there"
QUANTITY_COLUMNS = ["value", "lower", "upper", "unit", "note"]


@dataclass(frozen=True)
class _Quantity:
    """ln of a quantity from (days, ln f), its unit, until which day it looks, and why there may be none."""

    of: Callable[[Floats, Floats], float]
    unit: str
    until: float
    absent: str = "the curve is 0 there"


def predicted(fit: Fit, times: npt.ArrayLike | None, *, level: float, interval: str, doses: object) -> pd.DataFrame:
    """See `Fit.predict`."""
    level, first = domains.level(level), fit.study.infusion_day(fit.subject)
    if interval not in ("confidence", "prediction"):
        raise ValueError(f"interval={interval!r}: take 'confidence' (of the curve) or 'prediction' (of a new sample).")
    if times is None:
        last = float(fit.study.observations["day"].max())
        days = np.linspace(first, max(last, first + 1), 200)
    else:
        days = domains.days(times, "times")
    fit = fit if doses is None else _given(fit, doses)
    before(days - first)
    # What has no dose begins with the infusion: a closed form would run on backwards.
    since = days - first if takes_doses(fit.model) else np.maximum(days - first, 0.0)
    table = pd.DataFrame({"day": days})
    for index, output in enumerate(fit.output_names):
        ln_f, half = fit.ln_curve(since, index, level)
        # Nothing has been given yet: that is known exactly.
        half = np.where((since < 0) & np.isneginf(ln_f), 0.0, half)
        table[output] = np.exp(ln_f)
        ends = (ln_f - half, ln_f + half) if interval == "confidence" else _of_samples(fit, index, ln_f, half, level)
        with np.errstate(over="ignore"):
            table[f"{output}_lower"], table[f"{output}_upper"] = map(np.exp, ends)
    return table


def _given(fit: Fit, doses: object) -> Fit:
    """The same estimates under other doses."""
    if fit.kept is not None:
        raise ValueError("the fit was loaded without its model, which other doses need. ck.load(path, model=...).")
    if not fit.model.channels:
        raise ValueError(f"doses={doses!r}: {fit.model.name} has none, and its curve does not depend on them.")
    return replace(fit, problem=replace(fit.problem, doses=fit.model.doses(doses)))


def _of_samples(fit: Fit, output: int, ln_f: Floats, half: Floats, level: float) -> tuple[Floats, Floats]:
    """Ends of ln y of a new sample: the curve is uncertain, and the sample lies off it."""
    problem, quantile = fit.problem, fit.spread.quantile_of(level)
    outputs = len(problem.model.outputs)
    sds = fit.inflation * problem.sds(fit.x).reshape(-1, outputs)[:, output]
    if problem.error.name == "log":
        both = np.sqrt(half**2 + (quantile * sds[0]) ** 2)
        return ln_f - both, ln_f + both
    rng, size = np.random.default_rng(SAMPLE_SEED), SAMPLE_DRAWS * len(ln_f)
    masses = problem.samples.mass[np.isfinite(problem.samples.mass)]
    mass = np.full(size, np.median(masses) if len(masses) else np.nan)
    curves = np.exp(np.tile(ln_f, SAMPLE_DRAWS) + np.tile(half / quantile, SAMPLE_DRAWS) * rng.normal(size=size))
    draws = problem.error.drawn(curves, np.repeat(sds[:, None], size, axis=1), mass, np.True_, rng).reshape(
        SAMPLE_DRAWS, -1
    )
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(np.maximum(low, 0.0)), np.log(high)


def derived(fit: Fit, *, level: float = 0.95, output: str | None = None) -> pd.DataFrame:
    """See `Fit.derived`."""
    level, outputs = domains.level(level), list(fit.model.outputs)
    output = dict(zip(fit.output_names, outputs, strict=True)).get(str(output), output)
    if output is not None and output not in outputs:
        raise ValueError(f"output={output!r}: the model has {', '.join(outputs)}.")
    which = 0 if output is None else outputs.index(output)
    last = float(fit.problem.samples.day.max(initial=0.0))
    unit = unit_of_output(fit.model, outputs[which], fit.study.unit)
    quantities = _quantities(unit, fit.study.lloq)
    table = pd.DataFrame(index=pd.Index(list(quantities), name="quantity"), columns=QUANTITY_COLUMNS, dtype=object)
    table["unit"], table["note"] = [q.unit for q in quantities.values()], ""
    table[["value", "lower", "upper"]] = np.nan
    if not fit.fitted:
        table["note"] = f"not fitted: {fit.status}"
        return table.astype({"value": float, "lower": float, "upper": float})
    free = len(fit.problem.free)
    covariance = fit.covariance[:free, :free]
    quantile = fit.spread.quantile_of(level)
    steps = DERIVED_STEP * fit.problem.units(fit.x)[:free]
    curves = [_curve(fit, fit.x, which)]
    for at in range(free):
        for side in (1, -1):
            moved = fit.x.copy()
            moved[at] += side * steps[at]
            curves.append(_curve(fit, moved, which))
    for name, quantity in quantities.items():
        values = np.array([quantity.of(*curve) for curve in curves])
        centre = values[0]
        if not np.isfinite(centre):
            # Persistence has no end in sight when it is infinite, and none at all when the curve is never above.
            still = name == "time_above_lloq" and centre > 0
            table.loc[name, "note"] = f"still above the limit on day {LAST_DAY:g}" if still else quantity.absent
            continue
        slopes = (values[1::2] - values[2::2]) / (2 * steps)
        variance = float(slopes @ covariance @ slopes)
        table.loc[name, "value"] = float(np.exp(centre))
        if np.isfinite(variance):
            with np.errstate(over="ignore"):
                half = quantile * np.sqrt(max(variance, 0.0))
                table.loc[name, ["lower", "upper"]] = np.exp(centre + np.array([-half, half]))
        else:
            table.loc[name, "note"] = "no interval: the samples do not determine it"
        looked = float(np.exp(centre)) if name == "time_above_lloq" else quantity.until
        if looked > last:
            note = f"beyond the last sample (day {last:g})"
            table.loc[name, "note"] = "; ".join(filter(None, [str(table.loc[name, "note"]), note]))
    return table.astype({"value": float, "lower": float, "upper": float})


def _quantities(unit: str, lloq: float | None) -> dict[str, _Quantity]:
    quantities = {
        "c_max_of_curve": _Quantity(lambda t, f: _peak(t, f)[1], unit, 0.0),
        "t_max_of_curve": _Quantity(
            lambda t, f: _ln(_peak(t, f)[0]), "day", 0.0, "the curve is highest at the infusion"
        ),
        "auc_0_28": _Quantity(_area, f"{unit} x day", MONTH),
        "doubling_time": _Quantity(_doubling, "day", 0.0, "the curve does not rise"),
        "half_life_after_peak": _Quantity(_contraction, "day", 0.0, NO_FALL),
        "half_life_at_day_365": _Quantity(_terminal, "day", 365.0, NO_FALL),
    }
    if lloq is not None:
        quantities["time_above_lloq"] = _Quantity(
            lambda t, f: _persistence(t, f, np.log(lloq)), "day", LAST_DAY, "never above the limit"
        )
    for day in LEVELS:
        quantities[f"level_day_{day:g}"] = _Quantity(lambda t, f, day=day: float(np.interp(day, t, f)), unit, day)
    return quantities


def _curve(fit: Fit, x: Floats, output: int) -> tuple[Floats, Floats]:
    """Days since the infusion with those on which the curve has a kink, and ln f."""
    later = MONTH * COARSE ** np.arange(1, int(np.log(LAST_DAY / MONTH) / np.log(COARSE)) + 2)
    natural = fit.problem.natural(x)
    kinks = [natural[name] for name in (*fit.model.corners, *fit.model.switches)]
    days = np.unique([*np.arange(0, MONTH + FINE / 2, FINE), *later, *LEVELS, *[k for k in kinks if 0 < k < LAST_DAY]])
    ln_f, _ = fit.ln_curve(days, output, 0.95, x)
    return days, np.maximum(ln_f, LN_NOTHING)


def _peak(days: Floats, ln_f: Floats) -> tuple[float, float]:
    """Day and ln of the highest point: of a parabola through three, unless it is a kink."""
    at = int(np.argmax(ln_f))
    if at in (0, len(days) - 1):
        return float(days[at]), float(ln_f[at])
    (t0, t1, t2), (y0, y1, y2) = days[at - 1 : at + 2], ln_f[at - 1 : at + 2]
    left, right = (y1 - y0) / (t1 - t0), (y2 - y1) / (t2 - t1)
    before = (y0 - ln_f[at - 2]) / (t0 - days[at - 2]) if at > 1 else left
    if left - right > 4 * abs(before - left) + 1e-12:
        return float(t1), float(y1)
    curvature = (right - left) / (t2 - t0)
    slope = left + curvature * (t1 - t0)
    day = t1 - slope / (2 * curvature)
    return float(day), float(y1 - slope**2 / (4 * curvature))


def _area(days: Floats, ln_f: Floats) -> float:
    """Ln of the area to day 28; exponential between neighbouring days."""
    t, f = days[days <= MONTH], ln_f[days <= MONTH]
    change = np.diff(f)
    mean = np.where(np.abs(change) > 1e-8, np.expm1(change) / np.where(change == 0, 1.0, change), 1 + change / 2)
    return float(np.log(np.sum(np.exp(f[:-1]) * mean * np.diff(t))))


def _doubling(days: Floats, ln_f: Floats) -> float:
    """At the steepest rise."""
    top = int(np.argmax(ln_f))
    if top == 0:
        return float("-inf")
    slope = np.max(np.diff(ln_f[: top + 1]) / np.diff(days[: top + 1]))
    return _ln(np.log(2) / slope) if slope > 1e-9 else float("-inf")


def _contraction(days: Floats, ln_f: Floats) -> float:
    """At the steepest fall after the peak."""
    top = int(np.argmax(ln_f))
    if top == len(days) - 1:
        return float("inf")
    slope = np.max(-np.diff(ln_f[top:]) / np.diff(days[top:]))
    return _ln(np.log(2) / slope) if slope > 1e-9 else float("inf")


def _terminal(days: Floats, ln_f: Floats) -> float:
    """Of the slope around day 365."""
    at = int(np.searchsorted(days, 365.0))
    slope = -(ln_f[at + 1] - ln_f[at - 1]) / (days[at + 1] - days[at - 1])
    return _ln(np.log(2) / slope) if slope > 1e-9 else float("inf")


def _persistence(days: Floats, ln_f: Floats, ln_limit: float) -> float:
    """Last day on which the curve is above the limit."""
    above = np.flatnonzero(ln_f > ln_limit)
    if not len(above):
        return float("-inf")
    last = int(above[-1])
    if last == len(days) - 1:
        return float("inf")
    share = (ln_f[last] - ln_limit) / (ln_f[last] - ln_f[last + 1])
    return _ln(days[last] + share * (days[last + 1] - days[last]))


def _ln(value: float) -> float:
    return float(np.log(value)) if value > 0 else float("-inf")
