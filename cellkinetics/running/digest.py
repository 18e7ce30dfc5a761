"""What things are, as hashes that are the same in every process: for work that goes on in another one."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import sys
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any

import jax
import numpy as np

from cellkinetics.sameness import attributes, reached, state_of

# What is known by its name: not the user's, and not a file of the model library.
_BY_NAME = {"jax", "jaxlib", "numpy", "scipy", "cellkinetics", *sys.stdlib_module_names} - {"__main__"}
_OF_MODELS = "cellkinetics._models."


def digest(what: Any) -> str:
    """A hash of numbers, texts, arrays, containers, dataclasses and functions: equal where they hold the same.

    Functions are their code with constants, defaults, and what they reach in closures and globals; those of JAX, numpy,
    Python and this library are their names. Of a dataclass the fields count that it is made of.

    Examples
    --------
    >>> digest({"a": 1.0}) == digest({"a": 1.0}), digest(1) == digest(1.0)
    (True, False)
    """
    told = hashlib.sha256()
    _tell(what, told.update, ())
    return told.hexdigest()


def _tell(what: Any, say: Callable[[bytes], None], inside: tuple[int, ...]) -> None:
    if what is None or isinstance(what, bool | int | str | bytes | complex):
        say(f"{type(what).__name__} {what!r};".encode())
        return
    if isinstance(what, float):
        say(b"float " + struct.pack(">d", what))
        return
    if isinstance(what, np.ndarray | np.generic | jax.Array) and np.asarray(what).dtype != object:
        array = np.ascontiguousarray(what)
        say(f"array {array.dtype.str} {array.shape};".encode())
        say(array.tobytes())
        return
    if id(what) in inside:
        say(f"again {inside.index(id(what))};".encode())
        return
    name, parts = _parts(what)
    say(f"{name} {len(parts)};".encode())
    for each in parts:
        _tell(each, say, (*inside, id(what)))


def _parts(what: Any) -> tuple[str, list[Any]]:
    """What kind of thing it is, and what it holds."""
    if isinstance(what, Enum):
        return f"{type(what).__qualname__}.{what.name}", []
    if isinstance(what, np.ndarray):
        return f"objects {what.shape}", what.ravel().tolist()
    if isinstance(what, tuple | list):
        return "list", list(what)
    if isinstance(what, Mapping):
        return "mapping", [part for pair in what.items() for part in pair]
    if isinstance(what, set | frozenset):
        return "set", sorted(map(digest, what))
    if isinstance(what, types.CodeType):
        return "code", [what.co_code, what.co_names, what.co_varnames, what.co_freevars, what.co_consts]
    if isinstance(what, types.ModuleType):
        return f"module {what.__name__}", []
    if isinstance(what, partial):
        return "partial", [what.func, what.args, what.keywords]
    if isinstance(what, types.MethodType):
        return "method", [what.__func__, what.__self__]
    return _other_parts(what)


def _other_parts(what: Any) -> tuple[str, list[Any]]:
    module = getattr(what, "__module__", None) or ""
    own = getattr(what, "__qualname__", "") or getattr(what, "__name__", "")
    known = module.partition(".")[0] in _BY_NAME and not module.startswith(_OF_MODELS)
    held = attributes(what if isinstance(what, type) else type(what))
    if isinstance(what, type) and held:
        return f"class {own}", [held]
    if own and (known or isinstance(what, type) or not isinstance(what, types.FunctionType)):
        return f"name {own}" + (f" of {module}" if known else ""), []
    if isinstance(what, types.FunctionType):
        return "function", [what.__code__, what.__defaults__, what.__kwdefaults__, reached(what)]
    told = getattr(what, "digested", None)
    if isinstance(told, str):
        return f"{type(what).__qualname__} {told}", []
    of_class = [held] if held else []
    if dataclasses.is_dataclass(what):
        named = {each.name: getattr(what, each.name) for each in dataclasses.fields(what) if each.init}
        return type(what).__qualname__, [named, *of_class]
    state = dict(sorted(state_of(what).items()))
    told_of = [state] if state or hasattr(what, "__dict__") else []
    return type(what).__qualname__, told_of + of_class
