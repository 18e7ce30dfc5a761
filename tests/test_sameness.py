"""What is compiled once although the objects are others, and what is not."""

import array
import functools
import math
import pickle
import sys
import types
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import cache
from cellkinetics.lowered import Program
from cellkinetics.running.digest import digest
from cellkinetics.sameness import made_of

RATE = 2.0


class Compiled:
    """Counts what JAX compiles, or reads from its cache, from here on."""

    def __init__(self) -> None:
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self.heard)

    def heard(self, event: str, duration_secs: float, **_: object) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="module")
def compiled():
    return Compiled()


def tied(share):
    return lambda alpha: alpha / share


def module(number):
    """A model in a namespace of its own, as a notebook's or a file's that is read again."""
    home = types.ModuleType("home")
    home.number = number
    text = """import jax.numpy as jnp
def curve(t, dose, F, alpha):
    return F * dose * jnp.exp(-alpha * number * t)
"""
    exec(text, vars(home))
    return home


def decaying(curve):
    return ck.Model(
        name="decaying",
        outputs={"copies": "copies/ug"},
        parameters={
            "F": ck.Parameter(0.01, "copies/ug per (cells/kg)", "assumption"),
            "alpha": ck.Parameter(0.1, "1/day", "assumption"),
        },
        curve=curve,
        scale_free=True,
        linear_in_dose=True,
    )


@pytest.fixture
def patient():
    return ck.example().select(subjects="P06")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tied(50.0), tied(50.0)),
        (functools.partial(max, 1), functools.partial(max, 1)),
        (np.arange(3.0), np.arange(3.0)),
        (jnp.arange(3.0), np.arange(3.0)),
        ({"a": (1, [2.0])}, {"a": (1, [2.0])}),
        (module(1.0).curve, module(1.0).curve),
    ],
    ids=["closure", "partial", "array", "array of JAX", "containers", "function of a namespace"],
)
def test_other_objects_of_the_same_content_are_the_same(one, other):
    assert one is not other
    assert made_of(one) == made_of(other)
    assert hash(made_of(one)) == hash(made_of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tied(50.0), tied(51.0)),
        (1, 1.0),
        (True, 1),
        (0.0, -0.0),
        (lambda alpha: alpha / 2, lambda alpha: alpha / 3),
        (lambda alpha, by=2: alpha / by, lambda alpha, by=3: alpha / by),
        (np.arange(3.0), np.arange(3)),
        (module(1.0).curve, module(2.0).curve),
        (object(), object()),
    ],
    ids=["closure", "kind", "truth", "sign of 0", "constant", "default", "kind of array", "global", "unknown"],
)
def test_what_makes_another_program_is_another_thing(one, other):
    assert made_of(one) != made_of(other)


def test_a_thing_whose_inside_changed_is_another_one():
    settings = {"share": [2.0]}
    function = lambda alpha: alpha / settings["share"][0]  # noqa: E731
    before = made_of(function)
    settings["share"][0] = 3.0
    assert made_of(function) != before


@pytest.mark.parametrize("how", ["module", "module in a module", "class", "method of a class", "inherited"])
def test_numbers_that_stand_in_modules_and_classes_are_part_of_what_reaches_them(how, monkeypatch):
    settings, outer = types.ModuleType("settings_of_a_user"), types.ModuleType("outer_of_a_user")
    outer.settings = settings
    monkeypatch.setitem(sys.modules, "settings_of_a_user", settings)

    class Held:
        share = 50.0

        def tie(self, alpha):
            return alpha / self.share

    class Heir(Held):
        pass

    functions = {
        "module": lambda alpha: alpha / settings.share,
        "module in a module": lambda alpha: alpha / outer.settings.share,
        "class": lambda alpha: alpha / Held.share,
        "method of a class": Held().tie,
        "inherited": lambda alpha: alpha / Heir.share,
    }
    settings.share, settings.other = 50.0, 1.0
    before, known = made_of(functions[how]), digest(functions[how])
    settings.other = 2.0
    assert (made_of(functions[how]), digest(functions[how])) == (before, known), (
        "what nobody asks for matters to nobody"
    )
    settings.share = Held.share = 20.0
    assert made_of(functions[how]) != before
    assert digest(functions[how]) != known


