"""Finished chunks of a piece of work in a folder, for a run that goes on where another one was killed."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cellkinetics import codec
from cellkinetics.files import whole
from cellkinetics.progress import log
from cellkinetics.running.digest import digest
from cellkinetics.words import count

HEAD, FORMAT, FORMAT_VERSION = "checkpoint.json", "cellkinetics checkpoint", 1
SOON = 1.0  # seconds from one writing to the next, at least
LONGEST_TEXT = 60  # of what was asked, that an error shows
OLD = 3600.0  # seconds after which a file that was never put in place is swept out


class Checkpoint:
    """A folder of finished chunks, and what was asked of the run that they are of.

    Each chunk is known by a hash of what it was computed from, so that none can be taken for another's. Files are
    written whole or not at all; one that is damaged is left out, and its chunks are computed again.

    Parameters
    ----------
    path : the folder; it is made where its parent is there.
    asked : {name: value} of the run: the verb, model, data, options and seed.

    Raises
    ------
    ValueError
        The folder holds something else, or is of a run of which something else was asked; it says what.
    """

    def __init__(self, path: str | Path, asked: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._known, self._read = dict[str, Any](), False
        self._waiting: dict[str, Any] = {}
        self._written = -float("inf")
        # The package imports this module: its version is asked for when both are there.
        self._open({"cellkinetics": sys.modules["cellkinetics"].__version__, **asked})

    def _open(self, asked: Mapping[str, Any]) -> None:
        said = {name: {"text": _shown(value), "sha256": digest(value)} for name, value in asked.items()}
        head = self.path / HEAD
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"checkpoint={str(self.path)!r} is a file. Name a folder, which may be a new one.")
        if head.exists():
            self._same(_unsealed(head), said)
            self._sweep()
        elif self.path.exists() and any(self.path.iterdir()):
            raise ValueError(f"checkpoint={str(self.path)!r} is a folder with other files in it. Name a new one.")
        else:
            try:
                self.path.mkdir(exist_ok=True)
            except FileNotFoundError:
                text = f"checkpoint={str(self.path)!r}: there is no folder {self.path.parent}. Make it first."
                raise FileNotFoundError(text) from None
            _seal(head, {"format": FORMAT, "version": FORMAT_VERSION, "asked": said})

    def _same(self, content: Any, said: Mapping[str, Mapping[str, str]]) -> None:
        remedy = "Give another folder, or delete this one."
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"checkpoint={str(self.path)!r}: its {HEAD} is damaged. {remedy}")
        if content.get("version") != FORMAT_VERSION:
            text = f"is of version {content.get('version')}, and this library reads {FORMAT_VERSION}"
            raise ValueError(f"checkpoint={str(self.path)!r} {text}. {remedy}")
        there, nothing = content["asked"], {"text": "", "sha256": ""}
        different = []
        for name in dict.fromkeys([*said, *there]):
            old, new = there.get(name, nothing), said.get(name, nothing)
            if old["sha256"] != new["sha256"]:
                texts = old["text"], new["text"]
                different.append(
                    f"{name} is {texts[0]} there and {texts[1]} here"
                    if all(texts) and texts[0] != texts[1]
                    else f"{name} is not the same"
                )
        if different:
            text = f"checkpoint={str(self.path)!r} is of another run: {'; '.join(different)}. {remedy}"
            raise ValueError(text)

    def found(self) -> Mapping[str, Any]:
        """{hash: the chunk as it was written} of all that is there."""
        if not self._read:
            self._read = True
            for file in sorted(self.path.glob("*.json")):
                if file.name == HEAD:
                    continue
                content = _unsealed(file)
                if content is None:
                    log.info("%s is damaged: what is in it is computed again", file)
                else:
                    self._known |= content["chunks"]
        return self._known

    def value(self, key: str) -> Any:
        """The chunk of a hash."""
        return codec.Reader({}).value(self.found()[key])

    def add(self, stage: str, key: str, value: Any) -> None:
        """Keep a finished chunk; it is on disk at once, or with the next one where these come in quick succession."""
        self._waiting[key] = codec.Writer().plain(value)
        if time.monotonic() - self._written >= SOON:
            self.write(stage)

    def once(self, stage: str, given: Any, work: Callable[[], tuple[Any, ...]]) -> tuple[list[Any], ...]:
        """The arrays in each part of what ``work`` gives, read where it was finished before; ``given`` is what of."""
        key = digest((stage, given))
        if key in self.found():
            return self.value(key)
        done = tuple([np.asarray(leaf) for leaf in jax.tree.leaves(part)] for part in work())
        self.add(stage, key, done)
        return done

    def write(self, stage: str) -> None:
        """Put what is finished on disk."""
        if self._waiting:
            try:
                _seal(self.path / f"{stage}-{uuid.uuid4().hex}.json", {"chunks": self._waiting})
            except OSError as error:
                remedy = "What was written before stays: mend that and call the same again, to go on from there"
                raise type(error)(error.errno, f"{error.strerror}. {remedy}", str(self.path)) from None
            self._known |= self._waiting
            self._waiting = {}
        self._written = time.monotonic()

    def _sweep(self) -> None:
        """Remove what a run that was killed had not put in place."""
        for file in self.path.glob(".*.json.*"):
            try:
                if time.time() - file.stat().st_mtime > OLD:
                    file.unlink()
            except OSError:
                pass

    def __repr__(self) -> str:
        return f"<Checkpoint {self.path}: {count(len(self.found()), 'chunk')}>"


def _shown(value: Any) -> str:
    text = repr(value) if _is_plain(value) else ""
    return text if len(text) <= LONGEST_TEXT else ""


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _seal(path: Path, content: Any) -> None:
    text = json.dumps(content, allow_nan=False)
    with whole(path) as file:
        file.write(f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n")


def _unsealed(path: Path) -> Any:
    """The content of a file that `_seal` wrote; None where it is not whole."""
    try:
        text, _, end = path.read_text(encoding="utf-8").rstrip("\n").rpartition("\n")
        return json.loads(text) if hashlib.sha256(text.encode()).hexdigest() == end else None
    except (OSError, ValueError):
        return None
