"""What functions and models are to a program that is compiled of them, whatever object they happen to be.

A tie that is written in the call, or `model.with_(...)` in a loop, makes the same program with other objects.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import sys
import types
from collections.abc import Hashable, Iterator, Mapping
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

# Packages of which `lowered` knows the version.
VERSIONED = ("cellkinetics", "jax", "jaxlib", "numpy", "scipy")


class Itself:
    """An object that is known by nothing but its identity; held, so that no other one takes its place."""

    def __init__(self, what: object) -> None:
        self.what = what

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and other.what is self.what

    def __hash__(self) -> int:
        return id(self.what)


def made_of(what: Any, inside: tuple[int, ...] = ()) -> Hashable:
    """What a thing is to a program that is made of it: equal for things of which the same program would be made.

    Functions are their code with constants, defaults, and what they reach in closures, globals and modules of the
    user's; numbers, texts, arrays and containers are what they hold at this moment, as are classes of the user's. An
    object that has a method ``made_of`` is asked.
    """
    if what is None or isinstance(what, bool | int | float | complex | str | bytes | Enum):
        # -0.0 is 0.0 to a dictionary, and not to a program.
        return type(what), what, str(what) if isinstance(what, float) else ""
    if id(what) in inside:
        return "again", inside.index(id(what))
    deeper = (*inside, id(what))
    if isinstance(what, types.FunctionType):
        return _function(what, deeper)
    if isinstance(what, types.MethodType):
        return made_of(what.__func__, deeper), made_of(what.__self__, deeper)
    if isinstance(what, partial):
        return "partial", *(made_of(each, deeper) for each in (what.func, what.args, what.keywords))
    if isinstance(what, tuple | list):
        return type(what), *(made_of(each, deeper) for each in what)
    if isinstance(what, Mapping):
        return type(what), *((made_of(key, deeper), made_of(each, deeper)) for key, each in what.items())
    if isinstance(what, set | frozenset):
        return type(what), frozenset(made_of(each, deeper) for each in what)
    if isinstance(what, np.ndarray | np.generic) or (isinstance(what, jax.Array) and not isinstance(what, Tracer)):
        array = np.asarray(what)
        return ("array", str(array.dtype), array.shape, array.tobytes()) if array.dtype != object else Itself(what)
    return _other(what, deeper)


def _other(what: Any, inside: tuple[int, ...]) -> Hashable:
    said = getattr(type(what), "made_of", None)
    if callable(said):
        return said(what, inside)
    if isinstance(what, type):
        held = attributes(what)
        return (Itself(what), *((name, made_of(each, inside)) for name, each in held.items())) if held else Itself(what)
    if isinstance(what, types.ModuleType):
        return Itself(what)
    if dataclasses.is_dataclass(what):
        of = made_of(type(what), inside)
        return of, *(made_of(getattr(what, field.name), inside) for field in dataclasses.fields(what))
    if type(what).__module__.partition(".")[0] == "pandas" and (told := _told(what)):
        # What they refer to inside is made anew at each look.
        return type(what), *told
    state = state_of(what)
    if not state and not hasattr(what, "__dict__"):
        return Itself(what), *_told(what)
    # Of another library, or with a state of its own that may have changed since.
    of = made_of(type(what), inside)
    return Itself(what), of, *((name, made_of(each, inside)) for name, each in sorted(state.items()))


def state_of(what: Any) -> dict[str, Any]:
    """{name: value} of what an object holds, in a dictionary of its own or in slots."""
    slots = list[str]()
    for kind in type(what).__mro__:
        own = vars(kind).get("__slots__", ())
        # What begins with two underscores is kept under the name of its class.
        slots += [
            f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            for name in ((own,) if isinstance(own, str) else own)
            if name not in ("__dict__", "__weakref__")
        ]
    return {**{name: getattr(what, name) for name in slots if hasattr(what, name)}, **getattr(what, "__dict__", {})}


def _told(what: Any) -> tuple[bytes, ...]:
    """What an object that hides its state says of it to pickle, such as a queue; nothing of what is known by a name."""
    if callable(what):
        return ()
    try:
        return () if isinstance(what.__reduce_ex__(4), str) else (pickle.dumps(what),)
    except Exception:  # whatever it makes of it, it is known by its identity then
        return ()


def _function(what: types.FunctionType, inside: tuple[int, ...]) -> Hashable:
    return (
        what.__code__, made_of(what.__defaults__, inside), made_of(what.__kwdefaults__, inside),
        tuple((name, made_of(each, inside)) for name, each in reached(what).items()),
    )  # fmt: skip


def reached(function: types.FunctionType) -> dict[str, Any]:
    """{name: value} of what a function finds in its closure and among the globals that it names.

    Of a module of the user's also what stands in it by one of the names: ``settings.K``.
    """
    names, there, found = names_of(function.__code__), function.__globals__, dict[str, Any]()
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[f"closure {name}"] = cell.cell_contents
        except ValueError:  # Not yet filled.
            found[f"closure {name}"] = "empty"
    # A module that is imported inside the function is in no global.
    found |= {
        name: there[name] if name in there else sys.modules[name] for name in names if name in there or _own(name)
    }
    waiting, seen = list(found.items()), set[int]()
    for path, value in waiting:
        if isinstance(value, types.ModuleType) and id(value) not in seen and is_users(value.__name__):
            seen.add(id(value))
            inner = {f"{path}.{name}": vars(value)[name] for name in names if name in vars(value)}
            found |= inner
            waiting += inner.items()
    return found


def attributes(kind: type) -> dict[str, Any]:
    """What a class of the user's holds, with what it inherits from others of theirs; nothing of a library's class."""
    held: dict[str, Any] = {}
    for one in reversed(kind.__mro__):
        if is_users(one.__module__):
            held |= {name: _plain(each) for name, each in vars(one).items() if not name.startswith("__")}
    return held


def _plain(held: Any) -> Any:
    if isinstance(held, staticmethod | classmethod):
        return held.__func__
    return held.fget if isinstance(held, property) else held


def _own(name: str) -> bool:
    return name in sys.modules and is_users(name)


@lru_cache(maxsize=4096)
def is_users(module: str) -> bool:
    """Whether a module is the user's, and may be another tomorrow: of no library, and not installed as a package."""
    package = module.split(".")[0]
    if package in VERSIONED or (package in sys.stdlib_module_names and package != "__main__"):
        return False
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return not {"site-packages", "dist-packages"} & set(Path(file).parts)


