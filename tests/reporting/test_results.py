"""Every result is kept: what is loaded says, shows and holds what was saved."""

import json
import math
import pickle
import shutil
import time
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import codec, models, saving
from cellkinetics.modelling.absent import AbsentModel

FILES = Path(__file__).parents[1] / "files"
STEIN = "stein_2019_tisagenlecleucel"


@pytest.fixture(scope="module")
def study():
    return ck.example()


@pytest.fixture(scope="module")
def few(study):
    return study.select(["P01", "P04", "P06", "P08"])


@pytest.fixture(scope="module")
def fits(few):
    return ck.fit_each(models.load(STEIN), few, starts=1, progress=False)


@pytest.fixture(scope="module")
def results(study, few, fits):
    """One of every kind, and some of the odd ones."""
    fit, stein = fits["P06"], models.load(STEIN)
    windows = [(0, 28), (28, 336), "days_above_lloq"]
    whole = ck.compare_cohorts(
        study, windows=windows, model=stein, parameters=["c_max"], permutations=3, progress=False
    )
    short = {"days": [28], "windows": [(0, 28)]}
    design = {"between": {"c_max": 0.5}, "lloq": 3, "studies": 20, "patients": [6], "progress": False}
    return {
        "Study": study,
        "Study with a cut": study.select(until=100),
        "Fit": fit,
        "Fits": fits,
        "JointFit": ck.fit(stein, few, shared=["alpha"], starts=1),
        "Comparison": whole,
        "Comparison of fits": ck.compare_cohorts(fits, **short),
        "Comparison by dose and response": ck.compare_cohorts(study, "dose", within="response", **short),
        "Comparison of single doses": ck.compare_cohorts(few, "dose", **short),
        "ModelComparison": whole.model_based,
        "Profile": fit.profile(["alpha"]),
        "Profiles": fits.profile(["alpha"]),
        "Bootstrap": fit.bootstrap(5),
        "VPC": fits.vpc(replicates=20, by="dose"),
        "Power": ck.power(stein, [1e6, 1e8], [3, 3], [7, 14, 28], **design),
        "Identifiability": ck.identifiability(stein, [3, 7, 14, 28, 90], lloq=3),
        "Identifiability of a fit": fit.identifiability(),
        "nca": ck.nca(study),
        "nca_summary": ck.nca_summary(ck.nca(study)),
        "curves": ck.cohort_curves(study),
        "choice": ck.compare_models([fits, ck.fit_each(stein, few, starts=1, fixed={"f_b": 0.01}, progress=False)]),
    }


KINDS = [
    "Study", "Study with a cut", "Fit", "Fits", "JointFit", "Comparison", "Comparison of fits",
    "Comparison by dose and response", "Comparison of single doses", "ModelComparison", "Profile",
    "Profiles", "Bootstrap", "VPC", "Power", "Identifiability", "Identifiability of a fit", "nca", "nca_summary",
    "curves", "choice",
]  # fmt: skip


def same(one, other, where=""):
    """Assert that two values are one, to the last bit and to the types of columns."""
    assert type(one) is type(other), where
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True, obj=where)
        assert one.attrs == other.attrs
        # In a column of texts a member of an enumeration is the text that it is equal to.
        for at, name in [(at, name) for at, name in enumerate(one) if one.dtypes.iloc[at] != "str"]:
            same(one.iloc[:, at].to_numpy(), other.iloc[:, at].to_numpy(), f"{where}.{name}")
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True, obj=where)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        if one.dtype == object:
            for a, b in zip(one.ravel(), other.ravel(), strict=True):
                same(a, b, where)
        else:
            assert one.tobytes() == other.tobytes(), where
    elif isinstance(one, float | np.floating):
        same(np.asarray(one), np.asarray(other), where)
    elif isinstance(one, ck.Model):
        assert (one.name, dict(one.changes)) == (other.name, dict(other.changes)), where
    elif isinstance(one, ck.Fit | ck.Fits | ck.JointFit):
        same(one.study, other.study, where)
        same(one.parameters, other.parameters, where)
    elif is_dataclass(one):
        for each in (each for each in fields(one) if each.metadata.get("saved", True)):
            same(getattr(one, each.name), getattr(other, each.name), f"{where}.{each.name}")
    elif isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            same(one[key], other[key], f"{where}[{key}]")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for at, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}[{at}]")
    else:
        assert one is other or one == other, where


