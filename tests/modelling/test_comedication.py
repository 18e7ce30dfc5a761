"""Comedication against closed forms and scipy, in fits of simulated patients, and what is refused."""

import math
import pickle
from inspect import signature

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.modelling.comedication import from_columns
from cellkinetics.modelling.ready import RATES_BY_ROLE, READY
from cellkinetics.sameness import lasting, made_of

DAYS = np.array([1.0, 2, 4, 6, 8, 10, 14, 21])
F, K, FACTOR = 1e-3, 0.2, 2.5


def decline():
    """C falls from F x dose at rate k: with k times a factor on some days a closed form is known."""
    return ck.Model(
        name="decline_of_an_ode",
        parameters={
            "F": ck.Parameter(F, "copies/ug per cell/kg", "this test"),
            "k": ck.Parameter(K, "1/day", "this test"),
            "share": ck.Parameter(0.5, "1", "this test", max=1.0, scale="logit"),
        },
        outputs={"copies_per_ug": "copies/ug"},
        states=("C",),
        rhs=lambda C, k, share: (-2 * share * k * C,),
        observe=lambda C: C,
        dosing={"cells": ("C", "F")},
        free=("F", "k"),
    ).with_(comedication={"IL-2": "k"}, lasts={"IL-2": 3})


MODEL = decline()


def closed_form(days, spells, factor=FACTOR, dose=1e6):
    """ln C where k is multiplied between the days of each spell."""
    on = sum(np.clip(days, begin, end) - begin for begin, end in spells)
    return np.log(F * dose) - K * (days + (factor - 1) * on)


@pytest.mark.parametrize(
    ("given", "spells"),
    [
        ([], []),
        ([(5, 7.0)], [(5, 8)]),
        ([(5, 7.0), (8, 7.0), (11, 1)], [(5, 14)]),  # a row an administration
        ([(5, 1), (6, 1)], [(5, 9)]),  # both act on days 6 to 8: the factor once
        ([(5, 1, 0.5), (7, 1, 4)], [(5, 5.5), (7, 11)]),
        ([(-2, 1)], [(0, 1)]),
        ([(3, 0.0)], []),
    ],
)
def test_a_rate_is_multiplied_on_the_days_on_which_it_acts_and_no_others(given, spells):
    doses = {"cells": 1e6, "IL-2": given}
    found = ck.simulate(MODEL, {"IL_2_on_k": FACTOR}, DAYS, doses=doses)["copies_per_ug"]
    assert np.log(found.to_numpy()) == pytest.approx(closed_form(DAYS, spells), abs=1e-6)


def test_without_a_number_of_days_it_acts_from_then_on():
    model = MODEL.with_(comedication={"tocilizumab": "k"})
    doses = {"cells": 1e6, "tocilizumab": [(4, 8)], "IL-2": [(5, 1)]}
    values = {"tocilizumab_on_k": 0.5, "IL_2_on_k": FACTOR}
    found = np.log(ck.simulate(model, values, DAYS, doses=doses)["copies_per_ug"].to_numpy())
    at = np.arange(2100) / 100
    k = np.where(at >= 4, K / 2, K) * np.where((at >= 5) & (at < 8), FACTOR, 1.0)
    gone = np.concatenate([[0.0], np.cumsum(k * 0.01)])
    assert found == pytest.approx(np.log(F * 1e6) - gone[(DAYS * 100).astype(int)], abs=1e-6)


def test_the_factor_has_exact_slopes():
    import jax

    def ln_c(factor):
        values = {"IL_2_on_k": factor}
        return jax.numpy.log(MODEL.solve(DAYS, values, {"cells": 1e6, "IL-2": [(5, 1)]})["copies_per_ug"])

    slopes = jax.jacfwd(ln_c)(FACTOR)
    assert slopes == pytest.approx(-K * (np.clip(DAYS, 5, 8) - 5), abs=1e-5)


