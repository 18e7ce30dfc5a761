"""One patient's estimation problem: the samples, the free parameters, the objective and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cellkinetics import cache
from cellkinetics.arrays import Floats
from cellkinetics.likelihood.censoring import Rows, least_of
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.likelihood.error_models import ERRORS, LOG
from cellkinetics.likelihood.sd_prior import SdPrior
from cellkinetics.lowered import Program
from cellkinetics.modelling import travel
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.parameter import Parameter
from cellkinetics.modelling.prior import NormalPriors
from cellkinetics.optimising.samples import Samples
from cellkinetics.saving import storable
from cellkinetics.solving.sensitivity import SAMPLE_ROWS, Curve, Inputs, Tie, curve, inputs_of, naturals, pad
from cellkinetics.solving.solver import NO_COURSES, Courses, few_sizes

OPEN_END = float(np.log(1e12))


@dataclass(eq=False)
class Solves:
    """What did not go in the batch by the first method alone.

    implicit : solves that needed the implicit stepper where it is not the model's own; a search in a batch counts once.
    one_by_one : searches that went on for this problem alone.
    """

    implicit: int = 0
    one_by_one: int = 0


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, one subject's samples and what is free.

    The free vector ``x`` holds the free parameters on their estimation scale, then ln sd of each output whose sd
    is estimated (of an error model with two, ``sd_add`` of each output and then ``sd_prop``). Derivatives are those of
    -log-likelihood on the scale of ln(copies).

    Parameters
    ----------
    model : the model.
    samples : those in the likelihood.
    doses : events.
    values : natural values of all parameters; those of free ones are where the default start lies.
    free : names of the free parameters.
    ties : (name, function of natural values) pairs, as `captured.parted` gives the functions.
    sd : (parts x outputs,) sds, in the order of `sd_names`, fixed or where the optimiser starts.
    sd_free : (parts x outputs,) whether it is estimated.
    courses : covariates over time, on the days of the model.
    priors : of parameters and sds, on their estimation scales.
    error : how samples scatter about the curve.
    captured : (c,) numbers that the ties take from around them.
    few : {name of an sd: its prior} where samples are too few to estimate it by maximum likelihood.
    solves : counts while it is solved; the problem itself never changes, and `dataclasses.replace` makes another.
    """

    model: Model
    samples: Samples
    doses: Doses
    values: Mapping[str, float]
    free: tuple[str, ...]
    ties: tuple[tuple[str, Tie], ...]
    sd: Floats
    sd_free: np.ndarray[Any, np.dtype[np.bool_]]
    courses: Courses = field(default_factory=lambda: NO_COURSES)
    priors: NormalPriors = field(default_factory=NormalPriors)
    error: ErrorModel = ERRORS[LOG]
    captured: Floats = field(default_factory=lambda: np.zeros(0))
    few: Mapping[str, SdPrior] = field(default_factory=dict)
    solves: Solves = field(default_factory=Solves, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # A tie is a function, and may have been written in the call.
        return {**vars(self), "ties": travel.packed(self.ties)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "ties": travel.unpacked(state["ties"])})

    @property
    def solved_implicitly(self) -> int:
        """How many solves so far needed the implicit stepper where it is not the model's own."""
        return self.solves.implicit

    @cached_property
    def rows(self) -> Rows:
        """The samples on the ln scale, padded."""
        return self.samples.rows(few_sizes(len(self.samples), SAMPLE_ROWS), mass=self.error.needs_mass)

    @cached_property
    def quantified(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(padded n,) whether the sample is quantified."""
        return (self.rows.lower == self.rows.upper) & (self.rows.weight > 0)

    @cached_property
    def output(self) -> npt.NDArray[np.int64]:
        """(padded n,) index of the output of each sample."""
        return pad(self.samples.output, few_sizes(len(self.samples), SAMPLE_ROWS), 0.0).astype(np.int64)

    @cached_property
    def inputs(self) -> Inputs:
        """What the curve takes at the sampled days."""
        return self.inputs_at(self.samples.day, self.samples.output)

    def inputs_at(self, days: Floats, output: Sequence[int] | np.ndarray[Any, Any]) -> Inputs:
        """The same at other days, padded."""
        return inputs_of(
            self.model, self.values, self.free, days, output, self.doses, self.courses, least=self.least,
            captured=self.captured,
        )  # fmt: skip

    @cached_property
    def least(self) -> Floats:
        """(outputs,) what is added to the curve before its logarithm, in the unit of the samples."""
        samples = self.samples
        return least_of(samples.lower, samples.upper, samples.output, len(self.model.outputs))

    @cached_property
    def _constants(self) -> Inputs:
        """What is fixed and what is free, without samples."""
        nothing = Doses(np.zeros(1), np.zeros((1, 0)))
        return inputs_of(
            self.model, self.values, self.free, [0.0], [0], nothing, length=1, prepare=False, captured=self.captured
        )

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Bounds of ``x``; an open end of a log or logit scale lies a factor of 1e12 away; sds have floors."""
        parameters = self.model.parameters
        ends = [_ends(parameters[name], self.values[name]) for name in self.free]
        floors = [(floor, np.inf) for floor in self.ln_sd_floors[self.sd_free]]
        lower, upper = np.array([*ends, *floors]).reshape(-1, 2).T
        return lower, upper

    @cached_property
    def ln_sd_floors(self) -> Floats:
        """(sds,) ln of the lowest estimate."""
        return self.error.ln_sd_floors(len(self.model.outputs), self.lowest)

    @cached_property
    def lowest(self) -> float:
        """The lowest value or limit of the samples, 1 where there is none."""
        ends = np.append(self.samples.lower, self.samples.upper)
        lowest = float(np.min(ends[(ends > 0) & np.isfinite(ends)], initial=np.inf))
        return lowest if np.isfinite(lowest) else 1.0

    @property
    def sd_names(self) -> list[str]:
        """Of all sds, estimated or not."""
        return self.error.sd_names(self.model.outputs)

    def units(self, x: Floats) -> Floats:
        """In what each value of ``x`` is counted: 1 on a log or logit scale, its own size on the natural one."""
        return np.where(self._by_size & (x != 0), np.abs(x), 1.0)

    @cached_property
    def _by_size(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Of ``x``, whether it is on the natural scale."""
        natural = [self.model.parameters[name].scale == "identity" for name in self.free]
        return np.array(natural + [False] * int(self.sd_free.sum()), bool)

    def start(self, values: Mapping[str, float]) -> Floats:
        """``x`` at these natural values, with the sd given for the problem."""
        estimates = [self.model.parameters[name].to_estimation(float(values[name])) for name in self.free]
        return np.concatenate([estimates, _ln(self.sd[self.sd_free])])

    def natural(self, x: Floats) -> dict[str, float]:
        """All parameters on the natural scale, ties included."""
        return self.natural_with_slopes(x)[0]

    def natural_with_slopes(self, x: Floats) -> tuple[dict[str, float], dict[str, Floats]]:
        """All parameters on the natural scale, ties included, and the derivative (len(x),) of each by ``x``."""
        parameters, free = self.model.parameters, list(self.free)
        if not self.ties:
            given = [float(value) for value in x[: len(free)]]
            estimated = {name: parameters[name].from_estimation(value) for name, value in zip(free, given, strict=True)}
            values = {name: estimated.get(name, float(value)) for name, value in self.values.items()}
            by_x = dict.fromkeys(parameters, np.zeros(len(x)))
            for name, own in zip(free, np.eye(len(free), len(x)), strict=True):
                by_x[name] = parameters[name].slope(values[name]) * own
            return values, by_x
        natural, slopes = naturals(self.model, self.ties)(x[: len(free)], self._constants)
        sds = np.zeros(len(x) - len(free))
        by_x = {name: np.append(np.array(slope), sds) for name, slope in slopes.items()}
        return {name: float(value) for name, value in natural.items()}, by_x

    def sds(self, x: Floats) -> Floats:
        """(parts x outputs,) sds, in the order of `sd_names`."""
        sds = self.sd.copy()
        sds[self.sd_free] = np.exp(x[len(self.free) :])
        return sds

    def curve(self, x: Floats, order: int, *, rescue: bool = True) -> Curve:
        """Ln f at the samples, with derivatives by the free parameters."""
        result, again = curve(self.model, self.ties, x[: len(self.free)], self.inputs, order, rescue=rescue)
        self.solves.implicit += again
        return result

    @property
    def names(self) -> list[str]:
        """What ``x`` holds: the free parameters, then the free sds."""
        sds = zip(self.sd_names, self.sd_free, strict=True)
        return [*self.free, *(name for name, free in sds if free)]

    def natural_of(self, at: int, value: float) -> float:
        """The natural value of the at-th of ``x``."""
        if at < len(self.free):
            return self.model.parameters[self.free[at]].from_estimation(value)
        return float(np.exp(value))

    @cached_property
    def prior(self) -> tuple[Floats, Floats]:
        """Mean (len(x),) and precision (len(x), len(x)) on the estimation scale; 0 where nothing is known."""
        if not self.priors and not self.few:
            size = len(self.free) + int(self.sd_free.sum())
            return np.zeros(size), np.zeros((size, size))
        mean, precision = self.priors.only(set(self.names) - set(self.few)).of_vector(self.names)
        for at, name in enumerate(self.names):
            if name in self.few:
                mean[at], precision[at, at] = self.few[name].centre, 1 / self.few[name].sd ** 2
        return mean, precision

    @cached_property
    def prior_roots(self) -> Floats:
        """(m, len(x)) whose square is the precision, a row for each prior."""
        known = np.diag(self.prior[1]) > 0
        rows = np.zeros((int(known.sum()), len(self.names)))
        rows[:, known] = np.linalg.cholesky(self.prior[1][np.ix_(known, known)]).T
        return rows

    def log_prior(self, x: Floats) -> float:
        """Of the priors, 0 at their centre; 0 without priors."""
        mean, precision = self.prior
        return -0.5 * float((x - mean) @ precision @ (x - mean))

    def objective(self, x: Floats) -> float:
        """What is maximised: log-likelihood plus log prior."""
        return self.log_likelihood(x) + self.log_prior(x)

    def log_likelihood(self, x: Floats) -> float:
        """Of ln(copies); -inf where the model could not be solved."""
        at = self.curve(x, 0)
        if not at.solved:
            return -np.inf
        return float(np.sum(np.array(_log_density(self.error)(at.value, self.ln_sd(x), self.rows))))

    def residuals(self, x: Floats) -> tuple[Floats, Floats]:
        """Root-deviances (padded n,) and their Jacobian (padded n, len(x)); NaN where the model could not be solved."""
        at = self.curve(x, 1)
        root, by_curve, *by_ln_sd = np.array(_roots(self.error)(at.value, self.ln_sd(x), self.rows))
        if not at.solved:
            root = np.full_like(root, np.nan)
        by_sds = np.einsum("pn,pnk->nk", np.array(by_ln_sd), self._sd_columns)
        return root, np.hstack([by_curve[:, None] * at.jacobian, by_sds])

    def root(self, x: Floats, *, rescue: bool = True) -> Floats:
        """Root-deviances alone (padded n,)."""
        at = self.curve(x, 0, rescue=rescue)
        if not at.solved:
            return np.full(len(at.value), np.nan)
        return np.array(_roots(self.error)(at.value, self.ln_sd(x), self.rows))[0]

    def first_order(self, x: Floats) -> SecondOrder:
        """As `second_order`, with minus the expected information as the Hessian; of a log-normal error."""
        at = self.curve(x, 1)
        value, first, second, _ = map(np.array, derivatives_of(self.error)(at.value, self.ln_sd(x), self.rows))
        jacobian, columns = at.jacobian, self._sd_columns[0]
        mean, precision = self.prior
        spread = np.where(self.quantified, 2.0, np.maximum(-second[1, 1], 0.0))
        information = precision + np.diag(np.append(np.zeros(jacobian.shape[1]), columns.T @ spread))
        of_curve = jacobian.T @ (np.maximum(-second[0, 0], 0.0)[:, None] * jacobian)
        information[: len(of_curve), : len(of_curve)] += of_curve
        gradient = np.concatenate([jacobian.T @ first[0], columns.T @ first[1]]) - precision @ (x - mean)
        total = float(value.sum()) + self.log_prior(x)
        return SecondOrder(total, gradient, -information, np.zeros_like(of_curve), bool(at.solved))

    def second_order(self, x: Floats) -> SecondOrder:
        """Value, gradient and exact Hessian of the objective, and the information in quantified rows."""
        at = self.curve(x, 2)
        value, first, second, known = map(np.array, derivatives_of(self.error)(at.value, self.ln_sd(x), self.rows))
        jacobian, columns = at.jacobian, self._sd_columns
        gradient = np.concatenate([jacobian.T @ first[0], np.einsum("pnk,pn->k", columns, first[1:])])
        mixed = jacobian.T @ np.einsum("pn,pnk->nk", second[0, 1:], columns)
        hessian = np.block(
            [
                [
                    jacobian.T @ (second[0, 0][:, None] * jacobian) + np.einsum("n,nij->ij", first[0], at.hessian),
                    mixed,
                ],
                [mixed.T, np.einsum("pnk,pqn,qnl->kl", columns, second[1:, 1:], columns)],
            ]
        )
        rows = self.quantified & self.sd_outputs[self.output]
        mean, precision = self.prior
        return SecondOrder(
            float(value.sum()) + self.log_prior(x),
            gradient - precision @ (x - mean),
            hessian - precision,
            (jacobian[rows].T * known[rows]) @ jacobian[rows],
            bool(at.solved),
        )

    @property
    def sd_outputs(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(outputs,) whether any sd of the output is estimated."""
        return np.any(self.sd_free.reshape(-1, len(self.model.outputs)), axis=0).reshape(-1)

    def ln_sd(self, x: Floats) -> Floats:
        """(parts, padded n) ln of the sds of each sample."""
        return self.ln_sds(x)[:, self.output]

    def ln_sds(self, x: Floats) -> Floats:
        """(parts, outputs) the same by output."""
        return _ln(self.sds(x)).reshape(-1, len(self.model.outputs))

    @property
    def ln_sd_given(self) -> Floats:
        """(sds,) ln of the sds before any is estimated."""
        return _ln(self.sd)

    @cached_property
    def _sd_columns(self) -> Floats:
        """(parts, padded n, free sds) 1 where the sample has that sd."""
        outputs = len(self.model.outputs)
        of_sample = np.arange(len(self.sd) // outputs)[:, None] * outputs + self.output
        return (of_sample[:, :, None] == np.flatnonzero(self.sd_free)).astype(float)


@lru_cache(maxsize=4096)
def _ends(parameter: Parameter, value: float) -> tuple[float, float]:
    """The bounds of a free parameter whose default start is at ``value``."""
    lower, upper = parameter.bounds
    if parameter.scale != "identity":
        centre = parameter.to_estimation(value or 1.0) if parameter.scale == "log" else 0.0
        lower, upper = max(lower, centre - OPEN_END), min(upper, centre + OPEN_END)
    return lower, upper


def _ln(sds: Floats) -> Floats:
    """Of an sd of 0 a number below all others: an additive part that is left out."""
    return np.log(np.maximum(sds, 1e-300))


@storable
@dataclass(frozen=True)
class SecondOrder:
    """The objective with derivatives by ``x``; ``quantified``: information of quantified rows of free sd."""

    value: float
    gradient: Floats
    hessian: Floats
    quantified: Floats
    solved: bool


@cache.kept
def _roots(error: ErrorModel) -> Callable[[Any, Any, Rows], jax.Array]:
    """The compiled function to (2 + parts, n) root-deviances and their derivatives by ln f and by each ln sd."""

    @Program
    def roots(value: jax.Array, ln_sd: jax.Array, rows: Rows) -> jax.Array:
        def root(point: jax.Array) -> jax.Array:
            return error.root_deviances(point[0], point[1:], rows)

        result, pushed = jax.linearize(root, jnp.concatenate([value[None], ln_sd]))
        along = jnp.eye(1 + len(ln_sd))[:, :, None] * jnp.ones((1, 1, len(value)))
        return jnp.stack([result, *(pushed(direction) for direction in along)])

    return roots


@cache.kept
def derivatives_of(error: ErrorModel) -> Callable[[Any, Any, Rows], tuple[Any, Any, Any, Any]]:
    """The compiled function to `ErrorModel.derivatives`, and the information of a quantified row."""

    @Program
    def both(value: jax.Array, ln_sd: jax.Array, rows: Rows) -> tuple[Any, Any, Any, Any]:
        known = error.information(value, ln_sd, rows)
        return *error.derivatives(value, ln_sd, rows), known

    return both


@cache.kept
def _log_density(error: ErrorModel) -> Callable[[Any, Any, Rows], jax.Array]:
    """The compiled log density of each sample."""
    return Program(error.log_density)
