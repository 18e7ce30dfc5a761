"""The samples at the draws of a posterior: what was observed, its density at each draw, and samples drawn anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Floats
from cellkinetics.bayes.target import Density, target_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.lowered import Program
from cellkinetics.optimising.engine import Data
from cellkinetics.population.polish import theta_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.sampling import curves

DRAWS_AT_ONCE = 100  # draws of one step of the program, and how many draws a call has
DRAWS_IN_A_CALL = 1000
CERTAIN = 1e-4  # of a log-likelihood, below which in every draw it is 0


class SamplesAtDraws(NamedTuple):
    """Of m draws and N samples of all patients.

    rows : (N,) subject, day, output, status, value (NaN unless quantified), lower, upper, lloq, uloq. ln_density :
    (m, N) of ln(copies), of what is known of a censored one. copies : (m, N) drawn anew, before limits are looked at.
    """

    rows: pd.DataFrame
    ln_density: Floats
    copies: Floats


def at_draws(fit: PopulationFit, v: Floats, phi: Floats, seed: int) -> SamplesAtDraws:
    """At rows v (m, d) with patients' parameters phi (m, n, q)."""
    patients, design, target = fit.patients, fit.design, target_of(fit)
    beta, _, ln_sd = theta_of(design, v)
    x = np.einsum("nkp,mp->mnk", design.matrix, beta)
    x[:, :, design.places] = phi
    run, data = _program(target), patients.data(target.method)
    parts = []
    for start in range(0, len(x), DRAWS_IN_A_CALL):
        count = len(x[start : start + DRAWS_IN_A_CALL])
        which = np.resize(np.arange(start, start + count), DRAWS_IN_A_CALL)
        shape = DRAWS_IN_A_CALL // DRAWS_AT_ONCE, DRAWS_AT_ONCE
        found = run(x[which].reshape(*shape, *x.shape[1:]), ln_sd[which].reshape(*shape, -1), data)
        parts.append([np.asarray(part).reshape(DRAWS_IN_A_CALL, *part.shape[2:])[:count] for part in found])
    g, density = (np.concatenate(part) for part in zip(*parts, strict=True))
    sizes = [len(problem.samples) for problem in patients.problems]

    def of_all(values: Floats) -> Floats:
        return np.concatenate([values[:, at, :size] for at, size in enumerate(sizes)], axis=1)

    rng, copies, tables, outputs = np.random.default_rng(seed), [], [], [*fit.model.outputs]
    for at, (subject, problem) in enumerate(zip(fit.subjects, patients.problems, strict=True)):
        samples = problem.samples
        sds = patients.sds_at(phi[:, at], ln_sd, samples.output)
        above = ~(np.nan_to_num(samples.lloq) > 0)
        copies.append(problem.error.drawn(np.exp(g[:, at, : sizes[at]]), sds, samples.mass, above, rng))
        tables.append(pd.DataFrame({
            "subject": subject, "day": samples.day, "output": [outputs[i] for i in samples.output],
            "status": samples.status, "value": np.where(samples.quantified, samples.upper, np.nan),
            "lower": samples.lower, "upper": samples.upper, "lloq": samples.lloq, "uloq": samples.uloq,
        }))  # fmt: skip
    return SamplesAtDraws(pd.concat(tables, ignore_index=True), of_all(density), np.concatenate(copies, axis=1))


def settled(ln_density: Floats) -> Floats:
    """(m, N) log densities, exactly 0 of a sample that all m draws are certain of.

    One far below its limit has -1e-14 or so in each. It tells nothing, and ``arviz.loo``, which divides by differences
    between draws, would be NaN of all samples for its sake.
    """
    return np.where(np.abs(ln_density).max(axis=0) < CERTAIN, 0.0, ln_density)


@cache.kept
def _program(target: Density) -> Callable[..., Any]:
    """Estimates (a, b, n, k), ln sds (a, b, s), data -> ln f (a, b, n, rows), log densities of the same shape."""
    outputs = len(target.model.outputs)

    def of_patient(x: Any, ln_sd: Any, data: Data) -> tuple[Any, Any]:
        g, solved = curves.ln_f(target.model, target.ties, target.method, x, data)
        value = curves.density(target.error, outputs, g, ln_sd, data)
        return g, jnp.where(solved, value, -jnp.inf)

    @Program
    def run(x: Any, ln_sd: Any, data: Data) -> tuple[Any, Any]:
        each = jax.vmap(jax.vmap(of_patient, in_axes=(0, None, 0)), in_axes=(0, 0, None))
        return jax.lax.map(lambda some: each(some[0], some[1], data), (x, ln_sd))

    return run
