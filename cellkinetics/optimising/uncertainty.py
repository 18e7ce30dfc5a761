"""From the exact Hessian to standard errors and intervals, calibrated for few samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.lazily import special
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem

# Half width on the ln scale from which on a 95% interval says nothing: a factor of 100 each way.
UNIDENTIFIABLE = float(np.log(100))
IN_NULL = 0.01  # share in a direction of no information from which on a parameter has no variance


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What the Hessian says about the free vector.

    covariance : (k, k) on the estimation scale, small-sample calibrated; 0 for held parameters, NaN for those
        that lie in a direction of which the samples tell nothing.
    degrees_of_freedom : quantified rows minus the parameters that they, and not censored rows, determine, plus what the
        prior of an sd is worth where there is one; inf where sd was given.
    inflation : factor of sd and of all standard errors, sqrt(n_quantified / degrees_of_freedom); 1 with such a prior,
        or of the outputs without one.
    loose : names that move together in directions which the samples do not determine, most affected first.
    """

    covariance: Floats
    degrees_of_freedom: float
    inflation: float
    loose: tuple[str, ...]

    @property
    def quantile(self) -> float:
        """Half width of a 95% interval in standard errors."""
        return self.quantile_of(0.95)

    def quantile_of(self, level: float) -> float:
        """The same at another level; Student's t, normal where sd was given."""
        if np.isinf(self.degrees_of_freedom):
            return float(special.ndtri(0.5 + level / 2))
        return _student(self.degrees_of_freedom, level)


@lru_cache(maxsize=4096)
def _student(degrees: float, level: float) -> float:
    return float(special.stdtrit(degrees, 0.5 + level / 2))


def uncertainty(problem: Problem, optimum: Optimum) -> Uncertainty:
    """Standard errors by inverting the exact Hessian over the parameters that are not at a bound.

    The ML estimate of sd is biased low when the curve has used up samples. The correction counts what quantified rows
    spent: with information I and its part I_q from quantified rows, they spent trace(I^-1 I_q) parameters.
    """
    return uncertainties([problem], [optimum])[0]


def uncertainties(problems: Sequence[Problem], optimums: Sequence[Optimum]) -> list[Uncertainty]:
    """`uncertainty` of many: those of one free vector, with the same of it at bounds, are arrays together."""
    found: dict[int, Uncertainty] = {}
    for group in groups_alike(problems, optimums):
        found |= zip(group, _alike([problems[i] for i in group], [optimums[i] for i in group]), strict=True)
    return [found[i] for i in range(len(problems))]


def groups_alike(problems: Sequence[Problem], optimums: Sequence[Optimum]) -> list[list[int]]:
    """Numbers of those of one free vector, with the same of it at bounds."""
    groups: dict[object, list[int]] = {}
    for i, (problem, optimum) in enumerate(zip(problems, optimums, strict=True)):
        alike = problem.free, problem.sd_free.tobytes(), tuple(problem.few), optimum.held.tobytes()
        groups.setdefault(alike, []).append(i)
    return list(groups.values())


def _alike(problems: Sequence[Problem], optimums: Sequence[Optimum]) -> list[Uncertainty]:
    """Of problems with one free vector (k,) of which the same is held."""
    free, moving = len(problems[0].free), ~optimums[0].held
    hessian = np.stack([optimum.second.hessian for optimum in optimums])
    information = -hessian[:, moving][:, :, moving]
    prior = np.stack([problem.prior[1] for problem in problems])[:, moving][:, :, moving]
    units = np.stack([problem.units(optimum.x) for problem, optimum in zip(problems, optimums, strict=True)])
    calibrated, null = inverse_of(information, units[:, moving])
    degrees, inflation = np.full(len(problems), np.inf), np.ones(len(problems))
    if problems[0].sd_free.any():
        quantified, spent = _spent(problems, optimums, hessian, units)
        # A prior of ln sd counts as so many samples more, and its estimate is corrected already.
        few = np.array([sum(prior.degrees for prior in problem.few.values()) for problem in problems])
        degrees = np.maximum(quantified - spent + few, 1.0)
        inflation = np.sqrt(quantified / degrees)
        if problems[0].few:
            inflation = np.array([_of_others(*pair) for pair in zip(problems, optimums, strict=True)])
    squared = inflation[:, None, None] ** 2
    calibrated *= squared
    if prior.any():
        # The correction is of what the samples say: a prior is as wide as it was given.
        both = np.flatnonzero(prior.any(axis=(1, 2)))
        told = (information - prior)[both] / squared[both] + prior[both]
        calibrated[both], null[both] = inverse_of(told, units[both][:, moving])
    covariance, shares = np.zeros_like(hessian), np.zeros((len(problems), len(moving)))
    covariance[:, moving[:, None] & moving] = calibrated.reshape(len(problems), -1)
    shares[:, moving] = null
    each = [Uncertainty(*own, ()) for own in zip(covariance, degrees.tolist(), inflation.tolist(), strict=True)]
    quantile = np.array([known.quantile for known in each])
    deviations = np.sqrt(np.abs(np.diagonal(covariance, axis1=1, axis2=2)))[:, :free]
    widths = quantile[:, None] * deviations / units[:, :free]
    loose = [loose_of(*own) for own in zip(problems, widths, shares[:, :free], strict=True)]
    return [replace(known, loose=names) if names else known for known, names in zip(each, loose, strict=True)]


