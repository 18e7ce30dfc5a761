"""An ODE of the library as a careful user would give it to scipy: the same equations on plain floats.

The functions of a model are used as they are, with `math` in place of jax.numpy for the right-hand side (one number at
a time, where `math` is several times faster than numpy) and numpy for what is observed (arrays).
"""

import math
from types import FunctionType, SimpleNamespace

import numpy as np
from scipy.integrate import odeint, solve_ivp

from cellkinetics.modelling import course
from cellkinetics.modelling.functions import names_of
from cellkinetics.modelling.model import SINCE
from cellkinetics.solving.segments import segments

LOG_SD, SEED, DOSE = 0.3, 2020, 1e6
DAYS = np.array([0, 0.5, 1, 3, 7, 10, 14, 21, 28, 60, 180, 365.0])
COURSE = [(0.0, 300.0), (7.0, 100.0), (28.0, 4000.0)]
LARGEST = 709.0
SMALLEST = 1e-12  # where the logarithm of an empty state starts


def exp(x):
    """Infinity where `math.exp` would raise."""
    return math.exp(x) if x < LARGEST else math.inf


def log(x):
    """Minus infinity at 0, as in numpy."""
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


def sigmoid(x):
    """1/(1 + exp(-x))."""
    return 1 / (1 + exp(-x))


FLOATS = SimpleNamespace(
    exp=exp, log=log, sqrt=math.sqrt, log1p=math.log1p, expm1=math.expm1, tanh=math.tanh, abs=abs,
    maximum=max, minimum=min, where=lambda condition, yes, no: yes if condition else no,
    clip=lambda x, low, high: min(max(x, low), high), asarray=float,
)  # fmt: skip


def rebuilt(function, numeric):
    """The function, and those of its file that it calls, with ``numeric`` in place of jax.numpy."""
    home = function.__globals__
    there = {**home, "jnp": numeric, "jax": SimpleNamespace(numpy=numeric, nn=SimpleNamespace(sigmoid=sigmoid))}

    def copy(original):
        made = FunctionType(original.__code__, there, original.__name__, original.__defaults__, original.__closure__)
        made.__kwdefaults__ = original.__kwdefaults__
        return made

    for name, item in home.items():
        if isinstance(item, FunctionType) and item.__globals__ is home:
            there[name] = copy(item)
    return copy(function)


def doses(model):
    """One infusion, where the model takes any."""
    return model.doses({model.channels[0]: DOSE} if model.channels else None)


def courses(model):
    """Covariates over time, where the model takes any."""
    return course.as_courses(dict.fromkeys(model.inputs, COURSE), model.inputs, model.name)


