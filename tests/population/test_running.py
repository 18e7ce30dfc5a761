"""Which solution a weighted sample of patients' parameters is taken with."""

from types import SimpleNamespace

import numpy as np
import pytest

from cellkinetics import models
from cellkinetics.modelling.structure import Method
from cellkinetics.population.running import Population, too_many

IL15 = models.load("il15_persistence")


def population(monkeypatch, unsolved):
    """Of il15_persistence; ``unsolved`` says of a method what share of each patient's draws it cannot solve."""
    asked = []

    def sampled(self, theta, moments, draws, seed):
        asked.append(self.method)
        return SimpleNamespace(population=self, unsolved=np.array(unsolved.get(self.method, [0.0, 0.0])))

    monkeypatch.setattr(Population, "sampled", sampled)
    patients = SimpleNamespace(model=IL15)
    return Population(patients, None, (np.zeros(1), np.zeros(1)), Method.STRUCTURE), asked  # type: ignore[arg-type]


def test_a_sample_of_few_failures_is_of_the_first_solution(monkeypatch):
    of, asked = population(monkeypatch, {Method.STRUCTURE: [0.0, 0.01]})
    assert of.sampled_where_solved(None, None, 10, 1).population is of
    assert asked == [Method.STRUCTURE]


def test_one_patient_whose_draws_fail_asks_for_a_finer_solution_for_all(monkeypatch):
    of, asked = population(monkeypatch, {Method.STRUCTURE: [0.0, 0.6], Method.FINER_STRUCTURE: [0.02, 0.0]})
    assert of.sampled_where_solved(None, None, 10, 1).population.method is Method.FINER_STRUCTURE
    assert asked == [Method.STRUCTURE, Method.FINER_STRUCTURE]


def test_where_all_fail_the_last_solution_is_kept(monkeypatch):
    of, _ = population(monkeypatch, {method: [1.0, 1.0] for method in Method})
    assert of.sampled_where_solved(None, None, 10, 1).population.method is Method.IMPLICIT


@pytest.mark.parametrize(("shares", "expected"), [([0.0, 0.04], True), ([0.0, 0.06], True), ([0.0, 0.015], False)])
def test_one_in_a_hundred_of_all_or_one_in_twenty_of_one_are_too_many(shares, expected):
    assert too_many(np.array(shares)) is expected
