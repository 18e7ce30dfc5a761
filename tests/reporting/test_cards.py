"""What a notebook shows: escaped cards with a table and a picture, a bar without widgets, and a `dir` of nouns."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.notebook import ROWS_SHOWN, Card
from cellkinetics.progress import bar

NK = models.load("nk_decline")


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(NK, ck.example(), starts=1, progress=False)


def cells(page):
    return [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>.*?</td>", page)]


def test_a_study_shows_its_facts_and_its_curves():
    page = ck.example()._repr_html_() or ""
    assert "11: 3 in 1e5/kg, 4 in 1e6/kg, 4 in 1e7/kg" in cells(page)
    assert "simulated data" in page
    assert page.count("data:image/png;base64,") == 1


def test_a_fit_shows_its_outcome_its_estimates_and_its_curve(fits):
    fit = fits["P05"]
    page = fit._repr_html_()
    assert fit.outcome[:40] in page
    assert f"{fit.estimates['F']:.4g}" in cells(page)
    assert "<img" in page


def test_fits_show_a_row_a_patient(fits):
    page = fits._repr_html_()
    assert [cell for cell in cells(page) if re.fullmatch(r"P\d\d", cell)] == list(fits)


def test_a_comparison_shows_its_answer():
    found = ck.compare_cohorts(ck.example(), by="dose")
    page = found._repr_html_()
    assert "the peak rises with the dose (p = 0.0002)" in page
    assert f"and {len(found.table) - ROWS_SHOWN} rows more" in page


def test_what_was_profiled_drawn_again_and_looked_at_is_shown_as_its_table(fits):
    fit = fits["P06"]
    for result in (fit.identifiability(), fit.bootstrap(n=20), fit.profile("alpha"), fits.profile("alpha"), NK):
        assert "alpha" in cells(result._repr_html_())


def test_no_text_of_a_file_is_read_as_html():
    table = pd.DataFrame({"subject": "<script>alert(1)</script>", "day": [1.0, 3, 7], "copies_per_ug": [9.0, 80, 20]})
    page = ck.read_study(table.assign(cohort="<b>one</b>", dose=1e6), lloq=3, progress=False)._repr_html_()
    assert "<script>" not in page
    assert "<b>one" not in page
    shown = Card("<i>", "<u>", pd.DataFrame({"<a>": ["<p>"]})).html()
    assert not re.search("<(i|u|a|p)>", shown)
    assert "&lt;p&gt;" in shown


def test_a_missing_number_is_an_empty_cell_and_not_nan():
    assert cells(Card("t", table=pd.DataFrame({"x": [np.nan, 12345.678]})).html()) == ["", "1.235e+04"]


@pytest.mark.parametrize(("noun", "verb", "inner"), [("outcome", "predict", "request"), ("parameters", "profile", "x")])
def test_dir_of_a_fit_has_nouns_and_verbs_alone(fits, noun, verb, inner):
    names = dir(fits["P05"])
    assert {noun, verb} <= set(names)
    assert inner not in names
    assert hasattr(fits["P05"], inner)


def test_in_a_notebook_a_bar_is_renewed_in_place_and_leaves_nothing(monkeypatch):
    pages = []
    handle = SimpleNamespace(update=lambda page, raw: pages.append(page["text/html"]))

    def display(page, raw, display_id):
        pages.append(page["text/html"])
        return handle

    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython.core.getipython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.core.display_functions", SimpleNamespace(display=display))
    with bar(3, progress=True) as advance:
        advance(2)
        advance(1)
    assert [re.findall(r'value="(\d)"', page) for page in pages] == [["0"], ["2"], ["3"], []]
    assert "fitting: 2 of 3" in pages[1]


# A study as a collection of its subjects


def test_a_study_has_a_length_goes_through_its_subjects_and_gives_one_by_name():
    study = ck.example()
    assert len(study) == 11
    assert list(study) == list(study.subjects)
    assert study["P05"].subjects == ("P05",)
    with pytest.raises(ck.StudyError, match="there is no subject 'P99'"):
        study["P99"]


def test_several_subjects_that_are_asked_for_in_another_way_are_answered_with_the_list():
    study = ck.example()
    with pytest.raises(ck.StudyError, match=r"cohort='P02' is a subject.*select\(subjects=\[\.\.\.\]\)"):
        study.select("P01", "P02")
    with pytest.raises(ck.StudyError, match=r"is not the name of one subject.*select\(subjects=\[\.\.\.\]\)"):
        study[["P01", "P02"]]  # pyright: ignore[reportArgumentType]


def test_a_study_is_selected_by_any_covariate():
    study = ck.example()
    assert study.select(dose=1e6).subjects == ("P05", "P06", "P07")
    assert study.select(dose=[1e5, 1e6], response="responder").subjects == tuple(
        name for name in study if study.covariates.loc[name, "dose"] in (1e5, 1e6)
        and study.covariates.loc[name, "response"] == "responder"
    )  # fmt: skip
    with pytest.raises(ck.StudyError, match=r"no covariate 'respons'.*Did you mean response"):
        study.select(respons="responder")
    with pytest.raises(ck.StudyError, match=r"no response 'CR'\. There are non-responder, responder"):
        study.select(response="CR")
    with pytest.raises(ck.StudyError, match=r"nobody is in cohort='1e5/kg', dose=10000000\.0"):
        study.select(cohort="1e5/kg", dose=1e7)
