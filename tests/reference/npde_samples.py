"""Simulated samples of 8 patients along lines on the ln scale, and 400 simulations of the same design.

Writes npde_samples.csv: subject, day, ln_y, and s1 to s400, ln of the simulated samples; with 3 decimals, no limit.

    python npde_samples.py
"""

from pathlib import Path

import numpy as np

LEVEL, RATE, SD = np.log(500.0), 0.12, 0.4
BETWEEN_LEVEL, BETWEEN_RATE = 0.7, 0.03
DAYS = np.array([1.0, 4.0, 10.0, 18.0, 28.0])
PATIENTS, SIMULATED = 8, 400


def main():
    rng = np.random.default_rng(2020)
    effects = rng.normal(size=(1 + SIMULATED, PATIENTS, 2)) * (BETWEEN_LEVEL, BETWEEN_RATE)
    ln_f = LEVEL + effects[..., :1] - (RATE + effects[..., 1:]) * DAYS
    ln_y = ln_f + SD * rng.normal(size=ln_f.shape)
    lines = [",".join(["subject", "day", "ln_y", *(f"s{i + 1}" for i in range(SIMULATED))])]
    for i in range(PATIENTS):
        for j, day in enumerate(DAYS):
            lines.append(",".join([f"P{i + 1}", f"{day:g}", *(f"{value:.3f}" for value in ln_y[:, i, j])]))
    path = Path(__file__).with_name("npde_samples.csv")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
