"""The optimum of one patient's problem: several starts, lmfit's least squares, Newton steps with the exact Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.likelihood.error_model import LN_SD_FLOOR
from cellkinetics.modelling.parameter import Parameter
from cellkinetics.optimising import corners, guessing
from cellkinetics.optimising.ascent import Ascent, Region
from cellkinetics.optimising.bounds import with_margin
from cellkinetics.optimising.engine import Curvature
from cellkinetics.optimising.problem import Problem, SecondOrder
from cellkinetics.saving import storable
from cellkinetics.statistics import sobol

if TYPE_CHECKING:
    import lmfit

SCREENED = 32
SPREAD = 0.7  # of the screened starts, SD on the estimation scale
ROUGH_SD = 1.0  # starts are compared at a generous sd, so that none is thrown out for one sample
COPIES_APART = 0.5  # units in some parameter; nearer starts in one interval of a switch day are copies
CORNER_GAIN = 1e-4  # log-likelihood units that a simplex search may find at a corner, or steps along a ridge


@storable
@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the optimiser ended.

    x : the free vector of the problem. second : derivatives there. held : (len(x),) parameters at a bound.
    converged : nothing left to gain, to first order or, at a corner, by a simplex search.
    started : number of starts run to the end, no two of them copies.
    reached : how many of them ended within 0.01 log-likelihood units of the best.
    values : log posterior at which each start ended.
    """

    x: Floats
    second: SecondOrder
    held: Flags
    converged: bool
    started: int
    reached: int
    values: tuple[float, ...] = ()


def optimise(problem: Problem, initial: Mapping[str, float], *, starts: int, seed: int) -> Optimum | None:
    """The best of several local optima, or None when the model could not be solved at any start."""
    if not problem.error.least_squares:
        from cellkinetics.optimising import error_starts

        return error_starts.optimise(problem, initial, starts=starts, seed=seed)
    ends = []
    for x in starting_points(problem, initial, starts, seed):
        result = least_squares(problem, x)
        if result is not None:
            ends.append((problem.objective(result[0]), result[0]))
    if not ends:
        return None
    values = np.nan_to_num([end[0] for end in ends], nan=-np.inf)
    _, x = ends[int(np.argmax(values))]
    x, second, held, converged = newton(problem, relabelled(problem, x))
    if not second.solved:
        return None
    reached = int(np.sum(values > second.value - 0.01))
    return Optimum(x, second, held, converged, len(ends), max(reached, 1), tuple(map(float, values)))


def as_lmfit(problem: Problem, x: Floats) -> Any:
    """The `MinimizerResult` of an lmfit run from the optimum ``x``; its parameters show the optimum."""
    if not problem.error.least_squares:
        from cellkinetics.optimising import error_starts

        return error_starts.as_lmfit(problem, x)
    run = least_squares(problem, x)
    if run is None:
        return None
    show(problem, run[1].params, x)
    return run[1]


def relabelled(problem: Problem, x: Floats) -> Floats:
    """The same curve under the labels that the model means, where its parameters can swap roles."""
    if problem.model.canonical is None:
        return x
    values = problem.natural(x)
    meant = problem.model.canonical(values)
    # A rate that a comedication multiplies keeps its role.
    kept = any(meant[each.rate] != values[each.rate] for each in problem.model.comedication.values())
    if kept or all(meant[name] == values[name] for name in values):
        return x
    swapped = x.copy()
    swapped[: len(problem.free)] = problem.start(meant)[: len(problem.free)]
    lower, upper = problem.bounds
    allowed = np.all((lower <= swapped) & (swapped <= upper))
    same = allowed and abs(problem.objective(swapped) - problem.objective(x)) < 1e-6
    return swapped if same else x


def starting_points(problem: Problem, initial: Mapping[str, float], starts: int, seed: int) -> list[Floats]:
    """The initial values, then the best of the model's alternatives and of seeded points, judged by the data."""
    first, others, ways = candidates(problem, initial, starts, seed)
    objective = np.array([rough_objective(problem, x) for x in others])
    return [first, *others[chosen(problem, first, others, objective, starts, ways)]]


def candidates(problem: Problem, initial: Mapping[str, float], starts: int, seed: int) -> tuple[Floats, Floats, int]:
    """The initial values as a free vector, further points (m, d), and how many of these are the model's alternatives.

    32 seeded Sobol points around the initial values come after the alternatives where these are too few.
    """
    first = _first(problem, initial)
    if starts <= 1:
        return first, np.zeros((0, len(first))), 0
    within = with_margin(*problem.bounds, problem.units(first))
    ways = np.clip(_alternatives(problem, first), *within)
    if len(ways) >= starts - 1:
        return first, ways, len(ways)
    return first, np.vstack([ways, np.clip(_drawn_around(problem, first, seed), *within)]), len(ways)


