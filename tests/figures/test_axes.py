"""Pictures on axes of the user, or of a size: each takes as many as it has panels, and says so where it gets fewer."""

import inspect
import re
from dataclasses import replace
from itertools import pairwise

import at_truth
import matplotlib.pyplot as plt
import numpy as np
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures.fits import PAGE_HEIGHT
from cellkinetics.notebook import Shown

NK, STEIN = models.load("nk_decline"), models.load("stein_2019_tisagenlecleucel")


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(NK, ck.example(), starts=1, progress=False)


@pytest.fixture(scope="module")
def population():
    return at_truth.moved_to(at_truth.fitted(), at_truth.simulated())


@pytest.fixture(scope="module")
def checks(population):
    study = at_truth.simulated().select("P01")
    return {
        "vpc": population.vpc(by="dose", replicates=30).plot,
        "npde": population.npde(replicates=100).plot,
        "trial": population.virtual_trial([7, 28, 60], {"low": 1e6, "high": 1e7}, patients=50, populations=0).plot,
        "forecast": ck.forecast(population, study, [7, 28]).plot,
        "effects": population.plot_effects,
        "residuals": population.diagnostics,
        "influence": population.plot_influence,
        "trace": population.plot_trace,
        "predicted": population.plot_predicted,
        "weighted": population.plot_residuals,
    }


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [("vpc", 2, 3), ("npde", 2, 2), ("trial", 2, 2), ("forecast", 2, 1), ("effects", 2, 3), ("trace", 1, 7),
     ("predicted", 1, 2), ("residuals", 2, 2), ("influence", 1, 2), ("weighted", 1, 2)],
)  # fmt: skip
def test_a_picture_of_a_population_is_drawn_on_the_axes_that_are_given(checks, name, rows, columns):
    plt.close("all")
    figure, axes = plt.subplots(rows, columns, squeeze=False)
    assert checks[name](axes=axes) is figure
    assert plt.get_fignums() == [figure.number]
    left = [ax for ax in figure.axes if not (ax.lines or ax.collections or ax.patches)]
    assert left == []
    assert figure.legends == []
    texts = [text.get_text() for ax in axes.ravel() for text in (*ax.texts, ax.title, ax._left_title)]
    assert sum("simulated" in text for text in texts) == 1
    few = plt.figure().subplots(1, rows * columns - 1, squeeze=False) if rows * columns > 1 else []
    number = rows * columns
    with pytest.raises(ValueError, match=rf"{number} panels are drawn and axes= has {number - 1}\. Give {number}, or"):
        checks[name](axes=few)


# What has no groups of patients to tell apart, or was asked with them before.
WITHOUT_BY = {
    "Model.plot": "has no patients", "ModelComparison.plot": "it is of groups", "Comparison.plot": "it is of groups",
    "Power.plot": "its patients are numbers", "Profile.plot": "of one patient", "VPC.plot": "ck.vpc has by=",
    "NPDE.plot": "ck.npde has by=", "Forecast.plot": "of one patient", "VirtualTrial.plot": "by arm",
    "PopulationPosterior.plot": "of estimates", "PopulationPosterior.plot_pairs": "of estimates",
    "PopulationPosterior.plot_correlations": "of estimates", "CovariateChoice.plot": "of covariates",
    "PopulationFit.plot_forest": "of covariates", "PopulationFit.plot_trace": "of iterations",
    "Fit.plot": "of one patient",
    "Fit.diagnostics": "of one patient", "Fit.plot_starts": "of one patient", "Fit.plot_correlations": "of one patient",
    "Fits.plot_correlations": "its numbers are medians of all", "PopulationFit.plot_correlations": "of estimates",
}  # fmt: skip


def _kinds(kind):
    return {kind}.union(*(_kinds(below) for below in kind.__subclasses__()))


def pictures():
    """{name: function} of all public pictures."""
    found = {name: getattr(ck, name) for name in ck.__all__ if name.startswith("plot")}
    for kind in _kinds(Shown):
        for name in vars(kind):
            if name.startswith("plot") or name == "diagnostics":
                found[f"{kind.__name__}.{name}"] = getattr(kind, name)
    return found


