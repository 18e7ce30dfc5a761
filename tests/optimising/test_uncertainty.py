"""Standard errors, degrees of freedom and identifiability where a likelihood is hard to read."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import Model, Parameter, models

DAYS = np.array([0.5, 1, 2, 3, 4, 5, 7, 9, 11, 14, 18, 21])


def parameter(value, **options):
    return Parameter(value, "1", "assumption", **options)


def model(curve, outputs=("c",), **parameters):
    return Model(name="made", parameters=parameters, outputs=dict.fromkeys(outputs, "copies/ug"), curve=curve)


def study(values, days=DAYS, **columns):
    return ck.read_study(pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": values, **columns}), lloq=3)


def noise(sd, size, seed=2020):
    return np.exp(sd * np.random.default_rng(seed).normal(size=size))


def test_identifiability_does_not_depend_on_the_unit_of_an_identity_scale_parameter():
    values = 3e7 * np.exp(-0.25 * DAYS) * noise(0.1, 12)
    natural = model(lambda t, c_0, k: c_0 * jnp.exp(-k * t), c_0=parameter(1e7, scale="identity"), k=parameter(0.3))
    logarithmic = model(lambda t, c_0, k: c_0 * jnp.exp(-k * t), c_0=parameter(1e7), k=parameter(0.3))
    a, b = ck.fit(natural, study(values)), ck.fit(logarithmic, study(values))
    assert a.outcome == b.outcome == "converged"
    for name in ("c_0", "k"):
        assert a.parameters.loc[name, "stderr"] == pytest.approx(b.parameters.loc[name, "stderr"], rel=1e-3)


def test_an_exactly_confounded_pair_is_found_with_an_identity_scale_among_them():
    pair = model(
        lambda t, a, h, k: a * jnp.sqrt(h) * jnp.exp(-k * t),
        a=parameter(50.0), h=parameter(2.0, min=0.01, max=100.0, scale="identity"), k=parameter(0.3),
    )  # fmt: skip
    fit = ck.fit(pair, study(100 * np.exp(-0.1 * DAYS) * noise(0.1, 12)))
    assert fit.outcome.startswith("not identifiable")
    assert set(fit.parameters.query("status == 'not identifiable'").index) == {"a", "h"}
    assert fit.parameters.loc["k", "stderr"] < 0.02


def test_mu0_and_k_tau_are_found_to_move_together():
    il15 = models.load("il15_persistence")
    fit = ck.fit(il15, ck.example().select("P10"), free=["F", "rho", "mu0", "K_tau"])
    assert "mu0" in fit.outcome
    assert "K_tau" in fit.outcome
    assert fit.outcome.startswith("not identifiable")


def test_degrees_of_freedom_count_only_what_is_spent_on_outputs_of_free_sd():
    def curve(t, c_1, k_1, c_2, k_2):
        return {"a": c_1 * jnp.exp(-k_1 * t), "b": c_2 * jnp.exp(-k_2 * t)}

    rates = {name: parameter(value) for name, value in (("c_1", 100), ("k_1", 0.1), ("c_2", 500), ("k_2", 0.2))}
    two = model(curve, ("a", "b"), **rates)
    one = model(lambda t, c_1, k_1: c_1 * jnp.exp(-k_1 * t), c_1=rates["c_1"], k_1=rates["k_1"])
    days = DAYS[:6]
    first = 100 * np.exp(-0.1 * days) * noise(0.2, 6)
    second = 500 * np.exp(-0.2 * DAYS) * noise(0.2, 12, 1)
    both = study(np.append(first, second), np.append(days, DAYS), DVID=[1] * 6 + [2] * 12)
    joint, alone = ck.fit(two, both, fixed={"sd_b": 0.2}), ck.fit(one, study(first, days))
    assert joint.degrees_of_freedom == pytest.approx(alone.degrees_of_freedom, abs=1e-3)
    assert joint.sd["a"] == pytest.approx(alone.sd, rel=1e-3)


def test_an_output_with_too_few_rows_for_its_own_parameters_has_a_prior_of_its_sd():
    def curve(t, c_1, k_1, c_2, k_2):
        return {"a": c_1 * jnp.exp(-k_1 * t), "b": c_2 * jnp.exp(-k_2 * t)}

    rates = {name: parameter(value) for name, value in (("c_1", 100), ("k_1", 0.1), ("c_2", 500), ("k_2", 0.2))}
    first, second = 100 * np.exp(-0.1 * DAYS) * noise(0.2, 12), 500 * np.exp(-0.2 * DAYS[:3]) * noise(0.2, 3, 1)
    both = study(np.append(first, second), np.append(DAYS, DAYS[:3]), DVID=[1] * 12 + [2] * 3)
    fit = ck.fit(model(curve, ("a", "b"), **rates), both)
    assert fit.outcome.endswith("sd_b by a prior: 3 quantified samples for 2 free parameters")
    assert list(fit.problem.few) == ["sd_b"]
    assert fit.problem.few["sd_b"].spent == pytest.approx(2, abs=0.1)
    # Of the other output as by itself: twelve samples spent on two parameters.
    assert fit.inflation == pytest.approx(np.sqrt(12 / 10), rel=1e-2)
    assert fit.parameters.loc["sd_a", "value"] == pytest.approx(fit.sd["a"] * fit.inflation)
    assert fit.parameters.loc["sd_b", "value"] == pytest.approx(fit.sd["b"])


def test_a_curve_through_every_sample_is_an_outcome_not_a_likelihood_without_bound():
    fit = ck.fit(models.load("nk_decline"), study(np.full(12, 50.0), dose=1e6))
    assert fit.outcome.startswith("sd at its lower bound")
    assert "0.5" not in fit.outcome
    assert "free fewer parameters, or give the sd that is known of the assay (fixed=)" in fit.outcome
    assert fit.sd == pytest.approx(0.01)
    assert fit.lmfit.params["sd"].value == pytest.approx(fit.sd)


def test_half_the_limit_makes_no_quantified_sample():
    fit = ck.fit(models.load("nk_decline"), study(["<3"] * 12, dose=1e6), censoring="half")
    assert fit.outcome.startswith("no quantified sample")


def test_the_faster_rate_is_alpha_wherever_the_optimiser_ends():
    decline = models.load("nk_decline")
    curve = decline.solve(DAYS, {"F": 4e-4, "alpha": 1.2, "f_b": 0.05, "beta": 0.12}, 1e6)["copies_per_ug"]
    patient = study(np.asarray(curve) * noise(0.2, 12), dose=1e6)
    fits = [
        ck.fit(decline, patient, initial={"alpha": alpha, "beta": beta, "f_b": f_b}, starts=1)
        for alpha, beta, f_b in [(1.2, 0.12, 0.05), (0.12, 1.2, 0.95)]
    ]
    for fit in fits:
        assert fit.parameters.loc["alpha", "value"] > fit.parameters.loc["beta", "value"]
    assert fits[0].log_likelihood == pytest.approx(fits[1].log_likelihood, abs=1e-5)


def test_degrees_of_freedom_lie_between_rows_less_parameters_and_rows():
    for subject, fit in ck.fit_each(models.load("nk_decline"), ck.example(), progress=False).items():
        if np.isfinite(fit.degrees_of_freedom):
            spent = fit.n_quantified - fit.degrees_of_freedom
            assert 0 <= spent <= len(fit.problem.free), subject


def test_days_before_the_infusion_have_no_cells_and_wrong_days_are_refused():
    ode = Model(
        name="one_state",
        parameters={"F": parameter(1e-4), "k": parameter(0.3)},
        outputs={"c": "copies/ug"},
        states=("A",),
        rhs=lambda A, k: (-k * A,),
        observe=lambda A: A,
        dosing={"cells": ("A", "F")},
    )
    with pytest.warns(UserWarning, match="day -3 lies before the infusion"):
        table = ck.simulate(ode, {}, [-3.0, 0.0, 1.0], doses=1e6)
    np.testing.assert_allclose(table["c"], [0, 100, 100 * np.exp(-0.3)], rtol=1e-6, atol=1e-20)
    with pytest.warns(UserWarning, match="day -1 lies before the infusion"):
        assert ck.simulate(models.load("nk_decline"), {}, [-1.0], doses=1e6)["copies_per_ug"].item() < 1e-20
    with pytest.raises(ValueError, match="NaN or infinity"):
        ck.simulate(ode, {}, [np.nan], doses=1e6)


def test_an_rhs_with_the_wrong_number_of_derivatives_is_refused():
    with pytest.raises(ck.ModelError, match=r"returns 1 derivative for 2 states \(A, B\)"):
        Model(
            name="short",
            parameters={"F": parameter(1e-4), "k": parameter(0.3)},
            outputs={"c": "copies/ug"},
            states=("A", "B"),
            rhs=lambda A, k: (-k * A,),
            observe=lambda A: A,
            dosing={"cells": ("A", "F")},
        )