def chosen(problem: Problem, first: Floats, others: Floats, objective: Floats, starts: int, ways: int = 0) -> list[int]:
    """Which of the points to start from besides the first: the best of the alternatives, then of the others.

    A switch day has a local optimum between any two sampled days: of the others, the best of each such interval comes
    before the second best of another. Copies of what is taken are left out.

    Parameters
    ----------
    others, objective : (m, d) and (m,) points and what is minimised there; the first ``ways`` are alternatives.
    """
    places = [problem.free.index(name) for name in problem.model.corners if name in problem.free]
    points = np.vstack([others, first])
    intervals = np.zeros((len(points), len(places)), int)
    days = np.unique(problem.samples.day) if places else problem.samples.day
    for column, at in enumerate(places):
        scale = problem.model.parameters[problem.free[at]]
        # All scales rise: days are compared where the points are.
        intervals[:, column] = np.searchsorted(scale.each_to_estimation(days[days > 0]), points[:, at])
    ordered = np.argsort(objective, kind="stable")
    ordered = ordered[np.isfinite(objective[ordered])].tolist()
    seen, fresh = {tuple(intervals[-1])}, []
    for at in ordered if places else ():
        if at >= ways and (where := tuple(intervals[at])) not in seen:
            seen.add(where)
            fresh.append(at)
    apart = COPIES_APART * problem.units(first)
    near = np.ones((len(points), len(points)), bool)
    for row, most in zip(points.T, apart, strict=True):
        near &= np.abs(row[:, None] - row) < most
    for row in intervals.T:
        near &= row[:, None] == row
    taken, copies = [len(others)], near[-1].copy()
    for at in dict.fromkeys([*(at for at in ordered if at < ways), *fresh, *ordered]):
        if len(taken) >= max(starts, 1):
            break
        if not copies[at]:
            taken.append(at)
            copies |= near[at]
    return taken[1:]


def _first(problem: Problem, initial: Mapping[str, float]) -> Floats:
    """The initial values as a free vector inside the bounds."""
    start = problem.start(initial)
    return np.clip(start, *with_margin(*problem.bounds, problem.units(start)))


def _alternatives(problem: Problem, first: Floats) -> Floats:
    """(m, d) the model's alternatives, with ``first`` where they say nothing."""
    dose = float(problem.doses.amounts[0, 0]) if problem.doses.amounts.size else 1.0
    found = guessing.alternatives(problem.model, problem.samples, dose, problem.courses)
    found = {name: values for name, values in found.items() if name in problem.free}
    ways = np.tile(first, (len(next(iter(found.values()), ())), 1))
    for name, values in found.items():
        ways[:, problem.free.index(name)] = problem.model.parameters[name].each_to_estimation(values)
    return ways[~np.isnan(ways).any(axis=1)]


def _drawn_around(problem: Problem, first: Floats, seed: int) -> Floats:
    """32 seeded Sobol points around the first."""
    free = len(problem.free)
    drawn = np.tile(first, (SCREENED, 1))
    drawn[:, :free] += SPREAD * sobol.normals(free, SCREENED, seed) * problem.units(first)[:free]
    return drawn


def rough_objective(problem: Problem, x: Floats) -> float:
    """Squared root-deviances at sd 1 and priors, summed; inf where the explicit stepper gave up: a poor place."""
    rough = np.append(x[: len(problem.free)], np.full(problem.sd_free.sum(), np.log(ROUGH_SD)))
    total = float(np.sum(problem.root(rough, rescue=False) ** 2)) - 2 * problem.log_prior(rough)
    return total if np.isfinite(total) else np.inf


def least_squares(problem: Problem, x: Floats) -> tuple[Floats, Any] | None:
    """Lmfit from ``x``: first the curve at a fixed sd, then the curve and ln sd together.

    With sd free the term n_q ln sd belongs to the objective: it enters as the residual sqrt(2 n_q ln(sd/sd0)), sd0
    chosen so that ln(sd/sd0) is about 1/2, where its Gauss-Newton curvature is that of the likelihood.
    """
    free = len(problem.free)
    counts = np.array([problem.quantified[problem.output == i].sum() for i in np.flatnonzero(problem.sd_free)])
    if not np.all(np.isfinite(problem.root(x))):
        return None
    try:
        x, result = _run(problem, x, counts, None)
        for _ in range(4 if len(counts) else 0):
            spread = _ln_sd_of_residuals(problem, x)
            x[free:] = spread
            x, result = _run(problem, x, counts, spread - 0.5)
            if np.all(np.abs(x[free:] - spread) < 0.1):
                break
    except _NoSlopeError:
        return None
    return x, result


