"""Saved fits: what was altered is not read, what was saved years ago is, and no model file is run."""

import json
import os
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.reporting.model_files import in_library

FILES = Path(__file__).parents[1] / "files"
# The files of the first version know a model whose file has been worked on since.
CHANGED_SINCE = pytest.mark.filterwarnings("ignore:the file of nk_decline has changed since this fit")


@pytest.fixture(scope="module")
def study():
    return ck.example().select("P06")


@pytest.fixture(scope="module")
def fit(study):
    return ck.fit(models.load("nk_decline"), study, starts=1)


@pytest.fixture(scope="module")
def own(tmp_path_factory, study):
    """A fit of a model file, and that file."""
    path = tmp_path_factory.mktemp("own") / "mine.py"
    curve = models.load("nk_decline").curve
    assert curve is not None
    path.write_text(Path(curve.__code__.co_filename).read_text())
    return ck.fit(ck.load_model(path), study, starts=1), path


def test_a_changed_bit_is_refused_or_changes_no_number(fit, tmp_path):
    path = tmp_path / "fit.json"
    fit.save(path)
    whole = path.read_bytes()
    rng, loaded = np.random.default_rng(2020), 0
    for at, bit in zip(rng.integers(len(whole), size=250), rng.integers(8, size=250), strict=True):
        changed = bytearray(whole)
        changed[at] ^= 1 << int(bit)
        path.write_bytes(bytes(changed))
        try:
            again = ck.load(path)
        except ck.StudyError as error:
            assert str(path) in str(error)
            continue
        # A blank that became another blank.
        loaded += 1
        pd.testing.assert_frame_equal(again.parameters, fit.parameters, check_exact=True)
    assert loaded < 50


def test_a_file_that_was_cut_off_is_refused_with_its_name(fit, tmp_path):
    path = tmp_path / "fit.json"
    fit.save(path)
    whole = path.read_text()
    for share in (0.0, 0.3, 0.9, 0.999):
        path.write_text(whole[: int(share * len(whole))])
        with pytest.raises(ck.StudyError, match=r"fit\.json: is not a file of a saved result, or was cut off"):
            ck.load(path)


@CHANGED_SINCE
@pytest.mark.parametrize("key", ["study", "request", "fits", "single"])
@pytest.mark.parametrize("value", [None, "1", 1.5, [], {}])
def test_a_file_without_checksum_in_which_something_is_missing_is_damaged(tmp_path, key, value):
    content = json.loads((FILES / "fits_v1.json").read_text())
    content.pop(key) if value is None else content.update({key: value})
    (tmp_path / "fit.json").write_text(json.dumps(content))
    with pytest.raises(ck.StudyError, match=r"fit\.json: is damaged"):
        ck.load(tmp_path / "fit.json")


@CHANGED_SINCE
def test_files_of_older_versions_are_read_and_written_anew_without_a_change(tmp_path):
    for name, kind in (("joint_v2", ck.JointFit), ("tied_v2", ck.Fits), ("population_v1", ck.PopulationFit)):
        old = ck.load(FILES / f"{name}.json")
        assert isinstance(old, kind)
        old.save(tmp_path / f"{name}.json")
        again = ck.load(tmp_path / f"{name}.json")
        assert isinstance(again, kind)
        pd.testing.assert_frame_equal(again.parameters, old.parameters, check_exact=True)
        assert again.summary() == old.summary()
    assert ck.load(FILES / "joint_v2.json").shared == {"alpha": "all"}
    tied = ck.load(FILES / "tied_v2.json")["P06"]
    assert tied.parameters.at["beta", "status"] == "tied"
    assert tied.estimates["beta"] == pytest.approx(tied.estimates["alpha"] / 20, rel=1e-9)


def test_a_file_tells_at_its_top_what_it_is_of_and_has_the_text_of_its_model(fit, own, tmp_path):
    for one in (fit, own[0]):
        one.save(tmp_path / "fit.json")
        content = json.loads((tmp_path / "fit.json").read_text())
        assert (content["kind"], content["seed"], content["options"]["error"]) == ("Fit", 2020, "log")
        assert content["seconds"] == one.seconds > 0
        assert content["data_sha256"] == one.study.sha256
        model = content["request"]["model"]
        assert "def curve(" in model["file"]
        assert content["models"] == {"nk_decline": model["sha256"]}


