"""CARTmath: the equations against scipy, its closed forms without tumour and without cells, its threshold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.solving import solver

MODEL = models.load("barros_2021_cartmath")
P = MODEL.values()
DAYS = np.array([0, 0.5, 1, 2, 3, 5, 7, 10, 14, 21, 28, 42.0])


def cells(days, values=None, doses=2e5):
    return ck.simulate(MODEL, values or {}, days, doses)


def rhs(t, state, p):
    """C, M, and T as ln T, which falls by decades within days."""
    C, M, ln_T = state
    T = np.exp(ln_T)
    back = p["theta"] * T * M
    return [
        (p["phi"] - p["rho"]) * C + back - p["alpha"] * T * C,
        p["eps"] * C - back - p["mu"] * M,
        p["r"] * (1 - p["b"] * T) - p["gamma"] * C,
    ]


def reference(days, p, method, dose=2e5):
    start = [p["F"] * dose, 0.0, np.log(p["T0"])]
    done = solve_ivp(rhs, (0, days[-1]), start, method, days, args=(p,), rtol=1e-10, atol=1e-9)
    C, M, ln_T = done.y
    return C + M, np.exp(ln_T)


def draws(count):
    rng = np.random.default_rng(2020)
    for _ in range(count):
        values = {name: float(value * np.exp(0.3 * rng.normal())) for name, value in P.items()}
        yield {**values, "F": min(values["F"], 1.0)}


@pytest.mark.parametrize(("values", "method"), [(P, "LSODA"), (P, "Radau"), *((v, "DOP853") for v in draws(4))])
def test_the_curves_are_those_of_scipy(values, method):
    table, (car_t, tumour) = cells(DAYS, values, 2e6), reference(DAYS, values, method, 2e6)
    np.testing.assert_allclose(table["car_t_cells"], car_t, rtol=2e-6)
    np.testing.assert_allclose(table["tumour_cells"], tumour, rtol=1e-5, atol=1e-9)


def test_without_cells_the_tumour_is_logistic():
    days = np.array([0, 30.0, 100, 200, 300])
    grown = 1 / (P["b"] + (1 / P["T0"] - P["b"]) * np.exp(-P["r"] * days))
    np.testing.assert_allclose(cells(days, doses=0.0)["tumour_cells"], grown, rtol=1e-5)


def test_without_tumour_effector_and_memory_cells_are_two_exponentials():
    fall, days = P["rho"] - P["phi"], np.array([0, 5.0, 20, 60, 300])
    C = 2e5 * np.exp(-fall * days)
    M = 2e5 * P["eps"] / (fall - P["mu"]) * (np.exp(-P["mu"] * days) - np.exp(-fall * days))
    np.testing.assert_allclose(cells(days, {"T0": 0.0})["car_t_cells"], C + M, rtol=1e-6)


def test_only_the_difference_of_phi_and_rho_matters():
    moved = cells(DAYS, {"phi": P["phi"] + 0.1, "rho": P["rho"] + 0.1})
    np.testing.assert_allclose(moved, cells(DAYS), rtol=1e-6)


def test_half_lives_and_threshold_are_those_of_the_docstring():
    assert np.log(2) / (P["rho"] - P["phi"]) == pytest.approx(8.2, abs=0.05)
    assert np.log(2) / P["mu"] == pytest.approx(139, abs=0.5)
    assert P["r"] / P["gamma"] == pytest.approx(15_200, rel=1e-3)


def test_the_tumour_at_the_infusion_is_2_million_cells_grown_for_42_days():
    grown = 1 / (P["b"] + (1 / 2e6 - P["b"]) * np.exp(-P["r"] * 42))
    assert P["T0"] == pytest.approx(grown, rel=1e-3)
    assert cells([42.0], {"T0": 2e6}, doses=0.0)["tumour_cells"][0] == pytest.approx(P["T0"], rel=1e-3)


def test_the_doses_of_the_application_clear_the_tumour():
    days = np.array([0.0, 7, 14, 28])
    for dose in (1.5e6, 2e6):
        car_t, tumour = reference(days, P, "Radau", dose)
        table = cells(days, doses=dose)
        np.testing.assert_allclose(table["car_t_cells"], car_t, rtol=2e-6)
        assert tumour[-1] < 1
        assert table["tumour_cells"].iloc[-1] < 1


def test_the_tumour_shrinks_at_first_only_above_the_threshold():
    threshold = P["r"] * (1 - P["b"] * P["T0"]) / P["gamma"]
    for dose, shrinks in ((1.02 * threshold, True), (0.98 * threshold, False)):
        at_once = cells(np.array([0.0, 1e-3]), doses=dose)["tumour_cells"]
        assert (at_once[1] < at_once[0]) is np.bool_(shrinks)


def test_memory_cells_turn_back_where_the_tumour_is_given_again():
    # theta alone brings effector cells back: without it the larger tumour kills no slower.
    slow, fast = (cells(np.array([2.0]), {"theta": theta})["car_t_cells"][0] for theta in (0.0, 6e-6))
    assert fast != pytest.approx(slow, rel=1e-4)


def test_a_second_infusion_adds_its_cells():
    days = np.array([6.999, 7.0])
    before, after = cells(days, doses=[(0, 2e5), (7, 3e5)])["car_t_cells"]
    assert after - before == pytest.approx(3e5, rel=1e-3)


def test_cells_that_die_out_under_a_tumour_that_escapes_are_never_fewer_than_none():
    escapes = {**P, "phi": 0.156, "rho": 0.637, "eps": 0.099, "theta": 2.87e-6, "alpha": 6.13e-8}
    days = np.array([0, 28, 60, 120, 180, 365.0])
    table, (car_t, tumour) = cells(days, escapes, 1e6), reference(days, escapes, "Radau", 1e6)
    assert np.all(table["car_t_cells"] >= 0)
    np.testing.assert_allclose(table["car_t_cells"], car_t, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(table["tumour_cells"], tumour, rtol=1e-5)
    assert tumour[-1] > P["T0"]


def test_derivatives_agree_with_finite_differences_of_scipy():
    days = np.array([0.5, 2.0, 7.0])

    def ln_curves(values):
        curves, _ = solver.solve_ode(MODEL, jnp.asarray(days), values, MODEL.doses(2e5))
        return jnp.stack([jnp.log(curve) for curve in curves.values()])

    found = jax.jit(jax.jacfwd(ln_curves))(P)
    for name, value in P.items():
        step = 1e-4 * value
        high, low = (np.log(reference(days, {**P, name: value + s * step}, "DOP853")) for s in (1, -1))
        np.testing.assert_allclose(found[name] * value, (high - low) / 2e-4, rtol=2e-4, atol=2e-4, err_msg=name)