def test_a_model_with_a_structure_agrees_with_scipy_where_the_rate_switches():
    il15 = models.load("il15_persistence")
    rhs = il15.rhs
    assert rhs
    model = il15.with_(comedication={"steroids": ["rho", "mu0"]})
    days, values = np.array([2.0, 5, 8, 12, 20, 40]), {"steroids_on_rho": 0.7, "steroids_on_mu0": 2.0}
    doses = {"cells": 1e6, "steroids": [(4, 1, 6)]}
    found = ck.simulate(model, values, days, doses=doses)["copies_per_ug"].to_numpy()
    known, state, at, expected = il15.values(), np.array([il15.parameters["F"].value * 1e6, 0, 0, 0]), 0.0, []

    def slopes(t, y):
        acts = 4 <= t < 10
        now = known | ({"rho": 0.7 * known["rho"], "mu0": 2.0 * known["mu0"]} if acts else {})
        states = dict(zip(il15.states, y, strict=True))
        given = {name: now[name] for name in signature(rhs).parameters if name in now}
        return [float(v) for v in rhs(since_lymphodepletion=t, **states, **given)]

    for end in sorted({4.0, 10.0, *days}):
        # Up to the switch, not beyond it.
        state = solve_ivp(slopes, (at, np.nextafter(end, 0)), state, method="LSODA", rtol=1e-9, atol=1e-11).y[:, -1]
        expected += [state[:3].sum()] * (end in days)
        at = end
    assert np.log(found) == pytest.approx(np.log(expected), abs=1e-5)
    plain = ck.simulate(il15, None, days, doses=1e6)["copies_per_ug"].to_numpy()
    assert ck.simulate(model, values, days, doses=1e6)["copies_per_ug"].to_numpy() == pytest.approx(plain, rel=1e-4)


def study(columns=False, sd=0.1, n=6):
    """Every other patient has IL-2 on day 5, as rows of the table or as a column of the samples; simulated."""
    rng, rows = np.random.default_rng(2020), []
    for number in range(n):
        who, spells = {"ID": f"P{number}"}, [(5, 8)] if number % 2 else []
        rows.append({**who, "TIME": 0, "AMT": 1e6, "EVID": 1, "ADM": "cells"})
        if spells and not columns:
            rows.append({**who, "TIME": 5, "AMT": 9, "EVID": 1, "ADM": "IL-2"})
        curve = np.exp(closed_form(DAYS, spells) + sd * rng.normal(size=len(DAYS)))
        days = np.array([1.0, 2, 5, 6, 8, 10, 14, 21]) if columns else DAYS
        curve = np.exp(closed_form(days, spells)) if columns else curve
        for day, value in zip(days, curve, strict=True):
            on = {"IL-2": int(bool(spells) and 5 <= day < 8)} if columns else {}
            rows.append({**who, "TIME": day, "DV": value, "EVID": 0, **on})
    return ck.read_study(pd.DataFrame(rows).assign(SIMULATED=1), lloq=1e-3)


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(MODEL, study(), starts=1, progress=False)


def test_it_is_estimated_where_it_was_given_and_fixed_at_no_effect_elsewhere(fits):
    table = fits.parameters.set_index(["subject", "parameter"]).xs("IL_2_on_k", level="parameter")
    assert table["status"].tolist() == ["fixed", "free"] * 3
    assert (table["value"].iloc[::2] == 1).all()
    assert table["source"].iloc[0] == "assumption: IL-2 does not change k"
    inside = (table["lower"] < FACTOR) & (table["upper"] > FACTOR)
    assert inside.iloc[1::2].all()
    assert table["value"].iloc[1::2].to_numpy() == pytest.approx(FACTOR, rel=0.3)
    assert set(fits.outcomes["outcome"]) == {"converged"}
    assert "9 of IL-2 on day 5" in fits["P1"].summary()


