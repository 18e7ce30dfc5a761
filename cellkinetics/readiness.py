"""Whether JAX can compute here as this library needs it: in no fork of a process that has computed, in 64 bits.

A fork hangs in JAX, whose threads it does not have. Where 64 bits are switched off after the import, a fit ends
elsewhere without a word: values up to 5% off and standard errors ninefold were seen. Both are told so instead.
"""

from __future__ import annotations

import os

import jax

_REMEDY = (
    "This process was forked from one in which JAX has already computed, and would hang: JAX's threads do not come "
    "along. Start the workers by multiprocessing.get_context('spawn') (or 'forkserver'), or give all patients to one "
    "fit_each, which fits them together."
)
_SINGLE = (
    "JAX is in single precision here: 64 bits were switched off after cellkinetics was imported, and fits would end "
    "elsewhere without a word. Switch them on again, jax.config.update('jax_enable_x64', True), or leave the block of "
    "jax.enable_x64(False)."
)
_state = {"forked": False}


def refuse() -> None:
    """Raise where JAX cannot compute, or not in 64 bits.

    Raises
    ------
    RuntimeError
        In a fork of a process that has computed; with single precision. It says what to do.
    """
    if _state["forked"]:
        raise RuntimeError(_REMEDY)
    if not getattr(jax.config, "jax_enable_x64", True):
        raise RuntimeError(_SINGLE)


def _computed() -> bool:
    """Whether JAX has devices, and so threads, in this process."""
    bridge = getattr(getattr(jax, "_src", None), "xla_bridge", None)
    asked = getattr(bridge, "backends_are_initialized", None)
    return bool(asked()) if callable(asked) else True


def _in_child() -> None:
    _state["forked"] = _state["forked"] or _computed()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
