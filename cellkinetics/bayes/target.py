r"""What is sampled: the density of coefficients, covariance, sds of the error and every patient's parameters.

.. math:: p(\beta, \Omega, \sigma) \prod_i N(\varphi_i \mid X_i \beta, \Omega)\, p(y_i \mid \varphi_i, \beta, \sigma)

with the likelihood of the samples as everywhere, censored ones by their probability. Priors are on the scale of
estimation: normal or flat of means and coefficients; of a spread log-normal, or half-t with 2 degrees of freedom and
the scale of 1 unit, of correlated effects together as a scale mixture of inverse Wishart distributions whose spreads
are such half-t and whose correlations are uniform (Huang and Wand 2013); log-normal of the sds of the error, or flat of
their logarithm above the floor. Both samplers take this one density.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.errors import ModelError, suggest
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import SCALES, LogNormal, Normal, Prior, centre, in_own_unit
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.engine import Data
from cellkinetics.population.design import SD_BETWEEN
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.schedule import labels_of
from cellkinetics.sampling import curves
from cellkinetics.solving.sensitivity import Ties

HALF_T = 2.0  # degrees of freedom


class Priors(NamedTuple):
    """Arrays of the priors; a precision of 0 is flat, or of a spread the half-t.

    beta_mean, beta_precision : (p,). spread_mean, spread_precision : (q,) of ln spreads. scale : (q,) of the half-t.
    sd_mean, sd_precision, floors : (s,) of ln sds.
    """

    beta_mean: Any
    beta_precision: Any
    spread_mean: Any
    spread_precision: Any
    scale: Any
    sd_mean: Any
    sd_precision: Any
    floors: Any


Blocks = tuple[tuple[int, ...], ...]  # places of effects that are correlated; of others one each


class Density(NamedTuple):
    """What stays the same in a program: equations, errors, and which columns and effects belong together.

    random : places of what varies among the free parameters. blocks : of the covariance.
    """

    model: Model
    ties: Ties
    method: Method
    error: ErrorModel
    random: tuple[int, ...]
    blocks: Blocks


def target_of(fit: PopulationFit) -> Density:
    """Of a population, with its curves solved as in the end of its fit."""
    population, patients, design = fit.population, fit.patients, fit.design
    together = {name for block in design.correlated for name in block}
    blocks = [tuple(design.random.index(name) for name in block) for block in design.correlated]
    alone = [(at,) for at, name in enumerate(design.random) if name not in together]
    return Density(
        patients.model, patients.problems[0].ties, population.method, patients.request.error_model, population.random,
        tuple(sorted(blocks + alone)),
    )  # fmt: skip


def priors_for(fit: PopulationFit, given: Mapping[str, Prior] | None) -> tuple[Priors, dict[str, str]]:
    """Arrays of priors, and each in words by label.

    Raises
    ------
    ModelError
        A name that is not estimated, a prior of another kind than its scale.
    """
    if isinstance(given, str):
        raise ModelError(
            f"prior={given!r} is of one patient, whose population is known. Give {{name: ck.LogNormal(median, sd)}} of "
            "means, spreads and sds."
        )
    design, patients, model = fit.design, fit.patients, fit.model
    free = [name for name, own in zip(patients.sd_names, patients.sd_free, strict=True) if own]
    labels = [*(effect.label for effect in design.effects), *(f"{SD_BETWEEN} {name}" for name in design.random), *free]
    asked: dict[str, Prior] = {**fit.request.prior, **(given or {})}
    p, q, s = len(design.effects), len(design.random), len(patients.sd_names)
    numbers: dict[str, Any] = {"beta": np.zeros((2, p)), "spread": np.zeros((2, q)), "sd": np.zeros((2, s))}
    words = dict.fromkeys(labels, "flat")
    linked = {name for block in design.correlated for name in block}
    scale = np.array([fit.population.spread_units[at] for at in range(q)])
    for name, unit in zip(design.random, scale, strict=True):
        words[f"{SD_BETWEEN} {name}"] = f"half-t(2, {unit:.3g})"
    words |= dict.fromkeys(free, "flat on ln")
    for name, prior in asked.items():
        if name not in labels:
            raise ModelError(f"prior of {name}: it is not estimated. {suggest(name, labels)}".rstrip(), name=name)
        kind, at, wanted = _place(fit, name)
        if not isinstance(prior, wanted):
            raise ModelError(f"prior of {name} is {prior!r}: give ck.{wanted.__name__}.", name=name)
        if kind == "spread" and design.random[at] in linked:
            text = (
                f"prior of {name}: its effect is correlated with others, which have one prior together. Leave it out."
            )
            raise ModelError(text, name=name)
        prior = in_own_unit(model, name, prior, fit.study.unit)
        is_mean = kind == "beta" and not design.effects[at].covariate
        middle = centre(model, name, prior) if is_mean else prior.mean if isinstance(prior, Normal) else np.log(
            prior.median
        )  # fmt: skip
        if not np.isfinite(middle):
            raise ModelError(f"prior of {name} is {prior!r}: give a centre within its bounds.", name=name)
        numbers[kind][:, at], words[name] = (middle, 1 / prior.sd**2), str(prior)
    floors = np.where(patients.sd_free, patients.ln_sd_floors, -np.inf)
    beta, spread, sd = numbers["beta"], numbers["spread"], numbers["sd"]
    return Priors(beta[0], beta[1], spread[0], spread[1], scale, sd[0], sd[1], floors), words


def _place(fit: PopulationFit, label: str) -> tuple[str, int, type]:
    """What a label is of, where, and the kind of its prior."""
    design = fit.design
    effects = [effect.label for effect in design.effects]
    if label in effects:
        at = effects.index(label)
        effect = design.effects[at]
        kind = Normal if effect.covariate else SCALES[fit.model.parameters[effect.parameter].scale]
        return "beta", at, kind
    if label.startswith(SD_BETWEEN):
        return "spread", design.random.index(label.removeprefix(f"{SD_BETWEEN} ")), LogNormal
    return "sd", fit.patients.sd_names.index(label), LogNormal


def ln_prior_beta(priors: Priors, beta: Any) -> Any:
    """Of the coefficients."""
    return -0.5 * jnp.sum(priors.beta_precision * (beta - priors.beta_mean) ** 2)


def ln_prior_spreads(priors: Priors, ln_spread: Any) -> Any:
    """(q,) of each ln spread of an effect that is not correlated."""
    half_t = ln_spread - 0.5 * (HALF_T + 1) * jnp.log1p(jnp.exp(2 * ln_spread) / (HALF_T * priors.scale**2))
    normal = -0.5 * priors.spread_precision * (ln_spread - priors.spread_mean) ** 2
    return jnp.where(priors.spread_precision > 0, normal, half_t)


def ln_prior_omega(priors: Priors, omega: Any, blocks: Blocks) -> Any:
    """Of the covariance, as a density of ln spreads and correlations."""
    ln_spread = 0.5 * jnp.log(jnp.diagonal(omega))
    alone, total = ln_prior_spreads(priors, ln_spread), 0.0
    for block in blocks:
        if len(block) == 1:
            total = total + alone[block[0]]
            continue
        at, size = np.array(block), len(block)
        own = omega[np.ix_(at, at)]
        inverse = jnp.linalg.inv(own)
        rates = HALF_T * jnp.diagonal(inverse) + 1 / priors.scale[at] ** 2
        total = total - 0.5 * (HALF_T + 2 * size) * jnp.linalg.slogdet(own)[1]
        total = total - 0.5 * (HALF_T + size) * jnp.sum(jnp.log(rates)) + (size + 1) * jnp.sum(ln_spread[at])
    return total


def ln_prior_sds(priors: Priors, ln_sd: Any) -> Any:
    """Of the sds of the error."""
    value = -0.5 * jnp.sum(priors.sd_precision * (ln_sd - priors.sd_mean) ** 2)
    return jnp.where(jnp.all(ln_sd >= priors.floors), value, -jnp.inf)


def likelihood_of(target: Density, matrix: Any, data: Data, *, reverse: bool = False) -> Callable[..., tuple[Any, Any]]:
    """The function of phi (m, n, q), beta (p,), ln_sd (s,) -> log-likelihoods (m, n), curves (m, n, rows).

    reverse : whether it has derivatives backwards.
    """
    places = np.array(target.random, int)

    def of_patient(x: Any, ln_sd: Any, own: Data) -> tuple[Any, Any]:
        how = target.model, target.ties, target.method, target.error
        return curves.log_likelihood(*how, x, ln_sd, own, reverse=reverse)

    def of_all(phi: Any, beta: Any, ln_sd: Any) -> tuple[Any, Any]:
        estimates = jnp.einsum("nkp,p->nk", matrix, beta)
        whole = jnp.broadcast_to(estimates[None], (len(phi), *estimates.shape)).at[:, :, places].set(phi)
        return jax.vmap(jax.vmap(of_patient, in_axes=(0, None, 0)), in_axes=(0, None, None))(whole, ln_sd, data)

    return of_all


def of_curves(target: Density, data: Data) -> Callable[[Any, Any], Any]:
    """The function of curves (n, rows), ln_sd (s,) -> log-likelihoods (n,): nothing is solved."""
    outputs = len(target.model.outputs)

    def one(g: Any, ln_sd: Any, own: Data) -> Any:
        return jnp.sum(curves.density(target.error, outputs, g, ln_sd, own))

    return lambda curve, ln_sd: jax.vmap(one, in_axes=(0, None, 0))(curve, ln_sd, data)


def labels(fit: PopulationFit) -> list[str]:
    """Of all that is drawn of the population, in the order of `louis.vector_of`."""
    return labels_of(fit.population)
