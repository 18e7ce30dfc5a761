"""How fits of odd patients end, as a modeler would say it."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting import diagnostics

STEIN, NK = models.load("stein_2019_tisagenlecleucel"), models.load("nk_decline")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])
CURVE = np.asarray(STEIN.solve(DAYS)["copies_per_ug"]) * np.exp(0.3 * np.random.default_rng(11).normal(size=15))


def study(values, days=DAYS, lloq=3.0, **limits):
    table = pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": values, "dose": 1e6})
    return ck.read_study(table, lloq=lloq, **limits)


def test_all_below_the_limit_bounds_the_level_and_is_not_fitted():
    fit = ck.fit(STEIN, study(np.full(15, 1.0)))
    assert fit.outcome.startswith("no quantified sample: all 15 are beyond their limit")
    assert not fit.fitted and fit.parameters.loc["c_max", "status"] == "not estimated"


def test_one_sample_does_not_determine_six_parameters():
    fit = ck.fit(STEIN, study([500.0], [10.0]))
    assert fit.outcome.startswith("not identifiable: 1 sample for 6 free parameters")
    assert np.isnan(fit.parameters.loc["c_max", "value"])


def test_a_single_quantified_peak_gives_no_confident_slopes():
    fit = ck.fit(STEIN, study(np.where(DAYS == 10, 900.0, 1.0)))
    assert fit.outcome.startswith("not identifiable")
    assert "sd by a prior: 1 quantified sample for 6 free parameters" in fit.outcome
    assert 0.35 < fit.sd < 1.4


def test_a_monotone_decline_has_its_peak_at_the_first_sample_or_before():
    values = 5000 * np.exp(-0.2 * DAYS) + 20
    noisy = study(values * np.exp(0.2 * np.random.default_rng(3).normal(size=15)))
    fit = ck.fit(STEIN, noisy)
    assert fit.outcome != "converged"
    assert fit.parameters.loc["t_max", "value"] < 3
    assert ck.compare_models([fit, ck.fit(NK, noisy)]).loc["nk_decline", "weight"] > 0.5


def test_two_peaks_fit_badly_and_the_residuals_run_together():
    values = CURVE * np.where((DAYS > 60) & (DAYS < 200), 60.0, 1.0)
    fit = ck.fit(STEIN, study(values))
    assert fit.sd > 3 * ck.fit(STEIN, study(CURVE)).sd
    assert diagnostics.runs(fit.quantile_residuals())["runs"] <= 7


def test_a_spike_moves_the_fit_and_is_named_as_the_sample_that_does():
    fit = ck.fit(STEIN, study(np.where(DAYS == 90, 300 * CURVE, CURVE)), fixed={"sd": 0.3})
    influence = fit.influence()
    assert influence.loc[influence["distance"].idxmax(), "day"] == 90.0


def test_a_plateau_at_the_upper_limit_is_censored_above():
    fit = ck.fit(STEIN, study(CURVE, uloq=8000.0))
    assert (fit.problem.samples.status == "above").sum() >= 2
    # The peak lies above the limit; as a measurement of 8,000 it would pull the curve down to it.
    assert fit.parameters.loc["c_max", "value"] > 8000.0
    assert (
        ck.fit(STEIN, study(np.minimum(CURVE, 8000.0))).parameters.loc["c_max", "value"]
        < fit.parameters.loc["c_max", "value"]
    )


@pytest.mark.parametrize("model", [STEIN, NK])
def test_three_weekly_samples_are_too_few(model):
    fit = ck.fit(model, study([500.0, 80.0, 20.0], [7.0, 14.0, 21.0]))
    assert fit.outcome.startswith("not identifiable: 3 samples for")
    assert "Fix all but 2" in fit.outcome
