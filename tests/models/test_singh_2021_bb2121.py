"""Singh 2021: the reconstructed equations against scipy, and what the page says of them."""

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.modelling.structure import methods

MODEL = models.load("singh_2021_bb2121")
P = MODEL.values()
DOSE = 450e6 / 70
DAYS = np.array([0, 0.01, 0.1, 0.5, 1, 3, 5, 7, 10, 14, 21, 28, 42, 60, 90, 180, 365.0])
AVOGADRO = 6.02214076e23
FREE = ("K_max", "K21", "R_m", "Kel_m", "T_0")
NO_ANTIGEN = {"T_0": 1e6, "n_Ag": 100.0}


def binding(receptors, antigens, k_d):
    """Complexes per litre, the smaller root of z^2 - (a + b + k_d) z + a b = 0, without cancellation."""
    b = receptors + antigens + k_d
    return receptors * antigens / (b / 2 + np.sqrt(b * b / 4 - receptors * antigens))


def slopes(p, complexes=binding):
    """The model written anew in numpy, in concentrations per litre of tissue for the binding."""

    def slope(t, state):
        eb, et, mb, mt, tumour = state
        z = complexes(p["n_CAR"] * et / p["V_t"], p["n_Ag"] * tumour / p["V_t"], p["K_D"] * 1e-9 * AVOGADRO)
        x, y = z * p["V_t"] / et if et > 0 else 0.0, z * p["V_t"] / tumour if tumour > 0 else 0.0
        out, back = p["K12"], p["K21"]
        return [
            back * et - (out + p["Kel_e"] + p["R_m"]) * eb,
            out * eb - back * et - p["R_m"] * et + p["K_max"] * et * x / (p["EC50"] + x),
            p["R_m"] * eb + back * mt - (out + p["Kel_m"]) * mb,
            p["R_m"] * et + out * mb - back * mt,
            p["K_g"] * tumour - p["K_kill"] * tumour * y / (p["KC50"] + y),
        ]

    return slope


def by_scipy(p, dose, days=DAYS, method="LSODA"):
    """Copies/ug and tumour cells/uL."""
    start = [p["weight"] * dose, 0, 0, 0, p["T_0"]]
    done = solve_ivp(slopes(p), (0, days[-1]), start, t_eval=days, method=method, rtol=1e-10, atol=1e-9)
    assert done.success, done.message
    return p["s"] * (done.y[0] + done.y[2]) / p["V_b"], done.y[4] / p["V_t"] / 1e6


def curves(days, values=None, doses=DOSE):
    """Copies/ug and tumour cells/uL; always 96 times, so that one program serves all."""
    found = MODEL.solve(np.pad(np.asarray(days, float), (0, 96 - len(days)), mode="edge"), values, doses)
    return np.asarray(found["copies_per_ug"])[: len(days)], np.asarray(found["tumour"])[: len(days)]


def draws(count):
    rng = np.random.default_rng(2021)
    for _ in range(count):
        yield {
            name: float(np.clip(parameter.value * np.exp(0.3 * rng.normal()), parameter.min, parameter.max))
            for name, parameter in MODEL.parameters.items()
        }


def test_the_model_is_the_same_as_an_independent_one_in_numpy():
    for values in [P, *draws(5)]:
        for found, expected in zip(curves(DAYS, values), by_scipy(values, DOSE), strict=True):
            np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-9)


def test_radau_agrees():
    for values in [P, *draws(2)]:
        for found, expected in zip(curves(DAYS, values), by_scipy(values, DOSE, method="Radau"), strict=True):
            np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-9)


def test_it_is_solved_implicitly_and_its_description_says_so():
    assert methods(MODEL) == ("implicit",)
    assert "linearly implicit stepper in ln x (Rodas5P): the model is stiff" in MODEL.describe()
    fastest = np.abs(np.linalg.eigvals(np.array([[-P["K12"] - P["Kel_e"], P["K21"]], [P["K12"], -P["K21"]]]))).max()
    assert fastest == pytest.approx(115, rel=0.01)


