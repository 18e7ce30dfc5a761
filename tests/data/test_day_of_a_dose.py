"""The day of a dose: on the row of a sample nothing says when it was given, and then no sample is lost for it."""

import pytest

from cellkinetics.errors import StudyError

H = "subject,day,DV,dose\n"
A = "A,7,5000,1e6\nA,14,900,\nA,28,20,\n"
NO_DAY = [
    f"{H}{A}B,7,5000,1e6\nB,28,20,\n",
    # One patient has it on all rows and the other on one of two.
    f"{H}A,7,5000,1e6\nA,28,20,1e6\nB,7,100,1e6\nB,28,20,\n",
    # Every other row.
    f"{H}A,1,50,1e6\nA,7,500,\nA,14,90,1e6\nA,21,60,\nA,28,20,1e6\nA,60,5,\n",
    f"{H}A,0,1,1e6\nA,7,500,\nA,14,90,1e6\nA,21,60,\nA,28,20,1e6\nA,60,5,\n",
    "ID,TIME,DV,AMT\n1,7,5000,1e6\n1,14,900,.\n",
    f"{H}A,7,<3,1e6\nA,14,900,\n",
    f"{H}A,0.5,50,1e6\nA,14,900,\n",
    f"{H}A,-3,50,1e6\nA,14,900,\n",
    "subject,date,DV,dose\nA,2024-03-09,5000,1e6\nA,2024-03-16,900,\n",
]


@pytest.mark.parametrize("text", NO_DAY)
def test_a_dose_on_the_row_of_a_sample_is_refused_with_what_to_do(read, text):
    with pytest.raises(StudyError, match=r"Give (the infusion a row|each infusion a row|the date of the infusion)"):
        read(text, lloq=3)


WITH_A_DAY = {
    "a row of its own": (f"{H}A,0,,1e6\n{A.replace('1e6', '')}", [0.0], [7, 14, 28]),
    "a row of its own behind the samples": (f"{H}{A.replace('1e6', '')}A,0,,1e6\n", [0.0], [7, 14, 28]),
    "all rows": (f"{H}A,7,5000,1e6\nA,14,900,1e6\n", [0.0], [7, 14]),
    "one sample": (f"{H}A,7,5000,1e6\nB,7,5000,1e6\n", [0.0, 0.0], [7, 7]),
    "a sample of day 0": (f"{H}A,0,<3,1e6\nA,7,900,\n", [0.0], [7]),
    "a sample below the limit on day 1": (f"{H}A,1,<3,1e6\nA,7,900,\n", [1.0], [7]),
    "EVID": ("ID,TIME,DV,AMT,EVID\n1,0,0,1e6,1\n1,7,900,0,0\n", [0.0], [7]),
    "a second infusion on the day of a sample": (
        f"{H}A,0,,1e6\nA,7,900,\nA,28,20,2e6\nA,35,800,\n", [0.0, 28.0], [7, 35],
    ),
    "dates": ("subject,date,DV,dose\nA,2024-03-02,,1e6\nA,2024-03-09,5000,\n", [0.0], [7]),
}  # fmt: skip


@pytest.mark.parametrize("name", WITH_A_DAY)
def test_a_dose_whose_day_is_said_is_read_there(read, name):
    text, doses, days = WITH_A_DAY[name]
    study = read(text, lloq=3)
    assert study.doses["day"].tolist() == doses
    assert study.used["day"].tolist() == days
