"""The unit of values and of time makes no difference: curves, likelihoods, estimates, standard errors and outcomes."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import Model, Parameter, models
from cellkinetics.optimising.cases import prepare
from cellkinetics.optimising.request import Request

POWERS = np.arange(-12, 13)
FEW = (-12, 12)
PER_DAY = ("rho", "delta", "mu", "alpha", "beta", "k_d", "gamma", "eps", "mu0", "r", "k_s", "k_e", "gamma_M")
LEVELS = ("c_0", "F", "N")
DOSE = 1e6
DAYS = np.array([0.25, 0.5, 1, 2, 3, 5, 7, 10, 14, 21, 28, 60, 120, 180, 365])


def parameter(value, unit, **bounds):
    return Parameter(value, unit, "this test", **bounds)


def closed_form():
    return Model(
        name="two_phases",
        curve=lambda t, c_0, f_b, alpha, beta: c_0 * ((1 - f_b) * jnp.exp(-alpha * t) + f_b * jnp.exp(-beta * t)),
        outputs={"c": "copies/ug"},
        parameters={
            "c_0": parameter(1e3, "copies/ug"),
            "f_b": parameter(0.05, "1", max=1.0, scale="logit"),
            "alpha": parameter(0.5, "1/day"),
            "beta": parameter(0.01, "1/day"),
        },
    )


def own_ode(stiff):
    """Logistic growth to N, and cells that come of it: the second state starts at 0."""
    return Model(
        name="own_ode",
        states=("E", "M"),
        rhs=lambda E, M, rho, N, delta, mu: (rho * E * (1 - E / N) - delta * E, delta * E - mu * M),
        observe=lambda E, M: E + M,
        dosing={"cells": ("E", "F")},
        parameters={
            "F": parameter(4e-4, "copies/ug per cell/kg"),
            "rho": parameter(1.2, "1/day"),
            "N": parameter(4e4, "copies/ug"),
            "delta": parameter(0.3, "1/day"),
            "mu": parameter(0.03, "1/day"),
        },
        outputs={"c": "copies/ug"},
        free=("F", "rho"),
        stiff=stiff,
    )


MODELS = {
    "closed form": closed_form(),
    "il15_persistence": models.load("il15_persistence"),
    "explicit": own_ode(stiff=False),
    "implicit": own_ode(stiff=True),
}


def curve(model, days, values, dose=DOSE):
    (name,) = model.outputs
    return np.asarray(model.solve(days, values, {"cells": dose} if model.channels else None)[name])


def in_other_unit(model, factor):
    """The public way: defaults and bounds of the levels in the other unit."""
    names = [name for name in LEVELS if name in model.parameters]
    return model.with_(
        values={name: model.parameters[name].value * factor for name in names},
        bounds={name: (model.parameters[name].min * factor, model.parameters[name].max * factor) for name in names},
    )


def at_other_pace(model, pace):
    """The same with a time unit of so many days: rates and their bounds."""
    names = [name for name in PER_DAY if name in model.parameters]
    return model.with_(
        values={name: model.parameters[name].value * pace for name in names},
        bounds={name: (model.parameters[name].min * pace, model.parameters[name].max * pace) for name in names},
    )


def trial(model, factor=1.0, pace=1.0, subjects=1, dose=DOSE):
    """Simulated samples, a quarter of them below the limit; values times ``factor``, days divided by ``pace``."""
    rng = np.random.default_rng(2020)
    exact = curve(model, DAYS, None)
    copies = exact * np.exp(0.3 * rng.normal(size=(subjects, len(DAYS))))
    limit = np.quantile(copies, 0.25)
    table = pd.DataFrame(
        {
            "subject": np.repeat([f"P{i}" for i in range(subjects)], len(DAYS)),
            "day": np.tile(DAYS / pace, subjects),
            "copies_per_ug": np.where(copies < limit, 0.0, copies * factor).ravel(),
            "dose": dose,
        }
    )
    return ck.read_study(table, lloq=limit * factor)


def size(names, factor, pace):
    """What each parameter is in the other units."""
    return np.array([factor if name in LEVELS else pace if name in PER_DAY else 1.0 for name in names])


@pytest.mark.parametrize("name", MODELS)
def test_a_curve_does_not_depend_on_the_unit_of_its_values(name):
    model = MODELS[name]
    values, days = model.values(), np.append(0.0, DAYS)
    exact = curve(model, days, values)
    for power in POWERS:
        scaled = {k: v * 10.0**power if k in LEVELS else v for k, v in values.items()}
        np.testing.assert_allclose(curve(model, days, scaled) / 10.0**power, exact, rtol=1e-9)


@pytest.mark.parametrize("name", ["il15_persistence", "explicit", "implicit"])
def test_a_curve_does_not_depend_on_the_unit_of_the_dose(name):
    model = MODELS[name]
    values, days = model.values(), np.append(0.0, DAYS)
    exact = curve(model, days, values)
    for power in POWERS:
        scaled = {**values, "F": values["F"] * 10.0**power}
        np.testing.assert_allclose(curve(model, days, scaled, DOSE / 10.0**power), exact, rtol=1e-9)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("pace", [24.0, 1 / 24, 7.0, 1 / 7])
def test_a_curve_does_not_depend_on_the_unit_of_time(name, pace):
    model = MODELS[name]
    values, days = model.values(), np.append(0.0, DAYS)
    scaled = {k: v * pace if k in PER_DAY else v for k, v in values.items()}
    np.testing.assert_allclose(curve(model, days / pace, scaled), curve(model, days, values), rtol=1e-6)


def problem_of(model, study):
    case = prepare(Request.of(model), study)
    return case.problem, case.problem.start(case.initial)


@pytest.mark.parametrize("name", MODELS)
def test_a_likelihood_and_its_derivatives_do_not_depend_on_the_unit(name):
    model = MODELS[name]
    problem, x = problem_of(model, trial(model))
    exact = problem.second_order(x)
    for power in POWERS if name != "implicit" else FEW:
        factor = 10.0**power
        other, _ = problem_of(in_other_unit(model, factor), trial(model, factor))
        moved = x + np.append(np.log(size(problem.free, factor, 1.0)), np.zeros(len(x) - len(problem.free)))
        fixed = {k: v * factor if k in LEVELS else v for k, v in problem.values.items()}
        # By the first model, of which there is a program: all that differs are numbers.
        found = replace(other, model=model, values=fixed).second_order(moved)
        assert found.value == pytest.approx(exact.value, rel=1e-9)
        np.testing.assert_allclose(found.gradient, exact.gradient, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.hessian, exact.hessian, rtol=1e-5, atol=1e-5)


def assert_same(found, expected, factor, pace, rtol):
    """Estimates and standard errors of parameters (rows) but for their units, and what is said of them."""
    names = expected.index.get_level_values("parameter") if expected.index.nlevels > 1 else expected.index
    by = size(names, factor, pace)
    for column in ("value", "stderr"):
        np.testing.assert_allclose(found[column] / by, expected[column], rtol=rtol, err_msg=column)
    assert list(found["status"]) == list(expected["status"])


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_does_not_depend_on_the_unit_of_the_values(name):
    model = MODELS[name]
    expected = ck.fit(model, trial(model))
    assert expected.outcome == "converged"
    # Each unit is a model of its own, which is compiled: seconds for an ODE.
    for power in FEW if name == "closed form" else FEW[:1]:
        factor = 10.0**power
        found = ck.fit(in_other_unit(model, factor), trial(model, factor))
        assert found.outcome == expected.outcome
        assert found.log_likelihood_ln == pytest.approx(expected.log_likelihood_ln, rel=1e-8)
        jacobian = found.n_quantified * np.log(factor)
        assert found.log_likelihood == pytest.approx(expected.log_likelihood - jacobian, rel=1e-8)
        assert_same(found.parameters, expected.parameters, factor, 1.0, 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_does_not_depend_on_the_unit_of_time(name):
    model = MODELS[name]
    # A guess of a model of the library looks at days.
    initial = model.values() if name == "il15_persistence" else None
    expected = ck.fit(model, trial(model), initial=initial)
    for pace in (24.0, 1 / 7) if name == "closed form" else (24.0,):
        other = at_other_pace(model, pace)
        found = ck.fit(other, trial(model, pace=pace), initial=None if initial is None else other.values())
        assert found.outcome.partition(":")[0] == expected.outcome.partition(":")[0]
        assert found.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-7)
        assert_same(found.parameters, expected.parameters, 1.0, pace, 1e-4)


@pytest.mark.parametrize("name", ["il15_persistence", "implicit"])
def test_a_fit_does_not_depend_on_the_unit_of_the_dose(name):
    model = MODELS[name].with_(free=("F", "rho", "r", "mu0", "N") if name == "il15_persistence" else ("F", "rho"))
    expected = ck.fit(model, trial(model))
    for power in FEW if name == "il15_persistence" else FEW[1:]:
        factor = 10.0**power
        F = model.parameters["F"]
        other = model.with_(values={"F": F.value * factor}, bounds={"F": (F.min * factor, F.max * factor)})
        found = ck.fit(other, trial(model, dose=DOSE / factor))
        assert found.outcome == expected.outcome
        assert found.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-9)
        by = np.where(found.parameters.index == "F", factor, 1.0)
        for column in ("value", "stderr"):
            np.testing.assert_allclose(found.parameters[column] / by, expected.parameters[column], rtol=1e-6)


@pytest.mark.parametrize("name", ["closed form", "il15_persistence"])
def test_a_batch_and_a_joint_fit_do_not_depend_on_the_unit(name):
    model, shared = MODELS[name], "beta" if name == "closed form" else "rho"
    each = ck.fit_each(model, trial(model, subjects=3), progress=False)
    joint = ck.fit(model, trial(model, subjects=3), shared=shared)
    # Each unit is compiled anew, and il15_persistence takes its time for it.
    for power in (-12, 9) if name == "closed form" else (-12,):
        factor = 10.0**power
        other, study = in_other_unit(model, factor), trial(model, factor, subjects=3)
        found = ck.fit_each(other, study, progress=False)
        assert list(found.outcomes["outcome"]) == list(each.outcomes["outcome"])
        for subject, fit in each.items():
            assert found[subject].log_likelihood_ln == pytest.approx(fit.log_likelihood_ln, rel=1e-8)
            assert_same(found[subject].parameters, fit.parameters, factor, 1.0, 1e-5)
        together = ck.fit(other, study, shared=shared)
        assert together.outcome == joint.outcome
        assert together.log_likelihood_ln == pytest.approx(joint.log_likelihood_ln, rel=1e-8)
        assert_same(
            together.parameters.set_index("parameter"), joint.parameters.set_index("parameter"), factor, 1.0, 1e-5
        )


@pytest.mark.parametrize("error", ["student", "proportional", "combined"])
def test_other_errors_do_not_depend_on_the_unit(error):
    model = MODELS["closed form"]
    expected = ck.fit(model, trial(model), error=error)
    found = ck.fit(in_other_unit(model, 1e-9), trial(model, 1e-9), error=error)
    assert found.outcome == expected.outcome
    assert found.log_likelihood_ln == pytest.approx(expected.log_likelihood_ln, rel=1e-6)
    by = np.where(found.parameters.index.isin(["c_0", "sd_add"]), 1e-9, 1.0)
    np.testing.assert_allclose(found.parameters["value"] / by, expected.parameters["value"], rtol=1e-4)


@pytest.mark.parametrize("power", [-12, -6, 6, 12])
def test_a_model_that_takes_the_unit_of_the_study_takes_any(power):
    model, factor = models.load("stein_2019_tisagenlecleucel"), 10.0**power
    expected, found = ck.fit(model, trial(model)), ck.fit(model, trial(model, factor))
    assert found.outcome == expected.outcome
    assert found.log_likelihood_ln == pytest.approx(expected.log_likelihood_ln, rel=1e-8)
    by = np.where(found.parameters.index == "c_max", factor, 1.0)
    np.testing.assert_allclose(found.parameters["value"] / by, expected.parameters["value"], rtol=1e-5)


def test_a_level_on_its_natural_scale_is_at_no_bound_in_a_small_unit():
    plain = closed_form()
    on_natural_scale = replace(plain.parameters["c_0"], scale="identity")
    model = replace(plain, parameters={**plain.parameters, "c_0": on_natural_scale})
    expected = ck.fit(model, trial(model))
    found = ck.fit(in_other_unit(model, 1e-12), trial(model, 1e-12))
    assert found.outcome == expected.outcome == "converged"
    assert_same(found.parameters, expected.parameters, 1e-12, 1.0, 1e-5)


def test_a_simulated_curve_is_exact_however_small():
    model = in_other_unit(closed_form(), 1e-15)
    table = ck.simulate(model, {"f_b": 0.0}, [0, 10, 100])
    np.testing.assert_allclose(table["c"], 1e-12 * np.exp(-0.5 * np.array([0, 10, 100])), rtol=1e-12)


def test_what_a_design_tells_does_not_depend_on_the_unit():
    model = MODELS["closed form"]
    asked = {"times": [1, 7, 28, 90], "free": list(model.default_free(trial(model)))}
    told = ck.identifiability(model, **asked).parameters
    other = ck.identifiability(in_other_unit(model, 1e-13), **asked).parameters
    pd.testing.assert_frame_equal(other, told, rtol=1e-6)
