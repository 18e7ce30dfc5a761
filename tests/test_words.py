"""Texts of the library count as a person does."""

import re

import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.words import count, p_equals, p_text

SEVERAL = re.compile(r"(?<![\d.,x-])1 (?!is\b|has\b|was\b|as\b|plus\b|times\b|does\b|needs\b)[a-z]+s\b(?! sample\b)")
STEIN = ck.models.load("stein_2019_tisagenlecleucel")


def one_patient(*samples):
    table = pd.DataFrame(samples, columns=["day", "copies_per_ug"]).assign(subject="A", dose=1e6, cohort="one")
    return ck.read_study(table, lloq=3)


def texts():
    few, study = (
        one_patient((7, 500.0)),
        one_patient((3, 20.0), (7, 500.0), (9, 700.0), (14, 90.0), (28, 8.0), (60, 4.0)),
    )
    fits = ck.fit_each(STEIN, few, progress=False)
    fixed = {"f_b": 0.01, "beta": 0.003, "alpha": 0.2, "fold": 4000, "t_max": 9, "sd": 0.5}
    alone = ck.fit(STEIN, study, fixed=fixed, starts=1)
    joint = ck.fit(STEIN, study, shared=[], fixed=fixed, starts=1)
    found = ck.compare_cohorts(study)
    power = ck.power(
        STEIN, [1e6, 1e7], [2, 2], [7], between={"c_max": 0.1}, lloq=3, studies=1, patients=[4], progress=False
    )
    return {
        "study": repr(few) + few.summary(),
        "fits": repr(fits) + fits.summary(),
        "fit": fits["A"].summary() + alone.summary(),
        "joint fit": repr(joint) + joint.summary(),
        "comparison": repr(found) + found.summary(),
        "power": repr(power) + power.summary(),
        "identifiability": alone.identifiability().summary(),
    }


def test_one_of_something_is_not_several():
    for name, text in texts().items():
        assert not SEVERAL.findall(text), (name, SEVERAL.findall(text))


@pytest.mark.parametrize("text", ["1 samples", "of 1 subjects", "(1 windows)", "1 reasons"])
def test_the_rule_of_this_test_finds_what_it_looks_for(text):
    assert SEVERAL.search(text)
    assert not SEVERAL.search("1 sample, 11 samples, b = 0.1 days, 1 is, day-1 samples")


def test_so_many_of_something():
    assert [count(n, "study", "studies") for n in (0, 1, 2)] == ["0 studies", "1 study", "2 studies"]


@pytest.mark.parametrize("p", [0.0, 1e-300, 4.9e-5, 9.99e-5, 1e-4, 0.00012, 0.05, 0.5, 1.0])
def test_no_p_is_printed_as_0(p):
    assert float(p_text(p).removeprefix("<")) > 0
    assert ("<" in p_equals(p)) == (p < 1e-4)
