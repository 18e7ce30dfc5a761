"""Quantiles of cohorts with values below a limit, and the test of whole curves."""

import math

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.cohorts.curves import cohort_curves, curve_test, quantile, sampling_days, turnbull


def study_of(curves, cohorts, days=(7, 14, 28), lloq=3.0):
    rows = [
        {"subject": subject, "day": day, "copies_per_ug": value, "cohort": cohorts[subject], "dose": 1e6}
        for subject, values in curves.items()
        for day, value in zip(days, values, strict=False)
    ]
    return ck.read_study(pd.DataFrame(rows), lloq=lloq)


def reversed_kaplan_meier(lower, upper):
    """P(X <= x) at each known value, by the product over the values above it."""
    known = lower == upper
    at, share = {}, 1.0
    for value in sorted(set(upper[known]), reverse=True):
        at[value] = share
        at_risk = (upper <= value).sum()
        share *= 1 - (known & (upper == value)).sum() / at_risk
    return at


def test_known_values_have_their_empirical_distribution():
    values = np.array([5.0, 2, 9, 2])
    np.testing.assert_allclose(turnbull(values, values), [(2, 2, 0.5), (5, 5, 0.25), (9, 9, 0.25)])


def test_with_limits_only_it_is_kaplan_meier_on_the_reversed_scale():
    upper = np.array([3, 8, 3, 12, 5, 5, 20, 1.0])
    lower = np.where([True, False, True, False, False, True, False, False], 0.0, upper)
    steps = turnbull(lower, upper)
    for value, expected in reversed_kaplan_meier(lower, upper).items():
        assert sum(step.probability for step in steps if step.upper <= value) == pytest.approx(expected, abs=1e-9)


def test_overlapping_intervals_have_their_mass_where_most_of_them_meet():
    # Published example of Turnbull's construction: innermost intervals are made of neighbouring ends.
    steps = turnbull([0, 1, 2], [2, 4, 6])
    assert [(step.lower, step.upper) for step in steps] == [(1, 2), (2, 4)]
    assert sum(step.probability for step in steps) == pytest.approx(1)


def test_a_value_equal_to_the_limit_lies_above_what_the_limit_hides():
    np.testing.assert_allclose(turnbull([0, 3], [3, 3]), [(0, 3, 0.5), (3, 3, 0.5)])


def test_a_quantile_in_a_hidden_part_has_ends():
    steps = turnbull([0, 0, 5], [3, 3, 5])
    assert quantile(steps, 0.5) == (0, 3)
    assert quantile(steps, 0.9) == (5, 5)
    assert np.isnan(quantile(turnbull([], []), 0.5)).all()


def test_medians_are_those_of_numpy_where_nothing_is_censored():
    curves = cohort_curves(ck.example())
    known = curves[(curves["n_censored"] == 0) & (curves["quantile"] == 0.5)]
    rows = sampling_days(ck.example())
    cohort = rows["subject"].map(ck.example().covariates["cohort"])
    for row in known.itertuples():
        own = rows.loc[(cohort == row.group) & (rows["planned"] == row.day), "value"]
        assert row.value == pytest.approx(np.median(own))
        assert row.n == len(own)


def test_a_median_under_the_limit_is_not_a_number_but_lies_under_it():
    curves = cohort_curves(
        study_of({"A": [0, 9], "B": [0, 7], "C": [50, 4]}, dict.fromkeys("ABC", "low")), "cohort", quantiles=[0.5]
    )
    first = curves[curves["day"] == 7].iloc[0]
    assert math.isnan(first["value"])
    assert (first["lower"], first["upper"], first["n_censored"]) == (0, 3, 2)
    assert curves[curves["day"] == 14].iloc[0]["value"] == 7


def test_planned_days_count_from_the_infusion():
    table = pd.DataFrame(
        {"subject": "A", "day": [5.0, 12.2, 19.4], "nominal_day": [5, 12, 19], "copies_per_ug": ["", 8, 9],
         "dose": [1e6, None, None]}
    )  # fmt: skip
    assert sampling_days(ck.read_study(table))["planned"].tolist() == [7, 14]
    with pytest.raises(ValueError, match="no output 'cells'"):
        sampling_days(ck.example(), "cells")


COHORTS = dict.fromkeys("ABC", "low") | dict.fromkeys("DEFG", "high")


def test_two_cohorts_far_apart_on_one_day_have_the_smallest_p_of_wilcoxon():
    curves = {name: [10.0 + place] for place, name in enumerate("ABCDEFG")}
    test = curve_test(study_of(curves, COHORTS))
    assert test.p == pytest.approx(2 / 35)
    assert not test.can_reach


@pytest.mark.filterwarnings("ignore:DataFrame. .* of 21 values are")
def test_a_difference_on_any_day_counts():
    flat = {name: [10.0, 20, 30] for name in "ABCDEFG"}
    late = {name: [10.0, 20, 30 + 100 * place] for place, name in enumerate("ABCDEFG")}
    assert curve_test(study_of(flat, COHORTS)).reason == "all samples are tied"
    assert curve_test(study_of(late, COHORTS)).p == pytest.approx(2 / 35)


def test_no_difference_rejects_at_most_at_its_size_though_days_depend_on_each_other():
    rng, rejected, sizes = np.random.default_rng(3), 0, []
    cohorts = dict.fromkeys("ABCD", "low") | dict.fromkeys("EFGH", "high")
    for _ in range(60):
        level = rng.normal(3, 1.5, 8)
        curves = {name: np.exp(level[i] + 0.3 * rng.normal(size=3)) for i, name in enumerate(cohorts)}
        test = curve_test(study_of({name: np.where(c < 3, 0, c) for name, c in curves.items()}, cohorts))
        rejected, sizes = rejected + (test.p <= 0.05), [*sizes, test.attained_size]
    assert max(sizes) <= 0.05
    assert rejected / 60 <= np.mean(sizes) + 4 * math.sqrt(0.05 * 0.95 / 60)


def test_a_shorter_follow_up_still_counts_on_its_days():
    curves = {name: [10.0 + place, 100.0 + place, 5.0 + place] for place, name in enumerate("ABCDEFG")}
    curves["A"] = [10.0]
    test = curve_test(study_of(curves, COHORTS))
    assert sorted(test.sizes) == [3, 4]
    assert test.p == pytest.approx(2 / 35)


def test_one_group_is_a_reason():
    assert curve_test(study_of({"A": [5.0]}, {"A": "low"})).reason == "there is one group"
