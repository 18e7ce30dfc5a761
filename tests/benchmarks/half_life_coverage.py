"""How often the 95% interval of half_life_tobit holds the truth, for 3 to 8 quantified samples and sds from 0.3 to 0.9.

    python tests/benchmarks/half_life_coverage.py

400 simulated patients a row: copies fall from 10,000 with a half-life of 7 days, sampled every 7 days ("steep") or
every 2.33 days ("flat"), n samples far above the limit (2.5 sds above it at the last) and `below` late ones as far
below it. Patients of whom another number than n is quantified are left out (`other`), and so are lines that do not
fall (`none`), of which no half-life is given. `line`: "given" is a line through the days that were asked for
(`terminal=`), "chosen" that of the default rule, from the first day on that gives the best adjusted R2, which looks at
the values. Seed, days, limit and sds were fixed before the first run. The aim is 90% and more of "given". `fixed` is
what an sd taken as 0.5 would hold, the rule of fewer than 5 samples before. Writes half_life_coverage.csv.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from cellkinetics.cohorts.half_lives import SAMPLES_FOR_SD, best_line, censored_line
from cellkinetics.statistics.tobit import tobit

SEED, PATIENTS, HALF_LIFE, START = 2020, 400, 7.0, math.log(10_000)
SDS, SAMPLES = (0.3, 0.5, 0.9), range(3, 9)
SPACING = {"steep": 7.0, "flat": 7.0 / 3}
RATE = math.log(2) / HALF_LIFE


def patients(samples, below, sd, spacing):
    """Days, lower and upper ends of each patient, and how many there are whose quantified samples are not n."""
    rng, others, found = np.random.default_rng(SEED), 0, []
    days = spacing * np.arange(1, samples + 1)
    limit = math.exp(START - RATE * days[-1] - 2.5 * sd)
    late = days[-1] + 5 * sd / RATE + spacing * np.arange(below)
    days = np.concatenate([days, late])
    for _ in range(PATIENTS):
        copies = np.exp(START - RATE * days + sd * rng.normal(size=len(days)))
        seen = copies >= limit
        if seen.sum() != samples or not seen[:samples].all():
            others += 1
            continue
        found.append((days, np.where(seen, copies, 0.0), np.where(seen, copies, limit)))
    return found, others


def fixed(days, lower, upper):
    """Whether the interval with an sd of 0.5 holds the truth."""
    with np.errstate(divide="ignore"):
        fit = tobit(np.column_stack([np.ones(len(days)), days]), np.log(lower), np.log(upper), 0.5)
    slope, half = fit.coefficients[0, 1], scipy.stats.norm.ppf(0.975) * fit.stderr[0, 1]
    return slope - half <= -RATE <= slope + half if slope < 0 else None


def rows():
    """One row a design, number of samples, sd and line."""
    for design, spacing in SPACING.items():
        for samples in SAMPLES:
            for below in (0, 2):
                for sd in SDS:
                    found, others = patients(samples, below, sd, spacing)
                    for line in ("given", "chosen"):
                        held, before, widths = [], [], []
                        for days, lower, upper in found:
                            keep = np.ones(len(days), bool)
                            if line == "chosen":
                                seen = lower > 0
                                first = best_line(days[seen], lower[seen]).first
                                keep = days >= (days[0] if math.isnan(first) else first)
                            half_life, low, high, _ = censored_line(days[keep], lower[keep], upper[keep])
                            if math.isnan(half_life):
                                continue
                            held.append(low <= HALF_LIFE <= high)
                            widths.append(high / low)
                            few = (lower[keep] > 0).sum() < SAMPLES_FOR_SD
                            before += [fixed(days[keep], lower[keep], upper[keep])] if few else []
                        before = [one for one in before if one is not None]
                        yield {
                            "design": design, "samples": samples, "below": below, "sd": sd, "line": line,
                            "other": others, "none": len(found) - len(held), "coverage": np.mean(held),
                            "fixed": np.mean(before) if before else np.nan, "ratio_of_ends": np.median(widths),
                        }  # fmt: skip


if __name__ == "__main__":
    table = pd.DataFrame(rows())
    table.to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.3g")
    print(table.to_string(index=False, float_format="%.3g"))
    print(table.groupby("line")["coverage"].agg(["min", "mean"]))
