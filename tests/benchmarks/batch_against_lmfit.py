"""The batch engine against lmfit, both ended by exact Newton steps, on the patients of batch_fit.py.

    python tests/benchmarks/batch_against_lmfit.py [il15_persistence | stein_2019_tisagenlecleucel ...]

The first 200 simulated patients of each model, default free set and sd. The engine has 4 starts (`fit_each`), and lmfit
starts where the engine ended, moved by 0.3 standard normal deviates on the estimation scale (fixed seed), so that both
are asked for the same optimum. Identifiable are the subjects whose outcome is "converged". Writes
batch_against_lmfit.csv.
"""

import sys
from pathlib import Path

import batch_fit
import numpy as np
from table import machine, renew

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.optimising.optimise import least_squares, newton

PATIENTS, MOVED = 200, 0.3


def row(name):
    """Differences of log-likelihoods, and of estimates in standard errors."""
    model = models.load(name)
    table, limit = batch_fit.simulated(model, PATIENTS)
    fits = ck.fit_each(model, ck.read_study(table, lloq=limit), progress=False)
    rng = np.random.default_rng(batch_fit.SEED)
    gains, moves, other = [], [], 0
    for fit in (fit for fit in fits.values() if fit.converged):
        problem = fit.problem
        lower, upper = problem.bounds
        start = np.clip(fit.x + MOVED * rng.normal(size=len(fit.x)), lower + 1e-3, upper - 1e-3)
        run = least_squares(problem, start)
        x, second, *_ = newton(problem, run[0] if run else start)
        gain = second.value - fit.log_likelihood_ln
        if abs(gain) > 0.01:
            # Another optimum: told apart, and counted with its sign below.
            other += 1
            gains.append(max(gain, 0.0))
            continue
        gains.append(gain)
        moves.append(np.max(np.abs(x - fit.x) / np.sqrt(np.diag(fit.covariance))))
    return {
        "model": name,
        "patients": PATIENTS,
        "identifiable": len(gains),
        "other_optimum": other,
        "lmfit_higher_max": max(gains),
        "same_optimum_difference_max": max(abs(gain) for gain in gains if abs(gain) <= 0.01),
        "se_median": np.median(moves),
        "se_max": np.max(moves),
    }


if __name__ == "__main__":
    for one in sys.argv[1:] or batch_fit.SPREADS:
        renewed = row(one) | machine()
        renew(Path(__file__).with_suffix(".csv"), renewed)
        print("\n".join(f"{key}: {value}" for key, value in renewed.items()), flush=True)
