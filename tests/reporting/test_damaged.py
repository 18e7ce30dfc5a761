"""Files that are damaged, of another version or cannot be written are refused by name, and nothing is lost."""

import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import codec, models
from cellkinetics.reporting import envelope

FILES = Path(__file__).parents[1] / "files"


@pytest.fixture(scope="module")
def study():
    return ck.example()


@pytest.fixture(scope="module")
def fits(study):
    return ck.fit_each(models.load("nk_decline"), study.select(["P04", "P06"]), starts=1, progress=False)


@pytest.fixture(scope="module")
def results(study, fits):
    stein = models.load("stein_2019_tisagenlecleucel")
    design = {"between": {"c_max": 0.5}, "lloq": 3, "studies": 20, "patients": [6], "progress": False}
    return {
        "Comparison": ck.compare_cohorts(study, windows=[(0, 28), (28, 336), "days_above_lloq"]),
        "Profile": fits["P06"].profile(["alpha"]),
        "Power": ck.power(stein, [1e6, 1e8], [3, 3], [7, 14, 28], **design),
    }


def test_no_changed_bit_is_read(results, tmp_path):
    path = tmp_path / "comparison.json"
    results["Comparison"].save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(2020)
    for at, bit in zip(rng.integers(len(whole), size=200), rng.integers(8, size=200), strict=True):
        changed = bytearray(whole)
        changed[at] ^= 1 << int(bit)
        path.write_bytes(bytes(changed))
        with pytest.raises(ck.StudyError, match=r"comparison\.json"):
            ck.load(path)
    path.write_bytes(whole + b" ")
    with pytest.raises(ck.StudyError, match="altered"):
        ck.load(path)


def test_what_was_cut_off_is_refused_wherever_that_was(results, tmp_path):
    path = tmp_path / "comparison.json"
    results["Comparison"].save(path)
    whole = path.read_bytes()
    for length in [*np.linspace(0, len(whole) - 2, 19).astype(int), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ck.StudyError, match=r"comparison\.json: .*(cut off|altered)"):
            ck.load(path)


def sealed(path, **changes):
    """A file with other content, and the checksum of that."""
    content = json.loads(path.read_text())
    del content["sha256"]
    ours = ("format", "version", "written_by", "packages", "parts")
    content = {name: value for name, value in {**content, **changes}.items() if name not in ours or name in changes}
    parts = {name: content.pop(name) for name in ("study", "content") if name in content}
    envelope.seal(path, content, parts)


def test_the_samples_of_a_damaged_file_are_read_where_they_are_whole(fits, tmp_path):
    path = tmp_path / "fits.json"
    fits.save(path)
    whole = path.read_bytes()
    at = whole.index(b'\n "fits": ')
    for damaged in (whole[: at + 500], whole[: at + 500] + b"#" + whole[at + 501 :]):
        path.write_bytes(damaged)
        with pytest.raises(ck.StudyError, match=r"fits\.json: .*The samples in it are whole.* part=\"study\""):
            ck.load(path)
        assert ck.load(path, part="study").sha256 == fits.study.sha256
    changed = whole.replace(b"40.0", b"41.0", 1) if b"40.0" in whole[:at] else whole.replace(b"P04", b"P05", 1)
    path.write_bytes(changed)
    for part in (None, "study"):
        with pytest.raises(ck.StudyError, match="altered") as refused:
            ck.load(path, part=part)
        assert "whole" not in str(refused.value)
    with pytest.raises(ValueError, match="a file has the part 'study', its samples"):
        ck.load(path, part="fits")


@pytest.mark.filterwarnings("ignore:the file of nk_decline has changed since this fit")
def test_of_an_older_file_and_of_a_whole_one_the_samples_are_read(results, fits, tmp_path):
    assert ck.load(FILES / "fits_v2.json", part="study").subjects == ("P04", "P06")
    fits.save(tmp_path / "fits.json")
    assert ck.load(tmp_path / "fits.json", part="study").sha256 == fits.study.sha256
    results["Power"].save(tmp_path / "power.json")
    with pytest.raises(ck.StudyError, match=r"power\.json: has no samples in it"):
        ck.load(tmp_path / "power.json", part="study")


