"""What a bound does: what is pressed against it stays, and how far from it a search begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellkinetics.arrays import Floats

NEAR_BOUND = 1e-6  # on the estimation scale, in `Problem.units`; nearer to a bound is at it


def at_lower(x: Any, lower: Any, units: Any) -> Any:
    """Whether each is at its lower bound."""
    return x <= lower + NEAR_BOUND * units


def at_upper(x: Any, upper: Any, units: Any) -> Any:
    """Whether each is at its upper bound."""
    return x >= upper - NEAR_BOUND * units


def beyond(x: Any, lower: Any, upper: Any, units: Any) -> Any:
    """Whether each lies outside its bounds by more than rounding."""
    return (x < lower - NEAR_BOUND * units) | (x > upper + NEAR_BOUND * units)


def held(x: Any, gradient: Any, lower: Any, upper: Any, units: Any) -> Any:
    """Whether each is at a bound that the objective, uphill along ``gradient``, presses it against.

    Arrays of one shape, of numpy or `jax.numpy`.
    """
    return (at_lower(x, lower, units) & (gradient < 0)) | (at_upper(x, upper, units) & (gradient > 0))


def outward(x: Any, step: Any, lower: Any, upper: Any) -> Any:
    """Whether each lies on a bound and would step over it."""
    return ((x <= lower) & (step < 0)) | ((x >= upper) & (step > 0))


def with_margin(lower: Floats, upper: Floats, units: Floats) -> tuple[Floats, Floats]:
    """Bounds drawn in by 1% of their distance, or 0.01 unit at an open end, so that a start does not sit on one."""
    margin = np.where(
        np.isfinite(lower) & np.isfinite(upper),
        0.01 * (np.where(np.isfinite(upper), upper, 0) - np.where(np.isfinite(lower), lower, 0)),
        0.01 * units,
    )
    return lower + margin, upper - margin
