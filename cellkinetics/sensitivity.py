"""ln of a curve at the sampled times, with first and second derivatives by the free parameters: the compiled part.

Which parameters are free is data of the program (a 0/1 matrix), not part of it: one compilation serves every free
set of the same size, every patient of the same padded number of samples and every dose.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cellkinetics import cache, censoring
from cellkinetics.dosing import Doses
from cellkinetics.model import Model, names_of
from cellkinetics.solver import closed_form, solve_ode

# Programs are compiled for multiples of so many samples and free parameters: few of them serve every patient.
ROWS = 32
COLUMNS = 3
Floats = npt.NDArray[np.float64]
Tie = Callable[..., Any]


class Inputs(NamedTuple):
    """What a curve depends on, besides the free values.

    natural : (p,) the values of parameters that are not free, on the natural scale.
    basis : (p, k) 1 where the k-th free value is the p-th parameter.
    times, output : (n,) day and index of the output of each sample; n is padded.
    doses : events.
    """

    natural: Floats
    basis: Floats
    times: Floats
    output: npt.NDArray[np.int64]
    doses: Doses


class Curve(NamedTuple):
    """ln f (n,), its Jacobian (n, k), its Hessian (n, k, k) as far as asked for, and whether it was solved."""

    value: Any
    jacobian: Any
    hessian: Any
    solved: Any


def natural_values(model: Model, ties: tuple[tuple[str, Tie], ...], free: Any, inputs: Inputs) -> dict[str, Any]:
    """{name: natural value}: free ones from the estimation scale, ties from the others."""
    estimates, is_free = inputs.basis @ free, jnp.any(inputs.basis > 0, axis=1)
    values = {
        name: jnp.where(is_free[i], parameter.to_natural(estimates[i]), inputs.natural[i])
        for i, (name, parameter) in enumerate(model.parameters.items())
    }
    return values | {name: function(**{n: values[n] for n in names_of(function)}) for name, function in ties}


@lru_cache(maxsize=64)
def naturals(model: Model, ties: tuple[tuple[str, Tie], ...]) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """The compiled function (free, inputs) -> natural values and their derivatives (k,) by name."""

    def values(free: Any, inputs: Inputs) -> tuple[dict[str, Any], dict[str, Any]]:
        found = {name: jnp.asarray(v, float) for name, v in natural_values(model, ties, free, inputs).items()}
        return found, found

    @jax.jit
    def both(free: Any, inputs: Inputs) -> tuple[dict[str, Any], dict[str, Any]]:
        slopes, found = jax.jacfwd(values, has_aux=True)(free, inputs)
        return found, slopes

    return both


@lru_cache(maxsize=64)
def program(model: Model, ties: tuple[tuple[str, Tie], ...], order: int, implicit: bool) -> Callable[..., Curve]:
    """The compiled function (free (k,), inputs) -> Curve with derivatives up to ``order``."""
    cache.switch_on()

    def value(free: Any, inputs: Inputs) -> tuple[Any, tuple[Any, ...]]:
        values = natural_values(model, ties, free, inputs)
        if model.curve is not None:
            curves, solved = (
                closed_form(model, jnp.asarray(inputs.times), values, inputs.doses),
                jnp.array(True),
            )
        else:
            curves, solved = solve_ode(model, jnp.asarray(inputs.times), values, inputs.doses, implicit=implicit)
        stacked = jnp.stack([curves[name] for name in model.outputs])
        predicted = censoring.ln(stacked[inputs.output, jnp.arange(len(inputs.times))])
        return predicted, (predicted, solved)

    def first(free: Any, inputs: Inputs) -> tuple[Any, tuple[Any, ...]]:
        jacobian, (predicted, solved) = jax.jacfwd(value, has_aux=True)(free, inputs)
        return jacobian, (predicted, jacobian, solved)

    def run(free: Any, inputs: Inputs) -> Curve:
        if order == 0:
            predicted, (_, solved) = value(free, inputs)
            return Curve(predicted, None, None, solved)
        if order == 1:
            jacobian, (predicted, _, solved) = first(free, inputs)
            return Curve(predicted, jacobian, None, solved)
        hessian, (predicted, jacobian, solved) = jax.jacfwd(first, has_aux=True)(free, inputs)
        return Curve(predicted, jacobian, hessian, solved)

    return jax.jit(run)


def curve(
    model: Model,
    ties: tuple[tuple[str, Tie], ...],
    free: Floats,
    inputs: Inputs,
    order: int,
    *,
    rescue: bool = True,
) -> tuple[Curve, bool]:
    """The curve as numpy arrays; with ``rescue`` solved again implicitly where the explicit stepper ran out of steps.

    Returns
    -------
    The curve, and whether the implicit stepper was needed. ``solved`` is False if that failed too.
    """
    count = len(free)
    width = -(-count // COLUMNS) * COLUMNS
    basis = np.hstack([inputs.basis, np.zeros((len(inputs.basis), width - count))])
    inputs, free = inputs._replace(basis=basis), np.append(free, np.zeros(width - count))
    result = program(model, ties, order, False)(free, inputs)
    again = rescue and not bool(result.solved)
    if again:
        result = program(model, ties, order, True)(free, inputs)
    value, jacobian, hessian, solved = jax.tree.map(np.array, result)
    if order > 0:
        jacobian = jacobian[:, :count]
    if order > 1:
        hessian = hessian[:, :count, :count]
    return Curve(value, jacobian, hessian, solved), again


def finite_days(times: npt.ArrayLike) -> Floats:
    """Days as an array; ValueError for NaN and infinity."""
    days = np.atleast_1d(np.asarray(times, float))
    if not np.all(np.isfinite(days)):
        raise ValueError("times holds NaN or infinity. Give finite days.")
    return days


def padded_length(count: int) -> int:
    """The number of rows that a program is compiled for: the next multiple of 32."""
    return max(ROWS, -(-count // ROWS) * ROWS)


def pad(values: npt.ArrayLike, length: int, fill: float | None = None) -> Floats:
    """Fill up to ``length`` with ``fill``, or with the last value."""
    values = np.asarray(values, float)
    last = values[-1] if len(values) else 0.0
    return np.append(values, np.full(length - len(values), last if fill is None else fill))
