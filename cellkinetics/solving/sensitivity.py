"""ln of a curve at the sampled times, with first and second derivatives by the free parameters: the compiled part.

Which parameters are free is data of the program (a 0/1 matrix), not part of it: one compilation serves every free
set of the same size, every patient of the same padded number of samples and every dose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cellkinetics import cache, readiness
from cellkinetics.arrays import Flags, Floats
from cellkinetics.likelihood import censoring
from cellkinetics.lowered import Program
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.functions import call
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method, methods
from cellkinetics.solving.captured import filled
from cellkinetics.solving.solver import CURVE_DAYS, NO_COURSES, Courses, by, few_sizes, prepared_for

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from cellkinetics.arrays import Numeric

# Programs are compiled for few numbers of samples, and for multiples of free parameters: few serve every patient.
SAMPLE_ROWS = 32
FREE_COLUMNS = 3
HESSIAN_STEP = 1e-4  # of central differences, on the estimation scale
Tie = Callable[..., Any]
Ties = tuple[tuple[str, Tie], ...]


class Inputs(NamedTuple):
    """What a curve depends on, besides the free values.

    offset : (p,) of parameters that are not free their natural values; of the others 0, or what is added on their
        estimation scale, such as a mean.
    basis : (p, k) estimates are ``offset + basis @ free``: 1 where the k-th free value is the p-th parameter, or any
        numbers, such as a Cholesky factor of what varies about the mean.
    is_free : (p,) whether it is.
    times, output : (n,) day and index of the output of each sample; n is padded.
    doses : events.
    courses : covariates over time, where the model takes any.
    prepared : what the model's structure takes, for each fineness; None for those that are not asked.
    least : (n,) what is added to the curve before its logarithm, in the unit of the output; see `censoring.ln`.
    captured : (c,) numbers that ties take from around them; see `captured.parted`.
    """

    offset: Float[Numeric, "*patients parameters"]
    basis: Float[Numeric, "*patients parameters free"]
    is_free: Bool[Numeric, "*patients parameters"]
    times: Float[Numeric, "*patients samples"]
    output: Int[Numeric, "*patients samples"]
    doses: Doses
    courses: Courses = NO_COURSES
    prepared: tuple[Any, ...] = ()
    least: Float[Numeric, "*patients samples"] | float = 0.0
    captured: Float[Numeric, "*patients numbers"] | tuple[()] = ()


def inputs_of(
    model: Model,
    values: Mapping[str, float],
    free: Sequence[str],
    days: npt.ArrayLike,
    output: npt.ArrayLike,
    doses: Doses,
    courses: Courses = NO_COURSES,
    *,
    length: int | None = None,
    width: int | None = None,
    prepare: bool = True,
    least: npt.ArrayLike = 0.0,
    captured: Floats | tuple[()] = (),
) -> Inputs:
    """What the curve takes at samples, padded so that few programs are compiled.

    Parameters
    ----------
    values : natural values of all parameters.
    free : names of those that are free.
    days, output : (n,) day of each sample and index of its output.
    length, width : samples and free values padded to; None for one of `few_sizes` of the one, and none of the other.
    prepare : whether what the model's own solution takes on these days is made too.
    least : (outputs,) or a number, added to the curve before its logarithm; with 0 a curve of 0 has ln -inf.
    captured : (c,) numbers that the ties take from around them.
    """
    readiness.refuse()
    names, days = list(model.parameters), np.asarray(days, float)
    length, width = (
        few_sizes(len(days), SAMPLE_ROWS) if length is None else length,
        len(free) if width is None else width,
    )
    basis, is_free = _layout(tuple(names), tuple(free), width)
    times = pad(days, length)
    places = pad(output, length, 0.0).astype(np.int64)
    return Inputs(
        np.where(is_free, 0.0, np.array([values[name] for name in names], float)),
        basis,
        is_free,
        times,
        places,
        doses,
        courses,
        prepared_for(model, times, doses) if prepare else (),
        np.broadcast_to(np.asarray(least, float), len(model.outputs))[places],
        captured,
    )


@lru_cache(maxsize=256)
def _layout(names: tuple[str, ...], free: tuple[str, ...], width: int) -> tuple[Floats, Flags]:
    """Of parameters (n,): 1 (n, width) where the free values go, and whether each is free."""
    basis = np.zeros((len(names), width))
    basis[[names.index(name) for name in free], np.arange(len(free))] = 1.0
    is_free = np.isin(names, list(free))
    for array in (basis, is_free):
        array.flags.writeable = False
    return basis, is_free


class Curve(NamedTuple):
    """ln f (n,), its Jacobian (n, k), its Hessian (n, k, k) as far as asked for, and whether it was solved."""

    value: Float[Numeric, " samples"]
    jacobian: Float[Numeric, "samples free"]
    hessian: Float[Numeric, "samples free free"]
    solved: Bool[Numeric, ""]


def natural_values(model: Model, ties: Ties, free: Any, inputs: Inputs) -> dict[str, Any]:
    """{name: natural value}: free ones from the estimation scale, ties from the others."""
    estimates = inputs.offset + inputs.basis @ free
    values = {
        name: jnp.where(inputs.is_free[i], parameter.to_natural(estimates[i]), inputs.offset[i])
        for i, (name, parameter) in enumerate(model.parameters.items())
    }
    return values | {name: call(filled(function, inputs.captured), values) for name, function in ties}


@cache.kept
def naturals(model: Model, ties: Ties) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """The compiled function (free, inputs) -> natural values and their derivatives (k,) by name."""

    def values(free: Any, inputs: Inputs) -> tuple[dict[str, Any], dict[str, Any]]:
        natural = {name: jnp.asarray(v, float) for name, v in natural_values(model, ties, free, inputs).items()}
        return natural, natural

    @Program
    def both(free: Any, inputs: Inputs) -> tuple[dict[str, Any], dict[str, Any]]:
        slopes, natural = jax.jacfwd(values, has_aux=True)(free, inputs)
        return natural, slopes

    return both


def ln_curve(model: Model, ties: Ties, method: Method, free: Any, inputs: Inputs) -> tuple[Any, Any]:
    """Ln f at the samples (n,) and whether it was solved."""
    values = natural_values(model, ties, free, inputs)
    curves, solved = by(
        method, model, jnp.asarray(inputs.times), values, inputs.doses, inputs.courses, prepared=inputs.prepared
    )
    stacked = jnp.stack([curves[name] for name in model.outputs])
    return censoring.ln(stacked[inputs.output, jnp.arange(len(inputs.times))], inputs.least), solved


def evaluate(model: Model, ties: Ties, method: Method, free: Any, inputs: Inputs) -> tuple[Any, Any, Any]:
    """Ln f (n,), its Jacobian (n, k) by the free values, and whether it was solved."""

    def value(free: Any) -> tuple[Any, tuple[Any, Any]]:
        predicted, solved = ln_curve(model, ties, method, free, inputs)
        return predicted, (predicted, solved)

    jacobian, (predicted, solved) = jax.jacfwd(value, has_aux=True)(free)
    return predicted, jacobian, solved


def evaluate_twice(model: Model, ties: Ties, method: Method, free: Any, inputs: Inputs) -> tuple[Any, Any, Any, Any]:
    """As `evaluate`, with the Hessian (n, k, k) before the flag.

    Slopes written by hand are exact to rounding, and their central differences to 1e-8, at a tenth of the time, and of
    the compile time, of differentiating them again.
    """

    def first(at: Any) -> tuple[Any, tuple[Any, Any, Any]]:
        predicted, jacobian, solved = evaluate(model, ties, method, at, inputs)
        return jacobian, (predicted, jacobian, solved)

    if method is Method.CLOSED_FORM:
        hessian, (predicted, jacobian, solved) = jax.jacfwd(first, has_aux=True)(free)
        return predicted, jacobian, hessian, solved
    moves = HESSIAN_STEP * jnp.concatenate([jnp.zeros((1, len(free))), jnp.eye(len(free)), -jnp.eye(len(free))])
    slopes, (predicted, _, solved) = jax.vmap(lambda move: first(free + move))(moves)
    above, below = slopes[1 : len(free) + 1], slopes[len(free) + 1 :]
    hessian = jnp.moveaxis(above - below, 0, -1) / (2 * HESSIAN_STEP)
    return predicted[0], slopes[0], 0.5 * (hessian + jnp.swapaxes(hessian, 1, 2)), jnp.all(solved)


@cache.kept
def program(model: Model, ties: Ties, order: int, method: Method) -> Callable[..., Curve]:
    """The compiled function (free (k,), inputs) -> Curve with derivatives up to ``order``, by one way of solving."""

    def run(free: Any, inputs: Inputs) -> Curve:
        if order == 0:
            predicted, solved = ln_curve(model, ties, method, free, inputs)
            return Curve(predicted, None, None, solved)
        if order == 1:
            predicted, jacobian, solved = evaluate(model, ties, method, free, inputs)
            return Curve(predicted, jacobian, None, solved)
        return Curve(*evaluate_twice(model, ties, method, free, inputs))

    return Program(run)


def curve(
    model: Model,
    ties: Ties,
    free: Floats,
    inputs: Inputs,
    order: int,
    *,
    rescue: bool = True,
) -> tuple[Curve, bool]:
    """The curve as numpy arrays; with ``rescue`` solved again by the next method where one gave up.

    Returns
    -------
    The curve, and whether the implicit stepper was needed where it is not the model's own. ``solved`` is False if
    all failed.
    """
    readiness.refuse()
    count = len(free)
    width = -(-count // FREE_COLUMNS) * FREE_COLUMNS
    basis = np.hstack([inputs.basis, np.zeros((len(inputs.basis), width - count))])
    inputs, free = inputs._replace(basis=basis), np.append(free, np.zeros(width - count))
    first, *others = methods(model)
    if first.fineness is not None and others[0].fineness is not None and len(inputs.times) >= CURVE_DAYS:
        # A curve that is drawn is solved more finely at once: what is too coarse for one patient of many would cost a
        # program more.
        first, *others = others
    result, again = program(model, ties, order, first)(free, _for(first, inputs)), False
    for method in others if rescue else ():
        if bool(result.solved):
            break
        result, again = program(model, ties, order, method)(free, _for(method, inputs)), method is Method.IMPLICIT
    value, jacobian, hessian, solved = jax.tree.map(np.array, result)
    if order > 0:
        jacobian = jacobian[:, :count]
    if order > 1:
        hessian = hessian[:, :count, :count]
    return Curve(value, jacobian, hessian, solved), again


def _for(method: Method, inputs: Inputs) -> Inputs:
    """Without what was prepared for other methods: a program is compiled for the shapes of all that it is given."""
    prepared = tuple(each if place == method.fineness else None for place, each in enumerate(inputs.prepared))
    return inputs._replace(prepared=prepared)


def padded_length(count: int, multiple: int) -> int:
    """What a program is compiled for instead of ``count``: the next multiple, and at least one."""
    return max(multiple, -(-count // multiple) * multiple)


def pad(values: npt.ArrayLike, length: int, fill: float | None = None) -> Floats:
    """Fill up to ``length`` with ``fill``, or with the last value."""
    values = np.asarray(values, float)
    count, padded = len(values), np.empty(max(length, len(values)))
    padded[:count] = values
    if count < length:
        padded[count:] = fill if fill is not None else values[-1] if count else 0.0
    return padded
