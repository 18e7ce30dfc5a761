"""Covariates over time: what a user gives, what a study has, and what is said where it is missing."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import Model, ModelError, Parameter
from cellkinetics.modelling.course import as_courses

DECLARED = {"leukocytes": "1e9/L"}
MODEL = Model(
    name="per_leukocyte",
    parameters={
        "c_0": Parameter(1000.0, "copies/ug", "this test"),
        "k": Parameter(0.2, "1/day", "this test"),
    },
    outputs={"copies_per_ug": "copies/ug"},
    curve=lambda t, c_0, k, leukocytes: c_0 * jnp.exp(-k * t) / leukocytes,
    inputs=DECLARED,
)


def test_a_number_is_constant():
    course = as_courses({"leukocytes": 4.0}, DECLARED, "m")["leukocytes"]
    np.testing.assert_array_equal(course.at(np.array([-1.0, 0, 100])), 4.0)


def test_pairs_are_sorted_and_patients_with_few_and_many_days_share_a_program():
    short = as_courses({"leukocytes": [(7, 3.0), (0, 1.0)]}, DECLARED, "m")["leukocytes"]
    long = as_courses({"leukocytes": [(day, 1.0 + day) for day in range(12)]}, DECLARED, "m")["leukocytes"]
    assert short.days.shape == long.days.shape
    np.testing.assert_allclose(short.at(np.array([0, 3.5, 7, 9])), [1, 2, 3, 3])


def test_a_course_is_taken_as_it_is():
    given = as_courses({"leukocytes": 4.0}, DECLARED, "m")
    assert as_courses(given, DECLARED, "m")["leukocytes"] is given["leukocytes"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"leucocytes": 4.0}, r"no input 'leucocytes'; it has leukocytes\. Did you mean leukocytes"),
        ({}, r"m needs leukocytes \(1e9/L\)\. Give inputs="),
        ({"leukocytes": float("nan")}, "not finite"),
        ({"leukocytes": []}, "has no value"),
        ({"leukocytes": [(1, 2, 3)]}, r"Give a number or \(day, value\) pairs"),
        ({"leukocytes": "high"}, r"Give a number or \(day, value\) pairs"),
    ],
)
def test_a_wrong_input_is_refused(given, text):
    with pytest.raises(ModelError, match=text):
        as_courses(given, DECLARED, "m")


def test_a_model_without_inputs_says_so():
    with pytest.raises(ModelError, match="it has none"):
        as_courses({"leukocytes": 1.0}, {}, "m")


def table(**columns):
    days = np.array([1.0, 3, 7, 14, 21])
    leukocytes = np.array([0.5, 0.2, 1.0, 3.0, 4.0])
    noise = np.exp(0.1 * np.array([1, -1, 0.5, -1, 0.5]))
    rows = {"subject": "P", "day": days, "copies_per_ug": 800 * np.exp(-0.15 * days) / leukocytes * noise}
    return pd.DataFrame({**rows, "leukocytes": leukocytes, **columns})


def test_a_fit_takes_the_course_from_the_column_of_the_study():
    fit = ck.fit(MODEL, ck.read_study(table()), fixed={"sd": 0.1})
    assert fit.outcome == "converged"
    assert fit.parameters.loc["c_0", "value"] == pytest.approx(800, rel=0.15)
    assert fit.parameters.loc["k", "value"] == pytest.approx(0.15, rel=0.15)


def test_simulate_takes_inputs_and_asks_for_them():
    found = ck.simulate(MODEL, {}, [0.0, 10.0], inputs={"leukocytes": [(0, 1.0), (10, 2.0)]})
    np.testing.assert_allclose(found["copies_per_ug"], [1000, 1000 * np.exp(-2) / 2], rtol=1e-9)
    with pytest.raises(ModelError, match="needs leukocytes"):
        ck.simulate(MODEL, {}, [0.0])


def test_a_patient_without_the_covariate_is_an_outcome_that_names_it():
    fit = ck.fit(MODEL, ck.read_study(table().drop(columns="leukocytes")))
    assert fit.outcome.startswith("not fitted: per_leukocyte needs leukocytes (1e9/L)")
