"""Leverage, left-out residuals and what neighbours do, against linear regression and simulation."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics.fitting import diagnostics
from cellkinetics.fitting.leave_out import USUAL_SAMPLES, USUAL_SD, alone, standing

DAYS = np.array([0.5, 1, 2, 3, 5, 7, 10, 14, 18, 21])


@pytest.fixture(scope="module")
def line():
    """ln f = ln a - k t: a straight line in its two parameters, so that one step is exact."""
    parameters = {
        "a": ck.Parameter(100.0, "copies/ug", "this test"),
        "k": ck.Parameter(0.1, "1/day", "this test", min=-5.0, scale="identity"),
    }
    curve = lambda t, a, k: a * jnp.exp(-k * t)  # noqa: E731
    return ck.Model(name="line", parameters=parameters, outputs={"copies_per_ug": "copies/ug"}, curve=curve)


def sampled(rng, sd=0.5, lloq=None, spike=1.0):
    copies = 1000 * np.exp(-0.1 * DAYS + sd * rng.normal(size=len(DAYS)))
    copies[5] *= spike
    return ck.read_study(pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": copies}), lloq=lloq)


def stands(fit):
    return standing(fit.problem, fit.x, alone(fit.problem, np.ones(len(fit.problem.free), bool)))


def test_of_a_straight_line_leverage_is_the_diagonal_of_the_hat_matrix(line):
    fit = ck.fit(line, sampled(np.random.default_rng(1)))
    design = np.column_stack([np.ones(len(DAYS)), DAYS])
    hat = design @ np.linalg.solve(design.T @ design, design.T)
    here = stands(fit)
    np.testing.assert_allclose(here.leverage, np.diag(hat), rtol=1e-6)
    np.testing.assert_allclose(here.variance, np.eye(len(DAYS)) - hat, atol=1e-8)
    assert here.degrees == pytest.approx(len(DAYS) - 2)


def test_the_left_out_residual_is_that_of_a_regression_without_the_sample(line):
    fit = ck.fit(line, sampled(np.random.default_rng(2), spike=15.0))
    logs = np.log(fit.residuals["observed"].to_numpy())
    t, degrees = stands(fit).left_out
    for row in range(len(DAYS)):
        rest = np.arange(len(DAYS)) != row
        design = np.column_stack([np.ones(rest.sum()), DAYS[rest]])
        estimates, (squares,), _, _ = np.linalg.lstsq(design, logs[rest], rcond=None)
        at = np.array([1.0, DAYS[row]])
        left = len(DAYS) - 3
        moderated = (USUAL_SAMPLES * USUAL_SD**2 + squares) / (USUAL_SAMPLES + left)
        error = np.sqrt(moderated * (1 + at @ np.linalg.solve(design.T @ design, at)))
        assert t[row] == pytest.approx((logs[row] - at @ estimates) / error, rel=1e-5)
    assert degrees == pytest.approx(USUAL_SAMPLES + len(DAYS) - 3)


def test_what_a_refit_says_of_the_sample_without_it_is_the_same(line):
    fit = ck.fit(line, sampled(np.random.default_rng(3)))
    t, degrees = stands(fit).left_out
    for row in (0, 4, 9):
        rest = fit.study.observations.drop(index=fit.study.observations.index[row])
        table = rest[["subject", "day", "value"]].rename(columns={"value": "copies_per_ug"})
        again = ck.fit(line, ck.read_study(table))
        there = standing(fit.problem, again.x, alone(fit.problem, np.ones(2, bool)), without=row)
        assert there.predicted(row) == pytest.approx((t[row], degrees), rel=1e-4)


def test_without_the_only_sample_that_moves_it_the_curve_could_be_anywhere():
    stein = ck.models.load("stein_2019_tisagenlecleucel")
    rng, days = np.random.default_rng(4), np.array([9.3, 14, 28, 60, 120, 200.0])
    copies = np.asarray(stein.solve(days)["copies_per_ug"]) * np.exp(0.2 * rng.normal(size=len(days)))
    early = pd.DataFrame({"subject": "S", "day": [3.0, *days], "copies_per_ug": [60.0, *copies]})
    fit = ck.fit(stein, ck.read_study(early), fixed={"t_max": 9.3, "beta": 0.0032})
    here = standing(fit.problem, fit.x, alone(fit.problem, np.ones(len(fit.problem.free), bool)), without=0)
    assert here.predicted(0)[0] == 0.0


def test_the_serial_correlation_of_fitted_residuals_has_the_stated_mean_and_variance(line):
    here = stands(ck.fit(line, sampled(np.random.default_rng(5))))
    rng = np.random.default_rng(6)
    drawn = rng.normal(size=(40_000, len(DAYS))) @ here.variance
    ratio = np.sum(drawn[:, 1:] * drawn[:, :-1], axis=1) / np.sum(drawn**2, axis=1)
    score = here.score
    observed = score[1:] @ score[:-1] / (score @ score)
    total, variance = here.neighbours[0].sum(), here.neighbours[1]
    assert observed - total == pytest.approx(ratio.mean(), abs=4 * ratio.std() / 200)
    assert variance == pytest.approx(ratio.var(), rel=0.05)


def test_p_of_a_pattern_and_of_runs_is_uniform_enough_where_the_model_is_right(line):
    rng = np.random.default_rng(7)
    fits = [ck.fit(line, sampled(rng, sd=USUAL_SD, lloq=200.0), starts=1) for _ in range(60)]
    runs = np.array([diagnostics.runs(fit.quantile_residuals())["p"] for fit in fits])
    assert stats.kstest(runs, "uniform").pvalue > 0.01
    assert np.mean([stands(fit).pattern() < 0.05 for fit in fits]) <= 0.1


def test_a_censored_sample_has_its_conditional_expectation_as_score(line):
    fit = ck.fit(line, sampled(np.random.default_rng(8), lloq=250.0))
    here, rows = stands(fit), fit.residuals
    below = (rows["status"] == "below").to_numpy()
    assert below.any()
    bound = (np.log(250.0) - np.log(rows["predicted"].to_numpy()[below])) / fit.sd
    np.testing.assert_allclose(here.score[below], stats.truncnorm.mean(-np.inf, bound), rtol=1e-6)
    mills = stats.norm.pdf(bound) / stats.norm.cdf(bound)
    np.testing.assert_allclose(here.weight[below], mills * (mills + bound), rtol=1e-6)


def test_a_bent_curve_lies_off_together(line):
    logs = np.log(1000) - 0.1 * DAYS + 0.02 * (DAYS - 10) ** 2
    study = ck.read_study(pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": np.exp(logs)}))
    fit = ck.fit(line, study)
    assert stands(fit).pattern() < 0.01
    assert diagnostics.runs(fit.quantile_residuals())["p"] < 0.01
