"""Simulated patients of a plan, and what the windows of a comparison see of them, many studies at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Floats, Ints
from cellkinetics.cohorts.areas import AREA_METHODS
from cellkinetics.cohorts.nca import DAYS_SHORT
from cellkinetics.cohorts.values import EARLY, LATE_WINDOW, PEAK_OVER, Kind
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.likelihood.error_models import of as error_of
from cellkinetics.lowered import Program
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.typical import DrawnTypical
from cellkinetics.saving import storable

# Curves are solved so many at a time: one program, whatever the number of patients.
CURVES_A_PROGRAM = 1024


@storable
@dataclass(frozen=True, eq=False)
class Plan:
    """A study to be simulated.

    model, output : what is sampled.
    doses : (g,) of the cohorts, rising.
    days : (d,) of the samples, rising.
    values : {name: natural value} of the typical patient at the middle dose.
    effect : {name: exponent} of the dose by which parameters change.
    between : {name: SD between patients} on the scale of estimation.
    sd : of a sample, on the ln scale; of the last part of another ``error``.
    lloq : None where there is no limit.
    inputs : covariates over time, the same for all patients, as name and a number or days with values.
    factor : rows of the Cholesky factor of the correlations of ``between``; empty where there are none.
    drawn : draws of a posterior, in turn for each study, where they stand for what is above.
    error : the name of the error model. sds : of its parts, where it has several.
    """

    model: Model
    output: str
    doses: Floats
    days: Floats
    values: Mapping[str, float]
    effect: Mapping[str, float]
    between: Mapping[str, float]
    sd: float
    lloq: float | None
    inputs: tuple[tuple[str, Any], ...] = ()
    factor: tuple[tuple[float, ...], ...] = ()
    drawn: DrawnTypical | None = None
    error: str = LOG
    sds: tuple[float, ...] = ()

    @property
    def errors(self) -> str:
        """Of a sample, in words."""
        if self.error == LOG:
            return f"{self.sd:g}"
        parts = zip(error_of(self.error).parts, self.sds or (self.sd,), strict=True)
        return f"{', '.join(f'{part} {sd:g}' for part, sd in parts)} ({self.error} error)"

    @property
    def ends(self) -> tuple[float, float]:
        """The limit below which a sample is censored, as lower and upper end of such a sample."""
        return 0.0, self.lloq or 0.0

    def parameters(self, cohort: int, z: Floats, study: Ints | None = None) -> dict[str, Floats]:
        """Natural values of patients of a cohort; z is (n, k), one standard normal for each name of ``between``.

        study : (n,) the number of the study of each, which says of which draw it is.
        """
        away = float(np.log(self.doses[cohort]) - np.log(self.doses).mean())
        drawn = DrawnTypical({}, {}, np.zeros(0), {}) if self.drawn is None or study is None else self.drawn
        which = None if study is None else study % self._draws
        if len(drawn.factors):
            effects = np.einsum("nkl,nl->nk", drawn.factors[which], z)
        else:
            effects = (z @ np.array(self.factor).T if self.factor and z.shape[1] else z) * [*self.between.values()]
        moves = dict(zip(self.between, effects.T, strict=True))
        found: dict[str, Floats] = {}
        for name, value in self.values.items():
            parameter = self.model.parameters[name]
            at = np.full(len(z), float(value))
            if name in self.effect or name in self.between or name in drawn.estimates:
                known = name in drawn.estimates
                moved = drawn.estimates[name][which] if known else parameter.to_estimation(float(value))
                effect = drawn.effect[name][which] if name in drawn.effect else self.effect.get(name, 0.0)
                natural = np.asarray(parameter.to_natural(jnp.asarray(moved + effect * away + moves.get(name, 0.0))))
                at = np.clip(np.broadcast_to(natural, at.shape), parameter.min, parameter.max)
            found[name] = at
        return found

    @property
    def _draws(self) -> int:
        if self.drawn is None:
            return 1
        each = [*self.drawn.estimates.values(), *self.drawn.effect.values(), *self.drawn.sds.values()]
        return len(each[0]) if each else max(len(self.drawn.factors), 1)

    def curves(self, cohort: int, z: Floats, study: Ints | None = None) -> Floats:
        """(n, d) what patients of a cohort have in their blood; NaN where no solver finished."""
        solve, days = _program(self.model, self.output, self.inputs), jnp.asarray(self.days)
        parameters, parts = self.parameters(cohort, z, study), []
        for start in range(0, len(z), CURVES_A_PROGRAM):
            some = {name: at[start : start + CURVES_A_PROGRAM] for name, at in parameters.items()}
            count = len(next(iter(some.values())))
            filled = {name: np.pad(at, (0, CURVES_A_PROGRAM - count), mode="edge") for name, at in some.items()}
            parts.append(np.asarray(solve(days, filled, float(self.doses[cohort])))[:count])
        return np.concatenate(parts)

    def samples(self, cohort: int, patients: int, studies: Sequence[int], seed: int) -> Floats:
        """(studies, patients, d) measured copies, the limit not yet looked at.

        Each study and cohort has a stream of its own, drawn patient by patient: the first patients of a study are
        the same however many follow, and whichever studies are simulated together.
        """
        k, d = len(self.between), len(self.days)
        streams = [np.random.default_rng([seed, study, cohort]) for study in studies]
        drawn = np.stack([stream.normal(size=(patients, k + d)) for stream in streams])
        numbers = np.asarray(studies, int)
        each = np.repeat(numbers, patients)
        curves = self.curves(cohort, drawn[..., :k].reshape(-1, k), each).reshape(len(studies), patients, d)
        sds = np.array(self.sds or (self.sd,))
        if self.drawn is not None and self.output in self.drawn.sds:
            sds = self.drawn.sds[self.output][numbers % self._draws].T[..., None, None]
        return error_of(self.error).from_normal(curves, sds, drawn[..., k:], positive=self.lloq is None)


@cache.kept
def _program(model: Model, output: str, inputs: tuple[tuple[str, Any], ...]) -> Any:
    channels, takes, courses = len(model.channels), takes_doses(model), dict(inputs) or None

    def one(days: Any, values: Mapping[str, Any], dose: Any) -> Any:
        given = Doses(np.zeros(1), jnp.zeros((1, channels)).at[0, 0].set(dose)) if takes else None
        return model.solve(days, values, given, inputs=courses)[output]

    return Program(jax.vmap(one, in_axes=(None, 0, None)))


class Planned(NamedTuple):
    """A window of a plan: its name, as it is printed, what its value is of, and the days between which it lies."""

    name: str
    kind: Kind
    days: tuple[float, float]


def windows(plan: Plan, late_days: Sequence[float] | None) -> list[Planned]:
    """The windows that the schedule allows, as in `compare_cohorts`."""
    days = plan.days
    found = [Planned("peak, days 0-28", Kind.PEAK, EARLY)] if (days <= EARLY[1]).any() else []
    found += [Planned("AUC, days 0-28", Kind.AREA, EARLY)] * bool(days[-1] >= EARLY[1] - DAYS_SHORT)
    levels = days[days > PEAK_OVER] if late_days is None else late_days
    found += [Planned(f"level, day {day:g}", Kind.LEVEL, (float(day), float(day))) for day in levels]
    return found + [Planned("AUC, days 28-365", Kind.AREA, LATE_WINDOW)] * bool(days[-1] >= LATE_WINDOW[1] - DAYS_SHORT)


def ends(plan: Plan, window: Planned, copies: Floats) -> tuple[Floats, Floats]:
    """(..., d) measured copies to the lower and upper end of a window's value, (...); equal where it is known."""
    if plan.lloq is None:
        low, high = copies, copies
    else:
        below = copies < plan.lloq
        low, high = np.where(below, 0.0, copies), np.where(below, plan.lloq, copies)
    if window.kind is Kind.PEAK:
        early = plan.days <= EARLY[1]
        return low[..., early].max(axis=-1), high[..., early].max(axis=-1)
    if window.kind is Kind.LEVEL:
        at = int(np.flatnonzero(np.isclose(plan.days, window.days[0]))[0])
        return low[..., at], high[..., at]
    return areas(plan.days, low, low == 0, *window.days), areas(
        plan.days, high, np.zeros(high.shape, bool), *window.days
    )


