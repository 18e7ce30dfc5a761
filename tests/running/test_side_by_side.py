"""Several at once and nowhere to write: threads of the user, a disk that is full, settings of other libraries."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models

STUDY = ck.example().select(["P05", "P06"])
DECLINE = models.load("nk_decline")


def one(subject):
    return ck.fit(DECLINE, STUDY.select(subject), starts=1, tie={"beta": lambda alpha: alpha / 50}).parameters


def test_threads_that_fit_at_once_give_the_numbers_of_one_after_the_other():
    subjects = [*STUDY.subjects, *STUDY.subjects]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(one, subjects))
    for subject, found in zip(subjects, together, strict=True):
        pd.testing.assert_frame_equal(found, one(subject), check_exact=True)


FULL = """
import resource, sys
import cellkinetics as ck
from cellkinetics import models
study = ck.example().select("P06")
before = ck.fit(models.load("nk_decline"), study, starts=1)
before.save("earlier.json")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for what in (lambda: before.save("earlier.json"), lambda: before.save("new.json")):
    try:
        what()
    except OSError as error:
        print(error.strerror, error.filename)
print((ck.load("earlier.json").parameters["value"] == before.parameters["value"]).all())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the size of files is limited by RLIMIT_FSIZE")
def test_a_file_for_which_there_is_no_room_leaves_the_earlier_one_and_nothing_else(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.split("\n")[-2] == "True"
    assert done.stdout.count("File too large") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["earlier.json"]


SETTINGS = """
import jax, sys
before = dict(jax.config.values)
import cellkinetics as ck
from cellkinetics import models
ck.fit(models.load("nk_decline"), ck.example().select("P06"), starts=1)
print(*sorted(name for name, value in jax.config.values.items() if before.get(name) != value))
print(*sorted(name for name in ("equinox", "diffrax", "optimistix") if name in sys.modules))
"""


def test_of_other_libraries_only_what_is_said_is_changed():
    done = subprocess.run([sys.executable, "-c", SETTINGS], capture_output=True, text=True, check=True)
    changed, loaded = done.stdout.splitlines()
    said = {"jax_enable_x64", "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"}
    assert set(changed.split()) <= said | {"jax_persistent_cache_min_entry_size_bytes"}
    assert not loaded


@pytest.mark.parametrize("shared", [{}, {"shared": ["alpha"]}])
def test_a_fit_that_is_one_search_says_so_where_it_is_to_be_kept_or_shared(shared, tmp_path):
    for more in ({"checkpoint": tmp_path / "kept"}, {"n_jobs": 2}):
        with pytest.raises(TypeError, match="is one search, which keeps nothing"):
            ck.fit(DECLINE, STUDY if shared else STUDY.select("P06"), **shared, **more)
    assert not list(tmp_path.iterdir())
