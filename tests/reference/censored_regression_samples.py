"""Samples around a line on the ln scale, most of them quantified, the others censored in each way.

Writes censored_regression.csv: day, lower, upper (copies/ug); equal if quantified, an empty cell for an open end.

    python censored_regression_samples.py
"""

from pathlib import Path

import numpy as np

A, B, SD = 11.0, -0.2, 0.6
LOD, LLOQ, ULOQ = 100.0, 300.0, 20_000.0


def main():
    rng = np.random.default_rng(2020)
    days = np.sort(rng.choice(np.arange(1, 351), size=60, replace=False) / 10)
    values = np.exp(A + B * days + SD * rng.normal(size=60))
    lines = ["day,lower,upper"]
    for day, value in zip(days, values, strict=True):
        if value < LOD:
            ends = f",{LOD:g}"
        elif value < LLOQ:
            ends = f"{LOD:g},{LLOQ:g}"
        elif value > ULOQ:
            ends = f"{ULOQ:g},"
        else:
            ends = f"{value:.6g},{value:.6g}"
        lines.append(f"{day:g},{ends}")
    Path(__file__).with_name("censored_regression.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
