"""How often equivalence within twofold over a hundredfold dose range is shown when the dose changes nothing.

    python tests/benchmarks/equivalence_power.py

Simulated, b = 0, cohorts in the ratio 3 : 4 : 4 at 1e5, 1e6 and 1e7 cells/kg: eleven patients, and the number of
patients that `patients_needed` names for 80%, from a fit with exactly this sd and share below the limit. 4,000 studies
each, every one fitted, "shown" when the calibrated 90% profile interval lies within the margin. The
seed is not that of the simulations inside `patients_needed`. Writes equivalence_power.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from cellkinetics.statistics.equivalence import patients_needed
from cellkinetics.statistics.slopes import slopes
from cellkinetics.statistics.tobit import Tobit, tobit

SEED, STUDIES, MARGIN = 2021, 4000, np.log(2) / np.log(100)
PATTERN = np.log([1e5] * 3 + [1e6] * 4 + [1e7] * 4)


def design(n):
    """ln doses of n patients, centred, cohorts as nearly 3 : 4 : 4 as n allows."""
    x = np.sort(np.resize(PATTERN[[0, 3, 7, 1, 4, 8, 2, 5, 9, 6, 10]], n))
    return x - x.mean()


def studies(n, sd, share, count, rng):
    values = sd * rng.normal(size=(count, n))
    limit = sd * stats.norm.ppf(share)
    return np.where(values < limit, -np.inf, values), np.maximum(values, limit)


def fitted(x, low, high) -> Tobit:
    return tobit(np.column_stack([np.ones(len(x)), x]), low, high)


def shown(n, sd, share, rng):
    """Of each study, whether equivalence is shown; one that cannot be estimated has not shown it."""
    found = slopes(design(n), *studies(n, sd, share, STUDIES, rng), MARGIN)
    return found.equivalent, int((~found.estimable).sum())


rows = []
for sd in (0.5, 1.0):
    for share in (0.0, 0.3, 0.6):
        rng = np.random.default_rng(SEED)
        # What a fit of this design tells on average: the mean information of 2,000 sets of eleven.
        low, high = studies(1100, sd, share, 20, rng)
        large = fitted(design(1100), low, high)
        inflation = np.sqrt(1100 * (1 - share) / large.degrees_of_freedom.mean())
        degrees = 11 * (1 - share) - 2 * (1 - share)
        typical = Tobit(
            coefficients=np.zeros((1, 2)),
            sd=np.array([sd]),
            log_likelihood=np.zeros(1),
            degrees_of_freedom=np.array([degrees]),
            stderr=np.full((1, 2), large.stderr[:, 1].mean() * inflation * 10 * np.sqrt(degrees / (11 * (1 - share)))),
            converged=np.ones(1, bool),
            spent=np.zeros(1),
        )
        needed = patients_needed(typical, PATTERN, 11 * (1 - share), float(MARGIN))
        for n in (11, int(needed)):
            found, lost = shown(n, sd, share, rng)
            power = found.mean()
            rows.append([sd, share, n, power, np.sqrt(power * (1 - power) / STUDIES), lost, needed, STUDIES, SEED])
            print(*rows[-1], flush=True)
columns = ["sd", "share_below", "n", "power", "monte_carlo_error", "not_estimable", "n_needed", "studies", "seed"]
pd.DataFrame(rows, columns=columns).to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.4g")