@lru_cache(maxsize=4096)
def names_of(code: types.CodeType) -> tuple[str, ...]:
    """The names that a function looks up, those inside it too."""
    found = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= dict.fromkeys(names_of(constant))
    return tuple(found)


def lasting(made: Hashable) -> str | None:
    """A name of what `made_of` gives that is the same in every process; None where a part of it has none."""
    try:
        return hashlib.sha256(b"".join(_parts(made))).hexdigest()
    except LookupError:
        return None


def _parts(made: Any) -> Iterator[bytes]:
    if isinstance(made, tuple):
        yield b"("
        for each in made:
            yield from _parts(each)
        yield b")"
    elif isinstance(made, frozenset):
        yield from sorted(b"".join(_parts(each)) for each in made)
    elif isinstance(made, types.CodeType):
        yield from _parts((
            made.co_code, made.co_consts, made.co_names, made.co_varnames, made.co_freevars, made.co_cellvars,
            made.co_argcount, made.co_kwonlyargcount, made.co_flags, made.co_exceptiontable,
        ))  # fmt: skip
    elif isinstance(made, Enum):
        yield from _parts((type(made), made.name))
    elif made is None or made is ... or isinstance(made, bool | int | float | complex | str | bytes):
        yield f"{type(made).__name__} {made!r},".encode()
    else:
        yield _address(made.what if isinstance(made, Itself) else made).encode()


def _address(what: Any) -> str:
    """Where it is found by name; LookupError where it is not, or where what stands there may be another tomorrow."""
    if isinstance(what, types.ModuleType):
        module, name = what.__name__, ""
    else:
        module, name = getattr(what, "__module__", None), getattr(what, "__qualname__", None)
    package = (module or "").split(".")[0]
    if (package not in VERSIONED and package not in sys.stdlib_module_names) or package == "__main__":
        raise LookupError(f"{what!r} is of no package whose version is known")
    if isinstance(what, type) and module == "builtins":
        return f"{name},"  # some stand in no module by their names
    found: Any = sys.modules.get(module or "")
    for part in filter(None, (name or "").split(".")):
        found = getattr(found, part, None)
    if found is None or found is not what:
        raise LookupError(repr(what))
    return f"{module}:{name},"
