"""Functions of a model, which take by name what they need."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cellkinetics.errors import ModelError, suggest

if TYPE_CHECKING:
    from cellkinetics.modelling.model import Model

Function = Callable[..., Any]


@lru_cache(maxsize=1024)
def names_of(function: Function) -> tuple[str, ...]:
    """The argument names of a model function."""
    return tuple(inspect.signature(function).parameters)


def call(function: Function, known: Mapping[str, Any]) -> Any:
    """A model function with what it takes by name."""
    return function(**{name: known[name] for name in names_of(function)})


def factor(rule: str | Function, values: Mapping[str, Any]) -> Any:
    """The value that a rule stands for: a parameter by name, or a function of parameters."""
    return call(rule, values) if callable(rule) else values[rule]


def check_ties(model: Model, ties: Mapping[str, Function]) -> None:
    """Raise for a tie of or in terms of an unknown parameter, or in terms of one that is tied itself."""
    for name, function in ties.items():
        model.require(name)
        for other in names_of(function):
            if other not in model.parameters:
                raise ModelError(
                    f"tie of {name} takes {other}; {model.name} has no parameter {other}. Write lambda alpha: k * "
                    f"alpha for a number k of yours, without k=k. {suggest(other, model.parameters)}".rstrip(),
                    name=other,
                )
            if other in ties:
                told = f"tie of {name} uses {other}, which is tied itself. Write it in terms of {other}'s own tie."
                raise ModelError(told, name=name)
