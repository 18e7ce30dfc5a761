"""The smooth switch: the model against an independent solution, its limit, its options and what its page says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models

MODEL = models.load("smooth_switch")
STEIN = models.load("stein_2019_tisagenlecleucel")
P = MODEL.values()
SHARED = {name: P[name] for name in STEIN.parameters}
DAYS = np.array([0, 1, 4, 7, 9, 9.3, 9.6, 11, 14, 21, 28, 60, 180, 365.0])
SAMPLED = np.array([1, 2, 3, 5, 7, 9, 11, 14, 18, 21, 28, 60, 90, 180, 365.0])
OPTIONS = [{}, {"saturation": 20.0}, {"delay": 4.0}, {"saturation": 5.0, "delay": 12.0, "w": 1.5, "f_b": 0.1}]


def curve(days, values=None):
    return np.asarray(MODEL.solve(np.asarray(days, float), values)["copies_per_ug"])


def independent(days, values, method="DOP853", rtol=1e-11):
    """Effector cells by themselves, then memory cells from what these were `delay` days before; numpy and scipy."""
    p = {**P, **values}
    rho = (np.log(p["fold"]) + p["saturation"] * (1 - 1 / p["fold"])) / p["t_max"]

    def gate(t):
        return 0.5 * (1 + np.tanh((t - p["t_max"]) / (2 * p["w"])))

    def effector(t, ln_e):
        e = np.exp(ln_e)
        return (1 - gate(t)) * rho / (1 + p["saturation"] * e / p["c_max"]) - gate(t) * p["alpha"]

    last = float(days[-1])
    accuracy = {"method": method, "rtol": rtol, "atol": 1e-12, "max_step": 1.0}
    cells = solve_ivp(effector, (0, last), [np.log(p["c_max"] / p["fold"])], dense_output=True, **accuracy)

    def memory(t, m):
        before = np.exp(cells.sol(t - p["delay"])[0]) * gate(t - p["delay"]) if t >= p["delay"] else 0.0
        return p["f_b"] * (p["alpha"] - p["beta"]) * before - p["beta"] * m

    kept = solve_ivp(memory, (p["delay"], last), [0.0], dense_output=True, **accuracy)
    return np.array([np.exp(cells.sol(t)[0]) + (kept.sol(t)[0] if t > p["delay"] else 0.0) for t in days])


@pytest.mark.parametrize("changed", OPTIONS)
def test_the_model_is_that_of_an_independent_solution(changed):
    np.testing.assert_allclose(curve(DAYS, changed), independent(DAYS, changed), rtol=1e-6)


def test_the_model_is_that_of_an_implicit_solution():
    changed = OPTIONS[-1]
    np.testing.assert_allclose(curve(DAYS, changed), independent(DAYS, changed, "Radau", 1e-9), rtol=1e-6)


def errors(days, width, f_b=P["f_b"]):
    """Ln of the curve over that of Stein 2019."""
    stein = np.asarray(STEIN.solve(days, {**SHARED, "f_b": f_b})["copies_per_ug"])
    return np.log(curve(days, {"w": width, "f_b": f_b}) / stein)


def test_the_curve_converges_to_that_of_stein_in_proportion_to_w_at_the_peak():
    off = [abs(errors(np.array([9.3]), width)[0]) for width in (0.4, 0.2, 0.1, 0.05)]
    orders = np.log2(np.array(off[:-1]) / off[1:])
    np.testing.assert_allclose(orders, 1, atol=0.05)
    # The first term: half-way through the gate, growth and contraction have cost (rho + alpha) w ln 2.
    rho = np.log(P["fold"]) / P["t_max"]
    assert off[-1] == pytest.approx((rho + P["alpha"]) * 0.05 * np.log(2), rel=0.02)


def test_the_curve_converges_to_that_of_stein_by_the_square_of_w_away_from_the_peak():
    days = np.array([90.0, 180.0, 365.0])
    off = [errors(days, width) for width in (0.1, 0.05, 0.025)]
    orders = np.log2(np.array(off[:-1]) / off[1:])
    np.testing.assert_allclose(orders, 2, atol=0.06)
    # The first term of the memory cells: the integral of (gate - step) x is -pi^2/6 w^2.
    rho = np.log(P["fold"]) / P["t_max"]
    first = -(rho + P["beta"]) * (P["alpha"] - P["beta"]) * np.pi**2 / 6 * 0.025**2
    np.testing.assert_allclose(off[-1], first, rtol=0.03)


def test_before_and_after_the_gate_effector_cells_are_those_of_stein():
    days = np.array([0, 3, 6, 8, 11, 14, 21.0])
    np.testing.assert_allclose(errors(days, 0.02, f_b=1e-12), 0, atol=1e-6)


def test_the_effector_peak_is_lower_and_later_as_the_page_says():
    rho, alpha, w = np.log(P["fold"]) / P["t_max"], P["alpha"], P["w"]
    days = np.linspace(9, 12, 3001)
    effector = curve(days, {"f_b": 1e-12})
    loss = (rho + alpha) * np.log(rho + alpha) - rho * np.log(rho) - alpha * np.log(alpha)
    assert effector.max() / P["c_max"] == pytest.approx(np.exp(-w * loss), rel=1e-5)
    assert days[np.argmax(effector)] - P["t_max"] == pytest.approx(w * np.log(rho / alpha), abs=2e-3)


@pytest.mark.parametrize("saturation", [0.0, 1.0, 20.0])
def test_the_sharp_switch_reaches_c_max_on_t_max_at_every_saturation(saturation):
    at = curve([9.0, 9.3], {"saturation": saturation, "w": 1e-3, "f_b": 1e-12})
    assert at[1] / P["c_max"] == pytest.approx(1, rel=2e-3)
    assert at[0] < at[1]


def test_saturation_is_michaelis_and_mentens():
    # Before the gate: dE/dt = V_max E / (K_m + E).
    s, day, h = 20.0, 4.0, 1e-3
    rho = (np.log(P["fold"]) + s * (1 - 1 / P["fold"])) / P["t_max"]
    k_m = P["c_max"] / s
    low, here, high = curve([day - h, day, day + h], {"saturation": s, "w": 0.1})
    assert (high - low) / (2 * h) == pytest.approx(rho * k_m * here / (k_m + here), rel=1e-4)


def test_a_delay_moves_the_memory_cells_by_so_many_days():
    days = np.array([60.0, 180.0, 365.0])

    def memory(days, delay):
        return curve(days, {"delay": delay}) - curve(days, {"f_b": 1e-12})

    np.testing.assert_allclose(memory(days, 10.0), memory(days - 10, 0.0), rtol=1e-5)


@pytest.mark.parametrize("day", [3.0, 3.9, 4.1, 9.0, 9.3, 9.6, 21.0, 180.0])
def test_derivatives_are_those_of_differences_of_the_independent_solution(day):
    # On both sides of the switch at `delay` and of the gate.
    at = {**P, "saturation": 5.0, "delay": 4.0}
    slopes = jax.jacfwd(lambda v: jnp.log(MODEL.solve(jnp.array([day]), v)["copies_per_ug"][0]))(at)
    for name, value in at.items():
        step = 1e-4 * value
        high, low = (independent([day], {**at, name: value + side * step})[0] for side in (1, -1))
        assert value * slopes[name] == pytest.approx(np.log(high / low) / 2e-4, rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("name", ["saturation", "delay"])
def test_an_option_that_is_off_has_the_derivative_from_above(name):
    days, at = np.array([14.0, 60.0, 180.0]), {**P, "f_b": 0.2}
    slopes = jax.jacfwd(lambda value: jnp.log(MODEL.solve(days, {**at, name: value})["copies_per_ug"]))(0.0)
    zero, one, two = (np.log(independent(days, {**at, name: step})) for step in (0.0, 1e-3, 2e-3))
    np.testing.assert_allclose(slopes, (4 * one - two - 3 * zero) / 2e-3, rtol=2e-4, atol=1e-5)


def test_derivatives_are_finite_where_the_options_are_off():
    for day in (0.0, 1e-3, 9.3, 365.0):
        slopes = jax.jacfwd(lambda v, day=day: MODEL.solve(jnp.array([day]), v)["copies_per_ug"][0])(P)
        assert all(np.isfinite(slope) for slope in slopes.values()), day


@pytest.mark.slow
def test_the_fit_of_a_simulated_patient_gives_back_the_truth(patient, recovered):
    fit = ck.fit(MODEL, patient(MODEL, SAMPLED), starts=1)
    assert recovered(fit, P)
    assert fit.parameters.status[["w", "saturation", "delay"]].eq("fixed").all()
    assert fit.parameters.value["t_max"] == pytest.approx(9.3, rel=0.1)
