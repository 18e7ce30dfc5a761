"""The dose exponent: least squares where nothing is censored, the likelihood by scipy where something is, and words."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from cellkinetics.statistics.dose_exponent import dose_exponent
from cellkinetics.statistics.equivalence import patients_needed
from cellkinetics.statistics.slopes import threshold
from cellkinetics.statistics.tobit import tobit

DOSE = np.array([1e5] * 3 + [0.25e6] + [1e6] * 3 + [1e7] * 4)
X = np.log(DOSE)


def values(b=0.5, sd=1.0, seed=1):
    return np.exp(b * (X - X.mean()) + 6 + sd * np.random.default_rng(seed).normal(size=11))


def censored(y, limit):
    return np.where(y < limit, 0.0, y), np.maximum(y, limit)


def test_without_censoring_the_interval_is_students():
    y = values()
    found, line = dose_exponent(DOSE, y, y), stats.linregress(X, np.log(y))
    half = stats.t.ppf(0.975, 9) * line.stderr
    assert found.b == pytest.approx(line.slope, rel=1e-8)
    assert math.log(found.a) == pytest.approx(line.intercept, rel=1e-8)
    assert [found.lower, found.upper] == pytest.approx([line.slope - half, line.slope + half], rel=1e-6)
    half = stats.t.ppf(0.95, 9) * line.stderr
    assert [found.equivalence_lower, found.equivalence_upper] == pytest.approx(
        [line.slope - half, line.slope + half], rel=1e-6
    )


def test_the_ends_of_a_censored_profile_are_where_scipys_likelihood_says():
    lower, upper = censored(values(), 250.0)
    known = lower == upper
    assert 4 <= known.sum() <= 9
    found = dose_exponent(DOSE, lower, upper)

    def best(b):
        def minus(at):
            curve = stats.norm(at[0] + (b if b is not None else at[2]) * (X - X.mean()), math.exp(at[1]))
            return -np.where(known, curve.logpdf(np.log(upper)), curve.logcdf(np.log(upper))).sum()

        start = [6.0, 0.0] if b is not None else [6.0, 0.0, 0.5]
        options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000, "maxfev": 5000}
        return optimize.minimize(minus, start, method="Nelder-Mead", options=options)

    free = best(None)
    assert found.b == pytest.approx(free.x[2], abs=1e-6)
    fit = tobit(np.column_stack([np.ones(11), X]), np.log(np.maximum(lower, 1e-300)), np.log(upper))
    allowed = threshold(known.sum(), fit.degrees_of_freedom[0], 0.95)
    for end in (found.lower, found.upper):
        assert 2 * (best(end).fun - free.fun) == pytest.approx(float(allowed), rel=1e-5)


def test_wald_and_bootstrap_intervals_are_shorter():
    lower, upper = censored(values(seed=5), 250.0)
    width = {}
    for method in ("profile", "wald", "bootstrap"):
        found = dose_exponent(DOSE, lower, upper, method=method)
        width[method] = found.upper - found.lower
    assert width["wald"] < width["profile"]
    assert width["bootstrap"] < width["profile"]


def test_the_bootstrap_repeats_with_its_seed():
    y = values()
    first, again = (dose_exponent(DOSE, y, y, method="bootstrap", seed=3) for _ in range(2))
    assert first == again
    assert first.lower != dose_exponent(DOSE, y, y, method="bootstrap", seed=4).lower


def test_two_limits_give_interval_censoring():
    y = values()
    narrow = dose_exponent(DOSE, y, y)
    # Each known to within 0.2% says what the values say; each known to within 4-fold is no value.
    found = dose_exponent(DOSE, y * 0.999, y * 1.001)
    assert (found.b, found.lower, found.upper) == pytest.approx((narrow.b, narrow.lower, narrow.upper), abs=1e-5)
    found = dose_exponent(DOSE, y / 2, y * 2)
    assert math.isnan(found.b)
    assert found.reason.startswith("0 of 11 values are quantified; 4 are needed")
    wide = np.arange(11) < 3
    found = dose_exponent(DOSE, np.where(wide, y / 1.0001, y), np.where(wide, y * 1.0001, y))
    assert found.b == pytest.approx(narrow.b, abs=1e-4)


def test_a_cohort_entirely_below_the_limit_is_an_answer():
    lower, upper = values(b=1.0, sd=0.5), values(b=1.0, sd=0.5)
    limit = upper[:3].max() * 1.2
    lower[:3], upper[:3] = 0.0, limit
    found = dose_exponent(DOSE, lower, upper)
    assert found.reason == ""
    assert found.n_quantified == 8
    assert found.lower < found.b < found.upper


def test_values_quantified_at_one_dose_only_are_a_sentence():
    lower = np.where(DOSE == 1e7, 900.0 + np.arange(11), 0.0)
    found = dose_exponent(DOSE, lower, np.where(lower > 0, lower, 3.0))
    assert math.isnan(found.b)
    assert found.sentence() == "not estimated: values are quantified at one dose only, all others are censored."
    assert found.equivalence == "not tested"


@pytest.mark.parametrize(
    ("dose", "reason"),
    [
        ([1e6] * 5, "the values are of one dose"),
        ([math.nan] * 5, "the values are of no known dose (5 without a dose)"),
        ([1e6, 1e6, 1e7, math.nan, math.nan], "3 of 3 values are quantified; 4 are needed (2 without a dose)"),
    ],
)
def test_doses_that_say_nothing_are_a_sentence(dose, reason):
    y = np.arange(1.0, 6)
    assert dose_exponent(dose, y, y).reason == reason


def test_a_value_that_is_missing_is_left_out():
    y = values()
    y[2] = math.nan
    found = dose_exponent(DOSE, y, y)
    assert found.n == 10
    assert found.b == dose_exponent(np.delete(DOSE, 2), np.delete(y, 2), np.delete(y, 2)).b


def test_no_dose_relation_is_never_printed_for_want_of_significance():
    y = values(b=0.0, sd=1.0)
    found = dose_exponent(DOSE, y, y)
    assert found.lower < 0 < found.upper
    assert found.equivalence == "not shown"
    assert "neither a change with dose nor its absence is shown" in found.sentence()
    assert "equivalence within 2-fold over the 100-fold dose range is not shown" in found.sentence()
    assert f"about {found.n_needed:.0f} patients would be needed" in found.sentence()


def test_equivalence_is_shown_when_the_interval_lies_within_the_margin():
    y = np.exp(6 + 0.05 * np.random.default_rng(2).normal(size=11))
    found = dose_exponent(DOSE, y, y)
    assert found.margin_b == pytest.approx(math.log(2) / math.log(100))
    assert found.equivalence == "shown"
    assert max(abs(found.equivalence_lower), abs(found.equivalence_upper)) < found.margin_b
    assert "is shown" in found.sentence()
    assert "nor its absence" not in found.sentence()
    assert math.isnan(found.n_needed)
    # The same values do not show a closer equivalence.
    assert dose_exponent(DOSE, y, y, margin=1.01).equivalence == "not shown"


def test_the_change_over_the_dose_range_is_the_exponent_in_words():
    y = 3.0 * DOSE**0.5 * np.exp(0.01 * np.random.default_rng(3).normal(size=11))
    middle, low, high = dose_exponent(DOSE, y, y).change
    assert low < middle < high
    assert middle == pytest.approx(10, rel=0.05)


def test_more_spread_needs_more_patients():
    needed = []
    for sd in (0.8, 1.6):
        y = np.exp(6 + sd * stats.norm.ppf(np.array([5, 2, 9, 6, 1, 8, 11, 4, 10, 3, 7]) / 12))
        needed.append(dose_exponent(DOSE, y, y).n_needed)
    assert needed[0] < needed[1] <= 4.2 * needed[0]


def test_the_number_of_patients_gives_the_power_in_full_simulations():
    rng, sd, margin = np.random.default_rng(4), 0.8, math.log(2) / math.log(100)
    # A design of eleven with exactly this sd: what `patients_needed` is told.
    y = rng.normal(size=11)
    design = np.column_stack([np.ones(11), X])
    y -= design @ np.linalg.lstsq(design, y)[0]
    y *= sd * math.sqrt(9 / 11) / y.std()
    n = int(patients_needed(tobit(design, y, y), X, 11, margin))
    x = np.resize(X, n)
    x = x - x.mean()
    # Uncensored: least squares and Student's t, 4,000 studies.
    values = sd * rng.normal(size=(4000, n))
    slope = values @ x / (x @ x)
    rest = values - values.mean(axis=1, keepdims=True) - slope[:, None] * x
    error = np.sqrt((rest**2).sum(axis=1) / (n - 2) / (x @ x))
    power = np.mean(np.abs(slope) + stats.t.ppf(0.95, n - 2) * error < margin)
    assert power == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "profiles"}, r"no method 'profiles'; .* Did you mean profile\?"),
        ({"margin": 1.0}, "a fold change above 1"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        dose_exponent(DOSE, values(), values(), **options)


def test_ends_in_the_wrong_order_are_an_error():
    with pytest.raises(ValueError, match="lower end is above"):
        dose_exponent([1, 2], [3, 4], [2, 5])


def test_no_number_of_patients_is_named_where_b_is_not_0():
    moving = dose_exponent(DOSE, values(b=0.5, sd=0.3), values(b=0.5, sd=0.3))
    assert moving.lower > 0
    assert math.isnan(moving.n_needed)
    assert "needed" not in moving.sentence()
    still = dose_exponent(DOSE, values(b=0.0, sd=0.8), values(b=0.0, sd=0.8))
    assert still.lower < 0 < still.upper
    assert f"about {still.n_needed:.0f} patients would be needed" in still.sentence()


def test_values_on_a_line_have_its_slope():
    dose = np.array([0.4, 0.7, 2.4, 2.2, 1.0, 4.6, 0.6, 3.9, 7.8]) * 1e6
    y = 10 * dose**0.5
    found = dose_exponent(dose, y, y)
    assert (found.b, found.lower, found.upper, found.a) == pytest.approx((0.5, 0.5, 0.5, 10.0))
    rounded = dose_exponent(dose, np.round(y, 1), np.round(y, 1))
    assert rounded.b == pytest.approx(0.5, abs=1e-5)
    line = stats.linregress(np.log(dose), np.log(np.round(y, 1)))
    half = stats.t.ppf(0.975, 7) * line.stderr
    assert (rounded.lower, rounded.upper) == pytest.approx((line.slope - half, line.slope + half), abs=1e-9)


@pytest.mark.parametrize("level", [95, -1, 1.5, 0])
def test_a_level_that_is_none_is_an_error(level):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        dose_exponent(DOSE, values(), values(), level=level)
