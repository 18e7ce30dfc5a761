"""One way to load and one order of arguments, as the first paragraph of the reference says."""

import inspect
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models

# What a function is about; whose; when; what is given. Arguments that go by place come from these, in this order.
ORDER = (
    {"table", "model", "models", "result", "fits", "population", "populations", "of", "path", "name"},
    {"study", "patient", "parameters"},
    {"candidates"},
    {"times"},
    {"doses", "arms"},
)
# A study comes first where there is no model; groups, windows and axes of pictures come after what they are of.
FIRST = ORDER[0] | {"study"}
BESIDE = {"by", "window", "value", "axes", "path"}
DESIGN = {"power": ["model", "doses", "sizes", "schedule"]}
# The same thing has one name: none of these is another name of it.
OTHER_NAMES = {
    "days_since_infusion", "time", "t", "x", "y", "data", "df", "params", "rng", "random_state", "n_cores", "workers",
    "verbose", "alpha", "confidence", "group", "groupby", "groups", "covariate", "priors", "errors", "start", "axis",
    "filename", "file",
}  # fmt: skip
DEFAULTS = {
    "seed": 2020, "checkpoint": None, "n_jobs": 1, "prior": None, "error": "log", "censoring": "m3", "fixed": None,
    "free": None, "initial": None, "tie": None, "axes": None, "size": None,
}  # fmt: skip


def functions():
    """{name: function} of the library and of `models`."""
    found = {name: getattr(ck, name) for name in ck.__all__ if inspect.isfunction(getattr(ck, name))}
    return found | {f"models.{name}": getattr(models, name) for name in models.__all__}


def methods():
    """{Class.name: method} of what is public."""
    return {
        f"{name}.{own}": method
        for name in ck.__all__
        if inspect.isclass(getattr(ck, name))
        for own, method in vars(getattr(ck, name)).items()
        if inspect.isfunction(method) and not own.startswith("_") and own != "ln_curve"  # what others are built on
    }


def by_place(function):
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.name != "self"]


PLANS = ("identifiability", "power")


def rank(name):
    return next((place for place, names in enumerate(ORDER) if name in names), None)


@pytest.mark.parametrize("name", functions())
def test_a_function_takes_what_it_is_about_then_whose_then_when_then_what_is_given(name):
    given = by_place(functions()[name])
    if name in DESIGN:
        assert given == DESIGN[name]
        return
    assert not given or given[0] in FIRST
    ranks = [rank(each) for each in given if each not in BESIDE or each == given[0]]
    assert None not in ranks, f"{name}{tuple(given)}: give the rest by name"
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("name", [*functions(), *methods()])
def test_one_thing_has_one_name_and_one_default(name):
    parameters = inspect.signature({**functions(), **methods()}[name]).parameters
    assert not OTHER_NAMES & set(parameters)
    for argument, usual in DEFAULTS.items():
        default = inspect.Parameter.empty if argument not in parameters else parameters[argument].default
        # A plan has the errors of the population that it is given.
        usual = None if (name in PLANS and argument == "error") else usual
        assert default in (usual, inspect.Parameter.empty), argument


def test_methods_have_the_order_of_functions():
    others = {"Model.solve": ["times", "parameters", "doses"]}
    for name, method in methods().items():
        ranks = [place for each in by_place(method) if (place := rank(each)) is not None]
        if name in others:
            assert by_place(method) == others[name]
        else:
            assert ranks == sorted(ranks), name


def test_there_is_one_way_to_load_a_table_a_model_and_a_result():
    verbs = {
        name
        for name in [*ck.__all__, *(f"models.{name}" for name in models.__all__)]
        if "load" in name or "read" in name
    }
    assert verbs == {"read_study", "load", "load_model", "models.load"}
    made = [
        f"{name}.{own}"
        for name in ck.__all__
        if inspect.isclass(getattr(ck, name))
        for own, method in inspect.getmembers(getattr(ck, name), inspect.ismethod)
        if not own.startswith("_")
    ]
    assert made == []  # no class is made from a file or a table besides
    page = (Path(__file__).parents[1] / "docs" / "api.rst").read_text(encoding="utf-8")
    first = page.split("Studies\n---")[0]
    assert all(f"``{verb}``" in first for verb in verbs)


STUDY = ck.example()
STEIN = models.load("stein_2019_tisagenlecleucel")
EARLIER = {
    "nca": (
        lambda: ck.nca(STUDY, (0, 28), "zero", "linear"),
        lambda: ck.nca(STUDY, (0, 28), blq="zero", method="linear"),
        r"nca\('zero', 'linear'\) by place: give blq=, method= by name",
    ),
    "cohort_curves": (
        lambda: ck.cohort_curves(STUDY, "cohort", [0.5]),
        lambda: ck.cohort_curves(STUDY, quantiles=[0.5]),
        r"cohort_curves\(\[0\.5\]\) by place: give quantiles= by name",
    ),
    "identifiability": (
        lambda: ck.identifiability(STEIN, days=[7, 14]).parameters,
        lambda: ck.identifiability(STEIN, [7, 14]).parameters,
        r"identifiability\(days=\) is identifiability\(times=\) now",
    ),
    "ax": (
        lambda: pd.DataFrame(STUDY.plot(ax=plt.figure().add_subplot()).get_ylim()),
        lambda: pd.DataFrame(STUDY.plot(plt.figure().add_subplot()).get_ylim()),
        r"plot\(ax=\) is plot\(axes=\) now",
    ),
    "compare_cohorts": (
        lambda: ck.compare_cohorts(x=STUDY, days=[28]).table,
        lambda: ck.compare_cohorts(STUDY, days=[28]).table,
        r"compare_cohorts\(x=\) is compare_cohorts\(of=\) now",
    ),
}


@pytest.mark.parametrize("name", EARLIER)
def test_a_call_of_an_earlier_version_gives_the_same_with_a_warning_that_says_how_it_is_now(name):
    before, now, words = EARLIER[name]
    with pytest.warns(DeprecationWarning, match=words) as told:
        found = before()
    assert len(told) == 1 and Path(told[0].filename) == Path(__file__)
    assert found.equals(now())


def test_too_many_arguments_are_refused_as_ever():
    with pytest.raises(TypeError, match="positional argument"), pytest.warns(DeprecationWarning):
        ck.cohort_curves(STUDY, "cohort", [0.5], None, None, "more")
