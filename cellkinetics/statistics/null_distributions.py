r"""Null distributions of rank statistics, counted and not drawn.

J of Jonckheere and Terpstra is a sum of Mann-Whitney counts, each group against all groups before it, and under the
null these are independent where nothing is tied. A limit ties the k lowest values. How many of them a group has is
hypergeometric; given that, the rest is a Mann-Whitney count without ties, moved by the pairs that the tied values are
part of:

.. math:: 2 U = 2 k_1 (n_2 - k_2) + k_1 k_2 + 2 U'(n_1 - k_1, n_2 - k_2).

So the null distribution depends on the sizes and on k alone.

Without ties the arrangements with J = j are the coefficients of a generating function (Terpstra 1952),

.. math:: \prod_{i=1}^{N} (1 - q^i) \Big/ \prod_g \prod_{i=1}^{n_g} (1 - q^i),

which a Fourier transform of its values on the unit circle gives for hundreds of patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy

from cellkinetics.arrays import Floats

# Up to so many patients distributions are counted by convolution, each probability to rounding. The Fourier transform
# has an error of 1e-14 of the whole.
CONVOLVED = 60


def mann_whitney(n: int, m: int) -> Floats:
    """(n m + 1,) probabilities of U = 0, 1, ... without ties."""
    ways = np.zeros((n + 1, n * m + 1))
    ways[0, 0] = 1.0
    for rank in range(1, n + m + 1):
        for k in range(min(rank, n), 0, -1):
            # The k-th of the chosen values has rank - k of the others below it.
            step = rank - k
            if step <= m:
                ways[k, step:] += ways[k - 1, : n * m + 1 - step]
    return ways[n] / ways[n].sum()


def doubled_mean(sizes: Sequence[int]) -> int:
    """Twice the mean of J."""
    return (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2


@lru_cache(maxsize=4096)
def jonckheere_null(sizes: tuple[int, ...], tied: int = 0) -> Floats:
    """Probabilities of twice J = 0, 1, ...

    Parameters
    ----------
    sizes : patients in each group.
    tied : how many values share the lowest rank; 0 or 1 where none do. All others differ.

    Examples
    --------
    >>> jonckheere_null((1, 1, 1)).round(4).tolist()  # J of three patients: 0 in one of six orders, 1 in two
    [0.1667, 0.0, 0.3333, 0.0, 0.3333, 0.0, 0.1667]
    """
    if tied <= 1:
        spaced = np.zeros(2 * doubled_mean(sizes) + 1)
        spaced[::2] = _without_ties(sizes)
        return spaced
    if len(sizes) == 1:
        return np.ones(1)
    *before, last = sizes
    n = sum(before)
    total = np.zeros(doubled_mean(sizes) * 2 + 1)
    for k in range(max(0, tied - n), min(tied, last) + 1):
        own, others = last - k, n - (tied - k)
        move = 2 * (tied - k) * own + (tied - k) * k
        spaced = np.zeros(2 * own * others + 1)
        spaced[::2] = _counts(others, own)
        part = np.convolve(spaced, jonckheere_null(tuple(before), tied - k))
        total[move : move + len(part)] += float(scipy.stats.hypergeom.pmf(k, n + last, tied, last)) * part
    return total


def _without_ties(sizes: Sequence[int]) -> Floats:
    """Probabilities of J = 0, 1, ..."""
    if sum(sizes) > CONVOLVED:
        return _transformed(sizes)
    total, before = np.ones(1), 0
    for size in sizes:
        total = np.convolve(total, _counts(before, size))
        before += size
    return total


def _transformed(sizes: Sequence[int]) -> Floats:
    """The coefficients of the generating function, from its values at roots of unity."""
    n, highest = sum(sizes), doubled_mean(sizes)
    # A prime number of roots, larger than any power: no factor of the denominator vanishes but at q = 1.
    roots = _prime(max(highest, n) + 1)
    at = np.arange(1, roots // 2 + 1)
    # 1 - q^i is a turn of half of the angle of q^i times a sine; sines are signed numbers, added up as logarithms.
    log, negative = np.zeros(len(at)), np.zeros(len(at), bool)
    factors = np.bincount([i for size in sizes for i in range(1, size + 1)], minlength=n + 1)
    for i in range(1, n + 1):
        power = 1 - int(factors[i])
        if power:
            sine = np.sin(np.pi * ((i * at) % (2 * roots)) / roots)
            log += power * (np.log(np.abs(sine)) - np.log(i))
            negative ^= (sine < 0) & (power % 2 == 1)
    # At q = 1 each factor (1 - q^i) is i: the logarithms of i make the sum of all coefficients 1.
    values = np.where(negative, -1.0, 1.0) * np.exp(log)
    spectrum = np.append(1.0, values * np.exp(1j * np.pi * ((highest * at) % (2 * roots)) / roots))
    found = scipy.fft.irfft(np.conj(spectrum), roots)[: highest + 1]
    found = np.maximum((found + found[::-1]) / 2, 0.0)
    return found / found.sum()


def _prime(least: int) -> int:
    number = max(least, 3)
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number += 1
    return number


@lru_cache(maxsize=4096)
def _counts(n: int, m: int) -> Floats:
    return mann_whitney(n, m) if n and m else np.ones(1)
