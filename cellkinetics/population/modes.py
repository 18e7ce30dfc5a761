r"""Where each patient's parameters are most likely given the population, and the likelihoods that start from there.

With h the log density of a patient's samples and random parameters, at its maximum and with H minus its Hessian there,

.. math:: \ln L \approx h + \tfrac q2 \ln 2\pi - \tfrac12 \ln\det H

is Laplace's approximation (Tierney and Kadane 1986). FOCEI puts the expected information of the samples about the curve
in the place of their Hessian (Wang 2007). Adaptive Gauss-Hermite quadrature (Pinheiro and Bates 1995) sums the density
itself on nodes that H scales, and tends to the integral as they become more; with one node it is Laplace's.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.problem import Problem, SecondOrder, derivatives_of
from cellkinetics.population import importance
from cellkinetics.population.design import Design
from cellkinetics.population.patients import Patients
from cellkinetics.population.saem import Theta

if TYPE_CHECKING:
    from cellkinetics.population.running import Population

LAPLACE, FOCEI, QUADRATURE = APPROXIMATIONS = ("laplace", "focei", "agq")
MODE_STEPS, NEXT_TO_NOTHING = 50, 1e-6
ALL_DIGITS = 1e-12  # log-likelihood units that a step promises, for a likelihood
MOST_NODES = 20_000  # of a patient


def problem_given(patients: Patients, design: Design, theta: Theta, at: int) -> Problem:
    """The problem of the at-th patient: what varies is free, all else as the population has it; without a prior."""
    problem = patients.problems[at]
    estimates, ln_sd = design.matrix[at] @ np.asarray(theta.beta), np.asarray(theta.ln_sd)
    values = problem.natural(np.append(estimates, ln_sd[patients.sd_free]))
    return replace(
        problem, free=design.random, values=values, sd=np.exp(ln_sd), sd_free=np.zeros(len(ln_sd), bool), priors={}
    )


@dataclass(frozen=True, eq=False)
class Mode:
    """Where h is highest: the parameters x (q,), h without constants, minus its Hessian, the samples' derivatives."""

    x: Floats
    value: float
    precision: Floats
    second: SecondOrder
    converged: bool


def mode(problem: Problem, x: Floats, means: Floats, omega: Floats, *, small: float = NEXT_TO_NOTHING) -> Mode:
    """Newton steps with the exact Hessian from x; ``problem`` without priors, ``omega`` between patients.

    They end where one promises less than ``small`` log-likelihood units.
    """
    inverse = np.linalg.inv(omega)

    def at(x: Floats) -> tuple[float, Floats, Floats, SecondOrder]:
        second = problem.second_order(x)
        away = x - means
        value = second.value - 0.5 * float(away @ inverse @ away) if second.solved else -np.inf
        return value, second.gradient - inverse @ away, second.hessian - inverse, second

    value, gradient, hessian, second = at(x)
    converged = False
    for _ in range(MODE_STEPS):
        values, vectors = np.linalg.eigh(-hessian)
        step = vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), 1e-8))
        converged = bool(0.5 * abs(float(gradient @ step)) < small)
        if converged:
            break
        share = 1.0
        new = at(x + step)
        while share > 1e-4 and not new[0] >= value:
            share /= 2
            new = at(x + share * step)
        if not new[0] >= value:
            # Rounding: no step is a step up any more.
            converged = bool(0.5 * abs(float(gradient @ step)) < NEXT_TO_NOTHING)
            break
        x, (value, gradient, hessian, second) = x + share * step, new
    return Mode(x, value, -hessian, second, converged)


def refuse_corners(model: Model, method: str) -> None:
    """A likelihood with corners has no Hessian there."""
    if model.corners:
        raise ModelError(
            f"{model.name}: the curve has a corner at {', '.join(model.corners)}, where method={method!r} finds no "
            "Hessian. Take method='importance'.",
            name=model.corners[0],
        )


