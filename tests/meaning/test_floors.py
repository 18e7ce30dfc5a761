"""Numbers that stand for a limit or for nothing: which are found, and how often one is found where there is none."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyWarning
from cellkinetics.meaning.floors import likely

DAYS = np.array([1, 3, 5, 7, 9, 11, 14, 21, 28, 45, 60, 90, 180, 365])


def curves(rng, patients):
    """Values of simulated patients: a rise, a peak, two phases of decline, log-normal errors of sd 0.6."""
    found = []
    for _ in range(patients):
        peak, top, slow = 10 ** rng.uniform(2.5, 4.5), rng.uniform(5, 12), rng.uniform(0.005, 0.2)
        late = 0.9 * np.exp(-0.3 * (DAYS - top)) + 0.1 * np.exp(-slow * (DAYS - top))
        found.append(peak * np.where(top > DAYS, np.exp(DAYS - top), late) * np.exp(rng.normal(0, 0.6, len(DAYS))))
    return np.concatenate(found)


def digits(values, n):
    return np.array([float(f"{value:.{n}g}") for value in values])


@pytest.mark.parametrize(
    ("rounded", "most"),
    [
        (lambda values: digits(values, 3), 0.01),
        (lambda values: digits(values, 2), 0.01),
        (np.round, 0.06),
        (lambda values: np.round(values, 1), 0.02),
        (lambda values: digits(values[values >= 3], 2), 0.02),
    ],
    ids=["three digits", "two digits", "whole numbers", "one decimal", "those above 3"],
)
@pytest.mark.parametrize("patients", [1, 8])
def test_of_rounded_values_hardly_one_is_taken_for_a_limit(rounded, most, patients):
    rng = np.random.default_rng(2020)
    alarms = sum(bool(likely(rounded(curves(rng, patients)))) for _ in range(200))
    assert alarms / 200 <= most


@pytest.mark.parametrize("limit", [3.0, 10**1.7])
@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("patients", [1, 8])
def test_a_limit_that_is_written_as_a_value_is_found(limit, share, patients):
    rng = np.random.default_rng(7)
    found = []
    for _ in range(50):
        values = digits(curves(rng, patients), 3)
        low = values < limit
        if low.sum() < 3:
            continue
        values[low] = limit * share
        found.append([(each.kind, each.number) for each in likely(values)])
    assert len(found) > 20
    assert sum(("floor", limit * share) in each for each in found) >= 0.95 * len(found)


@pytest.mark.parametrize("code", [999.0, 9999.0, 99999.0, 999999.0])
def test_a_number_of_nines_that_repeats_is_a_code(code):
    values = np.append(digits(curves(np.random.default_rng(3), 3), 3), [code, code])
    assert [(each.kind, each.number, each.times) for each in likely(values)] == [("code", code, 2)]


def test_a_highest_value_that_repeats_is_an_upper_limit():
    values = np.append([12.0, 80.0, 150.0, 900.0, 2200.0, 4100.0], [5e4] * 4)
    assert [(each.kind, each.number) for each in likely(values)] == [("ceiling", 5e4)]


@pytest.mark.parametrize(
    ("low", "high"), [((1.5, 6), (5.0, 6)), ((12.5, 4), (25.0, 4)), ((3.0, 4), (10.0, 5)), ((0.5, 9), (1.5, 4))]
)
@pytest.mark.parametrize("between", [[], [1.3, 1.7]])
def test_the_limits_of_two_sites_are_both_named(low, high, between):
    values = digits(curves(np.random.default_rng(1), 2), 3)
    values = [*values[values > 1.2 * high[0]], *(low[0] * share for share in between)]
    values = np.array([*values, *[low[0]] * low[1], *[high[0]] * high[1]])
    found = [(each.kind, each.number, each.times) for each in likely(values)]
    assert found == [("floor", *low), ("second", *high)]
    assert "or BLQ with the limit in a column lloq" in likely(values)[1].text("copies/ug")


@pytest.mark.parametrize("rounded", [lambda values: digits(values, 2), np.round], ids=["two digits", "whole numbers"])
def test_a_second_limit_is_hardly_found_among_rounded_values(rounded):
    rng = np.random.default_rng(5)
    kinds = [[each.kind for each in likely(rounded(curves(rng, 8)))] for _ in range(200)]
    assert sum("second" in each for each in kinds) <= 2


def table(values):
    days = np.arange(1, len(values) + 1)
    return pd.DataFrame({"subject": "A", "day": days, "copies_per_ug": values})


def test_it_is_named_when_the_table_is_read_and_in_the_summary_with_what_to_give():
    frame = table([5000, 800, 120, 40, 7, 1.5, 1.5, 1.5, 1.5])
    with pytest.warns(StudyWarning, match=r"4 of 9 values are 1\.5 copies/ug, the lowest: .* give floor=1\.5"):
        study = read_study(frame)
    assert "likely    4 of 9 values are 1.5 copies/ug" in study.summary()


def test_what_it_says_to_give_is_followed_to_the_right_study():
    frame = table([5000, 800, 120, 40, 7, 1.5, 1.5, 1.5, 1.5])
    half = read_study(frame, floor=1.5, lloq=3).used.tail(4)
    assert half["status"].tolist() == ["below"] * 4
    assert half["upper"].tolist() == [3.0] * 4
    itself = read_study(frame, floor=1.5).used.tail(4)
    assert itself["upper"].tolist() == [1.5] * 4
    coded = table([5000, 800, 999, 40, 7, 2.5, 999])
    with pytest.warns(StudyWarning, match=r"give missing=\[999\]"):
        read_study(coded)
    assert read_study(coded, missing=[999]).exclusions == {"no value": 2}
    assert read_study(table([50, -9, 20, -9]), missing=-9).exclusions == {"no value": 2}


def test_a_negative_code_is_asked_for():
    with pytest.raises(ck.StudyError, match=r"missing=\[-99\]"):
        read_study(table([50, -99, 20, -99]))


def test_the_example_has_none():
    assert "likely" not in ck.example().summary()
