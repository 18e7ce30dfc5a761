"""Functions on their way to another process, by what they are: one that was written in a session has no name there."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields
from typing import Any

from cellkinetics.running.digest import digest

# Of a model: what is found from the rest, and what decides on no curve and no fit.
FOUND_ANEW = ("_equations", "digested")
_NO_MATTER = ("reference", "population", "checks", "sets", "changes", "path", "file", "sha256", "equations")


@dataclass(frozen=True)
class Packed:
    """What holds functions, as bytes that any process reads."""

    content: bytes


def packed(held: Any) -> Any:
    """What holds functions, ready for pickle; what is empty stays as it is.

    Raises
    ------
    pickle.PicklingError
        A function reaches something that cannot travel, with the remedy.
    """
    if not held:
        return held
    from joblib import wrap_non_picklable_objects

    try:
        # The pickler of joblib's workers takes a lambda, or a function in a function, with what it reaches.
        return Packed(pickle.dumps(wrap_non_picklable_objects(held, keep_wrapper=False)))
    except Exception as error:
        text = f"a function of a model, or a tie, reaches what cannot be sent to another process ({error})."
        raise pickle.PicklingError(f"{text} Write the model to a file and take ck.load_model(path).") from error


def unpacked(held: Any) -> Any:
    """What `packed` was given."""
    return pickle.loads(held.content) if isinstance(held, Packed) else held


def restored(kind: type[Any], held: Any) -> Any:
    """An object of its attributes."""
    thing = object.__new__(kind)
    vars(thing).update(unpacked(held))
    return thing


def digest_of(model: Any) -> str:
    """See `Model.digested`."""
    return digest({each.name: getattr(model, each.name) for each in fields(model) if each.name not in _NO_MATTER})