def test_a_tie_that_reads_a_changed_module_is_fitted_with_the_number_of_now(patient, monkeypatch):
    settings = types.ModuleType("settings_of_a_user")
    monkeypatch.setitem(sys.modules, "settings_of_a_user", settings)
    for share in (50.0, 20.0):
        settings.share = share
        found = ck.fit(
            ck.models.load("nk_decline"), patient, tie={"beta": lambda alpha: alpha / settings.share}, starts=1
        )
        assert found.estimates["alpha"] / found.estimates["beta"] == pytest.approx(share)


def test_functions_that_reach_themselves_end():
    def count(n):
        return 0 if n == 0 else 1 + count(n - 1)

    assert made_of(count) == made_of(count)


def test_models_that_differ_in_defaults_and_ties_are_made_of_the_same_equations():
    model = ck.models.load("nk_decline")
    assert model.with_(fixed={"beta": 0.002}).made_of() == model.made_of()
    assert model.with_(tie={"beta": lambda alpha: alpha / 50}).made_of() == model.made_of()
    assert model.made_of() != ck.models.load("stein_2019_tisagenlecleucel").made_of()


def test_a_tie_or_a_changed_model_in_a_loop_is_compiled_once(patient, compiled):
    model = decaying(module(1.0).curve)
    found, counts = [], []
    for fixed in (0.01, 0.02, 0.03):
        before = compiled.count
        found.append(ck.fit(model, patient, tie={"alpha": lambda F: F / 50}, starts=1))
        found.append(ck.fit(model.with_(tie={"alpha": lambda F: F / 60}), patient, starts=1))
        found.append(ck.fit(model.with_(fixed={"F": fixed}), patient, starts=1))
        counts.append(compiled.count - before)
    assert counts[0] > 0
    assert counts[1:] == [0, 0]
    values = [fit.parameters["value"] for fit in found]
    assert values[0].equals(values[3])
    assert not values[0].equals(values[1])
    assert [values[at]["F"] for at in (2, 5, 8)] == [0.01, 0.02, 0.03]


def test_a_number_of_a_tie_that_is_a_parameter_is_compiled_once(patient, compiled):
    model = decaying(module(1.0).curve)
    share = ck.Parameter(0.02, "ug per day", "assumption")
    tied = replace(model, parameters={**model.parameters, "share": share}, ties={"alpha": lambda F, share: F * share})
    counts, found = [], []
    for k in (0.02, 0.03, 0.04):
        before = compiled.count
        found.append(ck.fit(tied, patient, fixed={"share": k}, starts=1).estimates)
        counts.append(compiled.count - before)
    assert counts[0] > 0
    assert counts[1:] == [0, 0]
    assert [each["alpha"] / each["F"] for each in found] == pytest.approx([0.02, 0.03, 0.04])


SHARE = 0.02


@pytest.mark.parametrize("where", ["closure", "global", pytest.param("model", marks=pytest.mark.slow)])
def test_a_number_that_a_tie_captures_is_compiled_once(where, patient, compiled, monkeypatch):
    model = decaying(module(1.0).curve)
    counts, found = [], []
    for k in (0.02, 0.03, 0.04):
        monkeypatch.setitem(globals(), "SHARE", k)
        ties = {"closure": around(k), "global": lambda F: F * SHARE, "model": (lambda share: lambda F: share * F)(k)}
        tie = {"alpha": ties[where]}
        before = compiled.count
        fit = ck.fit(model.with_(tie=tie), patient, starts=1) if where == "model" else ck.fit(model, patient, tie=tie)
        found.append(fit)
        counts.append(compiled.count - before)
    assert counts[0] > 0
    assert counts[1:] == [0, 0]
    monkeypatch.setitem(globals(), "SHARE", 9.0)
    assert [fit.estimates["alpha"] / fit.estimates["F"] for fit in found] == pytest.approx([0.02, 0.03, 0.04])
    # As if the number had been written down.
    for fit, tie in zip(found, (lambda F: F * 0.02, lambda F: F * 0.03, lambda F: F * 0.04), strict=True):
        assert fit.log_likelihood == pytest.approx(ck.fit(model, patient, tie={"alpha": tie}).log_likelihood, abs=1e-9)


def around(k):
    return lambda F: F * k


