"""JAX's persistent compilation cache, in the user's cache folder."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax

OFF = {"0", "off", "no", "false", "none"}


@lru_cache(maxsize=1)
def switch_on() -> None:
    """Keep compiled programs between processes; never over a setting of the user's.

    The environment variable CELLKINETICS_CACHE names another folder, or switches it off ("off").
    """
    asked = os.environ.get("CELLKINETICS_CACHE", "")
    chosen_elsewhere = (
        getattr(jax.config, "jax_compilation_cache_dir", None) or "JAX_ENABLE_COMPILATION_CACHE" in os.environ
    )
    if (asked and asked.lower() in OFF) or (chosen_elsewhere and not asked):
        return
    folder = Path(asked).expanduser() if asked else user_cache() / "cellkinetics"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # A home that cannot be written costs the compile time, nothing else.
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextmanager
def cacheable() -> Iterator[None]:
    """Trace a solve without run-time checks of its arguments: a program that calls back to Python is never cached.

    diffrax checks by such a callback that the times to save at are sorted and inside the segment, which they are by
    construction. Without this, each process compiles every ODE anew (il15_persistence: about 10 s a fit).
    """
    errors: Any = importlib.import_module("equinox._errors")
    before = getattr(errors, "EQX_ON_ERROR", None)
    errors.EQX_ON_ERROR = "off" if before == "raise" else before
    try:
        yield
    finally:
        errors.EQX_ON_ERROR = before


def user_cache() -> Path:
    """The folder where this system keeps caches of the user."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
