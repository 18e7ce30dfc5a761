"""How far the curves of il15_persistence are from scipy at rtol 1e-10, on 1,000 random sets of parameters.

    python tests/benchmarks/solver_accuracy.py

Every positive parameter is drawn log-normally (log-SD 0.3) around its default and kept within its bounds; dose 1e6
cells/kg, days 0 to 365. The error is relative, where the curve is above 1e-3 copies/ug, and the largest over the days.
The reference is LSODA; where the explicit stepper did not finish or LSODA failed, Radau in (ln E, 1 - M/N). Both are
the general steppers, which il15_persistence needs only where its own solution cannot be used.
Writes solver_accuracy.csv.
"""

import os
import platform
import runpy
import time
from datetime import date
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy

import cellkinetics
from cellkinetics import models
from cellkinetics.solving import solver

SEED, DRAWS, LOG_SD, DOSE = 2020, 1000, 0.3, 1e6
DAYS = np.array([0, 1, 3, 7, 10, 14, 21, 28, 60, 180, 365.0])
VISIBLE = 1e-3
RADAU = 20
MODEL = models.load("il15_persistence")
REFERENCE = Path(__file__).parents[1] / "reference"
COPIES = runpy.run_path(str(REFERENCE / "il15_numpy.py"))["copies"]
BY_FREE_NICHE = runpy.run_path(str(REFERENCE / "il15_events.py"))["copies_by_free_niche"]


def draws():
    """{name: value} of each draw."""
    rng = np.random.default_rng(SEED)
    positive = [name for name, parameter in MODEL.parameters.items() if parameter.value > 0]
    factors = np.exp(LOG_SD * rng.normal(size=(DRAWS, len(positive))))
    for row in factors:
        values = MODEL.values()
        for name, factor in zip(positive, row, strict=True):
            parameter = MODEL.parameters[name]
            values[name] = float(np.clip(parameter.value * factor, parameter.min, parameter.max))
        yield values


def stepper(implicit):
    """The compiled stepper of the library: values -> (copies/ug, solved)."""

    def run(values):
        curves, solved = solver.solve_ode(MODEL, jnp.asarray(DAYS), values, MODEL.doses(DOSE), stiff=implicit)
        return curves["copies_per_ug"], solved

    return jax.jit(run)


def relative(curve, expected):
    """The largest relative error where the curve is visible."""
    seen = expected > VISIBLE
    return float(np.max(np.abs(curve[seen] / expected[seen] - 1)))


def errors():
    """One row a draw: which stepper solved it ("" for none), its largest error, its time, LSODA's time."""
    explicit, implicit = stepper(False), stepper(True)
    for run in (explicit, implicit):
        jax.block_until_ready(run(MODEL.values()))
    rows = []
    for number, values in enumerate(draws()):
        began = time.perf_counter()
        by = "explicit"
        curve, solved = explicit(values)
        if not solved:
            by = "implicit"
            curve, solved = implicit(values)
        curve = np.asarray(curve)
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        lsoda = COPIES(DAYS, values, cells=((0.0, DOSE),))
        row = {"draw": number, "by": by if solved else "", "finite": bool(np.all(np.isfinite(curve)))}
        row |= {"seconds": seconds, "lsoda_seconds": time.perf_counter() - began, "lsoda": lsoda is not None}
        stiff = by != "explicit" or lsoda is None
        expected = BY_FREE_NICHE(DAYS, values, DOSE) if stiff else lsoda
        row |= {"stiff": stiff, "error": relative(curve, expected) if solved else np.nan}
        if stiff and lsoda is not None:
            row["lsoda_error"] = relative(lsoda, expected)
        if number < RADAU and lsoda is not None:
            radau = COPIES(DAYS, values, cells=((0.0, DOSE),), method="Radau")
            row["lsoda_error_radau"] = relative(lsoda, radau)
        rows.append(row)
    return pd.DataFrame(rows)


def summary(table):
    """What the table says, as (quantity, value) rows."""
    error = table["error"].dropna()
    explicit, implicit = table.loc[table["by"] == "explicit"], table.loc[table["by"] == "implicit"]
    unsolved = table["by"] == ""
    found = {
        "draws": len(table),
        "error_median": error.median(),
        "error_p99": error.quantile(0.99),
        "error_max": error.max(),
        "error_p99_explicit": explicit["error"].quantile(0.99),
        "error_p99_implicit": implicit["error"].quantile(0.99),
        "explicit_did_not_finish": len(table) - len(explicit),
        "of_these_solved_implicitly": len(implicit),
        "unsolved_and_flagged": int(unsolved.sum()),
        "unsolved_yet_finite": int((unsolved & table["finite"]).sum()),
        "solved_yet_not_finite": int((~unsolved & ~table["finite"]).sum()),
        "solved_with_error_above_1e-3": int((error > 1e-3).sum()),
        "lsoda_failed": int((~table["lsoda"]).sum()),
        f"lsoda_against_radau_max_of_{RADAU}": table["lsoda_error_radau"].max(),
        "lsoda_against_radau_median_of_stiff": table["lsoda_error"].median(),
        "lsoda_off_by_more_than_1e-6": int((table["lsoda_error"] > 1e-6).sum()),
        "milliseconds_explicit_median": 1e3 * explicit["seconds"].median(),
        "milliseconds_rescued_median": 1e3 * implicit["seconds"].median(),
        "milliseconds_lsoda_median": 1e3 * table["lsoda_seconds"].median(),
        "seed": SEED,
        "log_sd": LOG_SD,
        "date": date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "versions": f"cellkinetics {cellkinetics.__version__}, jax {jax.__version__}, "
        f"scipy {scipy.__version__}, Python {platform.python_version()}",
    }
    texts = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in found.items()}
    return pd.DataFrame({"quantity": list(texts), "value": list(texts.values())})


if __name__ == "__main__":
    result = summary(errors())
    result.to_csv(Path(__file__).with_suffix(".csv"), index=False)
    print(result.to_string(index=False))
