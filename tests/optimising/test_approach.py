"""Steps towards an optimum that ask for gradients alone, and searches on a rougher solution."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising import batch
from cellkinetics.optimising.ascent import Region, approach
from cellkinetics.optimising.engine import LANES, Curvature
from cellkinetics.optimising.programs import Programs

IL15 = models.load("il15_persistence")
DAYS = (1.0, 3, 7, 10, 14, 21, 28, 60, 90, 180)


class Quartics:
    """-(a (x - top)^2 + (x - top)^4), summed over what is free; each evaluation is counted."""

    def __init__(self, top, free=None, lower=-50.0):
        self.top, self.asked = np.array(top, float), 0
        self.free = np.ones_like(self.top, bool) if free is None else np.array(free)
        self.lower = np.full_like(self.top, lower)
        self.bend = 1.0 + np.arange(self.top.shape[1])

    def region(self, which):
        some = self.top[which]
        return Region(self.lower[which], np.full_like(some, 50.0), np.ones_like(some), self.free[which])

    def slope(self, x, which):
        self.asked += 1
        away = np.where(self.free[which], x - self.top[which], 0.0)
        value, gradient = -np.sum(self.bend * away**2 + away**4, axis=1), -2 * self.bend * away - 4 * away**3
        nothing = np.zeros((*x.shape, x.shape[1]))
        return Curvature(value, gradient, nothing, nothing, np.ones(len(x), bool))

    curvature = slope

    def above(self, x, which, values):
        return self.slope(x, which)


def about(hills, wrong=1.3):
    """Second derivatives that are known only roughly."""
    count, size = hills.top.shape
    return np.tile(np.diag(2 * wrong * hills.bend), (count, 1, 1)).reshape(count, size, size)


def test_it_learns_second_derivatives_from_gradients():
    hills = Quartics([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    x = approach(hills, hills.top + 0.02, about(hills))
    np.testing.assert_allclose(x, hills.top, atol=1e-7)
    assert hills.asked <= 7


def test_what_is_held_or_beside_a_bound_stays():
    hills = Quartics([[0.0, 1.0], [0.0, 1.0]], free=[[True, False], [True, True]])
    hills.lower[1] = [-0.5, 0.5]
    start = hills.top + 0.02
    x = approach(hills, start, about(hills))
    np.testing.assert_allclose(x[0], [0.0, 1.02], atol=1e-7)
    np.testing.assert_array_equal(x[1], start[1])


def test_a_step_that_is_long_is_left_to_newton():
    hills = Quartics([[0.0, 1.0]])
    start = hills.top + 5.0
    np.testing.assert_array_equal(approach(hills, start, about(hills)), start)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (5, [16]), (70, [LANES, 16])])
def test_an_exact_search_beside_a_rough_one_runs_in_programs_of_few_sizes(monkeypatch, count, sizes):
    asked = []

    def search(self, points, whose, most):
        asked.append(len(self.data["moving"]))
        return self.data["moving"][whose, 0], points

    monkeypatch.setattr(Programs, "search", search)
    data = {"moving": np.arange(100.0)[:, None]}
    rough = Programs(IL15, (), Method.ROUGH_STRUCTURE, data, None)  # type: ignore[arg-type]
    programs = Programs(IL15, (), Method.STRUCTURE, data, None, rough)  # type: ignore[arg-type]
    which = np.arange(count) + 20
    values, x = programs.search_exactly(np.ones((count, 1)), which, 10)
    assert asked == sizes
    np.testing.assert_array_equal(values, which)
    assert x.shape == (count, 1)


def many(monkeypatch, rough):
    rng = np.random.default_rng(3)
    table = {"subject": [], "day": [], "copies_per_ug": [], "dose": []}
    for number in range(LANES + 6):
        values = IL15.values(
            {"rho": IL15.parameters["rho"].value * np.exp(0.05 * rng.normal()),
             "F": IL15.parameters["F"].value * np.exp(0.5 * rng.normal())}
        )  # fmt: skip
        curves = IL15.solve(np.array(DAYS), values, 1e6)
        seen = np.asarray(curves["copies_per_ug"]) * np.exp(0.4 * rng.normal(size=len(DAYS)))
        table["subject"] += [f"S{number:03}"] * len(DAYS)
        table["day"] += DAYS
        table["copies_per_ug"] += seen.tolist()
        table["dose"] += [1e6] * len(DAYS)
    study = ck.read_study(pd.DataFrame(table), lloq=3.0)
    asked, whole = [], Programs._ends

    def ends(self, points, whose, most):
        asked.append(str(self.method))
        return whole(self, points, whose, most)

    monkeypatch.setattr(Programs, "_ends", ends)
    if not rough:
        monkeypatch.setattr(batch, "searching", lambda model, method: method)
    fits = ck.fit_each(IL15, study, starts=1, progress=False)
    return np.array([fit.log_likelihood_ln for fit in fits.values()]), fits.parameters, set(asked)


@pytest.mark.slow
def test_a_search_on_a_rougher_solution_ends_where_an_exact_one_does(monkeypatch):
    with monkeypatch.context() as patch:
        searched, estimates, methods = many(patch, rough=True)
    assert "rough structure" in methods
    with monkeypatch.context() as patch:
        exact, others, methods = many(patch, rough=False)
    assert "rough structure" not in methods
    off = searched - exact
    # Searches that take another way may end in another optimum: of these none is lower.
    assert np.median(np.abs(off)) < 1e-9
    assert off.min() > -1e-6
    same = np.repeat(np.abs(off) < 1e-9, len(estimates) // len(off))
    np.testing.assert_allclose(estimates["value"][same], others["value"][same], rtol=1e-5)
