"""What comedication costs il15_persistence, whose structure is that of constant rates: it is solved by steps with it.

    python tests/benchmarks/comedication_cost.py

256 sets of parameters, log-normal (log-SD 0.3) around the defaults, on 12 days from 1 to 180 after 1e6 cells/kg, in one
program: by the structure and by its finer one, by steps with a comedication that is not given, and with tocilizumab
from day 5 on, whose factor on rho is 1.3. CPU microseconds of the process with its threads, a curve (curve_us) and a
curve with its derivatives by F, rho, r, mu0, N and the factor (derivative_us): the median of five calls after a first.
solved: of the 256. apart: largest difference of ln C from the steps where nothing is given. Writes
comedication_cost.csv.
"""

import time

import jax
import numpy as np
from table import machine, shown

from cellkinetics import models
from cellkinetics.modelling.structure import Method
from cellkinetics.solving import sensitivity

SEED, SETS, LOG_SD, FACTOR, FROM = 2020, 256, 0.3, 1.3, 5.0
DAYS = np.array([1, 2, 3, 5, 7, 10, 14, 21, 28, 60, 90, 180.0])
FREE = ("F", "rho", "r", "mu0", "N")
ACTING = "tocilizumab_on_rho"


def seconds(run, *args):
    """CPU seconds of a call, the median of five after a first; and what it gives."""
    found, spent = jax.block_until_ready(run(*args)), []
    for _ in range(5):
        began = time.process_time()
        jax.block_until_ready(run(*args))
        spent.append(time.process_time() - began)
    return float(np.median(spent)), found


def main():
    plain = models.load("il15_persistence")
    acting = plain.with_(comedication={"tocilizumab": "rho"})
    rng, rows, curves = np.random.default_rng(SEED), [], {}
    moved = LOG_SD * rng.normal(size=(SETS, len(FREE)))
    cells = {"cells": 1e6}
    ways = {
        "structure": (plain, Method.STRUCTURE, cells), "finer structure": (plain, Method.FINER_STRUCTURE, cells),
        "steps": (acting, Method.EXPLICIT, cells),
        "given": (acting, Method.EXPLICIT, {**cells, "tocilizumab": [(FROM, 1)]}),
    }  # fmt: skip
    for how, (model, method, doses) in ways.items():
        names = FREE if model is plain else (*FREE, ACTING)
        values = model.values() | ({} if model is plain else {ACTING: FACTOR})
        inputs = sensitivity.inputs_of(model, values, names, DAYS, np.zeros(len(DAYS)), model.doses(doses))
        middle = np.array([model.parameters[name].to_estimation(values[name]) for name in names])
        free = middle + np.pad(moved, ((0, 0), (0, len(names) - len(FREE))))

        def value(free, how=(model, (), method), inputs=inputs):
            return sensitivity.ln_curve(*how, free, inputs)

        def slopes(free, how=(model, (), method), inputs=inputs):
            return sensitivity.evaluate(*how, free, inputs)

        alone, (curve, solved) = seconds(jax.jit(jax.vmap(value)), free)
        both, _ = seconds(jax.jit(jax.vmap(slopes)), free)
        curves[how] = np.where(np.asarray(solved)[:, None], np.asarray(curve)[:, : len(DAYS)], np.nan)
        rows.append({
            "how": how, "curve_us": 1e6 * alone / SETS, "derivative_us": 1e6 * both / SETS,
            "solved": int(np.sum(solved)), **machine(),
        })  # fmt: skip
    for row in rows:
        apart = np.nanmax(np.abs(curves[row["how"]] - curves["steps"]))
        row["apart"] = "" if row["how"] == "given" else float(apart)
    shown(__file__, rows)


if __name__ == "__main__":
    main()
