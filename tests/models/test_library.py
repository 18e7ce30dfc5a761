"""What every model of the library keeps."""

import numpy as np
import pandas as pd
import pytest

from cellkinetics import models
from cellkinetics.data.reading import read_study
from cellkinetics.modelling.course import as_courses
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.samples import Samples

DAYS = np.array([0, 0.5, 1, 3, 7, 10, 14, 21, 28, 60, 180, 365.0])
DOSE = 1e6
LOG_SD = 0.3
DRAWS = 20
COURSE = [(0.0, 300.0), (7.0, 100.0), (28.0, 4000.0)]
CHOSEN = [(name, chosen) for name in models.names() for chosen in (None, *models.load(name).sets)]
CHECKS = [(name, chosen, check.what) for name, chosen in CHOSEN for check in models.load(name, set=chosen).checks]
LINEAR = [name for name in models.names() if models.load(name).linear_in_dose]


def doses(model):
    return {model.channels[0]: DOSE} if model.channels else None


def draws(model):
    """The defaults and 20 seeded draws around them, within the bounds; a default of 0 stays."""
    rng = np.random.default_rng(2020)
    yield model.values()
    for _ in range(DRAWS):
        yield {
            name: float(np.clip(p.value * np.exp(LOG_SD * rng.normal()), p.min, p.max))
            for name, p in model.parameters.items()
        }


@pytest.mark.parametrize("name", models.names())
def test_a_model_has_units_sources_and_values_within_bounds(name):
    model = models.load(name)
    assert model.name == name
    assert model.reference
    assert model.parameters
    for key, parameter in model.parameters.items():
        there_and_back = parameter.from_estimation(parameter.to_estimation(parameter.value))
        assert there_and_back == pytest.approx(parameter.value), key
        assert parameter.unit, key
        assert parameter.source, key
        assert parameter.min <= parameter.value <= parameter.max, key
    assert all(unit for unit in model.outputs.values())


@pytest.mark.parametrize("name", models.names())
def test_a_model_file_opens_with_its_equations_and_its_reference(name):
    from importlib import import_module

    text = import_module(f"cellkinetics._models.{name}").__doc__
    assert text is not None
    assert ".. math::" in text
    assert "doi:" in text


@pytest.mark.parametrize("name", models.names())
def test_a_model_is_finite_and_not_negative_with_finite_gradients_around_its_defaults(name):
    model = models.load(name)
    ones = np.ones(len(DAYS) * len(model.outputs))
    outputs = np.repeat(np.arange(len(model.outputs)), len(DAYS))
    samples = pd.DataFrame({"day": np.tile(DAYS, len(model.outputs)), "output": outputs, "lower": ones, "upper": ones})
    sd = np.full(len(model.outputs), 0.5)
    problem = Problem(
        model,
        Samples.of(samples),
        model.doses(doses(model)),
        model.values(),
        tuple(model.parameters),
        (),
        sd,
        sd > 1,
        courses=as_courses(dict.fromkeys(model.inputs, COURSE), model.inputs, name),
    )
    for number, values in enumerate(draws(model)):
        found = problem.curve(problem.start(values), 1)
        assert found.solved, (number, values)
        assert np.all(np.isfinite(found.value)), (number, values)
        # All samples are 1, and 1e-11 of the lowest is added.
        assert np.all(np.exp(found.value) - 1e-11 >= -1e-20), (number, values)
        assert np.all(np.isfinite(found.jacobian)), (number, values)


@pytest.mark.parametrize(("name", "chosen", "what"), CHECKS)
def test_a_published_number_is_given_back_within_its_tolerance(name, chosen, what):
    model = models.load(name, set=chosen)
    (check,) = (check for check in model.checks if check.what == what)
    found = check.compute(model)
    if isinstance(check.published, tuple):
        assert check.published[0] <= found <= check.published[1]
    else:
        assert found == pytest.approx(check.published, rel=check.tolerance)
    assert check.agrees(found)
    assert check.unit
    assert check.source


@pytest.mark.parametrize("name", LINEAR)
def test_a_model_that_claims_to_be_linear_in_dose_is(name):
    model = models.load(name)
    for output in model.outputs:
        one, ten = (np.asarray(model.solve(DAYS, doses=amount)[output]) for amount in (DOSE, 10 * DOSE))
        np.testing.assert_allclose(ten, 10 * one, rtol=1e-12)


@pytest.mark.parametrize("name", models.names())
def test_the_default_free_parameters_exist_and_can_move(name):
    model = models.load(name)
    table = pd.DataFrame({"subject": "P01", "day": [1, 7, 28], "copies_per_ug": [200, 4000, 100], "dose": DOSE})
    chosen = model.default_free(read_study(table))
    assert chosen
    for key in chosen:
        assert np.isfinite(model.parameters[key].to_estimation(model.parameters[key].value)), key