def kinetic(p, k_off):
    """Copies/ug where the complex has a rate of its own instead of its equilibrium."""
    free = slopes(p, complexes=lambda *_: held[0])
    k_on = k_off / (p["K_D"] * 1e-9 * AVOGADRO)
    held = [0.0]

    def slope(t, state):
        # Complexes in 1e12 per litre, so that one absolute tolerance suits all states.
        held[0] = z = 1e12 * state[5]
        receptors, antigens = p["n_CAR"] * state[1] / p["V_t"], p["n_Ag"] * state[4] / p["V_t"]
        return [*free(t, state[:5]), (k_on * (receptors - z) * (antigens - z) - k_off * z) / 1e12]

    start = [p["weight"] * DOSE, 0, 0, 0, p["T_0"], 0]
    done = solve_ivp(slope, (0, 28), start, t_eval=DAYS[DAYS <= 28], method="LSODA", rtol=1e-8, atol=1e-3)
    assert done.success, done.message
    return p["s"] * (done.y[0] + done.y[2]) / p["V_b"]


def test_the_complex_may_be_taken_at_its_equilibrium_because_binding_is_fast():
    far, near = (np.abs(kinetic(P, rate) / curves(DAYS[DAYS <= 28])[0] - 1)[3:].max() for rate in (1e3, 1e4))
    assert far < 0.02, "within 2% where a complex holds for a minute and a half"
    assert near == pytest.approx(far / 10, rel=0.2), "and in proportion to that time"


def test_few_of_the_infused_cells_reach_the_tissue():
    # Without growth: after the first hours blood is in balance with tissue, E_b = K21 E_t/(K12 + Kel_e).
    infused, later = curves([0.0, 0.15], NO_ANTIGEN)[0]
    reached = later / infused * (P["K12"] + P["Kel_e"]) / P["K21"]
    assert infused == pytest.approx(P["s"] * P["weight"] * DOSE / P["V_b"])
    assert reached == pytest.approx(0.015, rel=0.05)
    assert P["K12"] / (P["K12"] + P["Kel_e"]) == pytest.approx(0.015, rel=0.01)
    assert P["K21"] / (P["K12"] + P["Kel_e"]) == pytest.approx(0.0015, rel=0.03)


def test_k_d_and_t_0_are_the_published_ones():
    assert P["K_D"] == pytest.approx(2.385e-3 / 7.103e4 * 1e9, rel=1e-3)
    assert P["T_0"] == 2.5e9 * P["V_t"]
    for name in ("K_D", "T_0"):
        assert "Singh 2021" in MODEL.parameters[name].source
        assert "assumption" not in MODEL.parameters[name].source


GRID = np.linspace(1.0, 28.0, 2701)


def test_the_peak_is_35_769_copies_on_day_14_2_by_our_solver_and_two_of_scipy():
    ours = np.asarray(MODEL.solve(GRID, doses=DOSE)["copies_per_ug"])
    days = np.concatenate([[0.0], GRID])
    for copies in (ours, *(by_scipy(P, DOSE, days, method)[0][1:] for method in ("LSODA", "Radau"))):
        assert copies.max() == pytest.approx(35_769, abs=2)
        assert GRID[np.argmax(copies)] == pytest.approx(14.2, abs=0.05)
        assert copies.max() == pytest.approx(35_774, rel=2e-4), "of the authors' code"
        assert GRID[np.argmax(copies)] == pytest.approx(14.19, abs=0.05)


def as_published(p):
    """Copies/ug by the equations of the authors' code: binding has its rates, memory in tissue, all receptors bind."""
    k_on, k_off = 7.103e4 * 86400 / AVOGADRO, 2.385e-3 * 86400

    def slope(t, state):
        eb, et, mb, mt, z, tumour = state
        receptors, antigens = p["n_CAR"] * (et + mt) / p["V_t"], p["n_Ag"] * tumour / p["V_t"]
        x, y = z * p["V_t"] / max(et + mt, 1e-9), z * p["V_t"] / tumour
        out, back = p["K12"], p["K21"]
        return [
            back * et - (out + p["Kel_e"]) * eb,
            out * eb - back * et + (p["K_max"] * x / (p["EC50"] + x) - p["R_m"]) * et,
            back * mt - (out + p["Kel_m"]) * mb,
            out * mb - back * mt + p["R_m"] * et,
            k_on * (receptors - z) * (antigens - z) - k_off * z,
            (p["K_g"] - p["K_kill"] * y / (p["KC50"] + y)) * tumour,
        ]

    start = [p["weight"] * DOSE, 0, 0, 0, 0, p["T_0"]]
    done = solve_ivp(slope, (0, 28), start, "LSODA", np.concatenate([[0.0], GRID]), rtol=1e-9, atol=1e-6)
    assert done.success, done.message
    return (p["s"] * (done.y[0] + done.y[2]) / p["V_b"])[1:]


