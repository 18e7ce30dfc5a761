"""Curves against scipy: doses, dose times, both steppers, both directions of differentiation, solves that fail."""

import runpy
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cellkinetics as ck
from cellkinetics import Model, Parameter, models
from cellkinetics.errors import ModelError
from cellkinetics.modelling.dosing import Doses, as_doses
from cellkinetics.modelling.structure import Method
from cellkinetics.solving import sensitivity, solver

SCIPY = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "il15_numpy.py"))["copies"]
IL15, NK, STEIN = (models.load(n) for n in ("il15_persistence", "nk_decline", "stein_2019_tisagenlecleucel"))
DEFAULTS = IL15.values()
DAYS = np.array([0, 1, 3, 7, 10, 14, 21, 28, 60, 180, 365.0])
# Radau at rtol 1e-11, six digits, two independent runs: copies/ug after the infusion of this many cells/kg.
TABLE = {
    1e5: [40, 23.5321, 60.204, 400.94, 485.32, 122.989, 86.8238, 83.1913, 68.4443, 32.9277, 10.6575],
    1e6: [400, 235.279, 598.583, 3798.83, 4250.27, 477.977, 142.09, 136.105, 111.979, 53.8715, 17.4363],
    1e7: [4000, 2348.96, 5806.39, 36748.2, 41160.1, 3449.68, 144.658, 138.143, 113.655, 54.678, 17.6973],
}
WITHOUT_IL15_DAYS = np.array([14, 21, 28, 60.0])
WITHOUT_IL15 = {
    1e5: [28.44, 3.58016, 0.622119, 0.000208698],
    1e6: [151.446, 12.5227, 2.17592, 0.00072994],
    1e7: [928.54, 21.7881, 3.78429, 0.00126949],
}
STIFF = {"rho": 3.2}  # E grows to 1e7 copies/ug, and M, which it feeds, is stiff
PEAKS = {1e5: (535, 8.92), 1e6: (4887, 8.77), 1e7: (47538, 8.77)}


@pytest.fixture(scope="module")
def solved():
    """(days, {name: value}, doses) -> copies/ug by the programs that a fit uses; days are filled up to 32."""

    def at(days, values=None, doses=1e6):
        output = np.zeros(len(days))
        inputs = sensitivity.inputs_of(IL15, IL15.values(values), [], days, output, IL15.doses(doses), prepare=False)
        curve, _ = sensitivity.curve(IL15, (), np.zeros(0), inputs, 0)
        assert curve.solved
        return np.exp(curve.value[: len(days)]) - 1e-9

    return at


@pytest.fixture(scope="module")
def steppers():
    """{implicit: compiled (days, values, doses) -> (copies/ug, solved)}."""

    def compiled(implicit):
        def run(days, values, doses):
            curves, done = solver.solve_ode(IL15, days, values, doses, stiff=implicit)
            return curves["copies_per_ug"], done

        return jax.jit(run)

    return {implicit: compiled(implicit) for implicit in (False, True)}


def in_digits(printed):
    """Half a unit in the last printed digit of each number."""
    return np.array([0.5 * 10.0 ** -(len(f"{value!r}".rstrip("0").partition(".")[2])) for value in map(float, printed)])


# The reference table


@pytest.mark.parametrize("dose", TABLE)
def test_il15_persistence_meets_its_table_to_five_digits(solved, dose):
    expected = np.array(TABLE[dose], float)
    off = np.abs(solved(DAYS, doses=dose) - expected)
    assert np.all(off <= 1e-5 * expected + in_digits(TABLE[dose]))


@pytest.mark.parametrize("dose", WITHOUT_IL15)
def test_il15_persistence_without_il15_meets_its_table_to_five_digits(solved, dose):
    expected = np.array(WITHOUT_IL15[dose], float)
    off = np.abs(solved(WITHOUT_IL15_DAYS, {"tau": 0.0}, dose) - expected)
    assert np.all(off <= 1e-5 * expected + in_digits(WITHOUT_IL15[dose]))


@pytest.mark.parametrize("dose", PEAKS)
def test_il15_persistence_meets_the_peak_of_its_table(solved, dose):
    height, day = PEAKS[dose]
    fine = np.linspace(day - 0.2, day + 0.2, 32)
    curve = solved(fine, doses=dose)
    assert curve.max() == pytest.approx(height, abs=0.6)
    assert fine[np.argmax(curve)] == pytest.approx(day, abs=0.015)


