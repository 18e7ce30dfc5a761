"""What il15_persistence must keep: the published statements that its defaults were calibrated to."""

import runpy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.solving import solver, structured

MODEL = models.load("il15_persistence")
SCIPY = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "il15_numpy.py"))["copies"]
DOSES = (1e5, 1e6, 1e7)
WITHOUT_IL15 = {"tau": 0.0}


def copies(days, dose, values=None):
    return ck.simulate(MODEL, values or {}, np.atleast_1d(np.asarray(days, float)), dose)["copies_per_ug"].to_numpy()


def exponent(day):
    """Dose exponent over a hundredfold dose."""
    low, high = (copies(day, dose)[0] for dose in (DOSES[0], DOSES[-1]))
    return np.log(high / low) / np.log(DOSES[-1] / DOSES[0])


def host(days, values):
    """L(t) and I(t) by their closed forms."""
    L = 1 / (1 + (1 / values["L0"] - 1) * np.exp(-values["r"] * days))
    return L, (1 + values["kappa"]) / (1 + values["kappa"] * L)


@pytest.mark.parametrize("dose", DOSES)
def test_the_peak_lies_between_day_3_and_day_14(dose):
    days = np.linspace(0.5, 30, 32)
    assert 3 < days[np.argmax(copies(days, dose))] < 14


def test_the_peak_is_proportional_to_the_dose():
    days = np.linspace(8, 10, 32)
    peaks = [copies(days, dose).max() for dose in DOSES]
    slope = np.log(peaks[-1] / peaks[0]) / np.log(100)
    assert slope == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("day", "expected"), [(14, 0.72), (17, 0.23), (21, 0.11), (28, 0.11), (60, 0.11), (365, 0.11)])
def test_the_dose_exponent_vanishes_after_two_weeks(day, expected):
    assert exponent(day) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("day", [21, 28, 60, 180, 365])
def test_a_hundredfold_dose_makes_less_than_twofold_from_day_21_on(day):
    assert copies(day, 1e7)[0] / copies(day, 1e5)[0] < 2


def test_the_dose_stops_to_matter_because_the_niche_saturates():
    # With a niche that is never full the exponent stays near 1.
    wide = {"N": 1e9}
    low, high = (copies(60, dose, wide)[0] for dose in (1e5, 1e7))
    assert np.log(high / low) / np.log(100) > 0.95


@pytest.mark.parametrize("dose", DOSES)
def test_cells_are_above_the_limit_at_twelve_months(dose):
    assert copies(365, dose)[0] > 3


def test_without_il15_the_cells_expand_and_are_below_the_limit_by_day_30():
    for dose in DOSES:
        assert copies(30, dose, WITHOUT_IL15)[0] < 3
        days = np.linspace(1, 14, 32)
        assert copies(days, dose, WITHOUT_IL15).max() > 5 * MODEL.values()["F"] * dose


@pytest.mark.parametrize("dose", DOSES)
def test_il15_of_the_transgene_is_what_persistence_needs(dose):
    assert copies(60, dose)[0] > 1e4 * copies(60, dose, WITHOUT_IL15)[0]


def test_the_cells_do_not_change_endogenous_il15():
    """L and I are functions of time alone: the cells' equations contain them, theirs contain no cells."""
    assert MODEL.rhs is not None
    values = MODEL.values()
    rates = []
    for cells in (1.0, 1e6):
        others = {name: values[name] for name in values if name not in ("F", "k_s")}
        _, dE, _, _ = MODEL.rhs(since_lymphodepletion=5.0, D=0.0, E=cells, M=0.0, X=0.0, **others)
        rates.append(float(dE) / cells)
    assert rates[0] == pytest.approx(rates[1], rel=1e-12), "the growth rate of E is the same for 1 and 1e6 copies"
    _, I = host(np.array(5.0), values)
    S = I - 1 + values["tau"]
    L, _ = host(np.array(5.0), values)
    growth = values["rho"] * S / (values["K"] + S) - values["delta"] - values["gamma"] * L - values["eps"]
    assert rates[0] == pytest.approx(growth, rel=1e-12)


def test_host_lymphocytes_recover_and_endogenous_il15_returns_to_normal():
    values = MODEL.values()
    L, I = host(np.array([0.0, 60.0]), values)
    assert L[0] == pytest.approx(values["L0"])
    assert L[1] == pytest.approx(1.0, rel=1e-6)
    assert I[0] > 5, "raised after lymphodepletion: the model's assumption"
    assert I[1] == pytest.approx(1.0, rel=1e-6)
    assert np.all(I >= 1), "so that S is never below tau"


def test_a_second_infusion_without_lymphodepletion_hardly_expands():
    days = np.linspace(60, 90, 32)
    once = copies(days, [(0, 1e6)])
    twice = copies(days, [(0, 1e6), (60, 1e6)])
    gain = twice - once
    infused = MODEL.values()["F"] * 1e6
    assert gain[0] == pytest.approx(infused, rel=1e-3)
    assert gain.max() < 1.05 * infused, "never above what was infused"
    first = copies(np.linspace(1, 14, 32), 1e6).max()
    assert first > 10 * infused, "the first infusion expands more than tenfold"


def test_mu0_and_k_tau_are_confounded():
    days = np.array([7.0, 28, 60, 180])
    tau, values = MODEL.values()["tau"], MODEL.values()
    loss = values["mu0"] / (1 + tau / values["K_tau"])
    other = {"K_tau": 0.15, "mu0": loss * (1 + tau / 0.15)}
    np.testing.assert_allclose(copies(days, 1e6, other), copies(days, 1e6), rtol=1e-9)


