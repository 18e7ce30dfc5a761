"""Model.with_ and Model.guess: other defaults, what a fit makes of them, and how they travel."""

import pickle

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed

import cellkinetics as ck
from cellkinetics import Model, ModelError, Parameter, models
from cellkinetics.errors import StudyError

NK, STEIN, IL15 = (models.load(n) for n in ("nk_decline", "stein_2019_tisagenlecleucel", "il15_persistence"))
DAYS = np.array([0.2, 0.5, 1, 2, 3, 5, 7, 9, 11])

MY_MODEL = """
import jax.numpy as jnp
from cellkinetics import Model, Parameter

model = Model(
    name="my_loss",
    parameters={"c_0": Parameter(100.0, "copies/ug", "assumption"), "k": Parameter(0.1, "1/day", "assumption")},
    outputs={"copies_per_ug": "copies/ug"},
    curve=lambda t, c_0, k: c_0 * jnp.exp(-k * t),
)
"""


def study(dose=1e7):
    rng = np.random.default_rng(2020)
    curve = np.asarray(NK.solve(DAYS, doses=dose)["copies_per_ug"]) * np.exp(0.2 * rng.normal(size=len(DAYS)))
    return ck.read_study(pd.DataFrame({"subject": "P", "day": DAYS, "copies_per_ug": curve, "dose": dose}))


def curve_of(model):
    return np.asarray(model.solve(DAYS, doses=1e7)["copies_per_ug"])


# with_


def test_a_fixed_value_is_the_default_and_is_not_estimated():
    model = NK.with_(fixed={"f_b": 0.1})
    assert model.values()["f_b"] == 0.1
    assert model.default_free(study()) == ("F", "alpha", "beta")
    fit = ck.fit(model, study())
    assert fit.parameters.loc["f_b", ["value", "status"]].tolist() == [0.1, "fixed"]


def test_the_model_of_the_library_is_not_touched():
    before = NK.values()
    NK.with_(fixed={"f_b": 0.1}, bounds={"beta": (0.01, 0.5)}, values={"alpha": 2.0})
    assert models.load("nk_decline") is NK
    assert NK.values() == before
    assert NK.parameters["beta"].max == np.inf


def test_free_takes_the_place_of_the_models_own_set():
    model = NK.with_(free=["F", "alpha"])
    assert model.default_free(study()) == ("F", "alpha")
    assert NK.with_(free="F").default_free(study()) == ("F",)
    assert NK.with_(fixed={"f_b": 0.1}).with_(free=["f_b"]).default_free(study()) == ("f_b",), "freed again"


def test_a_value_is_another_default_that_stays_free_and_says_who_gave_it():
    model = NK.with_(values={"alpha": 2.0})
    assert model.parameters["alpha"].source == "given by the user"
    assert "alpha" in model.default_free(study())
    np.testing.assert_allclose(curve_of(model), NK.solve(DAYS, {"alpha": 2.0}, 1e7)["copies_per_ug"])


def test_bounds_hold_in_a_fit():
    model = NK.with_(bounds={"alpha": (0.1, 1.0)}, values={"alpha": 0.5})
    fit = ck.fit(model, study())
    assert fit.parameters.loc["alpha", "value"] == pytest.approx(1.0, rel=1e-4)
    assert "alpha at its upper bound" in fit.outcome


def test_a_tie_holds_in_a_curve_and_in_a_fit():
    model = NK.with_(tie={"beta": lambda alpha: alpha / 10})
    assert model.values()["beta"] == pytest.approx(0.15)
    assert model.values({"alpha": 3.0})["beta"] == pytest.approx(0.3)
    assert "beta" not in model.default_free(study())
    np.testing.assert_allclose(curve_of(model), NK.solve(DAYS, {"beta": 0.15}, 1e7)["copies_per_ug"])
    fit, same = ck.fit(model, study()), ck.fit(NK, study(), tie={"beta": lambda alpha: alpha / 10})
    assert fit.parameters.loc["beta", "value"] == pytest.approx(fit.parameters.loc["alpha", "value"] / 10)
    assert fit.parameters.loc["beta", "status"] == "tied"
    assert fit.log_likelihood_ln == pytest.approx(same.log_likelihood_ln, abs=1e-8)


