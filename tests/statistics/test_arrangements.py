"""All ways to give values to groups."""

from itertools import permutations

import numpy as np
import pytest

from cellkinetics.statistics import arrangements


@pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (2, 2), (1, 2, 2), (3, 1, 2), (2, 0, 1), (0, 2, 0), (2, 0, 0)])
def test_all_arrangements_are_the_distinct_permutations_of_the_labels(sizes):
    labels = np.repeat(range(len(sizes)), sizes)
    found = [tuple(row) for row in arrangements.all_of(sizes).tolist()]
    assert len(found) == len(set(found)) == arrangements.count(sizes)
    assert set(found) == set(permutations(labels.tolist()))


def test_drawn_arrangements_keep_the_sizes_and_are_equally_likely():
    drawn = arrangements.sampled((1, 2), 30_000, np.random.default_rng(1))
    assert (np.sort(drawn, axis=1) == [0, 1, 1]).all()
    share = (drawn == 0).mean(axis=0)
    np.testing.assert_allclose(share, 1 / 3, atol=4 * np.sqrt(2 / 9 / 30_000))
