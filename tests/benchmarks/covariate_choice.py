"""How often `choose_covariates` finds a covariate that matters, and how often one that does not.

    python tests/benchmarks/covariate_choice.py

Simulated studies of lines ln C = ln c - k t, samples on days 1, 3, 7, 14, 21 and 28, noise 0.3 on the ln scale, limit 5
copies/ug, a third of the patients each at 1e5, 1e6 and 1e7 cells/kg; c varies by 0.6 (ln scale) and follows dose to the
power of the column, k varies by 0.03. Candidates of c: the dose, and three that do nothing: age, weight and an arm.

dose: share of the studies in which the dose is chosen. each_other: of the three that do nothing, the share chosen, a
covariate. Both with a Monte Carlo error. chi_squared: what that share is where twice the difference of log-likelihoods
is chi-squared and each is looked at by itself, P(chi-squared > ln patients); so is dose at a power of 0. undecided:
studies with a note. fits: of a study, the mean. seconds: wall time of a study, the median. Writes covariate_choice.csv.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import special

import cellkinetics as ck

sys.path.insert(0, str(Path(__file__).parents[1] / "population"))

import populations

SEED, STUDIES = 2020, 60
DAYS = np.array([1.0, 3, 7, 14, 21, 28])
DESIGNS = [(24, 0.0), (24, 0.25)]  # patients, power of the dose
NOTHING = ("age", "weight", "arm")
MODEL = populations.line()


def study_of(patients, power, rng):
    doses = np.resize([1e5, 1e6, 1e7], patients)
    ln_c = np.log(300.0) + power * np.log(doses / 1e6) + 0.6 * rng.normal(size=patients)
    k = 0.1 + 0.03 * rng.normal(size=patients)
    columns = {
        "age": rng.normal(60, 10, patients), "weight": rng.normal(75, 12, patients),
        "arm": rng.permutation(np.resize(["A", "B"], patients)), "SIMULATED": np.ones(patients),
    }  # fmt: skip
    ln_f = ln_c[:, None] - k[:, None] * DAYS
    return populations.study_of(ln_f, DAYS, 0.3, rng, doses=doses, limit=5.0, columns=columns)


def chosen(patients, power, number):
    rng = np.random.default_rng([SEED, patients, round(100 * power), number])
    study, began = study_of(patients, power, rng), time.perf_counter()
    choice = ck.choose_covariates(MODEL, study, {"c": ["dose", *NOTHING]}, progress=False)
    taken = choice.chosen.get("c", [])
    return {
        "dose": "dose" in taken, "others": sum(name in taken for name in NOTHING),
        "undecided": choice.outcome != "ended", "fits": choice.steps["bicc"].nunique(),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def row_of(patients, power, studies=STUDIES):
    table = pd.DataFrame(Parallel(n_jobs=2)(delayed(chosen)(patients, power, number) for number in range(studies)))
    dose, other = table["dose"].mean(), table["others"].mean() / len(NOTHING)
    return {
        "patients": patients, "power": power, "studies": len(table), "dose": f"{dose:.2f}",
        "dose_error": f"{np.sqrt(dose * (1 - dose) / len(table)):.2f}", "each_other": f"{other:.3f}",
        "each_other_error": f"{table['others'].std() / len(NOTHING) / np.sqrt(len(table)):.3f}",
        "chi_squared": f"{special.chdtrc(1, np.log(patients)):.3f}", "undecided": int(table["undecided"].sum()),
        "fits": f"{table['fits'].mean():.1f}", "seconds": f"{table['seconds'].median():.1f}",
    }  # fmt: skip


if __name__ == "__main__":
    rows = []
    for design in DESIGNS:
        rows.append(row_of(*design))
        print(rows[-1], flush=True)
        pd.DataFrame(rows).to_csv(Path(__file__).with_suffix(".csv"), index=False)
