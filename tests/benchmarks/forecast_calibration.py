"""Whether forecasts of new patients hold what they say, under populations fitted to few and to many patients.

    python tests/benchmarks/forecast_calibration.py
    python tests/benchmarks/forecast_calibration.py averaged

Simulated throughout. A biexponential decline whose four parameters vary (tests/population/populations.py), error 0.4
on the ln scale, a limit of 3 copies/ug. Populations are fitted to studies of 24 and of 96 patients with 12 samples; 300
new patients are forecast from their first 0, 1, 3 and 5 samples (days 1, 7, 14, 28, 60), for day 180.

curve_90, curve_50: % of patients whose true curve on day 180 lies in the 90% and 50% band; sample_90: whose sample
does, one below the limit where the band reaches below it. detectable: mean forecast probability that the sample lies
above the limit; seen: % in which it did; brier: mean squared error of that probability, brier_of_share: of always
saying the share of patients. low, high: % seen among forecasts below 0.2 and above 0.8, with how many there were.
uneven: forecasts whose outcome is not "even". ms: milliseconds of a forecast, the median. Writes
forecast_calibration.csv.

averaged: two populations fitted to one study of 48 patients, of the model that made it and of one with a single phase
of decline, which is wrong. 60 new patients are forecast from their first 0, 1 and 3 samples for days 28, 60, 90, 120
and 180 under both, averaged with equal prior weights, and under each alone. weight: mean weight of the true model. The
rest is as above, over patients and days. Five columns of the forecast probability that a sample lies below
the limit: mean of what was said in that bin, % that lay below, how many. Writes forecast_calibration_averaged.csv.
"""

import sys
import time
from pathlib import Path

import jax.numpy as jnp
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
AVERAGED_SEED, OF_BOTH, AVERAGED_NEW, AHEAD = 2021, 48, 60, np.array([28.0, 60, 90, 120, 180])


def curves(n, days, rng):
    """(n, days) ln copies/ug of new patients."""
    drawn = {name: MODEL.parameters[name].value * np.exp(sd * rng.normal(size=(n, 1))) for name, sd in BETWEEN.items()}
    return np.log(drawn["a"] * np.exp(-drawn["fast"] * days) + drawn["b"] * np.exp(-drawn["slow"] * days))


def one_patient(ln_y):
    """A study of the first samples of one patient."""
    values = [f"<{LIMIT:g}" if y < LIMIT else f"{y:.6g}" for y in np.exp(ln_y)]
    day = np.append(0.0, KNOWN[: len(ln_y)])
    table = pd.DataFrame({"subject": "A", "day": day, "dose": 1e6, "copies_per_ug": ["", *values]})
    return ck.read_study(table, lloq=LIMIT)


def covered(table, ln_f, ln_y):
    """Whether curves lie in their band, and samples in theirs; below the limit where it reaches below it."""
    truth, y = np.exp(ln_f), np.exp(ln_y)
    inside = (y >= table["sample_lower"]) & (y <= table["sample_upper"])
    sample = np.where(y >= LIMIT, inside, table["sample_lower"] < LIMIT)
    return np.array((truth >= table["lower"]) & (truth <= table["upper"])), sample


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
        seen = ln_y[:, -1] >= np.log(LIMIT)
        for known in (0, 1, 3, 5):
            found, seconds = [], []
            for one in range(NEW):
                patient = one_patient(ln_y[one, :known])
                began = time.perf_counter()
                found.append([
                    fit.forecast(patient, [LAST], seed=one), fit.forecast(patient, [LAST], seed=one, level=0.5)
                ])  # fmt: skip
                seconds.append((time.perf_counter() - began) / 2)
            wide, half = (pd.concat([pair[side].table for pair in found], ignore_index=True) for side in (0, 1))
            said = np.array([pair[0].detectable(LAST) for pair in found])
            curve_90, sample_90 = covered(wide, ln_f[:, -1], ln_y[:, -1])
            curve_50, _ = covered(half, ln_f[:, -1], ln_y[:, -1])
            low, high = said < 0.2, said > 0.8
            rows.append({
                "patients": patients, "samples": known,
                "curve_90": 100 * curve_90.mean(), "curve_50": 100 * curve_50.mean(),
                "sample_90": 100 * sample_90.mean(), "detectable": 100 * said.mean(), "seen": 100 * seen.mean(),
                "brier": np.mean((said - seen) ** 2), "brier_of_share": np.mean((seen.mean() - seen) ** 2),
                "low": f"{100 * seen[low].mean():.0f} ({low.sum()})" if low.any() else "",
                "high": f"{100 * seen[high].mean():.0f} ({high.sum()})" if high.any() else "",
                "uneven": sum(pair[0].outcome != "even" for pair in found), "ms": 1000 * np.median(seconds),
                "new": NEW, "seed": SEED,
            })  # fmt: skip
            shown(__file__, rows)


