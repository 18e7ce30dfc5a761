"""Programs that compile with less, and are kept between processes as they are handed to the compiler.

JAX keeps what it has compiled, but traces and lowers the Python code again in each process to find it: 1.9 of the 2.8
seconds of a cached first fit. A program whose parts have lasting names (`sameness.lasting`) is kept as it was lowered,
by `jax.export`, in a folder beside the compiled ones. What is kept is known by the source of this package, the versions
and the platform besides: nothing is read that today's code would not have made.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import itertools
import json
import sys
from collections.abc import Callable, Hashable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.extend.core import get_opaque_trace_state

from cellkinetics import files, sameness

# The older code generator of XLA's CPU compiles these programs in half the CPU time, and what it makes is as fast.
_FASTER = {"xla_cpu_use_fusion_emitters": False}
_ENDING = ".lowered"
_TICKS = itertools.count()
_UNTRACED: list[Any] = []  # JAX's state when nothing was traced last


@lru_cache(maxsize=1)
def _options() -> dict[str, Any] | None:
    """Of the compiler, None where this one does not know them."""
    try:
        jax.jit(lambda x: x, compiler_options=_FASTER)(0.0)
    except Exception:  # a compiler without an option names no class of error for it
        return None
    return _FASTER


class Program:
    """A function under `jax.jit`; inside another program it is inlined as any function.

    Parameters
    ----------
    function : of arrays in tuples, lists, dictionaries and named tuples of this package.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.alone: Any = jax.jit(function, compiler_options=_options())
        self.inside = jax.jit(function)  # the options are those of the whole program that it is part of
        self.known_as: Hashable | None = None  # given by `cache.kept`: what it is made of
        self.folder: Path | None = None
        self.ready: dict[Hashable, Callable[..., Any]] = {}
        self.used: dict[Hashable, int] = {}  # when each of the shapes was asked for, counted over all programs

    def __call__(self, *args: Any) -> Any:
        """The function at these arguments."""
        leaves, tree = jax.tree.flatten(args)
        if _traced() or any(isinstance(leaf, Tracer) for leaf in leaves):
            return self.inside(*args)
        shapes = tree, *map(_shape, leaves)
        ready = self.ready.get(shapes)
        if ready is None:
            ready = self.ready[shapes] = self._prepared(args, shapes)
        self.used[shapes] = next(_TICKS)
        return ready(*args)

    def let_go(self, shapes: Hashable) -> None:
        """Forget what was compiled for these shapes; it is compiled, or read, again when it is asked for."""
        self.used.pop(shapes, None)
        if self.ready.pop(shapes, None) is self.alone:
            self.alone.clear_cache()

    def _prepared(self, args: Any, shapes: Hashable) -> Callable[..., Any]:
        if self.folder is None:
            return self.alone
        name = sameness.lasting((_here(), self.known_as, str(shapes)))
        if name is None:
            return self.alone
        path = self.folder / (name + _ENDING)
        try:
            exported = _read(path)
        except Exception:  # A file that cannot be read, whatever is wrong with it, is written anew.
            exported = None
        try:
            exported = exported or _written(path, jax.export.export(self.alone)(*args))
        except Exception:  # What JAX cannot export it can run: what is truly wrong with it is said there.
            return self.alone
        return jax.jit(exported.call, compiler_options=_options())


def _traced() -> bool:
    """Whether this runs within a program that is being traced."""
    state = get_opaque_trace_state()
    if state in _UNTRACED:
        return False
    # There even a new number is traced: to make one takes longer than all else in a call.
    traced = isinstance(jax.numpy.zeros(()), Tracer)
    if not traced:
        _UNTRACED[:] = [state]
    return traced


def _shape(leaf: Any) -> Hashable:
    if isinstance(leaf, np.ndarray):  # of which a call has dozens, and JAX takes its time
        return leaf.shape, _name_of(leaf.dtype), False
    return jax.numpy.shape(leaf), str(jax.numpy.result_type(leaf)), isinstance(leaf, int | float | bool)


@cache
def _name_of(dtype: Any) -> str:
    return str(jax.numpy.zeros(0, dtype).dtype)


@cache
def _here() -> str:
    """The source of this package, and everything else that what is lowered depends on."""
    source = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        source.update(str(path.relative_to(root)).encode() + path.read_bytes())
    versions = [f"{name} {importlib.import_module(name).__version__}" for name in sameness.VERSIONED[1:]]
    return " ".join([source.hexdigest(), *versions, jax.default_backend(), sys.version])


def _read(path: Path) -> Any:
    """None where there is none."""
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    # What is damaged may still be read, and fail, or differ, only when it is compiled.
    if kept["sha256"] != _checksum(kept["tuples"], kept["program"]):
        raise ValueError(f"{path} is not what was written.")
    for name in kept["tuples"]:
        _register(name)
    return jax.export.deserialize(bytearray(base64.b64decode(kept["program"])))


def _written(path: Path, exported: Any) -> Any:
    """The program as a later process reads it: what was traced holds megabytes, and JAX's caches hold it."""
    names = sorted(set(_tuples(exported.in_tree)) | set(_tuples(exported.out_tree)))
    try:
        for name in names:
            _register(name)
        packed = exported.serialize()
    except Exception:  # A tree that JAX cannot write: the next process lowers it again.
        return exported
    try:
        with files.whole(path) as file:
            program = base64.b64encode(packed).decode()
            json.dump({"tuples": names, "program": program, "sha256": _checksum(names, program)}, file)
    except OSError:  # A full disk, or a folder that is gone.
        pass
    return jax.export.deserialize(packed)


def _checksum(names: list[str], program: str) -> str:
    return hashlib.sha256(json.dumps([names, program]).encode()).hexdigest()


def _tuples(tree: Any) -> Iterator[str]:
    """Named tuples in a tree, as module:name."""
    data = tree.node_data()
    if data is not None and hasattr(data[0], "_fields"):
        yield f"{data[0].__module__}:{data[0].__qualname__}"
    for child in tree.children():
        yield from _tuples(child)


@cache
def _register(name: str) -> None:
    """Make a named tuple of this package known to `jax.export`."""
    module, _, attribute = name.partition(":")
    if module.split(".")[0] != __package__:
        raise ValueError(f"{name} is not of this package.")
    found = getattr(importlib.import_module(module), attribute)
    jax.export.register_namedtuple_serialization(found, serialized_name=name)
