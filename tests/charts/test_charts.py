"""Pictures of tables: what stands in them is what the tables say."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

import cellkinetics as ck
from cellkinetics.charts import against
from cellkinetics.charts import parameters as chart
from cellkinetics.figures.names import names_across
from cellkinetics.joint.comparison import EFFECT_COLUMNS, ModelComparison

DECLINE = ck.models.load("nk_decline")
STUDY = ck.example()


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def study():
    """The example with covariates, one of which a patient lacks."""
    rows = STUDY.observations[["subject", "day", "value", "lloq", "nominal_day"]]
    rows = rows.assign(copies_per_ug=rows["value"].fillna(0)).drop(columns=["value", "nominal_day"])
    given = STUDY.covariates[["dose", "cohort"]].assign(
        age=np.linspace(40, 70, 11), best_change=[-80, -20, 30, -55, -100, 10, -35, np.nan, -90, 25, -60],
        response=["complete response", "partial response", "progressive disease"] * 3 + ["partial response"] * 2,
    )  # fmt: skip
    return ck.read_study(rows.merge(given, left_on="subject", right_index=True).assign(SIMULATED=1))


@pytest.fixture(scope="module")
def fits(study):
    return ck.fit_each(DECLINE, study, starts=1, progress=False)


@pytest.fixture(scope="module")
def table(study):
    return ck.nca(study)


def marks(ax, gid="value"):
    """(x, y) of everything drawn under a name."""
    lines = [line for line in ax.lines if line.get_gid() == gid]
    return np.array([pair for line in lines for pair in line.get_xydata()])


def test_the_forest_of_estimates_has_every_patient_at_its_value(fits):
    figure = fits.plot_parameters()
    tables = chart.estimated(fits, None)
    assert [ax.get_xlabel().split()[0] for ax in figure.axes] == list(tables)
    ax, own = figure.axes[0], next(iter(tables.values()))
    order = [text.get_text() for text in ax.get_yticklabels()]
    assert order == list(fits)  # the cohorts of the example rise with its order
    inside = own["value"].between(*ax.get_xlim())
    np.testing.assert_allclose(marks(ax)[:, 0], own.loc[[s for s in order if inside[s]], "value"])
    medians = [each for each in ax.collections if each.get_gid() == "median"]
    cohort = fits.study.covariates["cohort"]
    free = own[own["status"] == "free"]
    expected = free["value"].groupby(cohort).median()
    np.testing.assert_allclose(
        [each.get_segments()[0][0, 0] for each in medians], expected[expected.index.sort_values()]
    )


def test_an_interval_that_is_far_wider_than_the_estimates_ends_in_arrows():
    own = pd.DataFrame({"value": [1.0, 2.0], "lower": [0.0, 1.5], "upper": [np.inf, 2.5]})
    low, high = chart.ends_of(own, log=True)
    assert 0.08 < low < 1 and 2.5 <= high < 30
    low, high = chart.ends_of(own, log=False)
    assert math.isfinite(low) and math.isfinite(high)


def test_groups_of_another_covariate_have_its_name_in_the_legend(fits):
    figure = fits.plot_parameters(by="response", parameters=["F"])
    (legend,) = figure.legends
    assert next(text.get_text() for text in legend.get_texts()) == "response"
    assert len(figure.axes) == 1


def test_estimates_stand_over_a_number_and_over_groups(fits):
    figure = fits.plot_covariates(["age", "response"], parameters=["F"])
    over_age, over_response = figure.axes
    own = chart.estimated(fits, ["F"])["F"]
    free = own[own["status"] == "free"]
    drawn = marks(over_age)
    order = np.argsort(drawn[:, 0])
    np.testing.assert_allclose(drawn[order, 0], fits.study.covariates.loc[free.index, "age"])
    np.testing.assert_allclose(drawn[order, 1], free["value"])
    r = np.corrcoef(fits.study.covariates.loc[free.index, "age"].astype(float), np.log(free["value"]))[0, 1]
    assert f"r = {r:.2f}" in [text.get_text() for text in over_age.texts]
    means = [each.get_segments()[0][0, 1] for each in over_response.collections if each.get_gid() == "mean"]
    by = fits.study.covariates.loc[free.index, "response"]
    np.testing.assert_allclose(sorted(means), sorted(np.exp(np.log(free["value"]).groupby(by).mean())))


@pytest.mark.parametrize(("inches", "degrees"), [(0.8, 90), (1.6, 35), (4, 0)])
def test_names_of_groups_do_not_run_into_each_other(inches, degrees):
    names = ["complete response", "partial response", "progressive disease", "unknown"]
    figure = plt.figure(figsize=(inches, 2))
    ax = figure.add_axes((0, 0.5, 1, 0.5))
    names_across(ax, names)
    figure.draw_without_rendering()
    assert {text.get_rotation() for text in ax.get_xticklabels()} == {degrees}


@pytest.mark.parametrize(("points", "lines"), [(2, 0), (3, 1)])
def test_a_line_goes_through_three_points_and_not_through_two(points, lines):
    _, ax = plt.subplots()
    x = np.arange(1.0, points + 1)
    against._line(ax, np.log(x), x, x**2, log=False)
    assert len(ax.lines) == len(ax.texts) == lines


def test_every_sample_is_over_its_prediction(fits):
    ax = fits.plot_predicted()
    table = fits.residuals
    drawn = np.concatenate([marks(ax, status) for status in ("quantified", "below")])
    assert len(drawn) == len(table)
    quantified = table[table["status"] == "quantified"]
    np.testing.assert_allclose(sorted(marks(ax, "quantified")[:, 1]), sorted(quantified["observed"]))


def test_the_triangle_of_correlations_is_the_table(fits):
    fit = fits["P03"]
    ax, table = fit.plot_correlations(), fit.correlations
    (image,) = ax.images
    shown = image.get_array()
    for row in range(len(table)):
        for column in range(row):
            assert shown[row, column] == pytest.approx(table.iloc[row, column])
    assert shown.mask[np.triu_indices(len(table))].all()


def test_nca_by_group_says_how_many_have_a_value(study, table):
    figure = ck.plot_nca(study, by="response", metrics=["cmax", "half_life"])
    response = study.covariates["response"]
    half_lives = table.set_index("subject")["half_life"]
    (names,) = [[text.get_text() for text in ax.get_xticklabels()] for ax in figure.axes[1:]]
    for name in names:
        first = name.replace("\n", " ").split(" ")[0].split(",")[0]
        own = half_lives[response.str.startswith(first)]
        assert f"{own.notna().sum()} of {len(own)}" in name.replace("\u00a0", " ")
    np.testing.assert_allclose(sorted(marks(figure.axes[0], "quantified")[:, 1]), sorted(table["cmax"]))
    of_table = ck.plot_nca(table, metrics=["cmax"])
    assert of_table.axes[0].get_ylabel() == "Cmax (copies/ug)"


def test_an_area_that_a_limit_hides_is_drawn_between_its_ends(study):
    table = ck.nca(study, window=(0, 270))
    metric = "auc_0_270"
    hidden = table[table[metric].isna() & table[f"{metric}_lower"].notna()]
    assert len(hidden)
    (ax,) = ck.plot_nca(table, metrics=[metric]).axes
    drawn = np.concatenate([marks(ax, status) for status in ("interval", "below") if len(marks(ax, status))])
    np.testing.assert_allclose(sorted(drawn[:, 1]), sorted(hidden[f"{metric}_upper"]))


def test_where_nobody_has_a_value_the_reason_stands_in_the_panel(study):
    table = ck.nca(study.select(until=7))
    (ax,) = ck.plot_nca(table, metrics=["half_life"]).axes
    (text,) = ax.texts
    reason = table["half_life_reason"].value_counts().index[0]
    assert "half-life" in text.get_text()
    assert reason in text.get_text().replace("\n", " ")


def test_what_is_estimated_in_nobody_is_left_out_unless_it_is_asked_for(fits):
    rows = fits.parameters.set_index("subject")
    lost = [s for s in fits if rows.loc[s].set_index("parameter").loc["beta", "status"] != "free"]
    few = type(fits)(fits.study.select(subjects=lost), {subject: fits[subject] for subject in lost})
    inside = {name for name, own in chart.estimated(few, None).items() if (own["status"] == "free").any()}
    assert len(lost) > 1
    assert "beta" not in inside
    assert len(few.plot_covariates(["age"]).axes) == len(inside)
    with pytest.raises(ValueError, match="beta: no estimate inside its bounds"):
        few.plot_covariates(["age"], parameters=["beta"])


def test_a_number_that_most_patients_have_of_their_own_is_no_group(fits):
    some = fits.study.select(subjects=["P01", "P03", "P05", "P06", "P08"])
    five = type(fits)(some, {subject: fits[subject] for subject in some.subjects})
    (ax,) = five.plot_covariates(["best_change"], parameters=["F"]).axes
    own = some.covariates["best_change"].dropna()
    assert set(marks(ax)[:, 0]) <= set(own)
    assert "P08" not in own.index


def test_a_waterfall_falls_and_cmax_stands_below_the_same_patient(study, table):
    figure = ck.plot_waterfall(study, "best_change", by="response")
    bars, cmax = figure.axes
    heights = [patch.get_height() for patch in bars.patches]
    assert heights[:-1] == sorted(heights[:-1], reverse=True)
    assert np.isnan(heights[-1])  # who has no response stands last, without a bar
    order = [text.get_text() for text in cmax.get_xticklabels()]
    assert order[-1] == "P08"
    table = table.set_index("subject")
    drawn = marks(cmax, "quantified")
    np.testing.assert_allclose(drawn[np.argsort(drawn[:, 0]), 1], table.loc[order, "cmax"])


def test_weights_of_models_fill_a_bar_a_subject(study):
    some = study.select(subjects=["P06", "P07"])
    each = [ck.fit_each(DECLINE, some, starts=1, fixed=fixed, progress=False) for fixed in ({}, {"f_b": 0.01})]
    ax = ck.plot_models(each)
    table = ck.compare_models(each)
    for y, subject in enumerate(["all", "P06", "P07"]):
        bars = [patch for patch in ax.patches if isinstance(patch, Rectangle) and round(patch.get_y() + 0.36) == y]
        own = {patch.get_gid(): patch.get_width() for patch in bars}
        weights = table["weight"].loc[subject]
        assert own == pytest.approx(weights[weights > 0].to_dict())


def comparison(by, rows, reason=""):
    table = pd.DataFrame([dict.fromkeys(EFFECT_COLUMNS, math.nan) | {"note": ""} | row for row in rows])
    return ModelComparison(
        DECLINE, by, "individual", table.reindex(columns=EFFECT_COLUMNS), 20, False, 99, {}, 0.1, reason
    )


def test_effects_of_the_dose_stand_beside_no_effect_with_p():
    rows = [
        {"parameter": "F", "effect": "dose exponent", "estimate": 0.2, "lower": -0.1, "upper": 9.0, "p": 0.01},
        {"parameter": "both", "effect": "all of alpha, beta", "p": 0.4},
        {"parameter": "beta", "effect": "", "note": "interrupted before it was fitted"},
    ]
    ax = comparison("dose", rows).plot()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["F", "both (all of alpha, beta)", "beta"]
    assert marks(ax).tolist() == [[0.2, 0]]
    assert [line.get_marker() for line in ax.lines if line.get_gid() == "beyond"] == [">"]
    assert [text.get_text() for text in ax.texts] == ["p = 0.0100", "p = 0.40", "interrupted before it…"]
    with pytest.raises(ValueError, match=r"nothing was compared: fewer than three"):
        comparison("dose", [], "fewer than three patients can be fitted.").plot()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s, f: f.plot_parameters(parameters=["Beta"]), r"parameters: 'Beta' was not estimated\. Did you mean"),
        (lambda s, f: f.plot_parameters(by="respons"), r"no covariate 'respons'\. Did you mean"),
        (lambda s, f: f.plot_parameters(axes=[]), r"panels are drawn and axes= has 0"),
        (lambda s, f: f.plot_covariates(["weight"]), r"covariates: there is no covariate 'weight'"),
        (lambda s, f: f.plot_predicted(by="x"), r"no covariate 'x'"),
        (lambda s, f: ck.plot_nca(s, metrics=["cmx"]), r"metrics: there is no 'cmx'\. Did you mean"),
        (lambda s, f: ck.plot_nca(s, metrics=[]), r"metrics"),
        (lambda s, f: ck.plot_nca(pd.DataFrame({"a": [1]})), r"no column 'subject'\. Give a study"),
        (lambda s, f: ck.plot_waterfall(s, "best"), r"value: there is no covariate 'best'"),
        (lambda s, f: ck.plot_waterfall(s, "response"), r"is no number in anybody.*by='response'"),
        (lambda s, f: ck.plot_waterfall(s, window=(28, 0)), r"two days that rise"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(study, fits, call, words):
    with pytest.raises(ValueError, match=words):
        call(study, fits)


def test_what_is_no_study_is_refused_by_type(study):
    with pytest.raises(TypeError, match=r"study is a DataFrame, not a Study"):
        ck.plot_waterfall(study.observations)
    with pytest.raises(TypeError, match=r"Give a study, or the table"):
        ck.plot_nca([1])