class _NoSlopeError(ArithmeticError):
    """The curve is finite where its derivatives are not: there is no way on from here."""


def _run(problem: Problem, x: Floats, counts: Floats, ln_sd0: Floats | None) -> tuple[Floats, Any]:
    """One lmfit run; ``ln_sd0`` None holds the sds where they are."""
    import lmfit

    free, held_sd = len(problem.free), x[len(problem.free) :]
    parameters = varied(problem, x, ln_sd0)
    names = [name for name in parameters if parameters[name].vary]

    def point(values: lmfit.Parameters) -> Floats:
        varied = np.array([values[name].value for name in names])
        return varied if ln_sd0 is not None else np.concatenate([varied, held_sd])

    def residuals(values: lmfit.Parameters) -> Floats:
        at = point(values)
        root = np.append(problem.root(at), _prior_roots(problem, at))
        return root if ln_sd0 is None else np.append(root, np.sqrt(2 * counts * (at[free:] - ln_sd0)))

    def jacobian(values: lmfit.Parameters) -> Floats:
        at = point(values)
        by_x = np.vstack([problem.residuals(at)[1], problem.prior_roots])
        if not np.all(np.isfinite(by_x)):
            raise _NoSlopeError
        if ln_sd0 is None:
            return by_x[:, :free].copy()
        extra = np.zeros((len(counts), len(at)))
        extra[:, free:] = np.diag(np.sqrt(counts / (2 * (at[free:] - ln_sd0))))
        return np.vstack([by_x, extra])

    # lmfit's own covariance may be singular, and took 40% of the time: standard errors come from the exact Hessian.
    minimizer = lmfit.Minimizer(residuals, parameters, nan_policy="propagate", scale_covar=False, calc_covar=False)
    with np.errstate(all="ignore"):
        result: Any = minimizer.minimize("least_squares", jac=jacobian, x_scale="jac", max_nfev=200)
    return point(result.params), result


def _prior_roots(problem: Problem, x: Floats) -> Floats:
    """A residual for each prior."""
    return problem.prior_roots @ (x - problem.prior[0])


def varied(problem: Problem, x: Floats, ln_sd0: Floats | None) -> lmfit.Parameters:
    """What lmfit varies: free parameters on the estimation scale, as ``ln_beta``, and ln sd."""
    import lmfit

    shown = lmfit.Parameters()
    for position, name in enumerate(problem.free):
        lower, upper = problem.bounds[0][position], problem.bounds[1][position]
        label, _ = estimation_name(name, problem.model.parameters[name])
        shown.add(label, value=x[position], min=lower, max=upper)
    for position, index in enumerate(np.flatnonzero(problem.sd_free)):
        lower = -np.inf if ln_sd0 is None else max(ln_sd0[position] + 1e-8, LN_SD_FLOOR)
        label = f"ln_{problem.sd_names[index]}"
        shown.add(label, value=x[len(problem.free) + position], min=lower, vary=ln_sd0 is not None)
    return shown


def estimation_name(name: str, parameter: Parameter) -> tuple[str, str]:
    """The name of what varies and the expression that gives the natural value ('' for the same)."""
    if parameter.scale == "log":
        return f"ln_{name}", f"exp(ln_{name})"
    if parameter.scale == "logit":
        width = parameter.max - parameter.min
        return f"logit_{name}", f"{parameter.min!r} + {width!r} / (1 + exp(-logit_{name}))"
    return name, ""


def show(problem: Problem, parameters: lmfit.Parameters, x: Floats) -> None:
    """Put the values after the Newton steps into lmfit's parameters, and show all on the natural scale.

    A free one is an expression of what varied; the others are constants. While lmfit iterates they are left out: it
    evaluates every expression at every step.
    """
    for index, value in zip(np.flatnonzero(problem.sd_free), x[len(problem.free) :], strict=True):
        name = problem.sd_names[index]
        shown = parameters[f"ln_{name}"]
        shown.min, shown.value = problem.ln_sd_floors[index], value
        parameters.add(name, expr=f"exp(ln_{name})")
    values = problem.natural(x)
    for name, parameter in problem.model.parameters.items():
        label, expression = estimation_name(name, parameter)
        if name not in problem.free:
            parameters.add(name, value=values[name], vary=False)
            continue
        parameters[label].value = x[problem.free.index(name)]
        if expression:
            parameters.add(name, expr=expression)


