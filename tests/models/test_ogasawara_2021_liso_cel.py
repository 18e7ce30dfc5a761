"""Ogasawara 2021: the closed form against its own equations, the lag, and what the abstract prints."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models

MODEL = models.load("ogasawara_2021_liso_cel")
P = MODEL.values()
DAYS = np.array([0, 1, 3, 3.27, 4, 6, 9, 9.29, 12, 14, 21, 28, 60, 180, 365.0])
SAMPLED = np.array([1, 2, 3, 5, 7, 9, 11, 14, 18, 21, 28, 60, 90, 180, 365.0])
AFTER_THE_LAG = np.array([6, 7, 8, 9, 10, 11, 12, 14, 18, 21, 28, 60, 90, 180, 365.0])


def curve(days, values=None):
    return np.asarray(MODEL.solve(np.asarray(days, float), values)["copies_per_ug"])


def own_ode(days, p):
    """Nothing until t_lag, growth at rho until t_max, then E' = -alpha E, M' = f_b (alpha - beta) E - beta M."""
    state = np.array([p["c_max"] * np.exp(-p["rho"] * (p["t_max"] - p["t_lag"])), 0.0])
    rates = {
        0.0: lambda t, s: [0.0, 0.0],
        p["t_lag"]: lambda t, s: [p["rho"] * s[0], 0.0],
        p["t_max"]: lambda t, s: [-p["alpha"] * s[0], p["f_b"] * (p["alpha"] - p["beta"]) * s[0] - p["beta"] * s[1]],
    }
    found, ends = [], [*list(rates)[1:], days[-1]]
    for (begin, rhs), end in zip(rates.items(), ends, strict=True):
        inside = [t for t in days if begin <= t < end]
        done = solve_ivp(rhs, (begin, end), state, t_eval=[*inside, end], method="DOP853", rtol=1e-12, atol=1e-14)
        found.append(done.y.sum(axis=0)[: len(inside)])
        state = done.y[:, -1]
    return np.append(np.concatenate(found), state.sum())


@pytest.mark.parametrize("changed", [{}, {"t_lag": 6.0, "rho": 2.0, "f_b": 0.2}, {"alpha": 0.6, "beta": 0.02}])
def test_the_closed_form_solves_its_own_ode(changed):
    np.testing.assert_allclose(curve(DAYS, changed), own_ode(DAYS, {**P, **changed}), rtol=1e-9)


def test_the_level_is_constant_until_the_lag_is_over():
    early = curve([0.0, 1.0, 3.27])
    np.testing.assert_allclose(early, early[0], rtol=1e-13)
    assert curve([3.3])[0] > early[0]


def test_fold_and_lag_are_confounded_after_the_lag():
    # Folds from 101 to 1,585, one curve from day 5 on.
    late = np.array([5, 7, 9, 14, 28, 180.0])
    for t_lag in (2.0, 3.27, 4.9):
        np.testing.assert_allclose(curve(late, {"t_lag": t_lag}), curve(late), rtol=1e-13)
    folds = [curve([9.29], {"t_lag": t})[0] / curve([0.0], {"t_lag": t})[0] for t in (2.0, 4.9)]
    assert folds[0] > 10 * folds[1]


def test_the_lag_is_free_only_where_samples_lie_on_it(patient):
    assert "t_lag" in MODEL.default_free(patient(MODEL, SAMPLED))
    assert "t_lag" not in MODEL.default_free(patient(MODEL, AFTER_THE_LAG))


def test_a_lag_without_samples_on_it_is_named_as_not_identifiable(patient):
    fit = ck.fit(MODEL, patient(MODEL, AFTER_THE_LAG), free=["t_lag", "rho", "t_max", "c_max", "alpha"])
    assert fit.outcome.startswith("not identifiable")
    assert "t_lag" in fit.outcome


def test_a_lag_behind_the_peak_leaves_no_growth():
    np.testing.assert_allclose(curve([0.0, 5.0, 9.29], {"t_lag": 12.0}), P["c_max"], rtol=1e-13)


@pytest.mark.parametrize("day", [1.0, 3.2, 3.27, 3.3, 6.0, 9.2, 9.29, 9.4, 60.0])
def test_derivatives_are_those_of_differences_on_both_sides_of_each_switch_and_at_it(day, slopes):
    forward, differences = slopes(MODEL, day)
    assert forward == pytest.approx(differences, rel=1e-5, abs=1e-7)


@pytest.mark.slow
def test_the_fit_of_a_simulated_patient_gives_back_the_truth(patient, recovered):
    fit = ck.fit(MODEL, patient(MODEL, SAMPLED))
    assert recovered(fit, P)
    assert fit.parameters.value["t_lag"] == pytest.approx(3.27, rel=0.3)
