"""A thousand simulated patients fitted in one batch, beside lmfit with scipy on the same data and equations.

    python tests/benchmarks/batch_fit.py [il15_persistence | stein_2019_tisagenlecleucel ...] [confounded]

Patients: 1,000 of each model, parameters log-normal around the defaults (SDs below), residual SD 0.5 on the ln scale,
15 samples from day 1 to 365, one infusion of 1e6 cells/kg; the lower limit is the 30% quantile of all values. Fitted
with the default free set and sd. Seed, SDs, days and limits were fixed before the first run.

The peer is what a careful user writes: `lmfit.minimize` (leastsq, finite differences) over ln parameters and ln sd,
with root-deviances for values below the limit and the term of sd as a residual; for il15_persistence `solve_ivp`
(LSODA, rtol 1e-6) on the two states that have no closed form, for Stein the closed form in numpy. One start, the
defaults, 20 patients. Where numba is installed there are two more for il15_persistence (numba_peers.py): `odeint_`, the
same with `odeint` and a compiled right-hand side, 20 patients, and `numba_`, all of the fit compiled, 200 patients;
their compile time is left out, and neither gives standard errors.

CPU is that of the process with all of its threads. `table` is the time of `fits.outcomes` and `fits.parameters`, which
put the fits together; `all_cpu` is of both, and what the ratios are made of: until 2026-11-27 they left tables out.
`best` is the best of 10 starts. `10000` is a call with 10,000 patients, one start, and the
largest memory that the process ever had.

`confounded`, measured where it is asked for, frees eps and delta of the first 100 patients too, on purpose, `priors`
does so with log-normal priors. There is no published population of a CAR-NK product: the priors are the SDs that the
patients were drawn with, and 0.5 for eps, 0.1 for delta. Writes batch_fit.csv.
"""

import resource
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import lmfit
import numpy as np
from patients import drawn
from scipy.integrate import solve_ivp
from scipy.special import log_ndtr
from table import machine, renew

import cellkinetics as ck
from cellkinetics import models

SEED, PATIENTS, PEERS, SD, DOSE, BELOW = 2020, 1000, 20, 0.5, 1e6, 0.3
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])
SPREADS = {
    "il15_persistence": {"F": 0.5, "rho": 0.06, "r": 0.1, "mu0": 0.3, "N": 0.4},
    "stein_2019_tisagenlecleucel": {"fold": 0.8, "t_max": 0.2, "c_max": 0.65, "alpha": 0.4, "f_b": 0.5, "beta": 0.5},
}


def simulated(model, patients=PATIENTS, days=DAYS):
    """A table of simulated patients and their limit."""
    table, _ = drawn(model, SPREADS[model.name], patients, days, seed=SEED, sd=SD, digits=4)
    table = table.drop(columns="curve")
    return table, float(table["copies_per_ug"].quantile(BELOW))


def il15(days, p):
    """Copies/ug: D, L and I in closed form, E and M by LSODA."""

    def slopes(t, state):
        E, M = state
        D = p["F"] * DOSE * np.exp(-p["k_d"] * t)
        L = 1 / (1 + (1 / p["L0"] - 1) * np.exp(-p["r"] * t))
        S = (1 + p["kappa"]) / (1 + p["kappa"] * L) - 1 + p["tau"]
        growth = p["rho"] * S / (p["K"] + S) - p["delta"] - p["gamma"] * L - p["eps"]
        loss = p["mu0"] / (1 + p["tau"] / p["K_tau"]) + p["gamma_M"] * L
        return p["phi"] * p["k_d"] * D + growth * E, p["eps"] * E * (1 - M / p["N"]) - loss * M

    done = solve_ivp(slopes, (0, days[-1]), (0.0, 0.0), method="LSODA", t_eval=days, rtol=1e-6, atol=1e-6)
    if not done.success:
        return np.full(len(days), np.nan)
    return p["F"] * DOSE * np.exp(-p["k_d"] * days) + done.y.sum(axis=0)


def stein(days, p):
    """Copies/ug in closed form."""
    before, after = np.minimum(days - p["t_max"], 0), np.maximum(days - p["t_max"], 0)
    decline = (1 - p["f_b"]) * np.exp(-p["alpha"] * after) + p["f_b"] * np.exp(-p["beta"] * after)
    return p["c_max"] * np.exp(np.log(p["fold"]) / p["t_max"] * before) * decline


