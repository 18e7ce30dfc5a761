"""Simulated samples of a two-phase decline in ln copies, a part of them below 30; writes two_phase.csv.

python two_phase_samples.py
"""

from pathlib import Path

import numpy as np

SEED, DOSE, LLOQ, SD = 2020, 1e6, 30.0, 0.4
F, ALPHA, F_B, BETA = 4e-3, 0.35, 0.03, 0.02
DAYS = np.repeat([0.5, 1, 2, 3, 5, 7, 10, 14, 21, 28, 35, 45, 60, 75, 90, 120], 3).astype(float)

rng = np.random.default_rng(SEED)
curve = F * DOSE * ((1 - F_B) * np.exp(-ALPHA * DAYS) + F_B * np.exp(-BETA * DAYS))
copies = curve * np.exp(SD * rng.normal(size=len(DAYS)))
below = copies < LLOQ
lines = [
    f"{day:g},{LLOQ if low else copy!r},{int(low)}" for day, copy, low in zip(DAYS, copies.tolist(), below, strict=True)
]
Path(__file__).with_name("two_phase.csv").write_text("\n".join(["day,copies,below", *lines, ""]))
print(f"{below.sum()} of {len(DAYS)} below {LLOQ:g}")
