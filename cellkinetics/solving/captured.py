"""Numbers that functions take from around them, as data of a compiled program and not as parts of it.

``for k in ratios: ck.fit(model, patient, tie={"beta": lambda alpha: k * alpha})`` compiles once.
"""

from __future__ import annotations

import threading
import types
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from cellkinetics.arrays import Floats
from cellkinetics.modelling import travel
from cellkinetics.modelling.functions import Function, call
from cellkinetics.sameness import made_of, names_of

MOST_FROZEN = 64
_FROZEN: OrderedDict[Hashable, Function] = OrderedDict()
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Number:
    """Where a number stood: its place among those of all functions."""

    place: int


def parted(functions: Mapping[str, Function], known: Mapping[str, Any]) -> tuple[dict[str, Function], Floats]:
    """Functions with a `Number` in the place of each float of their closures and globals, and the floats.

    Parameters
    ----------
    known : what the functions take by name, as numbers.

    Returns
    -------
    {name: function}, and (c,) numbers. A function that asks Python about its number (``if k > 1``, ``math.exp(k)``)
    keeps it, and so does what is not written in Python, or hides it in a function that it calls.
    """
    found: dict[str, Function] = {}
    numbers: list[float] = []
    for name, function in functions.items():
        own = dict(_floats(function)) if isinstance(function, types.FunctionType) else {}
        places = {path: Number(len(numbers) + place) for place, path in enumerate(own)}
        without = _with(function, places) if own else function
        if own and _is_the_same(function, without, [*numbers, *own.values()], known):
            found[name] = without
            numbers += own.values()
        else:
            found[name] = function
    return found, np.array(numbers, float)


def filled(function: Function, numbers: Any) -> Function:
    """The function with ``numbers`` (c,), which may be traced, where `parted` has put a `Number`."""
    if not isinstance(function, types.FunctionType):
        return function
    own = {path: numbers[held.place] for path, held in _reached(function) if isinstance(held, Number)}
    return _with(function, own) if own else function


def frozen(function: Function) -> Function:
    """A copy that goes on with what the function finds around it now, whatever stands there later.

    What cannot be copied, such as an open file, is the same thing in the copy.
    """
    if not isinstance(function, types.FunctionType):
        return function
    now = {path: held for path, held in _reached(function) if not isinstance(held, types.ModuleType)}
    if not now:
        return function
    copy = _with(function, now)
    if all(held is None or isinstance(held, bool | int | float | str | type) for held in now.values()):
        return copy
    # An object is known to a program by its identity: one copy of it serves as long as it holds the same.
    made = made_of(copy)
    with _LOCK:
        if made not in _FROZEN:
            try:
                _FROZEN[made] = travel.unpacked(travel.packed(copy))
            except Exception:  # pickle names no class of what an object may raise
                _FROZEN[made] = copy
        _FROZEN.move_to_end(made)
        while len(_FROZEN) > MOST_FROZEN:
            _FROZEN.popitem(last=False)
        return _FROZEN[made]


def _reached(function: types.FunctionType) -> Iterator[tuple[tuple[str, str], Any]]:
    """(where, name) and what stands there, of the closure and of the globals that the code names."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield ("closure", name), cell.cell_contents
        except ValueError:  # Not yet filled.
            continue
    for name in names_of(function.__code__):
        if name in function.__globals__:
            yield ("global", name), function.__globals__[name]


def _floats(function: types.FunctionType) -> Iterator[tuple[tuple[str, str], float]]:
    return ((path, float(held)) for path, held in _reached(function) if isinstance(held, float))


def _with(function: types.FunctionType, given: Mapping[tuple[str, str], Any]) -> types.FunctionType:
    """A copy that reaches other things."""
    around = {name: held for (where, name), held in given.items() if where == "global"}
    cells = tuple(
        types.CellType(given["closure", name]) if ("closure", name) in given else cell
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    )
    home = {**function.__globals__, **around} if around else function.__globals__
    copy = types.FunctionType(function.__code__, home, function.__name__, function.__defaults__, cells)
    copy.__kwdefaults__, copy.__qualname__ = function.__kwdefaults__, function.__qualname__
    return copy


def _is_the_same(function: Function, without: Function, numbers: Sequence[float], known: Mapping[str, Any]) -> bool:
    """Whether a function takes numbers that are not known yet, and comes to the same with them."""
    given = np.array(numbers)
    try:
        program = jax.make_jaxpr(lambda given: call(filled(without, given), known))(given)
        (found,) = jaxpr_as_fun(program)(given)
        return bool(np.allclose(float(found), float(call(function, known)), rtol=1e-12, atol=0.0, equal_nan=True))
    except Exception:  # Whatever the function makes of it: it keeps its numbers, and what is wrong is said there.
        return False
