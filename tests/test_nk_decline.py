"""Biexponential loss without expansion: the closed form against its own equations."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cellkinetics import models

MODEL = models.load("nk_decline")
P = MODEL.values()
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


@pytest.mark.parametrize("day", [0.0, 1.0, 28.0, 3650.0])
def test_gradients_are_finite(day):
    slopes = jax.jacfwd(lambda v: MODEL.solve(np.array([day]), v, 1e7)["copies_per_ug"][0])(P)
    assert all(np.isfinite(slope) for slope in slopes.values())
