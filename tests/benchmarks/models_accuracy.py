"""Every model on 300 random sets of parameters: finite, not negative, and how far from scipy at rtol 1e-10.

    python tests/benchmarks/models_accuracy.py [model ...]

Every parameter is drawn log-normally (log-SD 0.3) around its default and kept within its bounds; one infusion of 1e6,
days 0 to 365. Values and derivatives by all parameters are those of ln(curve + 1e-9), as in a fit. The error of an ODE
is relative, where an output is above 1e-3 of its unit, and the largest over days and outputs; its reference is LSODA,
or Radau where the two differ by more than 1e-6, which is looked at for the first 20 draws and wherever the error is
above 1e-6. Where Radau is more than 1e-5 away as well it is Radau on the logarithms of the states, counted as
`asked_logs`: on the natural scale a state that falls below the absolute tolerance (1e-11) and grows again is lost.
Closed forms are compared with their own equations in the tests. Renews rows of models_accuracy.csv.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from peer import DAYS, Peer, by_radau_in_logs, by_solve_ivp, courses, doses, draws
from table import asked, machine, renew

from cellkinetics import models
from cellkinetics.modelling.structure import methods
from cellkinetics.solving import solver

DRAWS, RADAU = 300, 20
VISIBLE, SUSPECT, LOST = 1e-3, 1e-6, 1e-5
REFERENCE_RTOL, REFERENCE_ATOL = 1e-10, 1e-11


def program(model, method):
    """Compiled: values -> (outputs (m, n), solved, derivatives of ln by all parameters)."""
    given, over = doses(model), courses(model)

    def ln(values):
        curves, done = solver.by(method, model, jnp.asarray(DAYS), values, given, over)
        stacked = jnp.stack([curves[name] for name in model.outputs])
        return jnp.log(stacked + 1e-9), (stacked, done)

    return jax.jit(lambda values: jax.jacfwd(ln, has_aux=True)(values))


def relative(found, expected):
    """The largest relative difference where ``expected`` is visible."""
    seen = expected > VISIBLE
    return float(np.max(np.abs(found[seen] / expected[seen] - 1), initial=0.0))


def scipy_curves(peer, plan, integrate):
    """(m, n), or None where scipy gave up."""
    found = peer.run(plan, DAYS, integrate)
    return None if found is None else np.stack([found[name] for name in peer.model.outputs])


def reference(peer, values, number, found):
    """The curves to compare with, how far LSODA is from Radau (NaN where not asked), and whether it was in logs."""
    plan = peer.plan(values)
    with np.errstate(all="ignore"):
        lsoda = scipy_curves(peer, plan, by_solve_ivp("LSODA", REFERENCE_RTOL, REFERENCE_ATOL))
        if number >= RADAU and lsoda is not None and relative(found, lsoda) <= SUSPECT:
            return lsoda, np.nan, False
        radau = scipy_curves(peer, plan, by_solve_ivp("Radau", REFERENCE_RTOL, REFERENCE_ATOL))
        if radau is not None and relative(found, radau) > LOST and not peer.model.natural:
            logs = scipy_curves(peer, plan, by_radau_in_logs(REFERENCE_RTOL))
            if logs is not None:
                return logs, np.inf if lsoda is None else relative(lsoda, radau), True
    if lsoda is None or radau is None:
        return (radau if lsoda is None else lsoda), np.inf, False
    # Either may have lost a state that the other shows.
    apart = max(relative(lsoda, radau), relative(radau, lsoda))
    return (radau if apart > SUSPECT else lsoda), apart, False


def row(name):
    """What the draws of one model show."""
    model = models.load(name)
    ways = methods(model)
    programs = {method: program(model, method) for method in ways}
    peer = Peer(model) if model.curve is None else None
    by, errors, first, apart, finite, lowest, in_logs = [], [], [], [], 0, np.inf, 0
    for number, values in enumerate(draws(model, DRAWS)):
        curves, slopes = np.zeros(0), {}
        for method in ways:
            slopes, (curves, done) = programs[method](values)
            if done:
                by.append(method)
                break
        else:
            by.append("")
            continue
        curves = np.asarray(curves)
        finite += bool(np.all(np.isfinite(curves)) and all(np.all(np.isfinite(s)) for s in slopes.values()))
        lowest = min(lowest, float(curves.min()))
        if peer is not None:
            expected, difference, logs = reference(peer, values, number, curves)
            in_logs += logs
            apart.append(difference)
            errors.append(np.nan if expected is None else relative(curves, expected))
            first.append(np.nan if expected is None else relative(curves[0], expected[0]))
    found = {"model": name, "method": ways[0], "parameters": len(model.parameters), "draws": DRAWS}
    found |= {"unsolved": by.count(""), "finite_values_and_gradients": finite, "lowest_value": lowest}
    found |= {"needed_implicit": by.count("implicit") if ways[0] != "implicit" else ""}
    if peer is not None:
        known, looked = np.array(errors), np.array(apart)
        looked = looked[~np.isnan(looked)]
        found |= {
            "error_median": float(np.nanmedian(known)),
            "error_p99": float(np.nanquantile(known, 0.99)),
            "error_max": float(np.nanmax(known)),
            "error_p99_first_output": float(np.nanquantile(first, 0.99)),
            "no_reference": int(np.isnan(known).sum()),
            "asked_radau": len(looked),
            "asked_logs": in_logs,
            "lsoda_off_by_more_than_1e-6": int((looked > SUSPECT).sum()),
            "lsoda_against_radau_median": float(np.median(looked)),
        }
    return found


if __name__ == "__main__":
    for one in asked():
        renewed = row(one) | machine()
        renew(Path(__file__).with_suffix(".csv"), renewed)
        print({key: value for key, value in renewed.items() if key != "versions"}, flush=True)
