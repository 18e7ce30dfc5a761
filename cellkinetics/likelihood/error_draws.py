"""Samples drawn under an error model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from cellkinetics.arrays import Floats
from cellkinetics.likelihood.student import DEGREES


def drawn(
    error: str,
    predicted: Floats,
    sds: Floats,
    mass: Floats,
    positive: npt.NDArray[np.bool_] | np.bool_,
    rng: np.random.Generator,
) -> Floats:
    """New copies of each sample.

    Parameters
    ----------
    error : name of an error model.
    predicted : (n,) copies of the curve.
    sds : (parts, n) of the error model.
    mass : (n,) ug of DNA, for counting noise.
    positive : (n,) where a draw of a normal error is to be positive: where no limit would hide a negative one.
    rng : of the draws.

    Returns
    -------
    (n,) copies; 0 where no molecule was in the wells, negative where a normal error says so.
    """
    n = len(predicted)
    if error == "log":
        return np.exp(np.log(predicted) + sds[0] * rng.normal(size=n))
    if error == "student":
        return np.exp(np.log(predicted) + sds[0] * rng.standard_t(DEGREES, size=n))
    if error == "counting":
        return rng.poisson(mass * predicted) / mass * np.exp(sds[0] * rng.normal(size=n))
    sd = sds[0] * predicted if error == "proportional" else np.hypot(sds[0], sds[1] * predicted)
    lowest = np.where(positive, -predicted / sd, -np.inf)
    return predicted + sd * scipy.stats.truncnorm.rvs(lowest, np.inf, size=n, random_state=rng)
