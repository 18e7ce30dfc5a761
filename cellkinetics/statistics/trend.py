"""The Jonckheere-Terpstra test of many simulated studies at once, exact with values below one limit.

The null distribution depends on the sizes and on the number of tied values alone (`null_distributions`), so that a
table of p serves all studies with the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy

from cellkinetics.arrays import Floats
from cellkinetics.statistics.null_distributions import doubled_mean, jonckheere_null

# Above this many patients p is normal with the variance of ties: of 88, 30% tied, the two differ by 2e-4 near 0.05.
EXACT = 60


def trend_p(scores: Floats, sizes: Sequence[int]) -> Floats:
    """Two-sided p of a trend over the groups; of two groups it is that of Wilcoxon, Mann and Whitney.

    Parameters
    ----------
    scores : (m, n) values of m studies, one group after the other; no ties but at the lowest value of a study.
    sizes : patients in each group, in its order.

    Returns
    -------
    (m,) exact up to 60 patients, as `ranks.jonckheere` and `ranks.wilcoxon`; NaN where all values are tied.

    Examples
    --------
    >>> trend_p(np.array([[1.0, 2, 3, 4, 5, 6], [0, 0, 0, 0, 5, 6]]), (3, 3)).round(6).tolist()
    [0.1, 0.4]
    """
    values, groups = np.atleast_2d(scores), tuple(int(size) for size in sizes)
    if values.shape[1] != sum(groups):
        raise ValueError(f"{values.shape[1]} scores a study are not {' + '.join(map(str, groups))}.")
    tied = (values == values.min(axis=1, keepdims=True)).sum(axis=1)
    distance = np.abs(_doubled_j(values, groups) - doubled_mean(groups))
    found = np.full(len(values), math.nan)
    for k in np.unique(tied[tied < sum(groups)]):
        of_k = tied == k
        if sum(groups) <= EXACT:
            found[of_k] = _tail(groups, int(k) if k > 1 else 0)[distance[of_k]]
        else:
            found[of_k] = 2 * scipy.stats.norm.sf(distance[of_k] / 2 / math.sqrt(variance(groups, int(k))))
    return found


def variance(sizes: Sequence[int], tied: int) -> float:
    """Variance of J with one block of ties (Hollander and Wolfe, section 6.2)."""
    n = sum(sizes)

    def of(size: int) -> tuple[int, int, int]:
        return size * (size - 1) * (2 * size + 5), size * (size - 1) * (size - 2), size * (size - 1)

    groups, block, whole = np.sum([of(size) for size in sizes], axis=0), of(tied), of(n)
    total = (whole[0] - groups[0] - block[0]) / 72 + groups[2] * block[2] / (8 * whole[2])
    return float(total + (groups[1] * block[1] / (36 * whole[1]) if n > 2 else 0.0))


def _doubled_j(values: Floats, sizes: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(m,) twice J: each group's ranks among itself and all groups before it."""
    total, before = np.zeros(len(values)), sizes[0]
    for size in sizes[1:]:
        ranks = scipy.stats.rankdata(values[:, : before + size], axis=1)
        total += 2 * ranks[:, before:].sum(axis=1) - size * (size + 1)
        before += size
    return np.rint(total).astype(np.int64)


@lru_cache(maxsize=512)
def _tail(sizes: tuple[int, ...], tied: int) -> Floats:
    """Probability that twice J is at least 0, 1, ... away from its mean."""
    shares, mean = jonckheere_null(sizes, tied), doubled_mean(sizes)
    distance = np.abs(np.arange(len(shares)) - mean)
    return np.minimum(np.cumsum(np.bincount(distance, weights=shares)[::-1])[::-1], 1.0)
