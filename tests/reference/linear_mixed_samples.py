"""Simulated samples of 20 patients along lines on the ln scale, whose levels follow the dose.

Writes linear_mixed.csv: subject, day, copies_per_ug, dose. No sample is below a limit.

    python linear_mixed_samples.py
"""

from pathlib import Path

import numpy as np

LEVEL, RATE, BY_DOSE, SD = np.log(500.0), 0.08, 0.5, 0.4
BETWEEN_LEVEL, BETWEEN_RATE, CORRELATION = 0.7, 0.03, 0.4
DAYS = (1.0, 3.0, 7.0, 14.0, 21.0, 28.0)


def main():
    rng = np.random.default_rng(2020)
    doses = np.repeat([1e5, 1e6, 1e7], [6, 7, 7])
    level = rng.normal(size=20)
    rate = CORRELATION * level + np.sqrt(1 - CORRELATION**2) * rng.normal(size=20)
    lines = ["subject,day,copies_per_ug,dose"]
    for i, dose in enumerate(doses):
        for day in DAYS:
            ln_f = LEVEL + BY_DOSE * np.log(dose / 1e6) + BETWEEN_LEVEL * level[i]
            ln_f -= (RATE + BETWEEN_RATE * rate[i]) * day
            lines.append(f"P{i + 1:02d},{day:g},{np.exp(ln_f + SD * rng.normal()):.8g},{dose:g}")
    path = Path(__file__).with_name("linear_mixed.csv")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
