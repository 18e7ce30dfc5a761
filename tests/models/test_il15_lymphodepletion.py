"""The lymphodepletion channel of il15_persistence against scipy restarted at each event."""

import runpy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models

RHS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "il15_numpy.py"))["rhs"]
MODEL = models.load("il15_persistence")
P = MODEL.values()


def copies(days, cells, lymphodepletion=()):
    doses = {"cells": list(cells), "lymphodepletion": [(day, 1.0) for day in lymphodepletion]}
    return ck.simulate(MODEL, {}, days, doses)["copies_per_ug"].to_numpy()


def reference(days, cells, lymphodepletion=()):
    """D + E + M; the clock of L and I runs from the last lymphodepletion, by default from day 0."""
    clock = max((day for day in lymphodepletion if day <= 0), default=0.0)
    edges = np.unique([0.0, *(day for day, _ in cells), *(day for day in lymphodepletion if day > 0), days[-1] + 1])
    state, found = np.zeros(4), np.zeros(len(days))
    for begin, end in pairwise(edges):
        state[0] += P["F"] * sum(amount for day, amount in cells if day == begin)
        clock = begin if begin in lymphodepletion else clock
        here = (days >= begin) & (days < end)
        asked = np.unique([begin, *days[here], end])
        done = solve_ivp(
            lambda t, s, since: RHS(t - since, s, P), (begin, end), state, "LSODA", asked, args=(clock,), rtol=1e-10,
            atol=1e-12,
        )  # fmt: skip
        found[here] = done.y[:3].sum(axis=0)[np.searchsorted(asked, days[here])]
        state = done.y[:, -1].copy()
    return found


DAYS = np.array([0, 1, 3, 7, 9, 14, 28, 55, 56, 60, 61, 65, 68, 70, 80, 120.0])
TWO = ((0.0, 1e6), (60.0, 1e6))


@pytest.mark.parametrize(
    ("cells", "lymphodepletion"),
    [
        (TWO[:1], (0,)),
        (TWO[:1], (-5,)),
        (TWO, (-5, 55)),
        (TWO, (-5, -4, -3, 55, 56, 57)),
        (TWO, (60,)),
        (TWO[:1], (20,)),
    ],
)
def test_the_curve_is_that_of_scipy_restarted_at_each_event(cells, lymphodepletion):
    np.testing.assert_allclose(copies(DAYS, cells, lymphodepletion), reference(DAYS, cells, lymphodepletion), rtol=5e-6)


def test_an_event_at_the_first_infusion_is_what_is_assumed_without_one():
    np.testing.assert_allclose(copies(DAYS, TWO, (0,)), copies(DAYS, TWO), rtol=1e-7)


def test_the_earlier_the_lymphodepletion_was_the_less_the_cells_expand():
    peaks = [copies(np.linspace(3, 28, 26), TWO[:1], (day,)).max() for day in (0, -2, -5)]
    assert peaks[0] > 2 * peaks[1] > 4 * peaks[2]
    infused = P["F"] * TWO[0][1]
    assert copies(np.linspace(0, 28, 29), TWO[:1], (-10,)).max() == pytest.approx(infused, rel=1e-6)


def test_a_second_infusion_with_a_second_lymphodepletion_expands_like_the_first():
    days = np.array([68.77])
    again = copies(days, TWO, (0, 60))[0] - copies(days, TWO[:1], (0, 60))[0]
    assert again == pytest.approx(copies(days - 60, TWO[:1])[0], rel=0.05)
    assert copies(days, TWO)[0] < 0.1 * again, "without it the second infusion is lost"


def test_a_lymphodepletion_after_the_expanding_cells_are_gone_leaves_memory_cells_as_they_are():
    plain, marked = copies(DAYS, TWO[:1]), copies(DAYS, TWO[:1], (61,))
    assert MODEL.values()["gamma_M"] == 0
    np.testing.assert_allclose(marked, plain, rtol=1e-6)


def test_of_several_days_of_chemotherapy_the_last_counts():
    np.testing.assert_allclose(copies(DAYS, TWO, (-5, -4, -3)), copies(DAYS, TWO, (-3,)), rtol=1e-7)
