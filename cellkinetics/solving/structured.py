"""The structured solve of il15_persistence: closed forms and one quadrature, panel by panel, without step control.

`solution` has the shape of any model's solve, and `persistence` is it as a `Structure`; `ln_curve` is what a batch of
patients is fitted with. Both walk over the panels of `mesh` by the map of `panel`, where the formulas are. An error is
estimated at every observation: ``fine`` is False where it is not small, and the adaptive solver must be asked instead.

Derivatives by the parameters are the hand-written slopes of the panels behind a custom forward rule, which computes
the matrix of sensitivities once for all tangents; second derivatives differentiate that rule. Derivatives by the days
of observations or doses, or by amounts, are those of plain forward mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero

from cellkinetics.likelihood import censoring
from cellkinetics.modelling.dosing import Doses
from cellkinetics.solving.mesh import NODES, Mesh, mesh, panels, rule, traced_mesh
from cellkinetics.solving.panel import LARGEST, Reduced, Slopes, State, advance, errors, slopes

# The order of parameters in every vector here.
NAMES = (
    "F", "k_d", "phi", "rho", "K", "tau", "delta", "gamma", "eps", "N", "mu0", "K_tau", "gamma_M", "r", "L0", "kappa",
    "k_s", "k_e",
)  # fmt: skip
# A curve is fine where its estimated error of ln C is below this: true errors stayed below 3e-5 on 2,000 wild draws
# (log-SD 0.5 and 1), with p99 7e-7 at log-SD 0.5 when flagged ones are solved on the finer meshes
# (tests/benchmarks/structured_accuracy.py).
TRUSTED_ERROR = 3e-5
# Of the roughest, with which one only searches: estimates are hundreds of times the errors there.
ROUGH_ERROR = 0.2
ROUGH = 3
NEGLIGIBLE_SHARE = 2.5e-12  # of the cells infused (1e-9 copies/ug after 1e6 cells/kg): errors below are of no account
SLOWEST = 1e-8


def solution(
    times: Any, values: Mapping[str, Any], doses: Doses, prepared: Mesh | None = None, fineness: int = 0
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Copies/ug at ``times`` after ``doses``.

    Parameters
    ----------
    times : (n,) days in any order; before day 0 the curve is 0, at the time of a dose it is the value after it.
    values : {name: scalar} all parameters on the natural scale.
    doses
        times (m,) sorted, padded with inf; amounts (m, c) of cells, rimiducid and, if c is 3, lymphodepletion: an
        amount above 0 restarts the host lymphocytes at L0. Only a lymphodepletion may lie before day 0; without one
        at or before a day, it was at day 0.
    prepared : the mesh of these numbers and this ``fineness``, where it was made beforehand.
    fineness : 0, 1 or 2: more panels and nodes, about 2 and 9 times the work; 3: fewer, to search with.

    Returns
    -------
    {"copies_per_ug": (n,)} finite numbers, and whether the estimated error of ln C is below 3e-5 at every day.

    Notes
    -----
    Numbers give a mesh made beforehand; traced times or doses give a longer one inside the program.
    """
    on = prepared
    if on is None:
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((times, doses)))
        on = traced_mesh(jnp.asarray(times, float), doses, fineness) if traced else mesh(times, doses, fineness)
    parameters = jnp.stack([jnp.asarray(values[name], float) for name in NAMES])
    curve, error = copies(parameters, on, fineness)
    return {"copies_per_ug": curve}, is_fine(curve, error, nothing(parameters, on), fineness)


def ln_curve(parameters: Any, on: Mesh, fineness: int = 0, least: Any = 1e-9) -> tuple[jax.Array, jax.Array, jax.Array]:
    """ln(C + e) as the likelihood takes it, its Jacobian, and whether it is fine.

    Parameters
    ----------
    parameters : (18,) natural values in the order of `NAMES`.
    on : a mesh of the same ``fineness``.
    least : e, in copies/ug.

    Returns
    -------
    (n,), (n, 18) derivatives by the natural values, ().
    """
    curve, error, sensitivities = _sensitivities(jnp.asarray(parameters), on, fineness)
    fine = is_fine(curve, error, nothing(parameters, on), fineness)
    return censoring.ln(curve, least), sensitivities / (curve + least)[:, None], fine


def is_fine(curve: jax.Array, error: jax.Array, least: Any, fineness: int = 0) -> jax.Array:
    """Whether an estimated error (n,) is small against the curve (n,) or against ``least`` copies/ug."""
    return jnp.all(error <= (ROUGH_ERROR if fineness == ROUGH else TRUSTED_ERROR) * (curve + least))


def nothing(parameters: jax.Array, on: Mesh) -> jax.Array:
    """Copies/ug that are `NEGLIGIBLE_SHARE` against those infused, in any unit."""
    return NEGLIGIBLE_SHARE * parameters[0] * jnp.sum(jnp.asarray(on.cells))


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def copies(parameters: jax.Array, on: Mesh, fineness: int = 0) -> tuple[jax.Array, jax.Array]:
    """C (n,) in copies/ug and its estimated error (n,), which has no derivative."""
    return _copies(parameters, on, fineness)


@partial(copies.defjvp, symbolic_zeros=True)
def _forward(fineness: int, primals: Any, tangents: Any) -> Any:
    parameters, on = primals
    along, along_mesh = tangents
    if all(isinstance(leaf, SymbolicZero) for leaf in (along_mesh.length, along_mesh.clock, *along_mesh[2:4])):
        curve, error, sensitivities = _sensitivities(parameters, on, fineness)
        return (curve, error), (sensitivities @ _array(along), jnp.zeros_like(error))

    def moved(parameters: Any, length: Any, clock: Any, cells: Any, rimiducid: Any) -> Any:
        return _copies(parameters, Mesh(length, clock, cells, rimiducid, on.row), fineness)

    (curve, error), (slope, _) = jax.jvp(
        moved, (parameters, *on[:4]), (_array(along), *(_array(leaf) for leaf in along_mesh[:4]))
    )
    return (curve, error), (slope, jnp.zeros_like(error))