def test_il15_persistence_agrees_with_radau_at_its_tightest(solved):
    expected = SCIPY(DAYS, DEFAULTS, method="Radau", rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(solved(DAYS), expected, rtol=3e-6)


# Both steppers


@pytest.mark.parametrize("implicit", [False, True])
def test_each_stepper_agrees_with_scipy(steppers, implicit):
    for values in ({}, {"tau": 0.0}, {"rho": 1.3, "mu0": 0.5, "eps": 0.02}, {"k_d": 4.0, "L0": 0.1}):
        named = {**DEFAULTS, **values}
        curve, done = steppers[implicit](jnp.asarray(DAYS), named, IL15.doses(1e6))
        assert done
        expected = SCIPY(DAYS, named, rtol=1e-11, atol=1e-14)
        # Without IL-15 the curve falls to 1e-17; the explicit stepper starts ln x at 1e-6, the implicit one has atol.
        assert np.all(np.abs(np.asarray(curve) - expected) <= 1e-5 * expected + 1e-8)


def test_the_natural_scale_gives_the_same_curve_as_the_logarithmic_one(solved):
    model = replace(IL15, natural=IL15.states)
    run = jax.jit(lambda values: solver.solve_ode(model, jnp.asarray(DAYS), values, model.doses(1e6)))
    curves, done = run(DEFAULTS)
    assert done
    np.testing.assert_allclose(curves["copies_per_ug"], solved(DAYS), rtol=5e-6)


# Doses


CELLS = ((0.0, 1e6), (5.0, 3e5), (40.0, 1e7))


def test_several_infusions_are_those_of_scipy_restarted_at_each(solved):
    days = np.array([0, 2, 4.999, 5, 5.5, 9, 20, 39.999, 40, 41, 50, 90, 180])
    expected = SCIPY(days, DEFAULTS, cells=CELLS, rtol=1e-11)
    np.testing.assert_allclose(solved(days, doses=list(CELLS)), expected, rtol=5e-6)


def test_at_the_time_of_a_dose_the_value_is_the_one_after_it(solved):
    before, after = solved(np.array([40 - 1e-9, 40.0]), doses=list(CELLS))
    assert after - before == pytest.approx(DEFAULTS["F"] * 1e7, rel=1e-5)


def test_a_dose_after_the_last_sample_changes_nothing(solved):
    days = np.array([1.0, 7, 14, 28])
    np.testing.assert_allclose(
        solved(days, doses=[(0, 1e6), (28.5, 1e7), (90, 1e7)]), solved(days, doses=[(0, 1e6)]), rtol=1e-6
    )


def test_two_doses_on_one_day_are_their_sum(solved):
    days = np.array([0.0, 7, 14, 28])
    np.testing.assert_allclose(solved(days, doses=[(0, 4e5), (0, 6e5)]), solved(days, doses=1e6), rtol=1e-12)


def test_the_order_of_the_days_does_not_matter(solved):
    shuffled = np.random.default_rng(2020).permutation(len(DAYS))
    np.testing.assert_array_equal(solved(DAYS[shuffled]), solved(DAYS)[shuffled])


def test_rimiducid_removes_ninety_eight_percent_within_hours(solved):
    doses = {"cells": 1e6, "rimiducid": [(10.0, 1.0)]}
    hours = np.array([9.999, 10.0, 10 + 1 / 24, 10 + 4 / 24, 10 + 12 / 24, 11.0, 14.0, 28.0])
    curve = solved(hours, doses=doses)
    expected = SCIPY(hours, DEFAULTS, cells=((0, 1e6),), rimiducid=((10.0, 1.0),), rtol=1e-11)
    np.testing.assert_allclose(curve, expected, rtol=1e-5)
    undisturbed = solved(hours)
    left = curve / undisturbed
    assert left[1] == pytest.approx(1.0, rel=1e-5), "nothing at the moment of the dose"
    assert 0.01 < left[4] < 0.03, "about 2% after 12 hours: exp(-k_s/k_e) = 1.6%"
    assert left[2] < 0.25, "most of it within the first hour"


def test_dose_time_derivative_agrees_with_scipy_restarted_at_shifted_doses():
    """Segments: declared jumps were 1-2% off and undeclared ones 8-fold."""
    days = np.array([4.0, 6.0, 9.0, 14.0, 28.0])

    @jax.jit
    def ln_curve(second):
        doses = Doses(jnp.stack([0.0, second]), jnp.array([[1e6, 0.0, 0.0], [3e6, 0.0, 0.0]]))
        return jnp.log(solver.solve_ode(IL15, jnp.asarray(days), DEFAULTS, doses)[0]["copies_per_ug"])

    def reference(second):
        return np.log(SCIPY(days, DEFAULTS, cells=((0, 1e6), (second, 3e6)), rtol=1e-12, atol=1e-13))

    h = 1e-3
    near, far = ((reference(5.0 + s) - reference(5.0 - s)) / (2 * s) for s in (h, 2 * h))
    found = jax.jit(jax.jacfwd(ln_curve))(5.0)
    assert abs(found[0]) < 1e-9, "a sample before the dose does not feel it"
    np.testing.assert_allclose(found, (4 * near - far) / 3, rtol=1e-4, atol=1e-6)


def test_dose_amount_derivative_agrees_with_scipy():
    days = np.array([1.0, 7.0, 14.0, 60.0])

    def ln_curve(amount):
        doses = Doses(np.zeros(1), jnp.stack([amount, 0.0, 0.0])[None, :])
        return jnp.log(solver.solve_ode(IL15, jnp.asarray(days), DEFAULTS, doses)[0]["copies_per_ug"])

    def reference(amount):
        return np.log(SCIPY(days, DEFAULTS, cells=((0, amount),), rtol=1e-12, atol=1e-13))

    found = jax.jit(jax.jacfwd(ln_curve))(1e6) * 1e6
    np.testing.assert_allclose(found, (reference(1.001e6) - reference(0.999e6)) / 2e-3, rtol=1e-4, atol=1e-6)


def test_a_linear_closed_form_is_superposed():
    p = NK.values()
    days = np.array([0.0, 1, 2.999, 3, 4, 10, 28])
    curve = np.asarray(NK.solve(days, doses=[(0, 1e7), (3, 2e6)])["copies_per_ug"])

    def one(t, amount):
        shape = (1 - p["f_b"]) * np.exp(-p["alpha"] * t) + p["f_b"] * np.exp(-p["beta"] * t)
        return np.where(t >= 0, p["F"] * amount * shape, 0.0)

    np.testing.assert_allclose(curve, one(days, 1e7) + one(days - 3, 2e6), rtol=1e-12)


def test_superposition_has_a_finite_gradient_at_every_dose():
    def total(alpha):
        return NK.solve(jnp.array([0.0, 3.0, 400.0]), {"alpha": alpha}, [(0, 1e7), (3, 2e6), (500, 1e7)])[
            "copies_per_ug"
        ]

    assert np.all(np.isfinite(jax.jacfwd(total)(1.5)))
    assert np.all(np.isfinite(jax.jacrev(total)(1.5)))


def test_a_closed_form_for_one_infusion_refuses_a_second():
    model = Model(
        name="one_infusion", parameters={"k": Parameter(0.1, "1/day", "this test")}, outputs={"c": "copies/ug"},
        curve=lambda t, dose, k: dose**0.5 * jnp.exp(-k * t),
    )  # fmt: skip
    assert model.solve([0.0], doses=100.0)["c"] == pytest.approx(10.0)
    with pytest.raises(ModelError, match="cannot take 2"):
        model.solve([0.0], doses=[(0, 100.0), (3, 100.0)])


def test_a_model_without_dose_ignores_doses():
    np.testing.assert_array_equal(STEIN.solve(DAYS, doses=1e8)["copies_per_ug"], STEIN.solve(DAYS)["copies_per_ug"])


def test_doses_are_sorted_summed_and_filled_up():
    doses = as_doses({"cells": [(5, 2.0), (0, 1.0), (5, 3.0)], "rimiducid": [(7, 1.0)]}, ("cells", "rimiducid"))
    np.testing.assert_array_equal(doses.times, [0, 5, 7, np.inf])
    np.testing.assert_array_equal(doses.amounts, [[1, 0], [5, 0], [0, 1], [0, 0]])
    with pytest.raises(ModelError, match="rimiducid"):
        as_doses({"rimiducide": 1.0}, ("cells", "rimiducid"))
    with pytest.raises(ModelError, match="not negative"):
        as_doses([(-1, 1e6)], ("cells",))


# Transformations


def logistic():
    """x' = r x (1 - x/K): a small ODE with a solution to compare with."""
    return Model(
        name="logistic",
        parameters={
            "x_0": Parameter(1.0, "copies/ug", "this test"),
            "r": Parameter(0.5, "1/day", "this test"),
            "K": Parameter(100.0, "copies/ug", "this test"),
        },
        outputs={"c": "copies/ug"},
        states=("x",),
        start={"x": "x_0"},
        rhs=lambda x, r, K: (r * x * (1 - x / K),),
        observe=lambda x: x,
    )


def exact_logistic(t, x_0, r, K):
    return K / (1 + (K / x_0 - 1) * jnp.exp(-r * t))


def test_vmap_of_solve_is_scipy_for_each_lane_though_one_of_them_is_stiff():
    def curve(rho):
        return IL15.solve(DAYS, {"rho": rho}, 1e6)["copies_per_ug"]

    rhos = np.array([1.4, 1.6, *STIFF.values()])
    for row, rho in zip(jax.jit(jax.vmap(curve))(rhos), rhos, strict=True):
        np.testing.assert_allclose(row, SCIPY(DAYS, {**DEFAULTS, "rho": float(rho)}), rtol=2e-5)


def test_solve_under_jit_and_vmap_agrees_with_the_exact_solution():
    model, days = logistic(), jnp.array([0.0, 1.0, 5.0, 20.0, 60.0])

    def curve(r, K):
        return model.solve(days, {"r": r, "K": K})["c"]

    np.testing.assert_allclose(curve(0.5, 100.0), exact_logistic(days, 1.0, 0.5, 100.0), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(curve)(0.5, 100.0), exact_logistic(days, 1.0, 0.5, 100.0), rtol=1e-6)
    rates, levels = np.array([0.2, 0.5, 1.0]), np.array([10.0, 100.0, 1000.0])
    batch = jax.jit(jax.vmap(curve))(rates, levels)
    for row, r, K in zip(batch, rates, levels, strict=True):
        np.testing.assert_allclose(row, exact_logistic(days, 1.0, r, K), rtol=1e-6)


def test_forward_and_reverse_mode_of_solve_give_the_exact_gradient():
    model, days = logistic(), jnp.array([1.0, 5.0, 20.0])
    at = {"x_0": 1.0, "r": 0.5, "K": 100.0}

    def loss(values, reverse):
        return jnp.sum(jnp.log(model.solve(days, values, reverse=reverse)["c"]) ** 2)

    exact = jax.grad(lambda v: jnp.sum(jnp.log(exact_logistic(days, **v)) ** 2))(at)
    forward = jax.jit(jax.jacfwd(lambda values: loss(values, False)))(at)
    reverse = jax.jit(jax.grad(lambda values: loss(values, True)))(at)
    for name in at:
        assert forward[name] == pytest.approx(float(exact[name]), rel=1e-5), name
        assert reverse[name] == pytest.approx(float(exact[name]), rel=1e-5), name


def test_reverse_mode_of_il15_persistence_gives_the_same_gradient_as_forward_mode():
    names = ("rho", "mu0", "F", "tau")

    def loss(values, reverse):
        days, doses = jnp.array([1.0, 9.0, 60.0]), IL15.doses(1e6)
        curves, _ = solver.by(Method.EXPLICIT, IL15, days, IL15.values(values), doses, reverse=reverse)
        return jnp.sum(jnp.log(curves["copies_per_ug"]) ** 2)

    at = {name: DEFAULTS[name] for name in names}
    forward = jax.jit(jax.jacfwd(lambda values: loss(values, False)))(at)
    reverse = jax.jit(jax.grad(lambda values: loss(values, True)))(at)
    for name in names:
        assert reverse[name] == pytest.approx(float(forward[name]), rel=1e-6), name


# Solves that fail


def blow_up(rate):
    return Model(
        name="blow_up",
        parameters={"x_0": Parameter(1.0, "copies/ug", "this test"), "a": Parameter(rate, "1/day", "this test")},
        outputs={"c": "copies/ug"},
        states=("x",),
        start={"x": "x_0"},
        rhs=lambda x, a: (a * x**2,),
        observe=lambda x: x,
    )


def test_a_solve_that_fails_is_flagged_though_its_numbers_are_finite():
    # x' = x^2, x(0) = 1 is infinite on day 1.
    model, days = blow_up(1.0), jnp.array([0.5, 0.9, 2.0, 5.0])
    curves, done = jax.jit(lambda v: solver.solve_ode(model, days, v, model.doses(None)))(model.values())
    assert not done
    assert np.all(np.isfinite(curves["c"])), "held at exp(230): what isfinite does not see"
    np.testing.assert_allclose(curves["c"][:2], [2.0, 10.0], rtol=1e-5)


def test_a_solve_that_both_steppers_fail_is_nan_everywhere():
    model = blow_up(1.0)
    curves, succeeded = jax.jit(lambda v: solver.solve(model, jnp.array([0.5, 0.9, 2.0, 5.0]), v, model.doses(None)))(
        model.values()
    )
    assert not succeeded
    assert np.all(np.isnan(curves["c"]))
    fine, succeeded = jax.jit(lambda v: solver.solve(model, jnp.array([0.5, 0.9]), v, model.doses(None)))(
        model.values()
    )
    assert succeeded
    np.testing.assert_allclose(fine["c"], [2.0, 10.0], rtol=1e-5)


def test_a_solve_that_is_too_stiff_for_the_explicit_stepper_is_done_implicitly(steppers):
    named = {**DEFAULTS, **STIFF}
    _, explicit = steppers[False](jnp.asarray(DAYS), named, IL15.doses(1e6))
    assert not explicit
    stepped = replace(IL15, structure=None)
    inputs = sensitivity.inputs_of(stepped, named, [], DAYS, np.zeros(len(DAYS)), IL15.doses(1e6))
    poor, again = sensitivity.curve(stepped, (), np.zeros(0), inputs, 0, rescue=False)
    assert not poor.solved
    assert not again
    rescued, again = sensitivity.curve(stepped, (), np.zeros(0), inputs, 0)
    assert rescued.solved
    assert again
    expected = SCIPY(DAYS, named, rtol=1e-11)
    np.testing.assert_allclose(np.exp(rescued.value[: len(DAYS)]), expected, rtol=2e-5)


def test_a_state_that_decays_is_exact_to_1e_49_where_the_implicit_stepper_solves_it():
    decay = Model(
        name="decay", parameters={"k": Parameter(2.0, "1/day", "assumption")}, outputs={"y": "1"}, states=("y",),
        rhs=lambda y, k: (-k * y,), observe=lambda y: y, dosing={"cells": ("y", "k")}, stiff=True,
    )  # fmt: skip
    days = np.linspace(0, 60, 61)
    np.testing.assert_allclose(decay.solve(days, doses=1e3)["y"], 2e3 * np.exp(-2 * days), rtol=1e-6)
    # On the natural scale it is exact to what it started from.
    natural = replace(decay, natural=("y",)).solve(days, doses=1e3)["y"]
    np.testing.assert_allclose(natural, 2e3 * np.exp(-2 * days), rtol=1e-6, atol=1e-4)


def test_where_no_stepper_can_go_a_fit_is_told_and_not_interrupted():
    # Growth by exp(e^5) a day: the linear solves of the implicit stepper meet infinity.
    from cellkinetics.optimising.optimise import newton

    model = models.load("il15_persistence")
    fit = ck.fit(model, ck.example().select("P06"), starts=1)
    far = fit.x.copy()
    far[fit.problem.free.index("rho")] += 5.0
    at, second, _, converged = newton(fit.problem, far, search=False)
    assert not second.solved
    assert not converged
    np.testing.assert_array_equal(at, far)


@pytest.mark.parametrize("stiff", [False, True], ids=["explicit", "implicit"])
def test_a_state_that_is_nothing_grows_from_nothing_only_when_something_flows_in(stiff):
    parameters = {
        "F": ck.Parameter(1.0, "copies/ug", "this test"),
        "k": ck.Parameter(0.1, "1/day", "this test"),
        "g": ck.Parameter(0.8, "1/day", "this test"),
    }
    model = ck.Model(
        name="growing",
        outputs={"copies": "copies/ug"},
        parameters=parameters,
        states=("fed", "alone"),
        rhs=lambda fed, alone, k, g: (-k * fed, g * alone),
        observe=lambda alone: alone,
        dosing={"other": ("fed", "F"), "cells": ("alone", "F")},
        stiff=stiff,
    )
    never = model.solve([0.0, 10.0, 45.0], doses={"other": 1e6})["copies"]
    late = model.solve([0.0, 29.9, 31.0], doses={"other": 1e6, "cells": [(30.0, 2.0)]})["copies"]
    assert np.all(np.asarray(never) == 0.0)
    np.testing.assert_allclose(late, [0.0, 0.0, 2 * np.exp(0.8)], rtol=1e-6)


@pytest.mark.parametrize("f_b", [1e-12, 1e-3, 0.3])
def test_a_sum_of_states_that_is_lost_in_rounding_is_0_and_not_below(f_b):
    # alpha below beta: memory cells are then a small negative number beside E, which falls to 1e-30 of its peak.
    model = models.load("smooth_switch")
    values = {"fold": 865.0, "t_max": 14.3, "c_max": 20700.0, "alpha": 0.197, "f_b": f_b, "beta": 0.211}
    curve = np.asarray(model.solve(np.array([0, 14.3, 60, 90, 180, 365.0]), values)["copies_per_ug"])
    assert (curve[:4] > 1e-3).all()
    assert (curve >= 0).all()
    assert curve[-1] < 1e-8 * curve.max()


def test_a_curve_that_is_below_0_by_more_than_rounding_stays_there():
    model = models.load("smooth_switch")
    values = {"fold": 865.0, "t_max": 14.3, "c_max": 20700.0, "alpha": 0.1, "f_b": 1.0 - 1e-9, "beta": 0.2}
    turned = replace(model, observe=lambda E, M: M)
    curve = np.asarray(turned.solve(np.array([20.0, 30.0]), values)["copies_per_ug"])
    assert (curve < -100).all()


def test_programs_are_made_for_few_sizes_and_a_third_of_each_at_most_is_padding():
    sizes = {solver.few_sizes(count, 16) for count in range(1, 1025)}
    assert sorted(sizes) == [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
    for count in range(33, 1025):
        assert count <= solver.few_sizes(count, 16) <= max(1.5 * count, count + 15)
    assert solver.few_sizes(0, 16) == 16


def test_free_values_may_be_standardised_effects_about_a_mean():
    names = ["F", "mu0"]
    at = [list(IL15.parameters).index(name) for name in names]
    mean = np.array([np.log(3e-4), np.log(0.2)])
    factor = np.array([[0.5, 0.0], [-0.3, 0.4]])
    plain = sensitivity.inputs_of(IL15, IL15.values(), names, DAYS, np.zeros(len(DAYS)), IL15.doses(1e6))
    offset, basis = plain.offset.copy(), plain.basis.copy()
    offset[at] = mean
    basis[np.ix_(at, [0, 1])] = factor
    eta = np.array([0.7, -0.2])
    ours, _ = sensitivity.curve(IL15, (), eta, plain._replace(offset=offset, basis=basis), 1)
    theirs, _ = sensitivity.curve(IL15, (), mean + factor @ eta, plain, 1)
    np.testing.assert_allclose(ours.value, theirs.value, atol=1e-12)
    np.testing.assert_allclose(ours.jacobian, theirs.jacobian @ factor, rtol=1e-9, atol=1e-12)


def test_a_chain_of_eight_states_is_solved_to_its_end():
    # No stage of a short step reaches the last states: each is a higher power of the time.
    names = [f"E{i}" for i in range(8)]
    model = Model(
        name="chain", parameters={"k": Parameter(0.4, "1/day", "assumption")}, outputs={"copies_per_ug": "copies/ug"},
        states=tuple(names), start={"E0": lambda k: 400.0 + 0 * k},
        rhs=lambda E0, E1, E2, E3, E4, E5, E6, E7, k: (
            -k * E0, k * (E0 - E1), k * (E1 - E2), k * (E2 - E3),
            k * (E3 - E4), k * (E4 - E5), k * (E5 - E6), k * (E6 - E7),
        ),
        observe=lambda E7: E7,
    )  # fmt: skip
    days = np.array([0.1, 1.0, 5.0, 20.0, 60.0])
    expected = 400 * np.exp(-0.4 * days) * (0.4 * days) ** 7 / 5040
    np.testing.assert_allclose(model.solve(days)["copies_per_ug"], expected, rtol=3e-6)
