"""Closed forms with comedication: their equations are the same curve, and scipy's where rates switch."""

import pickle
from inspect import signature

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.modelling.comedication import BOUNDS_OF_FACTORS

CLOSED = [name for name in models.names() if models.load(name).curve]
DAYS = np.array([0, 0.5, 1, 3, 7, 10, 14, 21, 28, 60, 180, 365.0])
COURSE = [(0.0, 300.0), (7.0, 100.0), (28.0, 4000.0)]
RATES = {"nk_decline": "alpha"}
STEIN = models.load("stein_2019_tisagenlecleucel").with_(comedication=["tocilizumab", "steroids"])
TAKEN = {"tocilizumab_on_rho": 1.2, "steroids_on_rho": 1.0, "steroids_on_alpha": 2.0}
GIVEN = {"tocilizumab": [(5, 1)], "steroids": [(11, 1, 5)]}


def spread(model):
    """The defaults, and two draws about them."""
    rng = np.random.default_rng(2020)
    for size in (0.0, 0.3, 0.3):
        yield {
            name: float(np.clip(each.value * np.exp(size * rng.normal()), each.min, each.max))
            for name, each in model.parameters.items()
        }


def integrated(model, values, days, spells, dose=0.0):
    """By scipy, from switch to switch: {factor: (rate, begin, end)}."""
    rhs, observe = model.rhs, model.observe
    start = {state: model.start[state] for state in model.start}
    state = np.array([start[name](**{n: values[n] for n in signature(start[name]).parameters}) if name in start else 0.0
                      for name in model.states])  # fmt: skip
    for states, gain in model.dosing.values():
        for each in states:
            state[model.states.index(each)] += values[gain] * dose
    turns = [values[name] for name in model.switches]
    found, at = [], 0.0

    def slopes(t, y, middle):
        now = dict(values)
        for factor, (rate, begin, end) in spells.items():
            now[rate] = now[rate] * (values[factor] if begin <= middle < end else 1.0)
        known = {**now, **dict(zip(model.states, y, strict=True)), "phase": sum(turn <= middle for turn in turns)}
        return [float(slope) for slope in rhs(**{name: known[name] for name in signature(rhs).parameters})]

    ends = sorted({*days, *turns, *(day for _, *span in spells.values() for day in span if day < days[-1])} - {0.0})
    for end in ends:
        middle = (at + end) / 2
        done = solve_ivp(slopes, (at, end), state, args=(middle,), method="LSODA", rtol=1e-10, atol=1e-12)
        state, at = done.y[:, -1], end
        known = {**values, **dict(zip(model.states, state, strict=True))}
        found += [float(observe(**{name: known[name] for name in signature(observe).parameters}))] * (end in days)
    return np.array(found)


@pytest.mark.parametrize("name", CLOSED)
def test_without_effect_the_equations_are_the_closed_form(name):
    closed = models.load(name)
    ode = closed.with_(comedication={"IL-2": RATES.get(name, "rho")})
    doses = {"cells": 1e6} if closed.channels else None
    inputs = dict.fromkeys(closed.inputs, COURSE)
    given = {**(doses or {}), "IL-2": [(2, 1)]}
    for values in spread(closed):
        expected = closed.solve(DAYS, values, doses, inputs=inputs)
        found = ode.solve(DAYS, values, given, inputs=inputs)
        for output in closed.outputs:
            assert np.log(found[output]) == pytest.approx(np.log(expected[output]), abs=1e-6)


