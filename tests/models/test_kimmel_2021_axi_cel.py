"""Kimmel 2021: the equations against scipy, steady states, and the closed forms at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.solving import solver

MODEL = models.load("kimmel_2021_axi_cel")
P = MODEL.values()
MONTH = np.array([0, 1, 2, 4, 7, 10, 14, 18, 21, 28, 31.0])


def cells(days, values=None):
    return ck.simulate(MODEL, values or {}, days)


def ln_slopes(t, state, p):
    """Derivatives of ln N, ln C, ln B: B falls by eleven decades in a year."""
    N, C = np.exp(state[:2])
    T = N + C
    r_C = p["rho_C"] + p["b"] * (T - p["K_N"]) ** 2 / (p["a"] * T**2 + (T - p["K_N"]) ** 2)
    total = np.log(T)
    return [
        p["r_N"] * (np.log(p["K_N"]) - total),
        r_C * (np.log(p["K_C"]) - total),
        p["r_B"] - p["g_B"] * C / (p["k_B"] + C),
    ]


def reference(days, p, method):
    start = np.log([p["N0"], p["C0"], p["B0"]])
    # Short steps: between the long ones of a smooth curve DOP853's own interpolation is 7e-6 off.
    done = solve_ivp(ln_slopes, (0, days[-1]), start, method, days, args=(p,), rtol=1e-10, atol=1e-10, max_step=0.5)
    return np.exp(done.y)  # N, C, B


def draws(count):
    rng = np.random.default_rng(2020)
    return [{name: float(value * np.exp(0.3 * rng.normal())) for name, value in P.items()} for _ in range(count)]


@pytest.mark.parametrize(("values", "method"), [(P, "LSODA"), (P, "Radau"), *((v, "DOP853") for v in draws(4))])
@pytest.mark.parametrize("days", [MONTH, np.array([60, 90, 180, 365.0])], ids=["first month", "first year"])
def test_the_curves_are_those_of_scipy(values, method, days):
    table, (N, C, B) = cells(days, values), reference(days, values, method)
    np.testing.assert_allclose(table["normal_t_cells"], N, rtol=2e-6)
    np.testing.assert_allclose(table["car_t_cells"], C, rtol=2e-6)
    # 1e-9 cells are the floor of what is given.
    np.testing.assert_allclose(table["b_cells"], B, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("check", MODEL.checks, ids=lambda check: check.what)
def test_the_model_gives_its_published_numbers(check):
    assert check.compute(MODEL) == pytest.approx(check.published, rel=check.tolerance)


def test_the_rate_of_car_t_cells_falls_with_all_t_cells_and_not_with_the_normal_ones_alone():
    """With the rounded values of the public model to the last digit that others print of it."""
    rounded = {**P, "K_C": 139 * 5e8, "k_B": 4.05 * 5e8}
    N, C, B = reference(np.array([0.0, 9.0]), rounded, "LSODA")[:, -1] / [5e8, 5e8, 1e9]
    assert (round(N, 1), round(C, 3), round(B, 4)) == (159.5, 25.922, 0.0710)
    table = cells([9.0], {"K_C": rounded["K_C"], "k_B": rounded["k_B"]})
    assert table["car_t_cells"][0] / 5e8 == pytest.approx(C, rel=1e-6)


def slopes(N, C, B=1.0):
    assert MODEL.rhs is not None
    rates = {name: value for name, value in P.items() if name not in ("N0", "C0", "B0")}
    return [float(slope) for slope in MODEL.rhs(N, C, B, **rates)]


def test_where_one_kind_of_t_cell_is_lost_the_other_rests_at_its_own_level():
    assert slopes(P["K_N"], 0.0)[:2] == [0.0, 0.0]
    assert slopes(0.0 + 1e-300, P["K_C"])[1] == pytest.approx(0.0, abs=1e-3)


def test_both_kinds_cannot_rest_together():
    for total in np.linspace(0.1, 4, 40) * P["K_C"]:
        for share in (0.1, 0.5, 0.9):
            dN, dC, _ = slopes(share * total, (1 - share) * total)
            assert max(abs(dN) / (share * total), abs(dC) / ((1 - share) * total)) > 1e-3


def test_normal_cells_refill_the_niche_and_car_t_cells_are_then_lost_with_the_half_life_of_the_docstring():
    table = cells(np.array([0, 90, 180.0, 365, 400, 500]))
    total = (table["normal_t_cells"] + table["car_t_cells"]).to_numpy()
    assert total[3] == pytest.approx(P["K_N"], rel=1e-5)
    late = table["car_t_cells"].to_numpy()[-2:]
    half_life = 100 * np.log(2) / np.log(late[0] / late[1])
    assert half_life == pytest.approx(np.log(2) / (P["rho_C"] * np.log(P["K_N"] / P["K_C"])), rel=1e-4)
    assert half_life == pytest.approx(21.6, abs=0.05)


def test_car_t_cells_grow_at_rho_c_plus_b_in_an_empty_niche_and_at_rho_c_in_a_full_one():
    for N, rate in ((1.0, P["rho_C"] + P["b"]), (P["K_N"], P["rho_C"])):
        _, dC, _ = slopes(N, 1e3)
        assert dC / 1e3 == pytest.approx(-rate * np.log((N + 1e3) / P["K_C"]), rel=1e-6)


def test_without_car_t_cells_normal_cells_follow_gompertz_and_b_cells_grow_at_r_b():
    days = np.array([0, 5.0, 20, 60])
    table = cells(days, {"C0": 1.0})
    gompertz = P["K_N"] * np.exp(np.log(P["N0"] / P["K_N"]) * np.exp(-P["r_N"] * days))
    np.testing.assert_allclose(table["normal_t_cells"], gompertz, rtol=1e-6)
    np.testing.assert_allclose(table["b_cells"], P["B0"] * np.exp(P["r_B"] * days), rtol=1e-5)


def test_the_tumour_returns_once_car_t_cells_are_few():
    table = cells(np.array([60.0, 180, 365, 500, 900]))
    assert table["b_cells"][1] < table["b_cells"][0]
    assert np.log(table["b_cells"][4] / table["b_cells"][3]) / 400 == pytest.approx(P["r_B"], rel=1e-3)


def test_the_more_normal_cells_at_the_start_the_fewer_car_t_cells_at_the_peak():
    days = np.linspace(0, 31, 32)
    peaks = [cells(days, {"N0": N0})["car_t_cells"].max() for N0 in (1e9, 3e9, 1e11)]
    assert peaks[0] > peaks[1] > 10 * peaks[2]


def test_derivatives_agree_with_finite_differences_of_scipy():
    days = np.array([0.0, 4.0, 14.0, 60.0])

    def ln_curves(values):
        curves, _ = solver.solve_ode(MODEL, jnp.asarray(days), values, MODEL.doses(None))
        return jnp.stack([jnp.log(curves[name]) for name in ("normal_t_cells", "car_t_cells", "b_cells")])

    found = jax.jit(jax.jacfwd(ln_curves))(P)
    for name, value in P.items():
        step = 1e-4 * value
        high, low = (np.log(reference(days, {**P, name: value + s * step}, "DOP853")) for s in (1, -1))
        np.testing.assert_allclose(found[name] * value, (high - low) / 2e-4, rtol=2e-4, atol=2e-4, err_msg=name)
