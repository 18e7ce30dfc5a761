"""Stein 2019: the closed form against its own equations, and what the paper reports."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cellkinetics import models

MODEL = models.load("stein_2019_tisagenlecleucel")
P = MODEL.values()


def curve(days, values=None):
    return np.asarray(MODEL.solve(np.asarray(days, float), values)["copies_per_ug"])


def own_ode(days, p):
    """Effector and memory cells: growth at rho until t_max; then E' = -alpha E, M' = -beta M, with f_b of them M."""
    rho = np.log(p["fold"]) / p["t_max"]
    rise = [t for t in days if t < p["t_max"]]
    up = solve_ivp(
        lambda t, c: rho * c, (0, p["t_max"]), [p["c_max"] / p["fold"]], t_eval=[*rise, p["t_max"]],
        method="DOP853", rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    peak = up.y[0, -1]
    start = [peak * (1 - p["f_b"]), peak * p["f_b"]]
    fall = [t for t in days if t >= p["t_max"]]
    down = solve_ivp(
        lambda t, s: [-p["alpha"] * s[0], -p["beta"] * s[1]], (p["t_max"], fall[-1]), start, t_eval=fall,
        method="DOP853", rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    return np.concatenate([up.y[0, :-1], down.y.sum(axis=0)])


@pytest.mark.parametrize("changed", [{}, {"fold": 20.0, "t_max": 14.0, "f_b": 0.2}, {"alpha": 0.6, "beta": 0.02}])
def test_the_closed_form_solves_its_own_ode(changed):
    days = np.array([0, 1, 4, 9, 9.3, 12, 14, 21, 28, 60, 180, 365.0])
    values = {**P, **changed}
    np.testing.assert_allclose(curve(days, changed), own_ode(days, values), rtol=1e-9)


def test_doubling_time_is_the_published_0_78_days():
    early = curve([2.0, 3.0])
    doubling = np.log(2) / np.log(early[1] / early[0])
    assert doubling == pytest.approx(0.78, rel=0.02)


def test_half_life_after_the_peak_is_the_published_4_3_days():
    # The fast phase alone: f_b = 0.
    late = curve([12.0, 13.0], {"f_b": 1e-12})
    assert np.log(2) / np.log(late[0] / late[1]) == pytest.approx(4.3, rel=0.02)


def test_terminal_half_life_is_the_published_220_days():
    late = curve([400.0, 500.0])
    assert 100 * np.log(2) / np.log(late[0] / late[1]) == pytest.approx(220, rel=0.02)


def test_the_peak_is_c_max_at_t_max_and_the_start_is_its_share():
    assert curve([9.3])[0] == pytest.approx(24000, rel=1e-12)
    assert curve([0.0])[0] == pytest.approx(24000 / 3900, rel=1e-12)
    days = np.linspace(0, 60, 601)
    assert days[np.argmax(curve(days))] == pytest.approx(9.3)


@pytest.mark.parametrize("day", [0.0, 1.0, 9.3, 9.3 - 1e-12, 9.3 + 1e-12, 28.0, 365.0, 3650.0])
def test_gradients_are_finite_before_at_and_after_t_max(day):
    def ln_curve(values):
        return jnp.log(MODEL.solve(jnp.array([day]), values)["copies_per_ug"][0])

    for derivative in (jax.grad(ln_curve)(P), jax.jacfwd(ln_curve)(P)):
        assert all(np.isfinite(slope) for slope in derivative.values())


def test_gradients_are_finite_where_the_branch_not_taken_overflows():
    # exp(rho t) at day 3,650 would be 1e1400: where(t < t_max, rise, fall) gives NaN here.
    slopes = jax.grad(lambda v: MODEL.solve(jnp.array([3650.0]), v)["copies_per_ug"][0])({**P, "t_max": 3.0})
    assert all(np.isfinite(slope) for slope in slopes.values())


def test_the_guess_finds_peak_and_slopes_of_its_own_curve():
    days = np.array([1, 4, 7, 9.3, 11, 14, 21, 28, 60, 120, 180, 365.0])
    assert MODEL.guess is not None
    guess = MODEL.guess(days, curve(days))
    assert guess["t_max"] == 9.3
    assert guess["c_max"] == pytest.approx(24000)
    assert guess["alpha"] == pytest.approx(0.16, rel=0.1)
    assert guess["beta"] == pytest.approx(0.0032, rel=0.5)
