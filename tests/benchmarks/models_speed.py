"""How long every model takes to solve and to differentiate, beside scipy's LSODA on the same equations.

    python tests/benchmarks/models_speed.py [model ...]

One infusion of 1e6, 12 days from 0 to 365. Alone: at the defaults, compiled and warm, the median of repeated calls.
Vmapped: 1,000 sets of parameters (log-normal, log-SD 0.3, within bounds) in one call, per set. Derivative: forward, by
the parameters that are free by default, or by all of a simulator. Compilation without the cache on disk.

LSODA has the model's right-hand side on plain floats (see peer.py), atol 1e-9 as the library's implicit stepper:
`odeint` is its compiled loop, `solve_ivp` the interface that most write; `lsoda_error` is how far it ends from the
library, which is about 1e-7 from the truth; `draws` the mean over 50 of the 1,000 sets, those on which it gave up left
out and counted; its derivative is by forward differences, one solve more than there are parameters. Renews rows of
models_speed.csv.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from peer import DAYS, DOSE, Peer, by_odeint, by_solve_ivp, courses, doses, draws
from table import asked, machine, renew

from cellkinetics import models, read_study
from cellkinetics.modelling.structure import methods
from cellkinetics.solving import solver

SETS, LSODA_SETS = 1000, 50
SECONDS, LEAST, MOST = 1.0, 3, 200
VISIBLE, STEP = 1e-3, 1e-4


def free(model):
    """Names by which it is differentiated."""
    if model.simulator:
        return tuple(model.parameters)
    table = pd.DataFrame({"subject": "P", "day": [1.0, 7, 28], "copies_per_ug": 100.0, "dose": DOSE})
    return model.default_free(read_study(table))


def median(function):
    """Seconds of a call."""
    took = []
    while len(took) < LEAST or (sum(took) < SECONDS and len(took) < MOST):
        began = time.perf_counter()
        function()
        took.append(time.perf_counter() - began)
    return float(np.median(took))


def library(model, names):
    """Times of one model in the library."""
    given, over = doses(model), courses(model)

    def solve(values):
        return solver.solve(model, jnp.asarray(DAYS), values, given, over)[0]

    def slopes(values):
        return jax.jacfwd(lambda some: solve({**values, **some}))({name: values[name] for name in names})

    alone = {name: jnp.asarray(value, float) for name, value in model.values().items()}
    many = pd.DataFrame(list(draws(model, SETS))).to_dict("list")
    many = {name: jnp.asarray(column, float) for name, column in many.items()}
    found = {}
    for what, function in (("solve", solve), ("derivative", slopes)):
        began = time.perf_counter()
        compiled = jax.jit(function).lower(alone).compile()
        found[f"{what}_compile_s"] = time.perf_counter() - began
        found[f"{what}_ms"] = 1e3 * median(lambda run=compiled: jax.block_until_ready(run(alone)))
        vmapped = jax.jit(jax.vmap(function)).lower(many).compile()
        jax.block_until_ready(vmapped(many))
        began = time.perf_counter()
        jax.block_until_ready(vmapped(many))
        found[f"{what}_vmapped_ms"] = 1e3 * (time.perf_counter() - began) / SETS
    return found, {name: np.asarray(curve) for name, curve in solve(alone).items()}


def apart(found, expected):
    """The largest relative difference where the library's curve is visible."""
    worst = 0.0
    for name, curve in expected.items():
        seen = curve > VISIBLE
        worst = max(worst, float(np.max(np.abs(found[name][seen] / curve[seen] - 1), initial=0.0)))
    return worst


def scipy_times(model, names, expected):
    """Times of LSODA on the same equations."""
    peer, found = Peer(model), {}
    values = model.values()
    plan = peer.plan(values)
    for rtol in (1e-6, 1e-8):
        here = peer.run(plan, DAYS, by_odeint(rtol))
        found[f"odeint_ms_{rtol:.0e}"] = 1e3 * median(lambda rtol=rtol: peer.run(plan, DAYS, by_odeint(rtol)))
        found[f"solve_ivp_ms_{rtol:.0e}"] = 1e3 * median(
            lambda rtol=rtol: peer.run(plan, DAYS, by_solve_ivp("LSODA", rtol))
        )
        found[f"lsoda_error_{rtol:.0e}"] = np.inf if here is None else apart(here, expected)
    plans = [peer.plan(one) for one in draws(model, LSODA_SETS)]
    took = []
    for one in plans:
        began = time.perf_counter()
        if peer.run(one, DAYS, by_odeint(1e-8)) is not None:
            took.append(time.perf_counter() - began)
    found["odeint_draws_ms_1e-08"] = 1e3 * float(np.mean(took))
    found["odeint_gave_up_of_50"] = LSODA_SETS - len(took)
    moved = [peer.plan({**values, name: values[name] * (1 + STEP)}) for name in names]

    def differences():
        for one in (plan, *moved):
            peer.run(one, DAYS, by_odeint(1e-8))

    found["odeint_derivative_ms_1e-08"] = 1e3 * median(differences)
    return found


def row(name):
    """Times of one model."""
    model = models.load(name)
    names = free(model)
    found = {"model": name, "method": methods(model)[0], "states": len(model.states), "by": len(names)}
    times, curves = library(model, names)
    found |= times
    if model.curve is None:
        with np.errstate(all="ignore"):
            found |= scipy_times(model, names, curves)
    return found


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)
    for one in asked():
        renewed = row(one) | machine()
        renew(Path(__file__).with_suffix(".csv"), renewed)
        print({key: value for key, value in renewed.items() if key != "versions"}, flush=True)
