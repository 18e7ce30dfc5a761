"""What the handling of samples below the limit does to the slope of a decline: a table for 200 simulated patients.

    python tests/benchmarks/censoring_bias.py

Copies fall from 1,000 with 0.2 per day, residual sd 0.5 on the ln scale, limit 20 copies/ug; the true curve is below
the limit at 44% of the days. With 16 samples a patient the slope's own small-sample bias shows (maximum likelihood:
about 1.5%); with 32 what is left is due to the handling of the censored samples. Writes censoring_bias.csv beside
this file.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd

from cellkinetics import Model, Parameter
from cellkinetics.data.reading import read_study
from cellkinetics.fitting.fit import fit

SEED = 2020
C_0, K, SD, LLOQ = 1000.0, 0.2, 0.5, 20.0
DAYS = {16: np.linspace(1.0, 34.0, 16), 32: np.linspace(1.0, 34.0, 32)}
METHODS = ("m3", "drop", "half")


def curve(t, c_0, k):
    """Copies/ug, shape (n,)."""
    return c_0 * jnp.exp(-k * t)


MODEL = Model(
    name="one_phase",
    parameters={"c_0": Parameter(500.0, "copies/ug", "start"), "k": Parameter(0.1, "1/day", "start")},
    outputs={"copies_per_ug": "copies/ug"},
    curve=curve,
)


def slopes(patients, samples, seed=SEED):
    """One row a patient and method: share below the limit, estimate of the slope, its outcome."""
    rng, days = np.random.default_rng(seed), DAYS[samples]
    rows = []
    for patient in range(patients):
        copies = C_0 * np.exp(-K * days + SD * rng.normal(size=samples))
        study = read_study(pd.DataFrame({"subject": "1", "day": days, "copies_per_ug": copies}), lloq=LLOQ)
        for method in METHODS:
            found = fit(MODEL, study, censoring=method, starts=1)
            rows.append(
                {
                    "patient": patient,
                    "samples": samples,
                    "method": method,
                    "below": float(np.mean(copies < LLOQ)),
                    "slope": found.parameters.loc["k", "value"],
                    "sd": found.sd,
                    "outcome": found.outcome,
                }
            )
    return pd.DataFrame(rows)


def table(estimates):
    """Mean, bias, spread and Monte Carlo error of the slope by number of samples and method."""
    rows = []
    for (samples, method), part in estimates.groupby(["samples", "method"], sort=False):
        slope = part["slope"]
        rows.append(
            {
                "samples": samples,
                "method": method,
                "patients": len(part),
                "share_below": part["below"].mean(),
                "true_slope": K,
                "mean_estimate": slope.mean(),
                "bias": slope.mean() - K,
                "bias_percent": 100 * (slope.mean() / K - 1),
                "sd": slope.std(),
                "monte_carlo_error": slope.std() / np.sqrt(len(slope)),
                "not_converged": int((part["outcome"] != "converged").sum()),
                "seed": SEED,
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    result = table(pd.concat([slopes(200, samples) for samples in DAYS]))
    result.to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.6g")
    print(result.round(4).to_string(index=False))
