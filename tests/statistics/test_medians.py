"""Medians by visit, against values that can be made by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cellkinetics as ck
from cellkinetics.statistics.medians import by_visit

LIMIT = 3.0


def samples(*rows):
    """Rows (subject, day, value): a text is below the limit."""
    table = pd.DataFrame([(subject, float(day)) for subject, day, _ in rows], columns=["subject", "day"])
    below = [isinstance(value, str) for *_, value in rows]
    table["lower"] = [0.0 if low else float(value) for low, (*_, value) in zip(below, rows, strict=True)]
    table["upper"] = [LIMIT if low else float(value) for low, (*_, value) in zip(below, rows, strict=True)]
    return table


def medians(table, names="ABCDE"):
    return by_visit(table, pd.Series("all", index=list(names)))[["day", "lower", "upper"]].values.tolist()


def test_the_median_of_three_is_the_one_in_the_middle():
    assert medians(samples(("A", 7, 10), ("B", 7, 5000), ("C", 7, 400)), "ABC") == [[7.0, 400.0, 400.0]]


def test_the_median_of_two_is_their_geometric_mean():
    assert medians(samples(("A", 7, 10), ("B", 7, 1000)), "AB") == [[7.0, pytest.approx(100), pytest.approx(100)]]


def test_with_more_than_half_below_the_limit_the_median_is_below_the_limit():
    table = samples(("A", 7, "<"), ("B", 7, "<"), ("C", 7, 400), ("D", 7, "<"), ("E", 7, 9))
    assert medians(table) == [[7.0, 0.0, LIMIT]]


def test_with_less_than_half_below_the_limit_the_median_is_a_number():
    assert medians(samples(("A", 7, "<"), ("B", 7, "<"), ("C", 7, 400), ("D", 7, 8), ("E", 7, 9))) == [[7.0, 8.0, 8.0]]


def test_with_half_below_the_limit_the_median_lies_between_the_means_of_the_ends():
    assert medians(samples(("A", 7, "<"), ("B", 7, 12)), "AB") == [[7.0, 0.0, pytest.approx(6)]]


@given(st.lists(st.floats(LIMIT, 1e7), min_size=3, max_size=9).filter(lambda values: len(values) % 2))
def test_without_limits_it_is_that_of_numpy(values):
    names = [f"P{place}" for place in range(len(values))]
    table = samples(*((name, 7, value) for name, value in zip(names, values, strict=True)))
    assert medians(table, names) == [[7.0, np.median(values), np.median(values)]]


def test_actual_days_near_each_other_are_one_visit_and_a_patient_who_returns_begins_the_next():
    table = samples(("A", 27, 10), ("B", 28, 10), ("C", 29, 10), ("A", 30, 40), ("B", 31, 40), ("C", 33, 40))
    assert [day for day, *_ in medians(table, "ABC")] == [28.0, 31.0]


def test_planned_days_are_the_visits_where_there_are_any():
    table = samples(("A", 20, 10), ("B", 28, 30), ("A", 29, 90), ("B", 35, 80))
    table["nominal_day"] = [21.0, 21.0, 35.0, 35.0]
    assert [day for day, *_ in medians(table, "AB")] == [24.0, 32.0]


def test_the_wells_of_a_patient_count_as_one():
    table = samples(("A", 7, 10), ("A", 7, 1000), ("B", 7, 5), ("C", 7, 50))
    assert medians(table, "ABC") == [[7.0, 50.0, 50.0]]


def test_a_visit_of_fewer_than_half_of_the_patients_or_of_one_has_no_median():
    table = samples(*((name, 7, 10) for name in "ABCDE"), ("A", 90, 10), ("B", 90, 10))
    assert [day for day, *_ in medians(table)] == [7.0]
    assert medians(samples(("A", 7, 10), ("A", 14, 10)), "A") == []


def test_samples_above_the_upper_limit_have_a_median_above_it():
    table = samples(("A", 7, 1e6), ("B", 7, 1e6), ("C", 7, 50)).assign(upper=[np.inf, np.inf, 50.0])
    assert medians(table, "ABC") == [[7.0, 1e6, np.inf]]


def test_each_cohort_of_the_example_has_a_median_at_most_of_its_visits():
    study = ck.example()
    table = by_visit(study.used, study.covariates["cohort"])
    assert set(table["group"]) == set(study.covariates["cohort"])
    assert (table["patients"] >= 2).all()
    assert (table.groupby("group")["day"].max() > 60).all()
