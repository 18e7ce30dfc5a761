"""What fast-minded users write for il15_persistence in numba: a right-hand side for `odeint`, or all of the fit.

`by_odeint` keeps lmfit and gives `odeint` (LSODA) a compiled right-hand side. `fitted` is compiled from end to end: the
pair of Dormand and Prince with sensitivities written by hand and its dense output, and Levenberg-Marquardt on the
root-deviances. Both integrate E and M alone: D, L and I have closed forms, and E is linear in F. Needs numba.
"""

import math

import numpy as np
from numba import njit  # pyright: ignore[reportMissingImports]
from scipy.integrate import odeint

NAMES = ("F", "rho", "r", "mu0", "N")
HELD = ("k_d", "phi", "K", "tau", "delta", "gamma", "eps", "K_tau", "gamma_M", "L0", "kappa")
ROOT2, ROOT2PI = math.sqrt(2), math.sqrt(2 * math.pi)
# Dormand and Prince 1980: nodes, weights of the stages, of the error and of the dense output (Hairer's contd5).
C = np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1])
A = np.array([
    [0, 0, 0, 0, 0, 0], [1 / 5, 0, 0, 0, 0, 0], [3 / 40, 9 / 40, 0, 0, 0, 0], [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
])  # fmt: skip
E = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
D = np.array([
    -12715105075 / 11282082432, 0, 87487479700 / 32700410799, -10690763975 / 1880347072, 701980252875 / 199316789632,
    -1453857185 / 822651844, 69997945 / 29380423,
])  # fmt: skip


@njit
def rates(t, y, p, h, dose, out, sensitive):
    """Slopes of E and M, then of E by ln rho and ln r and of M by ln of all five."""
    F, rho, r, mu0, N = p
    k_d, phi, K, tau, delta, gamma, eps, K_tau, gamma_M, L0, kappa = h
    L = 1 / (1 + (1 / L0 - 1) * math.exp(-r * t))
    S = (1 + kappa) / (1 + kappa * L) - 1 + tau
    felt = rho * S / (K + S)
    growth, keep = felt - delta - gamma * L - eps, mu0 / (1 + tau / K_tau)
    loss, free = keep + gamma_M * L, eps * (1 - y[1] / N)
    out[0] = phi * k_d * F * dose * math.exp(-k_d * t) + growth * y[0]
    out[1] = free * y[0] - loss * y[1]
    if sensitive:
        dL = L * (1 - L) * t * r
        dS = -(1 + kappa) * kappa / (1 + kappa * L) ** 2 * dL
        out[2] = growth * y[2] + felt * y[0]
        out[3] = growth * y[3] + (rho * K / (K + S) ** 2 * dS - gamma * dL) * y[0]
        own = -(eps * y[0] / N + loss)
        out[4] = free * y[0] + own * y[4]
        out[5] = free * y[2] + own * y[5]
        out[6] = free * y[3] + own * y[6] - gamma_M * dL * y[1]
        out[7] = own * y[7] - keep * y[1]
        out[8] = own * y[8] + eps * y[0] * y[1] / N


@njit
def integrated(days, p, h, dose, rtol, atol):
    """States and sensitivities (9, n) at sorted days."""
    size, n = 9, len(days)
    y, k, found = np.zeros(size), np.zeros((7, size)), np.zeros((size, n))
    new, t, step, at = np.zeros(size), 0.0, 0.05, 0
    rates(t, y, p, h, dose, k[0], True)
    while at < n and days[at] <= 0:
        at += 1
    for _ in range(5000):
        if at >= n:
            break
        for s in range(1, 7):
            for i in range(size):
                total = 0.0
                for j in range(s):
                    total += A[s, j] * k[j, i]
                new[i] = y[i] + step * total
            rates(t + C[s] * step, new, p, h, dose, k[s], True)
        error = 0.0
        for i in range(2):
            off = 0.0
            for s in range(7):
                off += E[s] * k[s, i]
            error = max(error, abs(step * off) / (atol + rtol * max(abs(y[i]), abs(new[i]))))
        if error <= 1:
            while at < n and days[at] <= t + step:
                u = (days[at] - t) / step
                for i in range(size):
                    rise, fourth = new[i] - y[i], 0.0
                    for s in range(7):
                        fourth += D[s] * k[s, i]
                    bend = step * k[0, i] - rise
                    last = rise - step * k[6, i] - bend
                    found[i, at] = y[i] + u * (rise + (1 - u) * (bend + u * (last + (1 - u) * step * fourth)))
                at += 1
            t += step
            y[:] = new
            k[0] = k[6]
        step *= min(5.0, max(0.2, 0.9 * (error + 1e-12) ** -0.2))
    return found


@njit
def roots(x, days, logs, below, h, dose, r, J):
    """Root-deviances (n + 1,) at the ln parameters and ln sd, and their slopes (n + 1, 6)."""
    p, sd, n, quantified = np.exp(x[:5]), math.exp(x[5]), len(days), 0
    y = integrated(days, p, h, dose, 1e-6, 1e-6)
    for i in range(n):
        infused = p[0] * dose * math.exp(-h[0] * days[i])
        f = max(infused + y[0, i] + y[1, i], 1e-9)
        z, slope = (logs[i] - math.log(f)) / sd, 1.0
        r[i] = z
        if below[i]:
            share = max(0.5 * math.erfc(-z / ROOT2), 1e-300)
            r[i] = math.sqrt(max(-2 * math.log(share), 1e-300))
            slope = -math.exp(-0.5 * z * z) / ROOT2PI / share / r[i]
        else:
            quantified += 1
        J[i, 0] = -slope / sd * (infused + y[0, i] + y[4, i]) / f
        J[i, 1], J[i, 2] = -slope / sd * (y[2, i] + y[5, i]) / f, -slope / sd * (y[3, i] + y[6, i]) / f
        J[i, 3], J[i, 4], J[i, 5] = -slope / sd * y[7, i] / f, -slope / sd * y[8, i] / f, -slope * z
    r[n] = math.sqrt(max(2 * quantified * (x[5] - math.log(0.01)), 1e-12))
    J[n, :] = 0.0
    J[n, 5] = quantified / r[n]
    return quantified


@njit
def fitted(x, days, logs, below, h, dose):
    """ln parameters and ln sd where Levenberg-Marquardt ends, and the log-likelihood there."""
    n, damping = len(days), 1e-3
    r, J, tried, JT = np.zeros(n + 1), np.zeros((n + 1, 6)), np.zeros(n + 1), np.zeros((n + 1, 6))
    quantified = roots(x, days, logs, below, h, dose, r, J)
    total = np.sum(r * r)
    for _ in range(200):
        H, g = J.T @ J, J.T @ r
        for i in range(6):
            H[i, i] *= 1 + damping
            H[i, i] += 1e-12
        step = np.linalg.solve(H, g)
        there = x - step * min(1.0, 2.0 / np.max(np.abs(step)))
        there[5] = max(there[5], math.log(0.02))
        roots(there, days, logs, below, h, dose, tried, JT)
        value = np.sum(tried * tried)
        if value < total:
            gain, x, total, damping = total - value, there, value, max(damping * 0.2, 1e-9)
            r[:], J[:] = tried, JT
            if gain < 1e-9 * total:
                break
        else:
            damping *= 4
            if damping > 1e10:
                break
    return x, -0.5 * (total + 2 * quantified * math.log(0.01) + quantified * math.log(2 * math.pi))


@njit
def _slopes(t, y, p, h, dose, out):
    rates(t, y, p, h, dose, out, False)
    return out


def by_odeint(days, p, dose):
    """Copies/ug, E and M by LSODA with a compiled right-hand side, at days without 0."""
    free, held = np.array([p[name] for name in NAMES]), np.array([p[name] for name in HELD])
    path, info = odeint(
        _slopes, np.zeros(2), np.append(0.0, days), args=(free, held, dose, np.zeros(2)), tfirst=True,
        rtol=1e-6, atol=1e-6, full_output=True,
    )  # fmt: skip
    if info["message"] != "Integration successful.":
        return np.full(len(days), np.nan)
    return p["F"] * dose * np.exp(-p["k_d"] * days) + path[1:].sum(axis=1)
