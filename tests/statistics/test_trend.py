"""The trend test of many studies at once, against the one that counts every arrangement."""

import numpy as np
import pytest

from cellkinetics.statistics import trend
from cellkinetics.statistics.null_distributions import jonckheere_null
from cellkinetics.statistics.ranks import jonckheere, wilcoxon
from cellkinetics.statistics.trend import trend_p, variance


@pytest.mark.parametrize("sizes", [(3, 4), (4, 4), (3, 4, 4), (2, 3, 2), (1, 2, 2, 2)])
def test_p_is_that_of_every_arrangement_counted_whatever_the_limit_hides(sizes):
    rng = np.random.default_rng(3)
    n = sum(sizes)
    for hidden in range(n):
        values = rng.permutation(n).astype(float)
        values[values < hidden] = -1.0
        groups = np.split(values, np.cumsum(sizes)[:-1])
        counted = wilcoxon(*groups) if len(sizes) == 2 else jonckheere(groups)
        np.testing.assert_allclose(trend_p(values[None], sizes), counted.p, atol=1e-12)


def test_all_values_tied_is_no_test():
    assert np.isnan(trend_p(np.zeros((1, 5)), (2, 3))).all()


@pytest.mark.parametrize(("sizes", "tied"), [((3, 4, 4), 0), ((5, 6, 7), 1), ((4, 4, 6), 9), ((6, 9), 8)])
def test_the_variance_with_ties_is_that_of_the_exact_distribution(sizes, tied):
    shares = jonckheere_null(sizes, tied)
    j = np.arange(len(shares)) / 2
    assert variance(sizes, tied) == pytest.approx(shares @ j**2 - (shares @ j) ** 2, rel=1e-10)


def test_where_the_distribution_is_not_counted_p_is_near_it(monkeypatch):
    values = np.random.default_rng(5).normal(size=(400, 60))
    values[values < -0.5] = -0.5
    exact = trend_p(values, (16, 22, 22))
    monkeypatch.setattr(trend, "EXACT", 10)
    near = exact < 0.2
    np.testing.assert_allclose(trend_p(values, (16, 22, 22))[near], exact[near], atol=0.005)


def test_scores_that_do_not_fit_the_sizes_are_an_error():
    with pytest.raises(ValueError, match=r"5 scores a study are not 2 \+ 2"):
        trend_p(np.zeros((1, 5)), (2, 2))
