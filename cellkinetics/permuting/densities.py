"""What samples say at draws that stay where they are, between Chebyshev points of the sds of the error."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.population import polish
from cellkinetics.population.louis import OfSamples
from cellkinetics.population.running import Sample
from cellkinetics.population.saem import Theta

POINTS = {0: 1, 1: 9, 2: 7, 3: 5}  # Chebyshev points of each ln sd, by how many of them there are
FARTHEST_LN_SD = 0.5  # from where they are symmetric about


@dataclass(frozen=True, eq=False)
class Densities:
    """Log-likelihoods of draws between Chebyshev points of the ln sds of the error that are free.

    table : (points of all, m, n). middle : (u,) where they are symmetric about. places : (u,) in v. basis : (points,
    points) coefficients of the powers of each Lagrange polynomial of one ln sd. solved : (m, n).
    """

    table: Floats
    middle: Floats
    places: Ints
    basis: Floats
    solved: Flags

    @classmethod
    def of(cls, sample: Sample, start: Theta, d: int) -> Densities:
        """Of the curves of a sample, about the sds of ``start``, the last of d estimates."""
        patients, theta = sample.population.patients, np.asarray(start.ln_sd, float)
        free = np.flatnonzero(patients.sd_free)
        count = POINTS[len(free)]
        nodes = np.cos(np.pi * (np.arange(count) + 0.5) / count)
        basis = np.linalg.inv(np.vander(nodes, increasing=True)).T
        ln_sds = np.tile(theta, (count ** len(free), 1))
        for at, place in enumerate(product(range(count), repeat=len(free))):
            ln_sds[at, free] += FARTHEST_LN_SD * nodes[list(place)]
        table = polish.values_at(sample, ln_sds)
        solved = np.asarray(np.isfinite(table).all(axis=0))
        return cls(np.where(solved, table, 0.0), theta[free], d - len(theta) + free, basis, solved)

    def at(self, v: Floats) -> OfSamples:
        """What the samples say where the ln sds are those of v (a, d)."""
        a, u, degree = len(v), len(self.places), len(self.basis)
        t = (v[:, self.places] - self.middle)[..., None] / FARTHEST_LN_SD
        of_power = np.arange(degree)
        # Derivatives of the powers, and with them of each point's polynomial: (orders, a, u, points).
        slopes = [np.ones(degree), of_power, of_power * (of_power - 1)]
        powers = [t ** np.maximum(of_power - order, 0) * by for order, by in enumerate(slopes)]
        each = np.stack([power @ self.basis.T / FARTHEST_LN_SD**order for order, power in enumerate(powers)])

        def summed(*by: int) -> Floats:
            """(a, m, n) the derivative by these ln sds."""
            weight = np.ones((a, 1))
            for at in range(u):
                weight = (weight[:, :, None] * each[by.count(at), :, at, None, :]).reshape(a, -1)
            return np.tensordot(weight, self.table, 1)

        first, second = np.zeros((a, *self.solved.shape, u)), np.zeros((a, *self.solved.shape, u, u))
        for at in range(u):
            first[..., at] = summed(at)
            for other in range(at + 1):
                second[..., at, other] = second[..., other, at] = summed(at, other)
        return OfSamples(np.where(self.solved, summed(), -np.inf), first, second, self.places)
