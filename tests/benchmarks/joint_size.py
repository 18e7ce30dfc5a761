"""How often the model-based comparison finds a dose effect where there is none, and where there is one.

    python tests/benchmarks/joint_size.py

Eleven simulated patients (3, 4 and 4 at 1e5, 1e6 and 1e7 cells/kg) whose parameters differ by 30% (log-SD 0.3) and,
where `exponent` is not 0, move with the dose as dose^exponent; the noise is 0.4 on the ln scale. The limit is put where
0, 30 or 60% of all samples lie below it, most of them at the lowest dose. Nested joint fits with all other parameters
each patient's own, and the permutation p of 99 (nk_decline) or 39 (il15_persistence) arrangements, at 5%.

size_or_power : share of studies with p at most 0.05. by_chi_squared : the same had the likelihood ratio been compared
with chi-squared. coverage : of the 95% interval of the exponent, from leaving out each patient in turn.
not_estimable : studies without a p. Writes joint_size.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chi2

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.joint.comparison import model_based

SEED, ALPHA, BETWEEN, NOISE = 2020, 0.05, 0.3, 0.4
DOSES = np.array([1e5] * 3 + [1e6] * 4 + [1e7] * 4)
DECLINE = models.load("nk_decline").with_(fixed={"f_b": 0.05, "beta": 0.2}, free=("F", "alpha"))
IL15 = models.load("il15_persistence")
# model, days, parameters that differ, tested ones, the one that moves and by which exponent, permutations, studies.
DESIGNS = [
    (DECLINE, (0.1, 0.5, 1, 2, 3, 5, 7, 10), ("F", "alpha"), ("F", "alpha"), "alpha", 0.0, 99, 200),
    (DECLINE, (0.1, 0.5, 1, 2, 3, 5, 7, 10), ("F", "alpha"), ("F", "alpha"), "alpha", -0.2, 99, 60),
    (IL15, (0.1, 3, 7, 10, 14, 21, 28, 60, 120, 240, 365), ("F", "mu0", "N"), ("mu0", "N"), "mu0", 0.0, 39, 30),
    (IL15, (0.1, 3, 7, 10, 14, 21, 28, 60, 120, 240, 365), ("F", "mu0", "N"), ("mu0", "N"), "mu0", -0.4, 39, 20),
]


def copies(model, days, vary, moved, exponent, rng):
    """(11, days) noisy copies/ug."""
    found = []
    for dose in DOSES:
        values = {name: float(model.values()[name]) * np.exp(BETWEEN * rng.normal()) for name in vary}
        values[moved] *= (dose / 1e6) ** exponent
        found.append(np.asarray(model.solve(np.array(days), values, dose)["copies_per_ug"]))
    return np.array(found) * np.exp(NOISE * rng.normal(size=(len(DOSES), len(days))))


def study_of(days, values, limit):
    names = [f"P{i + 1:02d}" for i in range(len(DOSES))]
    rows = [
        pd.DataFrame({"subject": name, "day": days, "copies_per_ug": row, "dose": dose})
        for name, row, dose in zip(names, values, DOSES, strict=True)
    ]
    return ck.read_study(pd.concat(rows), lloq=limit)


def main():
    rows = []
    for model, days, vary, tested, moved, exponent, permutations, studies in DESIGNS:
        for share in (0.0, 0.3, 0.6) if exponent == 0 else (0.3,):
            rng = np.random.default_rng(SEED)
            pilot = np.concatenate([copies(model, days, vary, moved, exponent, rng) for _ in range(20)])
            limit = max(float(np.quantile(pilot, share)), 1e-6) if share else 1e-6
            tables = []
            for number in range(studies):
                study = study_of(days, copies(model, days, vary, moved, exponent, rng), limit)
                found = model_based(
                    study, "dose", model, parameters=tested, permutations=permutations, seed=number, progress=False
                )
                blank = pd.DataFrame({"parameter": list(tested), "p": np.nan, "lr": np.nan})
                tables.append(found.table if len(found.table) else blank)
            results = pd.concat(tables)
            for name, own in results.groupby("parameter", sort=False):
                truth, known = exponent if name == moved else 0.0, own[own["p"].notna()]
                found = float((known["p"] <= ALPHA).mean())
                covered = (known["lower"] <= truth) & (truth <= known["upper"])
                rows.append(
                    {
                        "model": model.name, "parameter": name, "exponent": truth, "share_below": share,
                        "size_or_power": found, "monte_carlo_error": np.sqrt(found * (1 - found) / max(len(known), 1)),
                        "by_chi_squared": float((known["lr"] > chi2.ppf(1 - ALPHA, 1)).mean()),
                        "coverage": float(covered[known["lower"].notna()].mean()),
                        "patients": known["n"].mean(), "not_estimable": len(own) - len(known),
                        "without_interval": int(known["lower"].isna().sum()),
                        "not_converged": int((known["note"] != "").sum()),
                        "permutations": permutations, "studies": studies, "seed": SEED,
                    }
                )  # fmt: skip
                print(*rows[-1].values(), flush=True)
            pd.DataFrame(rows).to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
