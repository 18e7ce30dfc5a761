"""Derivatives of a patient's log-likelihood: what approximations of the integral over its parameters are made of.

u stands for all that it depends on: the k parameters on their estimation scale, the r ln sds of the error that a
patient has of its own, and those common to all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Ints
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.lowered import Program
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.engine import Data
from cellkinetics.sampling import curves
from cellkinetics.solving.sensitivity import Ties, evaluate, evaluate_twice

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from cellkinetics.arrays import Numeric


class Looked(NamedTuple):
    """Log-likelihoods of n patients with their derivatives by u, and what the curvature by q random parameters is.

    curvature : minus the Hessian of the log-likelihood by the random parameters, or the expected information about
        them. turned : its derivatives by u, empty where they were not asked for. solved : whether the curve was.
    """

    value: Float[Numeric, " patients"]
    gradient: Float[Numeric, "patients u"]
    hessian: Float[Numeric, "patients u u"]
    curvature: Float[Numeric, "patients random random"]
    turned: Float[Numeric, "patients u random random"]
    solved: Bool[Numeric, " patients"]


@cache.kept
def program(
    model: Model,
    ties: Ties,
    method: Method,
    error: ErrorModel,
    random: tuple[int, ...],
    expected: bool,
    turned: bool,
    own: tuple[int, ...],
) -> Callable[..., Looked]:
    """The compiled function (estimates (n, k + r), ln_sd (c,), data) -> `Looked`.

    Parameters
    ----------
    random : places of what varies among the parameters. expected : the expected information instead of the Hessian;
        not of sds of a patient's own. own : their places among the sds.
    turned : whether its derivatives are made too. Those of the Hessian take third derivatives of the curve, which only
        closed forms have.
    """

    def of_patient(estimates: Any, ln_sd: Any, data: Data) -> Looked:
        k, outputs = len(estimates) - len(own), len(model.outputs)
        # Here all sds stand together, in their own order.
        order = _order(k, len(estimates) + len(ln_sd), own)
        places = order[np.array(random, int)]
        square = np.ix_(places, places)
        u = jnp.concatenate([estimates[:k], curves.ln_sds(estimates, ln_sd, own)])
        g, jacobian, curved, solved = evaluate_twice(model, ties, method, u[:k], data.inputs)
        of_rows = u[k:].reshape(-1, outputs)[:, data.inputs.output]
        value, first, twice = error.derivatives(g, of_rows, data.rows)
        # (rows, 1 + parts, u): what each u moves of a row, its curve and its own sds.
        mine = jnp.arange(outputs)[None] == data.inputs.output[:, None]
        by_sd = jnp.einsum("ab,ro->rabo", jnp.eye(len(of_rows)), mine.astype(float))
        moved = jnp.zeros((len(g), 1 + len(of_rows), len(u)))
        moved = moved.at[:, 0, :k].set(jacobian).at[:, 1:, k:].set(by_sd.reshape(*by_sd.shape[:2], -1))
        gradient = jnp.einsum("ar,rau->u", first, moved)
        hessian = jnp.einsum("abr,rau,rbv->uv", twice, moved, moved)
        hessian = hessian.at[:k, :k].add(jnp.einsum("r,ruv->uv", first[0], curved))

        def turning() -> Any:
            """(u, u, u) slopes of the Hessian: third derivatives of curve and density, not those of all in one."""
            thrice = jax.jacfwd(lambda own: evaluate_twice(model, ties, method, own, data.inputs)[2])(u[:k])
            point = jnp.concatenate([g[None], of_rows])
            ways = jnp.eye(len(point))[:, :, None] * jnp.ones_like(point)[None]
            third = jax.vmap(
                lambda way: jax.jvp(lambda at: error.derivatives(at[0], at[1:], data.rows)[2], (point,), (way,))[1]
            )(ways)
            bent = jnp.zeros((len(g), len(u), len(u))).at[:, :k, :k].set(curved)
            along = jnp.einsum("br,rbw->rw", twice[0], moved)
            mixed = jnp.einsum("rw,ruv->uvw", along, bent)
            whole = jnp.einsum("cabr,rau,rbv,rcw->uvw", third, moved, moved, moved)
            whole += mixed + jnp.moveaxis(mixed, 2, 0) + jnp.moveaxis(mixed, 2, 1)
            return whole.at[:k, :k, :k].add(jnp.einsum("r,ruvw->uvw", first[0], thrice))

        nothing = jnp.zeros((0, len(places), len(places)))
        if not expected:
            curvature, change = -hessian[square], nothing
            if turned:
                change = -turning()[:, places][:, :, places]
        else:

            def known(slopes: Any, g: Any, of_rows: Any) -> Any:
                return slopes.T @ (expected_information(error, g, of_rows, data)[:, None] * slopes)

            at = jacobian[:, places], g, of_rows
            curvature, change = known(*at), nothing
            if turned:
                by_curve = jax.vmap(
                    lambda slopes, way: jax.jvp(known, at, (slopes, way, jnp.zeros_like(of_rows)))[1], in_axes=(2, 1)
                )(curved[:, places, :], jacobian)
                still = jnp.zeros_like(at[0]), jnp.zeros_like(g)
                by_sds = jax.vmap(
                    lambda way: jax.jvp(known, at, (*still, way.reshape(-1, outputs)[:, data.inputs.output]))[1]
                )(jnp.eye(len(u) - k))
                change = jnp.concatenate([by_curve, by_sds])
        if own:
            gradient, hessian, change = gradient[order], hessian[np.ix_(order, order)], change[order[: len(change)]]
        value = jnp.sum(value)
        return Looked(value, gradient, hessian, curvature, change, solved & jnp.isfinite(value))

    return Program(jax.vmap(of_patient, in_axes=(0, None, 0)))


def _order(k: int, size: int, own: tuple[int, ...]) -> Ints:
    """(u,) where each of u stands when all sds are in their own order behind the k parameters."""
    others = [place for place in range(size - k) if place not in own]
    return np.array([*range(k), *(k + place for place in (*own, *others))], int)


def expected_information(error: ErrorModel, g: Any, of_rows: Any, data: Data) -> Any:
    """(rows,) of each sample about where the curve lies.

    Quantified: that of a normal error about its mean and about its sd where the curve changes that. Censored: minus the
    curvature of the log probability along the curve.
    """
    known = error.information(g, of_rows, data.rows)
    if (spread := getattr(error, "ln_spread", None)) is not None:
        known = known + 2 * jax.jvp(lambda g: spread(g, of_rows), (g,), (jnp.ones_like(g),))[1] ** 2
    quantified = data.rows.lower == data.rows.upper
    curved = error.derivatives(g, of_rows, data.rows)[2][0, 0]
    return jnp.where(quantified, known, jnp.maximum(-curved, 0.0)) * data.rows.weight


@cache.kept
def slopes(
    model: Model, ties: Ties, method: Method, error: ErrorModel, own: tuple[int, ...]
) -> Callable[..., tuple[Float[Numeric, "draws patients"], Float[Numeric, "draws patients u"]]]:
    """The compiled function (estimates (m, n, k + r), ln_sd (c,), data) -> log-likelihoods, gradients of each draw."""
    outputs = len(model.outputs)

    def of_patient(estimates: Any, ln_sd: Any, data: Data) -> tuple[Any, Any]:
        k = len(estimates) - len(own)
        g, jacobian, solved = evaluate(model, ties, method, estimates[:k], data.inputs)
        of_rows = curves.ln_sds(estimates, ln_sd, own).reshape(-1, outputs)[:, data.inputs.output]
        value, first, _ = error.derivatives(g, of_rows, data.rows)
        total = jnp.sum(value)
        by_output = jnp.einsum("ar,ro->ao", first[1:], jnp.eye(outputs)[data.inputs.output])
        gradient = jnp.concatenate([first[0] @ jacobian, by_output.reshape(-1)])
        gradient = gradient[_order(k, len(gradient), own)] if own else gradient
        fine = solved & jnp.isfinite(total)
        return jnp.where(fine, total, -jnp.inf), jnp.where(fine, gradient, 0.0)

    each = jax.vmap(of_patient, in_axes=(0, None, 0))
    return Program(lambda estimates, ln_sd, data: jax.lax.map(lambda some: each(some, ln_sd, data), estimates))
