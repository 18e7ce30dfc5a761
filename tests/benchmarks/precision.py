"""What single precision and fast math would save of the structured solve, and what they cost in digits.

    python tests/benchmarks/precision.py

ln f of il15_persistence with its slopes by all free parameters, for 64 **simulated** patients of batch_fit.py in one
program, at the starting values: on the mesh of a fit and on the rougher one that batches search on, in double
precision, with the compiler's fast math, which takes NaN and infinity for numbers, and in single precision. Processor
time a patient, the median of 31 calls that take turns, the ratio to double precision on the same mesh, and the largest
difference of ln f from double precision on the finer mesh. Fast math is a flag of a whole process: it has one of its
own, with its own double precision before it without the flag. Writes precision.csv.
"""

import io
import os
import statistics
import subprocess
import sys
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
WAYS = {"double": np.float64, "single": np.float32}
HONOURED = [f"--xla_cpu_fast_math_honor_{what}=false" for what in ("nans", "infs", "division", "functions")]
FAST = " ".join(["--xla_cpu_enable_fast_math=true", *HONOURED])


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
        inputs = stacking.prepared_with(double, problems, method.fineness or 0).inputs
        runs, curves = {}, {}
        for name, kind in WAYS.items():
            runs[name] = compiled(model, method, kind, (at, inputs))
            curves[name] = np.asarray(runs[name]()[0], float)
        took = {name: [] for name in WAYS}
        for _ in range(CALLS):
            for name, run in runs.items():
                took[name].append(1e6 * timed(run)[2] / PATIENTS)
        exact = exact if found else curves["double"]
        middle = {name: statistics.median(each) for name, each in took.items()}
        found += [
            {"mesh": mesh, "precision": name, "cpu_us": f"{us:.3g}", "ratio": f"{us / middle['double']:.2f}",
             "largest_difference": f"{np.abs(curves[name] - exact).max():.1e}"} | machine()
            for name, us in middle.items()
        ]  # fmt: skip
    return found


def compiled(model, method, kind, given):
    """The function () -> curves and slopes, in one precision."""
    with jax.enable_x64(kind is np.float64):
        given = jax.tree.map(lambda part: as_kind(part, kind), given)
        run = jax.jit(jax.vmap(lambda x, each: evaluate(model, (), method, x, each)), compiler_options=OPTIONS)

    def once():
        with jax.enable_x64(kind is np.float64):
            return jax.block_until_ready(run(*given))

    return once


def as_kind(part, kind):
    """Numbers that are not whole, in another precision."""
    array = np.asarray(part)
    with np.errstate(over="ignore"):
        return array.astype(kind) if array.dtype.kind == "f" else array


def fast_math(plain):
    """The rows of a process with the flag, beside the table of one without."""
    environment = {**os.environ, "XLA_FLAGS": FAST, "CELLKINETICS_CACHE": "off"}
    told = subprocess.run([sys.executable, __file__, "told"], env=environment, check=True, stdout=subprocess.PIPE)
    rows = pd.read_json(io.BytesIO(told.stdout), dtype=False).query("precision == 'double'")
    rows = rows.assign(precision="double, fast math", largest_difference="")
    doubles = plain.query("precision == 'double'").set_index("mesh")["cpu_us"].astype(float)
    return rows.assign(
        ratio=[f"{float(us) / doubles[mesh]:.2f}" for mesh, us in zip(rows.mesh, rows.cpu_us, strict=True)]
    )


if __name__ == "__main__":
    table = pd.DataFrame(rows())
    if sys.argv[1:] == ["told"]:
        print(table.to_json(orient="records"))
    else:
        table = pd.concat([table, fast_math(table)])
        print(table.iloc[:, :5].to_string(index=False))
        table.to_csv(FILE, index=False)
