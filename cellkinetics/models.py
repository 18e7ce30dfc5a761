"""The model library: one file a model in `models/`, read by name.

>>> from cellkinetics import models
>>> "stein_2019_tisagenlecleucel" in models.names()
True
>>> models.load("stein_2019_tisagenlecleucel").reference
'doi:10.1002/psp4.12388'

A model is also an attribute: ``from cellkinetics.models import stein_2019_tisagenlecleucel`` gives the same
object. For a file of your own, see `cellkinetics.load_model`.
"""

from importlib import import_module

from cellkinetics._models import FOLDER
from cellkinetics.errors import ModelError, suggest
from cellkinetics.modelling.model import Model

__all__ = ["load", "names"]


def names() -> tuple[str, ...]:
    """Names of the models in the library, in alphabetical order."""
    return tuple(sorted(file.stem for file in FOLDER.glob("[!_]*.py")))


def load(name: str) -> Model:
    """Read a model of the library.

    Parameters
    ----------
    name : str
        One of `names()`: the name of a file in `models/` without its ending.

    Returns
    -------
    Model
        The `model` of that file; the same object at every call.

    Raises
    ------
    ModelError
        If the library has no model of this name.
    """
    known = names()
    if name not in known:
        raise ModelError(
            f"The library has no model {name!r}; it has {', '.join(known)}. {suggest(name, known)}".rstrip(),
            name=name,
        )
    return import_module(f"cellkinetics._models.{name}").model


def __getattr__(name: str) -> Model:
    if name in names():
        return load(name)
    advice = "" if name.startswith("_") else suggest(name, names())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}. {advice}".rstrip())


def __dir__() -> list[str]:
    return sorted({*__all__, *names()})
