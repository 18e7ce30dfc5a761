"""How many patients would show equivalence, from the values of a few.

Where all values are quantified the number follows from the normal and the chi-square distribution, and the simulated
power at that number is 80%. Where some are censored it would be too small: with 30% of 34 values below the limit the
sd of the fit varies as if of fewer values than are quantified, it is larger where the estimate is further from 0, and
the likelihood falls off more slowly at the margin than a parabola (normal theory 83%, simulated 79%). No simple formula
has all three, so that the number is tried on simulated studies and moved by what they miss.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy

from cellkinetics.arrays import Floats
from cellkinetics.statistics.slopes import slopes
from cellkinetics.statistics.tobit import Tobit

POWER, LARGEST_COHORT, SLICES = 0.8, 10_000, 500
# From so many patients on normal theory is as good as a simulation of so many values (127, 30% below: 81 for 80%).
MANY_PATIENTS, VALUES, FEWEST_SIMULATED, MOST_SIMULATED = 400, 40_000, 200, 1000


def patients_needed(
    fit: Tobit, ln_dose: Floats, n_quantified: float, margin_b: float, power: float = POWER, seed: int = 2020
) -> float:
    """Patients with which equivalence would be shown with this power, if b were 0.

    The design is repeated k times: the estimate of b has the standard error of the fit (with the sd corrected for
    degrees of freedom) divided by sqrt(k), and its estimated variance the chi-square of k designs' degrees of freedom,
    over which the power is integrated. With censored values the actual test is then done on simulated studies of that
    many patients, with the same share below a limit, and the number is moved by the difference in power.
    ``tests/benchmarks/equivalence_power.py`` compares with full simulations.

    Parameters
    ----------
    fit : the regression of one data set.
    ln_dose : (n,) of its patients.
    n_quantified : of its values.
    margin_b : the exponent of the margin.
    power : to be reached.
    seed : of the simulated studies.

    Returns
    -------
    float
        A whole number; NaN when it is above 10,000.
    """
    n = len(ln_dose)
    spent = n_quantified - float(fit.degrees_of_freedom[0])
    error = float(fit.stderr[0, 1]) * math.sqrt(n_quantified / float(fit.degrees_of_freedom[0]))
    shares = (np.arange(SLICES) + 0.5) / SLICES

    def theory(patients: int) -> float:
        k = patients / n
        degrees = max(k * n_quantified - spent, 1.0)
        spread = np.sqrt(scipy.stats.chi2.ppf(shares, degrees) / degrees)
        room = margin_b * math.sqrt(k) / error - scipy.stats.t.ppf(0.95, degrees) * spread
        return float(np.mean(2 * scipy.stats.norm.cdf(np.maximum(room, 0.0)) - 1))

    needed = _fewest(theory, power, 0.0)
    below = 1 - n_quantified / n
    tried = 0.0
    # Twice where the first step was a long one: the difference is another there.
    for _ in range(2):
        if below <= 0 or not needed <= MANY_PATIENTS or abs(needed - tried) <= 0.15 * needed:
            break
        tried = needed
        simulated = _simulated(int(tried), ln_dose, below, error * math.sqrt(n / tried), margin_b, seed)
        missing = _probit(theory(int(tried))) - _probit(simulated)
        needed = _fewest(theory, power, missing * tried)
    return needed


def _fewest(theory: Callable[[int], float], power: float, missing: float) -> float:
    """The fewest patients n with this power, of which a probit of missing/n is lost."""

    def enough(patients: int) -> bool:
        return _probit(theory(patients)) - missing / patients >= _probit(power)

    if not enough(LARGEST_COHORT):
        return math.nan
    low, high = 1, LARGEST_COHORT
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)


def _simulated(patients: int, ln_dose: Floats, below: float, error: float, margin_b: float, seed: int) -> float:
    """Share of simulated studies that show equivalence, b = 0, the large-sample standard error of b as given."""
    spaced = ((np.arange(patients) + 0.5) * len(ln_dose) / patients).astype(int)
    x = np.sort(ln_dose)[spaced]
    x = x - x.mean()
    limit = float(scipy.stats.norm.ppf(below))
    density = float(scipy.stats.norm.pdf(limit))
    information = 1 - below + limit * density + density**2 / below
    sd = error * math.sqrt(information * float(x @ x))
    studies = min(max(VALUES // patients, FEWEST_SIMULATED), MOST_SIMULATED)
    values = sd * np.random.default_rng(seed).normal(size=(studies, patients))
    hidden = values < sd * limit
    exponents = slopes(x, np.where(hidden, -np.inf, values), np.where(hidden, sd * limit, values), margin_b)
    return float(exponents.equivalent.mean())


def _probit(share: float) -> float:
    return float(scipy.stats.norm.ppf(min(max(share, 1e-12), 1 - 1e-12)))
