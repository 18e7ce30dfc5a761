"""Samples below the row of a dose whose days begin again are a second course, whatever wells they may look like."""

import pytest

from cellkinetics.errors import StudyError

H = "ID,TIME,DV,AMT"
FIRST, AGAIN = "1,0,,1e6\n1,7,5000,\n1,14,900,\n1,28,100,\n", "1,7,4000,\n1,14,700,\n1,28,80,\n"

COURSES = {
    "days of the first": f"{H}\n{FIRST}1,30,,1e6\n{AGAIN}",
    "other days": f"{H}\n{FIRST}1,30,,1e6\n1,3,4000,\n1,10,700,\n1,21,80,\n",
    "one sample": f"{H}\n{FIRST}1,30,,1e6\n1,7,4000,\n",
    "wells by their number": f"{H},well\n" + f"{FIRST}1,30,,1e6\n{AGAIN}".replace("\n", ",1\n"),
    "behind another patient": f"{H}\n{FIRST}2,0,,1e6\n2,7,90,\n1,60,,1e6\n{AGAIN}",
    "the first dose is the second course's": f"{H}\n1,7,5000,\n1,14,900,\n1,0,,1e6\n{AGAIN}",
    "a late sample of the first": f"{H}\n{FIRST}1,90,5,\n1,30,,1e6\n{AGAIN}",
    "a second output": f"{H},DVID\n" + f"{FIRST}1,30,,1e6\n".replace("\n", ",a\n") + AGAIN.replace("\n", ",a\n"),
    "a baseline beside each dose": f"{H}\n1,0,4,1e6\n{FIRST[9:]}1,0,3,1e6\n{AGAIN}",
}  # fmt: skip


@pytest.mark.parametrize("name", COURSES)
@pytest.mark.parametrize("replicates", ["each", "mean"])
def test_days_that_begin_again_below_a_dose_are_refused(read, name, replicates):
    with pytest.raises(StudyError, match=r"Give days since the first infusion of the patient"):
        read(COURSES[name], replicates=replicates)


def test_the_remedy_of_days_that_begin_again_reads_the_second_course_after_its_infusion(read):
    with pytest.raises(StudyError, match=r"begin again on day 7 \(row 7\), below its infusion on day 30 \(row 6\)"):
        read(COURSES["days of the first"])
    study = read(f"{H}\n{FIRST}1,30,,1e6\n1,37,4000,\n1,44,700,\n1,58,80,\n")
    assert study.used["day"].tolist() == [7, 14, 28, 37, 44, 58]
    of_its_own = read(f"{H}\n{FIRST}1-2,0,,1e6\n1-2,7,4000,\n1-2,14,700,\n1-2,28,80,\n")
    assert of_its_own.subjects == ("1", "1-2")


ONE_COURSE = {
    "doses below all samples": f"{H}\n{FIRST[9:]}1,35,4000,\n1,0,,1e6\n1,30,,1e6\n",
    "doses above all samples": f"{H}\n1,0,,1e6\n1,30,,1e6\n{FIRST[9:]}1,35,4000,\n",
    "wells before a second dose": f"{H}\n1,0,,1e6\n1,7,50,\n1,14,9,\n1,7,55,\n1,14,8,\n1,30,,1e6\n",
    "unsorted": f"{H}\n1,28,100,\n1,0,,1e6\n1,44,700,\n1,30,,1e6\n1,7,5000,\n1,37,4000,\n1,14,900,\n",
    "from the last to the first": f"{H}\n1,37,40,\n1,30,,1e6\n1,28,10,\n1,14,90,\n1,7,500,\n1,0,,1e6\n",
    "sorted by output": f"{H},DVID\n" + f"{FIRST}1,30,,1e6\n".replace("\n", ",a\n") + AGAIN.replace("\n", ",b\n"),
    "a sample before the dose of its day": f"{H}\n{FIRST}1,30,5,\n1,30,,1e6\n1,37,4000,\n",
    "samples before the first dose": f"{H}\n1,-7,3,\n1,-1,4,\n{FIRST}",
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_COURSE)
def test_doses_among_the_samples_of_one_course_are_read(read, name):
    study = read(ONE_COURSE[name])
    assert len(study.observations) == sum(line.split(",")[2] != "" for line in ONE_COURSE[name].split()[1:])