def test_there_is_a_picture_of_each_kind_of_result():
    assert len(pictures()) >= 34 and WITHOUT_BY.keys() <= pictures().keys()


@pytest.mark.parametrize("name", sorted(pictures()))
def test_a_picture_takes_axes_a_size_and_groups(name):
    parameters = inspect.signature(pictures()[name]).parameters
    assert "ax" not in parameters and "axes" in parameters
    assert parameters["size"].kind is inspect.Parameter.KEYWORD_ONLY
    assert re.search(r"size.* width and height in\s+mm", inspect.getdoc(pictures()[name]) or "")
    assert ("by" in parameters) != (name in WITHOUT_BY)
    with pytest.raises(
        ValueError, match=r"size=\(6, 4\): give width and height in mm, such as size=\(152, 102\) for 6 by"
    ):
        pictures()[name](None, size=(6, 4))


def test_what_is_no_size_is_refused_with_the_remedy():
    study, ax = ck.example(), plt.figure().add_subplot()
    for size in (85, "page", (85,), (85, 60, 3), "85"):
        with pytest.raises(ValueError, match=r"size=.*: give width and height in mm"):
            study.plot(size=size)
    for size in ((0, 60), (85, np.nan), ("85", 60)):
        with pytest.raises(ValueError, match=r"size=.*: give a number above 0"):
            study.plot(size=size)
    with pytest.raises(ValueError, match="size= is of a figure that is made, and axes= have theirs"):
        study.plot(ax, size=(85, 60))


@pytest.mark.parametrize(
    "name", ["vpc", "npde", "trial", "forecast", "effects", "trace", "predicted", "residuals", "weighted"]
)
def test_a_picture_of_a_population_has_the_size_that_is_asked(checks, name):
    figure = checks[name](size=(150, 130))
    np.testing.assert_allclose(figure.get_size_inches() * 25.4, [150, 130])


@pytest.mark.parametrize(
    "draw",
    [
        lambda fits: fits.study.plot(size=(120, 70)),
        lambda fits: NK.plot(size=(120, 70)),
        lambda fits: fits["P06"].plot(size=(120, 70)),
        lambda fits: fits["P06"].plot_starts(size=(120, 70)),
        lambda fits: fits.plot_starts(size=(120, 70)),
        lambda fits: fits.plot_correlations(size=(120, 70)),
        lambda fits: fits.plot_predicted(size=(120, 70)),
        lambda fits: fits.plot_parameters(size=(120, 70)),
        lambda fits: fits.plot(size=(120, 70)),
        lambda fits: ck.plot_waterfall(fits.study, size=(120, 70)),
        lambda fits: ck.plot_models([fits, fits], size=(120, 70)),
        lambda fits: ck.compare_cohorts(fits.study).plot(size=(120, 70)),
    ],
)
def test_a_picture_has_the_size_that_is_asked_and_the_next_one_its_own(fits, draw):
    drawn = draw(fits)
    np.testing.assert_allclose(getattr(drawn, "figure", drawn).get_size_inches() * 25.4, [120, 70])
    assert fits.study.plot().figure.get_figwidth() == 6.8


def test_a_size_goes_before_the_width_of_a_style():
    with ck.style(width="column"):
        assert round(ck.example().plot(size=(120, 70)).figure.get_figwidth() * 25.4) == 120
        assert round(ck.example().plot().figure.get_figwidth() * 25.4) == 85


def test_a_picture_of_one_panel_takes_one_axes():
    _, four = plt.subplots(2, 2)
    with pytest.raises(ValueError, match=r"1 panel is drawn and axes= has 4\. Give 1, or none\."):
        ck.example().plot(four)
    with pytest.raises(TypeError, match=r"axes= has a str\. Give axes of matplotlib"):
        ck.example().plot("cohort")
    assert ck.example().plot(axes=four[0, :1]) is four[0, 0]


def test_what_is_no_axes_is_said(checks):
    with pytest.raises(TypeError, match=r"axes= has a int\. Give axes of matplotlib"):
        checks["npde"](axes=[1, 2, 3, 4])