def newton(
    problem: Problem, x: Floats, *, search: bool = True, still: Flags | None = None
) -> tuple[Floats, SecondOrder, Flags, bool]:
    """Ascend the objective with its exact Hessian; what presses against a bound is held there.

    A closed form that switches at an estimated time has a likelihood with corners, at the sampled days. Where Newton
    steps end at one, a simplex search takes over and decides whether there is anything left to gain, unless it is not
    to ``search``; other models get as many Newton steps again. What is to stay ``still`` does, without a search.
    """
    ascent = Ascent.of(Alone(problem, x), x[None], still=None if still is None else still[None])
    if search and ascent.at.solved[0] and not ascent.converged[0]:
        ascent = _at_corner(problem, ascent) if problem.model.corners else _along_ridge(problem, ascent)
    at = ascent.at
    second = SecondOrder(float(at.value[0]), at.gradient[0], at.hessian[0], at.quantified[0], bool(at.solved[0]))
    return ascent.x[0], second, ascent.held[0], bool(ascent.converged[0])


def _along_ridge(problem: Problem, ascent: Ascent) -> Ascent:
    """As many steps again: what they gain says whether there is anything left."""
    further = Ascent.of(Alone(problem, ascent.x[0]), ascent.x, still=ascent.still)
    further.converged |= further.at.solved & (further.at.value - ascent.at.value <= CORNER_GAIN)
    return further


def _at_corner(problem: Problem, ascent: Ascent) -> Ascent:
    """With a switch on a sampled day where it belongs there; elsewhere a simplex search decides."""
    corners.settle([problem], ascent)
    if ascent.converged[0]:
        return ascent
    searched = _simplex(problem, ascent.x[0])
    if problem.objective(searched) - ascent.at.value[0] <= CORNER_GAIN:
        ascent.converged[:] = True
        return ascent
    further = Ascent.of(Alone(problem, searched), searched[None])
    if not further.converged[0]:
        left = problem.objective(_simplex(problem, further.x[0])) - further.at.value[0]
        further.converged[:] = left <= CORNER_GAIN
    return further


@dataclass(frozen=True, eq=False)
class Alone:
    """One problem as what `Ascent` climbs, from ``x``: by its own methods, which ask a stepper where need be."""

    problem: Problem
    x: Floats

    def region(self, which: Ints) -> Region:
        """See `ascent.Hills`."""
        lower, upper = self.problem.bounds
        free = np.ones(len(self.x), bool)
        return Region(lower[None], upper[None], self.problem.units(self.x)[None], free[None]).of(which)

    def curvature(self, x: Floats, which: Ints) -> Curvature:
        """See `ascent.Hills`."""
        each = [self.problem.second_order(point) for point in x]
        solved = np.array([second.solved and bool(np.all(np.isfinite(second.hessian))) for second in each])
        value, gradient, hessian, quantified = (
            np.stack([getattr(second, name) for second in each])
            for name in ("value", "gradient", "hessian", "quantified")
        )
        return Curvature(value, gradient, hessian, quantified, solved)

    def slope(self, x: Floats, which: Ints) -> Curvature:
        """See `ascent.Hills`."""
        return self.curvature(x, which)

    def above(self, x: Floats, which: Ints, values: Floats) -> Curvature:
        """See `ascent.Hills`: the objective by itself costs a fraction of what it costs with its derivatives."""
        value = np.array([self.problem.objective(point) for point in x])
        if np.any(value > values):
            return self.curvature(x, which)
        count, size, free = *x.shape, len(self.problem.free)
        nothing = np.zeros((count, size)), np.zeros((count, size, size)), np.zeros((count, free, free))
        return Curvature(value, *nothing, np.ones(count, bool))


def _simplex(problem: Problem, x: Floats) -> Floats:
    """Nelder-Mead from a small simplex around ``x``."""
    lower, upper = problem.bounds
    corners = np.clip(np.vstack([x, x + 0.02 * np.diag(problem.units(x))]), lower, upper)
    options = {"initial_simplex": corners, "maxfev": 100 * len(x), "xatol": 1e-7, "fatol": 1e-9}
    result = scipy.optimize.minimize(
        lambda at: -problem.objective(np.clip(at, lower, upper)),
        x,
        method="Nelder-Mead",
        options=options,
    )
    return np.clip(result.x, lower, upper)


def _ln_sd_of_residuals(problem: Problem, x: Floats) -> Floats:
    """Ln sd of each free output from its quantified residuals; the joint run adds what censored rows say."""
    residual = np.array(problem.rows.upper) - problem.curve(x, 0).value
    ln_sds = []
    for index in np.flatnonzero(problem.sd_free):
        rows = problem.quantified & (problem.output == index)
        ln_sds.append(max(0.5 * np.log(np.mean(residual[rows] ** 2) + 1e-12), LN_SD_FLOOR))
    return np.array(ln_sds)
