"""Models from files: how they are read, checked and found again."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import readiness
from cellkinetics.errors import ModelError, suggest
from cellkinetics.modelling import travel
from cellkinetics.modelling.functions import call, factor, names_of
from cellkinetics.modelling.model import SINCE, Model
from cellkinetics.modelling.parameter import Parameter
from cellkinetics.words import count

RESERVED = ("t", "dose", "sd", "lambda", "phase")
PROBE = 3


def load_model(path: str | Path) -> Model:
    r"""Read a model from a Python file that defines ``model = Model(...)``.

    Raises
    ------
    ModelError
        The file cannot be run, defines no ``model``, or its functions give something that is not finite at the
        defaults.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "decline.py"
    >>> lines = [
    ...     "import jax.numpy as jnp",
    ...     "import cellkinetics as ck",
    ...     "c_0 = ck.Parameter(1e4, 'copies/ug', 'assumption')",
    ...     "alpha = ck.Parameter(0.3, '1/day', 'assumption')",
    ...     "model = ck.Model(",
    ...     "    name='decline', parameters={'c_0': c_0, 'alpha': alpha}, outputs={'copies_per_ug': 'copies/ug'},",
    ...     "    curve=lambda t, c_0, alpha: c_0 * jnp.exp(-alpha * t),",
    ...     ")",
    ... ]
    >>> file.write_text("\n".join(lines)) > 0
    True
    >>> load_model(file)
    <Model decline: c_0, alpha>
    >>> load_model("no_such_folder/mine.py")
    Traceback (most recent call last):
    cellkinetics.errors.ModelError: ...mine.py: no such model file.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise ModelError(f"{path}: no such model file.")
    # What is run is what is kept, whatever becomes of the file.
    content = path.read_bytes()
    try:
        text = importlib.util.decode_source(content)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {type(error).__name__}: {error}") from error
    return run(str(path), text, hashlib.sha256(content).hexdigest())


def run(path: str, text: str, sha256: str) -> Model:
    """The model of a file from the text that it had when it was read: for unpickling, whatever became of the file."""
    # Not registered in sys.modules: a worker process could not import it from there by name.
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    try:
        exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)
        model = replace(model_of(module, path), path=path, file=text, sha256=sha256)
        check_finite(model)
    except ModelError as error:
        said = str(error)
        raise ModelError(said if path in said else f"{path}: {said}", name=error.name) from error
    except Exception as error:
        raise ModelError(f"{path}: {type(error).__name__}: {error}") from error
    return model


def model_of(module: ModuleType, where: str) -> Model:
    """The ``model`` of a module, or a ModelError that says what is missing."""
    found = getattr(module, "model", None)
    if not isinstance(found, Model):
        raise ModelError(f"{where} defines no model. End the file with model = Model(name=..., ...).")
    return found


def in_library(name: str) -> bool:
    """Whether the library has a model of this name."""
    from cellkinetics import models

    return name in models.names()


def load_library(name: str) -> Model:
    """A model of the library, for unpickling."""
    from cellkinetics import models

    return models.load(name)


def library_twin(model: Model) -> Model | None:
    """The library's model of the same name, which may be the very one."""
    return load_library(model.name) if in_library(model.name) else None


def changed(name: str, path: str, changes: Any, text: str = "", sha256: str = "") -> Model:
    """A model with the changes, as `travel.packed` gives them, that `Model.with_set` and `Model.with_` made to it."""
    return with_changes(run(path, text, sha256) if path else load_library(name), travel.unpacked(changes))


def with_changes(model: Model, changes: Mapping[str, Any]) -> Model:
    """The same of a model that is at hand."""
    others = {kind: given for kind, given in changes.items() if kind != "set"}
    model = model.with_set(changes["set"]) if "set" in changes else model
    return model.with_(**others) if others else model


