"""Domains of arguments: what is taken, and what the error says to give."""

import datetime

import numpy as np
import pandas as pd
import pytest

from cellkinetics import domains


@pytest.mark.parametrize("value", [0.5, 0.95, np.float64(0.9), 1e-9])
def test_a_level_between_0_and_1_is_taken(value):
    assert domains.level(value) == value


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (95, "Give level=0.95 for 95%"),
        (90.0, "Give level=0.9 for 90%"),
        (-1, "Give level=0.95"),
        (0, "Give level=0.95"),
        (1, "Give level=0.95"),
        (1.5, "Give level=0.015 for 1.5%"),
        (np.nan, "not between 0 and 1"),
        ("95%", "such as 0.95"),
        ([0.9, 0.95], "such as 0.95"),
        (None, "such as 0.95"),
    ],
)
def test_what_is_no_level_says_what_to_give(value, remedy):
    with pytest.raises(ValueError, match=remedy):
        domains.level(value)


@pytest.mark.parametrize(("value", "least"), [(1, 1), (200.0, 1), (np.int64(3), 2), (0, 0)])
def test_a_whole_number_is_taken(value, least):
    assert domains.count(value, "n", least) == value


@pytest.mark.parametrize("value", [0, -3, 1.5, np.inf, np.nan, "many", datetime.timedelta(3)])
def test_what_is_no_count_says_what_to_give(value):
    with pytest.raises(ValueError, match=r"n=.*: give a whole number of at least 1"):
        domains.count(value, "n")


def test_days_are_numbers_in_any_container():
    for given in (7, [7], np.array([7.0]), pd.Series([7]), (np.float32(7),)):
        assert domains.days(given).tolist() == [7.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (pd.to_datetime(["2024-03-01"]), "dates"),
        (np.array(["2024-03-01"], "datetime64[s]"), "dates"),
        ([datetime.date(2024, 3, 1)], "dates"),
        ([pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-08")], "dates"),
        (pd.to_timedelta([7], unit="D"), "time differences"),
        ([datetime.timedelta(7)], "time differences"),
        (np.timedelta64(7, "D"), "time differences"),
        (["7"], "text"),
        ([7, np.nan], "NaN or infinity"),
        ([object()], "no number"),
    ],
)
def test_what_are_no_days_says_what_to_give(given, words):
    with pytest.raises(ValueError, match=f"times holds.*{words}.*give"):
        domains.days(given, "times")


def test_the_remedies_for_dates_and_differences_are_days():
    infusion, dates = pd.Timestamp("2024-03-01"), pd.to_datetime(["2024-03-08", "2024-03-15"])
    assert domains.days((dates - infusion) / np.timedelta64(1, "D")).tolist() == [7.0, 14.0]
