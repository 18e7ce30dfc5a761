"""Models in files of results: by name where the library has them, else what is known without their functions."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellkinetics import models
from cellkinetics.errors import Doubt, ModelError, ModelWarning
from cellkinetics.modelling import absent
from cellkinetics.modelling.absent import AbsentModel
from cellkinetics.modelling.loading import with_changes
from cellkinetics.modelling.model import Model
from cellkinetics.running.digest import digest


def in_library(model: Model) -> bool:
    """Whether the model is the library's, as it is or changed."""
    if model.path or model.name not in models.names():
        return False
    twin = models.load(model.name)
    # A model made in memory may have a name of the library's: changes keep the equations.
    return twin is model or (bool(model.changes) and model.curve is twin.curve and model.rhs is twin.rhs)


def fingerprint(model: Model) -> str:
    """Hash of the file of a model, as it was read, or of the text of its functions; "" where there is none."""
    if model.sha256 or not (content := _content(model)):
        return model.sha256
    return hashlib.sha256(content).hexdigest()


def text_of(model: Model) -> str:
    """The text of the file of a model, as it was read; of one that was made in memory, that of its functions."""
    return model.file or _content(model).decode("utf-8", "replace")


def _equations(model: Model) -> dict[str, str]:
    """Hash of the functions of a model with what they reach, numbers of other files among it; none without functions.

    It is of what Python compiled them to, which another version of Python does otherwise.
    """
    if isinstance(model, AbsentModel):
        return {}
    by = "Python " + ".".join(map(str, sys.version_info[:2]))
    return {"sha256": digest([model.curve, model.rhs, model.observe]), "by": by}


def _content(model: Model) -> bytes:
    if isinstance(model, AbsentModel):
        return b""
    if not model.path and not in_library(model):
        return "\n".join(map(_source, filter(None, (model.curve, model.rhs, model.observe)))).encode()
    function: Any = model.curve or model.rhs
    file = Path(getattr(getattr(function, "__code__", None), "co_filename", ""))
    return file.read_bytes() if file.is_file() else b""


def _source(function: Any) -> str:
    """The text of a function, also of one of a notebook; "" of one that was typed at a prompt."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


class Given:
    """Who gives the models of a file back.

    model : the one that the reader of the file has given.
    said : what is to be warned of.
    """

    def __init__(self, model: Model | None = None) -> None:
        self.model = model
        self.said: list[tuple[type[Doubt], str]] = []

    def taken(self, saved: Mapping[str, Any], changes: Mapping[str, Any]) -> Model:
        """The given model, or the library's, with its changes; another than the one that was saved is warned of."""
        if self.model is not None and self.model.name != saved["name"]:
            raise ModelError(f"its model is {saved['name']}, and {self.model.name} was given")
        model = models.load(saved["name"]) if self.model is None else self.model
        if changes and not model.changes:
            model = with_changes(model, changes)
        if saved["sha256"] != fingerprint(model):
            self._changed(f"the file of {model.name} has")
        elif (said := saved.get("equations")) and said != (now := _equations(model)) and said["by"] == now.get("by"):
            self._changed(f"what the functions of {model.name} take from elsewhere has")
        return model

    def _changed(self, what: str) -> None:
        text = f"{what} changed since this fit: its curves may differ from the saved estimates."
        known = (ModelWarning, text)
        self.said += [] if known in self.said else [known]

    def model_of(self, saved: Mapping[str, Any]) -> Model:
        """What `plain` wrote."""
        if self.model is not None or "described" not in saved:
            return self.taken(saved, saved["changes"])
        return absent.restored({**saved["described"], "sha256": saved["sha256"], "file": saved["file"]})


def plain(model: Model, by_value: bool = False) -> dict[str, Any]:
    """A model of the library by its name, any other as `absent.described`; with the text of its file and its hash.

    ``by_value``: the values of tied parameters are kept elsewhere, as those of fits are.
    """
    saved: dict[str, Any] = {
        "name": model.name,
        "path": model.path,
        "sha256": fingerprint(model),
        "file": text_of(model),
    }
    if not in_library(model):
        saved["equations"] = _equations(model)
    saved["changes"] = {kind: change for kind, change in model.changes.items() if kind != "tie"}
    # A tie is a function: with a model of the library without it, what is computed anew would be another's.
    if in_library(model) and (by_value or "tie" not in model.changes):
        return saved
    described = {name: value for name, value in absent.described(model).items() if name not in ("file", "sha256")}
    return {**saved, "described": described}
