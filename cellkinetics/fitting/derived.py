"""What a fitted curve says in the field's terms: peak, area, doubling time, half-lives, persistence, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats, Ints
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.levels import unit_of_output
from cellkinetics.solving import pieces
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


class _Curve(NamedTuple):
    """Days (n,) since the infusion, ln f (n,) on them, and the numbers (j,) of those on which a dose or its end comes.

    The day before such a one is as near to it as can be: what is between the two is the jump, and no part of the curve.
    """

    days: Floats
    ln_f: Floats
    jumps: Ints

    def smooth(self, first: int, last: int) -> tuple[Floats, Floats]:
        """Lengths (m,) and changes of ln f (m,) of the steps between two days' numbers, jumps left out."""
        steps = np.setdiff1d(np.arange(first, last), self.jumps - 1)
        return self.days[steps + 1] - self.days[steps], self.ln_f[steps + 1] - self.ln_f[steps]


@dataclass(frozen=True)
class _Quantity:
    """ln of a quantity from a curve, its unit, until which day it looks, and why there may be none."""

    of: Callable[[_Curve], float]
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
        values = np.array([quantity.of(curve) for curve in curves])
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


def jumps_of(fit: Fit) -> Floats:
    """Days since the infusion, rising, on which a later dose, or an end of one, comes; none without the model."""
    if fit.kept is not None or not fit.fitted:
        return np.zeros(0)
    return pieces.jumps(fit.model, fit.problem.natural(fit.x), fit.problem.doses)


def _quantities(unit: str, lloq: float | None) -> dict[str, _Quantity]:
    quantities = {
        "c_max_of_curve": _Quantity(lambda curve: _peak(curve)[1], unit, 0.0),
        "t_max_of_curve": _Quantity(
            lambda curve: _ln(_peak(curve)[0]), "day", 0.0, "the curve is highest at the infusion"
        ),
        "auc_0_28": _Quantity(_area, f"{unit} x day", MONTH),
        "doubling_time": _Quantity(_doubling, "day", 0.0, "the curve does not rise"),
        "half_life_after_peak": _Quantity(_contraction, "day", 0.0, NO_FALL),
        "half_life_at_day_365": _Quantity(_terminal, "day", 365.0, NO_FALL),
    }
    if lloq is not None:
        quantities["time_above_lloq"] = _Quantity(
            lambda curve: _persistence(curve, np.log(lloq)), "day", LAST_DAY, "never above the limit"
        )
    for day in LEVELS:
        quantities[f"level_day_{day:g}"] = _Quantity(
            lambda curve, day=day: float(np.interp(day, curve.days, curve.ln_f)), unit, day
        )
    return quantities


def _curve(fit: Fit, x: Floats, output: int) -> _Curve:
    """On days since the infusion that are near each other after each dose, with those of jumps and kinks."""
    grid = np.concatenate([
        np.arange(0, MONTH + FINE / 2, FINE),
        MONTH * COARSE ** np.arange(1, int(np.log(LAST_DAY / MONTH) / np.log(COARSE)) + 2),
    ])  # fmt: skip
    natural, doses = fit.problem.natural(x), fit.problem.doses
    edges = pieces.jumps(fit.model, natural, doses)
    edges = edges[edges < LAST_DAY]
    kinks = pieces.kinks(fit.model, natural, doses)
    needed = np.unique([*LEVELS, *kinks[(kinks > 0) & (kinks < LAST_DAY)]])
    parts = list[Floats]()
    for begin, end in zip([0.0, *edges], [*edges, np.inf], strict=True):
        last = min(end, float(grid[-1]))
        within = needed[(needed >= begin) & (needed < end)]
        sides = np.array([begin, last * (1 - pieces.JUST_BEFORE) if end < np.inf else last])
        inner = begin + grid
        parts.append(pieces.apart(inner[inner < last], np.concatenate([within, sides])))
    days = np.concatenate(parts)
    ln_f, _ = fit.ln_curve(days, output, 0.95, x)
    return _Curve(days, np.maximum(ln_f, LN_NOTHING), np.cumsum([len(part) for part in parts[:-1]], dtype=np.int64))


def _peak(curve: _Curve) -> tuple[float, float]:
    """Day and ln of the highest point, which is between two jumps or at one side of one."""
    whole = zip(np.split(curve.days, curve.jumps), np.split(curve.ln_f, curve.jumps), strict=True)
    return max((_peak_between(*part) for part in whole), key=lambda peak: peak[1])


def _peak_between(days: Floats, ln_f: Floats) -> tuple[float, float]:
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


def _area(curve: _Curve) -> float:
    """Ln of the area to day 28; exponential between neighbouring days."""
    month = int(np.searchsorted(curve.days, MONTH, side="right")) - 1
    steps = np.setdiff1d(np.arange(month), curve.jumps - 1)
    length, change = curve.smooth(0, month)
    mean = np.where(np.abs(change) > 1e-8, np.expm1(change) / np.where(change == 0, 1.0, change), 1 + change / 2)
    return float(np.log(np.sum(np.exp(curve.ln_f[steps]) * mean * length)))


def _doubling(curve: _Curve) -> float:
    """At the steepest rise, which no dose makes."""
    top = int(np.argmax(curve.ln_f))
    if top == 0:
        return float("-inf")
    length, change = curve.smooth(0, top)
    slope = np.max(change / length, initial=0.0)
    return _ln(np.log(2) / slope) if slope > 1e-9 else float("-inf")


def _contraction(curve: _Curve) -> float:
    """At the steepest fall after the peak."""
    top = int(np.argmax(curve.ln_f))
    if top == len(curve.days) - 1:
        return float("inf")
    length, change = curve.smooth(top, len(curve.days) - 1)
    slope = np.max(-change / length, initial=0.0)
    return _ln(np.log(2) / slope) if slope > 1e-9 else float("inf")


def _terminal(curve: _Curve) -> float:
    """Of the slope around day 365, of the side that goes on where a dose comes there."""
    at = int(np.searchsorted(curve.days, 365.0))
    first, last = at - (at not in curve.jumps), at + (at + 1 not in curve.jumps)
    slope = -(curve.ln_f[last] - curve.ln_f[first]) / (curve.days[last] - curve.days[first])
    return _ln(np.log(2) / slope) if slope > 1e-9 else float("inf")


def _persistence(curve: _Curve, ln_limit: float) -> float:
    """Last day on which the curve is above the limit."""
    days, ln_f = curve.days, curve.ln_f
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
