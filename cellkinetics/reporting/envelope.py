"""Saved results as text with a checksum: written whole or not at all, and what was altered is not read."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy
import scipy

import cellkinetics
from cellkinetics.errors import StudyError, one_problem
from cellkinetics.files import whole
from cellkinetics.lazily import pandas

# Fits had a format of their own before the second version of results: it is read, and no longer written.
FITS, RESULT = "cellkinetics fits", "cellkinetics result"
VERSIONS = {FITS: 2, RESULT: 2}  # the newest that is read
STUDY, CONTENT = "study", "content"  # the parts of a file
_OTHER_FILE = "Give a file that result.save(path) or ck.save(result, path) wrote."
_SAVE_AGAIN = "Take another copy of it, or compute and save again; the numbers in it cannot be trusted."
_CLOSE = "\n}"
_SEAL = re.compile(rb',\n "sha256": "([0-9a-f]{64})"\n\}\n')


def seal(path: Path, head: dict[str, Any], parts: dict[str, Any]) -> None:
    """Write parts below a head with format, versions and checksums, with the permissions of the file that is replaced.

    One line each, so that the top can be read by eye and compared, and a part that is whole be read of a file that is
    not.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    packages = {each.__name__: each.__version__ for each in (jax, numpy, pandas, scipy)}
    texts = {name: json.dumps(part, allow_nan=False) for name, part in parts.items()}
    about = {
        "format": RESULT, "version": VERSIONS[RESULT], "written_by": cellkinetics.__version__, "packages": packages,
        **head, "parts": {name: _hash(text) for name, text in texts.items()},
    }  # fmt: skip
    texts = {name: json.dumps(each, allow_nan=False) for name, each in about.items()} | texts
    text = "{\n " + ",\n ".join(f"{json.dumps(name)}: {each}" for name, each in texts.items())
    with whole(path) as file:
        file.write(f'{text},\n "sha256": "{_hash(text + _CLOSE)}"{_CLOSE}\n')


def part_of(path: Path, name: str) -> Any:
    """A part that agrees with its own checksum, of a file that may be damaged elsewhere; None where it does not."""
    return _part_in(_read(path), name)


def _read(path: Path) -> bytes:
    # What mail or git made of the ends of lines is no change: texts in JSON have none.
    return path.read_bytes().replace(b"\r\n", b"\n")


def open_sealed(path: Path) -> dict[str, Any]:
    """The content of a file that `seal` wrote, or an earlier version of it.

    Raises
    ------
    StudyError
        Another file, one of a newer version, or one that was altered since.
    """
    written = _read(path)
    try:
        content = json.loads(written.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        remedy = _still(written) or _OTHER_FILE
        raise one_problem("is not a file of a saved result, or was cut off", remedy, str(path)) from None
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
        remedy = " ".join(filter(None, (_SAVE_AGAIN, _still(written))))
        raise one_problem("was altered after it was written: its checksum does not agree", remedy, str(path))
    return content


def damaged(path: Path, error: Exception) -> StudyError:
    """The error for a file in which something is missing or of another kind."""
    what = f"{type(error).__name__}: {error}"
    return one_problem(f"is damaged ({what})", _SAVE_AGAIN, str(path))


def _still(written: bytes) -> str:
    """What of a damaged file can be read."""
    if _part_in(written, STUDY) is None:
        return ""
    return f'The samples in it are whole, and its numbers are not: ck.load(path, part="{STUDY}") reads these.'


def _part_in(written: bytes, name: str) -> Any:
    head = re.search(rb'^ "parts": (.*),$', written, re.MULTILINE)
    line = re.search(rb'^ "%s": (.*),$' % name.encode(), written, re.MULTILINE)
    try:
        said = json.loads(head[1]) if head and line else None
        if line and isinstance(said, dict) and said.get(name) == hashlib.sha256(line[1]).hexdigest():
            return json.loads(line[1])
    except ValueError:
        pass
    return None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_sealed(written: bytes) -> bool:
    """Whether the text before its checksum, closed, is the one that was written: byte for byte."""
    found = _SEAL.search(written, max(len(written) - 100, 0))
    if found is None or found.end() != len(written):
        return False
    return hashlib.sha256(written[: found.start()] + _CLOSE.encode()).hexdigest().encode() == found[1]


def _is_whole(content: dict[str, Any]) -> bool:
    """Whether fits are what was written; only the first version has no checksum."""
    if "sha256" not in content:
        return content["version"] == 1
    return content["sha256"] == _checksum(content)


def _checksum(content: dict[str, Any]) -> str:
    """Of fits: of what was read, so that it is no matter how the text is set."""
    content = {name: value for name, value in content.items() if name != "sha256"}
    return _hash(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False))
