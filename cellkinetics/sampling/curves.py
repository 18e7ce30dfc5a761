"""The log-likelihood of patients at their own parameters: one function for every model and error model."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.engine import Data
from cellkinetics.solving.sensitivity import Ties, ln_curve
from cellkinetics.solving.solver import reversible

STEPPED = (Method.EXPLICIT, Method.IMPLICIT)  # without derivatives backwards


def ln_f(model: Model, ties: Ties, method: Method, phi: Any, data: Data, *, reverse: bool = False) -> tuple[Any, Any]:
    """Ln f at the samples of one patient (rows,), and whether it was solved.

    phi : (k,) free parameters on the estimation scale. data : one row of it. reverse : whether it has derivatives
    backwards by phi, whatever the method.
    """
    if reverse and method in STEPPED:
        return reversible(partial(ln_curve, model, ties, method), phi, data.inputs)
    return ln_curve(model, ties, method, phi, data.inputs)


def density(error: ErrorModel, outputs: int, g: Any, ln_sd: Any, data: Data) -> Any:
    """Log density (rows,) of the samples of one patient, given its curve g (rows,) and ln sds (parts x outputs,)."""
    return error.log_density(g, ln_sd.reshape(-1, outputs)[:, data.inputs.output], data.rows)


def ln_sds(phi: Any, ln_sd: Any, own: tuple[int, ...]) -> Any:
    """All ln sds (..., s) of patients at phi (..., any), the last of which are those that each has of its own.

    ln_sd : (c,) of those that all have in common; given back as they are where a patient has none of its own.
    own : places of its own among all.
    """
    if not own:
        return ln_sd
    array = np if isinstance(phi, np.ndarray) else jnp
    mine = phi[..., phi.shape[-1] - len(own) :]
    both = array.concatenate([array.broadcast_to(ln_sd, (*mine.shape[:-1], len(ln_sd))), mine], axis=-1)
    others = [place for place in range(both.shape[-1]) if place not in own]
    return both[..., np.argsort([*others, *own])]


def log_likelihood(
    model: Model,
    ties: Ties,
    method: Method,
    error: ErrorModel,
    phi: Any,
    ln_sd: Any,
    data: Data,
    own: tuple[int, ...] = (),
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """The log-likelihood of one patient, -inf where it was not solved, and its curve g (rows,).

    phi : (k + r,) free parameters, then the ln sds in the places ``own``. ln_sd : (c,) the others. reverse : as of
    `ln_f`.
    """
    g, solved = ln_f(model, ties, method, phi[: len(phi) - len(own)], data, reverse=reverse)
    value = jnp.sum(density(error, len(model.outputs), g, ln_sds(phi, ln_sd, own), data))
    fine = solved & jnp.isfinite(value)
    # A curve that was refused still goes through sums: a number in its place keeps them finite.
    return jnp.where(fine, value, -jnp.inf), jnp.where(fine, g, 0.0)


def by_ln_sds(error: ErrorModel, outputs: int, g: Any, ln_sd: Any, data: Data) -> Any:
    """(sds,) derivatives of the log-likelihood of one patient by each ln sd, its curve g (rows,) given."""

    def along(way: Any) -> Any:
        return jnp.sum(jax.jvp(lambda s: density(error, outputs, g, s, data), (ln_sd,), (way,))[1])

    return jax.vmap(along)(jnp.eye(len(ln_sd)))
