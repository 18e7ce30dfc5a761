"""The structured solve of il15_persistence against its table, scipy, the adaptive solver and its own finer meshes."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellkinetics import models
from cellkinetics.modelling.dosing import Doses
from cellkinetics.solving import solver, structured
from cellkinetics.solving.mesh import mesh
from cellkinetics.solving.structured import NAMES

FOLDER = Path(__file__).parents[1] / "reference"
SCIPY = runpy.run_path(str(FOLDER / "il15_events.py"))
RESTARTED, BY_FREE_NICHE = SCIPY["copies"], SCIPY["copies_by_free_niche"]
IL15 = models.load("il15_persistence")
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
CELLS, SWITCH = ((0.0, 1e6), (5.0, 3e5), (60.0, 1e6)), ((9.0, 1.0), (20.0, 0.01), (60.0, 0.01))
EVENT_DAYS = np.array([0, 1, 3, 4.999, 5, 7, 9, 9.02, 10, 14, 21, 28, 60, 60.05, 61, 65, 70, 180])


def vector(**changed):
    return np.array([float({**DEFAULTS, **changed}[name]) for name in NAMES])


def named(parameters):
    return dict(zip(NAMES, parameters, strict=True))


def events(cells=((0.0, 1e6),), rimiducid=(), lymphodepletion=()):
    """Doses with the three channels, padded by one slot."""
    days = sorted({0.0, *(day for day, _ in (*cells, *rimiducid)), *lymphodepletion})
    amounts = np.zeros((len(days) + 1, 3))
    for channel, given in enumerate((cells, rimiducid, [(day, 1.0) for day in lymphodepletion])):
        for day, amount in given:
            amounts[days.index(day), channel] += amount
    return Doses(np.append(days, np.inf), amounts)


def draws(count, log_sd, seed=2020):
    """(count, 18) parameters drawn log-normally around the defaults and clipped to their bounds."""
    factors = np.exp(log_sd * np.random.default_rng(seed).normal(size=(count, len(NAMES))))
    limits = [(IL15.parameters[name].min, IL15.parameters[name].max) for name in NAMES]
    return np.clip(vector() * factors, *np.array(limits).T)


def log_error(curve, expected):
    """|ln C - ln expected| where the curve is above 1e-3 copies/ug, else 0."""
    curve, expected = np.asarray(curve), np.asarray(expected)
    return np.where(expected > 1e-3, np.abs(np.log((curve + 1e-99) / (expected + 1e-99))), 0.0)


@pytest.fixture(scope="module")
def many():
    """{fineness: (copies (d, n), estimated errors (d, n)) of the parameters (d, 18), vmapped over eleven days}."""

    def compiled(fineness):
        on = mesh(DAYS, IL15.doses(1e6), fineness)
        return jax.jit(jax.vmap(lambda parameters: structured.copies(parameters, on, fineness)))

    return {fineness: compiled(fineness) for fineness in (0, 1, 2, structured.ROUGH)}


@pytest.fixture(scope="module")
def event_mesh():
    return mesh(EVENT_DAYS, events(CELLS, SWITCH, (-4.0, 60.0)))


@pytest.fixture(scope="module")
def lean():
    """Compiled ln_curve of parameters and a mesh."""
    return jax.jit(structured.ln_curve, static_argnums=2)


# Values


@pytest.mark.parametrize("fineness", [0, 1, 2])
@pytest.mark.parametrize("dose", TABLE)
def test_the_table_of_the_model_is_met(dose, fineness):
    curves, fine = structured.solution(DAYS, DEFAULTS, IL15.doses(dose), fineness=fineness)
    assert fine
    np.testing.assert_allclose(curves["copies_per_ug"], TABLE[dose], rtol=5e-6)


@pytest.mark.parametrize("dose", WITHOUT_IL15)
def test_the_table_without_il15_is_met(dose):
    curves, fine = structured.solution(WITHOUT_IL15_DAYS, {**DEFAULTS, "tau": 0.0}, IL15.doses(dose))
    assert fine
    np.testing.assert_allclose(curves["copies_per_ug"], WITHOUT_IL15[dose], rtol=5e-6)


@pytest.mark.parametrize("seed", range(8))
def test_a_random_curve_agrees_with_radau_in_another_form(many, seed):
    (parameters,) = draws(1, 0.5, seed)
    expected = BY_FREE_NICHE(DAYS, named(parameters))
    curve, _ = many[2](parameters[None])
    assert log_error(curve[0], expected).max() < 1e-7


@pytest.mark.parametrize("changed", [{}, {"gamma_M": 0.03}, {"rho": 1.3, "eps": 0.02, "L0": 0.1, "gamma_M": 0.01}])
@pytest.mark.parametrize(
    ("rimiducid", "lymphodepletion"),
    [((), ()), ((), (-5.0,)), ((), (-4.0, 60.0)), (SWITCH, ()), (SWITCH, (-4.0, 30.0, 31.0, 60.0))],
)
def test_any_sequence_of_events_agrees_with_scipy_restarted_at_each(changed, rimiducid, lymphodepletion):
    values = {**DEFAULTS, **changed}
    expected = RESTARTED(EVENT_DAYS, values, CELLS, rimiducid, lymphodepletion)
    curves, fine = structured.solution(EVENT_DAYS, values, events(CELLS, rimiducid, lymphodepletion))
    assert fine
    np.testing.assert_allclose(curves["copies_per_ug"], expected, rtol=1e-8)


def test_infusions_and_switch_drug_agree_with_the_adaptive_solver():
    doses = IL15.doses({"cells": list(CELLS), "rimiducid": list(SWITCH)})
    expected, done = solver.compiled(IL15, False)(jnp.asarray(EVENT_DAYS), DEFAULTS, doses)
    assert done
    curves, _ = structured.solution(EVENT_DAYS, DEFAULTS, doses)
    # Below 1e-4 of a copy the adaptive solver's floor of 1e-6 shows.
    np.testing.assert_allclose(curves["copies_per_ug"], expected["copies_per_ug"], rtol=1e-5, atol=3e-6)


def test_a_second_lymphodepletion_lets_a_second_infusion_expand():
    days = np.linspace(60, 75, 16)
    with_it, without = (
        structured.solution(days, DEFAULTS, events(((0.0, 1e6), (60.0, 1e6)), (), days_of))[0]["copies_per_ug"].max()
        for days_of in ((60.0,), ())
    )
    assert with_it > 8 * without


def test_the_host_has_recovered_a_little_when_chemotherapy_precedes_the_infusion():
    curve = {
        days_of: structured.solution(np.array([8.0]), DEFAULTS, events(lymphodepletion=days_of))[0]["copies_per_ug"][0]
        for days_of in ((), (0.0,), (-3.0,))
    }
    assert curve[()] == curve[(0.0,)]
    assert curve[(-3.0,)] < 0.5 * curve[()]


def test_the_curve_is_zero_before_day_0_and_the_order_of_days_is_free():
    days = np.array([7.0, -1.0, 0.0, 365, 7.0, 3.0])
    curves, fine = structured.solution(days, DEFAULTS, IL15.doses(1e6))
    curve = np.asarray(curves["copies_per_ug"])
    assert fine
    assert curve[1] == 0
    np.testing.assert_allclose(curve[[2, 5, 0, 4, 3]], np.array(TABLE[1e6])[[0, 2, 3, 3, 10]], rtol=5e-6)


def test_at_the_time_of_a_dose_the_value_is_the_one_after_it():
    curves, _ = structured.solution(EVENT_DAYS, DEFAULTS, events(CELLS))
    curve = np.asarray(curves["copies_per_ug"])
    before, at = curve[EVENT_DAYS == 4.999][0], curve[EVENT_DAYS == 5][0]
    assert at - before == pytest.approx(DEFAULTS["F"] * 3e5, rel=0.03)


def test_traced_days_and_doses_give_the_curve_of_the_mesh_made_beforehand():
    doses = events(CELLS, SWITCH, (-4.0, 60.0))
    days = np.append(EVENT_DAYS[::-1], [-2.0, 180.0])
    run = jax.jit(lambda days, values, doses: structured.solution(days, values, doses))
    traced, fine = run(days, DEFAULTS, doses)
    made, _ = structured.solution(days, DEFAULTS, doses)
    assert fine
    np.testing.assert_allclose(traced["copies_per_ug"], made["copies_per_ug"], rtol=1e-8)


# What is not to be trusted is said


def test_no_wild_draw_is_wrong_and_called_fine(many):
    parameters = np.vstack([draws(150, 0.5), draws(150, 1.0)])
    exact, _ = many[2](parameters)
    shares = []
    for level in (0, 1):
        curve, error = many[level](parameters)
        assert np.all(np.isfinite(curve))
        fine = np.asarray(jax.vmap(structured.is_fine, in_axes=(0, 0, None))(curve, error, 1e-9))
        off = log_error(curve, exact).max(axis=1)
        assert np.any(off > 1e-3), "hard curves are among these"
        assert np.all(off[fine] < 1e-3)
        shares.append(fine.mean())
    assert 0.6 < shares[0] < shares[1]


def test_the_roughest_solution_is_near_enough_to_search_with(many):
    parameters = draws(300, 0.3)
    exact, _ = many[2](parameters)
    curve, error = many[structured.ROUGH](parameters)
    fine = np.asarray(jax.vmap(lambda c, e: structured.is_fine(c, e, 1e-9, structured.ROUGH))(curve, error))
    off = log_error(curve, exact).max(axis=1)
    assert fine.mean() > 0.9
    assert np.median(off[fine]) < 1e-3
    assert np.max(off[fine]) < 0.1
    # Nobody is answered with it.
    assert structured.persistence.finenesses == structured.ROUGH


@pytest.mark.parametrize("changed", [{"rho": 1e3}, {"delta": 1e3}, {"N": 1e-6, "rho": 5.0}, {"k_d": 1e3}, {"k_e": 1e5}])
def test_extreme_parameters_give_finite_numbers(lean, event_mesh, changed):
    value, jacobian, _ = lean(vector(**changed), event_mesh, 0)
    assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(jacobian))


def test_an_e_beyond_all_bounds_is_flagged():
    _, fine = structured.solution(DAYS, {**DEFAULTS, "rho": 1e3}, IL15.doses(1e6), fineness=2)
    assert not fine


# Derivatives


def test_sensitivities_are_those_of_forward_mode_on_wild_draws(event_mesh):
    """Of the same discrete map, quantities held at their bounds included; draws that are flagged need not agree."""
    lean = jax.jit(jax.vmap(lambda one: structured.ln_curve(one, event_mesh)))
    plain = jax.jit(jax.vmap(jax.jacfwd(lambda one: structured._copies(one, event_mesh, 0)[0])))
    parameters = np.vstack([draws(150, 0.5), draws(150, 1.0)])
    value, jacobian, fine = map(np.asarray, lean(parameters))
    expected = plain(parameters) / np.exp(value)[:, :, None] * parameters[:, None]
    off = np.max(np.abs(jacobian * parameters[:, None] - expected) / (1 + np.abs(expected)), axis=(1, 2))
    assert np.all(np.isfinite(jacobian))
    assert fine.sum() > 150
    assert np.max(off[fine]) < 1e-8


def test_a_fine_solve_has_sensitivities_near_those_of_a_finer_mesh(event_mesh):
    finer = mesh(EVENT_DAYS, events(CELLS, SWITCH, (-4.0, 60.0)), 2)
    coarse, exact = (
        jax.jit(jax.vmap(lambda one, on=on, level=level: structured.ln_curve(one, on, level)))
        for on, level in ((event_mesh, 0), (finer, 2))
    )
    parameters = draws(200, 0.5, seed=1)
    _, jacobian, fine = map(np.asarray, coarse(parameters))
    value, expected, sure = map(np.asarray, exact(parameters))
    off = np.abs(jacobian - expected) * parameters[:, None] / (1 + np.abs(expected) * parameters[:, None])
    off = np.where((value > np.log(1e-3))[:, :, None], off, 0.0).max(axis=(1, 2))[fine & sure]
    assert np.median(off) < 1e-8
    assert np.quantile(off, 0.9) < 1e-4
    assert np.max(off) < 0.05


@pytest.mark.parametrize("changed", [{}, {"gamma_M": 0.05, "tau": 0.1}, {"rho": 1.3, "L0": 0.2, "phi": 0.9}])
def test_sensitivities_agree_with_differences_of_scipy(lean, event_mesh, changed):
    parameters = vector(**{"gamma_M": 0.01, **changed})
    value, jacobian, _ = lean(parameters, event_mesh, 0)
    copies = np.exp(value) - 1e-9
    for index, name in enumerate(NAMES):
        step = 2e-4 * parameters[index]
        ends = []
        for sign in (1, -1):
            moved = parameters.copy()
            moved[index] += sign * step
            ends.append(RESTARTED(EVENT_DAYS, named(moved), CELLS, SWITCH, (-4.0, 60.0), rtol=1e-11))
        expected = (ends[0] - ends[1]) / (2 * step) / copies * parameters[index]
        np.testing.assert_allclose(jacobian[:, index] * parameters[index], expected, rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    "changed",
    [{"tau": 0.0}, {"kappa": 0.0}, {"tau": 0.0, "kappa": 0.0}, {"L0": 1.0}, {"phi": 0.0}, {"phi": 1.0}, {"eps": 0.0},
     {"k_s": 0.0}, {"mu0": 0.0}, {"gamma_M": 0.1}],
)  # fmt: skip
def test_derivatives_at_the_edges_are_those_beside_them(lean, event_mesh, changed):
    """One-sided differences towards the inside, with the curve two steps in, so that the error is of second order."""
    (name, edge), *_ = changed.items()
    inside = vector(**changed)
    index = NAMES.index(name)
    step = 1e-5 * (-1 if edge == 1.0 else 1)
    curves = []
    for steps in (0, 1, 2):
        moved = inside.copy()
        moved[index] += steps * step
        curves.append(np.exp(lean(moved, event_mesh, 0)[0]))
    value, jacobian, _ = lean(inside, event_mesh, 0)
    assert np.all(np.isfinite(jacobian))
    expected = (4 * curves[1] - 3 * curves[0] - curves[2]) / (2 * step)
    np.testing.assert_allclose(jacobian[:, index] * np.exp(value), expected, rtol=1e-4, atol=1e-4 * np.exp(value).max())


def test_the_hessian_is_the_difference_of_jacobians():
    on = mesh(DAYS, IL15.doses(1e6))
    jacobian = jax.jit(jax.jacfwd(lambda parameters: structured.copies(parameters, on)[0]))
    hessian = jax.jit(jax.jacfwd(jax.jacfwd(lambda parameters: structured.copies(parameters, on)[0])))
    parameters = vector(gamma_M=0.01)
    exact = np.asarray(hessian(parameters))
    largest = np.abs(exact).max(axis=(1, 2), keepdims=True)
    assert np.all(np.abs(exact - np.swapaxes(exact, 1, 2)) <= 1e-9 * largest)
    for index in range(len(NAMES)):
        moved = np.eye(len(NAMES))[index] * 1e-5 * parameters[index]
        expected = (jacobian(parameters + moved) - jacobian(parameters - moved)) / (2 * moved[index])
        scale = np.abs(expected).max(axis=0)
        assert np.all(np.abs(exact[:, :, index] - expected) <= 1e-6 * scale[None] + 1e-12)


def test_derivatives_by_days_and_amounts_are_those_of_differences():
    """By the day and the amount of a second infusion, the day of a lymphodepletion, a switch dose and the samples."""
    days = np.array([3.0, 8, 10, 20, 32, 40, 90])
    cells, switch, restart = np.eye(3)

    def curve(x):
        at = jnp.array([0.0, 9.0, 29.0, 30.0, jnp.inf])
        at = at.at[3].add(x[0]).at[2].add(x[2])
        amounts = jnp.stack([1e6 * cells, (0.02 + x[3]) * switch, restart, 1e6 * (1 + x[1]) * cells, 0 * cells])
        return structured.solution(jnp.asarray(days) + x[4], DEFAULTS, Doses(at, amounts))[0]["copies_per_ug"]

    run = jax.jit(curve)
    slope = np.asarray(jax.jit(jax.jacfwd(curve))(jnp.zeros(5)))
    for index, direction in enumerate(np.eye(5)):
        expected = np.asarray(run(1e-4 * direction) - run(-1e-4 * direction)) / 2e-4
        assert np.any(expected != 0)
        np.testing.assert_allclose(slope[:, index], expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_patients_with_their_own_days_doses_and_parameters_are_vmapped(lean):
    days = [DAYS, np.array([0, 2, 9, 15, 30, 31, 33, 60, 61, 62, 90.0])]
    doses = [events(), events(((0.0, 1e6), (30.0, 1e5)), ((60.0, 1.0),), (-5.0, 30.0))]
    panels = max(len(mesh(d, given).length) for d, given in zip(days, doses, strict=True))
    meshes = [mesh(d, given, panels=panels) for d, given in zip(days, doses, strict=True)]
    stacked = jax.tree.map(lambda *rows: np.stack(rows), *meshes)
    parameters = np.stack([vector(), vector(rho=1.4)])
    value, jacobian, fine = jax.jit(jax.vmap(structured.ln_curve))(parameters, stacked)
    assert np.all(fine)
    for row, (on, one) in enumerate(zip(meshes, parameters, strict=True)):
        single, slope, _ = lean(one, on, 0)
        np.testing.assert_allclose(value[row], single, rtol=1e-12)
        np.testing.assert_allclose(jacobian[row], slope, rtol=1e-9, atol=1e-12 * np.abs(slope).max())
