"""Named parameter sets: how one is chosen, told, changed further, pickled and found again in a saved fit."""

import pickle

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import Check, Model, ModelError, Parameter, ParameterSet, models

IL15 = models.load("il15_persistence")
EARLY = models.load("il15_persistence", set="early_decline")
DAYS = np.array([0.2, 0.5, 1, 2, 3, 5, 7, 9, 11])

MY_MODEL = """
import jax.numpy as jnp
from cellkinetics import Model, Parameter, ParameterSet

model = Model(
    name="my_loss",
    parameters={"c_0": Parameter(100.0, "copies/ug", "assumption"), "k": Parameter(0.1, "1/day", "assumption")},
    outputs={"copies_per_ug": "copies/ug"},
    curve=lambda t, c_0, k: c_0 * jnp.exp(-k * t),
    sets={"fast": ParameterSet("another product", {"k": 0.5}, "assumption", free=("k",))},
)
"""


def halving(**sets):
    return Model(
        name="halving",
        parameters={
            "c_0": Parameter(100.0, "copies/ug", "assumption"),
            "k": Parameter(0.1, "1/day", "Table 1", max=1.0),
        },
        outputs={"c": "copies/ug"},
        curve=lambda t, c_0, k: c_0 * jnp.exp(-k * t),
        population="adults",
        sets=sets,
    )


def half_life(model):
    return float(np.log(2) / model.values()["k"])


CHILDREN = ParameterSet(
    "children", {"k": 0.2}, "Table 2", free=("k",), checks=(Check("half-life", (3.0, 4.0), "day", half_life),)
)


def test_a_set_gives_defaults_sources_population_free_set_and_checks():
    model = halving(children=CHILDREN).with_set("children")
    assert model.values() == {"c_0": 100.0, "k": 0.2}
    assert (model.parameters["k"].source, model.parameters["c_0"].source) == ("Table 2", "assumption")
    assert model.parameters["k"].max == 1.0, "bounds stay"
    assert (model.population, model.free) == ("children", ("k",))
    assert model.checks[0].agrees(half_life(model))
    assert repr(model).startswith("<Model halving with set 'children':")


def test_the_model_of_the_library_is_the_same_object_with_and_without_its_set():
    assert models.load("il15_persistence") is IL15
    assert models.load("il15_persistence", set="early_decline") is EARLY
    assert EARLY.values() != IL15.values()


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: IL15.with_set("early_declin"), "no parameter set 'early_declin'; it has early_decline. Did you mean"),
        (lambda: models.load("nk_decline", set="x"), "nk_decline has no parameter set 'x'; it has no sets"),
        (lambda: IL15.with_(fixed={"tau": 0.0}).with_set("early_decline"), "Choose the set first"),
        (lambda: halving(a=ParameterSet("p", {"kk": 1.0}, "s")), "no parameter kk.*Did you mean k"),
        (lambda: halving(a=ParameterSet("p", {"k": 2.0}, "s")), r"set a: the default of k, 2, is not in \[0, 1\]"),
        (lambda: halving(a=ParameterSet("p", {"k": 0.2}, "")), "set a: it needs a source and a population"),
        (lambda: halving(a=ParameterSet("p", {"k": 0.2}, "s", free=("q",))), "no parameter q"),
    ],
)
def test_a_wrong_set_is_refused_with_what_there_is(act, text):
    with pytest.raises(ModelError, match=text):
        act()


def test_describe_lists_the_sets_and_says_which_one_was_chosen():
    text, chosen = halving(children=CHILDREN).describe(), halving(children=CHILDREN).with_set("children").describe()
    assert "Parameter sets" in text
    assert "k 0.2 1/day" in text
    assert "Published numbers, set children" in text
    assert "3 to 4" in text
    assert "Parameter set: children." in chosen
    assert "Population: children." in chosen
    assert "Parameter sets" not in chosen


def test_a_set_is_changed_further_and_pickled():
    model = EARLY.with_(fixed={"tau": 0.3}).with_(bounds={"rho": (0.1, 1.0)})
    again = pickle.loads(pickle.dumps(model))
    assert again.values() == model.values()
    assert (again.values()["rho"], again.values()["gamma_M"], again.values()["tau"]) == (0.3, 1.0, 0.3)
    assert again.parameters["rho"].max == 1.0
    assert again.free == ("F", "rho", "r")
    assert pickle.loads(pickle.dumps(EARLY)).values() == EARLY.values()


def patient(model, doses=None):
    curve = np.asarray(model.solve(DAYS, doses=doses)[next(iter(model.outputs))])
    noisy = curve * np.exp(0.2 * np.random.default_rng(1).normal(size=len(DAYS)))
    table = pd.DataFrame({"subject": "P", "day": DAYS, "copies_per_ug": noisy})
    return ck.read_study(table if doses is None else table.assign(dose=doses))


@pytest.mark.parametrize("further", [{}, {"fixed": {"tau": 0.3}}], ids=["set alone", "changed further"])
def test_a_saved_fit_comes_back_with_its_set(tmp_path, further):
    model = EARLY.with_(**further) if further else EARLY
    fit = ck.fit(model, patient(EARLY, 1e7), starts=1)
    fit.save(tmp_path / "fit.json")
    again = ck.load(tmp_path / "fit.json")
    assert again.request.model.values() == model.values()
    assert again.request.model.changes["set"] == "early_decline"
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    np.testing.assert_array_equal(again.predict([3.0]).to_numpy(float), fit.predict([3.0]).to_numpy(float))
    assert fit.parameters.loc["gamma_M", "value"] == 1.0


def test_the_set_of_a_users_file_travels_with_a_saved_fit(tmp_path):
    path = tmp_path / "my_loss.py"
    path.write_text(MY_MODEL)
    model = ck.load_model(path).with_set("fast")
    assert pickle.loads(pickle.dumps(model)).values() == {"c_0": 100.0, "k": 0.5}
    fit = ck.fit(model, patient(model), starts=1)
    fit.save(tmp_path / "fit.json")
    assert ck.load(tmp_path / "fit.json").request.model.values() == {"c_0": 100.0, "k": 0.5}
    again = ck.load(tmp_path / "fit.json", model=ck.load_model(path))
    assert again.request.model.values() == {"c_0": 100.0, "k": 0.5}


def test_a_range_is_met_inside_it_and_a_number_within_its_tolerance():
    wide, above = Check("x", (1.0, 2.0), "1", half_life), Check("x", (3.0, np.inf), "1", half_life)
    one = Check("x", 10.0, "1", half_life, 0.1)
    assert [wide.agrees(x) for x in (0.9, 1.0, 2.0, 2.1, np.nan)] == [False, True, True, False, False]
    assert above.agrees(1e9)
    assert not above.agrees(2.9)
    assert [one.agrees(x) for x in (8.9, 9.0, 11.0, 11.1, np.nan)] == [False, True, True, False, False]