def test_a_factor_on_growth_and_loss_of_stein_agrees_with_scipy():
    days, values = np.array([1.0, 4, 6, 9, 9.3, 10, 12, 15, 17, 21, 60, 180]), STEIN.values(TAKEN)
    spells = {"tocilizumab_on_rho": ("rho", 5.0, np.inf), "steroids_on_alpha": ("alpha", 11.0, 16.0)}
    found = ck.simulate(STEIN, TAKEN, days, doses=GIVEN)["copies_per_ug"].to_numpy()
    assert np.log(found) == pytest.approx(np.log(integrated(STEIN, values, days, spells)), abs=1e-6)
    # Of exponentials the effect is known: growth from day 5 to the peak, and the loss of one part from day 11 to 16.
    plain = ck.simulate(STEIN, None, days)["copies_per_ug"].to_numpy()
    grown = 0.2 * float(values["rho"]) * np.clip(days - 5, 0, values["t_max"] - 5)
    before = days <= 11
    assert np.log(found / plain)[before] == pytest.approx(grown[before], abs=1e-7)
    first = (1 - values["f_b"]) * np.exp(-values["alpha"] * (days - values["t_max"]))
    second = values["f_b"] * np.exp(-values["beta"] * (days - values["t_max"]))
    lost = np.exp(-values["alpha"] * np.clip(days - 11, 0, 5))
    expected = grown + np.log((first * lost + second) / (first + second))
    assert np.log(found / plain)[~before] == pytest.approx(expected[~before], abs=1e-7)


@pytest.mark.parametrize("name", ["four_phase", "ogasawara_2021_liso_cel", "logistic_expansion"])
def test_other_closed_forms_agree_with_scipy_where_growth_switches(name):
    model = models.load(name).with_(comedication={"IL-2": "rho"})
    dose, days = 1e6 if model.dosing else 0.0, np.array([1.0, 4, 6, 9, 12, 21, 60])
    values = model.values({"IL_2_on_rho": 0.6})
    given = {"cells": dose, "IL-2": [(2, 1, 5)]} if dose else {"IL-2": [(2, 1, 5)]}
    found = ck.simulate(model, values, days, doses=given)["copies_per_ug"].to_numpy()
    expected = integrated(model, values, days, {"IL_2_on_rho": ("rho", 2.0, 7.0)}, dose)
    assert np.log(found) == pytest.approx(np.log(expected), abs=1e-6)


@pytest.fixture(scope="module")
def patients():
    """Two simulated patients, one of whom had tocilizumab on day 5; noise 0.2."""
    rng, tables = np.random.default_rng(2020), []
    days = np.array([1, 2, 3, 5, 7, 8, 9, 10, 12, 14, 21, 28, 45, 60, 90, 120, 180.0])
    for subject, doses in (("with", {"tocilizumab": [(5, 1)]}), ("without", None)):
        curve = np.asarray(STEIN.solve(days, TAKEN, doses)["copies_per_ug"]) * np.exp(0.2 * rng.normal(size=len(days)))
        given = pd.DataFrame({"day": [0.0, 5.0], "dose": [1e6, 1.0], "kind": ["cells", "tocilizumab"]})
        given = given if doses else given[:1]
        rows = pd.DataFrame({"day": days, "copies_per_ug": curve})
        tables.append(pd.concat([given, rows]).assign(subject=subject))
    return ck.read_study(pd.concat(tables).assign(SIMULATED=1), lloq=3.0)


def test_a_patient_of_stein_is_fitted_with_it_and_as_by_the_closed_form_without(patients):
    model = models.load("stein_2019_tisagenlecleucel").with_(comedication="tocilizumab")
    fits = ck.fit_each(model, patients, starts=2, progress=False)
    assert set(fits.outcomes["outcome"]) == {"converged"}
    table = fits["with"].parameters
    assert table["status"].to_dict() | {"rho": "tied"} == table["status"].to_dict()
    row = table.loc["tocilizumab_on_rho"]
    assert row["lower"] < 1.2 < row["upper"]
    assert "1 of tocilizumab on day 5 (not in the model: cells)" in fits["with"].summary()
    # Who had none has the fit of the closed form.
    closed = ck.fit(models.load("stein_2019_tisagenlecleucel"), patients["without"], starts=2)
    other = fits["without"]
    assert other.parameters.loc["tocilizumab_on_rho", "status"] == "fixed"
    assert other.log_likelihood == pytest.approx(closed.log_likelihood, abs=1e-6)
    names = list(closed.parameters.index)
    for column in ("value", "stderr"):
        np.testing.assert_allclose(other.parameters.loc[names, column], closed.parameters[column], rtol=1e-3)
    assert "ignored: stein_2019_tisagenlecleucel" in other.summary()
    # The same patient without tocilizumab: cells of the arm are nothing to the model.
    own, none = (fits["with"].predict([4.0, 12.0], doses=doses)["copies_per_ug"] for doses in (None, {"cells": 1e6}))
    assert own[0] == pytest.approx(none[0], rel=1e-9)
    grown = table.loc["rho", "value"] * (row["value"] - 1) * (table.loc["t_max", "value"] - 5)
    assert np.log(own[1] / none[1]) == pytest.approx(grown, rel=1e-4)


