"""Distribution, expansion, contraction, persistence: the closed form against its own equations."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models

MODEL = models.load("four_phase")
P = MODEL.values()
DAYS = np.array([0, 0.5, 1, 2, 4, 7, 9, 10.5, 11, 12, 14, 21, 28, 60, 180, 365.0])
SAMPLED = np.array([1, 2, 3, 5, 7, 9, 11, 14, 18, 21, 28, 60, 90, 180, 365.0])


def curve(days, dose=1e6, values=None):
    return np.asarray(MODEL.solve(np.asarray(days, float), values, dose)["copies_per_ug"])


def own_ode(days, dose, p):
    """Cells that leave, cells that expand until t_max; then fast and slow ones in their place."""
    rise, fall = [t for t in days if t < p["t_max"]], [t for t in days if t >= p["t_max"]]
    infused = p["F"] * dose
    accuracy = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}
    up = solve_ivp(
        lambda t, s: [-p["k_d"] * s[0], p["rho"] * s[1] * (1 - s[1] / p["K"])], (0, p["t_max"]),
        [infused * (1 - p["phi"]), infused * p["phi"]], t_eval=[*rise, p["t_max"]], **accuracy,
    )  # fmt: skip
    left, peak = up.y[:, -1]
    down = solve_ivp(
        lambda t, s: [-p["k_d"] * s[0], -p["alpha"] * s[1], -p["beta"] * s[2]], (p["t_max"], fall[-1]),
        [left, peak * (1 - p["f_b"]), peak * p["f_b"]], t_eval=fall, **accuracy,
    )  # fmt: skip
    return np.concatenate([up.y[:, :-1].sum(axis=0), down.y.sum(axis=0)])


@pytest.mark.parametrize("dose", [1e5, 1e6, 1e9])
@pytest.mark.parametrize("changed", [{}, {"phi": 0.3, "t_max": 8.0, "f_b": 0.2}, {"rho": 0.4, "k_d": 0.3}])
def test_the_closed_form_solves_its_own_ode(changed, dose):
    np.testing.assert_allclose(curve(DAYS, dose, changed), own_ode(DAYS, dose, {**P, **changed}), rtol=1e-9)


def test_the_curve_falls_then_rises_then_falls_twice():
    days = np.linspace(0, 365, 36501)
    signs = np.sign(np.diff(curve(days)))
    turns = days[1:-1][np.diff(signs) != 0]
    assert signs[0] == -1
    assert len(turns) == 2
    assert 1 < turns[0] < 3
    assert turns[1] == pytest.approx(P["t_max"], abs=0.011)
    early, late = -np.diff(np.log(curve([20.0, 21.0, 200.0, 201.0])))[[0, 2]]
    assert early > 10 * late


def test_the_first_sample_is_the_infused_cells():
    assert curve([0.0])[0] == pytest.approx(P["F"] * 1e6, rel=1e-12)


def test_the_peak_follows_the_dose_only_below_the_capacity():
    low, high = curve([11.0], 1)[0], curve([11.0], 10)[0]
    assert high / low == pytest.approx(10, rel=0.01)
    filled, more = curve([11.0], 1e7)[0], curve([11.0], 1e8)[0]
    assert more / filled == pytest.approx(1, rel=0.01)


def test_a_second_infusion_is_refused():
    with pytest.raises(ck.ModelError, match="one infusion"):
        MODEL.solve([7.0], doses=[(0, 1e6), (7, 1e6)])


def test_without_cells_the_curve_and_its_derivatives_are_zero_not_nan():
    import jax

    slopes = jax.jacfwd(lambda v: MODEL.solve(np.array([14.0]), v, 0.0)["copies_per_ug"][0])(P)
    assert curve([0.0, 14.0], 0.0).tolist() == [0.0, 0.0]
    assert all(float(slope) == 0 for slope in slopes.values())


@pytest.mark.parametrize("day", [0.0, 0.5, 2.0, 10.9, 11.0, 11.1, 60.0])
def test_derivatives_are_those_of_differences_on_both_sides_of_the_switch_and_at_it(day, slopes):
    forward, differences = slopes(MODEL, day, doses=1e6)
    assert forward == pytest.approx(differences, rel=1e-5, abs=1e-7)


@pytest.mark.slow
def test_the_fit_of_a_simulated_patient_gives_back_the_truth(patient, recovered):
    fit = ck.fit(MODEL, patient(MODEL, SAMPLED, dose=1e6))
    assert recovered(fit, P)
    assert fit.parameters.value["rho"] == pytest.approx(1.2, rel=0.15)
