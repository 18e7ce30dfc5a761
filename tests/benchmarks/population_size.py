"""How often a dose that does nothing is found to do something, in a population.

    python tests/benchmarks/population_size.py [minutes]

Simulated two-phase declines as in population_recovery.py, 12 samples a patient, with no effect of the dose and a
quarter of the samples below the limit: 11 patients in cohorts of 3, 4 and 4, and 24 in cohorts of 8. The dose is put
on the level of the first phase (a:dose); all four parameters vary. lr: share of studies whose likelihood ratio has p at
most 0.05 by chi-squared; wald: whose 95% interval leaves out 0; permutation: p of the permutation of scores at most
0.05. smallest_p: the mean of the smallest possible one. The Monte Carlo error of a share of 5% is below.
Studies are taken in turn until there are 200 or the minutes are over; a row says how many. Writes population_size.csv.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import population_recovery as recovery

from cellkinetics.cohorts.through_population import through_population

STUDIES = 200
PATIENTS = (11, 24)
MODEL = recovery.TWO_PHASES


def main():
    recovery.EXPONENT[MODEL.name] = {}
    ends = time.monotonic() + 60 * float(sys.argv[1] if len(sys.argv) > 1 else np.inf)
    designs = []
    for patients in PATIENTS:
        doses, rng = recovery.doses_of(patients), np.random.default_rng(recovery.SEED)
        designs.append((doses, rng, recovery.limit_of(MODEL, doses, 0.25, rng), []))
    for number in range(STUDIES):
        if time.monotonic() > ends:
            break
        for doses, rng, limit, found in designs:
            study = recovery.study_of(MODEL, doses, recovery.copies(MODEL, doses, rng), limit)
            asked = {"model": MODEL, "covariates": {"a": "dose"}}
            (row,) = through_population(study, "dose", asked, seed=number, progress=False).table.to_dict("records")
            found.append(row | {"wald": row["lower"] > 0 or row["upper"] < 0})
        rows = [row_of(doses, pd.DataFrame(found)) for doses, _, _, found in designs]
        print(pd.DataFrame(rows).to_string(index=False), flush=True)
        pd.DataFrame(rows).to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.3g")


def row_of(doses, table):
    return {
        "patients": len(doses), "studies": len(table), "lr": np.mean(table["p_lr"] <= 0.05),
        "wald": table["wald"].mean(), "permutation": np.mean(table["p"] <= 0.05),
        "smallest_p": table["smallest_p"].mean(), "mean_lr": table["lr"].mean(),
        "monte_carlo_error": np.sqrt(0.05 * 0.95 / len(table)), "seed": recovery.SEED,
    }  # fmt: skip


if __name__ == "__main__":
    main()
