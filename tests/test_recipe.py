"""The conda recipe says what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import yaml

import cellkinetics as ck

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RECIPE = yaml.safe_load((ROOT / "docs" / "conda" / "recipe.yaml").read_text())
# What conda-forge calls otherwise than PyPI.
CALLED = {"flatbuffers": "python-flatbuffers", "matplotlib": "matplotlib-base"}


def bounds(requirements):
    """{package as conda calls it: bound}."""
    each = [re.fullmatch(r"([\w-]+) ?(\S*)", text) for text in requirements]
    return {CALLED.get(name := match[1].lower(), name): match[2] for match in each if match}


def test_it_is_of_this_version_and_brings_the_command():
    assert RECIPE["context"]["version"] == ck.__version__
    scripts = PROJECT["project"]["scripts"]
    assert RECIPE["build"]["python"]["entry_points"] == [f"{name} = {where}" for name, where in scripts.items()]


def test_it_asks_for_what_the_project_asks_for():
    project = PROJECT["project"]
    assert bounds(RECIPE["requirements"]["run"]) == {
        "python": project["requires-python"], **bounds(project["dependencies"]),
    }  # fmt: skip
    assert bounds(PROJECT["build-system"]["requires"]).items() <= bounds(RECIPE["requirements"]["host"]).items()


def test_it_names_the_licence_that_is_there():
    about = RECIPE["about"]
    assert about["license"] == PROJECT["project"]["license"]
    assert (ROOT / about["license_file"]).is_file()
