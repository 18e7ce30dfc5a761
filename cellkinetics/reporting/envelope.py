"""Saved results as text with a checksum: written whole or not at all, and what was altered is not read."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy
import pandas
import scipy

import cellkinetics
from cellkinetics.errors import StudyError, one_problem
from cellkinetics.files import whole

FITS, RESULT = "cellkinetics fits", "cellkinetics result"
# The newest version of each format that is read, which is the one that is written.
VERSIONS = {FITS: 2, RESULT: 1}
_OTHER_FILE = "Give a file that result.save(path) or ck.save(result, path) wrote."
_SAVE_AGAIN = "Take another copy of it, or compute and save again; the numbers in it cannot be trusted."
_SEAL = re.compile(rb',\n "sha256": "([0-9a-f]{64})"\n\}\n')


def seal(path: Path, content: dict[str, Any], of: str = FITS) -> None:
    """Write content with its format, versions and checksum, with the permissions of the file that it replaces."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    packages = {each.__name__: each.__version__ for each in (jax, numpy, pandas, scipy)}
    head = {"format": of, "version": VERSIONS[of], "written_by": cellkinetics.__version__, "packages": packages}
    content = {**head, **content}
    if of == FITS:
        text = json.dumps({**content, "sha256": _checksum(content)}, indent=1, allow_nan=False)
    else:
        # One line a part, so that its top can be read by eye and compared.
        lines = [f"{json.dumps(name)}: {json.dumps(each, allow_nan=False)}" for name, each in content.items()]
        text = "{\n " + ",\n ".join(lines) + "\n}"
        text = f'{text[:-2]},\n "sha256": "{hashlib.sha256(text.encode()).hexdigest()}"\n}}'
    with whole(path) as file:
        file.write(text + "\n")


def open_sealed(path: Path) -> dict[str, Any]:
    """The content of a file that `seal` wrote, or an earlier version of it.

    Raises
    ------
    StudyError
        Another file, one of a newer version, or one that was altered since.
    """
    written = path.read_bytes()
    try:
        content = json.loads(written.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise one_problem("is not a file of a saved result, or was cut off", _OTHER_FILE, str(path)) from None
    found = content.get("format") if isinstance(content, dict) else None
    newest = VERSIONS.get(found) if isinstance(found, str) else None
    if newest is None:
        raise one_problem("is not a file of a saved result", _OTHER_FILE, str(path))
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise one_problem(f"is damaged: its version is {version!r}", _SAVE_AGAIN, str(path))
    if version > newest:
        text = f"has version {version}, newer than this library, which reads up to {newest}"
        raise one_problem(text, "Load it with the version of cellkinetics that wrote it, or a later one.", str(path))
    if not (_is_sealed(written) if found == RESULT else _is_whole(content)):
        raise one_problem("was altered after it was written: its checksum does not agree", _SAVE_AGAIN, str(path))
    return content


def damaged(path: Path, error: Exception) -> StudyError:
    """The error for a file in which something is missing or of another kind."""
    what = f"{type(error).__name__}: {error}"
    return one_problem(f"is damaged ({what})", _SAVE_AGAIN, str(path))


def _is_sealed(written: bytes) -> bool:
    """Whether the text before its checksum, closed, is the one that was written: byte for byte."""
    found = _SEAL.search(written, max(len(written) - 100, 0))
    if found is None or found.end() != len(written):
        return False
    return hashlib.sha256(written[: found.start()] + b"\n}").hexdigest().encode() == found[1]


def _is_whole(content: dict[str, Any]) -> bool:
    """Whether fits are what was written; only the first version has no checksum."""
    if "sha256" not in content:
        return content["version"] == 1
    return content["sha256"] == _checksum(content)


def _checksum(content: dict[str, Any]) -> str:
    """Of fits: of what was read, so that it is no matter how the text is set."""
    content = {name: value for name, value in content.items() if name != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
