"""What weighted draws say of a population, of many populations at once: likelihoods and their derivatives (Louis 1982).

A population is a vector v (..., d): coefficients, ln sds between patients, atanh correlations, ln sds of the error. Its
log-likelihood by draws that stay where they are has the mean of the complete-data score under their weights as its
gradient (Fisher), and as its Hessian the mean of the complete-data Hessian plus the covariance of the score.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cellkinetics.arrays import Floats, Ints
from cellkinetics.population.design import Design
from cellkinetics.population.saem import Theta


def vector_of(design: Design, theta: Theta) -> Floats:
    """(d,) coefficients, ln sds between patients, atanh correlations, ln sds of the error."""
    omega = np.asarray(theta.omega)
    spread = np.sqrt(np.diag(omega))
    linked = np.array([omega[a, b] / (spread[a] * spread[b]) for a, b in design.pairs])
    linked = np.arctanh(np.clip(linked, -0.999999, 0.999999))
    return np.concatenate([np.asarray(theta.beta), np.log(spread), linked, np.asarray(theta.ln_sd)])


def theta_of(design: Design, v: Floats) -> Theta:
    """The inverse of `vector_of`, at v (..., d)."""
    p, q, linked = len(design.effects), len(design.random), len(design.pairs)
    omega = omega_of(design, v[..., p : p + q], v[..., p + q : p + q + linked])
    return Theta(v[..., :p], omega, v[..., p + q + linked :])


def omega_of(design: Design, ln_spread: Floats, atanh: Floats) -> Floats:
    """The covariance (..., q, q) between patients, of ln sds (..., q) and atanh correlations (..., pairs)."""
    q = ln_spread.shape[-1]
    correlation = np.broadcast_to(np.eye(q), (*ln_spread.shape, q)).copy()
    for at, (a, b) in enumerate(design.pairs):
        correlation[..., a, b] = correlation[..., b, a] = np.tanh(atanh[..., at])
    spread = np.exp(ln_spread)
    return spread[..., :, None] * correlation * spread[..., None, :]


def directions(design: Design, v: Floats) -> Floats:
    """(..., q + pairs, q, q) derivatives of the covariance by ln spreads and atanh correlations, at v (..., d)."""
    p, q, linked = len(design.effects), len(design.random), len(design.pairs)
    ln_spread, atanh = v[..., p : p + q], v[..., p + q : p + q + linked]
    omega, spread = omega_of(design, ln_spread, atanh), np.exp(ln_spread)
    ways = np.zeros((*v.shape[:-1], q + linked, q, q))
    for j in range(q):
        ways[..., j, j, :] += omega[..., j, :]
        ways[..., j, :, j] += omega[..., :, j]
    for at, (a, b) in enumerate(design.pairs):
        slope = (1 - np.tanh(atanh[..., at]) ** 2) * spread[..., a] * spread[..., b]
        ways[..., q + at, a, b] = ways[..., q + at, b, a] = slope
    return ways


def of_population(design: Design, matrix: Floats, phi: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Log densities (a, m, n) of draws phi (m, n, q) under each population, and their scores (a, m, n, size).

    matrix : (a, n, q, p) of what varies. v : (a, d). size : of coefficients, spreads and correlations.
    """
    p, q = len(design.effects), len(design.random)
    omega = theta_of(design, v).omega
    inverse, ways = np.linalg.inv(omega), directions(design, v)
    away = phi - np.einsum("anqp,ap->anq", matrix, v[:, :p])[:, None]
    whitened = away @ inverse[:, None]
    by_beta = np.einsum("anqp,amnq->amnp", matrix, whitened, optimize=True)
    by_spread = 0.5 * np.einsum("amnq,abqr,amnr->amnb", whitened, ways, whitened, optimize=True)
    by_spread -= 0.5 * np.einsum("aqr,abqr->ab", inverse, ways)[:, None, None]
    density = -0.5 * (np.sum(whitened * away, axis=-1) + q * np.log(2 * np.pi))
    density -= 0.5 * np.linalg.slogdet(omega)[1][:, None, None]
    return density, np.concatenate([by_beta, by_spread], axis=-1)


class Derivatives(NamedTuple):
    """Of each population, without priors.

    value : (a,) log-likelihoods, -inf where the covariance is none. gradient : (a, d). information : (a, d, d)
    observed. scores : (a, n, d) of each patient. noise : (a, d, d) covariance of the gradient over other draws.
    """

    value: Floats
    gradient: Floats
    information: Floats
    scores: Floats
    noise: Floats

    def with_prior(self, v: Floats, mean: Floats, precision: Floats) -> Derivatives:
        """The same at v (a, d) under normal priors, with these means and precisions (d,)."""
        away = v - mean
        return self._replace(
            value=self.value - 0.5 * (away**2) @ precision,
            gradient=self.gradient - precision * away,
            information=self.information + np.diag(precision),
        )


class OfSamples(NamedTuple):
    """What the samples say at each draw.

    value : (a, m, n) log-likelihoods. first : (a, m, n, u) derivatives by some of v. second : (a, m, n, u, u).
    places : (u,) of those in v.
    """

    value: Floats
    first: Floats
    second: Floats
    places: Ints