def test_what_asks_python_about_its_number_keeps_it(patient):
    def by_python(k):
        return lambda F: F * (0.02 if k < 1 else math.exp(-k))

    found = [ck.fit(decaying(module(1.0).curve), patient, tie={"alpha": by_python(k)}, starts=1) for k in (0.5, 3.0)]
    shares = [fit.estimates["alpha"] / fit.estimates["F"] for fit in found]
    assert shares == pytest.approx([0.02, math.exp(-3.0)])


def test_several_ties_and_patients_have_their_own_numbers():
    a, b = 0.5, 20.0
    model, study = ck.models.load("stein_2019_tisagenlecleucel"), ck.example().select(subjects=["P01", "P02", "P03"])
    tie = {"beta": lambda alpha: a * alpha / b, "f_b": lambda fold: 1 / (a * fold)}
    each = pickle.loads(pickle.dumps(ck.fit_each(model, study, tie=tie, starts=2)))
    joint = ck.fit(model, study, tie=tie, shared=["alpha"], starts=2)
    a, b = 1.0, 1.0
    for fit in [*each.values(), *(joint[name] for name in joint.subjects)]:
        assert fit.estimates["beta"] / fit.estimates["alpha"] == pytest.approx(0.025)
        assert fit.estimates["f_b"] * fit.estimates["fold"] == pytest.approx(2.0)


class Slotted:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k


class Hidden(Slotted):
    __slots__ = "__more"

    def __init__(self, k):
        super().__init__(1.0)
        self.__more = k

    def change(self, k):
        self.__more = k

    def read(self):
        return self.__more


@dataclass(slots=True)
class SlottedFields:
    k: float


HIDING = {
    "slots": (lambda k: Slotted(k), lambda held, k: setattr(held, "k", k), lambda held: held.k),
    "slots of its own": (lambda k: Hidden(k), lambda held, k: held.change(k), lambda held: held.read()),
    "a dataclass with slots": (lambda k: SlottedFields(k), lambda held, k: setattr(held, "k", k), lambda held: held.k),
    "a series": (lambda k: pd.Series({"k": k}), lambda held, k: held.update({"k": k}), lambda held: held["k"]),
    "a queue": (lambda k: deque([k]), lambda held, k: (held.clear(), held.append(k)), lambda held: held[0]),
    "an array": (lambda k: array.array("d", [k]), lambda held, k: held.__setitem__(0, k), lambda held: held[0]),
    "a dictionary": (lambda k: {"k": k}, lambda held, k: held.update(k=k), lambda held: held["k"]),
}


@pytest.mark.parametrize("how", HIDING)
def test_what_an_object_holds_now_is_what_a_function_is_made_of(how):
    make, change, read = HIDING[how]
    held = make(0.02)

    def tie(F):
        return F * read(held)

    before, known = made_of(tie), digest(tie)
    assert made_of(tie) == before
    change(held, 0.03)
    assert made_of(tie) != before
    assert digest(tie) != known or how in ("a queue", "an array", "a series")


@pytest.mark.parametrize("how", ["slots", "a series"])
def test_a_tie_reads_what_an_object_holds_now_and_a_fit_keeps_it(how, patient):
    make, change, read = HIDING[how]
    held = make(0.02)
    tie = {"alpha": lambda F: F * read(held)}
    model = decaying(module(1.0).curve)
    first = ck.fit(model, patient, tie=tie, starts=1)
    curve = first.predict([1.0, 20.0])
    change(held, 0.03)
    second = ck.fit(model, patient, tie=tie, starts=1)
    assert [fit.estimates["alpha"] / fit.estimates["F"] for fit in (first, second)] == pytest.approx([0.02, 0.03])
    pd.testing.assert_frame_equal(first.predict([1.0, 20.0]), curve)


def test_a_fit_goes_on_with_the_numbers_that_its_ties_found(patient, compiled):
    model, fits, counts, k = decaying(module(1.0).curve), [], [], 0.0

    def share():
        return math.exp(-k)

    for each in (3.0, 4.0, 3.0):
        k = each
        before = compiled.count
        fits.append(ck.fit(model, patient, tie={"alpha": lambda F: F * share()}, starts=1))
        fits[-1].predict([1.0, 20.0])
        counts.append(compiled.count - before)
    assert counts[-1] == 0
    told = [(fit.log_likelihood, fit.predict([1.0, 20.0])) for fit in fits]
    k = 100.0
    for fit, (height, curve), number in zip(fits, told, (3.0, 4.0, 3.0), strict=True):
        share_of = [each.estimates["alpha"] / each.estimates["F"] for each in (fit, pickle.loads(pickle.dumps(fit)))]
        assert share_of == pytest.approx([math.exp(-number)] * 2)
        pd.testing.assert_frame_equal(fit.predict([1.0, 20.0]), curve)
        literal = ck.fit(model, patient, tie={"alpha": eval(f"lambda F: F * {math.exp(-number)!r}")}, starts=1)
        assert literal.log_likelihood == pytest.approx(height, abs=1e-9)


