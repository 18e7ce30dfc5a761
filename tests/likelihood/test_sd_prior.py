"""The prior of an sd of few samples: its centre, its worth, and what other patients add to it."""

import numpy as np
import pytest

from cellkinetics.likelihood.sd_prior import SdPrior


def test_the_stated_prior_holds_95_percent_between_a_quarter_and_two_and_is_worth_two_samples():
    prior = SdPrior()
    assert prior.median * np.exp(np.array([-1.96, 1.96]) * prior.sd) == pytest.approx([0.263, 1.865], abs=0.001)
    assert prior.degrees == pytest.approx(2.0)
    assert prior.words == "LogNormal(0.7, 0.5)"


def test_its_centre_is_moved_so_that_the_curve_s_parameters_count_as_integrated_out():
    # -n ln s - (ln s - c)^2/(2 w^2) has the slope of -(n - p) ln s - (ln s - m)^2/(2 w^2) everywhere.
    prior = SdPrior(spent=5.0)
    for ln_s in (-2.0, 0.3):
        plain = -(9 - 5) - (ln_s - prior.mean) / prior.sd**2
        assert -9 - (ln_s - prior.centre) / prior.sd**2 == pytest.approx(plain)


def test_other_patients_are_pooled_by_their_degrees_of_freedom():
    told = SdPrior().with_others([2.0, 3.0], [4.0, 6.0])
    # By hand: ln 0.7 with the variance 1/8 between studies, and 0.5 ln(5/10) with 1/(2 x 10).
    mean = (8 * np.log(0.7) + 20 * 0.5 * np.log(0.5)) / 28
    assert (told.mean, told.sd) == pytest.approx((mean, np.sqrt(1 / 8 + 1 / 28)))
    assert (told.patients, told.pooled) == (2, 10.0)


def test_nobody_tells_anything_of_a_prior_that_was_given_and_nobody_is_no_news():
    given = SdPrior(0.0, 0.1, given=True)
    assert given.with_others([2.0], [4.0]) is given
    assert SdPrior().with_others([], []) == SdPrior()
