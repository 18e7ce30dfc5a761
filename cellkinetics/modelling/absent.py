"""The model of a saved fit whose file is not run: what it is called and what its parameters are, without functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cellkinetics.errors import ModelError
from cellkinetics.modelling.comedication import Comedication
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.parameter import Parameter


@dataclass(frozen=True, eq=False)
class AbsentModel(Model):
    """A model of a user's file, as a saved fit knows it.

    Its parameters, outputs and what it takes are there; to compute anything anew raises a ModelError that says how the
    model is given. `file` is the text of its file when it was read, and `sha256` its hash.
    """

    def __post_init__(self) -> None:
        # Nothing of it can be run, so that nothing of it is to be checked.
        return

    def __reduce__(self) -> Any:
        return restored, (described(self),)

    @property
    def channels(self) -> tuple[str, ...]:
        """What was given in the fit: see `Model.channels`."""
        return tuple(self.dosing)


def described(model: Model) -> dict[str, Any]:
    """What a saved fit keeps of a model: plain values, no function."""
    return {
        "name": model.name,
        "path": model.path,
        "outputs": dict(model.outputs),
        "parameters": {name: asdict(parameter) for name, parameter in model.parameters.items()},
        "reference": model.reference,
        "population": model.population,
        "states": list(model.states),
        "channels": list(model.channels),
        "inputs": dict(model.inputs),
        "scale_free": model.scale_free,
        "linear_in_dose": model.linear_in_dose,
        "held": sorted(model.held),
        "comedication": {name: list(each) for name, each in model.comedication.items()},
        "file": model.file,
        "sha256": model.sha256,
    }


def restored(saved: Mapping[str, Any]) -> AbsentModel:
    """The model that `described` wrote down."""

    def not_run() -> Any:
        given = f"ck.load_model({saved['path']!r})" if saved["path"] else "..."
        raise ModelError(
            f"{saved['name']} is a model of your own, whose file is not run when a fit is loaded: tables and the "
            f"fitted curve are there, nothing new can be computed. Give ck.load(path, model={given}).",
            name=saved["name"],
        )

    states = tuple(saved["states"])
    return AbsentModel(
        name=saved["name"],
        path=saved["path"],
        outputs=saved["outputs"],
        parameters={name: _parameter(each) for name, each in saved["parameters"].items()},
        reference=saved["reference"],
        population=saved["population"],
        curve=None if states else not_run,
        states=states,
        rhs=not_run if states else None,
        observe=not_run if states else None,
        dosing=dict.fromkeys(saved["channels"], (states[0] if states else "", not_run)),
        inputs=saved["inputs"],
        comedication={name: Comedication(*each) for name, each in saved.get("comedication", {}).items()},
        free=tuple(saved["parameters"]),
        scale_free=saved["scale_free"],
        linear_in_dose=saved["linear_in_dose"],
        held=frozenset(saved["held"]),
        file=saved["file"],
        sha256=saved["sha256"],
    )


def _parameter(saved: Mapping[str, Any]) -> Parameter:
    """A bound that is infinite is text in a file."""
    return Parameter(**{**saved, **{name: float(saved[name]) for name in ("value", "min", "max")}})