def test_a_tie_that_asks_what_its_number_is_keeps_it(patient):
    found = []

    def asking(k):
        return lambda F: F * (k if isinstance(k, float) else 0.5)

    for k in (0.02, 0.03):
        found.append(ck.fit(decaying(module(1.0).curve), patient, tie={"alpha": asking(k)}, starts=1))
    assert [fit.estimates["alpha"] / fit.estimates["F"] for fit in found] == pytest.approx([0.02, 0.03])


def test_a_tie_with_a_default_is_told_to_do_without(patient):
    with pytest.raises(ck.ModelError, match="without k=k"):
        ck.fit(decaying(module(1.0).curve), patient, tie={"alpha": lambda F, k=0.5: F * k})


def test_a_number_that_a_function_reaches_is_read_anew_at_each_call(patient):
    home = module(1.0)
    model = decaying(home.curve)
    before = model.solve([10.0], {"F": 1.0, "alpha": 0.1}, 1.0)["copies"][0]
    fit = ck.fit(model, patient, starts=1)
    home.number = 2.0
    after = model.solve([10.0], {"F": 1.0, "alpha": 0.1}, 1.0)["copies"][0]
    again = ck.fit(model, patient, starts=1)
    np.testing.assert_allclose([before, after], np.exp([-1.0, -2.0]), rtol=1e-12)
    alphas = [each.parameters["value"]["alpha"] for each in (fit, again)]
    np.testing.assert_allclose(alphas[0], 2 * alphas[1], rtol=1e-5)


@pytest.mark.slow
def test_programs_that_are_let_go_are_made_again(patient, monkeypatch):
    model = decaying(module(1.0).curve)
    fit = ck.fit(model, patient, starts=1)
    monkeypatch.setattr(cache, "_MAPS", Path("/a system that does not tell"))
    monkeypatch.setattr(cache, "MOST_PROGRAMS", 3)
    monkeypatch.setattr(cache, "FEWEST_PROGRAMS", 1)
    ck.fit(model, patient, tie={"alpha": lambda F: F / 50}, starts=1)
    assert len(cache._SHELF.kept) <= 4
    again = ck.fit(model, patient, starts=1)
    assert again.parameters.equals(fit.parameters)


def short_of_memory(monkeypatch, looks):
    """The process has too much in the next so many looks at its memory."""
    told = iter([10**15] * looks)
    monkeypatch.setattr(cache, "_resident", lambda: next(told, 0))
    monkeypatch.setattr(cache._SHELF, "bytes", 1)
    monkeypatch.setattr(cache._SHELF, "compiled", 1)


def shapes():
    return sum(len(made.used) for made in cache._SHELF.kept.values() if isinstance(made, Program))


def test_programs_are_let_go_where_memory_runs_short_and_made_again(patient, monkeypatch):
    model = decaying(module(1.0).curve)
    fit = ck.fit(model, patient, starts=1)
    short_of_memory(monkeypatch, 10_000)
    cache._SHELF.find("another", object)
    assert list(cache._SHELF.kept) == ["another"]
    again = ck.fit(model, patient, starts=1)
    assert again.parameters.equals(fit.parameters)


def test_of_few_programs_the_shapes_asked_for_longest_ago_are_let_go(monkeypatch):
    monkeypatch.setattr(cache._SHELF, "kept", OrderedDict())
    doubled = cache.kept(lambda: Program(lambda x: 2 * x))
    for length in (1, 2, 3, 4, 1):
        doubled()(np.ones(length))
    assert shapes() == 4
    short_of_memory(monkeypatch, 1)
    program = doubled()
    left = {shape for _, (shape, *_) in program.used}
    assert left == {(4,), (1,)}
    assert set(program.used) == set(program.ready)
    assert program(np.ones(3)).tolist() == [2, 2, 2]
    assert shapes() == 3