def test_below_the_curves_of_a_trial_stand_the_shares_of_the_same_arm(checks):
    _, axes = plt.subplots(2, 2)
    checks["trial"](axes=axes)
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["low", "high"]
    assert [ax.get_ylabel() for ax in axes[1]] == ["detectable"] * 2
    np.testing.assert_allclose(axes[1, 1].lines[0].get_xdata(), [7, 28, 60])


def test_a_forest_is_drawn_on_axes_that_are_given(population):
    figure, ax = plt.subplots()
    assert population.plot_forest(axes=ax) is figure
    assert len(ax.get_yticks()) == 3


def test_fits_are_drawn_on_one_axes_a_patient(fits):
    figure, axes = plt.subplots(3, 4)
    assert fits.plot(axes=axes) is figure
    assert [ax.get_title(loc="left")[:3] for ax in axes.ravel()[:11]] == sorted(fits)
    with pytest.raises(ValueError, match="11 panels are drawn and axes= has 2"):
        fits.plot(axes=axes[0, :2])


def test_many_patients_in_the_width_of_a_column_stay_within_a_page(fits):
    with ck.style(width="column"):
        figure = fits.plot()
        figure.draw_without_rendering()
        boxes = [[label.get_window_extent() for label in ax.get_yticklabels()] for ax in figure.axes[::3]]
    assert figure.get_figheight() < PAGE_HEIGHT + 1.2
    for labels in boxes:
        places = sorted({(box.y0, box.y1) for box in labels if box.height})
        assert all(upper[0] >= lower[1] - 1 for lower, upper in pairwise(places))


@pytest.mark.parametrize("draw", ["diagnostics", "plot_starts"])
def test_a_picture_of_many_patients_is_coloured_by_a_covariate(fits, draw):
    figure = getattr(fits, draw)(by="response")
    figure = getattr(figure, "figure", figure)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:3] == ["response", "non-responder", "responder"]
    drawn = {line.get_markeredgecolor() for line in figure.axes[0].lines} | {
        line.get_markerfacecolor() for line in figure.axes[0].lines
    }
    assert {handle.get_color() for handle in figure.legends[0].legend_handles[1:3]} <= drawn
    with pytest.raises(ValueError, match=r"no covariate 'respons'\. Did you mean response"):
        getattr(fits, draw)(by="respons")


def test_who_has_no_response_is_called_so(fits):
    study = ck.example()
    covariates = study.covariates.copy()
    covariates.loc["P01", "response"] = None
    some = replace(study, covariates=covariates)
    pictures = [some.plot(by="response").figure, ck.plot_nca(some, by="response", metrics=["cmax"])]
    pictures.append(replace(fits, study=some).plot_predicted(by="response").figure)
    for figure in pictures:
        texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        texts += [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
        texts += [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]
        assert any(text.startswith("no response") for text in texts)
        assert not any("no cohort" in text for text in texts)


def test_influence_in_a_population_is_coloured_by_dose(population):
    figure = population.plot_influence(by="dose")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["dose", "1e5 cells/kg", "1e6 cells/kg", "1e7 cells/kg"]
    assert len({line.get_markerfacecolor() for line in figure.axes[1].lines}) >= 3


def test_predictions_of_a_population_are_coloured_by_dose(population):
    names = [text.get_text() for text in population.plot_predicted(by="dose").legends[0].get_texts()]
    assert names[:4] == ["dose", "1e5 cells/kg", "1e6 cells/kg", "1e7 cells/kg"]


def test_correlations_of_all_patients_are_those_of_each(fits):
    table = fits.correlations
    assert list(table.columns) == ["subject", "parameter", "other", "correlation"]
    fit = next(fit for fit in fits.values() if fit.converged)
    own = table[table["subject"] == fit.subject]
    n = len(fit.correlations)
    assert len(own) == n * (n - 1) // 2
    for row in own.itertuples():
        assert row.correlation == fit.correlations.loc[row.parameter, row.other]


def test_an_axis_of_days_that_is_split_is_marked_where_its_scale_changes():
    ax = ck.example().plot()
    marks = [text for text in ax.texts if text.get_gid() == "break"]
    assert [(text.get_text(), text.xy) for text in marks] == [("//", (28.0, 0))]
    assert ax.get_xlabel() == "days since infusion, scale changes at day 28"
    ck.example().plot(ax)  # a second study on the same axes
    assert sum(text.get_gid() == "break" for text in ax.texts) == 1
    short = ck.example().select(until=40).plot()
    assert short.get_xlabel() == "days since infusion" and not [t for t in short.texts if t.get_gid() == "break"]


def test_panels_of_many_patients_say_once_that_the_scale_changes(fits):
    figure = fits.plot()
    assert all(sum(text.get_gid() == "break" for text in ax.texts) == 1 for ax in figure.axes)
    assert figure.get_supxlabel() == "days since infusion, scale changes at day 28"
    with ck.style(width="column"):
        narrow = fits.plot()
    assert "// scale changes at day 28" in [text.get_text() for text in narrow.legends[0].get_texts()]


def test_groups_are_named_by_what_they_are(fits):
    assert {ax.get_xlabel() for ax in ck.plot_nca(fits.study, by="response").axes} == {"response"}
    assert [ax.get_xlabel() for ax in ck.compare_cohorts(fits.study).plot().axes][1:] == ["cohort"] * 2


def test_a_legend_says_what_its_groups_are(fits):
    figures = {
        "median by cohort": ck.compare_cohorts(fits.study).plot(),
        "model": ck.plot_models([fits, fits]).figure,
        "output": models.load("qpcr_and_flow").plot(inputs={"leukocytes": 5000}).figure,
        "window": ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], studies=20, patients=[6], progress=False).plot(),
    }
    figures["model "] = ck.plot_models([fits["P06"], fits["P06"]]).figure
    for words, figure in figures.items():
        legend = figure.legends[0]
        headings = [text.get_text() for text in legend.get_texts() if text.get_style() == "italic"]
        assert headings == [words.strip()]


