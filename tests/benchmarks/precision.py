"""What single precision would save of the structured solve, and what it costs in digits.

    python tests/benchmarks/precision.py

ln f of il15_persistence with its slopes by all free parameters, for 64 **simulated** patients of batch_fit.py in one
program, at the starting values: on the mesh of a fit and on the rougher one that batches search on, in double and in
single precision. Processor time a patient, the median of 31 calls, the ratio to double precision on the same mesh, and
the largest difference of ln f from double precision on the finer mesh. Writes precision.csv.
"""

import statistics
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from batch_fit import simulated, timed
from table import machine

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.modelling.structure import methods, searching
from cellkinetics.optimising import stacking
from cellkinetics.optimising.cases import prepare_each
from cellkinetics.optimising.request import Request
from cellkinetics.solving.sensitivity import evaluate

FILE, PATIENTS, CALLS = Path(__file__).with_suffix(".csv"), 64, 31
OPTIONS = {"xla_cpu_use_fusion_emitters": False}  # as the library compiles


def rows():
    """Lines of the table."""
    model = models.load("il15_persistence")
    table, limit = simulated(model, PATIENTS)
    cases = list(prepare_each(Request.of(model, starts=1), ck.read_study(table, lloq=limit)).values())
    shape = stacking.shape_of(cases[0].problem)
    cases = [case for case in cases if stacking.shape_of(case.problem) == shape]
    problems = [case.problem for case in cases]
    at = np.zeros((PATIENTS, shape[1]))
    for row, case in enumerate(cases):
        at[row, : len(case.problem.free)] = case.problem.start(case.initial)[: len(case.problem.free)]
    double, found = stacking.stacked(problems, shape, PATIENTS), []
    exact = np.nan
    for mesh, method in (("of a fit", methods(model)[0]), ("of a search", searching(model, methods(model)[0]))):
        inputs, first = stacking.prepared_with(double, problems, method.fineness or 0).inputs, None
        for kind in (np.float64, np.float32):
            with jax.enable_x64(kind is np.float64):
                given = jax.tree.map(lambda part, kind=kind: as_kind(part, kind), (at, inputs))
                run = jax.jit(
                    jax.vmap(lambda x, each, method=method: evaluate(model, (), method, x, each)),
                    compiler_options=OPTIONS,
                )
                curve = np.asarray(jax.block_until_ready(run(*given))[0], float)
                took = [timed(lambda run=run, given=given: jax.block_until_ready(run(*given)))[2] for _ in range(CALLS)]
            microseconds = 1e6 * statistics.median(took) / PATIENTS
            first, exact = first or microseconds, exact if found else curve
            found.append(
                {
                    "mesh": mesh,
                    "precision": "double" if kind is np.float64 else "single",
                    "cpu_us": f"{microseconds:.3g}",
                    "ratio": f"{microseconds / first:.2f}",
                    "largest_difference": f"{np.abs(curve - exact).max():.1e}",
                }
                | machine()
            )
    return found


def as_kind(part, kind):
    """Numbers that are not whole, in another precision."""
    array = np.asarray(part)
    with np.errstate(over="ignore"):
        return array.astype(kind) if array.dtype.kind == "f" else array


if __name__ == "__main__":
    table = pd.DataFrame(rows())
    print(table.iloc[:, :5].to_string(index=False))
    table.to_csv(FILE, index=False)
