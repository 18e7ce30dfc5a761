"""The likelihood of one sample against scipy, closed forms and quadrature, from the middle to the far tails."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from cellkinetics.likelihood import censoring
from cellkinetics.likelihood.censoring import Rows, log_density, root_deviance_below, root_deviances

# z = (ln limit - ln prediction)/sd. At 0 the prediction is on the limit, at 60 far below it, at -40 far above.
Z = np.concatenate([np.linspace(-40, 60, 201), [-1e-6, 0.0, 1e-6, 4.999, 5.001, 8.999, 9.001, 38.5, 39.5]])
EXTREME = np.array([-1e4, -1e3, -50.0, 50.0, 1e3, 1e4])
SDS = (0.5, 1.0, 3.0)
INF = np.inf
# What scipy and the scaled tail of the library leave to rounding.
ROUNDING = 1e-12


class Sample(NamedTuple):
    """Log-density and root-deviance of each sample, with derivatives by g = ln f and by s = ln sd."""

    density: np.ndarray
    by_g: np.ndarray
    by_s: np.ndarray
    by_gg: np.ndarray
    by_gs: np.ndarray
    by_ss: np.ndarray
    root: np.ndarray
    root_by_g: np.ndarray
    root_by_s: np.ndarray


@jax.jit
def _evaluate(g, s, rows):
    one, none = jnp.ones_like(g), jnp.zeros_like(g)

    def slopes(function):
        def both(g, s):
            _, by_g = jax.jvp(function, (g, s), (one, none))
            _, by_s = jax.jvp(function, (g, s), (none, one))
            return jnp.stack([by_g, by_s])

        return both

    def density(g, s):
        return log_density(g, jnp.exp(s), rows)

    def root(g, s):
        return root_deviances(g, jnp.exp(s), rows)

    (gg, gs), (_, ss) = jnp.moveaxis(slopes(slopes(density))(g, s), 0, 1)
    return density(g, s), *slopes(density)(g, s), gg, gs, ss, root(g, s), *slopes(root)(g, s)


def evaluate(g, lower, upper, sd: float | np.ndarray = 1.0, weight: float | np.ndarray = 1.0):
    """One compiled program for all tests: filled up to 256 samples."""
    filled = [np.zeros(256) for _ in range(5)]
    for row, values in zip(filled, (g, np.log(sd), lower, upper, weight), strict=True):
        row[: len(g)] = values
    result = _evaluate(filled[0], filled[1], Rows(*filled[2:]))
    return Sample(*(np.asarray(values)[: len(g)] for values in result))


def mills(z):
    """phi(z)/Phi(z), from scipy's logarithms."""
    return np.exp(stats.norm.logpdf(z) - special.log_ndtr(z))


def log_interval(a, b):
    """ln(Phi(b) - Phi(a)) by quadrature: ln phi at the nearer end, times an integral of order 1."""
    if abs(a) > abs(b):
        a, b = -b, -a
    inner = min(b - a, 8.0 / max(1.0, abs(a)))
    value, _ = integrate.quad(
        lambda u: np.exp(-a * u - u * u / 2), 0.0, b - a, points=(inner,), epsabs=0, epsrel=1e-13, limit=400
    )
    return stats.norm.logpdf(a) + np.log(value)


KINDS = {"below": (-INF, 0.0), "above": (0.0, INF), "interval": (-1.1, 0.0), "quantified": (0.0, 0.0)}


# Values


@pytest.mark.parametrize("sd", SDS)
def test_a_quantified_sample_has_the_normal_log_density(sd):
    g = np.log(5120.0)
    observed = g + Z * sd
    found = evaluate(np.full(Z.shape, g), observed, observed, sd).density
    np.testing.assert_allclose(found, stats.norm.logpdf(observed, g, sd), rtol=1e-12)


@pytest.mark.parametrize("sd", SDS)
def test_a_sample_below_its_limit_has_the_normal_log_cdf(sd):
    limit = np.log(3.0)
    found = evaluate(limit - Z * sd, -INF, limit, sd).density
    # Where Phi is 1 (z beyond 5) its last digit counts, hence 1e-16.
    near = np.abs(Z) < 20
    expected = stats.norm.logcdf(limit, limit - Z * sd, sd)
    np.testing.assert_allclose(found[near], expected[near], rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("sd", SDS)
def test_a_sample_above_its_limit_has_the_normal_log_survival_function(sd):
    limit = np.log(3e5)
    found = evaluate(limit + Z * sd, limit, INF, sd).density
    near = np.abs(Z) < 20
    expected = stats.norm.logsf(limit, limit + Z * sd, sd)
    np.testing.assert_allclose(found[near], expected[near], rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.3, 1.0986, 5.0, 30.0])