def test_estimates_over_three_covariates_stand_two_abreast_in_a_column(fits):
    names = ["dose", "cohort", "response"]
    with ck.style(width="column"):
        figure = fits.plot_covariates(names, parameters=["F", "alpha"])
        figure.draw_without_rendering()
    assert len(figure.axes) == 6
    assert len({round(ax.get_position().x0, 1) for ax in figure.axes}) == 2
    assert all(ax.get_ylabel() for ax in figure.axes)
    labels = [ax.yaxis.label.get_window_extent() for ax in figure.axes]
    assert not any(one.overlaps(other) for at, one in enumerate(labels) for other in labels[:at])


def test_correlations_of_all_patients_are_drawn_as_their_medians(fits):
    ax, table = fits.plot_correlations(), fits.correlations
    pair = table[(table["parameter"] == "alpha") & (table["other"] == "F")]["correlation"].dropna()
    texts = {text.get_position(): text.get_text() for text in ax.texts}
    said, many = texts[0, 1].split("\n")
    assert float(said.replace("−", "-")) == pytest.approx(pair.median(), abs=0.0051)
    assert many == f"{(pair.abs() > 0.9).sum()} of {len(pair)}"
    none = replace(fits, by_subject={})
    with pytest.raises(ValueError, match="there are no correlations of estimates"):
        none.plot_correlations()


def test_weights_of_models_stand_by_group(fits):
    ax = ck.plot_models([fits, fits], by="response")
    groups = [text.get_text() for text in ax.texts if text.get_gid() == "group"]
    assert groups == ["response: non-responder", "response: responder"]
    rows = [text.get_text() for text in ax.get_yticklabels()]
    assert rows[:4] == ["", "P01", "P02", "P04"] and rows[-1] == "all" and len(rows) == 14
    with pytest.raises(ValueError, match="by='response' is of many subjects"):
        ck.plot_models([fits["P01"], fits["P01"]], by="response")


def test_a_joint_fit_is_drawn_on_axes_that_are_given(fits):
    joint = ck.fit(NK, ck.example().select(subjects=["P06", "P07"]), shared=["beta"], starts=1)
    figure, axes = plt.subplots(1, 2)
    assert joint.plot(axes=axes) is figure
    assert [ax.get_title(loc="left")[:3] for ax in axes] == ["P06", "P07"]
    assert joint.plot("P06", axes[0]) is axes[0]
