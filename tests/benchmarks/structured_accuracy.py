"""How far the structured solve of il15_persistence is from a fine reference, and what it costs, on random parameters.

    python tests/benchmarks/structured_accuracy.py

All 18 parameters are drawn log-normally around their defaults (log-SD 0.5 and 1; gamma_M around 0.02 a day) and kept
within their bounds; 1e6 cells/kg at day 0, days 0 to 365. The error is |ln C - ln reference| where the curve is above
1e-3 copies/ug, the largest over the days. The reference is the same map on steps three times finer than the finest,
with 12 nodes; it is itself compared with scipy's Radau in (ln E, 1 - M/N) on random draws and on the hardest ones.

Sensitivities are d ln C / d ln parameter; their error is relative to 1 + the reference's size, the largest over days
and parameters. Of the escalated solve every draw is taken from the first fineness that calls it fine.

Times are of 1,000 vmapped draws and 15 observations, beside scipy's LSODA in the same run. Writes
structured_accuracy.csv.
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
from cellkinetics.solving import mesh as meshes
from cellkinetics.solving import structured
from cellkinetics.solving.panel import LARGEST

SEED, DRAWS, DOSE = 2020, 1000, 1e6
LOG_SDS = (0.5, 1.0)
LEVELS = (0, 1, 2)
DAYS = np.array([0, 1, 3, 7, 10, 14, 21, 28, 60, 180, 365.0])
TIMED_DAYS = np.array([0, 0.5, 1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 180, 365.0])
VISIBLE = 1e-3
RADAU_RANDOM, RADAU_HARDEST, LSODA = 60, 20, 20
MODEL = models.load("il15_persistence")
REFERENCE = Path(__file__).parents[1] / "reference"
LSODA_COPIES = runpy.run_path(str(REFERENCE / "il15_numpy.py"))["copies"]
RADAU_COPIES = runpy.run_path(str(REFERENCE / "il15_events.py"))["copies_by_free_niche"]
DOSES = MODEL.doses(DOSE)


def draws(log_sd):
    """(1000, 18) parameters."""
    values = MODEL.values({"gamma_M": 0.02})
    limits = np.array([(MODEL.parameters[name].min, MODEL.parameters[name].max) for name in structured.NAMES])
    factors = np.exp(log_sd * np.random.default_rng(SEED).normal(size=(DRAWS, len(structured.NAMES))))
    return np.clip([float(values[name]) for name in structured.NAMES] * factors, *limits.T)


def solve(parameters, fineness):
    """C, whether fine, and d ln C / d ln parameters of all draws."""
    on = meshes.mesh(DAYS, DOSES, fineness)
    run = jax.jit(jax.vmap(lambda one: structured.copies(one, on, fineness)))
    lean = jax.jit(jax.vmap(lambda one: structured.ln_curve(one, on, fineness)))
    curve, _ = map(np.asarray, run(parameters))
    _, jacobian, fine = map(np.asarray, lean(parameters))
    return curve, fine, jacobian * parameters[:, None, :]


def reference(parameters):
    """The same on a mesh three times finer than the finest."""
    steps, nodes = meshes.PANEL_STEPS, structured.NODES
    meshes.PANEL_STEPS, structured.NODES = ((*steps[:2], (0.02, 0.01))), (*nodes[:2], 12)
    try:
        return solve(parameters, 2)
    finally:
        meshes.PANEL_STEPS, structured.NODES = steps, nodes


def log_error(curve, expected):
    """(draws,) the largest |ln C - ln expected| where expected is visible."""
    seen = expected > VISIBLE
    off = np.abs(np.log(np.where(seen, curve, 1.0)) - np.log(np.where(seen, expected, 1.0)))
    return off.max(axis=-1)


def slope_error(slopes, expected, curve):
    """(draws,) the largest error of d ln C / d ln parameter where the curve is visible, against 1 + its size."""
    off = np.abs(slopes - expected) / (1 + np.abs(expected))
    return np.where((curve > VISIBLE)[:, :, None], off, 0.0).max(axis=(1, 2))


def quantiles(prefix, off):
    """Median, p99 and largest."""
    if not len(off):
        return {}
    return {
        f"{prefix}_{name}": q
        for name, q in zip(("median", "p99", "max"), np.quantile(off, (0.5, 0.99, 1)), strict=True)
    }


def accuracy(log_sd):
    """What the draws of one log-SD say."""
    parameters = draws(log_sd)
    expected, sure, expected_slopes = reference(parameters)
    bounded = expected.max(axis=1) < LARGEST * 1e-8
    found = {"draws": DRAWS, "reference_beyond_all_bounds": int((~bounded).sum())}
    curve, slopes, first = np.full_like(expected, np.nan), np.full_like(expected_slopes, np.nan), np.full(DRAWS, 9)
    for level in (*LEVELS, structured.ROUGH):
        at_level, fine, at_slopes = solve(parameters, level)
        off, off_slopes = log_error(at_level, expected), slope_error(at_slopes, expected_slopes, expected)
        found |= quantiles(f"fineness_{level}_error_of_all", off[bounded])
        found |= quantiles(f"fineness_{level}_error_of_fine", off[fine])
        found |= quantiles(f"fineness_{level}_slope_error_of_fine", off_slopes[fine])
        found |= {
            f"fineness_{level}_fine": int(fine.sum()),
            f"fineness_{level}_fine_with_error_above_1e-3": int((fine & (off > 1e-3)).sum()),
            f"fineness_{level}_fine_with_slope_error_above_1e-2": int((fine & (off_slopes > 1e-2)).sum()),
            f"fineness_{level}_flagged_with_error_below_1e-6": int((~fine & bounded & (off < 1e-6)).sum()),
            f"fineness_{level}_not_finite": int(
                (~np.isfinite(at_level).all(1) | ~np.isfinite(at_slopes).all((1, 2))).sum()
            ),
        }
        # With the roughest, 3, one only searches.
        new = fine & (first == 9) & (level != structured.ROUGH)
        curve[new], slopes[new], first[new] = at_level[new], at_slopes[new], level
    solved = first < 9
    off = log_error(curve[solved], expected[solved])
    found |= {"escalated_flagged_at_the_end": int((~solved).sum())}
    found |= quantiles("escalated_error", off)
    found |= quantiles("escalated_slope_error", slope_error(slopes[solved], expected_slopes[solved], expected[solved]))
    return found | against_radau(parameters, expected, sure & bounded, first)


def against_radau(parameters, expected, sure, first):
    """The reference beside Radau: random draws, and ones that needed the finest mesh."""
    rng = np.random.default_rng(SEED)
    usual, hardest = np.flatnonzero(sure), np.flatnonzero(sure & (first >= 2))
    chosen = {"random": rng.choice(usual, RADAU_RANDOM, replace=False)}
    chosen["hardest"] = rng.choice(hardest, min(RADAU_HARDEST, len(hardest)), replace=False)
    found = {}
    for name, rows in chosen.items():
        off = [
            log_error(
                expected[row], RADAU_COPIES(DAYS, dict(zip(structured.NAMES, parameters[row], strict=True)), DOSE)
            )
            for row in rows
        ]
        found |= {f"reference_against_radau_{name}": len(off)}
        found |= quantiles(f"reference_against_radau_{name}_error", np.array(off))
    return found


def microseconds(run, parameters):
    """Compile time in s, and wall and processor time of one of the draws, the best of 10 runs."""
    began = time.perf_counter()
    compiled = jax.jit(run).lower(parameters).compile()
    compiling = time.perf_counter() - began
    jax.block_until_ready(compiled(parameters))
    best = (np.inf, np.inf)
    for _ in range(10):
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(parameters))
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
    return {"compile_s": compiling, "wall_us": 1e6 * best[0] / DRAWS, "processor_us": 1e6 * best[1] / DRAWS}


def times():
    """Microseconds a draw, vmapped, 15 observations, each with the estimate of its error."""
    parameters = jnp.asarray(draws(0.5))
    found = {}
    for level in (*LEVELS, structured.ROUGH):
        on = meshes.mesh(TIMED_DAYS, DOSES, level)
        found[f"fineness_{level}_panels"] = len(on.length)
        runs = {
            "solve": lambda one, on=on, level=level: structured.copies(one, on, level),
            "sensitivities": lambda one, on=on, level=level: structured.ln_curve(one, on, level),
        }
        if level == 0:
            runs["jacfwd_plain"] = jax.jacfwd(lambda one, on=on: structured._copies(one, on, 0)[0])
        for name, run in runs.items():
            measured = microseconds(jax.vmap(run), parameters)
            found |= {f"fineness_{level}_{name}_{what}": value for what, value in measured.items()}
    spent = []
    for row in np.asarray(parameters[:LSODA]):
        began = time.perf_counter()
        LSODA_COPIES(TIMED_DAYS, dict(zip(structured.NAMES, row, strict=True)), cells=((0.0, DOSE),))
        spent.append(time.perf_counter() - began)
    return found | {"lsoda_us_median": 1e6 * float(np.median(spent))}


if __name__ == "__main__":
    rows = [("times", name, value) for name, value in times().items()]
    for log_sd in LOG_SDS:
        rows += [(f"log-SD {log_sd}", name, value) for name, value in accuracy(log_sd).items()]
    about = {
        "seed": SEED,
        "date": date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[1]:.1f} by all that ran",
        "versions": f"cellkinetics {cellkinetics.__version__}, jax {jax.__version__}, scipy {scipy.__version__}, "
        f"Python {platform.python_version()}",
    }
    rows += [("run", name, value) for name, value in about.items()]
    table = pd.DataFrame(rows, columns=["of", "quantity", "value"])
    table["value"] = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in table["value"]]
    table.to_csv(Path(__file__).with_suffix(".csv"), index=False)
    print(table.to_string(index=False))
