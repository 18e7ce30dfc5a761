r"""Exact rank tests of one factor within groups of another: labels are exchanged within each stratum only.

Two groups: van Elteren's sum of rank sums, each divided by the size of its stratum plus one (van Elteren 1960).
Ordered groups: the sum over strata of Jonckheere-Terpstra's J. Others: the sum over strata and groups of
n (mean rank - mean of the stratum)^2, ranks standardised by stratum. A stratum in which all patients belong to one
group says nothing; the smallest possible p tells how much is left where the factors go together.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy

from cellkinetics.arrays import Floats
from cellkinetics.statistics import arrangements
from cellkinetics.statistics.ranks import DRAWS, RankTest, exact_p, in_order


def stratified(
    scores: Floats,
    groups: npt.NDArray[np.int_],
    strata: npt.NDArray[np.int_],
    count: int,
    *,
    ordered: bool,
    seed: int = 2020,
) -> RankTest:
    """Whether groups differ within strata.

    Parameters
    ----------
    scores : (n,) values; ties share their rank.
    groups : (n,) 0, 1, ... in their order.
    strata : (n,) numbers of the strata.
    count : how many groups are compared.
    ordered : whether more than two groups have an order, so that a trend is asked for.
    seed : of the arrangements, where there are more than 2e6.

    Returns
    -------
    RankTest
        With the patients of each group in strata that have more than one group as ``sizes``.

    Examples
    --------
    >>> scores, strata = np.array([1.0, 2, 3, 11, 12, 13]), np.array([0, 0, 0, 1, 1, 1])
    >>> test = stratified(scores, np.array([0, 0, 1, 0, 1, 1]), strata, 2, ordered=True)
    >>> round(test.p, 4), round(test.smallest_p, 4)
    (0.2222, 0.2222)
    """
    several = "stratified Jonckheere-Terpstra" if ordered else "stratified Kruskal-Wallis"
    name = "van Elteren" if count == 2 else several
    ways, parts, sizes, tied = (
        1,
        list[tuple[Floats, arrangements.Labels, npt.NDArray[np.int_]]](),
        np.zeros(count, int),
        0,
    )
    for stratum in np.unique(strata):
        member = strata == stratum
        own, of_group = scores[member], np.bincount(groups[member], minlength=count)
        if (of_group > 0).sum() < 2 or np.ptp(own) == 0:
            continue
        ranks = scipy.stats.rankdata(own)
        ways *= arrangements.count([int(size) for size in of_group])
        sizes += of_group
        tied += len(own) - len(np.unique(own))
        parts.append((ranks, groups[member].astype(np.int8), of_group))
    nan = math.nan
    if not parts:
        reason = "no stratum has values of two groups that differ"
        return RankTest(name, "none", nan, nan, nan, nan, nan, tuple(sizes.tolist()), tied, reason=reason)
    of = _two if count == 2 else in_order if ordered else _several
    exact, rng = ways <= arrangements.MOST, np.random.default_rng(seed)
    observed, total = 0.0, np.zeros(1 if exact else DRAWS)
    for ranks, own, of_group in parts:
        sized = [int(size) for size in of_group]
        labels = arrangements.all_of(sized) if exact else arrangements.sampled(sized, DRAWS, rng)
        values = of(ranks, labels)
        observed += float(of(ranks, own[None])[0])
        total = np.add.outer(total, values).ravel() if exact else total + values
    variant = f"exact over all {ways:,} arrangements within strata"
    if not exact:
        # The observed arrangement counts as one of the drawn: p is never 0.
        total = np.append(total, observed)
        variant = f"Monte Carlo over {DRAWS:,} of {ways:.2g} arrangements within strata (seed {seed})"
    if of is not _several:
        total, observed_far, variant = np.abs(total), abs(observed), variant + ", two-sided"
    else:
        observed_far = observed
    p_value = exact_p(total, np.full(len(total), 1 / len(total)), observed_far)
    error = 0.0 if exact else math.sqrt(p_value[0] * (1 - p_value[0]) / DRAWS)
    return RankTest(name, variant, observed, *p_value, tuple(sizes.tolist()), tied, error)


def _two(ranks: Floats, labels: arrangements.Labels) -> Floats:
    """Less its mean, as `in_order`."""
    return ((labels == 0) @ (ranks - ranks.mean())) / (len(ranks) + 1)


def _several(ranks: Floats, labels: arrangements.Labels) -> Floats:
    z = (ranks - ranks.mean()) / ranks.std(ddof=1)
    total = np.zeros(len(labels))
    for group in range(int(labels.max()) + 1):
        member = labels == group
        total += (member @ z) ** 2 / np.maximum(member.sum(axis=1), 1)
    return total
