"""Dates as a spreadsheet counts them, an infusion with its hour, and the columns proposed for SDTM."""

import re

import pytest

from cellkinetics.errors import StudyError


@pytest.mark.parametrize("days", ["45360\nA,45381", "45360.5\nA,45381", "7\nA,45381"])
@pytest.mark.parametrize("name", ["day", "time", "nominal_day"])
def test_a_date_counted_in_days_is_no_day(read, name, days):
    first, second = days.split("\n")
    with pytest.raises(StudyError, match=r"is 45\d+, 124 years after the infusion.*into a column date"):
        read(f"subject,{name},dv\nA,{first},5\n{second},4\n")


@pytest.mark.parametrize("last", ["3650", "7300", "730.5"])
def test_years_of_follow_up_are_days(read, last):
    assert read(f"subject,day,dv\nA,7,5\nA,{last},4\n").used["day"].tolist() == [7, float(last)]


@pytest.mark.parametrize("infused", ["2024-03-02 14:00", "2024-03-02T23:59", "2024-03-02"])
def test_samples_without_an_hour_are_counted_from_date_to_date(read, infused):
    text = f"subject,date,infusion_date,dv\nA,2024-03-02,{infused},4\nA,2024-03-09,{infused},5\n"
    study = read(text)
    assert study.observations["day"].tolist() == [0, 7]
    assert study.used["day"].tolist() == [7]


def test_samples_with_an_hour_are_counted_from_the_hour(read):
    study = read("subject,date,infusion_date,dv\nA,2024-03-03 02:00,2024-03-02 14:00,4\n")
    assert study.used["day"].tolist() == [0.5]


@pytest.mark.parametrize("domain", ["PC", "CP", "LB"])
def test_the_columns_proposed_for_a_table_of_sdtm_read_it(read, domain):
    text = "USUBJID,XXTESTCD,XXORRES,XXORRESU,XXSTRESC,XXSTRESN,XXSTRESU,XXLLOQ,XXDY\n"
    text += "A,CAR,5.12,kcopies/ug,5120,5120,copies/ug,3,8\nA,CAR,BLQ,kcopies/ug,BLQ,,copies/ug,3,29\n"
    text = text.replace("XX", domain)
    with pytest.raises(StudyError) as said:
        read(text)
    found = re.search(r"columns=(\{.*?\})", str(said.value))
    assert found is not None
    study = read(text, columns=eval(found[1], {"__builtins__": {}}))
    assert study.used[["day", "upper"]].values.tolist() == [[7, 5120], [28, 3]]
