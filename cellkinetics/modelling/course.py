"""A covariate over time, such as leukocytes: linear between its days, constant before the first and after the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cellkinetics.errors import ModelError, suggest

# Courses are padded to multiples of so many days: few programs serve every patient.
DAYS = 16


class Course(NamedTuple):
    """Days since the first infusion (g,) and the values on them (g,), padded by repeating the last."""

    days: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]

    def at(self, times: Any) -> jax.Array:
        """The values at ``times`` (n,)."""
        return jnp.interp(times, jnp.asarray(self.days), jnp.asarray(self.values))


def as_courses(
    given: Mapping[str, Any] | None, declared: Mapping[str, str], model: str, *, of_study: bool = False
) -> dict[str, Course]:
    """Read what a user gives for the inputs of a model.

    Parameters
    ----------
    given : {name: number, (day, value) pairs or `Course`}.
    declared : {name: unit}, as in ``Model.inputs``.
    of_study : whether they are of a study's columns, and not of an argument ``inputs``.

    Raises
    ------
    ModelError
        An input that the model does not have or that is not given, a value that is not finite.
    """
    given = given or {}
    for name in given:
        if name not in declared:
            has = ", ".join(declared) or "none"
            text = f"{model} has no input {name!r}; it has {has}. {suggest(str(name), declared)}".rstrip()
            raise ModelError(text.rstrip(), name=str(name))
    missing = [name for name in declared if name not in given]
    if missing:
        wanted = ", ".join(f"{name} ({declared[name]})" for name in missing)
        argument = f"inputs={{{missing[0]!r}: a number, or (day, value) pairs}}"
        remedy = "a column of that name in the study" if of_study else argument
        raise ModelError(f"{model} needs {wanted}. Give {remedy}.", name=missing[0])
    return {name: _course(name, given[name]) for name in declared}


def _course(name: str, value: Any) -> Course:
    if isinstance(value, Course):
        return value
    try:
        pairs = [(0.0, value)] if np.ndim(value) == 0 else value
        table = np.array(sorted((float(day), float(number)) for day, number in pairs)).reshape(-1, 2)
    except (TypeError, ValueError):
        raise ModelError(f"input {name} is {value!r}. Give a number or (day, value) pairs.", name=name) from None
    if not len(table) or not np.all(np.isfinite(table)):
        raise ModelError(f"input {name} has no value, or one that is not finite. Give a finite number.", name=name)
    padding = -len(table) % DAYS
    days, values = np.pad(table, ((0, padding), (0, 0)), mode="edge").T
    return Course(days, values)
