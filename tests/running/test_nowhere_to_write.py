"""A disk that is full, a folder that is read-only, and two commands that write into one folder at the same time."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import matplotlib
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models

DECLINE = models.load("nk_decline")
STUDY = ck.example().select(["P05", "P06", "P07", "P08", "P09", "P10"])
COMMAND = [sys.executable, "-c", "from cellkinetics.cli import main; main()"]
CURVE = """
import cellkinetics as ck
print(*(value.hex() for value in ck.models.load("nk_decline").solve([1.0, 7.0], doses=1e6)["copies_per_ug"].tolist()))
"""


@contextmanager
def mounted(place, options):
    """A file system of its own in the memory; the test skips where it may not be mounted."""
    place.mkdir()
    if sys.platform != "linux":
        pytest.skip("tmpfs is Linux's")
    if shutil.which("mount") is None:
        pytest.skip("there is no command mount here")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def full(tmp_path):
    """Room for a few kilobytes."""
    with mounted(tmp_path / "full", "size=16k") as place:
        yield place


@pytest.fixture
def read_only(tmp_path):
    with mounted(tmp_path / "read only", "ro") as place:
        yield place


def curve(cache):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "CELLKINETICS_"))}
    given = kept | {"CELLKINETICS_CACHE": str(cache), "MPLCONFIGDIR": matplotlib.get_configdir()}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CURVE], env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [float.fromhex(each) for each in done.stdout.split()]


def test_a_checkpoint_without_room_says_so_keeps_what_is_whole_and_goes_on_when_there_is(full):
    kept = full / "kept"
    with pytest.raises(OSError, match=r"No space left on device\. What was written before stays") as error:
        ck.fit_each(DECLINE, STUDY, starts=1, progress=False, chunk=1, checkpoint=kept)
    assert error.value.filename == str(kept)
    assert not list(kept.glob(".*"))
    for file in kept.glob("*.json"):
        json.loads(file.read_text().split("\n")[0])
    subprocess.run(["mount", "-o", "remount,size=4m", full], check=True)
    again = ck.fit_each(DECLINE, STUDY, starts=1, progress=False, chunk=1, checkpoint=kept)
    undisturbed = ck.fit_each(DECLINE, STUDY, starts=1, progress=False, chunk=1)
    pd.testing.assert_frame_equal(again.parameters, undisturbed.parameters, check_exact=True)


def test_a_result_without_room_is_refused_by_its_name(full):
    fit = ck.fit(DECLINE, STUDY.select("P06"), starts=1)
    (full / "other").write_bytes(bytes(12_000))
    with pytest.raises(OSError, match="No space left on device") as error:
        fit.save(full / "fit.json")
    assert error.value.filename == str(full / "fit.json")
    assert [path.name for path in full.iterdir()] == ["other"]


def test_a_cache_without_room_or_that_is_read_only_costs_time_and_nothing_else(full, read_only):
    right = DECLINE.solve([1.0, 7.0], doses=1e6)["copies_per_ug"].tolist()
    assert curve(full) == right
    assert curve(read_only) == right


def test_a_read_only_folder_is_refused_by_its_name_before_anything_is_fitted(read_only, tmp_path):
    with pytest.raises(OSError, match="Read-only file system") as error:
        ck.fit_each(DECLINE, STUDY, starts=1, progress=False, checkpoint=read_only / "kept")
    assert error.value.filename == str(read_only / "kept")
    STUDY.to_csv(tmp_path / "patients.csv")
    fit = [*COMMAND, "fit", tmp_path / "patients.csv", "--model", "nk_decline"]
    done = subprocess.run(fit, cwd=read_only, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no permission to write in" in done.stderr


def test_two_commands_at_once_in_one_folder_both_keep_their_results(tmp_path):
    model = models.load("stein_2019_tisagenlecleucel")
    days, rng = np.array([1, 4, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180.0]), np.random.default_rng(2020)
    curve = np.asarray(model.solve(days)["copies_per_ug"])
    tables = [
        pd.DataFrame({"subject": f"P{i}", "day": days, "copies_per_ug": curve * np.exp(rng.normal(0, 0.3, len(days)))})
        for i in range(3)
    ]
    pd.concat(tables).to_csv(tmp_path / "patients.csv", index=False)
    fit = [*COMMAND, "fit", "patients.csv", "--lloq", "3", "--model", model.name, "--starts", "1"]
    both = [subprocess.Popen([*fit, "--seed", seed], cwd=tmp_path, stdout=subprocess.DEVNULL) for seed in ("1", "2")]
    assert [process.wait() for process in both] == [0, 0]
    folders = sorted(path.name for path in tmp_path.glob("cellkinetics-fit-*"))
    assert folders == ["cellkinetics-fit-1", "cellkinetics-fit-2"]
    found = [ck.load(tmp_path / name / "fits.json") for name in folders]
    assert {fits["P0"].request.seed for fits in found} == {1, 2}
    assert all(list(fits) == ["P0", "P1", "P2"] for fits in found)
    files = [{path.name for path in (tmp_path / name).iterdir()} for name in folders]
    assert files[0] == files[1]
    assert {"outcomes.csv", "parameters.csv", "report.html"} <= files[0]
