"""Where fits begin: the ways in which a curve may run through the samples, and the optima that they lead to."""

import numpy as np
import pandas as pd
import pytest
import scipy

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.modelling.biexponential import lines, switches
from cellkinetics.optimising import corners
from cellkinetics.optimising.cases import prepare_each
from cellkinetics.optimising.optimise import candidates, chosen
from cellkinetics.optimising.request import Request

STEIN = models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])
SPREAD = {"fold": 0.8, "t_max": 0.2, "c_max": 0.65, "alpha": 0.4, "f_b": 0.5, "beta": 0.5}
LIMIT = 100.0


def patient(number):
    """Days and copies of one of the simulated patients of `test_batch`, sd 0.5."""
    rng, copies = np.random.default_rng(2020), np.zeros(0)
    for _ in range(number + 1):
        p = {
            name: float(
                np.clip(each.from_estimation(each.to_estimation(each.value) + SPREAD[name] * rng.normal()), each.min,
                        each.max)
            )
            for name, each in STEIN.parameters.items()
        }  # fmt: skip
        copies = np.asarray(STEIN.solve(DAYS, p)["copies_per_ug"]) * np.exp(0.5 * rng.normal(size=15))
    return copies


def fitted(number, **options):
    table = pd.DataFrame({"subject": f"S{number:03d}", "day": DAYS, "copies_per_ug": patient(number)})
    return ck.fit(STEIN, ck.read_study(table, lloq=LIMIT), **options)


def by_scipy(copies, starts):
    """The highest log-likelihood of ln copies that Nelder-Mead finds from (t_max, alpha, f_b, beta)."""
    below = copies < LIMIT
    ln = np.log(np.where(below, LIMIT, copies))

    def minus(v):
        t_max, c_max, alpha, beta, sd = np.exp(v[[1, 2, 3, 5, 6]])
        after, before = np.maximum(DAYS - t_max, 0), np.minimum(DAYS - t_max, 0)
        f_b = scipy.special.expit(v[4])
        left = (1 - f_b) * np.exp(-alpha * after) + f_b * np.exp(-beta * after)
        z = (ln - np.log(c_max * left + 1e-11) - v[0] / t_max * before) / sd
        outside = not (0 <= v[0] <= np.log(1e9) and alpha < 20 and 1e-5 < beta < 5)
        return 1e9 if outside else -np.sum(
            np.where(below, scipy.stats.norm.logcdf(z), scipy.stats.norm.logpdf(z) - np.log(sd))
        )  # fmt: skip

    ends = []
    for t_max, alpha, f_b, beta in starts:
        x = np.array([np.log(2000), *np.log([t_max, 2e4, alpha]), scipy.special.logit(f_b), *np.log([beta, 0.4])])
        for _ in range(4):
            x = scipy.optimize.minimize(
                minus, x, method="Nelder-Mead", options={"maxfev": 6000, "maxiter": 6000, "adaptive": True}
            ).x
        ends.append(-minus(x))
    return max(ends)


def test_lines_are_those_of_polyfit_for_every_stretch_of_samples():
    days, logs = DAYS[:7], np.log(patient(0)[:7])
    fitted_lines = lines(days, logs)
    for begin in range(7):
        for end in range(begin + 2, 8):
            slope, level = np.polyfit(days[begin:end], logs[begin:end], 1)
            squares = np.sum((logs[begin:end] - level - slope * days[begin:end]) ** 2)
            assert fitted_lines.slope[begin, end] == pytest.approx(slope, rel=1e-8)
            assert fitted_lines.level[begin, end] == pytest.approx(level, rel=1e-8)
            assert fitted_lines.squares[begin, end] == pytest.approx(squares, abs=1e-8)


def test_two_straight_phases_after_a_straight_rise_are_found_as_they_are():
    # Rise of 1/day to day 8.5, then 0.3/day from 1e5 and 0.01/day from 1e2: the second begins to show after day 28.
    after = np.maximum(DAYS - 8.5, 0)
    values = np.exp(np.minimum(DAYS - 8.5, 0)) * (1e5 * np.exp(-0.3 * after) + 1e2 * np.exp(-0.01 * after))
    found = switches(DAYS, values, np.ones(15, bool), fold=3900.0, t_max=9.3)
    two = int(np.flatnonzero(found["t_max"] == 8.5)[0])
    assert found["fold"][two] == pytest.approx(np.exp(8.5), rel=1e-6)
    assert found["c_max"][two] == pytest.approx(1e5, rel=0.2)
    assert found["alpha"][two] == pytest.approx(0.3, rel=0.05)
    assert found["beta"][two] == pytest.approx(0.01, rel=0.05)
    assert found["f_b"][two] == pytest.approx(1e-3, rel=0.5)


