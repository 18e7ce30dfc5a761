"""Doses as arrays: what a user gives and what the solver takes."""

import numpy as np
import pytest

from cellkinetics import ModelError
from cellkinetics.modelling.dosing import as_doses

CHANNELS = ("cells", "rimiducid")


def test_a_number_is_one_infusion_at_day_0():
    doses = as_doses(1e6, CHANNELS)
    assert doses.times.tolist() == [0.0]
    assert doses.amounts.tolist() == [[1e6, 0.0]]


def test_pairs_are_sorted_and_padded_to_a_power_of_two():
    doses = as_doses([(14, 2e6), (0, 1e6), (7, 3e6)], CHANNELS)
    assert doses.times.tolist() == [0, 7, 14, np.inf]
    assert doses.amounts[:, 0].tolist() == [1e6, 3e6, 2e6, 0]


def test_channels_at_one_time_share_an_event():
    doses = as_doses({"cells": 1e6, "rimiducid": [(0, 1), (30, 1)]}, CHANNELS)
    assert doses.times.tolist() == [0, 30]
    assert doses.amounts.tolist() == [[1e6, 1], [0, 1]]


def test_two_doses_at_one_time_add_up():
    assert as_doses([(0, 1e6), (0, 1e6)], CHANNELS).amounts[0, 0] == 2e6


def test_no_dose_is_an_event_of_amount_0():
    assert as_doses(None, CHANNELS).amounts.tolist() == [[0, 0]]


def test_boluses_and_infusions_over_time_are_given_together():
    doses = as_doses({"cells": [(0, 6.0, 2.0), (7, 3.0)]}, CHANNELS)
    assert doses.times.tolist() == [0, 2, 7, np.inf]
    assert doses.amounts[:, 0].tolist() == [0, 0, 3, 0]
    assert doses.rates is not None
    assert doses.rates[:, 0].tolist() == [3, -3, 0, 0]


@pytest.mark.parametrize(
    ("doses", "text"),
    [
        ({"cels": 1e6}, "no dosing channel 'cels'.*Did you mean cells"),
        ({0: 1e6, 14: 1e6}, r"no dosing channel 0; .*Give days as pairs: doses=\[\(0, amount\), \.\.\.\]"),
        (-1.0, "must be finite and not negative"),
        ([(float("nan"), 1e6)], "must be finite"),
        ([(0, 1e6, -1)], "must be finite and not negative"),
        ([(0, 1e6, 1, 1)], "a third number is the duration"),
        ([(-3, 1e6)], "days count from the first infusion"),
    ],
)
def test_a_wrong_dose_is_refused(doses, text):
    with pytest.raises(ModelError, match=text):
        as_doses(doses, CHANNELS)
