"""The status of a fit, and the arguments that every fit takes."""

import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting.each import fit_each
from cellkinetics.optimising.request import DEFAULTS, Asked

FILES = Path(__file__).parents[1] / "files"
NK = models.load("nk_decline")
DAYS = np.array([1.0, 3.0, 7.0, 14.0, 28.0, 60.0, 120.0])


def study_of(**curves):
    rows = [
        {"subject": name, "day": day, "copies_per_ug": value, "dose": 1e6}
        for name, values in curves.items()
        for day, value in zip(DAYS, values, strict=False)
    ]
    return ck.read_study(pd.DataFrame(rows), lloq=3.0)


def declining(seed):
    curve = np.asarray(NK.solve(DAYS, {"F": 4e-3, "beta": 0.01}, 1e6)["copies_per_ug"])
    return curve * np.exp(0.3 * np.random.default_rng(seed).normal(size=len(DAYS)))


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(NK, study_of(A=declining(1), B=["<3"] * 3, C=[500.0]), progress=False)


def test_each_end_has_a_status_that_is_also_its_text(fits):
    assert fits["A"].status is ck.Status.CONVERGED and fits["A"].status == "converged" == fits["A"].outcome
    assert fits["B"].status is ck.Status.NO_QUANTIFIED_SAMPLE
    assert fits["C"].status is ck.Status.NOT_IDENTIFIABLE and not fits["C"].fitted


@pytest.mark.filterwarnings("ignore:the file of nk_decline has changed since this fit")
def test_a_saved_fit_keeps_its_status_and_an_older_file_has_it_from_the_words(fits, tmp_path):
    path = tmp_path / "fits.json"
    fits.save(path)
    wanted = {subject: fit.status for subject, fit in fits.items()}
    assert {subject: fit.status for subject, fit in ck.load(path).items()} == wanted
    # The first version had no checksum.
    content = json.loads((FILES / "fits_v2.json").read_text()) | {"version": 1}
    del content["sha256"]
    for saved in content["fits"].values():
        del saved["status"]
    content["fits"]["P06"]["outcome"] = "not identifiable: too few samples."
    path.write_text(json.dumps(content))
    older = ck.load(path)
    assert older["P04"].status is ck.Status.CONVERGED and older["P06"].status is ck.Status.NOT_IDENTIFIABLE


@pytest.mark.parametrize("words, status", [
    ("converged", "CONVERGED"),
    ("not converged: the likelihood still rises along a ridge, where a and b move together.", "RIDGE"),
    ("not converged: the optimiser stopped before the likelihood was flat.", "NOT_CONVERGED"),
    ("F at its upper bound: the last quantified sample is 28 days after the infusion.", "AT_BOUND"),
    ("sd at its lower bound: the curve goes through every sample.", "SD_AT_BOUND"),
    ("sd of P01 at its lower bound: the curve goes through every sample.", "SD_AT_BOUND"),
    ("sd_add at its lower bound: these samples show no additive part.", "PART_AT_BOUND"),
    ("not fitted: interrupted before it was finished.", "INTERRUPTED"),
    ("not fitted: a number is missing.", "NOT_FITTED"),
    ("at a bound: F (shared). Fix or share them.", "AT_BOUND"),
])  # fmt: skip
def test_the_words_of_an_older_file_say_which_status(words, status):
    from cellkinetics.reporting.first_format import _status_in

    assert _status_in({"outcome": words}) is ck.Status[status]


def test_the_arguments_of_a_fit_are_the_same_everywhere():
    assert list(Asked.__annotations__) == list(DEFAULTS)
    for function in (ck.fit, fit_each):
        shown = inspect.signature(function).parameters
        assert {name: shown[name].default for name in DEFAULTS} == DEFAULTS
        assert all(shown[name].kind is inspect.Parameter.KEYWORD_ONLY for name in DEFAULTS)
        assert not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in shown.values())
        for name in DEFAULTS:
            assert name in function.__doc__
    assert set(inspect.signature(ck.fit).parameters) - set(DEFAULTS) == {"model", "study", "shared", "common_sd"}


def test_the_command_line_takes_what_a_fit_takes_with_its_defaults():
    from cellkinetics.cli.asked import Fitting

    shown = inspect.signature(Fitting).parameters
    assert set(DEFAULTS) - set(shown) == {"initial", "tie"}
    for name in set(DEFAULTS) & set(shown):
        assert shown[name].default == dict(DEFAULTS)[name]


def test_an_unknown_argument_is_named_with_the_nearest():
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'strats'.*starts"):
        ck.fit(NK, study_of(A=declining(1)), **{"strats": 2})
