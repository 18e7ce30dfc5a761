"""Exact tests within strata, against arrangements counted one after the other and the tests without strata."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from cellkinetics.statistics import arrangements
from cellkinetics.statistics.ranks import jonckheere, kruskal, wilcoxon
from cellkinetics.statistics.strata import stratified

SCORES = np.array([5.0, 1, 7, 2, 2, 9, 4, 8, 3])
STRATA = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
GROUPS = np.array([0, 0, 1, 0, 1, 1, 1, 1, 1])


def test_van_elteren_is_that_of_every_arrangement_within_strata():
    def sum_of(groups):
        """Rank sums of the first group by the size of the stratum plus one."""
        total = 0.0
        for stratum in range(3):
            member = stratum == STRATA
            total += stats.rankdata(SCORES[member])[groups[member] == 0].sum() / (member.sum() + 1)
        return total

    within = [sorted(set(permutations(GROUPS[stratum == STRATA]))) for stratum in range(3)]
    sums = np.array([sum_of(np.concatenate([a, b, c])) for a in within[0] for b in within[1] for c in within[2]])
    far = np.abs(sums - sums.mean())
    found = stratified(SCORES, GROUPS, STRATA, 2, ordered=True)
    assert len(sums) == 12
    assert found.p == pytest.approx((far >= abs(sum_of(GROUPS) - sums.mean()) - 1e-9).mean())
    assert found.smallest_p == pytest.approx((far >= far.max() - 1e-9).mean())
    # The third stratum has one group and says nothing.
    assert found.sizes == (3, 4)


@pytest.mark.parametrize("groups", [[0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 2, 2, 2, 2]])
def test_of_one_stratum_it_is_the_test_without_strata(groups):
    labels = np.array(groups)
    parts = [SCORES[labels == group] for group in range(labels.max() + 1)]
    one = np.zeros(9, int)
    if len(parts) == 2:
        assert stratified(SCORES, labels, one, 2, ordered=True).p == pytest.approx(wilcoxon(*parts).p)
        return
    assert stratified(SCORES, labels, one, 3, ordered=True).p == pytest.approx(jonckheere(parts).p)
    assert stratified(SCORES, labels, one, 3, ordered=False).p == pytest.approx(kruskal(parts).p)


def test_a_difference_between_strata_is_not_one_between_groups():
    rng = np.random.default_rng(1)
    strata, groups = np.repeat([0, 1], 8), np.array([0] * 7 + [1] + [0] + [1] * 7)
    scores = 10.0 * strata + rng.normal(size=16)
    assert wilcoxon(scores[groups == 0], scores[groups == 1]).p < 0.05
    assert stratified(scores, groups, strata, 2, ordered=True).p > 0.2


def test_factors_that_go_together_entirely_cannot_be_tested():
    found = stratified(SCORES, STRATA, STRATA, 3, ordered=True)
    assert found.reason == "no stratum has values of two groups that differ"
    assert np.isnan(found.p)


def test_too_many_arrangements_are_drawn(monkeypatch):
    exact = stratified(SCORES, GROUPS, STRATA, 2, ordered=True)
    monkeypatch.setattr(arrangements, "MOST", 5)
    drawn = stratified(SCORES, GROUPS, STRATA, 2, ordered=True)
    assert drawn.p == pytest.approx(exact.p, abs=5 * drawn.monte_carlo_error)
    assert "Monte Carlo over 200,000 of 12 arrangements" in drawn.variant


def test_its_size_is_at_most_five_percent():
    rng = np.random.default_rng(4)
    strata, groups = np.repeat([0, 1], 6), np.tile([0, 0, 0, 1, 1, 1], 2)
    sets = [stratified(rng.normal(size=12), groups, strata, 2, ordered=True) for _ in range(400)]
    size = sets[0].attained_size
    assert 0.02 < size <= 0.05
    assert np.mean([test.p <= 0.05 for test in sets]) == pytest.approx(size, abs=4 * np.sqrt(size / 400))