def test_every_result_that_a_public_verb_returns_has_save(results):
    without = {name for name, result in results.items() if not hasattr(result, "save")}
    assert without == {"nca", "nca_summary", "curves", "choice"}
    assert all(isinstance(results[name], pd.DataFrame) for name in without)
    classes = {result for name in ck.__all__ if isinstance(result := getattr(ck, name), type)}
    written = {kind for kind in classes if issubclass(kind, saving.Saves)}
    assert {kind.__name__ for kind in written} == {
        "Comparison", "CovariateChoice", "Fit", "Fits", "Forecast", "Identifiability", "JointFit", "LogLikelihood",
        "ModelComparison", "NPDE", "PopulationComparison", "PopulationFit", "PopulationPosterior", "Power", "Study",
        "VPC", "VirtualTrial",
    }  # fmt: skip
    assert list(results) == KINDS


@pytest.mark.parametrize("name", KINDS)
def test_a_loaded_result_is_the_saved_one_to_the_last_bit(results, tmp_path, name):
    result = results[name]
    ck.save(result, tmp_path / "a.json")
    again = ck.load(tmp_path / "a.json")
    same(result, again, name)
    if hasattr(result, "summary"):
        assert again.summary() == result.summary()
    assert repr(again) == repr(result)
    # What is saved of it again is the same text.
    ck.save(again, tmp_path / "b.json")
    assert (tmp_path / "b.json").read_text() == (tmp_path / "a.json").read_text()


@pytest.mark.parametrize("name", ["Comparison", "Comparison by dose and response", "Profile", "Power", "Study"])
def test_a_loaded_result_is_drawn(results, tmp_path, name):
    ck.save(results[name], tmp_path / "a.json")
    assert ck.load(tmp_path / "a.json").plot() is not None


def test_loaded_profiles_of_patients_are_drawn(results, tmp_path):
    results["Profiles"].save(tmp_path / "a.json")
    assert ck.load(tmp_path / "a.json").plot("alpha") is not None


def test_a_file_says_what_it_is_of(results, study, fits, tmp_path):
    def head(name):
        ck.save(results[name], tmp_path / "a.json")
        return json.loads((tmp_path / "a.json").read_text())

    for name in ("Study", "Comparison", "ModelComparison", "nca"):
        assert head(name)["data_sha256"] == study.sha256
    assert head("Fits")["data_sha256"] == head("Profiles")["data_sha256"] == fits.study.sha256
    assert head("Profile")["data_sha256"] == fits["P06"].study.sha256 != fits.study.sha256
    for name in ("ModelComparison", "Profile", "Bootstrap", "Power", "Identifiability"):
        assert list(head(name)["models"]) == [STEIN]
        assert "def curve(" in (tmp_path / "a.json").read_text()
    assert [head(name)["seed"] for name in ("Comparison", "ModelComparison", "Bootstrap", "Power")] == [2020] * 4
    assert all(head(name)["seconds"] > 0 for name in ("Comparison", "ModelComparison", "Bootstrap", "Power", "Profile"))
    assert head("Comparison")["options"]["windows"][2] == "days_above_lloq"
    asked = head("Bootstrap")["options"]
    assert (asked["n"], asked["kind"], asked["fit"]["censoring"], asked["fit"]["starts"]) == (5, "parametric", "m3", 1)
    assert head("nca")["options"]["window"] == {"is": "tuple", "of": [0, 28]}
    assert {*head("Power")["packages"]} == {*head("Fit")["packages"]} == {"jax", "numpy", "pandas", "scipy"}
    assert head("Power")["written_by"] == ck.__version__


def test_the_hash_of_a_study_is_of_its_numbers_and_texts(study):
    assert study.sha256 == ck.example().sha256 != study.select(until=100).sha256
    moved = study.observations.assign(value=np.nextafter(study.observations["value"], np.inf))
    assert ck.Study(moved, study.doses, study.covariates, study.unit, study.dose_unit).sha256 != study.sha256


