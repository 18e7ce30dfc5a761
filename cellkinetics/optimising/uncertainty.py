"""From the exact Hessian to standard errors and intervals, calibrated for few samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from cellkinetics.arrays import Floats
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
        return float(special.stdtrit(self.degrees_of_freedom, 0.5 + level / 2))


def uncertainty(problem: Problem, optimum: Optimum) -> Uncertainty:
    """Standard errors by inverting the exact Hessian over the parameters that are not at a bound.

    The ML estimate of sd is biased low when the curve has used up samples. The correction counts what quantified rows
    spent: with information I and its part I_q from quantified rows, they spent trace(I^-1 I_q) parameters.
    """
    free, moving = len(problem.free), ~optimum.held
    information = -optimum.second.hessian[np.ix_(moving, moving)]
    prior = np.diag(problem.prior[1][moving])
    inverse, null = inverse_of(information, problem.units(optimum.x)[moving])
    degrees, inflation = np.inf, 1.0
    if problem.sd_free.any():
        quantified, spent = spent_by(problem, optimum)
        # A prior of ln sd counts as so many samples more, and its estimate is corrected already.
        degrees = max(quantified - spent + sum(prior.degrees for prior in problem.few.values()), 1.0)
        inflation = _of_others(problem, optimum) if problem.few else float(np.sqrt(quantified / degrees))
    covariance = np.zeros_like(optimum.second.hessian)
    if prior.any():
        # The correction is of what the samples say: a prior is as wide as it was given.
        calibrated, null = inverse_of((information - prior) / inflation**2 + prior, problem.units(optimum.x)[moving])
    else:
        calibrated = inflation**2 * inverse
    covariance[np.ix_(moving, moving)] = calibrated
    known = Uncertainty(covariance, degrees, inflation, ())
    widths = known.quantile * np.sqrt(np.abs(np.diag(covariance)))[:free] / problem.units(optimum.x)[:free]
    free_direction = np.zeros(len(moving))
    free_direction[moving] = null
    return replace(known, loose=loose_of(problem, widths, free_direction[:free]))


def _of_others(problem: Problem, optimum: Optimum) -> float:
    """The inflation that the sds without a prior would have, where an output has one; 1 where all have."""
    outputs = len(problem.model.outputs)
    plain = [i for i, name in enumerate(problem.sd_names) if problem.sd_free[i] and name not in problem.few]
    known = [spent_by(problem, optimum, output) for output in dict.fromkeys(i % outputs for i in plain)]
    rows, spent = sum(count for count, _ in known), sum(used for _, used in known)
    return float(np.sqrt(rows / max(rows - spent, 1.0))) if rows else 1.0


def spent_by(problem: Problem, optimum: Optimum, output: int | None = None) -> tuple[int, float]:
    """Quantified rows of outputs with a free sd, or of one ``output``, and how many parameters they determined."""
    free = len(problem.free)
    curve = ~optimum.held[:free]
    rows, known = problem.quantified & problem.sd_outputs[problem.output], optimum.second.quantified
    if output is not None and len(problem.model.outputs) > 1:
        rows &= problem.output == output
        at = problem.curve(optimum.x, 1)
        weight = np.asarray(problem.error.information(at.value, problem.ln_sd(optimum.x), problem.rows))
        known = (at.jacobian[rows].T * np.broadcast_to(weight, rows.shape)[rows]) @ at.jacobian[rows]
    block = -optimum.second.hessian[:free, :free][np.ix_(curve, curve)]
    of_curve, _ = inverse_of(block, problem.units(optimum.x)[:free][curve])
    spent = float(np.trace(np.nan_to_num(of_curve) @ known[np.ix_(curve, curve)]))
    return int(np.sum(rows)), float(np.clip(spent, 0.0, curve.sum())) + float(np.sum(~curve))


def loose_of(problem: Problem, widths: Floats, shares: Floats) -> tuple[str, ...]:
    """Free parameters that the samples do not determine, from half widths in units and shares in null directions."""
    limits = [UNIDENTIFIABLE if problem.model.parameters[name].scale != "identity" else 100.0 for name in problem.free]
    # What lies in a direction of no information first, then what has an interval that says nothing.
    order = sorted(range(len(widths)), key=lambda k: (-shares[k], -np.nan_to_num(widths[k], nan=np.inf)))
    # A prior as wide as that is what was asked for.
    wide = [widths[k] > limits[k] and problem.free[k] not in problem.priors for k in range(len(widths))]
    return tuple(problem.free[k] for k in order if shares[k] > 0.3 or wide[k])


def inverse_of(information: Floats, units: Floats) -> tuple[Floats, Floats]:
    """The covariance, NaN for what lies in a direction of no information, and each one's share in such directions."""
    inverse, null = pseudo_inverse(information, units)
    shares = shares_of(null)
    inverse[shares > IN_NULL, :] = inverse[:, shares > IN_NULL] = np.nan
    return inverse, shares


def pseudo_inverse(information: Floats, units: Floats) -> tuple[Floats, Floats]:
    """The inverse over the directions of which something is known, and the others (k, m), in units.

    Whether there is information is decided on unit diagonal, where units do not matter.
    """
    if not len(information):
        return information, np.zeros((0, 0))
    counted = units[:, None] * information * units
    diagonal = np.abs(np.diag(counted))
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-14 * diagonal.max(initial=1e-300)))
    values, vectors = np.linalg.eigh(scale[:, None] * counted * scale)
    known = values > 1e-10
    inverse = (vectors[:, known] / values[known]) @ vectors[:, known].T
    inverse = (units * scale)[:, None] * inverse * (units * scale)
    return inverse, scale[:, None] * vectors[:, ~known]


def shares_of(null: Floats) -> Floats:
    """(k,) the largest share that each has in a direction (k, m) of no information."""
    return np.max(np.abs(null) / np.maximum(np.abs(null).max(axis=0, initial=0.0), 1e-300), axis=1, initial=0.0)
