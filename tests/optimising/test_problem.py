"""The objective of one patient: derivatives against differences, optima against scipy, the bias that M3 removes."""

import runpy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from cellkinetics import Model, Parameter, models
from cellkinetics.data.reading import read_study
from cellkinetics.errors import ModelError
from cellkinetics.fitting.fit import fit
from cellkinetics.likelihood.error_models import of
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.samples import Samples

HERE = Path(__file__).parents[1]
SCIPY = runpy.run_path(str(HERE / "reference" / "il15_numpy.py"))
BIAS = runpy.run_path(str(HERE / "benchmarks" / "censoring_bias.py"))
INF = np.inf
STEIN, NK, IL15 = (models.load(n) for n in ("stein_2019_tisagenlecleucel", "nk_decline", "il15_persistence"))


def table(days, lower, upper, output=0):
    return pd.DataFrame({"day": days, "output": output, "lower": lower, "upper": upper})


def problem(model, samples, free, *, values=None, doses=None, ties=(), sd=(0.5,), sd_free=(True,)):
    start = model.values(values)
    return Problem(
        model, Samples.of(samples), model.doses(doses), start, tuple(free), tuple(ties), np.array(sd), np.array(sd_free)
    )


def central(function, x, h):
    """Richardson-extrapolated central differences of a function of x, last axis by x."""
    columns = []
    for unit in np.eye(len(x)):
        near = (function(x + h * unit) - function(x - h * unit)) / (2 * h)
        far = (function(x + 2 * h * unit) - function(x - 2 * h * unit)) / (4 * h)
        columns.append((4 * near - far) / 3)
    return np.stack(columns, axis=-1)


def log_likelihood(ln_f, sd, lower, upper):
    """M3 in scipy: the independent half of every comparison below."""
    with np.errstate(divide="ignore"):
        z_low, z_high = (np.log(lower) - ln_f) / sd, (np.log(upper) - ln_f) / sd
    quantified, below, above = lower == upper, lower == 0, np.isinf(upper)
    inside = ~(quantified | below | above)
    total = stats.norm.logpdf(z_high[quantified]).sum() - quantified.sum() * np.log(sd)
    total += stats.norm.logcdf(z_high[below]).sum() + stats.norm.logsf(z_low[above]).sum()
    return total + np.log(stats.norm.cdf(z_high[inside]) - stats.norm.cdf(z_low[inside])).sum()


# Samples of every kind on both sides of the peak of Stein 2019 (t_max 9.3).
MIXED = pd.DataFrame(
    [
        (1.0, 0.0, 50.0), (3.0, 130.0, 130.0), (6.0, 800.0, 800.0), (9.2, 30000.0, INF), (9.4, 14000.0, 14000.0),
        (11.0, 20000.0, INF), (14.0, 9000.0, 9000.0), (21.0, 3500.0, 3500.0), (28.0, 900.0, 900.0),
        (60.0, 400.0, 400.0), (90.0, 50.0, 150.0), (180.0, 60.0, 60.0), (365.0, 0.0, 50.0), (500.0, 10.0, 50.0),
    ],
    columns=["day", "lower", "upper"],
).assign(output=0)  # fmt: skip


@pytest.fixture(scope="module")
def stein():
    return problem(STEIN, MIXED, STEIN.parameters)


@pytest.fixture(scope="module")
def nk():
    days = np.array([0.0, 0.3, 1.0, 2.0, 4.0, 7.0, 10.0, 14.0, 21.0, 28.0])
    upper = np.array([5000.0, 2100.0, 1300.0, 400.0, 60.0, 70.0, 20.0, 12.0, 10.0, 10.0])
    lower = np.where(upper <= 10, 0.0, upper)
    return problem(NK, table(days, lower, upper), NK.parameters, doses=[(0, 1e7), (5, 1e6)], sd=(0.4,), sd_free=(True,))


@pytest.fixture(scope="module")
def il15():
    """Samples beside the curve of the defaults, three of them censored; five free parameters and sd."""
    days = np.array([1.0, 3.0, 7.0, 10.0, 14.0, 21.0, 28.0, 60.0, 120.0, 180.0, 365.0])
    curve = SCIPY["copies"](days, IL15.values())
    lower = curve * np.exp([0.3, -0.4, 0.2, 0.5, -0.6, 0.1, -0.2, 0.3, -0.1, 0.4, 0.0])
    upper = lower.copy()
    lower[-2:], upper[-2:] = [0.0, 5.0], [30.0, 30.0]
    upper[3] = INF
    return problem(IL15, table(days, lower, upper), ("F", "rho", "r", "mu0", "N"), doses=1e6)


