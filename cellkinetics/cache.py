"""Compiled programs: kept in the process by what they are made of, and between processes in the user's cache folder."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax

from cellkinetics.lowered import Program
from cellkinetics.progress import log
from cellkinetics.sameness import made_of

# Linux allows a process 65,530 memory maps, of which a program takes some hundred; elsewhere programs are counted.
MOST_MAPS, FEWEST_PROGRAMS, MOST_PROGRAMS = 8_000, 8, 64
# Programs are half of the memory that they take; the compiler leaves the rest scattered over what it was given.
MOST_BYTES = 600_000_000
_MAPS, _MEMORY = Path("/proc/self/maps"), Path("/proc/self/statm")

P = ParamSpec("P")
R = TypeVar("R")

WORTH_A_LINE = 0.5  # seconds of a compilation that the log names

A_TICK = 100_000_000  # ns, more than from one tick of a file system's clock to the next
ZSTD = b"\x28\xb5\x2f\xfd"

OFF = {"0", "off", "no", "false", "none"}


@lru_cache(maxsize=1)
def switch_on() -> Path | None:
    """Keep compiled programs between processes, in the folder that is returned; never over a setting of the user's.

    The environment variable CELLKINETICS_CACHE names another folder, or switches it off ("off").
    """
    asked = os.environ.get("CELLKINETICS_CACHE", "")
    chosen_elsewhere = (
        getattr(jax.config, "jax_compilation_cache_dir", None) or "JAX_ENABLE_COMPILATION_CACHE" in os.environ
    )
    if (asked and asked.lower() in OFF) or (chosen_elsewhere and not asked):
        return None
    folder = Path(asked).expanduser() if asked else user_cache() / "cellkinetics"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None  # A home that cannot be written costs the compile time, nothing else.
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def user_cache() -> Path:
    """The folder where this system keeps caches of the user."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")


class _Mender(threading.local):
    """Files of JAX's cache that are damaged are removed, once it is seen that one is.

    JAX warns of a file that it cannot read, compiles, and leaves the file: every later process would do the same again.
    A file that was there already is known by this: JAX was about to write, and the folder has no new file.
    """

    before: int | None = None
    done = False

    def about_to_write(self) -> None:
        """Remember the state of the folder."""
        folder = switch_on()
        self.before = None if folder is None else _changed(folder)

    def written(self) -> None:
        """Look whether a file was written, and for damaged ones where none was."""
        before, folder, self.before = self.before, switch_on(), None
        if before is None or folder is None or _Mender.done:
            return
        # Two files within one tick of the clock leave the folder with the same time.
        if (after := _changed(folder)) != before or time.time_ns() - after < A_TICK:
            return
        _Mender.done = True
        for path in folder.glob("*-cache"):
            try:
                if not _readable(path.read_bytes()):
                    path.unlink()
                    log.info("%s was damaged and is removed", path)
            except OSError:
                continue


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _readable(packed: bytes) -> bool:
    """Whether a file of JAX's cache can be unpacked; what is packed by zstd is believed to be."""
    if packed.startswith(ZSTD):
        return True
    try:
        zlib.decompress(packed)
    except zlib.error:
        return False
    return True


class _Shelf:
    """Programs of all kinds, the one that was asked for last at the end."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Hashable, Any] = OrderedDict()
        self.lock = threading.RLock()
        self.compiled = 0  # programs that JAX has compiled or read from its cache since the last look
        self.seconds = 0.0  # that this took since the beginning
        self.others = 0  # memory maps of the process without these programs
        self.bytes = 0  # of memory likewise, as far as it is known
        self.mender = _Mender()
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        jax.monitoring.register_event_listener(self._missed)

    def _missed(self, event: str, **kwargs: str | int) -> None:
        del kwargs
        if event == "/jax/compilation_cache/cache_misses":
            self.mender.about_to_write()

    def _heard(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        del kwargs
        if event == "/jax/core/compile/backend_compile_duration":
            self.compiled += 1
            self.seconds += duration_secs
            self.mender.written()
            if duration_secs >= WORTH_A_LINE:
                log.info("a program compiled, or read from the cache, in %.1f s", duration_secs)

    def find(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self.lock:
            if self.compiled:
                self._tidy()
            if key not in self.kept:
                self.bytes = self.bytes or _resident()
                folder, made = switch_on(), make()
                if isinstance(made, Program):
                    made.known_as, made.folder = key, folder
                self.kept[key] = made
            self.kept.move_to_end(key)
            return self.kept[key]

    def _tidy(self) -> None:
        """Let go of what was asked for longest ago, until there is room.

        A quarter at a time: to give memory back, all objects of the process are looked at, which may take seconds.
        """
        self.compiled = 0
        while self.kept and self._crowded():
            if len(self.kept) > FEWEST_PROGRAMS:
                for _ in range(min(-(-len(self.kept) // 4), len(self.kept) - FEWEST_PROGRAMS)):
                    self.kept.popitem(last=False)
            elif not self._halved():
                self.kept.clear()
            _give_back()
            if not self.kept:
                self.others, self.bytes = _maps(), _resident()

    def _halved(self) -> bool:
        """Let go of half of the shapes that programs are compiled for; False where there are too few of them."""
        programs = [made for made in self.kept.values() if isinstance(made, Program)]
        used = [(tick, shapes, made) for made in programs for shapes, tick in list(made.used.items())]
        used.sort(key=lambda each: each[0])
        for _, shapes, made in used[: len(used) // 2]:
            made.let_go(shapes)
        return len(used) > 1

    def _crowded(self) -> bool:
        maps = _maps()
        if self.bytes and _resident() - self.bytes > MOST_BYTES:
            return True
        return maps - self.others > MOST_MAPS if maps else len(self.kept) > MOST_PROGRAMS


_SHELF = _Shelf()


def kept(make: Callable[P, R]) -> Callable[P, R]:
    """Of a function that makes a compiled program: make it once for arguments that are `made_of` the same."""

    @wraps(make)
    def found(*args: P.args, **kwargs: P.kwargs) -> R:
        key = (make.__module__, make.__qualname__, *map(made_of, args), made_of(kwargs))
        return _SHELF.find(key, lambda: make(*args, **kwargs))

    return found


def seconds_compiled() -> float:
    """Seconds that compilations took in this process, those of programs that were read from the cache too."""
    return _SHELF.seconds


def _maps() -> int:
    """Memory maps of this process; 0 where the system does not tell."""
    try:
        return _MAPS.read_bytes().count(b"\n")
    except OSError:
        return 0


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        return int(_MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _give_back() -> None:
    """Let the system have what the C library keeps of memory that was let go of, where it is glibc."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
