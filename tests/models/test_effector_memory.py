"""effector_memory: its equations against scipy, the published numbers of its defaults, and a patient fitted back."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.likelihood import censoring
from cellkinetics.solving import solver

MODEL = models.load("effector_memory")
P = MODEL.values()
DAYS = np.array([0, 0.5, 1, 3, 7, 9.3, 11, 14, 21, 28, 60, 180, 365.0])
REAL = Path(__file__).parents[3] / "shared" / "data"
FREE = ("F", "rho", "t_max", "alpha", "k_em", "beta")


def copies(days, values=None, doses=1e6):
    return ck.simulate(MODEL, values or {}, days, doses)["copies_per_ug"].to_numpy()


def reference(days, p, events=((0.0, 1e6, False),), method="LSODA", rtol=1e-11):
    """D + E + M by scipy, restarted at each (day, cells/kg, whether lymphodepletion was given)."""

    def rhs(t, state, since):
        D, E, M = state
        g = 1 / (1 + p["rho"] / p["alpha"] * np.exp((t - since - p["t_max"]) / p["w"]))
        net = p["rho"] * g - p["alpha"] * (1 - g)
        return [-p["k_d"] * D, p["f"] * p["k_d"] * D + net * E, p["k_em"] * E - p["beta"] * M]

    steps = sorted((day + (0 if depleted else p["lag"]), cells, depleted) for day, cells, depleted in events)
    edges = [*(step[0] for step in steps), np.inf]
    state, since, found = np.zeros(3), 0.0, np.zeros(len(days))
    for (begin, cells, depleted), end in zip(steps, edges[1:], strict=True):
        state[0] += p["F"] * cells
        since = begin if depleted else since
        here = (days >= begin) & (days < end)
        stop = end if np.isfinite(end) else max(days[-1], begin + 1e-9)
        if stop <= begin:
            continue
        asked = np.unique([begin, *days[here], stop])
        done = solve_ivp(rhs, (begin, stop), state, method=method, t_eval=asked, args=(since,), rtol=rtol, atol=1e-12)
        found[here] = done.y.sum(axis=0)[np.searchsorted(asked, days[here])]
        state = done.y[:, -1].copy()
    return found


def draws(count):
    rng = np.random.default_rng(2020)
    for _ in range(count):
        changed = {name: float(P[name] * np.exp(0.3 * rng.normal())) for name in P if name != "lag"}
        yield {**changed, "lag": float(rng.uniform(0, 2)), "f": min(changed["f"], 1.0)}


@pytest.mark.parametrize(("values", "method"), [(P, "Radau"), *((v, "LSODA") for v in draws(4))])
def test_the_curve_is_that_of_scipy(values, method):
    np.testing.assert_allclose(copies(DAYS, values), reference(DAYS, values, method=method), rtol=3e-6, atol=2e-5)


@pytest.mark.parametrize("check", MODEL.checks, ids=lambda check: check.what)
def test_the_defaults_give_the_published_number(check):
    assert check.compute(MODEL) == pytest.approx(check.published, rel=check.tolerance)


def test_effector_cells_peak_on_t_max_however_wide_the_turn_is():
    for t_max, w in ((7.0, 0.3), (12.0, 2.0)):
        days = t_max + np.linspace(-0.5, 0.5, 21)
        curve = copies(days, {"t_max": t_max, "w": w, "k_d": 20.0, "k_em": 1e-6})
        assert np.argmax(curve) == 10


def test_long_after_the_peak_the_curve_is_the_biexponential_of_the_paper():
    # From day 40 on, E and M are those of dE/dt = -alpha E, dM/dt = k E - beta M.
    days = np.array([40.0, 45, 50, 60, 90, 180])
    curve, gone = copies(days), days - days[0]
    basis = np.exp(-np.outer(gone, [P["alpha"], P["beta"]]))
    weights = np.linalg.solve(basis[[0, 5]], curve[[0, 5]])
    np.testing.assert_allclose(basis @ weights, curve, rtol=1e-5)


def test_a_turn_of_no_width_grows_at_rho_and_then_falls_at_alpha():
    changed = {"w": 0.05, "k_em": 1e-6, "k_d": 20.0}
    rise, fall = copies(np.array([4.0, 8.0]), changed), copies(np.array([11.0, 15.0]), changed)
    assert np.log(rise[1] / rise[0]) / 4 == pytest.approx(P["rho"], rel=1e-5)
    assert np.log(fall[0] / fall[1]) / 4 == pytest.approx(P["alpha"], rel=1e-4)


def test_the_curve_is_proportional_to_the_dose():
    np.testing.assert_allclose(copies(DAYS, doses=1e7), 10 * copies(DAYS, doses=1e6), rtol=1e-6)


def test_a_second_infusion_expands_only_after_a_second_lymphodepletion():
    days = np.array([0, 9.3, 60, 61, 65, 70, 74, 90.0])
    cells = [(0, 1e6), (65, 1e6)]
    without = copies(days, doses={"cells": cells})
    with_it = copies(days, doses={"cells": cells, "lymphodepletion": [(60, 1)]})
    np.testing.assert_allclose(without, reference(days, P, ((0, 1e6, False), (65, 1e6, False))), rtol=3e-6)
    events = ((0, 1e6, False), (60, 0, True), (65, 1e6, False))
    np.testing.assert_allclose(with_it, reference(days, P, events), rtol=3e-6)
    infused = P["F"] * 1e6
    once = copies(days)
    assert np.all(without[5:] - once[5:] < 0.2 * infused), "no signal is left"
    assert with_it[5] > 10 * infused


@pytest.fixture(scope="module")
def slopes():
    """d ln(copies/ug) by every parameter on 8 days, at a lag of 2 days."""

    def ln_curve(days, values):
        curve = solver.solve_ode(MODEL, days, values, MODEL.doses(1e6))[0]["copies_per_ug"]
        # Before the lag there are no cells: as a fit does, a little is added before the logarithm.
        return censoring.ln(curve, 1e-11)

    return jax.jit(jax.jacfwd(ln_curve, argnums=1))


@pytest.mark.parametrize("name", ["lag", "t_max", "w", "rho", "k_em", "F"])
def test_derivatives_agree_with_finite_differences_of_scipy_after_the_lag(slopes, name):
    days, at = np.array([2.0, 2.0001, 2.1, 5.0, 8.0, 9.3, 10.0, 60.0]), {**P, "lag": 2.0}
    found, step = np.asarray(slopes(days, at)[name]), 1e-5 * at[name]
    # On the day of the lag itself the curve jumps: there is no derivative by the lag.
    first = 1 if name == "lag" else 0
    high, low = (np.log(reference(days[first:], {**at, name: at[name] + sign * step})) for sign in (1, -1))
    np.testing.assert_allclose(found[first:], (high - low) / (2 * step), rtol=1e-4, atol=1e-4)


def test_derivatives_are_finite_before_and_at_the_lag_and_long_after_the_turn(slopes):
    days = np.array([0.0, 1.9, 2 - 1e-9, 2.0, 9.3, 60.0, 365.0, 3650.0])
    for name, slope in slopes(days, {**P, "lag": 2.0}).items():
        assert np.all(np.isfinite(slope)), name


def test_there_are_no_cells_before_the_lag():
    assert np.all(copies(np.array([0.0, 1.0, 1.999]), {"lag": 2.0}) < 1e-4)


def patient(seed=7):
    """One simulated patient: 15 samples, sd 0.3, limit 3 copies/ug."""
    rng = np.random.default_rng(seed)
    truth = {"F": 3e-4, "rho": 0.8, "t_max": 11.0, "alpha": 0.22, "k_em": 0.002, "beta": 0.006}
    days = np.array([0.2, 1, 3, 5, 7, 9, 11, 14, 17, 21, 28, 45, 60, 120, 240])
    curve = copies(days, truth) * np.exp(0.3 * rng.normal(size=len(days)))
    return truth, pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": curve, "dose": 1e6})


def test_the_guess_is_near_the_curve_that_the_samples_came_from():
    truth, table = patient()
    guess = MODEL.guess(ck.read_study(table, lloq=3))
    for name in FREE:
        assert abs(np.log(guess[name] / truth[name])) < np.log(2.5), name


def test_one_simulated_patient_is_fitted_back_with_the_default_free_set():
    truth, table = patient()
    study = ck.read_study(table, lloq=3)
    assert MODEL.default_free(study) == FREE
    fit = ck.fit(MODEL, study)
    assert fit.outcome == "converged"
    spread, values = fit.parameters["stderr"] / fit.parameters["value"], fit.parameters["value"]
    for name in FREE:
        assert abs(np.log(values[name] / truth[name])) < 3 * spread[name], name
        assert spread[name] < 0.8, name
    residuals = np.log(table["copies_per_ug"].to_numpy() / copies(table["day"].to_numpy(), truth))
    at_truth = -0.5 * np.sum((residuals / 0.3) ** 2) - 15 * np.log(0.3 * np.sqrt(2 * np.pi))
    assert fit.log_likelihood_ln > at_truth


def test_the_guess_without_a_sample_of_the_first_day_takes_the_level_from_the_rise():
    days = np.array([3.0, 5, 7, 9.3, 12, 21, 28, 60, 120])
    table = pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": copies(days, {"F": 2e-3}), "dose": 1e6})
    assert MODEL.guess(ck.read_study(table))["F"] == pytest.approx(2e-3, rel=0.5)


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder with real patients' curves is not here")
@pytest.mark.slow
def test_real_patients_are_described_about_as_well_as_by_the_closed_form_with_as_many_parameters():
    # In cells/uL and without a dose: F times dose is fitted.
    with pytest.warns(ck.StudyWarning, match="16 of 127 values of output 1|19 of 56 values of output 2"):
        study = ck.read_study(REAL / "b_all_remission.csv", unit="cells/uL")
    stein = models.load("stein_2019_tisagenlecleucel")
    ours = ck.fit_each(MODEL, study, doses="one amount", progress=False)
    theirs = ck.fit_each(stein, study, progress=False)
    many = [subject for subject, fit in ours.items() if fit.n_quantified >= 9]
    assert len(many) >= 8
    for subject in many:
        assert ours[subject].log_likelihood_ln > theirs[subject].log_likelihood_ln - 0.5, subject
