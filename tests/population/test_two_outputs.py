"""A population of a model with two outputs and a covariate over time: what is planned with it, and its curves."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.fitting.identifiability import of_information

MODEL = ck.models.load("qpcr_and_flow")
DAYS, LEUKOCYTES = np.array([4.0, 14, 28, 60]), [(0.0, 500.0), (14.0, 4000.0)]
FIXED = {"fold": 60.0, "t_max": 14.0, "alpha": 0.25, "f_b": 0.01, "beta": 0.01}


def study_of(*courses):
    """Four patients, each with the next of the courses of leukocytes."""
    rng, rows = np.random.default_rng(8), []
    for number in range(4):
        course = courses[number % len(courses)]
        truth = {**FIXED, "c_max": 40 * np.exp(0.4 * rng.normal()), "vcn": 3.0}
        curves = ck.simulate(MODEL, truth, DAYS, inputs={"leukocytes": course})
        for at, name in enumerate(MODEL.outputs):
            values = curves[name] * np.exp(0.3 * rng.normal(size=len(DAYS)))
            cells = np.interp(DAYS, *np.transpose(course))
            rows.append(pd.DataFrame({"day": DAYS, "DVID": at + 1, "value": values, "leukocytes": cells}))
            rows[-1]["subject"] = f"P{number + 1}"
    return ck.read_study(pd.concat(rows).assign(SIMULATED=1), lloq={"1": 1e-3, "2": 1e-3})


def fitted(study):
    return ck.fit_population(
        MODEL, study, free=["c_max", "vcn"], fixed=FIXED, random=["c_max"], method="focei", progress=False
    )


@pytest.fixture(scope="module")
def fit():
    return fitted(study_of(LEUKOCYTES))


def test_a_schedule_measures_what_the_study_of_the_population_did(fit):
    asked = {"inputs": {"leukocytes": 5000.0}}
    both = ck.identifiability(fit, DAYS, **asked)
    assert both.outputs == ("copies_per_ug", "cells_per_ul")
    assert "each sample measures copies_per_ug and cells_per_ul" in both.summary()
    # Copies tell of the product c_max x vcn, cells of c_max.
    copies, cells = (len(DAYS) / fit.parameters.loc[f"sd_{name}", "value"] ** 2 for name in MODEL.outputs)
    by_hand = of_information(np.array([[copies + cells, copies], [copies, copies]]), ["c_max", "vcn"])
    np.testing.assert_allclose(both.parameters["se"], by_hand.parameters["se"], rtol=1e-5)
    one = ck.identifiability(fit, DAYS, output="copies_per_ug", **asked)
    assert one.pairs == (("c_max", "vcn"),)
    assert ck.identifiability(MODEL, DAYS, **asked).outputs == ("copies_per_ug",)
    below = ck.identifiability(fit, DAYS, lloq={"cells_per_ul": 1e6}, **asked)
    assert below.pairs == (("c_max", "vcn"),)


def test_an_output_that_is_none_and_a_limit_of_two_units_are_refused(fit):
    with pytest.raises(ck.ModelError, match=r"no output 'cells_per_u'. Did you mean cells_per_ul"):
        ck.identifiability(fit, DAYS, output=["cells_per_u"])
    with pytest.raises(ValueError, match=r"output=\[\] is empty"):
        ck.identifiability(fit, DAYS, output=[])
    with pytest.raises(ck.ModelError, match=r"outputs have units of their own. Give lloq={'copies_per_ug': ..."):
        ck.identifiability(fit, DAYS, lloq=3.0)
    with pytest.raises(ck.ModelError, match="no output 'copies'"):
        ck.identifiability(fit, DAYS, lloq={"copies": 3.0})


def test_curves_have_the_course_that_all_patients_had_or_the_one_that_is_given(fit):
    own, given = fit.predict([14.0], draws=20), fit.predict([14.0], draws=20, inputs={"leukocytes": 8000.0})
    assert own["cells_per_ul"].iloc[0] == given["cells_per_ul"].iloc[0]
    assert own["copies_per_ug"].iloc[0] / given["copies_per_ug"].iloc[0] == pytest.approx(2.0, rel=1e-6)
    one = fit["P1"]
    assert ck.simulate(MODEL, one, [14.0])["copies_per_ug"].iloc[0] == pytest.approx(
        one.predict([14.0])["copies_per_ug"].iloc[0]
    )


def test_without_a_course_the_remedy_is_one_that_there_is(fit):
    other = fitted(study_of(LEUKOCYTES, [(0.0, 900.0), (14.0, 5000.0)]))
    with pytest.raises(ck.ModelError, match=r"patients had different leukocytes: give inputs={'leukocytes': a number"):
        other.predict([14.0])
    rows = study_of(LEUKOCYTES).observations.drop(columns="leukocytes")
    bare = ck.read_study(rows[["subject", "day", "output", "value", "lloq"]].assign(SIMULATED=1))
    for remedy, call in (
        ("a column of that name in the study", lambda: fit.forecast(bare.select("P1"), [28])),
        (r"inputs={'leukocytes': a number", lambda: ck.simulate(MODEL, {}, [28])),
    ):
        with pytest.raises(ValueError, match=rf"needs leukocytes \(cells/uL\). Give {remedy}"):
            call()
