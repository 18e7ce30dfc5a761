"""Two courses of one patient under one clock are refused; repeats, unsorted rows and several outputs are read."""

import pytest

from cellkinetics.errors import StudyError

H = "ID,TIME,DV"
ONE, TWO, LATER = "1,7,5000\n1,14,900\n1,28,100\n", "1,7,300\n1,14,200\n1,28,50\n", "1,35,300\n1,60,50\n"


def with_column(rows, cells):
    return "".join(f"{line},{cell}\n" for line, cell in zip(rows.splitlines(), cells, strict=True))


TWO_COURSES = {
    "behind another patient": f"{H}\n{ONE}2,7,40\n{TWO}",
    "one after the other": f"{H}\n{ONE}{TWO}",
    "days that are nearly the same": f"{H}\n{ONE}1,8,300\n1,15,200\n1,29,50\n",
    "a column in German": f"{H},Zyklus\n{with_column(ONE + TWO, '111222')}",
    "a column, sorted by day": f"{H},infusion_no\n1,7,5000,1\n1,7,300,2\n1,14,900,1\n1,14,200,2\n",
    "a column, sorted by day, alike": f"{H},Kurs\n1,7,500,1\n1,7,300,2\n1,14,300,1\n1,14,200,2\n",
    "one stray row of a course": f"{H},cycle\n1,7,5000,C1\n1,14,900,C1\n1,14,200,C2\n1,28,9,C1\n",
    "sorted by day without a column": f"{H}\n1,7,5000\n1,7,300\n1,14,900\n1,14,200\n",
    "a number that says no repeat": f"{H},nr\n1,7,5000,1\n1,7,300,2\n1,14,900,1\n1,14,200,2\n",
    "three courses": f"{H}\n{ONE}{TWO}1,7,40\n1,14,30\n1,28,3\n",
    "before the infusion too": f"{H}\n1,1,50\n{ONE}1,1,3\n{TWO}",
}


@pytest.mark.parametrize("name", TWO_COURSES)
def test_two_courses_under_one_clock_are_refused_with_what_to_do(read, name):
    with pytest.raises(StudyError, match=r"Give days since the first infusion .*column replicate"):
        read(TWO_COURSES[name])


ONE_SERIES = {
    "unsorted": (f"{H}\n1,28,100\n1,7,5000\n1,60,9\n1,14,900\n", 4),
    "a few rows added below": (f"{H}\n{ONE}1,60,9\n1,3,20\n1,21,300\n", 6),
    "from the last to the first": (f"{H}\n1,28,100\n1,14,900\n1,7,5000\n", 3),
    "two rising runs that fill each other": (f"{H}\n1,7,50\n1,28,9\n1,90,5\n1,14,50\n1,60,6\n", 5),
    "wells far apart": (f"{H},well\n{with_column(ONE + TWO, '111222')}", 6),
    "technical repeats": (f"{H},replicate\n1,7,50,1\n1,7,5,2\n1,14,30,1\n1,14,3,2\n", 4),
    "measured twice": (f"{H}\n1,7,50\n1,14,30\n1,7,55\n1,14,28\n", 4),
    "two outputs": (f"{H},DVID\n{with_column(ONE + TWO, '111222')}", 6),
    "one day twice": (f"{H}\n1,7,5000\n1,7,300\n1,14,900\n", 3),
    "courses that run on": (f"{H},course\n{with_column(ONE + LATER, '11122')}", 5),
    "a course that begins on the last day": (f"{H},cycle\n{with_column(ONE + LATER.replace('35', '28'), '11122')}", 5),
    "courses in any order of the file": (f"{H},course\n1,60,9,2\n1,90,5,2\n1,7,50,1\n1,14,40,1\n", 4),
    "a comedication": (f"{H},treatment\n1,7,50,none\n1,14,40,steroid\n1,28,9,none\n", 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_SERIES)
def test_one_series_of_samples_is_read_whatever_its_order(read, name):
    text, n = ONE_SERIES[name]
    study = read(text)
    assert len(study.used) == n


def test_samples_of_one_day_that_are_said_to_be_one_are_averaged(read):
    study = read(f"{H}\n1,7,5000\n1,7,300\n1,14,900\n1,14,200\n", replicates="mean")
    assert study.used["day"].tolist() == [7, 14]
