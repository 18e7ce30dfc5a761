"""How often a fit ends below the optimum that an independent multistart finds.

    python tests/benchmarks/optima.py [stein_2019_tisagenlecleucel ...] [patients=200]

Patients: 200 **simulated** ones of each of five models, parameters log-normal around the defaults (SDs below), residual
SD 0.5 on the ln scale, 15 samples from day 1 to 365, one infusion of 1e6 cells/kg; the lower limit is the quantile of
all values that leaves 0, 30 or 60% below it. Fitted with all defaults of `ck.fit_each`. Seeds, SDs, days and limits
were fixed before the first run.

The multistart shares nothing with the library but the bounds, which sds are free and the prior of an sd that has one:
its own likelihood, its own damped scoring (curves of ODEs by quadrature, which holds for what is fixed by default; of
il15_persistence the library's), 36 Latin-hypercube starts over a wide box, 24 over a narrow one, one at the truth;
where a curve has a kink also one with the kink held on each sampled day. Who has fewer quantified samples than the fit
accepts is left out. Where the multistart ends more than 0.005 above the fit, its end is judged by the objective of the
library.

Columns: `compared` patients; `below_0.01`, of how many the fit is worse by more than 0.01 log-likelihood units (the
prior of an sd that has one included); `worst`, by how much at most; `above_0.01`, of how many the multistart is worse;
`said_nothing`, how many of those below are called converged. Writes optima.csv.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.nn import sigmoid, softplus
from jax.scipy.special import log_ndtr
from patients import drawn
from scipy.stats import qmc
from table import machine

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.modelling.structure import Method
from cellkinetics.solving.sensitivity import ln_curve

SEED, PATIENTS, SD, DOSE = 2026, 200, 0.5, 1e6
BELOW = (0.0, 0.3, 0.6)
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])
SPREADS = {
    "stein_2019_tisagenlecleucel": {"fold": 0.8, "t_max": 0.2, "c_max": 0.65, "alpha": 0.4, "f_b": 0.5, "beta": 0.5},
    "nk_decline": {"F": 0.5, "alpha": 0.4, "f_b": 0.5, "beta": 0.5},
    "smooth_switch": {"fold": 0.8, "t_max": 0.2, "c_max": 0.65, "alpha": 0.4, "f_b": 0.5, "beta": 0.5},
    "effector_memory": {"F": 0.5, "rho": 0.15, "t_max": 0.2, "alpha": 0.4, "k_em": 0.5, "beta": 0.5},
    "il15_persistence": {"F": 0.5, "rho": 0.06, "r": 0.1, "mu0": 0.3, "N": 0.4},
}
WIDE, NARROW, REACH = 36, 24, (4.0, 2.5)  # starts, and half the boxes: units, and SDs of the patients
STEPS, KEPT, FURTHER, LANES = 25, 8, 75, 512  # of all starts; of the best of each patient, so many steps more
WORSE, DISPUTED = 0.01, 0.005


def simulated(model, patients, seed=SEED):
    """Tables of simulated patients, by subject, and their true values."""
    table, truths = drawn(model, SPREADS[model.name], patients, DAYS, seed=seed, sd=SD, digits=4)
    return table.drop(columns="curve"), [{name: own[name] for name in model.parameters} for own in truths.values()]


def decline(after, p):
    return jnp.logaddexp(jnp.log1p(-p["f_b"]) - p["alpha"] * after, jnp.log(p["f_b"]) - p["beta"] * after)


def stein(p):
    before, after = jnp.minimum(DAYS - p["t_max"], 0), jnp.maximum(DAYS - p["t_max"], 0)
    return jnp.log(p["c_max"]) + jnp.log(p["fold"]) / p["t_max"] * before + decline(after, p)


def nk(p):
    return jnp.log(p["F"] * DOSE) + decline(DAYS, p)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


def smooth(p):
    """E in closed form; M by Gauss-Legendre over the 32 widths in which the gate opens, then in closed form."""
    w, t_max, alpha, beta = (p[name] for name in ("w", "t_max", "alpha", "beta"))
    rate = jnp.log(p["fold"]) / t_max

    def ln_effector(t):
        opened = w * (softplus((t - t_max) / w) - softplus(-t_max / w))
        return jnp.log(p["c_max"] / p["fold"]) + rate * (t - opened) - alpha * opened

    begin, end = jnp.maximum(t_max - 16 * w, 0.0), t_max + 16 * w
    until = jnp.clip(jnp.asarray(DAYS), begin, end)[:, None]
    s = begin + (until - begin) * (NODES + 1) / 2
    made = sigmoid((s - t_max) / w) * jnp.exp(ln_effector(s) - beta * (DAYS[:, None] - s))
    inner = jnp.sum(WEIGHTS * made, axis=1) * (until - begin)[:, 0] / 2
    late, gap = jnp.maximum(DAYS - end, 0.0), alpha - beta
    after = jnp.exp(ln_effector(end) - beta * late) * -jnp.expm1(-gap * late) / gap
    # alpha has to be faster than beta: the library does not solve the others.
    return jnp.where(gap > 0, jnp.log(jnp.exp(ln_effector(DAYS)) + p["f_b"] * gap * (inner + after)), jnp.nan)


# Panels of a quarter of a day, later of a twentieth of the time, between the sampled days.
EDGES = [0.0]
for day in DAYS:
    cuts = max(int(np.ceil((day - EDGES[-1]) / max(0.25, 0.05 * EDGES[-1]))), 1)
    EDGES += list(EDGES[-1] + (day - EDGES[-1]) * np.arange(1, cuts + 1) / cuts)
EDGES = np.array(EDGES)
SAMPLED = np.searchsorted(EDGES, DAYS)
THREE, THIRDS = (part / 2 for part in np.polynomial.legendre.leggauss(3))
# Integrals from the beginning of a panel of length 1 to each of its three nodes.
POWERS = np.vander(THREE + 0.5, increasing=True)
WITHIN = (POWERS * (THREE[:, None] + 0.5) / np.arange(1, 4)) @ np.linalg.inv(POWERS)
LENGTHS = np.diff(EDGES)
AT = EDGES[:-1, None] + LENGTHS[:, None] * (THREE + 0.5)


def effector(p):
    """E by its growth in closed form and one quadrature, M by another."""
    rho, alpha, w, k_d, beta = (p[name] for name in ("rho", "alpha", "w", "k_d", "beta"))
    shift = jnp.log(rho / alpha)

    def grown(t):
        turned = w * (softplus((t - p["t_max"]) / w + shift) - softplus(-p["t_max"] / w + shift))
        return rho * t - (rho + alpha) * turned

    fed = jnp.exp(jnp.minimum(-k_d * AT - grown(AT), 600.0))
    whole = jnp.cumsum(LENGTHS * (fed @ THIRDS))
    before = jnp.append(0.0, whole[:-1])[:, None]
    F, given = p["F"] * DOSE, p["f"] * k_d * p["F"] * DOSE
    E = given * jnp.exp(grown(AT)) * (before + LENGTHS[:, None] * (fed @ WITHIN.T))
    M = jnp.cumsum(LENGTHS * ((E * jnp.exp(beta * AT)) @ THIRDS))[SAMPLED - 1]
    ends = given * jnp.exp(grown(DAYS)) * whole[SAMPLED - 1]
    return jnp.log(F * jnp.exp(-k_d * DAYS) + ends + p["k_em"] * M * jnp.exp(-beta * DAYS))


CURVES = {
    "stein_2019_tisagenlecleucel": stein, "nk_decline": nk, "smooth_switch": smooth, "effector_memory": effector,
}  # fmt: skip


def curve_of(model, problem):
    """Function of a free vector: ln f on the sampled days, without what is added to the curve."""
    if model.name in CURVES:
        known = model.values()

        def ln_f(x):
            free = {name: model.parameters[name].to_natural(x[at]) for at, name in enumerate(problem.free)}
            return CURVES[model.name](known | free)

        return ln_f
    inputs = jax.tree.map(jnp.asarray, problem.inputs._replace(least=np.zeros_like(problem.inputs.least)))
    return lambda x: ln_curve(model, (), Method.FINER_STRUCTURE, x, inputs)[0][: len(DAYS)]


def likelihood(g, ln_sd, data):
    """Of each sample, from ln f and ln sd."""
    z = (data["ln"] - jnp.logaddexp(g, data["least"])) * jnp.exp(-ln_sd)
    density = -0.5 * z**2 - ln_sd - 0.5 * jnp.log(2 * jnp.pi)
    return jnp.where(data["below"], log_ndtr(jnp.where(data["below"], z, 0.0)), density)


_RUNS = {}


def climber(ln_f, free):
    """The compiled function (steps, x (q, d), moving (q, d), data (q, ...)) -> values and ends."""

    def score(x, data):
        g, jacobian = ln_f(x[:free]), jax.jacfwd(ln_f)(x[:free])
        ln_sd = jnp.full(len(g), x[free])
        away = x[free] - data["mean"]
        value = jnp.sum(likelihood(g, ln_sd, data)) - 0.5 * data["precision"] * away**2
        by_g, by_sd = jax.grad(lambda g, s: jnp.sum(likelihood(g, s, data)), argnums=(0, 1))(g, ln_sd)
        each = jax.vmap(jax.grad(jax.grad(lambda g, s, d: likelihood(g, s, d))))
        parts = {name: jnp.broadcast_to(data[name], g.shape) for name in ("ln", "least", "below")}
        curved = jnp.maximum(-each(g, ln_sd, parts), 0.0)
        gradient = jnp.append(jacobian.T @ by_g, jnp.sum(by_sd) - data["precision"] * away)
        weight = 2.0 * jnp.sum(~data["below"]) + 1e-3 + data["precision"]
        information = jnp.zeros((free + 1, free + 1)).at[:free, :free].set(jacobian.T @ (curved[:, None] * jacobian))
        return value, gradient, information.at[free, free].set(weight)

    def step(_, carry):
        x, trial, value, gradient, information, damping, moving, data = carry
        new = score(trial, data)
        fine = jnp.isfinite(new[0]) & jnp.all(jnp.isfinite(new[1])) & jnp.all(jnp.isfinite(new[2]))
        better = fine & (new[0] >= value)
        x, value, gradient, information = jax.tree.map(
            lambda a, b: jnp.where(better, a, b), (trial, *new), (x, value, gradient, information)
        )
        damping = jnp.clip(jnp.where(better, damping / 5, damping * 4), 1e-9, 1e9)
        pressed = (x <= data["lower"]) & (gradient < 0) | (x >= data["upper"]) & (gradient > 0)
        may = moving & ~pressed
        both = may[:, None] & may[None, :]
        diagonal = jnp.maximum(jnp.diagonal(information), 1e-9)
        matrix = jnp.where(both, information + jnp.diag(damping * diagonal), 0.0) + jnp.diag(jnp.where(may, 1e-12, 1.0))
        move = jnp.clip(jnp.linalg.solve(matrix, jnp.where(may, gradient, 0.0)), -1.0, 1.0)
        move = jnp.where(jnp.isfinite(move), move, 0.0)
        return x, jnp.clip(x + move, data["lower"], data["upper"]), value, gradient, information, damping, moving, data

    def climb(steps, x, moving, data):
        d = free + 1
        begin = x, x, -jnp.inf, jnp.zeros(d), jnp.zeros((d, d)), 1e-2, moving, data
        end = jax.lax.fori_loop(0, steps, step, begin)
        return end[2], end[0]

    return jax.jit(jax.vmap(climb, in_axes=(None, 0, 0, 0)))


def multistart(model, problems, starts, held):
    """(patients, starts) log-likelihoods and (patients, starts, d) ends of own damped scoring; ``held`` stays."""
    free = len(problems[0].free)
    if (key := (model.name, problems[0].free)) not in _RUNS:
        _RUNS[key] = climber(curve_of(model, problems[0]), free)
    run, rows = _RUNS[key], [data_of(problem) for problem in problems]

    def climbed(steps, starts, held):
        whose = np.repeat(np.arange(len(problems)), starts.shape[1])
        flat, stay = starts.reshape(-1, free + 1), held.reshape(-1, free + 1)
        ended = []
        for at in range(0, len(flat), LANES):
            some = np.arange(at, at + LANES) % len(flat)
            data = {name: np.stack([rows[i][name] for i in whose[some]]) for name in rows[0]}
            given = np.clip(flat[some], data["lower"], data["upper"])
            ended.append(jax.tree.map(np.asarray, run(steps, given, ~stay[some] & data["moving"], data)))
        values, ends = (np.concatenate(part)[: len(flat)] for part in zip(*ended, strict=True))
        return np.nan_to_num(values, nan=-np.inf).reshape(starts.shape[:2]), ends.reshape(starts.shape)

    values, ends = climbed(STEPS, starts, held)
    kept = np.argsort(-values, axis=1)[:, :KEPT]
    return climbed(FURTHER, np.take_along_axis(ends, kept[..., None], 1), np.take_along_axis(held, kept[..., None], 1))


def data_of(problem):
    """What the multistart takes of a patient: samples, bounds, whether sd is free, its prior (precision 0: none)."""
    samples, free_sd = problem.samples, bool(problem.sd_free[0])
    lower, upper = problem.bounds
    ends = lower if free_sd else np.append(lower, -np.inf), upper if free_sd else np.append(upper, np.inf)
    moving = np.append(np.ones(len(problem.free), bool), free_sd)
    below = ~samples.quantified
    mean, precision = (problem.prior[0][-1], problem.prior[1][-1, -1]) if free_sd else (0.0, 0.0)
    return {"ln": np.log(samples.upper), "below": below, "least": np.log(problem.least[0]), "mean": mean,
            "precision": precision, "lower": ends[0], "upper": ends[1], "moving": moving}  # fmt: skip


def starts_of(model, problems, truth):
    """(patients, starts, d) where the multistart begins, and what is held there."""
    rng = np.random.default_rng([SEED, 1])
    free = problems[0].free
    centre = np.array([model.parameters[name].to_estimation(model.parameters[name].value) for name in free])
    spread = np.array([SPREADS[model.name].get(name, 0.5) for name in free])
    drawn = [
        centre + reach * (2 * qmc.LatinHypercube(len(free), rng=rng).random(count) - 1)
        for count, reach in ((WIDE, REACH[0]), (NARROW, REACH[1] * spread))
    ]
    days = [day for day in DAYS if model.corners]
    starts = np.zeros((len(problems), WIDE + NARROW + 1 + 2 * len(days), len(free) + 1))
    held = np.zeros(starts.shape, bool)
    for i, values in enumerate(truth):
        true = np.array([model.parameters[name].to_estimation(values[name]) for name in free])
        starts[i, :, :-1] = np.concatenate([*drawn, np.tile(true, (1 + 2 * len(days), 1))])
    starts[..., -1] = np.log(SD)
    for number, day in enumerate(days):
        at = free.index(model.corners[0])
        # Held on the day, and let go from there.
        for place in (-1 - number, -1 - number - len(days)):
            starts[:, place, at] = np.log(day)
        held[:, -1 - number, at] = True
    return starts, held


def row(name, below, patients):
    """One model at one share of samples below the limit."""
    model = models.load(name)
    table, truth = simulated(model, patients)
    limit = float(table["copies_per_ug"].quantile(below)) if below else float(table["copies_per_ug"].min() / 2)
    fits = ck.fit_each(model, ck.read_study(table, lloq=limit), progress=False)
    taken = [(fit, values) for fit, values in zip(fits.values(), truth, strict=True) if fit.fitted]
    each, known = [fit for fit, _ in taken], [values for _, values in taken]
    problems = [fit.problem for fit in each]
    values, ends = multistart(model, problems, *starts_of(model, problems, known))
    ours, best = np.array([fit.problem.objective(fit.x) for fit in each]), values.max(axis=1)
    for i in np.flatnonzero(best > ours + DISPUTED):
        # The best of its ends by the objective of the library.
        width = len(problems[i].free) + int(problems[i].sd_free[0])
        order = np.argsort(-values[i])[:5]
        best[i] = np.nanmax([-np.inf, *(problems[i].objective(ends[i, at, :width]) for at in order)])
    lost = best - ours
    worse = lost > WORSE
    found = {
        "model": name, "below": f"{below:.0%}", "patients": patients, "compared": len(each),
        "below_0.01": int(worse.sum()), "worst": round(float(lost.max()), 3), "above_0.01": int((lost < -WORSE).sum()),
        "said_nothing": int(sum(fit.converged for fit, lower in zip(each, worse, strict=True) if lower)),
    }  # fmt: skip
    shown = [(fit.subject, round(float(by), 3)) for fit, by in zip(each, lost, strict=True) if by > WORSE]
    return found, shown


if __name__ == "__main__":
    given = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    asked = [name for name in sys.argv[1:] if name in SPREADS] or list(SPREADS)
    path = Path(__file__).with_suffix(".csv")
    for one, share in [(one, share) for one in asked for share in BELOW]:
        found, shown = row(one, share, int(given.get("patients", PATIENTS)))
        print(found, shown, flush=True)
        if "patients" not in given:
            new = pd.DataFrame([found | machine()]).astype(str)
            if path.exists():
                old = pd.read_csv(path, dtype=str, keep_default_na=False)
                new = pd.concat([old[(old["model"] != one) | (old["below"] != found["below"])], new])
            new.to_csv(path, index=False)
