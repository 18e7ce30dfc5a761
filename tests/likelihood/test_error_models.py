"""Each error model against scipy: densities, probabilities of censored samples and derivatives, tails included."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from cellkinetics.likelihood import student
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.error_models import ERRORS, of
from cellkinetics.optimising.problem import derivatives_of

INF = np.inf
# What scipy and the tail of the library leave to rounding.
ROUNDING = 1e-12
Z = np.concatenate([np.linspace(-40, 40, 81), [-1e-6, 1e-6, 0.3, 5.001, 19.99, 20.01]])
NORMAL = [("proportional", (0.3,)), ("proportional", (0.02,)), ("combined", (5.0, 0.2)), ("combined", (1e-2, 0.5))]
SDS = {"log": (0.4,), "student": (0.4,), "proportional": (0.3,), "combined": (5.0, 0.2), "counting": (0.3,)}
KINDS = ("quantified", "below", "above", "interval")


def evaluate(error, g, lower, upper, sds):
    """What `derivatives_of` gives, 32 samples at a time: one program an error model."""
    parts = [np.asarray(part, float) for part in np.broadcast_arrays(g, lower, upper, *np.log(sds))]
    size = len(parts[0])
    g, lower, upper, *ln_sd = (np.append(part, np.zeros(-size % 32)) for part in parts)
    found = []
    for at in range(0, len(g), 32):
        here = slice(at, at + 32)
        rows = Rows(lower[here], upper[here], np.ones(32), np.full(32, 0.3))
        found.append(derivatives_of(error)(g[here], np.array(ln_sd)[:, here], rows))
    return [
        np.concatenate([np.asarray(part) for part in each], axis=-1)[..., :size] for each in zip(*found, strict=True)
    ]


def density(error, g, lower, upper, sds):
    return evaluate(error, g, lower, upper, sds)[0]


def spread(name, f, sds):
    return sds[0] * f if name == "proportional" else np.hypot(sds[0], sds[1] * f)


def log_difference(low, high):
    """ln(exp(high) - exp(low))."""
    return high + np.log(-np.expm1(low - high))


# Normal on the scale of the copies


@pytest.mark.parametrize(("name", "sds"), NORMAL)
@pytest.mark.parametrize("f", [1e-6, 2.0, 5e3, 1e6])
def test_quantified_copies_have_the_normal_density_with_their_jacobian(name, sds, f):
    sd = spread(name, f, sds)
    y = f + Z * sd
    y = y[y > 1e-8]
    found = density(of(name), np.log(f), np.log(y), np.log(y), sds)
    np.testing.assert_allclose(found, stats.norm.logpdf(y, f, sd) + np.log(y), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("name", "sds"), NORMAL)
@pytest.mark.parametrize("f", [1e-6, 2.0, 5e3, 1e6])
def test_copies_beyond_a_limit_have_the_normal_probability(name, sds, f):
    sd = spread(name, f, sds)
    limit = f + Z * sd
    limit = limit[limit > 1e-8]
    below = density(of(name), np.log(f), -INF, np.log(limit), sds)
    above = density(of(name), np.log(f), np.log(limit), INF, sds)
    np.testing.assert_allclose(below, stats.norm.logcdf(limit, f, sd), rtol=1e-10, atol=ROUNDING)
    np.testing.assert_allclose(above, stats.norm.logsf(limit, f, sd), rtol=1e-10, atol=ROUNDING)


@pytest.mark.parametrize(("name", "sds"), NORMAL)
def test_copies_between_two_limits_do_not_cancel(name, sds):
    f = 200.0
    sd = spread(name, f, sds)
    low = f + np.array([-30.0, -8.0, -1.0, 0.0, 1.0, 8.0, 30.0]) * sd
    low = low[low > 0]
    high = low + 0.7 * sd
    found = density(of(name), np.log(f), np.log(low), np.log(high), sds)
    a, b = (low - f) / sd, (high - f) / sd
    left, right = (special.log_ndtr(a), special.log_ndtr(b)), (special.log_ndtr(-b), special.log_ndtr(-a))
    expected = np.where(a + b < 0, log_difference(*left), log_difference(*right))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_below_a_limit_includes_negative_copies_unless_they_are_ruled_out():
    sds, g, limit = (0.6,), np.log(4.0), np.log(3.0)
    both, positive = (density(of("proportional", m4), [g], -INF, limit, sds)[0] for m4 in ("m3", "m4"))
    negative = stats.norm.cdf(0, 4.0, 2.4)
    whole = stats.norm.cdf(3.0, 4.0, 2.4)
    assert both == pytest.approx(np.log(whole), rel=1e-12)
    assert positive == pytest.approx(np.log((whole - negative) / (1 - negative)), rel=1e-12)


@pytest.mark.parametrize("f", [1e-3, 4.0, 1e5])
def test_given_positive_copies_the_density_is_that_of_a_truncated_normal(f):
    sds = (0.5,)
    y = f * np.linspace(0.05, 3.0, 30)
    truncated = stats.truncnorm(-2.0, INF, loc=f, scale=0.5 * f)
    found = density(of("proportional", "m4"), np.log(f), np.log(y), np.log(y), sds)
    np.testing.assert_allclose(found, truncated.logpdf(y) + np.log(y), rtol=1e-10, atol=1e-10)
    below = density(of("proportional", "m4"), np.log(f), -INF, np.log(y), sds)
    np.testing.assert_allclose(below, truncated.logcdf(y), rtol=1e-9, atol=1e-12)
    above = density(of("proportional", "m4"), np.log(f), np.log(y), INF, sds)
    np.testing.assert_allclose(above, truncated.logsf(y), rtol=1e-9, atol=1e-12)


def test_a_combined_error_without_an_additive_part_is_the_proportional_one():
    g = np.linspace(-20.0, 15.0, 71)
    for lower, upper in ((0.0, 0.0), (-INF, 1.1), (2.0, INF), (-1.0, 1.1)):
        limits = [np.broadcast_to(end, g.shape) for end in (lower, upper)]
        combined = density(of("combined"), g, *limits, (1e-300, 0.3))
        alone = density(of("proportional"), g, *limits, (0.3,))
        np.testing.assert_array_equal(combined, alone)


# Student's t on ln copies


@pytest.mark.parametrize("sd", [0.05, 0.4, 2.0])
def test_student_has_the_density_and_probabilities_of_scipys_t(sd):
    z = np.concatenate([Z, [-1e4, -300.0, 300.0, 1e4]])
    y = 7.0 + sd * z
    error, t = of("student"), stats.t(4, loc=7.0, scale=sd)
    np.testing.assert_allclose(density(error, 7.0, y, y, (sd,)), t.logpdf(y), rtol=1e-12)
    below, above = density(error, 7.0, -INF, y, (sd,)), density(error, 7.0, y, INF, (sd,))
    np.testing.assert_allclose(below, np.where(z < 0, t.logcdf(y), np.log1p(-t.sf(y))), rtol=1e-11)
    np.testing.assert_allclose(above, np.where(z > 0, t.logsf(y), np.log1p(-t.cdf(y))), rtol=1e-11)


@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.3, 3.0, 30.0])
def test_an_interval_of_students_t_does_not_cancel(width):
    middle = np.array([-1e3, -40.0, -3.0, -0.1, 0.0, 0.1, 3.0, 40.0, 1e3])
    low, high = middle - width / 2, middle + width / 2
    found = density(of("student"), 0.0, low, high, (1.0,))
    expected = [
        np.log(integrate.quad(lambda u: stats.t.pdf(u, 4), a, b, epsabs=0, epsrel=1e-12, limit=200, points=[m])[0])
        for a, b, m in zip(low, high, middle, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_squared_root_deviances_of_student_are_twice_the_log_likelihood_below_its_top():
    error, sd = of("student"), 0.7
    lower, upper = np.array([1.0, -2.0, 30.0, -INF, 2.0, -1.0]), np.array([1.0, -2.0, 30.0, -3.0, INF, 0.5])
    rows, ln_sd = Rows(lower, upper, np.ones(6)), np.full((1, 6), np.log(sd))
    roots = np.asarray(error.root_deviances(np.zeros(6), ln_sd, rows))
    value = np.asarray(error.log_density(np.zeros(6), ln_sd, rows))
    top = np.where(lower == upper, np.log(3 / 8) - np.log(sd), 0.0)
    np.testing.assert_allclose(roots**2, 2 * (top - value), rtol=1e-10)
    assert student.DEGREES == 4


# Derivatives


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "positive"), [(name, False) for name in list(ERRORS)[1:]] + [("combined", True)])
def test_derivatives_are_those_of_finite_differences_far_into_the_tails(name, kind, positive):
    error, sds = of(name, "m4" if positive else "m3"), SDS[name]
    # From a curve that has vanished to one 200 times the sample: above, an interval is flat to rounding.
    g = np.concatenate([np.linspace(-20.7, 10.0, 29), [4.4, 4.6, 4.8]])
    low, high, step = np.log(60.0), np.log(100.0), 1e-5
    lower, upper = {"quantified": (high, high), "below": (-INF, high), "above": (high, INF)}.get(kind, (low, high))
    _, first, second, _ = evaluate(error, g, lower, upper, sds)
    assert np.all(np.isfinite(first))
    assert np.all(np.isfinite(second))
    for at in range(1 + len(sds)):
        ends = []
        for side in (-step, step):
            moved = [side * (at == 1 + part) for part in range(len(sds))]
            ends.append(evaluate(error, g + side * (at == 0), lower, upper, np.array(sds) * np.exp(moved)))
        for found, index in ((first[at], 0), (second[at], 1)):
            before, after = ends[0][index], ends[1][index]
            expected = (after - before) / (2 * step)
            # What is lost of a difference: ln Phi of 200 keeps 13 digits, a count 16 of as many molecules.
            whole = np.abs(after).max(axis=0) if index else np.abs(after)
            lost = (1e-13 * whole + (6e-16 * np.exp(g) if name == "counting" else 0.0)) / step
            largest = np.abs(expected).max(axis=0) if index else np.abs(expected)
            size = 2e-6 * largest + lost + 1e-7
            assert np.all(np.abs(found - expected) <= size), (at, index)


@pytest.mark.parametrize("name", list(ERRORS))
def test_the_information_of_a_quantified_sample_is_that_of_its_location(name):
    # The mean of the squared slope by the location, of 4,096 draws: 3 standard errors are 0.07 of it.
    f, n, rng = 5e3, 4096, np.random.default_rng(2020)
    sds = np.array(SDS[name])
    y = np.log(of(name).drawn(np.full(n, f), np.tile(sds[:, None], n), np.full(n, 0.3), np.bool_(True), rng))
    _, slopes, _, found = evaluate(of(name), np.full(n, np.log(f)), y, y, SDS[name])
    # Where sd follows the curve, what that does to the likelihood is taken out.
    follows = {"proportional": slopes[1], "combined": slopes[-1]}.get(name, 0.0)
    assert np.mean((slopes[0] - follows) ** 2) == pytest.approx(found[0], rel=0.07)


# Normal scores


@pytest.mark.parametrize("name", list(ERRORS))
def test_normal_scores_of_draws_are_standard_normal(name):
    rng, n = np.random.default_rng(2020), 400
    f, sds = np.geomspace(40.0, 1e5, n), np.array(SDS[name])
    y = of(name).drawn(f, np.tile(sds[:, None], n), np.full(n, 0.3), np.bool_(False), rng)
    kept = y > 0
    ln_sd = np.log(np.tile(sds[:, None], (1, n)))[:, kept]
    rows = Rows(np.log(y[kept]), np.log(y[kept]), np.ones(kept.sum()), np.full(kept.sum(), 0.3))
    low, high = of(name).normal_scores(np.log(f[kept]), ln_sd, rows)
    np.testing.assert_array_equal(low, high)
    assert kept.mean() > 0.99
    assert stats.kstest(low, "norm").pvalue > 0.01
