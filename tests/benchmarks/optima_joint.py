"""How often a joint fit ends below the optimum that an independent multistart finds.

    python tests/benchmarks/optima_joint.py [stein_2019_tisagenlecleucel nk_decline] [studies=25]

100 **simulated** studies of eight patients as in `optima.py`: Stein 2019 and nk_decline with alpha and beta shared, one
sd, 0 and 30% below the limit, 25 each, with all defaults of `ck.fit`. Seeds and designs were fixed before the first
run.

The multistart has its own likelihood: from the shared values of the truth, of the library's end and of two Latin
hypercube points around the truth, each patient's own values by the multistart of `optima.py` (narrow starts, the truth,
kinks held on sampled days) while the shared ones stay, then all together by scipy's L-BFGS-B; twice in turn. Where it
ends more than 0.005 above the fit, its end is judged by the objective of the library.

Columns as in `optima.py`; `seconds` is the median of a joint fit. Writes optima_joint.csv.
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optima
import pandas as pd
from scipy.optimize import minimize
from scipy.stats import qmc
from table import machine

import cellkinetics as ck
from cellkinetics import models

STUDIES, PATIENTS, SHARED, FEWER, ROUNDS = 25, 8, ["alpha", "beta"], 12, 2
BELOW = (0.0, 0.3)
MODELS = ("stein_2019_tisagenlecleucel", "nk_decline")


class Together:
    """The joint objective of patients (n, d) with some columns shared, and scipy on it."""

    def __init__(self, model, problems):
        self.model, self.problems, self.free = model, problems, len(problems[0].free)
        self.shared = np.array([*(problems[0].free.index(name) for name in SHARED), self.free])
        self.own = np.setdiff1d(np.arange(self.free + 1), self.shared)
        ln_f = optima.curve_of(model, problems[0])
        rows = [optima.data_of(problem) for problem in problems]
        self.data = {name: np.stack([row[name] for row in rows]) for name in rows[0]}

        def one(x, data):
            return jnp.sum(optima.likelihood(ln_f(x[: self.free]), x[self.free], data))

        self.each = jax.jit(jax.vmap(one))
        self.slopes = jax.jit(jax.value_and_grad(lambda x, data: -jnp.sum(jax.vmap(one)(x, data))))

    def climbed(self, x):
        """From x (n, d): value and end of L-BFGS-B."""
        size, (lower, upper) = len(self.shared), (self.data[name] for name in ("lower", "upper"))

        def wide(v):
            x = np.empty((len(self.problems), self.free + 1))
            x[:, self.shared], x[:, self.own] = v[:size], v[size:].reshape(len(x), -1)
            return x

        def objective(v):
            value, slope = self.slopes(wide(v), self.data)
            slope = np.asarray(slope)
            flat = np.concatenate([slope[:, self.shared].sum(axis=0), slope[:, self.own].ravel()])
            return (float(value), flat) if np.isfinite(value) and np.all(np.isfinite(flat)) else (1e10, 0 * flat)

        begin = np.concatenate([x[0, self.shared], x[:, self.own].ravel()])
        ends = [np.concatenate([part[0, self.shared], part[:, self.own].ravel()]) for part in (lower, upper)]
        bounds = np.stack(ends, axis=1)
        end = minimize(objective, np.clip(begin, *bounds.T), jac=True, method="L-BFGS-B", bounds=bounds,
                       options={"maxiter": 1000, "maxcor": 30, "ftol": 1e-12, "gtol": 1e-7})  # fmt: skip
        return -float(end.fun), wide(end.x)


def best_of(model, together, fit_x, truth, rng):
    """The best value and end (n, d) of the multistart."""
    problems = together.problems
    starts, held = optima.starts_of(model, problems, truth)
    kept = np.r_[optima.WIDE : optima.WIDE + FEWER, optima.WIDE + optima.NARROW : starts.shape[1]]
    starts, held = starts[:, kept], held[:, kept].copy()
    held[:, :, together.shared] = True
    true = starts[:, FEWER]
    middle = np.append(np.mean(true[:, together.shared[:-1]], axis=0), np.log(optima.SD))
    drawn = middle + 0.5 * (2 * qmc.LatinHypercube(len(middle), rng=rng).random(2) - 1)
    ends = []
    for shared in [middle, fit_x[0, together.shared], *drawn]:
        for _ in range(ROUNDS):
            starts[:, :, together.shared] = shared
            values, found = optima.multistart(model, problems, starts, held)
            best = np.argmax(values, axis=1)
            x = found[np.arange(len(problems)), best]
            ends += [(float(np.sum(values.max(axis=1))), x), together.climbed(x)]
            shared = ends[-1][1][0, together.shared]
    return max(ends, key=lambda end: end[0])


def row(name, below, studies):
    """One model at one share of samples below the limit."""
    model, lost, seconds, said = models.load(name), [], [], []
    for number in range(studies):
        table, truth = optima.simulated(model, PATIENTS, [optima.SEED, number])
        copies = table["copies_per_ug"]
        limit = float(copies.quantile(below)) if below else float(copies.min() / 2)
        begun = time.process_time()
        fit = ck.fit(model, ck.read_study(table, lloq=limit), shared=SHARED)
        seconds.append(time.process_time() - begun)
        known = [values for subject, values in zip(table["subject"].unique(), truth, strict=True)
                 if subject in fit.each]  # fmt: skip
        problems = [one.problem for one in fit.each.values()]
        together = Together(model, problems)
        fit_x = np.stack([one.x for one in fit.each.values()])
        best, x = best_of(model, together, fit_x, known, np.random.default_rng([optima.SEED, number, 2]))
        ours = float(sum(p.objective(v) for p, v in zip(problems, fit_x, strict=True)))
        if best > ours + optima.DISPUTED:
            best = float(sum(p.objective(v) for p, v in zip(problems, x, strict=True)))
        lost.append(best - ours)
        said.append(fit.converged)
        if lost[-1] > optima.WORSE:
            print(name, below, number, round(lost[-1], 3), fit.outcome[:70], fit.starts, flush=True)
    lost, worse = np.array(lost), np.array(lost) > optima.WORSE
    return {
        "model": name, "below": f"{below:.0%}", "studies": studies, "below_0.01": int(worse.sum()),
        "worst": round(float(lost.max()), 3), "above_0.01": int((lost < -optima.WORSE).sum()),
        "said_nothing": int((worse & np.array(said)).sum()), "seconds": round(float(np.median(seconds)), 2),
    }  # fmt: skip


if __name__ == "__main__":
    given = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    path = Path(__file__).with_suffix(".csv")
    for one in [name for name in sys.argv[1:] if name in MODELS] or MODELS:
        for share in BELOW:
            found = row(one, share, int(given.get("studies", STUDIES)))
            print(found, flush=True)
            if not given:
                new = pd.DataFrame([found | machine()]).astype(str)
                if path.exists():
                    old = pd.read_csv(path, dtype=str, keep_default_na=False)
                    new = pd.concat([old[(old["model"] != one) | (old["below"] != found["below"])], new])
                new.to_csv(path, index=False)
