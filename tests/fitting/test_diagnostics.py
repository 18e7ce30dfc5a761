"""Residuals that respect censoring, runs, outliers and influence."""

from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting import diagnostics

STEIN = models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])
PATIENTS, SD = 40, 0.5


@pytest.fixture(scope="module")
def fits():
    rng = np.random.default_rng(2020)
    curve = np.asarray(STEIN.solve(DAYS)["copies_per_ug"])
    tables = [
        pd.DataFrame({"subject": f"S{i:02d}", "day": DAYS, "copies_per_ug": curve * np.exp(SD * rng.normal(size=15))})
        for i in range(PATIENTS)
    ]
    study = ck.read_study(pd.concat(tables), lloq=120.0)
    # Only the level is free: 600 samples around nearly the true curves.
    fixed = {name: p.value for name, p in STEIN.parameters.items() if name != "c_max"} | {"sd": SD}
    return ck.fit_each(STEIN, study, fixed=fixed, starts=1, progress=False)


@pytest.fixture(scope="module")
def whole():
    rng = np.random.default_rng(7)
    copies = np.asarray(STEIN.solve(DAYS)["copies_per_ug"]) * np.exp(0.4 * rng.normal(size=15))
    study = ck.read_study(pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": copies}), lloq=30.0)
    return ck.fit(STEIN, study, fixed={"beta": 0.0032})


def test_at_nearly_the_truth_quantile_residuals_are_normal_censored_ones_included(fits):
    table = fits.quantile_residuals()
    assert len(table) == PATIENTS * len(DAYS)
    assert (table["status"] == "below").mean() > 0.2
    assert stats.kstest(table["residual"], "norm").pvalue > 0.01
    assert stats.kstest(table.loc[table["status"] == "below", "residual"], "norm").pvalue < 0.01


def test_a_censored_residual_lies_within_its_ends_and_depends_on_the_seed(fits):
    fit = next(fit for fit in fits.values() if fit.n_censored > 1)
    table = fit.quantile_residuals()
    censored = (table["status"] == "below").to_numpy()
    ends = (np.log(120.0) - np.log(table["predicted"])) / SD
    assert (table["residual"][censored] <= ends[censored]).all()
    other = fit.quantile_residuals(seed=1)
    assert (other["residual"][censored] != table["residual"][censored]).all()
    np.testing.assert_array_equal(other["residual"][~censored], table["residual"][~censored])
    np.testing.assert_allclose(table["residual"][~censored], fit.residuals["residual"][~censored])


def test_the_distribution_of_runs_is_that_of_every_arrangement():
    signs = [1, 1, 1, -1, -1]
    counts = np.zeros(6)
    for order in permutations(signs):
        counts[1 + sum(a != b for a, b in pairwise(order))] += 1
    np.testing.assert_allclose(diagnostics._runs_distribution(3, 2), counts / counts.sum())


def test_residuals_that_run_together_have_a_small_p():
    table = pd.DataFrame({"subject": "S", "output": "y", "day": np.arange(12.0)})
    together = diagnostics.runs(table.assign(residual=[1.0] * 6 + [-1.0] * 6))
    assert together["runs"] == 2
    # 2 of the 924 orders have two runs.
    assert together["p"] == pytest.approx(2 / 924)
    mixed = diagnostics.runs(table.assign(residual=[1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0]))
    assert mixed["p"] > 0.3


def test_a_spike_is_an_outlier_and_by_far_the_most_influential_sample(whole):
    table = whole.study.observations
    spiked = table.assign(copies_per_ug=np.where(table["day"] == 60, 60 * table["value"], table["value"]))
    study = ck.read_study(spiked[["subject", "day", "copies_per_ug"]], lloq=30.0)
    fit = ck.fit(STEIN, study, fixed={"beta": 0.0032, "sd": 0.4})
    far = diagnostics.outliers(fit.quantile_residuals())
    assert 60.0 in far["day"].to_list()
    influence = fit.influence()
    assert influence.loc[influence["distance"].idxmax(), "day"] == 60.0


def test_influence_is_what_refits_without_the_sample_say(whole):
    influence = whole.influence()
    assert list(influence.columns) == [
        "day",
        "output",
        "status",
        "fold",
        "t_max",
        "c_max",
        "alpha",
        "f_b",
        "sd",
        "distance",
    ]
    observations = whole.study.observations
    rest = observations.drop(index=observations.index[9])
    study = ck.read_study(
        rest.assign(copies_per_ug=rest["value"].fillna(1.0))[["subject", "day", "copies_per_ug"]], lloq=30.0
    )
    again = ck.fit(STEIN, study, fixed={"beta": 0.0032})
    shifts = (again.x - whole.x) / np.sqrt(np.diag(whole.covariance))
    np.testing.assert_allclose(
        influence.iloc[9][["fold", "t_max", "c_max", "alpha", "f_b", "sd"]].to_numpy(float), shifts, atol=1e-3
    )


def test_the_figure_has_four_panels_and_says_what_is_simulated(whole, fits):
    assert len(whole.diagnostics().axes) == 4
    assert len(fits.diagnostics().axes) == 4


def test_a_patient_without_a_fit_has_no_residuals(whole):
    few = ck.fit(STEIN, whole.study.select(until=3))
    assert few.quantile_residuals().empty
    assert few.influence()["distance"].isna().all()


def test_a_study_of_which_nobody_was_fitted_has_no_residuals_either(whole):
    fits = ck.fit_each(STEIN, whole.study.select(until=3), progress=False)
    assert fits.quantile_residuals().empty
