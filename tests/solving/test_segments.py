"""Infusions over time, lags, switches, markers and inputs against scipy restarted at every event."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cellkinetics import Model, ModelError, Parameter
from cellkinetics.modelling.course import as_courses
from cellkinetics.modelling.dosing import Doses
from cellkinetics.solving import solver

VALUES = {"a": 0.6, "k": 0.3, "g": 0.9, "lag": 1.5, "t_1": 4.0, "t_2": 9.0}
DAYS = np.array([0, 0.3, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8.9, 9, 10, 12, 20.0])


def rhs(A, B, a, k, g, phase):
    """A drains into B; B grows between the switches and is lost before and after them."""
    return -a * A, a * A + jnp.where(phase == 1, g, -k) * B


def build(**changes):
    arguments = {
        "name": "two_states",
        "parameters": {name: Parameter(value, "1", "this test") for name, value in VALUES.items()},
        "outputs": {"c": "copies/ug"},
        "states": ("A", "B"),
        "rhs": rhs,
        "observe": lambda A, B: A + B,
        "dosing": {"cells": ("A", lambda: 1.0), "drug": ("B", lambda: 2.0)},
        "lags": {"cells": "lag"},
        "switches": ("t_1", "t_2"),
    }
    return Model(**{**arguments, **changes})


MODEL = build()
BOLUS = {"cells": [(0, 100.0), (6, 40.0)], "drug": [(2, 30.0)]}
INFUSED = {"cells": [(0, 100.0, 2.0), (6, 40.0)], "drug": [(2, 30.0, 0.5)]}


def reference(days, p, doses):
    """A + B by scipy, stopped and started again at every dose, end of an infusion and switch."""
    events = []
    for channel, given in doses.items():
        index, gain, lag = (0, 1.0, p["lag"]) if channel == "cells" else (1, 2.0, 0.0)
        for day, amount, duration in [(*event, 0.0)[:3] for event in given]:
            events.append((day + lag, index, gain * amount, duration))
    ends = [day + duration for day, _, _, duration in events]
    edges = np.unique([0.0, p["t_1"], p["t_2"], *(event[0] for event in events), *ends, days[-1] + 1])
    state, found = np.zeros(2), np.zeros(len(days))
    for begin, end in pairwise(edges):
        rates = np.zeros(2)
        for day, index, amount, duration in events:
            state[index] += amount * (day == begin and duration == 0)
            if duration and day <= begin < day + duration:
                rates[index] += amount / duration
        net = p["g"] if p["t_1"] <= begin < p["t_2"] else -p["k"]
        here = (days >= begin) & (days < end)
        asked = np.unique([begin, *days[here], end])

        def slopes(t, s, net=net, rates=rates):
            return [-p["a"] * s[0] + rates[0], p["a"] * s[0] + net * s[1] + rates[1]]

        done = solve_ivp(slopes, (begin, end), state, "DOP853", asked, rtol=1e-12, atol=1e-13)
        found[here] = done.y.sum(axis=0)[np.searchsorted(asked, days[here])]
        state = done.y[:, -1].copy()
    return found


@pytest.fixture(scope="module")
def curves():
    """Compiled (days, values, doses) -> copies/ug and derivatives of ln by every parameter."""

    def run(days, values, doses):
        curve = solver.solve_ode(MODEL, days, values, doses)[0]["c"]
        return jnp.log(curve + 1e-3), curve

    return jax.jit(lambda days, values, doses: jax.jacfwd(run, argnums=1, has_aux=True)(days, values, doses))


@pytest.mark.parametrize("doses", [BOLUS, INFUSED], ids=["boluses", "infusions over time"])
def test_the_curve_is_that_of_scipy_restarted_at_every_event(curves, doses):
    _, found = curves(DAYS, VALUES, MODEL.doses(doses))
    np.testing.assert_allclose(found, reference(DAYS, VALUES, doses), rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("doses", [BOLUS, INFUSED], ids=["boluses", "infusions over time"])
@pytest.mark.parametrize("name", VALUES)
def test_derivatives_agree_with_central_differences_of_scipy(curves, doses, name):
    # Every day of a jump is left out: there the curve has a right and a left derivative.
    days = np.array([1.51, 1.7, 2.001, 2.2, 3, 3.999, 4.001, 5, 7.501, 8.999, 9.001, 10, 12, 19, 20.0])
    found, _ = curves(days, VALUES, MODEL.doses(doses))
    step = 1e-5 * VALUES[name]
    high, low = (np.log(reference(days, {**VALUES, name: VALUES[name] + s * step}, doses) + 1e-3) for s in (1, -1))
    np.testing.assert_allclose(found[name], (high - low) / (2 * step), rtol=1e-4, atol=1e-4)


def test_derivatives_are_finite_on_the_days_of_the_switches_and_of_the_lagged_doses(curves):
    found, _ = curves(DAYS, VALUES, MODEL.doses(INFUSED))
    for name, slope in found.items():
        assert np.all(np.isfinite(slope)), name


def test_an_infusion_over_time_reaches_its_constant_level():
    p = Parameter(0.6, "1/day", "this test")
    model = build(
        parameters={"a": p}, states=("A",), rhs=lambda A, a: (-a * A,), observe=lambda A: A,
        dosing={"cells": ("A", lambda: 1.0)}, lags={}, switches=(),
    )  # fmt: skip
    days = np.array([0.0, 1, 5, 60, 61, 65])
    curve = model.solve(days, doses=[(0, 60.0 * 12, 60.0)])["c"]
    level = 12 / 0.6
    exact = np.where(days <= 60, level * (1 - np.exp(-0.6 * days)), level * np.exp(-0.6 * (days - 60)))
    np.testing.assert_allclose(curve, exact, rtol=1e-6, atol=1e-5)


def test_an_infusion_over_an_instant_is_a_bolus(curves):
    _, bolus = curves(DAYS, VALUES, MODEL.doses({"cells": [(0, 100.0)]}))
    _, brief = curves(DAYS, VALUES, MODEL.doses({"cells": [(0, 100.0, 1e-7)]}))
    there = DAYS > 1.5
    np.testing.assert_allclose(brief[there], bolus[there], rtol=1e-6)


def test_overlapping_infusions_add_their_rates(curves):
    _, apart = curves(DAYS, VALUES, MODEL.doses({"cells": [(0, 100.0, 4.0), (2, 50.0, 2.0)]}))
    # 25 a day, and 25 more from day 2 on.
    _, joined = curves(DAYS, VALUES, MODEL.doses({"cells": [(0, 50.0, 2.0), (2, 100.0, 2.0)]}))
    np.testing.assert_allclose(apart, joined, rtol=1e-6, atol=1e-5)


def test_the_derivative_by_the_day_of_a_lagged_dose_agrees_with_scipy():
    days = np.array([3.0, 7.0, 7.6, 10.0, 20.0])

    def ln_curve(day):
        doses = Doses(jnp.stack([0.0, day]), jnp.array([[100.0, 0.0], [40.0, 0.0]]))
        return jnp.log(solver.solve_ode(MODEL, jnp.asarray(days), VALUES, doses)[0]["c"])

    def expected(day):
        return np.log(reference(days, VALUES, {"cells": [(0, 100.0), (day, 40.0)]}))

    found = jax.jit(jax.jacfwd(ln_curve))(6.0)
    np.testing.assert_allclose(found, (expected(6 + 1e-4) - expected(6 - 1e-4)) / 2e-4, rtol=1e-4, atol=1e-5)


def test_switches_in_the_wrong_order_are_passed_in_the_order_of_their_days(curves):
    # phase counts switches passed, whichever they are.
    _, found = curves(DAYS, {**VALUES, "t_1": 9.0, "t_2": 4.0}, MODEL.doses(BOLUS))
    _, sorted_days = curves(DAYS, VALUES, MODEL.doses(BOLUS))
    np.testing.assert_allclose(found, sorted_days, rtol=1e-7, atol=1e-6)


def test_a_switch_after_the_last_sample_changes_nothing(curves):
    far, _ = curves(DAYS, {**VALUES, "t_2": 500.0}, MODEL.doses(BOLUS))
    assert np.all(np.asarray(far["t_2"]) == 0)


def test_a_switch_on_the_day_of_a_dose_has_its_derivative_and_so_has_the_lag_of_that_dose(curves):
    # The dose of day 6 arrives on day 7.5, where the first switch is too.
    days, at = np.array([3.0, 7.0, 8.0, 12.0, 20.0]), {**VALUES, "t_1": 7.5}
    found, _ = curves(days, at, MODEL.doses(BOLUS))
    for name in ("t_1", "lag", "g", "a"):
        high, low = (np.log(reference(days, {**at, name: at[name] + s * 1e-5}, BOLUS) + 1e-3) for s in (1, -1))
        np.testing.assert_allclose(found[name], (high - low) / 2e-5, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_lag_of_zero_has_the_derivative_from_above(curves):
    days, at = np.array([0.5, 3.0, 5.0, 12.0]), {**VALUES, "lag": 0.0}
    found, _ = curves(days, at, MODEL.doses(BOLUS))
    zero, one, two = (np.log(reference(days, {**at, "lag": lag}, BOLUS) + 1e-3) for lag in (0.0, 1e-4, 2e-4))
    np.testing.assert_allclose(found["lag"], (4 * one - two - 3 * zero) / 2e-4, rtol=1e-4, atol=1e-4)


# Markers


def clocks():
    """x' = 1/(1 + days since a)  + days since b / 100."""
    return Model(
        name="clocks",
        parameters={"x_0": Parameter(1.0, "copies/ug", "this test")},
        outputs={"c": "copies/ug", "days_a": "day", "days_b": "day"},
        states=("x",),
        start={"x": "x_0"},
        rhs=lambda since_a, since_b: (1 / (1 + since_a) + since_b / 100,),
        observe=lambda x, since_a, since_b: {"c": x, "days_a": since_a, "days_b": since_b},
        dosing={"cells": ("x", lambda: 0.0)},
        markers=("a", "b"),
    )