def test_changes_add_up_and_later_ones_win():
    model = NK.with_(fixed={"f_b": 0.1}).with_(fixed={"beta": 0.3}, values={"alpha": 2.0}).with_(fixed={"f_b": 0.2})
    assert (model.values()["f_b"], model.values()["beta"], model.values()["alpha"]) == (0.2, 0.3, 2.0)
    assert model.default_free(study()) == ("F", "alpha")
    assert "fixed" in repr(model)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fixed": {"f_B": 0.1}}, "no parameter f_B.*Did you mean f_b"),
        ({"free": ["F", "alfa"]}, "no parameter alfa.*Did you mean alpha"),
        ({"bounds": {"gamma": (0, 1)}}, "no parameter gamma"),
        ({"tie": {"bta": lambda alpha: alpha}}, "no parameter bta.*Did you mean beta"),
        ({"fixed": {"f_b": 2.0}}, r"f_b, 2, is not in \[0, 1\]"),
        ({"bounds": {"alpha": (2.0, 3.0)}}, r"alpha, 1.5, is not in \[2, 3\]"),
        ({"fixed": {"f_b": 0.1}, "free": ["f_b"]}, "f_b is given twice"),
        ({"fixed": {"beta": 0.1}, "tie": {"beta": lambda alpha: alpha}}, "beta is given twice"),
    ],
)
def test_a_wrong_change_is_refused(changes, text):
    with pytest.raises(ModelError, match=text):
        NK.with_(**changes)


@pytest.mark.parametrize(
    ("tie", "text"),
    [
        ({"beta": lambda alfa: alfa}, "no parameter alfa.*Did you mean alpha"),
        ({"beta": lambda alpha: alpha / 10, "alpha": lambda F: 1e3 * F}, "tie of beta uses alpha, which is tied"),
        ({"beta": lambda beta: beta}, "tie of beta uses beta, which is tied"),
    ],
)
def test_a_tie_in_terms_of_nothing_or_of_another_tie_is_refused(tie, text):
    with pytest.raises(ModelError, match=text):
        NK.with_(tie=tie)


# How a changed model travels


def test_a_changed_model_is_pickled_by_name_and_changes():
    model = NK.with_(fixed={"f_b": 0.1}, bounds={"beta": (0.01, 0.5)}, values={"alpha": 2.0}, free=["F", "beta"])
    again = pickle.loads(pickle.dumps(model))
    assert again.values() == model.values()
    assert again.parameters["beta"].bounds == model.parameters["beta"].bounds
    assert again.default_free(study()) == model.default_free(study())
    np.testing.assert_array_equal(curve_of(again), curve_of(model))


def test_a_changed_model_of_a_users_file_is_pickled(tmp_path):
    path = tmp_path / "my_loss.py"
    path.write_text(MY_MODEL)
    model = ck.load_model(path).with_(fixed={"k": 0.3})
    again = pickle.loads(pickle.dumps(model))
    assert again.path == str(path)
    assert again.values() == {"c_0": 100.0, "k": 0.3}
    assert again.default_free(study()) == ("c_0",)


@pytest.mark.parametrize("changes", [{}, {"fixed": {"k": 0.3}}])
def test_equations_travel_as_they_were_read_whatever_became_of_the_file(tmp_path, changes):
    path = tmp_path / "my_loss.py"
    path.write_text(MY_MODEL)
    model = ck.load_model(path)
    model = model.with_(**changes) if changes else model
    packed = pickle.dumps(model)
    path.write_text(MY_MODEL.replace("c_0 * jnp", "2 * c_0 * jnp"))
    for _ in range(2):
        again = pickle.loads(packed)
        np.testing.assert_array_equal(curve_of(again), curve_of(model))
        assert (again.sha256, again.file, again.path) == (model.sha256, model.file, str(path))
        path.unlink(missing_ok=True)
    with pytest.raises(ModelError, match="no such model file"):
        ck.load_model(path)


