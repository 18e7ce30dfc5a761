"""Whether forecasts of new patients hold what they say, under populations fitted to few and to many patients.

    python tests/benchmarks/forecast_calibration.py

Simulated throughout. A biexponential decline whose four parameters vary (tests/population/populations.py), error 0.4
on the ln scale, a limit of 3 copies/ug. Populations are fitted to studies of 24 and of 96 patients with 12 samples; 300
new patients are forecast from their first 0, 1, 3 and 5 samples (days 1, 7, 14, 28, 60), for day 180.

curve_90, curve_50: % of patients whose true curve on day 180 lies in the 90% and 50% band; sample_90: whose sample
does, one below the limit where the band reaches below it. detectable: mean forecast probability that the sample lies
above the limit; seen: % in which it did; brier: mean squared error of that probability, brier_of_share: of always
saying the share of patients. low, high: % seen among forecasts below 0.2 and above 0.8, with how many there were.
uneven: forecasts whose outcome is not "even". ms: milliseconds of a forecast, the median. Writes
forecast_calibration.csv.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from table import shown

import cellkinetics as ck

sys.path.insert(0, str(Path(__file__).parents[1] / "population"))

import populations  # pyright: ignore[reportMissingImports]

SEED, NEW, LIMIT, LAST, NOISE = 2020, 300, 3.0, 180.0, 0.4
MODEL = populations.biexponential()
BETWEEN = {"a": 0.6, "fast": 0.3, "b": 0.7, "slow": 0.4}
FITTED_ON = np.array([0.5, 1, 3, 7, 14, 21, 28, 42, 60, 90, 120, 180])
KNOWN = np.array([1.0, 7, 14, 28, 60])


def curves(n, days, rng):
    """(n, days) ln copies/ug of new patients."""
    drawn = {name: MODEL.parameters[name].value * np.exp(sd * rng.normal(size=(n, 1))) for name, sd in BETWEEN.items()}
    return np.log(drawn["a"] * np.exp(-drawn["fast"] * days) + drawn["b"] * np.exp(-drawn["slow"] * days))


def main():
    rows = []
    for patients in (24, 96):
        rng = np.random.default_rng(SEED + patients)
        study = populations.study_of(curves(patients, FITTED_ON, rng), FITTED_ON, NOISE, rng, limit=LIMIT)
        fit = ck.fit_population(MODEL, study, progress=False)
        print(fit.summary(), flush=True)
        days = np.append(KNOWN, LAST)
        ln_f = curves(NEW, days, rng)
        ln_y = ln_f + NOISE * rng.normal(size=ln_f.shape)
        truth, seen = np.exp(ln_f[:, -1]), ln_y[:, -1] >= np.log(LIMIT)
        for known in (0, 1, 3, 5):
            found, seconds = [], []
            for one in range(NEW):
                values = [f"<{LIMIT:g}" if y < LIMIT else f"{y:.6g}" for y in np.exp(ln_y[one, :known])]
                day = np.append(0.0, KNOWN[:known])
                table = pd.DataFrame({"subject": "A", "day": day, "dose": 1e6, "copies_per_ug": ["", *values]})
                patient = ck.read_study(table, lloq=LIMIT)
                began = time.perf_counter()
                found.append([
                    fit.forecast(patient, [LAST], seed=one), fit.forecast(patient, [LAST], seed=one, level=0.5)
                ])  # fmt: skip
                seconds.append((time.perf_counter() - began) / 2)
            wide, half = (pd.concat([pair[side].table for pair in found], ignore_index=True) for side in (0, 1))
            said = np.array([pair[0].detectable(LAST) for pair in found])
            y = np.exp(ln_y[:, -1])
            inside = np.where(
                seen, (y >= wide["sample_lower"]) & (y <= wide["sample_upper"]), wide["sample_lower"] < LIMIT
            )
            low, high = said < 0.2, said > 0.8
            rows.append({
                "patients": patients, "samples": known,
                "curve_90": 100 * np.mean((truth >= wide["lower"]) & (truth <= wide["upper"])),
                "curve_50": 100 * np.mean((truth >= half["lower"]) & (truth <= half["upper"])),
                "sample_90": 100 * np.mean(inside), "detectable": 100 * said.mean(), "seen": 100 * seen.mean(),
                "brier": np.mean((said - seen) ** 2), "brier_of_share": np.mean((seen.mean() - seen) ** 2),
                "low": f"{100 * seen[low].mean():.0f} ({low.sum()})" if low.any() else "",
                "high": f"{100 * seen[high].mean():.0f} ({high.sum()})" if high.any() else "",
                "uneven": sum(pair[0].outcome != "even" for pair in found), "ms": 1000 * np.median(seconds),
                "new": NEW, "seed": SEED,
            })  # fmt: skip
            shown(__file__, rows)


if __name__ == "__main__":
    main()
