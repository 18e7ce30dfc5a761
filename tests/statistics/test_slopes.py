"""Dose exponents of many studies at once, against those of one."""

import numpy as np
import pytest

from cellkinetics.statistics.dose_exponent import dose_exponent
from cellkinetics.statistics.slopes import slopes

DOSES = np.array([1e5] * 3 + [1e6] * 4 + [1e7] * 4)
MARGIN = np.log(2) / np.log(100)


@pytest.mark.parametrize(("share", "sd", "b"), [(0.0, 0.2, 0.0), (0.3, 0.2, 0.0), (0.3, 0.5, 0.4), (0.6, 0.3, 0.1)])
def test_each_study_is_told_what_dose_exponent_says(share, sd, b):
    rng = np.random.default_rng(7)
    values = b * np.log(DOSES / 1e6) + sd * rng.normal(size=(5, 11))
    limit = np.quantile(values, share) if share else -np.inf
    low, high = np.where(values < limit, -np.inf, values), np.maximum(values, limit)
    found = slopes(np.log(DOSES), low, high, MARGIN)
    for study in range(len(values)):
        one = dose_exponent(DOSES, np.exp(low[study]), np.exp(high[study]))
        assert found.estimable[study] == (not one.reason)
        if not one.reason:
            assert found.b[study] == pytest.approx(one.b, rel=1e-6)
            assert found.found[study] == (one.lower > 0 or one.upper < 0)
            assert found.equivalent[study] == (one.equivalence == "shown")
        else:
            assert not found.found[study]
            assert not found.equivalent[study]
