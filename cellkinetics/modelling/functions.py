"""Functions of a model, which take by name what they need."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

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