def test_no_two_starts_are_copies_of_one():
    table = pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": patient(5)})
    (case,) = prepare_each(Request.of(STEIN), ck.read_study(table, lloq=LIMIT)).values()
    assert not isinstance(case, Exception)
    first, others, ways = candidates(case.problem, case.initial, 5, 2020)
    assert ways == len(others)
    # The same points three times over, and the first among them.
    again = np.vstack([others, others, others, [first]])
    picked = again[chosen(case.problem, first, again, np.arange(len(again), dtype=float), 5, len(again))]
    assert len(picked) == 4
    whole = np.vstack([picked, [first]])
    intervals = np.searchsorted(DAYS, np.exp(whole[:, case.problem.free.index("t_max")]))
    for i in range(5):
        for j in range(i):
            assert intervals[i] != intervals[j] or np.any(np.abs(whole[i] - whole[j]) >= 0.5)


def test_across_a_sampled_day_is_as_far_as_before_and_at_most_half_way():
    table = pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": patient(5)})
    (case,) = prepare_each(Request.of(STEIN), ck.read_study(table, lloq=LIMIT)).values()
    assert not isinstance(case, Exception)
    at = case.problem.free.index("t_max")
    x = case.problem.start({**case.initial, "t_max": 9.5})
    points, whose = corners.beyond([case.problem], x[None])
    np.testing.assert_allclose(np.exp(points[:, at]), [6.0, 10.5])
    assert list(whose) == [0, 0]


@pytest.mark.parametrize(
    ("number", "starts"),
    [
        # A fast drop before a slow loss (with four starts the fit ended 0.148 lower).
        (2, [(12.2, 0.33, 0.6, 0.085), (10.0, 0.2, 0.01, 0.003), (8.5, 3.0, 0.3, 0.1)]),
        # A switch after day 10 instead of before it (0.048).
        (5, [(10.3, 0.135, 0.004, 9e-4), (9.6, 0.127, 0.004, 6e-4), (12.0, 0.2, 0.01, 0.003)]),
    ],
)
def test_the_optimum_is_the_best_that_scipy_finds(number, starts):
    fit = fitted(number)
    best = by_scipy(patient(number), starts)
    assert fit.log_likelihood_ln == pytest.approx(best, abs=2e-3)
    assert fit.log_likelihood_ln > best - 1e-4


def test_a_switch_day_that_is_fixed_leaves_nothing_to_try_across_it():
    fit = fitted(5, fixed={"t_max": 10.0})
    assert fit.fitted
    assert fit.parameters.loc["t_max", "value"] == 10.0


def test_a_lag_is_fitted_across_the_days_where_a_dose_arrives_at_a_sample():
    parameters = {
        "F": ck.Parameter(1e-3, "copies/ug per cell/kg", "this test"),
        "k": ck.Parameter(0.2, "1/day", "this test"),
        "lag": ck.Parameter(2.5, "day", "this test", max=5.0, scale="identity"),
    }
    model = ck.Model(
        name="arrival", parameters=parameters, outputs={"copies_per_ug": "copies/ug"}, states=("A",),
        rhs=lambda A, k: (-k * A,), observe=lambda A: A, dosing={"cells": ("A", "F")}, lags={"cells": "lag"},
        free=("F", "lag"),
    )  # fmt: skip
    days, doses = np.array([0.3, 1, 2, 3, 3.5, 4, 5, 7]), [(0.0, 1e5), (3.0, 2e5)]
    # Between 0.5 (of the sample on day 3.5) and 1 the curve is a multiple of that of 0.7, whatever the lag.
    curve = sum(amount * np.exp(-0.2 * (days - day)) * (days > day + 0.7) for day, amount in doses)
    copies = 1e-3 * curve[1:] * np.exp(0.1 * np.array([1, -1, 0.5, -0.5, 1, -1, 0.2]))
    table = {"subject": "A", "day": days, "copies_per_ug": ["<20", *map(str, copies)]}
    fit = ck.fit(model, ck.read_study(pd.DataFrame(table), lloq=20.0), doses=doses, starts=1)
    residual = np.log(copies / curve[1:])
    best = -0.5 * 7 * (np.log(2 * np.pi * np.var(residual)) + 1)
    assert fit.log_likelihood_ln == pytest.approx(best, abs=1e-4)
    assert 0.5 < fit.estimates["lag"] < 1.0
    assert corners.leaps(fit.problem)["lag"].tolist() == [0.0, 0.3, 0.5, 1.0, 2.0, 3.0, 3.5, 4.0]
    assert "the likelihood leaps at lag 0, 0.3, 0.5, 1, ..., where a dose arrives at a sample" in fit.outcome