def test_a_model_made_in_memory_goes_into_files_without_its_functions(study, tmp_path):
    curve = models.load("nk_decline").curve
    assert curve is not None
    mine = replace(
        models.load("nk_decline"), curve=lambda t, dose, F, alpha, f_b, beta: curve(t, dose, F, alpha, f_b, beta)
    )
    fit = ck.fit(mine, study, starts=1)
    fit.save(tmp_path / "fit.json")
    again = ck.load(tmp_path / "fit.json")
    assert again.summary() == fit.summary()
    pd.testing.assert_frame_equal(again.predict(), fit.predict(), rtol=1e-12)
    with pytest.raises(ck.ModelError, match="a model of your own, whose file is not run"):
        again.identifiability()
    whole = ck.load(tmp_path / "fit.json", model=mine)
    pd.testing.assert_frame_equal(whole.predict([500.0]), fit.predict([500.0]), rtol=1e-12)
    with pytest.warns(ck.ModelWarning, match="has changed since this fit"):
        ck.load(tmp_path / "fit.json", model=models.load("nk_decline"))


def test_a_number_of_another_file_that_changed_is_told_when_the_model_is_given(study, tmp_path, monkeypatch):
    helper = types.ModuleType("helper_of_a_user")
    helper.factor = 1.0
    monkeypatch.setitem(sys.modules, "helper_of_a_user", helper)
    curve = models.load("nk_decline").curve
    assert curve is not None
    text = Path(curve.__code__.co_filename).read_text()
    path = tmp_path / "mine.py"
    # The level of its curve is multiplied with a number of another module.
    text = text.replace("import annotations\n", "import annotations\n\nimport helper_of_a_user\n", 1)
    path.write_text(text.replace("return F * dose", "return helper_of_a_user.factor * F * dose"))
    ck.fit(ck.load_model(path), study, starts=1).save(tmp_path / "fit.json")
    ck.load(tmp_path / "fit.json", model=ck.load_model(path))
    helper.factor = 100.0
    with pytest.warns(ck.ModelWarning, match="what the functions of nk_decline take from elsewhere has changed"):
        ck.load(tmp_path / "fit.json", model=ck.load_model(path))


