"""Which error model AIC picks, and how often 95% intervals hold the truth, by the error model that was simulated.

    python tests/benchmarks/error_models.py

50 patients a row of nk_decline (F 0.004, alpha 0.4, f_b 0.05, beta 0.01, 1e6 cells/kg), 16 or 32 samples at even
steps of ln(day) from day 1 to 100, lower limit 60 copies/ug, 0.03 ug of DNA a sample (the limit is two molecules). One
start. Sds: log 0.5, proportional 0.4, combined 40 copies/ug and 0.2, student 0.3, counting 0.3. All of it was fixed
before the first run. `alpha`, `beta`: coverage under the error model that was simulated, of those patients whose fit
gives an interval (`intervals`, of alpha). `log_alpha`, `log_beta`: coverage of the same patients fitted with the
log-normal. The other columns count patients for whom that error model has the lowest AIC. Writes error_models.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from table import machine

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.likelihood.error_models import of

PATIENTS, SEED, DOSE, LIMIT, MASS = 50, 2020, 1e6, 60.0, 0.03
TRUTH = {"F": 4e-3, "alpha": 0.4, "f_b": 0.05, "beta": 0.01}
SDS = {"log": (0.5,), "proportional": (0.4,), "combined": (40.0, 0.2), "student": (0.3,), "counting": (0.3,)}
model = models.load("nk_decline")


def simulated(error, days, rng):
    """A study of patients who share their curve."""
    exact = np.asarray(model.solve(days, TRUTH, DOSE)["copies_per_ug"])
    sds, mass = np.tile(np.array(SDS[error])[:, None], len(days)), np.full(len(days), MASS)
    tables = []
    for number in range(PATIENTS):
        copies = of(error).drawn(exact, sds, mass, np.bool_(False), rng)
        shown = [f"<{LIMIT:g}" if copy < LIMIT else copy for copy in copies]
        tables.append(pd.DataFrame({"subject": f"S{number}", "day": days, "copies_per_ug": shown, "dose": DOSE}))
    return ck.read_study(pd.concat(tables), lloq=LIMIT, dna_ug=MASS)


def coverage(fits, name):
    """Share of intervals that hold the truth, and how many there are."""
    rows = [fit.parameters.loc[name] for fit in fits.values()]
    inside = [row["lower"] <= TRUTH[name] <= row["upper"] for row in rows if np.isfinite(row["lower"])]
    return float(np.mean(inside)), len(inside)


rows = []
for samples in (16, 32):
    rng = np.random.default_rng(SEED)
    for truth in SDS:
        study = simulated(truth, np.geomspace(1.0, 100.0, samples), rng)
        fits = {error: ck.fit_each(model, study, error=error, starts=1, progress=False) for error in SDS}
        aic = pd.DataFrame({error: {s: fit.aic for s, fit in own.items()} for error, own in fits.items()})
        alpha, intervals = coverage(fits[truth], "alpha")
        row = {"simulated": truth, "samples": samples, "below_limit": study.counts["below"] / (samples * PATIENTS)}
        row |= {"alpha": alpha, "beta": coverage(fits[truth], "beta")[0], "intervals": intervals}
        row |= {"log_alpha": coverage(fits["log"], "alpha")[0], "log_beta": coverage(fits["log"], "beta")[0]}
        rows.append(row | {error: int((aic.idxmin(axis=1) == error).sum()) for error in SDS})
        print(rows[-1], flush=True)
pd.DataFrame(rows).round(3).assign(**machine()).to_csv(Path(__file__).with_suffix(".csv"), index=False)