def check(model: Model) -> None:
    """Raise for what is wrong with a model whatever its parameters are."""
    readiness.refuse()
    if (model.curve is None) == (model.rhs is None):
        raise ModelError(f"{model.name}: give either curve= (a closed form) or rhs= and observe= (an ODE).")
    if model.equations is not None and model.rhs not in (None, model.equations.rhs):
        raise ModelError(f"{model.name}: equations= are those of a closed form (curve=); this is an ODE.")
    if model.rhs is not None and (model.observe is None or not model.states):
        raise ModelError(f"{model.name}: an ODE needs states=, rhs= and observe=.")
    if not model.outputs:
        raise ModelError(f'{model.name}: name what is observed, such as outputs={{"copies_per_ug": "copies/ug"}}.')
    for name, parameter in model.parameters.items():
        _check_parameter(model.name, name, parameter)
    for name in (*model.states, *model.inputs):
        if name in model.parameters or name in RESERVED:
            raise ModelError(
                f"{model.name}: {name} is a state or an input and also a parameter or reserved. Rename one.", name=name
            )
    _check_sets(model)
    _check_names(model)
    _check_shapes(model)


def _check_sets(model: Model) -> None:
    """Values of a parameter set are of parameters, inside their bounds, and say where they come from."""
    for name, chosen in model.sets.items():
        for each in (*chosen.values, *(chosen.free or ())):
            model.require(each)
        for each, value in chosen.values.items():
            _check_parameter(f"{model.name}, set {name}", each, replace(model.parameters[each], value=float(value)))
        if not chosen.source or not chosen.population:
            raise ModelError(f"{model.name}, set {name}: it needs a source and a population.", name=name)


def _check_names(model: Model) -> None:
    """Every name that a function or a table of the model uses is declared."""
    given = {*model.parameters, *model.inputs}
    since = {f"{SINCE}{marker}" for marker in model.markers}
    known = given | {"t"} | ({"dose"} if model.curve else {"phase", *model.states, *since})
    for function in (model.curve, model.rhs, model.observe):
        for name in names_of(function) if function else ():
            if name not in known:
                raise ModelError(
                    f"{model.name}: {getattr(function, '__name__', 'a function')}() takes {name}, which is neither "
                    f"a parameter nor a state. Declare it in parameters=. {suggest(name, known)}".rstrip(),
                    name=name,
                )
    for role, pairs in (("start", model.start.items()), ("dosing", model.dosing.values())):
        for states, rule in pairs:
            used, named = (
                names_of(rule) if callable(rule) else (rule,),
                (states,) if isinstance(states, str) else states,
            )
            if not {*named} <= {*model.states} or any(name not in model.parameters for name in used):
                raise ModelError(
                    f"{model.name}: {role} names {', '.join(named)} and {', '.join(used)}; one of them is not "
                    "declared.",
                    name=named[0],
                )
    for role, used, there in (
        ("lags", model.lags, model.dosing),
        ("lags", model.lags.values(), model.parameters),
        ("switches", model.switches, model.parameters),
        ("corners", model.corners, model.parameters),
        ("natural", model.natural, model.states),
    ):
        for name in used:
            if name not in there:
                has = ", ".join(there) or "nothing"
                text = f"{model.name}: {role} names {name}; it has {has}. {suggest(name, there)}".rstrip()
                raise ModelError(text.rstrip(), name=name)
    _check_use(model)
    if (model.markers or model.lags or model.switches) and model.curve is not None:
        raise ModelError(f"{model.name}: markers, lags and switches belong to an ODE (rhs=), not to a closed form.")


def _check_use(model: Model) -> None:
    """Every parameter moves something: what none uses would be estimated from nothing."""
    rules = [*model.start.values(), *(rule for _, rule in model.dosing.values())]
    functions = [model.curve, model.rhs, model.observe, *rules, *model.ties.values()]
    equations = model.equations
    functions += [equations.rhs, equations.observe, *equations.start.values()] if equations else []
    used = {name for each in functions if callable(each) for name in names_of(each)}
    used |= {each for each in functions if isinstance(each, str)} | {
        *model.lags.values(),
        *model.switches,
        *model.comedication,
    }
    for name in model.parameters:
        if name not in used:
            raise ModelError(
                f"{model.name}: no function uses the parameter {name}. Use it, or leave it out.",
                name=name,
            )


