"""Stein 2019: the closed form against its own equations, and what the paper reports."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad, solve_ivp

import cellkinetics as ck
from cellkinetics import models

MODEL = models.load("stein_2019_tisagenlecleucel")
P = MODEL.values()
SPANS = [(0, P["t_max"]), (P["t_max"], 8000)]
SAMPLED = np.array([1, 2, 3, 5, 7, 9, 11, 14, 18, 21, 28, 60, 90, 180, 365.0])


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


def test_the_area_under_the_curve_is_that_of_the_formula():
    rise, fall = (quad(lambda t: float(curve([t])[0]), *ends, limit=200, epsrel=1e-9)[0] for ends in SPANS)
    rho = np.log(P["fold"]) / P["t_max"]
    tails = (1 - P["f_b"]) / P["alpha"] + P["f_b"] / P["beta"]
    assert rise + fall == pytest.approx(P["c_max"] * ((1 - 1 / P["fold"]) / rho + tails), rel=1e-7)
    # The formula of the paper takes the growth to begin long before the infusion.
    assert rise + fall == pytest.approx(P["c_max"] * (1 / rho + tails), rel=1e-4)


@pytest.mark.parametrize("day", [1.0, 9.2, 9.3, 9.4, 60.0])
def test_derivatives_are_those_of_differences_on_both_sides_of_the_peak_and_at_it(day, slopes):
    forward, differences = slopes(MODEL, day)
    assert forward == pytest.approx(differences, rel=1e-5, abs=1e-7)


def test_variability_between_patients_names_its_reading():
    for parameter in MODEL.parameters.values():
        assert "SD" in parameter.between
        assert "variance" in parameter.between


def test_the_sds_that_variances_would_be_are_those_of_the_page():
    published = [float(parameter.between.partition(",")[0]) for parameter in MODEL.parameters.values()]
    assert published == [2.4, 0.38, 0.65, 0.91, 0.80, 0.86]
    listed = ", ".join(f"{value:.2g}" for value in np.sqrt(published)[:-1])
    assert f"{listed} and {np.sqrt(published[-1]):.2g}" in " ".join(MODEL.description.split())


def test_the_fit_of_a_simulated_patient_gives_back_the_truth(patient, recovered):
    fit = ck.fit(MODEL, patient(MODEL, SAMPLED))
    assert recovered(fit, P)
    assert fit.parameters.value["t_max"] == pytest.approx(9.3, rel=0.1)


def test_the_guess_finds_peak_and_slopes_of_its_own_curve():
    days = np.array([1, 4, 7, 9.3, 11, 14, 21, 28, 60, 120, 180, 365.0])
    study = ck.read_study(pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": curve(days)}))
    guess = MODEL.guess(study)
    assert guess["t_max"] == 9.3
    assert guess["c_max"] == pytest.approx(24000)
    assert guess["alpha"] == pytest.approx(0.16, rel=0.1)
    assert guess["beta"] == pytest.approx(0.0032, rel=0.5)
