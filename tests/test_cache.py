"""Compiled programs are kept between processes, in the user's cache folder."""

import os
import subprocess
import sys
import time

import matplotlib
import pytest

CODE = """
import cellkinetics as ck
ck.simulate(ck.models.load({model!r}), {{}}, [1.0, 7.0], doses=1e6)
"""


def run(model, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "CELLKINETICS_", "XDG_CACHE"))}
    # matplotlib keeps its list of fonts in the same folder, and writes it on a machine's first import.
    kept["MPLCONFIGDIR"] = matplotlib.get_configdir()
    subprocess.run([sys.executable, "-c", CODE.format(model=model)], env={**kept, **environment}, check=True)


def programs(folder):
    return sorted(path.name for path in folder.rglob("jit_call-*-cache"))


def test_the_solve_of_an_ode_is_kept_and_found_again(tmp_path):
    # A program that calls back to Python would not be kept: JAX keeps no callbacks.
    run("il15_persistence", CELLKINETICS_CACHE=str(tmp_path))
    first = programs(tmp_path)
    assert first
    run("il15_persistence", CELLKINETICS_CACHE=str(tmp_path))
    assert programs(tmp_path) == first


def test_the_folder_is_the_users_cache_unless_another_is_named(tmp_path):
    run("nk_decline", XDG_CACHE_HOME=str(tmp_path))
    if sys.platform == "linux":
        assert programs(tmp_path / "cellkinetics")


@pytest.mark.parametrize("word", ["off", "0"])
def test_the_cache_can_be_switched_off(tmp_path, word):
    run("nk_decline", XDG_CACHE_HOME=str(tmp_path), CELLKINETICS_CACHE=word)
    assert not list(tmp_path.iterdir())


def test_a_setting_of_the_user_is_left_alone(tmp_path):
    run("nk_decline", XDG_CACHE_HOME=str(tmp_path / "ours"), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "theirs"))
    assert not (tmp_path / "ours").exists()


def half(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :]


def test_a_damaged_file_is_compiled_anew_and_the_next_process_is_not_warned(tmp_path):
    def warned():
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "CELLKINETICS_", "XDG_CACHE"))}
        given = kept | {"MPLCONFIGDIR": matplotlib.get_configdir(), "CELLKINETICS_CACHE": str(tmp_path)}
        code = CODE.format(model="nk_decline")
        done = subprocess.run([sys.executable, "-c", code], env=given, check=True, capture_output=True, text=True)
        return "compilation cache" in done.stderr

    assert not warned()
    whole = {path: path.read_bytes() for path in tmp_path.glob("*-cache")}
    assert len(whole) > 1  # JAX 0.12 keeps two, earlier ones three and more
    time.sleep(0.2)  # a file system's clock has ticks
    damaged = {
        path: damage(whole[path]) for path, damage in zip(sorted(whole), (half, flipped, lambda _: b""), strict=False)
    }
    for path, content in damaged.items():
        path.write_bytes(content)
    assert warned()
    # Compiled anew they may have other bytes: JAX 0.8 does not write the same ones twice.
    assert not [path for path, content in damaged.items() if path.exists() and path.read_bytes() == content]
    assert not warned()
    assert {path for path in whole if path.exists()} == set(whole)
