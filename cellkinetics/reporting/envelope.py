"""Saved results as text with a checksum: written whole or not at all, and what was altered is not read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cellkinetics
from cellkinetics.errors import StudyError, one_problem
from cellkinetics.files import whole

FORMAT, VERSION = "cellkinetics fits", 2
_OTHER_FILE = "Give a fits.json that fit.save(path) wrote."
_SAVE_AGAIN = "Take another copy of it, or fit and save again; the numbers in it cannot be trusted."


def seal(path: Path, content: dict[str, Any]) -> None:
    """Write content with its format, version and checksum, with the permissions of the file that it replaces."""
    content = {"format": FORMAT, "version": VERSION, "written_by": cellkinetics.__version__, **content}
    text = json.dumps({**content, "sha256": _checksum(content)}, indent=1, allow_nan=False)
    with whole(path) as file:
        file.write(text + "\n")


def open_sealed(path: Path) -> dict[str, Any]:
    """The content of a file that `seal` wrote, or an earlier version of it.

    Raises
    ------
    StudyError
        Another file, one of a newer version, or one that was altered since.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise one_problem("is not a file of saved fits, or was cut off", _OTHER_FILE, str(path)) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise one_problem("is not a file of saved fits", _OTHER_FILE, str(path))
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise one_problem(f"is damaged: its version is {version!r}", _SAVE_AGAIN, str(path))
    if version > VERSION:
        found = f"has version {version}, newer than this library, which reads up to {VERSION}"
        raise one_problem(found, "Load it with the version of cellkinetics that wrote it, or a later one.", str(path))
    if version > 1 and content.pop("sha256", None) != _checksum(content):
        raise one_problem("was altered after it was written: its checksum does not agree", _SAVE_AGAIN, str(path))
    return content


def damaged(path: Path, error: Exception) -> StudyError:
    """The error for a file in which something is missing or of another kind."""
    what = f"{type(error).__name__}: {error}"
    return one_problem(f"is damaged ({what})", _SAVE_AGAIN, str(path))


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
