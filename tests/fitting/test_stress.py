"""Numbers at the edge: every patient has an outcome, and what is called converged is finite."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.optimising.status import Status

DAYS = np.array([1, 3, 7, 10, 14, 21, 28, 60, 180, 365.0])
CURVE = 1e4 * np.exp(-0.2 * DAYS) + 100 * np.exp(-0.003 * DAYS)
NOISE = np.exp(0.3 * np.array([0.5, -1.2, 0.8, 1.1, -0.4, -0.9, 0.3, 1.4, -1.0, 0.2]))
PATIENTS = {
    "1e-3 copies": (DAYS, CURVE * NOISE * 1e-7, 1e-9, 1e6),
    "1e9 copies": (DAYS, CURVE * NOISE * 1e5, 3.0, 1e6),
    "20 years": (DAYS * 20, CURVE * NOISE, 3.0, 1e6),
    "hours": (DAYS / 365, CURVE * NOISE, 3.0, 1e6),
    "limits above all but one": (DAYS, ["2e6", *["<1e6"] * 9], 1e6, 1e6),
    "90% below": (DAYS, ["900", *["<3"] * 9], 3.0, 1e6),
    "all below": (DAYS, ["<3"] * 10, 3.0, 1e6),
    "one value": (DAYS, [100.0] * 10, 3.0, 1e6),
    "it rises": (DAYS, CURVE[::-1] * NOISE, 3.0, 1e6),
    "a dose of 1e-3": (DAYS, CURVE * NOISE, 3.0, 1e-3),
    "a dose of 1e15": (DAYS, CURVE * NOISE, 3.0, 1e15),
    "twelve decades": (DAYS, 10 ** np.linspace(9, -3, 10), 1e-4, 1e6),
}


def table(name):
    days, values, limit, dose = PATIENTS[name]
    return pd.DataFrame({"subject": name, "day": days, "copies_per_ug": values, "lloq": limit, "dose": dose}, dtype=str)


@pytest.fixture(scope="module")
def fits():
    study = ck.read_study(pd.concat(map(table, PATIENTS), ignore_index=True), progress=False)
    return ck.fit_each(models.load("nk_decline"), study, starts=2, progress=False)


@pytest.mark.parametrize("name", PATIENTS)
def test_there_is_an_outcome_and_what_converged_is_finite(fits, name):
    fit = fits[name]
    assert fit.outcome
    assert "not fitted: interrupted" not in fit.outcome
    fit.identifiability().summary()
    fit.summary()
    if fit.status is Status.CONVERGED:
        assert np.isfinite(fit.parameters["value"].astype(float)).all()
        assert np.isfinite(fit.log_likelihood)
        assert np.isfinite(fit.predict([0.0, 7.0, 7300.0]).iloc[:, 1]).all()


def test_copies_of_another_magnitude_are_the_same_curve_at_another_level(fits):
    tiny, huge = fits["1e-3 copies"].parameters["value"], fits["1e9 copies"].parameters["value"]
    assert huge["F"] / tiny["F"] == pytest.approx(1e12, rel=1e-4)
    for name in ("alpha", "f_b", "beta", "sd"):
        assert huge[name] == pytest.approx(tiny[name], rel=1e-3)


def test_who_has_no_value_above_the_limit_is_not_fitted(fits):
    assert fits["all below"].status is Status.NO_QUANTIFIED_SAMPLE


def test_a_prior_against_the_data_is_weighed_with_them_and_nothing_else_happens():
    study = ck.read_study(table("1e9 copies"), progress=False)
    prior = {"alpha": ck.LogNormal(50.0, 0.01)}
    fit = ck.fit(models.load("nk_decline"), study, prior=prior, starts=2)
    assert fit.outcome
    assert 0 < fit.parameters.loc["alpha", "value"] <= 50.5
    assert np.isfinite(fit.log_likelihood)


@pytest.mark.parametrize("days", [[0.0], [0.0, 0.0, 0.0], [7300.0], [1e-9]])
@pytest.mark.parametrize("dose", [1e6, 1e-3])
def test_a_design_that_tells_nothing_says_so(days, dose):
    found = ck.identifiability(models.load("nk_decline"), days, doses=dose, lloq=3.0)
    assert found.rank < len(found.parameters)
    assert found.summary()
