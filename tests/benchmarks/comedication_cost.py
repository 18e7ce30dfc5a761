"""What comedication costs models that are solved otherwise without it, by a structure or a closed form, and an ODE.

    python tests/benchmarks/comedication_cost.py

256 sets of parameters, log-normal (log-SD 0.3) around the defaults, on 12 days from 1 to 180 after 1e6 cells/kg, in one
program: as without comedication (of il15_persistence by the structure and by its finer one), by steps with a
comedication that is not given, and with tocilizumab from day 5 on, whose factor on rho is 1.3. CPU microseconds of the
process with its threads, a curve (curve_us) and a curve with its derivatives (derivative_us) by five or six parameters,
and by the factor where there is one: the median of five calls after a first. solved: of the 256. apart: largest
difference of ln C from the steps where nothing is given. Writes comedication_cost.csv.
"""

import time

import jax
import numpy as np
from table import machine, shown

from cellkinetics import models
from cellkinetics.modelling.structure import Method, methods
from cellkinetics.solving import sensitivity

SEED, SETS, LOG_SD, FACTOR, FROM = 2020, 256, 0.3, 1.3, 5.0
DAYS = np.array([1, 2, 3, 5, 7, 10, 14, 21, 28, 60, 90, 180.0])
FREE = {
    "il15_persistence": ("F", "rho", "r", "mu0", "N"),
    "effector_memory": ("F", "rho", "t_max", "alpha", "k_em", "beta"),
    "stein_2019_tisagenlecleucel": ("fold", "t_max", "c_max", "alpha", "f_b", "beta"),
}
ACTING = "tocilizumab_on_rho"


def seconds(run, *args):
    """CPU seconds of a call, the median of five after a first; and what it gives."""
    found, spent = jax.block_until_ready(run(*args)), []
    for _ in range(5):
        began = time.process_time()
        jax.block_until_ready(run(*args))
        spent.append(time.process_time() - began)
    return float(np.median(spent)), found


def of_model(name):
    plain, of_curve = models.load(name), FREE[name]
    acting = plain.with_(comedication={"tocilizumab": "rho"})
    rng, rows, curves = np.random.default_rng(SEED), [], {}
    moved = LOG_SD * rng.normal(size=(SETS, len(of_curve)))
    cells = {"cells": 1e6}
    without = methods(plain)[:2] if plain.structure is not None else methods(plain)[:1]
    ways = {str(method): (plain, method, cells) for method in without} | {
        "steps": (acting, Method.EXPLICIT, cells),
        "given": (acting, Method.EXPLICIT, {**cells, "tocilizumab": [(FROM, 1)]}),
    }  # fmt: skip
    for how, (model, method, doses) in ways.items():
        names = of_curve if model is plain else (*of_curve, ACTING)
        values = model.values() | ({} if model is plain else {ACTING: FACTOR})
        inputs = sensitivity.inputs_of(model, values, names, DAYS, np.zeros(len(DAYS)), model.doses(doses))
        middle = np.array([model.parameters[name].to_estimation(values[name]) for name in names])
        free = middle + np.pad(moved, ((0, 0), (0, len(names) - len(of_curve))))
        asked = (model, tuple(model.ties.items()), method)

        def value(free, asked=asked, inputs=inputs):
            return sensitivity.ln_curve(*asked, free, inputs)

        def slopes(free, asked=asked, inputs=inputs):
            return sensitivity.evaluate(*asked, free, inputs)

        alone, (curve, solved) = seconds(jax.jit(jax.vmap(value)), free)
        both, _ = seconds(jax.jit(jax.vmap(slopes)), free)
        curves[how] = np.where(np.asarray(solved)[:, None], np.asarray(curve)[:, : len(DAYS)], np.nan)
        rows.append({
            "model": name, "how": how, "curve_us": 1e6 * alone / SETS, "derivative_us": 1e6 * both / SETS,
            "solved": int(np.sum(solved)), **machine(),
        })  # fmt: skip
    for row in rows:
        apart = np.nanmax(np.abs(curves[row["how"]] - curves["steps"]))
        row["apart"] = "" if row["how"] == "given" else float(apart)
    return rows


def main():
    shown(__file__, [row for name in FREE for row in of_model(name)])


if __name__ == "__main__":
    main()
