"""The model library: one file a model in `models/`, read by name.

>>> from cellkinetics import models
>>> "stein_2019_tisagenlecleucel" in models.names()
True
>>> models.load("stein_2019_tisagenlecleucel").reference
'doi:10.1002/psp4.12388'

For a file of your own, see `cellkinetics.load_model`.
"""

import warnings
from functools import cache
from importlib import import_module

from cellkinetics._models import FOLDER
from cellkinetics.errors import ModelError, suggest
from cellkinetics.modelling.model import Model

__all__ = ["load", "names"]


def names() -> tuple[str, ...]:
    """Names of the models in the library, in alphabetical order."""
    return tuple(sorted(file.stem for file in FOLDER.glob("[!_]*.py")))


def load(name: str, *, set: str | None = None) -> Model:
    """Read a model of the library.

    Parameters
    ----------
    name : str
        One of `names()`: the name of a file in `models/` without its ending.
    set : str, optional
        One of the model's named parameter sets, ``model.sets``, in the place of its defaults.

    Returns
    -------
    Model
        The `model` of that file; the same object at every call.

    Raises
    ------
    ModelError
        If the library has no model of this name, or the model no such set.
    """
    known = names()
    if name not in known:
        raise ModelError(
            f"The library has no model {name!r}; it has {', '.join(known)}. {suggest(name, known)}".rstrip(),
            name=name,
        )
    model: Model = import_module(f"cellkinetics._models.{name}").model
    return model if set is None else _with_set(model, set)


# Kept, so that the programs compiled for it are found again.
@cache
def _with_set(model: Model, name: str) -> Model:
    return model.with_set(name)


def __getattr__(name: str) -> Model:
    if name in names():
        warnings.warn(f"{__name__}.{name} is models.load({name!r}) now.", DeprecationWarning, stacklevel=2)
        return load(name)
    advice = "" if name.startswith("_") else suggest(name, names())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}. {advice}".rstrip())


def __dir__() -> list[str]:
    return sorted(__all__)
