"""The engine's optimum beside scipy's on the scalar likelihood, for all models meant for fitting and all error models.

    python tests/benchmarks/engine_optima.py [model ...] [error ...]

100 **simulated** patients of each model and error model, free parameters normal on the scale of estimation about their
defaults (SD 0.2), drawn with a residual SD of 0.5 on the ln scale whatever is fitted, 15 samples from day 1 to 365, one
infusion of 1e6 cells/kg where the model takes one (nk_decline: hour 2 to day 14), lower limit 3 copies/ug, 0.03 ug of
DNA a sample; qpcr_and_flow has both assays on these days, and no counting. Fitted by `ck.fit_each` with all defaults.
SciPy has nothing of the engine but the curve and the density of a sample: L-BFGS-B within the same bounds, slopes by
central differences of the likelihood itself, from the engine's end moved by a normal step of one standard error in
each parameter (0.1 where there is none), and from there a Nelder-Mead search. Seeds, SDs and moves were fixed before
the first run of 100; the days of nk_decline and patients who are not "converged" were put in after a first try of six.

Columns: `fitted` patients; `converged` of them. `below` how many ends of the engine lie more than 1e-4 log-likelihood
units below scipy's, `said` of how many of those the outcome is not "converged", `most` by how much at most; `above` how
many of scipy's lie as far below the engine's; `apart` how many estimates of the others differ by more than 0.02
standard errors, of `estimates`, and `furthest` the largest difference: scipy may end with two phases exchanged. What is
not identifiable, or at a bound, has no standard error to compare with. Renews rows of engine_optima.csv.
"""

import sys
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from patients import drawn
from scipy import optimize
from table import machine

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.solving.sensitivity import ln_curve
from cellkinetics.solving.solver import methods

FILE = Path(__file__).with_suffix(".csv")
PATIENTS, SEED, SPREAD, STEP = 100, 2026, 0.2, 1e-5
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])
EARLY = np.geomspace(1 / 12, 14.0, 15)
ERRORS = ("log", "proportional", "combined", "student", "counting")


def two_assays(model):
    """Simulated patients of qpcr_and_flow: both outputs on the same days, leukocytes low for two weeks."""
    rng, leukocytes, tables = np.random.default_rng(SEED), [(0.0, 300.0), (7.0, 100.0), (14.0, 4000.0)], []
    for number in range(PATIENTS):
        own = model.values()
        for name in model.parameters:
            p = model.parameters[name]
            own[name] = float(p.from_estimation(p.to_estimation(p.value) + SPREAD * rng.normal()))
        curves = model.solve(DAYS, own, inputs={"leukocytes": leukocytes})
        for output in model.outputs:
            values = np.asarray(curves[output]) * np.exp(0.5 * rng.normal(size=len(DAYS)))
            tables.append(pd.DataFrame({"subject": f"S{number:03d}", "day": DAYS, "DVID": output, "DV": values}))
    table = pd.concat(tables)
    return ck.read_study(table.assign(leukocytes=np.interp(table["day"], *zip(*leukocytes, strict=True))), lloq=3.0)


def study_of(model):
    """Simulated patients of one model."""
    if model.inputs:
        return two_assays(model)
    dose = 1e6 if model.channels else None
    output = next(iter(model.outputs))
    days = EARLY if model.name == "nk_decline" else DAYS
    first = pd.DataFrame({"subject": "P", "day": days, output: 100.0} | ({"dose": dose} if dose else {}))
    free = model.default_free(ck.read_study(first, lloq=3.0))
    table, _ = drawn(model, dict.fromkeys(free, SPREAD), PATIENTS, days, seed=SEED, dose=dose, output=output)
    table = table.drop(columns=["curve", *([] if dose else ["dose"])])
    return ck.read_study(table.assign(dna_ug=0.03), lloq=3.0)


@cache
def program(model, error, method, free, places):
    """Compiled: points (m, d), inputs, rows, ln sds, prior -> minus the objective (m,)."""

    def one(x, inputs, rows, sds, mean, precision):
        ln_sd = sds.at[jnp.array(places, int)].set(x[free:]).reshape(-1, len(model.outputs))[:, inputs.output]
        value, solved = ln_curve(model, (), method, x[:free], inputs)
        total = jnp.sum(error.log_density(value, ln_sd, rows)) - 0.5 * (x - mean) @ precision @ (x - mean)
        return jnp.where(solved & jnp.isfinite(total), -total, 1e10)

    return jax.jit(jax.vmap(one, in_axes=(0, *[None] * 5)))


