"""Simulated samples of 12 patients with a two-phase decline, a part of them below 20; writes two_phase_population.csv.

python two_phase_population_samples.py
"""

from pathlib import Path

import numpy as np

SEED, LLOQ, SD = 2020, 20.0, 0.4
MEAN, BETWEEN = np.log([1000.0, 0.3, 30.0, 0.01]), np.array([0.6, 0.3, 0.7, 0.4])
DAYS = np.array([0.5, 1, 3, 7, 14, 21, 28, 42, 60, 90, 120, 180])

rng = np.random.default_rng(SEED)
lines, count = [], 0
for patient in range(12):
    a, fast, b, slow = np.exp(MEAN + BETWEEN * rng.normal(size=4))
    copies = (a * np.exp(-fast * DAYS) + b * np.exp(-slow * DAYS)) * np.exp(SD * rng.normal(size=len(DAYS)))
    below = copies < LLOQ
    count += below.sum()
    lines += [f"{patient},{day:g},{LLOQ if low else copy!r},{int(low)}"
              for day, copy, low in zip(DAYS, copies.tolist(), below, strict=True)]  # fmt: skip
Path(__file__).with_name("two_phase_population.csv").write_text("\n".join(["patient,day,copies,below", *lines, ""]))
print(f"{count} of {len(lines)} below {LLOQ:g}")
