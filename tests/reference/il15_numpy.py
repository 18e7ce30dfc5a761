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


def copies_in_logs(days, p, dose=1e6, rtol=1e-10):
    """The same after one infusion at day 0 with D in closed form and Radau in (ln E, ln M), for the stiffest curves.

    Where E passes 1e14 copies/ug LSODA gives up, and Radau on the natural scale loses M (by 7% where E passes 1e30).
    """
    first = 1e-7  # E and M are 0 at day 0; here their leading terms hold to 1e-7 of themselves
    days, infused = np.asarray(days, float), p["F"] * dose

    def slopes(t, state):
        ln_E, ln_M = state
        L = 1 / (1 + (1 / p["L0"] - 1) * np.exp(-p["r"] * t))
        S = (1 + p["kappa"]) / (1 + p["kappa"] * L) - 1 + p["tau"]
        growth = p["rho"] * S / (p["K"] + S) - p["delta"] - p["gamma"] * L - p["eps"]
        loss = p["mu0"] / (1 + p["tau"] / p["K_tau"]) + p["gamma_M"] * L
        feed = p["phi"] * p["k_d"] * infused * np.exp(-p["k_d"] * t - ln_E)
        return [feed + growth, p["eps"] * np.exp(ln_E - ln_M) * (1 - np.exp(ln_M) / p["N"]) - loss]

    E = p["phi"] * p["k_d"] * infused * first
    start, later = [np.log(E), np.log(p["eps"] * E * first / 2)], days > first
    done = solve_ivp(slopes, (first, days[-1]), start, method="Radau", t_eval=days[later], rtol=rtol, atol=rtol)
    if not done.success:
        return None
    found = infused * np.exp(-p["k_d"] * days)
    found[later] += np.exp(done.y).sum(axis=0)
    return found
