"""A forked process of one that has computed hangs in JAX, whose threads it does not have: it is told so instead."""

from __future__ import annotations

import os

import jax

_REMEDY = (
    "This process was forked from one in which JAX has already computed, and would hang: JAX's threads do not come "
    "along. Start the workers by multiprocessing.get_context('spawn') (or 'forkserver'), or give all patients to one "
    "fit_each, which fits them together."
)
_state = {"forked": False}


def refuse() -> None:
    """Raise in a process that JAX cannot compute in.

    Raises
    ------
    RuntimeError
        In a fork of a process that has computed, with the remedy.
    """
    if _state["forked"]:
        raise RuntimeError(_REMEDY)


def _computed() -> bool:
    """Whether JAX has devices, and so threads, in this process."""
    bridge = getattr(getattr(jax, "_src", None), "xla_bridge", None)
    asked = getattr(bridge, "backends_are_initialized", None)
    return bool(asked()) if callable(asked) else True


def _in_child() -> None:
    _state["forked"] = _state["forked"] or _computed()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
