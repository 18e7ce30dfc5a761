"""Seeded points that fill a space of standard normals more evenly than chance does (SciPy's scrambled Sobol points)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy

from cellkinetics.arrays import Floats

# Points of the default seed are kept: scipy.stats takes half a second to import, a third of a first fit.
KEPT_SEED, KEPT_POINTS, KEPT_SIZES = 2020, 32, 16
_FILE = Path(__file__).parents[1] / "_data" / "sobol.npz"


@lru_cache(maxsize=64)
def normals(size: int, count: int, seed: int) -> Floats:
    """(count, size) points."""
    if not count or not size:
        return np.zeros((count, size))
    if seed == KEPT_SEED and count <= KEPT_POINTS and size <= KEPT_SIZES:
        with np.load(_FILE) as kept:
            return np.asarray(kept[str(size)][:count], float)
    return drawn(size, count, seed)


def drawn(size: int, count: int, seed: int) -> Floats:
    """(count, size) points of any seed; the first of a power of two, as many as are needed."""
    points = scipy.stats.qmc.MultivariateNormalQMC(np.zeros(size), rng=np.random.default_rng(seed))
    return points.random(1 << (count - 1).bit_length())[:count]
