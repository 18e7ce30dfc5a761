"""What a notebook shows: escaped cards with a table and a picture, a bar without widgets, and a `dir` of nouns."""

import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import at_truth
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.joint.comparison import EFFECT_COLUMNS, ModelComparison
from cellkinetics.notebook import ROWS_SHOWN, Card, Shown
from cellkinetics.progress import bar
from cellkinetics.reporting import cards

NK, STEIN = models.load("nk_decline"), models.load("stein_2019_tisagenlecleucel")


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


def test_a_table_of_nca_shows_values_intervals_and_where_its_reasons_stand(tmp_path):
    samples = {"day": [1.0, 7, 14, 28] * 2, "copies_per_ug": ["9", "800", "20", "<3", "5", "90", "40", "20"]}
    study = ck.read_study(pd.DataFrame({"subject": ["A"] * 4 + ["B"] * 4, **samples, "dose": 1e6}), lloq=3)
    table = ck.nca(study)
    page = table._repr_html_() or ""
    assert {"A", "800", "B", "7"} <= set(cells(page))
    row = table.iloc[0]
    assert f"{row['auc_0_28_lower']:.4g} to {row['auc_0_28_upper']:.4g}" in cells(page)
    assert "Of 2 curves Cmax of 2, auc_0_28 of 1" in page
    assert page.count("data:image/png;base64,") == 1
    ck.save(table, tmp_path / "nca.json")
    assert cells(ck.load(tmp_path / "nca.json")._repr_html_())[:5] == cells(page)[:5]


def test_a_model_shows_its_curve_or_why_there_is_none():
    page = NK._repr_html_() or ""
    assert page.count("data:image/png;base64,") == 1 and "nk_decline" in page
    needs = models.load("qpcr_and_flow")._repr_html_() or ""
    assert "<img" not in needs
    assert "no picture: qpcr_and_flow needs leukocytes (cells/uL). Give inputs={&#x27;leukocytes&#x27;" in needs


def test_what_many_patients_made_is_shown_with_a_picture(fits):
    joint = ck.fit(NK, ck.example().select(subjects=["P06", "P07"]), shared=["beta"], starts=1)
    for result in (fits, joint, fits.profile("alpha")):
        page = result._repr_html_() or ""
        assert page.count("data:image/png;base64,") == 1 and "simulated data" in page
    nobody = replace(fits, by_subject={})._repr_html_() or ""
    assert "no picture: nobody was fitted" in nobody and "<img" not in nobody


def test_what_a_model_says_of_the_groups_is_shown_with_its_effects_or_why_there_are_none():
    row = {
        "parameter": "F",
        "effect": "dose exponent",
        "estimate": 0.2,
        "lower": -0.1,
        "upper": 0.5,
        "p": 0.01,
        "n": 11,
    }
    table = pd.DataFrame([dict.fromkeys(EFFECT_COLUMNS, np.nan) | {"note": ""} | row])
    found = ModelComparison(NK, "dose", "individual", table, 20, False, 99, {}, 0.1)
    page = found._repr_html_() or ""
    assert {"F", "0.2", "0.01"} <= set(cells(page)) and page.count("data:image/png;base64,") == 1
    nothing = replace(found, table=table.iloc[:0], reason="two patients are too few")._repr_html_() or ""
    assert "no picture: nothing was compared: two patients are too few" in nothing and "<img" not in nothing


def test_power_is_shown_with_its_curves():
    found = ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], studies=20, patients=[6], progress=False)
    page = found._repr_html_() or ""
    assert "20 studies a number of patients, simulated" in page
    assert page.count("data:image/png;base64,") == 1


def test_a_comparison_of_models_says_which_has_the_largest_weight(fits, tmp_path):
    simpler = ck.fit_each(NK, fits.study, fixed={"beta": 0.05}, starts=1, progress=False)
    table = ck.compare_models([fits, simpler])
    whole = table.loc["all"]
    page = table._repr_html_() or ""
    said = (
        f"{whole['weight'].idxmax()} has the largest weight, {whole['weight'].max():.2f} by {table.attrs['criterion']}"
    )
    assert f"{said}; simulated data" in page and page.count("data:image/png;base64,") == 1
    assert {"all", "P01", f"{whole['delta'].max():.4g}"} <= set(cells(page))
    ck.save(table, tmp_path / "models.json")
    assert ck.load(tmp_path / "models.json")._repr_html_() == page
    alone = ck.compare_models([fits["P06"], simpler["P06"]])
    page = alone._repr_html_() or ""
    assert f"{alone['weight'].max():.2f} by {alone.attrs['criterion']}" in page and "<img" not in page
    assert type(table.loc["P06"]) is type(alone[["weight"]]) is pd.DataFrame
    del alone["weight"]
    assert "cellkinetics" not in (alone._repr_html_() or "cellkinetics")


def test_a_part_of_a_table_of_nca_is_a_table_like_any_other():
    table = ck.nca(ck.example())
    assert type(table.head()) is type(table[["subject", "cmax"]]) is pd.DataFrame
    del table["tmax"]
    assert "cellkinetics" not in (table._repr_html_() or "cellkinetics")


def test_a_population_its_likelihood_and_a_trial_are_shown_with_their_outcome():
    fit = at_truth.moved_to(at_truth.fitted(), at_truth.simulated())
    assert fit.subjects[0] in cells(fit.likelihood._repr_html_())
    assert "importance weights are even" in fit.likelihood._repr_html_()
    page = fit._repr_html_() or ""
    assert fit.outcome in page and page.count("data:image/png;base64,") == 1
    trial = fit.virtual_trial([7, 60, 28], {"low": 1e6, "<b>high": 1e7}, patients=200, populations=0)
    page = trial._repr_html_() or ""
    assert "complete; simulated data" in page
    assert "<b>" not in page
    low = trial.table[(trial.table["arm"] == "low") & (trial.table["day"] == 60)].iloc[0]
    assert {f"{low['typical']:.4g}", f"{low['upper']:.4g}", "&lt;b&gt;high"} <= set(cells(page))
    assert page.count("data:image/png;base64,") == 1


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


def test_dir_of_a_model_is_what_one_asks_it_for():
    names = set(dir(NK))
    assert {"name", "parameters", "outputs", "solve", "plot", "with_", "describe", "reference"} <= names
    assert not {"canonical", "changes", "corners", "held", "sha256", "look_again", "rtol"} & names
    # What a file of a model is written with: the reference of Model has it, who has a model asks for its curve.
    assert not {"rhs", "lags", "markers", "observe", "path", "start", "states", "switches", "dosing"} & names
    assert NK.canonical is not None


def test_dir_of_a_joint_fit_has_nouns_and_verbs_alone():
    joint = ck.fit(NK, ck.example().select(subjects=["P06", "P07"]), shared=["beta"], starts=1)
    names = set(dir(joint))
    assert {"parameters", "shared", "outcome", "each", "predict", "plot"} <= names
    assert not {"s", "sd_by", "reference_dose", "as_fits", "columns"} & names


def test_every_name_that_dir_leaves_out_is_there():
    """A name that was renamed would come up in `dir` again."""
    kinds = {kind.__name__: kind for kind in every_kind(Shown)}
    for name, hidden in cards._INNER.items():
        kind = kinds[name]
        known = {*vars(object), *(each for base in kind.__mro__ for each in (*vars(base), *annotations_of(base)))}
        assert set(hidden) <= known, name


def every_kind(kind):
    return [each for child in kind.__subclasses__() for each in (child, *every_kind(child))]


def annotations_of(kind):
    return getattr(kind, "__annotations__", {})


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