def scalar(problem, method):
    """Minus the objective of many points (m, d) of one problem."""
    places = tuple(map(int, np.flatnonzero(problem.sd_free)))
    run, sds = (
        program(problem.model, problem.error, method, len(problem.free), places),
        jnp.asarray(problem.ln_sd_given),
    )
    return lambda points: np.asarray(run(points, problem.inputs, problem.rows, sds, *map(jnp.asarray, problem.prior)))


def by_scipy(minus, problem, start):
    """Where scipy ends, and the objective there."""
    size = len(start)
    aside = STEP * np.vstack([np.eye(size), -np.eye(size)])

    def both(x):
        values = minus(np.vstack([x, x + aside]))
        return float(values[0]), (values[1 : size + 1] - values[size + 1 :]) / (2 * STEP)

    low, high = (np.asarray(end, float) for end in problem.bounds)
    begun = np.clip(start, low, high)
    end = optimize.minimize(both, begun, jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)),
                            options={"maxiter": 300, "ftol": 1e-14, "gtol": 1e-8})  # fmt: skip
    simplex = np.vstack([end.x, np.clip(end.x + 0.05 * np.eye(size), low, high)])
    polished = optimize.minimize(
        lambda x: float(minus(np.clip(x, low, high)[None])[0]), end.x, method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": 400, "fatol": 1e-9, "xatol": 1e-7},
    )  # fmt: skip
    best = polished if polished.fun < end.fun else end
    return np.clip(best.x, low, high), -float(best.fun)


def row(name, error):
    """One line of the table."""
    model = models.load(name)
    fits = ck.fit_each(model, study_of(model), error=error, progress=False)
    rng, method = np.random.default_rng(SEED), methods(model)[-1 if model.structure is None else 1]
    fitted = [fit for fit in fits.values() if fit.fitted]
    behind, differ = [], []
    for fit in fitted:
        se = np.sqrt(np.clip(np.diag(fit.covariance), 0, None))
        known = np.isfinite(se) & (se > 0)
        start = fit.x + np.where(known, np.where(known, se, 0.0), 0.1) * rng.normal(size=len(fit.x))
        minus = scalar(fit.problem, method)
        here = -float(minus(fit.x[None])[0])
        x, there = by_scipy(minus, fit.problem, start)
        behind.append(there - here)
        if abs(there - here) <= 1e-4:
            differ.extend(np.abs(x - fit.x)[known] / se[known])
    behind, differ = np.array(behind), np.array(differ)
    converged = np.array([fit.status == ck.Status.CONVERGED for fit in fitted], bool)
    lower = behind > 1e-4
    return {
        "model": name, "error": error, "fitted": len(fitted), "converged": int(np.sum(converged)),
        "below": int(np.sum(lower)), "said": int(np.sum(lower & ~converged)),
        "most": f"{np.max(behind, initial=0):.2g}",
        "above": int(np.sum(behind < -1e-4)), "apart": int(np.sum(differ > 0.02)), "estimates": len(differ),
        "furthest": f"{np.max(differ, initial=0):.2g}",
    } | machine()  # fmt: skip


if __name__ == "__main__":
    asked = [name for name in sys.argv[1:] if name not in ERRORS]
    errors = [name for name in sys.argv[1:] if name in ERRORS] or ERRORS
    for name in asked or [name for name in models.names() if not models.load(name).simulator]:
        for error in [each for each in errors if each != "counting" or not models.load(name).inputs]:
            line = pd.DataFrame([row(name, error)])
            print(line.iloc[:, :-4].to_string(index=False, header=error == errors[0]), flush=True)
            if FILE.exists():
                old = pd.read_csv(FILE, dtype=str, keep_default_na=False)
                line = pd.concat([old[(old["model"] != name) | (old["error"] != error)], line])
            line.to_csv(FILE, index=False)
