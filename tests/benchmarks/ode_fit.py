"""Simulated patients of ODE models fitted in one batch, beside lmfit with solve_ivp on the same data and equations.

    python tests/benchmarks/ode_fit.py [model ...]

For each of the models integrated step by step that are meant for fitting, a stiff one, and an ODE of three states such
as a user writes (patients.py, with five free parameters): 200 patients, parameters
log-normal (log-SD 0.3) around the defaults, residual SD 0.3 on the ln scale, 15 samples from day 1 to 180, one
infusion; the lower limit is the 20% quantile of all values. Fitted with the default free set and sd. Seed, SDs, days
and limits were fixed before the first run.

The peer is what a careful user writes: `lmfit.minimize` (least_squares, finite differences) over ln parameters and ln
sd, root-deviances for values below the limit, `solve_ivp` (LSODA; Radau for the stiff model) at rtol 1e-6 on the
model's right-hand side with plain floats (peer.py). One start, the defaults, 4 patients. Its likelihood is beside the
library's: `peer_within_0.01` is the share in which it ended no lower.

CPU is that of the process with all its threads and includes `fits.outcomes` and `fits.parameters`: standard errors are
in them. `first_call_s` and `one_first_s` compile, without the cache on disk. Renews rows of ode_fit.csv.
"""

import os
import sys
import time
from pathlib import Path

os.environ["CELLKINETICS_CACHE"] = "off"

import lmfit
import numpy as np
from patients import OWN, drawn, own_ode
from peer import Peer, by_solve_ivp
from scipy.special import log_ndtr
from table import machine, renew

import cellkinetics as ck
from cellkinetics import models

SEED, PATIENTS, PEERS, LOG_SD, SD, BELOW = 2020, 200, 4, 0.3, 0.3, 0.2
DAYS = np.array([1, 2, 3, 5, 7, 9, 12, 15, 21, 28, 42, 60, 90, 120, 180.0])
# Model: its dose and the output that is sampled.
MODELS = {
    "effector_memory": (1e6, "copies_per_ug"),
    "smooth_switch": (None, "copies_per_ug"),
    "kimmel_2021_axi_cel": (None, "car_t_cells"),
    "singh_2021_bb2121": (450e6, "copies_per_ug"),
    OWN: (1e6, "copies_per_ug"),
}


def study_of(model, dose, output):
    """A table of simulated patients, the study, and its limit."""
    spreads = dict.fromkeys(model.free, LOG_SD)
    table, _ = drawn(model, spreads, PATIENTS, DAYS, seed=SEED, sd=SD, digits=4, dose=dose, output=output)
    table = table.drop(columns=["curve"] if dose is not None else ["curve", "dose"])
    limit = float(table[output].quantile(BELOW))
    return table, ck.read_study(table, columns={"value": output}, lloq=limit, unit=model.outputs[output]), limit


def by_hand(model, dose, output, values, limit):
    """The log-likelihood at which lmfit ends for one patient."""
    peer = Peer(model)
    peer.doses = model.doses(dose)
    integrate = by_solve_ivp("Radau" if model.stiff else "LSODA", 1e-6, 1e-9)
    below = values < limit
    logs, quantified = np.log(np.where(below, limit, values)), int((~below).sum())
    given = lmfit.Parameters()
    for name, value in model.values().items():
        if name not in model.free:
            given.add(name, value=value, vary=False)
        elif model.parameters[name].scale == "logit":
            given.add(f"logit_{name}", value=np.log(value / (1 - value)))
            given.add(name, expr=f"1/(1 + exp(-logit_{name}))")
        else:
            given.add(f"ln_{name}", value=np.log(value))
            given.add(name, expr=f"exp(ln_{name})")
    given.add("ln_sd", value=np.log(SD), min=np.log(0.02))

    def residuals(parameters):
        p = parameters.valuesdict()
        ln_sd = p.pop("ln_sd")
        with np.errstate(all="ignore"):
            found = peer.run(peer.plan({name: p[name] for name in model.parameters}), DAYS, integrate)
        if found is None:
            return np.full(len(values) + 1, np.nan)
        z = (logs - np.log(np.maximum(found[output], 1e-9))) / np.exp(ln_sd)
        roots = np.where(below, np.sqrt(-2 * log_ndtr(z)), z)
        return np.append(roots, np.sqrt(2 * quantified * (ln_sd - np.log(0.01))))

    end = lmfit.minimize(residuals, given, method="leastsq", nan_policy="omit")
    total = float(np.sum(residuals(end.params) ** 2)) + 2 * quantified * np.log(0.01)
    return -0.5 * (total + quantified * np.log(2 * np.pi))


def timed(function):
    """What it returns, and seconds of the processors."""
    began = time.process_time()
    return function(), time.process_time() - began


def batch(model, study, starts):
    """The fits with their tables."""
    fits = ck.fit_each(model, study, starts=starts, progress=False)
    return fits, len(fits.outcomes), len(fits.parameters)


def row(name):
    """What the batch, single fits and the peer take for one model."""
    model, (dose, output) = own_ode() if name == OWN else models.load(name), MODELS[name]
    table, study, limit = study_of(model, dose, output)
    some = study.subjects[:PEERS]
    alone = [study.select(subject) for subject in some]
    began = time.perf_counter()
    ck.fit(model, alone[0])
    found = {"model": name, "patients": PATIENTS, "one_first_s": time.perf_counter() - began}
    singles, single = timed(lambda: [ck.fit(model, one) for one in alone])
    rows = [table.loc[table["subject"] == subject, output].to_numpy() for subject in some]
    ends, peer = timed(lambda: [by_hand(model, dose, output, values, limit) for values in rows])
    reached = np.array([fit.log_likelihood_ln if fit.fitted else -np.inf for fit in singles])
    found |= {
        "peer_cpu_ms": 1e3 * peer / PEERS,
        "peer_within_0.01": np.mean(np.array(ends) > reached - 0.01),
        "one_cpu_ms": 1e3 * single / PEERS,
        "ratio_one": peer / single,
    }
    for starts in (1, 4):
        began = time.perf_counter()
        batch(model, study, starts)
        first = time.perf_counter() - began
        (fits, *_), took = timed(lambda starts=starts: batch(model, study, starts))
        found |= {
            f"first_call_s_{starts}": first,
            f"cpu_ms_{starts}": 1e3 * took / PATIENTS,
            f"ratio_batch_{starts}": peer / PEERS / (took / PATIENTS),
            f"converged_{starts}": np.mean([fit.fitted and fit.converged for fit in fits.values()]),
        }
    return found


if __name__ == "__main__":
    for one in [name for name in sys.argv[1:] if name in MODELS] or MODELS:
        renewed = row(one) | machine()
        renew(Path(__file__).with_suffix(".csv"), renewed)
        print("\n".join(f"{key}: {value}" for key, value in renewed.items()), flush=True)