def test_a_fit_predicts_with_it_and_without(fits):
    fit, days = fits["P1"], [4, 8, 14]
    values = fit.parameters["value"]
    own, without = (fit.predict(days, doses=doses)["copies_per_ug"].to_numpy() for doses in (None, 1e6))
    later = fit.predict(days, doses={"cells": 1e6, "IL-2": [(10, 1)]})["copies_per_ug"].to_numpy()
    faster = values["k"] * (values["IL_2_on_k"] - 1)
    assert np.log(without / own) == pytest.approx(faster * np.array([0, 3, 3]), abs=1e-5)
    assert np.log(without / later) == pytest.approx(faster * np.array([0, 0, 3]), abs=1e-5)


def test_one_factor_is_shared_by_all_and_a_prior_or_a_bound_is_of_it(fits):
    together = ck.fit(MODEL, study(), shared=["IL_2_on_k"], starts=1)
    row = together.parameters.query("parameter == 'IL_2_on_k'").iloc[0]
    assert row["status"] == "shared"
    assert row["lower"] < FACTOR < row["upper"]
    assert row["value"] == pytest.approx(FACTOR, rel=0.15)
    patient = study()["P1"]
    held = ck.fit(MODEL, patient, prior={"IL_2_on_k": ck.LogNormal(1.0, 0.01)}, starts=1)
    assert held.parameters.loc["IL_2_on_k", "value"] == pytest.approx(1.0, abs=0.05)
    bounded = ck.fit(MODEL.with_(bounds={"IL_2_on_k": (0.5, 2.0)}), patient, starts=1)
    assert bounded.parameters.loc["IL_2_on_k", ["value", "status"]].tolist() == [2.0, "at bound"]


def test_a_column_says_it_from_a_sample_above_0_to_the_next_at_0():
    data = study(columns=True)
    found = from_columns(MODEL, data)
    assert found["P0"] == []
    assert found["P1"] == [(5.0, "IL-2", 3.0)]
    fit = ck.fit(MODEL, data["P1"], starts=1, fixed={"sd": 0.1})
    assert fit.parameters.loc[["F", "k", "IL_2_on_k"], "value"].to_numpy() == pytest.approx([F, K, FACTOR], rel=1e-4)
    # Of a dose that is not known the product is fitted, with what the study says of the comedication.
    unknown = ck.fit(MODEL, data["P1"], starts=1, fixed={"sd": 0.1}, doses="one amount")
    assert unknown.parameters.loc[["F", "IL_2_on_k"], "value"].to_numpy() == pytest.approx([F * 1e6, FACTOR], rel=1e-4)


def test_a_column_that_does_not_change_says_it_throughout_and_texts_are_refused():
    table = pd.DataFrame({"subject": list("ABAB"), "day": [1, 1, 9, 9], "copies_per_ug": 5.0, "dose": 1e6})
    steady = ck.read_study(table.assign(**{"IL-2": [0, 1, 0, 1]}), lloq=1.0)
    assert from_columns(MODEL, steady) == {"A": [], "B": [(-math.inf, "IL-2", math.inf)]}
    said = ck.read_study(table.assign(**{"IL-2": ["never", "high", "never", "high"]}), lloq=1.0)
    with pytest.raises(ck.ModelError, match="column IL-2 has texts: write 1 while IL-2 is given and 0 while not"):
        ck.fit_each(MODEL, said, progress=False)


STEROIDS = models.load("effector_memory").with_(comedication={"steroids": "alpha"}, lasts={"steroids": 14})


def test_it_is_pickled_and_described():
    model = STEROIDS
    again = pickle.loads(pickle.dumps(model))
    assert again.comedication == model.comedication
    assert again.changes == model.changes
    assert "Comedication: steroids multiplies alpha by steroids_on_alpha for 14 days from each" in model.describe()
    assert model.channels == ("cells", "lymphodepletion", "steroids")
    assert "steroids_on_alpha" in model.default_free(ck.example())
    assert model.with_(lasts={"steroids": 7}).comedication["steroids_on_alpha"].lasts == 7


