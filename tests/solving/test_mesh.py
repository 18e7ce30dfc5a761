"""Panels: what they cover, how long they are, what happens at their edges; Gauss-Legendre against polynomials."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cellkinetics.modelling.dosing import Doses
from cellkinetics.solving.mesh import PANEL_STEPS, mesh, rule, traced_mesh

DAYS = np.array([28.0, 0, 1, 3, 3, 7, 365, -2, 10])
# Cells on days 0 and 5, rimiducid on day 9, lymphodepletion on days -4 and 60.
DOSES = Doses(
    np.array([-4, 0, 5, 9, 60, np.inf]),
    np.array([[0, 0, 1], [1e6, 0, 0], [3e5, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0.0]]),
)
SINGLE = Doses(np.zeros(1), np.array([[1e6, 0.0]]))


def edges(on):
    return np.append(0, np.cumsum(on.length))


@pytest.mark.parametrize("count", [2, 6, 10])
def test_the_whole_integral_is_exact_for_polynomials_of_degree_2k_minus_1(count):
    gauss = rule(count)
    for degree in range(2 * count):
        assert gauss.weights @ gauss.nodes**degree == pytest.approx(1 / (degree + 1), rel=1e-13)


@pytest.mark.parametrize("count", [2, 6, 10])
def test_partial_integrals_and_ends_are_exact_for_polynomials_through_the_nodes(count):
    gauss = rule(count)
    for degree in range(count):
        power = gauss.nodes**degree
        np.testing.assert_allclose(gauss.partial @ power, gauss.nodes ** (degree + 1) / (degree + 1), atol=1e-15)
        np.testing.assert_allclose(gauss.ends @ power, [0.0**degree, 1.0], atol=1e-11)


@pytest.mark.parametrize("fineness", [0, 1, 2])
def test_every_observation_and_every_event_is_an_edge(fineness):
    on = mesh(DAYS, DOSES, fineness)
    for day in (0, 1, 3, 5, 7, 9, 10, 28, 60, 365):
        assert np.min(np.abs(edges(on) - day)) < 1e-12
    assert edges(on)[-1] == pytest.approx(365, rel=1e-14)
    np.testing.assert_allclose(edges(on)[on.row[DAYS >= 0]], DAYS[DAYS >= 0], rtol=1e-13)
    assert on.row[DAYS < 0] == -1


def test_the_number_of_panels_is_a_multiple_of_eight_and_at_least_what_is_asked_for():
    assert len(mesh(DAYS, DOSES).length) % 8 == 0
    wide = mesh(DAYS, DOSES, panels=201)
    assert len(wide.length) == 208
    narrow = mesh(DAYS, DOSES)
    for padded, exact in zip(wide[:4], narrow[:4], strict=True):
        np.testing.assert_array_equal(padded[: len(exact) - 1], exact[:-1])
    assert np.all(wide.length[len(narrow.length) :] == 0)


@pytest.mark.parametrize("fineness", [0, 1, 2])
def test_a_panel_is_short_against_the_time_since_the_last_event(fineness):
    on = mesh(DAYS, SINGLE, fineness)
    first, ratio = PANEL_STEPS[fineness]
    allowed = np.maximum(first, ratio * edges(on)[:-1])
    assert np.all(on.length <= allowed * (1 + 1e-12))


def test_amounts_stand_at_the_edges_of_their_days():
    on = mesh(DAYS, DOSES)
    np.testing.assert_allclose(edges(on)[on.cells > 0], [0, 5], atol=1e-12)
    np.testing.assert_allclose(edges(on)[on.rimiducid > 0], [9], atol=1e-12)
    assert on.cells.sum() == 1.3e6


def test_the_clock_starts_at_the_last_lymphodepletion():
    on = mesh(DAYS, DOSES)
    start = edges(on)[:-1]
    np.testing.assert_allclose(on.clock, start - np.where(start < 60 - 1e-9, -4.0, 60.0), atol=1e-11)


def test_without_a_lymphodepletion_the_clock_starts_at_day_0():
    on = mesh(DAYS, SINGLE)
    np.testing.assert_allclose(on.clock, edges(on)[:-1], atol=1e-11)


def test_a_lymphodepletion_to_come_does_not_count_yet():
    on = mesh(np.array([0, 20, 40.0]), Doses(np.array([0, 30.0]), np.array([[1e6, 0, 0], [0, 0, 1.0]])))
    start = edges(on)[:-1]
    np.testing.assert_allclose(on.clock[start < 29.9], start[start < 29.9], atol=1e-11)


def test_cells_before_day_0_are_refused():
    with pytest.raises(ValueError, match="Count days from the first infusion"):
        mesh(DAYS, Doses(np.array([-1.0, 0]), np.array([[1e6, 0, 0], [1e6, 0, 0]])))


def test_the_traced_mesh_covers_the_same_days_events_and_clocks():
    on = jax.jit(traced_mesh)(jnp.asarray(DAYS), DOSES)
    assert edges(on)[-1] == pytest.approx(365, rel=1e-13)
    np.testing.assert_allclose(edges(on)[np.asarray(on.row)[DAYS >= 0]], DAYS[DAYS >= 0], rtol=1e-12)
    assert np.asarray(on.row)[DAYS < 0] == -1
    np.testing.assert_allclose(edges(on)[np.asarray(on.cells) > 0], [0, 5], atol=1e-12)
    np.testing.assert_allclose(edges(on)[np.asarray(on.rimiducid) > 0], [9], atol=1e-12)
    used = np.asarray(on.length) > 0
    start = edges(on)[:-1][used]
    np.testing.assert_allclose(np.asarray(on.clock)[used], start - np.where(start < 60 - 1e-9, -4, 60), atol=1e-11)


def test_the_traced_mesh_has_as_many_panels_whatever_the_days_and_doses():
    later = Doses(DOSES.times + np.array([0, 0, 1, 2, 3, 0]), DOSES.amounts)
    one, other = (traced_mesh(jnp.asarray(d), doses) for d, doses in ((DAYS, DOSES), (2 * DAYS, later)))
    assert len(one.length) == len(other.length)