def test_the_default_free_set_has_n_where_the_dose_fills_the_niche():
    for dose, expected in ((1e5, ("F", "rho", "r", "mu0")), (1e6, ("F", "rho", "r", "mu0", "N"))):
        table = pd.DataFrame({"subject": "P", "day": [1, 7, 28], "copies_per_ug": [20, 400, 80], "dose": dose})
        assert MODEL.default_free(ck.read_study(table, lloq=3)) == expected


def test_every_default_is_called_an_assumption_or_an_own_estimate():
    for name, parameter in MODEL.parameters.items():
        assert parameter.source.startswith(("assumption", "own estimate")), name


TRUTH = {"F": 1e-3, "rho": 1.4, "r": 0.3, "mu0": 0.7, "N": 300.0}


def test_the_guess_from_a_curve_without_error_is_within_twofold_of_what_made_it():
    days = np.array([0.2, 1, 3, 5, 7, 9, 11, 14, 17, 21, 28, 60, 120, 180, 365])
    table = pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": copies(days, 1e6, TRUTH), "dose": 1e6})
    guess = MODEL.guess(ck.read_study(table))
    for name, value in TRUTH.items():
        assert abs(np.log(guess[name] / value)) < np.log(2), name
    assert guess["K"] == MODEL.values()["K"], "what the samples do not show is left at its default"


def test_the_guess_without_a_sample_of_the_first_day_takes_the_level_from_the_peak():
    days = np.array([3.0, 7, 9, 14, 28])
    table = pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": copies(days, 1e6, {"F": 2e-3}), "dose": 1e6})
    guess = MODEL.guess(ck.read_study(table))
    assert guess["F"] == pytest.approx(2e-3, rel=0.1)
    assert guess["rho"] == MODEL.values()["rho"]


# The parameter set for products that do not persist

EARLY = models.load("il15_persistence", set="early_decline")
SET_DAYS = np.array([0, 0.25, 0.5, 1, 2, 3, 5, 7, 9, 10, 12, 14, 15.0])


def early(days, dose):
    return np.asarray(EARLY.solve(np.asarray(days, float), doses=dose)["copies_per_ug"])


def test_the_set_changes_two_values_says_where_they_come_from_and_leaves_the_model_alone():
    changed = {name for name, value in EARLY.values().items() if value != MODEL.values()[name]}
    assert changed == {"rho", "gamma_M"}
    assert (EARLY.values()["rho"], EARLY.values()["gamma_M"]) == (0.3, 1.0)
    assert (MODEL.values()["rho"], MODEL.values()["gamma_M"]) == (1.6, 0.0)
    for name in changed:
        assert EARLY.parameters[name].source.startswith("assumption, calibrated to the abstract of doi:10.1016/S0140")


@pytest.mark.parametrize("dose", DOSES)
@pytest.mark.parametrize("method", ["Radau", "LSODA"])
def test_both_ways_of_solving_the_set_agree_with_scipy_to_1e_6(dose, method):
    expected = SCIPY(SET_DAYS, EARLY.values(), ((0.0, dose),), method=method, rtol=1e-11)
    events = EARLY.doses(dose)
    by_structure, fine = structured.solution(SET_DAYS, EARLY.values(), events)
    by_stepper, done = solver.solve_ode(EARLY, jnp.asarray(SET_DAYS), EARLY.values(), events)
    assert fine
    assert done
    np.testing.assert_allclose(by_structure["copies_per_ug"], expected, rtol=1e-6)
    np.testing.assert_allclose(by_stepper["copies_per_ug"], expected, rtol=1e-6)


def test_cells_of_the_set_are_highest_at_the_infusion_and_gone_by_day_15():
    days = np.linspace(0, 15, 151)
    for dose, last in ((1e5, 0.026), (1e6, 0.250), (1e7, 1.752)):
        expected = SCIPY(days, EARLY.values(), ((0.0, dose),), method="Radau")
        for curve in (early(days, dose), expected):
            assert days[np.argmax(curve)] <= 1
            assert curve[-1] == pytest.approx(last, rel=2e-3)
    assert early([15.0], 1e6)[0] < 1
    assert early([15.0], 1.3e7)[0] < 3, "below the limit after 9e8 cells of 70 kg, the highest dose of that study"


def test_the_defaults_predict_for_such_a_product_what_the_page_says():
    days = np.linspace(0, 30, 301)
    curve = copies(days, 1e6)
    assert curve.max() / curve[0] == pytest.approx(12.2, abs=0.1)
    assert days[np.argmax(curve)] == pytest.approx(8.8, abs=0.1)
    assert copies(365, 1e6)[0] > 3


def test_a_patient_of_the_set_is_fitted_and_gives_rho_back():
    days = np.array([0.1, 0.5, 1, 2, 3, 5, 7, 10, 14.0])
    values = {"F": 6e-4, "rho": 0.4, "r": 0.4}
    curve = np.asarray(EARLY.solve(days, values, 1e7)["copies_per_ug"])
    noisy = curve * np.exp(0.2 * np.random.default_rng(2025).normal(size=len(days)))
    table = pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": noisy, "dose": 1e7})
    fit = ck.fit(EARLY, ck.read_study(table, lloq=3))
    assert list(fit.parameters.index[fit.parameters["status"] == "free"])[:3] == ["F", "rho", "r"]
    assert fit.outcome == "converged"
    row = fit.parameters.loc["rho"]
    assert row["lower"] < 0.4 < row["upper"]
    assert row["value"] == pytest.approx(0.4, abs=0.15)
