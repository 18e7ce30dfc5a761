"""Points of starts: those of the default seed are read, and are SciPy's to the last bit."""

import numpy as np
import pytest
from scipy import special, stats

from cellkinetics.statistics import sobol


@pytest.mark.parametrize("seed", [sobol.KEPT_SEED, 7])
@pytest.mark.parametrize("size", [1, 5, 16, 17])
def test_they_are_the_scrambled_sobol_points_of_scipy_as_normals(size, seed):
    engine = stats.qmc.MultivariateNormalQMC(np.zeros(size), rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(sobol.normals(size, 32, seed), engine.random(32))


@pytest.mark.parametrize("count", [1, 5, 32, 40])
def test_fewer_of_them_are_the_first_of_more_and_more_are_drawn(count):
    points = sobol.normals(3, count, sobol.KEPT_SEED)
    assert points.shape == (count, 3)
    np.testing.assert_array_equal(points[:32], sobol.normals(3, 32, sobol.KEPT_SEED)[:count])


def test_each_half_of_a_dimension_holds_half_of_them():
    uniform = special.ndtr(sobol.normals(5, 32, sobol.KEPT_SEED))
    assert np.all(np.sum(uniform < 0.5, axis=0) == 16)


def test_nothing_is_drawn_in_no_dimension():
    assert sobol.normals(0, 32, 1).shape == (32, 0)
    assert sobol.normals(3, 0, 1).shape == (0, 3)