def _check_shapes(model: Model) -> None:
    """What the functions return, found without running them."""
    one, several = jax.ShapeDtypeStruct((), jnp.float64), jax.ShapeDtypeStruct((PROBE,), jnp.float64)
    values = dict.fromkeys(model.parameters, one)
    for function, arguments in _calls(model, values, one, several):
        name = getattr(function, "__name__", "a function")
        try:
            found = jax.eval_shape(lambda known, f=function: call(f, known), arguments)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"{model.name}: {name}() does not work on JAX arrays: {type(error).__name__}: "
                f"{str(error).splitlines()[0]} Write it with jax.numpy, without if on values.",
                name=name,
            ) from error
        if function is model.rhs:
            _check_slopes(model, found)
            continue
        curves = found if isinstance(found, Mapping) else {next(iter(model.outputs)): found}
        if set(curves) != set(model.outputs):
            raise ModelError(
                f"{model.name}: outputs are {', '.join(model.outputs)}; {name}() returns {', '.join(curves)}. "
                "Return {output: array}.",
                name="outputs",
            )
        for output, curve in curves.items():
            if getattr(curve, "shape", ()) not in ((), (PROBE,)):
                raise ModelError(
                    f"{model.name}: {name}() gives {output} the shape {curve.shape} for {PROBE} times. "
                    "Return one value a time.",
                    name=output,
                )


def _check_slopes(model: Model, slopes: Any) -> None:
    states = ", ".join(model.states)
    each = ", ".join(f"d_{state}" for state in model.states) + ("," if len(model.states) == 1 else "")
    alone = not isinstance(slopes, tuple | list)
    if alone and (getattr(slopes, "shape", ()) or len(model.states) == 1):
        text = f"{model.name}: rhs() returns one array, not a tuple with the derivative of each state ({states})."
        raise ModelError(f"{text} Return ({each}).", name="rhs")
    given = 1 if alone else len(slopes)
    if given != len(model.states):
        text = f"rhs() returns {count(given, 'derivative')} for {count(len(model.states), 'state')} ({states})."
        raise ModelError(f"{model.name}: {text} Return ({each}), one a state, in that order.", name="rhs")
    for state, slope in zip(model.states, slopes, strict=True):
        if getattr(slope, "shape", ()) != ():
            raise ModelError(
                f"{model.name}: rhs() gives the derivative of {state} the shape {slope.shape}. Return one number.",
                name=state,
            )


def check_finite(model: Model) -> None:
    """Raise where the functions give something that is not finite at the defaults."""
    values = {name: parameter.value for name, parameter in model.parameters.items()}
    states = {state: factor(rule, values) for state, rule in model.start.items()}
    for function, arguments in _calls(model, values, 1.0, np.array([0.0, 1.0, 30.0]), states):
        result = jax.tree.leaves(jax.jit(lambda known, f=function: call(f, known))(arguments))
        if not all(np.all(np.isfinite(part)) for part in result):
            name = getattr(function, "__name__", "a function")
            raise ModelError(
                f"{model.name}: {name}() is not finite at the defaults. Look for 0/0, a logarithm of 0 or an overflow "
                "on days 0 to 30.",
                name=name,
            )


def _calls(
    model: Model, values: Mapping[str, Any], one: Any, several: Any, states: Mapping[str, Any] | None = None
) -> list[tuple[Any, dict[str, Any]]]:
    """Each function of the model with arguments of the right shapes."""
    others = {**values, "phase": one, **{f"{SINCE}{marker}": one for marker in model.markers}}
    at_once = {**others, "t": one, **dict.fromkeys((*model.inputs, *model.states), one), **(states or {})}
    in_time = {**others, "t": several, "dose": one, **dict.fromkeys((*model.inputs, *model.states), several)}
    in_time |= {f"{SINCE}{marker}": several for marker in model.markers} | {"phase": several}
    wanted = [(model.rhs, at_once), (model.curve, in_time), (model.observe, in_time)]
    return [(f, {name: known[name] for name in names_of(f)}) for f, known in wanted if f is not None]


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
