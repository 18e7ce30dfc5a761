"""All ways to give n values to groups of fixed sizes, or a sample of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.signedinteger[Any]]

# Eleven patients in cohorts of 3, 4 and 4 have 11,550; above this many a sample is drawn.
MOST = 2_000_000


def count(sizes: Sequence[int]) -> int:
    """The multinomial coefficient.

    Examples
    --------
    >>> count([3, 4, 4])
    11550
    """
    total, ways = 0, 1
    for size in sizes:
        total += size
        ways *= math.comb(total, size)
    return ways


def all_of(sizes: Sequence[int]) -> Labels:
    """Every arrangement.

    Returns
    -------
    (count(sizes), n) the group of each value, 0 to k - 1; read-only. ``[0, 0, 1]`` comes first for sizes 2 and 1.
    """
    return _all_of(tuple(int(size) for size in sizes))


def sampled(sizes: Sequence[int], n: int, rng: np.random.Generator) -> Labels:
    """(n, total) random arrangements, each as likely as another."""
    return rng.permuted(np.repeat(given(sizes), n, axis=0), axis=1)


def given(sizes: Sequence[int]) -> Labels:
    """(1, total) the arrangement in which the groups stand one after the other."""
    # Differences of labels are taken: 127 is the largest that one byte holds.
    return np.repeat(np.arange(len(sizes), dtype=np.int8 if len(sizes) <= 127 else np.int16), sizes)[None, :]


@lru_cache(maxsize=4)
def _all_of(sizes: tuple[int, ...]) -> Labels:
    total = sum(sizes)
    if len(sizes) <= 1:
        return np.zeros((1, total), np.int8)
    first = np.array(list(combinations(range(total), sizes[0])), int)
    ways = np.zeros((len(first), total), bool)
    np.put_along_axis(ways, first, True, axis=1)
    rest = np.nonzero(~ways)[1].reshape(len(first), total - sizes[0])
    others = _all_of(sizes[1:]) + np.int8(1)
    splits = np.zeros((len(first), len(others), total), np.int8)
    rows, columns = np.arange(len(first))[:, None, None], np.arange(len(others))[None, :, None]
    splits[rows, columns, rest[:, None, :]] = others
    splits = splits.reshape(len(first) * len(others), total)
    splits.flags.writeable = False
    return splits
