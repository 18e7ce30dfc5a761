"""Whether npde of good models are standard normal, with samples below the limit handled in three ways.

    python tests/benchmarks/npde_uniformity.py

200 simulated studies of 24 patients, six samples each, looked at under the population that they are simulated from: no
fit stands between. Lines on the ln scale with a dose exponent (tests/predictive/at_truth.py); the limit is put where 0,
20 and 44% of all samples lie below it. how: both: what ck.npde does, draws for what is censored in the data and in the
simulations; data: draws in the data alone. mean, variance: over studies, with the Monte Carlo error of the variance;
the others: the share of studies in which a test says at 5% that the model is wrong (Monte Carlo error 1.5%). uniform_p:
of a test of Kolmogorov and Smirnov of the prediction discrepancies of one sample of each patient in all studies. Writes
npde_uniformity.csv.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import kstest, norm
from table import shown

from cellkinetics.predictive.npde import TESTS, errors_of, tests_of
from cellkinetics.predictive.replicates import of_population

sys.path.insert(0, str(Path(__file__).parents[1] / "population"))
sys.path.insert(0, str(Path(__file__).parents[1] / "predictive"))

import at_truth  # pyright: ignore[reportMissingImports]

STUDIES, PATIENTS, REPLICATES, IMPUTATIONS, SEED = 200, 24, 1000, 5, 2020
SHARES = (0.0, 0.2, 0.44)


def main():
    rng = np.random.default_rng(SEED)
    pilot, _ = at_truth.ln_curves(6000, rng)
    pilot = pilot + at_truth.SD * rng.normal(size=pilot.shape)
    fit, rows = at_truth.fitted(), []
    for share in SHARES:
        limit = float(f"{np.exp(np.quantile(pilot, share)):.4g}") if share else 1e-9
        found = {"both": [], "data": []}
        pits = {"both": [], "data": []}
        for number in range(STUDIES):
            pop = at_truth.moved_to(fit, at_truth.simulated(PATIENTS, 1000 + number, limit))
            drawn = of_population(pop.population, pop.polished.theta, REPLICATES, number)
            alone = replace(drawn, lower=drawn.copies, upper=drawn.copies)
            for how, one in {"both": drawn, "data": alone}.items() if share else {"both": drawn}.items():
                z, pit = errors_of(one, IMPUTATIONS, np.random.default_rng([number, 1]))
                found[how].append(tests_of(z[1]))
                days = len(at_truth.DAYS)
                pits[how] += [pit[0, at * days + (number + at) % days] for at in range(PATIENTS)]
        for how, tables in found.items():
            if not tables:
                continue
            variance = np.array([table.loc["variance", "statistic"] for table in tables])
            row = {
                "share_below": share, "how": how, "mean": np.mean([t.loc["mean", "statistic"] for t in tables]),
                "variance": variance.mean(), "error_of_variance": variance.std(ddof=1) / np.sqrt(STUDIES),
            }  # fmt: skip
            row |= {f"{name} rejects": np.mean([t.loc[name, "p"] < 0.05 for t in tables]) for name in TESTS}
            row |= {"uniform_p": kstest(pits[how], "uniform").pvalue, "tail_5": np.mean(norm.ppf(pits[how]) < -1.645)}
            rows.append({**row, "studies": STUDIES, "imputations": IMPUTATIONS, "seed": SEED})
        shown(__file__, rows)


if __name__ == "__main__":
    main()