ODD = {
    "floats": [0.1, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308],
    "negative nan": np.array([0xFFF8000000000000, 0x7FF8000000000001], np.uint64).view(np.float64),
    "single precision": np.array([0.1, np.nan, np.inf], np.float32),
    "whole numbers": np.array([[2**63 - 1, -(2**63)], [0, 1]]),
    "nothing": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "texts": np.array(["a", "é ☃"]),
    "scalars": (np.float64(0.1), np.int32(3), np.bool_(True), 10**30),
    "keys": {1.5: "a", ("x", 2): [None, True]},
    "is": {"is": "tuple", "of": 1},
    "times": [pd.Timestamp("2024-02-29 12:00:00.000000001"), date(2024, 2, 29), datetime(2024, 2, 29, 1), pd.NaT],
    "table": pd.DataFrame(
        {
            "text": pd.Series(["a", None, "=1+1"], dtype="str"),
            "object": pd.Series([None, math.nan, ("a", 1)], dtype="object"),
            "category": pd.Categorical(["b", None, "a"], ["c", "b", "a"], ordered=True),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "time": pd.to_datetime(["2024-02-29", None, "2024-03-01"]),
            "small": np.array([1, 2, 3], np.int8),
            "number": [-0.0, math.nan, math.inf],
        },
        index=pd.Index([3.0, -0.0, math.nan], name="day"),
    ),
    "two of one name": pd.DataFrame([[1, 2.5]], columns=["a", "a"]),
    "two levels": pd.DataFrame(
        {"x": [1.0, 2.0]}, index=pd.MultiIndex.from_tuples([("P1", 0.5), ("P2", 1.0)], names=["subject", None])
    ),
    "no rows": pd.DataFrame({"a": pd.Series(dtype="float64"), "b": pd.Series(dtype="str")}),
    "no columns": pd.DataFrame(index=["a", "b"]),
    "series": pd.Series(["x", "y"], index=["P1", "P2"], name="cohort"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_values_survive_the_way_through_text(name):
    text = json.dumps(codec.Writer().plain(ODD[name]), allow_nan=False)
    same(ODD[name], codec.Reader({}).value(json.loads(text)), name)


def test_a_thousand_random_floats_survive_bit_for_bit():
    values = np.random.default_rng(2020).integers(0, 2**64, 1000, np.uint64, endpoint=False).view(np.float64)
    same(values, codec.Reader({}).value(json.loads(json.dumps(codec.Writer().plain(values)))))


def test_what_stands_in_two_places_is_one_again(results, tmp_path):
    found = results["Comparison of single doses"]
    found.save(tmp_path / "a.json")
    assert all(one.trend is one.test for one in found.results)
    assert [len(one.tests) for one in ck.load(tmp_path / "a.json").results] == [1, 1, 1]


@pytest.fixture(scope="module")
def mine(study, tmp_path_factory):
    """A copy of a model's file, the model that it defines, and a fit of that."""
    curve = models.load(STEIN).curve
    assert curve is not None
    file = Path(shutil.copy(curve.__code__.co_filename, tmp_path_factory.mktemp("own") / "mine.py"))
    model = ck.load_model(file)
    return model, file, ck.fit(model, study.select("P06"), starts=1)


@pytest.fixture
def own(mine):
    """The same, the file as it was."""
    model, file, fit = mine
    file.write_text(model.file)
    return model, file, fit


def test_results_of_a_model_file_that_is_gone_are_saved_and_loaded(own, tmp_path):
    model, file, fit = own
    design = ck.identifiability(model, [7, 14, 28])
    text = file.read_text()
    file.unlink()
    for result in (fit, design, fit.bootstrap(3), fit.profile(["alpha"])):
        result.save(tmp_path / "a.json")
        assert json.dumps(text)[1:-1] in (tmp_path / "a.json").read_text()
        again = ck.load(tmp_path / "a.json")
        kept = again.model if isinstance(again, ck.Fit) else again.origin.model
        assert isinstance(kept, AbsentModel)
        assert kept.file == text
        again.save(tmp_path / "b.json")
        assert isinstance(ck.load(tmp_path / "b.json"), type(result))
    with pytest.raises(ck.ModelError, match="whose file is not run"):
        kept.solve([7.0])


def test_the_text_of_a_model_is_that_which_was_run(own, tmp_path):
    model, file, fit = own
    text = file.read_text()
    file.write_text(f"{text}\n# worked on since\n")
    fit.save(tmp_path / "a.json")
    assert "worked on since" not in (tmp_path / "a.json").read_text()
    with pytest.warns(UserWarning, match="has changed since this fit"):
        ck.load(tmp_path / "a.json", model=ck.load_model(file))
    assert ck.load(tmp_path / "a.json", model=model).model is model


def test_a_model_is_given_back_to_any_result_and_another_is_refused(own, tmp_path):
    model, file, _ = own
    design = {"between": {"c_max": 0.5}, "studies": 5, "patients": [6], "progress": False}
    found = ck.power(model, [1e6, 1e8], [3, 3], [7, 14, 28], **design)
    found.save(tmp_path / "power.json")
    alone = ck.load(tmp_path / "power.json")
    assert isinstance(alone.plan.model, AbsentModel)
    assert alone.summary() == found.summary()
    again = ck.load(tmp_path / "power.json", model=model)
    assert again.plan.model is model
    file.write_text(file.read_text() + "\n")
    with pytest.warns(UserWarning, match="has changed since"):
        ck.load(tmp_path / "power.json", model=ck.load_model(file))
    with pytest.raises(ck.StudyError, match=r"power\.json: its model is stein_2019.*, and nk_decline was given"):
        ck.load(tmp_path / "power.json", model=models.load("nk_decline"))


def test_loading_a_result_runs_no_file(own, tmp_path):
    model, file, _ = own
    ck.identifiability(model, [7, 14, 28]).save(tmp_path / "a.json")
    file.write_text(f"open({str(tmp_path / 'was_run')!r}, 'w').write('x')\n")
    ck.load(tmp_path / "a.json")
    assert not (tmp_path / "was_run").exists()


def test_a_model_made_in_memory_is_kept_without_its_functions(tmp_path):
    stein = models.load(STEIN)
    mine = ck.Model(name="mine", outputs=stein.outputs, parameters=stein.parameters, curve=stein.curve)
    tied = stein.with_(tie={"beta": lambda alpha: alpha / 50})
    for model in (mine, tied):
        found = ck.identifiability(model, [7, 14, 28])
        found.save(tmp_path / "a.json")
        again = ck.load(tmp_path / "a.json")
        assert again.summary() == found.summary()
        assert isinstance(again.origin.model, AbsentModel)
        with pytest.raises(ck.ModelError, match=r"ck\.load\(path, model=\.\.\.\)"):
            again.origin.model.solve([7.0])
        assert ck.load(tmp_path / "a.json", model=model).origin.model is model


def test_a_changed_model_of_the_library_comes_back_changed(tmp_path):
    changed = models.load(STEIN).with_(fixed={"f_b": 0.01}, bounds={"alpha": (0.0, math.inf)}, free=["c_max", "alpha"])
    ck.identifiability(changed, [7, 14, 28]).save(tmp_path / "a.json")
    model = ck.load(tmp_path / "a.json").origin.model
    assert not isinstance(model, AbsentModel)
    assert model.parameters["f_b"].value == 0.01
    assert model.held == changed.held
    assert model.curve is changed.curve


def test_results_travel_by_pickle_as_before(results):
    for name in ("Comparison", "Profile", "Bootstrap", "Power"):
        again = pickle.loads(pickle.dumps(results[name]))
        same(results[name], again, name)


def test_a_study_of_a_hundred_thousand_samples_is_kept_in_seconds(study, tmp_path):
    many = pd.concat([study.observations] * (100_000 // len(study.observations) + 1), ignore_index=True)
    large = ck.Study(many, study.doses, study.covariates, study.unit, study.dose_unit)
    began = time.perf_counter()
    large.save(tmp_path / "a.json")
    again = ck.load(tmp_path / "a.json")
    assert time.perf_counter() - began < 30
    pd.testing.assert_frame_equal(again.observations, many, check_exact=True)


@pytest.mark.filterwarnings("ignore:the file of .* has changed since this fit")
def test_results_of_the_first_version_are_read():
    found = ck.load(FILES / "comparison_v1.json")
    table = found.table.set_index(["window", "quantity"])
    # 6 of the 90 arrangements of two, two and two patients.
    assert table.loc[("peak, days 0-28", "Jonckheere-Terpstra"), "p"] == pytest.approx(6 / 90)
    assert table.loc[("peak, days 0-28", "dose exponent"), "estimate"] == pytest.approx(0.938714, abs=1e-6)
    assert found.summary().startswith("Comparison by cohort, simulated data: the peak: neither a difference")
    profile = ck.load(FILES / "profile_v1.json")
    assert profile.intervals.loc["alpha"].tolist()[:2] == pytest.approx([0.573626, 0.212204], abs=1e-6)
    assert profile.intervals.loc["alpha", "shape"] == "upper end open"


@pytest.mark.filterwarnings("ignore:the file of .* has changed since this fit")
def test_fits_of_the_second_version_are_read():
    fits = ck.load(FILES / "fits_v2.json")
    assert list(fits) == ["P04", "P06"]
    found = fits["P06"].parameters["value"]
    assert found[["F", "alpha", "f_b"]].tolist() == pytest.approx([0.000772, 0.058545, 0.377697], rel=1e-3)
