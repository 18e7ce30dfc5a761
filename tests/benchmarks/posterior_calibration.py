"""Whether posteriors of populations hold what they say: simulation-based calibration (Talts et al. 2018).

    python tests/benchmarks/posterior_calibration.py [minutes] [kept.jsonl] [gibbs | nuts]

Means, spreads and the sd of the error are drawn from their priors, a study of 11 patients with 8 samples from them
(biexponential decline, limit 3 copies/ug), and the posterior under these priors is sampled (Gibbs sampling, 4 chains of
250 draws after 250, every tenth kept). If the sampler is right the rank of the truth among the 100 kept draws is
uniform: chi-squared over 10 bins, its p by parameter, and how often central intervals of 50% and 90% hold the truth.
NUTS, which takes longer, has studies of 8 patients, 2 chains of 150 draws after 150, every sixth kept, and 5 bins.
Studies are simulated one after the other from seed 1 on until the minutes (20) are over; every one counts, whatever its
outcome says. With a file they are kept in it, a line each, and a later run goes on behind them. Writes
posterior_calibration.csv.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from table import machine

import cellkinetics as ck

sys.path.insert(0, str(Path(__file__).parents[1] / "population"))

import populations  # pyright: ignore[reportMissingImports]

DAYS = np.array([1.0, 3, 7, 14, 28, 60, 90, 180])
# Patients, chains, draws and warm-up of each chain, of how many draws one is kept, bins of ranks.
DESIGNS = {"gibbs": (11, 4, 250, 10, 10), "nuts": (8, 2, 150, 6, 5)}
PRIOR = {
    "a": ck.LogNormal(1000, 0.5), "fast": ck.LogNormal(0.3, 0.3), "b": ck.LogNormal(30, 0.5),
    "slow": ck.LogNormal(0.01, 0.4), "sd between a": ck.LogNormal(0.5, 0.4), "sd between fast": ck.LogNormal(0.3, 0.4),
    "sd between b": ck.LogNormal(0.5, 0.4), "sd between slow": ck.LogNormal(0.3, 0.4), "sd": ck.LogNormal(0.4, 0.3),
}  # fmt: skip


def one(model, seed, method):
    """Ranks of the truth among the kept draws, by parameter, and whether the chains mixed."""
    rng, (patients, chains, draws, every, _) = np.random.default_rng(seed), DESIGNS[method]
    truth = {name: prior.median * np.exp(prior.sd * rng.normal()) for name, prior in PRIOR.items()}
    own = {name: truth[name] * np.exp(truth[f"sd between {name}"] * rng.normal(size=(patients, 1)))
           for name in model.parameters}  # fmt: skip
    ln_f = np.log(own["a"] * np.exp(-own["fast"] * DAYS) + own["b"] * np.exp(-own["slow"] * DAYS))
    study = populations.study_of(ln_f, DAYS, truth["sd"], rng)
    fit = ck.fit_population(model, study, progress=False)
    posterior = ck.sample_posterior(
        fit, prior=PRIOR, draws=draws, warmup=draws, chains=chains, seed=seed, progress=False, method=method
    )
    kept = posterior.draws.iloc[::every]
    return {name: int((kept[name] < truth[name]).sum()) for name in PRIOR}, len(kept), posterior.outcome


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    kept = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    method = sys.argv[3] if len(sys.argv) > 3 else "gibbs"
    bins = DESIGNS[method][-1]
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept is not None and kept.exists() else []
    model, began = populations.biexponential(), time.time()
    while time.time() - began < 60 * minutes:
        done.append(one(model, len(done) + 1, method))
        if kept is not None:
            with kept.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
        print(len(done), f"{time.time() - began:.0f}", *done[-1], flush=True)
    table, size, rows = pd.DataFrame([each[0] for each in done]), done[0][1], []
    mixed = sum(not outcome.startswith("chains") for *_, outcome in done)
    for name, column in table.items():
        # 101 ranks in bins of 10, the last of 11; of NUTS 51 of 10.
        counts = np.bincount(np.minimum(column // (size // bins), bins - 1), minlength=bins)
        expected = len(table) * np.append(np.full(bins - 1, size // bins), size // bins + 1) / (size + 1)
        inside = [float(((column > size * (1 - level) / 2) & (column <= size * (1 + level) / 2)).mean())
                  for level in (0.5, 0.9)]  # fmt: skip
        rows.append({
            "method": method, "parameter": name, "studies": len(table), "mean_rank": column.mean() / size,
            "p": scipy.stats.chisquare(counts, expected).pvalue, "in_50": inside[0], "in_90": inside[1],
            "chains_alike": mixed, **machine(),
        })  # fmt: skip
    found = pd.DataFrame(rows).map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
    file = Path(__file__).with_suffix(".csv")
    others = pd.read_csv(file, dtype=str)
    pd.concat([others[others["method"] != method], found]).to_csv(file, index=False)
    print(found.to_string())


if __name__ == "__main__":
    main()
