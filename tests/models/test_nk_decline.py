"""Biexponential loss without expansion: the closed form against its own equations."""

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models

MODEL = models.load("nk_decline")
P = MODEL.values()
SAMPLED = np.array([0.1, 0.5, 1, 2, 3, 5, 7, 8, 10, 12, 14, 18, 21, 28, 60])
DAYS = np.array([0, 0.1, 0.5, 1, 2, 4, 7, 14, 28.0])


def curve(days, doses, values=None):
    return np.asarray(MODEL.solve(np.asarray(days, float), values, doses)["copies_per_ug"])


def test_the_closed_form_solves_its_own_ode():
    infused = P["F"] * 1e7
    done = solve_ivp(
        lambda t, s: [-P["alpha"] * s[0], -P["beta"] * s[1]], (0, 28), [infused * (1 - P["f_b"]), infused * P["f_b"]],
        t_eval=DAYS, method="DOP853", rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(curve(DAYS, 1e7), done.y.sum(axis=0), rtol=1e-9)


def test_the_curve_never_rises():
    assert np.all(np.diff(curve(np.linspace(0, 60, 601), 1e7)) < 0)


def test_the_curve_is_proportional_to_the_dose():
    np.testing.assert_allclose(curve(DAYS, 1e7), 100 * curve(DAYS, 1e5), rtol=1e-13)


def test_infusions_add_up():
    later = np.where(DAYS >= 4, curve(np.maximum(DAYS - 4, 0), 3e6), 0)
    np.testing.assert_allclose(curve(DAYS, [(0, 1e7), (4, 3e6)]), curve(DAYS, 1e7) + later, rtol=1e-13)


def test_half_lives_are_those_of_its_rates():
    early, late = curve([0.0, 0.01], 1e7, {"f_b": 1e-12}), curve([40.0, 41.0], 1e7)
    assert 0.01 * np.log(2) / np.log(early[0] / early[1]) == pytest.approx(np.log(2) / 1.5, rel=1e-6)
    assert np.log(2) / np.log(late[0] / late[1]) == pytest.approx(np.log(2) / 0.2, rel=1e-6)


def test_cells_are_gone_by_two_weeks_at_the_lower_doses():
    assert curve([14.0], 1e5)[0] < 3
    assert curve([14.0], 1e6)[0] < 3


def test_the_guess_finds_both_phases_of_its_own_curve():
    days = np.array([0.1, 0.3, 0.6, 1, 8, 10, 12, 14.0])
    table = pd.DataFrame({"subject": "simulated", "day": days, "copies_per_ug": curve(days, 1e8), "dose": 1e8})
    guess = MODEL.guess(ck.read_study(table))
    for name, value in P.items():
        assert guess[name] == pytest.approx(value, rel=0.25), name


def test_the_guess_of_samples_below_the_limit_lies_inside_the_bounds():
    table = pd.DataFrame(
        {"subject": "simulated", "day": [1, 3, 7, 14, 28], "copies_per_ug": "<3", "dose": 1e5, "lloq": 3}
    )
    guess = MODEL.guess(ck.read_study(table))
    for name, parameter in MODEL.parameters.items():
        assert parameter.min < guess[name] < parameter.max, name


def test_two_samples_give_no_guess_but_the_defaults():
    table = pd.DataFrame({"subject": "simulated", "day": [1, 3], "copies_per_ug": [90.0, 10.0], "dose": 1e6})
    assert MODEL.guess(ck.read_study(table)) == P


def test_the_second_phase_is_free_only_where_the_dose_lifts_it_over_the_limit(patient):
    assert MODEL.default_free(patient(MODEL, SAMPLED, dose=1e5)) == ("F", "alpha")
    assert MODEL.default_free(patient(MODEL, SAMPLED, dose=1e6)) == tuple(P)
    assert P["F"] * 1e5 * P["f_b"] < 3 < P["F"] * 1e6 * P["f_b"]


@pytest.mark.parametrize("dose", [1e5, 1e6, 1e7])
def test_the_fit_of_a_simulated_patient_gives_back_the_truth(dose, patient, recovered):
    fit = ck.fit(MODEL, patient(MODEL, SAMPLED, dose=dose))
    assert recovered(fit, P)
    assert fit.n_censored > 0


@pytest.mark.parametrize("day", [0.1, 1.0, 14.0])
def test_derivatives_are_those_of_differences(day, slopes):
    forward, differences = slopes(MODEL, day, doses=1e6)
    assert forward == pytest.approx(differences, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("day", [0.0, 1.0, 28.0, 3650.0])
def test_gradients_are_finite(day):
    slopes = jax.jacfwd(lambda v: MODEL.solve(np.array([day]), v, 1e7)["copies_per_ug"][0])(P)
    assert all(np.isfinite(slope) for slope in slopes.values())
