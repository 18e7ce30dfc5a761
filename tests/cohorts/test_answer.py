"""The line that a comparison opens with, and its cautions."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck


def study_of(doses, **columns):
    """One subject a dose, the peak of day 7 in proportion to it; a tenth of it on day 28."""
    rows = []
    for i, dose in enumerate(doses):
        same = {"subject": f"S{i:02d}", "dose": dose, **{name: values[i] for name, values in columns.items()}}
        rows += [{"day": 7, "copies_per_ug": dose / 1e3, **same}, {"day": 28, "copies_per_ug": dose / 1e4, **same}]
    return ck.read_study(pd.DataFrame(rows), lloq=3.0)


def words(found):
    return " ".join(found.summary().split())


DOSES = (1e5 * 1.3 ** np.arange(14)).round()


def test_a_comparison_of_neither_peak_nor_persistence_opens_with_what_is_compared():
    found = words(ck.compare_cohorts(ck.example(), by="dose", windows=["tmax"], days=[]))
    assert found.startswith(
        "Comparison by dose, simulated data: day of the peak of days 0-28 changes by less than 2-fold over"
    )
    both = words(ck.compare_cohorts(ck.example(), by="dose", windows=["tmax", "auc_0_last"], days=[]))
    assert both.startswith("Comparison by dose, simulated data: the exposure of the first weeks rises with the dose (")


def test_windows_and_days_that_are_both_empty_are_refused_with_the_remedy():
    with pytest.raises(
        ValueError, match=r"windows and days are empty, so that nothing is compared\. Leave one of them"
    ):
        ck.compare_cohorts(ck.example(), by="dose", windows=[], days=[])
    found = ck.compare_cohorts(ck.example(), windows=[], days=[21])
    assert [result.window.name for result in found.results] == ["level, day 21"]


def test_a_factor_that_goes_through_all_individual_doses_is_no_caution():
    arms, low_and_high = ["A", "B"] * 7, ["low"] * 7 + ["high"] * 7
    summary = words(ck.compare_cohorts(study_of(DOSES, arm=arms, half=low_and_high), by="dose"))
    assert "arm goes with" not in summary
    assert "half goes with the dose (high: 7 at 6.27e5 to 3.03e6; low: 7 at 1e5 to 4.83e5 cells/kg)" in summary


def test_a_factor_that_is_balanced_over_the_groups_is_no_caution():
    doses = [1e5] * 4 + [1e6] * 4
    summary = words(ck.compare_cohorts(study_of(doses, sex=["F", "M"] * 4, site=[*"XXXYXYYY"]), by="dose"))
    assert "sex goes with" not in summary
    assert "site goes with the groups (X: 3 in 1e5 cells/kg, 1 in 1e6 cells/kg;" in summary


def crossing(doses, subjects=5):
    """Levels that rise with the dose on day 28 and fall with it on days 168 and 336; simulated."""
    rng, rows = np.random.default_rng(5), []
    for i, dose in enumerate(np.repeat(doses, subjects)):
        for day, slope in ((7, 1.0), (28, 0.5), (168, -0.4), (336, -0.4)):
            level = 300 * (dose / 1e6) ** slope * np.exp(rng.normal(0, 0.1))
            rows.append({"subject": f"S{i:02d}", "dose": dose, "day": day, "copies_per_ug": level})
    return ck.read_study(pd.DataFrame(rows), lloq=3.0)


@pytest.mark.parametrize(
    ("doses", "subjects"), [((1e5, 1e6, 1e7), 5), ((1e5, 1e7), 8), (1e5 * 1.4 ** np.arange(15), 1)]
)
def test_each_window_of_the_opening_line_has_its_own_direction(doses, subjects):
    found = ck.compare_cohorts(crossing(doses, subjects), by="dose", windows=[(0, 28)])
    answer = words(found).split("; persistence ")[1].split(". ")[0]
    rises, falls = sorted(answer.split(" but "), key=lambda part: part.startswith("falls"))
    assert rises.startswith("rises with the dose (level, day 28) (p ")
    assert falls.startswith("falls with the dose (level, day 168; level, day 336) (p ")
