"""Kirouac 2023, a simulator: the equations against scipy, and what the page says of them."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cellkinetics import models

MODEL = models.load("kirouac_2023")
P = MODEL.values()
DAYS = np.array([0, 0.5, 1, 3, 5, 7, 10, 14, 21, 28, 42, 60, 90, 180, 365.0])
OUTPUTS = ("cells", "tumour", "antigen")


def h(antigen, half, power):
    return antigen**power / (half**power + antigen**power)


def by_scipy(p, days=DAYS, method="DOP853"):
    """All CAR-T cells, tumour and antigen, written anew from the printed equations, with logarithms as states."""

    def slope(_, logs):
        tm, te1, te2, tx, b, ba = state = np.exp(logs)
        s = p["f_max"] * (1 - h(ba, p["B50"], p["k_m"]))
        back = p["r_m"] * (1 - h(ba, p["B50"], p["k_r"]))
        divide, exhaust = p["mu_e"] * h(ba, p["B50"], p["k_e"]), p["k_ex"] * h(ba, p["B50"], p["k_x"])
        flow = [
            p["mu_m"] * s * tm - p["mu_m"] * (1 - s) * tm - p["d_m"] * tm + back * te2,
            2 * p["mu_m"] * (1 - s) * tm - divide * te1 - p["d_e1"] * te1,
            divide * te1 * 2 ** p["N"] - exhaust * te2 - back * te2 - p["d_e2"] * te2,
            exhaust * te2 - p["d_x"] * tx,
            p["mu_B"] * b * (1 - b / p["B_max"]) - p["k_kill"] * b * h(te2, p["TK50"], p["k_t"]),
            p["k_b1"] * b - p["k_b2"] * ba,
        ]
        return np.array(flow) / state

    start = [p["T_m0"], p["T_e10"], p["T_e20"], p["T_x0"], p["B_0"], p["k_b1"] / p["k_b2"] * p["B_0"]]
    done = solve_ivp(slope, (0, days[-1]), np.log(start), t_eval=days, method=method, rtol=1e-10, atol=1e-10)
    assert done.success, done.message
    states = np.exp(done.y)
    return {"cells": states[:4].sum(axis=0), "tumour": states[4], "antigen": states[5]}


def curves(values=None, days=DAYS):
    """Outputs; always 64 times, so that one program serves all."""
    found = MODEL.solve(np.pad(days, (0, 64 - len(days)), mode="edge"), values)
    return {name: np.asarray(curve)[: len(days)] for name, curve in found.items()}


def draws(count):
    rng = np.random.default_rng(2021)
    for _ in range(count):
        yield {
            name: float(np.clip(parameter.value * np.exp(0.3 * rng.normal()), parameter.min, parameter.max))
            for name, parameter in MODEL.parameters.items()
        }


@pytest.mark.parametrize(("method", "count"), [("DOP853", 5), ("Radau", 2)])
def test_the_model_is_the_same_as_an_independent_one_in_numpy(method, count):
    for values in [P, *draws(count)]:
        found, expected = curves(values), by_scipy(values, method=method)
        for name in OUTPUTS:
            np.testing.assert_allclose(found[name], expected[name], rtol=3e-6, err_msg=name)


def test_there_are_27_parameters_and_each_is_called_an_assumption():
    assert len(MODEL.parameters) == 27
    assert all(parameter.source == "assumption" for parameter in MODEL.parameters.values())
    assert not MODEL.checks
    assert "Every default is an assumption" in MODEL.description


def test_it_is_a_simulator_without_a_dose():
    assert MODEL.simulator
    assert MODEL.channels == ()
    assert "one patient's curve does not determine its parameters" in MODEL.describe()


def test_the_curve_rises_contracts_and_persists():
    days = np.linspace(0, 60, 61)
    cells = curves(days=days)["cells"]
    assert 7 < days[np.argmax(cells)] <= 21
    assert cells.max() > 100 * cells[0]
    after = curves()["cells"]
    assert 8 < cells.max() / cells[42] < 20
    assert 1 < after[DAYS == 60][0] / after[DAYS == 365][0] < 4, "waning over months"


def test_the_tumour_is_gone_by_day_42():
    assert curves()["tumour"][DAYS == 42][0] < 1e-8 * P["B_0"]


def test_without_tumour_there_is_no_expansion_and_memory_cells_keep_themselves():
    alone = curves({"B_0": 1.0})
    assert np.all(alone["cells"] < 3 * alone["cells"][0])
    # f_max 1: without antigen every division renews.
    kept = curves({"B_0": 1.0, "f_max": 1.0, "mu_m": P["d_m"], "T_e10": 1.0, "T_e20": 1.0, "T_x0": 1.0})["cells"]
    np.testing.assert_allclose(kept, kept[0], rtol=1e-3)


def test_the_antigen_starts_in_balance_with_the_tumour_and_follows_it():
    found = curves({"k_b1": 1.0})
    assert found["antigen"][0] == pytest.approx(2 * P["B_0"])
    fast = curves({"k_b1": 10.0, "k_b2": 10.0})
    seen = (DAYS >= 1) & (DAYS <= 28)
    assert np.all(np.abs(np.log(fast["antigen"][seen] / fast["tumour"][seen])) < 0.12), "within a tenth of a day"


def test_forward_derivatives_are_those_of_finite_differences_of_scipy():
    days = np.array([0.0, 1, 7, 14, 28, 60, 365])
    found = jax.jacfwd(lambda values: MODEL.solve(days, values))(P)
    base, step = by_scipy(P, days), 1e-4
    for name in P:
        up, down = (by_scipy({**P, name: P[name] * (1 + sign * step)}, days) for sign in (1, -1))
        for output in OUTPUTS:
            expected = (up[output] - down[output]) / (2 * step * base[output])
            slope = P[name] * np.asarray(found[output][name]) / base[output]
            np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-4, err_msg=f"{output} by {name}")
