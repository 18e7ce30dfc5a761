"""Model and Parameter: what is checked at load, and the scales of estimation."""

import jax.numpy as jnp
import numpy as np
import pytest

import cellkinetics as ck
from cellkinetics import Model, ModelError, Parameter, models


def one_rate(t, c_0, k):
    return c_0 * jnp.exp(-k * t)


PARAMETERS = {"c_0": Parameter(100.0, "copies/ug", "assumption"), "k": Parameter(0.5, "1/day", "assumption")}


def build(**changes):
    arguments = {
        "name": "one_rate",
        "parameters": PARAMETERS,
        "outputs": {"copies_per_ug": "copies/ug"},
        "curve": one_rate,
    }
    return Model(**{**arguments, **changes})


def test_a_model_of_ten_lines_solves():
    np.testing.assert_allclose(build().solve([0.0, 2.0])["copies_per_ug"], [100, 100 * np.exp(-1)])


SCALES = [
    Parameter(3.0, "1", "x"),
    Parameter(0.2, "1", "x", max=1.0, scale="logit"),
    Parameter(2.0, "1", "x", min=-5.0, max=5.0, scale="identity"),
]


@pytest.mark.parametrize("parameter", SCALES)
def test_scales_of_estimation_are_inverse_to_each_other(parameter):
    there = parameter.to_estimation(parameter.value)
    assert float(parameter.to_natural(there)) == pytest.approx(parameter.value, rel=1e-14)
    assert parameter.from_estimation(there) == pytest.approx(parameter.value, rel=1e-14)


def with_rate(*arguments, **options):
    return {"parameters": {**PARAMETERS, "k": Parameter(*arguments, **options)}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"curve": lambda t, c_0, kk: t}, "takes kk, which is neither a parameter nor a state"),
        (
            {"curve": lambda t, c_0: c_0 - t},
            "no function uses the parameter k. Use it, or leave it out",
        ),
        ({"curve": None}, "give either curve= .* or rhs="),
        ({"outputs": {}}, "name what is observed"),
        (with_rate(0.5, "", "assumption"), "k needs a unit"),
        (with_rate(0.5, "1/day", ""), "and a source"),
        (with_rate(-0.5, "1/day", "x"), r"the default of k, -0.5, is not in \[0, inf\]"),
        (with_rate(0.5, "1/day", "x", min=-1.0), "give scale='identity'"),
        (with_rate(0.5, "1", "x", scale="logit"), "needs two finite bounds"),
        ({"parameters": {**PARAMETERS, "sd": Parameter(0.5, "1", "x")}}, "the name sd is reserved"),
        ({"dosing": {"cells": ("D", "c_0")}}, "dosing names D and c_0"),
    ],
)
def test_a_faulty_model_is_refused_at_load_with_the_symbol(changes, text):
    with pytest.raises(ModelError, match=text):
        build(**changes)


def test_an_unknown_parameter_is_suggested():
    stein = models.load("stein_2019_tisagenlecleucel")
    with pytest.raises(ModelError, match=r"no parameter tmax; it has fold, t_max, .*\. Did you mean t_max"):
        stein.solve([1.0], {"tmax": 9.0})


def test_a_closed_form_refuses_a_second_infusion_unless_it_is_linear_in_dose():
    def curve(t, dose, k):
        return dose * jnp.exp(-k * t)

    once = build(parameters={"k": PARAMETERS["k"]}, curve=curve)
    with pytest.raises(ModelError, match="closed form for one infusion and cannot take 2"):
        once.solve([1.0], {}, [(0, 1.0), (7, 1.0)])
    linear = build(parameters={"k": PARAMETERS["k"]}, curve=curve, linear_in_dose=True)
    np.testing.assert_allclose(
        linear.solve([8.0], {}, [(0, 1.0), (7, 1.0)])["copies_per_ug"], np.exp(-4) + np.exp(-0.5)
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1", "defines no model"),
        ("import nowhere_at_all", "ModuleNotFoundError"),
        ("model = 3", "defines no model"),
    ],
)
def test_a_model_file_that_does_not_work_says_why(tmp_path, text, found):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ModelError, match=found):
        ck.load_model(path)


def test_simulate_gives_one_column_an_output_and_one_block_a_draw():
    import pandas as pd

    draws = pd.DataFrame({"k": [0.1, 0.2]}, index=[7, 8])
    table = ck.simulate(build(), draws, [0.0, 10.0])
    assert list(table) == ["draw", "day", "copies_per_ug"]
    assert table["draw"].tolist() == [7, 7, 8, 8]
    np.testing.assert_allclose(table["copies_per_ug"], [100, 100 * np.exp(-1), 100, 100 * np.exp(-2)], rtol=1e-8)


def test_simulate_asks_for_a_dose_where_the_model_needs_one():
    with pytest.raises(ModelError, match="needs a dose"):
        ck.simulate(models.load("nk_decline"), {}, [1.0])
