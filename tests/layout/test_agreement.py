"""Days beside dates and visits that contradict them; days, doses and limits of 999."""

import warnings

import pandas as pd
import pytest

from cellkinetics import StudyWarning, read_study


def said(header, *rows, **options):
    """The warnings of a table, and its study."""
    frame = pd.DataFrame([row.split(",") for row in rows], columns=header.split(","))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study = read_study(frame, **options)
    assert all(each.category is StudyWarning for each in caught)
    return [str(each.message) for each in caught], study


def test_a_date_that_contradicts_its_day_is_named_with_its_row():
    rows = ("A,2024-03-01,2024-03-08,7,5000", "A,2024-03-01,2024-04-28,28,100", "A,2024-03-01,2024-05-30,90,10")
    texts, study = said("subject,infusion_date,date,day,DV", *rows)
    assert len(texts) == 1 and "row 3 is day 28, and date 2024-04-28 is day 58" in texts[0]
    assert "contradict" in study.summary()


def test_dates_of_study_days_that_begin_with_1_agree():
    rows = ("A,2024-03-01,2024-03-08,8,5000", "A,2024-03-01,2024-03-29 09:30,29,100")
    assert said("subject,infusion_date,date,day,DV", *rows)[0] == []


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [("Day 90", "Day 180", True), ("Day 28", "Day 90", False), ("Week 4", "Month 3", False), ("2", "3", False)],
)
def test_a_visit_far_from_the_day_of_its_row_is_named(first, second, named):
    texts, _ = said("subject,day,visit,DV", "A,7,Day 7,5000", f"A,29,{first},100", f"A,96,{second},10")
    assert len(texts) == named
    assert not named or "2 samples are far from the visit that visit names: row 3 is day 29" in texts[0]


def test_a_late_visit_is_no_contradiction():
    assert said("subject,day,visit,DV", "A,8,Week 1,5000", "A,35,Month 1,100", "A,420,Month 12,10")[0] == []


@pytest.mark.parametrize(
    ("header", "rows", "what"),
    [
        (
            "subject,day,DV",
            ("A,7,5000", "A,14,1000", "A,999,100", "B,7,900", "B,999,20"),
            "the day of 2 of 5 samples is 999",
        ),
        ("subject,day,DV", ("A,7,5000", "A,14,1000", "A,9999,100"), "the day of 1 of 3 samples is 9999"),
        (
            "subject,day,DV,dose",
            ("A,7,5000,1e6", "A,14,1000,1e6", "B,7,900,999", "B,14,800,999"),
            "the dose of 1 of 2 infusions is 999",
        ),
        ("subject,day,DV,lloq", ("A,7,5000,3", "A,14,1000,3", "A,28,100,999"), "the limit of 1 of 3 samples is 999"),
    ],
)
def test_a_day_a_dose_or_a_limit_of_999_is_named(header, rows, what):
    texts, study = said(header, *rows)
    assert any(what in text for text in texts)
    assert what in " ".join(study.summary().split())


def test_days_near_999_of_a_long_follow_up_are_days():
    assert said("subject,day,DV", "A,7,5000", "A,365,1000", "A,999,100", "A,1400,20")[0] == []
