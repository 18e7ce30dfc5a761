"""Residuals, effects, traces and influence of a population, and the pictures of them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from at_truth import fitted, simulated

import cellkinetics as ck
from cellkinetics.population import polish, prediction
from cellkinetics.population.importance import Moments


@pytest.fixture(scope="module")
def fit():
    return fitted()


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def test_residuals_have_the_individual_and_the_population_prediction(fit):
    table, sd = fit.residuals, fit.parameters.loc["sd", "value"]
    known = table[table["status"] == "quantified"]
    iwres = (np.log(known["observed"]) - np.log(known["predicted"])) / sd
    assert known["residual"].to_numpy() == pytest.approx(iwres.to_numpy())
    dose = fit.study.covariates["dose"]
    for subject in ("P01", "P02", "P03"):
        own = table[table["subject"] == subject]
        typical = fit.predict(own["day"].to_numpy(float), covariates={"dose": dose[subject]}, draws=2)
        assert own["population"].to_numpy() == pytest.approx(typical["copies_per_ug"].to_numpy())
    assert table.loc[table["status"] == "below", "residual"].isna().all()


def test_influence_is_that_of_leaving_a_patient_out_to_first_order(fit):
    table = fit.influence()
    assert table["log_likelihood"].sum() == pytest.approx(fit.log_likelihood_ln)
    assert table["samples"].sum() == fit.n
    assert np.abs(table[["c", "c:dose", "k", "sd between c", "sd between k", "sd"]].sum()).max() < 1e-3
    theta = fit.polished.theta
    moments = Moments(fit.conditional_mean, fit.conditional_covariance)
    sample = fit.population.sampled(theta, moments, 1000, 7)
    errors, first, refit = np.sqrt(np.diag(fit.polished.covariance)), [], []
    for at in (0, 5, 9, 14):
        counts = np.ones(len(fit.subjects))
        counts[at] = 0
        left = polish.polish(fit.population, theta, sample, counts)
        refit.append((left.v - polish.polish(fit.population, theta, sample).v) / errors)
        first.append(table.iloc[at, 2:-1].to_numpy(float))
    first, refit = np.ravel(first), np.ravel(refit)
    assert np.corrcoef(first, refit)[0, 1] > 0.97
    # Of a patient that makes much of a spread the first order tells too little.
    small, large = np.abs(refit) < 0.5, np.abs(refit) > 0.5
    assert np.abs(first - refit)[small].max() < 0.1
    assert large.any()
    assert (np.sign(first[large]) == np.sign(refit[large])).all()


def test_replicates_of_simulate_are_the_study_with_other_patients(fit):
    table = fit.simulate(3, seed=1)
    assert table.groupby("replicate").size().tolist() == [len(fit.residuals)] * 3
    assert table["solved"].all()
    again = fit.simulate(3, seed=1)
    pd.testing.assert_frame_equal(again, table)
    assert not table["lower"].equals(fit.simulate(3, seed=2)["lower"])


def test_pictures_show_every_sample_effect_and_estimate(fit):
    both = fit.plot_predicted().axes
    for ax in both:
        shown = sum(len(line.get_xdata()) for line in ax.lines if line.get_gid() in ("quantified", "below"))
        assert shown == fit.n
        assert ax.get_xlim() == ax.get_ylim()
    effects = fit.plot_effects()
    assert [ax.get_xlabel() for ax in effects.axes] == ["", "", "effect on c", "effect on k", "dose"]
    said = [text.get_text() for ax in effects.axes for text in ax.texts]
    assert sum(text.startswith("shrinkage ") for text in said) == 2
    trace = fit.plot_trace().axes
    assert [ax.get_title(loc="left") for ax in trace][:6] == list(fit.trace.columns[:6])
    assert all([patch.get_gid() for patch in ax.patches] == ["averaged"] for ax in trace)
    assert trace[-1].get_xlabel() == "iteration"
    with pytest.raises(ck.ModelError, match="by: there is no covariate 'weight'"):
        fit.plot_effects(["weight"])
    with pytest.raises(ck.ModelError, match="by: until_reason is the same in all patients"):
        fit.plot_effects(["until_reason"])


def test_weighted_residuals_are_drawn_with_censored_ones_at_their_limits(fit):
    over_time, over_curve = fit.plot_residuals().axes
    assert (over_time.get_ylabel(), over_curve.get_xlabel()[:21]) == ("IWRES", "individual prediction")
    table, sd = fit.residuals, float(fit.parameters.loc["sd", "value"])
    censored = table[table["status"] == "below"]
    at_limit = np.log(censored["upper"] / censored["predicted"]) / sd
    for status, iwres in (("quantified", table["residual"].dropna()), ("below", at_limit)):
        (marks,) = [line for line in over_curve.lines if line.get_gid() == status]
        order = np.argsort(marks.get_xdata())
        own = table[table["status"] == status].assign(iwres=iwres.clip(-6, 6)).sort_values("predicted")
        assert marks.get_ydata()[order] == pytest.approx(own["iwres"].to_numpy())
    plt.close("all")


def test_the_matrix_of_a_patient_is_that_of_the_design(fit):
    dose = fit.study.covariates["dose"]
    for at, subject in enumerate(fit.subjects[:3]):
        row = prediction.matrix_of(fit.design, {"dose": dose[subject]})
        assert row == pytest.approx(fit.design.matrix[at])
    assert simulated().subjects == fit.subjects


def test_influence_and_residuals_are_drawn(fit):
    figure = fit.plot_influence(5)
    part, cook = figure.axes
    table = fit.influence().sort_values("cook", ascending=False).head(5)
    assert [text.get_text() for text in part.get_yticklabels()] == table.index.tolist()
    drawn = [float(line.get_xdata()[0]) for line in cook.lines if line.get_gid() == "value"]
    assert drawn == pytest.approx(table["cook"].tolist())
    moves = table.drop(columns=["samples", "log_likelihood", "cook"]).iloc[0]
    said = f"{moves.abs().idxmax()} {moves[moves.abs().idxmax()]:+.1f} SE"
    assert said in [text.get_text() for text in cook.texts]
    assert part.get_title(loc="left") == f"largest 5 of {len(fit.subjects)}"
    panels = fit.diagnostics().axes
    assert [ax.get_xlabel() for ax in panels[:2]] == ["days since infusion", "predicted"]
    assert len(panels[0].lines[0].get_xdata()) + len(panels[0].lines[1].get_xdata()) == fit.n
