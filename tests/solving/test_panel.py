"""One panel: its closed forms against quadrature, its recurrence against its bounds, its slopes against jacfwd."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from cellkinetics import models
from cellkinetics.solving.mesh import rule
from cellkinetics.solving.panel import LARGEST, Reduced, Slopes, State, advance, errors, slopes
from cellkinetics.solving.structured import NAMES, reduced

MODEL = models.load("il15_persistence")
GAUSS = rule(10)


@pytest.fixture(scope="module")
def step():
    """{nodes: compiled (q, state, length, clock) -> state at the end, its estimated errors}."""

    def compiled(gauss):
        def run(q, before, length, clock):
            end, at = advance(q, gauss, before, length, clock)
            return end, errors(q, gauss, before, at, length)

        return jax.jit(run)

    return {nodes: compiled(rule(nodes)) for nodes in (4, 6, 10)}


def parameters(**changed):
    return np.array([float(value) for value in MODEL.values(changed).values()])


def state(D=0.0, E=0.0, m=0.0, X=0.0):
    return State(*(jnp.asarray(value, float) for value in (D, E, m, X, 0.0, 0.0)))


def rates(t, values, D=1.0, E=1.0, M=1.0, X=0.0):
    """dD, dE, dM, dX of the model file."""
    assert MODEL.rhs is not None
    others = {name: values[name] for name in values if name not in ("F", "k_s")}
    return [float(rate) for rate in MODEL.rhs(since_lymphodepletion=t, D=D, E=E, M=M, X=X, **others)]


@pytest.mark.parametrize("changed", [{}, {"tau": 0.0}, {"kappa": 0.0}, {"L0": 1.0}, {"K": 0.3, "tau": 0.2}, {"r": 3.0}])
def test_e_grows_by_the_integral_of_its_rate(step, changed):
    values = {**MODEL.values(changed), "phi": 0.0}
    end, _ = step[10](reduced(parameters(**changed)), state(E=1.0), 3.0, 2.0)
    expected, _ = quad(lambda t: rates(t, values)[1], 2.0, 5.0, epsabs=1e-13, epsrel=1e-13)
    assert np.log(end.E) == pytest.approx(expected, abs=1e-11)


def test_m_is_lost_by_the_integral_of_its_rate_when_nothing_feeds_it(step):
    values = {**MODEL.values({"gamma_M": 0.1}), "eps": 0.0}
    end, _ = step[10](reduced(parameters(gamma_M=0.1, eps=0.0)), state(m=0.5), 30.0, 2.0)
    expected, _ = quad(lambda t: rates(t, values)[2], 2.0, 32.0, epsabs=1e-12, epsrel=1e-12)
    assert np.log(end.m / 0.5) == pytest.approx(expected, abs=1e-9)


def test_a_panel_with_switch_drug_agrees_with_radau(step):
    values = MODEL.values({"gamma_M": 0.05})
    q = reduced(parameters(gamma_M=0.05))
    D, E, M, X = 300.0, 2000.0, 60.0, 20.0
    end, _ = step[10](q, state(D / q.infused, E / (q.infused * q.birth), M / q.niche, X / q.k_s), 0.05, 5.0)
    done = solve_ivp(lambda t, y: rates(t, values, *y), (5.0, 5.05), [D, E, M, X], "Radau", rtol=1e-10, atol=1e-10)
    found = [q.infused * end.D, q.infused * q.birth * end.E, q.niche * end.m, q.k_s * end.X]
    np.testing.assert_allclose(found, done.y[:, -1], rtol=1e-8)


@pytest.mark.parametrize("E", [1e2, 1e8, 1e30, LARGEST])
def test_the_niche_is_never_more_than_full_however_stiff(step, E):
    q = reduced(parameters())
    for start in (0.0, 0.3, 1.0):
        for clock in (0.0, 8.0, 60.0):
            end, _ = step[6](q, state(E=E, m=start), 20.0, clock)
            assert 0 <= end.m <= 1


def test_an_empty_panel_changes_nothing(step):
    q, before = reduced(parameters()), state(1e6, 1e7, 0.3, 1.0)
    end, estimated = step[10](q, before, 0.0, 3.0)
    np.testing.assert_array_equal(np.array(end), np.array(before))
    assert estimated == (0.0, 0.0)


def test_the_estimated_error_bounds_the_true_one_where_e_collapses(step):
    # E fills the niche many times over at the start of the panel and is gone at its end.
    q, before = reduced(parameters()), state(1e6, 3e8, 1.0, 0.0)
    end, (_, estimated) = step[4](q, before, 8.0, 14.0)
    exact = before
    for part in range(200):
        exact, _ = step[10](q, exact, 0.04, 14.0 + 0.04 * part)
    off = abs(end.m - exact.m)
    assert off > 1e-6
    assert off <= estimated <= 1.0


def test_slopes_are_those_of_forward_mode():
    """By what a panel depends on, through two panels of which the first begins with all four states."""
    q = reduced(parameters(gamma_M=0.05))
    first = state(1e6, 2e6, 0.2, 1.0)

    def two(flat):
        now = first
        for length, clock in ((0.3, 4.0), (2.0, 4.3)):
            now, _ = advance(Reduced(*flat), GAUSS, now, length, clock)
        return jnp.stack([now.D, now.E, now.m, now.X])

    now, by = first, Slopes(jnp.zeros(3), jnp.zeros(9), jnp.zeros(12), jnp.array(0.0))
    for length, clock in ((0.3, 4.0), (2.0, 4.3)):
        end, at = advance(q, GAUSS, now, length, clock)
        now, by = end, slopes(q, GAUSS, now, by, at, end, length, clock)
    expected = {
        name: np.asarray(column) for name, column in zip(Reduced._fields, jax.jacfwd(two)(jnp.stack(q)).T, strict=True)
    }
    nine = ("net", "on_A", "on_B", "low_A", "low_B", "r", "k_d", "k_s", "k_e")
    np.testing.assert_allclose(by.D, [expected[name][0] for name in nine[6:]], rtol=1e-11)
    np.testing.assert_allclose(by.E, [expected[name][1] for name in nine], rtol=1e-11)
    np.testing.assert_allclose(by.m[:9], [expected[name][2] for name in nine], rtol=1e-10)
    assert by.m[9] * q.infused * q.birth == pytest.approx(expected["fill"][2], rel=1e-11)
    np.testing.assert_allclose(by.m[10:], [expected[name][2] for name in ("mu", "gamma_M")], rtol=1e-11)
    assert float(by.X) == pytest.approx(expected["k_e"][3], rel=1e-11)


def test_the_vector_of_parameters_has_the_order_of_the_model():
    assert tuple(MODEL.parameters) == NAMES