def test_worker_processes_receive_a_changed_model():
    model = NK.with_(fixed={"f_b": 0.1})
    (curve,) = Parallel(n_jobs=2, backend="loky")([delayed(model.solve)(DAYS, None, 1e7)])
    assert curve is not None
    np.testing.assert_allclose(curve["copies_per_ug"], curve_of(model))


def test_a_saved_fit_of_a_changed_model_is_loaded_with_its_changes(tmp_path):
    model = NK.with_(fixed={"f_b": 0.1}, bounds={"beta": (1e-3, np.inf)}, values={"alpha": 2.0})
    fit = ck.fit(model, study())
    fit.save(tmp_path / "fit.json")
    again = ck.load(tmp_path / "fit.json")
    assert isinstance(again, ck.Fit)
    assert again.model.values() == model.values()
    assert again.model.parameters["beta"].min == 1e-3
    assert again.model.parameters["beta"].max == np.inf
    assert again.model.default_free(study()) == ("F", "alpha", "beta")
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    np.testing.assert_allclose(again.predict(DAYS)["copies_per_ug"], fit.predict(DAYS)["copies_per_ug"])


def test_a_saved_fit_of_a_tied_model_keeps_the_tied_value(tmp_path):
    fit = ck.fit(NK.with_(tie={"beta": lambda alpha: alpha / 10}), study())
    fit.save(tmp_path / "fit.json")
    again = ck.load(tmp_path / "fit.json")
    assert isinstance(again, ck.Fit)
    assert again.parameters.loc["beta", "status"] == "tied"
    np.testing.assert_allclose(again.predict(DAYS)["copies_per_ug"], fit.predict(DAYS)["copies_per_ug"])


# guess


def test_a_guess_has_every_parameter_and_lies_inside_the_bounds():
    guess = IL15.guess(study(1e6))
    assert set(guess) == set(IL15.parameters)
    for name, parameter in IL15.parameters.items():
        assert parameter.min <= guess[name] <= parameter.max, name


def guessing(initial, **more):
    return Model(
        name="guessing",
        parameters={
            "c_0": Parameter(100.0, "copies/ug", "this test", max=1e4, **more),
            "k": Parameter(0.1, "1/day", "this test"),
        },
        outputs={"copies_per_ug": "copies/ug"},
        curve=lambda t, c_0, k: c_0 * jnp.exp(-k * t),
        initial=initial,
    )


def samples(**columns):
    rows = {"subject": "P", "day": [3.0, 1.0, 7.0], "copies_per_ug": ["50", "80", "<4"], "lloq": 4.0}
    return ck.read_study(pd.DataFrame({**rows, **columns}))


def test_initial_sees_one_patients_samples_by_day_with_half_the_limit_for_a_censored_one():
    seen = {}

    def initial(days, values, dose):
        seen.update(days=days.tolist(), values=values.tolist(), dose=dose)
        return {}

    guess = guessing(initial).guess(samples(dose=2e6))
    assert seen == {"days": [1.0, 3.0, 7.0], "values": [80.0, 50.0, 2.0], "dose": 2e6}
    assert guess == {"c_0": 100.0, "k": 0.1}, "defaults where the samples say nothing"


def test_a_guess_beyond_a_bound_is_pulled_inside_and_one_that_is_not_finite_is_left_out():
    guess = guessing(lambda values: {"c_0": 1e9, "k": np.nan}).guess(samples())
    assert 0.999e4 < guess["c_0"] < 1e4
    assert guess["k"] == 0.1


def test_a_guess_of_an_unknown_parameter_is_refused():
    with pytest.raises(ModelError, match=r"no parameter c0.*Did you mean c_0"):
        guessing(lambda values: {"c0": 1.0}).guess(samples())


def test_a_guess_takes_one_subject():
    with pytest.raises(StudyError, match="a guess takes one subject and this study has 2"):
        STEIN.guess(ck.read_study(pd.DataFrame({"subject": ["A", "B"], "day": [1, 2], "copies_per_ug": [5, 6]})))
