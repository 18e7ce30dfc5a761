"""How far curves by the steppers of many lanes are from scipy on the logarithms of the states.

    python tests/benchmarks/lanes_accuracy.py [row ...]

Rows are models of the library that are solved explicitly (200 draws, log-SD 0.5 around the defaults and within bounds)
and 20 random networks of 2 to 5 states (20 draws, every parameter log-uniform over two decades). Of a network every
state is lost, is made from one before it and, by a coin each, grows by a Hill term of another state, grows behind a
sigmoid gate in time, or is used up with another.
All draws of a row are solved side by side, as in a fit. Rows `implicit_00` and on are the same networks and draws by
the implicit stepper, as a model that says stiff=True is solved.

The error of a draw is the largest of |ln found - ln expected| over days and outputs, where an output is above 1e-20 of
its largest. The reference is DOP853 at rtol 1e-12; Radau at rtol 1e-11 for the first draws, wherever DOP853 and the
stepper differ by more than 1e-6, and where DOP853 takes too long. Curves that did not arrive are flagged as such and
done again by the implicit stepper; ``failed_unnoticed`` counts those that say they arrived and are off by more than
1e-4.
Renews lanes_accuracy.csv.
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from peer import DAYS, Peer, courses, doses
from scipy.integrate import solve_ivp
from table import machine

from cellkinetics import Model, Parameter, models
from cellkinetics.solving import solver

MODELS = {
    "effector_memory": 200, "kimmel_2021_axi_cel": 200, "barros_2021_cartmath": 200, "kirouac_2023": 200,
    "smooth_switch": 200, "il15_full": 200,
}  # fmt: skip
NETWORKS, NETWORK_DRAWS = 20, 20
SEED, NETWORK_SEED, LOG_SD, DECADES = 2020, 2021, 0.5, 2.0
VISIBLE, SUSPECT, WRONG = 1e-20, 1e-6, 1e-4
STEP = 1e-6  # of ln, for the Jacobian
RADAU, MOST = 2, 60_000  # draws that are asked Radau anyway; slopes that DOP853 may ask for
EMPTY, LARGEST = 1e-30, 300.0  # where ln of an empty state starts, over the largest state; held ln
DOSE = 1e6
CENTRES = {"F": 1 / DOSE, "k": 0.3, "K": 1.0, "s": 1.0, "t": 10.0, "w": 1.0}  # by the first letter of a parameter


def network(number):
    """A random network as a `Model`: its equations are written as text, so that scipy takes the same ones."""
    rng = np.random.default_rng([NETWORK_SEED, number])
    size = int(rng.integers(2, 6))
    states = [f"x{at}" for at in range(size)]
    names, slopes = {"F": None}, dict.fromkeys(states, "")

    def named(name):
        names[name] = None
        return name

    for at, state in enumerate(states):
        slopes[state] += f" - {named(f'k_{at}')} * {state}"
        other = states[int(rng.choice([each for each in range(size) if each != at]))]
        hill, gate, used, power = *(rng.random(3) < 0.5), int(rng.integers(1, 5))
        if at:
            source = states[int(rng.integers(at))]
            flow = f"{named(f'k_{source}_{state}')} * {source}"
            slopes[source] += f" - {flow}"
            slopes[state] += f" + {flow}"
        if hill:
            share = f"{other}**{power} / ({named(f'K_{at}')}**{power} + {other}**{power})"
            slopes[state] += f" + {named(f'k_hill_{at}')} * {state} / (1 + {state} / {named(f'K_full_{at}')}) * {share}"
        if gate:
            opened = f"jax.nn.sigmoid(({named(f't_{at}')} - t) / {named(f'w_{at}')})"
            grown = f"{named(f'k_gate_{at}')} * {state} / (1 + {state} / {named(f'K_gate_{at}')})"
            slopes[state] += f" + {grown} * {opened}"
        if used:
            flow = f"{named(f'k_used_{at}')} * {state} * {other}"
            slopes[state] += f" - {flow}"
            slopes[other] += f" - {flow}"
    start = {state: named(f"s_{at}") for at, state in enumerate(states) if at and rng.random() < 0.5}
    takes = ", ".join(["t", *states, *(name for name in names if name != "F" and name not in start.values())])
    home = {"jax": jax, "jnp": jnp, "__name__": __name__}
    rhs = eval(f"lambda {takes}: ({', '.join(slopes.values())},)", home)
    seen = ", ".join(f"'{state}': {state}" for state in states)
    observe = eval(f"lambda {', '.join(states)}: {{{seen}}}", home)
    return Model(
        name=f"network_{number:02d}",
        parameters={name: Parameter(CENTRES[name[0]], "1", "this script") for name in names},
        outputs=dict.fromkeys(states, "1"),
        states=tuple(states),
        rhs=rhs,
        observe=observe,
        start=start,
        dosing={"cells": ("x0", "F")},
    )


def draws(model, count, of_network):
    """{name: (count,)}."""
    rng = np.random.default_rng(SEED)
    table = {}
    for name, parameter in model.parameters.items():
        spread = np.log(10) * DECADES * (rng.random(count) - 0.5) if of_network else LOG_SD * rng.normal(size=count)
        table[name] = np.clip(parameter.value * np.exp(spread), parameter.min, parameter.max)
    return table


class TooLong(Exception):
    """DOP853 asked for too many slopes."""


def in_logs(method, rtol, most=np.inf):
    """An integrator of `Peer.run` on the logarithms of the states."""

    def integrate(slope, state, asked):
        count, steps = 0, STEP * np.eye(len(state))

        def slopes(t, logs):
            nonlocal count
            count += 1
            if count > most:
                raise TooLong
            natural = np.exp(np.clip(logs, -LARGEST, LARGEST))
            try:
                return np.asarray(slope(t, natural)) / natural
            except OverflowError:
                return np.full(len(logs), np.inf)

        def jacobian(t, logs):
            # Those of scipy take longer and longer steps in what nothing depends on, until they are infinite.
            return np.stack([(slopes(t, logs + step) - slopes(t, logs - step)) / (2 * STEP) for step in steps], axis=1)

        start, more = np.log(np.maximum(state, EMPTY * state.max())), {"jac": jacobian} if method == "Radau" else {}
        try:
            done = solve_ivp(slopes, (asked[0], asked[-1]), start, method, asked, rtol=rtol, atol=rtol, **more)
        except TooLong:
            return None
        return np.exp(done.y) if done.success else None

    return integrate


def off(found, expected):
    """The largest difference of ln over days and outputs; infinite where one is not a number."""
    seen = expected > VISIBLE * expected.max(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        apart = np.abs(np.log(found[seen]) - np.log(expected[seen]))
    return float(np.max(np.where(np.isfinite(apart), apart, np.inf), initial=0.0))


def row(name):
    """What the draws of one model or network show."""
    implicit = name.startswith("implicit")
    of_network = implicit or name.startswith("network")
    model = network(int(name[-2:])) if of_network else models.load(name)
    count = NETWORK_DRAWS if of_network else MODELS[name]
    table, given, over, peer = draws(model, count, of_network), doses(model), courses(model), Peer(model)

    def curves(values):
        found, arrived = solver.solve_ode(model, jnp.asarray(DAYS), values, given, over, stiff=implicit)
        return jnp.stack([found[output] for output in model.outputs]), arrived

    found, arrived = (np.asarray(part) for part in jax.jit(jax.vmap(curves))(table))

    def by_scipy(plan, *how):
        with np.errstate(all="ignore"):
            curve = peer.run(plan, DAYS, in_logs(*how))
        return None if curve is None else np.stack([curve[output] for output in model.outputs])

    errors, apart, asked, without = [], [], 0, 0
    for number in np.flatnonzero(arrived):
        plan = peer.plan({key: float(column[number]) for key, column in table.items()})
        expected = quick = by_scipy(plan, "DOP853", 1e-12, MOST)
        if number < RADAU or quick is None or off(found[number], quick) > SUSPECT:
            asked += 1
            radau = by_scipy(plan, "Radau", 1e-11)
            if radau is not None and quick is not None:
                apart.append(off(quick, radau))
            expected = quick if radau is None else radau
        if expected is None:
            without += 1
            continue
        errors.append(off(found[number], expected))
    known = np.array(errors)
    return {
        "model": name,
        "states": len(model.states),
        "parameters": len(model.parameters),
        "draws": count,
        "did_not_arrive": int((~arrived).sum()),
        "error_median": float(np.median(known)),
        "error_p99": float(np.quantile(known, 0.99)),
        "error_max": float(known.max()),
        "failed_unnoticed": int((known > WRONG).sum()),
        "no_reference": without,
        "asked_radau": asked,
        "dop853_against_radau_max": float(np.max(apart, initial=0.0)),
    }


if __name__ == "__main__":
    every = [*MODELS, *(f"{by}_{number:02d}" for by in ("network", "implicit") for number in range(NETWORKS))]
    path = Path(__file__).with_suffix(".csv")
    for one in sys.argv[1:] or every:
        began = time.perf_counter()
        renewed = row(one)
        new = pd.DataFrame([{k: f"{v:.3g}" if isinstance(v, float) else v for k, v in (renewed | machine()).items()}])
        if path.exists():
            old = pd.read_csv(path, dtype=str, keep_default_na=False)
            new = pd.concat([old[old["model"] != one], new])
        new.sort_values("model", key=lambda column: column.map(every.index)).to_csv(path, index=False)
        print(f"{time.perf_counter() - began:.0f} s", renewed, flush=True)
