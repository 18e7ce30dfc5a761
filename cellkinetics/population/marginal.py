r"""The likelihood of a population by approximations that start from each patient's most likely parameters.

With h the log density of a patient's samples and random parameters, at its maximum and with H minus its Hessian there,

.. math:: \ln L \approx h + \tfrac q2 \ln 2\pi - \tfrac12 \ln\det H

is Laplace's approximation (Tierney and Kadane 1986). FOCEI puts the expected information of the samples about the curve
in the place of their Hessian (Wang 2007). Adaptive Gauss-Hermite quadrature (Pinheiro and Bates 1995) sums the density
itself on nodes that H scales, and tends to the integral as they become more; with one node it is Laplace's.

Its gradient is exact: where the maximum moves with the estimates is known from the equation that it solves (implicit
differentiation), and H is differentiated once more.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.errors import ModelError
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method
from cellkinetics.population import importance, louis
from cellkinetics.population.importance import LogLikelihood
from cellkinetics.population.patients import Patients
from cellkinetics.population.saem import Theta
from cellkinetics.sampling import derivatives
from cellkinetics.sampling.derivatives import Looked

if TYPE_CHECKING:
    from cellkinetics.population.running import Population

LAPLACE, FOCEI, QUADRATURE = APPROXIMATIONS = ("laplace", "focei", "agq")
STEPS_TO_MODES, SHORTEST_NEWTON = 60, 1e-4
LAST_PROMISE, BY_ROUNDING = 1e-9, 1e-6  # log-likelihood units that a step promises; where no step is one up any more
MOST_NODES = 20_000  # of a patient


@dataclass(frozen=True, eq=False)
class Modes:
    """Where h of each patient is highest.

    x : (n, q) random parameters. value : (n,) h without constants. looked : derivatives of the samples there.
    found : (n,) whether it is a maximum.
    """

    x: Floats
    value: Floats
    looked: Looked
    found: Flags


@dataclass(frozen=True, eq=False)
class Marginal:
    """The approximate log-likelihood of each patient (n,), and its gradient (n, d) by `louis.vector_of`.

    precision : (n, q, q) H, or what stands in its place. gradient : None where it was not asked for, as moves:
    (n, d, q) where the modes go.
    """

    each: Floats
    gradient: Floats | None
    modes: Modes
    precision: Floats
    moves: Floats | None = None

    @property
    def value(self) -> float:
        """Summed over patients; -inf where a mode was not found, or is none."""
        return float(np.sum(self.each)) if np.all(np.isfinite(self.each)) else -np.inf

    def log_likelihood(self, population: Population, method: str, exact: LogLikelihood) -> LogLikelihood:
        """With the integral beside it."""
        each = dict(zip(population.patients.subjects, map(float, self.each), strict=True))
        return LogLikelihood(self.value, 0.0, exact.draws, np.nan, each, method=method, exact=exact)


def refuse(model: Model, method: str, remedy: str) -> None:
    """A likelihood with corners has no Hessian there."""
    if model.corners:
        raise ModelError(
            f"{model.name}: the curve has a corner at {', '.join(model.corners)}, where method={method!r} finds no "
            f"Hessian. Take method={remedy!r}.",
            name=model.corners[0],
        )


def refuse_own_sds(patients: Patients, method: str, remedy: str) -> None:
    """The expected information is of the curve alone."""
    if method == FOCEI and patients.own_sds:
        raise ModelError(
            f"method={method!r} has no information about {patients.own_sds[0]} of each patient. Take "
            f"method={LAPLACE!r} of a closed form, or method={remedy!r}."
        )


def refuse_nodes(method: str, nodes: int, q: int, remedy: str) -> None:
    """Nodes of all random effects are a grid."""
    if method == QUADRATURE and nodes**q > MOST_NODES:
        most = int(MOST_NODES ** (1 / q) + 1e-9)
        text = f"Give nodes={most}, or take" if most >= 3 else "Take"
        raise ModelError(
            f"{nodes} nodes for each of {q} random effects are {nodes**q:,} for a patient. {text} method={remedy!r}."
        )


def _look(
    population: Population, theta: Theta, x: Floats, method: str, *, turned: bool = False
) -> tuple[Floats, Looked]:
    """(n,) h without constants at x (n, q), and the derivatives of the samples."""
    patients, design = population.patients, population.design
    run = derivatives.program(
        patients.model, patients.problems[0].ties, population.method, patients.request.error_model, population.random,
        method == FOCEI, turned, patients.own_places,
    )  # fmt: skip
    looked = Looked(*map(np.asarray, run(estimates_of(population, theta, x), theta.ln_sd, population.data)))
    away = x - importance.mean_of(design.matrix, theta, population.random)
    inverse = np.linalg.inv(np.asarray(theta.omega))
    h = looked.value - 0.5 * np.einsum("np,pq,nq->n", away, inverse, away)
    return np.where(looked.solved & np.isfinite(h), h, -np.inf), looked


def estimates_of(population: Population, theta: Theta, x: Floats) -> Floats:
    """(..., n, k) all parameters of patients whose random ones are x (..., n, q)."""
    own = np.einsum("nkp,p->nk", population.design.matrix, np.asarray(theta.beta))
    whole = np.broadcast_to(own, (*x.shape[:-1], own.shape[1])).copy()
    whole[..., population.design.places] = x
    return whole


def modes_of(population: Population, theta: Theta, x: Floats, method: str, *, turned: bool = False) -> Modes:
    """Newton steps of all patients from x (n, q), each halved until it leads up, and a last one that need not."""
    design = population.design
    random = np.ix_(np.arange(len(x)), design.places, design.places)
    inverse = np.linalg.inv(np.asarray(theta.omega))
    mean = importance.mean_of(design.matrix, theta, population.random)
    x = np.array(x, float)
    value, looked = _look(population, theta, x, method)
    if not np.isfinite(value).all():
        # A patient whose start cannot be solved begins at the population's mean.
        x = np.where(np.isfinite(value)[:, None], x, mean)
        value, looked = _look(population, theta, x, method)
    share, step, promise = np.ones(len(x)), np.zeros_like(x), np.full(len(x), np.inf)
    for _ in range(STEPS_TO_MODES):
        gradient = looked.gradient[:, design.places] - (x - mean) @ inverse
        values, vectors = np.linalg.eigh(inverse - looked.hessian[random])
        step = np.einsum("npe,ne->np", vectors, np.einsum("npe,np->ne", vectors, gradient) / _size(values))
        promise = 0.5 * np.abs(np.einsum("np,np->n", gradient, step))
        active = (promise > LAST_PROMISE) & (share > SHORTEST_NEWTON) & np.isfinite(value)
        if not active.any():
            break
        tried = np.where(active[:, None], x + share[:, None] * step, x)
        new, there = _look(population, theta, tried, method)
        up = active & (new >= value)
        share = np.where(up, 1.0, np.where(active, 0.5 * share, share))
        x, value = np.where(up[:, None], tried, x), np.where(up, new, value)
        looked = Looked(*(
            np.where(up.reshape(-1, *[1] * (old.ndim - 1)), now, old) for now, old in zip(there, looked, strict=True)
        ))  # fmt: skip
    near = promise < BY_ROUNDING
    x = np.where(near[:, None], x + step, x)
    value, looked = _look(population, theta, x, method, turned=turned)
    definite = np.all(np.linalg.eigvalsh(inverse - looked.hessian[random]) > 0, axis=1)
    return Modes(x, value, looked, near & np.isfinite(value) & definite)


def _size(values: Floats) -> Floats:
    return np.maximum(np.abs(values), 1e-8)


def marginal(
    population: Population, theta: Theta, x: Floats, method: str, nodes: int = 1, *, gradient: bool = False
) -> Marginal:
    """The approximation at ``theta``.

    Parameters
    ----------
    x : (n, q) where Newton steps to the modes begin. nodes : of the quadrature, for each random effect.
    gradient : whether it is wanted; by third derivatives of the curve but for "focei".
    """
    modes = modes_of(population, theta, x, method, turned=gradient)
    omega, q, looked = np.asarray(theta.omega), x.shape[1], modes.looked
    precision = np.linalg.inv(omega) + looked.curvature
    fine = modes.found & np.all(np.linalg.eigvalsh(precision) > 0, axis=1)
    # A number in the place of what is none keeps the others' sums finite.
    precision = np.where(fine[:, None, None], precision, np.linalg.inv(omega))
    constant = -0.5 * np.linalg.slogdet(omega)[1] - 0.5 * np.linalg.slogdet(precision)[1]
    at = _At(population, theta, modes, precision)
    if method != QUADRATURE:
        each, slopes = constant + modes.value, at.gradient() if gradient else None
    else:
        summed, slopes = at.summed(nodes, gradient)
        each = constant - 0.5 * q * np.log(2 * np.pi) + summed
    return Marginal(np.where(fine, each, -np.inf), slopes, modes, precision, at.by_theta[1] if gradient else None)


@dataclass(frozen=True, eq=False)
class _At:
    """Modes at one theta, and what moves when it does."""

    population: Population
    theta: Theta
    modes: Modes
    precision: Floats

    @cached_property
    def by_theta(self) -> tuple[Floats, Floats]:
        """(n, u, d) what of u moves directly with each of `louis.vector_of`, and (n, d, q) where the modes go."""
        design, theta, looked = self.population.design, self.theta, self.modes.looked
        n, k, p = design.matrix.shape
        q, linked, s = len(design.random), len(design.pairs), len(np.asarray(theta.ln_sd))
        d = p + q + linked + s
        inverse = np.linalg.inv(np.asarray(theta.omega))
        away = self.modes.x - importance.mean_of(design.matrix, theta, self.population.random)
        direct = np.zeros((n, k + s, d))
        direct[:, :k, :p] = design.matrix
        direct[:, design.places, :p] = 0.0  # random parameters are where they are
        direct[:, k:, d - s :] = np.eye(s)
        # The slope of h by x, which stays 0: by theta with x held, and by x.
        slope = np.einsum("nxu,nud->nxd", looked.hessian[:, design.places, :], direct)
        slope[:, :, :p] += np.einsum("xy,nyp->nxp", inverse, design.matrix[:, design.places])
        ways = louis.directions(design, louis.vector_of(design, theta))
        slope[:, :, p : p + q + linked] += np.einsum("xy,ayz,zw,nw->nxa", inverse, ways, inverse, away)
        square = np.ix_(np.arange(n), design.places, design.places)
        return direct, np.moveaxis(np.linalg.solve(inverse - looked.hessian[square], slope), 1, 2)

    def _turned(self, direct: Floats, moves: Floats) -> Floats:
        """(n, d, q, q) derivatives of the precision."""
        design, theta = self.population.design, self.theta
        p, a = len(design.effects), len(design.random) + len(design.pairs)
        whole = direct.copy()
        whole[:, design.places, :] += np.moveaxis(moves, 1, 2)
        turned = np.einsum("nupq,nud->ndpq", self.modes.looked.turned, whole)
        inverse = np.linalg.inv(np.asarray(theta.omega))
        ways = louis.directions(design, louis.vector_of(design, theta))
        turned[:, p : p + a] -= np.einsum("xy,ayz,zw->axw", inverse, ways, inverse)[None]
        return turned

    def _by_population(self, x: Floats) -> Floats:
        """(m, n, size) scores of x (m, n, q) under the population."""
        design = self.population.design
        v = louis.vector_of(design, self.theta)
        return louis.of_population(design, design.matrix[None, :, design.places], x, v[None])[1][0]

    def gradient(self) -> Floats:
        """(n, d) of h at its maximum less half of ln det of the precision."""
        direct, moves = self.by_theta
        gradient = np.einsum("nu,nud->nd", self.modes.looked.gradient, direct)
        by_population = self._by_population(self.modes.x[None])[0]
        gradient[:, : by_population.shape[1]] += by_population
        within = np.linalg.inv(self.precision)
        return gradient - 0.5 * np.einsum("npq,ndpq->nd", within, self._turned(direct, moves))

    def summed(self, nodes: int, gradient: bool) -> tuple[Floats, Floats | None]:
        """(n,) ln of the sums over nodes of density over its normal approximation, times weights; and their slopes.

        The slopes are those of the whole approximation.
        """
        population, design, theta, q = self.population, self.population.design, self.theta, self.modes.x.shape[1]
        place, weight = np.polynomial.hermite_e.hermegauss(nodes)
        z = np.array(list(itertools.product(place, repeat=q)))
        ln_weight = np.sum(np.log(np.array(list(itertools.product(weight, repeat=q)))), axis=1)
        within = np.linalg.inv(self.precision)
        factor = np.linalg.cholesky(within)
        x = self.modes.x + np.einsum("npq,mq->mnp", factor, z)
        patients = population.patients
        run = derivatives.slopes(
            patients.model, patients.problems[0].ties, population.method, patients.request.error_model,
            patients.own_places,
        )  # fmt: skip
        value, by_u = map(np.asarray, run(estimates_of(population, theta, x), theta.ln_sd, population.data))
        inverse = np.linalg.inv(np.asarray(theta.omega))
        away = x - importance.mean_of(design.matrix, theta, population.random)
        ln = value - 0.5 * np.einsum("mnp,pq,mnq->mn", away, inverse, away, optimize=True)
        ln += (ln_weight + 0.5 * np.sum(z**2, axis=1))[:, None]
        top = ln.max(axis=0)
        share = np.exp(ln - top)
        total = share.sum(axis=0)
        if not gradient:
            return top + np.log(total), None
        share /= total
        direct, moves = self.by_theta
        turned = self._turned(direct, moves)
        # How the Cholesky factor of the covariance moves with it.
        change = -np.einsum("npq,ndqr,nrs->ndps", within, turned, within, optimize=True)
        back = np.linalg.inv(factor)
        inner = np.einsum("npq,ndqr,nsr->ndps", back, change, back, optimize=True)
        lower = np.tril(inner) - 0.5 * np.eye(q) * inner
        spread = np.einsum("npq,ndqr->ndpr", factor, lower)
        by_x = by_u[..., design.places] - away @ inverse
        weighted = np.einsum("mn,mnu->nu", share, by_u)
        slopes = np.einsum("nu,nud->nd", weighted, direct)
        by_population = self._by_population(x)
        slopes[:, : by_population.shape[-1]] += np.einsum("mn,mna->na", share, by_population)
        slopes += np.einsum("nq,ndq->nd", np.einsum("mn,mnq->nq", share, by_x), moves)
        slopes += np.einsum("mn,mnq,ndqr,mr->nd", share, by_x, spread, z, optimize=True)
        return top + np.log(total), slopes - 0.5 * np.einsum("npq,ndpq->nd", within, turned)


def third_derivatives(population: Population, method: str) -> bool:
    """Whether the gradient of an approximation can be had: the Hessian of a numerical solution has none."""
    return method == FOCEI or population.method is Method.CLOSED_FORM
