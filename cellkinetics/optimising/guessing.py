"""Start values from one patient's samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.errors import one_problem
from cellkinetics.modelling.functions import Function, call
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.parameter import Parameter
from cellkinetics.optimising.samples import Samples, courses_of, samples_each
from cellkinetics.solving.solver import NO_COURSES, Courses

if TYPE_CHECKING:
    from cellkinetics.data.study import Study

INSIDE = 1e-6  # how far from a bound a guess begins


def guess(model: Model, study: Study) -> dict[str, float]:
    """`Model.guess`: the defaults, with what the samples of the one subject show in their place."""
    if len(study.subjects) != 1:
        problem = f"a guess takes one subject and this study has {len(study.subjects)}"
        remedy = f"Take study.select(subjects={study.subjects[0]!r})." if study.subjects else ""
        raise one_problem(problem, remedy, study.source)
    cells = study.doses.loc[study.doses["kind"] == "cells", "amount"]
    dose = float(cells.iloc[0]) if len(cells) else 1.0
    samples, (courses, _) = samples_each(model, study)[study.subjects[0]], courses_of(model, study)
    return {**model.values(), **from_samples(model, samples, dose, courses)}


def from_samples(model: Model, samples: Samples, dose: float, courses: Courses = NO_COURSES) -> dict[str, float]:
    """What the samples say of the start values."""
    guesses = _asked(model, model.initial, samples, dose, courses)
    return {name: _inside(model.parameters[name], float(v)) for name, v in guesses.items() if np.isfinite(v)}


def alternatives(model: Model, samples: Samples, dose: float, courses: Courses = NO_COURSES) -> dict[str, Floats]:
    """{name: (m,)} other ways in which the curve may run through the samples."""
    found = _asked(model, model.alternatives, samples, dose, courses)
    return {name: np.asarray(values, float) for name, values in found.items()}


def _asked(
    model: Model, function: Function | None, samples: Samples, dose: float, courses: Courses
) -> Mapping[str, Any]:
    """What a function of the model that guesses says of the first output's samples; nothing where there is none."""
    if function is None:
        return {}
    samples = samples.taken(samples.output == 0) if samples.output.any() else samples
    if not len(samples):
        return {}
    # A censored sample stands at half its limit, one above at its limit.
    censored = np.where(np.isfinite(samples.upper), samples.upper / 2, samples.lower)
    values = np.where(samples.quantified, samples.upper, censored)
    inputs = {name: np.asarray(course.at(samples.day)) for name, course in courses.items()}
    defaults = {name: parameter.value for name, parameter in model.parameters.items()}
    found = call(
        function,
        {**defaults, "days": samples.day, "values": values, "quantified": samples.quantified, "dose": dose, **inputs},
    )
    for name in found:
        model.require(name)
    return found


def _inside(parameter: Parameter, value: float) -> float:
    """Pulled inside the bounds, by a millionth of their distance or of themselves: whatever the unit."""
    lower, upper = parameter.min, parameter.max
    if parameter.scale == "log":
        # An open lower end is 0, where ln has no value.
        least = lower * (1 + INSIDE) if lower > 0 else INSIDE * abs(parameter.value) if value <= 0 else 0.0
        return min(max(value, least), upper * (1 - INSIDE))
    margin = INSIDE * (upper - lower) if np.isfinite(upper - lower) else 0.0
    return min(max(value, lower + margin), upper - margin)