def test_each_marker_has_its_own_clock_which_its_events_restart():
    days = np.array([0.0, 1, 2, 3, 4.999, 5, 6, 8, 10])
    found = clocks().solve(days, doses={"a": [(3, 1), (8, 1)], "b": [(-2, 1), (5, 1)]})
    np.testing.assert_allclose(found["days_a"], [0, 1, 2, 0, 1.999, 2, 3, 0, 2])
    np.testing.assert_allclose(found["days_b"], [2, 3, 4, 5, 6.999, 0, 1, 3, 5])

    def integral(t):
        a = np.log1p(min(t, 3.0)) + np.log1p(np.clip(t - 3, 0, 5)) + np.log1p(max(t - 8, 0))
        b = (min(t, 5.0) ** 2 / 2 + 2 * min(t, 5.0) + max(t - 5, 0) ** 2 / 2) / 100
        return 1 + a + b

    np.testing.assert_allclose(found["c"], [integral(t) for t in days], rtol=1e-6)


def test_a_marker_without_an_event_counts_from_the_first_infusion():
    found = clocks().solve([0.0, 4.0], doses={"b": [(1, 1)]})
    np.testing.assert_allclose(found["days_a"], [0, 4])


def test_cells_cannot_come_before_the_first_infusion_though_a_marker_can():
    assert clocks().doses({"a": [(-5, 1)]}).times[0] == -5
    with pytest.raises(ModelError, match="days count from the first infusion"):
        clocks().doses({"cells": [(-5, 1)]})


