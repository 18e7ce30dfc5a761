"""An sd of the error for each patient: how well its spread is found, and what one sd for all does in its place.

    python tests/benchmarks/own_sds.py [minutes]

Simulated two-phase declines as in population_recovery.py, 12 samples a patient, a quarter of them below the limit.
ln sd of a patient is normal about ln 0.4 with a spread of 0.5, or of 0: then all have the same. Each study is fitted
with ``common_sd=False`` and with one sd for all. bias, rmse and coverage of the 95% interval are on the ln scale of the
estimate. like_zero: share of fits whose outcome says that the spread of sds cannot be told from 0, or holds it at its
bound. lower_aic: share of studies in which AIC is lower with sds of patients' own. Studies are taken in turn until
there are 200 or the minutes are over; a row says how many. Writes own_sds.csv.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import population_recovery as recovery

import cellkinetics as ck

STUDIES = 200
DESIGNS = [(24, 0.5), (50, 0.5), (24, 0.0), (50, 0.0)]  # patients, spread of ln sd
MODEL = recovery.TWO_PHASES
BETWEEN_SDS = "sd between sd"


def main():
    recovery.EXPONENT[MODEL.name] = {}
    noise = recovery.NOISE[MODEL.name]
    ends = time.monotonic() + 60 * float(sys.argv[1] if len(sys.argv) > 1 else np.inf)
    designs = [Design(patients, spread, noise) for patients, spread in DESIGNS]
    table = pd.DataFrame()
    for number in range(STUDIES):
        for design in designs:
            if time.monotonic() < ends:
                design.one_more(number)
        table = pd.DataFrame([row for design in designs for row in design.rows()])
        table.to_csv(Path(__file__).with_suffix(".csv"), index=False, float_format="%.3g")
        if time.monotonic() > ends:
            break
    print(table.to_string(index=False))


class Design:
    """Its studies so far: for each way of fitting the tables, and what was said of the spread."""

    def __init__(self, patients, spread, noise):
        self.spread, self.noise, self.doses = spread, noise, recovery.doses_of(patients)
        self.rng = np.random.default_rng(recovery.SEED)
        pilot = np.concatenate([self.copies() for _ in range(20)])
        self.limit = float(np.quantile(pilot, 0.25))
        self.tables, self.aic, self.like_zero = {False: [], True: []}, [], []

    def copies(self):
        sds = self.noise * np.exp(self.spread * self.rng.normal(size=len(self.doses)))
        curves = recovery.copies(MODEL, self.doses, Quiet(self.rng))
        return curves * np.exp(sds[:, None] * self.rng.normal(size=curves.shape))

    def one_more(self, number):
        study = recovery.study_of(MODEL, self.doses, self.copies(), self.limit)
        fits = {
            common: ck.fit_population(MODEL, study, common_sd=common, seed=number, progress=False)
            for common in (False, True)
        }
        for common, fit in fits.items():
            self.tables[common].append(fit.parameters)
        held = fits[False].parameters.loc[BETWEEN_SDS, "status"] == "at bound"
        self.like_zero.append(held or "between-patient sd of sd cannot be told from 0" in fits[False].outcome)
        self.aic.append(fits[False].aic < fits[True].aic)

    def rows(self):
        truth = recovery.truth_of(MODEL) | ({BETWEEN_SDS: np.log(self.spread)} if self.spread else {})
        for common, tables in self.tables.items():
            for label in [name for name in truth if tables and name in tables[0].index]:
                found = np.array([table.loc[label, ["estimate", "estimate_stderr"]] for table in tables], float)
                away, known = found[:, 0] - truth[label], np.isfinite(found[:, 1])
                yield {
                    "patients": len(self.doses), "spread_of_sds": self.spread, "common_sd": common, "what": label,
                    "truth": truth[label], "bias": away.mean(),
                    "monte_carlo_error": away.std(ddof=1) / np.sqrt(len(away)) if len(away) > 1 else np.nan,
                    "rmse": np.sqrt(np.mean(away**2)),
                    "coverage": pd.Series(np.abs(away)[known] < recovery.NORMAL * found[known, 1]).mean(),
                    "like_zero": np.mean(self.like_zero), "lower_aic": np.mean(self.aic), "studies": len(away),
                    "seed": recovery.SEED,
                }  # fmt: skip


class Quiet:
    """Random numbers of parameters alone: samples lie on their curves."""

    def __init__(self, rng):
        self.rng = rng

    def normal(self, size=None):
        return self.rng.normal() if size is None else np.zeros(size)


if __name__ == "__main__":
    main()
