"""Hashes of what was asked are the same in every process, and differ where anything does."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from cellkinetics import models
from cellkinetics.running.digest import digest

SCALE = 2.0


def doubled(alpha):
    return SCALE * alpha


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, True), (0.0, -0.0), ("1", 1), ([1, 2], [2, 1]), ({"a": 1}, {"a": 2}), ({"a": 1}, {"b": 1}),
        (np.array([1.0, 2.0]), np.array([[1.0, 2.0]])), (np.array([1]), np.array([1.0])), (None, ""),
        ([[1], 2], [1, [2]]),
    ],
)  # fmt: skip
def test_what_differs_has_another_hash(one, other):
    assert digest(one) != digest(other)


def test_a_function_is_its_code_and_what_it_reaches(monkeypatch):
    before = digest(doubled)
    assert digest(lambda alpha: alpha / 50) == digest(lambda alpha: alpha / 50)
    assert digest(lambda alpha: alpha / 50) != digest(lambda alpha: alpha / 51)
    assert digest(lambda alpha: alpha / 50) != digest(lambda beta: beta / 50)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert digest(doubled) != before


def test_a_set_has_no_order_and_a_ring_ends():
    ring = [1]
    ring.append(ring)
    assert digest({"a", "b", "c"}) == digest({"c", "a", "b"})
    assert digest(ring) == digest(ring)


def test_a_model_is_known_by_what_decides_on_its_curve():
    model = models.load("nk_decline")
    name, parameter = next(iter(model.parameters.items()))
    moved = {**model.parameters, name: replace(parameter, value=parameter.value * 2)}
    assert replace(model, path="elsewhere.py", reference="another", checks=()).digested == model.digested
    assert replace(model, parameters=moved).digested != model.digested
    assert len({models.load(each).digested for each in models.names()}) == len(models.names())


def test_another_process_has_the_same_hashes():
    names = ["nk_decline", "il15_persistence"]
    code = f"from cellkinetics import models\nprint(*(models.load(n).digested for n in {names}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [models.load(name).digested for name in names]
