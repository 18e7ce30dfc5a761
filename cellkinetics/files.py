"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

BEGINNING = 60  # letters of a name that a temporary one begins with


@contextmanager
def whole(path: Path) -> Iterator[IO[str]]:
    """A file of text that takes the place of `path` when all is written, with the permissions of the one that is there.

    Until then, and when writing fails, `path` is what it was: a full disk leaves no half file.
    """
    # A link stays one: what it points to is replaced.
    place = Path(os.path.realpath(path))
    partial = place.with_name(f".{place.name[:BEGINNING]}.{uuid.uuid4().hex}")
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, "the file that is there may not be written to", str(path))
    try:
        with partial.open("x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            partial.chmod(place.stat().st_mode & 0o7777)
        os.replace(partial, place)
    except OSError as error:
        if error.filename not in (None, str(partial)):
            raise
        # The temporary name says nothing to anybody, and of a full disk none is said.
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        partial.unlink(missing_ok=True)
