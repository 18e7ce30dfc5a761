"""Exact rank tests: R, enumeration by hand, and what small groups cannot show."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cellkinetics.statistics import arrangements, ranks
from cellkinetics.statistics.ranks import (
    hodges_lehmann,
    holm,
    jonckheere,
    kruskal,
    tied_at_limit,
    wilcoxon,
    wilcoxon_variants,
)

R = json.loads((Path(__file__).parents[1] / "reference" / "ranks.json").read_text())
PAIRS, SEVERAL = R["pairs"], R["several"]


@pytest.mark.parametrize("name", PAIRS)
def test_wilcoxon_is_that_of_r(name):
    expected = PAIRS[name]
    test = wilcoxon(expected["x"], expected["y"])
    assert test.statistic == expected["statistic"]
    assert test.p == pytest.approx(expected["p"], rel=1e-12)
    assert test.smallest_p == pytest.approx(expected["smallest"], rel=1e-12)
    variants = wilcoxon_variants(expected["x"], expected["y"])
    assert variants["normal approximation without continuity correction"] == pytest.approx(expected["plain"], rel=1e-9)
    assert variants["normal approximation with continuity correction"] == pytest.approx(expected["corrected"], rel=1e-9)


@pytest.mark.parametrize("name", [name for name, pair in PAIRS.items() if "ratio" in pair])
def test_hodges_lehmann_is_that_of_r(name):
    expected = PAIRS[name]
    found = hodges_lehmann(expected["x"], expected["x"], expected["y"], expected["y"])
    assert found.ratio == pytest.approx(expected["ratio"], rel=1e-9)
    assert [found.lower, found.upper] == pytest.approx(expected["ends"], rel=1e-9)
    # R names 0.95 unless the attained level is far from it; 3 against 4 attain 1 - 2/35.
    assert found.level == pytest.approx(expected["level"], abs=0.03)


@pytest.mark.parametrize("name", SEVERAL)
def test_kruskal_wallis_and_jonckheere_terpstra_are_those_of_r(name):
    expected = SEVERAL[name]
    test, trend = kruskal(expected["groups"]), jonckheere(expected["groups"])
    assert test.statistic == pytest.approx(expected["h"], rel=1e-12)
    assert test.p == pytest.approx(expected["kruskal"], rel=1e-12)
    assert test.smallest_p == pytest.approx(expected["kruskal_smallest"], rel=1e-12)
    assert trend.statistic == expected["j"]
    assert trend.p == pytest.approx(expected["jonckheere"], rel=1e-12)


def test_two_groups_of_three_or_three_and_four_can_never_reach_five_percent():
    for sizes, smallest in (((3, 3), 0.1), ((3, 4), 2 / 35)):
        x, y = np.arange(sizes[0]), 10 + np.arange(sizes[1])
        test = wilcoxon(x, y)
        assert test.p == pytest.approx(smallest)
        assert not test.can_reach
        assert test.attained_size == 0


def test_the_size_of_four_against_four_is_under_three_percent():
    test = wilcoxon([1, 2, 3, 4], [5, 6, 7, 8])
    assert test.attained_size == test.smallest_p == pytest.approx(2 / 70)
    assert wilcoxon([1, 2, 3, 5], [4, 6, 7, 8]).attained_size == test.attained_size


def test_eight_against_three_can_only_take_a_few_p_values():
    x = np.arange(1.0, 9)
    found = [wilcoxon(x, [y, 10, 11]).p for y in (9, 7.5, 6.5)]
    assert found == pytest.approx([0.0121, 0.0242, 0.0485], abs=5e-5)
    complete = wilcoxon_variants(x, [9, 10, 11])
    inversion = wilcoxon_variants(x, [7.5, 10, 11])
    assert complete["normal approximation with continuity correction"] == pytest.approx(0.0189, abs=5e-5)
    assert inversion["normal approximation without continuity correction"] == pytest.approx(0.0247, abs=5e-5)


def test_mid_p_leaves_out_half_of_the_observed():
    test = wilcoxon([1, 2, 3, 4], [5, 6, 7, 8])
    assert test.mid_p == pytest.approx(1 / 70)


def test_hodges_lehmann_of_three_against_three_attains_ninety_percent_only():
    values = np.array([10.0, 20, 40])
    assert hodges_lehmann(values, values, values, values).level == pytest.approx(0.9)
    found = hodges_lehmann([1], [1], [5], [5])
    assert (found.level, found.lower, found.upper) == (0.0, pytest.approx(5), pytest.approx(5))


def test_hodges_lehmann_covers_as_often_as_it_says():
    rng = np.random.default_rng(5)
    inside, level = 0, 0.0
    for _ in range(3000):
        x, y = np.exp(rng.normal(size=4)), 3 * np.exp(rng.normal(size=4))
        found = hodges_lehmann(x, x, y, y)
        inside, level = inside + (found.lower <= 3 <= found.upper), found.level
    assert level == pytest.approx(1 - 2 / 70)
    assert inside / 3000 == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 3000))


def test_a_censored_pair_leaves_the_ratio_between_two_ends():
    found = hodges_lehmann([0, 10, 20], [3, 10, 20], [0, 100, 200], [3, 100, 200])
    assert math.isfinite(found.ratio_lower)
    assert found.lower == 0
    assert found.upper == math.inf
    hidden = hodges_lehmann([0, 0, 20], [3, 3, 20], [0, 0, 200], [3, 3, 200])
    assert math.isnan(hidden.ratio)
    assert hidden.ratio_lower < 1 < hidden.ratio_upper


def test_values_under_the_largest_limit_are_tied():
    assert tied_at_limit([0, 0, 4, 5, 9], [3, 5, 4, 5, 9]).tolist() == [0, 0, 0, 5, 9]
    assert tied_at_limit([1, 100, 150, 90], [3, np.inf, 150, 90]).tolist() == [0, np.inf, np.inf, 90]
    assert tied_at_limit([4.0, 2.0], [4.0, 2.0]).tolist() == [4, 2]


def test_a_censored_value_of_any_size_gives_the_same_p():
    expected = wilcoxon(tied_at_limit([0, 8, 20], [3, 8, 20]), tied_at_limit([0, 40, 50], [3, 40, 50]))
    assert expected.tied == 2
    assert wilcoxon([-5, 8, 20], [-5, 40, 50]).p == expected.p


def test_no_difference_rejects_as_often_as_the_attained_size_says():
    rng = np.random.default_rng(6)
    rejected = np.mean([wilcoxon(*rng.normal(size=(2, 5))).p <= 0.05 for _ in range(4000)])
    size = wilcoxon(np.arange(5), 5 + np.arange(5)).attained_size
    assert size == pytest.approx(0.0317, abs=1e-4)
    assert rejected == pytest.approx(size, abs=4 * math.sqrt(size / 4000))


def test_large_groups_agree_with_scipy():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=40), rng.normal(0.4, 1, size=55)
    expected = stats.mannwhitneyu(x, y, method="exact")
    test = wilcoxon(x, y)
    assert test.statistic == expected.statistic
    assert test.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_too_many_arrangements_are_drawn_with_an_error(monkeypatch):
    # Values that are tied in the middle: the distribution of the trend is not counted then.
    groups = [[1.0, 2, 6], [3, 4, 8, 9], [5, 7, 7, 11]]
    exact, trend = kruskal(groups), jonckheere(groups)
    monkeypatch.setattr(arrangements, "MOST", 100)
    drawn, drawn_trend = kruskal(groups, seed=1), jonckheere(groups, seed=1)
    assert "Monte Carlo" in drawn.variant
    assert 0 < drawn.monte_carlo_error < 0.002
    assert drawn.p == pytest.approx(exact.p, abs=4 * drawn.monte_carlo_error)
    assert "Monte Carlo" in drawn_trend.variant
    assert drawn_trend.p == pytest.approx(trend.p, abs=4 * drawn_trend.monte_carlo_error)
    assert drawn.statistic == exact.statistic
    assert kruskal(groups, seed=1) == drawn


def test_two_groups_give_kruskal_wallis_the_p_of_wilcoxon():
    x, y = [1.0, 4, 6, 6], [2.0, 6, 9, 12, 13]
    assert kruskal([x, y]).p == pytest.approx(wilcoxon(x, y).p)
    assert jonckheere([x, y]).p == pytest.approx(wilcoxon(x, y).p)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [([[], [1.0, 2]], "a group has no value"), ([[0.0, 0], [0.0]], "all values are tied, below the limit or equal")],
)
def test_what_cannot_be_tested_says_why(groups, reason):
    for test in (wilcoxon(*groups), kruskal(groups), jonckheere(groups)):
        assert test.reason == reason
        assert math.isnan(test.p)
    assert all(math.isnan(p) for p in wilcoxon_variants(*groups).values())


def test_one_patient_in_a_group_is_an_answer():
    test = wilcoxon([5.0], [1.0, 2, 3])
    assert test.p == pytest.approx(0.5)
    assert test.smallest_p == pytest.approx(0.5)


def test_a_nan_and_a_single_group_are_errors():
    with pytest.raises(ValueError, match="NaN"):
        ranks.wilcoxon([1.0, math.nan], [2.0])
    with pytest.raises(ValueError, match="at least two groups"):
        kruskal([[1.0, 2.0]])


def test_holm_steps_down():
    assert holm([0.02, 0.04, 0.01, 0.5]) == pytest.approx([0.06, 0.08, 0.04, 0.5])


@pytest.mark.parametrize("n", [9, 14, 40, 90])
def test_a_trend_over_single_patients_is_kendalls_exact_test_at_any_size(n):
    y = np.random.default_rng(n).permutation(n) + 0.501 * np.arange(n)
    test = jonckheere([[value] for value in y])
    expected = stats.kendalltau(np.arange(n), y, method="exact")
    assert test.variant.startswith("exact")
    assert test.monte_carlo_error == 0
    assert test.p == pytest.approx(expected.pvalue, rel=1e-7, abs=1e-13)


def test_a_counted_trend_is_that_of_every_arrangement(monkeypatch):
    plain = [[1.0, 2, 6], [3, 4, 8, 9], [5, 7, 10, 11]]
    below = [[0.0, 0, 6], [0, 4, 8, 9], [5, 7, 0, 11]]
    above = [[math.inf, 0, 6], [2, 4, 8, 9], [math.inf, 7, math.inf, 11]]
    for groups in (plain, below, above):
        every = jonckheere(groups)
        with monkeypatch.context() as patch:
            patch.setattr(arrangements, "MOST", 1)
            counted = jonckheere(groups)
        assert "counted by their generating function" in counted.variant
        for name in ("statistic", "p", "mid_p", "smallest_p", "attained_size"):
            assert getattr(counted, name) == pytest.approx(getattr(every, name), abs=1e-12), name


def test_a_trend_of_hundreds_is_counted_and_agrees_with_the_normal_distribution():
    rng = np.random.default_rng(4)
    groups = [list(rng.normal(0.1 * i, 1.0, 60)) for i in range(4)]
    test = jonckheere(groups)
    n, size = 240, 60
    mean = (n**2 - 4 * size**2) / 4
    spread = math.sqrt((n**2 * (2 * n + 3) - 4 * size**2 * (2 * size + 3)) / 72)
    assert test.p == pytest.approx(2 * stats.norm.sf(abs(test.statistic - mean) / spread), rel=0.02)
    assert "exact" in test.variant


def test_more_groups_than_a_byte_counts_keep_their_order():
    y = np.concatenate([np.arange(100.0), np.full(40, 50.0)])
    test = jonckheere([[value] for value in y[:30]] + [[value] for value in y[60:170]])
    assert "Monte Carlo" in test.variant
    z = np.concatenate([y[:30], y[60:170]])
    tau = sum(np.sign(z[j] - z[i]) for i in range(len(z)) for j in range(i + 1, len(z)))
    assert test.statistic == pytest.approx(tau / 2 + len(z) * (len(z) - 1) / 4)
