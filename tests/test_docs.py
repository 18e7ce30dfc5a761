"""The pages hold what the library offers."""

import re
from pathlib import Path

import cellkinetics as ck

DOCS = Path(__file__).parents[1] / "docs"
BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_every_public_name_is_in_the_reference():
    listed = set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.rst").read_text(), re.MULTILINE))
    assert set(ck.__all__) - {"models"} <= listed


def test_every_table_of_a_study_is_shown_with_the_command_that_makes_it_again():
    page = (DOCS / "validation.rst").read_text()
    for table in sorted(BENCHMARKS.glob("*.csv")):
        assert f"{table.name}" in page, table.name
        assert f"python tests/benchmarks/{table.stem}.py" in page, table.stem


def test_one_version_is_told_everywhere():
    root = Path(__file__).resolve().parents[1]
    said = f"## {ck.__version__}, "
    latest = next(line for line in (root / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    citation = (root / "CITATION.cff").read_text()
    assert latest.startswith(said)
    assert f"\nversion: {ck.__version__}\n" in citation
    assert f"\ndate-released: {latest.removeprefix(said)}\n" in citation
