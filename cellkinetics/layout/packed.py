"""Compressed files, unpacked into a temporary file and no further than a limit."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cellkinetics.errors import one_problem

# Bytes that a file may have when unpacked: a few kilobytes can hold terabytes of blanks.
UNPACKED = 2_000_000_000
BLOCK = 1 << 20
_OPENED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


def is_packed(first: bytes) -> bool:
    """Whether a file that begins so is gzip, bzip2 or xz."""
    return first.startswith(tuple(_OPENED))


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file itself, or a temporary file with what is in it when it is gzip, bzip2, xz or a zip archive of one file.

    Raises
    ------
    StudyError
        When it is damaged, holds several files, or more than `UNPACKED` bytes.
    """
    with path.open("rb") as file:
        first = file.read(6)
    opened = next((function for magic, function in _OPENED.items() if first.startswith(magic)), None)
    if opened is None and not first.startswith(b"PK\x03\x04"):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            if opened is not None:
                with opened(path, "rb") as packed:
                    target = _copied(packed, Path(folder) / path.stem, path.name)
            else:
                with zipfile.ZipFile(path) as archive:
                    member = _only_member(archive, path.name)
                    if member is None:
                        target = path
                    else:
                        with archive.open(member) as packed:
                            target = _copied(packed, Path(folder) / Path(member.filename).name, path.name)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
            raise one_problem(f"it cannot be unpacked: {error}", "Unpack it, or pack it again.", path.name) from error
        yield target


def _only_member(archive: zipfile.ZipFile, source: str) -> zipfile.ZipInfo | None:
    """The one file of an archive; None when the archive is a workbook."""
    members = [each for each in archive.infolist() if not each.is_dir() and "__MACOSX" not in each.filename]
    names = [each.filename for each in members]
    if "[Content_Types].xml" in names or "content.xml" in names:
        if sum(each.file_size for each in members) > UNPACKED:
            raise _too_large(source)
        return None
    if len(members) != 1:
        found = f"it is a zip archive of {len(members)} files ({', '.join(names[:4])}{', ...' * (len(names) > 4)})"
        raise one_problem(found, "Unpack it and name the table.", source)
    return members[0]


def _copied(packed: IO[bytes], target: Path, source: str) -> Path:
    size = 0
    with target.open("wb") as file:
        # Read in blocks and counted: what the header of an archive says of its size need not be true.
        while block := packed.read(BLOCK):
            size += len(block)
            if size > UNPACKED:
                raise _too_large(source)
            file.write(block)
    return target


def _too_large(source: str) -> Exception:
    return one_problem(
        f"it unpacks to more than {UNPACKED / 1e9:g} GB", "Unpack it and take the part you need.", source
    )