# Derivatives


@pytest.mark.parametrize("name", ["stein", "nk"])
def test_derivatives_of_a_closed_form_agree_with_finite_differences(name, request):
    case = request.getfixturevalue(name)
    x = case.start(case.values) + 0.05 * np.sin(np.arange(len(case.free) + 1))
    root, jacobian = case.residuals(x)
    np.testing.assert_array_equal(root, case.root(x))
    np.testing.assert_allclose(jacobian, central(case.root, x, 1e-4), rtol=1e-7, atol=1e-8)
    second = case.second_order(x)
    assert second.value == pytest.approx(case.log_likelihood(x), rel=1e-13)
    np.testing.assert_allclose(second.gradient, central(case.log_likelihood, x, 1e-4), rtol=1e-7, atol=1e-7)
    differences = central(lambda at: case.second_order(at).gradient, x, 1e-4)
    np.testing.assert_allclose(second.hessian, differences, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(second.hessian, second.hessian.T, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("name", ["stein", "nk"])
def test_log_likelihood_is_the_one_written_in_scipy(name, request):
    case = request.getfixturevalue(name)
    x = case.start(case.values)
    lower, upper = case.samples.lower, case.samples.upper
    curve = numpy_stein if name == "stein" else numpy_nk
    ln_f = np.log(curve(case.samples.day, **case.natural(x)))
    assert case.log_likelihood(x) == pytest.approx(log_likelihood(ln_f, case.sd[0], lower, upper), rel=1e-11)


def test_squares_of_the_residuals_are_minus_twice_the_log_likelihood(stein):
    x = stein.start(stein.values)
    quantified = stein.quantified.sum()
    constant = quantified * (np.log(0.5) + 0.5 * np.log(2 * np.pi))
    assert np.sum(stein.root(x) ** 2) == pytest.approx(-2 * (stein.log_likelihood(x) + constant), rel=1e-12)


def test_derivatives_of_il15_persistence_agree_with_differences_of_scipys_solution(il15):
    days, free = il15.samples.day, len(il15.free)
    lower, upper = il15.samples.lower, il15.samples.upper

    def ln_f(x):
        values = il15.values | dict(zip(il15.free, np.exp(x[:free]), strict=True))
        return np.log(SCIPY["copies"](days, values, rtol=1e-12, atol=1e-13))

    def value(x):
        return log_likelihood(ln_f(x), np.exp(x[free]), lower, upper)

    x = il15.start(il15.values) + np.array([0.1, 0.02, -0.03, 0.05, -0.1, 0.1])
    second = il15.second_order(x)
    assert second.solved
    assert second.value == pytest.approx(value(x), abs=5e-5)
    jacobian = il15.curve(x, 1).jacobian[: len(days)]
    np.testing.assert_allclose(jacobian, central(ln_f, x[:free], 2e-3), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(second.gradient, central(value, x, 2e-3), rtol=1e-4, atol=1e-3)
    rng = np.random.default_rng(2020)
    for direction in [*np.eye(6), *rng.normal(size=(4, 6))]:
        near, far = ((value(x + h * direction) - 2 * value(x) + value(x - h * direction)) / h**2 for h in (2e-3, 4e-3))
        assert direction @ second.hessian @ direction == pytest.approx((4 * near - far) / 3, rel=1e-3)


def test_each_output_has_its_own_sd():
    model = Model(
        name="two_outputs",
        parameters={"a": Parameter(100.0, "copies/ug", "this test"), "k": Parameter(0.1, "1/day", "this test")},
        outputs={"blood": "copies/ug", "marrow": "copies/ug"},
        curve=lambda t, a, k: {"blood": a * jnp.exp(-k * t), "marrow": 0.1 * a * jnp.exp(-k * t)},
    )
    days, outputs = np.array([1.0, 2.0, 5.0, 1.0, 2.0, 5.0]), [0, 0, 0, 1, 1, 1]
    values = np.array([80.0, 90.0, 50.0, 11.0, 7.0, 8.0])
    case = problem(model, table(days, values, values, outputs), ("a", "k"), sd=(0.3, 0.9), sd_free=(True, True))
    assert of("log").sd_names(model.outputs) == ["sd_blood", "sd_marrow"]
    x = case.start(case.values)
    ln_f = np.log(100.0) - 0.1 * days + np.where(np.array(outputs) == 1, np.log(0.1), 0.0)
    expected = stats.norm.logpdf(np.log(values), ln_f, np.repeat([0.3, 0.9], 3)).sum()
    assert case.log_likelihood(x) == pytest.approx(expected, rel=1e-10)
    second = case.second_order(x)
    np.testing.assert_allclose(second.gradient, central(case.log_likelihood, x, 1e-4), rtol=1e-8, atol=1e-8)
    differences = central(lambda at: case.second_order(at).gradient, x, 1e-4)
    np.testing.assert_allclose(second.hessian, differences, rtol=1e-8, atol=1e-7)


# At the kink


def test_derivatives_exactly_at_t_max_lie_between_the_one_sided_ones():
    # t_max = 1: exp(ln 1) is 1 without rounding, so that the sample lies on the kink.
    values = {"t_max": 1.0}
    case = problem(STEIN, table([1.0, 5.0], [2e4, 1e4], [2e4, 1e4]), ("t_max", "c_max"), values=values)
    x, h = case.start(case.values), 1e-7
    assert case.natural(x)["t_max"] == 1.0
    added = 1e-11 * 1e4  # of the lowest value
    assert case.curve(x, 1).value[0] == pytest.approx(np.log(24000.0 + added), rel=1e-14)
    (slope, by_c_max) = case.curve(x, 1).jacobian[0]
    p = STEIN.values()
    # ln f = ln c_max - ln(fold)(t_max - t)/t_max before the peak, and the decline after it.
    rise, decline = -np.log(p["fold"]), (1 - p["f_b"]) * p["alpha"] + p["f_b"] * p["beta"]
    assert rise < slope < decline
    assert by_c_max == pytest.approx(24000.0 / (24000.0 + added), rel=1e-12)
    step = np.array([h, 0.0, 0.0])
    later, earlier = (float(case.curve(x + sign * step, 0).value[0]) for sign in (1, -1))
    at = float(case.curve(x, 0).value[0])
    assert (later - at) / h == pytest.approx(rise, rel=1e-5)
    assert (at - earlier) / h == pytest.approx(decline, rel=1e-5)
    second = case.second_order(x)
    assert np.all(np.isfinite(second.gradient))
    assert np.all(np.isfinite(second.hessian))


@pytest.mark.parametrize("offset", [-1e-3, 1e-3])
def test_derivatives_beside_t_max_are_those_of_their_own_side(offset):
    case = problem(STEIN, table([1.0 + offset], [2e4], [2e4]), ("t_max",), values={"t_max": 1.0})
    x = case.start(case.values)
    differences = central(lambda at: case.curve(at, 0).value, x[:1], 1e-5)
    np.testing.assert_allclose(case.curve(x, 1).jacobian, differences, rtol=1e-7)


# Bounds, transforms, ties


def test_the_free_vector_and_natural_values_are_inverse(stein):
    x = stein.start(stein.values)
    natural = stein.natural(x)
    assert set(natural) == set(STEIN.parameters)
    for name, parameter in STEIN.parameters.items():
        assert natural[name] == pytest.approx(parameter.value, rel=1e-13)
    np.testing.assert_allclose(x[1], np.log(9.3))
    np.testing.assert_allclose(x[4], np.log(0.0079 / (1 - 0.0079)))
    np.testing.assert_allclose(stein.sds(x), [0.5])


def test_bounds_are_those_of_the_estimation_scale(stein):
    lower, upper = stein.bounds
    # In the order fold, t_max, c_max, alpha, f_b, beta, sd. The open ends of c_max and f_b lie a factor of 1e12 away.
    far = 12 * np.log(10)
    c_max = np.log(24000.0)
    np.testing.assert_allclose(
        lower, [0.0, np.log(0.1), c_max - far, np.log(1e-4), -far, np.log(1e-5), np.log(0.01)], rtol=1e-6
    )
    np.testing.assert_allclose(
        upper, [np.log(1e9), np.log(100), c_max + far, np.log(20), far, np.log(5), INF], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("parameter", "value", "estimate"),
    [
        (Parameter(2.0, "1", "s"), 2.0, np.log(2.0)),
        (Parameter(2.0, "1", "s"), 0.0, -INF),
        (Parameter(0.3, "1", "s", max=1.0, scale="logit"), 0.3, np.log(0.3 / 0.7)),
        (Parameter(3.0, "1", "s", min=2.0, max=6.0, scale="logit"), 3.0, np.log(0.25 / 0.75)),
        (Parameter(-2.0, "1", "s", min=-9.0, scale="identity"), -2.0, -2.0),
    ],
)
def test_a_parameter_goes_to_its_estimation_scale_and_back(parameter, value, estimate):
    assert parameter.to_estimation(value) == pytest.approx(estimate)
    assert parameter.from_estimation(estimate) == pytest.approx(value)
    assert float(parameter.to_natural(estimate)) == pytest.approx(value)


def test_natural_slopes_follow_ties():
    ties = (("beta", lambda alpha: alpha / 50), ("c_max", lambda fold, t_max: fold * t_max**2))
    case = problem(STEIN, MIXED, ("fold", "t_max", "alpha", "f_b"), ties=ties)
    x = case.start(case.values)
    natural, slopes = case.natural_with_slopes(x)
    assert natural["beta"] == pytest.approx(0.16 / 50)
    np.testing.assert_allclose(slopes["beta"], [0, 0, 0.16 / 50, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(slopes["c_max"], [natural["c_max"], 2 * natural["c_max"], 0, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(slopes["f_b"], [0, 0, 0, 0.0079 * (1 - 0.0079), 0], rtol=1e-12)
    np.testing.assert_allclose(
        case.second_order(x).gradient, central(case.log_likelihood, x, 1e-4), rtol=1e-7, atol=1e-7
    )


def test_padding_does_not_change_the_objective(stein):
    x = stein.start(stein.values)
    # 14 samples are filled up to 32; 33 rows, 14 of them twice and more, need 64.
    assert len(stein.rows.weight) == 32
    many = problem(STEIN, pd.concat([MIXED] * 3), STEIN.parameters)
    assert len(many.rows.weight) == 64
    assert many.log_likelihood(x) == pytest.approx(3 * stein.log_likelihood(x), rel=1e-13)
    np.testing.assert_allclose(many.second_order(x).hessian, 3 * stein.second_order(x).hessian, rtol=1e-12)


# Optima


def numpy_nk(t, F, alpha, f_b, beta, doses=((0, 1e7), (5, 1e6))):
    total = np.zeros(len(t))
    for day, amount in doses:
        since = np.maximum(t - day, 0)
        one = F * amount * ((1 - f_b) * np.exp(-alpha * since) + f_b * np.exp(-beta * since))
        total += np.where(t >= day, one, 0.0)
    return total


def numpy_stein(t, fold, t_max, c_max, alpha, f_b, beta):
    since = t - t_max
    rise = c_max / fold * fold ** (np.minimum(t, t_max) / t_max)
    late = np.maximum(since, 0)
    return np.where(since < 0, rise, c_max * ((1 - f_b) * np.exp(-alpha * late) + f_b * np.exp(-beta * late)))


def scipys_optimum(value, starts, bounds=None):
    """Best of Nelder-Mead and L-BFGS-B, each polished by the other, over the starts."""
    best = None
    for start in starts:
        at = np.asarray(start, float)
        for method in ("L-BFGS-B", "Nelder-Mead", "L-BFGS-B", "Nelder-Mead"):
            options = {"maxiter": 20000, "maxfev": 40000} if method == "Nelder-Mead" else {"maxiter": 2000}
            options |= {"xatol": 1e-10, "fatol": 1e-13} if method == "Nelder-Mead" else {"ftol": 1e-15}
            found = optimize.minimize(value, at, method=method, bounds=bounds, options=options)
            at = found.x
        if best is None or found.fun < best.fun:
            best = found
    assert best is not None
    return best


NK_DAYS = np.array([0.05, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 12, 14, 17, 21, 28])
LLOQ = 8.0


def decline(seed, **changed):
    """Samples of one patient from nk_decline, sd 0.3, limit 8."""
    values = NK.values(changed)
    noise = np.exp(0.3 * np.random.default_rng(seed).normal(size=len(NK_DAYS)))
    return numpy_nk(NK_DAYS, **values, doses=((0, 1e7),)) * noise


def nk_study(copies):
    return read_study(pd.DataFrame({"subject": "P01", "day": NK_DAYS, "copies_per_ug": copies, "dose": 1e7}), lloq=LLOQ)


def nk_objective(copies, names, values, tie=None):
    """-log-likelihood by (names on their estimation scale, ln sd), and the natural values, in numpy."""
    quantified = copies >= LLOQ
    lower, upper = np.where(quantified, copies, 0.0), np.where(quantified, copies, LLOQ)

    def natural(x):
        found = dict(values)
        for name, estimate in zip(names, x, strict=False):
            found[name] = 1 / (1 + np.exp(-estimate)) if name == "f_b" else np.exp(estimate)
        return found | (tie(found) if tie else {})

    def value(x):
        ln_f = np.log(numpy_nk(NK_DAYS, **natural(x), doses=((0, 1e7),)) + 1e-9)
        return -log_likelihood(ln_f, np.exp(x[len(names)]), lower, upper)

    return value, natural


def test_fit_reaches_the_optimum_of_scipy():
    copies = decline(seed=3)
    found = fit(NK, nk_study(copies))
    assert found.n_censored >= 3
    value, natural = nk_objective(copies, list(NK.parameters), NK.values())
    best = scipys_optimum(value, [[np.log(4e-4), np.log(1.5), -3.0, np.log(0.2), -1.0]])
    assert found.outcome == "converged"
    assert found.log_likelihood_ln == pytest.approx(-best.fun, abs=1e-7)
    for name, expected in natural(best.x).items():
        assert found.parameters.loc[name, "value"] == pytest.approx(expected, rel=2e-4), name
    assert found.sd == pytest.approx(np.exp(best.x[-1]), rel=2e-4)


def test_fit_with_fixed_parameters_reaches_the_optimum_of_scipy():
    copies = decline(seed=4)
    found = fit(NK, nk_study(copies), fixed={"f_b": 0.03, "sd": 0.35})
    value, natural = nk_objective(copies, ["F", "alpha", "beta"], NK.values({"f_b": 0.03}))
    best = scipys_optimum(lambda x: value([*x, np.log(0.35)]), [[np.log(4e-4), np.log(1.5), np.log(0.2)]])
    assert found.log_likelihood_ln == pytest.approx(-best.fun, abs=1e-7)
    for name, expected in natural(best.x).items():
        assert found.parameters.loc[name, "value"] == pytest.approx(expected, rel=2e-4), name
    assert found.sd == 0.35
    assert list(found.parameters["status"]) == ["free", "free", "fixed", "free", "fixed"]
    assert found.n_free == 3


def test_fit_with_a_tie_reaches_the_optimum_of_scipy():
    copies = decline(seed=5)
    found = fit(NK, nk_study(copies), tie={"beta": lambda alpha: alpha / 8})
    names = ["F", "alpha", "f_b"]
    value, _ = nk_objective(copies, names, NK.values(), tie=lambda values: {"beta": values["alpha"] / 8})
    best = scipys_optimum(value, [[np.log(4e-4), np.log(1.5), -3.0, -1.0]])
    assert found.log_likelihood_ln == pytest.approx(-best.fun, abs=1e-7)
    alpha = found.parameters.loc["alpha", "value"]
    assert alpha == pytest.approx(np.exp(best.x[1]), rel=2e-4)
    assert found.parameters.loc["beta", "value"] == pytest.approx(alpha / 8, rel=1e-12)
    assert found.parameters.loc["beta", "status"] == "tied"
    assert found.n_free == 4


def test_a_parameter_at_its_bound_leaves_the_others_at_their_optimum():
    # A plateau: the best beta is 0, the bound is 1e-4.
    copies = decline(seed=6, f_b=0.05, beta=1e-4)
    copies[-4:] *= [1.1, 1.2, 1.3, 1.5]
    found = fit(NK, nk_study(copies))
    value, natural = nk_objective(copies, list(NK.parameters), NK.values())
    bounds = [(None, None), (None, np.log(50)), (None, None), (np.log(1e-4), None), (None, None)]
    best = scipys_optimum(value, [[np.log(4e-4), np.log(1.5), -3.0, np.log(0.01), -1.0]], bounds)
    assert best.x[3] == pytest.approx(np.log(1e-4), abs=1e-9)
    assert found.outcome.startswith("beta at its lower bound")
    assert found.parameters.loc["beta", "status"] == "at bound"
    assert np.isnan(found.parameters.loc["beta", "stderr"])
    assert found.log_likelihood_ln == pytest.approx(-best.fun, abs=1e-6)
    for name, expected in natural(best.x).items():
        assert found.parameters.loc[name, "value"] == pytest.approx(expected, rel=5e-4), name


def test_fit_of_the_piecewise_model_is_not_worse_than_scipys():
    days = np.array([2.0, 4.0, 7.0, 9.0, 10.0, 11.0, 14.0, 17.0, 21.0, 28.0, 60.0, 90.0, 180.0, 365.0])
    noise = np.exp(0.5 * np.random.default_rng(7).normal(size=len(days)))
    copies = numpy_stein(days, **STEIN.values()) * noise
    limit = 100.0
    quantified = copies >= limit
    lower, upper = np.where(quantified, copies, 0.0), np.where(quantified, copies, limit)
    study = read_study(pd.DataFrame({"subject": "P01", "day": days, "copies_per_ug": copies}), lloq=limit)
    found = fit(STEIN, study)

    def value(x):
        names = ["fold", "t_max", "c_max", "alpha", "f_b", "beta"]
        values = {name: np.exp(estimate) for name, estimate in zip(names, x, strict=False)}
        values["f_b"] = 1 / (1 + np.exp(-x[4]))
        if not (values["fold"] >= 1 and 0.1 <= values["t_max"] <= 100 and 1e-5 <= values["beta"] <= 5):
            return 1e6
        return -log_likelihood(np.log(numpy_stein(days, **values) + 1e-9), np.exp(x[6]), lower, upper)

    start = [np.log(3900), np.log(9.3), np.log(24000), np.log(0.16), -4.8, np.log(0.0032), -0.7]
    nelder_mead = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 40000, "maxfev": 40000, "adaptive": True}
    best = min(
        (
            optimize.minimize(value, np.array(start) + shift, method="Nelder-Mead", options=nelder_mead)
            for shift in (0.0, np.array([0, 0.05, 0, 0, 0, 0, 0]), np.array([0, -0.05, 0, 0, 0, 0, 0]))
        ),
        key=lambda end: end.fun,
    )
    # The likelihood has corners at the sampled days; 1e-4 is what the library itself promises there.
    assert found.log_likelihood_ln > -best.fun - 1e-4


# Handling of censored samples


def test_what_each_method_sees():
    # Quantified, below 3, between 1 and 3, above 9.
    samples = Samples.of(table([1.0, 2.0, 3.0, 4.0], [5.0, 0.0, 1.0, 9.0], [5.0, 3.0, 3.0, INF]))
    assert samples.censored("m3") is samples
    assert samples.censored("m4") is samples
    assert list(samples.censored("drop").day) == [1.0]
    half = samples.censored("half")
    assert list(half.day) == [1.0, 2.0, 3.0]
    assert list(half.lower) == list(half.upper) == [5.0, 1.5, 1.5]
    assert list(samples.upper) == [5.0, 3.0, 3.0, INF], "the samples themselves stay as they are"
    with pytest.raises(ValueError, match="m3, m4, drop, half"):
        samples.censored("m5")


@pytest.mark.slow
def test_m3_recovers_the_slope_that_drop_and_half_miss():
    """60 patients, 32 samples each, 44% below the limit; the table for 200 is benchmarks/censoring_bias.csv."""
    found = BIAS["table"](BIAS["slopes"](60, 32)).set_index("method")
    error = (found["mean_estimate"] - found["true_slope"]) / found["monte_carlo_error"]
    assert found["share_below"].iloc[0] == pytest.approx(0.44, abs=0.02)
    assert abs(error["m3"]) < 2
    assert error["drop"] < -3
    assert error["half"] < -3
    assert found.loc["drop", "bias_percent"] < -5
    assert found.loc["half", "bias_percent"] < -20


def test_a_failed_solve_is_minus_infinity_not_an_exception(il15, monkeypatch):
    class Unsolved:
        value, solved = np.zeros(32), np.array(False)

    monkeypatch.setattr(Problem, "curve", lambda *_, **__: Unsolved())
    x = il15.start(il15.values)
    assert il15.log_likelihood(x) == -INF
    assert np.all(np.isnan(il15.root(x)))


def test_a_start_where_the_estimation_scale_is_infinite_is_an_error():
    with pytest.raises(ModelError, match="f_b starts at 0"):
        fit(NK, nk_study(decline(seed=3)), initial={"f_b": 0.0})
