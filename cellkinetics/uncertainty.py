"""From the exact Hessian to standard errors and intervals, calibrated for few samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from cellkinetics.optimise import Optimum
from cellkinetics.problem import Problem
from cellkinetics.sensitivity import Floats

# Half width on the ln scale from which on a 95% interval says nothing: a factor of 100 each way.
UNIDENTIFIABLE = float(np.log(100))


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What the Hessian says about the free vector.

    covariance : (k, k) on the estimation scale, small-sample calibrated; 0 for held parameters, NaN for those
        that lie in a direction of which the samples tell nothing.
    degrees_of_freedom : quantified rows minus the parameters that they, and not censored rows, determine;
        inf where sd was given.
    inflation : factor of sd and of all standard errors, sqrt(n_quantified / degrees_of_freedom).
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
        return float(stats.t.ppf(0.5 + level / 2, self.degrees_of_freedom))


def uncertainty(problem: Problem, optimum: Optimum) -> Uncertainty:
    """Standard errors by inverting the exact Hessian over the parameters that are not at a bound.

    The ML estimate of sd is biased low when the curve has used up samples. The correction counts what quantified rows
    spent: with information I and its part I_q from quantified rows, they spent trace(I^-1 I_q) parameters.
    """
    free = len(problem.free)
    moving = ~optimum.held
    information = -optimum.second.hessian[np.ix_(moving, moving)]
    covariance = np.zeros_like(optimum.second.hessian)
    values, vectors = np.linalg.eigh(information) if moving.any() else (np.ones(0), np.ones((0, 0)))
    names = np.array([*problem.free, *["sd"] * int(problem.sd_free.sum())])[moving]
    singular = _singular(values)
    inverse = (vectors[:, ~singular] / values[~singular]) @ vectors[:, ~singular].T
    undetermined = np.any(np.abs(vectors[:, singular]) > 0.01, axis=1)
    inverse[undetermined, :] = inverse[:, undetermined] = np.nan
    degrees, inflation = np.inf, 1.0
    if problem.sd_free.any():
        quantified = int(problem.quantified[np.isin(problem.inputs.output, np.flatnonzero(problem.sd_free))].sum())
        curve = moving[:free]
        block = np.linalg.pinv(information[: curve.sum(), : curve.sum()], rcond=1e-12, hermitian=True)
        spent = float(np.trace(block @ optimum.second.quantified[np.ix_(curve, curve)]))
        degrees = max(quantified - spent, 1.0)
        inflation = float(np.sqrt(quantified / degrees))
    covariance[np.ix_(moving, moving)] = inflation**2 * inverse
    known = Uncertainty(covariance, degrees, inflation, ())
    return replace(known, loose=_loose(values, vectors, names, problem, known.quantile * inflation))


def _singular(values: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which eigenvalues of the information are not positive, to rounding."""
    return values <= 1e-12 * np.abs(values).max(initial=1e-300)


def _loose(
    values: Floats, vectors: Floats, names: np.ndarray[Any, Any], problem: Problem, quantile: float
) -> tuple[str, ...]:
    """Names with a large share in a direction whose interval is beyond `UNIDENTIFIABLE` (or has no end)."""
    scaled = [name in problem.free and problem.model.parameters[name].scale == "identity" for name in names]
    found: dict[str, float] = {}
    for value, flat, vector in zip(values, _singular(values), vectors.T, strict=True):
        if flat or (value < (quantile / UNIDENTIFIABLE) ** 2 and not np.any(np.abs(vector[scaled]) > 0.3)):
            for name, share in zip(names, np.abs(vector), strict=True):
                if share > 0.3 and name != "sd":
                    found[name] = max(found.get(name, 0.0), float(share))
    return tuple(sorted(found, key=lambda name: -found[name]))