def draws(model, count, seed=SEED):
    """``count`` sets of parameters, log-normal (log-SD 0.3) around the defaults and within bounds; 0 stays 0."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {
            name: float(np.clip(p.value * np.exp(LOG_SD * rng.normal()), p.min, p.max))
            for name, p in model.parameters.items()
        }


class Peer:
    """One model for scipy: `plan` once a set of parameters, `run` by an integrator."""

    def __init__(self, model):
        self.model, self.courses, self.doses = model, courses(model), doses(model)
        self.rhs, self.observe = rebuilt(model.rhs, FLOATS), rebuilt(model.observe, np)
        self.takes = names_of(model.rhs)

    def rule(self, rule, values):
        """The value of a parameter or of a function of parameters."""
        if not callable(rule):
            return values[rule]
        return rebuilt(rule, FLOATS)(**{name: values[name] for name in names_of(rule)})

    def plan(self, values):
        """Start values, and for each segment its begin, what is added, the markers' days and the phase."""
        model, parts = self.model, segments(self.model, values, self.doses)
        start = [float(self.rule(model.start[name], values)) if name in model.start else 0.0 for name in model.states]
        gains = np.zeros((len(model.channels), len(model.states)))
        for row, (state, rule) in enumerate(model.dosing.values()):
            gains[row, model.states.index(state)] = self.rule(rule, values)
        rows = [
            (float(begin), np.asarray(amounts) @ gains, [float(day) for day in since], int(phase))
            for begin, amounts, since, phase in zip(parts.begin, parts.amounts, parts.since, parts.phase, strict=True)
            if np.isfinite(begin)
        ]
        return values, np.array(start), rows

    def slopes(self, values, since, phase):
        """The right-hand side of one segment, of (t, state)."""
        rhs, states, markers = self.rhs, self.model.states, self.model.markers
        known = {**values, "phase": phase}
        arguments = [known.get(name, 0.0) for name in self.takes]
        slots = [(self.takes.index(name), at) for at, name in enumerate(states) if name in self.takes]
        clocks = [(self.takes.index(f"{SINCE}{m}"), s) for m, s in zip(markers, since, strict=True)
                  if f"{SINCE}{m}" in self.takes]  # fmt: skip
        inputs = [(self.takes.index(name), one) for name, one in self.courses.items() if name in self.takes]
        now = self.takes.index("t") if "t" in self.takes else None

        def slope(t, state):
            numbers = state.tolist()
            for slot, at in slots:
                arguments[slot] = numbers[at]
            for slot, day in clocks:
                arguments[slot] = t - day
            for slot, one in inputs:
                arguments[slot] = np.interp(t, one.days, one.values)
            if now is not None:
                arguments[now] = t
            return rhs(*arguments)

        return slope

    def run(self, plan, days, integrate):
        """{output: (n,)} at sorted ``days``; None where the integrator gave up."""
        values, state, rows = plan
        found = np.full((len(state), len(days)), np.nan)
        ends = [*(row[0] for row in rows[1:]), np.inf]
        phases, since_days = np.zeros(len(days), int), np.zeros((len(days), len(self.model.markers)))
        for (begin, added, since, phase), end in zip(rows, ends, strict=True):
            state = state + added
            here = (days >= begin) & (days < end)
            phases[here], since_days[here] = phase, since
            last = end if np.isfinite(end) else days[-1]
            if last <= begin:
                found[:, here] = state[:, None]
                continue
            asked = np.unique([begin, *days[here], last])
            path = integrate(self.slopes(values, since, phase), state, asked)
            if path is None:
                return None
            found[:, here] = path[:, np.searchsorted(asked, days[here])]
            state = path[:, -1]
        known = {**values, "t": days, "phase": phases, **dict(zip(self.model.states, found, strict=True))}
        known |= {f"{SINCE}{m}": days - since_days[:, at] for at, m in enumerate(self.model.markers)}
        known |= {name: np.interp(days, one.days, one.values) for name, one in self.courses.items()}
        seen = self.observe(**{name: known[name] for name in names_of(self.observe)})
        return seen if isinstance(seen, dict) else dict.fromkeys(list(self.model.outputs)[:1], seen)


def by_odeint(rtol, atol=1e-9):
    """LSODA in its compiled loop: the fastest that scipy has for it."""

    def integrate(slope, state, asked):
        path, info = odeint(slope, state, asked, tfirst=True, rtol=rtol, atol=atol, mxstep=100_000, full_output=True)
        return path.T if info["message"] == "Integration successful." else None

    return integrate


def by_solve_ivp(method, rtol, atol=1e-9):
    """`solve_ivp`, the interface that most users write."""

    def integrate(slope, state, asked):
        done = solve_ivp(slope, (asked[0], asked[-1]), state, method=method, t_eval=asked, rtol=rtol, atol=atol)
        return done.y if done.success else None

    return integrate


def by_radau_in_logs(rtol):
    """Radau on the logarithms: keeps a state that falls below every absolute tolerance and grows again."""

    def integrate(slope, state, asked):
        def slopes(t, logs):
            natural = np.exp(np.clip(logs, -LARGEST, LARGEST))
            return np.asarray(slope(t, natural)) / natural

        start = np.log(np.maximum(state, SMALLEST))
        done = solve_ivp(slopes, (asked[0], asked[-1]), start, method="Radau", t_eval=asked, rtol=rtol, atol=rtol)
        return np.exp(done.y) if done.success else None

    return integrate
