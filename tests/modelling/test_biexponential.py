"""The decline that most curves share."""

import numpy as np
import pytest
from scipy.integrate import quad

from cellkinetics.modelling.biexponential import decline, faster_first, from_peak, rates


def test_the_share_is_one_at_the_peak_and_its_area_is_that_of_two_exponentials():
    assert float(decline(0.0, 0.3, 0.1, 0.01)) == 1.0
    area, _ = quad(lambda t: float(decline(t, 0.3, 0.1, 0.01)), 0, 3000, limit=200)
    assert area == pytest.approx(0.9 / 0.3 + 0.1 / 0.01, rel=1e-8)


def test_the_faster_rate_first_gives_the_same_curve():
    days = np.linspace(0, 100, 21)
    given = {"alpha": 0.01, "f_b": 0.9, "beta": 0.3, "c_max": 5.0}
    renamed = faster_first(given)
    assert renamed["alpha"] == 0.3
    assert renamed["c_max"] == 5.0
    curves = [decline(days, v["alpha"], v["f_b"], v["beta"]) for v in (given, renamed)]
    np.testing.assert_allclose(*curves, rtol=1e-14)
    assert faster_first(renamed) is renamed


def test_rates_are_those_of_two_pure_exponentials():
    early, late = np.array([2.0, 7.0, 14.0]), np.array([60.0, 120.0, 180.0])
    found = rates(np.append(early, late), np.append(0.2 * early, 4.0 + 0.01 * late))
    assert found["alpha"] == pytest.approx(0.2)
    assert found["beta"] == pytest.approx(0.01)


def test_a_rate_without_samples_is_not_guessed():
    assert rates(np.array([3.0, 6.0]), np.array([1.0, 2.0])) == {"alpha": pytest.approx(1 / 3)}
    assert rates(np.array([60.0]), np.array([1.0])) == {}
    assert from_peak(np.array([1.0, 7.0]), np.array([3.0, 900.0])) == {"t_max": 7.0, "c_max": 900.0}
