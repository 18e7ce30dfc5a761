"""Columns beside those of the days of a wide table: flags, limits and remarks of one day each."""

import pytest

from cellkinetics import StudyError, read_study


def read(tmp_path, text, **options):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return read_study(path, progress=False, **options)


def statuses(study):
    return {(name, day): status for name, day, status in study.used[["subject", "day", "status"]].to_numpy().tolist()}


MARKED = {("A", 14): "quantified", ("B", 14): "quantified", ("A", 60): "below", ("B", 60): "quantified"}


@pytest.mark.parametrize(
    "text",
    [
        "subject,Day 14,Day 60,Day 60 flag\nA,510,1.5,BLQ\nB,400,8,\n",
        "subject,d14,d60,blq_d14,blq_d60\nA,510,1.5,0,1\nB,400,8,0,0\n",
        "subject,D14,D14 (remark),D60,D60 (remark)\nA,510,,1.5,nicht quantifizierbar\nB,400,,8,\n",
        "subject,W2,Day 60,qualifier Day 60\nA,510,3,<\nB,400,8,=\n",
        "subject,copies_d14,copies_d60,copies_d60_cens\nA,510,3,1\nB,400,8,0\n",
        "subject,d14,d60,result d60\nA,510,1.5,<3\nB,400,8,8\n",
        "subject,d14,d60,d60_LLOQ\nA,510,1.5,3\nB,400,8,3\n",
        "subject,D14,D60,D60 flag\nA,510,,BLQ\nB,400,8,\n",
    ],
)
def test_a_flag_beside_a_day_censors_the_sample_of_that_day(tmp_path, text):
    assert statuses(read(tmp_path, text, lloq=3)) == MARKED


@pytest.mark.parametrize(
    ("heading", "cell"),
    [("D60 flag", "H"), ("qc_D60", "fail"), ("D60 comment", "sample clotted, do not use"), ("status D60", "prelim")],
)
def test_what_is_said_of_a_day_and_is_no_mark_is_refused_with_the_day_named(tmp_path, heading, cell):
    text = f'subject,D14,D60,{heading}\nA,510,9,"{cell}"\nB,400,8,\n'
    with pytest.raises(StudyError, match="says something of D60") as caught:
        read(tmp_path, text)
    assert f"ignore=[{heading!r}]" in str(caught.value)
    assert len(read(tmp_path, text, ignore=[heading]).used) == 4


@pytest.mark.parametrize("heading", ["CRP D60", "D60 ferritin", "comment D60"])
def test_another_value_of_the_day_is_carried_along(tmp_path, heading):
    cell = "drawn at home" if "comment" in heading else "12"
    study = read(tmp_path, f"subject,D14,D60,{heading}\nA,510,9,{cell}\nB,400,8,{cell}\n")
    assert study.used["status"].tolist() == ["quantified"] * 4
    carried = {*study.observations.columns, *study.covariates.columns}
    assert {"CRP", "ferritin", "comment D60"} & carried


def test_numbers_of_a_day_that_may_be_samples_are_still_refused(tmp_path):
    with pytest.raises(StudyError, match="D60 BM holds numbers and its heading names no day"):
        read(tmp_path, "subject,D14,D60,D60 BM\nA,510,9,40\nB,400,8,30\n")