def test_a_file_of_a_newer_version_is_refused(results, tmp_path):
    path = tmp_path / "power.json"
    results["Power"].save(path)
    sealed(path, version=3)
    with pytest.raises(ck.StudyError, match=r"power\.json: has version 3, newer than this library, .* to 2"):
        ck.load(path)


def test_an_unknown_kind_is_refused(results, tmp_path):
    path = tmp_path / "power.json"
    results["Power"].save(path)
    for kind in ("Popen", "Parameter", "Fit"):
        sealed(path, content={"is": kind, "of": {"args": "true"}})
        with pytest.raises(ck.StudyError, match=rf"power\.json: is damaged .*holds a {kind}, which this version"):
            ck.load(path)


def test_another_json_file_is_refused(tmp_path):
    for text in ("{}", "[]", "1", '{"format": ["cellkinetics result"]}', "\x80"):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ck.StudyError, match=r"a\.json: is not a file of a saved result"):
            ck.load(tmp_path / "a.json")


def test_a_field_that_a_file_lacks_takes_its_default_and_one_that_is_new_is_said(results, tmp_path):
    path = tmp_path / "profile.json"
    results["Profile"].save(path)
    content = json.loads(path.read_text())["content"]
    old = {name: value for name, value in content["of"].items() if name not in ("origin", "simulated")}
    sealed(path, content={**content, "of": old})
    again = ck.load(path)
    assert (again.simulated, again.origin.data) == (False, "")
    pd.testing.assert_frame_equal(again.table, results["Profile"].table, check_exact=True)
    sealed(path, content={**content, "of": {**content["of"], "colour": "blue"}})
    with pytest.warns(UserWarning, match=r"written by a later version: Profile\.colour is left out"):
        again = ck.load(path)
    pd.testing.assert_frame_equal(again.table, results["Profile"].table, check_exact=True)
    sealed(path, content={**content, "of": {k: v for k, v in content["of"].items() if k != "table"}})
    with pytest.raises(ck.StudyError, match=r"profile\.json: is damaged .*Profile lacks table"):
        ck.load(path)


def test_what_is_no_result_is_not_written(tmp_path):
    with pytest.raises(TypeError, match="dict is no result"):
        ck.save({}, tmp_path / "a.json")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"function .* cannot be written"):
        ck.save(pd.DataFrame({"a": [test_no_changed_bit_is_read]}), tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_classes_of_one_name_are_told_apart():
    @dataclass
    class Study:
        a: int = 1

    class Kind(Enum):
        A = "peak"

    for value in (Study(), Kind.A):
        with pytest.raises(TypeError, match="is not written to files"):
            codec.Writer().plain(value)


def test_a_folder_that_is_not_there_is_named(study, fits, tmp_path):
    for result in (study, fits):
        with pytest.raises(FileNotFoundError, match=r"a\.json cannot be written: there is no folder .*missing\."):
            result.save(tmp_path / "missing" / "a.json")
    assert not list(tmp_path.iterdir())


def test_where_nothing_may_be_written_nothing_is_left(study, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "a.json").write_text("earlier")
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(os, "fsync", full)
        study.save(tmp_path / "a.json")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.json", "earlier")]


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_that_is_read_only_is_left_as_it_was(study, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=r"denied: '[^']*/a\.json'"):
            study.save(tmp_path / "a.json")
        assert not list(tmp_path.iterdir())
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_is_replaced_keeps_its_permissions(study, tmp_path):
    (tmp_path / "a.json").write_text("earlier")
    (tmp_path / "a.json").chmod(0o640)
    study.save(tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640
