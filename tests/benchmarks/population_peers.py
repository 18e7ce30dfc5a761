"""A population fit beside other engines on the same data: R's TMB for Laplace's approximation, pynlme for SAEM.

    python tests/benchmarks/population_peers.py      (R with TMB and a C++ compiler, Debian's r-cran-tmb; pynlme)

A biexponential decline as in population_recovery.py, all patients at one dose, 12 samples each, four random effects
without correlations. laplace: a quarter of the samples below the limit, by their probability (M3), 50 and 1,000
patients; TMB's program is tests/reference/two_phase_population.cpp with its default tolerances, from the same values of
the means and with `sdreport`. saem: 50 patients, nothing below a limit (pynlme knows none), 400 iterations of both,
pynlme with its defaults and a model in numpy for all subjects in one call. Seconds are of CPU, of the process and its
children. A row is an engine:

compile: of TMB the C++ compiler, of ours what a first fit in a new process with empty caches takes more than a second.
warm: a second fit. climb: of our Laplace the maximum of the approximation alone, without the integral by importance
sampling beside it and without spreads at 0, which TMB does not have; of our SAEM the 400 iterations. value: the maximum
of the approximation, of SAEM the mean of ln a. ratio: the peer's warm time by ours, and by our climb. Writes
population_peers.csv.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import population_recovery as recovery
from population_speed import iterated
from table import machine, shown

import cellkinetics as ck
from cellkinetics.population import fit as fitting

HERE = Path(__file__).parent
MODEL, SEED, DOSE, BELOW = recovery.TWO_PHASES, 2020, 1e6, 0.25
FREE = tuple(recovery.BETWEEN[MODEL.name])


def samples(patients, below):
    """(patients, days) copies/ug, and the limit."""
    copies = recovery.copies(MODEL, np.full(patients, DOSE), np.random.default_rng(SEED))
    return copies, float(np.quantile(copies, below)) if below else 1e-6


def study(patients, below):
    copies, limit = samples(patients, below)
    return recovery.study_of(MODEL, np.full(patients, DOSE), copies, limit)


def ours(method, patients):
    """A first and a second fit in this process."""
    data, seconds, climbs, climb = study(patients, BELOW if method == "laplace" else 0), [], [], fitting.ascended

    def timed(*arguments):
        began = time.process_time()
        found = climb(*arguments)
        climbs.append(time.process_time() - began)
        return found

    fitting.ascended = timed
    for seed in (SEED, SEED + 1):
        began = time.process_time()
        fit = ck.fit_population(MODEL, data, free=FREE, method=method, seed=seed, progress=False)
        seconds.append(time.process_time() - began)
    return {
        "first": seconds[0], "warm": seconds[1], "climb": climbs[-1] if climbs else iterated(fit),
        "value": fit.log_likelihood_ln if method == "saem" else float(fit.path.trace.iloc[-1, -1]),
        "mean": float(fit.parameters.loc["a", "estimate"]),
    }  # fmt: skip


def tmb(patients):
    """By Laplace's approximation in C++."""
    copies, limit = samples(patients, BELOW)
    # As the study has them: with the digits of its text.
    limit = float(f"{limit:.6g}")
    days = recovery.DAYS[MODEL.name]
    lines = [
        f"{i},{day:g},{limit if value < limit else float(f'{value:.8g}')!r},{int(value < limit)}"
        for i, own in enumerate(copies)
        for day, value in zip(days, own, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "samples.csv"
        table.write_text("\n".join(["patient,day,copies,below", *lines, ""]))
        program = HERE.parent / "reference" / "two_phase_population.cpp"
        command = ["Rscript", str(HERE / "population_peers.R"), str(table), str(program)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(said.splitlines()[-1])


def pynlme(patients):
    """SAEM of MATLAB's nlmefitsa in Python, 150 + 150 + 100 iterations."""
    from pynlme import fit_saem  # pyright: ignore[reportMissingImports]

    copies, _ = samples(patients, 0)
    days = recovery.DAYS[MODEL.name]
    day, subject = np.tile(days, patients)[:, None], np.repeat(np.arange(patients), len(days))

    def ln_curve(phi, x, _=None):
        a, fast, b, slow = phi.T if phi.ndim > 1 else phi
        return np.log(a * np.exp(-fast * x[:, 0]) + b * np.exp(-slow * x[:, 0]))

    start = np.log([MODEL.parameters[name].value for name in FREE])
    seconds = []
    for seed in (SEED, SEED + 1):
        began = time.process_time()
        beta, _, _, _ = fit_saem(
            day, np.log(copies).ravel(), subject, None, ln_curve, start, param_transform=np.ones(4, int),
            vectorization="full", random_state=seed,
        )  # fmt: skip
        seconds.append(time.process_time() - began)
    return {"first": seconds[0], "warm": seconds[1], "mean": float(np.ravel(beta)[0])}


def alone(*arguments):
    """A new process with empty caches."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"XDG_CACHE_HOME": cache, "CELLKINETICS_CACHE": cache}
        command = [sys.executable, __file__, *map(str, arguments)]
        said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(said.splitlines()[-1])


def main():
    rows = []
    for method, patients, peer in [("laplace", 50, tmb), ("laplace", 1000, tmb), ("saem", 50, pynlme)]:
        own, other = alone("ours", method, patients), alone(peer.__name__, patients)
        value = "value" if method == "laplace" else "mean"
        of = {"method": method, "patients": patients}
        rows.append(
            of | {"engine": "cellkinetics", "compile": own["first"] - own["warm"], "warm": own["warm"]}
            | {"climb": own["climb"], "value": f"{own[value]:.7g}"}
        )  # fmt: skip
        rows.append(
            of | {"engine": peer.__name__.replace("tmb", "TMB"), "compile": other.get("compiler", 0.0)}
            | {"warm": other["warm"], "value": f"{other.get('maximum', other.get('mean')):.7g}"}
            | {"ratio": other["warm"] / own["warm"], "ratio of climb": other["warm"] / own["climb"], **machine()}
        )  # fmt: skip
        shown(__file__, rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        name, *given = sys.argv[1:]
        print(json.dumps(ours(given[0], int(given[1])) if name == "ours" else globals()[name](int(given[0]))))
    else:
        main()