def one_phase():
    """One phase of decline, where there are two."""
    parameters = {
        "c": ck.Parameter(1000.0, "copies/ug", "this benchmark"),
        "k": ck.Parameter(0.05, "1/day", "this benchmark"),
    }
    outputs = {"copies_per_ug": "copies/ug"}
    return ck.Model(
        name="one_phase", parameters=parameters, outputs=outputs, scale_free=True,
        curve=lambda t, c, k: c * jnp.exp(-k * t),
    )  # fmt: skip


def averaged():
    rng = np.random.default_rng(AVERAGED_SEED)
    study = populations.study_of(curves(OF_BOTH, FITTED_ON, rng), FITTED_ON, NOISE, rng, limit=LIMIT)
    true, wrong = (ck.fit_population(model, study, progress=False) for model in (MODEL, one_phase()))
    print(true.summary(), wrong.summary(), sep="\n", flush=True)
    ln_f = curves(AVERAGED_NEW, np.append(KNOWN[:3], AHEAD), rng)
    ln_y = ln_f + NOISE * rng.normal(size=ln_f.shape)
    later, below = (each[:, 3:].ravel() for each in (ln_f, ln_y < np.log(LIMIT)))
    rows = []
    for known in (0, 1, 3):
        for name, under in (("averaged", [true, wrong]), ("true", [true]), ("wrong", [wrong])):
            found = {0.9: [], 0.5: []}
            for one in range(AVERAGED_NEW):
                patient = one_patient(ln_y[one, :known])
                for level, kept in found.items():
                    kept.append(ck.forecast(under, patient, AHEAD, level=level, seed=one))
            wide, half = (pd.concat([each.table for each in kept], ignore_index=True) for kept in found.values())
            curve_90, sample_90 = covered(wide, later, ln_y[:, 3:].ravel())
            curve_50, _ = covered(half, later, ln_y[:, 3:].ravel())
            said = np.array([
                each.probability_below(LIMIT, day, sample=True) for each in found[0.9] for day in AHEAD
            ])  # fmt: skip
            place = np.minimum((said * 5).astype(int), 4)
            bins = {
                f"{20 * at} to {20 * at + 20}%": f"{100 * said[own].mean():.0f}: {100 * below[own].mean():.0f} "
                f"({own.sum()})" if own.any() else ""
                for at in range(5) for own in [place == at]
            }  # fmt: skip
            weight = np.mean([each.populations["weight"].iloc[0] for each in found[0.9]])
            rows.append({
                "samples": known, "under": name, "weight": weight if len(under) > 1 else "",
                "curve_90": 100 * curve_90.mean(), "curve_50": 100 * curve_50.mean(),
                "sample_90": 100 * sample_90.mean(), "brier": np.mean((said - below) ** 2), **bins,
                "uneven": sum(each.outcome != "even" for each in found[0.9]), "new": AVERAGED_NEW,
                "seed": AVERAGED_SEED,
            })  # fmt: skip
            shown(Path(__file__).with_name("forecast_calibration_averaged.py"), rows)


if __name__ == "__main__":
    averaged() if sys.argv[1:] == ["averaged"] else main()