# Covariates over time


def driven():
    """x' = leukocytes(t)."""
    return Model(
        name="driven",
        parameters={"x_0": Parameter(1.0, "copies/ug", "this test")},
        outputs={"c": "copies/ug"},
        states=("x",),
        start={"x": "x_0"},
        rhs=lambda leukocytes: (leukocytes,),
        observe=lambda x: x,
        inputs={"leukocytes": "1e9/L"},
    )


def test_an_input_is_linear_between_its_days_and_constant_outside():
    days = np.array([0.0, 1, 2, 4, 6, 9])
    found = driven().solve(days, inputs={"leukocytes": [(6, 1.0), (2, 5.0)]})["c"]
    # 5 until day 2, then down by 1 a day to 1 on day 6, then 1.
    rise = np.where(days <= 2, 5 * days, 10 + 5 * (days - 2) - (days - 2) ** 2 / 2)
    # The bends of an input end no segment: the stepper finds them to 4e-6.
    np.testing.assert_allclose(found, 1 + np.where(days <= 6, rise, 22 + (days - 6)), rtol=1e-5)


def test_observed_input_is_that_of_the_day_and_before_day_0_of_its_first_value():
    course = as_courses({"leukocytes": [(0, 2.0), (10, 4.0)]}, {"leukocytes": "1e9/L"}, "driven")["leukocytes"]
    np.testing.assert_allclose(course.at(np.array([-3.0, 0, 5, 10, 40])), [2, 2, 3, 4, 4])
