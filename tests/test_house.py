"""The house: rooms, floors, one name for one thing."""

import importlib
import runpy
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import cellkinetics as ck

house = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("house.py"))))
ROOMS = sorted(name for name in house.rooms() if name != ".")


def test_no_module_imports_itself_by_way_of_others_but_for_listed_delegations():
    assert house.knots(left_out=house.delegations()) == []


def test_every_listed_delegation_is_there():
    known = house.modules()
    assert not {(one, other) for one, other in house.delegations() if other not in house.imports(known[one], known)}


def test_no_room_is_crowded_and_none_is_deeper_than_one_level():
    assert max(house.rooms().values()) <= 18
    assert all("/" not in room for room in ROOMS)


def test_no_file_is_longer_than_500_lines_and_half_are_shorter_than_150():
    lines = house.lengths()
    assert {name: length for name, length in lines.items() if length > 500} == {}
    assert statistics.median(lines.values()) <= 150


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_what_it_may_import(room):
    text = importlib.import_module(f"cellkinetics.{room}").__doc__ or ""
    assert len(text.strip().splitlines()) >= 3
    assert "may import" in text


def test_no_two_classes_have_one_name():
    assert house.twins() == {}


def test_no_two_constants_have_one_name():
    assert house.homonyms() == {}


def test_what_is_public_is_what_is_shown():
    assert dir(ck) == sorted(ck.__all__)
    assert all(hasattr(ck, name) for name in ck.__all__)


def test_no_public_function_is_hidden_by_a_module_of_its_name():
    inside = {path.stem for path in house.PACKAGE.iterdir() if path.suffix in ("", ".py")}
    assert inside & set(ck.__all__) == {"models"}
    assert ck.models.names()


def test_nothing_is_imported_from_the_tests_or_the_scripts():
    sources = [Path(file).read_text(encoding="utf-8") for file in house.modules().values()]
    assert not any("import tests" in source or "from tests" in source for source in sources)


def test_the_import_leaves_what_draws_and_what_few_need_for_later():
    late = ("pandas", "matplotlib", "lmfit", "scipy.special", "scipy.stats", "scipy.optimize", "jax.scipy.stats")
    late = (*late, "joblib", "jinja2", "rich", "IPython")
    code = f"import sys, cellkinetics; print([name for name in {late} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
