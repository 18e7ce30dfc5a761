"""Curves of many patients that never were: drawn from populations, solved for several regimens in one program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from cellkinetics import cache
from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.lowered import Program
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.structure import Method, methods
from cellkinetics.optimising.engine import Data
from cellkinetics.optimising.samples import Samples
from cellkinetics.population.design import Design
from cellkinetics.population.importance import DRAWS_OF_A_BLOCK, in_blocks
from cellkinetics.population.patients import Patients
from cellkinetics.population.polish import vector_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.predictive.described import AsEstimated, Populations, populations_at
from cellkinetics.sampling import curves
from cellkinetics.solving.sensitivity import Ties
from cellkinetics.solving.solver import Courses

FAR_FROM_NORMAL, OF_A_VARIANCE_AT_0 = 0.5, 1e-12  # standard errors of ln sd
OF_NO_USE = 200.0  # %, relative standard error of a mean


def populations_of(one: AsEstimated, count: int, rng: np.random.Generator) -> tuple[Populations, list[str]]:
    """Estimates drawn from their covariance, normal on the scale of estimation; the estimates alone where 0.

    A spread or an sd that may be 0 is normal in its variance, as far as that is above 0.

    Of a posterior some of its draws, each at most as often as others and one more.

    Returns
    -------
    The estimates, and the labels of those that have no standard error and are as they were estimated.
    """
    fit, design = one.fit, one.fit.design
    if one.drawn is not None and count:
        return one.drawn.take(np.resize(rng.permutation(len(one.drawn.beta)), count)), []
    v = vector_of(design, one.theta)
    if count:
        covariance = np.nan_to_num(fit.polished.covariance)
        values, vectors = np.linalg.eigh(covariance)
        z = rng.normal(size=(count, len(v)))
        moved = z @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
        as_variance = 0.5 * np.log(np.maximum(1 + 2 * moved, OF_A_VARIANCE_AT_0))
        v = v + np.where(_hardly_known(design, covariance), as_variance, moved)
    table = fit.parameters
    known = (table["kind"] == "fixed") | (table["status"] == "fixed")
    lost = [str(name) for name in table.index[~known & table["stderr"].isna()]] if count else []
    return populations_at(design, np.atleast_2d(v)), lost


def _hardly_known(design: Design, covariance: Floats) -> Flags:
    """(d,) which spreads and sds may be 0 as far as their standard error says.

    Of these the likelihood is about normal in the variance, and normal in ln sd only close by: where its standard error
    is large that would draw spreads of thousands. A variance below 0 is drawn as 0.
    """
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    means, spreads, pairs = len(design.effects), len(design.random), len(design.pairs)
    scale = np.repeat([False, True, False, True], [means, spreads, pairs, len(error) - means - spreads - pairs])
    return (error > FAR_FROM_NORMAL) & scale


def hardly_told(fit: PopulationFit) -> list[str]:
    """Means with so large a standard error that what is drawn of them goes far beyond what was seen."""
    rows, parameters = fit.parameters, fit.model.parameters
    far = rows.index[(rows["kind"] == "mean") & (rows["rse"] > OF_NO_USE)]
    return [f"{name} ({rows.loc[name, 'rse']:.0f}%)" for name in far if parameters[name].scale != "identity"]


def factors_of(omega: Floats) -> Floats:
    """(b, q, q) of each covariance, also of one that is hardly positive definite."""
    values, vectors = np.linalg.eigh(omega)
    return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]


def regimens_as_patients(fit: PopulationFit, regimens: dict[str, tuple[Doses, Courses]], samples: Samples) -> Patients:
    """A patient a regimen, all with the same samples ahead."""
    patients = fit.patients
    case = next(iter(patients.cases.values()))
    cases = {
        name: replace(case, problem=replace(case.problem, samples=samples, doses=doses, courses=courses))
        for name, (doses, courses) in regimens.items()
    }
    return replace(patients, cases=cases, left_out={})


def solved(patients: Patients, x: Floats, first: Method, rows: int, kind: Any = np.float32) -> Floats:
    """(m, a, rows) ln f of draws x (m, a, k + r) on the estimation scale, NaN where no way of solving had a curve.

    A block of draws is solved at a time: the memory that it takes does not depend on m. ``kind`` of number: half of the
    memory where there are many.
    """
    every, x = methods(patients.model), x[..., : len(patients.names)]
    ways = every[every.index(first) :]
    found: Any = np.full((*x.shape[:2], rows), np.nan, kind)
    open_draws = np.arange(len(x))
    for method in ways:
        if not len(open_draws):
            break
        data = patients.data(method)
        run = _program(patients.model, patients.problems[0].ties, method)
        for start in range(0, len(open_draws), DRAWS_OF_A_BLOCK):
            own = open_draws[start : start + DRAWS_OF_A_BLOCK]
            (block,) = in_blocks(x[np.resize(own, DRAWS_OF_A_BLOCK)])
            g, fine = (
                np.asarray(part).reshape(DRAWS_OF_A_BLOCK, *part.shape[2:])[: len(own)] for part in run(block, data)
            )
            fine = fine & np.isfinite(g[..., :rows]).all(axis=-1)
            with np.errstate(over="ignore"):
                found[own] = np.where(fine[..., None], g[..., :rows], found[own])
        open_draws = np.flatnonzero(np.isnan(found[..., 0]).any(axis=1))
    return found


@cache.kept
def _program(model: Model, ties: Ties, method: Method) -> Callable[..., tuple[Any, Any]]:
    """The compiled function of draws (slices, draws of one, a, k), data of a patients -> ln f (..., rows), solved."""

    def of_patient(x: Any, data: Data) -> tuple[Any, Any]:
        return curves.ln_f(model, ties, method, x, data)

    @Program
    def run(x: Any, data: Data) -> tuple[Any, Any]:
        return jax.lax.map(lambda some: jax.vmap(jax.vmap(of_patient), in_axes=(0, None))(some, data), x)

    return run


@cache.kept
def densities(error: ErrorModel, outputs: int) -> Callable[..., Any]:
    """The compiled function (curves (m, n, rows), ln_sd (m, s), data of n patients) -> log densities (m, n, rows)."""

    def one(g: Any, ln_sd: Any, data: Data) -> Any:
        return curves.density(error, outputs, g, ln_sd, data)

    return Program(jax.vmap(jax.vmap(one, in_axes=(0, None, 0)), in_axes=(0, 0, None)))


def drawn_about(
    patients: Patients, ln_curves: Floats, x: Floats, ln_sd: Floats, member: Ints, limited: Flags, seed: int
) -> Floats:
    """(m, a, rows) copies of a sample about each curve; draw i of x has the errors of population ``member`` (m,)."""
    problem = patients.problems[0]
    samples = problem.samples
    copies = np.empty_like(ln_curves)
    mass, above = samples.mass[: ln_curves.shape[-1]], ~limited
    for at, own in enumerate(ln_sd):
        which = np.flatnonzero(member == at)
        for arm in range(ln_curves.shape[1]):
            rng = np.random.default_rng([seed, at])  # the same errors whatever was given
            sds = patients.sds_at(x[which, arm], own, samples.output[: ln_curves.shape[-1]])
            copies[which, arm] = problem.error.drawn(np.exp(ln_curves[which, arm].astype(float)), sds, mass, above, rng)
    return copies
