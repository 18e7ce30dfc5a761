"""How often a dose that does nothing is found to do something, in a population.

    python tests/benchmarks/population_size.py

Simulated two-phase declines as in population_recovery.py, 12 samples a patient, with no effect of the dose and a
quarter of the samples below the limit: 11 patients in cohorts of 3, 4 and 4, and 24 in cohorts of 8. The dose is put
on the level of the first phase (a:dose); all four parameters vary. lr: share of studies whose likelihood ratio has p at
most 0.05 by chi-squared; wald: whose 95% interval leaves out 0; permutation: p of the permutation of scores at most
0.05. smallest_p: the mean of the smallest possible one. The Monte Carlo error of a share of 5% is below.
Writes population_size.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import population_recovery as recovery

from cellkinetics.cohorts.through_population import through_population

STUDIES = 40
DESIGNS = [np.repeat([1e5, 1e6, 1e7], [3, 4, 4]), np.repeat([1e5, 1e6, 1e7], 8)]
MODEL = recovery.TWO_PHASES


def main():
    rows = []
    recovery.EXPONENT[MODEL.name] = {}
    for doses in DESIGNS:
        recovery.PATIENTS, recovery.DOSES = len(doses), doses
        rng = np.random.default_rng(recovery.SEED)
        pilot = np.concatenate([recovery.copies(MODEL, rng) for _ in range(20)])
        limit, found = float(np.quantile(pilot, 0.25)), []
        for number in range(STUDIES):
            study = recovery.study_of(MODEL, recovery.copies(MODEL, rng), limit)
            asked = {"model": MODEL, "covariates": {"a": "dose"}}
            (row,) = through_population(study, "dose", asked, seed=number, progress=False).table.to_dict("records")
            found.append(row | {"wald": row["lower"] > 0 or row["upper"] < 0})
        table = pd.DataFrame(found)
        rows.append(
            {
                "patients": len(doses), "studies": STUDIES, "lr": np.mean(table["p_lr"] <= 0.05),
                "wald": table["wald"].mean(), "permutation": np.mean(table["p"] <= 0.05),
                "smallest_p": table["smallest_p"].mean(), "mean_lr": table["lr"].mean(),
                "monte_carlo_error": np.sqrt(0.05 * 0.95 / STUDIES), "seed": recovery.SEED,
            }
        )  # fmt: skip
        print(pd.DataFrame(rows).to_string(index=False), flush=True)
        pd.DataFrame(rows).to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.3g")


if __name__ == "__main__":
    main()