def areas(days: Floats, values: Floats, vanishing: np.ndarray[Any, Any], start: float, end: float) -> Floats:
    """`areas.area` by the default rule (linear up, logarithmic down) of many curves with the same days.

    Parameters
    ----------
    days : (d,) rising, after the infusion, where the curve is 0.
    values, vanishing : (..., d) as in `areas.Point`.
    start, end : of the window; the last level is carried on to the end.

    Returns
    -------
    (...) copies x days.
    """
    assert AREA_METHODS[0] == "linear-up/log-down"
    shape = values.shape[:-1]
    level = np.concatenate([np.zeros((*shape, 1)), values, values[..., -1:]], axis=-1)
    gone = np.concatenate([np.zeros((*shape, 1), bool), vanishing, vanishing[..., -1:]], axis=-1)
    day = np.concatenate([[0.0], days, [max(end, days[-1])]])
    total = np.zeros(shape)
    for i in range(len(day) - 1):
        first, last = max(day[i], start), min(day[i + 1], end)
        if last > first:
            width = day[i + 1] - day[i]
            c1, c2 = level[..., i], level[..., i + 1]
            falls, zero = c2 < c1, gone[..., i] | gone[..., i + 1]
            rate = np.log(np.where(falls & ~zero, c2 / np.where(c1 > 0, c1, 1.0), 1.0)) / width
            at = [(when - day[i]) for when in (first, last)]
            # A straight line where the curve rises, c1 exp(rate x days) where it falls, nothing where it vanishes.
            straight = (last - first) * (c1 + (c2 - c1) * (at[0] + at[1]) / 2 / width)
            safe = np.where(rate < 0, rate, -1.0)
            curved = c1 * (np.exp(safe * at[1]) - np.exp(safe * at[0])) / safe
            total += np.where(falls, np.where(zero, 0.0, curved), straight)
    return total
