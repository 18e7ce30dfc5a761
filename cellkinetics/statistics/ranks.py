"""Exact rank tests for cohorts of a few patients, with ties and with values below a limit.

Values that a limit hides are tied: ranks are midranks, and the null distribution is that of these midranks over all
arrangements of the patients into groups of their sizes. With so few arrangements a p-value can only take a few values;
every result says which is the smallest, and how often a test at 5% rejects when there is no difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from cellkinetics.arrays import Floats
from cellkinetics.domains import level as checked_level
from cellkinetics.saving import storable
from cellkinetics.statistics import arrangements
from cellkinetics.statistics.null_distributions import CONVOLVED, doubled_mean, jonckheere_null, mann_whitney

Statistic = Callable[[Floats, arrangements.Labels], Floats]

ALPHA = 0.05
DRAWS = 200_000
# A trend without ties is counted up to so many patients: in 6 seconds of 1,000, and in 16 million steps of memory.
COUNTED = 1000


@storable
@dataclass(frozen=True)
class RankTest:
    """A test of ranks between groups.

    Parameters
    ----------
    name : "Wilcoxon-Mann-Whitney", "Kruskal-Wallis" or "Jonckheere-Terpstra".
    variant : which variant gave p, in words.
    statistic : Mann-Whitney's U of the first group; Kruskal-Wallis' H, corrected for ties; Jonckheere-Terpstra's J.
    p : two-sided (Kruskal-Wallis: its only side).
    mid_p : half the probability of the observed statistic left out: less conservative, and no longer exact; NaN for a
        test that is not exact.
    smallest_p : the smallest p that any arrangement of these values gives.
    attained_size : how often p is at most 0.05 when there is no difference.
    sizes : patients in each group.
    tied : values that share their rank with another.
    monte_carlo_error : standard error of p where arrangements were drawn, 0 where all were counted.
    reason : why there is no p, "" when there is one.
    """

    name: str
    variant: str
    statistic: float
    p: float
    mid_p: float
    smallest_p: float
    attained_size: float
    sizes: tuple[int, ...]
    tied: int
    monte_carlo_error: float = 0.0
    reason: str = ""

    @property
    def can_reach(self) -> bool:
        """Whether any arrangement of these values gives a p of at most 0.05."""
        return self.smallest_p <= ALPHA


def tied_at_limit(lower: npt.ArrayLike, upper: npt.ArrayLike) -> Floats:
    """Values to rank: all that may lie below the largest limit are tied, and so are those above an upper limit.

    Parameters
    ----------
    lower, upper : (n,) equal where quantified; 0 or a limit of detection, and the limit, where below it; the limit and
        infinity where above one.

    Returns
    -------
    (n,) 0 for every value that the largest limit hides, infinity for every one that the smallest upper limit hides.

    Examples
    --------
    >>> tied_at_limit([0, 4, 12, 0], [3, 4, 12, 5]).tolist()  # 4 may be below the value hidden by the limit of 5
    [0.0, 0.0, 12.0, 0.0]
    """
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    above = np.isinf(high)
    below = (low < high) & ~above
    value = np.where(above, low, high)
    largest = float(high[below].max()) if below.any() else -math.inf
    smallest = float(low[above].min()) if above.any() else math.inf
    # A value equal to a limit is not below it: "<3" and a quantified 3 are different.
    return np.select([below | (value < largest), above | (value > smallest)], [0.0, math.inf], value)


def wilcoxon(x: npt.ArrayLike, y: npt.ArrayLike) -> RankTest:
    """Exact two-sided Wilcoxon-Mann-Whitney test on midranks.

    p is the share of arrangements whose rank sum is at least as far from its mean as the observed one. Without ties
    that is R's ``wilcox.test``. The distribution is convolved, so that groups may be large.

    Parameters
    ----------
    x, y : (n,), (m,) values; ties (also 0 or infinity for what a limit hides) share their rank.

    Examples
    --------
    >>> test = wilcoxon([1, 2, 3], [4, 5, 6])
    >>> test.p, test.smallest_p, test.attained_size
    (0.1, 0.1, 0.0)
    """
    groups = _checked([x, y])
    doubled, sizes = _doubled_midranks(groups), tuple(len(group) for group in groups)
    if reason := _too_few(sizes, doubled):
        return _nothing("Wilcoxon-Mann-Whitney", sizes, doubled, reason)
    n = sizes[0]
    # ways[k, s]: subsets of k values with doubled rank sum s, as shares so that nothing overflows.
    ways = np.zeros((n + 1, int(doubled.sum()) + 1))
    ways[0, 0] = 1.0
    for step, rank in enumerate(doubled):
        for k in range(min(step + 1, n), 0, -1):
            ways[k, rank:] += ways[k - 1, : ways.shape[1] - rank]
    shares = ways[n] / ways[n].sum()
    sums = np.flatnonzero(shares)
    mean = n * int(doubled.sum()) / len(doubled)
    observed = int(doubled[:n].sum())
    found = exact_p(np.abs(sums - mean), shares[sums], abs(observed - mean))
    return RankTest(
        "Wilcoxon-Mann-Whitney",
        "exact permutation of midranks, two-sided",
        observed / 2 - n * (n + 1) / 2,
        *found,
        sizes,
        _ties(doubled),
    )


def wilcoxon_variants(x: npt.ArrayLike, y: npt.ArrayLike) -> dict[str, float]:
    """Two-sided p of the variants in use; the approximations correct the variance for ties, as R does."""
    groups = _checked([x, y])
    exact = wilcoxon(*groups)
    sizes, doubled = exact.sizes, _doubled_midranks(groups)
    n, m = sizes
    total = n + m
    _, repeats = np.unique(doubled, return_counts=True)
    variance = n * m / 12 * (total + 1 - (repeats**3 - repeats).sum() / (total * (total - 1))) if total > 1 else 0.0
    distance = abs(exact.statistic - n * m / 2)
    plain, corrected = math.nan, math.nan
    if variance > 0 and not exact.reason:
        plain = float(2 * scipy.stats.norm.sf(distance / math.sqrt(variance)))
        corrected = min(1.0, float(2 * scipy.stats.norm.sf(max(distance - 0.5, 0.0) / math.sqrt(variance))))
    return {
        exact.variant: exact.p,
        "exact, mid-p": exact.mid_p,
        "normal approximation with continuity correction": corrected,
        "normal approximation without continuity correction": plain,
    }


def kruskal(groups: Sequence[npt.ArrayLike], seed: int = 2020) -> RankTest:
    """Kruskal-Wallis test over all arrangements, or over 200,000 drawn ones where there are more than 2e6.

    Raises
    ------
    ValueError
        Fewer than two groups, or a value that is NaN.
    """

    def statistic(scores: Floats, labels: arrangements.Labels) -> Floats:
        total = np.zeros(len(labels))
        for place, size in enumerate(sizes):
            total += ((labels == place) @ scores) ** 2 / size
        return total

    checked = _checked(groups)
    sizes = tuple(len(group) for group in checked)
    test = _permuted("Kruskal-Wallis", checked, statistic, seed)
    if test.reason:
        return test
    doubled = _doubled_midranks(checked)
    n = len(doubled)
    _, repeats = np.unique(doubled, return_counts=True)
    spread = 1 - (repeats**3 - repeats).sum() / (n**3 - n)
    # Scores are doubled midranks.
    h = 12 / (n * (n + 1)) * test.statistic / 4 - 3 * (n + 1)
    return replace(test, statistic=float(h / spread))


def jonckheere(groups: Sequence[npt.ArrayLike], seed: int = 2020) -> RankTest:
    """Jonckheere-Terpstra test of a trend over groups in their given order, two-sided.

    J counts the pairs of patients of different groups that are in order, ties half. p is the share of arrangements
    whose J is at least as far from its mean as the observed one. Of up to 2e6 arrangements each is looked at. Of more
    they are counted by the generating function of J where no value is tied (up to 1,000 patients), or where the
    lowest or the highest ones alone are (up to 60); else 200,000 are drawn. With a group for each patient it is
    Kendall's test.

    Raises
    ------
    ValueError
        Fewer than two groups, or a value that is NaN.
    """
    checked = _checked(groups)
    centre = sum(len(a) * len(b) for place, a in enumerate(checked) for b in checked[place + 1 :]) / 2

    doubled, sizes = _doubled_midranks(checked), [len(group) for group in checked]
    tied = _tied_at_an_end(doubled)
    few = arrangements.count(sizes) <= arrangements.MOST
    if few or tied is None or len(doubled) > (COUNTED if tied == 0 else CONVOLVED):
        test = _permuted("Jonckheere-Terpstra", checked, lambda *at: np.abs(in_order(*at)), seed)
    else:
        test = _counted(doubled, sizes, tied)
    if test.reason:
        return test
    observed = in_order(doubled.astype(float), arrangements.given(sizes))
    return replace(test, statistic=float(observed[0]) + centre, variant=test.variant + ", two-sided")


def _tied_at_an_end(doubled: npt.NDArray[np.int64]) -> int | None:
    """How many values are tied, if they are all lowest or all highest; None where others are tied."""
    ranks, repeats = np.unique(doubled, return_counts=True)
    where = np.flatnonzero(repeats > 1)
    if not len(where):
        return 0
    return int(repeats[where[0]]) if len(where) == 1 and where[0] in (0, len(ranks) - 1) else None


def _counted(doubled: npt.NDArray[np.int64], sizes: Sequence[int], tied: int) -> RankTest:
    """The trend test from the distribution of J; values tied at the highest rank have the same one as at the lowest."""
    name, groups = "Jonckheere-Terpstra", tuple(size for size in sizes if size)
    if reason := _too_few(sizes, doubled):
        return _nothing(name, tuple(sizes), doubled, reason)
    shares, mean = jonckheere_null(groups, tied), doubled_mean(groups)
    labels = np.repeat(np.arange(len(sizes)), sizes)[None, :]
    observed = 2 * abs(float(in_order(doubled.astype(float), labels)[0]))
    there = np.flatnonzero(shares)
    found = exact_p(np.abs(there - float(mean)), shares[there], observed)
    how = f"exact, the {arrangements.count(sizes):.2g} arrangements counted by their generating function"
    return RankTest(name, how, observed, *found, tuple(sizes), _ties(doubled))


def weaker(tests: Sequence[RankTest]) -> RankTest:
    """Of the tests at both ends of the intervals, the one with the larger p: a claim holds if both make it."""
    return max(tests, key=lambda test: math.inf if test.reason else test.p)


@dataclass(frozen=True)
class Ratio:
    """Hodges-Lehmann's ratio of the second group to the first, with an interval from the exact rank distribution.

    ratio : median of the ratios of all pairs; NaN where a limit hides it (then between ratio_lower and ratio_upper).
    lower, upper : ends of the interval.
    level : its attained level, at least 0.95 where the sizes allow it, else the largest that they allow.
    reason : why there is none.
    """

    ratio: float
    ratio_lower: float
    ratio_upper: float
    lower: float
    upper: float
    level: float
    reason: str = ""


def hodges_lehmann(
    x_lower: npt.ArrayLike, x_upper: npt.ArrayLike, y_lower: npt.ArrayLike, y_upper: npt.ArrayLike, level: float = 0.95
) -> Ratio:
    """Ratio of y to x with its exact interval, for values that can be intervals.

    Parameters
    ----------
    x_lower, x_upper, y_lower, y_upper : (n,), (n,), (m,), (m,) positive values; lower 0 or upper infinity at an open
        end.

    Returns
    -------
    Ratio
        The interval is that of the ordered ratios whose level (without ties) is the smallest of at least `level`.

    Examples
    --------
    >>> found = hodges_lehmann([1, 2, 4], [1, 2, 4], [10, 20, 40], [10, 20, 40])
    >>> round(found.ratio, 6), round(found.level, 6)
    (10.0, 0.9)
    """
    level = checked_level(level)
    ends_of = [np.asarray(ends, float) for ends in (x_lower, x_upper, y_lower, y_upper)]
    n, m = len(ends_of[0]), len(ends_of[2])
    if not n or not m:
        nan = math.nan
        return Ratio(nan, nan, nan, nan, nan, nan, "a group has no value")
    with np.errstate(divide="ignore"):
        x_low, x_high, y_low, y_high = (np.log(ends) for ends in ends_of)
    # The ratio of 0 to 0, or of infinity to infinity, can be anything.
    with np.errstate(invalid="ignore"):
        low, high = np.subtract.outer(y_low, x_high).ravel(), np.subtract.outer(y_high, x_low).ravel()
    low = np.sort(np.where(np.isnan(low), -np.inf, low))
    high = np.sort(np.where(np.isnan(high), np.inf, high))
    tails = np.cumsum(mann_whitney(n, m))
    # How many of the ordered ratios to leave out at each end; where even the extremes have too low a level, none.
    at = max(int(np.searchsorted(tails, (1 - level) / 2 * (1 + 1e-12), side="right")) - 1, 0)
    attained = 1 - 2 * float(tails[at])
    middle_low, middle_high = (
        float(np.exp(_median(ends, open_end))) for ends, open_end in ((low, -np.inf), (high, np.inf))
    )
    ratio = middle_low if middle_low == middle_high else math.nan
    return Ratio(ratio, middle_low, middle_high, float(np.exp(low[at])), float(np.exp(high[n * m - 1 - at])), attained)


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values; a NaN stays one and is not counted.

    Examples
    --------
    >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    values = np.asarray(p, float)
    order = np.argsort(values)
    known = int((~np.isnan(values)).sum())
    adjusted = np.full(len(values), math.nan)
    factors = np.arange(known, 0, -1)
    adjusted[order[:known]] = np.minimum(np.maximum.accumulate(values[order[:known]] * factors), 1.0)
    return adjusted


def in_order(scores: Floats, labels: arrangements.Labels) -> Floats:
    """(m,) J less its mean for each arrangement (m, n): half of the pairs in order less half of those that are not."""
    total = np.zeros(len(labels))
    for i in range(len(scores)):
        for j in range(i + 1, len(scores)):
            sign = np.sign(scores[j] - scores[i])
            if sign:
                total += sign * np.sign(labels[:, j] - labels[:, i])
    return total / 2


def _checked(groups: Sequence[npt.ArrayLike]) -> list[Floats]:
    found = [np.asarray(group, float).ravel() for group in groups]
    if len(found) < 2:
        raise ValueError("a rank test compares at least two groups.")
    if any(np.isnan(group).any() for group in found):
        raise ValueError("a value is NaN: leave it out, or say with tied_at_limit what hides it.")
    return found


def _doubled_midranks(groups: Sequence[Floats]) -> npt.NDArray[np.int64]:
    """Midranks times two, whole numbers, so that equal sums are equal."""
    return np.rint(2 * scipy.stats.rankdata(np.concatenate(groups))).astype(np.int64)


def _ties(doubled: npt.NDArray[np.int64]) -> int:
    repeats = np.unique(doubled, return_counts=True)[1]
    return int(repeats[repeats > 1].sum())


def _too_few(sizes: Sequence[int], doubled: npt.NDArray[np.int64]) -> str:
    if min(sizes) == 0:
        return "a group has no value"
    if np.ptp(doubled) == 0:
        return "all values are tied, below the limit or equal"
    return ""


def _nothing(name: str, sizes: tuple[int, ...], doubled: npt.NDArray[np.int64], reason: str) -> RankTest:
    nan = math.nan
    return RankTest(name, "none", nan, nan, nan, nan, nan, sizes, _ties(doubled), reason=reason)


def exact_p(extremes: Floats, shares: Floats, observed: float) -> tuple[float, float, float, float]:
    """p, mid-p, smallest p and attained size from the null distribution of a statistic that is extreme when large."""
    # Equal statistics differ by rounding: they are one.
    scale = max(float(np.abs(extremes).max()), 1.0)
    keys, place = np.unique(np.rint(extremes / scale * 1e10), return_inverse=True)
    probability = np.bincount(place, weights=shares, minlength=len(keys))
    p_of = np.minimum(np.cumsum(probability[::-1])[::-1], 1.0)
    at = int(np.searchsorted(keys, np.rint(observed / scale * 1e10)))
    p = float(p_of[at])
    size = float(probability[p_of <= ALPHA * (1 + 1e-12)].sum())
    return p, p - float(probability[at]) / 2, float(p_of[-1]), size


def _permuted(name: str, groups: Sequence[Floats], statistic: Statistic, seed: int) -> RankTest:
    sizes = tuple(len(group) for group in groups)
    doubled = _doubled_midranks(groups)
    if reason := _too_few(sizes, doubled):
        return _nothing(name, sizes, doubled, reason)
    scores = doubled.astype(float)
    own = arrangements.given(sizes)
    observed = float(statistic(scores, own)[0])
    ways, error = arrangements.count(sizes), 0.0
    if ways <= arrangements.MOST:
        labels, variant = arrangements.all_of(sizes), f"exact over all {ways:,} arrangements of midranks"
        values = statistic(scores, labels)
        found = exact_p(values, np.full(len(values), 1 / len(values)), observed)
    else:
        labels = arrangements.sampled(sizes, DRAWS, np.random.default_rng(seed))
        # The observed arrangement counts as one of the drawn: p is never 0.
        values = np.append(statistic(scores, labels), observed)
        found = exact_p(values, np.full(len(values), 1 / len(values)), observed)
        error = math.sqrt(found[0] * (1 - found[0]) / DRAWS)
        variant = f"Monte Carlo over {DRAWS:,} of {ways:.2g} arrangements of midranks (seed {seed})"
    return RankTest(name, variant, observed, *found, sizes, _ties(doubled), error)


def _median(ordered: Floats, between_infinities: float) -> float:
    below, above = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    if below == -np.inf and above == np.inf:
        return between_infinities
    return float(below if below == above else (below + above) / 2)
