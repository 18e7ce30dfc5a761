"""A model: parameters with units and sources, and the functions that give its curve."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from cellkinetics.dosing import Doses, as_doses
from cellkinetics.errors import ModelError, suggest

if TYPE_CHECKING:
    from cellkinetics.study import Study

RESERVED = ("t", "dose", "sd", "lambda")
Values = Mapping[str, Any]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model.

    Parameters
    ----------
    value : the default, on the natural scale.
    unit : as text, "1" for a pure number.
    source : where the value comes from ("Table 2", "derived: ln 2/0.755 d", "assumption").
    min, max : bounds on the natural scale.
    scale
        the scale on which it is estimated: "log" (positive values, the default), "logit" (between two
        finite bounds) or "identity".
    """

    value: float
    unit: str
    source: str
    min: float = 0.0
    max: float = np.inf
    scale: Literal["log", "logit", "identity"] = "log"

    def to_estimation(self, value: float) -> float:
        """The value on the estimation scale: ln, logit between the bounds, or as it is."""
        if self.scale == "log":
            return float(np.log(value)) if value > 0 else -np.inf
        if self.scale == "logit":
            share = (value - self.min) / (self.max - self.min)
            return float(logit(share))
        return float(value)

    def to_natural(self, value: Any) -> Any:
        """The inverse of `to_estimation`; takes JAX values."""
        if self.scale == "log":
            return jnp.exp(value)
        if self.scale == "logit":
            return self.min + (self.max - self.min) * jax.nn.sigmoid(value)
        return value

    def from_estimation(self, value: float) -> float:
        """`to_natural` for a plain number; the end of an interval without an end is inf."""
        if self.scale == "log":
            with np.errstate(over="ignore"):
                return float(np.exp(value))
        if self.scale == "logit":
            return float(self.min + (self.max - self.min) * expit(value))
        return float(value)

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds on the estimation scale; a logit has none."""
        if self.scale == "logit":
            return -np.inf, np.inf
        return self.to_estimation(self.min), self.to_estimation(self.max)


@dataclass(frozen=True, eq=False)
class Model:
    """A curve in time with named, sourced parameters: a closed form (`curve`) or an ODE (`rhs`, `observe`).

    Functions take by name what they need: ``t`` (days since the first infusion), ``dose``, states and parameters.

    Parameters
    ----------
    name : as in ``models.load(name)``.
    parameters : {name: Parameter}.
    outputs : {name: unit}, in the order of DVID 1, 2, ...
    reference : DOI or citation; "ours" with what it is for a model of this library.
    curve : closed form; returns an array of the shape of ``t``, or {output: array}.
    states, rhs, observe
        an ODE: names, derivatives (one value a state, in that order, natural units per
        day), and what is observed of the states.
    start : {state: parameter that gives its value at day 0}; 0 where not named.
    dosing : {channel: (state, parameter)}: an amount adds parameter x amount to the state; cells come first.
    natural : states solved on the natural instead of the log scale, because they may stay at 0.
    free : names estimated by default, or a function of the study that returns them; all when not given.
    canonical
        function of natural values that returns an equal curve's values under the labels that were meant, such as the
        faster of two exponentials first.
    guess : function of days (n,) and observed values (n,) that returns start values {name: value}.
    linear_in_dose : a closed form that names ``dose`` and may be superposed over infusions.
    scale_free : the model takes the unit of the study (its level is a free parameter).

    Raises
    ------
    ModelError
        An undeclared name, a missing unit or source, a value outside its bounds.
    """

    name: str
    parameters: Mapping[str, Parameter]
    outputs: Mapping[str, str]
    reference: str = ""
    curve: Function | None = None
    states: tuple[str, ...] = ()
    rhs: Function | None = None
    observe: Function | None = None
    start: Mapping[str, str] = field(default_factory=dict)
    dosing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    natural: tuple[str, ...] = ()
    free: Sequence[str] | Callable[[Study], Sequence[str]] | None = None
    canonical: Callable[[Mapping[str, float]], Mapping[str, float]] | None = None
    guess: Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], Mapping[str, float]] | None = None
    linear_in_dose: bool = False
    scale_free: bool = False
    path: str = ""

    def __post_init__(self) -> None:
        _check(self)

    def __repr__(self) -> str:
        return f"<Model {self.name}: {', '.join(self.parameters)}>"

    def __reduce__(self) -> Any:
        # Functions of a model file have no importable home: a model travels by its name or its file.
        if self is _library_twin(self):
            return _load_library, (self.name,)
        if self.path:
            return load_model, (self.path,)
        return super().__reduce__()

    @property
    def description(self) -> str:
        """The text at the top of the model's file: title, equations, source, assumptions."""
        function = self.curve or self.rhs
        return str(getattr(function, "__globals__", {}).get("__doc__") or "")

    @property
    def channels(self) -> tuple[str, ...]:
        """What can be given: the names in `dosing`, or cells for a closed form that names ``dose``."""
        if self.dosing:
            return tuple(self.dosing)
        return ("cells",) if self.curve is not None and "dose" in names_of(self.curve) else ()

    def values(self, given: Values | None = None) -> dict[str, Any]:
        """The defaults with ``given`` in their place, in the order of `parameters`."""
        given = given or {}
        for name in given:
            self.require(name)
        return {name: given.get(name, parameter.value) for name, parameter in self.parameters.items()}

    def require(self, name: str) -> None:
        """Raise ModelError, with the nearest name, unless the model has this parameter."""
        if name not in self.parameters:
            raise ModelError(
                f"{self.name} has no parameter {name}; it has {', '.join(self.parameters)}. "
                f"{suggest(name, self.parameters)}".rstrip(),
                name=name,
            )

    def default_free(self, study: Study) -> tuple[str, ...]:
        """The parameters that are estimated unless the user says otherwise."""
        if self.free is None:
            return tuple(self.parameters)
        return tuple(self.free(study) if callable(self.free) else self.free)

    def solve(
        self, times: Any, parameters: Values | None = None, doses: object = None, *, reverse: bool = False
    ) -> dict[str, jax.Array]:
        """The curves: pure JAX, for jit, vmap and forward derivatives.

        Parameters
        ----------
        times : (n,) days since the first infusion; at the time of a dose, the value after it.
        parameters : {name: value} on the natural scale; defaults where not named.
        doses : a number (infused at day 0), (day, amount) pairs, {channel: either}, or `Doses`.
        reverse : make an ODE reverse-differentiable instead of forward.

        Returns
        -------
        {output: (n,)} in the unit of `outputs`; NaN where neither solver finished.
        """
        from cellkinetics.solver import compiled

        outputs, _ = compiled(self, reverse)(jnp.asarray(times, float), self.values(parameters), self.doses(doses))
        return outputs

    def doses(self, doses: object) -> Doses:
        """Doses as arrays; refuses a second infusion that a closed form cannot take."""
        events = as_doses(doses, self.channels)
        if (
            self.curve is not None
            and self.channels
            and not self.linear_in_dose
            and isinstance(events.amounts, np.ndarray)
        ):
            later = events.times[np.asarray(events.amounts[:, 0]) > 0]
            if len(later) > 1 or np.any(np.asarray(later) > 0):
                raise ModelError(
                    f"{self.name} is a closed form for one infusion and cannot take {len(later)}. "
                    "Take an ODE model, such as il15_persistence.",
                    name="doses",
                )
        return events


