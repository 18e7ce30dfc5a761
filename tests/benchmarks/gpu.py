"""Batches on JAX's default device beside the CPU of the same machine.

    python tests/benchmarks/gpu.py [1000 10000 ...] [--models il15_persistence own_ode ...] [--both-on-cpu]

**Simulated** patients: il15_persistence and Stein as batch_fit.py draws them, and an own ODE of three states
(patients.py; five free parameters, log-SD 0.3, residual SD 0.5), 15 samples, 30% below the limit. 1,000 are drawn, and
counts beyond repeat them. One start. Two child processes fit the same tables one after the other: the first with
JAX_PLATFORMS=cpu, the second on the device that JAX takes by default; without another device than the CPU nothing is
run, unless --both-on-cpu asks for it. Each count is fitted twice, and the second call is timed on the wall, tables and
standard errors included; what does not fit into the memory is said and left out, and of the own ODE what is more than
1,000. 1,000 and 10,000 take some minutes where two cores do the CPU's half, 100,000 ten times that. On the device
`first_s` is the first call, which compiles.

Columns: seconds of both, their ratio, and the largest differences of log-likelihoods and, of converged fits, of free
parameters on the scale of estimation (1e-8 asked of both). Writes gpu.csv where the device is no CPU.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import batch_fit
import jax
import numpy as np
import pandas as pd
from patients import OWN, drawn, own_ode
from table import machine, shown

import cellkinetics as ck
from cellkinetics import models

COUNTS, DRAWN = (1000, 10_000), 1000
NAMES = ("il15_persistence", "stein_2019_tisagenlecleucel", OWN)


def study_of(name, count, kept):
    """The model and so many simulated patients; the first process draws, and the other has what is ``kept``."""
    model = own_ode() if name == OWN else models.load(name)
    spreads = dict.fromkeys(model.free, 0.3) if name == OWN else batch_fit.SPREADS[name]
    if not kept.exists():
        first, _ = drawn(model, spreads, DRAWN, batch_fit.DAYS, seed=batch_fit.SEED, digits=4)
        first.drop(columns="curve").to_pickle(kept)
    first = pd.read_pickle(kept)
    rounds = [first.assign(subject=first["subject"] + f"-{i}") for i in range(-(-count // DRAWN))]
    table = pd.concat(rounds).head(count * len(batch_fit.DAYS))
    return model, ck.read_study(table, lloq=float(first["copies_per_ug"].quantile(batch_fit.BELOW)))


def fitted(model, study):
    """The fits with their tables, and seconds on the wall."""
    began = time.perf_counter()
    fits = ck.fit_each(model, study, starts=1, progress=False)
    _ = fits.outcomes, fits.parameters
    return fits, time.perf_counter() - began


def child(names, counts, to):
    """Fit everything on the device of this process; kept after each batch."""
    found = {"device": f"{jax.default_backend()}: {jax.devices()[0].device_kind}"}
    for name in names:
        for count in [each for each in counts if name != OWN or each <= DRAWN]:
            try:
                model, study = study_of(name, count, to.with_name(name))
                _, first = fitted(model, study)
                fits, took = fitted(model, study)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                print(f"{name}, {count} patients: {str(error).splitlines()[0]}", flush=True)
                continue
            each = [(fit.log_likelihood_ln, fit.x, fit.converged) for fit in fits.values()]
            found[name, count] = first, took, each
            print(
                f"{found['device']}, {name}, {count} patients: {took:.2f} s, the first time {first:.2f} s", flush=True
            )
            to.write_bytes(pickle.dumps(found))


def differences(one, other):
    """Largest difference of log-likelihoods, of the parameters of converged fits, and how many outcomes differ."""
    pairs = list(zip(one, other, strict=True))
    height = max((abs(a - b) for (a, *_), (b, *_) in pairs if np.isfinite(a) and np.isfinite(b)), default=0.0)
    both = [(x, y) for (_, x, a), (_, y, b) in pairs if a and b]
    return (
        height,
        max((float(np.max(np.abs(x - y))) for x, y in both), default=0.0),
        sum(a[2] != b[2] for a, b in pairs),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--both-on-cpu", action="store_true")
    parser.add_argument("--to", type=Path)
    asked = parser.parse_args()
    if asked.to:
        child(asked.models, asked.counts, asked.to)
        sys.exit()
    default = {"JAX_PLATFORMS": "cpu"} if asked.both_on_cpu else {}
    backend = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    there = subprocess.run(backend, env=os.environ | default, capture_output=True, text=True, check=True).stdout.strip()
    if there == "cpu" and not asked.both_on_cpu:
        sys.exit("JAX finds no device but the CPU here; --both-on-cpu tries the script with it on both sides.")
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for number, environment in enumerate(({"JAX_PLATFORMS": "cpu"}, default)):
            to = Path(folder) / f"{number}.pickle"
            command = [sys.executable, __file__, *map(str, asked.counts), "--models", *asked.models, "--to", str(to)]
            subprocess.run(command, env=os.environ | environment, check=True)
            sides.append(pickle.loads(to.read_bytes()))
    cpu, device = sides
    rows = []
    for key in [key for key in device if isinstance(key, tuple) and key in cpu]:
        (first, took, one), (_, slow, other) = device[key], cpu[key]
        height, apart, outcomes = differences(one, other)
        rows.append({
            "model": key[0], "patients": key[1], "device": device["device"], "first_s": first, "device_s": took,
            "cpu_s": slow, "ratio": slow / took, "log_likelihood_apart": height, "estimates_apart": apart,
            "outcomes_apart": outcomes,
        } | machine())  # fmt: skip
    if there == "cpu":
        print(pd.DataFrame(rows).iloc[:, :-4].to_string(index=False))
    else:
        shown(__file__, rows)