def test_what_the_three_deviations_from_the_authors_code_cost():
    published, ours = as_published(P), np.asarray(MODEL.solve(GRID, doses=DOSE)["copies_per_ug"])
    assert published.max() == pytest.approx(35_774, rel=1e-3)
    assert GRID[np.argmax(published)] == pytest.approx(14.19, abs=0.02)
    assert published[-1] == pytest.approx(5_992, rel=1e-3)
    assert ours.max() == pytest.approx(published.max(), rel=1e-3)
    assert ours[-1] == pytest.approx(published[-1], rel=5e-3)


def test_cells_grow_at_1_0_a_day_and_the_peak_hardly_depends_on_the_dose():
    early = curves([1.0, 3.0])[0]
    assert np.log(early[1] / early[0]) / 2 == pytest.approx(1.0, abs=0.05)
    days = np.linspace(5, 28, 93)
    low, usual = curves(days, doses=DOSE / 100)[0].max(), curves(days)[0].max()
    assert low / usual == pytest.approx(1.11, abs=0.01)


def test_without_antigen_the_cells_only_fall():
    assert np.all(np.diff(curves(np.linspace(0.1, 60, 30), NO_ANTIGEN)[0]) < 0)


def test_what_is_left_after_three_months_is_memory_with_a_half_life_of_37_5_days():
    whole, without = curves([100.0, 365.0])[0], curves([100.0, 365.0], {"R_m": 1e-8})[0]
    assert np.all(without < 0.05 * whole)
    late = curves([300.0, 360.0])[0]
    half_life = 60 * np.log(2) / np.log(late[0] / late[1])
    leaving = np.array([[-P["K12"] - P["Kel_m"], P["K21"]], [P["K12"], -P["K21"]]])
    assert half_life == pytest.approx(-np.log(2) / np.linalg.eigvals(leaving).max(), rel=0.01)
    assert half_life == pytest.approx(37.5, abs=0.1)


def test_a_tenfold_tumour_raises_the_peak_more_than_a_tenfold_dose():
    days = np.linspace(3, 42, 60)
    peak = curves(days)[0].max()
    assert curves(days, {"T_0": 10 * P["T_0"]})[0].max() / peak > 2 * curves(days, doses=10 * DOSE)[0].max() / peak
    assert curves(days, {"T_0": 10 * P["T_0"]})[0].max() / peak == pytest.approx(318, rel=0.02)


def test_the_peak_is_as_sensitive_to_k_d_and_the_tumour_as_the_page_says():
    days = np.linspace(3, 42, 96)
    peak = curves(days)[0].max()
    assert curves(days, {"K_D": 5.0, "T_0": 4e9})[0].max() / peak == pytest.approx(4.7, abs=0.1)
    assert curves(days, {"K_D": 5.0})[0].max() / peak == pytest.approx(26.8, abs=0.3)


def test_forward_derivatives_are_those_of_finite_differences_of_scipy():
    names, days = FREE, np.array([0.0, 0.1, 3, 10, 14, 28, 90, 270])
    found = jax.jacfwd(lambda v: MODEL.solve(days, v, DOSE)["copies_per_ug"])({n: P[n] for n in names})
    for name in names:
        step = 1e-4
        up, down = (by_scipy({**P, name: P[name] * (1 + sign * step)}, DOSE, days)[0] for sign in (1, -1))
        scale = by_scipy(P, DOSE, days)[0]
        expected = (up - down) / (2 * step * scale)
        np.testing.assert_allclose(P[name] * np.asarray(found[name]) / scale, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_one_patient_gives_the_default_free_parameters_back():
    assert tuple(MODEL.free or ()) == FREE
    days = np.array([1, 3, 5, 7, 10, 14, 17, 21, 28, 42, 60, 90, 120, 180, 270.0])
    rng = np.random.default_rng(2020)
    truth = {name: P[name] * np.exp(0.3 * rng.normal()) for name in FREE}
    copies = curves(days, truth)[0] * np.exp(0.3 * rng.normal(size=len(days)))
    table = pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": copies, "dose": DOSE})
    fit = ck.fit(MODEL, ck.read_study(table, lloq=10), starts=1)
    assert fit.outcome == "converged"
    for name, value in truth.items():
        row = fit.parameters.loc[name]
        assert row["lower"] < value < row["upper"], name
        assert row["stderr"] / row["value"] < 0.7, name
