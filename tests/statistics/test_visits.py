"""Visits of patients who come early or late, and what several samples of one patient are."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.cohorts.curves import sampling_days
from cellkinetics.statistics.medians import by_visit
from cellkinetics.statistics.visits import asked_days, combined, visit_days

WEEKLY = [7, 14, 21, 28, 56, 84, 168, 252, 336]
DENSE = [1, 4, 7, 10, 14, 21, 28, 42, 60, 90, 120, 180]


def schedule(planned, away, seed, missing=0.1, patients=14):
    """Patients within some days of their visits, some of which they miss: who, when, and the visit that was meant."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"P{p}", day + rng.uniform(-away, away), day)
        for p in range(patients)
        for day in planned
        if rng.random() > missing
    ]
    who, when, meant = zip(*rows, strict=True)
    return np.array(who), np.array(when), np.array(meant, float)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("planned", "away"), [(WEEKLY, 1.0), (WEEKLY, 2.0), (DENSE, 0.7)])
def test_samples_near_to_a_visit_are_of_that_visit(planned, away, seed):
    who, when, meant = schedule(planned, away, seed)
    found = visit_days(who, when)
    for day in np.unique(meant):
        assert len(np.unique(found[meant == day])) == 1
        assert abs(found[meant == day][0] - day) < away
    assert len(np.unique(found)) == len(np.unique(meant))


def test_the_order_of_the_rows_and_the_names_do_not_matter():
    who, when, _ = schedule(DENSE, 1.4, 3)
    mixed = np.random.default_rng(1).permutation(len(who))
    np.testing.assert_array_equal(visit_days(who[mixed], when[mixed]), visit_days(who, when)[mixed])


@pytest.mark.parametrize("seed", range(4))
def test_asked_days_find_every_patient_within_a_day(seed):
    who, when, meant = schedule(WEEKLY, 1.0, seed, missing=0.0)
    found = asked_days(who, when, [28, 84, 168, 336])
    wanted = np.where(np.isin(meant, [28, 84, 168, 336]), meant, np.nan)
    np.testing.assert_array_equal(found, wanted)


def test_a_sample_beyond_half_the_gap_is_not_of_an_asked_day():
    # Half of the gap of A is 3.5 days; B's nearest sample is as near as that, C has one sample only: 15% of 28 days.
    who, when = list("AAABBC"), [21.0, 28.0, 35.0, 24.6, 31.5, 32.1]
    np.testing.assert_array_equal(asked_days(who, when, [28.0]), [np.nan, 28.0, np.nan, 28.0, np.nan, 28.0])
    np.testing.assert_array_equal(asked_days(who, when, [28.0], tolerance=1.0)[3:], [np.nan] * 3)
    np.testing.assert_array_equal(asked_days(who, when, [28.0], tolerance=4.2)[3:], [28.0, np.nan, 28.0])


def test_a_patient_has_one_sample_at_a_visit_and_those_of_the_same_day():
    found = asked_days(["A", "A", "A"], [27.0, 28.5, 28.5], [28.0], tolerance=3.0)
    np.testing.assert_array_equal(found, [np.nan, 28.0, 28.0])


def test_medians_and_cohort_curves_are_of_the_same_visits():
    who, when, _ = schedule(WEEKLY, 1.0, 5)
    table = pd.DataFrame({"subject": who, "day": when, "copies_per_ug": 100.0, "cohort": "a"})
    study = ck.read_study(table, lloq=3)
    thick = by_visit(study.used, study.covariates["cohort"])
    curves = ck.cohort_curves(study, quantiles=[0.5])
    assert curves["day"].tolist() == np.unique(sampling_days(study)["planned"]).tolist()
    assert thick["patients"].tolist() == curves["n"].tolist()
    assert thick["day"].max() > 330


def test_samples_of_one_time_are_their_geometric_mean_and_its_ends():
    table = pd.DataFrame(
        {
            "subject": list("AABBCCD"),
            "since": [7.0] * 7,
            "lower": [10, 1000, 0, 12, 0, 0, 5.0],
            "upper": [10, 1000, 3, 12, 3, 3, 5.0],
            "value": [10, 1000, np.nan, 12, np.nan, np.nan, 5.0],
            "status": ["quantified"] * 2 + ["below", "quantified", "below", "below", "quantified"],
        }
    )
    found = combined(table, ("subject", "since")).set_index("subject")
    np.testing.assert_allclose(found["lower"], [100, 0, 0, 5])
    np.testing.assert_allclose(found["upper"], [100, 6, 3, 5])
    assert found["status"].tolist() == ["quantified", "below", "below", "quantified"]
    again = combined(table.iloc[::-1], ("subject", "since")).set_index("subject").loc[found.index]
    pd.testing.assert_frame_equal(again, found)
