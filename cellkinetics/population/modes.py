"""Where one patient's parameters are most likely given the population."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.optimising.problem import Problem, SecondOrder
from cellkinetics.population.design import Design
from cellkinetics.population.patients import Patients
from cellkinetics.population.saem import Theta

MODE_STEPS, NEXT_TO_NOTHING = 50, 1e-6


def problem_given(patients: Patients, design: Design, theta: Theta, at: int) -> Problem:
    """The problem of the at-th patient: what varies is free, all else as the population has it; without a prior."""
    problem = patients.problems[at]
    estimates, ln_sd = design.matrix[at] @ np.asarray(theta.beta), np.asarray(theta.ln_sd)
    values = problem.natural(np.append(estimates, ln_sd[patients.sd_free]))
    return replace(
        problem, free=tuple(name for name in design.random if name not in patients.own_sds), values=values,
        sd=patients.sds_at(estimates, ln_sd).ravel(), sd_free=np.isin(patients.sd_names, patients.own_sds), priors={},
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Mode:
    """Where h is highest: the parameters x (q,), h without constants, minus its Hessian, the samples' derivatives."""

    x: Floats
    value: float
    precision: Floats
    second: SecondOrder
    converged: bool


def mode(problem: Problem, x: Floats, means: Floats, omega: Floats) -> Mode:
    """Newton steps with the exact Hessian from x; ``problem`` without priors, ``omega`` between patients."""
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
        converged = bool(0.5 * abs(float(gradient @ step)) < NEXT_TO_NOTHING)
        if converged:
            break
        share = 1.0
        new = at(x + step)
        while share > 1e-4 and not new[0] >= value:
            share /= 2
            new = at(x + share * step)
        if not new[0] >= value:
            break
        x, (value, gradient, hessian, second) = x + share * step, new
    return Mode(x, value, -hessian, second, converged)
