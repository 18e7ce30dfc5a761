"""Results travel between processes, hand out copies, and a simulation takes them as they are."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import Model, Parameter, models, readiness

NK = models.load("nk_decline")
IL15 = models.load("il15_persistence")
DAYS = [1.0, 7.0, 28.0, 100.0]
PARAMETERS = (("a", 50.0, "copies/ug"), ("k", 0.1, "1/day"), ("m", 0.05, "1/day"))


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(NK, ck.example(), progress=False, starts=1)


@pytest.fixture(scope="module")
def fixed():
    """A fit with a fixed rate that is not the default."""
    return ck.fit(IL15, ck.example().select("P06"), fixed={"rho": 1.3}, starts=1)


def a_table(days, values, dose=1e6):
    return pd.DataFrame(
        {"subject": "1", "day": days, "copies_per_ug": values, "dose": [dose] + [None] * (len(days) - 1)}
    )


def test_fits_are_pickled_and_copied_with_all_that_they_hold(fits):
    for back in (pickle.loads(pickle.dumps(fits)), copy.deepcopy(fits)):
        assert list(back) == list(fits)
        pd.testing.assert_frame_equal(back.parameters, fits.parameters)
        pd.testing.assert_frame_equal(back["P06"].predict(DAYS), fits["P06"].predict(DAYS))
        assert back["P06"].status is fits["P06"].status


def test_a_fit_of_a_model_of_the_session_with_a_tie_is_read_in_another_process(tmp_path):
    parameters = {name: Parameter(value, unit, "this test") for name, value, unit in PARAMETERS}
    curve = lambda t, a, k, m: a * (jnp.exp(-k * t) + jnp.exp(-m * t))  # noqa: E731
    model = Model(name="two", parameters=parameters, outputs={"copies_per_ug": "copies/ug"}, curve=curve)
    samples = {"subject": "1", "day": [1, 2, 4, 7, 10, 14, 21, 28], "value": [90, 85, 60, 51, 36, 22, 14, 6]}
    fit = ck.fit(model, ck.read_study(pd.DataFrame(samples), lloq=1.0), tie={"m": lambda k: k / 2})
    assert copy.deepcopy(model) is model
    (tmp_path / "fit.pickle").write_bytes(pickle.dumps(fit))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).predict([7])['copies_per_ug'][0])"
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "fit.pickle")], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) == pytest.approx(fit.predict([7])["copies_per_ug"][0], rel=1e-9)


def test_a_model_that_reaches_what_cannot_travel_is_refused_with_the_remedy(tmp_path):
    with (tmp_path / "notes").open("w") as file:
        parameters = {name: Parameter(value, unit, "this test") for name, value, unit in PARAMETERS}
        curve = lambda t, a, k, m: a * jnp.exp(-k * t) + (file is None)  # noqa: E731
        model = Model(name="open", parameters=parameters, outputs={"copies_per_ug": "copies/ug"}, curve=curve)
        with pytest.raises(pickle.PicklingError, match=r"Write the model to a file and take ck\.load_model\(path\)"):
            pickle.dumps(model)


def test_what_is_written_into_a_table_does_not_change_the_fit(fits):
    fit = fits["P06"]
    sd, said = fit.sd, fit.summary()
    table = fit.parameters
    table.loc["sd", "value"] = 99.0
    table["stderr"] = 1.0
    table["value"] = 1.0
    assert fit.sd == sd
    assert fit.summary() == said
    with pytest.raises(ValueError, match="read-only"):
        fit.x[0] = 5.0
    with pytest.raises(ValueError, match="read-only"):
        fit.covariance[0, 0] = 5.0


def test_what_is_written_into_a_comparison_a_profile_or_a_joint_fit_does_not_change_it(fits):
    study = ck.example()
    compared = ck.compare_cohorts(study)
    joint = ck.fit(NK, study.select(["P05", "P06"]), shared="alpha", starts=1)
    results = [compared, fits["P06"].profile(["alpha"]), joint, fits["P06"].bootstrap(4), fits["P06"].identifiability()]
    for result, name in zip(results, ("table", "intervals", "parameters", "intervals", "parameters"), strict=True):
        before = getattr(result, name).copy()
        table = getattr(result, name)
        table[table.columns[0]] = 99.0
        pd.testing.assert_frame_equal(getattr(result, name), before)


def test_what_is_written_into_the_tables_of_a_study_does_not_change_it(fits):
    study = fits["P06"].study
    for name in ("observations", "doses", "covariates"):
        before = getattr(study, name).copy()
        table = getattr(study, name)
        column = {"observations": "value", "doses": "amount", "covariates": "dose"}[name]
        table.loc[:, column] = 99.0
        table["more"] = 1
        pd.testing.assert_frame_equal(getattr(study, name), before)
    assert 99.0 not in {*ck.nca(study)["cmax"]}


def test_a_simulation_of_a_fit_is_its_curve_with_what_was_fixed(fixed):
    curve = fixed.predict(DAYS)["copies_per_ug"].to_numpy()
    dose = float(ck.example().select("P06").doses["amount"].iloc[0])
    for given in (fixed.parameters, fixed.parameters["value"], fixed.estimates):
        np.testing.assert_allclose(ck.simulate(IL15, given, DAYS, doses=dose)["copies_per_ug"], curve, rtol=1e-6)
    np.testing.assert_allclose(ck.simulate(IL15, fixed, DAYS)["copies_per_ug"], curve, rtol=1e-6)
    defaults = {name: value for name, value in fixed.estimates.items() if name in fixed.problem.free}
    other = ck.simulate(IL15, defaults, DAYS, doses=dose)["copies_per_ug"]
    assert np.max(np.abs(np.log(other / curve))) > 0.5


def test_a_simulation_of_a_fit_takes_other_doses_where_they_are_given(fixed):
    twice = ck.simulate(IL15, fixed, DAYS, doses=2 * float(fixed.problem.doses.amounts[0, 0]))["copies_per_ug"]
    once = ck.simulate(IL15, fixed, DAYS)["copies_per_ug"]
    assert (twice > once).all()


def test_a_simulation_of_draws_keeps_what_the_fit_had_fixed(fixed):
    draws = fixed.bootstrap(8).draws
    assert set(draws["rho"]) == {1.3}
    curves = ck.simulate(IL15, draws, DAYS, doses=1e6)
    first = {name: draws.iloc[0][name] for name in IL15.parameters}
    alone = ck.simulate(IL15, first, DAYS, doses=1e6)
    of_first = curves[curves["draw"] == draws.index[0]]["copies_per_ug"]
    np.testing.assert_allclose(of_first, alone["copies_per_ug"], rtol=1e-12)


def test_a_simulation_takes_a_bootstrap_with_the_doses_of_its_patient(fixed):
    bootstrap = fixed.bootstrap(3)
    given = float(fixed.study.doses["amount"].iloc[0])
    by_table = ck.simulate(IL15, bootstrap.draws, DAYS, doses=given)
    pd.testing.assert_frame_equal(ck.simulate(IL15, bootstrap, DAYS), by_table)
    with pytest.raises(ck.ModelError, match=r"needs a dose\. .*or the fit or bootstrap itself, which knows"):
        ck.simulate(IL15, bootstrap.draws, DAYS)
    with pytest.raises(ck.ModelError, match=r"or the fit or bootstrap itself"):
        ck.simulate(IL15, fixed.parameters, DAYS)


def test_a_simulation_of_many_fits_has_a_row_a_subject_and_day(fits):
    together = ck.simulate(NK, fits, DAYS)
    assert list(together.columns) == ["subject", "day", "copies_per_ug"]
    for subject in ("P06", "P07"):
        own = together[together["subject"] == subject]["copies_per_ug"].to_numpy()
        np.testing.assert_allclose(own, ck.simulate(NK, fits[subject], DAYS)["copies_per_ug"], rtol=1e-12)
    some = ck.example().select(["P06", "P07"])
    joint = ck.fit(NK, some, shared=["beta"], starts=1)
    assert [*ck.simulate(NK, joint, DAYS)["subject"].unique()] == ["P06", "P07"]


def test_a_simulation_takes_a_dictionary_and_a_series_of_the_parameters_alike(fits):
    column = fits["P06"].parameters["value"]
    one, other = (ck.simulate(NK, given, DAYS, doses=1e6) for given in (column, dict(column)))
    pd.testing.assert_frame_equal(one, other)
    with pytest.raises(ck.ModelError, match="no parameter alfa"):
        ck.simulate(NK, {"alfa": 1.0}, DAYS, doses=1e6)
    with pytest.raises(TypeError, match=r"parameters is a list: give \{name: value\}, a fit"):
        ck.simulate(NK, [1.0, 2.0], DAYS, doses=1e6)


def test_before_the_infusion_a_curve_is_what_it_starts_with_and_a_warning_says_so(fits):
    stein, dosed = models.load("stein_2019_tisagenlecleucel"), fits["P06"]
    fit = ck.fit(stein, ck.example().select("P06"), starts=1)
    with pytest.warns(UserWarning, match=r"day -3 lies before the infusion, where a curve is what it starts with"):
        before = ck.simulate(stein, None, [-3, -1, 0])["copies_per_ug"]
    assert before.nunique() == 1
    assert before[0] == pytest.approx(stein.values()["c_max"] / stein.values()["fold"])
    with pytest.warns(UserWarning, match="day -1 lies before the infusion"):
        predicted = fit.predict([-1, 0]).drop(columns="day")
    np.testing.assert_allclose(predicted.iloc[0], predicted.iloc[1])
    with pytest.warns(UserWarning, match="day -1 lies before the infusion"):
        nothing = dosed.predict([-1]).drop(columns="day")
    assert (nothing.to_numpy() == 0).all()
    with pytest.warns(UserWarning, match="day -1 lies before the infusion"):
        assert ck.simulate(NK, None, [-1], doses=1e6)["copies_per_ug"][0] == 0


def test_a_simulation_of_who_was_not_fitted_says_why_it_cannot():
    below = ck.read_study(a_table([0.0, 1, 7, 14, 28, 60], ["", *["<3"] * 5]), lloq=3, progress=False)
    fit = ck.fit(NK, below, starts=1)
    with pytest.raises(ck.ModelError, match=r"no value of F, alpha.*fit\.outcome says why"):
        ck.simulate(NK, fit, DAYS)


def test_identifiability_of_who_was_not_fitted_is_a_reason():
    below = ck.read_study(a_table([0.0, 1, 7, 14, 28, 60], ["", *["<3"] * 5]), lloq=3, progress=False)
    nothing = ck.fit(NK, below, starts=1).identifiability()
    assert nothing.reason.startswith("not fitted: no quantified sample")
    assert "no quantified sample" in nothing.summary()
    assert nothing.parameters["se"].isna().all()
    assert nothing.rank == 0


def fitted_in_a_worker(subject):
    return ck.fit(NK, ck.example().select(subject), starts=1)


STEIN = models.load("stein_2019_tisagenlecleucel")
IN_A_FORK = [
    lambda: fitted_in_a_worker("P06"),
    lambda: ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], studies=10, progress=False),
    STEIN.describe,
    lambda: STEIN.solve([7.0]),
    lambda: STEIN.checks[0].compute(STEIN),
    lambda: ck.identifiability(STEIN, [7, 14, 28]),
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.parametrize("call", IN_A_FORK)
def test_a_fork_of_a_process_that_has_computed_is_refused_with_the_remedy(fits, call):
    assert len(fits)

    def answer(pipe):
        try:
            call()
            pipe.send("done")
        except RuntimeError as error:
            pipe.send(str(error))

    here, there = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=answer, args=(there,), daemon=True)
    child.start()
    answered = here.poll(60)
    said = here.recv() if answered else "no answer"
    child.kill()
    assert "spawn" in said
    assert not readiness._state["forked"]


def test_a_spawned_worker_sends_its_fit_back(fits):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        fit = pool.apply(fitted_in_a_worker, ("P06",))
    pd.testing.assert_frame_equal(fit.parameters, fits["P06"].parameters)


def an_ode(rhs, states=("x",)):
    return Model(
        name="own",
        parameters={"k": Parameter(0.2, "1/day", "own"), "F": Parameter(5e-3, "copies/ug per cell/kg", "own")},
        outputs={"copies_per_ug": "copies/ug"},
        states=states, rhs=rhs, observe=lambda x: x, dosing={"cells": ("x", "F")},
    )  # fmt: skip


def test_a_curve_without_finite_derivatives_is_an_outcome_that_says_so():
    days = np.array([0, 0.5, 1, 2, 4, 7, 10, 14, 21])
    values = np.where(days == 0, np.nan, 5000 * np.exp(-0.25 * days))
    study = ck.read_study(a_table(days, values), lloq=3, progress=False)
    fit = ck.fit(an_ode(lambda x, k: (-k * x + 0 * jnp.sqrt(jnp.abs(x - x)),)), study, starts=2)
    assert fit.status is ck.Status.NOT_SOLVED
    assert fit.outcome.startswith("not solved: the curve has no finite derivative by k and F")
    assert "square root" in fit.outcome


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_right_hand_side_that_is_nan_is_an_outcome_that_names_the_state():
    days = np.array([0, 0.5, 1, 2, 4, 7, 10, 14, 21])
    study = ck.read_study(a_table(days, 5000 * np.exp(-0.25 * days)), lloq=3, progress=False)
    model = an_ode(lambda x, y, k: (-k * x, k * jnp.sqrt(k - 1) - y), ("x", "y"))
    fit = ck.fit(replace(model, observe=lambda x, y: x + y), study, starts=2)
    assert fit.status is ck.Status.NOT_SOLVED
    assert fit.outcome.startswith("not solved: the derivative of y is not a finite number on day 0")
    assert "square root" in fit.outcome


def test_wells_that_count_as_samples_of_their_own_are_told():
    days = np.repeat([1.0, 3, 5, 7, 10, 14, 21, 28, 45], 2)
    noise = np.random.default_rng(3).normal(0, 0.1, len(days))
    table = a_table(days, 5000 * np.exp(-0.1 * days + noise)).assign(well=np.tile([1, 2], 9), dose=1e6)
    fit = ck.fit(models.load("nk_decline"), ck.read_study(table, lloq=3, progress=False), starts=2)
    said = "9 samples repeat an earlier one's day and count as independent: read_study(replicates='mean')"
    assert said in fit.outcome
    assert "1e+06 cells/kg on day 0" in " ".join(fit.summary().split())
    mean = ck.fit(fit.model, ck.read_study(table, lloq=3, replicates="mean", progress=False), starts=2)
    assert "independent" not in mean.outcome


def test_one_array_from_rhs_is_refused_with_what_to_return():
    with pytest.raises(ck.ModelError, match=r"rhs\(\) returns one array, .* \(x, y\)\. Return \(d_x, d_y\)"):
        an_ode(lambda x, y, k: jnp.array([-k * x, k * x - y]), ("x", "y"))
    with pytest.raises(ck.ModelError, match=r"rhs\(\) returns one array, .* \(x\)\. Return \(d_x,\)"):
        an_ode(lambda x, k: -k * x)


ONE = np.array([1.0, 3, 5, 7, 10, 14, 21, 28, 42, 60, 90, 120])


def of_model(name):
    model = models.load(name)
    curve = ck.simulate(model, {}, ONE, doses=1e6).iloc[:, 1].to_numpy()
    unit = next(iter(model.outputs.values()))
    table = pd.DataFrame({"subject": "1", "day": ONE, "value": curve})
    return model, ck.read_study(table, lloq=float(curve.max()) * 1e-9, unit=unit, progress=False)


@pytest.mark.parametrize("name", ["four_phase", "nk_decline"])
def test_one_amount_frees_what_a_dose_is_multiplied_with(name):
    model, study = of_model(name)
    fit = ck.fit(model, study, doses="one amount", starts=2)
    assert "F" in fit.problem.free
    assert fit.parameters.loc["F", "unit"] == "copies/ug"
    assert fit.parameters.loc["F", "value"] == pytest.approx(1e6 * model.parameters["F"].value, rel=0.02)
    assert fit.sd < 0.05


def test_one_amount_is_refused_where_nothing_can_stand_for_the_product():
    model, study = of_model("four_phase")
    with pytest.raises(ck.ModelError, match=r"F is not free\. Free F \(free=\[\.\.\., 'F'\]\)"):
        ck.fit(model, study, doses="one amount", fixed={"F": 4e-4})
    with pytest.raises(ck.ModelError, match="F is not free"):
        ck.fit(model, study, doses="one amount", free=["rho", "alpha"])
    with pytest.raises(ck.ModelError, match=r"prior of F: with doses='one amount' F stands for the product") as refused:
        ck.fit(model, study, doses="one amount", prior={"F": ck.LogNormal(4e-4, 0.3)})
    assert "a prior in copies/ug per cell/kg does not speak of. Give doses= with the amount" in str(refused.value)
    barros, cells = of_model("barros_2021_cartmath")
    with pytest.raises(ck.ModelError, match="F of barros_2021_cartmath is at most 1") as refused:
        ck.fit(barros, cells, doses="one amount")
    # A share above 1 means nothing: the dose is what is missing.
    assert "Give doses= with the amount" in str(refused.value)
    assert "bounds" not in str(refused.value)