def test_doses_of_a_model_without_them_are_ignored_and_a_second_infusion_stays_refused():
    with pytest.warns(ck.DoseWarning, match="stein_2019_tisagenlecleucel takes no dose"):
        number = ck.simulate(STEIN, TAKEN, DAYS, doses=1e6)
    pd.testing.assert_frame_equal(number, ck.simulate(STEIN, TAKEN, DAYS))
    both = ck.simulate(STEIN, TAKEN, DAYS, doses={"cells": [(0, 1e6), (7, 1e6)], **GIVEN})
    pd.testing.assert_frame_equal(both, ck.simulate(STEIN, TAKEN, DAYS, doses=GIVEN))
    with pytest.raises(ck.ModelError, match="no dosing channel 'toci'"):
        ck.simulate(STEIN, TAKEN, DAYS, doses={"toci": 1})
    once = models.load("four_phase").with_(comedication="steroids")
    with pytest.raises(ck.ModelError, match="is a closed form for one infusion and cannot take 2"):
        once.doses({"cells": [(0, 1e6), (7, 1e6)], "steroids": [(3, 1)]})
    # One that adds up adds up with it too.
    nk, days = models.load("nk_decline").with_(comedication="IL-2"), np.array([1.0, 5, 9])
    one, other, two = (
        ck.simulate(nk, {"IL_2_on_beta": 0.5}, days, doses={"cells": given, "IL-2": [(3, 1)]})["copies_per_ug"]
        for given in ([(0, 1e6)], [(0, 0.0), (4, 1e7)], [(0, 1e6), (4, 1e7)])
    )  # fmt: skip
    assert two.to_numpy() == pytest.approx((one + other).to_numpy(), rel=1e-7)


def test_it_travels_and_labels_keep_their_roles():
    again = pickle.loads(pickle.dumps(STEIN))
    assert again.comedication == STEIN.comedication
    assert again.states == ("first", "second")
    assert list(again.ties) == ["rho"]
    assert "Tied: rho." in STEIN.describe()
    assert STEIN.parameters["tocilizumab_on_rho"].value == 1.2
    assert STEIN.with_(fixed={"fold": 100.0}).values()["rho"] == pytest.approx(np.log(100) / 9.3)


def test_one_of_your_own_needs_equations():
    parts = {
        "name": "own",
        "parameters": {"c": ck.Parameter(1e3, "copies/ug", "this test"), "k": ck.Parameter(0.1, "1/day", "this test")},
        "outputs": {"copies_per_ug": "copies/ug"},
    }

    def curve(t, c, k):
        return c * jnp.exp(-k * t)

    with pytest.raises(
        ck.ModelError, match=r"own is a closed form without equations: .* equations=ck.Equations\(...\)"
    ):
        ck.Model(**parts, curve=curve).with_(comedication={"IL-2": "k"})
    same = ck.Equations(("C",), rhs=lambda C, k: (-k * C,), observe=lambda C: C, start={"C": "c"})
    model = ck.Model(**parts, curve=curve, equations=same).with_(comedication={"IL-2": "k"}, lasts={"IL-2": 3})
    found = model.solve([2.0, 4.0, 9.0], {"IL_2_on_k": 2.0}, {"IL-2": [(3, 1)]})["copies_per_ug"]
    assert np.log(found / 1e3) == pytest.approx([-0.2, -0.5, -1.2], abs=1e-6)
    assert (model.parameters["IL_2_on_k"].min, model.parameters["IL_2_on_k"].max) == BOUNDS_OF_FACTORS
    with pytest.raises(ck.ModelError, match="equations= are those of a closed form"):
        ck.Model(**parts, states=("C",), rhs=lambda C, k: (-k * C,), observe=lambda C: C, equations=same)