def test_ends_of_lines_that_git_or_mail_changed_are_no_damage(fit, tmp_path):
    path = tmp_path / "fit.json"
    fit.save(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(ck.load(path).parameters, fit.parameters, check_exact=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="an administrator may write over any file")
def test_a_file_that_may_not_be_written_to_is_not_replaced(fit, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text("final")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"may not be written to.*fit\.json"):
        fit.save(path)
    assert path.read_text() == "final"


def test_a_long_name_is_written(fit, tmp_path):
    path = tmp_path / f"{'n' * 240}.json"
    fit.save(path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_link_stays_one_and_what_it_points_to_is_replaced(fit, tmp_path):
    (tmp_path / "results").mkdir()
    place, link = tmp_path / "results" / "fit.json", tmp_path / "latest.json"
    place.write_text("earlier")
    link.symlink_to(place)
    fit.save(link)
    assert link.is_symlink()
    pd.testing.assert_frame_equal(ck.load(place).parameters, fit.parameters)


def test_a_model_made_in_memory_is_not_the_librarys_whose_name_it_has():
    library = ck.models.load("nk_decline")
    assert in_library(library)
    assert in_library(library.with_(fixed={"alpha": 0.1}))
    own = replace(library, curve=lambda t, dose, F, alpha, f_b, beta: F * dose)
    assert not in_library(own)
    assert not in_library(own.with_(fixed={"alpha": 0.1}))


def test_an_older_version_in_a_file_with_a_checksum_is_not_believed(fit, tmp_path):
    path = tmp_path / "fits.json"
    fit.save(path)
    path.write_text(path.read_text().replace('"version": 2', '"version": 1', 1))
    with pytest.raises(ck.StudyError, match="altered after it was written"):
        ck.load(path)


@pytest.mark.parametrize("version", ["1", None, 0, 1.0, True])
def test_a_version_that_is_none_is_damage(fit, tmp_path, version):
    fit.save(tmp_path / "fit.json")
    content = json.loads((tmp_path / "fit.json").read_text())
    (tmp_path / "fit.json").write_text(json.dumps({**content, "version": version}))
    with pytest.raises(ck.StudyError, match="is damaged: its version is"):
        ck.load(tmp_path / "fit.json")


@CHANGED_SINCE
def test_fits_of_the_first_version_are_read():
    fits = ck.load(FILES / "fits_v1.json")
    assert isinstance(fits, ck.Fits)
    found = fits["P06"].parameters["value"]
    assert found[["F", "alpha", "f_b"]].tolist() == pytest.approx([0.000772, 0.058545, 0.377697], rel=1e-3)
    assert np.isfinite(fits["P06"].predict([7.0])["copies_per_ug"]).all()


@CHANGED_SINCE
def test_a_model_file_of_the_first_version_is_not_run_unasked(own):
    with pytest.raises(ck.StudyError, match="not run without being asked for"):
        ck.load(FILES / "own_model_v1.json")
    again = ck.load(FILES / "own_model_v1.json", model=ck.load_model(own[1]))
    assert isinstance(again, ck.Fit)
    # Files of the first version have the sd of maximum likelihood in their table.
    found, fitted = again.estimates, own[0].estimates
    assert list(found.values()) == pytest.approx(list(fitted.values()), rel=1e-3)


def test_loading_runs_no_file_whatever_the_saved_one_says(own, tmp_path):
    fit, _ = own
    mark, trap = tmp_path / "was_run", tmp_path / "trap.py"
    trap.write_text(f"open({str(mark)!r}, 'w').write('x')\n")
    fit.save(tmp_path / "fit.json")
    text = (tmp_path / "fit.json").read_text()
    content = json.loads(text)
    model = content["request"]["model"]
    assert model["path"] == model["described"]["path"] == str(own[1])
    model["path"] = model["described"]["path"] = str(trap)
    # As someone would forge it, with the checksum of the new content.
    from cellkinetics.reporting import envelope

    parts = {name: content[name] for name in content["parts"]}
    envelope.seal(tmp_path / "fit.json", {"models": content["models"]}, parts)
    ck.load(tmp_path / "fit.json")
    assert not mark.exists()


def test_a_fit_of_a_model_file_that_is_gone_has_its_tables_curve_and_residuals(own, tmp_path):
    fit, _ = own
    fit.save(tmp_path / "fit.json")
    again = ck.load(tmp_path / "fit.json")
    assert isinstance(again, ck.Fit)
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    pd.testing.assert_frame_equal(again.residuals, fit.residuals)
    pd.testing.assert_frame_equal(again.predict(), fit.predict(), rtol=1e-12)
    days = fit.residuals["day"].to_numpy(float)
    wider, narrower = again.predict(days, level=0.99), fit.predict(days, level=0.99)
    pd.testing.assert_frame_equal(wider, narrower, rtol=1e-9)
    assert again.summary() == fit.summary()
    with pytest.raises(ck.ModelError, match="the curve was kept from day 0 to"):
        again.predict([1e4])
    for ask in (again.profile, again.derived, again.identifiability, again.bootstrap):
        with pytest.raises(ck.ModelError, match="whose file is not run"):
            ask()


def test_with_its_model_wherever_that_lies_now_a_fit_is_whole_again(own, tmp_path):
    fit, path = own
    fit.save(tmp_path / "fit.json")
    ck.load(tmp_path / "fit.json").save(tmp_path / "twice.json")
    moved = shutil.copy(path, tmp_path / "moved.py")
    again = ck.load(tmp_path / "twice.json", model=ck.load_model(moved))
    assert isinstance(again, ck.Fit)
    pd.testing.assert_frame_equal(again.predict([500.0]), fit.predict([500.0]), rtol=1e-12)
    with pytest.raises(ck.StudyError, match="its model is nk_decline, and stein_2019_tisagenlecleucel was given"):
        ck.load(tmp_path / "fit.json", model=models.load("stein_2019_tisagenlecleucel"))


def test_a_number_that_is_infinite_does_not_lose_the_fits(study, tmp_path):
    fits = ck.fit_each(models.load("nk_decline"), study, fixed={"beta": np.inf}, progress=False)
    fits.save(tmp_path / "fits.json")
    again = ck.load(tmp_path / "fits.json")
    assert isinstance(again, ck.Fits)
    assert again["P06"].outcome == fits["P06"].outcome
    assert again["P06"].request.fixed == {"beta": np.inf}


def test_a_file_that_is_replaced_keeps_its_permissions(fit, tmp_path):
    path = tmp_path / "fit.json"
    path.write_text("earlier")
    path.chmod(0o640)
    fit.save(path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["fit.json"]