CONFOUNDED = {"il15_persistence": {"eps": 0.5, "delta": 0.1}}
FEW, MANY, COMPILED = 100, 10_000, 200

CURVES = {"il15_persistence": il15, "stein_2019_tisagenlecleucel": stein}
NUMBA = find_spec("numba") is not None


def by_hand(model, free, copies, limit, curve=None):
    """The log-likelihood at which lmfit ends for one patient."""
    curve, below = curve or CURVES[model.name], copies < limit
    logs, quantified = np.log(np.where(below, limit, copies)), int((~below).sum())
    given = lmfit.Parameters()
    for name, value in model.values().items():
        if name == "f_b":
            given.add("logit_f_b", value=np.log(value / (1 - value)))
            given.add(name, expr="1/(1 + exp(-logit_f_b))")
        elif name in free:
            given.add(f"ln_{name}", value=np.log(value))
            given.add(name, expr=f"exp(ln_{name})")
        else:
            given.add(name, value=value, vary=False)
    given.add("ln_sd", value=np.log(SD), min=np.log(0.02))

    def residuals(parameters):
        p = parameters.valuesdict()
        z = (logs - np.log(np.maximum(curve(DAYS, p), 1e-9))) / np.exp(p["ln_sd"])
        roots = np.where(below, np.sqrt(-2 * log_ndtr(z)), z)
        return np.append(roots, np.sqrt(2 * quantified * (p["ln_sd"] - np.log(0.01))))

    end = lmfit.minimize(residuals, given, method="leastsq", nan_policy="omit")
    total = float(np.sum(residuals(end.params) ** 2)) + 2 * quantified * np.log(0.01)
    return -0.5 * (total + quantified * np.log(2 * np.pi))


def compiled(model, rows, limit, best, free):
    """What the two peers in numba take, and how often they end at the best; nothing where there is no numba."""
    if not NUMBA or model.name != "il15_persistence":
        return {}
    import numba_peers

    values = model.values()
    held = np.array([values[name] for name in numba_peers.HELD])
    begun = np.log([*(values[name] for name in numba_peers.NAMES), SD])

    def odeint(days, p):
        return numba_peers.by_odeint(days, p, DOSE)

    def fitted(copies):
        below = copies < limit
        logs = np.log(np.where(below, limit, copies))
        return numba_peers.fitted(begun, DAYS, logs, below, held, DOSE)[1]

    found = {}
    for label, one, count in (
        ("odeint", lambda copies: by_hand(model, free, copies, limit, odeint), PEERS),
        ("numba", fitted, COMPILED),
    ):
        one(rows[0])
        ends, _, took = timed(lambda one=one, count=count: [one(copies) for copies in rows[:count]])
        found |= {
            f"{label}_cpu_ms": 1e3 * took / count,
            f"{label}_within_0.01_of_best": np.mean(np.array(ends) > best[:count] - 0.01),
        }
    return found


