"""Linear algebra of shared and own parameters: a dense block for what is shared, one small block a patient.

With w worlds (starts, permutations, data sets of one layout), n patients, d columns of a patient's free vector and p
shared parameters, the information of a world is

    [ A   C_1  C_2 ... ]        A   : (w, p, p)
    [ C_1' D_1         ]        C   : (w, n, p, d)
    [ C_2'     D_2     ]        D   : (w, n, d, d)

and its Schur complement A - sum C_i D_i^-1 C_i' is all that is dense: 1,000 patients need no large matrix. Columns
that are not own have 1 on the diagonal of D and 0 elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Floats
from cellkinetics.optimising.engine import FLAT


class Blocks(NamedTuple):
    """Of w worlds: gradients (w, p) and (w, n, d); information (w, p, p), (w, n, p, d) and (w, n, d, d)."""

    shared_gradient: Floats
    own_gradient: Floats
    shared: Floats
    mixed: Floats
    own: Floats

    def taken(self, worlds: npt.NDArray[Any]) -> Blocks:
        """Of some worlds."""
        return Blocks(*(part[worlds] for part in self))


def gathered(gradient: Floats, curved: Floats, design: Floats, own: Floats) -> Blocks:
    """Patients' gradients (w, n, d) and information (w, n, d, d) in terms of shared and own parameters.

    design : (w or 1, n, d, p) the derivative of each patient's free vector by the shared parameters.
    own : (1 or w, n, d) 1 where the column is the patient's own.
    """
    towards = np.matmul(curved, design)  # (w, n, d, p)
    shared = np.einsum("wndp,wndq->wpq", np.broadcast_to(design, towards.shape), towards)
    mixed = np.swapaxes(towards, -1, -2) * own[..., None, :]
    inner = curved * own[..., :, None] * own[..., None, :] + _diagonal(1 - own)
    by_shared = np.einsum("wndp,wnd->wp", np.broadcast_to(design, towards.shape), gradient)
    return Blocks(by_shared, gradient * own, shared, mixed, inner)


def step(
    blocks: Blocks,
    moving: tuple[Floats, Floats],
    units: tuple[Floats, Floats],
    damping: tuple[Floats, Floats],
    longest: float,
) -> tuple[Floats, Floats, Floats]:
    """A damped step of all parameters, and half its expected gain.

    Parameters
    ----------
    blocks : semi-definite information.
    moving : 1 for what may move, shared (w, p) and own (w, n, d).
    units : in which each is counted, (p,) and (1 or w, n, d).
    damping : added to a diagonal of 1, of shared (w,) and of each patient's own values (w, n).
    longest : a step, in units.

    Returns
    -------
    Shared (w, p) and own (w, n, d) steps; (w,) half the expected gain.
    """
    (may_s, may_u), (unit_s, unit_u) = moving, units
    count_s, count_u = may_s * unit_s, may_u * unit_u
    shared, scale_s = _unit_diagonal(blocks.shared, count_s)
    own, scale_u = _unit_diagonal(blocks.own, count_u)
    mixed = blocks.mixed * scale_s[:, None, :, None] * scale_u[:, :, None, :]
    shared = shared + _diagonal(np.where(may_s > 0, damping[0][:, None] + FLAT, 1.0))
    own = own + _diagonal(np.where(may_u > 0, damping[1][:, :, None] + FLAT, 1.0))
    g_s, g_u = blocks.shared_gradient * scale_s, blocks.own_gradient * scale_u
    solved = np.linalg.solve(own, np.concatenate([np.swapaxes(mixed, -1, -2), g_u[..., None]], axis=-1))
    through, alone = solved[..., :-1], solved[..., -1]
    schur = shared - np.matmul(mixed, through).sum(axis=1)
    rest = g_s - np.einsum("wnpd,wnd->wp", mixed, alone)
    # The rounding of a sum over patients may leave a direction of no information slightly negative.
    schur = schur + _diagonal(np.full(may_s.shape, FLAT))
    s = np.linalg.solve(schur, rest[..., None])[..., 0]
    u = alone - np.einsum("wndp,wp->wnd", through, s)
    gain = 0.5 * (np.sum(g_s * s, axis=-1) + np.sum(g_u * u, axis=(-2, -1)))
    s, u = np.nan_to_num(s * scale_s), np.nan_to_num(u * scale_u)
    return _clipped(s, unit_s, longest), _clipped(u, unit_u, longest), gain


def _unit_diagonal(matrix: Floats, counted: Floats) -> tuple[Floats, Floats]:
    """Scaled to a diagonal of 1, and the scale; 0 for what does not move."""
    inner = matrix * counted[..., :, None] * counted[..., None, :]
    diagonal = np.diagonal(inner, axis1=-2, axis2=-1)
    largest = np.maximum(diagonal.max(axis=-1, keepdims=True, initial=0.0), 1e-300)
    scale = np.where(counted > 0, 1 / np.sqrt(np.maximum(diagonal, FLAT * largest)), 0.0)
    return inner * scale[..., :, None] * scale[..., None, :], counted * scale


def _diagonal(values: Floats) -> Floats:
    return values[..., None] * np.eye(values.shape[-1])


def _clipped(values: Floats, units: Floats, longest: float) -> Floats:
    return np.clip(values, -longest * units, longest * units)


def uphill(blocks: Blocks) -> Blocks:
    """Blocks of an exact Hessian with wrong curvature turned uphill: own blocks first, then what is left of the shared.

    Where the whole is positive definite nothing is changed.
    """
    own = _absolute(blocks.own)
    through = np.linalg.solve(
        own + FLAT * _diagonal(np.diagonal(own, axis1=-2, axis2=-1)), np.swapaxes(blocks.mixed, -1, -2)
    )
    used = np.matmul(blocks.mixed, through).sum(axis=1)
    return blocks._replace(own=own, shared=_absolute(blocks.shared - used) + used)


def _absolute(matrix: Floats) -> Floats:
    """The symmetric matrix with the absolute values of its eigenvalues."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + np.swapaxes(matrix, -1, -2)))
    wrong = np.any(values < 0, axis=-1, keepdims=True)[..., None]
    turned = np.matmul(vectors * np.abs(values)[..., None, :], np.swapaxes(vectors, -1, -2))
    return np.where(wrong, turned, matrix)