def told(
    design: Design, matrix: Floats, phi: Floats, log_proposal: Floats, samples: OfSamples, v: Floats, counts: Floats
) -> Derivatives:
    """Log-likelihoods of populations v (a, d) by draws phi (m, n, q), with their derivatives.

    matrix : (a, n, q, p) of what varies. log_proposal : (m, n). counts : (n,) how often a patient counts.
    """
    a, d = v.shape
    size = len(design.effects) + len(design.random) + len(design.pairs)
    possible = np.all(np.linalg.eigvalsh(theta_of(design, v).omega) > 0, axis=-1)
    if not possible.all():
        nothing = np.zeros((a, d, d))
        found = Derivatives(
            np.full(a, -np.inf), np.zeros((a, d)), nothing, np.zeros((a, len(counts), d)), nothing.copy()
        )
        if possible.any():
            those = OfSamples(
                samples.value[possible], samples.first[possible], samples.second[possible], samples.places
            )
            some = told(design, matrix[possible], phi, log_proposal, those, v[possible], counts)
            for whole, part in zip(found, some, strict=True):
                whole[possible] = part
        return found
    density, by_population = of_population(design, matrix, phi, v)
    ln_w = samples.value + density - log_proposal
    top = ln_w.max(axis=1)
    weight = np.exp(ln_w - top[:, None])
    value = (top + np.log(weight.mean(axis=1))) @ counts
    weight /= weight.sum(axis=1)[:, None]
    away = np.zeros((*weight.shape, d))
    away[..., :size] = by_population
    away[..., samples.places] += samples.first
    scores = np.einsum("amn,amnd->and", weight, away, optimize=True)
    away -= scores[:, None]
    weighted = counts * weight
    flat = away.reshape(a, -1, d)
    shares = weighted.reshape(a, -1, 1)
    covariance = np.swapaxes(np.sqrt(shares) * flat, 1, 2) @ (np.sqrt(shares) * flat)
    # Each half of the draws is spread as evenly as the whole: they tell how far other draws would be off.
    half = weight.shape[1] // 2
    off = 2 * np.einsum("amn,amnd->and", weighted[:, :half], away[:, :half], optimize=True)
    noise = np.swapaxes(off, 1, 2) @ off
    hessian = np.zeros((a, d, d))
    hessian[:, :size, :size] = _curved(design, matrix, phi, weight, v, counts)
    by_samples = np.einsum("amn,amnuw->auw", weighted, samples.second, optimize=True)
    hessian[:, samples.places[:, None], samples.places] += by_samples
    return Derivatives(value, np.einsum("n,and->ad", counts, scores), -(hessian + covariance), scores, noise)


def _curved(design: Design, matrix: Floats, phi: Floats, weight: Floats, v: Floats, counts: Floats) -> Floats:
    """(a, size, size) the weighted mean of the Hessian of the populations' log densities, patients as they count.

    By central differences of its gradient, which depends on the draws through their moments alone.
    """
    p, q, linked = len(design.effects), len(design.random), len(design.pairs)
    size = p + q + linked
    mean = np.einsum("amn,mnq->anq", weight, phi, optimize=True)
    second = np.einsum("amn,mnp,mnq,n->apq", weight, phi, phi, counts, optimize=True)

    def gradients(v: Floats) -> Floats:
        """(a, b, size) at v (a, b, d)."""
        omega = omega_of(design, v[..., p : p + q], v[..., p + q : size])
        inverse = np.linalg.inv(omega)
        middle = np.einsum("anqp,abp->abnq", matrix, v[..., :p], optimize=True)
        away = counts[:, None] * (mean[:, None] - middle)
        by_beta = np.einsum("anqp,abqr,abnr->abp", matrix, inverse, away, optimize=True)
        weighed = counts[:, None] * middle
        crossed = np.einsum("anq,abnr->abqr", mean, weighed, optimize=True)
        across = np.einsum("abnq,abnr->abqr", middle, weighed, optimize=True)
        across += second[:, None] - crossed - np.swapaxes(crossed, -1, -2)
        ways = directions(design, v)
        of_spread = 0.5 * np.einsum("abqr,abcrs,abst,abqt->abc", inverse, ways, inverse, across, optimize=True)
        of_spread -= 0.5 * counts.sum() * np.einsum("abqr,abcqr->abc", inverse, ways)
        return np.concatenate([by_beta, of_spread], axis=-1)

    aside = 1e-5 * np.maximum(np.abs(v[:, :size]), 1.0)
    moved = np.zeros((len(v), size, v.shape[-1]))
    moved[:, range(size), range(size)] = aside
    ahead, behind = np.split(gradients(np.concatenate([v[:, None] + moved, v[:, None] - moved], axis=1)), 2, axis=1)
    hessian = (ahead - behind) / (2 * aside[..., None])
    return 0.5 * (hessian + np.swapaxes(hessian, -1, -2))
