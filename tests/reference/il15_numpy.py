"""The equations of il15_persistence in numpy, for scipy's steppers; written from the formulas, not the model file."""

import numpy as np
from scipy.integrate import solve_ivp


def rhs(t, state, p):
    """Derivatives of D, E, M, X at parameters ``p`` ({name: natural value})."""
    D, E, M, X = state
    L = 1 / (1 + (1 / p["L0"] - 1) * np.exp(-p["r"] * t))
    I = (1 + p["kappa"]) / (1 + p["kappa"] * L)
    S = I - 1 + p["tau"]
    growth = p["rho"] * S / (p["K"] + S) - p["delta"] - p["gamma"] * L - p["eps"] - X
    loss = p["mu0"] / (1 + p["tau"] / p["K_tau"]) + p["gamma_M"] * L + X
    return [
        -(p["k_d"] + X) * D,
        p["phi"] * p["k_d"] * D + growth * E,
        p["eps"] * E * (1 - M / p["N"]) - loss * M,
        -p["k_e"] * X,
    ]


def copies(days, p, cells=((0.0, 1e6),), rimiducid=(), method="LSODA", rtol=1e-10, atol=1e-12):
    """D + E + M at sorted ``days``, restarted at each dose; at the time of a dose, the value after it.

    Returns None where the stepper gave up. ``cells`` and ``rimiducid``: (day, amount) pairs.
    """
    days = np.asarray(days, float)
    events = [(day, 0, p["F"] * amount) for day, amount in cells]
    events += [(day, 3, p["k_s"] * amount) for day, amount in rimiducid]
    edges = np.unique([0.0, *(day for day, _, _ in events)])
    state, found = np.zeros(4), np.full(len(days), np.nan)
    for begin, end in zip(edges, [*edges[1:], np.inf], strict=True):
        for day, index, gain in events:
            state[index] += gain * (day == begin)
        here = (days >= begin) & (days < end)
        if not np.any(days >= begin):
            break
        asked = np.unique([begin, *days[here], end if np.isfinite(end) else begin])
        if len(asked) == 1:
            found[here] = state[:3].sum()
            continue
        done = solve_ivp(rhs, (begin, asked[-1]), state, method=method, t_eval=asked, args=(p,), rtol=rtol, atol=atol)
        if not done.success:
            return None
        found[here] = done.y[:3].sum(axis=0)[np.searchsorted(asked, days[here])]
        state = done.y[:, -1].copy()
    return found