def _of_others(problem: Problem, optimum: Optimum) -> float:
    """The inflation that the sds without a prior would have, where an output has one; 1 where all have."""
    outputs = len(problem.model.outputs)
    plain = [i for i, name in enumerate(problem.sd_names) if problem.sd_free[i] and name not in problem.few]
    known = [spent_by(problem, optimum, output) for output in dict.fromkeys(i % outputs for i in plain)]
    rows, spent = sum(count for count, _ in known), sum(used for _, used in known)
    return float(np.sqrt(rows / max(rows - spent, 1.0))) if rows else 1.0


def spent_by(problem: Problem, optimum: Optimum, output: int | None = None) -> tuple[int, float]:
    """Quantified rows of outputs with a free sd, or of one ``output``, and how many parameters they determined."""
    quantified, spent = _spent(
        [problem], [optimum], optimum.second.hessian[None], problem.units(optimum.x)[None], output
    )
    return int(quantified[0]), float(spent[0])


def _spent(
    problems: Sequence[Problem], optimums: Sequence[Optimum], hessian: Floats, units: Floats, output: int | None = None
) -> tuple[Floats, Floats]:
    """`spent_by` of problems with one free vector of which the same is held: (b,) rows, and (b,) parameters."""
    free = len(problems[0].free)
    curve = ~optimums[0].held[:free]
    rows = [problem.quantified & problem.sd_outputs[problem.output] for problem in problems]
    known = [optimum.second.quantified for optimum in optimums]
    if output is not None and len(problems[0].model.outputs) > 1:
        for i, (problem, optimum) in enumerate(zip(problems, optimums, strict=True)):
            rows[i] = rows[i] & (problem.output == output)
            at = problem.curve(optimum.x, 1)
            weight = np.asarray(problem.error.information(at.value, problem.ln_sd(optimum.x), problem.rows))
            known[i] = (at.jacobian[rows[i]].T * np.broadcast_to(weight, rows[i].shape)[rows[i]]) @ at.jacobian[rows[i]]
    block = -hessian[:, :free, :free][:, curve][:, :, curve]
    of_curve, _ = inverse_of(block, units[:, :free][:, curve])
    told = np.stack(known)[:, curve][:, :, curve]
    spent = np.sum(np.nan_to_num(of_curve) * np.swapaxes(told, 1, 2), axis=(1, 2))
    counts = np.array([float(np.sum(own)) for own in rows])
    return counts, np.clip(spent, 0.0, curve.sum()) + float(np.sum(~curve))


def loose_of(problem: Problem, widths: Floats, shares: Floats) -> tuple[str, ...]:
    """Free parameters that the samples do not determine, from half widths in units and shares in null directions."""
    limits = [UNIDENTIFIABLE if problem.model.parameters[name].scale != "identity" else 100.0 for name in problem.free]
    # A prior as wide as that is what was asked for.
    wide = (widths > limits) & ~np.isin(problem.free, list(problem.priors)) if len(limits) else np.zeros(0, bool)
    loose = (shares > 0.3) | wide
    if not loose.any():
        return ()
    # What lies in a direction of no information first, then what has an interval that says nothing.
    order = sorted(range(len(widths)), key=lambda k: (-shares[k], -np.nan_to_num(widths[k], nan=np.inf)))
    return tuple(problem.free[k] for k in order if loose[k])


def inverse_of(information: Floats, units: Floats) -> tuple[Floats, Floats]:
    """The covariance, NaN for what lies in a direction of no information, and each one's share in such directions.

    Of one matrix (k, k) and its units (k,), or of many with axes before these.
    """
    inverse, null = pseudo_inverse(information, units)
    shares = shares_of(null)
    lost = shares > IN_NULL
    inverse[lost[..., :, None] | lost[..., None, :]] = np.nan
    return inverse, shares


def pseudo_inverse(information: Floats, units: Floats) -> tuple[Floats, Floats]:
    """The inverse over the directions of which something is known, and the others (k, k), in units, 0 where known.

    Whether there is information is decided on unit diagonal, where units do not matter.
    """
    if not information.shape[-1]:
        return information, np.zeros_like(information)
    counted = units[..., :, None] * information * units[..., None, :]
    diagonal = np.abs(np.diagonal(counted, axis1=-2, axis2=-1))
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-14 * diagonal.max(axis=-1, initial=1e-300, keepdims=True)))
    values, vectors = np.linalg.eigh(scale[..., :, None] * counted * scale[..., None, :])
    known = values > 1e-10
    shrunk = vectors * np.where(known, 1 / np.where(known, values, 1.0), 0.0)[..., None, :]
    sizes = units * scale
    inverse = sizes[..., :, None] * (shrunk @ np.swapaxes(vectors, -1, -2)) * sizes[..., None, :]
    return inverse, scale[..., :, None] * vectors * ~known[..., None, :]


def shares_of(null: Floats) -> Floats:
    """(..., k) the largest share that each has in a direction (columns of k, k) of no information."""
    largest = np.maximum(np.abs(null).max(axis=-2, initial=0.0, keepdims=True), 1e-300)
    return np.max(np.abs(null) / largest, axis=-1, initial=0.0)
