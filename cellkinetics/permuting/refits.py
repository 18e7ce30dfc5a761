"""The exact permutation of doses, or of groups, by refits: a population for each arrangement, each with its maximum.

The statistic is the likelihood ratio of the coefficients that are tested. Doses go to other patients in these
coefficients alone, and every arrangement is climbed from the population without them, by Newton steps on the
importance-sampled likelihood. The draws of each patient are those of that population and the same for all
arrangements: the statistic of an arrangement is a function of it and of the samples, so that under no effect each is
as likely to have the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.permuting.ratios import SEED_OF_REFITS, Arranged, climbs_together
from cellkinetics.population.result import PopulationFit
from cellkinetics.statistics import arrangements
from cellkinetics.statistics.ranks import ALPHA

MOST_TOGETHER, MOST_ALONE = 50, 15  # patients: 200 refits of 24 take 2 s together, of 11 take 7 s one by one
AS_LARGE = 1e-6  # log-likelihood units: nearer ones are tied


@dataclass(frozen=True)
class Refitted:
    """A test by refits.

    p : share of arrangements whose ratio is at least that of the one given. refits : how many. every : whether these
    are all arrangements. attained : the largest level up to 5% that such a p can have; 0 where it has none.
    statistic : the ratio of the arrangement given, by the draws of the population without the coefficients.
    """

    p: float
    refits: int
    every: bool
    attained: float
    statistic: float


def refitted(full: PopulationFit, smaller: PopulationFit, name: str, by: str, most: int, seed: int) -> Refitted | None:
    """The test of what ``by`` does to the parameter ``name``; None for many patients.

    Parameters
    ----------
    full, smaller : with and without its coefficients. most : refits; all arrangements where there are no more.
    """
    together = climbs_together(smaller)
    if len(full.subjects) > (MOST_TOGETHER if together else MOST_ALONE):
        return None
    columns = [i for i, e in enumerate(full.design.effects) if e.parameter == name and e.covariate == by]
    weights = full.design.matrix[:, full.design.names.index(name), :][:, columns]
    levels, of = np.unique(weights, axis=0, return_inverse=True)
    of = of.reshape(-1)
    sizes = np.bincount(of).tolist()
    every = arrangements.count(sizes) <= most
    rng = np.random.default_rng(seed + SEED_OF_REFITS)
    given = arrangements.all_of(sizes) if every else arrangements.sampled(sizes, most, rng)
    ratio = Arranged.of(full, smaller, name, columns, seed)
    own, *values = (ratio.together if together else ratio.alone)(np.concatenate([weights[None], levels[given]]))
    if not every:
        values = [*values, own]
    larger = np.array(values) >= own - AS_LARGE
    return Refitted(float(np.mean(larger)), len(given), every, attained(np.array(values)), float(own))


def attained(values: Floats) -> float:
    """The largest p of one of the values that is not above 5%."""
    shares = np.array([np.mean(values >= value - AS_LARGE) for value in values])
    return float(np.max(shares, initial=0.0, where=shares <= ALPHA * (1 + 1e-12)))