def test_an_interval_does_not_cancel(width):
    middle = np.array([-40.0, -12.0, -3.0, -0.1, 0.0, 0.1, 3.0, 12.0, 40.0, 60.0])
    a, b = middle - width / 2, middle + width / 2
    found = evaluate(np.zeros(10), a, b).density
    expected = [log_interval(*ends) for ends in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


def test_an_interval_where_the_plain_difference_is_zero_is_still_exact():
    a, b = 39.0, 40.0
    assert stats.norm.cdf(b) - stats.norm.cdf(a) == 0.0
    # The scaled survival functions: Q(a) - Q(b) = exp(-a^2/2)/2 [erfcx(a/rt2) - exp((a^2 - b^2)/2) erfcx(b/rt2)].
    scaled = special.erfcx(a / np.sqrt(2)) - np.exp((a * a - b * b) / 2) * special.erfcx(b / np.sqrt(2))
    (found,) = evaluate(np.zeros(1), a, b).density
    assert found == pytest.approx(-a * a / 2 + np.log(scaled / 2), rel=1e-12)


def test_an_interval_from_almost_zero_copies_is_a_sample_below_the_limit():
    g = np.linspace(-20.0, 20.0, 41)
    below, interval = evaluate(g, -INF, np.log(3.0), 0.5), evaluate(g, -800.0, np.log(3.0), 0.5)
    np.testing.assert_allclose(below.density, interval.density, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(below.by_g, interval.by_g, rtol=1e-13, atol=1e-300)


def test_an_interval_is_symmetric_about_the_prediction():
    a, b = np.array([-41.0, -5.0, -1.0, 0.5]), np.array([-40.0, -2.0, 2.0, 9.0])
    left, right = evaluate(np.zeros(4), a, b), evaluate(np.zeros(4), -b, -a)
    np.testing.assert_array_equal(left.density, right.density)
    np.testing.assert_array_equal(left.by_g, -right.by_g)


def test_probabilities_below_between_and_above_two_limits_add_to_one():
    g = np.linspace(-6.0, 8.0, 57)
    parts = [evaluate(g, low, high, 0.7).density for low, high in ((-INF, 0.0), (0.0, np.log(3.0)), (np.log(3.0), INF))]
    np.testing.assert_allclose(np.exp(parts).sum(axis=0), 1.0, rtol=1e-14)


def test_a_curve_that_underflows_has_a_finite_logarithm_and_slope():
    copies = jnp.array([0.0, 1e-320, 1e-12, 1e-9, 1.0, 5120.0])
    value, slope = jax.jvp(lambda f: censoring.ln(f, 1e-9), (copies,), (jnp.ones(6),))
    np.testing.assert_allclose(value, np.log(np.asarray(copies) + 1e-9), rtol=1e-15)
    np.testing.assert_allclose(slope, 1 / (np.asarray(copies) + 1e-9), rtol=1e-15)


# Derivatives


@pytest.mark.parametrize("sd", SDS)
def test_gradient_of_a_sample_below_its_limit_is_the_inverse_mills_ratio(sd):
    z = Z[Z < 38]  # further right scipy's ratio underflows
    found = evaluate(-z * sd, -INF, 0.0, sd).by_g
    np.testing.assert_allclose(found, -mills(z) / sd, rtol=1e-8, atol=1e-300)


@pytest.mark.parametrize("sd", SDS)
def test_second_derivative_of_a_sample_below_its_limit_is_that_of_ln_phi(sd):
    z = Z[(Z > -20) & (Z < 38)]
    found = evaluate(-z * sd, -INF, 0.0, sd).by_gg
    np.testing.assert_allclose(found, -mills(z) * (mills(z) + z) / sd**2, rtol=1e-8, atol=1e-300)


def test_second_derivative_far_above_the_limit_tends_to_that_of_a_quantified_sample():
    z = np.array([-30.0, -50.0, -100.0, -300.0, -1000.0])
    found = evaluate(-z, -INF, 0.0).by_gg
    # ln Phi(z) = -z^2/2 - ln|z| - ln(2 pi)/2 - 1/z^2 + (5/2)/z^4 - ...
    np.testing.assert_allclose(found, -1 + 1 / z**2 - 6 / z**4 + 50 / z**6, rtol=2e-4)


def test_derivatives_of_an_interval_agree_with_finite_differences():
    ends = np.array([(0.0, np.log(3.0)), (-9.0, -8.5), (8.5, 9.0), (-3.0, 4.0)])
    lower, upper = np.repeat(ends, 25, axis=0).T
    g, h = np.tile(np.linspace(-6.0, 6.0, 25), 4), 1e-4
    at, right, left = (evaluate(g + step, lower, upper, 0.8) for step in (0.0, h, -h))
    np.testing.assert_allclose(at.by_g, (right.density - left.density) / (2 * h), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(at.by_gg, (right.by_g - left.by_g) / (2 * h), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(at.root_by_g, (right.root - left.root) / (2 * h), rtol=1e-6, atol=1e-8)


def test_derivatives_by_sd_agree_with_finite_differences():
    lower, upper = np.array([0.3, -INF, 0.1, 0.0, -INF]), np.array([0.3, 0.2, INF, 1.0, -2.0])
    g, h = np.array([0.1, 0.5, -0.4, 0.2, 0.0]), 1e-5
    at, more, less = (evaluate(g, lower, upper, 0.6 * np.exp(step)) for step in (0.0, h, -h))
    for found, difference in (
        (at.by_s, more.density - less.density),
        (at.by_ss, more.by_s - less.by_s),
        (at.by_gs, more.by_g - less.by_g),
        (at.root_by_s, more.root - less.root),
    ):
        np.testing.assert_allclose(found, difference / (2 * h), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("sd", [0.05, *SDS])
@pytest.mark.parametrize("kind", KINDS)
def test_every_derivative_is_finite_from_far_above_to_far_below_the_limit(kind, sd):
    found = evaluate(-np.concatenate([Z, EXTREME]), *KINDS[kind], sd)
    for name, values in found._asdict().items():
        assert np.all(np.isfinite(values)), name


@pytest.mark.parametrize("kind", KINDS)
def test_reverse_mode_gives_the_same_gradient_as_forward_mode(kind):
    g = -np.concatenate([Z, EXTREME])
    low, high = KINDS[kind]
    rows = Rows(np.full(g.shape, low), np.full(g.shape, high), np.ones(g.shape))
    forward = evaluate(g, low, high, 0.5)
    for function, expected in ((log_density, forward.by_g), (root_deviances, forward.root_by_g)):
        reverse = jax.jit(jax.grad(lambda at, f=function: f(at, 0.5, rows).sum()))(g)
        np.testing.assert_allclose(reverse, expected, rtol=1e-9, atol=1e-300)


def test_gradient_of_a_censored_sample_pulls_down():
    pull = evaluate(np.array([0.0, 0.5, 1.0, 5.0, 25.0]), -INF, 0.0, 0.5).by_g
    assert np.all(pull < 0)
    assert np.all(np.diff(pull) < 0), "the further above, the harder"
    # log(clip(cdf)) has no gradient here: 50 sd above the limit.
    assert pull[-1] == pytest.approx(-100.0, rel=1e-3)


def test_gradient_of_a_sample_above_the_upper_limit_pulls_up():
    pull = evaluate(-np.array([0.0, 0.5, 1.0, 5.0, 25.0]), 0.0, INF, 0.5).by_g
    assert np.all(pull > 0)
    assert pull[-1] == pytest.approx(100.0, rel=1e-3)


def test_a_sample_far_on_the_right_side_of_its_limit_pulls_nowhere():
    found = evaluate(np.array([-20.0]), -INF, 0.0, 0.5)
    assert found.density == 0.0
    assert -1e-300 < found.by_g[0] <= 0.0


# Root-deviances


def test_root_deviance_below_is_sqrt_of_minus_two_ln_phi():
    z = np.array([-1e4, -1e3, -40.0, -5.0, -1.0, 0.0, 1.0, 3.0, 4.0])
    np.testing.assert_allclose(root_deviance_below(jnp.asarray(z)), np.sqrt(-2 * special.log_ndtr(z)), rtol=1e-11)


def test_root_deviance_keeps_its_digits_where_phi_is_one():
    z = np.array([5.0, 8.0, 8.999, 9.001, 12.0, 20.0, 36.0, 38.0, 39.0, 50.0])
    # -ln Phi(z) = -ln(1 - Q) with Q = Phi(-z), which is Q (1 + Q/2) to the last digit from z = 5 on.
    ln_q = special.log_ndtr(-z)
    expected = 0.5 * (np.log(2) + ln_q + np.log1p(np.exp(ln_q) / 2))
    np.testing.assert_allclose(np.log(root_deviance_below(jnp.asarray(z))), expected, rtol=1e-13, atol=ROUNDING)


def test_root_deviance_below_is_positive_smooth_and_decreasing():
    z = np.linspace(-12.0, 12.0, 241)
    found = evaluate(-z, -INF, 0.0)
    assert np.all(found.root > 0)
    assert np.all(np.diff(found.root) < 0)
    for h in (1e-4, 1e-3):
        differences = (evaluate(-z + h, -INF, 0.0).root - evaluate(-z - h, -INF, 0.0).root) / (2 * h)
        np.testing.assert_allclose(found.root_by_g, differences, rtol=1e-4)


def test_slope_of_the_root_deviance_is_its_closed_form():
    z = np.concatenate([np.linspace(-40, 37, 155), [8.999, 9.001]])
    # d/dz sqrt(-2 ln Phi) = -phi/(Phi sqrt(-2 ln Phi)), by logarithms; z = -g.
    right = np.log(2) + special.log_ndtr(-z) + np.log1p(np.exp(special.log_ndtr(-np.abs(z))) / 2)
    left = np.log(-2 * special.log_ndtr(np.minimum(z, 5.0)))
    ln_root = 0.5 * np.where(z > 5, right, left)
    expected = np.exp(stats.norm.logpdf(z) - special.log_ndtr(z) - ln_root)
    np.testing.assert_allclose(evaluate(-z, -INF, 0.0).root_by_g, expected, rtol=2e-8)


def test_squares_of_root_deviances_add_up_to_minus_twice_the_log_likelihood():
    rng = np.random.default_rng(2020)
    sd = 0.7
    g, y = rng.normal(0, 3, 200), rng.normal(0, 3, 200)
    lower, upper = y.copy(), y.copy()
    lower[50:100], upper[100:150] = -INF, INF
    upper[150:] = y[150:] + rng.uniform(0.05, 3, 50)
    found = evaluate(g, lower, upper, sd)
    constant = 50 * (np.log(sd) + 0.5 * np.log(2 * np.pi))
    assert np.sum(found.root**2) == pytest.approx(-2 * (found.density.sum() + constant), rel=1e-12)


def test_half_the_gradient_of_the_squares_is_that_of_the_likelihood():
    lower = np.concatenate([[0.4], np.full(7, -INF), np.full(3, 0.0), np.full(3, -1.0)])
    upper = np.concatenate([[0.4], np.zeros(7), np.full(3, INF), np.zeros(3)])
    g = np.array([0.1, -8.0, -3.0, -0.2, 0.0, 0.2, 3.0, 30.0, -3.0, 0.0, 2.0, -6.0, -0.5, 6.0])
    found = evaluate(g, lower, upper, 0.5)
    np.testing.assert_allclose(-found.root * found.root_by_g, found.by_g, rtol=1e-8, atol=1e-14)


def test_an_interval_far_wider_than_sd_costs_nothing():
    found = evaluate(np.zeros(1), -100.0, 100.0)
    assert (found.root, found.root_by_g, found.density) == (0.0, 0.0, 0.0)


# Padding


def test_padding_contributes_nothing():
    g = np.array([0.1, 0.5, -2.0, 30.0, -30.0])
    lower, upper = np.array([0.3, -INF, 0.0, 0.0, 0.0]), np.array([0.3, 0.2, INF, 0.0, 0.0])
    padded = evaluate(g, lower, upper, 0.5, np.array([1.0, 1.0, 1.0, 0.0, 0.0]))
    short = evaluate(g[:3], lower[:3], upper[:3], 0.5)
    for name, values in padded._asdict().items():
        np.testing.assert_array_equal(values[:3], getattr(short, name), err_msg=name)
        np.testing.assert_array_equal(values[3:], 0.0, err_msg=name)