def names_of(function: Function) -> tuple[str, ...]:
    """The argument names of a model function."""
    return tuple(inspect.signature(function).parameters)


def load_model(path: str | Path) -> Model:
    """Read a model from a Python file that defines ``model = Model(...)``.

    Raises
    ------
    ModelError
        The file cannot be run or defines no ``model``.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise ModelError(f"{path}: no such model file.")
    # Not registered in sys.modules: a worker process could not import it from there by name.
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: {type(error).__name__}: {error}") from error
    return replace(model_of(module, str(path)), path=str(path))


def model_of(module: ModuleType, where: str) -> Model:
    """The ``model`` of a module, or a ModelError that says what is missing."""
    found = getattr(module, "model", None)
    if not isinstance(found, Model):
        raise ModelError(f"{where} defines no model. End the file with model = Model(name=..., ...).")
    return found


def _load_library(name: str) -> Model:
    from cellkinetics import models

    return models.load(name)


def _library_twin(model: Model) -> Model | None:
    from cellkinetics import models

    return models.load(model.name) if model.name in models.names() else None


def _check(model: Model) -> None:
    if (model.curve is None) == (model.rhs is None):
        raise ModelError(f"{model.name}: give either curve= (a closed form) or rhs= and observe= (an ODE).")
    if model.rhs is not None and (model.observe is None or not model.states):
        raise ModelError(f"{model.name}: an ODE needs states=, rhs= and observe=.")
    if not model.outputs:
        raise ModelError(f'{model.name}: name what is observed, such as outputs={{"copies_per_ug": "copies/ug"}}.')
    for name, parameter in model.parameters.items():
        _check_parameter(model.name, name, parameter)
    for state in model.states:
        if state in model.parameters or state in RESERVED:
            raise ModelError(
                f"{model.name}: {state} is a state and also a parameter or reserved. Rename one.", name=state
            )
    known = {*model.parameters, *model.states, "t", *(["dose"] if model.curve else [])}
    for function in (model.curve, model.rhs, model.observe):
        for name in names_of(function) if function else ():
            if name not in known:
                raise ModelError(
                    f"{model.name}: {getattr(function, '__name__', 'a function')}() takes {name}, which is neither "
                    f"a parameter nor a state. Declare it in parameters=. {suggest(name, known)}".rstrip(),
                    name=name,
                )
    for role, pairs in (("start", model.start.items()), ("dosing", model.dosing.values())):
        for state, parameter in pairs:
            if state not in model.states or parameter not in model.parameters:
                raise ModelError(
                    f"{model.name}: {role} names {state} and {parameter}; one of them is not declared.",
                    name=state,
                )


def _check_parameter(model: str, name: str, parameter: Parameter) -> None:
    # lmfit shows natural values by expressions, in which the functions of numpy have their names.
    if name in RESERVED or name.startswith("sd_") or hasattr(np, name):
        raise ModelError(f"{model}: the name {name} is reserved. Take another.", name=name)
    if not parameter.unit or not parameter.source:
        raise ModelError(
            f"{model}: {name} needs a unit ('1' for a pure number) and a source ('assumption').", name=name
        )
    if not (np.isfinite(parameter.value) and parameter.min <= parameter.value <= parameter.max):
        raise ModelError(
            f"{model}: the default of {name}, {parameter.value:g}, is not in [{parameter.min:g}, {parameter.max:g}].",
            name=name,
        )
    if parameter.scale == "log" and parameter.min < 0:
        raise ModelError(f"{model}: {name} may be negative (min {parameter.min:g}); give scale='identity'.", name=name)
    if parameter.scale == "logit" and not (np.isfinite(parameter.min) and np.isfinite(parameter.max)):
        raise ModelError(f"{model}: {name} has scale='logit' and needs two finite bounds.", name=name)