def _array(tangent: Any) -> Any:
    return jnp.zeros(tangent.shape) if isinstance(tangent, SymbolicZero) else tangent


def reduced(parameters: Any) -> Reduced:
    """What the equations depend on, from parameters (18,) in the order of `NAMES`."""
    F, k_d, phi, rho, K, tau, delta, gamma, eps, N, mu0, K_tau, gamma_M, r, L0, kappa, k_s, k_e = parameters
    # Slower than this is never, and differences of logarithms over r lose their digits.
    r, k_e = jnp.maximum(r, SLOWEST), jnp.maximum(k_e, SLOWEST)
    q0, q1 = kappa + tau + K, kappa * (K + tau - 1)
    s0, s1 = (kappa + tau) / q0, tau / (tau + K)
    return Reduced(
        infused=F,
        k_d=k_d,
        birth=phi * k_d,
        net=rho * s1 - delta - gamma - eps,
        on_A=-rho * (s0 - s1) / r,
        on_B=-gamma / r,
        low_A=L0 * (q0 + q1) / (q0 + q1 * L0),
        low_B=L0,
        r=r,
        fill=eps / N,
        niche=N,
        mu=mu0 * K_tau / (K_tau + tau),
        gamma_M=gamma_M,
        k_s=k_s,
        k_e=k_e,
    )


def _copies(parameters: jax.Array, on: Mesh, fineness: int) -> tuple[jax.Array, jax.Array]:
    q, gauss = reduced(parameters), rule(NODES[fineness])

    def step(state: State, slot: tuple[Any, ...]) -> tuple[State, State]:
        length, clock, cells, rimiducid = slot
        end, at = advance(q, gauss, state, length, clock)
        E_error, m_error = errors(q, gauss, state, at, length)
        end = end._replace(D=end.D + cells, X=end.X + rimiducid, E_error=E_error, m_error=m_error)
        return end, end

    first = _first(q, on)
    _, path = jax.lax.scan(step, first, _slots(on))
    return _observed(q, _prepend(first, path), on)


def _sensitivities(parameters: jax.Array, on: Mesh, fineness: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """C (n,), its estimated error (n,) and the derivatives of C (n, 18) by the parameters."""
    q, gauss = reduced(parameters), rule(NODES[fineness])

    def step(both: tuple[State, Slopes], slot: tuple[Any, ...]) -> tuple[tuple[State, Slopes], tuple[State, Slopes]]:
        state, before = both
        length, clock, cells, rimiducid = slot
        end, at = advance(q, gauss, state, length, clock)
        after = slopes(q, gauss, state, before, at, end, length, clock)
        E_error, m_error = errors(q, gauss, state, at, length)
        end = end._replace(D=end.D + cells, X=end.X + rimiducid, E_error=E_error, m_error=m_error)
        return (end, after), (end, after)

    zero = 0 * q.r
    first = (_first(q, on), Slopes(jnp.zeros(3) + zero, jnp.zeros(9) + zero, jnp.zeros(12) + zero, zero))
    _, path = jax.lax.scan(step, first, _slots(on))
    states, by = _prepend(first, path)
    curve, error = _observed(q, states, on)
    state, by = jax.tree.map(lambda x: x[on.row], (states, by))
    E, m = (q.infused * q.birth * by.E).T, (q.niche * by.m).T
    D, scale = (q.infused * by.D).T, m[9]
    rates = E[:6] + m[:6]
    columns = [
        state.D + q.birth * (state.E + q.fill * scale),
        D[0] + E[6] + m[6],
        q.infused * (state.E + q.fill * scale),
        *rates,
        q.infused * q.birth * scale,
        state.m,
        m[10],
        m[11],
        D[1] + E[7] + m[7],
        D[2] + E[8] + m[8],
    ]
    chain = jnp.stack(jax.jacfwd(reduced)(parameters))
    sensitivities = jnp.stack(columns, axis=1) @ chain
    return curve, error, jnp.where((on.row < 0)[:, None], 0.0, sensitivities)


def _first(q: Reduced, on: Mesh) -> State:
    zero = 0 * q.r
    return State(on.cells[0] + zero, zero, zero, on.rimiducid[0] + zero, zero, zero)


def _slots(on: Mesh) -> tuple[Any, ...]:
    return jnp.asarray(on.length), jnp.asarray(on.clock), jnp.asarray(on.cells)[1:], jnp.asarray(on.rimiducid)[1:]


def _prepend(first: Any, path: Any) -> Any:
    return jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), first, path)


def _observed(q: Reduced, states: State, on: Mesh) -> tuple[jax.Array, jax.Array]:
    at = jax.tree.map(lambda x: x[on.row], states)
    curve = q.infused * (at.D + q.birth * at.E) + q.niche * at.m
    error = q.infused * q.birth * at.E_error + q.niche * at.m_error
    error = jnp.where(jnp.max(states.E) >= LARGEST, jnp.inf, error)
    return jnp.where(on.row < 0, 0.0, curve), jnp.where(on.row < 0, 0.0, error)


@dataclass(frozen=True)
class Persistence:
    """The `Structure` of ``il15_persistence``: `solution` on a `mesh` of panels."""

    finenesses = ROUGH
    rough = True
    solve = staticmethod(solution)
    prepare = staticmethod(mesh)
    size_of = staticmethod(panels)


persistence = Persistence()