def timed(function):
    """What it returns, seconds on the wall, seconds of the processors."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - processor


def likelihoods(fits):
    return np.nan_to_num([fit.log_likelihood_ln for fit in fits.values()], nan=-np.inf)


def objectives(fits):
    """Log-likelihoods plus log priors: what is maximised."""
    prior = [fit.problem.log_prior(fit.x) if fit.fitted else -np.inf for fit in fits.values()]
    return likelihoods(fits) + np.array(prior)


def ended(fits):
    """The share of patients whose optimiser came to an end."""
    return np.mean([fit.fitted and not fit.outcome.startswith("not converged") for fit in fits.values()])


def confounded(model, study):
    """Times and ends with what one patient cannot tell freed as well, without and with priors."""
    found, more = {}, CONFOUNDED.get(model.name, {})
    for label in ("confounded", "priors") if more else ():
        free = [*SPREADS[model.name], *more]
        known = {name: ck.LogNormal(model.parameters[name].value, sd)
                 for name, sd in {**SPREADS[model.name], **more}.items()} if label == "priors" else None  # fmt: skip

        def fitted(starts, free=free, known=known):
            return ck.fit_each(model, study, free=free, prior=known, starts=starts, progress=False)

        best, _ = objectives(fitted(10)), fitted(1)
        for starts in (1, 4):
            fits, wall, processor = timed(lambda starts=starts: fitted(starts))
            reached = objectives(fits)
            found |= {
                f"{label}_wall_ms_{starts}": 1e3 * wall / FEW,
                f"{label}_cpu_ms_{starts}": 1e3 * processor / FEW,
                f"{label}_ended_{starts}": ended(fits),
                f"{label}_within_0.01_of_best_{starts}": np.mean(reached > np.maximum(best, reached) - 0.01),
            }
    return found


def many(model):
    """Time and memory of 10,000 patients in one call."""
    table, limit = simulated(model, MANY)
    study = ck.read_study(table, lloq=limit)
    fits, wall, processor = timed(lambda: ck.fit_each(model, study, starts=1, progress=False))
    _, table_wall, _ = timed(lambda: (fits.outcomes, fits.parameters))
    return {
        "wall_ms_10000": 1e3 * wall / MANY,
        "cpu_ms_10000": 1e3 * processor / MANY,
        "table_ms_10000": 1e3 * table_wall / MANY,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def row(name):
    """What the batch, single fits and the peer take for one model."""
    model = models.load(name)
    table, limit = simulated(model)
    study = ck.read_study(table, lloq=limit)
    found = {"model": name, "patients": PATIENTS, "below": f"{(table['copies_per_ug'] < limit).mean():.0%}"}
    best = likelihoods(ck.fit_each(model, study, starts=10, progress=False))
    for starts in (1, 4):
        _, cold, _ = timed(lambda starts=starts: ck.fit_each(model, study, starts=starts, progress=False))
        fits, wall, processor = timed(lambda starts=starts: ck.fit_each(model, study, starts=starts, progress=False))
        _, table_wall, tables = timed(lambda fits=fits: (fits.outcomes, fits.parameters))
        reached = likelihoods(fits)
        found |= {
            f"first_call_s_{starts}": cold,
            f"wall_ms_{starts}": 1e3 * wall / PATIENTS,
            f"cpu_ms_{starts}": 1e3 * processor / PATIENTS,
            f"table_ms_{starts}": 1e3 * table_wall / PATIENTS,
            f"all_cpu_ms_{starts}": 1e3 * (processor + tables) / PATIENTS,
            f"ended_{starts}": ended(fits),
            f"within_0.01_of_best_{starts}": np.mean(reached > np.maximum(best, reached) - 0.01),
            f"outcome_converged_{starts}": np.mean([fit.converged for fit in fits.values()]),
        }
    some = study.subjects[:PEERS]
    alone = [study.select(subject) for subject in some]
    ck.fit(model, alone[0], starts=1)
    _, _, single = timed(lambda: [ck.fit(model, one, starts=1) for one in alone])
    ck.fit(model, alone[0])
    _, _, careful = timed(lambda: [ck.fit(model, one) for one in alone])
    free = model.default_free(alone[0])
    rows = [table.loc[table["subject"] == s, "copies_per_ug"].to_numpy() for s in study.subjects[:COMPILED]]
    ends, peer_wall, peer = timed(lambda: [by_hand(model, free, copies, limit) for copies in rows[:PEERS]])
    in_numba = compiled(model, rows, limit, best, free)
    found |= {
        "one_fit_cpu_ms_1": 1e3 * single / PEERS,
        "one_fit_cpu_ms_4": 1e3 * careful / PEERS,
        "peer_cpu_ms": 1e3 * peer / PEERS,
        "peer_wall_ms": 1e3 * peer_wall / PEERS,
        "peer_within_0.01_of_best": np.mean(np.array(ends) > best[:PEERS] - 0.01),
        "ratio_one_fit_1_start": peer / single,
        "ratio_one_fit_4_starts": peer / careful,
        "ratio_batch_1_start": peer / PEERS / (found["all_cpu_ms_1"] / 1e3),
        "ratio_batch_4_starts": peer / PEERS / (found["all_cpu_ms_4"] / 1e3),
    } | in_numba | {
        f"ratio_{label}_{starts}": in_numba[f"{label}_cpu_ms"] / found[f"all_cpu_ms_{starts}"]
        for label in ("odeint", "numba") if in_numba for starts in (1, 4)
    } | many(model)  # fmt: skip
    return found | (confounded(model, study.select(study.subjects[:FEW])) if "confounded" in sys.argv else {})


if __name__ == "__main__":
    for one in [name for name in sys.argv[1:] if name in SPREADS] or SPREADS:
        renewed = row(one) | machine()
        renew(Path(__file__).with_suffix(".csv"), renewed)
        print("\n".join(f"{key}: {value}" for key, value in renewed.items()), flush=True)
