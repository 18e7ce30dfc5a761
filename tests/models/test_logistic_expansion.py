"""Logistic growth to a capacity: the closed form against its own equations."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models

MODEL = models.load("logistic_expansion")
STEIN = models.load("stein_2019_tisagenlecleucel")
P = MODEL.values()
DAYS = np.array([0, 1, 4, 7, 9, 10.5, 11, 12, 14, 21, 28, 60, 180, 365.0])
SAMPLED = np.array([1, 2, 3, 5, 7, 9, 11, 14, 18, 21, 28, 60, 90, 180, 365.0])


def curve(days, values=None):
    return np.asarray(MODEL.solve(np.asarray(days, float), values)["copies_per_ug"])


def own_ode(days, p):
    """Logistic growth until t_max; then E' = -alpha E, M' = -beta M, with f_b of the cells in M."""
    rise, fall = [t for t in days if t < p["t_max"]], [t for t in days if t >= p["t_max"]]
    accuracy = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-12}
    up = solve_ivp(
        lambda t, c: p["rho"] * c * (1 - c / p["K"]), (0, p["t_max"]), [p["K"] / p["fold"]],
        t_eval=[*rise, p["t_max"]], **accuracy,
    )  # fmt: skip
    peak = up.y[0, -1]
    down = solve_ivp(
        lambda t, s: [-p["alpha"] * s[0], -p["beta"] * s[1]], (p["t_max"], fall[-1]),
        [peak * (1 - p["f_b"]), peak * p["f_b"]], t_eval=fall, **accuracy,
    )  # fmt: skip
    return np.concatenate([up.y[0, :-1], down.y.sum(axis=0)])


@pytest.mark.parametrize("changed", [{}, {"fold": 20.0, "t_max": 14.0, "f_b": 0.2}, {"rho": 0.4, "alpha": 0.6}])
def test_the_closed_form_solves_its_own_ode(changed):
    np.testing.assert_allclose(curve(DAYS, changed), own_ode(DAYS, {**P, **changed}), rtol=1e-9)


def test_the_curve_rises_to_t_max_and_stays_below_the_capacity():
    days = np.linspace(0, 11, 1101)
    assert np.all(np.diff(curve(days)) > 0)
    assert 0.98 * P["K"] < curve([11.0])[0] < P["K"]
    assert np.all(np.diff(curve(np.linspace(11, 60, 500))) < 0)


def test_the_capacity_is_reached_to_95_percent_by_day_9_3():
    assert curve([9.3])[0] / P["K"] == pytest.approx(0.95, abs=0.005)


def test_a_capacity_far_away_gives_the_curve_of_stein():
    far, start = 1e12, 5.0
    level = {"K": far, "fold": far / start, "rho": 0.8}
    peak = start * np.exp(0.8 * P["t_max"])
    shape = {name: P[name] for name in ("t_max", "alpha", "f_b", "beta")}
    stein = STEIN.solve(DAYS, {**shape, "c_max": peak, "fold": peak / start})["copies_per_ug"]
    np.testing.assert_allclose(curve(DAYS, level), stein, rtol=1e-6)


@pytest.mark.parametrize("day", [1.0, 10.9, 11.0, 11.1, 60.0])
def test_derivatives_are_those_of_differences_on_both_sides_of_the_switch_and_at_it(day, slopes):
    forward, differences = slopes(MODEL, day)
    assert forward == pytest.approx(differences, rel=1e-5, abs=1e-7)


@pytest.mark.slow
def test_the_fit_of_a_simulated_patient_gives_back_the_truth(patient, recovered):
    fit = ck.fit(MODEL, patient(MODEL, SAMPLED))
    assert recovered(fit, P)
    assert fit.parameters.status["fold"] == "fixed"
    assert fit.parameters.value["rho"] == pytest.approx(1.2, rel=0.15)
