"""il15_full, a simulator: against scipy, against il15_persistence, and what its page says."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cellkinetics import models

MODEL, REDUCED = models.load("il15_full"), models.load("il15_persistence")
P = MODEL.values()
DAYS = np.array([0, 0.25, 1, 3, 5, 7, 10, 14, 17, 21, 28, 42, 60, 90, 180, 365.0])
DOSE = 1e6
SITES = ("copies_per_ug", "marrow", "lymph_node")
OFF = {"alpha": 0.0, "q_m": 0.0, "q_n": 0.0, "C_max": 1e15}


def slopes(p):
    """The model written anew: sites in a loop, amounts of cells (copies/ug times host DNA) instead of levels."""
    size = {"b": 1.0, "m": p["v_m"], "n": p["v_n"]}
    ratio = {"b": 1.0, "m": p["R_m"], "n": p["R_n"]}
    flow = {"m": p["q_m"], "n": p["q_n"]}

    def slope(t, s):
        d, x, i, b, tumour = s[:5]
        e, m = dict(zip("bmn", s[5:8], strict=True)), dict(zip("bmn", s[8:11], strict=True))
        host = 1 / (1 + (1 / p["L0"] - 1) * np.exp(-p["r"] * t))
        signal = max(i - 1, 0) + p["tau"]
        antigen = {"b": b, "m": b, "n": b + tumour}
        loss = p["mu0"] / (1 + p["tau"] / p["K_tau"]) + p["gamma_M"] * host + x
        de, dm, level = {}, {}, {}
        for site in "bmn":
            effector, memory = e[site] / size[site], m[site] / size[site]
            level[site] = effector + memory
            rate = p["rho"] * (1 + p["alpha"] * antigen[site] / (p["A50"] + antigen[site])) * signal
            rate = rate / (p["K"] + signal) * p["C_max"] / (p["C_max"] + level[site])
            rate -= p["delta"] + p["gamma"] * host + p["eps"] + x
            full = memory / (ratio[site] * p["N"])
            de[site] = rate * e[site] + size[site] * ratio[site] * p["phi"] * p["k_d"] * d
            dm[site] = p["eps"] * e[site] * (1 - full) - loss * m[site]
        for site, q in flow.items():
            for cells, change in ((e, de), (m, dm)):
                moved = q * (cells["b"] - cells[site] / size[site] / ratio[site])
                change["b"] -= moved
                change[site] += moved
        killing, clearing = (level[site] / (p["C50"] + level[site]) for site in "bn")
        made, cleared = p["k_I"], p["k_I"] * (1 + p["kappa"] * host) / (1 + p["kappa"]) + p["sigma"] * level["b"]
        return [
            -(p["k_d"] + x) * d,
            -p["k_e"] * x,
            made - cleared * i,
            p["k_B"] - p["k_B"] * b - p["kill_B"] * killing * b,
            p["growth_T"] * tumour * (1 - tumour / p["T_max"]) - p["kill_T"] * clearing * tumour,
            *de.values(),
            *dm.values(),
        ]

    return slope


def by_scipy(p, days=DAYS, dose=DOSE, method="LSODA"):
    """Outputs by name."""
    start = [p["F"] * dose, 0, (1 + p["kappa"]) / (1 + p["kappa"] * p["L0"]), p["B_0"], 1.0, *[0] * 6]
    done = solve_ivp(slopes(p), (0, days[-1]), start, t_eval=days, method=method, rtol=1e-10, atol=1e-11)
    assert done.success, done.message
    s = done.y
    sites = {"marrow": (s[6] + s[9]) / p["v_m"], "lymph_node": (s[7] + s[10]) / p["v_n"]}
    return {"copies_per_ug": s[0] + s[5] + s[8], **sites, "il15": s[2], "b_cells": s[3], "tumour": s[4]}


def curves(values=None, days=DAYS, doses: object = DOSE):
    """Outputs by name; always 64 times, so that one program serves all."""
    found = MODEL.solve(np.pad(days, (0, 64 - len(days)), mode="edge"), values, doses)
    return {name: np.asarray(curve)[: len(days)] for name, curve in found.items()}


def draws(count):
    rng = np.random.default_rng(2021)
    for _ in range(count):
        yield {
            name: float(np.clip(parameter.value * np.exp(0.3 * rng.normal()), parameter.min, parameter.max))
            for name, parameter in MODEL.parameters.items()
        }


@pytest.mark.parametrize(("method", "count"), [("LSODA", 5), ("Radau", 1)])
def test_the_model_is_the_same_as_an_independent_one_in_numpy(method, count):
    for values in [P, {**P, "sigma": 1e-4}, *draws(count)]:
        found, expected = curves(values), by_scipy(values, method=method)
        for name in MODEL.outputs:
            # At the start cells of marrow and node are 0 and the stepper's 1e-6.
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_with_fast_turnover_and_nothing_else_it_is_il15_persistence():
    expected = np.asarray(REDUCED.solve(DAYS, None, DOSE)["copies_per_ug"])
    far, near = (
        np.abs(curves({**OFF, "k_I": rate})["copies_per_ug"] / expected - 1).max() for rate in (1000.0, 10_000.0)
    )
    assert far < 0.003
    assert near == pytest.approx(far / 10, rel=0.1), "in proportion to the time that IL-15 takes"


def test_with_equal_antigen_everywhere_exchange_changes_nothing():
    alone = {**OFF, "k_I": 100.0}
    with_exchange = {**alone, "q_m": 3.0, "q_n": 0.5}
    later = slice(1, None)  # at the start the sites hold the stepper's 1e-6
    for name in SITES:
        np.testing.assert_allclose(curves(with_exchange)[name][later], curves(alone)[name][later], rtol=1e-5)


@pytest.mark.parametrize("dose", [1e5, 1e6, 1e7])
def test_the_lymph_node_is_above_blood_and_marrow_about_equal_to_it(dose):
    found = curves(doses=dose)
    later = DAYS >= 7
    assert np.all(found["lymph_node"][later] > 1.5 * found["copies_per_ug"][later])
    np.testing.assert_allclose(found["marrow"][later], found["copies_per_ug"][later], rtol=0.25)


@pytest.mark.parametrize("dose", [1e5, 1e6, 1e7])
def test_the_statements_of_the_study_are_kept(dose):
    days = np.linspace(1, 30, 59)
    copies = curves(days=days, doses=dose)["copies_per_ug"]
    assert 3 < days[np.argmax(copies)] < 14
    assert curves(doses=dose)["copies_per_ug"][-1] > 3, "detectable at a year"


def test_il15_does_not_rise_after_the_infusion_and_cells_do_not_change_it_by_default():
    found = {dose: curves(doses=dose)["il15"] for dose in (1e5, 1e7)}
    assert np.all(np.diff(found[1e7]) <= 1e-7)
    np.testing.assert_allclose(found[1e5], found[1e7], rtol=1e-6)
    assert np.all(curves({"sigma": 1e-3}, doses=1e7)["il15"] <= found[1e7] + 1e-7)


def test_il15_follows_the_lymphocytes_that_consume_it():
    host = 1 / (1 + (1 / P["L0"] - 1) * np.exp(-P["r"] * DAYS))
    balance = (1 + P["kappa"]) / (1 + P["kappa"] * host)
    np.testing.assert_allclose(curves({"k_I": 1e4})["il15"], balance, rtol=2e-3)
    late = curves()["il15"] / balance
    assert late.max() > 1.05, "with a turnover of hours it lags behind"


def test_a_tumour_that_comes_back_does_not_make_the_cells_expand_anew():
    later = DAYS >= 28
    found = curves({"kill_T": 0.001, "growth_T": 0.2})
    assert found["tumour"][-1] > 10
    assert np.all(np.diff(found["copies_per_ug"][later]) < 0)


def test_antigen_raises_the_expansion_and_cells_kill_what_bears_it():
    assert curves()["lymph_node"][DAYS == 7][0] > curves({"alpha": 0.0})["lymph_node"][DAYS == 7][0]
    without = curves(doses=0.0)
    np.testing.assert_allclose(without["b_cells"], 1 - (1 - P["B_0"]) * np.exp(-P["k_B"] * DAYS), rtol=1e-4)
    assert np.all(curves()["b_cells"][1:] < without["b_cells"][1:])
    assert curves()["tumour"][DAYS == 60][0] < 1e-5 < 1 < without["tumour"][DAYS == 60][0]


def test_no_site_holds_many_times_what_its_dna_could():
    assert curves({"rho": 4.0}, doses=1e7)["lymph_node"].max() < 10 * P["C_max"]


def test_a_lymphodepletion_later_raises_il15_again():
    again = curves(doses={"cells": DOSE, "lymphodepletion": [(60, 1)]})["il15"]
    assert again[DAYS == 60][0] == pytest.approx(1, abs=1e-3)
    assert curves(days=np.array([64.0]), doses={"cells": DOSE, "lymphodepletion": [(60, 1)]})["il15"][0] > 3


def test_rimiducid_removes_the_cells_of_all_sites():
    days = np.array([10.0, 12.0])
    before, after = (curves(days=days, doses=doses) for doses in (DOSE, {"cells": DOSE, "rimiducid": [(10.5, 1)]}))
    for name in SITES:
        assert after[name][1] < 0.05 * before[name][1], name


def test_it_is_a_simulator_whose_defaults_are_called_assumptions():
    assert MODEL.simulator
    for name, parameter in MODEL.parameters.items():
        assert "assumption" in parameter.source or parameter.source.startswith("own estimate"), name


@pytest.mark.slow
def test_forward_derivatives_are_those_of_finite_differences_of_scipy():
    days = np.array([0.25, 3, 7, 14, 28, 365.0])
    names = ("F", "rho", "tau", "k_I", "alpha", "q_n", "R_n", "kill_B", "kill_T", "C_max")
    found = jax.jacfwd(lambda values: MODEL.solve(days, values, DOSE))({name: P[name] for name in names})
    base, step = by_scipy(P, days), 1e-4
    for name in names:
        up, down = (by_scipy({**P, name: P[name] * (1 + sign * step)}, days) for sign in (1, -1))
        for output in MODEL.outputs:
            seen = base[output] > 1e-6
            expected = ((up[output] - down[output]) / (2 * step * base[output]))[seen]
            slope = (P[name] * np.asarray(found[output][name]) / base[output])[seen]
            np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-4, err_msg=f"{output} by {name}")
