"""How often the intervals for the dose exponent hold the true one, in cohorts of 3, 4 and 4 patients.

    python tests/benchmarks/dose_exponent_coverage.py

Simulated: 2,000 sets of eleven values a x dose^b at 1e5, 1e6 and 1e7 cells/kg, log-normal with sd 1 on the ln scale
(another sd is another b: only their ratio and the share below the limit matter), of which on average 0, 30 or 60% lie
below one limit. Sets of which b cannot be estimated are counted beside the coverage, which is that of the others. The
bootstrap has 200 resamples within doses; all intervals are at 95%. Writes dose_exponent_coverage.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, stats

from cellkinetics.statistics.slopes import FEWEST, threshold
from cellkinetics.statistics.tobit import tobit

SEED, SETS, RESAMPLES = 2020, 2000, 200
X = np.log([1e5] * 3 + [1e6] * 4 + [1e7] * 4)
X -= X.mean()
DESIGN = np.column_stack([np.ones(11), X])


def limit_of(b, share):
    """The limit below which this share of the values lies on average."""
    if share == 0:
        return -np.inf
    return optimize.brentq(lambda at: stats.norm.cdf(at - b * X).mean() - share, -50, 50)


def censored(values, limit):
    return np.where(values < limit, -np.inf, values), np.maximum(values, limit)


def resampled(low, high, rng):
    """(sets, 2) ends of the percentile interval."""
    found = np.full((len(low), RESAMPLES), np.nan)
    for k in range(RESAMPLES):
        parts = [rng.integers(start, end, (len(low), end - start)) for start, end in ((0, 3), (3, 7), (7, 11))]
        chosen = np.concatenate(parts, axis=1)
        own = (np.take_along_axis(low, chosen, 1), np.take_along_axis(high, chosen, 1))
        found[:, k] = tobit(DESIGN, *own).coefficients[:, 1]
    # Resamples without an estimate are left out, as in `dose_exponent`.
    return np.nanquantile(found, [0.025, 0.975], axis=1).T


rows = []
for share in (0.0, 0.3, 0.6):
    for b in (0.0, 0.5, 1.0):
        rng = np.random.default_rng(SEED)
        low, high = censored(b * X + rng.normal(size=(SETS, 11)), limit_of(b, share))
        known = low == high
        doses = np.stack([known[:, :3].any(1), known[:, 3:7].any(1), known[:, 7:].any(1)]).sum(0)
        fit = tobit(DESIGN, low, high)
        fine = fit.converged & (known.sum(1) >= FEWEST) & (doses >= 2)
        low, high, known = low[fine], high[fine], known[fine].sum(1)
        slope, error, degrees = fit.coefficients[fine, 1], fit.stderr[fine, 1], fit.degrees_of_freedom[fine]
        given = tobit(np.ones((11, 1)), low - b * X, high - b * X)
        ratio = 2 * (fit.log_likelihood[fine] - given.log_likelihood)
        ends = resampled(low, high, rng)
        inside = {
            "profile, calibrated": ratio <= threshold(known, degrees, 0.95),
            "profile, chi-square": ratio <= stats.chi2.ppf(0.95, 1),
            "Wald": np.abs(slope - b) <= 1.96 * error,
            "percentile bootstrap": (ends[:, 0] <= b) & (b <= ends[:, 1]),
        }
        for method, held in inside.items():
            coverage = held.mean()
            error_of = np.sqrt(coverage * (1 - coverage) / fine.sum())
            rows.append([method, share, b, SETS, coverage, error_of, int((~fine).sum()), SEED])
            print(*rows[-1], flush=True)
columns = ["method", "share_below", "b", "sets", "coverage", "monte_carlo_error", "not_estimable", "seed"]
pd.DataFrame(rows, columns=columns).to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.4g")