def test_what_is_ready_knows_its_rates_its_start_and_what_is_published():
    memory = models.load("effector_memory").with_(comedication=["tocilizumab", "steroids"])
    added = list(memory.parameters)[-3:]
    assert added == ["tocilizumab_on_rho", "steroids_on_rho", "steroids_on_alpha"]
    # Stein 2019: the growth times 1.2 and 1.0; of the loss under steroids nothing is published.
    assert [memory.parameters[name].value for name in added] == [1.2, 1.0, 1.0]
    assert memory.parameters["tocilizumab_on_rho"].source.startswith("Stein 2019")
    assert memory.parameters["steroids_on_alpha"].source.startswith("no published value: 1 is no effect")
    assert pickle.loads(pickle.dumps(memory)).parameters == memory.parameters
    assert memory.with_(lasts={"steroids": 14}).parameters == memory.parameters
    # Support from day 20 on: the loss of persistent cells is multiplied from then on, and by nothing at the start.
    support = models.load("effector_memory").with_(comedication="IL-2")
    doses = {"cells": 1e6, "IL-2": [(20, 1)]}
    plain = ck.simulate(models.load("effector_memory"), None, DAYS, doses=1e6)["copies_per_ug"]
    assert ck.simulate(support, None, DAYS, doses=doses)["copies_per_ug"].to_numpy() == pytest.approx(
        plain.to_numpy(), rel=1e-6
    )
    late = [ck.simulate(support, {"IL_2_on_beta": 0.2}, [19, 200, 300], doses=one)["copies_per_ug"].to_numpy()
            for one in (doses, 1e6)]  # fmt: skip
    assert late[0][0] == pytest.approx(late[1][0], rel=1e-6)
    beta = support.parameters["beta"].value
    fall = np.log(late[0][1:] / late[0][1]) - np.log(late[1][1:] / late[1][1])
    assert fall == pytest.approx([0.0, 0.8 * beta * 100], rel=0.02)


@pytest.mark.parametrize("name", sorted(RATES_BY_ROLE))
def test_ready_rates_are_rates_of_each_model_that_has_them(name):
    ready = [what for what, effects in READY.items() if {each.role for each in effects} <= {*RATES_BY_ROLE[name]}]
    model = models.load(name).with_(comedication=ready)
    assert {each.what for each in model.comedication.values()} == set(ready) > {"IL-2"}
    assert all(model.parameters[each.rate].unit == "1/day" for each in model.comedication.values())
    assert all(model.parameters[factor].min < 1 < model.parameters[factor].max for factor in model.comedication)


def test_of_every_library_model_that_takes_it_the_rates_are_known():
    takes = [name for name in models.names() if (one := models.load(name)).equations or (one.rhs and one.dosing)]
    assert sorted(RATES_BY_ROLE) == sorted(takes)
    assert {name for name in models.names() if models.load(name).curve} <= {*RATES_BY_ROLE}
    with pytest.raises(ck.ModelError, match="which rate of decline_of_an_ode N-803 acts on is not known"):
        MODEL.with_(comedication="N-803")


@pytest.mark.slow
def test_a_fit_with_it_is_saved_and_computes_when_it_is_loaded(tmp_path):
    model = STEROIDS
    fit = ck.fit(model, study()["P1"], free=["F", "steroids_on_alpha"], starts=1)
    fit.save(tmp_path / "fit.json")
    loaded = ck.load(tmp_path / "fit.json")
    assert loaded.model.comedication == model.comedication
    doses = {"cells": 1e6, "steroids": [(10, 1)]}
    pd.testing.assert_frame_equal(loaded.predict([7, 28], doses=doses), fit.predict([7, 28], doses=doses))


