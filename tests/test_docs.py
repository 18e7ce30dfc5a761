"""The pages hold what the library offers."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cellkinetics as ck

STDLIB = sys.stdlib_module_names
DOCS = Path(__file__).parents[1] / "docs"
BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_every_public_name_is_in_the_reference():
    listed = set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.rst").read_text(), re.MULTILINE))
    assert set(ck.__all__) - {"models"} <= listed


def test_every_table_of_a_study_is_shown_with_the_command_that_makes_it_again():
    page = "".join((DOCS / f"{name}.rst").read_text() for name in ("validation", "benchmarks"))
    for table in sorted(BENCHMARKS.glob("*.csv")):
        assert f"{table.name}" in page, table.name
        # The table of another mode of a script has the mode at the end of its name.
        script, _, mode = table.stem.rpartition("_")
        own = (BENCHMARKS / f"{table.stem}.py").exists()
        assert f"python tests/benchmarks/{f'{table.stem}.py' if own else f'{script}.py {mode}'}" in page, table.stem


def test_the_validation_page_opens_with_its_claims_and_each_leads_to_its_proof():
    page = (DOCS / "validation.rst").read_text()
    claims = page.partition("What is claimed")[2].partition("\n\n")[0]
    assert page.index("What is claimed") < page.index("\n---")
    titles = set(re.findall(r"^([^\n]+)\n-{4,}$", page, re.MULTILINE))
    labels = set(re.findall(r"^\.\. _([\w-]+):$", (DOCS / "benchmarks.rst").read_text(), re.MULTILINE))
    rows = claims.split("   * - ")[1:]
    assert len(rows) >= 10
    for row in rows:
        inside, outside = set(re.findall(r"(?<!:)`([^`<]+)`_", row)), set(re.findall(r":ref:`([^`]+)`", row))
        assert inside | outside, row
        assert inside <= titles and outside <= labels, row


def test_scripts_of_the_gallery_are_numbered_through_its_sections():
    scripts = sorted((DOCS.parent / "fits").rglob("*.py"))
    assert [int(script.name[:2]) for script in scripts] == [*range(1, len(scripts) + 1)]
    assert len(scripts) >= 24


def test_scripts_of_the_gallery_take_from_the_library_what_the_reference_has():
    listed = set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.rst").read_text(), re.MULTILINE))
    rooms = {name.rpartition(".")[0] for name in listed}
    for script in (DOCS.parent / "fits").rglob("*.py"):
        text = script.read_text(encoding="utf-8")
        for place, names in re.findall(r"^from cellkinetics\.?([\w.]*) import ([\w, ]+)$", text, re.MULTILINE):
            for name in names.split(", "):
                whole = f"{place}.{name}".lstrip(".")
                assert whole in listed | rooms | {"models"}, f"{script.name}: {whole}"
                used = set(re.findall(rf"\b{name}\.([a-z]\w*)\(", text)) if whole in rooms - {"models"} else set()
                assert {f"{whole}.{each}" for each in used} <= listed, f"{script.name}: {used}"


def test_one_version_is_told_everywhere():
    root = Path(__file__).resolve().parents[1]
    said = f"## {ck.__version__}, "
    latest = next(line for line in (root / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    citation = (root / "CITATION.cff").read_text()
    assert latest.startswith(said)
    assert f"\nversion: {ck.__version__}\n" in citation
    assert f"\ndate-released: {latest.removeprefix(said)}\n" in citation


SCRIPTS = sorted((DOCS.parent / "fits").rglob("*.py"))
INSTALLED = {"cellkinetics", "jax", "matplotlib", "numpy", "pandas", "scipy"}  # by pip install cellkinetics
READERS = {"open", "load_model", "read_study", "load", "read_csv", "read_text", "read_bytes", "loadtxt", "check_table"}


def needs(text):
    """What a script takes that pip does not install: modules, and files by a name that is written out."""
    missing = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            missing += [one.name for one in node.names if one.name.split(".")[0] not in INSTALLED | STDLIB]
        elif isinstance(node, ast.ImportFrom):
            missing += [] if (node.module or "").split(".")[0] in INSTALLED | STDLIB else [str(node.module)]
        elif isinstance(node, ast.Name) and node.id == "__file__":
            missing.append("__file__")
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            of = ast.unparse(getattr(node.func, "value", node.func))
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            # models.load("name") is of the library; a path of one's own begins with a folder that was made.
            missing += texts if name == "Path" or (name in READERS and not of.endswith("models")) else []
    return missing


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_of_the_gallery_needs_nothing_but_the_package(script):
    assert needs(script.read_text(encoding="utf-8")) == []


def test_what_a_script_would_need_besides_is_found():
    text = "import at_truth\nfrom tests.house import x\nck.read_study('data/a.csv')\nopen('b')\nck.models.load('stein')"
    assert needs(f"{text}\nPath('models') / 'x'\nPath(__file__)\nck.read_study(file)") == [
        "at_truth", "tests.house", "data/a.csv", "b", "models", "__file__"
    ]  # fmt: skip


def test_a_script_of_the_gallery_runs_alone_in_an_empty_folder(tmp_path):
    site, here = tmp_path / "site", tmp_path / "here"
    site.mkdir()
    here.mkdir()
    (site / "cellkinetics").symlink_to(DOCS.parent / "cellkinetics")
    script = here / "script.py"
    script.write_text((SCRIPTS[0]).read_text(encoding="utf-8") + "\nprint(ck.__file__)\n", encoding="utf-8")
    given = {**os.environ, "PYTHONPATH": str(site), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, script.name], cwd=here, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(site / "cellkinetics" / "__init__.py")
    assert [file.name for file in here.iterdir()] == ["script.py"]
