"""The commands that README.md promises are the ones that .ci/run runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/cellkinetics fit",
    '.venv/bin/pip install ".[test]" && .venv/bin/python -m pytest -n auto',
]


def test_the_bash_blocks_of_the_readme_hold_exactly_two_commands():
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    assert [line for block in blocks for line in block.splitlines() if line] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_ci_runs_the_command_of_the_readme_verbatim(command):
    assert command in (ROOT / ".ci" / "run").read_text()
