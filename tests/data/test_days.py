"""Days from dates, and from times in other units."""

import pytest

from cellkinetics.data.days import unit_of
from cellkinetics.errors import StudyError


def refused(read, text, **options):
    with pytest.raises(StudyError) as caught:
        read(text, **options)
    return str(caught.value)


def test_dates_are_days_since_the_infusion_date_also_across_a_leap_day(read):
    study = read(
        "id,date,dv,infusion_date\n1,2024-03-01,5,2024-02-28\n1,2024-02-28,2,2024-02-28\n2,2023-03-01,7,2023-02-28\n"
    )
    assert study.observations[["subject", "day"]].values.tolist() == [["1", 0.0], ["1", 2.0], ["2", 1.0]]
    assert study.exclusions == {"pre-dose": 1}
    assert study.observations["date"].tolist() == ["2024-02-28", "2024-03-01", "2023-03-01"]


def test_the_date_of_the_first_dose_row_is_the_infusion(read):
    text = "id,date,dv,dose\n1,2024-02-27,0,\n1,2024-02-28,,1e6\n1,2024-03-10 12:00,7,\n1,2024-03-12,,2e6\n"
    study = read(text)
    assert study.doses["day"].tolist() == [0.0, 13.0]
    assert study.observations["day"].tolist() == [-1.0, 11.5]


def test_a_column_of_clock_times_is_added_to_the_date_also_with_decimal_commas(read):
    study = read("id;date;time;dv;dose\n1;2024-02-28;9:00;;1e6\n1;2024-03-10;21:00;7,5;\n")
    assert study.observations[["day", "value", "clock"]].values.tolist() == [[11.5, 7.5, "21:00"]]


def test_days_win_over_dates(read):
    assert read("id,date,day,dv\n1,2024-02-28,7,5\n").observations["day"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "id,date,dv,infusion_date\n1,3/4/2024,5,2024-02-28\n",
            "row 2, patient 1: date is '3/4/2024', which is not an ISO",
        ),
        ("id,date,dv,infusion_date\n1,2024-02-30,5,2024-02-28\n", "date is '2024-02-30', which is not an ISO date"),
        (
            "id,date,dv,dose\n1,2024-03-01,5,1e6\n",
            "the date of the infusion is not known. Give it in a column infusion",
        ),
        ("id,date,dv\n1,2024-03-01,5\n", "the date of the infusion is not known"),
        ("id,date,dv,infusion_date\n1,,5,2024-02-28\n", "row 2, patient 1: day is empty"),
    ],
)
def test_a_date_that_says_no_day_is_refused(read, text, found):
    assert found in refused(read, text)


@pytest.mark.parametrize(
    ("heading", "unit", "times", "days"),
    [
        ("TIME (h)", "hour", ["168", "12"], [7.0, 0.5]),
        ("hours", "hour", ["168", "12"], [7.0, 0.5]),
        ("TIME", "hour", ["168", "12"], [7.0, 0.5]),
        ("time_weeks", "week", ["1", "4"], [7.0, 28.0]),
        ("week", "week", ["1", "4"], [7.0, 28.0]),
        ("months post infusion", "month", ["12", "24"], [365.25, 730.5]),
        ("TIME (h)", "day", ["168", "12"], [168.0, 12.0]),
    ],
)
def test_times_in_another_unit_become_days(read, heading, unit, times, days):
    rows = "".join(f"{number},{time},5\n" for number, time in enumerate(times))
    study = read(f"id,{heading},dv\n{rows}", time_unit=unit)
    assert study.observations["day"].tolist() == days
    assert ("converted" in study.note) == (unit != "day")


@pytest.mark.parametrize("heading", ["TIME (h)", "hours", "time_hours", "hours post infusion", "actual time [h]"])
def test_a_heading_in_hours_is_not_taken_for_days_also_when_it_is_named(read, heading):
    text = f"id,{heading},dv\n1,168,5\n"
    found = f"liu.csv: the column {heading} is in hours. Give read_study(..., time_unit='hour')."
    assert refused(read, text) == found
    assert refused(read, text, columns={"day": heading}) == found


def test_doses_ends_of_follow_up_and_rates_are_converted_with_the_times(read):
    text = "id,time,dv,amt,rate,until\n1,0,.,1e6,1e6,48\n1,24,5,.,.,48\n1,72,6,.,.,48\n1,96,.,2e6,1e6,48\n"
    study = read(text, time_unit="hour")
    assert study.doses["day"].tolist() == [0.0, 4.0]
    assert study.covariates["until"].tolist() == [2.0]
    assert study.exclusions == {"after day 2: end of follow-up": 1}


def test_a_nominal_time_says_its_own_unit(read):
    study = read("id,time (h),nominal_day,dv\n1,170,7,5\n", time_unit="hour")
    assert study.observations[["day", "nominal_day"]].values.tolist() == [[170 / 24, 7.0]]


def test_decimal_commas_are_read_in_times(read):
    assert read("id;hours;dv\n1;1,5;5,5\n", time_unit="hour").observations["day"].tolist() == [1.5 / 24]


def test_a_time_that_is_no_number_is_named_as_it_stands(read):
    assert "TIME is 'soon', which is not a number" in refused(read, "id,TIME,dv\n1,soon,5\n", time_unit="week")


def test_a_unit_that_no_column_is_in_is_refused(read):
    text = "id,day,dv\n1,7,5\n"
    assert "time_unit='hour' was given and no column is in hours" in refused(read, text, time_unit="hour")
    assert "the column week is in weeks" in refused(read, "id,week,dv\n1,7,5\n", time_unit="hour")


def test_an_unknown_unit_of_time_is_refused_with_those_there_are(read):
    with pytest.raises(ValueError, match=r"time_unit='hours': take 'day', 'hour', 'week', 'month'\. Did you mean hour"):
        read("id,time,dv\n1,7,5\n", time_unit="hours")


@pytest.mark.parametrize("name", ["week", "months", "visit_week"])
def test_a_second_time_beside_the_day_is_carried(read, name):
    study = read(f"id,day,{name},dv\n1,7,1,5\n1,14,2,5\n")
    assert study.observations[name].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("name", ["TIME", "T", "h", "dose", "time point", "day", "weekday", "weight (h)"])
def test_a_heading_that_says_no_unit_of_time_has_none_but_that_of_days(name):
    assert unit_of(name) == ("day" if name == "day" else None)
