"""Fits of the example against scipy from each interval of a switch day, and against more starts."""

import numpy as np
import pytest
from scipy.optimize import minimize

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.optimising.cases import prepare

STEIN = models.load("stein_2019_tisagenlecleucel")


@pytest.mark.parametrize("subject", ["P02", "P05", "P09"])
def test_no_switch_day_between_samples_is_better_than_the_fit(subject):
    study = ck.example().select(subject)
    fit = ck.fit(STEIN, study)
    problem, case = fit.problem, prepare(fit.request, study)
    lower, upper = problem.bounds
    at, days = problem.free.index("t_max"), np.unique(problem.samples.day[problem.samples.day > 0])
    best = -np.inf
    # scipy on the scalar objective, with the day of the peak in the middle of each interval at first.
    for day in (days[1:] + days[:-1]) / 2:
        start = np.clip(problem.start(case.initial), lower, upper)
        start[at] = STEIN.parameters["t_max"].to_estimation(float(day))
        end = minimize(
            lambda x: -problem.second_order(x).value, start, jac=lambda x: -problem.second_order(x).gradient,
            method="L-BFGS-B", bounds=list(zip(lower, upper, strict=True)),
        )  # fmt: skip
        best = max(best, -end.fun)
    assert problem.second_order(fit.x).value > best - 0.01


def test_starts_that_lie_together_are_one():
    fit = ck.fit(STEIN, ck.example().select("P05"))
    reached, started = fit.starts
    assert 1 <= reached <= started == len(fit.start_values) <= 6


def test_more_starts_find_nothing_better_in_the_example():
    study = ck.example()
    few, many = (ck.fit_each(STEIN, study, progress=False, starts=starts) for starts in (6, 24))
    for subject in study.subjects:
        assert few[subject].log_likelihood > many[subject].log_likelihood - 0.01, subject


def test_a_joint_fit_is_no_worse_with_the_default_starts_than_with_more():
    study = ck.example().select(["P01", "P03", "P05", "P06", "P08"])
    few = ck.fit(STEIN, study, shared="alpha")
    many = ck.fit(STEIN, study, shared="alpha", starts=16, seed=7)
    assert few.log_likelihood > many.log_likelihood - 0.01
