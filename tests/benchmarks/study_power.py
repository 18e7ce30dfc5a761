"""What cohorts of 3, 4 and 4 patients can find and show at 1e5, 1e6 and 1e7 cells/kg: a table by `power`.

    python tests/benchmarks/study_power.py

Simulated: il15_persistence with the spread between patients and the nominal days of ``ck.example()``, limit 3
copies/ug, residual SD 0.5, margin twofold, 1,000 studies of each of seven numbers of patients. "as the model": the
dose acts as there (peak in proportion to it, late levels less than twofold). "no effect": F falls with the dose, so
that nothing depends on it, and what is found is a false positive. Writes study_power.csv.
"""

from pathlib import Path

import pandas as pd

import cellkinetics as ck

DOSES, SIZES = [1e5, 1e6, 1e7], [3, 4, 4]
DAYS = [1, 3, 7, 10, 14, 21, 28, 42, 60, 90, 120, 180, 270, 365]
BETWEEN = {"F": 0.5, "rho": 0.06, "r": 0.1, "mu0": 0.3, "N": 0.4}
EFFECTS = {"as the model": {}, "no effect": {"F": -1.0}}

tables = []
for truth, effect in EFFECTS.items():
    found = ck.power(
        ck.models.load("il15_persistence"), DOSES, SIZES, DAYS, effect=effect, between=BETWEEN, lloq=3.0,
        days=[21, 28, 90, 180, 365],
    )  # fmt: skip
    print(f"\n{truth}\n{found.summary()}")
    wide = found.table.pivot_table(index=["window", "question"], columns="patients", values="power", sort=False)
    wide.columns = [f"power_{n}" for n in wide.columns]
    base = found.table[found.table["patients"] == sum(SIZES)].set_index(["window", "question"])
    wide = wide.join(base[["not_estimable", "studies"]]).join(found.needed.set_index(["window", "question"]))
    tables.append(wide.reset_index().join(found.truth, on="window").assign(truth=truth, seed=found.seed))
table = pd.concat(tables)
columns = ["truth", "window", "exponent", "share_below", "question"]
powers = [name for name in table if name.startswith("power_")]
columns += [*powers, "patients", "lower", "upper", "not_estimable", "studies", "seed"]
table = table[columns].rename(columns={"patients": "n_80", "lower": "n_80_lower", "upper": "n_80_upper"})
table.to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.4g")