def approximated(population: Population, theta: Theta, start: Floats, method: str, nodes: int) -> dict[str, float]:
    """{subject: its log-likelihood}.

    Parameters
    ----------
    start : (n, q) where Newton steps to the modes begin. nodes : of the quadrature, for each random effect.

    Raises
    ------
    ModelError
        The model has corners; a mode was not found or is none; too many nodes.
    """
    patients, design = population.patients, population.design
    refuse_corners(patients.model, method)
    q, omega = len(design.random), np.asarray(theta.omega)
    if method == QUADRATURE and nodes**q > MOST_NODES:
        most = int(MOST_NODES ** (1 / q) + 1e-9)
        remedy = f"Give nodes={most}, or take" if most >= 3 else "Take"
        raise ModelError(
            f"{nodes} nodes for each of {q} random effects are {nodes**q:,} for a patient. {remedy} "
            "method='importance'."
        )
    means = importance.mean_of(design.matrix, theta, population.random)
    modes, precisions = [], []
    for at, subject in enumerate(patients.subjects):
        problem = problem_given(patients, design, theta, at)
        found = mode(problem, np.asarray(start[at], float), means[at], omega, small=ALL_DIGITS)
        if not found.converged:
            raise ModelError(f"patient {subject}: no mode was found. Take method='importance'.")
        precision = found.precision
        if method == FOCEI:
            precision = np.linalg.inv(omega) + expected_information(problem, found.x)
        if np.any(np.linalg.eigvalsh(precision) <= 0):
            text = f"patient {subject}: the likelihood is not curved at its mode in every direction"
            raise ModelError(f"{text}. Take method='importance'.")
        modes.append(found)
        precisions.append(precision)
    constant = -0.5 * float(np.linalg.slogdet(omega)[1])
    ln_det = np.array([np.linalg.slogdet(precision)[1] for precision in precisions])
    if method == QUADRATURE:
        each = constant - 0.5 * q * np.log(2 * np.pi) - 0.5 * ln_det
        each = each + _summed(population, theta, means, modes, precisions, nodes)
    else:
        each = constant + np.array([one.value for one in modes]) - 0.5 * ln_det
    return dict(zip(patients.subjects, map(float, each), strict=True))


def expected_information(problem: Problem, x: Floats) -> Floats:
    """(q, q) of the samples, from the slopes of the curve alone.

    Quantified: that of a normal error about its mean and about its sd where the curve changes that. Censored: minus the
    curvature of the log probability along the curve.
    """
    at = problem.curve(x, 1)
    ln_sd, error = problem.ln_sd(x), problem.error
    _, _, second, known = map(np.array, derivatives_of(error)(at.value, ln_sd, problem.rows))
    if (spread := getattr(error, "ln_spread", None)) is not None:
        g = jnp.asarray(at.value)
        moved = np.asarray(jax.jvp(lambda g: spread(g, jnp.asarray(ln_sd)), (g,), (jnp.ones_like(g),))[1])
        known = known + 2 * moved**2
    weight = np.where(problem.quantified, known, np.maximum(-second[0, 0], 0.0)) * np.asarray(problem.rows.weight)
    return at.jacobian.T @ (weight[:, None] * at.jacobian)


def _summed(
    population: Population, theta: Theta, means: Floats, modes: list[Mode], precisions: list[Floats], nodes: int
) -> Floats:
    """(n,) ln of the sums over nodes of density over its normal approximation, times weights."""
    place, weight = np.polynomial.hermite_e.hermegauss(nodes)
    q = means.shape[1]
    z = np.array(list(itertools.product(place, repeat=q)))
    ln_weight = np.sum(np.log(np.array(list(itertools.product(weight, repeat=q)))), axis=1)
    factors = np.array([np.linalg.cholesky(np.linalg.inv(precision)) for precision in precisions])
    centre = np.array([one.x for one in modes])
    size = importance.whole_blocks(len(z))
    # Whole blocks of draws: what is more than the nodes stands at the modes, and is left out of the sum.
    phi = np.repeat(centre[None], size, axis=0)
    phi[: len(z)] += np.einsum("npq,mq->mnp", factors, z)
    value = population.solved(theta, phi)[0][: len(z)]
    away = phi[: len(z)] - means
    prior = -0.5 * np.einsum("mnp,pq,mnq->mn", away, np.linalg.inv(np.asarray(theta.omega)), away, optimize=True)
    ln = value + prior + (ln_weight + 0.5 * np.sum(z**2, axis=1))[:, None]
    top = ln.max(axis=0)
    return top + np.log(np.exp(ln - top).sum(axis=0))
