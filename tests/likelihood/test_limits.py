"""Limits of samples whose rows name none."""

import numpy as np
import pytest

from cellkinetics.likelihood.limits import in_force


@pytest.mark.parametrize("sign", [1, -1], ids=["lower", "upper"])
def test_a_sample_without_a_limit_has_the_nearest_of_its_patient_or_the_usual_one_of_its_output(sign):
    """Read from above, with everything negative, they are upper limits."""
    subject, output = np.array([0, 0, 0, 1, 1, 2, 2, 3]), np.array([0, 0, 0, 0, 0, 0, 1, 0])
    day = np.array([1.0, 5, 9, 1, 5, 1, 1, 1])
    limit = np.array([3.0, np.nan, 10, 10, np.nan, np.nan, np.nan, np.nan])
    known = np.array([0.0, 50, 0, 0, 4, 50, 50, 2])
    if sign < 0:
        limit, known = -100 / limit, -100 / np.maximum(known, 1e-9)
    expected = [3, 3, 10, 10, 3, 10, np.nan, np.nan]
    found = in_force(limit, known, subject, output, day)
    assert (found if sign > 0 else -100 / found) == pytest.approx(expected, nan_ok=True)
    again = in_force(limit, known, subject, output, np.array([1.0, 8, 9, 1, 5, 1, 1, 1]))
    assert (again[1] if sign > 0 else -100 / again[1]) == pytest.approx(10.0)
