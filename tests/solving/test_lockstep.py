"""The stepper of many lanes against closed forms and scipy: curves, derivatives, company, lanes that cannot arrive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cellkinetics import Model, Parameter
from cellkinetics.modelling.course import as_courses
from cellkinetics.modelling.dosing import Doses
from cellkinetics.solving import solver


def build(name, values, **parts):
    parameters = {key: Parameter(value, "1", "this test") for key, value in values.items()}
    outputs = dict.fromkeys(parts["states"], "1")
    observe = eval(f"lambda {', '.join(outputs)}: dict({', '.join(f'{key}={key}' for key in outputs)})")
    return Model(name=name, parameters=parameters, outputs=outputs, observe=observe, **parts)


# A drains into B and B into C, which keeps it; G grows by itself once it is given; L grows to a level and is lost from
# a switch on; P and Q turn.
VALUES = {
    "F": 2.0, "a": 0.6, "b": 0.25, "lag": 0.7, "g": 0.5, "x_0": 1.5, "r": 0.8, "K": 90.0, "k": 0.3, "t_1": 7.3,
    "w": 1.1,
}  # fmt: skip
OF_VALUE, OF_RATE, OF_TIME = ("F", "x_0", "K"), ("a", "b", "g", "r", "k", "w"), ("lag", "t_1")
MODEL = build(
    "closed",
    VALUES,
    states=("A", "B", "C", "G", "L", "P", "Q"),
    rhs=lambda A, B, G, L, P, Q, a, b, g, r, K, k, w, phase: (
        -a * A, a * A - b * B, b * B, g * G, jnp.where(phase > 0, -k * L, r * L * (1 - L / K)), -w * Q, w * P,
    ),
    start={"L": "x_0", "P": lambda: 1.0},
    dosing={"cells": ("A", "F"), "other": ("G", "F")},
    lags={"cells": "lag"},
    switches=("t_1",),
    natural=("P", "Q"),
    # At 3e-8, the default, C is 1.2e-6 off soon after an infusion has begun.
    rtol=1e-8,
)  # fmt: skip
# Not in order, one twice, one before the infusion, the day 0 and those of events.
DAYS = np.array([12.0, -1, 0, 0.7, 0.3, 1, 2.2, 4, 4, 4.7, 5, 6.9, 7.3, 9, 20, 30.0])
BETWEEN = ~np.isin(DAYS, [-1, 0, 0.7, 4, 4.7, 7.3])
NONE = np.zeros(4)


def doses(times=(0.0, np.inf, np.inf, np.inf), cells=(100.0, 0, 0, 0), other=NONE, rates=NONE):
    columns = jnp.stack([jnp.asarray(cells, float), jnp.asarray(other, float)], axis=1)
    changes = jnp.stack([jnp.asarray(rates, float), jnp.zeros(4)], axis=1)
    return Doses(jnp.asarray(times, float), columns, changes)


ONE = doses()
TWO = doses((0.0, 4.0, np.inf, np.inf), (100.0, 40.0, 0, 0))
OVER_TIME = doses((0.0, 2.5, 4.0, np.inf), (0.0, 0, 40, 0), rates=(30.0, -30, 0, 0))
OF_ANOTHER = doses((0.0, 4.0, np.inf, np.inf), (100.0, 0, 0, 0), (0, 3.0, 0, 0))


def exact(days, v, given):
    """(states, days)."""
    a, b = v["a"], v["b"]

    def since(start):
        there = (days >= start) & jnp.isfinite(start)
        return there, jnp.where(there, days - jnp.where(jnp.isfinite(start), start, 0.0), 0.0)

    def bolus(tau):
        A, other = jnp.exp(-a * tau), jnp.exp(-b * tau)
        B = a / (b - a) * (A - other)
        return jnp.stack([A, B, 1 - A - B])

    def infusion(tau):
        A, other = -jnp.expm1(-a * tau) / a, -jnp.expm1(-b * tau) / b
        B = a / (b - a) * (A - other)
        return jnp.stack([A, B, tau - A - B])

    chain, grown = jnp.zeros((3, len(days))), jnp.zeros(len(days))
    for start, amounts, rates in zip(given.times, given.amounts, given.rates, strict=True):
        there, tau = since(start + v["lag"])
        chain += v["F"] * jnp.where(there, amounts[0] * bolus(tau) + rates[0] * infusion(tau), 0.0)
        there, tau = since(start)
        grown += v["F"] * jnp.where(there, amounts[1] * jnp.exp(v["g"] * tau), 0.0)
    days = jnp.maximum(days, 0.0)
    before = jnp.minimum(days, v["t_1"])
    level = v["K"] / (1 + (v["K"] / v["x_0"] - 1) * jnp.exp(-v["r"] * before)) * jnp.exp(-v["k"] * (days - before))
    return jnp.stack([*chain, grown, level, jnp.cos(v["w"] * days), jnp.sin(v["w"] * days)])


def lane(days, values, given):
    """(states, days) and whether it arrived."""
    curves, arrived = solver.solve_ode(MODEL, days, values, given)
    return jnp.stack([curves[state] for state in MODEL.states]), arrived


def with_slopes(curve):
    """(days, values, doses) -> derivatives by values and by days of doses, (curves, arrived)."""

    def of(values, times, days, given):
        found, arrived = curve(days, values, given._replace(times=times))
        return found, (found, arrived)

    def run(days, values, given):
        slopes, rest = jax.jacfwd(of, argnums=(0, 1), has_aux=True)(values, given.times, days, given)
        return slopes, rest

    return run


@pytest.fixture(scope="module")
def alone():
    return jax.jit(with_slopes(lane))


@pytest.fixture(scope="module")
def together():
    return jax.jit(jax.vmap(with_slopes(lane)))


SCHEDULES = {"one dose": ONE, "two doses": TWO, "over time": OVER_TIME, "another": OF_ANOTHER}


def close(slope, formula, curve, name):
    """Derivatives between events, to 1e-5."""
    slope, formula = np.asarray(slope)[:, BETWEEN], np.asarray(formula)[:, BETWEEN]
    largest, size = (np.max(np.abs(part), axis=1, keepdims=True) for part in (formula, np.asarray(curve)))
    # What moves the ends of steps moves what does not depend on it too, by less than the tolerance.
    assert np.all(np.abs(slope - formula) <= 1e-5 * np.abs(formula) + 1e-6 * largest + 1e-8 * size), name


@pytest.mark.parametrize("given", SCHEDULES.values(), ids=SCHEDULES)
def test_curves_and_their_derivatives_are_those_of_the_closed_forms(alone, given):
    (by_value, by_day), (found, arrived) = alone(DAYS, VALUES, given)
    assert arrived
    expected = exact(DAYS, VALUES, given)
    size = np.array([0, 0, 0, 0, 0, 1, 1])[:, None]
    assert np.all(np.abs(found - expected) <= 1e-6 * np.maximum(np.abs(expected), size))

    slopes, slopes_by_day = jax.jacfwd(
        lambda values, times: exact(DAYS, values, given._replace(times=times)), argnums=(0, 1)
    )(VALUES, given.times)
    for name in VALUES:
        close(by_value[name], slopes[name], expected, name)
    for slot in np.flatnonzero(np.isfinite(given.times)):
        close(by_day[..., slot], slopes_by_day[..., slot], expected, f"day of dose {slot}")


ONE_DAY = {
    "a lag of 0": {"lag": 0.0}, "a lagged dose on the day of a switch": {"lag": 3.3},
    "a switch on that of a dose": {"t_1": 4.0}, "both": {"t_1": 4.0, "lag": 0.0},
    "a breath between": {"t_1": 4.000002, "lag": 1e-6},
}  # fmt: skip


@pytest.mark.parametrize("changed", ONE_DAY.values(), ids=ONE_DAY)
def test_events_of_one_day_have_the_derivatives_of_closed_forms_each(alone, changed):
    # The second of the two takes no time, or next to none.
    values = {**VALUES, **changed}
    (by_value, _), (found, arrived) = alone(DAYS, values, TWO)
    assert arrived
    expected = np.asarray(exact(DAYS, values, TWO))
    np.testing.assert_allclose(np.asarray(found)[:5], expected[:5], rtol=1e-6)
    slopes = jax.jacfwd(lambda values: exact(DAYS, values, TWO))(values)
    for name in ("lag", "t_1", "a", "r"):
        close(by_value[name], slopes[name], expected, name)


def test_days_may_be_asked_twice_in_any_order_and_before_the_infusion(alone):
    _, (found, _) = alone(DAYS, VALUES, OF_ANOTHER)
    found = np.asarray(found)
    np.testing.assert_array_equal(found[:, DAYS == -1][:, 0], [0, 0, 0, 0, VALUES["x_0"], 1, 0])
    np.testing.assert_array_equal(*found[:, DAYS == 4].T)
    order = np.argsort(DAYS)
    _, (in_order, _) = alone(DAYS[order], VALUES, OF_ANOTHER)
    np.testing.assert_array_equal(in_order, found[:, order])


def test_what_is_nothing_is_exactly_0(alone):
    (by_value, _), (found, _) = alone(DAYS, VALUES, OF_ANOTHER)
    A, B, C, G, *_ = np.asarray(found)
    assert np.all(A[DAYS < 0.7] == 0), "before the lag has passed"
    assert np.all(B[DAYS <= 0.7] == 0), "nothing has flowed in yet"
    assert np.all(C[DAYS <= 0.7] == 0)
    assert np.all(G[DAYS < 4] == 0), "what grows by itself does not grow from nothing"
    assert np.all(np.asarray(by_value["g"])[3, DAYS <= 4] == 0)
    _, (never, _) = alone(DAYS, VALUES, ONE)
    assert np.all(np.asarray(never)[3] == 0)


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_in_another_unit_the_curve_is_the_same(alone, factor):
    _, (found, _) = alone(DAYS, VALUES, OF_ANOTHER)
    scaled = {name: value * (factor if name in OF_VALUE else 1.0) for name, value in VALUES.items()}
    _, (again, arrived) = alone(DAYS, scaled, OF_ANOTHER)
    assert arrived
    np.testing.assert_allclose(np.asarray(again)[:5], factor * np.asarray(found)[:5], rtol=1e-9)
    np.testing.assert_allclose(np.asarray(again)[5:], np.asarray(found)[5:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factor", [24.0, 1 / 7], ids=["hours", "weeks"])
def test_in_hours_and_in_weeks_the_curve_is_the_same(alone, factor):
    _, (found, _) = alone(DAYS, VALUES, OVER_TIME)
    powers = {**dict.fromkeys(OF_RATE, -1.0), **dict.fromkeys(OF_TIME, 1.0)}
    scaled = {name: value * factor ** powers.get(name, 0.0) for name, value in VALUES.items()}
    given = OVER_TIME._replace(times=OVER_TIME.times * factor, rates=OVER_TIME.rates / factor)
    _, (again, arrived) = alone(DAYS * factor, scaled, given)
    assert arrived
    np.testing.assert_allclose(again, found, rtol=1e-9, atol=1e-12)


# Company

# Of one lane: factors of the rates, a schedule, how many of the days are asked (the rest is padding).
EASY = {"a": 0.05, "b": 0.02, "r": 0.1, "w": 0.1}
LANES = (
    ({}, ONE, 16), (EASY, TWO, 16), ({"a": 40.0, "b": 3.0}, OVER_TIME, 16), ({"w": 3.0}, OF_ANOTHER, 16),
    ({"r": 9.0, "k": 4.0}, TWO, 9), ({"t_1": 500.0}, ONE, 5), ({"lag": 0.0}, OF_ANOTHER, 16), ({"K": 1e9}, ONE, 3),
)  # fmt: skip


def stacked(rows):
    return jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(part, float) for part in parts]), *rows)


def arguments(changed, given, count):
    days = np.where(np.arange(len(DAYS)) < count, DAYS, DAYS[count - 1])
    return days, {**VALUES, **changed}, given


def agree(found, expected, tolerance):
    """Curves and derivatives, to so much of the largest of the days; the same lanes arrived."""
    (*slopes, curves), (*others, expected_curves) = (
        (*jax.tree.leaves(result[0]), result[1][0]) for result in (found, expected)
    )
    assert np.array_equal(found[1][1], expected[1][1])
    for one, other in zip((*slopes, curves), (*others, expected_curves), strict=True):
        one, other = np.asarray(one), np.asarray(other)
        axis = -2 if other.shape[-1] == len(NONE) and other.shape[-2] == len(DAYS) else -1
        largest = np.max(np.abs(other), axis=axis, keepdims=True)
        assert np.all(np.abs(one - other) <= tolerance * (1 + largest))


def of_lane(result, at):
    return jax.tree.map(lambda part: part[at], result)


@pytest.mark.slow
def test_each_lane_is_what_it_is_alone(alone, together):
    found = together(*stacked([arguments(*each) for each in LANES]))
    assert np.all(found[1][1])
    for at, each in enumerate(LANES):
        agree(of_lane(found, at), alone(*arguments(*each)), 1e-10)


def test_the_order_of_the_lanes_changes_nothing(together):
    given = stacked([arguments(*each) for each in LANES])
    order = np.array([3, 6, 1, 7, 0, 2, 5, 4])
    agree(together(*of_lane(given, order)), of_lane(together(*given), order), 1e-12)


def test_company_changes_nothing(together):
    hard = ({"w": 4000.0}, TWO, 16)
    easy = together(*stacked([arguments(*LANES[0])] * 8))
    among = together(*stacked([arguments(*each) for each in (LANES[0], *[hard] * 7)]))
    assert np.array_equal(among[1][1], [True, *[False] * 7]), "too many turns for the number of steps"
    agree(of_lane(among, 0), of_lane(easy, 0), 1e-12)


def test_lanes_of_lanes_are_lanes():
    def curves(days, values, given):
        return lane(days, values, given)[0]

    # Doses are shared by the inner lanes, days by all.
    values = stacked([{**VALUES, **changed} for changed in ({}, EASY, {"a": 3.0}, {"b": 2.0}, {"w": 2.0}, {"r": 2.0})])
    square = jax.tree.map(lambda part: part.reshape(2, 3), values)
    inner = jax.vmap(curves, in_axes=(None, 0, None))
    found = jax.jit(jax.vmap(inner, in_axes=(None, 0, 0)))(DAYS, square, stacked([TWO, OVER_TIME]))
    for outer, given in enumerate((TWO, OVER_TIME)):
        for at in range(3):
            expected = exact(DAYS, {name: part[outer, at] for name, part in square.items()}, given)
            np.testing.assert_allclose(found[outer, at, :5], expected[:5], rtol=1e-6)
            np.testing.assert_allclose(found[outer, at, 5:], expected[5:], atol=1e-6)


# Lanes that cannot arrive

HARD = {"p": 0.01, "y_0": 0.2, "k": 1.0, "until": 1e9}
PROBLEMS = {
    "infinite on day 5": {"p": 0.2}, "infinite on day 10": {"p": 0.1}, "stiff": {"k": 1e7},
    "not a number from the first day": {"until": -1.0}, "not a number from day 3": {"until": 3.0},
}  # fmt: skip


def hard_lane(values):
    # x' = p x^2 from 1; y goes to 1.
    model = build(
        "hard", HARD, states=("x", "y"), start={"x": lambda: 1.0, "y": "y_0"},
        rhs=lambda t, x, y, p, k, until: (p * x**2, jnp.where(t > until, jnp.nan, k * (1 - y))),
    )  # fmt: skip
    curves, arrived = solver.solve_ode(model, jnp.array([1.0, 2.0, 20.0]), values, model.doses(None))
    return jnp.stack([curves["x"], curves["y"]]), arrived


def test_a_lane_that_cannot_arrive_says_so_and_leaves_the_others_as_they_are():
    def run(values):
        slopes, (found, arrived) = jax.jacfwd(lambda values: (hard_lane(values)[0], hard_lane(values)), has_aux=True)(
            values
        )
        return slopes, found, arrived

    fine = [{}, {"k": 30.0}, {"p": 0.045}]
    rows = [{**HARD, **changed} for one in PROBLEMS.values() for changed in (*fine, one)]
    slopes, found, arrived = jax.jit(jax.vmap(run))(stacked(rows))
    assert np.array_equal(arrived, [True, True, True, False] * len(PROBLEMS)), arrived[3::4]
    days = jnp.array([1.0, 2.0, 20.0])

    def formula(v):
        return jnp.stack([1 / (1 - v["p"] * days), 1 - (1 - v["y_0"]) * jnp.exp(-v["k"] * days)])

    for at, row in enumerate(rows):
        if not arrived[at]:
            continue
        np.testing.assert_allclose(found[at], formula(row), rtol=1e-6)
        expected = jax.jacfwd(formula)(row)
        for name in ("p", "k", "y_0"):
            np.testing.assert_allclose(slopes[name][at], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_second_derivatives_are_those_of_the_closed_form():
    model = build("decay", {"k": 0.4}, states=("x",), start={"x": lambda: 1.0}, rhs=lambda x, k: (-k * x,))
    days = jnp.array([1.0, 2.0, 5.0])

    def curve(k):
        return solver.solve_ode(model, days, {"k": k}, model.doses(None))[0]["x"]

    rates = jnp.array([0.2, 0.4])
    found = jax.jit(jax.vmap(jax.jacfwd(jax.jacfwd(curve))))(rates)
    np.testing.assert_allclose(found, np.asarray(days) ** 2 * np.exp(-np.outer(rates, days)), rtol=1e-5)


# Covariates and markers

PREY = {"g": 0.4, "p": 0.3, "c": 0.5, "m": 0.3, "F": 1.0}
SEEN = np.array([0.5, 2, 3, 5, 8, 10.0])


def prey():
    return build(
        "prey", PREY, states=("x", "y"), start={"y": lambda: 0.2}, dosing={"cells": ("x", "F")}, markers=("drug",),
        inputs={"food": "1"}, rtol=1e-9,
        rhs=lambda x, y, g, p, c, m, food, since_drug: (
            g * food * x - p * x * y, c * x * y / (1 + since_drug) - m * y
        ),
    )  # fmt: skip


FOOD, DRUG = [(0.0, 1.0), (10.0, 2.0)], 3.0


def prey_by_scipy(v):
    def slopes(t, s, begin):
        food = np.interp(t, *zip(*FOOD, strict=True))
        x, y = s
        return [v["g"] * food * x - v["p"] * x * y, v["c"] * x * y / (1 + t - begin) - v["m"] * y]

    first = solve_ivp(slopes, (0, DRUG), [v["F"], 0.2], "DOP853", [0.5, 2, 3], rtol=1e-12, atol=1e-13, args=(0.0,))
    then = solve_ivp(
        slopes, (DRUG, 10), first.y[:, -1], "DOP853", [5, 8, 10], rtol=1e-12, atol=1e-13, args=(DRUG,)
    )  # fmt: skip
    return np.concatenate([first.y, then.y], axis=1)


def test_a_covariate_and_a_clock_are_read_and_derivatives_agree_with_central_differences():
    model = prey()
    given = model.doses({"cells": 1.0, "drug": [(DRUG, 1.0)]})
    over = as_courses({"food": FOOD}, model.inputs, "prey")

    def curves(values):
        found, _ = solver.solve_ode(model, jnp.asarray(SEEN), values, given, over)
        return jnp.stack([found["x"], found["y"]]), jnp.stack([found["x"], found["y"]])

    slopes, found = jax.jit(jax.jacfwd(curves, has_aux=True))(PREY)
    np.testing.assert_allclose(found, prey_by_scipy(PREY), rtol=1e-6)
    for name, value in PREY.items():
        high, low = (prey_by_scipy({**PREY, name: value + step}) for step in (1e-4, -1e-4))
        np.testing.assert_allclose(slopes[name], (high - low) / 2e-4, rtol=1e-5, atol=1e-6, err_msg=name)
