"""Where one patient's parameters are most likely given the population."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.modelling.prior import NormalPriors
from cellkinetics.optimising.batch import climbed
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.population import importance
from cellkinetics.population.design import Design
from cellkinetics.population.patients import Patients
from cellkinetics.population.saem import Theta


def problem_given(patients: Patients, design: Design, theta: Theta, at: int) -> Problem:
    """The problem of the at-th patient: what varies is free, all else as the population has it; without a prior."""
    problem = patients.problems[at]
    estimates, ln_sd = design.matrix[at] @ np.asarray(theta.beta), np.asarray(theta.ln_sd)
    values = problem.natural(np.append(estimates, ln_sd[patients.sd_free]))
    return replace(
        problem, free=tuple(name for name in design.random if name not in patients.own_sds), values=values,
        sd=patients.sds_at(estimates, ln_sd).ravel(), sd_free=np.isin(patients.sd_names, patients.own_sds),
        priors=NormalPriors(),
    )  # fmt: skip


def modes_of(patients: Patients, design: Design, theta: Theta, x: Floats) -> list[tuple[Problem, Optimum | None]]:
    """Of each patient the problem with the population as its prior, and its optimum uphill from x (n, q).

    Sds of its own are among what is free. None where the curve could not be solved.
    """
    means = importance.mean_of(design.matrix, theta, tuple(map(int, design.places)))
    omega = np.asarray(theta.omega)
    problems = [
        replace(problem_given(patients, design, theta, at), priors=NormalPriors(tuple(design.random), means[at], omega))
        for at in range(len(means))
    ]
    return list(zip(problems, climbed(problems, list(x)), strict=True))
