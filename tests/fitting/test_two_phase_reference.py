"""A two-phase decline that R fits too: TMB with values below the limit as probabilities, nls and minpack.lm without."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models

FOLDER = Path(__file__).parents[1] / "reference"
SAMPLES = pd.read_csv(FOLDER / "two_phase.csv")
R = json.loads((FOLDER / "two_phase.json").read_text())
FREE = ["F", "alpha", "f_b", "beta"]


@pytest.fixture(scope="module")
def fits():
    table = SAMPLES.rename(columns={"copies": "copies_per_ug", "below": "CENS"}).assign(subject="simulated", dose=1e6)
    table["well"] = range(len(table))
    study, model = ck.read_study(table), models.load("nk_decline")
    return {
        "tmb_m3": ck.fit(model, study, free=FREE),
        "tmb_quantified": ck.fit(model, study, free=FREE, censoring="drop"),
    }


@pytest.mark.parametrize("name", ["tmb_m3", "tmb_quantified"])
def test_estimates_and_standard_errors_are_those_of_tmb(fits, name):
    fit, theirs = fits[name], R[name]
    assert fit.log_likelihood_ln == pytest.approx(theirs["log_likelihood"], abs=1e-8)
    np.testing.assert_allclose(fit.x, theirs["estimates"], rtol=0, atol=1e-6)
    exact = np.linalg.inv(-fit.problem.second_order(fit.x).hessian)
    np.testing.assert_allclose(np.sqrt(np.diag(exact)), theirs["se"], rtol=1e-9)
    # Ours are calibrated for few samples, TMB's are not; second derivatives of a batch are differences of first ones.
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)) / fit.inflation, theirs["se"], rtol=2e-6)


@pytest.mark.parametrize("name", ["nls", "nlsLM"])
def test_quantified_samples_alone_give_the_least_squares_of_r(fits, name):
    fit, theirs = fits["tmb_quantified"], R[name]
    np.testing.assert_allclose(fit.x[:4], theirs["estimates"], rtol=0, atol=1e-6)
    assert fit.sd == pytest.approx(theirs["sd_ml"], rel=1e-8)
    # R's standard errors are of the linearised curve, with the residual variance by degrees of freedom.
    slopes = fit.problem.curve(fit.x, 1).jacobian[: fit.n]
    degrees = fit.n - 4
    linearised = fit.sd * np.sqrt(fit.n / degrees * np.diag(np.linalg.inv(slopes.T @ slopes)))
    np.testing.assert_allclose(linearised, theirs["se"], rtol=1e-6)
    assert fit.degrees_of_freedom == pytest.approx(degrees, abs=0.5)
