from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.data import overview
from cellkinetics.words import percent

# Three patients whose every count can be made by hand: B has the higher dose and comes first in the file.
ROWS = """\
subject,day,copies_per_ug,dose,cohort,lloq,lod,until,until_reason
H1,0,0,2e6,high,3,,,
H1,7,5120,2e6,high,3,,,
H1,28,40,2e6,high,3,,,
H1,29,<3,2e6,high,3,1,,
H1,90,<3,2e6,high,3,,,
H1,400,<3,2e6,high,3,,,
L1,0,0,1e6,low,3,,60,transplantation
L1,7,900,1e6,low,3,,60,transplantation
L1,14,<3,1e6,low,3,,60,transplantation
L1,61,12,1e6,low,3,,60,transplantation
L1,70,12,1e6,low,3,,60,transplantation
L2,14,,1.5e6,low,5,,,
L2,21,30,1.5e6,low,5,,,
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "trial.csv").write_text(ROWS)
    return ck.read_study(tmp_path / "trial.csv")


def line(text, label):
    """The words behind a label, without the breaks of the lines."""
    lines = text.splitlines()
    start = next(i for i, each in enumerate(lines) if each.startswith(f"  {label}"))
    words = [lines[start][12:]]
    for each in lines[start + 1 :]:
        if not each.startswith(" " * 12):
            break
        words.append(each.strip())
    return " ".join(words)


def test_shares_below_the_limit_are_counted_by_cohort_and_window(study):
    table = overview.below(study)
    assert table.columns.tolist() == ["0-28 d", "28-90 d", "90-365 d", "later"]
    # Day 28 is in the first window and day 90 in the second; a sample between LOD and LLOQ is below.
    assert table.loc["high"].tolist() == ["0/2 (0%)", "2/2 (100%)", "-", "1/1 (100%)"]
    assert table.loc["low"].tolist() == ["1/3 (33%)", "-", "-", "-"]
    assert table.loc["all"].tolist() == ["1/5 (20%)", "2/2 (100%)", "-", "1/1 (100%)"]


def test_cohorts_stand_from_the_lowest_dose_to_the_highest(study):
    assert overview.below(study).index.tolist() == ["low", "high", "all"]
    table = overview.doses(study)
    assert table.loc["low"].tolist() == [2, 2, "1e6", "1.25e6", "1.5e6", "cells/kg"]
    assert table.loc["high"].tolist() == [1, 1, "2e6", "2e6", "2e6", "cells/kg"]


def test_follow_up_is_the_last_sample_used_since_the_infusion(study):
    assert overview.follow_up(study).to_dict() == {"H1": 400.0, "L1": 14.0, "L2": 21.0}
    assert line(study.summary(), "follow-up") == "median 21 days, 14 to 400 (last sample used)"


def test_days_count_from_each_first_infusion():
    table = pd.DataFrame(
        {"subject": "A", "day": [10, 17, 50], "copies_per_ug": ["", "80", "<3"], "dose": [1e6, None, None], "lloq": 3}
    )
    study = ck.read_study(table)
    assert overview.follow_up(study).to_dict() == {"A": 40.0}
    assert overview.below(study).loc["no cohort"].tolist() == ["0/1 (0%)", "1/1 (100%)", "-", "-"]


def test_the_summary_says_what_the_tables_say(study):
    text = study.summary()
    assert text.startswith("Study of 3 patients (trial.csv)\n")
    assert line(text, "patients") == "3: 2 in low, 1 in high"
    assert line(text, "samples") == "8 used: 4 quantified, 3 below the limit, 1 detected, below the LLOQ"
    assert "2 pre-dose" in line(text, "excluded")
    assert "2 after day 60: transplantation" in line(text, "excluded")
    assert line(text, "limits") == "lower 3 to 5 copies/ug (2 different ones)"
    assert line(text, "cut") == "1 of 3 curves: 1 transplantation (L1)"
    assert "1/3 (33%)" in text
    assert "simulated" not in text
    assert all(len(each) <= 80 for each in text.splitlines())


def test_the_earliest_end_is_the_reason(study):
    assert overview.cut(study.select(until=10)) == [("select(until=10)", ["H1", "L1", "L2"])]
    later = overview.cut(study.select(until=100))
    assert later == [("select(until=100)", ["H1"]), ("transplantation", ["L1"])]


def test_a_study_without_cut_curves_limits_or_cohorts_says_so():
    table = pd.DataFrame({"subject": ["A", "B"], "day": 7, "copies_per_ug": [5, 6]})
    text = ck.read_study(table).summary()
    assert line(text, "excluded") == "none"
    assert line(text, "cut") == "no curve"
    assert line(text, "limits") == "no lower limit known (copies/ug)"
    assert line(text, "patients") == "2"


def test_upper_limits_are_said():
    table = pd.DataFrame({"subject": "A", "day": [7, 8], "copies_per_ug": [">1e6", "<3"]})
    text = ck.read_study(table, lloq=3).summary()
    assert line(text, "limits") == "lower 3 copies/ug; upper 1000000 copies/ug"
    assert line(text, "samples") == "2 used: 0 quantified, 1 below the limit, 1 above the upper limit"


def test_nobody_sampled_is_no_error():
    table = pd.DataFrame({"subject": "A", "day": [0], "copies_per_ug": [None], "dose": [1e6]})
    assert line(ck.read_study(table).summary(), "follow-up") == "no sample is used"


def test_a_simulated_study_says_so(study):
    assert ck.example().summary().startswith("Study of 11 patients (example.csv), simulated data\n")
    assert "simulated data" in replace(study, note="Simulated with seed 1").summary()


@pytest.mark.parametrize(("k", "n", "text"), [(0, 300, "0%"), (1, 300, "<1%"), (299, 300, ">99%"), (1, 3, "33%")])
def test_a_share_is_0_or_100_percent_only_when_it_is(k, n, text):
    assert percent(k, n) == text


def test_the_plot_of_a_study_is_that_of_plot_study(study):
    ax = study.plot()
    assert ax.get_yscale() == "log"
    assert study.plot(axes=ax, by="dose") is ax
    plt.close("all")