@pytest.mark.parametrize(
    ("name", "given", "lasts", "message"),
    [
        ("nk_decline", "tocilizumab", {}, r"acts on expansion, which nk_decline does not have; it has alpha \(loss"),
        ("nk_decline", {"IL-2": "F"}, {}, "F of nk_decline is not in the right-hand side. Take one of alpha, beta"),
        ("effector_memory", {"IL-2": "F"}, {}, "F of effector_memory is not in the right-hand side. Take one of k_d, "),
        ("il15_persistence", {"IL-2": "phi"}, {}, "phi of il15_persistence is a share. Take one of k_d, rho, "),
        ("ogasawara_2021_liso_cel", {"IL-2": "t_max"}, {}, "t_max .* is no rate: .* Take one of rho, alpha, beta.$"),
        ("ogasawara_2021_liso_cel", {"IL-2": "t_lag"}, {}, "t_lag .* is no rate: .* Take one of rho, alpha, beta.$"),
        ("smooth_switch", {"IL-2": "c_max"}, {}, "c_max .* is no rate: .* Take one of fold, t_max, alpha, beta, w.$"),
        ("smooth_switch", {"IL-2": "saturation"}, {}, r"is 0, .* model.with_\(values={'saturation': \.\.\.}\)"),
        ("smooth_switch", {"IL-2": "delay"}, {}, "delay of smooth_switch is 0, which it stays times a factor. Take"),
        ("effector_memory", {"IL-2": "roh"}, {}, r"no parameter roh; .* Did you mean rho\?"),
        ("effector_memory", {"cells": "rho"}, {}, "comedication 'cells': effector_memory has this name already"),
        ("effector_memory", {"2": "rho"}, {}, "comedication '2': .* or it is none. Take another"),
        ("effector_memory", {"IL-2": "rho"}, {"IL2": 3}, r"IL2, which is no comedication. Did you mean IL-2\?"),
        ("effector_memory", {"IL-2": "rho"}, {"IL-2": 0}, "give days above 0; leave it out for 'from then on'"),
        ("effector_memory", "tocilizumb", {}, "no ready effect of 'tocilizumb'. Ready are .* Did you mean tocilizumab"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_remedy(name, given, lasts, message):
    with pytest.raises(ck.ModelError, match=message):
        models.load(name).with_(comedication=given, lasts=lasts)


def test_what_a_value_switches_on_is_a_rate_then():
    on = models.load("smooth_switch").with_(values={"saturation": 0.5})
    model = on.with_(comedication={"IL-2": "c_max"})
    without, twice = (
        model.solve([9.0], {"IL_2_on_c_max": factor}, {"IL-2": [(0, 1)]})["copies_per_ug"][0] for factor in (1.0, 2.0)
    )
    assert twice > 1.05 * without


@pytest.mark.slow
def test_a_population_has_it_with_and_without_in_the_arms_of_a_trial():
    fit = ck.fit_population(MODEL, study(n=8), random=["F", "k"], method="focei", progress=False)
    row = fit.parameters.loc["IL_2_on_k"]
    assert row["lower"] < FACTOR < row["upper"]
    assert row["value"] == pytest.approx(FACTOR, rel=0.15)
    arms = {"without": 1e6, "with": {"cells": 1e6, "IL-2": [(5, 1)]}}
    trial = fit.virtual_trial([4, 8], arms, patients=50, populations=0)
    ratio = trial.ratio_to("without").set_index(["arm", "day"])["ratio"]
    assert ratio["with", 4] == pytest.approx(1.0)
    k = fit.parameters.loc["k", "value"]
    assert np.log(ratio["with", 8]) == pytest.approx(-3 * k * (row["value"] - 1), rel=0.5)
    with pytest.raises(ck.ModelError, match="patients had different doses: give doses="):
        fit.predict([7])


def test_programs_of_the_librarys_models_with_comedication_have_names_in_every_process():
    for name, roles in RATES_BY_ROLE.items():
        plain, rate = models.load(name), next(iter(roles.values()))
        first, again = (lasting(made_of(plain.with_(comedication={"steroids": rate}))) for _ in range(2))
        assert first is not None, name
        assert first == again != lasting(made_of(plain))
